//! An image as a virtual machine: its command, streams, signals, sizes and shares, what is missing, what is left. Each
//! boot is emulated and takes seconds, so that each looks at several things.

use std::path::Path;
use std::time::Duration;

use minidocker_tests::{Output, World, until};

/// One boot and its command, emulated, on a machine with others beside it: long enough that only what hangs takes longer.
const PATIENCE: Duration = Duration::from_secs(400);

#[track_caller]
fn boot(world: &World, words: &[&str]) -> Output {
    world.call([&["vm", "run", "--accel", "tcg"], words].concat()).patience(PATIENCE).run()
}

/// An image with busybox and `/inside`, and settings of its own.
fn image(world: &World) -> &'static str {
    let root = world.rootfs_busybox();
    root.file("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n");
    root.file("etc/group", "root:x:0:\nwww:x:34:\nextra:x:55:web\n");
    root.script("bin/no-interpreter", "#!/no/such\n");
    let archive = world.directory().join("image.tar");
    let archive = archive.to_str().expect("text").to_owned();
    let path = root.path().to_str().expect("text").to_owned();
    world.program(["tar", "-C", &path, "-cf", &archive, "."]).run().ok();
    let settings = ["-c", "ENV OWN=image BOTH=image", "-c", "WORKDIR /work", "-c", "USER web"];
    world.call([&["import"], &settings[..], &[&archive, "box:1"]].concat()).run().ok();
    "box:1"
}

/// Processes of this machine that serve a virtual one of this world.
fn serving(world: &World) -> Vec<String> {
    let name = world.name().to_owned();
    let of = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains("qemu-system") && line.contains(&name)).then_some(line)
    };
    std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(of).collect()
}

#[test]
fn an_image_boots_with_its_own_settings_and_the_sizes_that_were_asked_for() {
    let world = World::new();
    let image = image(&world);
    let timings = world.directory().join("timings.json");
    let script = "id -u; id -g; id -G; pwd; echo $OWN $BOTH $TYPED; hostname; nproc; \
                  grep MemTotal /proc/meminfo; grep ' / ' /proc/mounts; echo apart >&2; exit 7";
    let words = [
        "-e",
        "BOTH=typed",
        "-e",
        "TYPED=yes",
        "--hostname",
        "inner",
        "--cpus",
        "2",
        "--memory",
        "384m",
        "--timings",
        timings.to_str().expect("text"),
        image,
        "sh",
        "-c",
        script,
    ];
    let output = boot(&world, &words).exits(7);
    let (out, err) = (output.out(), output.err());
    assert_eq!(err, "apart\n");
    let lines: Vec<&str> = out.lines().collect();
    let own = ["33", "34", "34 55", "/work", "image typed yes", "inner", "2"];
    assert_eq!(lines[..7], own, "{out}");
    let memory: u64 = lines[7].split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect(lines[7]);
    // The guest's kernel takes its part of it.
    assert!((300 << 10..=384 << 10).contains(&memory), "{memory} KiB of 384 MiB");
    assert!(lines[8].starts_with("minidocker / overlay rw"), "{}", lines[8]);

    let text = std::fs::read_to_string(&timings).expect("timings");
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let steps = told["steps"].as_array().expect("steps");
    let names: Vec<&str> = steps.iter().filter_map(|step| step["name"].as_str()).collect();
    let all = [
        "image",
        "prepare",
        "qemu",
        "firmware",
        "kernel",
        "modules",
        "root",
        "command",
        "output",
        "run",
        "power-off",
    ];
    assert_eq!(names, all, "{text}");
    let end = |index: usize| steps[index]["end"].as_f64().expect("seconds");
    assert!((1..8).all(|index| end(index - 1) <= end(index)), "{text}");
    assert!((told["to_command"].as_f64().expect("seconds") - end(7)).abs() < 1e-6, "{text}");
    assert_eq!((&told["accelerator"], &told["cpus"]), (&"tcg".into(), &2.into()));
    // Both clocks count alike: marks do not come earlier and earlier, or later and later.
    let guest = |point: &str| told["guest"][point].as_f64().expect("seconds");
    let spread = told["clock_spread"].as_f64().expect("seconds");
    assert!(spread < 0.4 * (guest("ended") - guest("modules")), "{text}");

    // The image's files were made into a disk, and the second start finds it.
    let disks = || {
        let machines = std::fs::read_dir(world.root().join("machines")).expect("machines");
        machines.flatten().filter(|entry| entry.path().join("disk").is_file()).count()
    };
    assert_eq!(disks(), 1);
    boot(&world, &[image, "no-such-program"]).refuses(127, &["no-such-program", "not found"]);
    boot(&world, &[image, "no-interpreter"]).refuses(127, &["no-interpreter"]);
    let size = || world.minidocker(["system", "df", "--format", "{{.Type}} {{.Size}}"]).text();
    let directory = world.root().join("machines");
    let with = size();
    let aside = world.directory().join("aside");
    std::fs::rename(&directory, &aside).expect("our own");
    assert_ne!(size(), with, "what images take has their disks in it");
    std::fs::rename(&aside, &directory).expect("our own");
    world.minidocker(["image", "prune", "-a", "-f"]).ok();
    assert_eq!(disks(), 0, "it goes with its image");
    world.finish();
}

#[test]
fn the_host_boots_and_directories_are_shared() {
    let world = World::new();
    let (shared, kept) = (world.directory().join("shared"), world.directory().join("kept"));
    for directory in [&shared, &kept] {
        std::fs::create_dir(directory).expect("our own directory");
    }
    std::fs::write(kept.join("file"), "before\n").expect("our own file");
    let one = format!("{}:/mnt/shared", shared.display());
    let two = format!("{}:/mnt/kept:ro", kept.display());
    // What is hidden from containers is hidden from machines.
    let script = "test -s /etc/passwd && ls -A /home && uname -r && cat > /mnt/shared/typed && \
                  cat /mnt/kept/file && ! echo x 2>/dev/null > /mnt/kept/file && kill -TERM $$";
    let words = ["vm", "run", "--accel", "tcg", "-i", "-v", &one, "-v", &two, "host", "sh", "-c", script];
    // More than is under way at once.
    let input = "0123456789abcde\n".repeat(20_000);
    let output = world.call(words).stdin(input.clone()).patience(PATIENCE).run().exits(128 + 15);
    let own = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("its release");
    let out = output.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[0] != own.trim() && lines[1] == "before", "{out}");
    assert!(std::fs::read_to_string(shared.join("typed")).expect("what was typed") == input);
    assert_eq!(std::fs::read_to_string(kept.join("file")).expect("our own file"), "before\n");
    world.finish();
}

#[test]
fn a_terminal_has_a_size_and_signals_reach_the_command() {
    let world = World::new();
    let words = ["vm", "run", "--accel", "tcg", "-it", "host", "bash", "--norc", "--noprofile"];
    let mut pty = world.call(words).patience(PATIENCE).pty(31, 97);
    pty.until("# ");
    pty.type_in("stty size; echo done$((1+1))\n");
    assert!(pty.until("done2").contains("31 97"));
    pty.resize(22, 88);
    pty.type_in("until stty size | grep -x '22 88'; do :; done; echo resized$((1+1))\n");
    pty.until("resized2");
    pty.type_in("sleep 1000\n\x03echo $?; exit 5\n");
    pty.wait().exits(5);

    let script = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.1; done";
    let running =
        world.call(["vm", "run", "--accel", "tcg", "host", "sh", "-c", script]).patience(PATIENCE).spawn();
    running.until("ready");
    running.signal(10);
    assert_eq!(running.wait().exits(9).out(), "ready\ncaught\n");
    world.finish();
}

#[test]
fn nothing_is_left_of_a_machine_whose_command_was_killed() {
    let world = World::new();
    // The world's name is among QEMU's arguments: the kernel lies in its directory.
    let release = std::fs::read_dir("/boot").expect("/boot").flatten();
    let release = release.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("vmlinuz-"));
    let kernel = world.directory().join("kernel");
    std::fs::copy(release.expect("a kernel: cargo xtask setup"), &kernel).expect("a copy");
    let kernel = kernel.to_str().expect("text");
    let words =
        ["vm", "run", "--accel", "tcg", "--name", "killed", "--kernel", kernel, "host", "sleep", "1000"];
    let running = world.call(words).patience(PATIENCE).spawn();
    until("QEMU runs", || !serving(&world).is_empty());
    assert!(serving(&world)[0].contains("-name guest=killed "), "{:?}", serving(&world));
    running.signal(9);
    until("QEMU is gone", || serving(&world).is_empty());
    running.wait();
    world.finish();
}

/// The least memory that is taken boots an image; the network leads to the host and no further in; a name is QEMU's.
#[test]
fn a_small_machine_reaches_its_host() {
    let world = World::new();
    let image = image(&world);
    let server = world.inside_path();
    let server = world.program([server.to_str().expect("text"), "who", "7000"]).spawn();
    server.until("listening");
    let script = "ip -4 addr show eth0 | grep -o 'inet [0-9.]*'; cat /etc/resolv.conf; hostname; \
                  echo asked | nc 10.0.2.2 7000";
    let words = [
        "--memory",
        "128m",
        "--network",
        "user",
        "--name",
        "tiny",
        "--rm",
        "-u",
        "0",
        image,
        "sh",
        "-c",
        script,
    ];
    let out = boot(&world, &words).ok().out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["inet 10.0.2.15", "nameserver 10.0.2.3", "tiny"], "{out}");
    assert!(lines[3].ends_with(" 127.0.0.1 asked"), "{out}");
    server.signal(9);
    world.finish();
}

/// On a host that lacks something, one line tells it with the package, and nothing is left.
#[test]
fn broken_ground_is_told_with_the_way_out() {
    let world = World::new();
    let image = image(&world);
    let root = world.root().to_str().expect("text").to_owned();
    let daemons = "for file in /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd; do \
                   if [ -e $file ]; then mount --bind /dev/null $file; fi; done";
    let full = format!("mkdir -p {root}/machines; mount -t tmpfs -o size=1m none {root}/machines");
    let cases: [(&str, &[&str], &[&str], &str); 5] = [
        (
            "mount -t tmpfs none /boot",
            &["host"],
            &["/boot", "no kernel with modules"],
            "linux-image-cloud-amd64",
        ),
        (
            "mount -t tmpfs none /lib/modules",
            &["host"],
            &["/boot", "/lib/modules"],
            "linux-image-cloud-amd64",
        ),
        (daemons, &["host"], &["virtiofsd", "is not installed"], "virtiofsd"),
        (daemons, &["-v", "/srv:/srv", image], &["virtiofsd", "is not installed"], "virtiofsd"),
        (&full, &[image], &["machines"], "--root"),
    ];
    for (how, words, told, hint) in cases {
        let script = format!("set -e; {how}; exec \"$@\"");
        let call = world.call([&["vm", "run", "--accel", "tcg"], words, &["true"]].concat());
        let output = call.through(&["unshare", "--mount", "sh", "-c", &script, "sh"]).run();
        output.refuses(125, told).hints(hint);
    }
    // An image needs no daemon.
    let call = world.call(["vm", "run", "--accel", "tcg", image, "true"]).patience(PATIENCE);
    let script = format!("set -e; {daemons}; exec \"$@\"");
    call.through(&["unshare", "--mount", "sh", "-c", &script, "sh"]).run().ok();
    let half = |root: &Path| {
        let all = std::fs::read_dir(root.join("machines")).into_iter().flatten().flatten();
        all.filter(|entry| !entry.path().join("disk").is_file()).count()
    };
    assert_eq!(half(&world.root()), 0);
    world.finish();
}

#[test]
fn what_is_missing_or_cannot_be_is_told_before_anything_is_made() {
    let world = World::new();
    let refused = |words: &[&str], told: &[&str]| {
        world.call([&["vm", "run"], words].concat()).run().refuses(125, told);
    };
    refused(&["--memory", "1m", "host"], &["--memory", "128m"]);
    refused(&["--cpus", "1.5", "host"], &["--cpus"]);
    refused(&["--accel", "xen", "host"], &["--accel", "kvm, tcg and auto"]);
    refused(&["--network", "bridge", "host"], &["--network", "user"]);
    refused(&["--disk-size", "1k", "host"], &["--disk-size", "16m"]);
    refused(&["--kernel", "/etc/passwd", "host"], &["/etc/passwd", "no kernel"]);
    refused(&["--kernel", "/no/such", "host"], &["/no/such", "no such file"]);
    refused(&["--pull", "never", "no/such:image"], &["no/such:image"]);
    refused(&["-v", "/no/such:/x", "host"], &["/no/such"]);
    refused(&["-v", "volume:/x", "host"], &["directories of the host"]);
    refused(&["--timings", "/no/such/file", "host"], &["/no/such"]);
    refused(&["--name", "-x", "host"], &["--name"]);
    refused(&["--rm=false", "host"], &["--rm", "nothing of a machine is kept"]);
    refused(&[], &["needs an image"]);
    let empty = world.directory().join("empty");
    std::fs::create_dir(&empty).expect("our own directory");
    let output = world.call(["vm", "run", "host"]).env("PATH", empty.to_str().expect("text")).run();
    output.refuses(125, &["qemu-system-x86_64", "not installed"]).hints("qemu-system-x86");
    let disks = |root: &Path| std::fs::read_dir(root.join("machines")).into_iter().flatten().count();
    assert_eq!(disks(&world.root()), 0);
    world.finish();
}
