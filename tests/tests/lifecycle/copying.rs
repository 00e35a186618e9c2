//! `cp`: Docker's rules, both ways, running and stopped; and containers that mean no good.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use minidocker_tests::{World, until};

struct Ground {
    world: World,
    here: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let world = World::new();
        let here = world.directory().join("here");
        fs::create_dir(&here).expect("our own directory");
        Self { world, here }
    }

    fn path(&self, name: &str) -> String {
        self.here.join(name).to_str().expect("text").to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.here.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    #[track_caller]
    fn copy(&self, words: &[&str]) -> minidocker_tests::Output {
        let all: Vec<&str> = ["cp"].into_iter().chain(words.iter().copied()).collect();
        self.world.minidocker(all)
    }
}

/// Files of every kind in the container; then it runs on, or ends.
const FILL: &str = "mkdir -p /data/sub /empty; echo one > /data/one; echo two > /data/sub/two; ln -s one /data/link; \
                    ln -s /data /to-data; chmod 640 /data/one; chown 1000:1000 /data/one; echo x > '/data/a:b'; mkfifo /data/pipe";

fn rules(runs: bool) {
    let ground = Ground::new();
    let world = &ground.world;
    let root = world.rootfs_busybox().overlay();
    if runs {
        let script = format!("{FILL}; : > /ready; exec sleep 1000");
        world.detached(["--name", "web", "--rootfs", &root, "/bin/sh", "-c", &script]);
        until("it is filled", || ground.copy(&["web:/ready", &ground.path("ready")]).code == 0);
    } else {
        world.minidocker(["run", "--name", "web", "--rootfs", &root, "/bin/sh", "-c", FILL]).ok();
    }
    // A file: to a new name, onto a file, into a directory.
    ground.copy(&["web:/data/one", &ground.path("new")]).prints("");
    assert_eq!(ground.read("new"), "one\n");
    let facts = fs::metadata(ground.here.join("new")).expect("the copy");
    assert_eq!((facts.permissions().mode() & 0o777, facts.uid(), facts.gid()), (0o640, 0, 0));
    ground.copy(&["web:data/sub/two", &ground.path("new")]).ok();
    assert_eq!(ground.read("new"), "two\n");
    ground.copy(&["web:/data/one", &ground.path("")]).ok();
    assert_eq!(ground.read("one"), "one\n");
    ground.copy(&["-a", "web:/data/one", &ground.path("kept")]).ok();
    assert_eq!(fs::metadata(ground.here.join("kept")).expect("the copy").uid(), 1000);
    ground.copy(&["web:/data/a:b", &ground.path("colon")]).ok();
    assert_eq!(ground.read("colon"), "x\n");
    ground.copy(&["web:/data/one", &ground.path("none/")]).refuses(1, &["no such directory"]);
    ground.copy(&["web:/data/one", &ground.path("none/x")]).refuses(1, &["none"]);
    ground.copy(&["web:/data/one/", &ground.path("y")]).refuses(1, &["not a directory"]);
    ground.copy(&["web:/data/one", &ground.path("new/")]).refuses(1, &["not a directory"]);
    ground.copy(&["web:/nothing", &ground.path("y")]).refuses(1, &["web:/nothing"]);
    // A directory: to a new name, into one that is there, its content, onto a file.
    ground.copy(&["web:/data", &ground.path("tree")]).ok();
    assert_eq!(ground.read("tree/sub/two"), "two\n");
    assert_eq!(fs::read_link(ground.here.join("tree/link")).expect("a link").to_str(), Some("one"));
    ground.copy(&["web:/data", &ground.path("tree")]).ok();
    assert_eq!(ground.read("tree/data/sub/two"), "two\n");
    fs::create_dir(ground.here.join("flat")).expect("our own");
    ground.copy(&["web:/data/.", &ground.path("flat")]).ok();
    assert_eq!(ground.read("flat/sub/two"), "two\n");
    ground.copy(&["web:/data", &ground.path("new")]).refuses(1, &["cannot copy a directory"]);
    // Links: as they are, or followed.
    ground.copy(&["web:/data/link", &ground.path("as-it-is")]).ok();
    assert_eq!(fs::read_link(ground.here.join("as-it-is")).expect("a link").to_str(), Some("one"));
    ground.copy(&["-L", "web:/data/link", &ground.path("followed")]).ok();
    assert_eq!(ground.read("followed"), "one\n");
    ground.copy(&["-L", "web:/to-data", &ground.path("followed-tree")]).ok();
    assert_eq!(ground.read("followed-tree/one"), "one\n");

    // The other way.
    fs::write(ground.here.join("mine"), "mine\n").expect("our own");
    std::os::unix::fs::chown(ground.here.join("mine"), Some(1234), Some(1234)).expect("as root");
    let owner = |path: &str, words: &[&str]| {
        ground.copy(&[words, &["web:/empty", &ground.path("back")]].concat()).ok();
        let facts = fs::metadata(ground.here.join("back").join(path)).expect("the copy");
        let owner = facts.uid();
        fs::remove_dir_all(ground.here.join("back")).expect("our own");
        owner
    };
    ground.copy(&[&ground.path("mine"), "web:/empty"]).ok();
    ground.copy(&["-a", &ground.path("mine"), "web:/empty/kept"]).ok();
    assert_eq!((owner("mine", &["-a"]), owner("kept", &["-a"])), (0, 1234));
    ground.copy(&[&ground.path("mine"), "web:/empty/none/"]).refuses(1, &["no such directory"]);
    ground.copy(&[&ground.path("tree"), "web:/data/one"]).refuses(1, &["cannot copy a directory"]);
    ground.copy(&[&ground.path("flat/."), "web:/to-data/new"]).ok();
    ground.copy(&["web:/data/new/sub/two", &ground.path("again")]).ok();
    assert_eq!(ground.read("again"), "two\n");
    fs::create_dir_all(ground.here.join("clash/one")).expect("our own");
    ground.copy(&[&ground.path("clash/."), "web:/data"]).refuses(1, &["cannot overwrite non-directory"]);

    // Archives.
    let archive = ground.copy(&["web:/data/sub", "-"]).ok();
    fs::write(ground.here.join("sub.tar"), &archive.stdout).expect("our own");
    let listed = world.program(["tar", "-tf", &ground.path("sub.tar")]).run().ok().out();
    assert_eq!(listed, "sub/\nsub/two\n");
    world.call(["cp", "-", "web:/empty"]).stdin(archive.stdout).run().ok();
    ground.copy(&["web:/empty/sub/two", &ground.path("unpacked")]).ok();
    assert_eq!(ground.read("unpacked"), "two\n");
    world.call(["cp", "-", "web:/data/one"]).stdin("x").run().refuses(1, &["must be a directory"]);
    world.call(["cp", "-", "web:/none"]).stdin("x").run().refuses(1, &["must be a directory"]);
    ground.copy(&["web:/a", "web:/b"]).refuses(1, &["between containers"]);
    ground.copy(&["/a", "/b"]).refuses(1, &["container"]);
    ground.copy(&["none:/a", "/b"]).refuses(1, &["no such container"]);
    world.minidocker(["rm", "-f", "web"]).ok();
}

#[test]
fn dockers_rules_hold_for_a_container_that_runs() {
    rules(true);
}

#[test]
fn dockers_rules_hold_for_one_that_has_ended() {
    rules(false);
}

#[test]
fn what_was_copied_before_its_start_is_there() {
    let ground = Ground::new();
    let world = &ground.world;
    let root = world.rootfs_busybox().overlay();
    world.minidocker(["create", "--name", "web", "--rootfs", &root, "/bin/cat", "/conf/mine"]).ok();
    fs::create_dir(ground.here.join("conf")).expect("our own");
    fs::write(ground.here.join("conf/mine"), "mine\n").expect("our own");
    ground.copy(&[&ground.path("conf"), "web:/"]).ok();
    world.minidocker(["start", "-a", "web"]).prints("mine\n");
    world.minidocker(["rm", "web"]).ok();
}

#[test]
fn volumes_of_a_container_that_runs_are_reached() {
    let ground = Ground::new();
    let world = &ground.world;
    let root = world.rootfs_busybox().overlay();
    fs::create_dir(ground.here.join("volume")).expect("our own");
    let volume = format!("{}:/data/volume", ground.path("volume"));
    world.detached(["--name", "web", "-v", &volume, "--rootfs", &root, "/bin/sleep", "1000"]);
    fs::write(ground.here.join("mine"), "mine\n").expect("our own");
    ground.copy(&[&ground.path("mine"), "web:/data/volume/x"]).ok();
    assert_eq!(ground.read("volume/x"), "mine\n");
    ground.copy(&["web:/data", &ground.path("out")]).ok();
    assert_eq!(ground.read("out/volume/x"), "mine\n");
    world.minidocker(["kill", "web"]).ok();
    until("it has ended", || world.minidocker(["ps", "-q"]).text().is_empty());
    ground
        .copy(&["web:/data/volume/x", &ground.path("y")])
        .refuses(1, &["mounted only while"])
        .hints("volume");
    world.minidocker(["rm", "web"]).ok();
}

#[test]
fn files_of_a_user_namespace_are_its_roots() {
    let ground = Ground::new();
    let world = &ground.world;
    let root = world.rootfs_busybox().overlay();
    world.detached(["--name", "web", "--userns", "private", "--rootfs", &root, "/bin/sleep", "1000"]);
    fs::create_dir(ground.here.join("tree")).expect("our own");
    fs::write(ground.here.join("tree/mine"), "mine\n").expect("our own");
    ground.copy(&[&ground.path("tree"), "web:/"]).ok();
    let seen = world.minidocker(["exec", "web", "/bin/stat", "-c", "%u:%g %n", "/tree", "/tree/mine"]);
    seen.prints("0:0 /tree\n0:0 /tree/mine\n");
    world.minidocker(["rm", "-f", "web"]).ok();
}

/// A secret of the host and links of the container that lead to it by every way.
#[test]
fn links_of_a_container_lead_nowhere_on_the_host() {
    let ground = Ground::new();
    let world = &ground.world;
    fs::write(ground.here.join("secret"), "secret").expect("our own");
    let root = world.rootfs_busybox();
    symlink(ground.path("secret"), root.path().join("absolute")).expect("our own");
    symlink(format!("../../../../../../../../../..{}", ground.path("secret")), root.path().join("relative"))
        .expect("our own");
    symlink(&ground.here, root.path().join("directory")).expect("our own");
    symlink("/proc/self/root/../../../..", root.path().join("magic")).expect("our own");
    let all = root.overlay();
    for runs in [false, true] {
        if runs {
            world.detached(["--name", "web", "--rootfs", &all, "/bin/sleep", "1000"]);
        } else {
            world.minidocker(["create", "--name", "web", "--rootfs", &all, "/bin/sleep", "1000"]).ok();
        }
        let out = ground.path("out");
        for path in ["absolute", "relative", "directory/secret", "directory/.", "../../../absolute/"] {
            ground.copy(&["-L", &format!("web:/{path}"), &out]).exits(1);
            assert!(!Path::new(&out).exists(), "{path}");
        }
        ground.copy(&["-L", &format!("web:/magic{}", ground.path("secret")), &out]).exits(1);
        fs::write(ground.here.join("mine"), "mine").expect("our own");
        // A link that leads nowhere in the container, and would lead to a file of the host.
        for path in ["absolute", "relative", "directory/secret", "directory/"] {
            ground.copy(&[&ground.path("mine"), &format!("web:/{path}")]).exits(1);
        }
        assert_eq!(ground.read("secret"), "secret");
        // An archive that goes through them.
        fs::create_dir_all(ground.here.join("pack/directory")).expect("our own");
        fs::write(ground.here.join("pack/directory/secret"), "changed").expect("our own");
        ground.copy(&[&ground.path("pack/."), "web:/"]).exits(1);
        assert_eq!(ground.read("secret"), "secret");
        world.minidocker(["rm", "-f", "web"]).ok();
    }
}

/// CVE-2018-15664: a name that is a directory now and a link the next moment.
#[test]
fn a_name_that_changes_all_the_time_leads_nowhere_on_the_host() {
    let ground = Ground::new();
    let world = &ground.world;
    let root = world.rootfs_busybox().overlay();
    let target = ground.path("");
    let script = format!(
        "mkdir /real; echo inside > /real/file; ln -s {target} /link; : > /ready; \
         while :; do mv /real /way; mv /way /real; ln -s {target} /way; rm /way; done"
    );
    fs::write(ground.here.join("file"), "secret").expect("our own");
    world.detached(["--name", "web", "--rootfs", &root, "/bin/sh", "-c", &script]);
    until("it has begun", || ground.copy(&["web:/ready", &ground.path("ready")]).code == 0);
    fs::write(ground.here.join("mine"), "mine").expect("our own");
    let out = ground.path("out");
    for _ in 0..20 {
        let _ = ground.copy(&["-L", "web:/way/file", &out]);
        if Path::new(&out).exists() {
            assert_ne!(ground.read("out"), "secret");
            fs::remove_file(&out).expect("our own");
        }
        let _ = ground.copy(&[&ground.path("mine"), "web:/way/file"]);
        assert_eq!(ground.read("file"), "secret");
        let _ = ground.copy(&[&ground.path("mine"), "web:/real/file"]);
        let _ = ground.copy(&[&ground.path("mine"), "web:/real/gone"]);
    }
    world.minidocker(["rm", "-f", "web"]).ok();
}
