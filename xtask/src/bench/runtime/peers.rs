//! Which runtimes are measured: ours, and of the others what is installed or named by a variable.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::kit::Kit;
use crate::process;

/// Whose command line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Minidocker,
    Runc,
    Crun,
    Youki,
}

impl Family {
    /// All but ours.
    pub(super) const PEERS: [Self; 3] = [Self::Runc, Self::Crun, Self::Youki];

    /// The program's usual name; a file in the kit begins with it.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Minidocker => "minidocker-runtime",
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Youki => "youki",
        }
    }

    /// The variable that names another build of it.
    fn variable(self) -> String {
        self.program().to_ascii_uppercase()
    }
}

/// A runtime that is measured.
#[derive(Debug, Clone)]
pub(super) struct Runtime {
    pub(super) family: Family,
    /// `runc 1.1.5`.
    pub(super) version: String,
    pub(super) program: PathBuf,
}

impl Runtime {
    /// Its command with the directory of its states.
    pub(super) fn command(&self, root: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(root);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

/// The other builds on this machine: the installed one, and the one that the variable names.
pub(super) fn installed() -> Vec<(Family, PathBuf)> {
    let of = |family: Family| {
        let named = std::env::var_os(family.variable()).filter(|path| !path.is_empty()).map(PathBuf::from);
        process::find(family.program()).into_iter().chain(named).map(move |path| (family, path))
    };
    Family::PEERS.into_iter().flat_map(of).collect()
}

/// Those in the kit, ours first.
pub(super) fn found(kit: &Kit) -> Result<Vec<Runtime>> {
    let mut runtimes = Vec::new();
    for family in [Family::Minidocker].into_iter().chain(Family::PEERS) {
        for program in kit.programs(family.program())? {
            let text = process::output(Command::new(&program).arg("--version"))
                .with_context(|| format!("ask {} for its version", program.display()))?;
            let version = version(family, &String::from_utf8_lossy(&text.stdout));
            runtimes.push(Runtime { family, version, program });
        }
    }
    Ok(runtimes)
}

/// `runc 1.1.5+ds1` of a text that begins with `runc version 1.1.5+ds1`.
fn version(family: Family, text: &str) -> String {
    let mut words = text.lines().next().unwrap_or_default().split_whitespace();
    match words.find(|word| *word == "version").and_then(|_| words.next()) {
        Some(number) => format!("{} {number}", family.program()),
        None => family.program().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_programs_tell_them() {
        let runc = "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1\nspec: 1.0.2-dev\n";
        assert_eq!(version(Family::Runc, runc), "runc 1.1.5+ds1");
        assert_eq!(version(Family::Crun, "crun version 1.8.1\ncommit: f8a0\n"), "crun 1.8.1");
        assert_eq!(version(Family::Youki, ""), "youki");
    }
}
