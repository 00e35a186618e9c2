//! Names come and go: `tag`, `rmi`, `image prune`, by Docker's rules; what containers use stays for them.

use minidocker_tests::World;
use minidocker_tests::registry::{Image, Registry, Tar};
use serde_json::{Value, json};

use crate::store::Store;

fn small(text: &str) -> Image {
    Image::new(json!({"Cmd": ["/x"]})).layer(Tar::new().file("base", "b")).layer(Tar::new().file("own", text))
}

/// Pulls an image of the reporter as `a:1`; its id.
fn pulled(world: &World, registry: &Registry<'_>) -> String {
    let put = registry.put("app:1", &Image::inside(world));
    world.images(["pull", "-q", &registry.name("app:1")]).run().ok();
    world.images(["tag", &registry.name("app:1"), "a:1"]).run().prints("");
    world.images(["rmi", &registry.name("app:1")]).run().ok();
    put.id
}

fn names(world: &World) -> Vec<String> {
    let said = world.images(["images", "--format", "{{.Repository}}:{{.Tag}}"]).run().text();
    let mut names: Vec<String> = said.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_tag_is_one_more_name() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("app:1", &small("one"));
    let other = registry.put("app:2", &small("two"));
    let name = |tag: &str| registry.name(&format!("app:{tag}"));
    for tag in ["1", "2"] {
        world.images(["pull", "-q", &name(tag)]).run().ok();
    }
    world.images(["tag", &name("1"), "own"]).run().prints("");
    world.images(["tag", &put.short_id(), "own:byid"]).run().prints("");
    assert_eq!(names(&world), [name("1"), name("2"), "own:byid".into(), "own:latest".into()]);
    // A name stands for one image: the other keeps its own names.
    world.images(["tag", &name("2"), "own"]).run().prints("");
    let id = |of: &str| world.images(["image", "inspect", "-f", "{{.Id}}", of]).run().text();
    assert_eq!([id("own"), id("own:byid"), id("docker.io/library/own:byid")], [&*other.id, &put.id, &put.id]);
    world.images(["tag", "none", "x"]).run().refuses(1, &["no such image: none"]);
    world
        .images(["tag", &name("1"), "Not/Valid"])
        .run()
        .refuses(1, &["error: repository name 'Valid' has capital letters"]);
    let digested = format!("x@{}", put.manifest);
    world.images(["tag", &name("1"), &digested]).run().refuses(1, &["a digest is no name"]);
    world.images(["tag", &name("1")]).run().refuses(1, &["tag needs"]);
}

#[test]
fn the_last_name_takes_the_image_with_it() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("app:1", &small("one"));
    let name = registry.name("app:1");
    let other = registry.put("app:2", &small("two"));
    for tag in ["1", "2"] {
        world.images(["pull", "-q", &registry.name(&format!("app:{tag}"))]).run().ok();
    }
    world.images(["tag", &name, "more:1"]).run().ok();
    let said = world.images(["rmi", &put.short_id()]).run();
    said.refuses(1, &[&put.short_id(), "has several names", "more:1"]).hints("--force");
    world.images(["rmi", "more:1"]).run().prints("Untagged: more:1\n");
    let digest = format!("{}@{}", registry.name("app"), put.manifest);
    let words = format!("Untagged: {name}\nUntagged: {digest}\nDeleted: {}\n", put.id);
    world.images(["rmi", &name]).run().prints(&words);
    world.images(["rmi", &name]).run().refuses(1, &[&format!("no such image: {name}")]);
    // What the other one shares is still here.
    let store = Store::of(&world);
    assert_eq!(store.images().len(), 1);
    store.expect_complete(Some(1));
    store.expect_nothing_else();
    // One failure does not keep the others.
    let said = world.images(["rmi", "none", &other.short_id()]).run().exits(1);
    assert!(said.out().contains(&format!("Deleted: {}", other.id)), "{said:?}");
    store.expect_empty();
    world.images(["rmi", "-f", "none"]).run().exits(0);
}

#[test]
fn force_removes_all_names_of_an_id() {
    let world = World::new();
    let registry = Registry::new(&world);
    let put = registry.put("app:1", &small("one"));
    world.images(["pull", "-q", &registry.name("app:1")]).run().ok();
    world.images(["tag", &registry.name("app:1"), "more:1"]).run().ok();
    let said = world.images(["rmi", "-f", &put.id]).run().ok().out();
    for line in [
        format!("Untagged: {}", registry.name("app:1")),
        "Untagged: more:1".into(),
        format!("Deleted: {}", put.id),
    ] {
        assert!(said.lines().any(|said| said == line), "no `{line}` in {said}");
    }
    Store::of(&world).expect_empty();
}

#[test]
fn a_running_container_keeps_its_image() {
    let world = World::new();
    let registry = Registry::new(&world);
    pulled(&world, &registry);
    let id = world.images(["run", "-d", "a:1", "/inside", "pause"]).run().text();
    for force in [&[][..], &["-f"]] {
        let said = world.images([&["rmi"], force, &["a:1"]].concat()).run();
        said.refuses(1, &["a:1", "is being used by running container", &id[..12]]);
    }
    // A second name may go.
    world.images(["tag", "a:1", "b:1"]).run().ok();
    world.images(["rmi", "b:1"]).run().prints("Untagged: b:1\n");
    world.images(["image", "prune", "-af"]).run().prints("Total reclaimed space: 0B\n");
    Store::of(&world).expect_complete(None);
    world.images(["rm", "-f", &id]).run().ok();
    world.images(["rmi", "a:1"]).run().ok();
    Store::of(&world).expect_empty();
}

#[test]
fn a_stopped_container_keeps_what_it_needs() {
    let world = World::new();
    let registry = Registry::new(&world);
    let image_id = pulled(&world, &registry);
    let name = format!("{}-stopped", world.name());
    world.images(["run", "--name", &name, "a:1", "/inside", "true"]).run().ok();
    let id = world.images(["ps", "-aq", "--no-trunc"]).run().text();
    let said = world.images(["rmi", "a:1"]).run();
    said.refuses(1, &["a:1", "is used by stopped container", &id[..12]]).hints("--force");
    let said = world.images(["rmi", "--force", "a:1"]).run().ok().out();
    assert!(said.ends_with(&format!("Deleted: {image_id}\n")), "{said}");
    let store = Store::of(&world);
    assert_eq!((store.images().len(), store.layers().len(), store.blobs().len()), (0, 1, 0));
    world.images(["image", "prune", "-af"]).run().ok();
    assert_eq!(store.layers().len(), 1, "the container's layer");
    // Its end is theirs too, without another command.
    world.images(["rm", &name]).run().ok();
    store.expect_empty();
}

#[test]
fn prune_takes_what_has_no_name() {
    let world = World::new();
    let registry = Registry::new(&world);
    let name = registry.name("app:1");
    let old = registry.put("app:1", &small("one"));
    world.images(["pull", "-q", &name]).run().ok();
    let new = registry.put("app:1", &small("two"));
    world.images(["pull", "-q", &name]).run().ok();
    let ids = || world.images(["images", "-q", "--no-trunc"]).run().text();
    assert_eq!(ids().lines().count(), 2);
    let said = world.images(["image", "prune"]).stdin("n\n").run().ok().out();
    assert!(said.starts_with("WARNING! This will remove all images without a name."), "{said}");
    assert_eq!(ids().lines().count(), 2);
    let said = world.images(["image", "prune"]).stdin("y\n").run().ok().out();
    assert!(said.contains(&format!("Deleted Images:\ndeleted: {}\n", old.id)), "{said}");
    assert_eq!(ids(), new.id);
    let store = Store::of(&world);
    store.expect_complete(Some(1));
    store.expect_nothing_else();
    let said = world.images(["image", "prune", "-f", "--all", "--filter", "until=2023-01-01"]).run();
    said.prints("Total reclaimed space: 0B\n");
    let said = world.images(["image", "prune", "-f", "-a"]).run().ok().out();
    assert!(said.contains(&format!("untagged: {name}\ndeleted: {}\n", new.id)), "{said}");
    store.expect_empty();
}

#[test]
fn prune_takes_what_killed_commands_left() {
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:1", &small("one"));
    world.images(["pull", "-q", &registry.name("app:1")]).run().ok();
    let root = world.root();
    std::fs::write(root.join("ingest").join("ab".repeat(32)), "half of it").unwrap();
    std::fs::create_dir_all(root.join("layers/new").join("cd".repeat(32)).join("fs/etc")).unwrap();
    std::fs::create_dir_all(root.join("layers/old").join("ef".repeat(32)).join("fs/etc")).unwrap();
    std::fs::write(root.join("blobs/sha256").join("12".repeat(32)), "of nobody").unwrap();
    world.images(["image", "prune", "-f"]).run().ok();
    let store = Store::of(&world);
    store.expect_complete(Some(1));
    store.expect_nothing_else();
    let listed: Vec<Value> = store.images();
    assert_eq!(listed.len(), 1);
}
