//! Indexes: the platform's image, or all of them.

use oci::{Compression, Platform};
use serde_json::{Value, json};
use transport::{Export, Platforms, Writer};

use crate::trial::{Members, OCI_MANIFEST, Sample, Scratch, descriptor, location};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn platforms() -> Vec<(&'static str, Sample)> {
    let image = |architecture| {
        let contents = ["base", architecture];
        (architecture, Sample::for_platform("one", &contents, Compression::Gzip, architecture))
    };
    vec![image("amd64"), image("arm64"), image("riscv64")]
}

fn index(samples: &[(&str, Sample)]) -> Value {
    let with_platform = |(architecture, sample): &(&str, Sample)| {
        let mut value = descriptor(OCI_MANIFEST, &sample.manifest);
        value["platform"] = json!({ "os": "linux", "architecture": architecture });
        value
    };
    let mut manifests: Vec<Value> = samples.iter().map(with_platform).collect();
    let mut attestation = descriptor(OCI_MANIFEST, b"not there");
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    manifests.push(attestation);
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
}

/// A layout whose index names an index of several platforms; the last one's blobs are not there.
fn nested(samples: &[(&str, Sample)]) -> (Members, Vec<u8>) {
    let mut members = Members::default();
    for (_, sample) in &samples[..samples.len() - 1] {
        for bytes in sample.layers.iter().chain([&sample.config, &sample.manifest]) {
            members.blob(bytes);
        }
    }
    let inner = index(samples).to_string().into_bytes();
    members.blob(&inner);
    let mut outer = descriptor(OCI_INDEX, &inner);
    outer["annotations"] = json!({ "org.opencontainers.image.ref.name": "multi" });
    members.text("index.json", &json!({ "schemaVersion": 2, "manifests": [outer] }));
    members.add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    (members, inner)
}

fn one(platform: &str) -> Platforms {
    Platforms::One(platform.parse().unwrap())
}

#[test]
fn the_platforms_image_is_taken_and_the_index_is_told() {
    let scratch = Scratch::new("platform");
    let samples = platforms();
    let (members, inner) = nested(&samples);
    let place = location("oci-archive", &scratch.file("archive.tar", &members.tar()));
    let store = scratch.store("to");
    let images = store.read_for(&place, &one("linux/arm64")).unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].manifest.bytes, samples[1].1.manifest);
    assert_eq!(images[0].platform, "linux/arm64".parse().unwrap());
    assert_eq!(images[0].indexes[0].bytes, inner);
    assert_eq!(images[0].label.as_deref(), Some("multi"));
    assert_eq!(store.list().len(), 4, "two layers, configuration, manifest, and no index");
    let error = store.read_for(&place, &one("linux/s390x")).unwrap_err();
    assert!(
        error.ends_with("has nothing for linux/s390x: there is linux/amd64, linux/arm64, linux/riscv64"),
        "{error}"
    );
    let error = store.read_for(&place, &one("linux/riscv64")).unwrap_err();
    assert!(error.ends_with("is missing"), "{error}");
}

#[test]
fn manifests_of_one_name_are_an_index_by_another_form() {
    let scratch = Scratch::new("flat");
    let samples = platforms();
    let mut members = Members::default();
    for (_, sample) in &samples {
        for bytes in sample.layers.iter().chain([&sample.config, &sample.manifest]) {
            members.blob(bytes);
        }
    }
    members.text("index.json", &index(&samples));
    members.add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let place = location("oci-archive", &scratch.file("archive.tar", &members.tar()));
    let images = scratch.store("to").read_for(&place, &one("linux/riscv64")).unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].manifest.bytes, samples[2].1.manifest);
}

#[test]
fn all_that_is_there_is_taken_and_written_again() {
    let scratch = Scratch::new("all");
    let samples = platforms();
    let (members, inner) = nested(&samples);
    let place = location("oci-archive", &scratch.file("archive.tar", &members.tar()));
    let store = scratch.store("first");
    let images = store.read_for(&place, &Platforms::All).unwrap();
    assert_eq!(images.len(), 2, "the third is not there");
    assert_eq!(store.bytes(&images[0].indexes[0].digest), inner);
    // Three layers of which one is shared, two configurations, two manifests, the index.
    assert_eq!(store.list().len(), 8);
    let index = images[0].indexes[0].descriptor.clone();
    let export = Export { names: vec!["multi:1".parse().unwrap()], label: None, manifest: index };
    for form in ["oci", "oci-archive", "dir"] {
        let place = location(form, &scratch.at(form));
        Writer { blobs: &store.blobs }.write(&place.parse().unwrap(), std::slice::from_ref(&export)).unwrap();
        let other = scratch.store(&format!("from-{form}"));
        let again = other.read_for(&place, &Platforms::All).unwrap();
        assert_eq!(again.len(), 2, "{form}");
        assert_eq!(other.list(), store.list(), "{form}");
        let host = scratch.store(&format!("host-{form}"));
        let image = host.read_for(&place, &Platforms::One(Platform::new("linux", "amd64", None))).unwrap();
        assert_eq!(image[0].manifest.bytes, samples[0].1.manifest, "{form}");
    }
}
