//! The state root on a disk of its own that is full, or read-only: every command that writes ends with one clear line and
//! the way out, nothing is damaged, and all works again when there is room.

use std::fs;
use std::path::PathBuf;

use minidocker_tests::{Output, World, until};

/// A world whose state root is a small ext4 on a loop device.
struct Disk {
    world: World,
    root: String,
}

impl Disk {
    fn new() -> Self {
        let world = World::new();
        let image = world.directory().join("disk");
        let file = fs::File::create(&image).expect("our own file");
        file.set_len(48 << 20).expect("our own file");
        fs::create_dir(world.root()).expect("our own directory");
        let (image, at) = (image.to_str().expect("text"), world.root());
        world.program(["mkfs.ext4", "-q", "-F", "-m", "0", image]).run().ok();
        world.program(["mount", "-o", "loop", image, at.to_str().expect("text")]).run().ok();
        let root = world.rootfs_busybox().overlay();
        Self { world, root }
    }

    fn say(&self, words: &[&str]) -> Output {
        self.world.minidocker(words)
    }

    fn filler(&self) -> PathBuf {
        self.world.root().join("filler")
    }

    /// Takes every block; what is freed later too, if it is called again.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file =
            fs::OpenOptions::new().append(true).create(true).open(self.filler()).expect("room for a name");
        for size in [1 << 20, 4096, 512] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        let _ = file.sync_all();
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("our own file");
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let at = self.world.root();
        let words = ["mount", "-o", &options, at.to_str().expect("text")];
        // A monitor that has told its container's end may have a file open still.
        until("nobody writes", || self.world.program(words).run().err().is_empty());
    }

    /// A file of the host's that a full disk has no room for.
    fn big(&self) -> String {
        let path = self.world.directory().join("big");
        fs::write(&path, vec![1; 1 << 20]).expect("our own file");
        path.to_str().expect("text").to_owned()
    }

    fn names(&self) -> Vec<String> {
        let text = self.say(&["ps", "-a", "--format", "{{.Names}}"]).text();
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// All works again, and nothing is wrong.
    fn expect_well(&self) {
        self.say(&["system", "check"]).prints("nothing is wrong\n");
        self.say(&["run", "--rm", "--rootfs", &self.root, "echo", "well"]).prints("well\n");
        assert_eq!(self.say(&["start", "-a", "ended"]).text(), "printed");
        self.say(&["exec", "live", "sh", "-c", "echo new >/file"]).ok();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let at = self.world.root();
        if !std::thread::panicking() {
            let all = self.world.minidocker(["ps", "-aq"]).text();
            let all: Vec<&str> = all.lines().collect();
            if !all.is_empty() {
                self.world.minidocker([&["rm", "-f"], all.as_slice()].concat()).ok();
            }
        }
        let _ = self.world.program(["umount", "-l", at.to_str().expect("text")]).run();
    }
}

/// One line that names the cause, and a hint.
#[track_caller]
fn refused(output: Output, cause: &str) {
    let errors = output.err();
    let lines: Vec<&str> = errors.lines().collect();
    assert!(lines.len() <= 2 && lines[0].starts_with("error: "), "{output:?}");
    assert!(lines[0].contains(cause), "no `{cause}`: {output:?}");
    assert!(lines.get(1).is_some_and(|line| line.starts_with("hint: ")), "no way out: {output:?}");
}

/// Containers that are there before the disk is full: one that runs, one that has ended.
fn ground() -> Disk {
    let disk = Disk::new();
    let root = disk.root.clone();
    disk.world.detached([
        "--name",
        "live",
        "--rootfs",
        &root,
        "sh",
        "-c",
        "while :; do echo line; sleep 0.1; done",
    ]);
    disk.say(&["run", "--name", "ended", "--rootfs", &root, "echo", "printed"]).prints("printed\n");
    // Of an image.
    let tar = disk.world.directory().join("tar");
    let tar = tar.to_str().expect("text");
    disk.say(&["export", "-o", tar, "live"]).ok();
    disk.say(&["import", tar, "base"]).ok();
    disk.say(&["run", "--name", "made", "base", "sh", "-c", "echo x >/file"]).ok();
    let ids = disk.say(&["inspect", "-f", "{{.Id}}", "ended", "made"]).text();
    let run = disk.world.run_root().join("containers");
    until("their monitors are gone", || !ids.lines().any(|id| run.join(id).exists()));
    disk
}

/// The commands that need room, and must say that there is none.
fn in_need<'r>(root: &'r str, big: &'r str) -> Vec<Vec<&'r str>> {
    vec![
        vec!["create", "--name", "new", "--rootfs", root, "true"],
        vec!["run", "--name", "new", "--rootfs", root, "true"],
        vec!["run", "-d", "--name", "new", "--rootfs", root, "true"],
        vec!["start", "ended"],
        vec!["rename", "ended", "other"],
        vec!["update", "--restart", "always", "ended"],
        vec!["volume", "create", "data"],
        vec!["clone", "ended", "new"],
        vec!["commit", "made", "image"],
        vec!["cp", big, "live:/big"],
    ]
}

#[test]
fn a_full_disk() {
    let disk = ground();
    disk.fill();
    let before = disk.names();
    for words in in_need(&disk.root, &disk.big()) {
        refused(disk.say(&words), "no space left");
        assert_eq!(disk.names(), before, "{words:?}");
    }
    // What needs no room goes on.
    disk.say(&["exec", "live", "true"]).ok();
    disk.say(&["pause", "live"]).ok();
    disk.say(&["unpause", "live"]).ok();
    disk.say(&["logs", "ended"]).prints("printed\n");
    let events = disk.say(&["events", "--since", "1h", "--until", "0s"]).ok().out();
    assert!(events.contains(" container start "), "{events}");
    disk.say(&["system", "check"]).prints("nothing is wrong\n");
    disk.free();
    disk.expect_well();
}

#[test]
fn containers_go_from_a_full_disk() {
    let disk = ground();
    let root = disk.root.clone();
    for name in ["one", "two", "three"] {
        disk.say(&[
            "run",
            "--name",
            name,
            "-v",
            "/data",
            "--rootfs",
            &root,
            "sh",
            "-c",
            "echo x >/data/file",
        ])
        .ok();
    }
    disk.fill();
    disk.say(&["rm", "-v", "one"]).prints("one\n");
    disk.fill();
    disk.say(&["stop", "-t", "0", "live"]).prints("live\n");
    disk.say(&["rm", "-f", "live"]).prints("live\n");
    disk.fill();
    let text = disk.say(&["container", "prune", "-f"]).ok().out();
    assert_eq!(text.lines().filter(|line| line.len() == 64).count(), 4, "{text}");
    assert!(disk.names().is_empty());
    disk.fill();
    disk.say(&["volume", "prune", "-f"]).ok();
    disk.say(&["system", "prune", "-af", "--volumes"]).ok();
    disk.free();
    disk.say(&["system", "check"]).prints("nothing is wrong\n");
    disk.say(&["run", "--rm", "--rootfs", &root, "echo", "well"]).prints("well\n");
}

#[test]
fn a_container_that_prints_to_a_full_disk_lives_on() {
    let disk = ground();
    disk.fill();
    let root = &disk.root;
    // What does not fit is lost, and that is told where it is read.
    let words = ["exec", "live", "sh", "-c", "head -c 200000 /dev/zero | tr '\\0' x >/proc/1/fd/1"];
    disk.say(&words).ok();
    disk.say(&["run", "--rm", "--rootfs", root, "true"]);
    disk.say(&["exec", "live", "true"]).ok();
    disk.say(&["logs", "--tail", "1", "live"]).ok();
    disk.free();
    disk.expect_well();
}

#[test]
fn a_disk_that_is_read_only() {
    let disk = ground();
    disk.say(&["stop", "-t", "0", "live"]).ok();
    disk.remount("ro");
    let before = disk.names();
    let big = disk.big();
    let mut all = in_need(&disk.root, &big);
    all.extend([vec!["rm", "ended"], vec!["start", "live"]]);
    for words in all {
        refused(disk.say(&words), "read-only file system");
        assert_eq!(disk.names(), before, "{words:?}");
    }
    // A line for each that cannot go.
    let pruned = disk.say(&["container", "prune", "-f"]).exits(1).err();
    assert_eq!(pruned.matches("read-only file system").count(), before.len(), "{pruned}");
    assert_eq!(disk.names(), before);
    // To look is no change.
    disk.say(&["logs", "ended"]).prints("printed\n");
    disk.say(&["inspect", "ended"]).ok();
    disk.say(&["system", "check"]).prints("nothing is wrong\n");
    disk.remount("rw");
    disk.say(&["start", "live"]).ok();
    disk.expect_well();
}
