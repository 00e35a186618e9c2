//! Many containers at once: all created by processes that run at the same time, then all deleted.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::super::statistics::milliseconds;
use super::super::world::time;
use super::bundle::Filter;
use super::field::{Field, reap};
use super::peers::Runtime;
use super::{Row, Verdict};

const PREFIX: &str = "many-";

pub(super) struct Parallel {
    count: usize,
    of: Vec<Outcome>,
}

/// What one runtime did.
struct Outcome {
    version: String,
    create: Duration,
    delete: Duration,
    /// In the commands' own words, and what was left in the end.
    failures: Vec<String>,
}

pub(super) fn measure(count: usize, field: &Field<'_>, runtimes: &[Runtime]) -> Result<Parallel> {
    let name = |number: usize| format!("{PREFIX}{number}");
    let bundles: Vec<PathBuf> = (0..count)
        .map(|number| field.another(&name(number), &["/true"], Filter::Docker))
        .collect::<Result<_>>()?;
    let mut of = Vec::new();
    for runtime in runtimes {
        let create = |number: usize| field.create(runtime, &bundles[number], &name(number));
        let (create, mut failures) = at_once(count, create);
        let delete = |number: usize| field.command(runtime, &["delete", "--force", &name(number)]);
        let (delete, more) = at_once(count, delete);
        failures.extend(more);
        reap();
        let left = field.groups(PREFIX);
        failures.extend(left.iter().map(|group| format!("{} is left", group.display())));
        of.push(Outcome { version: runtime.version.clone(), create, delete, failures });
    }
    let parallel = Parallel { count, of };
    parallel.print(runtimes);
    Ok(parallel)
}

/// All threads wait for each other, then start their commands; the time until the last has ended, and what failed.
fn at_once(count: usize, command: impl Fn(usize) -> Command + Sync) -> (Duration, Vec<String>) {
    let gate = Barrier::new(count + 1);
    let one = |number: usize| {
        let mut command = command(number);
        gate.wait();
        time(&mut command).err().map(|error| format!("{error:#}"))
    };
    let one = &one;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || one(number))).collect();
        gate.wait();
        let start = Instant::now();
        let ended = threads.into_iter().filter_map(|thread| match thread.join() {
            Ok(failure) => failure,
            Err(_) => Some("the thread panicked".to_owned()),
        });
        let failures = ended.collect();
        (start.elapsed(), failures)
    })
}

impl Parallel {
    fn print(&self, runtimes: &[Runtime]) {
        println!(
            "\n{} containers at once, {}; milliseconds until the last",
            self.count,
            Filter::Docker.words()
        );
        println!(
            "{:<26} {:>9} {:>9} {:>9} {:>8} {:>8}",
            "", "create", "delete", "failures", "x runc", "x crun"
        );
        let values = self.of.iter().map(|one| milliseconds(one.create)).collect();
        let row = Row { name: String::new(), values };
        for (index, one) in self.of.iter().enumerate() {
            let [create, delete] = [one.create, one.delete].map(milliseconds);
            let (failures, ratios) = (one.failures.len(), row.columns(index, runtimes));
            println!("  {:<24} {create:>9.1} {delete:>9.1} {failures:>9}{ratios}", one.version);
        }
        for one in &self.of {
            for failure in one.failures.iter().take(5) {
                println!("{}: {failure}", one.version);
            }
        }
    }

    /// Of ours, which is the first.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let value = self.of.first().map(|ours| ours.failures.len() as f64);
        let what = format!("failures of {} at once", self.count);
        vec![Verdict { what, value, at_most: 0.0 }]
    }

    pub(super) fn json(&self) -> Value {
        let of = |one: &Outcome| {
            let [create, delete] = [one.create, one.delete].map(milliseconds);
            json!({ "create_ms": create, "delete_ms": delete, "failures": one.failures })
        };
        let all: Map<_, _> = self.of.iter().map(|one| (one.version.clone(), of(one))).collect();
        json!({ "count": self.count, "of": all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_who_failed() {
        let command = |number: usize| Command::new(if number == 1 { "false" } else { "true" });
        let (_, failures) = at_once(3, command);
        assert_eq!(failures.len(), 1);
        assert!(failures[0].contains("false ended with"), "{failures:?}");
    }
}
