//! Every form in both directions: what is read of what was written is what it was.

use std::fs::{self, File};

use oci::Compression;
use transport::{Image, Writer};

use crate::trial::{Sample, Scratch, Store, gzip, location, piped, zstd};

const PACKINGS: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

fn assert_is(image: &Image, sample: &Sample, why: &str) {
    assert_eq!(image.manifest.bytes, sample.manifest, "{why}");
    assert_eq!(image.config.bytes, sample.config, "{why}");
    let layers: Vec<_> = image.layers.iter().map(|layer| (layer.digest, layer.diff_id)).collect();
    let expected: Vec<_> = sample
        .layers
        .iter()
        .zip(&sample.tars)
        .map(|(layer, tar)| (oci::Digest::of(layer), oci::Digest::of(tar)))
        .collect();
    assert_eq!(layers, expected, "{why}");
}

fn names(image: &Image) -> Vec<String> {
    image.names.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_written_is_read_the_same() {
    let scratch = Scratch::new("forms");
    for compression in PACKINGS {
        for form in ["oci", "oci-archive", "docker-archive", "dir"] {
            let why = format!("{form} {compression:?}");
            let store = scratch.store(&format!("from-{form}-{compression:?}"));
            let sample = Sample::new("one", &["a", "b", "a"], compression);
            let export = sample.put(&store, &["alpine:3", "localhost:5000/x/y:1"]);
            let place = location(form, &scratch.at(&format!("place-{form}-{compression:?}")));
            Writer { blobs: &store.blobs }.write(&place.parse().unwrap(), &[export]).unwrap();
            let other = scratch.store(&format!("to-{form}-{compression:?}"));
            let images = other.read(&place).unwrap();
            assert_eq!(images.len(), 1, "{why}");
            if form == "docker-archive" {
                // It has no manifest there, but the same configuration.
                assert_eq!(images[0].config.bytes, sample.config, "{why}");
                assert_eq!(images[0].layers.len(), 3, "{why}");
            } else {
                assert_is(&images[0], &sample, &why);
                assert_eq!(other.list(), store.list(), "{why}");
            }
            let expected: &[&str] = if form == "dir" { &[] } else { &["alpine:3", "localhost:5000/x/y:1"] };
            assert_eq!(names(&images[0]), expected, "{why}");
            other.assert_no_parts(&why);
            for (digest, _) in other.list() {
                assert_eq!(oci::Digest::of(&other.bytes(&digest)), digest);
            }
        }
    }
}

/// Three images that share layers, in one archive.
fn several(store: &Store) -> (Vec<Sample>, Vec<u8>) {
    let samples = vec![
        Sample::new("one", &["base", "one"], Compression::Gzip),
        Sample::new("two", &["base", "two"], Compression::Gzip),
        Sample::new("three", &["base"], Compression::None),
    ];
    let exports: Vec<_> = samples
        .iter()
        .zip([&["one:1", "one:latest"][..], &["two"], &[]])
        .map(|(sample, names)| sample.put(store, names))
        .collect();
    let mut archive = Vec::new();
    Writer { blobs: &store.blobs }.save(&mut archive, "archive", &exports).unwrap();
    (samples, archive)
}

#[test]
fn an_archive_has_several_images_and_each_layer_once() {
    let scratch = Scratch::new("several");
    let store = scratch.store("from");
    let (samples, archive) = several(&store);
    let mut again = Vec::new();
    let exports: Vec<_> =
        [samples[0].export(&["one:1", "one:latest"]), samples[1].export(&["two"]), samples[2].export(&[])]
            .into();
    Writer { blobs: &store.blobs }.save(&mut again, "archive", &exports).unwrap();
    assert!(archive == again, "other bytes for the same images");
    let mut listed: Vec<String> = tar::Archive::new(&archive[..])
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(listed.iter().filter(|name| name.starts_with("blobs/sha256/") && name.len() > 20).count(), 10);
    let count = listed.len();
    listed.dedup();
    assert_eq!(listed.len(), count);

    let path = scratch.file("archive.tar", &archive);
    let ways: [(&str, File); 5] = [
        ("file", File::open(&path).unwrap()),
        ("pipe", piped(&archive)),
        ("gzip", File::open(scratch.file("archive.tar.gz", &gzip(&archive))).unwrap()),
        ("zstd", File::open(scratch.file("archive.tar.zst", &zstd(&archive))).unwrap()),
        ("gzip from a pipe", piped(&gzip(&archive))),
    ];
    for (way, file) in ways {
        let other = scratch.store(way);
        let images = other.load(file).unwrap();
        assert_eq!(images.len(), 3, "{way}");
        for (image, sample) in images.iter().zip(&samples) {
            assert_is(image, sample, way);
        }
        assert_eq!(names(&images[0]), ["one:1", "one:latest"], "{way}");
        assert_eq!(names(&images[1]), ["two:latest"], "{way}");
        assert_eq!(names(&images[2]), [""; 0], "{way}");
        assert_eq!(other.list(), store.list(), "{way}");
        other.assert_no_parts(way);
        // A second time there is nothing to do, and nothing changes.
        assert_eq!(other.load(File::open(&path).unwrap()).unwrap(), images);
        assert_eq!(other.load(piped(&archive)).unwrap(), images);
    }
}

#[test]
fn one_of_several_is_chosen_by_name_or_place() {
    let scratch = Scratch::new("chosen");
    let store = scratch.store("from");
    let (samples, archive) = several(&store);
    let path = scratch.file("archive.tar", &archive);
    let other = scratch.store("to");
    for (form, which, expected) in [
        ("docker-archive", "two:latest", 1),
        ("docker-archive", "two", 1),
        ("docker-archive", "docker.io/library/one:1", 0),
        ("docker-archive", "@2", 2),
        ("oci-archive", "two:latest", 1),
        ("oci-archive", "one:latest", 0),
    ] {
        let images = other.read(&format!("{}:{which}", location(form, &path))).unwrap();
        assert_eq!(images.len(), 1, "{form} {which}");
        assert_eq!(images[0].config.bytes, samples[expected].config, "{form} {which}");
    }
    for (form, which, words) in [
        ("docker-archive", "four", "archive.tar: manifest.json: has no image called four"),
        ("docker-archive", "@3", "archive.tar: manifest.json: has 3 images, and none at place 3"),
        ("oci-archive", "four:1", "archive.tar: index.json: has no image called four:1"),
        ("oci-archive", "@9", "archive.tar: index.json: has 4 images, and none at place 9"),
    ] {
        let error = other.read(&format!("{}:{which}", location(form, &path))).unwrap_err();
        assert!(error.contains(words), "{form} {which}: {error}");
    }
}

#[test]
fn a_layout_takes_further_images() {
    let scratch = Scratch::new("further");
    let store = scratch.store("from");
    let writer = Writer { blobs: &store.blobs };
    let one = Sample::new("one", &["base", "one"], Compression::Gzip);
    let two = Sample::new("two", &["base", "two"], Compression::Gzip);
    let place = location("oci", &scratch.at("layout"));
    for (sample, label) in [(&one, "a"), (&two, "b"), (&two, "a")] {
        writer.write(&format!("{place}:{label}").parse().unwrap(), &[sample.put(&store, &[])]).unwrap();
        let other = scratch.store(&format!("to-{label}"));
        let images = other.read(&format!("{place}:{label}")).unwrap();
        assert_is(&images[0], sample, label);
        assert_eq!(images[0].label.as_deref(), Some(label));
    }
    // Both names are of one image now.
    let images = scratch.store("all").read(&place).unwrap();
    assert_eq!(images.len(), 1);
    assert_is(&images[0], &two, "all");
}

#[test]
fn eight_that_add_to_one_layout_lose_nothing() {
    let scratch = Scratch::new("eight");
    let store = scratch.store("from");
    let layout = scratch.at("layout");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (store, layout) = (&store, &layout);
            scope.spawn(move || {
                let name = number.to_string();
                let sample = Sample::new(&name, &["base", &name], Compression::Gzip);
                let place = format!("{}:{name}", location("oci", layout)).parse().unwrap();
                Writer { blobs: &store.blobs }.write(&place, &[sample.put(store, &[])]).unwrap();
            });
        }
    });
    let into = scratch.store("to");
    assert_eq!(into.read(&location("oci", &layout)).unwrap().len(), 8);
    assert_eq!(into.list(), store.list());
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let scratch = Scratch::new("unwritable");
    let store = scratch.store("from");
    let writer = Writer { blobs: &store.blobs };
    let sample = Sample::new("one", &["a", "b"], Compression::Gzip);
    let export = sample.put(&store, &["one"]);
    let other = Sample::new("two", &["a"], Compression::None).put(&store, &["two"]);
    fs::create_dir(scratch.at("full")).unwrap();
    scratch.file("full/precious", b"x");
    for (form, path, images, words) in [
        ("oci", "full", vec![export.clone()], "has other things in it than an OCI layout"),
        ("dir", "full", vec![export.clone()], "has other things in it than an image"),
        ("dir", "new", vec![export.clone(), other], "such a directory has one image, and there are several"),
        ("oci", "new", vec![], "there is no image to be written"),
        ("docker-archive", "new:x", vec![export.clone()], "its name has a tag"),
        ("oci", "new:@1", vec![export.clone()], "an image is written under a name, not at a place"),
        ("oci-archive", "none/new", vec![export.clone()], "no such file or directory"),
    ] {
        let location = location(form, &scratch.at(path)).parse().unwrap();
        let failure = writer.write(&location, &images).unwrap_err().to_string();
        assert!(failure.contains(words), "{form}:{path}: {failure}");
    }
    // A layer that is gone is noticed before the first byte.
    store.blobs.remove(&oci::Digest::of(&sample.layers[1])).unwrap();
    for form in ["oci", "oci-archive", "docker-archive", "dir"] {
        let location = location(form, &scratch.at("new")).parse().unwrap();
        let failure = writer.write(&location, std::slice::from_ref(&export)).unwrap_err();
        assert!(failure.to_string().contains("is not in the store"), "{failure}");
        assert_eq!(failure.hint.as_deref(), Some("pull it again"));
    }
    let mut names: Vec<_> = fs::read_dir(&scratch.path).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["from", "full"]);
    assert_eq!(fs::read_dir(scratch.at("full")).unwrap().count(), 1);
}

#[test]
fn a_full_disk_leaves_no_half_archive() {
    use std::io::{Error, Result, Write};
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| Error::from_raw_os_error(28))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }
    let scratch = Scratch::new("full-disk");
    let store = scratch.store("from");
    let export = Sample::new("one", &["a"], Compression::None).put(&store, &[]);
    let failure = Writer { blobs: &store.blobs }.save(Full(2000), "out", &[export]).unwrap_err();
    assert_eq!(failure.errno, 28);
    assert!(failure.to_string().starts_with("transport.write on out: no space left on device"), "{failure}");
}
