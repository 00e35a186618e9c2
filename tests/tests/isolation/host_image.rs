//! The image `host`: the machine's programs without its secrets, and nothing on the host changes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use minidocker_tests::World;

/// What is known of a file without reading it; the change time tells of every change to it.
type Traits = (u32, u64, u64, i64, i64);

fn list(directory: &Path, into: &mut BTreeMap<PathBuf, Traits>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        into.insert(entry.path(), (meta.mode(), meta.size(), meta.ino(), meta.ctime(), meta.ctime_nsec()));
        if meta.is_dir() {
            list(&entry.path(), into);
        }
    }
}

fn listing() -> BTreeMap<PathBuf, Traits> {
    let mut all = BTreeMap::new();
    for directory in
        ["/etc", "/usr/bin", "/usr/sbin", "/usr/lib/os-release", "/opt", "/srv", "/boot", "/var/lib/dpkg"]
    {
        list(Path::new(directory), &mut all);
    }
    all
}

#[track_caller]
fn bash(world: &World, options: &[&str], script: &str) -> String {
    let words = ["run", "--rm"].into_iter().chain(options.iter().copied());
    world.minidocker(words.chain(["host", "bash", "-c", script])).text()
}

#[test]
fn private_places_are_empty() {
    let world = World::new();
    for directory in ["/root", "/home", "/tmp", "/run", "/var/tmp", "/var/log", "/mnt", "/media", "/srv"] {
        if Path::new(directory).is_dir() {
            assert_eq!(bash(&world, &[], &format!("ls -A {directory}")), "", "{directory}");
        }
    }
    let caller = std::env::var("HOME").unwrap_or_default();
    if Path::new(&caller).is_dir() && caller != "/" {
        assert_eq!(
            bash(&world, &[], &format!("ls -A '{caller}' 2>/dev/null; true")),
            "",
            "the caller's home"
        );
    }
    // The state of this and of a default minidocker: other containers' files are in it.
    for path in [world.root(), world.run_root(), "/var/lib/minidocker".into(), "/run/minidocker".into()] {
        let text = bash(&world, &[], &format!("ls -A {} 2>/dev/null; true", path.display()));
        assert_eq!(text, "", "{}", path.display());
    }
    // Wherever the state is: a place that is not hidden for another reason.
    let place = PathBuf::from(format!("/opt/minidocker-test-{}", std::process::id()));
    let words = ["--root", place.to_str().unwrap(), "run", "--rm", "host", "bash", "-c"];
    let script = format!("ls -A {} 2>/dev/null; true", place.display());
    let output = world.minidocker(words.into_iter().chain([script.as_str()]));
    let _ = fs::remove_dir_all(&place);
    assert_eq!(output.text(), "");
}

#[test]
fn other_directories_of_the_root_are_not_there() {
    let world = World::new();
    // hier(7), and what is known to be none of the private ones.
    let known = [
        "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "libo32", "media", "mnt", "opt",
        "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
    ];
    let place = PathBuf::from(format!("/minidocker-test-{}", std::process::id()));
    fs::create_dir(&place).unwrap();
    let text = world.minidocker(["run", "--rm", "host", "ls", "-A", "/"]);
    fs::remove_dir(&place).unwrap();
    let text = text.text();
    let unknown: Vec<&str> = text.lines().filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(["bin", "usr", "etc", "var"].iter().all(|name| text.lines().any(|line| line == *name)), "{text}");
}

#[test]
fn no_secret_can_be_read() {
    let world = World::new();
    let shadow = bash(&world, &[], "cat /etc/shadow /etc/gshadow");
    assert!(shadow.lines().count() > 10, "the users are there: {shadow}");
    for line in shadow.lines() {
        let secret = line.split(':').nth(1).unwrap_or_default();
        assert!(matches!(secret, "*" | "!" | "!*" | "!!" | ""), "a hash: {line}");
        assert_ne!(secret, "", "a user without a password: {line}");
    }
    let script = "cat /etc/shadow- /etc/gshadow- /etc/passwd- /etc/security/opasswd /etc/ssh/ssh_host_*_key \
        /etc/ssl/private/* /etc/machine-id 2>/dev/null; true";
    assert_eq!(bash(&world, &[], script), "");
    assert_eq!(bash(&world, &[], "stat -c '%a %U' /etc/shadow"), "640 root");
}

#[test]
fn programs_of_the_host_work() {
    let world = World::new();
    let text = bash(&world, &[], "dpkg -l | wc -l; id -un; perl -e 'print 6*7'; ls /usr/bin | wc -l");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].parse::<u32>().unwrap() > 50, "{text}");
    assert_eq!(lines[1], "root");
    assert!(lines[2].starts_with("42"), "{text}");
    assert_eq!(
        bash(&world, &[], "touch /root/x /tmp/x /run/x /home/x /var/log/x && echo writable"),
        "writable"
    );
}

#[test]
fn nothing_on_the_host_changes() {
    let world = World::new();
    let before = listing();
    let script = "rm -rf /usr/bin/[a-q]* /etc /var/lib/dpkg /opt 2>/dev/null; mkdir -p /etc /opt/new; \
        echo x > /etc/new; echo x > /usr/sbin/new; echo x >> /usr/bin/zgrep; chmod 000 /usr/sbin; \
        mv /usr/bin/xargs /usr/bin/yargs; chown 1000 /usr/bin/yes; ln -f /usr/bin/yes /usr/bin/hard; \
        test -e /usr/bin/bash || echo damaged";
    assert_eq!(bash(&world, &[], script), "damaged");
    let after = listing();
    let changed: Vec<_> = before
        .iter()
        .filter(|(path, traits)| after.get(*path) != Some(traits))
        .map(|(path, _)| path)
        .chain(after.keys().filter(|path| !before.contains_key(*path)))
        .collect();
    assert!(changed.is_empty(), "changed on the host: {changed:?}");
    // The next container starts from the host's files again.
    assert_eq!(bash(&world, &[], "test -e /usr/bin/cat && test ! -e /etc/new && echo whole"), "whole");
}

#[test]
fn its_options_hold_too() {
    let world = World::new();
    let options =
        ["--read-only", "--hostname", "administrator", "-w", "/usr", "-e", "A=b c", "--tmpfs", "/tmp"];
    let script = "hostname; pwd; echo $A; touch /x 2>/dev/null || echo ro; touch /tmp/x && echo tmp";
    assert_eq!(bash(&world, &options, script), "administrator\n/usr\nb c\nro\ntmp");
    assert_eq!(
        bash(&world, &["-u", "nobody"], "id -un; cat /etc/shadow 2>/dev/null || echo denied"),
        "nobody\ndenied"
    );
}
