//! For the tests: directories of their own, stores, images made here, archives of any kind.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use oci::image::Descriptor;
use oci::{Compression, Digest, Platform};
use serde_json::{Value, json};
use storage::blobs::Blobs;
use storage::layer::MembersWriter;
use transport::{Export, Image, Inspect, Location, Platforms, Reader};

/// A directory that is removed at the end.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("minidocker-transport-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().canonicalize().unwrap().join(name);
        fs::create_dir(&path).unwrap();
        Self { path }
    }

    /// A store of its own.
    pub(crate) fn store(&self, name: &str) -> Store {
        let root = self.path.join(name);
        fs::create_dir_all(&root).unwrap();
        Store { blobs: Blobs::open(&root).unwrap(), root }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

pub(crate) struct Store {
    pub(crate) root: PathBuf,
    pub(crate) blobs: Blobs,
}

impl Store {
    pub(crate) fn read(&self, location: &str) -> Result<Vec<Image>, String> {
        self.read_for(location, &Platforms::One(Platform::host()))
    }

    pub(crate) fn read_for(&self, location: &str, platforms: &Platforms) -> Result<Vec<Image>, String> {
        let location: Location = location.parse().unwrap();
        let reader = Reader { blobs: &self.blobs, platforms, unpack: &Inspect::default() };
        reader.read(&location).map_err(|failure| failure.to_string())
    }

    pub(crate) fn load(&self, file: File) -> Result<Vec<Image>, String> {
        let platforms = Platforms::One(Platform::host());
        let reader = Reader { blobs: &self.blobs, platforms: &platforms, unpack: &Inspect::default() };
        reader.load(file, "archive").map_err(|failure| failure.to_string())
    }

    /// All blobs by digest.
    pub(crate) fn list(&self) -> BTreeMap<Digest, u64> {
        self.blobs.list().unwrap().into_iter().collect()
    }

    /// Nothing is there, and nothing is on its way.
    pub(crate) fn assert_empty(&self, why: &str) {
        assert_eq!(self.list(), BTreeMap::new(), "{why}");
        self.assert_no_parts(why);
    }

    pub(crate) fn assert_no_parts(&self, why: &str) {
        let parts: Vec<_> =
            fs::read_dir(self.root.join("ingest")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(parts.is_empty(), "{why}: {parts:?}");
    }

    pub(crate) fn bytes(&self, digest: &Digest) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.blobs.get(digest).unwrap().unwrap().file.read_to_end(&mut bytes).unwrap();
        bytes
    }
}

/// A layer's tar stream with one file.
pub(crate) fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    let mut writer = MembersWriter::new(Vec::new());
    writer.directory("etc").unwrap();
    writer.file(&format!("etc/{name}"), content.len() as u64, content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub(crate) fn packed(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => gzip(bytes),
        Compression::Zstd => zstd(bytes),
    }
}

fn layer_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "application/vnd.oci.image.layer.v1.tar",
        Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image made here: texts and layers.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) tars: Vec<Vec<u8>>,
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Sample {
    /// `name` makes it another image, layers of the same content are the same.
    pub(crate) fn new(name: &str, contents: &[&str], compression: Compression) -> Self {
        Self::for_platform(name, contents, compression, "amd64")
    }

    pub(crate) fn for_platform(
        name: &str,
        contents: &[&str],
        compression: Compression,
        architecture: &str,
    ) -> Self {
        let tars: Vec<_> =
            contents.iter().map(|content| layer(content, content.repeat(300).as_bytes())).collect();
        let layers: Vec<_> = tars.iter().map(|tar| packed(tar, compression)).collect();
        let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar)).collect();
        let history: Vec<_> = contents.iter().map(|content| json!({ "created_by": content })).collect();
        // Blanks and an odd order: the bytes have to survive.
        let config = format!(
            "{{\"os\":\"linux\", \"architecture\":\"{architecture}\",\n \"config\":{{\"Cmd\":[\"{name}\"]}}, \
             \"created\":\"2024-01-02T03:04:05Z\",\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":{}}}, \"history\":{} }}",
            json!(diff_ids),
            json!(history)
        )
        .into_bytes();
        let descriptors: Vec<_> =
            layers.iter().map(|layer| descriptor(layer_type(compression), layer)).collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config), "layers": descriptors });
        Self { tars, layers, config, manifest: manifest.to_string().into_bytes() }
    }

    /// In the store, ready to be written under these names.
    pub(crate) fn put(&self, store: &Store, names: &[&str]) -> Export {
        for bytes in self.layers.iter().chain([&self.config, &self.manifest]) {
            store.blobs.put_bytes(bytes).unwrap();
        }
        self.export(names)
    }

    pub(crate) fn export(&self, names: &[&str]) -> Export {
        let manifest: Descriptor = serde_json::from_value(descriptor(OCI_MANIFEST, &self.manifest)).unwrap();
        Export { names: names.iter().map(|name| name.parse().unwrap()).collect(), label: None, manifest }
    }

    pub(crate) fn config_hex(&self) -> String {
        Digest::of(&self.config).hex()
    }

    /// The members of an OCI layout of this image.
    pub(crate) fn layout(&self) -> Members {
        let mut members = Members::default();
        for bytes in self.layers.iter().chain([&self.config, &self.manifest]) {
            members.blob(bytes);
        }
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor(OCI_MANIFEST, &self.manifest)] });
        members.text("index.json", &index);
        members.add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        members
    }

    /// The members of an archive as Docker wrote it up to 24.
    pub(crate) fn docker(&self, tags: &[&str]) -> Members {
        let mut members = Members::default();
        let config = format!("{}.json", self.config_hex());
        members.add(&config, &self.config);
        let mut names = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let name = format!("{:064x}/layer.tar", number + 1);
            members.add(&name, layer);
            names.push(name);
        }
        members.text("manifest.json", &json!([{ "Config": config, "RepoTags": tags, "Layers": names }]));
        members
    }
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

/// An archive's members in their order.
#[derive(Clone, Default)]
pub(crate) struct Members(pub(crate) Vec<(String, Vec<u8>)>);

impl Members {
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) {
        self.0.push((name.to_owned(), bytes.to_vec()));
    }

    pub(crate) fn text(&mut self, name: &str, value: &Value) {
        self.add(name, value.to_string().as_bytes());
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) -> String {
        let name = format!("blobs/sha256/{}", Digest::of(bytes).hex());
        self.add(&name, bytes);
        name
    }

    /// Another content under the same name.
    pub(crate) fn set(&mut self, name: &str, bytes: &[u8]) {
        let member = self.0.iter_mut().find(|(other, _)| other == name).expect(name);
        member.1 = bytes.to_vec();
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let before = self.0.len();
        self.0.retain(|(other, _)| other != name);
        assert!(self.0.len() < before, "{name}");
    }

    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut writer = MembersWriter::new(Vec::new());
        for (name, bytes) in &self.0 {
            writer.file(name, bytes.len() as u64, bytes.as_slice()).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// A pipe that gives these bytes.
pub(crate) fn piped(bytes: &[u8]) -> File {
    let (read, write) = std::io::pipe().unwrap();
    let bytes = bytes.to_vec();
    std::thread::spawn(move || {
        // Who refuses it does not read to the end.
        let _ = File::from(std::os::fd::OwnedFd::from(write)).write_all(&bytes);
    });
    File::from(std::os::fd::OwnedFd::from(read))
}

pub(crate) fn location(form: &str, path: &Path) -> String {
    format!("{form}:{}", path.display())
}
