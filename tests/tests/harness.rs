//! The harness itself: it sees what is left, it ends what hangs, and it cleans up after a test that failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use minidocker_tests::{Group, World, until};

/// The words of the panic that `work` ends with.
fn panic_of(work: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(work)).expect_err("it should have panicked");
    payload.downcast_ref::<String>().cloned().expect("a panic with words")
}

#[test]
fn everything_of_a_running_container_counts_as_left() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.detached(["--name", "left", "--rootfs", &root, "/inside", "pause"]);
    let left = world.leaks().join("\n");
    let things = [
        "process ",
        "/inside pause",
        "link md",
        "control group /sys/fs/cgroup",
        "/names/left",
        "/addresses/",
        &id,
    ];
    for thing in things {
        assert!(left.contains(thing), "`{thing}` is not in:\n{left}");
    }
    let words = panic_of(|| world.expect_nothing_left_after(Duration::from_secs(1)));
    assert!(words.contains("left behind in minidocker-test-"), "{words}");
    world.minidocker(["rm", "-f", "left"]).ok();
    world.finish();
}

#[test]
fn a_mount_counts_as_left() {
    let world = World::new();
    let target = world.directory().join("mount");
    std::fs::create_dir(&target).expect("our own directory");
    let target = target.to_str().expect("text");
    world.program(["mount", "-t", "tmpfs", "none", target]).run().ok();
    assert_eq!(world.leaks(), [format!("mount {target}")]);
    world.program(["umount", target]).run().ok();
    assert_eq!(world.leaks(), [""; 0]);
}

#[test]
fn what_hangs_is_killed_and_tells_what_it_said() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "echo so far; sleep 1000";
    let call =
        world.call(["run", "--rm", "--rootfs", &root, "sh", "-c", script]).patience(Duration::from_secs(2));
    let words = panic_of(|| drop(call.run()));
    assert!(words.starts_with("hangs: ") && words.contains("so far\n"), "{words}");
}

#[test]
fn a_failed_test_leaves_nothing_on_the_machine() {
    let (mut directory, mut group) = (String::new(), None);
    let words = panic_of(|| {
        let world = World::new();
        let root = world.rootfs_inside().overlay();
        let id = world.detached(["--rootfs", &root, "/inside", "pause"]);
        directory = world.directory().display().to_string();
        group = Some((Group::at(&world.cgroup_parent()), world.init(&id)));
        panic!("{}", format!("the test of {id} fails"));
    });
    assert!(words.contains("fails"), "{words}");
    let (group, init) = group.expect("set before");
    assert!(!Path::new(&directory).exists(), "{directory}");
    assert_eq!(group.directories(), [""; 0].map(std::path::PathBuf::from));
    until("its process is gone", || !Path::new(&format!("/proc/{init}/exe")).exists());
}

#[test]
fn worlds_do_not_meet() {
    let (one, two) = (World::new(), World::new());
    let root = one.rootfs_inside().overlay();
    one.detached(["--name", "same", "--rootfs", &root, "/inside", "pause"]);
    two.detached(["--name", "same", "--rootfs", &root, "/inside", "pause"]);
    for world in [&one, &two] {
        assert_eq!(world.minidocker(["ps", "-q"]).text().lines().count(), 1);
    }
    one.minidocker(["rm", "-f", "same"]).ok();
    assert_eq!(two.minidocker(["ps", "--format", "{{.Names}}"]).text(), "same");
    two.minidocker(["rm", "-f", "same"]).ok();
    let link = |world: &World| {
        world.inside_network(|| std::fs::read_link("/proc/thread-self/ns/net").expect("a link"))
    };
    assert_ne!(link(&one), link(&two));
    assert_ne!(link(&one), std::fs::read_link("/proc/self/ns/net").expect("a link"));
}
