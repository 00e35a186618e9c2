//! Known ways out of a container, tried: leaked descriptors, the engine's own binary, hostile links in the image.

use std::fs;
use std::path::{Path, PathBuf};

use minidocker_tests::{Rootfs, World};
use serde_json::Value;

use crate::shell;

/// Runs through a caller that has descriptors of the host open, a directory among them.
const LEAKY: [&str; 4] = ["bash", "-c", "exec 7</etc 8</etc/passwd 9</ 100</; exec \"$@\"", "bash"];

fn run<'a>(root: &'a str, options: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["run", "--rm", "--rootfs", root];
    words.extend(options);
    words.extend(command);
    words
}

#[test]
fn no_descriptor_of_the_caller_gets_in() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for options in [&[][..], &["-i"], &["--init"]] {
        let facts = world.call(run(&root, options, &["/inside", "facts"])).through(&LEAKY).run().json();
        let fds = facts["fds"].as_object().unwrap();
        assert_eq!(fds.keys().collect::<Vec<_>>(), ["0", "1", "2"], "{options:?}: {fds:?}");
        for (number, target) in fds {
            let target = target.as_str().unwrap();
            assert!(target.starts_with("pipe:") || target == "/dev/null", "{number} is {target}");
        }
    }
}

/// CVE-2024-21626: a working directory of /proc/self/fd/N was a directory of the host.
#[test]
fn no_working_directory_is_the_hosts() {
    let world = World::new();
    fs::write(world.directory().join("outside"), "of the host").unwrap();
    let root = world.rootfs_inside().overlay();
    let back = format!("../../../../../../..{}", world.directory().join("outside").display());
    for number in 3..24 {
        let directory = format!("/proc/self/fd/{number}");
        let output =
            world.call(run(&root, &["-w", &directory], &["/inside", "read", &back])).through(&LEAKY).run();
        assert_ne!(output.code, 0, "out by {directory}: {output:?}");
        let facts = world.call(run(&root, &["-w", &directory], &["/inside", "facts"])).through(&LEAKY).run();
        if facts.code == 0 {
            let facts: Value = serde_json::from_slice(&facts.stdout).unwrap();
            let cwd = facts["cwd"].as_str().unwrap_or("(none)");
            assert!(cwd.starts_with('/') && !cwd.contains("unreachable"), "{directory} is {cwd}");
        }
    }
    // The same by a link in the image.
    let root = world.rootfs_inside();
    root.link("out", "/proc/self/fd/9");
    let overlay = root.overlay();
    let output =
        world.call(run(&overlay, &["-w", "/out"], &["/inside", "read", &back])).through(&LEAKY).run();
    assert_ne!(output.code, 0, "{output:?}");
}

/// CVE-2019-5736: a container overwrote the engine's binary through /proc/self/exe.
#[test]
fn the_engines_binary_is_out_of_reach() {
    let world = World::new();
    let root = world.rootfs_busybox();
    root.script("evil", "#!/proc/self/exe\n");
    let overlay = root.overlay();
    let before = fs::read(world.minidocker_path()).unwrap();
    for options in [&[][..], &["--init"]] {
        for program in ["/proc/self/exe", "/evil"] {
            let output = world.minidocker(run(&overlay, options, &[program, "version"]));
            assert!(matches!(output.code, 126 | 127), "{options:?} {program}: {output:?}");
            assert!(!output.out().contains("minidocker"), "it ran: {output:?}");
        }
        // PID 1's binary: the program itself, or with --init a small one that is no file of the host.
        let script = "wc -c < /proc/1/exe; stat -L -c %d:%i /proc/1/exe; /inside try open-rw /proc/1/exe";
        let text = shell(&world, &root, options, script);
        let lines: Vec<&str> = text.lines().collect();
        assert_ne!(lines[0], before.len().to_string(), "{options:?}: as large as minidocker");
        use std::os::unix::fs::MetadataExt;
        let own = fs::metadata(world.minidocker_path()).unwrap();
        assert_ne!(lines[1], format!("{}:{}", own.dev(), own.ino()));
        assert_ne!((lines[2], options), ("ok", &["--init"][..]), "a sealed file");
    }
    assert!(fs::read(world.minidocker_path()).unwrap() == before, "the binary was changed");
}

/// A root in which `name` is a link to `target`, and the directory of the host that it is to reach.
fn hostile(world: &World, name: &str, absolute: bool) -> (Rootfs, PathBuf) {
    let outside = world.directory().join("outside");
    fs::create_dir_all(&outside).unwrap();
    let root = world.rootfs_busybox();
    let _ = fs::remove_dir_all(root.path().join(name));
    root.link(name, if absolute { outside.to_str().unwrap() } else { "../outside" });
    (root, outside)
}

#[test]
fn links_in_the_place_of_directories_lead_nowhere() {
    let world = World::new();
    for name in ["proc", "dev", "sys", "etc"] {
        for absolute in [true, false] {
            let (root, outside) = hostile(&world, name, absolute);
            for mode in [root.plain(), root.overlay()] {
                let output = world.minidocker(run(&mode, &[], &["true"]));
                if name == "etc" {
                    // As Docker: the link is followed as the container would, and what is missing is made there.
                    output.ok();
                } else {
                    let output = output.refuses(125, &["symbolic link", name]);
                    assert!(output.err().contains("hint: "), "{output:?}");
                }
                let found: Vec<_> = fs::read_dir(&outside).unwrap().collect();
                assert!(found.is_empty(), "{name} led out of the root: {found:?}");
            }
        }
    }
    // A link within the image is none of these: an Ubuntu's resolv.conf leads to a file that only its init makes.
    let root = world.rootfs_busybox();
    root.link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
    root.directory("names");
    root.link("etc/hosts", "../../../../../../names/hosts");
    let text = shell(&world, &root, &["--hostname", "linked"], "cat /etc/hosts; wc -l < /etc/resolv.conf");
    assert!(text.contains("linked"), "{text}");
    assert!(!Path::new("/names").exists() && !Path::new("/run/systemd/resolve/stub-resolv.conf").exists());
}

#[test]
fn a_volume_never_lands_outside() {
    let world = World::new();
    let source = world.directory().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "").unwrap();
    for absolute in [true, false] {
        let (root, outside) = hostile(&world, "way", absolute);
        for target in ["/way", "/way/in", "/way/../../in", "/../../../way/in"] {
            let volume = format!("{}:{target}", source.display());
            let output = world.minidocker(run(
                &root.plain(),
                &["-v", &volume],
                &["find", "/", "-name", "file", "-xdev"],
            ));
            assert!(matches!(output.code, 0 | 125), "{output:?}");
            let found: Vec<_> = fs::read_dir(&outside).unwrap().collect();
            assert!(found.is_empty(), "-v …:{target} led out: {found:?}");
            assert!(!world.directory().join("in").exists() && !Path::new("/in").exists());
        }
    }
    // CVE-2019-16884, CVE-2019-19921: a volume over /proc, or by a link into it, could fake what the engine writes there.
    let root = world.rootfs_busybox();
    root.link("p", "/proc");
    for target in ["/proc", "/proc/self", "/proc/self/attr", "/p/self", "/p", "/sys/../proc"] {
        let volume = format!("{}:{target}", source.display());
        let output = world.minidocker(run(&root.overlay(), &["-v", &volume], &["true"]));
        output.refuses(125, &["/proc"]);
    }
}

/// Directories that become links while minidocker builds on them (CVE-2021-30465): a neighbour with the same volume
/// swaps them as fast as it can.
#[test]
fn a_race_for_the_volumes_target_is_lost() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let arena = root.directory("arena");
    root.directory("arena/real");
    let outside = world.directory().join("outside");
    fs::create_dir(&outside).unwrap();
    let source = world.directory().join("source");
    fs::create_dir(&source).unwrap();
    std::os::unix::fs::symlink(&outside, arena.join("link")).unwrap();
    let swap = format!(
        "cd {} && while :; do mv -T real x; mv -T link real; mv -T real link; mv -T x real; done",
        arena.display()
    );
    let swapper = world.program(["bash", "-c", &swap]).spawn();
    let volume = format!("{}:/arena/real/deep/down", source.display());
    for _ in 0..25 {
        let output = world.minidocker(run(&root.plain(), &["-v", &volume], &["true"]));
        assert!(matches!(output.code, 0 | 125), "{output:?}");
        let found: Vec<_> = fs::read_dir(&outside).unwrap().collect();
        assert!(found.is_empty(), "led out: {found:?}");
    }
    swapper.signal(9);
    drop(swapper);
}
