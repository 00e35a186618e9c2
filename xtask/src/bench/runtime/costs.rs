//! What the commands cost beside time: memory, and the processor time that they need however busy the machine is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, WaitOptions};
use serde_json::{Map, Value, json};

use super::super::world::time;
use super::bundle::Filter;
use super::field::{Field, reap};
use super::peers::{Family, Runtime};
use super::{Row, Verdict, worst};

/// At most as much memory as crun.
const TARGET: f64 = 1.0;

/// With the filter, as engines start containers.
const FILTER: Filter = Filter::Docker;

/// What is measured of both. `init` is the container's first process until it waits for `start`.
const NAMES: [&str; 6] = ["create", "init until start", "start", "delete", "run", "exec"];
/// Whose memory the target is about.
const JUDGED: [usize; 4] = [0, 1, 4, 5];

/// What one command needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    /// The largest resident set of one process, in KiB.
    memory: u64,
    /// Of all processes, in microseconds.
    processor: u64,
}

pub(super) struct Costs {
    memory: Vec<Row>,
    processor: Vec<Row>,
    /// Of a container that waits for `start`, in KiB.
    proportional: Row,
    versions: Vec<String>,
}

pub(super) fn measure(runs: usize, field: &Field<'_>, runtimes: &[Runtime]) -> Result<Costs> {
    let mut taken = vec![vec![Vec::new(); runtimes.len()]; NAMES.len()];
    let mut proportional = vec![Vec::new(); runtimes.len()];
    for _ in 0..runs {
        for (index, runtime) in runtimes.iter().enumerate() {
            let (costs, waiting) = once(field, runtime).with_context(|| runtime.version.clone())?;
            costs.into_iter().zip(&mut taken).for_each(|(cost, row)| row[index].push(cost));
            proportional[index].push(waiting);
            reap();
        }
    }
    let rows = |part: fn(&Cost) -> u64, unit: f64| -> Vec<Row> {
        let values = |all: &Vec<Vec<Cost>>| {
            all.iter().map(|costs| median(costs.iter().map(part).collect()) / unit).collect()
        };
        let all = NAMES.iter().zip(&taken);
        all.map(|(name, all)| Row { name: (*name).to_owned(), values: values(all) }).collect()
    };
    let costs = Costs {
        memory: rows(|cost| cost.memory, 1.0),
        processor: rows(|cost| cost.processor, 1000.0),
        proportional: Row {
            name: "init before start, proportional".to_owned(),
            values: proportional.into_iter().map(median).collect(),
        },
        versions: runtimes.iter().map(|runtime| runtime.version.clone()).collect(),
    };
    costs.print(runs, runtimes);
    Ok(costs)
}

/// One life of a container, one `run`, one `exec`; in the order of the names, and what init holds while it waits.
fn once(field: &Field<'_>, runtime: &Runtime) -> Result<([Cost; NAMES.len()], u64)> {
    let create = cost(field, &field.create(runtime, &field.bundle(FILTER), "life"))?;
    let init = field.init("life")?;
    let waiting = Cost { memory: kib(&of(init, "status"), "VmHWM")?, processor: used(init)? };
    let proportional = kib(&of(init, "smaps_rollup"), "Pss")?;
    let start = cost(field, &field.command(runtime, &["start", "life"]))?;
    rustix::process::waitpid(Some(init), WaitOptions::empty())?;
    let delete = cost(field, &field.command(runtime, &["delete", "life"]))?;
    let run = cost(field, &field.run(runtime, FILTER))?;
    let exec = cost(field, &field.exec(runtime, FILTER))?;
    Ok(([create, waiting, start, delete, run, exec], proportional))
}

/// Runs a command below bench/cost.c.
fn cost(field: &Field<'_>, command: &Command) -> Result<Cost> {
    let file = field.kit.path().join("cost.txt");
    let mut measured = Command::new(field.kit.cost());
    measured.arg(&file).arg(command.get_program()).args(command.get_args());
    measured.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    time(&mut measured)?;
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    parse(&text).with_context(|| format!("{}: {text:?}", file.display()))
}

fn parse(line: &str) -> Option<Cost> {
    let (memory, processor) = line.trim().split_once(' ')?;
    Some(Cost { memory: memory.parse().ok()?, processor: processor.parse().ok()? })
}

fn of(pid: Pid, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.as_raw_pid().to_string()).join(file)
}

/// The microseconds that a process had a processor: the first of three numbers, in nanoseconds (the kernel's
/// Documentation/scheduler/sched-stats.rst).
fn used(pid: Pid) -> Result<u64> {
    let path = of(pid, "schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
    Ok(nanoseconds.with_context(|| format!("{}: {text:?}", path.display()))? / 1000)
}

/// The KiB of a line like `VmHWM:     1234 kB`: proc_pid_status(5), proc_pid_smaps(5).
fn kib(path: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = value.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    value.with_context(|| format!("{} has no {name}", path.display()))
}

fn median(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values.get(values.len() / 2).map_or(0.0, |value| *value as f64)
}

impl Costs {
    fn print(&self, runs: usize, runtimes: &[Runtime]) {
        println!("\nprocessor time of each command, {}; milliseconds, median of {runs}", FILTER.words());
        self.table(&self.processor, runtimes, 2);
        println!("\nlargest resident set of each command, {}; KiB, median of {runs}", FILTER.words());
        self.table(&self.memory, runtimes, 0);
        self.table(std::slice::from_ref(&self.proportional), runtimes, 0);
    }

    fn table(&self, rows: &[Row], runtimes: &[Runtime], decimals: usize) {
        println!("{:<26} {:>9} {:>8} {:>8}", "", "", "x runc", "x crun");
        for row in rows {
            println!("{}", row.name);
            for (index, (value, version)) in row.values.iter().zip(&self.versions).enumerate() {
                println!("  {version:<24} {value:>9.decimals$}{}", row.columns(index, runtimes));
            }
        }
    }

    pub(super) fn verdicts(&self, runtimes: &[Runtime]) -> Vec<Verdict> {
        let judge = |name: usize| Verdict {
            what: format!("memory of {}, times crun", NAMES[name]),
            value: worst([&self.memory[name]], Family::Crun, runtimes),
            at_most: TARGET,
        };
        JUDGED.map(judge).into()
    }

    pub(super) fn json(&self) -> Value {
        let of = |row: &Row| {
            let all = self.versions.iter().cloned().zip(row.values.iter().map(|value| Value::from(*value)));
            Value::Object(all.collect::<Map<_, _>>())
        };
        let all = |rows: &[Row]| -> Value {
            Value::Object(rows.iter().map(|row| (row.name.clone(), of(row))).collect())
        };
        json!({
            "processor_ms": all(&self.processor), "resident_kib": all(&self.memory),
            "proportional_kib": of(&self.proportional),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_this_process() {
        let own = rustix::process::getpid();
        // `status` adds up counters that each thread keeps apart for a while (proc_pid_status(5): inaccurate), so
        // the two files are compared with themselves alone.
        assert!(kib(&of(own, "status"), "VmHWM").unwrap() > 0);
        let [resident, proportional] =
            ["Rss", "Pss"].map(|name| kib(&of(own, "smaps_rollup"), name).unwrap());
        assert!(proportional > 0 && resident >= proportional, "{resident} {proportional}");
        assert!(used(own).unwrap() > 0);
        assert!(kib(&of(own, "status"), "VmNone").is_err());
    }

    #[test]
    fn reads_a_cost() {
        assert_eq!(parse("5028 3100\n"), Some(Cost { memory: 5028, processor: 3100 }));
        assert_eq!([parse("5028"), parse("x 1"), parse("")], [None; 3]);
    }

    #[test]
    fn the_middle_one() {
        assert_eq!([median(vec![3, 1, 2]), median(vec![])], [2.0, 0.0]);
    }
}
