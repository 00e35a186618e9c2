//! Other programs read what we write, and we read what they write, digest for digest: skopeo, umoci, Podman. A program
//! that is not there is a failure: cargo xtask setup installs them.

#[path = "../trial/mod.rs"]
mod trial;

use std::fs;
use std::path::Path;
use std::process::Command;

use oci::{Compression, Digest};
use serde_json::{Value, json};
use transport::{Export, Image, Writer};

use trial::{Sample, Scratch, Store, location};

const FORMS: [&str; 4] = ["oci", "oci-archive", "docker-archive", "dir"];

/// Runs a program to its end; what it says.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: cargo xtask setup installs it"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn skopeo(arguments: &[&str]) -> String {
    run("skopeo", &[&["--insecure-policy"], arguments].concat())
}

fn written(store: &Store, form: &str, path: &Path, export: &Export) -> String {
    let name = if form == "dir" { "" } else { ":example.org/one:1" };
    let place = format!("{}{name}", location(form, path));
    Writer { blobs: &store.blobs }.write(&place.parse().unwrap(), std::slice::from_ref(export)).unwrap();
    place
}

fn diff_ids(image: &Image) -> Vec<Digest> {
    image.layers.iter().map(|layer| layer.diff_id).collect()
}

fn tar_digests(sample: &Sample) -> Vec<Digest> {
    sample.tars.iter().map(|tar| Digest::of(tar)).collect()
}

#[test]
fn skopeo_reads_what_we_write() {
    let scratch = Scratch::new("to-skopeo");
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let store = scratch.store(&format!("store-{compression:?}"));
        let sample = Sample::new("one", &["a", "b"], compression);
        let export = sample.put(&store, &[]);
        for form in FORMS {
            let why = format!("{form}-{compression:?}");
            let place = written(&store, form, &scratch.at(&why), &export);
            let config = skopeo(&["inspect", "--config", "--raw", &place]);
            assert_eq!(config.as_bytes(), sample.config, "{why}");
            let raw = skopeo(&["inspect", "--raw", &place]);
            if form != "docker-archive" {
                assert_eq!(raw.as_bytes(), sample.manifest, "{why}");
            }
            // All of it, with its digests verified on the way.
            let copy = scratch.at(&format!("copy-{why}"));
            skopeo(&["copy", "--quiet", &place, &location("dir", &copy)]);
            let config = fs::read(copy.join(sample.config_hex())).unwrap();
            assert_eq!(config, sample.config, "{why}");
        }
    }
}

#[test]
fn we_read_what_skopeo_writes() {
    let scratch = Scratch::new("from-skopeo");
    for compression in [Compression::None, Compression::Gzip] {
        let store = scratch.store(&format!("store-{compression:?}"));
        let sample = Sample::new("one", &["a", "b", "a"], compression);
        let export = sample.put(&store, &[]);
        let ours = written(&store, "oci", &scratch.at(&format!("ours-{compression:?}")), &export);
        for form in FORMS {
            let why = format!("{form}-{compression:?}");
            let path = scratch.at(&why);
            let name = if form == "dir" { "" } else { ":example.org/one:1" };
            let place = format!("{}{name}", location(form, &path));
            skopeo(&["copy", "--quiet", &ours, &place]);
            let theirs = skopeo(&["inspect", "--raw", &place]);
            let into = scratch.store(&format!("into-{why}"));
            let image = into.read(&place).unwrap().remove(0);
            assert_eq!(image.config.digest.hex(), sample.config_hex(), "{why}");
            assert_eq!(diff_ids(&image), tar_digests(&sample), "{why}");
            if form == "docker-archive" {
                assert_eq!(image.names[0].to_string(), "example.org/one:1");
            } else {
                assert_eq!(image.manifest.bytes, theirs.as_bytes(), "{why}");
            }
            into.assert_no_parts(&why);
            // And back: they read from us what they gave us.
            let export =
                Export { names: Vec::new(), label: None, manifest: image.manifest.descriptor.clone() };
            let again = written(&into, "oci-archive", &scratch.at(&format!("again-{why}")), &export);
            assert_eq!(skopeo(&["inspect", "--raw", &again]).as_bytes(), image.manifest.bytes, "{why}");
        }
    }
}

#[test]
fn umoci_unpacks_what_we_write_and_we_read_what_it_makes() {
    let scratch = Scratch::new("umoci");
    let store = scratch.store("from");
    let sample = Sample::new("one", &["a", "b"], Compression::Gzip);
    let export = sample.put(&store, &[]);
    let layout = scratch.at("layout");
    let place = format!("{}:one", location("oci", &layout));
    Writer { blobs: &store.blobs }.write(&place.parse().unwrap(), &[export]).unwrap();
    let image = format!("{}:one", layout.display());
    let rootfs = scratch.at("rootfs");
    run("umoci", &["raw", "unpack", "--image", &image, &rootfs.display().to_string()]);
    for name in ["a", "b"] {
        assert_eq!(fs::read_to_string(rootfs.join("etc").join(name)).unwrap(), name.repeat(300));
    }
    // A layer more, by them, in the layout that we made.
    let file = scratch.file("more", b"more");
    run("umoci", &["insert", "--image", &image, "--tag", "two", &file.display().to_string(), "/more"]);
    let stat: Value = serde_json::from_str(&run("umoci", &["stat", "--json", "--image", &image])).unwrap();
    assert_eq!(stat["history"].as_array().unwrap().len(), 2);
    let into = scratch.store("to");
    let images = into.read(&location("oci", &layout)).unwrap();
    let labels: Vec<_> = images.iter().map(|image| image.label.as_deref().unwrap()).collect();
    assert_eq!(labels, ["one", "two"]);
    assert_eq!(images[0].manifest.bytes, sample.manifest);
    assert_eq!(images[1].layers.len(), 3);
    assert_eq!(images[1].layers[..2], images[0].layers[..]);
}

/// Podman with a place of its own.
struct Podman {
    root: String,
    /// Podman takes no more than 50 characters here.
    run_root: String,
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.run_root);
    }
}

impl Podman {
    fn new(scratch: &Scratch) -> Self {
        let run_root = std::env::temp_dir().join(format!("podman-{}", std::process::id()));
        Self { root: scratch.at("podman").display().to_string(), run_root: run_root.display().to_string() }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let place = ["--root", &self.root, "--runroot", &self.run_root, "--storage-driver", "vfs"];
        run("podman", &[&place[..], arguments].concat())
    }

    /// Names and ids of all images.
    fn images(&self) -> Vec<(String, String)> {
        let list: Value =
            serde_json::from_str(&self.run(&["images", "--no-trunc", "--format", "json"])).unwrap();
        let mut all = Vec::new();
        for image in list.as_array().unwrap() {
            let id = image["Id"].as_str().unwrap().to_owned();
            let names = image["Names"].as_array().cloned().unwrap_or_default();
            all.extend(names.iter().map(|name| (name.as_str().unwrap().to_owned(), id.clone())));
        }
        all.sort();
        all.dedup();
        all
    }
}

#[test]
fn podman_loads_what_we_save_and_we_load_what_it_saves() {
    let scratch = Scratch::new("podman");
    let podman = Podman::new(&scratch);
    let store = scratch.store("from");
    let one = Sample::new("one", &["base", "one"], Compression::Gzip);
    let two = Sample::new("two", &["base", "two"], Compression::None);
    let exports = [
        one.put(&store, &["example.org/one:1", "example.org/one:latest"]),
        two.put(&store, &["example.org/two:2"]),
    ];
    let archive = scratch.at("archive.tar");
    let place = location("docker-archive", &archive);
    Writer { blobs: &store.blobs }.write(&place.parse().unwrap(), &exports).unwrap();
    podman.run(&["load", "--quiet", "--input", &archive.display().to_string()]);
    let expected = vec![
        ("example.org/one:1".to_owned(), one.config_hex()),
        ("example.org/one:latest".to_owned(), one.config_hex()),
        ("example.org/two:2".to_owned(), two.config_hex()),
    ];
    assert_eq!(podman.images(), expected);
    for (format, names) in [
        ("docker-archive", &["example.org/one:1", "example.org/two:2"][..]),
        ("oci-archive", &["example.org/one:1"]),
        ("docker-dir", &["example.org/two:2"]),
        ("oci-dir", &["example.org/one:1"]),
    ] {
        let saved = scratch.at(&format!("saved-{format}"));
        let target = saved.display().to_string();
        let mut arguments = vec!["save", "--quiet", "--format", format, "--output", &target];
        if names.len() > 1 {
            arguments.push("--multi-image-archive");
        }
        podman.run(&[&arguments[..], names].concat());
        let form = match format {
            "docker-dir" => "dir",
            "oci-dir" => "oci",
            other => other,
        };
        let into = scratch.store(&format!("into-{format}"));
        let images = into.read(&location(form, &saved)).unwrap();
        assert_eq!(images.len(), names.len(), "{format}");
        for (image, name) in images.iter().zip(names) {
            let sample = if name.contains("one") { &one } else { &two };
            assert_eq!(diff_ids(image), tar_digests(sample), "{format}");
            if format.starts_with("docker") {
                assert_eq!(image.config.digest.hex(), sample.config_hex(), "{format}");
            } else {
                // Podman writes another configuration where it makes an OCI image of Docker's: what counts is theirs.
                let theirs = skopeo(&["inspect", "--raw", &location(form, &saved)]);
                assert_eq!(image.manifest.bytes, theirs.as_bytes(), "{format}");
            }
            if form != "dir" {
                assert_eq!(image.names[0].to_string(), *name, "{format}");
            }
        }
    }
    assert_eq!(json!(podman.images().len()), json!(3));
    podman.run(&["rmi", "--all", "--force"]);
}
