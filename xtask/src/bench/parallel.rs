//! `bench parallel`: many starts at the same time.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::statistics::{Series, milliseconds};
use super::world::{World, time};

pub(crate) fn parallel(count: usize, world: &World) -> Result<Value> {
    // One before, so that the bridge is there; how the first of many make it is a test's matter.
    time(&mut command(world))?;
    let (wall, results) = at_once(world, count);

    let mut times = Vec::new();
    let mut failures = Vec::new();
    for result in results {
        match result {
            Ok(time) => times.push(time),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    println!("{count} starts at once: {} succeeded, {} failed", times.len(), failures.len());
    println!("{:<28} {:>9.1} ms", "all of them, wall time", milliseconds(wall));
    println!("{:<28} {:>9.1} ms", "wall time for each", milliseconds(wall) / count as f64);
    let series = Series::new(times);
    if let Some(series) = &series {
        println!("{:<28} {:>9.1} ms", "median of a start", milliseconds(series.median()));
        println!("{:<28} {:>9.1} ms", "p95 of a start", milliseconds(series.p95()));
    }
    for failure in failures.iter().take(5) {
        println!("failure: {failure}");
    }
    Ok(json!({
        "count": count, "wall_ms": milliseconds(wall), "failures": failures,
        "starts": series.as_ref().map(Series::json),
    }))
}

fn command(world: &World) -> std::process::Command {
    let mut command = world.run(&["--rm"]);
    command.arg("/true");
    command
}

/// All threads wait for each other, then start.
fn at_once(world: &World, count: usize) -> (Duration, Vec<Result<Duration>>) {
    let gate = Barrier::new(count + 1);
    std::thread::scope(|scope| {
        let one = || {
            let mut command = command(world);
            gate.wait();
            time(&mut command)
        };
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        gate.wait();
        let start = Instant::now();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("the thread panicked")))
            .collect();
        (start.elapsed(), results)
    })
}
