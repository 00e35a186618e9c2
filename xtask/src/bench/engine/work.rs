//! What is measured, by name.

use super::super::works::Named;
use super::Plan;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Run,
    Exec,
    Parallel,
    Log,
    List,
    Idle,
}

impl Named for Work {
    /// In the order in which they are measured: those that leave most behind come last.
    const ALL: &'static [Self] = &[Self::Run, Self::Exec, Self::Parallel, Self::Log, Self::List, Self::Idle];

    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Exec => "exec",
            Self::Parallel => "parallel",
            Self::Log => "log",
            Self::List => "ps",
            Self::Idle => "idle",
        }
    }
}

impl Work {
    pub(super) fn title(self, plan: &Plan) -> String {
        match self {
            Self::Run => "run --rm IMAGE true, on the default network".to_owned(),
            Self::Exec => "exec CONTAINER true".to_owned(),
            Self::Parallel => format!("{} times run --rm IMAGE true, at once", super::commands::AT_ONCE),
            Self::Log => {
                format!("a container prints {} MiB in lines of 100 bytes, and logs reads them", plan.log)
            }
            Self::List => format!("ps -a with {} containers", plan.many),
            Self::Idle => format!("{} containers that do nothing", plan.idle),
        }
    }
}
