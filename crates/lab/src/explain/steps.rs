//! The steps on the way to the first command: of the repetitions the medians.

use crate::read::Results;
use crate::record::{Case, Environment, Size};
use crate::statistics::median;

/// Each step on the way to the first command, in order: its name and the median of its times.
pub(crate) fn steps(
    results: &Results,
    case: &Case,
    environment: &Environment,
    size: &Size,
) -> Vec<(String, f64)> {
    let all = results.of(&case.name, &environment.name, &size.name);
    let mut names: Vec<&str> = Vec::new();
    for step in all.iter().flat_map(|one| &one.steps) {
        if !names.contains(&step.name.as_str()) {
            names.push(&step.name);
        }
    }
    let time = |name: &str| {
        let times: Vec<f64> = all
            .iter()
            .filter(|one| one.steps.iter().any(|step| step.name == name))
            .map(|one| {
                one.steps.iter().filter(|step| step.name == name).map(|step| step.end - step.start).sum()
            })
            .collect();
        median(&times).unwrap_or(0.0)
    };
    names.into_iter().map(|name| (name.to_owned(), time(name))).collect()
}

/// The largest step: its name, its time, and the time of all.
pub(super) fn largest_step(
    results: &Results,
    case: &Case,
    environment: &Environment,
    size: &Size,
) -> Option<(String, f64, f64)> {
    let steps = steps(results, case, environment, size);
    let all = steps.iter().map(|(_, time)| time).sum();
    let (name, time) = steps.into_iter().max_by(|one, other| one.1.total_cmp(&other.1))?;
    Some((name, time, all))
}
