//! `--filter` of networks, with Docker's keys.

use std::time::SystemTime;

use engine::ops::networks::{Listed, Network, created, is_built_in};

use crate::values::{booleans, durations};

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// No container names it, or one does.
    Dangling(bool),
    /// The driver.
    Driver(String),
    /// A part of the id.
    Id(String),
    /// A part of the name.
    Name(String),
    /// `local` is the only one.
    Scope(String),
    /// Made by a user, or not.
    Custom(bool),
    /// A label, its value where one is given, and whether it is wanted.
    Label(String, Option<String>, bool),
    /// Made before.
    Until(SystemTime),
}

/// Of `network ls`.
pub(super) fn for_list(text: &str) -> Result<Filter, String> {
    let help = "write it as driver=bridge, type=custom, name=, id=, label=, scope= or dangling=true";
    let (key, value) = text.split_once('=').ok_or_else(|| format!("no value; {help}"))?;
    Ok(match key {
        "dangling" => Filter::Dangling(booleans::parse(value)?),
        "driver" => Filter::Driver(value.to_owned()),
        "id" => Filter::Id(value.to_owned()),
        "name" => Filter::Name(value.to_owned()),
        "scope" => Filter::Scope(value.to_owned()),
        "type" => match value {
            "custom" => Filter::Custom(true),
            "builtin" => Filter::Custom(false),
            _ => return Err("the type is custom or builtin".to_owned()),
        },
        "label" => label(value, true),
        "label!" => label(value, false),
        _ => return Err(format!("unknown key {}; {help}", step::quote(key))),
    })
}

/// Of `network prune`.
pub(super) fn for_prune(text: &str) -> Result<Filter, String> {
    let help = "write it as label=KEY, label!=KEY=VALUE or until=24h";
    match text.split_once('=') {
        Some(("label", value)) => Ok(label(value, true)),
        Some(("label!", value)) => Ok(label(value, false)),
        Some(("until", value)) => durations::moment(value).map(Filter::Until),
        Some((key, _)) => Err(format!("unknown key {}; {help}", step::quote(key))),
        None => Err(format!("no value; {help}")),
    }
}

fn label(text: &str, wanted: bool) -> Filter {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
    Filter::Label(key.to_owned(), value.map(str::to_owned), wanted)
}

impl Filter {
    /// Whether a network of a list is wanted: of one key any may hold (labels: all), of different keys all must.
    pub(super) fn all_hold(filters: &[Self], listed: &Listed) -> bool {
        let same = |one: &Self, other: &Self| std::mem::discriminant(one) == std::mem::discriminant(other);
        filters.iter().all(|filter| match filter {
            Self::Label(..) => filter.holds(&listed.network, listed.used),
            _ => filters.iter().any(|other| same(filter, other) && other.holds(&listed.network, listed.used)),
        })
    }

    /// Whether it holds of a network that is or is not used.
    pub(super) fn holds(&self, network: &Network, used: bool) -> bool {
        let built_in = is_built_in(&network.name);
        match self {
            Self::Dangling(wanted) => *wanted == (!used && !built_in),
            Self::Driver(name) => super::inspect::driver(network) == name,
            Self::Id(part) => network.id.contains(part.as_str()),
            Self::Name(part) => network.name.contains(part.as_str()),
            Self::Scope(scope) => scope == "local",
            Self::Custom(wanted) => *wanted != built_in,
            Self::Label(key, value, wanted) => {
                let found = network.labels.get(key);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found)) == *wanted
            }
            Self::Until(time) => created(network) < *time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_have_dockers_keys() {
        assert_eq!(for_list("type=custom"), Ok(Filter::Custom(true)));
        assert_eq!(for_list("label=a=b=c"), Ok(Filter::Label("a".into(), Some("b=c".into()), true)));
        assert_eq!(for_prune("label!=a"), Ok(Filter::Label("a".into(), None, false)));
        assert!(matches!(for_prune("until=24h"), Ok(Filter::Until(_))));
        for text in ["dangling=maybe", "bogus=1", "name", "type=odd"] {
            assert!(for_list(text).is_err(), "{text}");
        }
        for text in ["name=a", "until=never", "label"] {
            assert!(for_prune(text).is_err(), "{text}");
        }
    }
}
