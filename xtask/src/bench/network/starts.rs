//! How long `run --rm -p …` takes with few ports and with many.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::super::engines::{OURS, owned};
use super::super::small;
use super::super::statistics::{Series, milliseconds};
use super::super::world::time;
use super::{Plan, Subject};

/// So many ports.
const PORTS: [u16; 3] = [1, 10, 1000];
/// Rounds with the most of them: Docker starts a process for each.
const FEW: usize = 3;
/// Before each start.
const SPACING: Duration = Duration::from_millis(200);

pub(super) fn starts(plan: &Plan, subjects: &[Subject]) -> Result<Value> {
    let mut results = Map::new();
    for count in PORTS {
        let runs = if count == 1000 { plan.runs.min(FEW) } else { plan.runs };
        let mut all: Vec<(&str, Vec<Duration>)> = Vec::new();
        let engines: Vec<_> = subjects.iter().filter_map(|one| Some((one, one.engine.as_ref()?))).collect();
        all.extend(engines.iter().map(|(subject, _)| (subject.name, Vec::new())));
        // The first of each fills caches, and is not counted.
        for round in 0..=runs {
            for ((subject, engine), (_, times)) in engines.iter().zip(&mut all) {
                std::thread::sleep(SPACING);
                // Podman knows no range of one.
                let ports = match 20_000 + count - 1 {
                    20_000 => "20000:20000".to_owned(),
                    last => format!("20000-{last}:20000-{last}"),
                };
                let words = engine.command(&[&owned(["run", "--rm", "-p", &ports, small::NAME, "true"])]);
                let place = &subject.place;
                let took = place.inside(|| time(&mut place.bare(&words))).with_context(|| subject.name)?;
                if round > 0 {
                    times.push(took);
                }
            }
        }
        let rows: Vec<(&str, Series)> =
            all.into_iter().filter_map(|(name, times)| Some((name, Series::new(times)?))).collect();
        results.insert(count.to_string(), report(count, &rows));
    }
    Ok(Value::Object(results))
}

fn report(count: u16, rows: &[(&str, Series)]) -> Value {
    println!("\nrun --rm -p with {count} published ports, milliseconds");
    println!("{:<22} {:>10} {:>10} {:>10} {:>8}", "", "median", "min", "p95", "x ours");
    let ours = rows.iter().find(|(name, _)| *name == OURS).map(|(_, series)| series.median().as_secs_f64());
    let mut values = Map::new();
    for (name, series) in rows {
        let [median, min, p95] = [series.median(), series.min(), series.p95()].map(milliseconds);
        let times = ours.map_or(f64::NAN, |ours| series.median().as_secs_f64() / ours);
        println!("{name:<22} {median:>10.2} {min:>10.2} {p95:>10.2} {times:>8.1}");
        values.insert((*name).to_owned(), series.json());
    }
    let others =
        rows.iter().filter(|(name, _)| *name != OURS).map(|(_, series)| series.median().as_secs_f64());
    if let (Some(ours), Some(best)) = (ours, others.min_by(f64::total_cmp)) {
        let verdict = if ours <= best { "met" } else { "not met" };
        println!("  limit: at most the fastest of the others: {verdict}");
    }
    json!({"ports": count, "subjects": values})
}
