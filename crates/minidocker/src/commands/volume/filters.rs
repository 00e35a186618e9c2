//! `--filter` of volumes, with Docker's keys.

use engine::ops::volumes::{Listed, Volume};

use crate::values::booleans;

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// No container uses it, or one does.
    Dangling(bool),
    /// A part of the name.
    Name(String),
    /// The driver.
    Driver(String),
    /// A label, and its value where one is given.
    Label(String, Option<String>),
    /// Not that.
    NoLabel(String, Option<String>),
}

/// Of `volume ls`.
pub(super) fn for_list(text: &str) -> Result<Filter, String> {
    let help = "write it as dangling=true, name=, label= or driver=";
    let (key, value) = text.split_once('=').ok_or_else(|| format!("no value; {help}"))?;
    Ok(match key {
        "dangling" => Filter::Dangling(booleans::parse(value)?),
        "name" => Filter::Name(value.to_owned()),
        "driver" => Filter::Driver(value.to_owned()),
        "label" => label(value, Filter::Label),
        "label!" => label(value, Filter::NoLabel),
        _ => return Err(format!("unknown key {}; {help}", step::quote(key))),
    })
}

/// Of `volume prune`.
pub(super) fn for_prune(text: &str) -> Result<Filter, String> {
    let help = "write it as label=KEY, label=KEY=VALUE or label!=KEY";
    match text.split_once('=') {
        Some(("label", value)) => Ok(label(value, Filter::Label)),
        Some(("label!", value)) => Ok(label(value, Filter::NoLabel)),
        Some((key, _)) => Err(format!("unknown key {}; {help}", step::quote(key))),
        None => Err(format!("no value; {help}")),
    }
}

fn label(text: &str, filter: fn(String, Option<String>) -> Filter) -> Filter {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
    filter(key.to_owned(), value.map(str::to_owned))
}

impl Filter {
    /// Whether a volume of a list is wanted. Of several names one must be there, of several labels each.
    pub(super) fn all_hold(filters: &[Self], listed: &Listed) -> bool {
        let volume = &listed.volume;
        let any = |is_kind: fn(&Self) -> bool| {
            let mut of_kind = filters.iter().filter(|filter| is_kind(filter)).peekable();
            of_kind.peek().is_none() || of_kind.any(|filter| filter.holds(volume, listed.used))
        };
        let each = |filter: &Self| match filter {
            Self::Name(_) | Self::Driver(_) => true,
            other => other.holds(volume, listed.used),
        };
        any(|filter| matches!(filter, Self::Name(_)))
            && any(|filter| matches!(filter, Self::Driver(_)))
            && filters.iter().all(each)
    }

    /// Whether it holds of a volume that is or is not used.
    pub(super) fn holds(&self, volume: &Volume, used: bool) -> bool {
        let has = |key: &str, value: &Option<String>| {
            volume.labels.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        match self {
            Self::Dangling(wanted) => *wanted != used,
            Self::Name(part) => volume.name.contains(part.as_str()),
            Self::Driver(name) => name == "local",
            Self::Label(key, value) => has(key, value),
            Self::NoLabel(key, value) => !has(key, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_have_dockers_keys() {
        assert_eq!(for_list("dangling=1"), Ok(Filter::Dangling(true)));
        assert_eq!(for_list("label=a=b=c"), Ok(Filter::Label("a".into(), Some("b=c".into()))));
        assert_eq!(for_prune("label!=a"), Ok(Filter::NoLabel("a".into(), None)));
        for text in ["dangling=maybe", "bogus=1", "name"] {
            assert!(for_list(text).is_err(), "{text}");
        }
        for text in ["name=a", "until=1h", "label"] {
            assert!(for_prune(text).is_err(), "{text}");
        }
    }
}
