//! Registries that lie, and images that nobody should unpack: one line that names the thing, and nothing stays.

use std::fs;

use minidocker_tests::World;
use minidocker_tests::registry::{Image, Packing, Put, Registry, Tar, noise};
use serde_json::{Value, json};

use crate::store::Store;

fn image(layer: Tar) -> Image {
    Image::new(json!({"Cmd": ["/x"]})).layer(layer)
}

/// An image of one layer of 100 kB that does not compress.
fn plain() -> Image {
    image(Tar::new().file("file", noise(100_000, 1)))
}

/// Pulls app:1, which is refused with these words; nothing of its layer is kept.
#[track_caller]
fn refused(world: &World, registry: &Registry<'_>, words: &[&str]) {
    let said = world.images(["pull", &registry.name("app:1")]).run();
    let said = said.refuses(1, words);
    let text = said.err();
    assert!(!text.contains("pull on") && !text.contains("images on"), "{text}");
    let store = Store::of(world);
    assert_eq!((store.images(), store.blobs(), store.layers()), (vec![], vec![], vec![]), "after: {text}");
    let unfinished = store.unfinished();
    assert!(unfinished.iter().all(|name| name.starts_with("ingest/")), "{unfinished:?} after: {text}");
    world.images(["image", "prune", "-f"]).run().ok();
    store.expect_empty();
}

/// The same for an image with this layer.
#[track_caller]
fn refused_layer(tar: Tar, words: &[&str]) {
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:1", &image(tar));
    refused(&world, &registry, words);
}

/// Puts app:1 there again with a manifest that was changed.
fn change(registry: &Registry<'_>, put: &Put, change: impl FnOnce(&mut Value)) {
    let mut manifest = registry.manifest(&put.manifest);
    change(&mut manifest);
    let digest = registry.put_manifest("app", &manifest);
    registry.tag("app", "1", &digest);
}

#[test]
fn a_blob_with_other_content() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("app:1", &plain());
    let path = registry.blob(&put.layers[0].digest);
    let good = fs::read(&path).unwrap();
    for at in [good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        refused(&world, &registry, &[&put.layers[0].digest]);
    }
    // Another file altogether.
    fs::write(&path, noise(good.len(), 2)).unwrap();
    refused(&world, &registry, &[&put.layers[0].digest]);
    fs::write(&path, &good).unwrap();
    world.images(["pull", "-q", &registry.name("app:1")]).run().ok();
    Store::of(&world).expect_complete(Some(1));
}

#[test]
fn a_blob_that_is_cut() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("app:1", &plain());
    let path = registry.blob(&put.layers[0].digest);
    let good = fs::read(&path).unwrap();
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..length]).unwrap();
        refused(&world, &registry, &[&put.layers[0].digest]);
    }
    // What came before the cut is gone on with where the rest came back.
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    world.images(["pull", &registry.name("app:1")]).run().exits(1);
    fs::write(&path, &good).unwrap();
    world.images(["pull", "-q", &registry.name("app:1")]).run().ok();
    Store::of(&world).expect_complete(Some(1));
    Store::of(&world).expect_nothing_else();
}

#[test]
fn a_size_that_is_wrong() {
    let world = World::new();
    let registry = Registry::new(&world);
    for by in [-1000_i64, -1, 1, 1000] {
        let put = registry.put("app:1", &plain());
        change(&registry, &put, |manifest| {
            let size = &mut manifest["layers"][0]["size"];
            *size = json!(size.as_i64().unwrap() + by);
        });
        refused(&world, &registry, &[&put.layers[0].digest]);
    }
    let put = registry.put("app:1", &plain());
    change(&registry, &put, |manifest| manifest["config"]["size"] = json!(3));
    refused(&world, &registry, &["cannot get blob", &put.id, "and 3 by its manifest"]);
    change(&registry, &put, |manifest| manifest["config"]["size"] = json!(100 << 20));
    refused(&world, &registry, &["the configuration of", "bytes, more than"]);
    change(&registry, &put, |manifest| manifest["layers"][0]["size"] = json!(-1));
    refused(&world, &registry, &[registry.address(), "app:1"]);
}

#[test]
fn a_configuration_that_knows_other_layers() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("app:1", &plain());
    change(&registry, &put, |manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = json!([layer, layer]);
    });
    refused(
        &world,
        &registry,
        &[&format!("error: {} has 2 layers, its configuration knows 1", registry.name("app:1"))],
    );

    let other = registry.put("app:1", &image(Tar::new().file("other", "x")));
    change(&registry, &put, |manifest| manifest["layers"] = json!([other.layers[0].descriptor]));
    refused(&world, &registry, &[&put.layers[0].diff_id, &other.layers[0].diff_id]);

    let config = registry.put_blob("app", b"no json");
    change(&registry, &put, |manifest| {
        manifest["config"]["digest"] = json!(config.0);
        manifest["config"]["size"] = json!(config.1);
    });
    refused(&world, &registry, &["the image's configuration cannot be read"]);
}

#[test]
fn a_manifest_that_is_none() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("app:1", &plain());
    change(&registry, &put, |manifest| manifest["config"]["digest"] = json!("sha256:12"));
    refused(&world, &registry, &[registry.address(), "app:1"]);
    change(&registry, &put, |manifest| manifest["layers"][0]["mediaType"] = json!("application/zip"));
    refused(&world, &registry, &["application/zip"]);
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    change(&registry, &put, |manifest| manifest["layers"][0]["mediaType"] = json!(foreign));
    refused(&world, &registry, &["foreign", "not supported"]);
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    change(&registry, &put, |manifest| manifest["layers"][0]["mediaType"] = json!(foreign));
    refused(&world, &registry, &["not supported"]);
    // The bytes by a digest are others than the digest says.
    let text = fs::read_to_string(registry.blob(&put.manifest)).unwrap();
    registry.tag("app", "1", &put.manifest);
    fs::write(registry.blob(&put.manifest), text.replace("\"schemaVersion\":2", "\"schemaVersion\":2 "))
        .unwrap();
    refused(&world, &registry, &[registry.address(), &put.manifest]);
}

#[test]
fn names_that_lead_out() {
    refused_layer(Tar::new().file("fine", "x").file("../outside", "x"), &["../outside"]);
    refused_layer(Tar::new().file("a/../../outside", "x"), &["a/../../outside"]);
    refused_layer(Tar::new().directory("a").hard_link("a/b", "../../etc/passwd"), &["a/b"]);
    refused_layer(Tar::new().whiteout("../outside"), &["outside"]);
}

#[test]
fn links_are_never_followed_out() {
    let world = World::new();
    let registry = Registry::new(&world);
    let outside = world.directory().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    let tar = Tar::new().link("way", target).file("way/file", "x");
    registry.put("app:1", &image(tar));
    // Refused or written below the root: never outside.
    let _ = world.images(["pull", &registry.name("app:1")]).run();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_name_with_control_characters_does_not_reach_the_terminal() {
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:1", &image(Tar::new().file("../\u{1b}[31mred", "x")));
    let said = world.images(["pull", &registry.name("app:1")]).run().refuses(1, &["[31mred"]);
    assert!(!said.stderr.contains(&0x1b), "{said:?}");
}

#[test]
fn what_is_good_stays_for_the_next_attempt() {
    let world = World::new();
    let registry = Registry::new(&world);
    let two = plain().packed(Tar::new().file("second", noise(100_000, 2)), Packing::Zstd);
    let put = registry.put("app:1", &two);
    let path = registry.blob(&put.layers[1].digest);
    let good = fs::read(&path).unwrap();
    fs::write(&path, noise(good.len(), 3)).unwrap();
    world.images(["pull", &registry.name("app:1")]).run().refuses(1, &[&put.layers[1].digest]);
    let store = Store::of(&world);
    assert_eq!(store.images(), Vec::<Value>::new());
    fs::write(&path, &good).unwrap();
    world.images(["pull", "-q", &registry.name("app:1")]).run().ok();
    store.expect_complete(Some(1));
    store.expect_nothing_else();
}
