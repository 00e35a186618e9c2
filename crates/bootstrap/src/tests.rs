//! Templates as data, and the trees that they make. As root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("minidocker-bootstrap-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn inside(&self, words: &[&str]) -> String {
        let output =
            Command::new("chroot").arg(&self.0).args(words).env("PATH", "/usr/sbin:/usr/bin:/bin").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn names_are_found_and_unknown_ones_told() {
    for template in TEMPLATES {
        for name in template.aliases.iter().chain([&template.name]) {
            assert_eq!(find(name).unwrap(), template);
        }
        assert!(!template.command.is_empty());
    }
    let mut names: Vec<_> = TEMPLATES.iter().flat_map(|one| one.aliases.iter().chain([&one.name])).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "no name stands for two");
    let failure = find("fedora:40").unwrap_err();
    assert!(
        failure.hint.unwrap().contains("debian:bookworm, debian:trixie, ubuntu:jammy, ubuntu:noble, busybox")
    );
}

#[test]
fn a_busybox_that_runs() {
    let scratch = Scratch::new("busybox");
    let mut lines = Vec::new();
    let options = Options { epoch: Some(1_000_000_000), ..Options::default() };
    let template = find("busybox").unwrap();
    let suggested =
        bootstrap(template, &options, &scratch.0, &mut |line| lines.push(line.to_owned())).unwrap();
    assert_eq!((suggested.cmd, suggested.mirror), (vec!["sh".to_owned()], None));
    assert_eq!(lines, ["copying the host's busybox"]);
    assert_eq!(scratch.inside(&["/bin/sh", "-c", "echo $((6 * 7)); id -un; ls /tmp"]), "42\nroot\n");
    let newest = |path: &str| fs::symlink_metadata(scratch.0.join(path)).unwrap().mtime();
    assert_eq!(["", "bin", "bin/sh", "bin/busybox", "etc/passwd"].map(newest), [1_000_000_000; 5]);
    assert_eq!(fs::metadata(scratch.0.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    let again = bootstrap(template, &options, &scratch.0, &mut |_| {}).unwrap_err();
    assert!(again.to_string().ends_with("is not empty"), "{again}");
}

#[test]
fn a_static_program_is_told_from_others() {
    let busybox = tool::find("busybox").unwrap();
    assert!(busybox::is_static(&fs::read(busybox).unwrap()));
    assert!(!busybox::is_static(&fs::read("/bin/bash").unwrap()));
    assert!(!busybox::is_static(b"#!/bin/sh\n") && !busybox::is_static(b"\x7fELF\x02"));
}

#[test]
fn what_a_tool_says_last_is_the_failure() {
    let mut lines = Vec::new();
    let script = "echo I: one; echo 'E: no such place' >&2; echo W: two; mount -t tmpfs x /mnt; exit 3";
    let mut command = Command::new("sh");
    let failure =
        tool::run(command.args(["-c", script]), &mut |line| lines.push(line.to_owned())).unwrap_err();
    assert_eq!(failure.cause(), "failed: no such place");
    assert_eq!(lines, ["I: one", "E: no such place", "W: two"]);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("x /mnt tmpfs"), "its mounts are its own");
}

#[test]
fn an_archive_that_is_not_there_is_told_with_its_mirror() {
    let scratch = Scratch::new("nowhere");
    let options = Options { mirror: Some("file:///nowhere/debian".to_owned()), ..Options::default() };
    let failure = bootstrap(find("debian:bookworm").unwrap(), &options, &scratch.0, &mut |_| {}).unwrap_err();
    assert!(failure.target.ends_with("debootstrap"), "{failure}");
    assert!(failure.cause().contains("/nowhere/debian"), "{failure}");
}

/// Some 100 MB come from the mirror.
#[test]
#[ignore = "downloads a distribution: cargo test -p minidocker-bootstrap -- --ignored"]
fn a_debian_that_runs() {
    let scratch = Scratch::new("debian");
    let mut count = 0;
    let options = Options { epoch: Some(1_700_000_000), ..Options::default() };
    let suggested =
        bootstrap(find("debian:bookworm").unwrap(), &options, &scratch.0, &mut |_| count += 1).unwrap();
    assert!(suggested.env[0].starts_with("PATH=/usr/local/sbin:") && suggested.cmd == ["bash"]);
    assert!(count > 50, "{count} lines of progress");
    assert!(
        scratch.inside(&["/bin/bash", "-c", ". /etc/os-release; echo $VERSION_CODENAME"]) == "bookworm\n"
    );
    assert!(scratch.inside(&["/usr/bin/dpkg", "--audit"]).is_empty());
    let at = |path: &str| scratch.0.join(path);
    for gone in ["etc/hostname", "etc/resolv.conf", "var/log/dpkg.log", "var/lib/dpkg/status-old", "dev/null"]
    {
        assert!(!at(gone).exists(), "{gone}");
    }
    assert_eq!(fs::read_dir(at("var/lib/apt/lists")).unwrap().count(), 1, "partial alone");
    assert_eq!(fs::read(at("etc/machine-id")).unwrap_or_default(), b"");
    let sources = fs::read_to_string(at("etc/apt/sources.list")).unwrap();
    assert!(
        sources.contains(" bookworm main\n") && sources.contains(" bookworm-updates main\n"),
        "{sources}"
    );
    let newer = Command::new("find").arg(&scratch.0).args(["-newermt", "@1700000000"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&newer.stdout), "");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(scratch.0.to_str().unwrap()));
}
