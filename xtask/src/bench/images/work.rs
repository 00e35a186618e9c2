//! What is measured, and what each is measured against.

use super::super::works::Named;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Pull,
    Remove,
    Load,
    Commit,
    Build,
    Rebuild,
}

/// Whom ours is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    /// Whoever needs least.
    Best,
    /// This one.
    Named(&'static str),
}

/// At most so many times what the other needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) most: f64,
    pub(super) of: Other,
}

/// RUN steps of the build.
pub(super) const STEPS: u32 = 20;

/// Milliseconds of a step that an earlier build did, the program's start and all that the build does once among them.
pub(super) const CACHED_STEP: f64 = 5.0;

impl Named for Work {
    const ALL: &'static [Self] =
        &[Self::Pull, Self::Remove, Self::Load, Self::Commit, Self::Build, Self::Rebuild];

    fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Remove => "rmi",
            Self::Load => "load",
            Self::Commit => "commit",
            Self::Build => "build",
            Self::Rebuild => "rebuild",
        }
    }
}

impl Work {
    pub(super) fn title(self) -> String {
        match self {
            Self::Pull => "pull: from the registry to layers that can be mounted".to_owned(),
            Self::Remove => "rmi: the image goes, with all its layers".to_owned(),
            Self::Load => "load: from an archive of docker save's form".to_owned(),
            Self::Commit => "commit: a container that has written three of the image's layers".to_owned(),
            Self::Build => format!("build: {STEPS} small RUN steps, none of them from the cache"),
            Self::Rebuild => format!("rebuild: the same {STEPS} steps, all of them from the cache"),
        }
    }

    /// What ours is to reach. For what has no promise of its own: that nobody does it better.
    pub(super) fn target(self) -> Target {
        match self {
            Self::Pull | Self::Load => Target { most: 0.5, of: Other::Best },
            Self::Remove | Self::Commit | Self::Rebuild => Target { most: 1.0, of: Other::Best },
            Self::Build => Target { most: 0.2, of: Other::Named("docker") },
        }
    }

    /// Steps that it consists of.
    pub(super) fn steps(self) -> Option<u32> {
        matches!(self, Self::Build | Self::Rebuild).then_some(STEPS)
    }
}
