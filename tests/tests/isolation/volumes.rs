//! Volumes: binds of directories and files, read-only in two strengths, propagation, tmpfs, a read-only root.

use std::fs;
use std::path::{Path, PathBuf};

use minidocker_tests::{World, until};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};

use crate::shell;

/// A tmpfs on a directory of the world, gone when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("our own directory");
        mount("test", &path, "tmpfs", MountFlags::empty(), None).expect("a tmpfs");
        Self(path)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn directory(world: &World, name: &str) -> PathBuf {
    let path = world.directory().join(name);
    fs::create_dir_all(&path).expect("our own directory");
    path
}

fn volume(source: &Path, rest: &str) -> String {
    format!("{}:{rest}", source.display())
}

#[test]
fn a_directory_a_file_and_a_missing_source() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let source = directory(&world, "data");
    fs::write(source.join("in"), "from outside").unwrap();
    let file = source.join("in");
    let missing = world.directory().join("made/by/v");
    let volumes = [volume(&source, "/deep/down/data"), volume(&file, "/etc/file"), volume(&missing, "/made")];
    let options = ["-v", &volumes[0], "-v", &volumes[1], "-v", &volumes[2]];
    let script = "cat /deep/down/data/in /etc/file; echo from inside > /deep/down/data/out; touch /made/x";
    assert_eq!(shell(&world, &root, &options, script), "from outsidefrom outside");
    assert_eq!(fs::read_to_string(source.join("out")).unwrap(), "from inside\n");
    assert!(missing.join("x").exists());
    // --mount does not make it.
    let option = format!("type=bind,src={},dst=/x", world.directory().join("none").display());
    let words = ["run", "--rm", "--mount", &option, "--rootfs", &root.overlay(), "true"];
    world.minidocker(words).refuses(125, &["none", "does not exist"]);
    assert!(!world.directory().join("none").exists());
    let words = ["run", "--rm", "-v", &volume(&source, "relative"), "--rootfs", &root.overlay(), "true"];
    world.minidocker(words).refuses(125, &["relative"]);
}

#[test]
fn read_only_in_two_strengths() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let source = directory(&world, "data");
    let below = Tmpfs::new(source.join("below"));
    let script = "exec 2>/dev/null; touch /m/x && echo top; touch /m/below/x && echo below; true";
    // Docker since 25: ro is read-only all the way down where the kernel can; minidocker keeps ro to the one mount.
    let weak = shell(&world, &root, &["-v", &volume(&source, "/m:ro")], script);
    assert!(!weak.contains("top"), "{weak}");
    assert_eq!(shell(&world, &root, &["-v", &volume(&source, "/m:rro")], script), "");
    assert_eq!(shell(&world, &root, &["-v", &volume(&source, "/m")], script), "top\nbelow");
    let option = format!("type=bind,src={},dst=/m,readonly", source.display());
    let text = shell(&world, &root, &["--mount", &option], script);
    assert!(!text.contains("top"), "{text}");
    // Not even the strongest of roots gets it back without leaving its namespace.
    let again = "mount -o remount,rw /m 2>/dev/null; touch /m/y 2>/dev/null || echo no";
    assert_eq!(shell(&world, &root, &["-v", &volume(&source, "/m:ro")], again), "no");
    drop(below);
}

#[test]
fn mounts_of_the_host_come_through_where_asked() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let shared = Tmpfs::new(directory(&world, "shared"));
    mount_change(&shared.0, MountPropagationFlags::SHARED).unwrap();
    fs::create_dir(shared.0.join("later")).unwrap();
    let start = |options: &str| {
        let volume = volume(&shared.0, &format!("/m{options}"));
        let words = ["run", "--rm", "-i", "-v", &volume, "--rootfs", &root.overlay(), "sh"];
        let running = world.call(words).stdin_open().spawn();
        let mut running = running;
        running.type_in(b"echo ready\n");
        running.until("ready");
        running
    };
    let (mut private, mut slave) = (start(""), start(":rslave"));
    let later = Tmpfs::new(shared.0.join("later"));
    fs::write(later.0.join("file"), "").unwrap();
    for shell in [&mut private, &mut slave] {
        shell.type_in(b"echo \"<$(ls /m/later)>\"\n");
    }
    private.until("<>");
    slave.until("<file>");
    for mut shell in [private, slave] {
        shell.end_input();
        shell.wait().ok();
    }
    drop(later);
}

#[test]
fn mounts_of_the_container_reach_the_host_with_rshared_alone() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let shared = Tmpfs::new(directory(&world, "shared"));
    mount_change(&shared.0, MountPropagationFlags::SHARED).unwrap();
    fs::create_dir(shared.0.join("below")).unwrap();
    let script = "mount -t tmpfs x /m/below && touch /m/below/of-the-container && echo done";
    let seen = || shared.0.join("below/of-the-container").exists();
    for (options, reaches) in [("", false), (":rslave", false), (":rshared", true)] {
        let volume = volume(&shared.0, &format!("/m{options}"));
        assert_eq!(
            shell(&world, &root, &["--cap-add", "SYS_ADMIN", "-v", &volume], script),
            "done",
            "{options}"
        );
        assert_eq!(seen(), reaches, "/m{options}");
    }
    unmount(shared.0.join("below"), UnmountFlags::DETACH).unwrap();
    // Docker's rule: a mount that is not shared on the host cannot be in the container.
    let plain = directory(&world, "plain");
    let words = ["run", "--rm", "-v", &volume(&plain, "/m:rshared"), "--rootfs", &root.overlay(), "true"];
    world.minidocker(words).refuses(125, &["plain", "shared"]);
}

#[test]
fn memory_file_systems_and_a_read_only_root() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let options = ["--read-only", "--tmpfs", "/run", "--tmpfs", "/cache:size=1m,mode=700,exec"];
    let script = "exec 2>/dev/null; touch /x || echo no-x; touch /tmp/x || echo no-tmp; touch /run/x && echo run; \
        stat -c %a /cache; head -c 2000000 /dev/zero > /cache/x || echo full; grep -c ' /cache rw,nosuid,nodev,relatime ' \
        /proc/self/mountinfo; grep -c ' /run rw,nosuid,nodev,noexec,relatime ' /proc/self/mountinfo; \
        touch /dev/x || echo no-dev; echo x > /etc/hosts && echo hosts";
    let text = shell(&world, &root, &options, script);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..7], ["no-x", "no-tmp", "run", "700", "full", "1", "1"], "{text}");
    let option = "type=tmpfs,dst=/m,tmpfs-size=2m,tmpfs-mode=1770";
    let text = shell(&world, &root, &["--mount", option], "stat -c %a /m; df -k /m | tail -1");
    assert!(text.starts_with("1770") && text.contains(" 2048 "), "{text}");
    // The image's own content stays below it, untouched.
    root.file("data/file", "x");
    assert_eq!(shell(&world, &root, &["--tmpfs", "/data"], "ls -A /data"), "");
    assert!(root.path().join("data/file").exists());
}

#[test]
fn what_is_written_stays_with_a_plain_directory_and_goes_with_an_overlay() {
    let world = World::new();
    let root = world.rootfs_busybox();
    shell(&world, &root, &[], "echo x > /new; rm /etc/passwd; chmod 700 /bin");
    assert!(!root.path().join("new").exists());
    assert!(root.path().join("etc/passwd").exists());
    world
        .minidocker(["run", "--rm", "--rootfs", &root.plain(), "sh", "-c", "echo x > /new; rm /etc/group"])
        .ok();
    until("the file is there", || root.path().join("new").exists());
    assert!(!root.path().join("etc/group").exists());
}
