//! `cargo xtask order`: in which order the linker puts the functions of the program, decision 0014.
//!
//! The commands of a container's life run under bench/order.c, which tells the functions that each process calls.
//! Those that the same processes call go together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::super::world::compile;
use super::bundle::Filter;
use super::field::Field;
use super::kit::Kit;
use super::peers::{self, Family};
use crate::arguments::Arguments;
use crate::{process, repository};

/// What crates/minidocker/build.rs hands the linker.
const FILE: &str = "crates/minidocker/order.txt";
const HEAD: &str = "# Written by `cargo xtask order`: the functions that a container's life calls, as the linker is to put \
                    them.\n# Docs: docs/decisions/0014-functions-in-order.md\n";

/// A container's life, one that stays a while, and one in one command.
const LIVES: &str = r#"
set -e
program=$0 root=$1 short=$2 resident=$3
runtime() { "$program" --root "$root" "$@"; }
delete() {
    until runtime state "$1" | grep -q '"stopped"'; do sleep 0.1; done
    runtime delete "$1"
}
runtime create --bundle "$short" short
runtime start short
delete short
runtime run --bundle "$short" short
runtime create --bundle "$resident" resident
runtime start resident
runtime exec resident /true
runtime ps resident
runtime kill resident KILL
delete resident
"#;

/// Writes the order anew, as the release build of this tree has it, or the program that is given.
pub(crate) fn order(mut arguments: Arguments) -> Result<()> {
    let program = arguments.value("--minidocker")?.map(PathBuf::from);
    arguments.finish()?;
    process::need_root("a container")?;
    let kit = Kit::build(program)?;
    let field = Field::new(&kit)?;
    let runtimes = peers::found(&kit)?;
    let ours = runtimes.iter().find(|runtime| runtime.family == Family::Minidocker);
    let ours = ours.context("the kit has no runtime of ours")?;
    let [tracer, calls] = ["order", "calls"].map(|name| kit.path().join(name));
    compile("order.c", &tracer)?;
    let resident = field.another("order", &["/inside", "pause"], Filter::Docker)?;
    let mut command = Command::new(tracer);
    command.arg(&calls).arg(&ours.program).args(["sh", "-c", LIVES]).arg(&ours.program);
    process::output(command.arg(field.root(ours)).arg(field.bundle(Filter::Docker)).arg(resident))?;
    let calls = fs::read_to_string(&calls)?;
    let names = ordered(&calls);
    write(&repository()?.join(FILE), &names)?;
    println!("{FILE}: {} functions; build once more for them to be in this order", names.len());
    Ok(())
}

fn write(path: &Path, names: &[&str]) -> Result<()> {
    let text = format!("{HEAD}{}\n", names.join("\n"));
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// The functions in lines of an image's number and a name, so that those of each image lie close together: first
/// those of the image that has fewest, of these first those that the next larger image has too, and so on.
fn ordered(calls: &str) -> Vec<&str> {
    let calls: Vec<(&str, &str)> = calls.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut images: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (image, name) in &calls {
        images.entry(image).or_default().insert(name);
    }
    let mut images: Vec<BTreeSet<&str>> = images.into_values().collect();
    images.sort_by_key(BTreeSet::len);
    let mut known = BTreeSet::new();
    let mut names: Vec<&str> =
        calls.into_iter().map(|(_, name)| name).filter(|name| known.insert(*name)).collect();
    // A stable sort: what the same images have stays as it was called.
    names.sort_by_cached_key(|name| images.iter().map(|image| !image.contains(name)).collect::<Vec<_>>());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_same_processes_lie_together() {
        let calls =
            "1 start\n1 parse\n1 plan\n1 write\n2 mount\n2 write\n3 start\n3 parse\n3 state\n1 parse\n";
        assert_eq!(ordered(calls), ["write", "mount", "start", "parse", "state", "plan"]);
        assert!(ordered("").is_empty());
    }
}
