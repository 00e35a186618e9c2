//! `--filter` of pods, with Podman's keys.

use std::time::SystemTime;

use engine::ops::pods::{Listed, PodState};

use crate::commands::prune;
use crate::values::{durations, numbers};

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// How the id starts.
    Id(String),
    /// A part of the name.
    Name(String),
    /// What it is doing.
    Status(PodState),
    /// A label, its value where one is given, and whether it is wanted.
    Label(String, Option<String>, bool),
    /// A network by name.
    Network(String),
    /// Made before.
    Until(SystemTime),
    /// How the id of one of its containers starts.
    CtrIds(String),
    /// A part of the name of one of its containers.
    CtrNames(String),
    /// How many containers it has.
    CtrNumber(usize),
    /// What one of its containers is doing.
    CtrStatus(String),
}

const KEYS: &str =
    "id, name, status, label, label!, network, until, ctr-ids, ctr-names, ctr-number and ctr-status";

/// What `ctr-status=` knows.
const STATES: [&str; 5] = ["created", "running", "paused", "restarting", "exited"];

/// `KEY=VALUE`.
pub(super) fn parse(text: &str) -> Result<Filter, String> {
    let (key, value) = text.split_once('=').ok_or("no value; write it as status=running")?;
    let label = |wanted| match value.split_once('=') {
        Some((key, value)) => Filter::Label(key.to_owned(), Some(value.to_owned()), wanted),
        None => Filter::Label(value.to_owned(), None, wanted),
    };
    Ok(match key {
        "id" => Filter::Id(value.to_owned()),
        "name" => Filter::Name(value.to_owned()),
        "status" => {
            let known = PodState::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(value));
            let all = || PodState::ALL.map(|state| state.name().to_lowercase()).join(", ");
            Filter::Status(known.ok_or_else(|| format!("no such status, there are {}", all()))?)
        }
        "label" => label(true),
        "label!" => label(false),
        "network" => Filter::Network(value.to_owned()),
        "until" => Filter::Until(durations::moment(value)?),
        "ctr-ids" => Filter::CtrIds(value.to_owned()),
        "ctr-names" => Filter::CtrNames(value.to_owned()),
        "ctr-number" => Filter::CtrNumber(numbers::within(value, 0..=usize::MAX)?),
        "ctr-status" if STATES.contains(&value) => Filter::CtrStatus(value.to_owned()),
        "ctr-status" => return Err(format!("no such status, there are {}", STATES.join(", "))),
        key => return Err(format!("no filter {}, there are {KEYS}", step::quote(key))),
    })
}

/// Whether a pod is wanted: of one key any may hold (labels: all), of different keys all must.
pub(super) fn all_hold(filters: &[Filter], listed: &Listed) -> bool {
    let alike = |one: &Filter, other: &Filter| std::mem::discriminant(one) == std::mem::discriminant(other);
    filters.iter().all(|filter| match filter {
        Filter::Label(..) => filter.holds(listed),
        _ => filters.iter().any(|other| alike(filter, other) && other.holds(listed)),
    })
}

/// Whether a filter of prunes holds of a pod.
pub(super) fn pruned(filter: &prune::Filter, listed: &Listed) -> bool {
    filter.holds(&listed.infra)
}

impl Filter {
    fn holds(&self, listed: &Listed) -> bool {
        let infra = &listed.infra;
        match self {
            Self::Id(start) => infra.id.starts_with(start.as_str()),
            Self::Name(part) => infra.name.contains(part.as_str()),
            Self::Status(state) => listed.state() == *state,
            Self::Label(key, value, wanted) => {
                let known = infra.labels.get(key);
                known.is_some_and(|known| value.as_ref().is_none_or(|value| value == known)) == *wanted
            }
            Self::Network(name) => infra.networks.contains(name),
            Self::Until(time) => infra.created < *time,
            Self::CtrIds(start) => listed.containers().any(|one| one.id.starts_with(start.as_str())),
            Self::CtrNames(part) => listed.containers().any(|one| one.name.contains(part.as_str())),
            Self::CtrNumber(count) => listed.containers().count() == *count,
            Self::CtrStatus(wanted) => listed.containers().any(|one| one.state.word() == wanted),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use engine::ops::list::{PodOf, State};
    use engine::request::Pod;

    use super::*;
    use crate::commands::ps::tests::summary;

    pub(in crate::commands::pod) fn listed() -> Listed {
        let pod = Pod::default();
        let mut infra = summary("web", State::Running(SystemTime::UNIX_EPOCH, 7));
        infra.pod = Some(PodOf { id: infra.id.clone(), infra: Some(pod.clone()) });
        let mut app = summary("app", State::Exited(SystemTime::UNIX_EPOCH, 3));
        app.id = "f".repeat(64);
        app.pod = Some(PodOf { id: infra.id.clone(), infra: None });
        Listed { infra, pod, members: vec![app] }
    }

    #[test]
    fn filters_have_podmans_keys() {
        let passes = |texts: &[&str]| {
            let filters: Vec<Filter> = texts.iter().map(|text| parse(text).unwrap()).collect();
            all_hold(&filters, &listed())
        };
        for yes in [
            "id=0123",
            "name=we",
            "status=degraded",
            "status=Degraded",
            "label=tier",
            "label=tier=web",
            "label!=x",
            "network=bridge",
            "until=1h",
            "ctr-ids=ff",
            "ctr-names=app",
            "ctr-number=2",
            "ctr-status=exited",
        ] {
            assert!(passes(&[yes]), "{yes}");
        }
        for no in
            ["id=f", "name=app", "status=running", "label=x", "label!=tier", "network=x", "ctr-number=1"]
        {
            assert!(!passes(&[no]), "{no}");
        }
        assert!(passes(&["name=x", "name=web"]) && !passes(&["name=web", "status=exited"]));
        for text in ["", "name", "bogus=1", "status=up", "until=never", "ctr-number=x", "ctr-status=up"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
