//! `cargo xtask check`: what can be said of the code without running it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// The other architecture that the code is written for.
pub(crate) const OTHER_TARGET: &str = "aarch64-unknown-linux-gnu";

/// Formatting, lints, dependencies, and the other architecture where its standard library is installed.
pub(crate) fn check() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    process::run(process::cargo().args(clippy))?;
    // `advisories` would have to fetch the advisory database; it is left to those with that network.
    process::run(process::cargo().args([
        "deny",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]))?;
    if installed(OTHER_TARGET)? {
        process::run(process::cargo().args(["check", "--workspace", "--locked", "--target", OTHER_TARGET]))?;
    } else {
        eprintln!("NOT CHECKED: {OTHER_TARGET}, its standard library is not installed here");
        eprintln!("hint: rustup target add {OTHER_TARGET}");
    }
    Ok(())
}

fn installed(target: &str) -> Result<bool> {
    let output = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let root = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(root.join("lib/rustlib").join(target).join("lib").is_dir())
}
