//! What `--log-driver` and `--log-opt` ask for: checked when a container is created, kept in its record.
//!
//! The options are Docker's, with its defaults where it has a bound; see "Configure logging drivers" in its manual.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use step::Failure;

use crate::origin;

/// Who keeps what a container prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// Files in a format of our own.
    #[default]
    Local,
    /// Docker's files: one JSON object a line.
    JsonFile,
    /// systemd's journal.
    Journald,
    /// Nobody.
    None,
}

impl Driver {
    /// All, as they are typed.
    pub const NAMES: [&str; 4] = ["local", "json-file", "journald", "none"];

    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::JsonFile => "json-file",
            Self::Journald => "journald",
            Self::None => "none",
        }
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "local" | "" => Ok(Self::Local),
            "json-file" => Ok(Self::JsonFile),
            "journald" => Ok(Self::Journald),
            "none" => Ok(Self::None),
            _ => {
                let failure = refused("", format!("no log driver named '{text}' is registered"));
                Err(match step::nearest(text, Self::NAMES) {
                    Some(near) => failure.hint(format!("did you mean {near}?")),
                    None => failure.hint(format!("known are {}", Self::NAMES.join(", "))),
                })
            }
        }
    }

    /// The options that it has.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Local | Self::JsonFile => &OPTIONS,
            Self::Journald => &OPTIONS[3..],
            Self::None => &[],
        }
    }
}

/// The first three are of files alone.
const OPTIONS: [&str; 10] = [
    "max-size",
    "max-file",
    "compress",
    "tag",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "mode",
    "max-buffer-size",
];

/// Whether a container waits for who keeps its output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It may: nothing is lost as long as the other side takes it.
    #[default]
    Blocking,
    /// It never does. Files never let it wait; a journal that is behind loses lines, and their number is told.
    NonBlocking,
}

/// How much of the output is kept in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bound {
    /// Bytes of one file before it is compressed; none: it grows for ever.
    pub size: Option<u64>,
    /// How many files, with the one that is written to; at least one.
    pub files: u32,
    /// The older ones are compressed.
    pub compress: bool,
}

impl Default for Bound {
    fn default() -> Self {
        Self { size: Some(20_000_000), files: 5, compress: true }
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Settings {
    /// Who keeps it.
    pub driver: Driver,
    /// How much; of files alone.
    pub bound: Bound,
    /// Whether the container waits.
    pub mode: Mode,
    /// The options as they were typed, checked; `inspect` shows them.
    pub options: BTreeMap<String, String>,
}

impl Settings {
    /// Reads `--log-driver` (none: the default) and the `--log-opt`s, each `key=value` taken apart. The last one of a key
    /// counts. Fails with what is wrong and the way out.
    pub fn parse(driver: Option<&str>, options: &[(String, String)]) -> Result<Self, Failure> {
        let driver = Driver::parse(driver.unwrap_or_default())?;
        let options: BTreeMap<String, String> = options.iter().cloned().collect();
        for key in options.keys() {
            known(driver, key)?;
        }
        let settings = Self { driver, bound: bound(&options)?, mode: mode(&options)?, options };
        origin::check(&settings)?;
        Ok(settings)
    }

    /// An option as it was typed; none where it is empty, as Docker has it.
    pub(crate) fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// A word that is refused.
pub(crate) fn refused(target: &str, reason: String) -> Failure {
    Failure::because("log", target, reason)
}

fn known(driver: Driver, key: &str) -> Result<(), Failure> {
    if driver.options().contains(&key) {
        return Ok(());
    }
    let failure = refused("", format!("unknown log opt '{key}' for log driver {}", driver.name()));
    Err(match step::nearest(key, driver.options().iter().copied()) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None if driver == Driver::None => failure.hint("none keeps nothing and has no options"),
        None if OPTIONS.contains(&key) => {
            failure.hint("it is an option of files: choose --log-driver local or json-file")
        }
        None => failure.hint(format!("it has {}", driver.options().join(", "))),
    })
}

fn bound(options: &BTreeMap<String, String>) -> Result<Bound, Failure> {
    let mut bound = Bound::default();
    if let Some(text) = options.get("max-size") {
        bound.size = match text.as_str() {
            "-1" => None,
            _ => Some(size(text).filter(|size| *size > 0).ok_or_else(|| {
                refused("max-size", format!("'{text}' is no size above zero"))
                    .hint("write it as 20m or 1g; -1 is without a bound")
            })?),
        };
    }
    if let Some(text) = options.get("max-file") {
        let files = text.parse().ok().filter(|files| *files >= 1);
        bound.files = files.ok_or_else(|| {
            refused("max-file", format!("'{text}': max-file cannot be less than 1"))
                .hint("write how many files are kept, such as 5")
        })?;
    }
    let able = bound.files > 1 && bound.size.is_some();
    bound.compress = able;
    if let Some(text) = options.get("compress") {
        bound.compress = boolean(text).ok_or_else(|| {
            refused("compress", format!("'{text}' is no boolean")).hint("write true or false")
        })?;
        if bound.compress && !able {
            let reason = "compress cannot be true when max-file is less than 2 or max-size is not set";
            return Err(
                refused("compress", reason.into()).hint("the file that is written to is never compressed")
            );
        }
    }
    Ok(bound)
}

fn mode(options: &BTreeMap<String, String>) -> Result<Mode, Failure> {
    let mode = match options.get("mode").map(String::as_str) {
        None | Some("" | "blocking") => Mode::Blocking,
        Some("non-blocking") => Mode::NonBlocking,
        Some(other) => {
            let failure = refused("mode", format!("logging mode not supported: {other}"));
            return Err(failure.hint("it is blocking or non-blocking"));
        }
    };
    if let Some(text) = options.get("max-buffer-size") {
        if mode != Mode::NonBlocking {
            let reason = "max-buffer-size option is only supported with 'mode=non-blocking'";
            return Err(refused("max-buffer-size", reason.into()).hint("add --log-opt mode=non-blocking"));
        }
        size(text).ok_or_else(|| {
            refused("max-buffer-size", format!("'{text}' is no size")).hint("write it as 4m")
        })?;
    }
    Ok(mode)
}

/// Bytes: `20m`, `1.5GB`, `4096`. Powers of ten, as Docker reads the sizes of its log files; `MiB` is a power of two.
fn size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let amount: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim_start().to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix("ib") {
        Some(letter) if !letter.is_empty() => (letter, 1024_f64),
        _ => (unit.strip_suffix('b').unwrap_or(&unit), 1000_f64),
    };
    let power = match letter {
        "" => 0,
        _ if letter.len() == 1 => i32::try_from("kmgtp".find(letter)?).ok()? + 1,
        _ => return None,
    };
    let bytes = amount * base.powi(power);
    (bytes < 2_f64.powi(63)).then_some(bytes as u64)
}

/// Go's booleans.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(driver: &str, options: &[(&str, &str)]) -> Result<Settings, Failure> {
        let options: Vec<_> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::parse((!driver.is_empty()).then_some(driver), &options)
    }

    #[test]
    fn the_default_is_local_and_bounded() {
        let settings = parse("", &[]).unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.driver, Driver::Local);
        assert_eq!(settings.bound, Bound { size: Some(20_000_000), files: 5, compress: true });
        assert_eq!(parse("json-file", &[]).unwrap().bound, settings.bound);
    }

    #[test]
    fn options_are_read() {
        let settings = parse("json-file", &[("max-size", "10m"), ("max-file", "3"), ("compress", "false")]);
        assert_eq!(settings.unwrap().bound, Bound { size: Some(10_000_000), files: 3, compress: false });
        let settings = parse("local", &[("max-size", "-1")]).unwrap();
        assert_eq!(settings.bound, Bound { size: None, files: 5, compress: false });
        let settings = parse("local", &[("max-file", "1")]).unwrap();
        assert_eq!(settings.bound, Bound { size: Some(20_000_000), files: 1, compress: false });
        let settings = parse("journald", &[("mode", "non-blocking"), ("max-buffer-size", "4m")]).unwrap();
        assert_eq!(settings.mode, Mode::NonBlocking);
    }

    #[test]
    fn sizes_are_dockers() {
        for (text, bytes) in [
            ("1", 1),
            ("10k", 10_000),
            ("10K", 10_000),
            ("1.5m", 1_500_000),
            ("2MB", 2_000_000),
            ("1MiB", 1 << 20),
            ("1g", 1_000_000_000),
            ("7b", 7),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1x", "1mm", "1ib", "1.2.3m", "99999999999999999999p"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_a_way_out() {
        for (driver, options, reason, hint) in [
            ("jsonfile", &[][..], "no log driver named 'jsonfile' is registered", "did you mean json-file?"),
            ("syslog", &[], "no log driver named 'syslog' is registered", "known are local"),
            ("local", &[("max-sise", "1m")], "unknown log opt 'max-sise' for log driver local", "max-size?"),
            (
                "journald",
                &[("max-size", "1m")],
                "unknown log opt 'max-size' for log driver journald",
                "files",
            ),
            ("none", &[("max-size", "1m")], "unknown log opt 'max-size' for log driver none", "no options"),
            ("local", &[("max-size", "0")], "'0' is no size above zero", "20m"),
            ("local", &[("max-file", "0")], "max-file cannot be less than 1", "such as 5"),
            ("local", &[("compress", "yes")], "'yes' is no boolean", "true or false"),
            ("local", &[("compress", "true"), ("max-file", "1")], "compress cannot be true", "never"),
            ("local", &[("mode", "fast")], "logging mode not supported: fast", "non-blocking"),
            ("local", &[("max-buffer-size", "1m")], "only supported with 'mode=non-blocking'", "mode="),
            ("local", &[("tag", "{{.Nmae}}")], "unknown field .Nmae", ".Name"),
            ("local", &[("labels-regex", "(")], "no regular expression", ""),
        ] {
            let failure = parse(driver, options).unwrap_err();
            assert!(failure.to_string().contains(reason), "{failure}");
            assert!(failure.hint.clone().unwrap_or_default().contains(hint), "{failure:?}");
        }
    }

    #[test]
    fn settings_come_back_from_a_record() {
        let settings = parse("json-file", &[("max-size", "10m"), ("tag", "{{.Name}}")]).unwrap();
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
    }
}
