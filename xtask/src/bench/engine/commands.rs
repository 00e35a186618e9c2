//! Single commands, from fork and exec to their end.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::super::world::time;
use super::{Engine, Field, OURS, Plan, Series, milliseconds, on_small, owned, report, verdict};

/// Before each: commands back to back share what the kernel does behind them.
const SPACING: Duration = Duration::from_millis(200);

/// How many containers are started at once.
pub(super) const AT_ONCE: usize = 16;

/// So many rounds of these.
const ROUNDS: usize = 5;

/// A listing takes at most so long, in milliseconds.
const LIST_MS: f64 = 20.0;

/// The container that commands are executed in.
const NAME: &str = "bench-exec";

/// `run --rm`.
pub(super) fn run(plan: &Plan, field: &Field) -> Result<Value> {
    let rows = in_turn(plan.runs, field, |_| on_small(&["run", "--rm"], &["true"]))?;
    Ok(report("run", &rows, 1.0 / 15.0))
}

/// `exec`.
pub(super) fn exec(plan: &Plan, field: &Field) -> Result<Value> {
    for engine in &field.engines {
        let start = on_small(&["run", "-d", "--name", NAME], &["sleep", "100000"]);
        field.place.run(&engine.command(&[&start]))?;
    }
    let rows = in_turn(plan.runs, field, |_| owned(["exec", NAME, "true"]).to_vec())?;
    for engine in &field.engines {
        field.place.run(&engine.command(&[&owned(["rm", "-f", NAME])]))?;
    }
    Ok(report("exec", &rows, 1.0 / 8.0))
}

/// `ps -a` with many containers, and the removal of them all by one command.
pub(super) fn list(plan: &Plan, field: &Field) -> Result<Value> {
    let names: Vec<String> = (0..plan.many).map(|number| format!("bench-{number}")).collect();
    for engine in &field.engines {
        let create = |name: &String| engine.command(&[&on_small(&["create", "--name", name], &["true"])]);
        field.place.inside(|| {
            names.iter().try_for_each(|name| time(&mut field.place.bare(&create(name))).map(drop))
        })?;
    }
    let rows = in_turn(plan.runs, field, |_| owned(["ps", "-a"]).to_vec())?;
    let listed = report("ps", &rows, 1.0);
    if let Some((_, ours)) = rows.iter().find(|(name, _)| *name == OURS) {
        let median = milliseconds(ours.median());
        println!(
            "ps: {median:.1} ms with {} containers, target {LIST_MS} is {}",
            plan.many,
            verdict(median <= LIST_MS)
        );
    }
    let removal = [&owned(["rm"])[..], &names].concat();
    let mut removed = Vec::new();
    for engine in &field.engines {
        let words = engine.command(&[&removal]);
        let took = field.place.inside(|| time(&mut field.place.bare(&words)))?;
        removed.push((engine.name, Series::new(vec![took]).context("one time")?));
    }
    println!("and rm of them all");
    Ok(json!({"ps": listed, "rm": report("rm", &removed, 1.0)}))
}

/// Starts one after another and at once.
pub(super) fn parallel(_plan: &Plan, field: &Field) -> Result<Value> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{:<22} {:>10} {:>10} {:>10}", "milliseconds", "in turn", "at once", "speed-up");
    let mut values = Map::new();
    for engine in &field.engines {
        let words = engine.command(&[&on_small(&["run", "--rm"], &["true"])]);
        let (mut turn, mut once) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            field
                .place
                .inside(|| (0..AT_ONCE).try_for_each(|_| time(&mut field.place.bare(&words)).map(drop)))?;
            turn.push(start.elapsed());
            once.push(at_once(field, &words)?);
        }
        let [turn, once] = [turn, once].map(Series::new);
        let (turn, once) = turn.zip(once).context("times")?;
        let gain = turn.median().as_secs_f64() / once.median().as_secs_f64();
        let [a, b] = [&turn, &once].map(|series| milliseconds(series.median()));
        println!("{:<22} {a:>10.1} {b:>10.1} {gain:>10.2}", engine.name);
        values.insert(
            engine.name.to_owned(),
            json!({"in_turn": turn.json(), "at_once": once.json(), "gain": gain}),
        );
    }
    println!("{cores} processors");
    Ok(json!({"count": AT_ONCE, "processors": cores, "engines": values}))
}

/// All threads wait for each other, then start.
fn at_once(field: &Field, words: &[String]) -> Result<Duration> {
    let gate = Barrier::new(AT_ONCE + 1);
    std::thread::scope(|scope| {
        let one = || {
            field.place.inside(|| {
                let mut command = field.place.bare(words);
                gate.wait();
                time(&mut command)
            })
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(one)).collect();
        gate.wait();
        let start = Instant::now();
        for thread in threads {
            match thread.join() {
                Ok(result) => drop(result?),
                Err(_) => bail!("the thread panicked"),
            }
        }
        Ok(start.elapsed())
    })
}

/// The same command of each, in turn.
fn in_turn(
    runs: usize,
    field: &Field,
    words: impl Fn(&Engine) -> Vec<String> + Sync,
) -> Result<Vec<(&str, Series)>> {
    let measured = field.place.inside(|| {
        let mut all: Vec<Vec<Duration>> = vec![Vec::new(); field.engines.len()];
        // The first of each fills caches, and is not counted.
        for round in 0..=runs {
            for (times, engine) in all.iter_mut().zip(&field.engines) {
                std::thread::sleep(SPACING);
                let took = time(&mut field.place.bare(&engine.command(&[&words(engine)])))?;
                if round > 0 {
                    times.push(took);
                }
            }
        }
        Ok(all)
    })?;
    let rows = field.engines.iter().zip(measured);
    Ok(rows.filter_map(|(engine, times)| Some((engine.name, Series::new(times)?))).collect())
}
