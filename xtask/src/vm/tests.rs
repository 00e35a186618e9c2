//! The tests of a package in the machine: built here, run there.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{artifacts, process};

/// Builds the package's test programs and gives the script that runs them with these arguments. A program without a
/// test of that name is left out, and it is an error if all are: it would pass.
pub(crate) fn script(package: &str, arguments: &[String]) -> Result<String> {
    let programs = artifacts::build(&["test", "--locked", "-p", package, "--no-run"])?;
    let mut script = String::from("set -e\nexport MINIDOCKER_EMULATED=1\n");
    let mut count = 0;
    for program in programs {
        let mut list = Command::new(&program.path);
        let list = process::output(list.args(arguments).args(["--list", "--format", "terse"]))?;
        let found = tests(&String::from_utf8_lossy(&list.stdout));
        if found > 0 {
            count += found;
            let words = arguments.iter().map(|word| process::quote(word)).collect::<Vec<_>>().join(" ");
            writeln!(script, "{} {words}", process::quote(&program.path.to_string_lossy()))?;
        }
    }
    if count == 0 {
        bail!("no test of {package} is named by `{}`: nothing would be tested", arguments.join(" "));
    }
    eprintln!("+ {count} tests of {package} in the QEMU machine");
    Ok(script)
}

/// How many tests a program lists: `path::of::test: test`.
fn tests(list: &str) -> usize {
    list.lines().filter(|line| line.ends_with(": test")).count()
}

#[cfg(test)]
mod own_tests {
    use super::*;

    #[test]
    fn tests_are_counted_and_benchmarks_are_not() {
        assert_eq!(tests("a::b: test\na::c: test\nd: benchmark\n"), 2);
        assert_eq!(tests("\n0 tests, 0 benchmarks\n"), 0);
    }
}
