//! `images`: lists images, in Docker's columns.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::ops::images::{self, Listed};
use engine::{Image, Settings};
use oci::Digest;

use crate::ages;
use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::template::{self, Field, Row};
use crate::terminal::print;
use crate::values::{durations, sizes};

pub(crate) const COMMAND: Command = Command {
    name: "images",
    long_names: &["image ls", "image list"],
    summary: "List images",
    usage: &["images [OPTIONS] [REPOSITORY[:TAG]]"],
    about: "List images, the newest first. SIZE is what an image's layers take on disk; images share layers. Several\n\
            images for platforms under one name are one line; -a shows each of them, too.",
    examples: &[
        ("minidocker images alpine", "of one repository"),
        ("minidocker images -q --filter dangling=true", "ids of those without a name"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all", "Each image of those with several platforms, too").short('a'),
            flag("digests", "Show digests"),
            many(
                "filter",
                "KEY=VALUE",
                "dangling=true, label=, reference=, before=IMAGE, since=IMAGE,\nuntil=TIME",
            )
            .short('f'),
            one("format", "FORMAT", "table, json, or a template such as '{{.ID}} {{.Repository}}'"),
            flag("no-trunc", "Show ids in full"),
            flag("quiet", "Show ids only").short('q'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

const FIELDS: &[Field] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("Platform", "PLATFORM"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str =
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let (quiet, full, digests) = (on("quiet")?, on("no-trunc")?, on("digests")?);
    let table = if digests { WITH_DIGESTS } else { TABLE };
    let format = typed.read("format", |text| template::parse(text, FIELDS, table))?;
    let mut filters = typed.read_many("filter", Filter::parse)?;
    match typed.words.as_slice() {
        [] => {}
        [name] => filters.push(Filter::Reference(name.clone())),
        _ => return Err(Problem::new("images takes one name").hint("use --filter reference=PATTERN")),
    }
    let listed = if on("all")? { images::list_all(settings)? } else { images::list(settings)? };
    let filters = resolve(filters, &listed)?;
    let configs = Filter::configs(settings, &listed, &filters)?;
    let now = SystemTime::now();
    let kept = listed.iter().filter(|one| filters.iter().all(|filter| filter.holds(&one.image, &configs)));
    let mut rows = Vec::new();
    for one in kept {
        if quiet {
            rows.push(row(one, None, "", now, full));
            continue;
        }
        rows.extend(
            lines(one, &filters, digests)
                .iter()
                .map(|(name, digest)| row(one, name.as_deref(), digest, now, full)),
        );
    }
    let template = match format {
        _ if quiet => template::parse("{{.ID}}", FIELDS, table),
        Some(template) => Ok(template),
        None => template::parse("table", FIELDS, table),
    };
    print(&template.map_err(Problem::new)?.render(FIELDS, &rows)).map(|()| 0)
}

/// An image's names, each with the digest that its registry knows; one line without a name for a dangling one.
fn lines(one: &Listed, filters: &[Filter], digests: bool) -> Vec<(Option<String>, String)> {
    let wanted = |name: &String| {
        filters.iter().all(|filter| !matches!(filter, Filter::Reference(pattern) if !matches(pattern, name)))
    };
    let digest_of = |name: &str| {
        let repository = images::reference(name).map(|name| name.familiar_name()).unwrap_or_default();
        let known = one.image.digests.iter().filter_map(|known| images::reference(known).ok());
        let mut known = known.filter(|known| known.familiar_name() == repository);
        known
            .find_map(|known| known.digest())
            .map_or_else(|| "<none>".to_owned(), |digest| digest.to_string())
    };
    let mut all: Vec<_> = one
        .image
        .names
        .iter()
        .filter(|name| wanted(name))
        .map(|name| (Some(name.clone()), if digests { digest_of(name) } else { "<none>".to_owned() }))
        .collect();
    if all.is_empty() {
        // Pulled by digest alone, or replaced by a newer one of its name.
        let name = one.image.digests.first().filter(|_| one.image.names.is_empty());
        all.push((name.cloned(), name.map_or_else(|| "<none>".to_owned(), |name| digest_of(name))));
    }
    all
}

/// The values of [`FIELDS`].
fn row(one: &Listed, name: Option<&str>, digest: &str, now: SystemTime, full: bool) -> Row {
    let image = &one.image;
    let none = || "<none>".to_owned();
    let reference = name.and_then(|name| images::reference(name).ok());
    let created = UNIX_EPOCH + Duration::from_secs(u64::try_from(image.created).unwrap_or(0));
    let age = if image.created == 0 {
        "N/A".to_owned()
    } else {
        format!("{} ago", ages::words(ages::since(created, now)))
    };
    let tag = reference.as_ref().filter(|name| name.digest().is_none()).and_then(|name| name.tag());
    let values = vec![
        if full { one.id().to_string() } else { one.short_id() },
        reference.as_ref().map_or_else(none, oci::Reference::familiar_name),
        tag.map_or_else(none, str::to_owned),
        digest.to_owned(),
        age,
        ages::date(created),
        sizes::decimal(image.size),
        one.containers.to_string(),
        image.platform.clone(),
        // What images share is counted by `system df -v` alone, as in Docker.
        "N/A".to_owned(),
        "N/A".to_owned(),
        sizes::decimal(image.size),
    ];
    Row { values, labels: BTreeMap::new() }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// Has no name, or has one.
    Dangling(bool),
    /// Has this label, with this value; or has it not.
    Label { key: String, value: Option<String>, is: bool },
    /// A pattern that one of its names matches.
    Reference(String),
    /// An image that is younger; by then made before that time.
    Before(String),
    /// An image that is older.
    Since(String),
    /// Was made before that.
    Until(SystemTime),
    /// Was made after that.
    After(SystemTime),
}

/// The labels of images.
type Configs = HashMap<Digest, BTreeMap<String, String>>;

impl Filter {
    /// `KEY=VALUE` of `images`.
    fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("no value; write it as dangling=true")?;
        Ok(match key {
            "reference" => Self::Reference(value.to_owned()),
            "before" => Self::Before(value.to_owned()),
            "since" => Self::Since(value.to_owned()),
            "dangling" | "label" | "until" => return Self::for_prune(text),
            key => {
                return Err(format!(
                    "no filter {}, there are dangling, label, reference, before, since and until",
                    step::quote(key)
                ));
            }
        })
    }

    /// `KEY=VALUE` of `image prune`.
    pub(super) fn for_prune(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("no value; write it as until=24h")?;
        let (key, is) = key.strip_suffix('!').map_or((key, true), |key| (key, false));
        match (key, is) {
            ("dangling", true) => match value {
                "true" | "1" => Ok(Self::Dangling(true)),
                "false" | "0" => Ok(Self::Dangling(false)),
                _ => Err("dangling is true or false".to_owned()),
            },
            ("label", is) => {
                let (key, value) =
                    value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value)));
                Ok(Self::Label { key: key.to_owned(), value: value.map(str::to_owned), is })
            }
            ("until", true) => durations::moment(value).map(Self::Until),
            (key, _) => Err(format!("no filter {}, there are dangling, label and until", step::quote(key))),
        }
    }

    /// The labels of all images, where a condition asks for them.
    pub(super) fn configs(
        settings: &Settings,
        listed: &[Listed],
        filters: &[Self],
    ) -> Result<Configs, Problem> {
        if !filters.iter().any(|filter| matches!(filter, Self::Label { .. })) {
            return Ok(Configs::new());
        }
        let labels = |one: &Listed| -> Result<_, Problem> {
            Ok((one.image.id, images::labels(settings, &one.image)?))
        };
        listed.iter().map(labels).collect()
    }

    /// Whether it holds.
    pub(super) fn holds(&self, image: &Image, labels: &Configs) -> bool {
        let created = UNIX_EPOCH + Duration::from_secs(u64::try_from(image.created).unwrap_or(0));
        match self {
            Self::Dangling(dangling) => image.names.is_empty() == *dangling,
            Self::Label { key, value, is } => {
                let known = labels.get(&image.id).and_then(|labels| labels.get(key));
                let has = known.is_some_and(|known| value.as_ref().is_none_or(|value| value == known));
                has == *is
            }
            Self::Reference(pattern) => image.names.iter().any(|name| matches(pattern, name)),
            Self::Until(time) => created < *time,
            Self::After(time) => created > *time,
            // Resolved to times before.
            Self::Before(_) | Self::Since(_) => true,
        }
    }
}

/// `before=` and `since=` mean the times of other images.
fn resolve(filters: Vec<Filter>, listed: &[Listed]) -> Result<Vec<Filter>, Problem> {
    let time = |text: &String| {
        let named = |one: &&Listed| {
            let name = images::reference(text).ok().map(|name| name.canonical());
            name.is_some_and(|name| one.image.names.contains(&name))
                || one.id().hex().starts_with(text.trim_start_matches("sha256:"))
        };
        let one = listed.iter().find(named);
        one.map(|one| UNIX_EPOCH + Duration::from_secs(u64::try_from(one.image.created).unwrap_or(0)))
            .ok_or_else(|| Problem::new(format!("--filter: no such image: {text}")))
    };
    filters
        .into_iter()
        .map(|filter| match &filter {
            Filter::Before(name) => time(name).map(Filter::Until),
            Filter::Since(name) => time(name).map(Filter::After),
            _ => Ok(filter),
        })
        .collect()
}

/// Docker's patterns of names: `alpine`, `alpine:3*`, `*/app`; a `*` stands for anything but a slash.
fn matches(pattern: &str, name: &str) -> bool {
    let Ok(name) = images::reference(name) else { return false };
    let shown = name.to_string();
    let forms = [shown.clone(), name.familiar_name(), name.canonical()];
    forms.iter().any(|form| glob(pattern.as_bytes(), form.as_bytes()))
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=end).any(|at| glob(rest, &text[at..]))
        }
        ([b'?', rest @ ..], [byte, tail @ ..]) if *byte != b'/' => glob(rest, tail),
        ([one, rest @ ..], [byte, tail @ ..]) if one == byte => glob(rest, tail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_names() {
        let name = "docker.io/library/alpine:3.20";
        for pattern in
            ["alpine", "alpine:3.20", "alp*", "alpine:3*", "*:3.2?", "docker.io/library/alpine:3.20"]
        {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in ["alpin", "alpine:4", "library/alpine", "*/alpine", ""] {
            assert!(!matches(pattern, name), "{pattern}");
        }
        assert!(matches("*/team/app", "localhost:5000/team/app:1"));
    }

    #[test]
    fn filters_are_read() {
        assert_eq!(Filter::parse("dangling=true"), Ok(Filter::Dangling(true)));
        let label = Filter::Label { key: "a".into(), value: Some("b=c".into()), is: true };
        assert_eq!(Filter::parse("label=a=b=c"), Ok(label));
        let label = Filter::Label { key: "a".into(), value: None, is: false };
        assert_eq!(Filter::for_prune("label!=a"), Ok(label));
        for wrong in ["dangling", "dangling=maybe", "colour=red", "until=never"] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
    }
}
