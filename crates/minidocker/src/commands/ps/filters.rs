//! `ps --filter`: conditions on name, id, label, state and exit code.

use engine::ops::list::{State, Summary};

use crate::values::numbers;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// Part of the name; `^` and `$` stand for its ends.
    Name(String),
    /// How the id starts.
    Id(String),
    /// A label, and what it says.
    Label(String, Option<String>),
    /// `created`, `running` or `exited`.
    Status(String),
    /// The exit code.
    Exited(u8),
}

/// What `status=` knows.
const STATES: [&str; 6] = ["created", "running", "paused", "restarting", "exited", "dead"];

/// `KEY=VALUE`.
pub(super) fn parse(text: &str) -> Result<Filter, String> {
    let (key, value) = text.split_once('=').ok_or("no value; write it as status=exited")?;
    let value = value.to_owned();
    match key {
        "name" => Ok(Filter::Name(value)),
        "id" => Ok(Filter::Id(value)),
        "label" => Ok(match value.split_once('=') {
            Some((key, value)) => Filter::Label(key.to_owned(), Some(value.to_owned())),
            None => Filter::Label(value, None),
        }),
        "status" if STATES.contains(&value.as_str()) => Ok(Filter::Status(value)),
        "status" => Err(format!("no such status, there are {}", STATES.join(", "))),
        "exited" => {
            numbers::within(&value, 0..=255).map(Filter::Exited).map_err(|why| format!("the code is {why}"))
        }
        key => Err(format!("no filter {}, there are name, id, label, status and exited", step::quote(key))),
    }
}

/// All conditions: of one kind any may hold (labels: all), of different kinds all must.
#[derive(Debug)]
pub(super) struct Filters(Vec<Filter>);

impl Filters {
    pub(super) fn new(filters: Vec<Filter>) -> Self {
        Self(filters)
    }

    /// Whether containers that do not run are meant: the conditions themselves speak of them.
    pub(super) fn ask_for_ended(&self) -> bool {
        self.0.iter().any(|filter| matches!(filter, Filter::Status(_) | Filter::Exited(_)))
    }

    pub(super) fn let_through(&self, one: &Summary) -> bool {
        self.0.iter().all(|filter| {
            let alike = |other: &&Filter| std::mem::discriminant(*other) == std::mem::discriminant(filter);
            match filter {
                Filter::Label(..) => filter.holds(one),
                _ => self.0.iter().filter(alike).any(|other| other.holds(one)),
            }
        })
    }
}

impl Filter {
    fn holds(&self, one: &Summary) -> bool {
        match self {
            Self::Name(name) => {
                let part = name.trim_start_matches('^').trim_end_matches('$');
                match (name.starts_with('^'), name.ends_with('$')) {
                    (true, true) => one.name == part,
                    (true, false) => one.name.starts_with(part),
                    (false, true) => one.name.ends_with(part),
                    (false, false) => one.name.contains(part),
                }
            }
            Self::Id(start) => one.id.starts_with(start.as_str()),
            Self::Label(key, value) => {
                one.labels.get(key).is_some_and(|is| value.as_ref().is_none_or(|wanted| wanted == is))
            }
            Self::Status(wanted) => super::state(&one.state) == wanted,
            Self::Exited(wanted) => matches!(&one.state, State::Exited(_, code) if code == wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::tests::summary;
    use super::*;

    fn passes(filters: &[&str], one: &Summary) -> bool {
        Filters::new(filters.iter().map(|text| parse(text).unwrap()).collect()).let_through(one)
    }

    #[test]
    fn conditions_hold_or_not() {
        let web = summary("web-1", State::Exited(SystemTime::UNIX_EPOCH, 3));
        for yes in [
            "name=web",
            "name=^web",
            "name=1$",
            "name=^web-1$",
            "id=0123",
            "label=tier",
            "label=tier=web",
            "status=exited",
            "exited=3",
        ] {
            assert!(passes(&[yes], &web), "{yes}");
        }
        for no in [
            "name=db",
            "name=^1",
            "name=web$",
            "id=123",
            "label=x",
            "label=tier=db",
            "status=running",
            "exited=0",
        ] {
            assert!(!passes(&[no], &web), "{no}");
        }
        assert!(passes(&[], &web));
        assert!(passes(&["name=db", "name=web"], &web), "one of several names is enough");
        assert!(!passes(&["label=tier", "label=x"], &web), "every label is needed");
        assert!(!passes(&["name=web", "exited=0"], &web), "every kind is needed");
    }

    #[test]
    fn refuses_others() {
        for text in ["", "name", "colour=red", "status=odd", "exited=x", "exited=256", "=x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
