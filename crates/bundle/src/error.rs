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
    /// The kernel refused to execute the program: in the words of who executes one himself, and its errno.
    pub refused: Option<(String, i32)>,
}

impl Error {
    /// An error without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, refused: None }
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

/// A program that cannot be started. What is not in $PATH and what is not there at all in the words of Go's os/exec,
/// the kernel's refusals as "exec NAME: WHY", and then what we know beyond.
fn program(failure: &Failure) -> String {
    let target = &failure.target;
    let plain = Failure { reason: None, ..failure.clone() }.cause();
    match &failure.reason {
        _ if failure.errno == 0 => format!("exec: {target:?}: {}", failure.cause()),
        Some(reason) if !target.contains('/') => format!("exec: {target:?}: {reason}"),
        Some(reason) => format!("exec {target}: {plain}: {reason}"),
        None if failure.errno == 2 => format!("exec: {target:?}: stat {target}: {plain}"),
        None => format!("exec {target}: {plain}"),
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        // In the words that engines look for, where they look for some.
        let message = match failure.step.split('.').next() {
            Some("exec") => program(&failure),
            Some("mount") => {
                format!("error mounting {}: {}: {}", failure.target, failure.step, failure.cause())
            }
            _ => failure.to_string(),
        };
        let is_refused =
            failure.step.starts_with("exec") && failure.errno != 0 && failure.target.contains('/');
        let plain = || Failure { reason: None, ..failure.clone() }.cause();
        let refused = is_refused.then(|| (format!("exec {}: {}", failure.target, plain()), failure.errno));
        Self { message, hint: failure.hint, refused }
    }
}
