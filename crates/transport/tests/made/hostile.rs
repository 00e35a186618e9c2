//! Archives that lie: each is refused in one line that names the file and what in it, and leaves nothing in the store.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use oci::{Compression, Digest};
use serde_json::{Value, json};

use crate::trial::{Members, OCI_MANIFEST, Sample, Scratch, descriptor, layer, location, piped};

fn sample() -> Sample {
    Sample::new("one", &["a", "b"], Compression::Gzip)
}

fn hex(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

/// A layout with this manifest in the place of the sample's.
fn with_manifest(change: impl FnOnce(&mut Value)) -> Members {
    let sample = sample();
    let mut manifest: Value = serde_json::from_slice(&sample.manifest).unwrap();
    change(&mut manifest);
    let bytes = manifest.to_string().into_bytes();
    let mut members = sample.layout();
    members.blob(&bytes);
    members.set("index.json", index(&[descriptor(OCI_MANIFEST, &bytes)]).as_bytes());
    members
}

fn index(manifests: &[Value]) -> String {
    json!({ "schemaVersion": 2, "manifests": manifests }).to_string()
}

fn changed(change: impl FnOnce(&mut Members)) -> Members {
    let mut members = sample().layout();
    change(&mut members);
    members
}

fn old(change: impl FnOnce(&mut Members)) -> Members {
    let mut members = Sample::new("one", &["a", "b"], Compression::None).docker(&["one"]);
    change(&mut members);
    members
}

/// What is wrong, the archive, words of the refusal.
fn table() -> Vec<(&'static str, Members, &'static str)> {
    let one = sample();
    let docker = Sample::new("one", &["a", "b"], Compression::None);
    let config = format!("{}.json", docker.config_hex());
    let text =
        |members: &mut Members, name: &str, value: Value| members.set(name, value.to_string().as_bytes());
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let mut other_layer = one.layers[0].clone();
    *other_layer.last_mut().unwrap() ^= 1;
    let bad_layer = b"neither tar nor gzip".repeat(50);
    vec![
        (
            "a way out",
            changed(|m| m.add("../../etc/cron.d/x", b"x")),
            "archive: ../../etc/cron.d/x: its name leads out",
        ),
        (
            "an absolute name",
            changed(|m| m.add("/etc/cron.d/x", b"x")),
            "archive: /etc/cron.d/x: its name begins at the root",
        ),
        ("two indexes", changed(|m| m.add("index.json", b"{}")), "archive: index.json: is there twice"),
        ("two lists", old(|m| m.add("./manifest.json", b"[]")), "archive: ./manifest.json: is there twice"),
        ("a layer that is not there", changed(|m| m.remove(&hex(&one.layers[1]))), ": is missing"),
        ("a configuration that is not there", changed(|m| m.remove(&hex(&one.config))), ": is missing"),
        ("a manifest that is not there", changed(|m| m.remove(&hex(&one.manifest))), ": is missing"),
        (
            "another manifest",
            changed(|m| m.set(&hex(&one.manifest), &[&one.manifest[..], b" "].concat())),
            "bytes in the place of",
        ),
        (
            "a manifest of the same size",
            changed(|m| m.set(&hex(&one.manifest), &vec![b'{'; one.manifest.len()])),
            ", not the promised sha256:",
        ),
        (
            "another layer",
            changed(|m| m.set(&hex(&one.layers[0]), &other_layer)),
            ", not the promised sha256:",
        ),
        (
            "a longer layer",
            changed(|m| m.set(&hex(&one.layers[0]), &[&one.layers[0][..], b"x"].concat())),
            "blobs/sha256/",
        ),
        ("another size", with_manifest(|m| m["layers"][0]["size"] = json!(5)), "bytes"),
        (
            "another diff id",
            {
                let config = String::from_utf8(one.config.clone()).unwrap();
                let lying =
                    config.replace(&Digest::of(&one.tars[0]).hex(), &Digest::of(b"x").hex()).into_bytes();
                let mut members = with_manifest(|m| {
                    m["config"] = descriptor("application/vnd.oci.image.config.v1+json", &lying)
                });
                members.blob(&lying);
                members
            },
            "its tar stream has the digest",
        ),
        (
            "too few diff ids",
            {
                let lying =
                    br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#;
                let mut members = with_manifest(|m| {
                    m["config"] = descriptor("application/vnd.oci.image.config.v1+json", lying)
                });
                members.blob(lying);
                members
            },
            "names 0 layers, and the image has 2",
        ),
        (
            "a layer that is no tar",
            {
                let mut members = with_manifest(|m| {
                    m["layers"][1] = descriptor("application/vnd.oci.image.layer.v1.tar", &bad_layer)
                });
                members.blob(&bad_layer);
                members
            },
            "tar archive",
        ),
        (
            "a configuration that is no JSON",
            {
                let mut members = with_manifest(|m| {
                    m["config"] = descriptor("application/vnd.oci.image.config.v1+json", b"{nothing}")
                });
                members.blob(b"{nothing}");
                members
            },
            "is no configuration of an image: ",
        ),
        (
            "foreign layers",
            with_manifest(|m| m["layers"][0]["mediaType"] = json!(foreign)),
            "an image with foreign layers is not supported: ",
        ),
        (
            "layers of others' servers",
            with_manifest(|m| m["layers"][0]["urls"] = json!(["https://x/"])),
            "an image with foreign layers",
        ),
        (
            "no image",
            with_manifest(|m| m["layers"][0]["mediaType"] = json!("text/x")),
            "a layer of type 'text/x' is not supported",
        ),
        ("a digest of another way", with_manifest(|m| m["layers"][0]["digest"] = json!("md5:00")), "md5"),
        ("an index in a circle", circle(), "too deep"),
        ("100,000 manifests", many(100_000), "more than the 4194304 that are read of such a file"),
        ("2,000 manifests", many(2_000), "names more than 1000 images"),
        (
            "a long index",
            changed(|m| m.set("index.json", &vec![b'{'; (4 << 20) + 1])),
            "index.json: has 4194305 bytes, more than",
        ),
        (
            "no index",
            changed(|m| text(m, "index.json", json!({ "schemaVersion": 2, "manifests": [] }))),
            "index.json: names no image",
        ),
        (
            "an index that is none",
            changed(|m| m.set("index.json", b"{")),
            "index.json: this is no image manifest: no JSON",
        ),
        (
            "another layout",
            changed(|m| m.set("oci-layout", br#"{"imageLayoutVersion":"9.0"}"#)),
            "oci-layout: is of version 9.0, and 1 is known",
        ),
        (
            "neither form",
            {
                let mut members = Members::default();
                members.add("hello", b"hello");
                members
            },
            "is no archive of images: it has neither index.json nor manifest.json",
        ),
        (
            "a list that is none",
            old(|m| m.set("manifest.json", br#"{"a":1}"#)),
            "manifest.json: is no list of images",
        ),
        ("an empty list", old(|m| m.set("manifest.json", b"[]")), "manifest.json: names no image"),
        (
            "a name that is none",
            old(|m| {
                text(
                    m,
                    "manifest.json",
                    json!([{ "Config": config, "RepoTags": ["A\u{1b}[31m"], "Layers": [] }]),
                )
            }),
            "names 2 layers, and the image has 0",
        ),
        (
            "a configuration out of the archive",
            old(|m| text(m, "manifest.json", json!([{ "Config": "../../etc/passwd" }]))),
            "../../etc/passwd: is no name of a file",
        ),
        ("another configuration", old(|m| m.set(&config, b"{}")), "and its name says another"),
        (
            "another old layer",
            old(|m| m.set(&format!("{:064x}/layer.tar", 1), &layer("x", b"y"))),
            "1/layer.tar: has the digest",
        ),
        (
            "an old layer that is text",
            old(|m| m.set(&format!("{:064x}/layer.tar", 1), b"{}")),
            "1/layer.tar: is",
        ),
    ]
}

/// An index whose index is itself, as far as digests allow: each one names the one before.
fn circle() -> Members {
    let kind = "application/vnd.oci.image.index.v1+json";
    let sample = sample();
    let mut members = sample.layout();
    let mut inner = descriptor(OCI_MANIFEST, &sample.manifest);
    for _ in 0..10 {
        let bytes = index(&[inner]).into_bytes();
        members.blob(&bytes);
        inner = descriptor(kind, &bytes);
    }
    members.set("index.json", index(&[inner]).as_bytes());
    members
}

fn many(count: usize) -> Members {
    let list: Vec<Value> =
        (0..count).map(|number| descriptor(OCI_MANIFEST, number.to_string().as_bytes())).collect();
    changed(|members| members.set("index.json", index(&list).as_bytes()))
}

#[test]
fn each_is_refused_in_one_line_and_leaves_nothing() {
    let scratch = Scratch::new("hostile");
    for (what, members, words) in table() {
        let archive = members.tar();
        let path = scratch.file("archive.tar", &archive);
        for (way, file) in [("file", File::open(&path).unwrap()), ("pipe", piped(&archive))] {
            let why = format!("{what}, {way}");
            let store = scratch.store(&why);
            let error = store.load(file).expect_err(&why);
            assert!(
                error.starts_with("transport.read on archive") && error.contains(words),
                "{why}: {error}"
            );
            assert!(!error.contains(char::is_control) && error.len() < 600, "{why}: {error:?}");
            store.assert_empty(&why);
        }
    }
}

#[test]
fn what_is_no_archive_is_told_so() {
    let scratch = Scratch::new("no-archive");
    let good = sample().layout().tar();
    for (what, bytes, words) in [
        ("nothing", Vec::new(), "archive: is no archive of images"),
        ("text", b"{}".to_vec(), "archive: is a text, and should be an archive of images"),
        ("xz", b"\xfd7zXZ\0\0\0".to_vec(), "transport.read on archive: "),
        ("half", good[..600].to_vec(), "the archive ends in the middle"),
        ("half a gzip", crate::trial::gzip(&good)[..1000].to_vec(), "transport.read on archive"),
        ("damage", [&good[..512], &[b'x'; 2048][..]].concat(), "transport.read on archive: "),
    ] {
        for (way, file) in
            [("file", File::open(scratch.file("archive", &bytes)).unwrap()), ("pipe", piped(&bytes))]
        {
            let why = format!("{what}, {way}");
            let store = scratch.store(&why);
            let error = store.load(file).expect_err(&why);
            assert!(error.contains(words), "{why}: {error}");
            store.assert_empty(&why);
        }
    }
}

#[test]
fn a_name_with_teeth_is_shown_without() {
    let scratch = Scratch::new("teeth");
    let sample = Sample::new("one", &[], Compression::None);
    let config = format!("{}.json", sample.config_hex());
    let mut members = Members::default();
    members.add(&config, &sample.config);
    members.text("manifest.json", &json!([{ "Config": config, "RepoTags": ["A\u{1b}[31m"], "Layers": [] }]));
    let error = scratch.store("to").load(piped(&members.tar())).unwrap_err();
    assert!(error.ends_with("manifest.json: has 'A [31m', which is no image's name"), "{error:?}");
    let members = changed(|members| members.add("../\u{1b}[31m", b"x"));
    let error = scratch.store("two").load(piped(&members.tar())).unwrap_err();
    assert!(error.contains("../\\u{1b}[31m: its name leads out"), "{error:?}");
}

#[test]
fn directories_are_not_left_through_links() {
    let scratch = Scratch::new("links");
    let sample = sample();
    let secret = scratch.file("secret", &sample.config);
    let lay = |name: &str| {
        let root = scratch.at(name);
        for (name, bytes) in sample.layout().0 {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        root
    };
    let store = scratch.store("to");
    assert_eq!(store.read(&location("oci", &lay("good"))).unwrap()[0].config.bytes, sample.config);
    let store = scratch.store("refused");
    let place = lay("out");
    let config = place.join(hex(&sample.config));
    fs::remove_file(&config).unwrap();
    symlink(&secret, &config).unwrap();
    let error = store.read(&location("oci", &place)).unwrap_err();
    assert!(error.ends_with(": leads out of the directory"), "{error}");
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    let error = store.read(&location("oci", &place)).unwrap_err();
    assert!(error.ends_with(": is no file"), "{error}");
    let error = store.read(&location("oci", &scratch.at("nowhere"))).unwrap_err();
    assert!(error.ends_with("nowhere: no such file or directory"), "{error}");
    let error = store.read(&location("oci-archive", &place)).unwrap_err();
    assert!(error.ends_with("is a directory, and should be an archive"), "{error}");
    store.assert_empty("links");
}

#[test]
fn headers_that_claim_much_cost_little() {
    let scratch = Scratch::new("claims");
    // 10 GB that are not there, of a text and of a layer; a long name of 1 TB.
    for (name, kind, size, begin) in [
        ("manifest.json", tar::EntryType::Regular, 10_u64 << 30, &b"[{"[..]),
        ("a/layer.tar", tar::EntryType::Regular, 10 << 30, b"\x1f\x8b"),
        ("x", tar::EntryType::GNULongName, 1 << 40, b""),
        ("x", tar::EntryType::XHeader, 1 << 40, b""),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(begin);
        for (way, file) in
            [("file", File::open(scratch.file("archive", &bytes)).unwrap()), ("pipe", piped(&bytes))]
        {
            let why = format!("{name} {kind:?} {way}");
            let store = scratch.store(&why.replace('/', "-"));
            let error = store.load(file).expect_err(&why);
            assert!(error.contains("ends") || error.contains("an extended header has"), "{why}: {error}");
            store.assert_empty(&why);
        }
    }
}
