//! Suites: what is to be measured, as readable TOML files. Strict: an unknown key, reader or placeholder is refused
//! with its line and what is allowed there.

mod words;

use std::path::Path;

use serde::Deserialize;
use step::Failure;
use toml::Spanned;

use crate::reader::Reader;
use crate::record;

pub(crate) use words::number;
pub use words::{Filling, fill};

/// The suites that are part of the program: name and text.
pub const SHIPPED: [(&str, &str); 5] = [
    ("course", include_str!("../suites/course.toml")),
    ("loop", include_str!("../suites/loop.toml")),
    ("sizes", include_str!("../suites/sizes.toml")),
    ("start", include_str!("../suites/start.toml")),
    ("survey", include_str!("../suites/survey.toml")),
];

/// A suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// One word.
    pub name: String,
    /// For headings.
    pub title: String,
    /// What it is for, in some sentences.
    pub about: String,
    /// In the order in which they are told.
    pub cases: Vec<Case>,
    /// The file, whole.
    pub text: String,
}

/// A workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What the record says of it.
    pub record: record::Case,
    /// What reads its output.
    pub reader: Reader,
    /// What is done with `run`.
    pub way: Way,
    /// What is to be there before: commands with placeholders, in the environment.
    pub prepare: Vec<Vec<String>>,
    /// A short run that is not measured.
    pub warm_up: Vec<String>,
    /// What is measured.
    pub run: Vec<String>,
    /// What takes away what `prepare` made and the environment keeps.
    pub clean: Vec<Vec<String>>,
    /// A command on the host that serves meanwhile, for cases over the network.
    pub host: Vec<String>,
    /// Seconds: what `{time}` stands for, before it is scaled; 0 where the case has its own end.
    pub time: f64,
    /// Seconds after which it is ended, in whatever environment.
    pub limit: f64,
    /// File by file from the disk: the caches are dropped before.
    pub cold: bool,
    /// How it reaches the host.
    pub network: Network,
    /// Programs that must be there, with the packages that bring them.
    pub needs: Vec<String>,
}

/// What is done with a case's `run`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// It runs in an environment, and its output is read.
    Inside,
    /// Environments are started with it, again and again.
    Start(Starts),
    /// This many environments run it at the same time, and their memory is looked at.
    Density(u32),
}

/// How environments are started.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Starts {
    /// How often.
    pub count: u32,
    /// How many at the same time.
    #[serde(default = "one")]
    pub parallel: u32,
    /// Seconds between two: back to back the kernel's pauses overlap and flatter everyone.
    #[serde(default)]
    pub pause: f64,
}

/// How a case reaches the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Not at all.
    #[default]
    None,
    /// By the host's own stack.
    Host,
    /// By an address of its own, and a bridge or a translation.
    Bridge,
}

/// A suite as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    title: String,
    #[serde(default)]
    about: String,
    case: Vec<FileCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCase {
    name: Spanned<String>,
    title: String,
    #[serde(default)]
    about: String,
    group: Option<String>,
    reader: Option<Reader>,
    headline: Option<Spanned<String>>,
    #[serde(default)]
    prepare: Vec<Vec<Spanned<String>>>,
    #[serde(default)]
    warm_up: Vec<Spanned<String>>,
    run: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    clean: Vec<Vec<Spanned<String>>>,
    #[serde(default)]
    host: Vec<Spanned<String>>,
    #[serde(default)]
    time: f64,
    #[serde(default = "hour")]
    limit: f64,
    #[serde(default)]
    cold: bool,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    needs: Vec<String>,
    start: Option<Starts>,
    density: Option<u32>,
    #[serde(default)]
    published: Vec<FilePublished>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePublished {
    source: String,
    environment: String,
    kind: record::Kind,
    #[serde(default)]
    size: String,
    metric: Spanned<String>,
    value: Option<f64>,
    ratio: Option<FileRatio>,
    to: Option<record::Kind>,
}

/// `4`, or `[0.33, 0.5]`.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged, expecting = "a ratio is a number, or a lower and an upper one: [2, 3]")]
enum FileRatio {
    One(f64),
    Between([f64; 2]),
}

impl FilePublished {
    /// One of an absolute figure, and a ratio with what it is to.
    fn figure(&self) -> Result<(Option<f64>, Option<record::PublishedRatio>), &'static str> {
        match (self.value, self.ratio, self.to) {
            (Some(value), None, None) => Ok((Some(value), None)),
            (None, Some(ratio), Some(to)) => {
                let [low, high] = match ratio {
                    FileRatio::One(one) => [one, one],
                    FileRatio::Between(both) => both,
                };
                if to == self.kind {
                    return Err("a ratio is to an environment of another kind");
                }
                if !(low > 0.0 && high >= low && high.is_finite()) {
                    return Err("a ratio is above 0, and its lower end comes first");
                }
                Ok((None, Some(record::PublishedRatio { low, high, to })))
            }
            (None, Some(_), None) => Err("a ratio needs what it is to: to = \"native\""),
            _ => Err("a published figure has a value, or a ratio and what it is to, and not both"),
        }
    }
}

fn one() -> u32 {
    1
}

fn hour() -> f64 {
    3600.0
}

/// The suite of that name, or of the file at that path.
///
/// # Errors
/// A name that is none, a file that cannot be read, and all that [`parse`] refuses.
pub fn load(named: &str) -> Result<Suite, Failure> {
    if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == named) {
        return parse(&format!("the suite {name}"), text);
    }
    let path = Path::new(named);
    if !named.contains('/') && path.extension().is_none_or(|ending| ending != "toml") {
        let names = SHIPPED.map(|(name, _)| name);
        let near = step::nearest(named, names).map_or(String::new(), |near| format!("did you mean {near}? "));
        let failure = Failure::because("suite.read", named, "there is no suite of that name");
        return Err(
            failure.hint(format!("{near}there are {}; a file is named with its .toml", names.join(", ")))
        );
    }
    let text = std::fs::read_to_string(path).map_err(|cause| {
        Failure::new("suite.read", named, cause)
            .hint("'minidocker bench list' has the suites that are there without a file")
    })?;
    parse(named, &text)
}

/// A suite from its text; `from` names it in messages.
///
/// # Errors
/// Whatever the text has that is not known: with its line, and what is allowed.
pub fn parse(from: &str, text: &str) -> Result<Suite, Failure> {
    let at =
        |offset: usize| format!("{from}, line {}", text[..offset.min(text.len())].matches('\n').count() + 1);
    let file: File = toml::from_str(text).map_err(|error| {
        let target = error.span().map_or_else(|| from.to_owned(), |span| at(span.start));
        Failure::because("suite.read", target, error.message().replace('\n', " "))
            .hint("docs/guide/bench.md has every key of a suite")
    })?;
    let mut cases: Vec<Case> = Vec::with_capacity(file.case.len());
    for case in file.case {
        let start = case.name.span().start;
        let case = case.checked(&at)?;
        if cases.iter().any(|other| other.record.name == case.record.name) {
            let reason = format!("a second case is called {}", case.record.name);
            return Err(Failure::because("suite.read", at(start), reason));
        }
        cases.push(case);
    }
    if cases.is_empty() {
        return Err(Failure::because("suite.read", from, "it has no case"));
    }
    Ok(Suite { name: file.name, title: file.title, about: file.about, cases, text: text.to_owned() })
}

impl FileCase {
    fn checked(self, at: &dyn Fn(usize) -> String) -> Result<Case, Failure> {
        let refuse = |offset: usize, reason: String| Err(Failure::because("suite.read", at(offset), reason));
        let start = self.name.span().start;
        let name = self.name.into_inner();
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_word) {
            return refuse(
                start,
                format!("{} is no name: letters, digits, -, _ and . make one", step::quote(&name)),
            );
        }
        let way = match (self.start, self.density) {
            (None, None) => Way::Inside,
            (Some(starts), None) if starts.count > 0 && starts.parallel > 0 => Way::Start(starts),
            (None, Some(count)) if count > 0 => Way::Density(count),
            (Some(_), Some(_)) => return refuse(start, "a case has start or density, not both".to_owned()),
            _ => return refuse(start, "count and parallel are at least 1".to_owned()),
        };
        let reader = match (way, self.reader) {
            (Way::Inside, Some(reader)) if !reader.is_own() => reader,
            (Way::Inside, _) => {
                return refuse(start, format!("the case needs a reader: one of {}", Reader::names()));
            }
            (_, Some(_)) => return refuse(start, "start and density bring their own reader".to_owned()),
            (Way::Start(_), None) => Reader::Starts,
            (Way::Density(_), None) => Reader::Density,
        };
        let mut metrics = reader.metrics();
        let known =
            || reader.metrics().iter().map(|metric| metric.name.clone()).collect::<Vec<_>>().join(", ");
        if let Some(headline) = &self.headline {
            let Some(place) = metrics.iter().position(|metric| metric.name == *headline.get_ref()) else {
                let reason =
                    format!("the reader has no metric {}: there are {}", headline.get_ref(), known());
                return refuse(headline.span().start, reason);
            };
            let first = metrics.remove(place);
            metrics.insert(0, first);
        }
        for row in &self.published {
            if !metrics.iter().any(|metric| metric.name == *row.metric.get_ref()) {
                let reason =
                    format!("the reader has no metric {}: there are {}", row.metric.get_ref(), known());
                return refuse(row.metric.span().start, reason);
            }
            if let Err(reason) = row.figure() {
                return refuse(row.metric.span().start, reason.to_owned());
            }
        }
        let line = self.run.span().start;
        let run = self.run.into_inner();
        if run.is_empty() {
            return refuse(line, "run has no words".to_owned());
        }
        if !(self.time >= 0.0 && self.limit > 0.0) {
            return refuse(start, "time and limit are seconds, and not negative".to_owned());
        }
        let lists = self.prepare.iter().chain(&self.clean).flatten();
        for word in lists.chain(&self.warm_up).chain(&run).chain(&self.host) {
            words::check(word.get_ref())
                .map_err(|reason| Failure::because("suite.read", at(word.span().start), reason))?;
        }
        let plain =
            |words: Vec<Spanned<String>>| words.into_iter().map(Spanned::into_inner).collect::<Vec<_>>();
        let published = self.published.into_iter().filter_map(|row| {
            let (value, ratio) = row.figure().ok()?;
            let FilePublished { source, environment, kind, size, metric, .. } = row;
            let metric = metric.into_inner();
            Some(record::Published { source, environment, kind, size, metric, value, ratio })
        });
        Ok(Case {
            record: record::Case {
                group: self.group.unwrap_or_else(|| name.clone()),
                name,
                title: self.title,
                about: self.about,
                headline: metrics[0].name.clone(),
                metrics,
                published: published.collect(),
            },
            reader,
            way,
            prepare: self.prepare.into_iter().map(plain).collect(),
            warm_up: plain(self.warm_up),
            run: plain(run),
            clean: self.clean.into_iter().map(plain).collect(),
            host: plain(self.host),
            time: self.time,
            limit: self.limit,
            cold: self.cold,
            network: self.network,
            needs: self.needs,
        })
    }
}

#[cfg(test)]
#[path = "suite/tests.rs"]
mod tests;
