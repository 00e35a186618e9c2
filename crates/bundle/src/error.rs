//! What an operation ends in when it cannot be done. Engines read these words: Docker takes exit codes 126 and 127
//! from "permission denied" and "executable file not found", containerd knows "does not exist" and "not running".

use std::fmt;

use step::Failure;

/// A refusal or a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What failed, on which thing, why.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl Error {
    /// An error without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The same with the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with what was being done in front.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// An I/O error on a path.
    pub(crate) fn io(what: &str, path: &std::path::Path, error: impl Into<std::io::Error>) -> Self {
        Self::new(format!("{what} {}: {}", path.display(), step::words(&error.into())))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        // The program's own failures in the words that engines look for.
        let message = match failure.step.split('.').next() {
            Some("exec") => format!("exec: {:?}: {}", failure.target, failure.cause()),
            _ => failure.to_string(),
        };
        Self { message, hint: failure.hint }
    }
}
