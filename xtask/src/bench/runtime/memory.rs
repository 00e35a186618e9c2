//! How much memory the commands take: the largest resident set of each, as the kernel remembers it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::Pid;
use serde_json::{Map, Value};

use super::super::world::time;
use super::bundle::Filter;
use super::field::{Field, reap};
use super::peers::{Family, Runtime};
use super::{Row, Verdict, worst};

/// Memory varies little.
pub(super) const RUNS: usize = 10;

/// At most as much as crun.
const TARGET: f64 = 1.0;

const FILTER: Filter = Filter::Docker;

/// What is measured, in KiB.
const NAMES: [&str; 7] =
    ["create", "start", "delete", "run", "exec", "init at its gate", "the same, proportional"];
/// What the target is about.
const JUDGED: [usize; 4] = [0, 3, 4, 5];

pub(super) struct Memory {
    rows: Vec<Row>,
    versions: Vec<String>,
}

pub(super) fn measure(runs: usize, field: &Field<'_>, runtimes: &[Runtime]) -> Result<Memory> {
    let mut taken = vec![vec![Vec::new(); runtimes.len()]; NAMES.len()];
    for _ in 0..runs {
        for (index, runtime) in runtimes.iter().enumerate() {
            let all = once(field, runtime).with_context(|| runtime.version.clone())?;
            all.into_iter().zip(&mut taken).for_each(|(value, row)| row[index].push(value));
            reap();
        }
    }
    let row = |(name, all): (&str, Vec<Vec<u64>>)| Row {
        name: name.to_owned(),
        values: all.into_iter().map(median).collect(),
    };
    let memory = Memory {
        rows: NAMES.into_iter().zip(taken).map(row).collect(),
        versions: runtimes.iter().map(|runtime| runtime.version.clone()).collect(),
    };
    memory.print(runs, runtimes);
    Ok(memory)
}

/// One life of a container, one `run`, one `exec`, each in the order of the names.
fn once(field: &Field<'_>, runtime: &Runtime) -> Result<[u64; NAMES.len()]> {
    let create = peak(field, &field.create(runtime, &field.bundle(FILTER), "life"))?;
    let init = field.init("life")?;
    let at_gate = resident(init)?;
    let proportional = proportional(init)?;
    let start = peak(field, &field.command(runtime, &["start", "life"]))?;
    rustix::process::waitpid(Some(init), rustix::process::WaitOptions::empty())?;
    let delete = peak(field, &field.command(runtime, &["delete", "life"]))?;
    let run = peak(field, &field.run(runtime, FILTER))?;
    let exec = peak(field, &field.exec(runtime, FILTER))?;
    Ok([create, start, delete, run, exec, at_gate, proportional])
}

/// Runs a command below bench/peak.c.
fn peak(field: &Field<'_>, command: &Command) -> Result<u64> {
    let file = field.kit.path().join("peak.txt");
    let mut measured = Command::new(field.kit.peak());
    measured.arg(&file).arg(command.get_program()).args(command.get_args());
    measured.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    time(&mut measured)?;
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    text.trim().parse().with_context(|| format!("{}: {text:?}", file.display()))
}

/// The largest resident set that a living process has had since its execve(2), proc_pid_status(5).
fn resident(pid: Pid) -> Result<u64> {
    field_of(&Path::new("/proc").join(pid.as_raw_pid().to_string()).join("status"), "VmHWM")
}

/// What it has now, each shared page divided among those who share it.
fn proportional(pid: Pid) -> Result<u64> {
    field_of(&Path::new("/proc").join(pid.as_raw_pid().to_string()).join("smaps_rollup"), "Pss")
}

/// The KiB of a line like `VmHWM:     1234 kB`.
fn field_of(path: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = value.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    value.with_context(|| format!("{} has no {name}", path.display()))
}

fn median(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values.get(values.len() / 2).map_or(0.0, |value| *value as f64)
}

impl Memory {
    fn print(&self, runs: usize, runtimes: &[Runtime]) {
        println!("\nlargest resident set of each command, {}; median of {runs}", FILTER.words());
        println!("{:<26} {:>9} {:>8} {:>8}", "", "KiB", "x runc", "x crun");
        for row in &self.rows {
            println!("{}", row.name);
            for (index, (value, version)) in row.values.iter().zip(&self.versions).enumerate() {
                println!("  {version:<24} {value:>9.0}{}", row.columns(index, runtimes));
            }
        }
    }

    pub(super) fn verdicts(&self, runtimes: &[Runtime]) -> Vec<Verdict> {
        let judge = |name: usize| Verdict {
            what: format!("memory of {}, times crun", NAMES[name]),
            value: worst([&self.rows[name]], Family::Crun, runtimes),
            at_most: TARGET,
        };
        JUDGED.map(judge).into()
    }

    pub(super) fn json(&self) -> Value {
        let of = |row: &Row| {
            let all = self.versions.iter().cloned().zip(row.values.iter().map(|value| Value::from(*value)));
            Value::Object(all.collect::<Map<_, _>>())
        };
        Value::Object(self.rows.iter().map(|row| (row.name.clone(), of(row))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_this_process() {
        let own = rustix::process::getpid();
        let (resident, proportional) = (resident(own).unwrap(), proportional(own).unwrap());
        assert!(proportional > 0 && resident >= proportional, "{resident} {proportional}");
        assert!(field_of(Path::new("/proc/self/status"), "VmNone").is_err());
    }

    #[test]
    fn the_middle_one() {
        assert_eq!([median(vec![3, 1, 2]), median(vec![])], [2.0, 0.0]);
    }
}
