//! `bench start`: from a cold process to its exit, minidocker and the floor in turn.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::peers::{self, Peer};
use super::statistics::{Series, milliseconds};
use super::world::{World, time};

/// At most so many times the floor.
const TARGET: f64 = 1.5;

/// What to measure.
pub(crate) struct Plan {
    pub(crate) runs: usize,
    /// Starts back to back share the kernel's grace periods and flatter everyone.
    pub(crate) spacing_ms: u64,
    pub(crate) peers: bool,
}

pub(crate) fn start(plan: &Plan, world: &World) -> Result<Value> {
    let mut rows = vec![Peer::new("floor", world.floor())];
    let mut run = world.run(&["--rm"]);
    run.arg("/true");
    rows.push(Peer::new("minidocker run --rm", run));
    let _images = if plan.peers { Some(peers::add(world, &mut rows)?) } else { None };

    let series = measure(plan, rows)?;
    report(plan, &series)
}

/// Every row in turn, so that whatever the machine does meanwhile hits all alike.
fn measure(plan: &Plan, mut rows: Vec<Peer>) -> Result<Vec<(String, Series)>> {
    let spacing = Duration::from_millis(plan.spacing_ms);
    let mut kept = Vec::new();
    for mut row in rows.drain(..) {
        // The first start fills caches and, for minidocker, makes its bridge.
        match time(&mut row.command) {
            Ok(_) => kept.push((row, Vec::new())),
            Err(error) if row.optional => eprintln!("{}: left out, {error:#}", row.name),
            Err(error) => return Err(error).context(row.name),
        }
    }
    for _ in 0..plan.runs {
        for (row, times) in &mut kept {
            std::thread::sleep(spacing);
            times.push(time(&mut row.command).with_context(|| row.name.clone())?);
        }
    }
    Ok(kept.into_iter().filter_map(|(row, times)| Some((row.name, Series::new(times)?))).collect())
}

fn report(plan: &Plan, series: &[(String, Series)]) -> Result<Value> {
    let [(_, floor), (_, ours), ..] = series else { bail!("no series was measured") };
    let times = |series: &Series| series.median().as_secs_f64() / floor.median().as_secs_f64();
    println!("{} runs each, {} ms between starts; milliseconds", plan.runs, plan.spacing_ms);
    println!("{:<22} {:>9} {:>9} {:>9} {:>9}", "", "median", "min", "p95", "x floor");
    let mut rows = Map::new();
    for (name, series) in series {
        let [median, min, p95] = [series.median(), series.min(), series.p95()].map(milliseconds);
        println!("{name:<22} {median:>9.2} {min:>9.2} {p95:>9.2} {:>9.2}", times(series));
        rows.insert(name.clone(), series.json());
    }
    let ratio = times(ours);
    let word = if ratio <= TARGET { "met" } else { "not met" };
    println!("floor {:.2} ms, ratio {ratio:.2}: target {TARGET} is {word}", milliseconds(floor.median()));
    Ok(json!({ "spacing_ms": plan.spacing_ms, "ratio": ratio, "target": TARGET, "rows": rows }))
}
