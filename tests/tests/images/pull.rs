//! What `pull` brings, what it says, and which exit code it has.

use minidocker_tests::World;
use minidocker_tests::registry::{Image, Packing, Registry, Tar};
use serde_json::json;

use crate::store::Store;

/// Two small layers.
fn small(text: &str) -> Image {
    Image::new(json!({"Cmd": ["/x"]}))
        .layer(Tar::new().file("base", "the same in all"))
        .layer(Tar::new().file("own", text))
}

fn short(digest: &str) -> &str {
    &digest["sha256:".len()..][..12]
}

#[test]
fn by_a_tag_in_dockers_words() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("team/app:1", &small("one"));
    let name = registry.name("team/app:1");
    let said = world.images(["pull", &name]).run().ok();
    assert_eq!(said.err(), "");
    let text = said.out();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.remove(0), "1: Pulling from team/app");
    let status = format!("Status: Downloaded newer image for {name}");
    assert_eq!(lines.split_off(lines.len() - 3), [&format!("Digest: {}", put.manifest), &status, &name]);
    for layer in &put.layers {
        let own = |line: &&&str| line.starts_with(short(&layer.digest));
        let words: Vec<_> = lines.iter().filter(own).map(|line| &line[14..]).collect();
        assert_eq!(words, ["Pulling fs layer", "Download complete", "Pull complete"], "{text}");
    }
    assert_eq!(lines.len(), 6, "{text}");
    let store = Store::of(&world);
    store.expect_complete(None);
    store.expect_nothing_else();
    assert_eq!(std::fs::read(store.files(&put.layers[1].diff_id).join("own")).unwrap(), b"one");
}

#[test]
fn what_is_here_is_not_brought_again() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("app:1", &small("one"));
    let name = registry.name("app:1");
    world.images(["pull", &name]).run().ok();
    let before = registry.served().len();
    let said = world.images(["pull", &name]).run().ok().out();
    let expected = format!(
        "1: Pulling from app\nDigest: {}\nStatus: Image is up to date for {name}\n{name}\n",
        put.manifest
    );
    assert_eq!(said, expected);
    let asked = registry.served().split_off(before);
    assert!(asked.iter().all(|one| !one.path.contains("/blobs/")), "{asked:?}");

    let other = registry.put("app:2", &small("two"));
    let said = world.images(["pull", &registry.name("app:2")]).run().ok().out();
    assert!(said.contains(&format!("{}: Already exists\n", short(&other.layers[0].digest))), "{said}");
    assert!(said.contains(&format!("{}: Pull complete\n", short(&other.layers[1].digest))), "{said}");
    assert!(!said.contains(&format!("{}: Pulling", short(&other.layers[0].digest))), "{said}");
    let shared = format!("/v2/app/blobs/{}", put.layers[0].digest);
    let times = registry.served().iter().filter(|one| one.path == shared && one.method == "GET").count();
    assert_eq!(times, 1, "how often the shared layer was asked for");
}

#[test]
fn the_default_tag_is_told() {
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:latest", &small("one"));
    let said = world.images(["pull", &registry.name("app")]).run().ok().out();
    assert!(said.starts_with("Using default tag: latest\nlatest: Pulling from app\n"), "{said}");
    assert!(said.ends_with(&format!("\n{}\n", registry.name("app:latest"))), "{said}");
}

#[test]
fn quiet_says_the_name_alone() {
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:1", &small("one"));
    let name = registry.name("app:1");
    world.images(["pull", "-q", &name]).run().prints(&format!("{name}\n"));
    world.images(["pull", "--quiet", &name]).run().prints(&format!("{name}\n"));
}

#[test]
fn by_a_digest_it_gets_no_tag() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("app:1", &small("one"));
    let name = format!("{}@{}", registry.name("app"), put.manifest);
    let said = world.images(["pull", &name]).run().ok().out();
    assert!(said.starts_with(&format!("{}: Pulling from app\n", put.manifest)), "{said}");
    assert!(said.contains(&format!("Digest: {}\n", put.manifest)), "{said}");
    let image = &Store::of(&world).images()[0];
    assert_eq!(image["names"], json!([]));
    assert_eq!(image["digests"], json!([name]));
    assert_eq!(world.images(["images", "-q"]).run().text(), put.short_id());
    // The same by its tag: one image, now with a name.
    world.images(["pull", &registry.name("app:1")]).run().ok();
    assert_eq!(Store::of(&world).images().len(), 1);
}

#[test]
fn the_platform_is_chosen_from_an_index() {
    let world = World::new();
    let registry = Registry::new(&world);
    let other = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };
    let own = small("own machine");
    let foreign = small("other machine").with("architecture", json!(other));
    let (index, all) = registry.put_index("app:1", &[&foreign, &own]);
    let name = registry.name("app:1");
    let said = world.images(["pull", &name]).run().ok().out();
    assert!(said.contains(&format!("Digest: {index}\n")), "{said}");
    assert_eq!(world.images(["images", "-q", "--no-trunc"]).run().text(), all[1].id);
    let platform = format!("linux/{other}");
    world.images(["pull", "--platform", &platform, &name]).run().ok();
    let format = ["image", "inspect", "-f", "{{.Id}} {{.Architecture}}", &name];
    assert_eq!(world.images(format).run().text(), format!("{} {other}", all[0].id));
    let said = world.images(["pull", "--platform", "linux/riscv64", &name]).run();
    said.refuses(1, &["127.0.0.1:", "app:1", "linux/riscv64", &platform]).hints("--platform");
    world.images(["pull", "--platform", "a/b/c/d", &name]).run().refuses(1, &["a/b/c/d"]);
}

#[test]
fn all_tags_of_a_repository() {
    let world = World::new();
    let registry = Registry::new(&world);
    for tag in ["1", "2", "latest"] {
        registry.put(&format!("app:{tag}"), &small(tag));
    }
    let said = world.images(["pull", "-a", &registry.name("app")]).run().ok().out();
    for tag in ["1", "2", "latest"] {
        assert!(said.contains(&format!("{tag}: Pulling from app\n")), "{said}");
    }
    assert_eq!(Store::of(&world).images().len(), 3);
    let said = world.images(["pull", "-a", &registry.name("app:1")]).run();
    said.refuses(1, &["--all-tags", "contradict"]);
}

#[test]
fn every_packing_gives_the_same_layer() {
    let world = World::new();
    let registry = Registry::new(&world);
    let tar = || Tar::new().directory("d").file("d/f", "x".repeat(100_000)).hard_link("d/g", "d/f");
    for (tag, packing) in [("gzip", Packing::Gzip), ("zstd", Packing::Zstd), ("none", Packing::None)] {
        let image = Image::new(json!({"Cmd": [tag]})).packed(tar(), packing);
        let put = registry.put(&format!("app:{tag}"), &image);
        world.images(["pull", "-q", &registry.name(&format!("app:{tag}"))]).run().ok();
        let file = Store::of(&world).files(&put.layers[0].diff_id).join("d/g");
        assert_eq!(std::fs::read(file).unwrap().len(), 100_000);
    }
    let store = Store::of(&world);
    assert_eq!((store.layers().len(), store.images().len()), (1, 3));
    store.expect_complete(None);
    store.expect_nothing_else();
}

#[test]
fn what_is_not_there_is_told_in_one_line() {
    let world = World::new();
    let mut registry = Registry::new(&world);
    registry.put("app:1", &small("one"));
    let address = registry.address().to_owned();
    let words = format!("error: registry {address}: cannot get manifest app:9: not found");
    world.images(["pull", &registry.name("app:9")]).run().refuses(1, &[&words]);
    let words = format!("error: registry {address}: cannot get manifest none:1: not found");
    world.images(["pull", &registry.name("none:1")]).run().refuses(1, &[&words]);
    world.images(["pull"]).run().refuses(1, &["pull needs the name of one image"]);
    let said = world.images(["pull", "Upper"]).run();
    let said = said.refuses(1, &["Upper"]);
    assert!(!said.err().contains("images on"), "{said:?}");
    world.images(["image", "inspect", "Upper"]).run().exits(1);
    registry.kill();
    let words = format!("error: registry {address}: cannot ");
    let said = world.images(["pull", &registry.name("app:1")]).run().refuses(1, &[&words]);
    assert!(said.err().contains("connection refused"), "{said:?}");
    Store::of(&world).expect_empty();
}

#[test]
fn manifest_inspect_shows_what_the_registry_has() {
    let world = World::new();
    let registry = Registry::new(&world);
    let (_, all) = registry.put_index("app:1", &[&small("own")]);
    let shown = world.images(["manifest", "inspect", &registry.name("app:1")]).run().json();
    assert_eq!(shown["manifests"][0]["digest"], all[0].manifest.as_str());
    Store::of(&world).expect_empty();
}
