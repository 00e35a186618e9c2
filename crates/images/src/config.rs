//! An image's configuration: OCI image specification, config.md, with what Docker adds to it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use step::Failure;

use crate::Images;
use crate::image::Image;

/// As far as it decides how a container starts, and what is told of the image. Fields that are `null` are as good as
/// missing: Docker writes them so.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// RFC 3339.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// As Go spells it.
    pub architecture: String,
    /// `v8`.
    pub variant: Option<String>,
    /// `linux`.
    pub os: String,
    /// How a container starts.
    #[serde(deserialize_with = "or_default")]
    pub config: Start,
    /// What it was made of.
    #[serde(deserialize_with = "or_default")]
    pub rootfs: RootFs,
    /// How it was made, the oldest first.
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<HistoryEntry>,
}

/// How a container of it starts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Start {
    /// `user[:group]`; empty for root.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// Variables, `NAME=value`.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// Goes before the command.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// The command where none is typed.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// Where it starts.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM`, or a number.
    pub stop_signal: Option<String>,
    /// How its health is looked after.
    pub healthcheck: Option<oci::Healthcheck>,
    /// What runs commands that are a line; empty for `/bin/sh -c`.
    #[serde(deserialize_with = "or_default")]
    pub shell: Vec<String>,
    /// `80/tcp`.
    #[serde(deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// Paths.
    #[serde(deserialize_with = "or_default")]
    pub volumes: BTreeMap<String, Value>,
}

/// Its layers' diff ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// The lowest first.
    #[serde(deserialize_with = "or_default")]
    pub diff_ids: Vec<oci::Digest>,
}

/// One step of how an image was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// RFC 3339.
    pub created: Option<String>,
    /// The instruction.
    pub created_by: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// It changed no file.
    pub empty_layer: bool,
}

fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Config {
    /// Reads one.
    ///
    /// # Errors
    /// What is no configuration of an image.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes).map_err(|cause| {
            Failure::because("images", "the image's configuration", format!("cannot be read: {cause}"))
        })
    }
}

impl Images {
    /// The very bytes of an image's configuration.
    ///
    /// # Errors
    /// A blob that is gone or cannot be read.
    pub fn config_bytes(&self, image: &Image) -> Result<Vec<u8>, Failure> {
        self.blob_bytes(&image.id)
    }

    /// An image's configuration.
    ///
    /// # Errors
    /// Those of [`Images::config_bytes`], and what is none.
    pub fn config(&self, image: &Image) -> Result<Config, Failure> {
        Config::parse(&self.config_bytes(image)?)
    }

    /// The very bytes of an image's manifest.
    ///
    /// # Errors
    /// A blob that is gone or cannot be read.
    pub fn manifest_bytes(&self, image: &Image) -> Result<Vec<u8>, Failure> {
        self.blob_bytes(&image.manifest.digest)
    }

    fn blob_bytes(&self, digest: &oci::Digest) -> Result<Vec<u8>, Failure> {
        let failed = |cause: std::io::Error| Failure::new("images", digest.to_string(), cause);
        let mut blob = self.blobs.get(digest)?.ok_or_else(|| {
            Failure::because("images", digest.to_string(), "is gone from the content store")
                .hint("pull the image again")
        })?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut blob.file, &mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

/// Seconds since 1970 of a time in RFC 3339, fractions cut off. None for what is none.
pub fn seconds(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let at =
        |place: usize, wanted: &[u8]| text.as_bytes().get(place).is_some_and(|byte| wanted.contains(byte));
    if !(at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?;
    let zone = rest.trim_start_matches('.').trim_start_matches(|c: char| c.is_ascii_digit());
    let offset = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), ..] if zone.len() == 6 => {
            let minutes = zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days since 1970 by the rule of the Gregorian calendar, years beginning in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 719_469;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset * 60)
}

/// Seconds since 1970 as a time in RFC 3339, `1970-01-01T00:00:00Z`.
pub fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a count of days since 1970, by the rule of the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years, each year beginning in March.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, number) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-21T17:12:37Z", 1_795_281_157),
            ("1969-12-31T23:59:59Z", -1),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(seconds(text), Some(number), "{text}");
            assert_eq!(rfc3339(number), text);
        }
        assert_eq!(seconds("2000-03-01T01:59:59.123456789+02:00"), Some(951_868_799));
        assert_eq!(seconds("2000-02-29t18:29:59-05:30"), Some(951_868_799));
        for wrong in
            ["", "2000", "2000-02-29", "2000-02-29T23:59:59", "2000-02-29T23:59:59X", "yesterday at noon!!"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_docker_leaves_empty_is_missing() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"],"Labels":null,
            "Entrypoint":null,"OnBuild":null},"history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        assert_eq!(config.config.cmd, ["sh"]);
        assert!(config.config.env.is_empty() && config.rootfs.diff_ids.is_empty());
        assert!(Config::parse(b"x").is_err() && Config::parse(br#"{"config":{"Env":"x"}}"#).is_err());
    }
}
