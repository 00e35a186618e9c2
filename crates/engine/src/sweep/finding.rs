//! What is found: something that was left behind, or that is not true, why, and the steps that mend it.

use std::os::fd::OwnedFd;
use std::path::Path;

use step::{Context, Failure, Step, Steps};

use super::steps::SweepStep;
use crate::steps::take_all;

/// Something that was left behind, or that is not true.
#[derive(Debug)]
pub(crate) struct Finding {
    /// What kind of thing it is: `control group`.
    pub kind: &'static str,
    /// Which: a path, a name, an id.
    pub which: String,
    /// Why it is wrong.
    pub why: String,
    /// What the repair does, in words; where there is none, what its user can do.
    pub remedy: String,
    /// The repair. No step: it may be somebody's data, and only its user can decide.
    pub repair: Steps,
    /// What follows a repair that succeeded.
    pub then: Steps,
    /// The lock that keeps others from judging it meanwhile.
    pub held: Option<OwnedFd>,
}

impl Finding {
    /// Something that is wrong for a reason; as long as nothing is added nobody can repair it but its user.
    pub(super) fn new(kind: &'static str, which: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            kind,
            which: which.into(),
            why: why.into(),
            remedy: String::new(),
            repair: Steps::new(),
            then: Steps::new(),
            held: None,
        }
    }

    /// A path that is wrong.
    pub(super) fn at(kind: &'static str, path: &Path, why: impl Into<String>) -> Self {
        Self::new(kind, path.display().to_string(), why)
    }

    /// Only its user can decide: what he can do.
    pub(super) fn advice(self, advice: impl Into<String>) -> Self {
        Self { remedy: advice.into(), ..self }
    }

    /// One step repairs it.
    pub(super) fn step(self, remedy: &str, step: impl Step + 'static) -> Self {
        Self { remedy: remedy.to_owned(), repair: vec![Box::new(step)], ..self }
    }

    /// It is removed, a directory with all that is in it.
    pub(super) fn removal(self, path: &Path) -> Self {
        self.step("remove it", SweepStep::Remove { path: path.to_owned() })
    }

    /// The same, with the lock that says that nobody uses it.
    pub(super) fn held(self, lock: OwnedFd) -> Self {
        Self { held: Some(lock), ..self }
    }

    /// Whether there is a repair that needs nobody's decision.
    pub(crate) fn is_repairable(&self) -> bool {
        !self.repair.is_empty()
    }

    /// Repairs it. Every step is taken, whatever fails on the way; the first failure is told.
    pub(crate) fn repair(self) -> Result<(), Failure> {
        let mut context = Context::default();
        let taken = take_all(&self.repair, |step| step.perform(&mut context));
        drop(self.held);
        taken.and_then(|()| take_all(&self.then, |step| step.perform(&mut context)))
    }
}
