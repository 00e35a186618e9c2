//! What a command ends in when it cannot do what was asked: one line, a way out, an exit code.

use engine::Kind;

/// The exit code of `run` when the engine or the command line is at fault, and not the container's command.
pub(crate) const RUN_FAILED: u8 = 125;

/// A refusal or a failure, as the user reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What failed, on which thing, why: lower case, no period.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The exit code; `None` where the command's usual one holds.
    pub(crate) code: Option<u8>,
}

impl Problem {
    /// A problem without a hint and with the command's usual exit code.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: None }
    }

    /// The same with the way out.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with an exit code of its own.
    #[must_use]
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }
}

impl From<engine::Error> for Problem {
    fn from(error: engine::Error) -> Self {
        let code = match error.kind {
            Kind::NotExecutable => Some(126),
            Kind::NotFound => Some(127),
            Kind::Engine
            | Kind::NoSuchContainer
            | Kind::NoSuchImage
            | Kind::NoSuchPod
            | Kind::InUse
            | Kind::Invalid => None,
        };
        Self { message: error.message, hint: error.hint, code }
    }
}
