//! `events`: what happens to containers and images, a line each, in Docker's words.

use std::io::{self, Write as _};

use engine::Settings;
use engine::ops::events::{self, Event, Of, Span};
use oci::time::Rfc3339;
use serde_json::{Map, Value, json};

use super::Command;
use crate::options::{Group, Typed, Words, many, one};
use crate::path_template::{self, Template};
use crate::problem::Problem;
use crate::terminal::{io_reason, plain};
use crate::values::durations;

pub(crate) const COMMAND: Command = Command {
    name: "events",
    long_names: &["system events"],
    summary: "Show what happens to containers and images",
    usage: &["events [OPTIONS]"],
    about: "Show what happens to containers and images, a line each, until the end of time or --until.\n\n\
            Every command and every monitor writes what it did to a file below --run-root; the latest four\n\
            megabytes of it are kept until the next boot.",
    examples: &[
        ("minidocker events --since 10m", "the last ten minutes, and what comes"),
        ("minidocker events --since 1h --until 0s -f event=die", "what has ended in the last hour"),
        ("minidocker events -f container=web --format json", "of one container, for a program"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            many(
                "filter",
                "KEY=VALUE",
                "Only those with this container, event, image, label, network, type\nor volume",
            )
            .short('f'),
            one("format", "FORMAT", "json, or a template such as '{{.Type}} {{.Action}} {{.Actor.ID}}'"),
            one("since", "TIME", "From then on: 10m, 2026-08-01T12:00:00Z, seconds since 1970"),
            one("until", "TIME", "Up to then, and end"),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let moment = |long| typed.read(long, durations::moment);
    let span = Span { since: moment("since")?, until: moment("until")? };
    let filters = typed.read_many("filter", filter)?;
    let shape = typed.read("format", shape)?.unwrap_or(Shape::Words);
    let mut failed = None;
    events::events(settings, span, &mut |event| {
        if !lets_through(&filters, &event) {
            return true;
        }
        let shown = shape.show(&event).map_err(Problem::new).and_then(|line| {
            let mut stdout = io::stdout().lock();
            match stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
                Ok(()) => Ok(true),
                // Nobody reads any more.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                Err(error) => {
                    Err(Problem::new(format!("cannot write to standard output: {}", io_reason(&error))))
                }
            }
        });
        shown.unwrap_or_else(|problem| {
            failed = Some(problem);
            false
        })
    })?;
    failed.map_or(Ok(0), Err)
}

/// How events are shown.
enum Shape {
    Words,
    Json,
    Template(Template),
}

fn shape(text: &str) -> Result<Shape, String> {
    if matches!(text, "json" | "{{json .}}") {
        return Ok(Shape::Json);
    }
    let template = path_template::parse(text)?;
    // What it names is known before the first event comes.
    template.render(&fields(&Event {
        at: 0,
        of: Of::Container,
        action: String::new(),
        id: String::new(),
        attributes: Vec::new(),
    }))?;
    Ok(Shape::Template(template))
}

impl Shape {
    fn show(&self, event: &Event) -> Result<String, String> {
        Ok(match self {
            Self::Words => words(event),
            Self::Json => format!("{}\n", docker(event)),
            Self::Template(template) => format!("{}\n", plain(&template.render(&fields(event))?)),
        })
    }
}

/// Docker's line: time, kind, action, who, and what else is told, by its keys' order.
fn words(event: &Event) -> String {
    let mut pairs: Vec<String> =
        event.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort();
    let line = format!("{} {} {} ({})", event.of.name(), event.action, event.id, pairs.join(", "));
    format!("{} {}\n", Rfc3339::aligned(event.at as i64), plain(&line))
}

fn actor(event: &Event) -> Value {
    let attributes: Map<String, Value> =
        event.attributes.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    json!({"ID": event.id, "Attributes": attributes})
}

fn image(event: &Event) -> &str {
    event.attributes.iter().find(|(key, _)| key == "image").map_or("", |(_, value)| value)
}

/// What Docker's API says of an event.
fn docker(event: &Event) -> Value {
    let mut value = json!({
        "Type": event.of.name(),
        "Action": event.action,
        "Actor": actor(event),
        "scope": "local",
        "time": event.at / 1_000_000_000,
        "timeNano": event.at,
    });
    if !matches!(event.of, Of::Volume | Of::Network) {
        (value["status"], value["id"]) = (event.action.as_str().into(), event.id.as_str().into());
    }
    if event.of == Of::Container {
        value["from"] = image(event).into();
    }
    value
}

/// The same as templates name it.
fn fields(event: &Event) -> Value {
    json!({
        "Type": event.of.name(),
        "Action": event.action,
        "Actor": actor(event),
        "Scope": "local",
        "Time": event.at / 1_000_000_000,
        "TimeNano": event.at,
        "Status": event.action,
        "ID": event.id,
        "From": image(event),
    })
}

/// One condition: its key and its value.
type Filter = (&'static str, String);

const KEYS: [&str; 7] = ["container", "event", "image", "label", "network", "type", "volume"];

fn filter(text: &str) -> Result<Filter, String> {
    let (key, value) = text.split_once('=').ok_or("no value; write it as event=die")?;
    let known = KEYS
        .into_iter()
        .find(|known| *known == key)
        .ok_or_else(|| format!("no filter {}, there are {}", step::quote(key), super::listed(&KEYS)))?;
    Ok((known, value.to_owned()))
}

/// Of one key any may hold (labels: all), of different keys all must.
fn lets_through(filters: &[Filter], event: &Event) -> bool {
    filters.iter().all(|filter| match filter.0 {
        "label" => holds(filter, event),
        key => filters.iter().filter(|other| other.0 == key).any(|other| holds(other, event)),
    })
}

fn holds((key, wanted): &Filter, event: &Event) -> bool {
    let attribute = |key: &str| event.attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value);
    // By name, or by the beginning of the id.
    let is_called = |name: Option<&String>| {
        name.is_some_and(|name| name == wanted) || !wanted.is_empty() && event.id.starts_with(wanted.as_str())
    };
    let image = |name: &str| name == wanted || without_tag(name) == wanted;
    match *key {
        "container" => event.of == Of::Container && is_called(attribute("name")),
        "volume" => event.of == Of::Volume && is_called(Some(&event.id)),
        "network" => event.of == Of::Network && is_called(attribute("name")),
        // `exec_create: ls` is exec_create too.
        "event" => event.action == *wanted || event.action.split(':').next() == Some(wanted.as_str()),
        "image" => match event.of {
            Of::Image => image(&event.id) || attribute("name").is_some_and(|name| image(name)),
            _ => attribute("image").is_some_and(|name| image(name)),
        },
        "label" => match wanted.split_once('=') {
            Some((key, value)) => attribute(key).is_some_and(|is| is == value),
            None => attribute(wanted).is_some(),
        },
        _ => event.of.name() == wanted,
    }
}

/// An image's name without its tag; a registry's port is none.
fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(of: Of, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Event { at: 1_795_292_843_000_000_007, of, action: action.into(), id: id.into(), attributes }
    }

    fn web() -> Event {
        let attributes = [("image", "alpine:3"), ("name", "web"), ("exitCode", "3"), ("tier", "front")];
        event(Of::Container, "die", "0123abc", &attributes)
    }

    #[test]
    fn lines_are_dockers() {
        assert_eq!(
            words(&web()),
            "2026-11-21T20:27:23.000000007Z container die 0123abc \
             (exitCode=3, image=alpine:3, name=web, tier=front)\n"
        );
        let odd = event(Of::Image, "tag", "x\x1b[2J", &[("name", "a\nb")]);
        assert_eq!(words(&odd), "2026-11-21T20:27:23.000000007Z image tag x (name=a b)\n");
    }

    #[test]
    fn json_and_templates_have_dockers_fields() {
        let value: Value = serde_json::from_str(&Shape::Json.show(&web()).unwrap()).unwrap();
        assert_eq!(value["Actor"]["Attributes"]["exitCode"], "3");
        assert_eq!((&value["status"], &value["from"]), (&json!("die"), &json!("alpine:3")));
        assert_eq!(value["timeNano"], 1_795_292_843_000_000_007_u64);
        let shown = |text: &str| shape(text).unwrap().show(&web()).unwrap();
        assert_eq!(
            shown("{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Time}}"),
            "container die web 1795292843\n"
        );
        assert_eq!(shown("{{index .Actor.Attributes \"exitCode\"}}/{{.From}}"), "3/alpine:3\n");
        assert!(shape("{{.Bogus}}").is_err() && shape("{{if .ID}}").is_err());
    }

    #[test]
    fn filters_hold_or_not() {
        let exec = event(Of::Container, "exec_create: ls -l", "0123abc", &[("name", "web")]);
        let tagged = event(Of::Image, "tag", "sha256:55", &[("name", "localhost:5000/a:1")]);
        let through = |texts: &[&str], event: &Event| {
            let filters: Vec<Filter> = texts.iter().map(|text| filter(text).unwrap()).collect();
            lets_through(&filters, event)
        };
        for yes in [
            &["container=web"][..],
            &["container=0123"],
            &["event=die"],
            &["event=start", "event=die"],
            &["image=alpine"],
            &["image=alpine:3"],
            &["label=tier", "label=tier=front"],
            &["type=container", "container=web"],
            &[],
        ] {
            assert!(through(yes, &web()), "{yes:?}");
        }
        for no in [
            &["container=we"][..],
            &["container="],
            &["event=start"],
            &["image=alpin"],
            &["label=tier", "label=x"],
            &["type=image"],
            &["volume=web"],
            &["event=die", "container=db"],
        ] {
            assert!(!through(no, &web()), "{no:?}");
        }
        assert!(through(&["event=exec_create"], &exec) && !through(&["event=exec"], &exec));
        assert!(through(&["image=localhost:5000/a"], &tagged) && !through(&["image=localhost"], &tagged));
        assert!(filter("colour=red").is_err() && filter("event").is_err());
    }
}
