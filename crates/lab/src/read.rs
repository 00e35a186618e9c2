//! A run's directory, read into memory. A run that was stopped has fewer measurements than it was to have; what is
//! there must be right, and an error names the file and the key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use step::Failure;

use crate::record::{Environment, FORMAT, Kind, Measurement, Parity, Run, Series, Slot};

/// A run, as far as it got.
#[derive(Debug, Clone)]
pub struct Results {
    /// As it was named, for headings.
    pub name: String,
    /// What was asked.
    pub run: Run,
    /// What the environments had, by environment and size in the order of the run.
    pub parity: Vec<Parity>,
    /// What was measured, by number.
    pub measurements: Vec<Measurement>,
    /// What the host saw, by number of the measurement.
    pub series: BTreeMap<u32, Series>,
}

/// Reads `directory`. Fails where it is no run, where a file cannot be read or is not of its format, and where a
/// measurement is of something that the run does not have.
pub fn read(directory: &Path) -> Result<Results, Failure> {
    let run: Run = match file(&directory.join("run.json")) {
        Ok(run) => run,
        Err(failure) if failure.errno == 2 => {
            return Err(Failure::because(
                "bench.read",
                shown(directory),
                "has no run.json, so it is no run of a suite",
            )
            .hint("'minidocker bench run -o DIR' writes one"));
        }
        Err(failure) => return Err(failure),
    };
    if run.format != FORMAT {
        let reason = format!("key format: is {}, this program reads {FORMAT}", run.format);
        return Err(Failure::because("bench.read", shown(&directory.join("run.json")), reason)
            .hint("read it with the version that wrote it: key version tells which"));
    }
    let mut parity: Vec<Parity> = Vec::new();
    for path in files(&directory.join("parity"))? {
        parity.push(file(&path)?);
    }
    let place = |one: &Parity| {
        let environment = run.environments.iter().position(|known| known.name == one.environment);
        (environment, run.sizes.iter().position(|known| known.name == one.size))
    };
    parity.sort_by_key(place);
    let mut measurements = Vec::new();
    let mut series = BTreeMap::new();
    for path in files(&directory.join("measurements"))? {
        let measurement: Measurement = file(&path)?;
        check(&run, &measurement.slot, &path)?;
        let number = measurement.slot.number;
        match file(&directory.join(format!("series/{number:05}.json"))) {
            Ok(one) => {
                series.insert(number, one);
            }
            // The sampler may have been left out, or ended with the run.
            Err(failure) if failure.errno == 2 => {}
            Err(failure) => return Err(failure),
        }
        measurements.push(measurement);
    }
    measurements.sort_by_key(|measurement: &Measurement| measurement.slot.number);
    Ok(Results { name: shown(directory), run, parity, measurements, series })
}

impl Results {
    /// What was to be measured and is not.
    pub fn missing(&self) -> Vec<&Slot> {
        let there: BTreeSet<u32> = self.measurements.iter().map(|one| one.slot.number).collect();
        self.run.order.iter().filter(|slot| !there.contains(&slot.number)).collect()
    }

    /// Measurements that ended without metrics.
    pub fn failed(&self) -> impl Iterator<Item = &Measurement> {
        self.measurements.iter().filter(|one| one.exit_code != 0 || !one.problem.is_empty())
    }

    /// What every other environment is compared to: the first native one, or else the first of all.
    pub fn baseline(&self) -> Option<&Environment> {
        let all = &self.run.environments;
        all.iter().find(|environment| environment.kind == Kind::Native).or(all.first())
    }

    /// The measurements of a case in an environment of a size, in the order of their repetitions.
    pub fn of(&self, case: &str, environment: &str, size: &str) -> Vec<&Measurement> {
        let is = |slot: &Slot| slot.case == case && slot.environment == environment && slot.size == size;
        let mut all: Vec<&Measurement> = self.measurements.iter().filter(|one| is(&one.slot)).collect();
        all.sort_by_key(|one| one.slot.repetition);
        all
    }
}

/// Whether an environment is a machine whose processor is emulated.
pub fn is_emulated(environment: &Environment) -> bool {
    let tells =
        |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| word.eq_ignore_ascii_case("tcg"));
    environment.kind == Kind::Vm
        && (tells(&environment.description) || environment.facts.values().any(|fact| tells(fact)))
}

/// Refuses a measurement of something that the run does not have.
fn check(run: &Run, slot: &Slot, path: &Path) -> Result<(), Failure> {
    let known = |key: &str, value: &str, there: bool| {
        let reason = format!("key slot.{key}: run.json has no {key} {value:?}");
        if there { Ok(()) } else { Err(Failure::because("bench.read", shown(path), reason)) }
    };
    known("case", &slot.case, run.cases.iter().any(|case| case.name == slot.case))?;
    known("environment", &slot.environment, run.environments.iter().any(|one| one.name == slot.environment))?;
    known("size", &slot.size, run.sizes.iter().any(|size| size.name == slot.size))
}

/// The JSON files of a directory, by name; none where it does not exist.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::new("bench.read", shown(directory), error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Failure::new("bench.read", shown(directory), error))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn file<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::new("bench.read", shown(path), error))?;
    serde_json::from_str(&text).map_err(|error| {
        let key = key_before(&text, error.line(), error.column());
        let key = key.map_or_else(String::new, |key| format!("key {key}: "));
        Failure::because("bench.read", shown(path), format!("{key}{error}"))
    })
}

/// The key whose value, or within whose value, line and column lie; serde_json tells no more than those.
fn key_before(text: &str, line: usize, column: usize) -> Option<String> {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let before = text.get(..(start + column).min(text.len())).unwrap_or(text);
    let colon = before.rmatch_indices("\":").next()?.0;
    let name = before[..colon].rfind('"')? + 1;
    Some(before[name..colon].to_owned())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn what_was_written_is_read() {
        let results = fixture::course();
        let directory = fixture::Directory::of(&results);
        let read = read(directory.path()).unwrap();
        assert_eq!(read.run, results.run);
        assert_eq!(read.parity, results.parity);
        assert_eq!(read.measurements, results.measurements);
        assert_eq!(read.series, results.series);
        assert!(read.missing().is_empty());
        assert_eq!(read.baseline().unwrap().name, "native");
    }

    #[test]
    fn a_stopped_run_says_what_is_missing() {
        let mut results = fixture::course();
        let all = results.run.order.len();
        results.measurements.truncate(7);
        results.series.clear();
        let directory = fixture::Directory::of(&results);
        let read = read(directory.path()).unwrap();
        assert_eq!((read.measurements.len(), read.missing().len()), (7, all - 7));
        assert!(read.series.is_empty());
    }

    #[test]
    fn errors_name_file_and_key() {
        let results = fixture::course();
        let refused = |file: &str, from: &str, to: &str| {
            let directory = fixture::Directory::of(&results);
            let path = directory.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{file} has no {from}");
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
            super::read(directory.path()).unwrap_err().to_string()
        };
        let words = refused("run.json", "\"repeat\": 5", "\"repeat\": \"five\"");
        assert!(
            words.contains("run.json: key repeat: invalid type: string \"five\", expected u32"),
            "{words}"
        );
        let words = refused("run.json", "\"seed\"", "\"sead\"");
        assert!(words.contains("run.json") && words.contains("missing field `seed`"), "{words}");
        let words = refused("run.json", "\"format\": 1", "\"format\": 2");
        assert!(words.contains("key format: is 2, this program reads 1"), "{words}");
        let words = refused("measurements/00003.json", "\"exit_code\": 0", "\"exit_code\": null");
        assert!(words.contains("measurements/00003.json: key exit_code: invalid type: null"), "{words}");
        let words = refused("measurements/00001.json", "\"size\": \"", "\"size\": \"x");
        assert!(words.contains("00001.json: key slot.size: run.json has no size \"x"), "{words}");
        let words = refused("series/00002.json", "{", "");
        assert!(words.contains("series/00002.json"), "{words}");
    }

    #[test]
    fn a_directory_that_is_no_run_is_named() {
        let directory = fixture::Directory::empty();
        let failure = read(directory.path()).unwrap_err();
        assert!(failure.to_string().contains("has no run.json"), "{failure}");
        assert!(failure.hint.unwrap().contains("bench run"));
    }

    #[test]
    fn tells_an_emulated_machine() {
        let results = fixture::course();
        let emulated: Vec<bool> = results.run.environments.iter().map(is_emulated).collect();
        assert_eq!(emulated, [false, false, true]);
    }
}
