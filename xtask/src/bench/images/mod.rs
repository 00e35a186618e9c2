//! `bench images`: a large image from a registry on this machine, brought and unpacked by minidocker, Docker, Podman,
//! and skopeo with umoci; and what the machine allows at most.
//!
//! - `content`: the image, made once and kept below the target directory.
//! - `place`: namespaces for registry and engines, and the control groups that count their processor time.
//! - `engines`: what each is told.
//! - `limits`: how fast one processor inflates and digests this very data, and the disk writes it.

mod content;
mod engines;
mod limits;
mod place;

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::Ready;
use super::statistics::{Series, milliseconds};
use crate::arguments::Arguments;
use content::Content;
use engines::{Engine, Work};
use place::Place;

/// At most so much of the best other's wall time, and of the best other's processor time.
const TARGET: f64 = 0.5;

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    runs: usize,
    /// Of the image, in mebibytes before compression.
    size: usize,
}

impl Plan {
    /// Takes its options.
    pub(crate) fn read(arguments: &mut Arguments) -> Result<Self> {
        let plan =
            Self { runs: arguments.value_or("--runs", 3)?, size: arguments.value_or("--size-mib", 1024)? };
        if plan.runs == 0 || plan.size < 10 {
            bail!("--runs is a number from 1, --size-mib from 10");
        }
        Ok(plan)
    }
}

/// Makes what is needed.
pub(crate) fn prepare(plan: Plan, program: Option<std::path::PathBuf>) -> Result<Ready> {
    let minidocker = super::world::program(program)?;
    let content = Content::cached(plan.size)?;
    Ok(Box::new(move || measure(plan, &minidocker, &content)))
}

/// How long one run took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    /// Until all of it was on disk too, for those who do not see to it themselves.
    durable: Duration,
    /// Of all its processes, a daemon's too; user and system.
    cpu: Duration,
}

fn measure(plan: Plan, minidocker: &std::path::Path, content: &Content) -> Result<Value> {
    println!(
        "an image of {} layers, {} MB, {} MB packed ({:.2}:1), {} files; {} runs each, in turn",
        content.layers,
        content.bytes / 1_000_000,
        content.packed / 1_000_000,
        content.bytes as f64 / content.packed as f64,
        content.files,
        plan.runs
    );
    let limits = limits::measure(content)?;
    limits.print();
    let mut place = Place::new(content)?;
    let mut engines = engines::found(&mut place, minidocker)?;
    let mut results = Map::new();
    for work in Work::ALL {
        let rows = series(plan.runs, &place, &mut engines, work)?;
        results.insert(work.name().to_owned(), report(work, &rows));
    }
    Ok(
        json!({"image_bytes": content.bytes, "packed_bytes": content.packed, "limits": limits.json(), "work": results}),
    )
}

/// The costs of those who can do it, every one in turn.
fn series(
    runs: usize,
    place: &Place,
    engines: &mut [Box<dyn Engine>],
    work: Work,
) -> Result<Vec<(String, Vec<Cost>)>> {
    let mut rows: Vec<(String, Vec<Cost>)> = Vec::new();
    let mut able = Vec::new();
    for engine in engines.iter_mut() {
        match engine.can(place, work) {
            Ok(()) => able.push(engine),
            Err(reason) => println!("{}: {} is left out, {reason}", work.name(), engine.name()),
        }
    }
    for run in 0..runs {
        for (index, engine) in able.iter_mut().enumerate() {
            engine.before(place, work)?;
            let cost = place.cost(engine.group(), &engine.words(place, work))?;
            engine.after(place, work)?;
            if run == 0 {
                rows.push((engine.name().to_owned(), Vec::new()));
            }
            rows[index].1.push(cost);
        }
    }
    Ok(rows)
}

/// One of a run's times.
type Column = fn(&Cost) -> Duration;

/// Prints a table and whether the target is met.
fn report(work: Work, rows: &[(String, Vec<Cost>)]) -> Value {
    let median = |costs: &[Cost], of: Column| {
        Series::new(costs.iter().map(of).collect())
            .map_or(0.0, |series| milliseconds(series.median()) / 1000.0)
    };
    let columns: [(&str, Column); 3] =
        [("wall", |cost| cost.wall), ("wall and sync", |cost| cost.durable), ("processor", |cost| cost.cpu)];
    let best = |of: Column| {
        let others =
            rows.iter().filter(|(name, _)| name != engines::OURS).map(|(_, costs)| median(costs, of));
        others.min_by(f64::total_cmp)
    };
    println!("\n{}; seconds, and times the best other", work.title());
    println!("{:<16} {:>16} {:>16} {:>16}", "", columns[0].0, columns[1].0, columns[2].0);
    let mut values = Map::new();
    for (name, costs) in rows {
        let cell = |of: Column| {
            let own = median(costs, of);
            let ratio = best(of).map_or_else(String::new, |best| format!(" ({:.2})", own / best));
            format!("{own:.2}{ratio}")
        };
        let [wall, durable, cpu] = columns.map(|(_, of)| cell(of));
        println!("{name:<16} {wall:>16} {durable:>16} {cpu:>16}");
        let all = |of: Column| costs.iter().map(of).map(milliseconds).collect::<Vec<_>>();
        let [wall, durable, cpu] = columns.map(|(_, of)| all(of));
        values.insert(name.clone(), json!({"wall_ms": wall, "wall_and_sync_ms": durable, "cpu_ms": cpu}));
    }
    for (name, of) in columns {
        let Some((_, costs)) = rows.iter().find(|(name, _)| name == engines::OURS) else { continue };
        let Some(best) = best(of) else { continue };
        let ratio = median(costs, of) / best;
        let word = if ratio <= TARGET { "met" } else { "not met" };
        println!("{} {name}: {ratio:.2} of the best other, target {TARGET} is {word}", work.name());
    }
    Value::Object(values)
}
