//! `bench memory`: what minidocker itself keeps in memory while containers run.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::world::{World, words};

/// At most so much of proportional memory for each running container, and one process.
const TARGET_KIB: f64 = 300.0;

/// So long after the last start the processes are looked at.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn memory(count: usize, world: &World) -> Result<Value> {
    let mut started = Containers { world, names: Vec::new() };
    for number in 0..count {
        started.start(&format!("bench-{}-{number}", std::process::id()))?;
    }
    std::thread::sleep(SETTLE);
    let kept = Kept::of(&world.minidocker)?;
    drop(started);
    report(count, &kept)
}

/// Containers that run and are removed when this is dropped.
struct Containers<'a> {
    world: &'a World,
    names: Vec<String>,
}

impl Containers<'_> {
    fn start(&mut self, name: &str) -> Result<()> {
        let mut command = self.world.run(&["-d", "--name", name]);
        let output = command.args(["/inside", "pause"]).stdout(Stdio::piped()).output()?;
        self.names.push(name.to_owned());
        if !output.status.success() {
            bail!("container {} did not start: {}", self.names.len(), words(&output));
        }
        Ok(())
    }
}

impl Drop for Containers<'_> {
    fn drop(&mut self) {
        if self.names.is_empty() {
            return;
        }
        match self.world.minidocker().args(["rm", "-f"]).args(&self.names).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("warning: minidocker rm: {}", words(&output)),
            Err(error) => eprintln!("warning: minidocker rm: {error}"),
        }
    }
}

/// The sum over all processes of one program, in KiB.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Kept {
    pub(super) processes: u64,
    pub(super) proportional: u64,
    private_dirty: u64,
    resident: u64,
}

impl Kept {
    fn of(program: &Path) -> Result<Self> {
        let mut kept = Self::default();
        for entry in fs::read_dir("/proc")?.flatten() {
            let process = entry.path();
            if fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program) {
                // A process that ended meanwhile keeps nothing.
                let rollup = fs::read_to_string(process.join("smaps_rollup")).unwrap_or_default();
                kept.add(&rollup);
            }
        }
        Ok(kept)
    }

    /// Adds one of them, by what smaps_rollup of proc(5) says.
    pub(super) fn add(&mut self, rollup: &str) {
        if rollup.is_empty() {
            return;
        }
        let field = |name: &str| {
            let value = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0)
        };
        self.processes += 1;
        self.proportional += field("Pss");
        self.private_dirty += field("Private_Dirty");
        self.resident += field("Rss");
    }
}

fn report(count: usize, kept: &Kept) -> Result<Value> {
    if kept.processes == 0 {
        bail!("{count} containers were started and no process of minidocker is there: nothing was measured");
    }
    let each = |sum: u64| sum as f64 / count as f64;
    let (proportional, processes) = (each(kept.proportional), each(kept.processes));
    println!("{count} containers run; for each of them minidocker keeps");
    println!("{:<28} {processes:>9.2}", "processes");
    println!("{:<28} {proportional:>9.1} KiB", "proportional set size");
    println!("{:<28} {:>9.1} KiB", "private dirty", each(kept.private_dirty));
    println!("{:<28} {:>9.1} KiB", "resident set size", each(kept.resident));
    let met = proportional <= TARGET_KIB && processes <= 1.0;
    let word = if met { "met" } else { "not met" };
    println!("target, at most {TARGET_KIB} KiB proportional in at most one process: {word}");
    Ok(json!({
        "containers": count, "processes": processes, "proportional_kib": proportional,
        "private_dirty_kib": each(kept.private_dirty), "resident_kib": each(kept.resident), "target_kib": TARGET_KIB,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_the_kernel_says() {
        let rollup = "00400000-7fff rollup\nRss:             500 kB\nPss:             110 kB\n\
                      Pss_Dirty:        90 kB\nPrivate_Dirty:    80 kB\n";
        let mut kept = Kept::default();
        kept.add(rollup);
        kept.add(rollup);
        kept.add("");
        assert_eq!(kept, Kept { processes: 2, proportional: 220, private_dirty: 160, resident: 1000 });
    }

    #[test]
    fn finds_this_program() {
        let own = std::env::current_exe().unwrap();
        assert!(Kept::of(&own).unwrap().resident > 0);
    }
}
