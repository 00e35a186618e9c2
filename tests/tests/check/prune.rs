//! `system prune`: what nobody needs, of every kind, in one go.

use minidocker_tests::World;

#[test]
fn all_that_nobody_needs_goes_and_the_rest_stays() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let live = world.detached(["--name", "live", "-v", "/used", "--rootfs", &root, "sleep", "1000"]);
    let ended = |name: &str, label: &str| {
        let words =
            ["run", "--name", name, "--label", label, "-v", "/data", "-v", "kept:/kept", "--rootfs", &root];
        world.minidocker([&words[..], &["sh", "-c", "head -c 100000 /dev/zero >/big"]].concat()).ok();
        world.minidocker(["inspect", "-f", "{{.Id}}", name]).text()
    };
    let (one, two) = (ended("one", "go=1"), ended("two", "go=0"));
    let volumes = || world.minidocker(["volume", "ls", "-q"]).text().lines().count();
    assert_eq!(volumes(), 4);

    // Asked first; no answer is no.
    let asked = world.call(["system", "prune", "--volumes"]).stdin("n\n").run().ok().out();
    for line in [
        "all stopped containers",
        "all anonymous volumes not used",
        "all dangling images",
        "unused build cache",
    ] {
        assert!(asked.contains(&format!("  - {line}")), "{asked}");
    }
    assert_eq!(world.minidocker(["ps", "-aq"]).text().lines().count(), 3);

    let text = world.minidocker(["system", "prune", "-f", "--filter", "label=go=1"]).ok().out();
    assert!(text.starts_with(&format!("Deleted Containers:\n{one}\n\nTotal reclaimed space: 1")), "{text}");
    assert!(text.contains("kB") && !text.contains(&two), "{text}");
    assert_eq!(volumes(), 4);
    world
        .minidocker(["system", "prune", "-f", "--volumes", "--filter", "until=1h"])
        .refuses(1, &["until", "--volumes"]);
    world.minidocker(["system", "prune", "-f", "--filter", "name=x"]).refuses(1, &["label", "until"]);

    let text = world.minidocker(["system", "prune", "-af", "--volumes"]).ok().out();
    assert!(text.contains(&two) && text.contains("Deleted Volumes:\n") && !text.contains("kept"), "{text}");
    // The one that runs has its own still; the named one is nobody's to remove.
    assert_eq!(volumes(), 2);
    assert_eq!(world.minidocker(["ps", "-aq", "--no-trunc"]).text(), live);
    world.minidocker(["rm", "-fv", "live"]).ok();
    world.minidocker(["volume", "rm", "kept"]).ok();
}
