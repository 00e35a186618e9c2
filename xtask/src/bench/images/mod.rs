//! `bench images`: a large image from a registry on this machine, brought and unpacked by minidocker, Docker, Podman,
//! and skopeo with umoci; a large container that becomes an image; a build of small steps; and what the machine allows
//! at most.
//!
//! - `work`: what is measured, and what it is measured against.
//! - `content`: the large image, made once and kept below the target directory.
//! - `engines`: what each is told, and the registry.
//! - `limits`: how fast one processor inflates and digests this very data, and the disk writes it.

mod content;
mod engines;
mod limits;
mod work;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::engines::OURS;
use super::place::{Cost, Place};
use super::statistics::{Series, milliseconds};
use super::works::{Named as _, Works};
use super::{Ready, small};
use crate::arguments::Arguments;
use content::Content;
use engines::Engine;
use limits::Limits;
use work::{CACHED_STEP, Other, Work};

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    runs: usize,
    /// Of the image, in mebibytes before compression.
    size: usize,
    works: Works<Work>,
}

impl Plan {
    /// Takes its options.
    pub(crate) fn read(arguments: &mut Arguments) -> Result<Self> {
        let plan = Self {
            runs: arguments.value_or("--runs", 3)?,
            size: arguments.value_or("--size-mib", 1024)?,
            works: arguments.value_or("--work", Works::default())?,
        };
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
    Ok(Box::new(move || measure(&plan, &minidocker, &content)))
}

fn measure(plan: &Plan, minidocker: &std::path::Path, content: &Content) -> Result<Value> {
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
    let mut place = Place::new("bench-images")?;
    small::context(Path::new(&engines::context(&place)), work::STEPS)?;
    engines::registry(&place, content)?;
    let mut engines = engines::found(&mut place, minidocker, content)?;
    let mut results = Map::new();
    let chosen = &plan.works.0;
    let both = chosen.starts_with(&[Work::Pull, Work::Remove]);
    for work in chosen.iter().copied().filter(|work| !(both && *work == Work::Remove)) {
        // What was pulled has to go in any case.
        let then = (both && work == Work::Pull).then_some(Work::Remove);
        let (rows, removals) = series(plan.runs, &place, &mut engines, work, then)?;
        results.insert(work.name().to_owned(), report(work, &rows, &limits));
        if let Some(then) = then {
            results.insert(then.name().to_owned(), report(then, &removals, &limits));
        }
    }
    Ok(
        json!({"image_bytes": content.bytes, "packed_bytes": content.packed, "limits": limits.json(), "work": results}),
    )
}

/// What each engine's runs cost.
type Rows = Vec<(String, Vec<Cost>)>;

/// The costs of those who can do it, every one in turn; and those of the work that undoes it, if that is measured too.
fn series(
    runs: usize,
    place: &Place,
    engines: &mut [Box<dyn Engine>],
    work: Work,
    then: Option<Work>,
) -> Result<(Rows, Rows)> {
    let (mut rows, mut undone): (Rows, Rows) = Default::default();
    let mut able = Vec::new();
    for engine in engines.iter_mut() {
        match engine.can(place, work) {
            Ok(()) => {
                rows.push((engine.name().to_owned(), Vec::new()));
                undone.push((engine.name().to_owned(), Vec::new()));
                able.push(engine);
            }
            Err(reason) => println!("{}: {} is left out, {reason}", work.name(), engine.name()),
        }
    }
    for _ in 0..runs {
        for (index, engine) in able.iter_mut().enumerate() {
            engine.before(place, work)?;
            rows[index].1.push(place.cost(engine.group(), &engine.words(place, work))?);
            match then {
                Some(then) => undone[index].1.push(place.cost(engine.group(), &engine.words(place, then))?),
                None => engine.after(place, work)?,
            }
        }
    }
    Ok((rows, undone))
}

/// One of a run's times.
type Column = fn(&Cost) -> Duration;

/// The median of a column, in seconds.
fn median(costs: &[Cost], of: Column) -> f64 {
    Series::new(costs.iter().map(of).collect()).map_or(0.0, |series| milliseconds(series.median()) / 1000.0)
}

const COLUMNS: [(&str, Column); 3] =
    [("wall", |cost| cost.wall), ("wall and sync", |cost| cost.durable), ("processor", |cost| cost.cpu)];

/// Prints a table and whether the target is met.
fn report(work: Work, rows: &[(String, Vec<Cost>)], limits: &Limits) -> Value {
    let target = work.target();
    let other = |of: Column| {
        let others = rows.iter().filter(|(name, _)| match target.of {
            Other::Best => name != OURS,
            Other::Named(other) => name == other,
        });
        others.map(|(_, costs)| median(costs, of)).min_by(f64::total_cmp)
    };
    let whom = match target.of {
        Other::Best => "the best other",
        Other::Named(name) => name,
    };
    println!("\n{}; seconds, and times {whom}", work.title());
    println!("{:<16} {:>16} {:>16} {:>16}", "", COLUMNS[0].0, COLUMNS[1].0, COLUMNS[2].0);
    let mut values = Map::new();
    for (name, costs) in rows {
        let cell = |of: Column| {
            let own = median(costs, of);
            let ratio = other(of).map_or_else(String::new, |other| format!(" ({:.2})", own / other));
            format!("{own:.3}{ratio}")
        };
        let [wall, durable, cpu] = COLUMNS.map(|(_, of)| cell(of));
        println!("{name:<16} {wall:>16} {durable:>16} {cpu:>16}");
        let all = |of: Column| costs.iter().map(of).map(milliseconds).collect::<Vec<_>>();
        let [wall, durable, cpu] = COLUMNS.map(|(_, of)| all(of));
        values.insert(name.clone(), json!({"wall_ms": wall, "wall_and_sync_ms": durable, "cpu_ms": cpu}));
    }
    if let Some((_, costs)) = rows.iter().find(|(name, _)| name == OURS) {
        limits.print_for(work);
        for (name, of) in COLUMNS {
            let Some(other) = other(of) else { continue };
            let (ratio, most) = (median(costs, of) / other, target.most);
            println!(
                "{} {name}: {ratio:.2} of {whom}, target {most} is {}",
                work.name(),
                verdict(ratio <= most)
            );
        }
        if let Some(steps) = work.steps() {
            let each = median(costs, COLUMNS[0].1) * 1000.0 / f64::from(steps);
            match work {
                Work::Rebuild => println!(
                    "{}: {each:.2} ms a step, target {CACHED_STEP} is {}",
                    work.name(),
                    verdict(each <= CACHED_STEP)
                ),
                _ => println!("{}: {each:.2} ms a step", work.name()),
            }
        }
    }
    let Other::Named(name) = target.of else {
        return json!({"engines": values, "target": {"most": target.most, "of": "the best other"}});
    };
    json!({"engines": values, "target": {"most": target.most, "of": name}})
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "not met" }
}
