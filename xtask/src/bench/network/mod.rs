//! `bench network`: what a network costs against a bare pair of links, and against other engines.
//!
//! - `subject`: who is measured, each in namespaces of its own: bare links, minidocker, Docker with and without its
//!   proxy, Podman.
//! - `paths`: how much goes over each way and how fast it answers.
//! - `starts`: how long a container with published ports takes to start.

mod paths;
mod starts;
mod subject;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use super::works::{Named, Works};
use super::{Ready, world};
use crate::arguments::Arguments;
use crate::artifacts;
use subject::Subject;

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Rounds; in each every subject has its turn on every way.
    runs: usize,
    /// How long one flow of bytes lasts.
    seconds: f64,
    /// How often a byte goes there and back.
    questions: usize,
    /// Streams by iperf3 in the place of our own small program.
    iperf3: bool,
    works: Works<Work>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Paths,
    Starts,
}

impl Named for Work {
    const ALL: &'static [Self] = &[Self::Paths, Self::Starts];

    fn name(self) -> &'static str {
        match self {
            Self::Paths => "paths",
            Self::Starts => "starts",
        }
    }
}

impl Plan {
    /// Takes its options.
    pub(crate) fn read(arguments: &mut Arguments) -> Result<Self> {
        let plan = Self {
            runs: arguments.value_or("--runs", 15)?,
            seconds: arguments.value_or("--seconds", 2.0)?,
            questions: arguments.value_or("--questions", 10_000)?,
            iperf3: arguments.flag("--iperf3"),
            works: arguments.value_or("--work", Works::default())?,
        };
        if plan.runs == 0 || plan.questions == 0 || !(0.1..=60.0).contains(&plan.seconds) {
            bail!("--runs and --questions are numbers from 1, --seconds is one from 0.1 to 60");
        }
        if plan.iperf3 && !Path::new("/usr/bin/iperf3").exists() {
            bail!("--iperf3: there is no /usr/bin/iperf3; the package is called iperf3");
        }
        Ok(plan)
    }
}

/// Makes what is needed.
pub(crate) fn prepare(plan: Plan, program: Option<PathBuf>) -> Result<Ready> {
    let minidocker = world::program(program)?;
    let built = artifacts::build(&["build", "--release", "--locked", "-p", "inside"])?;
    let inside = artifacts::named(&built, "inside")?;
    Ok(Box::new(move || measure(&plan, &minidocker, &inside)))
}

fn measure(plan: &Plan, minidocker: &Path, inside: &Path) -> Result<Value> {
    let mut subjects = Subject::all(minidocker, inside, plan.iperf3)?;
    let mut results = Map::new();
    for work in &plan.works.0 {
        let result = match work {
            Work::Paths => paths::paths(plan, &mut subjects)?,
            Work::Starts => starts::starts(plan, &subjects)?,
        };
        results.insert(work.name().to_owned(), result);
    }
    Ok(Value::Object(results))
}

/// The middle one, or the mean of the two in the middle; none of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_few() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
