//! `bench runtime`: the command line of an OCI runtime, minidocker's and its peers', one after the other in random
//! order with the same bundles.
//!
//! - `kit`: the programs that measure and are measured, in a directory that can be carried into the QEMU machine.
//! - `peers`: which runtimes there are.
//! - `bundle`: the one config.json.
//! - `field`: the place where containers are made, and the way to clean it.
//! - `times`, `costs`, `parallel`: the three measurements.
//! - `order`: what these commands call, for the linker.

mod bundle;
mod costs;
mod field;
mod kit;
pub(crate) mod order;
mod parallel;
mod peers;
mod times;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::Ready;
use crate::arguments::Arguments;
use field::Field;
use kit::Kit;
use peers::{Family, Runtime};

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Of each operation.
    runs: usize,
    /// Before each operation: see `start`.
    spacing_ms: u64,
    /// Containers at once.
    count: usize,
    place: Place,
    /// Programs that are there already.
    kit: Option<PathBuf>,
}

/// Where it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    /// In the QEMU machine with control groups version 2.
    Machine,
    /// In a mount namespace in which the version 2 hierarchy beside those of version 1 is not mounted: crun refuses
    /// to work where both are.
    WithoutUnified,
}

impl Plan {
    /// Takes its options.
    pub(crate) fn read(arguments: &mut Arguments) -> Result<Self> {
        let place = match (arguments.flag("--vm"), arguments.flag("--without-unified")) {
            (false, false) => Place::Here,
            (true, false) => Place::Machine,
            (false, true) => Place::WithoutUnified,
            (true, true) => {
                bail!("--vm has version 2 alone: there is nothing for --without-unified to take away")
            }
        };
        // Emulated code is some 20 times slower.
        let (runs, count) = if place == Place::Machine { (5, 20) } else { (40, 100) };
        let plan = Self {
            runs: arguments.value_or("--runs", runs)?,
            spacing_ms: arguments.value_or("--spacing-ms", 250)?,
            count: super::count(arguments.value_or("--count", count)?)?,
            place,
            kit: arguments.value("--kit")?.map(PathBuf::from),
        };
        if plan.runs == 0 {
            bail!("--runs 0 measures nothing");
        }
        Ok(plan)
    }

    /// The same in words, for the program that measures somewhere else.
    fn words(&self, kit: &Path) -> Vec<String> {
        let options = [
            ("--runs", self.runs.to_string()),
            ("--spacing-ms", self.spacing_ms.to_string()),
            ("--count", self.count.to_string()),
            ("--kit", kit.display().to_string()),
            ("-o", kit.join(kit::RESULT).display().to_string()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        ["bench", "runtime"].map(str::to_owned).into_iter().chain(options).collect()
    }
}

/// Builds what is needed.
pub(crate) fn prepare(plan: Plan, program: Option<PathBuf>) -> Result<Ready> {
    let kit = match &plan.kit {
        Some(directory) => Kit::copy_of(directory)?,
        None => Kit::build(program)?,
    };
    Ok(Box::new(move || match plan.place {
        Place::Here => measure(&plan, &kit),
        Place::Machine => kit.in_machine(&plan.words(kit.path())),
        Place::WithoutUnified => kit.without_unified(&plan.words(kit.path())),
    }))
}

/// All three measurements, and what they say of the targets.
fn measure(plan: &Plan, kit: &Kit) -> Result<Value> {
    let field = Field::new(kit)?;
    let mut runtimes = peers::found(kit)?;
    field.leave_out_who_fails(&mut runtimes)?;
    println!("control groups {}; {}", field::control_groups(), versions(&runtimes));
    let times = times::measure(plan, &field, &runtimes)?;
    let costs = costs::measure(plan.runs, &field, &runtimes)?;
    let parallel = parallel::measure(plan.count, &field, &runtimes)?;
    let targets = [times.verdicts(&runtimes), costs.verdicts(&runtimes), parallel.verdicts()].concat();
    println!("\ntargets");
    targets.iter().for_each(Verdict::print);
    Ok(json!({
        "control_groups": field::control_groups(), "spacing_ms": plan.spacing_ms,
        "runtimes": runtimes.iter().map(|runtime| &runtime.version).collect::<Vec<_>>(),
        "times": times.json(), "costs": costs.json(), "parallel": parallel.json(),
        "targets": targets.iter().map(Verdict::json).collect::<Vec<_>>(),
    }))
}

fn versions(runtimes: &[Runtime]) -> String {
    runtimes.iter().map(|runtime| runtime.version.clone()).collect::<Vec<_>>().join(", ")
}

/// What a measurement says of a target.
#[derive(Debug, Clone, PartialEq)]
struct Verdict {
    what: String,
    /// None: nothing to compare with was there.
    value: Option<f64>,
    at_most: f64,
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self.value {
            None => "not measured",
            Some(value) if value <= self.at_most => "met",
            Some(_) => "not met",
        }
    }

    fn print(&self) {
        let value = self.value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        println!("{:<46} {value:>6}  at most {}: {}", self.what, self.at_most, self.word());
    }

    fn json(&self) -> Value {
        json!({ "what": self.what, "value": self.value, "at_most": self.at_most, "is": self.word() })
    }
}

/// One line of a table: what each runtime needed, in the order of the runtimes.
#[derive(Debug, Clone)]
struct Row {
    name: String,
    /// The middle one, for each runtime.
    values: Vec<f64>,
}

impl Row {
    /// Ours divided by the best of a family; none where it is absent.
    fn ratio(&self, index: usize, family: Family, runtimes: &[Runtime]) -> Option<f64> {
        let theirs = self.values.iter().zip(runtimes).filter(|(_, runtime)| runtime.family == family);
        let best = theirs.map(|(value, _)| *value).min_by(f64::total_cmp)?;
        (best > 0.0).then(|| self.values[index] / best)
    }

    /// The ratios to runc and crun, as columns.
    fn columns(&self, index: usize, runtimes: &[Runtime]) -> String {
        let column = |family| match self.ratio(index, family, runtimes) {
            Some(ratio) => format!(" {ratio:>8.2}"),
            None => format!(" {:>8}", "-"),
        };
        column(Family::Runc) + &column(Family::Crun)
    }
}

/// The largest ratio of ours in these rows.
fn worst<'a>(rows: impl IntoIterator<Item = &'a Row>, family: Family, runtimes: &[Runtime]) -> Option<f64> {
    let ours = runtimes.iter().position(|runtime| runtime.family == Family::Minidocker)?;
    rows.into_iter().filter_map(|row| row.ratio(ours, family, runtimes)).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Arguments {
        Arguments::new(text.split_whitespace().map(String::from))
    }

    fn runtimes() -> Vec<Runtime> {
        let runtime = |family, version: &str| Runtime {
            family,
            version: version.to_owned(),
            program: PathBuf::from("/x"),
        };
        vec![runtime(Family::Minidocker, "ours"), runtime(Family::Runc, "old"), runtime(Family::Runc, "new")]
    }

    #[test]
    fn the_machine_has_fewer_rounds_and_the_words_carry_the_plan_over() {
        let plan = Plan::read(&mut arguments("--vm --count=7")).unwrap();
        assert_eq!((plan.runs, plan.count, plan.place), (5, 7, Place::Machine));
        let mut words = Arguments::new(plan.words(Path::new("/k")).into_iter().skip(2));
        let inner = Plan::read(&mut words).unwrap();
        assert_eq!((inner.runs, inner.count, inner.place), (5, 7, Place::Here));
        assert_eq!(inner.kit.as_deref(), Some(Path::new("/k")));
        assert_eq!(words.value("-o").unwrap().as_deref(), Some("/k/result.json"));
        for wrong in ["--runs 0", "--count 0", "--vm --without-unified"] {
            assert!(Plan::read(&mut arguments(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn compares_with_the_best_of_a_family() {
        let row = Row { name: String::new(), values: vec![3.0, 10.0, 6.0] };
        assert_eq!(row.ratio(0, Family::Runc, &runtimes()), Some(0.5));
        assert_eq!(row.ratio(1, Family::Runc, &runtimes()), Some(10.0 / 6.0));
        assert_eq!(row.ratio(0, Family::Crun, &runtimes()), None);
        let other = Row { name: String::new(), values: vec![4.0, 5.0, 8.0] };
        assert_eq!(worst([&row, &other], Family::Runc, &runtimes()), Some(0.8));
        assert_eq!(worst([&row], Family::Crun, &runtimes()), None);
    }

    #[test]
    fn a_verdict_without_a_value_is_none() {
        let verdict = |value| Verdict { what: String::new(), value, at_most: 0.5 }.word();
        assert_eq!(
            [verdict(Some(0.5)), verdict(Some(0.51)), verdict(None)],
            ["met", "not met", "not measured"]
        );
    }
}
