//! `bench engine`: what a user does all day, by minidocker and by Docker's daemon, in turn.
//!
//! - `work`: what is measured, what is promised of it.
//! - `commands`: single commands: `run`, `exec`, `ps`, starts at once.
//! - `log`: what a container prints, written and read.
//! - `idle`: what is kept in memory while containers do nothing.

mod commands;
mod idle;
mod log;
mod work;

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::engines::{self, Bridge, Engine, OURS, owned};
use super::place::Place;
use super::statistics::{Series, milliseconds};
use super::works::{Named as _, Works};
use super::{Ready, small, world};
use crate::arguments::Arguments;
use work::Work;

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    runs: usize,
    /// Containers that `ps` lists.
    many: usize,
    /// Containers that do nothing.
    idle: usize,
    /// What a container prints, in mebibytes.
    log: u64,
    works: Works<Work>,
}

impl Plan {
    /// Takes its options.
    pub(crate) fn read(arguments: &mut Arguments) -> Result<Self> {
        let plan = Self {
            runs: arguments.value_or("--runs", 20)?,
            many: arguments.value_or("--many", 500)?,
            idle: arguments.value_or("--idle", 300)?,
            log: arguments.value_or("--log-mib", 1024)?,
            works: arguments.value_or("--work", Works::default())?,
        };
        if plan.runs == 0 || plan.many == 0 || plan.idle == 0 || plan.log == 0 {
            bail!("--runs, --many, --idle and --log-mib are numbers from 1");
        }
        Ok(plan)
    }
}

/// Makes what is needed.
pub(crate) fn prepare(plan: Plan, program: Option<PathBuf>) -> Result<Ready> {
    let minidocker = world::program(program)?;
    Ok(Box::new(move || measure(&plan, &minidocker)))
}

/// The place and who is measured in it, ours first.
struct Field {
    place: Place,
    engines: Vec<Engine>,
}

fn measure(plan: &Plan, minidocker: &std::path::Path) -> Result<Value> {
    let mut place = Place::new("bench-engine")?;
    let mut engines = vec![engines::ours(&mut place, minidocker)?];
    match engines::docker(&mut place, Bridge::Own)? {
        Some(docker) => engines.push(docker),
        None => println!("docker is left out: it is not installed"),
    }
    for engine in &engines {
        place.run(&engine.command(&[&owned(["load", "-q", "-i", &place.small()])]))?;
    }
    let field = Field { place, engines };
    let mut results = Map::new();
    for work in &plan.works.0 {
        println!("\n{}", work.title(plan));
        let result = match work {
            Work::Run => commands::run(plan, &field),
            Work::Exec => commands::exec(plan, &field),
            Work::Parallel => commands::parallel(plan, &field),
            Work::List => commands::list(plan, &field),
            Work::Log => log::log(plan, &field),
            Work::Idle => idle::idle(plan, &field),
        };
        results.insert(work.name().to_owned(), result?);
    }
    Ok(Value::Object(results))
}

/// Prints a table of times, and whether ours needs at most `most` times Docker's.
fn report(what: &str, rows: &[(&str, Series)], most: f64) -> Value {
    let docker = rows.iter().find(|(name, _)| *name != OURS).map(|(_, series)| series.median().as_secs_f64());
    println!("{:<22} {:>10} {:>10} {:>10} {:>10}", "milliseconds", "median", "min", "p95", "x docker");
    let mut values = Map::new();
    let ratio = |series: &Series| docker.map(|docker| series.median().as_secs_f64() / docker);
    for (name, series) in rows {
        let [median, min, p95] = [series.median(), series.min(), series.p95()].map(milliseconds);
        let cell = ratio(series).map_or_else(String::new, |ratio| format!("{ratio:.3}"));
        println!("{name:<22} {median:>10.2} {min:>10.2} {p95:>10.2} {cell:>10}");
        values.insert((*name).to_owned(), series.json());
    }
    let ours = rows.iter().find(|(name, _)| *name == OURS);
    if let Some(ratio) = ours.and_then(|(_, series)| ratio(series)) {
        println!("{what}: {ratio:.3} of docker, target {most:.3} is {}", verdict(ratio <= most));
    }
    json!({"engines": values, "target": {"most": most, "of": "docker"}})
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "not met" }
}

/// Words of a command on the small image.
fn on_small(options: &[&str], command: &[&str]) -> Vec<String> {
    let words = options.iter().chain(&[small::NAME]).chain(command);
    words.map(|word| (*word).to_owned()).collect()
}
