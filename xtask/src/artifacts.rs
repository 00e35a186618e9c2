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
    let found = programs.iter().find(|program| program.name == name);
    Ok(found.with_context(|| format!("cargo built no program named {name}"))?.path.clone())
}

fn programs(messages: &str) -> Vec<Program> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message.get("executable")?.as_str()?.into();
        Some(Program { name: message["target"]["name"].as_str()?.to_owned(), path })
    };
    messages.lines().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_other_messages_are_no_programs() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"step"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"inside"},"executable":"/t/inside"}
{"reason":"build-finished","success":true}
not json"#;
        let found = programs(messages);
        assert_eq!(found, [Program { name: "inside".into(), path: "/t/inside".into() }]);
        assert!(named(&found, "inside").is_ok());
        assert!(named(&found, "step").is_err());
    }
}
