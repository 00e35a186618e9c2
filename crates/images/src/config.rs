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

    pub(crate) fn blob_bytes(&self, digest: &oci::Digest) -> Result<Vec<u8>, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
