//! How a kernel step fails: typed, and the same on both sides of a process boundary.

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// A failed step: which, on what, why, and the way out.
///
/// Shown as `step on target: cause`; the hint is printed by whoever talks to the user, on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The id of the step, `mount.proc`.
    pub step: Cow<'static, str>,
    /// What it was done to: a path, an address, a name. Empty where the cause says it.
    pub target: String,
    /// The kernel's error number; 0 where the kernel refused nothing and `reason` says what is wrong.
    pub errno: i32,
    /// Our own words for the cause, where there are better ones than the kernel's.
    pub reason: Option<String>,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with the kernel's error.
    pub fn new(step: &'static str, target: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        let cause = cause.into();
        let reason = if cause.raw_os_error().is_none() { Some(cause.to_string()) } else { None };
        Self {
            step: Cow::Borrowed(step),
            target: target.into(),
            errno: cause.raw_os_error().unwrap_or(0),
            reason,
            hint: None,
        }
    }

    /// A failure in our own words: no system call failed, yet it is wrong.
    pub fn because(step: &'static str, target: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            step: Cow::Borrowed(step),
            target: target.into(),
            errno: 0,
            reason: Some(reason.into()),
            hint: None,
        }
    }

    /// Why: our own words, the kernel's, or both.
    pub fn cause(&self) -> String {
        match (&self.reason, self.errno) {
            (Some(reason), 0) => reason.clone(),
            (Some(reason), errno) => format!("{reason} ({})", strerror(errno)),
            (None, errno) => strerror(errno),
        }
    }

    /// The same failure with a word on the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target.as_str() {
            "" => write!(f, "{}: {}", self.step, self.cause()),
            target => write!(f, "{} on {target}: {}", self.step, self.cause()),
        }
    }
}

impl std::error::Error for Failure {}

/// An I/O error as users read it: the kernel's words in small letters.
pub fn words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), strerror)
}

/// The kernel's words for an error number, without Rust's "(os error 2)".
fn strerror(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_ascii_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_step_target_and_cause() {
        let failure = Failure::new("mount.proc", "/proc", io::Error::from_raw_os_error(1));
        assert_eq!(failure.to_string(), "mount.proc on /proc: operation not permitted");
        let failure = Failure::because("cgroup.limit", "pids.max", "reads 7 after 5 was written");
        assert_eq!(failure.to_string(), "cgroup.limit on pids.max: reads 7 after 5 was written");
        let failure = Failure::because("pull", "", "registry a: cannot get b: not found");
        assert_eq!(failure.to_string(), "pull: registry a: cannot get b: not found");
    }

    #[test]
    fn crosses_a_process_boundary_unchanged() {
        let failure =
            Failure::new("exec", "/bin/sh", io::Error::from_raw_os_error(2)).hint("install a shell");
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), failure);
    }
}
