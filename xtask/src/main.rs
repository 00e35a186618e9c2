//! The project's one door: `cargo xtask COMMAND` sets up, checks, tests, measures. CI calls only this.
//!
//! Each command is a file with one public function that takes its arguments and can be read as a list of what it
//! does. Commands that it starts are printed first, so that a reader can repeat them by hand.

#![forbid(unsafe_code)]

mod arguments;
mod artifacts;
mod bench;
mod check;
mod docs;
mod e2e;
mod failures;
mod fuzz;
mod process;
mod setup;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use arguments::Arguments;

/// The commands by name, for the dispatch below and for the check that the documents name no other.
const COMMANDS: [&str; 11] =
    ["setup", "check", "test", "e2e", "crash", "fuzz", "ci", "bench", "order", "docs", "vm"];

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup                 install what the tests need (Debian, Ubuntu; uses sudo unless run by root)
  check                 formatting, clippy, licences and sources of dependencies
  test                  unit tests, then e2e
  e2e [--cgroup v1|v2|all] [--systemd] [--release] [FILTER]
                        the kernel tests, as root. Version by version: on this machine where it has that version of
                        control groups, else in the QEMU machine (there by default the tests named `limits`).
                        Without --cgroup: this machine's version. With all, or by --systemd alone: the tests that
                        need systemd or CRIU, in the QEMU machine
  crash [--rounds 1000] [--seed N] [--release]
                        rounds of eight commands at once, as root, in each of which somebody is killed; the seed says
                        who, and is told where something fails
  fuzz [TARGET] [--seconds 60] [--short] [--keep]
                        random inputs for each target of fuzz/: --short for the few that CI tries; --keep chooses
                        anew which inputs are kept, of these and what was found
  ci                    setup, check, docs, test --cgroup all, fuzz --short, with times
  bench start [--runs 50] [--spacing-ms 250] [--no-spacing] [--peers] [-o FILE]
  bench memory [--count 20] [-o FILE]
  bench parallel [--count 100] [-o FILE]
  bench runtime [--runs 40] [--spacing-ms 250] [--count 100] [--vm | --without-unified] [-o FILE]
  bench images [--runs 3] [--size-mib 1024] [--work pull,rmi,load,commit,build,rebuild] [-o FILE]
  bench engine [--runs 20] [--many 500] [--idle 300] [--log-mib 1024] [--work run,exec,parallel,log,ps,idle] [-o FILE]
  bench dns [--questions 2000] [--rounds 9] [-o FILE]
  bench network [--runs 15] [--seconds 2] [--questions 10000] [--iperf3] [--work paths,starts] [-o FILE]
                        with --minidocker FILE instead of this tree's release build;
                        docs/benchmarks.md says what they measure
  order [--minidocker FILE]
                        writes anew in which order the linker puts the program's functions, as FILE or this tree's
                        release build calls them
  docs                  links, files and commands that the documents name exist
  vm [--mem MIB] [--cpus N] [--timeout S] [--cgroup v1|v2] [--share DIR] [--kernel-arg A]... -- COMMAND...
                        run a command in a QEMU machine; one word is a line of bash, several are a command
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let result = match command.as_str() {
        "setup" => run(words, |arguments| arguments.finish().and_then(|()| setup::setup())),
        "check" => run(words, |arguments| arguments.finish().and_then(|()| check::check())),
        "test" => run(words, e2e::test),
        "e2e" => run(words, e2e::e2e),
        "crash" => run(words, e2e::crash),
        "fuzz" => run(words, fuzz::fuzz),
        "ci" => run(words, |arguments| arguments.finish().and_then(|()| ci())),
        "bench" => run(words, bench::bench),
        "order" => run(words, bench::runtime::order::order),
        "docs" => run(words, |arguments| arguments.finish().and_then(|()| docs::docs())),
        "vm" => run(words, vm::vm),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// What a command may end with.
trait Ending {
    fn code(self) -> ExitCode;
}

impl Ending for () {
    fn code(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

impl Ending for ExitCode {
    fn code(self) -> ExitCode {
        self
    }
}

fn run<E: Ending>(
    words: impl Iterator<Item = String>,
    command: impl FnOnce(Arguments) -> Result<E>,
) -> Result<ExitCode> {
    command(Arguments::new(words)).map(Ending::code)
}

/// Everything that must hold, on a machine that has only cargo.
fn ci() -> Result<()> {
    process::stage("setup", setup::setup)?;
    process::stage("check", check::check)?;
    process::stage("docs", docs::docs)?;
    let words = |words: [&str; 2]| Arguments::new(words.map(String::from).into_iter());
    process::stage("test", || e2e::test(words(["--cgroup", "all"])))?;
    process::stage("fuzz", || fuzz::fuzz(Arguments::new(["--short".to_owned()].into_iter())))
}

/// The top of the repository.
fn repository() -> Result<PathBuf> {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(own.parent().context("xtask lies at the top of the file system")?.to_owned())
}
