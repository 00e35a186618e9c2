//! How a build fails: what, in which line, and the way out.

use std::fmt;

use step::Failure;

use crate::dockerfile::{ParseError, Place};

/// A build that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// In one line.
    pub message: String,
    /// What can be done.
    pub hint: Option<String>,
    /// The instruction, by the name of its file.
    pub place: Option<Box<(String, Place)>>,
    /// The exit code of a command that failed.
    pub code: Option<i32>,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, place: None, code: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with its place, unless a nearer one is known.
    pub(crate) fn at(mut self, file: &str, place: Place) -> Self {
        self.place.get_or_insert_with(|| Box::new((file.to_owned(), place)));
        self
    }

    pub(crate) fn parse(file: &str, error: ParseError) -> Self {
        Self {
            message: error.message,
            hint: error.hint,
            place: Some(Box::new((file.to_owned(), error.place))),
            code: None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self { message: failure.to_string(), hint: failure.hint, place: None, code: None }
    }
}

impl fmt::Display for Error {
    /// The message with file and line; below it the line itself and a caret. The hint is printed by whoever talks to the
    /// user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_deref() {
            Some((file, place)) => write!(f, "{file}:{}: {}\n{place}", place.line, self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}
