//! What cargo builds, and where it puts it: asked of cargo itself rather than guessed from the target's name.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;

/// One program that cargo built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Of the target: the binary's name, the test file's name.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Of a program's or a library's tests, not the program itself.
    pub(crate) is_test: bool,
}

/// Runs `cargo ARGUMENTS` and gives the programs that it built or found up to date, in cargo's order.
pub(crate) fn build(arguments: &[&str]) -> Result<Vec<Program>> {
    let mut command = process::cargo();
    command.args(arguments);
    eprintln!("+ cargo {}", arguments.join(" "));
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().context("start cargo")?;
    if !output.status.success() {
        bail!("cargo {} ended with {}", arguments.join(" "), output.status);
    }
    Ok(programs(&String::from_utf8_lossy(&output.stdout)))
}

/// The one program of that name.
pub(crate) fn named(programs: &[Program], name: &str) -> Result<PathBuf> {
    let found = programs.iter().find(|program| program.name == name && !program.is_test);
    Ok(found.with_context(|| format!("cargo built no program named {name}"))?.path.clone())
}

/// The tests of that target.
pub(crate) fn tests_of(programs: &[Program], name: &str) -> Result<PathBuf> {
    let found = programs.iter().find(|program| program.name == name && program.is_test);
    Ok(found.with_context(|| format!("cargo built no tests of {name}"))?.path.clone())
}

fn programs(messages: &str) -> Vec<Program> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message.get("executable")?.as_str()?.into();
        let name = message["target"]["name"].as_str()?.to_owned();
        Some(Program { name, path, is_test: message["profile"]["test"].as_bool()? })
    };
    messages.lines().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_other_messages_are_no_programs() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"step"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"name":"inside"},"profile":{"test":true},"executable":"/t/inside-1"}
{"reason":"compiler-artifact","target":{"name":"inside"},"profile":{"test":false},"executable":"/t/inside"}
{"reason":"build-finished","success":true}
not json"#;
        let found = programs(messages);
        let tests = Program { name: "inside".into(), path: "/t/inside-1".into(), is_test: true };
        let itself = Program { name: "inside".into(), path: "/t/inside".into(), is_test: false };
        assert_eq!(found, [tests, itself]);
        assert_eq!(named(&found, "inside").unwrap(), PathBuf::from("/t/inside"));
        assert_eq!(tests_of(&found, "inside").unwrap(), PathBuf::from("/t/inside-1"));
        assert!(named(&found, "step").is_err() && tests_of(&found, "step").is_err());
    }
}
