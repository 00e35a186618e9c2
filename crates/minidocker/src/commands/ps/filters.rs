//! `ps --filter`: conditions, read from what was typed and then looked up once for all containers.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use engine::Settings;
use engine::ops::list::{self, Health, State, Summary};
use engine::ops::pods;
use engine::request::Ports;

use crate::problem::Problem;
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
    /// No such label, or another value.
    NoLabel(String, Option<String>),
    /// The exit code.
    Exited(u8),
    /// An image, or one below the container's own.
    Ancestor(String),
    /// Made before this container.
    Before(String),
    /// Made after this container.
    Since(String),
    /// `none`, `starting`, `healthy` or `unhealthy`.
    Health(String),
    /// A task of Swarm: there are none.
    IsTask(bool),
    /// A network by name.
    Network(String),
    /// Something mounted, by what it is of the host or by where it is in the container.
    Volume(String),
    /// A port of the container that is published: first, last, protocol.
    Publish(u16, u16, String),
    /// A port that it exposes: first, last, protocol.
    Expose(u16, u16, String),
    /// The pod that it is in, by name or id.
    Pod(String),
}

/// What `status=` knows.
const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// What `health=` knows.
const HEALTHS: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];

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
        "label!" => Ok(match value.split_once('=') {
            Some((key, value)) => Filter::NoLabel(key.to_owned(), Some(value.to_owned())),
            None => Filter::NoLabel(value, None),
        }),
        "ancestor" => Ok(Filter::Ancestor(value)),
        "before" => Ok(Filter::Before(value)),
        "since" => Ok(Filter::Since(value)),
        "health" if HEALTHS.contains(&value.as_str()) => Ok(Filter::Health(value)),
        "health" => Err(format!("no such health, there are {}", HEALTHS.join(", "))),
        "is-task" => crate::values::booleans::parse(&value).map(Filter::IsTask),
        "network" => Ok(Filter::Network(value)),
        "volume" => Ok(Filter::Volume(value)),
        "publish" => ports(&value).map(|(first, last, protocol)| Filter::Publish(first, last, protocol)),
        "expose" => ports(&value).map(|(first, last, protocol)| Filter::Expose(first, last, protocol)),
        "pod" => Ok(Filter::Pod(value)),
        key => Err(format!("no filter {}, there are {}", step::quote(key), KEYS.join(", "))),
    }
}

const KEYS: [&str; 16] = [
    "name", "id", "label", "label!", "status", "exited", "ancestor", "before", "since", "health", "is-task",
    "network", "volume", "publish", "expose", "pod",
];

/// `80`, `80/udp`, `8000-8080/tcp`.
fn ports(text: &str) -> Result<(u16, u16, String), String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last && ["tcp", "udp", "sctp"].contains(&protocol) => {
            Ok((first, last, protocol.to_owned()))
        }
        _ => Err("no such port; write it as 80, 80/udp or 8000-8080/tcp".to_owned()),
    }
}

/// All conditions: of one kind any may hold (labels: all), of different kinds all must.
#[derive(Debug)]
pub(super) struct Filters {
    all: Vec<Filter>,
    /// The ids of images that an `ancestor` stands for.
    ancestors: HashMap<String, HashSet<String>>,
    /// When the containers of `before` and `since` were made.
    created: HashMap<String, SystemTime>,
    /// The ids of the pods that a `pod` stands for.
    pods: HashMap<String, String>,
}

impl Filters {
    /// Looks up what the conditions name.
    pub(super) fn new(all: Vec<Filter>, settings: &Settings) -> Result<Self, Problem> {
        let (mut ancestors, mut created, mut pods) = (HashMap::new(), HashMap::new(), HashMap::new());
        for filter in &all {
            match filter {
                Filter::Ancestor(name) => {
                    ancestors.insert(name.clone(), list::descendants(settings, name)?);
                }
                Filter::Before(name) | Filter::Since(name) => {
                    created.insert(name.clone(), list::created(settings, name)?);
                }
                // One that is not there has no containers.
                Filter::Pod(name) => {
                    let found = pods::find(settings, name).ok();
                    pods.extend(found.map(|listed| (name.clone(), listed.infra.id)));
                }
                _ => {}
            }
        }
        Ok(Self { all, ancestors, created, pods })
    }

    /// Whether containers that do not run are meant: the conditions themselves speak of them.
    pub(super) fn ask_for_ended(&self) -> bool {
        self.all.iter().any(|filter| matches!(filter, Filter::Status(_) | Filter::Exited(_)))
    }

    pub(super) fn let_through(&self, one: &Summary) -> bool {
        self.all.iter().all(|filter| {
            let alike = |other: &&Filter| std::mem::discriminant(*other) == std::mem::discriminant(filter);
            match filter {
                Filter::Label(..) | Filter::NoLabel(..) => self.holds(filter, one),
                _ => self.all.iter().filter(alike).any(|other| self.holds(other, one)),
            }
        })
    }

    fn holds(&self, filter: &Filter, one: &Summary) -> bool {
        let has = |key: &String, value: &Option<String>| {
            one.labels.get(key).is_some_and(|is| value.as_ref().is_none_or(|wanted| wanted == is))
        };
        match filter {
            Filter::Name(name) => {
                let part = name.trim_start_matches('^').trim_end_matches('$');
                match (name.starts_with('^'), name.ends_with('$')) {
                    (true, true) => one.name == part,
                    (true, false) => one.name.starts_with(part),
                    (false, true) => one.name.ends_with(part),
                    (false, false) => one.name.contains(part),
                }
            }
            Filter::Id(start) => one.id.starts_with(start.as_str()),
            Filter::Label(key, value) => has(key, value),
            Filter::NoLabel(key, value) => !has(key, value),
            Filter::Status(wanted) => one.state.word() == wanted,
            Filter::Exited(wanted) => matches!(&one.state, State::Exited(_, code) if code == wanted),
            Filter::Ancestor(name) => {
                let known = self.ancestors.get(name);
                let is_below = |id: &String| known.is_some_and(|known| known.contains(id));
                one.image_id.as_ref().map_or(one.image == *name, is_below)
            }
            Filter::Before(name) => self.created.get(name).is_some_and(|then| one.created < *then),
            Filter::Since(name) => self.created.get(name).is_some_and(|then| one.created > *then),
            Filter::Health(wanted) => one.health.map_or("none", Health::name) == wanted,
            Filter::IsTask(wanted) => !wanted,
            Filter::Network(name) => one.networks.contains(name),
            Filter::Volume(name) => {
                one.mounts.iter().any(|(source, target)| source == name || target == name)
            }
            Filter::Publish(first, last, protocol) => has_port(&one.to_publish, *first, *last, protocol),
            Filter::Expose(first, last, protocol) => has_port(&one.exposed, *first, *last, protocol),
            Filter::Pod(name) => one.pod.as_ref().is_some_and(|pod| self.pods.get(name) == Some(&pod.id)),
        }
    }
}

/// Whether one of these is among the ports.
fn has_port(ports: &[Ports], first: u16, last: u16, protocol: &str) -> bool {
    ports.iter().any(|one| one.protocol.name() == protocol && one.first <= last && first <= one.last)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::ops::list::PodOf;

    use super::super::tests::summary;
    use super::*;

    fn passes(filters: &[&str], one: &Summary) -> bool {
        let read = filters.iter().map(|text| parse(text).unwrap()).collect();
        let mut filters = Filters::new(Vec::new(), &Settings::default()).unwrap();
        filters.created.insert("then".to_owned(), SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        filters.ancestors.insert("base".to_owned(), HashSet::from(["sha256:1".to_owned()]));
        filters.pods =
            [("back", "p"), ("front", "q")].map(|(name, id)| (name.to_owned(), id.repeat(64))).into();
        filters.all = read;
        filters.let_through(one)
    }

    #[test]
    fn conditions_hold_or_not() {
        let mut web = summary("web-1", State::Exited(SystemTime::UNIX_EPOCH, 3));
        assert!(passes(&["ancestor=host"], &web) && !passes(&["ancestor=base"], &web));
        web.image_id = Some("sha256:1".to_owned());
        web.exposed = ["80/tcp", "53/udp"].map(|text| text.parse().unwrap()).to_vec();
        web.to_publish = vec!["80/tcp".parse().unwrap()];
        web.pod = Some(PodOf { id: "p".repeat(64), infra: None });
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
            "label!=x",
            "label!=tier=db",
            "ancestor=base",
            "before=then",
            "health=none",
            "is-task=false",
            "network=bridge",
            "volume=/srv",
            "volume=/srv/of/the/website",
            "expose=80",
            "expose=50-60/udp",
            "publish=80",
            "publish=70-90/tcp",
            "pod=back",
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
            "label!=tier",
            "label!=tier=web",
            "ancestor=host",
            "since=then",
            "health=healthy",
            "is-task=true",
            "network=host",
            "volume=/",
            "publish=53/udp",
            "publish=8080",
            "expose=53",
            "expose=81-90",
            "pod=front",
            "pod=nobody",
        ] {
            assert!(!passes(&[no], &web), "{no}");
        }
        web.health = Some(Health::Unhealthy);
        assert!(passes(&["health=unhealthy"], &web) && passes(&["health=none", "health=unhealthy"], &web));
        assert!(!passes(&["health=none"], &web) && !passes(&["health=starting"], &web));
        assert!(passes(&[], &web));
        assert!(passes(&["name=db", "name=web"], &web), "one of several names is enough");
        assert!(!passes(&["label=tier", "label=x"], &web), "every label is needed");
        assert!(!passes(&["name=web", "exited=0"], &web), "every kind is needed");
    }

    #[test]
    fn refuses_others() {
        for text in [
            "",
            "name",
            "colour=red",
            "status=odd",
            "exited=x",
            "exited=256",
            "=x",
            "health=odd",
            "is-task=odd",
            "expose=x",
            "expose=9-8",
            "publish=80/ip",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
