//! `clone`: the same container once more, of every kind of root; `info CONTAINER`; events of volumes and terminals.

use minidocker_tests::{World, until};

#[track_caller]
fn finish(world: &World) {
    let all = world.minidocker(["ps", "-aq"]).text();
    let all: Vec<&str> = all.lines().collect();
    world.minidocker([&["rm", "-fv"], all.as_slice()].concat()).ok();
    world.expect_nothing_left();
}

/// What a container has written is in its clone, and from there on each has its own.
fn has_its_own_copy(options: &[&str]) {
    let world = World::new();
    let root = world.rootfs_busybox();
    root.file("etc/goes", "away");
    root.file("etc/stays", "old");
    let root = root.overlay();
    let script = "echo one >/new; rm -r /etc/goes; echo more >>/etc/stays; ln /new /hard; mkdir -m 700 /dir; \
                  chown 7:8 /new; truncate -s 1M /holes";
    let words = [&["run", "--name", "first"], options, &["--rootfs", &root, "sh", "-c", script]].concat();
    world.minidocker(words).ok();
    let id = world.minidocker(["clone", "first", "second"]).text();
    assert_eq!(id.len(), 64, "{id}");
    let state = world.minidocker(["inspect", "-f", "{{.State.Status}} {{.Name}} {{.Path}}", "second"]).text();
    assert_eq!(state, "created /second sh");

    let root_of = |name: &str, script: &str| {
        world.minidocker(["start", name]).ok();
        world.minidocker(["exec", name, "sh", "-c", script]).text()
    };
    // The same again, in a program that stays.
    for name in ["first", "second"] {
        world.minidocker(["rm", "-f", name]).ok();
    }
    let words = [&["create", "--name", "first"], options, &["--rootfs", &root, "sleep", "1000"]].concat();
    world.minidocker(words).ok();
    root_of("first", script);
    // Of one that runs.
    world.minidocker(["clone", "first", "second"]).ok();
    let seen = root_of(
        "second",
        "cat /new /etc/stays; ls /etc/goes 2>/dev/null; stat -c '%h %u:%g' /new; stat -c %a /dir; \
                                  stat -c %s /holes",
    );
    assert_eq!(seen, "one\noldmore\n2 7:8\n700\n1048576");
    root_of("second", "echo two >/new; rm -r /dir");
    assert_eq!(root_of("first", "cat /new; ls -d /dir"), "one\n/dir");
    assert_eq!(root_of("second", "cat /hard; ls -d /dir 2>&1 | grep -c 'No such'"), "two\n1");
    // The first one runs on.
    assert_eq!(world.minidocker(["inspect", "-f", "{{.State.Status}}", "first"]).text(), "running");
    finish(&world);
}

#[test]
fn a_clone_of_an_overlay() {
    has_its_own_copy(&[]);
}

#[test]
fn a_clone_of_a_disk() {
    has_its_own_copy(&["--rootfs-kind", "loop", "--storage-opt", "size=64m"]);
}

#[test]
fn a_clone_of_a_copy() {
    has_its_own_copy(&["--rootfs-kind", "copy"]);
}

#[test]
fn a_clone_of_a_view_of_the_host() {
    let world = World::new();
    let script = "cat /clone-of-the-host 2>/dev/null || echo none; echo mine >/clone-of-the-host";
    world.minidocker(["run", "--name", "first", "host", "sh", "-c", script]).prints("none\n");
    world.minidocker(["clone", "first", "second"]).ok();
    world.minidocker(["start", "-a", "second"]).prints("mine\n");
    assert!(!std::path::Path::new("/clone-of-the-host").exists());
    finish(&world);
}

#[test]
fn volumes_without_a_name_are_new_and_others_are_shared() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script =
        "test -e /own/file && echo mine; cat /all/file 2>/dev/null; echo x >/own/file; echo from >/all/file";
    let words = [
        "create",
        "--name",
        "first",
        "-v",
        "/own",
        "-v",
        "all:/all",
        "--restart",
        "on-failure:2",
        "--label",
        "a=b",
    ];
    world.minidocker([&words[..], &["--rootfs", &root, "sh", "-c", script]].concat()).ok();
    assert_eq!(world.minidocker(["start", "-a", "first"]).text(), "");
    world.minidocker(["clone", "first", "second"]).ok();
    assert_eq!(world.minidocker(["start", "-a", "second"]).text(), "from");
    assert_eq!(world.minidocker(["start", "-a", "first"]).text(), "mine\nfrom");
    let format = "{{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.Config.Labels.a}}";
    assert_eq!(world.minidocker(["inspect", "-f", format, "second"]).text(), "2 b");
    // Without a name it gets one.
    let id = world.minidocker(["clone", "first"]).text();
    assert!(world.minidocker(["inspect", "-f", "{{.Name}}", &id]).text().contains('_'));
    finish(&world);
    assert_eq!(world.minidocker(["volume", "ls", "-q"]).text(), "all");
}

#[test]
fn what_cannot_be_cloned_is_told_and_leaves_nothing() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    world.minidocker(["create", "--name", "first", "--rootfs", &root, "true"]).ok();
    world.minidocker(["clone", "nobody", "second"]).refuses(1, &["no such container: nobody"]);
    world.minidocker(["clone", "first", "first"]).refuses(1, &["first", "already in use"]);
    world.minidocker(["clone", "first", "a/b"]).refuses(1, &["a/b"]);
    world.minidocker(["clone"]).refuses(1, &["clone needs a container"]);
    assert_eq!(world.minidocker(["ps", "-aq"]).text().lines().count(), 1);
    world.minidocker(["system", "check"]).prints("nothing is wrong\n");
    // A paused one stays so.
    world.detached(["--name", "live", "--rootfs", &root, "sleep", "1000"]);
    world.minidocker(["pause", "live"]).ok();
    world.minidocker(["clone", "live", "other"]).ok();
    assert_eq!(world.minidocker(["inspect", "-f", "{{.State.Status}}", "live"]).text(), "paused");
    finish(&world);
}

#[test]
fn info_of_a_container_as_lxc_has_it() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let id = world.detached(["--name", "web", "--rootfs", &root, "sleep", "1000"]);
    let info = |flags: &[&str]| world.minidocker([&["info"], flags, &["web"]].concat()).ok().out();
    let address = world.minidocker(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"]).text();
    let pid = world.init(&id).to_string();
    assert_eq!(info(&["-pH"]), format!("{pid}\n"));
    assert_eq!(info(&["-iH"]), format!("{address}\n"));
    assert_eq!(info(&["-s"]), "State:          RUNNING\n");
    let all = info(&[]);
    let names: Vec<&str> = all.lines().filter_map(|line| line.split(':').next()).collect();
    let expected = [
        "Name",
        "State",
        "PID",
        "IP",
        "CPU use",
        "BlkIO use",
        "Memory use",
        "Link",
        " TX bytes",
        " RX bytes",
    ];
    assert_eq!(names[..10], expected, "{all}");
    assert!(all.contains(&format!("Link:           md{}\n", &id[..11])), "{all}");
    world.minidocker(["pause", "web"]).ok();
    assert_eq!(info(&["-sH"]), "FROZEN\n");
    world.minidocker(["unpause", "web"]).ok();
    world.minidocker(["stop", "-t", "0", "web"]).ok();
    assert_eq!(info(&[]), "Name:           web\nState:          STOPPED\n");
    world.minidocker(["info", "nobody"]).refuses(1, &["no such container: nobody"]);
    assert!(world.minidocker(["info"]).text().contains("Kernel: "));
    finish(&world);
}

#[test]
fn volumes_and_terminals_have_events() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let words =
        ["run", "--rm", "--name", "web", "-v", "data:/data:ro", "-v", "/own", "--rootfs", &root, "true"];
    world.minidocker(words).ok();
    let filter = |of: &str| {
        let filter = format!("type={of}");
        let format =
            "{{.Action}} {{.Actor.Attributes.destination}} {{index .Actor.Attributes \"read/write\"}}";
        world
            .minidocker(["events", "--since", "1h", "--until", "0s", "--filter", &filter, "--format", format])
            .text()
    };
    until("the last one is told", || filter("volume").lines().count() == 7);
    let told = filter("volume");
    let actions: Vec<&str> = told.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(actions, ["create", "create", "mount", "mount", "unmount", "unmount", "destroy"], "{told}");
    assert!(told.contains("mount /data false\n") && told.contains("mount /own true\n"), "{told}");

    let mut pty = world.pty(["run", "--rm", "-it", "--name", "tty", "--rootfs", &root, "sh"]);
    pty.until("# ");
    pty.resize(33, 99);
    until("it is told", || {
        let words = ["events", "--since", "1h", "--until", "0s", "--filter", "event=resize"];
        let text = world.minidocker(words).text();
        text.contains("height=33") && text.contains("width=99")
    });
    pty.type_in("exit\n");
    pty.wait().ok();
    world.minidocker(["volume", "rm", "data"]).ok();
    world.expect_nothing_left();
}
