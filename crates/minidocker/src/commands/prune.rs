//! `container prune`: removes what has ended.

use std::time::SystemTime;

use engine::Settings;
use engine::ops::list::Summary;
use engine::ops::remove;

use super::{Command, confirmed};
use crate::options::{Group, Typed, Words, flag, many};
use crate::problem::Problem;
use crate::terminal::{print, report};
use crate::values::{durations, sizes};

pub(crate) const COMMAND: Command = Command {
    name: "container prune",
    long_names: &[],
    summary: "Remove all containers that do not run",
    usage: &["container prune [OPTIONS]"],
    about: "Remove all containers that do not run, with what they have written.",
    examples: &[("minidocker container prune -f --filter until=24h", "those made more than a day ago")],
    groups: &[Group {
        title: "Options",
        options: &[
            many("filter", "KEY=VALUE", "Only those with this label=, label!= or until="),
            flag("force", "Do not ask").short('f'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

/// One condition; all must hold.
#[derive(Debug, PartialEq)]
pub(super) enum Filter {
    /// A label, what it says, and whether it is wanted.
    Label(String, Option<String>, bool),
    /// Made before.
    Until(SystemTime),
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("no value; write it as until=24h")?;
        let (key, is) = key.strip_suffix('!').map_or((key, true), |key| (key, false));
        match (key, is) {
            ("label", is) => Ok(match value.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned()), is),
                None => Self::Label(value.to_owned(), None, is),
            }),
            ("until", true) => durations::moment(value).map(Self::Until),
            (key, _) => Err(format!("no filter {}, there are label and until", step::quote(key))),
        }
    }

    pub(super) fn holds(&self, one: &Summary) -> bool {
        match self {
            Self::Label(key, value, is) => {
                let known = one.labels.get(key);
                known.is_some_and(|known| value.as_ref().is_none_or(|value| value == known)) == *is
            }
            Self::Until(time) => one.created < *time,
        }
    }
}

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    typed.read_many("filter", Filter::parse)?;
    if !typed.flag("force")?.unwrap_or(false) && !confirmed("This will remove all stopped containers.")? {
        return Ok(0);
    }
    prune(&typed, settings)?.print()
}

/// What was removed of one kind of thing.
#[derive(Debug, Default)]
pub(super) struct Pruned {
    /// The list of it, with a blank line at its end; nothing where nothing was removed.
    pub(super) deleted: String,
    /// Bytes that are free again.
    pub(super) bytes: u64,
    /// The exit code.
    pub(super) code: u8,
}

impl Pruned {
    /// What Docker prints. The exit code.
    pub(super) fn print(self) -> Result<u8, Problem> {
        print(&format!("{}Total reclaimed space: {}\n", self.deleted, sizes::decimal(self.bytes)))?;
        Ok(self.code)
    }

    /// With what was removed of another kind.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            deleted: self.deleted + &other.deleted,
            bytes: self.bytes + other.bytes,
            code: self.code.max(other.code),
        }
    }
}

/// Removes what `--filter` says of the containers that do not run. One that cannot be removed is told of.
pub(super) fn prune(typed: &Typed, settings: &Settings) -> Result<Pruned, Problem> {
    let filters = typed.read_many("filter", Filter::parse)?;
    let keep = |one: &Summary| !filters.iter().all(|filter| filter.holds(one));
    let (ids, bytes, failed) = remove::prune(settings, &keep)?;
    let code = if failed.is_empty() { 0 } else { COMMAND.failed };
    failed.into_iter().for_each(|error| report(&Problem::from(error)));
    let deleted = match ids.as_slice() {
        [] => String::new(),
        ids => format!("Deleted Containers:\n{}\n\n", ids.join("\n")),
    };
    Ok(Pruned { deleted, bytes, code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let label = |value: Option<&str>, is| Filter::Label("a".into(), value.map(str::to_owned), is);
        assert_eq!(Filter::parse("label=a"), Ok(label(None, true)));
        assert_eq!(Filter::parse("label=a=b"), Ok(label(Some("b"), true)));
        assert_eq!(Filter::parse("label!=a=b"), Ok(label(Some("b"), false)));
        assert!(matches!(Filter::parse("until=24h"), Ok(Filter::Until(_))));
        for wrong in ["", "label", "name=x", "until!=24h", "until=never"] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
    }
}
