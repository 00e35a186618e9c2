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
    /// The request contradicts itself or the state: 125 from `run`, 1 from other commands.
    Invalid,
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
        Self { kind: Kind::Engine, message: failure.to_string(), hint: failure.hint }
    }
}
