//! `push`: what arrives is what was there, byte for byte; other tools read it.

use minidocker_tests::World;
use minidocker_tests::registry::{Image, Packing, Registry, Tar};
use serde_json::json;

fn small(text: &str) -> Image {
    let base = Tar::new().file("base", "x".repeat(200_000));
    Image::new(json!({"Cmd": ["/x"]})).layer(base).packed(Tar::new().file("own", text), Packing::Zstd)
}

#[test]
fn what_is_pushed_has_the_same_digest() {
    let world = World::new();
    let (from, to) = (Registry::new(&world), Registry::new(&world));
    let put = from.put("app:1", &small("one"));
    world.images(["pull", "-q", &from.name("app:1")]).run().ok();
    let name = to.name("team/app:2");
    world.images(["tag", &from.name("app:1"), &name]).run().ok();
    let said = world.images(["push", &name]).run().ok().out();
    let mut lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.remove(0), format!("The push refers to repository [{}]", to.name("team/app")));
    assert_eq!(lines.pop(), Some(&*format!("2: digest: {}", put.manifest)));
    for layer in &put.layers {
        let short = &layer.digest["sha256:".len()..][..12];
        for words in ["Preparing", "Pushed"] {
            assert!(lines.contains(&&*format!("{short}: {words}")), "{said}");
        }
    }
    assert_eq!(to.manifest(&put.manifest), from.manifest(&put.manifest));
    for blob in put.layers.iter().map(|layer| &layer.digest).chain([&put.id]) {
        assert_eq!(std::fs::read(to.blob(blob)).unwrap(), std::fs::read(from.blob(blob)).unwrap(), "{blob}");
    }
    // Once more: nothing goes over the wire.
    let before = to.served().len();
    let said = world.images(["push", &name]).run().ok().out();
    assert_eq!(said.matches("Layer already exists").count(), 2, "{said}");
    let asked = to.served().split_off(before);
    assert!(asked.iter().all(|one| !["PATCH", "POST"].contains(&&*one.method)), "{asked:?}");
    world.images(["push", "-q", &name]).run().prints(&format!("{name}\n"));
    // By another's eyes.
    let skopeo = ["skopeo", "inspect", "--tls-verify=false", &format!("docker://{name}")];
    let seen = world.program(skopeo).run().json();
    assert_eq!(seen["Digest"], put.manifest.as_str());
    let layers: Vec<&str> = put.layers.iter().map(|layer| &*layer.digest).collect();
    assert_eq!(seen["Layers"], json!(layers));
    // And back.
    world.images(["rmi", "-f", &put.id]).run().ok();
    world.images(["pull", "-q", &name]).run().ok();
    assert_eq!(world.images(["images", "-q", "--no-trunc"]).run().text(), put.id);
}

#[test]
fn another_repository_of_the_same_registry_shares_its_layers() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("one/app:1", &small("one"));
    world.images(["pull", "-q", &registry.name("one/app:1")]).run().ok();
    world.images(["tag", &registry.name("one/app:1"), &registry.name("two/app:1")]).run().ok();
    world.images(["push", &registry.name("two/app:1")]).run().ok();
    let asked = registry.served();
    let mounts =
        asked.iter().filter(|one| one.method == "POST" && one.path.contains("mount=") && one.status == 201);
    assert!(mounts.count() >= put.layers.len(), "{asked:?}");
    assert!(asked.iter().all(|one| one.method != "PATCH"), "{asked:?}");
    world.images(["rmi", "-f", &put.id]).run().ok();
    world.images(["pull", "-q", &registry.name("two/app:1")]).run().ok();
}

#[test]
fn layers_that_are_not_packed_are_packed_for_the_way() {
    let world = World::new();
    let (from, to) = (Registry::new(&world), Registry::new(&world));
    let tar = Tar::new().file("big", "x".repeat(500_000));
    let put = from.put("app:1", &Image::new(json!({"Cmd": ["/x"]})).packed(tar, Packing::None));
    world.images(["pull", "-q", &from.name("app:1")]).run().ok();
    let name = to.name("app:1");
    world.images(["tag", &from.name("app:1"), &name]).run().ok();
    let said = world.images(["push", &name]).run().ok().out();
    let digest = said.trim().rsplit(' ').next().unwrap().to_owned();
    assert_ne!(digest, put.manifest);
    let manifest = to.manifest(&digest);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    assert!(manifest["layers"][0]["size"].as_u64().unwrap() < 50_000, "{manifest}");
    assert_eq!(manifest["config"]["digest"], put.id.as_str());
    world.images(["rmi", "-f", &put.id]).run().ok();
    world.images(["pull", "-q", &name]).run().ok();
    assert_eq!(world.images(["images", "-q", "--no-trunc"]).run().text(), put.id);
    crate::store::Store::of(&world).expect_nothing_else();
}

#[test]
fn all_tags_go() {
    let world = World::new();
    let (from, to) = (Registry::new(&world), Registry::new(&world));
    from.put("app:1", &small("one"));
    world.images(["pull", "-q", &from.name("app:1")]).run().ok();
    for tag in ["1", "2"] {
        world.images(["tag", &from.name("app:1"), &to.name(&format!("app:{tag}"))]).run().ok();
    }
    let said = world.images(["push", "-a", &to.name("app")]).run().ok().out();
    assert!(said.contains("\n1: digest: sha256:") && said.contains("\n2: digest: sha256:"), "{said}");
}

#[test]
fn what_cannot_be_pushed_is_told_in_one_line() {
    let world = World::new();
    let registry = Registry::new(&world);
    let name = registry.name("app:1");
    world.images(["push", &name]).run().refuses(1, &[&format!("no such image: {name}")]);
    world.images(["push", "-a", &registry.name("app")]).run().refuses(1, &["no image here is called"]);
    registry.put("app:1", &small("one"));
    world.images(["pull", "-q", &name]).run().ok();
    world.images(["tag", &name, "127.0.0.1:1/app:1"]).run().ok();
    let said = world.images(["push", "127.0.0.1:1/app:1"]).run().exits(1);
    let text = said.err();
    assert!(text.starts_with("error: registry 127.0.0.1:1: cannot "), "{text}");
}
