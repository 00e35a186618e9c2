//! `-d`, `ps`, `kill`, `rm`: a container that lives without the command.

use std::time::Duration;

use minidocker_tests::{World, until};

/// One word for the state of container `name`: `running`, `exited`, or nothing.
fn state(world: &World, name: &str) -> String {
    let filter = format!("name=^{name}$");
    world.minidocker(["ps", "-a", "--filter", &filter, "--format", "{{.State}}"]).text()
}

#[test]
fn from_its_start_to_its_removal() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.detached(["--name", "web", "--rootfs", &root, "/inside", "pause"]);
    let line = world.minidocker(["ps", "--format", "{{.ID}} {{.Names}} {{.State}} {{.Command}}"]).text();
    assert_eq!(line, format!("{} web running \"/inside pause\"", &id[..12]));
    let status = world.minidocker(["ps", "--format", "{{.Status}}"]).text();
    assert!(status.starts_with("Up "), "{status}");
    world.minidocker(["ps", "-q", "--no-trunc"]).prints(&format!("{id}\n"));

    world.minidocker(["kill", &id[..6]]).prints(&format!("{}\n", &id[..6]));
    until("it has ended", || state(&world, "web") == "exited");
    world.minidocker(["ps", "-q"]).prints("");
    let status = world.minidocker(["ps", "-a", "--format", "{{.Status}}"]).text();
    assert!(status.starts_with("Exited (137) "), "{status}");
    world.minidocker(["kill", "web"]).refuses(1, &["web", "not running"]);

    world.minidocker(["rm", "web"]).prints("web\n");
    world.minidocker(["ps", "-aq"]).prints("");
    world.minidocker(["rm", "web"]).refuses(1, &["no such container", "web"]);
}

#[test]
fn the_command_returns_at_once_and_holds_nothing() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    // `run` waits for the end of its pipes: a monitor that kept them would fail here.
    let output = world.minidocker(["run", "-d", "--rm", "--rootfs", &root, "/inside", "sleep", "1000"]);
    assert!(output.time < Duration::from_secs(10), "{output:?}");
    let id = output.text();
    let monitor = world.monitor(&id);
    let directory = std::fs::read_link(format!("/proc/{monitor}/cwd")).expect("the monitor's directory");
    assert_eq!(directory.to_str(), Some("/"), "a directory that nobody can unmount");
    world.minidocker(["rm", "-f", &id]).ok();
}

#[test]
fn its_own_code_is_kept() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    world.detached(["--name", "three", "--rootfs", &root, "/inside", "exit", "3"]);
    until("it has ended", || state(&world, "three") == "exited");
    let status = world.minidocker(["ps", "-a", "--format", "{{.Status}}"]).text();
    assert!(status.starts_with("Exited (3) "), "{status}");

    world.detached(["--name", "asked", "--rootfs", &root, "/inside", "pause"]);
    // Until it waits for the signal.
    until("it is ready", || world.minidocker(["kill", "-s", "TERM", "asked"]).code != 0);
    world.minidocker(["ps", "-aq", "--filter", "exited=0", "--filter", "name=asked"]).ok();
    let status = world.minidocker(["ps", "-a", "--filter", "name=asked", "--format", "{{.Status}}"]).text();
    assert!(status.starts_with("Exited (0) "), "{status}");
    world.minidocker(["rm", "three", "asked"]).prints("three\nasked\n");
}

#[test]
fn in_the_foreground_without_rm_it_stays_listed() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    world.minidocker(["run", "--name", "seven", "--rootfs", &root, "/inside", "exit", "7"]).exits(7);
    let line = world.minidocker(["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}"]).text();
    assert!(line.starts_with("seven exited Exited (7) "), "{line}");
    world.minidocker(["ps", "-q"]).prints("");
    world.minidocker(["rm", "seven"]).ok();
}

#[test]
fn with_rm_it_is_gone_by_itself() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    world.detached(["--rm", "--name", "short", "--rootfs", &root, "/inside", "sleep", "0.1"]);
    until("it is gone", || world.minidocker(["ps", "-aq"]).text().is_empty());
    world.expect_nothing_left();
}

#[test]
fn a_running_one_is_removed_by_force_alone() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    world.detached(["--name", "web", "--rootfs", &root, "/inside", "sleep", "1000"]);
    world.minidocker(["rm", "web"]).refuses(1, &["web", "running"]).hints("rm -f");
    assert_eq!(state(&world, "web"), "running");
    world.minidocker(["rm", "-f", "web"]).prints("web\n");
    assert_eq!(state(&world, "web"), "");
    world.expect_nothing_left();
}

#[test]
fn the_failure_of_one_does_not_keep_the_others() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for name in ["one", "two"] {
        world.detached(["--name", name, "--rootfs", &root, "/inside", "sleep", "1000"]);
    }
    let output = world.minidocker(["rm", "-f", "one", "nobody", "two"]).ok();
    assert_eq!(output.out(), "one\ntwo\n");
    assert!(output.err().contains("nobody"), "{output:?}");
    world.minidocker(["ps", "-aq"]).prints("");
}

#[test]
fn ps_shows_what_it_is_asked_for() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let labels = world.directory().join("labels");
    std::fs::write(&labels, "# a comment\n\ncolour=blue\n").expect("our own file");
    let labels = labels.to_str().expect("text");
    let run = |name: &str, options: &[&str]| {
        let base = ["--name", name, "--rootfs", root.as_str()];
        world.detached([&base, options, &["/inside", "sleep", "1000"]].concat())
    };
    let web = run("web-1", &["-l", "tier=web", "--label", "plain"]);
    run("db-1", &["--label-file", labels]);
    world.minidocker(["run", "--name", "gone", "--rootfs", &root, "/inside", "exit", "9"]).exits(9);
    let names = |filters: &[&str]| {
        let mut words = vec!["ps", "--format", "{{.Names}}"];
        filters.iter().for_each(|filter| words.extend(["--filter", filter]));
        world.minidocker(words).text()
    };
    assert_eq!(names(&[]), "db-1\nweb-1", "the newest first");
    assert_eq!(names(&["label=tier"]), "web-1");
    assert_eq!(names(&["label=tier=db"]), "");
    assert_eq!(names(&["label=colour=blue"]), "db-1");
    assert_eq!(names(&["name=web"]), "web-1");
    assert_eq!(names(&[&format!("id={}", &web[..8])]), "web-1");
    assert_eq!(names(&["status=exited"]), "gone");
    assert_eq!(names(&["exited=9"]), "gone");
    assert_eq!(world.minidocker(["ps", "-n", "1", "--format", "{{.Names}}"]).text(), "gone");
    let labels = world.minidocker(["ps", "--filter", "name=web-1", "--format", "{{.Labels}}"]).text();
    assert_eq!(labels, "plain=,tier=web");
    let json = world.minidocker(["ps", "--filter", "name=web-1", "--format", "json"]).json();
    assert_eq!(json["Names"], "web-1");
    assert_eq!(json["ID"], web[..12]);
    world.minidocker(["rm", "-f", "web-1", "db-1", "gone"]).ok();
}

/// Its first process is known before it has its own namespaces and its own root: who joined it then would be on the host,
/// where there is no /inside.
#[test]
fn nobody_joins_one_that_is_still_being_made() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let copy = world.directory().join("copy");
    let mut early = 0;
    for round in 0..25 {
        let starting = world.spawn(["run", "-d", "--name", "racer", "--rootfs", &root, "/inside", "pause"]);
        let copies = ["cp", "racer:/inside", copy.to_str().expect("text")];
        let tries = [&["exec", "racer", "/inside", "exit", "0"][..], &copies];
        for words in tries.iter().cycle().skip(round % 2) {
            let output = world.minidocker(words.iter().copied());
            if output.code == 0 {
                break;
            }
            early += 1;
            let said = output.err();
            let absent = ["no such container", "is not running", "has just ended", "does not run"];
            assert!(output.code == 1 && absent.iter().any(|word| said.contains(word)), "{output:?}");
        }
        starting.wait().ok();
        world.minidocker(["rm", "-f", "racer"]).ok();
    }
    assert!(early > 0, "nobody came too early");
}
