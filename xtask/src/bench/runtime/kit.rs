//! The programs that measure and are measured, in one directory: `runtimes/`, a root file system, and this very
//! program, so that it can measure in the QEMU machine too, which builds nothing.
//!
//! All runtimes are copies in one directory, so that none lies on a faster file system than another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::world::compile;
use super::field;
use super::peers::{self, Family};
use crate::process::{self, Temporary};
use crate::{artifacts, vm};

/// Where the program that measures elsewhere leaves what it found.
pub(super) const RESULT: &str = "result.json";

const RUNTIMES: &str = "runtimes";
/// This program's name in the kit.
const MEASURES: &str = "xtask";

pub(super) struct Kit(Temporary);

impl Kit {
    /// Builds ours for release, unless it is given, and copies the others.
    pub(super) fn build(program: Option<PathBuf>) -> Result<Self> {
        let mut arguments = vec!["build", "--release", "--locked", "-p", "inside"];
        if program.is_none() {
            arguments.extend(["-p", "minidocker"]);
        }
        let built = artifacts::build(&arguments)?;
        let program = program.map_or_else(|| artifacts::named(&built, "minidocker"), Ok)?;
        let kit = Self(Temporary::new("bench-runtime")?);
        fs::create_dir(kit.path().join(RUNTIMES))?;
        for name in ["dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(kit.rootfs().join(name))?;
        }
        compile("true.c", &kit.rootfs().join("true"))?;
        compile("cost.c", &kit.cost())?;
        copy(&artifacts::named(&built, "inside")?, &kit.rootfs().join("inside"))?;
        copy(&std::env::current_exe()?, &kit.path().join(MEASURES))?;
        kit.add(Family::Minidocker, &program, 0)?;
        for (number, (family, path)) in peers::installed().into_iter().enumerate() {
            kit.add(family, &path, number)?;
        }
        Ok(kit)
    }

    /// A copy of a kit: where it lies may be a shared folder, which is slow.
    pub(super) fn copy_of(directory: &Path) -> Result<Self> {
        let kit = Self(Temporary::new("bench-kit")?);
        let all = [directory.join("rootfs"), directory.join(RUNTIMES), directory.join("cost")];
        process::output(Command::new("cp").arg("-a").args(all).arg(kit.path()))?;
        Ok(kit)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A directory with `true` and `inside`: every container's root file system.
    pub(super) fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// bench/cost.c.
    pub(super) fn cost(&self) -> PathBuf {
        self.path().join("cost")
    }

    /// The programs whose names begin so, in their order.
    pub(super) fn programs(&self, prefix: &str) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.path().join(RUNTIMES))?.collect::<Result<Vec<_>, _>>()?;
        let is_meant =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        let mut found: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(is_meant).collect();
        found.sort();
        Ok(found)
    }

    /// Ours keeps its name: by it the program knows that it is called as a runtime.
    fn add(&self, family: Family, program: &Path, number: usize) -> Result<()> {
        let name = match family {
            Family::Minidocker => family.program().to_owned(),
            _ => format!("{}-{number}", family.program()),
        };
        copy(program, &self.path().join(RUNTIMES).join(name))
    }

    /// Measures in the QEMU machine. Its output is printed as it comes.
    pub(super) fn in_machine(&self, words: &[String]) -> Result<Value> {
        let program = self.path().join(MEASURES);
        let words: Vec<String> = words.iter().map(|word| process::quote(word)).collect();
        let script = format!("{} {}\n", process::quote(&program.to_string_lossy()), words.join(" "));
        let machine = vm::Machine { share: self.path().to_owned(), ..vm::Machine::new()? };
        match machine.run(&script)? {
            0 => self.result(),
            code => bail!("the benchmark in the QEMU machine ended with {code}"),
        }
    }

    /// Measures where the version 2 hierarchy is not mounted. What crun makes there all the same goes with the mount
    /// namespace.
    pub(super) fn without_unified(&self, words: &[String]) -> Result<Value> {
        let script = "umount \"$0\" && mount -t tmpfs tmpfs \"$0\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, field::UNIFIED]);
        command.arg(self.path().join(MEASURES)).args(words);
        process::run(&mut command)?;
        self.result()
    }

    /// What was measured elsewhere.
    fn result(&self) -> Result<Value> {
        let path = self.path().join(RESULT);
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let mut whole: Value = serde_json::from_slice(&text)?;
        let mut results = whole["results"].take();
        results["machine"] = whole["machine"].take();
        Ok(results)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
