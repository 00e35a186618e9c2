//! Docker's archives as they were up to 24, and as other programs write them.

use std::fs::File;

use oci::{Compression, Digest};
use serde_json::json;

use crate::trial::{Members, Sample, Scratch, location, piped};

#[test]
fn plain_layers_become_blobs_of_a_manifest_that_is_made() {
    let scratch = Scratch::new("old");
    let sample = Sample::new("one", &["a", "b"], Compression::None);
    let archive = sample.docker(&["one:1", "registry.example/two:2"]).tar();
    let path = scratch.file("archive.tar", &archive);
    let mut digests = Vec::new();
    for (way, file) in [("file", File::open(&path).unwrap()), ("pipe", piped(&archive))] {
        let store = scratch.store(way);
        let images = store.load(file).unwrap();
        let image = &images[0];
        assert_eq!(image.config.digest.hex(), sample.config_hex());
        assert_eq!(store.bytes(&image.config.digest), sample.config);
        let names: Vec<_> = image.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["one:1", "registry.example/two:2"]);
        for (layer, tar) in image.layers.iter().zip(&sample.tars) {
            assert_eq!((layer.digest, layer.diff_id), (Digest::of(tar), Digest::of(tar)));
            assert_eq!(layer.descriptor.media_type().to_string(), "application/vnd.oci.image.layer.v1.tar");
            assert!(store.bytes(&layer.digest) == *tar);
        }
        assert_eq!(store.bytes(&image.manifest.digest), image.manifest.bytes);
        assert_eq!(store.list().len(), 4, "{way}");
        store.assert_no_parts(way);
        digests.push(image.manifest.digest);
    }
    assert_eq!(digests[0], digests[1], "another manifest of the same image");
}

#[test]
fn compressed_layers_are_taken_as_they_are() {
    let scratch = Scratch::new("old-gzip");
    for compression in [Compression::Gzip, Compression::Zstd] {
        let sample = Sample::new("one", &["a", "b"], compression);
        let archive = sample.docker(&["one"]).tar();
        for (way, file) in
            [("file", File::open(scratch.file("archive.tar", &archive)).unwrap()), ("pipe", piped(&archive))]
        {
            let store = scratch.store(&format!("{way}-{compression:?}"));
            let images = store.load(file).unwrap();
            // The made manifest is the one that the sample has: the same descriptors in the same words.
            assert_eq!(images[0].layers[1].digest, Digest::of(&sample.layers[1]));
            assert_eq!(images[0].layers[1].diff_id, Digest::of(&sample.tars[1]));
            let media_type = images[0].layers[0].descriptor.media_type().to_string();
            assert!(media_type.ends_with(if compression == Compression::Gzip { "+gzip" } else { "+zstd" }));
        }
        // A diff id that is another's is noticed although nothing promises the compressed layer's digest.
        let mut members = sample.docker(&["one"]);
        let other = Sample::new("one", &["a", "c"], compression);
        members.set(&format!("{:064x}/layer.tar", 2), &other.layers[1]);
        for (way, file) in [
            ("file", File::open(scratch.file("archive.tar", &members.tar())).unwrap()),
            ("pipe", piped(&members.tar())),
        ] {
            let store = scratch.store(&format!("wrong-{way}-{compression:?}"));
            let error = store.load(file).unwrap_err();
            assert!(error.contains("2/layer.tar: its tar stream has the digest sha256:"), "{way}: {error}");
            store.assert_empty(way);
        }
    }
}

/// Docker wrote a layer that two images share once, and links to it: symbolic ones in 17.x to 24.
fn linked(kind: tar::EntryType, target: &str, sample: &Sample) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let config = format!("{}.json", sample.config_hex());
    add(&config, &sample.config);
    add("first/layer.tar", &sample.layers[0]);
    let manifest =
        json!([{ "Config": config, "RepoTags": null, "Layers": ["first/layer.tar", "second/layer.tar"] }]);
    add("manifest.json", manifest.to_string().as_bytes());
    add("repositories", b"{}");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o777);
    builder.append_link(&mut header, "second/layer.tar", target).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn layers_may_be_links_to_others() {
    let scratch = Scratch::new("old-links");
    let sample = Sample::new("one", &["a", "a"], Compression::None);
    for (name, kind, target) in [
        ("symbolic", tar::EntryType::Symlink, "../first/layer.tar"),
        ("hard", tar::EntryType::Link, "first/layer.tar"),
    ] {
        let archive = linked(kind, target, &sample);
        for (way, file) in
            [("file", File::open(scratch.file("archive.tar", &archive)).unwrap()), ("pipe", piped(&archive))]
        {
            let store = scratch.store(&format!("{name}-{way}"));
            let images = store.load(file).unwrap();
            assert_eq!(images[0].layers.len(), 2);
            assert_eq!(images[0].layers[1].digest, Digest::of(&sample.tars[0]));
        }
    }
    for (name, kind, target, words) in [
        (
            "out",
            tar::EntryType::Symlink,
            "../../etc/passwd",
            "second/layer.tar: is a link that leads out of the archive",
        ),
        (
            "root",
            tar::EntryType::Symlink,
            "/etc/passwd",
            "second/layer.tar: is a link that leads out of the archive",
        ),
        ("hard", tar::EntryType::Link, "/etc/passwd", "second/layer.tar: its name begins at the root"),
        ("circle", tar::EntryType::Symlink, "layer.tar", "second/layer.tar: is a link to a link to a link"),
        ("nothing", tar::EntryType::Symlink, "../third/layer.tar", "second/layer.tar: is missing"),
    ] {
        let archive = linked(kind, target, &sample);
        for (way, file) in
            [("file", File::open(scratch.file("archive.tar", &archive)).unwrap()), ("pipe", piped(&archive))]
        {
            let store = scratch.store(&format!("refused-{name}-{way}"));
            let error = store.load(file).unwrap_err();
            assert!(error.contains(words), "{name} {way}: {error}");
            store.assert_empty(name);
        }
    }
}

#[test]
fn what_is_both_has_the_names_of_both() {
    let scratch = Scratch::new("both");
    let sample = Sample::new("one", &["a"], Compression::Gzip);
    let mut members = sample.layout();
    let config = format!("blobs/sha256/{}", sample.config_hex());
    let layer = format!("blobs/sha256/{}", Digest::of(&sample.layers[0]).hex());
    let item = json!([{ "Config": config, "RepoTags": ["named:here"], "Layers": [layer] }]);
    members.text("manifest.json", &item);
    let path = scratch.file("archive.tar", &members.tar());
    let store = scratch.store("to");
    let images = store.load(File::open(&path).unwrap()).unwrap();
    assert_eq!(images[0].manifest.bytes, sample.manifest);
    assert_eq!(images[0].names[0].to_string(), "named:here");
    // Each form by itself.
    assert_eq!(store.read(&location("oci-archive", &path)).unwrap()[0].names, []);
    let docker = store.read(&location("docker-archive", &path)).unwrap();
    assert_eq!(docker[0].config.digest, images[0].config.digest);
    assert_eq!(docker[0].layers[0].digest, images[0].layers[0].digest);
}

#[test]
fn the_format_before_manifests_is_refused_with_a_way_out() {
    let scratch = Scratch::new("older");
    let mut members = Members::default();
    members.add("repositories", br#"{"one":{"latest":"abc"}}"#);
    members.add("abc/json", b"{}");
    let store = scratch.store("to");
    let error = store.load(piped(&members.tar())).unwrap_err();
    assert_eq!(
        error,
        "transport.read on archive: is an archive of Docker before 1.10, without a manifest.json"
    );
}
