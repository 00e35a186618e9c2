//! The engine's errors: what failed on which thing, why, and the way out.

use std::fmt;

/// Which of Docker's exit codes an error ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// The engine could not do it: 125 from `run`, 1 from other commands.
    Engine,
    /// The command was found and cannot be invoked: 126.
    NotExecutable,
    /// The command was not found: 127.
    NotFound,
    /// There is no such container: 1.
    NoSuchContainer,
    /// There is no such image here: 125 from `run`, 1 from other commands.
    NoSuchImage,
    /// There is no such pod: 1 from `pod rm`, 125 from other commands, as in Podman.
    NoSuchPod,
    /// Something that runs is in it: 2 from `pod rm`.
    InUse,
    /// The request contradicts itself or the state: 125 from `run`, 1 from other commands.
    Invalid,
}

impl Kind {
    /// The exit code of a container that could not be started.
    pub(crate) fn start_code(self) -> u8 {
        match self {
            Self::NotFound => 127,
            Self::NotExecutable => 126,
            _ => 128,
        }
    }
}

/// One line for the user, and a hint on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// What failed, on which thing, why: lower case, no period.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same with the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<step::Failure> for Error {
    fn from(failure: step::Failure) -> Self {
        Self { kind: Kind::Engine, message: words(&failure), hint: failure.hint }
    }
}

/// The steps that are a command's whole work: the user knows which one was typed, and reads the sentence alone.
const COMMANDS: [&str; 8] = ["images", "pull", "push", "rmi", "manifest", "settings", "login", "logout"];

/// A failure as users read it.
fn words(failure: &step::Failure) -> String {
    if !COMMANDS.contains(&&*failure.step) {
        return failure.to_string();
    }
    let (target, cause) = (&failure.target, failure.cause());
    let is_predicate = ["is ", "has ", "cannot "].iter().any(|verb| cause.starts_with(verb));
    match (target.as_str(), is_predicate) {
        ("", _) => cause,
        (_, true) => format!("{target} {cause}"),
        (_, false) => format!("{target}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_not_told_its_own_name() {
        let message = |failure: step::Failure| Error::from(failure).message;
        let because = step::Failure::because;
        assert_eq!(message(because("pull", "", "registry a: cannot get b")), "registry a: cannot get b");
        assert_eq!(message(because("rmi", "app", "has several names: a, b")), "app has several names: a, b");
        assert_eq!(message(because("images", "a.json", "no such file")), "a.json: no such file");
        assert_eq!(message(because("mount.proc", "/proc", "is busy")), "mount.proc on /proc: is busy");
    }
}
