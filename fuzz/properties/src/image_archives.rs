//! Archives of images: whatever one has in it, refused it leaves nothing in the store, and taken it is the same from a
//! file, from a pipe, and when it is written and read again.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use oci::{Digest, Platform};
use storage::blobs::Blobs;
use storage::layer::MembersWriter;
use transport::{Export, Image, Inspect, Platforms, Reader, Writer};

use crate::bytes::Bytes;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Longer ones find nothing that shorter ones do not, and a pipe takes so much.
const LONGEST: usize = 16 << 10;

/// A store of this process; it holds what was taken.
struct Store {
    root: PathBuf,
    blobs: Blobs,
}

impl Store {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root =
            std::env::temp_dir().join(format!("minidocker-fuzz-images-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self { blobs: Blobs::open(&root).unwrap(), root }
    }

    fn load(&self, file: File) -> Option<Vec<Image>> {
        let platforms = Platforms::One(Platform::new("linux", "amd64", None));
        let reader = Reader { blobs: &self.blobs, platforms: &platforms, unpack: &Inspect::default() };
        let loaded = reader.load(file, "archive");
        assert_eq!(fs::read_dir(self.root.join("ingest")).unwrap().count(), 0);
        match loaded {
            Ok(images) => Some(images),
            Err(failure) => {
                let words = failure.to_string();
                assert!(!words.contains(char::is_control) && words.len() < 10_000, "{words:?}");
                assert_eq!(self.blobs.list().unwrap(), []);
                None
            }
        }
    }

    /// What was taken is there.
    fn check(&self, images: &[Image]) {
        for image in images {
            for blob in [&image.manifest, &image.config] {
                assert_eq!(Digest::with(blob.digest.algorithm(), &blob.bytes), blob.digest);
                assert_eq!(fs::read(self.blobs.path(&blob.digest)).unwrap(), blob.bytes);
            }
            for layer in &image.layers {
                assert_eq!(self.blobs.has(&layer.digest), Some(layer.descriptor.size()));
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The first byte says what the rest is: an archive, decisions by which one is made, or one text of a good archive.
pub fn image_archives(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let rest = &rest[..rest.len().min(LONGEST)];
    let archive = match first % 6 {
        0 => rest.to_vec(),
        1 => made(&mut Bytes(rest)),
        2 => layout(rest),
        3 => docker(&config(&[layer()]), rest),
        4 => with_blob(rest),
        _ => docker(rest, &docker_list()),
    };
    let store = Store::new();
    let path = store.root.join("archive.tar");
    fs::write(&path, &archive).unwrap();
    let from_file = store.load(File::open(&path).unwrap());
    let other = Store::new();
    let (read, write) = std::io::pipe().unwrap();
    let from_pipe = std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = File::from(OwnedFd::from(write)).write_all(&archive);
        });
        other.load(File::from(OwnedFd::from(read)))
    });
    // From a pipe blobs are looked at that nobody names: it may refuse what a file does not.
    if let Some(images) = &from_pipe {
        assert_eq!(from_file.as_ref(), Some(images), "a pipe gives other images than a file");
        other.check(images);
    }
    if let Some(images) = &from_file {
        store.check(images);
        again(&store, images);
    }
}

/// What was taken, written and read again, is the same.
fn again(store: &Store, images: &[Image]) {
    let exports: Vec<Export> = images
        .iter()
        .map(|image| Export {
            names: image.names.clone(),
            label: image.label.clone(),
            manifest: image.manifest.descriptor.clone(),
        })
        .collect();
    let mut archive = Vec::new();
    // A name without a tag has no place in Docker's list; anything else that was read can be written.
    Writer { blobs: &store.blobs }.save(&mut archive, "archive", &exports).unwrap();
    let other = Store::new();
    let path = other.root.join("archive.tar");
    fs::write(&path, &archive).unwrap();
    let read = other.load(File::open(&path).unwrap()).expect("what we write is what we read");
    for image in images {
        let same = |other: &&Image| other.manifest.digest == image.manifest.digest;
        let found = read.iter().find(same).expect("an image is gone");
        assert_eq!((&found.config, &found.layers), (&image.config, &image.layers));
        assert!(
            image.names.iter().all(|name| found.names.contains(name)),
            "{:?} {:?}",
            image.names,
            found.names
        );
    }
}

fn layer() -> Vec<u8> {
    let mut writer = MembersWriter::new(Vec::new());
    writer.file("a", 1, &b"a"[..]).unwrap();
    writer.finish().unwrap()
}

fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", Digest::of(layer))).collect();
    let ids = ids.join(",");
    format!(r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#)
        .into_bytes()
}

fn descriptor(media_type: &str, bytes: &[u8], more: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}{more}}}"#, Digest::of(bytes), bytes.len())
}

fn manifest() -> Vec<u8> {
    let config = descriptor(OCI_CONFIG, &config(&[layer()]), "");
    let layer = descriptor(OCI_LAYER, &layer(), "");
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{layer}]}}"#)
        .into_bytes()
}

fn index(media_type: &str, of: &[u8], labels: &[&str]) -> Vec<u8> {
    let one = |label: &&str| {
        let more = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{label}"}}"#);
        descriptor(media_type, of, &more)
    };
    let all: Vec<String> = labels.iter().map(one).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(",")).into_bytes()
}

fn blob_name(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

type Members = Vec<(String, Vec<u8>)>;

fn tar(members: &Members) -> Vec<u8> {
    let mut writer = MembersWriter::new(Vec::new());
    for (name, bytes) in members {
        writer.file(name, bytes.len() as u64, bytes.as_slice()).unwrap();
    }
    writer.finish().unwrap()
}

fn blobs() -> Members {
    [layer(), config(&[layer()]), manifest(), index(OCI_MANIFEST, &manifest(), &["inner"])]
        .into_iter()
        .map(|bytes| (blob_name(&bytes), bytes))
        .collect()
}

/// A layout with this index.
fn layout(index: &[u8]) -> Vec<u8> {
    let mut members = blobs();
    members.push(("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    members.push(("index.json".into(), index.to_vec()));
    tar(&members)
}

/// A layout whose index names this manifest.
fn with_blob(manifest: &[u8]) -> Vec<u8> {
    let mut members = blobs();
    if members.iter().all(|(name, _)| *name != blob_name(manifest)) {
        members.push((blob_name(manifest), manifest.to_vec()));
    }
    members.push(("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    members.push(("index.json".into(), index(OCI_MANIFEST, manifest, &["one"])));
    tar(&members)
}

fn docker_list() -> Vec<u8> {
    br#"[{"Config":"config.json","RepoTags":["one:1"],"Layers":["1/layer.tar"]}]"#.to_vec()
}

/// Docker's archive with this configuration and this list.
fn docker(config: &[u8], list: &[u8]) -> Vec<u8> {
    let members = vec![
        ("config.json".into(), config.to_vec()),
        ("1/layer.tar".into(), layer()),
        ("manifest.json".into(), list.to_vec()),
    ];
    tar(&members)
}

/// An archive of any members, by decisions.
fn made(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let (layer, manifest) = (layer(), manifest());
    let inner = index(OCI_MANIFEST, &manifest, &["inner"]);
    let contents: [&[u8]; 12] = [
        &layer,
        &config(std::slice::from_ref(&layer)),
        &manifest,
        &inner,
        &index(OCI_INDEX, &inner, &["a", "b"]),
        &index(OCI_MANIFEST, &manifest, &["latest", "x/y:1", ""]),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
        &docker_list(),
        br#"[{"Config":"config.json","RepoTags":null,"Layers":["1/layer.tar","2/layer.tar"]}]"#,
        b"{}",
        b"",
        b"text",
    ];
    let mut own: Vec<String> = contents.iter().map(|content| blob_name(content)).collect();
    let fixed = [
        "oci-layout",
        "index.json",
        "manifest.json",
        "config.json",
        "1/layer.tar",
        "./1/layer.tar",
        "2/layer.tar",
        "../1/layer.tar",
        "repositories",
        "/index.json",
    ];
    own.extend(fixed.map(str::to_owned));
    let mut members = Members::new();
    while !bytes.is_empty() && members.len() < 20 {
        let what = bytes.below(contents.len());
        // Rather its own name than another's.
        let name = if bytes.yes() { own[what].clone() } else { own[bytes.below(own.len())].clone() };
        members.push((name, contents[what].to_vec()));
    }
    let mut archive = tar(&members);
    if bytes.byte() == 1 {
        archive.truncate(archive.len().saturating_sub(bytes.below(4000)));
    }
    archive
}
