//! Several images under one name: brought, shown, run, sent, written and read, put together by hand; by whom what is kept.

use minidocker_tests::World;
use minidocker_tests::registry::{Image, Packing, Put, Registry, Tar, digest};
use serde_json::{Value, json};

use crate::store::Store;

/// This machine's architecture and another one.
const OWN: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
const OTHER: &str = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };

fn platform(architecture: &str) -> String {
    format!("linux/{architecture}")
}

/// An image of busybox that says of itself that it is for an architecture: it runs here whatever it says.
fn image(architecture: &str) -> Image {
    let own = Tar::new().file("arch", format!("{architecture}\n"));
    Image::busybox().layer(own).with("architecture", json!(architecture))
}

/// `app:1`, for the other machine and for this one.
fn put(registry: &Registry<'_>) -> (String, Vec<Put>) {
    registry.put_index("app:1", &[&image(OTHER), &image(OWN)])
}

fn ids(world: &World, words: &[&str]) -> Vec<String> {
    let all = [&["images", "-q", "--no-trunc"], words].concat();
    world.images(all).run().text().lines().map(str::to_owned).collect()
}

/// The bytes that skopeo sees by a name.
fn raw(world: &World, place: &str) -> Vec<u8> {
    let words = ["skopeo", "inspect", "--raw", "--tls-verify=false", place];
    // Without `--tls-verify` where it is no registry's.
    let words = words.iter().filter(|word| place.starts_with("docker://") || !word.starts_with("--tls"));
    world.program(words).run().ok().out().into_bytes()
}

#[test]
fn all_platforms_are_brought_and_each_can_be_run() {
    let world = World::new();
    let registry = Registry::new(&world);
    let (index, all) = put(&registry);
    let name = registry.name("app:1");
    let said = world.images(["pull", "--all-platforms", &name]).run().ok().out();
    assert!(said.contains(&format!("Digest: {index}\n")) && said.contains("Downloaded newer"), "{said}");
    // One line; with -a each image.
    assert_eq!(ids(&world, &[]), [&*index]);
    assert_eq!(ids(&world, &["-a"]).len(), 3);
    let shown = world.images(["images", "--format", "{{.Repository}}:{{.Tag}} {{.Platform}}"]).run().text();
    assert_eq!(shown, format!("{name} {},{}", platform(OTHER), platform(OWN)));
    // This machine's where none is asked for, by name and by id.
    for (words, said) in [(vec![], OWN), (vec!["--platform".to_owned(), platform(OTHER)], OTHER)] {
        for what in [&name, &index] {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let call = [
                &["run", "--rm", "--network", "none", "--pull", "never"],
                &words[..],
                &[what, "cat", "/arch"],
            ];
            world.images(call.concat()).run().prints(&format!("{said}\n"));
        }
    }
    let riscv = ["run", "--rm", "--pull", "never", "--platform", "linux/riscv64", &name];
    world.images(riscv).run().refuses(125, &["no such image", &name]);
    let asked = |words: &[&str]| {
        let all = [&["image", "inspect", "-f", "{{.Id}} {{.Architecture}}"], words, &[&name]].concat();
        world.images(all).run().text()
    };
    assert_eq!(asked(&[]), format!("{index} {OWN}"));
    assert_eq!(asked(&["--platform", &platform(OTHER)]), format!("{} {OTHER}", all[0].id));
    let inspected = world.images(["inspect", &name]).run().json();
    let manifests = inspected[0]["Manifests"].as_array().expect("its images");
    assert_eq!(
        manifests.iter().map(|one| one["ID"].as_str()).collect::<Vec<_>>(),
        [Some(&*all[0].manifest), Some(&*all[1].manifest)]
    );
    assert_eq!(inspected[0]["Descriptor"]["digest"], index.as_str());
    let said =
        world.images(["history", "--platform", &platform(OTHER), "-q", "--no-trunc", &name]).run().text();
    assert_eq!(said.lines().next(), Some(&*all[0].id));
    // Again: nothing is new. For one platform: the name stays with all.
    let said = world.images(["pull", "--all-platforms", &name]).run().ok().out();
    assert!(said.contains("Image is up to date"), "{said}");
    let said = world.images(["pull", &name]).run().ok().out();
    assert!(said.contains("Image is up to date"), "{said}");
    assert_eq!(ids(&world, &[]), [&*index]);
    Store::of(&world).expect_complete(None);
    Store::of(&world).expect_nothing_else();
    let words = ["pull", "--all-platforms", "--platform", "linux/386", &name];
    world.images(words).run().refuses(1, &["contradict"]);
    world.expect_nothing_left();
}

#[test]
fn what_is_kept_goes_with_the_last_name() {
    let world = World::new();
    let registry = Registry::new(&world);
    let (index, all) = put(&registry);
    let name = registry.name("app:1");
    world.images(["pull", "-q", "--all-platforms", &name]).run().ok();
    // Nobody names its images, and they are not what a prune takes.
    world.images(["image", "prune", "-f"]).run().ok();
    world.images(["rmi", "-f", &all[0].id]).run().refuses(1, &[&name]);
    Store::of(&world).expect_complete(None);
    // df agrees with itself: with du it is compared where that is tested.
    let sizes = world.images(["system", "df", "--format", "{{.TotalCount}} {{.Active}}"]).run().text();
    assert_eq!(sizes.lines().next(), Some("1 0"));
    // A container of one image keeps all of them.
    let id = world.images(["create", "--platform", &platform(OTHER), &name, "cat", "/arch"]).run().text();
    world.images(["rmi", &name]).run().refuses(1, &["stopped container"]);
    world.images(["image", "prune", "-af"]).run().ok();
    assert_eq!(ids(&world, &[]), [&*index]);
    let found =
        world.images(["ps", "-aq", "--no-trunc", "--filter", &format!("ancestor={name}")]).run().text();
    assert_eq!(found, id);
    world.images(["rm", &id]).run().ok();
    // One name more, one less, and the last.
    world.images(["tag", &name, "more:1"]).run().ok();
    world.images(["rmi", &name]).run().prints(&format!("Untagged: {name}\n"));
    world.images(["tag", &all[1].id, "own:1"]).run().ok();
    let said = world.images(["rmi", "more:1"]).run().ok().out();
    assert!(
        said.contains(&format!("Deleted: {index}\n")) && said.contains(&format!("Deleted: {}\n", all[0].id)),
        "{said}"
    );
    // It has a name of its own.
    assert_eq!(ids(&world, &[]), [all[1].id.clone()]);
    Store::of(&world).expect_nothing_else();
    world.images(["rmi", "own:1"]).run().ok();
    Store::of(&world).expect_empty();
    // A name that goes to another image leaves what a prune takes.
    world.images(["pull", "-q", "--all-platforms", &name]).run().ok();
    registry.put("app:1", &image(OWN).set("User", json!("1")));
    world.images(["pull", "-q", &name]).run().ok();
    assert_eq!(world.images(["images", "-q", "--no-trunc", "-f", "dangling=true"]).run().text(), index);
    let said = world.images(["image", "prune", "-f"]).run().ok().out();
    assert!(said.contains(&format!("deleted: {index}\n")), "{said}");
    assert_eq!(ids(&world, &["-a"]).len(), 1);
    Store::of(&world).expect_nothing_else();
    world.expect_nothing_left();
}

#[test]
fn what_is_pushed_is_the_same_index() {
    let world = World::new();
    let (from, to) = (Registry::new(&world), Registry::new(&world));
    let (index, all) = put(&from);
    world.images(["pull", "-q", "--all-platforms", &from.name("app:1")]).run().ok();
    let name = to.name("team/app:1");
    world.images(["tag", &from.name("app:1"), &name]).run().ok();
    let said = world.images(["push", &name]).run().ok().out();
    assert!(said.ends_with(&format!("1: digest: {index}\n")), "{said}");
    for digest in all
        .iter()
        .flat_map(|put| put.layers.iter().map(|layer| &layer.digest).chain([&put.id, &put.manifest]))
    {
        assert_eq!(
            std::fs::read(to.blob(digest)).unwrap(),
            std::fs::read(from.blob(digest)).unwrap(),
            "{digest}"
        );
    }
    // By others' eyes, byte for byte; and with all that is below.
    assert_eq!(digest(&raw(&world, &format!("docker://{name}"))), index);
    let copy = world.directory().join("copy");
    let place = format!("dir:{}", copy.display());
    let words = [
        "skopeo",
        "--insecure-policy",
        "copy",
        "--all",
        "-q",
        "--src-tls-verify=false",
        &format!("docker://{name}"),
        &place,
    ];
    world.program(words).run().ok();
    assert_eq!(digest(&std::fs::read(copy.join("manifest.json")).unwrap()), index);
    // One alone is no index.
    let alone = to.name("alone:1");
    world.images(["tag", &name, &alone]).run().ok();
    let said = world.images(["push", "--platform", &platform(OTHER), &alone]).run().ok().out();
    assert!(said.ends_with(&format!("1: digest: {}\n", all[0].manifest)), "{said}");
    let said = world.images(["push", "--platform", "linux/s390x", &alone]).run();
    said.refuses(1, &["linux/s390x"]).hints(&platform(OTHER));
    // Pushed once more nothing goes over the wire, and a removed and pulled one is the same.
    let before = to.served().len();
    world.images(["push", "-q", &name]).run().prints(&format!("{name}\n"));
    assert!(to.served()[before..].iter().all(|one| one.method != "PATCH"), "{:?}", to.served());
    world.images(["rmi", "-f", &index]).run().ok();
    world.images(["pull", "-q", "--all-platforms", &name]).run().ok();
    assert_eq!(ids(&world, &[]), [index]);
}

#[test]
fn an_image_that_is_packed_for_the_way_makes_another_index() {
    let world = World::new();
    let (from, to) = (Registry::new(&world), Registry::new(&world));
    let plain = |architecture: &str| {
        let tar = Tar::new().file("big", architecture.repeat(100_000));
        Image::new(json!({"Cmd": ["/x"]}))
            .packed(tar, Packing::None)
            .with("architecture", json!(architecture))
    };
    let (index, all) = from.put_index("app:1", &[&plain(OWN), &image(OTHER)]);
    world.images(["pull", "-q", "--all-platforms", &from.name("app:1")]).run().ok();
    world.images(["tag", &from.name("app:1"), &to.name("app:1")]).run().ok();
    let said = world.images(["push", &to.name("app:1")]).run().ok().out();
    let pushed = said.trim().rsplit(' ').next().unwrap().to_owned();
    assert_ne!(pushed, index);
    let listed = to.manifest(&pushed);
    assert_eq!(listed["manifests"][1]["digest"], all[1].manifest.as_str());
    let first = to.manifest(listed["manifests"][0]["digest"].as_str().unwrap());
    assert_eq!(first["config"]["digest"], all[0].id.as_str());
    assert_eq!(first["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    world.images(["pull", "-q", "--all-platforms", &to.name("app:1")]).run().ok();
}

#[test]
fn archives_and_layouts_have_all_platforms() {
    let world = World::new();
    let registry = Registry::new(&world);
    let (index, all) = put(&registry);
    let name = registry.name("app:1");
    world.images(["pull", "-q", "--all-platforms", &name]).run().ok();
    let path = |name: &str| world.directory().join(name).display().to_string();
    let (archive, one, layout) = (path("all.tar"), path("one.tar"), path("layout"));
    world.images(["save", "-o", &archive, &name]).run().ok();
    world.images(["save", "-o", &one, "--platform", &platform(OTHER), &name]).run().ok();
    world.images(["push", &name, &format!("oci:{layout}:x")]).run().ok();
    assert_eq!(digest(&raw(&world, &format!("oci-archive:{archive}"))), index);
    assert_eq!(digest(&raw(&world, &format!("oci:{layout}:x"))), index);
    let away = || world.images(["rmi", "-f", &index]).run().ok();
    away();
    Store::of(&world).expect_empty();
    // All of it, by a file and by a pipe.
    for stream in [false, true] {
        let said = match stream {
            false => world.images(["load", "-i", &archive]).run(),
            true => world.images(["load"]).stdin(std::fs::read(&archive).unwrap()).run(),
        };
        said.prints(&format!("Loaded image: {name}\n"));
        assert_eq!(ids(&world, &[]), [&*index]);
        let words =
            ["run", "--rm", "--network", "none", "--platform", &platform(OTHER), &name, "cat", "/arch"];
        world.images(words).run().prints(&format!("{OTHER}\n"));
        Store::of(&world).expect_nothing_else();
        away();
    }
    // One of it, of an archive of all and of one.
    for words in [vec!["load", "-i", &archive, "--platform", &platform(OTHER)], vec!["load", "-i", &one]] {
        world.images(words).run().prints(&format!("Loaded image: {name}\n"));
        assert_eq!(ids(&world, &[]), [all[0].id.clone()]);
        Store::of(&world).expect_nothing_else();
        world.images(["rmi", &name]).run().ok();
    }
    world
        .images(["pull", &format!("oci:{layout}:x")])
        .run()
        .prints(&format!("Loaded image ID: {}\n", all[1].id));
    world.images(["rmi", &all[1].id]).run().ok();
    let said = world.images(["pull", "--all-platforms", &format!("oci:{layout}:x")]).run();
    said.prints(&format!("Loaded image ID: {index}\n"));
    // What skopeo makes of it has the same digest, too.
    let copy = path("copy.tar");
    let words = [
        "skopeo",
        "--insecure-policy",
        "copy",
        "--all",
        "-q",
        &format!("oci:{layout}:x"),
        &format!("oci-archive:{copy}:y:1"),
    ];
    world.program(words).run().ok();
    away();
    world.images(["load", "-i", &copy]).run().prints("Loaded image: y:1\n");
    assert_eq!(ids(&world, &[]), [index]);
    world.expect_nothing_left();
}

/// A list's images at a registry: digest, architecture, variant.
fn listed(manifest: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |value: &Value| {
        let platform = &value["platform"];
        (text(&value["digest"]), text(&platform["architecture"]), text(&platform["variant"]))
    };
    manifest["manifests"].as_array().expect("a list").iter().map(one).collect()
}

#[test]
fn lists_are_put_together_of_what_is_here_and_elsewhere() {
    let world = World::new();
    let (here, there) = (Registry::new(&world), Registry::new(&world));
    let (own, other) = (here.put("own:1", &image(OWN)), here.put("other:1", &image(OTHER)));
    let far = there.put("far:1", &image("riscv64"));
    let list = here.name("app:1");
    world.images(["pull", "-q", &here.name("own:1")]).run().ok();
    let create = |words: &[&str]| world.images([&["manifest", "create"], words].concat()).run();
    create(&[&list, &here.name("own:1"), &here.name("other:1")])
        .prints(&format!("Created manifest list {list}\n"));
    create(&[&list, &here.name("own:1")]).refuses(1, &["already", &list]).hints("--amend");
    create(&[&here.name("own:1"), &here.name("other:1")]).refuses(1, &["name of an image"]);
    create(&[&list]).refuses(1, &["at least one image"]);
    world.images(["manifest", "add", &list, &there.name("far:1")]).run().ok();
    let annotate = ["manifest", "annotate", &list, &here.name("other:1"), "--arch", "arm", "--variant", "v6"];
    world.images(annotate).run().ok();
    world
        .images(["manifest", "annotate", &list, &far.id, "--arch", "arm"])
        .run()
        .refuses(1, &["does not have"]);
    let expected = [
        (own.manifest.clone(), OWN.to_owned(), String::new()),
        (other.manifest, "arm".into(), "v6".into()),
        (far.manifest.clone(), "riscv64".into(), String::new()),
    ];
    assert_eq!(listed(&world.images(["manifest", "inspect", &list]).run().json()), expected);
    // What is not here was not brought: two manifests are known, and one image.
    assert_eq!(ids(&world, &["-a"]).len(), 2);
    world
        .images(["run", "--rm", "--network", "none", "--pull", "never", &list, "cat", "/arch"])
        .run()
        .prints(&format!("{OWN}\n"));
    let said = world.images(["manifest", "push", &list]).run().ok().out();
    let pushed = said.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(listed(&here.manifest(&pushed)), expected);
    assert_eq!(digest(&raw(&world, &format!("docker://{list}"))), pushed);
    // Everything that it names came with it, also from the other registry.
    for blob in far.layers.iter().map(|layer| &layer.digest).chain([&far.id, &far.manifest]) {
        assert_eq!(
            std::fs::read(here.blob(blob)).unwrap(),
            std::fs::read(there.blob(blob)).unwrap(),
            "{blob}"
        );
    }
    let copy = format!("dir:{}", world.directory().join("copy").display());
    let words = [
        "skopeo",
        "--insecure-policy",
        "copy",
        "--all",
        "-q",
        "--src-tls-verify=false",
        &format!("docker://{list}"),
        &copy,
    ];
    world.program(words).run().ok();
    // buildah puts the same together.
    let theirs = here.name("theirs:1");
    let (root, run) = (world.directory().join("buildah"), world.directory().join("buildah-run"));
    let buildah = |words: &[&str]| {
        let start = [
            "buildah",
            "--root",
            root.to_str().unwrap(),
            "--runroot",
            run.to_str().unwrap(),
            "--storage-driver",
            "vfs",
            "manifest",
        ];
        world.program([&start[..], words].concat()).run().ok()
    };
    buildah(&["create", "list"]);
    for (name, more) in [
        (here.name("own:1"), &[][..]),
        (here.name("other:1"), &["--arch", "arm", "--variant", "v6"]),
        (format!("{}@{}", here.name("app"), far.manifest), &[]),
    ] {
        let name = format!("docker://{name}");
        buildah(&[&["add", "--tls-verify=false"], more, &["list", &name]].concat());
    }
    buildah(&["push", "-q", "--tls-verify=false", "--all", "list", &format!("docker://{theirs}")]);
    let seen: Value = serde_json::from_slice(&raw(&world, &format!("docker://{theirs}"))).unwrap();
    assert_eq!(listed(&seen), expected);
    // Gone here, with the image that has no name of its own; own:1 stays.
    world.images(["manifest", "rm", &list]).run().ok();
    world.images(["manifest", "rm", &list]).run().refuses(1, &["no such manifest list"]);
    assert_eq!(ids(&world, &["-a"]), [own.id]);
    world.images(["manifest", "push", &here.name("own:1")]).run().refuses(1, &["one image"]);
    Store::of(&world).expect_nothing_else();
}

#[test]
fn what_is_nowhere_cannot_be_pushed() {
    let world = World::new();
    let mut registry = Registry::new(&world);
    registry.put("own:1", &image(OWN));
    let list = registry.name("app:1");
    world.images(["manifest", "create", &list, &registry.name("own:1")]).run().ok();
    registry.kill();
    let said = world.images(["manifest", "push", &list]).run().exits(1);
    assert!(said.err().starts_with("error: registry 127.0.0.1:"), "{said:?}");
    world.images(["manifest", "create", "other:1", &registry.name("own:1")]).run().exits(1);
    // A list without images here has nothing to be run.
    let words = ["run", "--rm", "--pull", "never", &list];
    world.images(words).run().refuses(125, &["no such image"]);
    world.images(["manifest", "rm", &list]).run().ok();
    Store::of(&world).expect_empty();
}
