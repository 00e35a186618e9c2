//! The commands of the lab: suites measured on the bare host, in containers and in virtual machines.

pub(super) mod compare;
pub(super) mod list;
pub(super) mod report;
pub(super) mod run;

use crate::problem::Problem;

/// A failure of the lab, for the user.
fn told(failure: step::Failure) -> Problem {
    let problem = Problem::new(failure.to_string());
    match failure.hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
