//! Containers of images: what the image says of them, its layers as they are seen from inside, when it is pulled.

use minidocker_tests::World;
use minidocker_tests::registry::{Image, Registry, Tar};
use serde_json::json;

use crate::store::Store;

/// Runs an image that a registry has.
fn run(world: &World, name: &str, words: &[&str]) -> minidocker_tests::Output {
    world.images([&["run", "--rm", "-q", name], words].concat()).run()
}

#[test]
fn an_image_says_how_its_container_starts() {
    let world = World::new();
    let registry = Registry::new(&world);
    let users = "root:x:0:0::/root:/x\nweb:x:1234:1235::/srv:/x\n";
    let image = Image::inside(&world)
        .layer(
            Tar::new()
                .directory("etc")
                .file("etc/passwd", users)
                .file("etc/group", "web:x:1235:\nmore:x:7:web\n"),
        )
        .layer(Tar::new().file("above", ""))
        .set("User", json!("web"))
        .set("WorkingDir", json!("/srv/app"))
        .set("Env", json!(["PATH=/own", "COLOUR=red", "EMPTY="]))
        .set("Entrypoint", json!(["/inside"]))
        .set("Cmd", json!(["facts"]))
        .set("Labels", json!({"team": "blue"}));
    registry.put("app:1", &image);
    let name = registry.name("app:1");
    let facts = run(&world, &name, &[]).json();
    assert_eq!((&facts["uid"], &facts["gid"]), (&json!(1234), &json!(1235)));
    assert!(facts["groups"].as_array().unwrap().contains(&json!(7)), "{}", facts["groups"]);
    assert_eq!(facts["cwd"], "/srv/app");
    assert_eq!(facts["argv"], json!(["/inside", "facts"]));
    let env = &facts["env"];
    assert_eq!((&env["PATH"], &env["COLOUR"], &env["EMPTY"]), (&json!("/own"), &json!("red"), &json!("")));
    assert_eq!(env["HOME"], "/srv");

    // Words replace the command, --entrypoint both.
    assert_eq!(run(&world, &name, &["exit", "7"]).code, 7);
    let words = ["run", "--rm", "--entrypoint", "/inside", "-u", "0", "-e", "COLOUR=blue", "-w", "/", &name];
    let facts = world.images([&words[..], &["facts"]].concat()).run().json();
    assert_eq!((&facts["uid"], &facts["cwd"]), (&json!(0), &json!("/")));
    assert_eq!((&facts["env"]["COLOUR"], &facts["env"]["PATH"]), (&json!("blue"), &json!("/own")));
    let words = ["run", "--rm", "--entrypoint", "/inside", &name];
    assert_ne!(world.images(words).run().code, 0, "the image's command goes with its entry point");

    let id = world.images(["run", "-d", &name, "pause"]).run().text();
    let listed = world.images(["ps", "--filter", "label=team=blue", "--format", "{{.Image}}"]).run();
    assert_eq!(listed.text(), name);
    world.images(["rm", "-f", &id]).run().ok();
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let world = World::new();
    let registry = Registry::new(&world);
    let image = Image::busybox()
        .layer(
            Tar::new()
                .directory("data")
                .file("data/kept", "low")
                .file("data/gone", "low")
                .file("data/again", "low")
                .directory("data/tree")
                .file("data/tree/leaf", "low")
                .directory("full")
                .file("full/old", "low")
                .file("file-or-folder", "a file")
                .hard_link("data/second", "data/kept"),
        )
        .layer(
            Tar::new().whiteout("data/gone").whiteout("data/again").whiteout("data/tree").whiteout("nothing"),
        )
        .layer(
            Tar::new()
                .file("data/again", "high")
                .opaque("full")
                .file("full/new", "high")
                .whiteout("file-or-folder")
                .directory("file-or-folder")
                .file("file-or-folder/in", "high"),
        );
    registry.put("app:1", &image);
    let name = registry.name("app:1");
    let shell = |line: &str| run(&world, &name, &["sh", "-c", line]).text();
    assert_eq!(shell("ls -A /data"), "again\nkept\nsecond");
    assert_eq!(shell("cat /data/again /data/kept"), "highlow");
    assert_eq!(shell("ls -A /full /file-or-folder"), "/file-or-folder:\nin\n\n/full:\nnew");
    assert_eq!(shell("stat -c %h /data/kept"), "2");
    // What is hidden below can be made anew, and the image does not change.
    assert_eq!(shell("echo x > /data/gone; echo y > /full/old; ls /full; cat /data/gone"), "new\nold\nx");
    assert_eq!(shell("ls -A /full"), "new");
}

#[test]
fn a_hundred_layers() {
    let world = World::new();
    let registry = Registry::new(&world);
    let layer = |image: Image, number: u32| {
        let text = number.to_string();
        image.layer(Tar::new().file(&format!("n{number}"), &text).file("last", &text))
    };
    let image = (1..100).fold(Image::busybox(), layer);
    registry.put("app:1", &image);
    let name = registry.name("app:1");
    let said = run(&world, &name, &["sh", "-c", "cat /last; echo; ls -d /n* | wc -l; cat /n1 /n50 /n99"]);
    assert_eq!(said.text(), "99\n99\n15099");
    assert_eq!(Store::of(&world).layers().len(), 100);
    let store = Store::of(&world);
    store.expect_complete(None);
    store.expect_nothing_else();
    world.images(["rmi", &name]).run().ok();
    store.expect_empty();
}

#[test]
fn run_pulls_when_it_is_told() {
    let world = World::new();
    let registry = Registry::new(&world);
    let image = |text: &str| {
        Image::inside(&world).layer(Tar::new().file("text", text)).set("Env", json!([format!("TEXT={text}")]))
    };
    registry.put("app:1", &image("one"));
    let name = registry.name("app:1");
    let text = |options: &[&str]| {
        let said = world.images([&["run", "--rm"], options, &[&name]].concat()).run();
        let value = said.json();
        value["env"]["TEXT"].as_str().unwrap_or_default().to_owned()
    };
    let said = world.images(["run", "--rm", "--pull", "never", &name]).run();
    said.refuses(125, &[&format!("no such image: {name}")]).hints("minidocker pull");
    let said = world.images(["run", "--rm", &name]).run();
    let words = said.err();
    assert_eq!(said.json()["env"]["TEXT"], "one");
    assert!(
        words.starts_with(&format!("Unable to find image '{name}' locally\n1: Pulling from app\n")),
        "{words}"
    );
    assert!(words.contains("Status: Downloaded newer image for"), "{words}");

    registry.put("app:1", &image("two"));
    assert_eq!(text(&["--pull", "missing"]), "one");
    assert_eq!(text(&["--pull", "never"]), "one");
    assert_eq!(text(&["--pull", "always", "-q"]), "two");
    // The one that lost its name is dangling.
    assert_eq!(world.images(["images", "-q", "--filter", "dangling=true"]).run().text().len(), 12);
    let said = world.images(["run", "--rm", "--pull", "often", &name]).run();
    said.refuses(125, &["--pull", "often"]);
    let other = registry.name("none:1");
    world.images(["run", "--rm", &other]).run().exits(125);
}
