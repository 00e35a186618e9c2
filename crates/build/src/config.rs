//! An image's configuration, with the fields that Docker has beyond the OCI's, in its spelling; and its manifest.

use std::collections::BTreeMap;

use oci::{Digest, Platform};
use serde::{Deserialize, Deserializer, Serialize};

use crate::cache::Carrier;
use crate::dockerfile::{Command, Healthcheck};
use crate::host::Layer;

/// Where programs are looked for if nothing is said.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The configuration file: OCI image specification, config.md.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<String>,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub(crate) os_version: Option<String>,
    #[serde(
        default,
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "or_null"
    )]
    pub(crate) os_features: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) config: Settings,
    #[serde(default)]
    pub(crate) rootfs: RootFs,
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) history: Vec<History>,
    /// `--cache-to type=inline`. Never read: those of a base are not this image's.
    #[serde(flatten, skip_deserializing)]
    pub(crate) carrier: Carrier,
}

/// What containers of it start with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Settings {
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub(crate) user: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_null")]
    pub(crate) exposed_ports: BTreeMap<String, Nothing>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub(crate) env: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<oci::Healthcheck>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_null")]
    pub(crate) volumes: BTreeMap<String, Nothing>,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub(crate) working_dir: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_null")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub(crate) on_build: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub(crate) stop_signal: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub(crate) shell: Vec<String>,
}

/// `{}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nothing {}

/// Its layers' tar streams, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// How it came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub(crate) created_by: String,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub(crate) author: String,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub(crate) comment: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) empty_layer: bool,
}

/// Go writes null for what is empty.
fn or_null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Image {
    /// FROM scratch.
    pub(crate) fn scratch(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture().to_owned(),
            variant: platform.variant().map(str::to_owned),
            os: platform.os().to_owned(),
            config: Settings {
                env: vec![format!("PATH={PATH}")],
                working_dir: "/".to_owned(),
                ..Settings::default()
            },
            ..Self::default()
        }
    }

    /// The shell of commands in shell form.
    pub(crate) fn shell(&self) -> Vec<String> {
        match self.config.shell.as_slice() {
            [] => vec!["/bin/sh".to_owned(), "-c".to_owned()],
            shell => shell.to_vec(),
        }
    }

    pub(crate) fn workdir(&self) -> &str {
        if self.config.working_dir.is_empty() { "/" } else { &self.config.working_dir }
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.config.env.iter().rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let has_name = |pair: &&mut String| pair.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        match self.config.env.iter_mut().find(has_name) {
            Some(there) => *there = pair,
            None => self.config.env.push(pair),
        }
    }

    /// Adds what was done.
    pub(crate) fn add_history(&mut self, created_by: String, created: Option<String>, empty_layer: bool) {
        let created = created.or_else(|| self.last_created());
        let comment = "buildkit.dockerfile.v0".to_owned();
        self.history.push(History { created, created_by, comment, empty_layer, ..History::default() });
    }

    /// The latest time so far.
    pub(crate) fn last_created(&self) -> Option<String> {
        self.history.iter().rev().find_map(|history| history.created.clone()).or_else(|| self.created.clone())
    }
}

/// What the configuration says of an instruction.
pub(crate) fn healthcheck(check: &Healthcheck) -> oci::Healthcheck {
    match check {
        Healthcheck::None => oci::Healthcheck::none(),
        Healthcheck::Cmd { command, interval, timeout, start_period, start_interval, retries } => {
            let test = match command {
                Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                Command::Exec(words) => ["CMD".to_owned()].into_iter().chain(words.iter().cloned()).collect(),
            };
            oci::Healthcheck {
                test,
                interval: *interval,
                timeout: *timeout,
                start_period: *start_period,
                start_interval: *start_interval,
                retries: *retries,
            }
        }
    }
}

/// `mediaType` of the manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// `mediaType` of the configuration.
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'m> {
    schema_version: u32,
    media_type: &'m str,
    config: Descriptor<'m>,
    layers: Vec<Descriptor<'m>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'m> {
    media_type: &'m str,
    digest: Digest,
    size: u64,
}

/// The manifest of a configuration and its layers: OCI image specification, manifest.md.
pub(crate) fn manifest(config: &[u8], layers: &[Layer]) -> Vec<u8> {
    let descriptor = |layer| {
        let Layer { media_type, digest, size, .. }: &Layer = layer;
        Descriptor { media_type: oci_media_type(media_type), digest: *digest, size: *size }
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST,
        config: Descriptor { media_type: CONFIG, digest: Digest::of(config), size: config.len() as u64 },
        layers: layers.iter().map(descriptor).collect(),
    };
    serde_json::to_vec(&manifest).unwrap_or_default()
}

/// The OCI's name for a layer's media type.
fn oci_media_type(media_type: &str) -> &str {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
        other => other,
    }
}

/// A time as RFC 3339 writes it, in UTC: `2026-11-21T17:05:19Z`, with a fraction where there is one.
pub(crate) fn time(seconds: i64, nanoseconds: u32) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant's days_to_civil: eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let fraction = match format!("{nanoseconds:09}").trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_700_000_000, 120_000_000, "2023-11-14T22:13:20.12Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(time(seconds, nanoseconds), text);
        }
    }

    #[test]
    fn dockers_configurations_are_read() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"],"Labels":null,"Volumes":{"/v":{}},
            "OnBuild":null,"Image":"sha256:1","Healthcheck":{"Test":["NONE"]}},"container":"x","history":null,
            "rootfs":{"type":"layers","diff_ids":null}}"#;
        let image: Image = serde_json::from_str(text).unwrap();
        assert_eq!(image.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!((image.workdir(), image.config.volumes.len()), ("/", 1));
        assert_eq!(
            serde_json::to_string(&image).unwrap(),
            r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"],"Healthcheck":{"Test":["NONE"]},"Volumes":{"/v":{}}},"rootfs":{"type":"layers","diff_ids":[]},"history":[]}"#
        );
    }
}
