//! Each kind of leftover, made for real: the check finds it by name, the repair mends it, the second check finds nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use minidocker_tests::{Output, World, until};
use rustix::process::{Pid, Signal, kill_process};

/// An id that no container has.
fn nobody() -> String {
    "ab".repeat(32)
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL).expect("it is ours and lives");
}

/// A world with a container that runs and one that has ended, whose log has a line.
fn ground() -> (World, String, String) {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let live = world.detached(["--name", "live", "--rootfs", &root, "sleep", "1000"]);
    let file = world.directory().join("id");
    let words = ["run", "--name", "ended", "--cidfile", file.to_str().expect("text"), "--rootfs", &root];
    world.minidocker([&words[..], &["echo", "printed"]].concat()).ok();
    let ended = fs::read_to_string(file).expect("its id");
    // Its monitor tells its end before it has taken down everything.
    until("its monitor is gone", || !world.run_root().join("containers").join(&ended).exists());
    (world, live, ended)
}

/// `system check`, with the world's directory in the place of /tmp: the whole machine's is other tests' too.
#[track_caller]
fn look(world: &World, words: &[&str]) -> Output {
    let temporary = world.directory().to_str().expect("text");
    world.call([&["system", "check"], words].concat()).env("TMPDIR", temporary).run()
}

/// The check finds exactly this, and says so in a line that begins with it; nothing is changed by that.
#[track_caller]
fn finds(world: &World, begins: &[String]) {
    for _ in 0..2 {
        let output = look(world, &[]).exits(1);
        let text = output.out();
        let lines: Vec<&str> = text.lines().collect();
        let is_found = |begin: &String| lines.iter().any(|line| line.starts_with(begin.as_str()));
        assert!(begins.iter().all(is_found), "{begins:#?} are not all in\n{text}");
        assert_eq!(lines.last(), Some(&format!("{} found", begins.len()).as_str()), "{text}");
    }
}

/// The repair mends that many things; afterwards nothing is wrong, and the container that runs still does.
#[track_caller]
fn mends(world: &World, live: &str, number: usize) {
    let init = world.init(live);
    let text = look(world, &["--repair"]).ok().out();
    assert!(text.ends_with(&format!("{number} found, {number} repaired\n")), "{text}");
    look(world, &[]).prints("nothing is wrong\n");
    assert_eq!(world.init(live), init);
    assert_eq!(world.minidocker(["exec", "live", "echo", "lives"]).text(), "lives");
}

#[track_caller]
fn finish(world: &World) {
    let all = world.minidocker(["ps", "-aq"]).text();
    let all: Vec<&str> = all.lines().collect();
    world.minidocker([&["rm", "-f"], all.as_slice()].concat()).ok();
    world.expect_nothing_left();
}

fn make(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).expect("our own directory");
    path
}

fn shown(kind: &str, path: &Path) -> String {
    format!("{kind} {}: ", path.display())
}

#[test]
fn nothing_is_wrong_where_nothing_was_left() {
    let world = World::new();
    // Not even a directory is made.
    world.minidocker(["system", "check"]).prints("nothing is wrong\n");
    assert!(!world.root().exists() && !world.run_root().exists());
    let (world, _, _) = ground();
    world
        .minidocker(["create", "--name", "made", "--rootfs", &world.rootfs_busybox().overlay(), "true"])
        .ok();
    world.minidocker(["rename", "made", "other"]).ok();
    world.minidocker(["volume", "create", "data"]).ok();
    world.minidocker(["system", "check"]).prints("nothing is wrong\n");
    world.minidocker(["system", "check", "--repair", "--format", "json"]).prints("");
    world.minidocker(["volume", "rm", "data"]).ok();
    finish(&world);
}

#[test]
fn kernel_objects_of_nobody() {
    let (world, live, ended) = ground();
    let group = format!("{}/{}", world.cgroup_parent(), nobody());
    // Below the hierarchy that the live one is in, beside it.
    let beside = world.group(&live).directories();
    make(beside[0].parent().expect("a parent").join(nobody()).join("below"));
    let link = format!("md{}", &nobody()[..11]);
    let program = |words: &[&str]| world.program(words).run().ok();
    program(&["ip", "link", "add", &link, "type", "veth", "peer", "name", "stray"]);
    program(&["ip", "link", "set", &link, "master", world.bridge()]);
    let mount = world.root().join("containers").join(&ended).join("upper");
    let target = mount.to_str().expect("text");
    program(&["mount", "-t", "tmpfs", "none", target]);
    let addresses = world.run_root().join("addresses").join(world.bridge());
    let owner = fs::read_dir(&addresses).expect("its directory").flatten().next().expect("one of live's");
    let text = fs::read_link(owner.path()).expect("a link").to_str().expect("text").to_owned();
    // The same owner but for the first digits of its id.
    symlink(format!("ASNF{}", &text[4..]), addresses.join("172.30.200.1")).expect("our own directory");

    finds(
        &world,
        &[
            shown("mount", &mount),
            "address 172.30.200.1: ".to_owned(),
            format!("link {link}: "),
            format!("control group {group}: "),
        ],
    );
    mends(&world, &live, 4);
    let links = world.program(["ip", "-br", "link"]).run().out();
    assert!(!links.contains(&link) && !links.contains("stray"), "{links}");
    assert!(!beside[0].parent().expect("a parent").join(nobody()).exists());
    finish(&world);
}

#[test]
fn a_group_in_which_others_run_is_left_alone() {
    let (world, live, _) = ground();
    let group = make(world.group(&live).directories()[0].parent().expect("a parent").join(nobody()));
    let mut other = world.program(["sleep", "1000"]).spawn();
    fs::write(group.join("cgroup.procs"), other.pid().to_string()).expect("our own group");
    let told = world.minidocker(["system", "check", "--repair"]).exits(1).out();
    assert!(told.contains(&nobody()) && told.contains("nothing here knows their container"), "{told}");
    assert!(other.is_alive() && group.exists());
    other.signal(9);
    let _ = other.wait();
    until("the group is empty", || {
        fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|text| text.is_empty())
    });
    mends(&world, &live, 1);
    finish(&world);
}

#[test]
fn names_and_records() {
    let (world, live, ended) = ground();
    let names = world.run_root().join("names");
    symlink(nobody(), names.join("ghost")).expect("our own directory");
    symlink(&ended, names.join("older")).expect("our own directory");
    fs::remove_file(names.join("ended")).expect("our own link");
    let ids = make(world.run_root().join("ids"));
    symlink(nobody(), ids.join("100000")).expect("our own directory");
    let directory = make(world.root().join("containers").join(nobody()));
    make(directory.join("upper"));
    let removed = make(world.root().join("removed").join("cd".repeat(32)).join("upper"));
    let half = world.root().join("containers").join(&ended).join("container.json.new");
    fs::write(&half, "{").expect("our own directory");

    finds(
        &world,
        &[
            "name ghost: it points at abababababab".to_owned(),
            format!("name older: container {} is called ended", &ended[..12]),
            format!("name ended: container {} has it", &ended[..12]),
            "range of user ids 100000: ".to_owned(),
            shown("directory", &directory),
            shown("directory", removed.parent().expect("a parent")),
            shown("half a file", &half),
        ],
    );
    mends(&world, &live, 7);
    assert!(!directory.exists() && !removed.exists() && !half.exists());
    assert_eq!(world.minidocker(["ps", "-a", "--format", "{{.Names}}"]).text(), "ended\nlive");
    world.minidocker(["rm", "ended"]).ok();
    finish(&world);
}

#[test]
fn half_written_files_and_what_killed_ones_left() {
    let (world, live, ended) = ground();
    let root = world.root();
    let made: Vec<PathBuf> =
        ["build/work/1-2-3", "bootstrap/x", "layers/new/x", "volumes/.old-x", "layers/old/x"]
            .into_iter()
            .map(|name| make(root.join(name)))
            .collect();
    fs::write(root.join("bringing.lock"), "").expect("our own file");
    make(root.join("ingest"));
    let blob = root.join("ingest/new-1");
    fs::write(&blob, "half").expect("our own file");
    // Another one is going on with it.
    fs::write(root.join("ingest/abcd"), "half").expect("our own file");
    let log = root.join("containers").join(&ended).join("log/00000000.log");
    let mut whole = fs::read(&log).expect("its log");
    let end = whole.len();
    whole.extend([7, 0, 0, 0, 1]);
    fs::write(&log, &whole).expect("its log");
    let events = world.run_root().join("events/log");
    let told = fs::read(&events).expect("the events");
    fs::write(&events, [&told[..], b"{\"at\":17"].concat()).expect("the events");

    let mut begins: Vec<String> = made.iter().map(|path| path.display().to_string()).collect();
    let kinds = ["directory", "directory", "directory", "volume", "layer"];
    for (begin, kind) in begins.iter_mut().zip(kinds) {
        *begin = match kind {
            "volume" => "volume ".to_owned() + begin + ": ",
            kind => format!("{kind} {begin}: "),
        };
    }
    begins.extend([shown("half a file", &blob), shown("log", &log), shown("events", &events)]);
    finds(&world, &begins);
    mends(&world, &live, 8);
    assert!(made.iter().all(|path| !path.exists()) && !blob.exists() && root.join("ingest/abcd").exists());
    assert_eq!(fs::metadata(&log).expect("its log").len(), end as u64);
    assert_eq!(world.minidocker(["logs", "ended"]).text(), "printed");
    finish(&world);
}

#[test]
fn what_may_be_somebodys_data_stays() {
    let (world, _, ended) = ground();
    let volume = make(world.root().join("volumes/lost/data"));
    fs::write(volume.join("file"), "dear").expect("our own directory");
    let record = world.root().join("containers").join(&ended).join("container.json");
    let text = fs::read_to_string(&record).expect("a record");
    fs::write(&record, &text[..40]).expect("our own file");
    for words in [&["system", "check"][..], &["system", "check", "--repair"]] {
        let output = world.minidocker(words).exits(1).out();
        assert!(
            output.contains("volume lost: it has no volume.json; no repair: its files are in"),
            "{output}"
        );
        let line = shown("record", record.parent().expect("a directory"));
        assert!(output.contains(&line) && output.contains(&format!("rm -f {}", &ended[..12])), "{output}");
        assert!(output.ends_with("2 found\n"), "{output}");
    }
    assert_eq!(fs::read_to_string(volume.join("file")).expect("it is there"), "dear");
    // What is told is the way out.
    world.minidocker(["rm", "-f", &ended[..12]]).ok();
    world.minidocker(["volume", "rm", "lost"]).ok();
    world.minidocker(["system", "check"]).prints("nothing is wrong\n");
    finish(&world);
}

#[test]
fn a_container_whose_monitor_was_killed_gets_another() {
    let (world, live, _) = ground();
    let init = world.init(&live);
    kill(world.monitor(&live));
    let found = || world.minidocker(["system", "check"]).out();
    until("its lock is free", || found().contains(&format!("container {} (live): it runs", &live[..12])));
    finds(
        &world,
        &[format!("container {} (live): it runs, and its monitor is gone; a repair would", &live[..12])],
    );
    mends(&world, &live, 1);
    assert_eq!(world.init(&live), init);
    world.minidocker(["stop", "-t", "0", "live"]).ok();
    assert_eq!(world.minidocker(["wait", "live"]).text(), "137");
    finish(&world);
}

#[test]
fn a_container_that_was_lost_is_taken_down() {
    let (world, live, _) = ground();
    let root = world.rootfs_busybox().overlay();
    let lost = world.detached(["--name", "lost", "--rootfs", &root, "sleep", "1000"]);
    let (monitor, init) = (world.monitor(&lost), world.init(&lost));
    kill(monitor);
    kill(init);
    let line = format!("container {} (lost): its monitor is gone, and it ended; ", &lost[..12]);
    until("it is gone", || world.minidocker(["system", "check"]).out().contains(&line));
    finds(&world, &[line + "a repair would take down what it had"]);
    mends(&world, &live, 1);
    assert!(!world.group(&lost).directories().iter().any(|path| path.exists()));
    let state = world.minidocker(["inspect", "-f", "{{.State.Status}}", "lost"]).text();
    assert_eq!(state, "exited");
    finish(&world);
}

#[test]
fn the_context_of_a_killed_build() {
    let (world, live, _) = ground();
    let work = world.root().join("build/work");
    let running = world.call(["build", "-"]).stdin_open().spawn();
    let names = || fs::read_dir(&work).into_iter().flatten().flatten().map(|entry| entry.path()).next();
    until("it has a directory", || names().is_some());
    // As long as it lives it is its own.
    world.minidocker(["system", "check", "--repair"]).prints("nothing is wrong\n");
    running.signal(9);
    let _ = running.wait();
    let left = names().expect("a killed one removes nothing");
    finds(&world, &[shown("directory", &left) + "a build was killed"]);
    mends(&world, &live, 1);
    finish(&world);
}

#[test]
fn findings_as_json() {
    let (world, live, _) = ground();
    symlink(nobody(), world.run_root().join("names/ghost")).expect("our own directory");
    let found = world.minidocker(["system", "check", "--format", "json"]).exits(1).out();
    let found: serde_json::Value = serde_json::from_str(&found).expect("one line of JSON");
    assert_eq!((&found["Kind"], &found["Which"]), (&"name".into(), &"ghost".into()));
    assert_eq!((&found["Outcome"], &found["Repairable"]), (&"found".into(), &true.into()));
    assert!(found["Steps"][0].as_str().is_some_and(|step| step.starts_with("unlink(")), "{found}");
    let told = world.minidocker(["system", "check", "-r", "--format", "json"]).ok().json();
    assert_eq!(told["Outcome"], "repaired");
    world.minidocker(["system", "check"]).prints("nothing is wrong\n");
    assert_eq!(world.minidocker(["exec", &live, "echo", "lives"]).text(), "lives");
    finish(&world);
}

/// What a killed `vm run` or `bench` left: half a disk, the disk of an image that is gone, a socket's directory, groups
/// with what still runs in them. What somebody is making, and what is young, is left alone.
#[test]
fn what_machines_and_benches_leave() {
    let (world, live, _) = ground();
    let machines = world.root().join("machines");
    let gone = make(machines.join("cd".repeat(32)));
    fs::write(gone.join("lock"), "").expect("our own file");
    fs::write(gone.join("disk"), "an ext4").expect("our own file");
    let busy = make(machines.join("ef".repeat(32)));
    let lock = fs::File::create(busy.join("lock")).expect("our own file");
    fs::write(busy.join("disk.new"), "half of it").expect("our own file");
    lock.lock().expect("nobody has it");
    let root = world.rootfs_busybox();
    let archive = world.directory().join("image.tar");
    let archive = archive.to_str().expect("text");
    world.program(["tar", "-C", root.path().to_str().expect("text"), "-cf", archive, "."]).run().ok();
    let id = world.minidocker(["import", archive, "box:1"]).text();
    let half = make(machines.join(id.trim_start_matches("sha256:")));
    fs::write(half.join("lock"), "").expect("our own file");
    let half = half.join("disk.new");
    fs::write(&half, "half of it").expect("our own file");

    let pid = std::process::id();
    let sockets = world.directory().join(format!("minidocker-vm-{pid:016x}"));
    let young = world.directory().join(format!("minidocker-vm-{:016x}", u64::from(pid) << 32));
    for directory in [&sockets, &young] {
        make(directory.clone());
    }
    world.program(["touch", "-d", "2 minutes ago", sockets.to_str().expect("text")]).run().ok();

    let parent = world.group(&live).directories()[0].parent().expect("a parent").to_owned();
    // No process has these numbers: they are beyond the kernel's largest.
    let (empty, full) = ("lab-4194305", "lab-4194306");
    make(parent.join(empty).join("00001"));
    let nest = make(parent.join(full).join("00002/processes"));
    let mut left = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
    fs::write(nest.join("cgroup.procs"), left.id().to_string()).expect("our own group");
    let group = |name: &str| {
        format!("control group {}/{name}: the bench that made it is gone", world.cgroup_parent())
    };

    finds(
        &world,
        &[
            shown("machine's disk", &gone),
            shown("half a file", &half),
            shown("directory", &sockets),
            group(empty),
            group(full) + ", and a process runs in it",
        ],
    );
    mends(&world, &live, 5);
    assert!(busy.join("disk.new").exists() && young.exists() && !sockets.exists() && !gone.exists());
    assert!(left.wait().expect("our child").code().is_none(), "it was killed");
    drop(lock);
    for directory in [&busy, &young] {
        fs::remove_dir_all(directory).expect("our own");
    }
    world.minidocker(["rmi", "box:1"]).ok();
    finish(&world);
}
