//! What an image is, in Docker's words.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use images::{Entry, Found, Image, Images, Manifest};
use oci::Reference;
use oci::time::Rfc3339;
use serde_json::{Value, json};

use crate::image::absent;
use crate::{Error, Kind, Settings};

/// One step of how an image was made.
#[derive(Debug, Clone)]
pub struct History {
    /// The image's id in its uppermost line; none below, as the steps of an image have no ids of their own.
    pub id: Option<String>,
    /// When.
    pub created: SystemTime,
    /// The instruction.
    pub created_by: String,
    /// Bytes on disk.
    pub size: u64,
    /// Free text.
    pub comment: String,
}

/// How an image was made, the newest step first. Of several for platforms it is this machine's unless another one is
/// asked for.
pub fn history(settings: &Settings, name: &str, platform: Option<&str>) -> Result<Vec<History>, Error> {
    let images = Images::open(&settings.root)?;
    let wanted = platform.map(|text| super::platform(Some(text))).transpose()?;
    let image = super::for_platform(&images, name, wanted.as_ref())?;
    let config = images.config(&image)?;
    let mut layers = image.layers.iter();
    let mut all = Vec::new();
    for entry in &config.history {
        let layer = (!entry.empty_layer).then(|| layers.next()).flatten();
        let size = match layer {
            Some(layer) => images.layers().size(&layer.diff_id)?.map_or(0, |size| size.disk),
            None => 0,
        };
        let created = entry.created.as_deref().and_then(oci::time::seconds).unwrap_or(image.created);
        all.push(History {
            id: None,
            created: time(created),
            created_by: entry.created_by.clone().unwrap_or_default(),
            size,
            comment: entry.comment.clone().unwrap_or_default(),
        });
    }
    // Layers that the history does not tell of.
    for layer in layers {
        let size = images.layers().size(&layer.diff_id)?.map_or(0, |size| size.disk);
        let (created_by, comment) = ("<missing>".to_owned(), String::new());
        all.push(History { id: None, created: time(image.created), created_by, size, comment });
    }
    all.reverse();
    if let Some(top) = all.first_mut() {
        top.id = Some(image.id.to_string());
    }
    Ok(all)
}

/// Seconds since 1970 as a time.
pub(super) fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// All that is known of an image: the object that Docker's `image inspect` prints. Several for platforms are told as this
/// machine's with the names and the digest of all, and a list of all.
pub fn inspect(settings: &Settings, name: &str, platform: Option<&str>) -> Result<Value, Error> {
    let images = Images::open(&settings.root)?;
    let wanted = platform.map(|text| super::platform(Some(text))).transpose()?;
    let index = match images.look(name)? {
        None => return Err(absent(name)),
        Some(Found::Index(index)) if wanted.is_none() => Some(index),
        Some(_) => None,
    };
    let image = super::for_platform(&images, name, wanted.as_ref())?;
    let mut value = of_image(&images, &image, name)?;
    if let Some(index) = index {
        value["Id"] = json!(index.id());
        value["RepoTags"] = json!(familiar(&index.names));
        value["RepoDigests"] = json!(familiar(&index.digests));
        value["Size"] = json!(super::together(&images, &index, &images.list()?)?.size);
        value["Metadata"]["LastTagTime"] = json!(Rfc3339::seconds(index.tagged).to_string());
        value["Descriptor"] = descriptor(&index.manifest);
        value["Manifests"] = index.entries.iter().map(summary).collect();
    }
    Ok(value)
}

/// One of several, in Docker's words.
fn summary(entry: &Entry) -> Value {
    let mut parts = entry.platform.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let mut value = json!({
        "ID": entry.manifest.digest,
        "Descriptor": descriptor(&entry.manifest),
        "Available": entry.image.is_some(),
        "Kind": "image",
        "ImageData": {"Platform": {"os": part(), "architecture": part()}},
    });
    if let Some(variant) = Some(part()).filter(|variant| !variant.is_empty()) {
        value["ImageData"]["Platform"]["variant"] = json!(variant);
    }
    value
}

fn of_image(images: &Images, image: &Image, name: &str) -> Result<Value, Error> {
    let damaged = |cause: serde_json::Error| {
        Error::new(Kind::Engine, format!("the configuration of {name} is damaged: {cause}"))
    };
    let config: Value = serde_json::from_slice(&images.config_bytes(image)?).map_err(damaged)?;
    let own = |key: &str| config.get(key).cloned().unwrap_or(json!(""));
    let layers: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let mut directories: Vec<String> = image
        .layers
        .iter()
        .rev()
        .map(|layer| images.layers().path(&layer.diff_id).display().to_string())
        .collect();
    let upper = (!directories.is_empty()).then(|| directories.remove(0));
    let mut data = serde_json::Map::new();
    if let Some(upper) = upper {
        data.insert("UpperDir".into(), upper.into());
    }
    if !directories.is_empty() {
        data.insert("LowerDir".into(), directories.join(":").into());
    }
    Ok(json!({
        "Id": image.id,
        "RepoTags": familiar(&image.names),
        "RepoDigests": familiar(&image.digests),
        "Parent": "",
        "Comment": comment(&config),
        "Created": own("created"),
        "DockerVersion": own("docker_version"),
        "Author": own("author"),
        "Config": config.get("config").cloned().unwrap_or(json!({})),
        "Architecture": own("architecture"),
        "Variant": own("variant"),
        "Os": own("os"),
        "Size": image.size,
        "GraphDriver": {"Data": data, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": layers},
        "Metadata": {"LastTagTime": Rfc3339::seconds(image.tagged).to_string()},
        "Descriptor": descriptor(&image.manifest),
    }))
}

fn descriptor(manifest: &Manifest) -> Value {
    json!({"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size})
}

fn comment(config: &Value) -> Value {
    let last = config.get("history").and_then(Value::as_array).and_then(|all| all.last());
    last.and_then(|entry| entry.get("comment")).cloned().unwrap_or(json!(""))
}

/// Names in Docker's short form.
pub(super) fn familiar(names: &[String]) -> Vec<String> {
    let short = |name: &String| {
        name.parse::<Reference>().map_or_else(|_| name.clone(), |reference| reference.to_string())
    };
    names.iter().map(short).collect()
}
