//! Why a dump or restore failed, in CRIU's words and ours, and the way out.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use step::Failure;

use crate::log::Log;

/// What went wrong. Unless CRIU says so in its log, a dump that failed left the processes running, and a restore that
/// failed left none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program.
    #[error("{} not found", program.display())]
    Missing {
        /// The path, or the name that is not in PATH.
        program: PathBuf,
    },
    /// The program could not be started, or its socket not be made.
    #[error("cannot {action} {}: {}", program.display(), step::words(source))]
    Start {
        /// `start`, `talk to`, `wait for`.
        action: &'static str,
        /// CRIU.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An option cannot be given to CRIU, or makes no sense to it. Nothing was started.
    #[error("{option} '{}': {reason}", value.escape_debug())]
    Option {
        /// As [`DumpOptions`](crate::DumpOptions) or [`RestoreOptions`](crate::RestoreOptions) call it.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A directory or descriptor could not be made ready.
    #[error("cannot {action} {}: {}", path.display(), step::words(source))]
    File {
        /// `create`, `open`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// CRIU or the kernel lacks what the options need. Nothing was started.
    #[error("{} cannot do {feature} here", program.display())]
    Feature {
        /// CRIU.
        program: PathBuf,
        /// `memory tracking`, `lazy pages`, with the reason if it is known.
        feature: &'static str,
    },
    /// `criu check` found that this kernel is not one that CRIU works on.
    #[error("{} does not work on this kernel{log}", program.display())]
    Unfit {
        /// CRIU.
        program: PathBuf,
        /// Its words.
        log: Log,
    },
    /// CRIU answered something that is no message of its protocol, or none that was to be expected.
    #[error("criu answered {asked} with {answer}")]
    Answer {
        /// `dump`, `restore`, `version`.
        asked: &'static str,
        /// What came.
        answer: String,
    },
    /// CRIU ended without an answer, or not well after one.
    #[error("criu ended during {asked}: {status}{log}")]
    Ended {
        /// `dump`, `restore`, `version`.
        asked: &'static str,
        /// How.
        status: ExitStatus,
        /// Its last words.
        log: Log,
    },
    /// CRIU says that it could not do it.
    #[error("criu {asked} failed{}{log}", errno_words(*errno))]
    Failed {
        /// `dump`, `restore`, `version`.
        asked: &'static str,
        /// `cr_errno`: the kernel's number for the cause, where CRIU has one. `EBADRQC` (56) stands for options that
        /// CRIU refuses, `EEXIST` for a pid that is taken.
        errno: Option<i32>,
        /// The last errors of its log.
        log: Log,
    },
    /// The caller refused to go on.
    #[error("{failure} (at {at} of criu {asked})")]
    Refused {
        /// `dump`, `restore`.
        asked: &'static str,
        /// The moment: a script's name, or `start`.
        at: String,
        /// The caller's own words.
        failure: Box<Failure>,
    },
}

fn errno_words(errno: Option<i32>) -> String {
    match errno {
        None | Some(0) => String::new(),
        Some(errno) => format!(": {}", step::words(&io::Error::from_raw_os_error(errno))),
    }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("install CRIU (Debian, Ubuntu, Fedora: package criu)".into()),
            Self::Start { source, .. } | Self::File { source, .. } => {
                (source.kind() == io::ErrorKind::PermissionDenied).then(|| "run as root".into())
            }
            Self::Feature { .. } => Some("leave it off; `criu check --all` tells what is missing".into()),
            Self::Unfit { log, .. } | Self::Ended { log, .. } | Self::Failed { log, .. } => {
                log.hint().map(Into::into)
            }
            Self::Refused { failure, .. } => failure.hint.clone(),
            Self::Option { .. } | Self::Answer { .. } => None,
        }
    }

    /// As a failed step on `target`, hint included. A refusal is the caller's own failure again.
    pub fn into_failure(self, step: &'static str, target: impl Into<String>) -> Failure {
        let hint = self.hint();
        match self {
            Self::Refused { failure, .. } => *failure,
            other => Failure { hint, ..Failure::because(step, target, other.to_string()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_errno_log_and_the_way_out() {
        let errors = vec!["Error (criu/pstree.c:305): Consider using --shell-job option".to_owned()];
        let log = Log { path: Some("/i/dump.log".into()), errors };
        let error = Error::Failed { asked: "dump", errno: Some(3), log };
        let text = "criu dump failed: no such process\n  \
                    Error (criu/pstree.c:305): Consider using --shell-job option\n  \
                    (log: /i/dump.log)";
        assert_eq!(error.to_string(), text);
        let failure = error.into_failure("checkpoint", "web");
        assert_eq!((failure.step.as_ref(), failure.target.as_str()), ("checkpoint", "web"));
        assert_eq!(failure.reason.as_deref(), Some(text));
        assert_eq!(failure.hint.as_deref(), Some("pass --shell-job, at the restore too"));
    }

    #[test]
    fn the_callers_own_failure_comes_back_unchanged() {
        let failure = Failure::because("network", "eth0", "busy").hint("wait");
        let error =
            Error::Refused { asked: "dump", at: "pre-dump".into(), failure: Box::new(failure.clone()) };
        assert_eq!(error.to_string(), "network on eth0: busy (at pre-dump of criu dump)");
        assert_eq!(error.into_failure("checkpoint", "web"), failure);
    }
}
