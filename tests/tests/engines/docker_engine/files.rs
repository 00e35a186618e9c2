//! Root file system, volumes, devices.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Docker, IMAGE};
use crate::lines;

#[track_caller]
fn mount<'f>(facts: &'f Value, target: &str) -> &'f Value {
    let mounts = facts["mounts"].as_array().expect("a list");
    let found = mounts.iter().find(|mount| mount["target"] == target);
    found.unwrap_or_else(|| panic!("nothing is mounted on {target}: {mounts:#?}"))
}

#[track_caller]
fn has_options(mount: &Value, options: &[&str]) {
    let all = mount["options"].as_array().expect("a list");
    for option in options {
        assert!(all.iter().any(|other| other == option), "`{option}` is not in {mount}");
    }
}

#[test]
fn a_root_is_written_or_not_as_asked() {
    let docker = Docker::new();
    docker.run(&[IMAGE, "/inside", "try", "create", "/new"]).prints("ok\n");
    docker.run(&["--read-only", IMAGE, "/inside", "try", "create", "/new"]).prints("EROFS\n");
    let options = ["--read-only", "--tmpfs", "/t:size=1m,mode=0700,noexec"];
    let facts = docker.facts(&options);
    has_options(mount(&facts, "/"), &["ro"]);
    let tmpfs = mount(&facts, "/t");
    has_options(tmpfs, &["rw", "nosuid", "nodev", "noexec"]);
    assert!(tmpfs["super"].to_string().contains("size=1024k"), "{tmpfs}");
    docker.run(&[&options[..], &[IMAGE, "/inside", "try", "create", "/t/new"]].concat()).prints("ok\n");
    let facts = docker.facts(&["--shm-size", "2m"]);
    assert!(mount(&facts, "/dev/shm")["super"].to_string().contains("size=2048k"));
}

#[test]
fn volumes_are_shared_with_the_host_and_with_the_next_container() {
    let docker = Docker::new();
    let directory = docker.host.path("shared");
    fs::create_dir(&directory).expect("our own directory");
    let (writable, read_only) = (format!("{directory}:/data"), format!("{directory}:/data:ro"));
    docker.run(&["-v", &writable, IMAGE, "/inside", "write", "/data/file", "words"]).prints("");
    assert_eq!(fs::read_to_string(docker.host.path("shared/file")).expect("its file"), "words");
    docker.run(&["-v", &read_only, IMAGE, "/inside", "read", "/data/file"]).prints("words");
    docker.run(&["-v", &read_only, IMAGE, "/inside", "try", "create", "/data/new"]).prints("EROFS\n");
    docker.docker(["volume", "create", "kept"]).ok();
    docker.run(&["-v", "kept:/v", IMAGE, "/inside", "write", "/v/file", "kept"]).prints("");
    docker.run(&["-v", "kept:/v", IMAGE, "/inside", "read", "/v/file"]).prints("kept");
    // One file, over a file of the image.
    let file = docker.host.path("shared/file");
    let options = format!("type=bind,source={file},target=/etc/passwd,readonly");
    docker.run(&["--mount", &options, IMAGE, "/inside", "read", "/etc/passwd"]).prints("words");
    // What is mounted on the host later comes in through a shared mount alone.
    let bind =
        |propagation: &str| format!("type=bind,source={directory},target=/d,bind-propagation={propagation}");
    docker.host.shell(&format!("mount --bind {directory} {directory} && mount --make-rshared {directory}"));
    docker.detached(&["--name", "slave", "--mount", &bind("rslave"), IMAGE, "/inside", "pause"]);
    docker.detached(&["--name", "private", "--mount", &bind("rprivate"), IMAGE, "/inside", "pause"]);
    docker.host.shell(&format!(
        "mkdir {directory}/later && mount -t tmpfs none {directory}/later && touch {directory}/later/file"
    ));
    docker.docker(["exec", "slave", "/inside", "try", "open", "/d/later/file"]).prints("ok\n");
    docker.docker(["exec", "private", "/inside", "try", "open", "/d/later/file"]).prints("ENOENT\n");
    docker.host.shell(&format!("umount {directory}/later && umount {directory}"));
}

#[test]
fn the_kernels_files_are_masked_and_guarded() {
    let docker = Docker::new();
    docker.run(&[IMAGE, "/inside", "read", "/proc/keys"]).prints("");
    docker.run(&[IMAGE, "/inside", "try", "open-rw", "/proc/sys/kernel/hostname"]).prints("EROFS\n");
    let facts = docker.facts(&["--sysctl", "net.ipv4.ip_unprivileged_port_start=0"]);
    has_options(mount(&facts, "/sys"), &["ro", "nosuid", "nodev", "noexec"]);
    has_options(mount(&facts, "/proc/sys"), &["ro"]);
    let masked = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"];
    let here: Vec<&str> = masked.into_iter().filter(|path| Path::new(path).exists()).collect();
    assert!(here.len() > 1, "this kernel has only {here:?} of what is masked");
    for path in here {
        mount(&facts, path);
    }
    let words = [IMAGE, "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"];
    docker.run(&[&["--sysctl", "net.ipv4.ip_unprivileged_port_start=0"], &words[..]].concat()).prints("0\n");
}

#[test]
fn only_allowed_devices_open() {
    let docker = Docker::new();
    // Made, but not opened: 1:1 is /dev/mem.
    let script = "mknod /mem c 1 1 && /inside try open /mem";
    docker.run(&[IMAGE, "sh", "-c", script]).prints("EPERM\n");
    // 10:229 is /dev/fuse, which is not among Docker's.
    let device = ["--device", "/dev/fuse:/dev/mine:r"];
    docker.run(&[&device[..], &[IMAGE, "/inside", "try", "open", "/dev/mine"]].concat()).prints("ok\n");
    docker.run(&[&device[..], &[IMAGE, "/inside", "try", "open-rw", "/dev/mine"]].concat()).prints("EPERM\n");
    let facts = docker.facts(&device);
    assert_eq!((&facts["dev"]["mine"]["major"], &facts["dev"]["mine"]["minor"]), (&10.into(), &229.into()));
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert_eq!(facts["dev"][name]["mode"], "0666", "/dev/{name}");
    }
}

#[test]
fn files_are_copied_in_and_out_and_changes_are_told() {
    let docker = Docker::new();
    let id = docker.detached(&[IMAGE, "/inside", "pause"]);
    let file = docker.host.file("copied", "copied words");
    docker.docker(["cp", &file, &format!("{id}:/tmp/in")]).ok();
    docker.docker(["exec", &id, "/inside", "read", "/tmp/in"]).prints("copied words");
    docker.docker(["exec", &id, "/inside", "write", "/tmp/out", "answer"]).prints("");
    docker.docker(["cp", &format!("{id}:/tmp/out"), &docker.host.path("out")]).ok();
    assert_eq!(fs::read_to_string(docker.host.path("out")).expect("its file"), "answer");
    let changes = docker.docker(["diff", &id]).text();
    let mut changes = lines(&changes);
    changes.sort_unstable();
    assert_eq!(changes, ["A /tmp/in", "A /tmp/out", "C /tmp"]);
}
