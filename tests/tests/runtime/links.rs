//! A mount lands below the container's root, whatever links are on the way, and whoever changes them meanwhile
//! (CVE-2019-19921, CVE-2021-30465).

use std::fs;
use std::path::{Path, PathBuf};

use minidocker_tests::bundle::{Bundle, Runtime};
use serde_json::Value;

use crate::inner::hostile;
use crate::racers::Racer;

/// What is in a directory.
fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Whether the program saw a mount with this source's file at `place`.
fn reads(bundle: &Bundle<'_>, place: &str) -> String {
    bundle.clone().args(["/inside", "read", place]).run().text()
}

#[test]
fn a_destination_with_links_stays_inside() {
    let runtime = Runtime::new();
    let outside = PathBuf::from(runtime.directory("outside"));
    let source = runtime.directory("source");
    fs::write(format!("{source}/file"), "mounted").unwrap();
    let file = format!("{source}/file");
    // Link in the image, what it leads to, the destination, where the mount is then.
    let absolute = outside.to_str().unwrap();
    let up = format!("../../../../../..{absolute}");
    let cases = [
        (absolute, "/way", absolute.to_owned()),
        (absolute, "/way/in", format!("{absolute}/in")),
        (&up, "/way", absolute.to_owned()),
        (&up, "/way/deep/down", format!("{absolute}/deep/down")),
        ("../outside", "/way", "/outside".to_owned()),
        ("/dangling/far", "/way/x", "/dangling/far/x".to_owned()),
        ("second", "/way/x", "/third/x".to_owned()),
        ("/etc", "/way/../usr/x", "/usr/x".to_owned()),
        ("/", "/way/new", "/new".to_owned()),
    ];
    for (target, destination, place) in &cases {
        let root = runtime.world().rootfs_busybox();
        root.link("way", target);
        root.link("second", "third");
        for (source, kind) in [(&source, "directory"), (&file, "file")] {
            let bundle = runtime.bundle(&root).bind(source, destination, &[]);
            let wanted = if kind == "file" { place.clone() } else { format!("{place}/file") };
            if kind == "file" && (*destination == "/way") {
                continue;
            }
            let place =
                if kind == "file" { format!("{destination}-file") } else { (*destination).to_owned() };
            let bundle =
                if kind == "file" { runtime.bundle(&root).bind(source, &place, &[]) } else { bundle };
            let wanted = if kind == "file" { format!("{wanted}-file") } else { wanted };
            assert_eq!(reads(&bundle, &wanted), "mounted", "{destination} by {target}, a {kind}");
            assert!(
                entries(&outside).is_empty(),
                "{destination} by {target} led out: {:?}",
                entries(&outside)
            );
        }
        // A new file system, and a further directory on the way of one.
        let bundle = runtime.bundle(&root).mount(&format!("{destination}/tmpfs"), "tmpfs", "tmpfs", &[]);
        bundle.args(["/inside", "true"]).run();
        assert!(entries(&outside).is_empty(), "a tmpfs on {destination} by {target} led out");
    }
    for name in ["/dangling", "/third", "/deep"] {
        assert!(!Path::new(name).exists(), "{name} was made on the host");
    }
}

/// A link that leads to itself, or through more links than the kernel follows, is an error and no endless way.
#[test]
fn endless_links_are_an_error() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    root.link("loop", "loop");
    root.link("ping", "pong");
    root.link("pong", "ping/x");
    for number in 0..50 {
        root.link(&format!("chain{number}"), &format!("chain{}", number + 1));
    }
    for destination in ["/loop", "/loop/x", "/ping/y", "/chain0/z"] {
        let bundle =
            runtime.bundle(&root).mount(destination, "tmpfs", "tmpfs", &[]).args(["/inside", "true"]);
        let output = bundle.run();
        assert_eq!(output.code, 1, "{destination}: {output:?}");
        assert!(output.err().contains(destination.split('/').nth(1).unwrap()), "{output:?}");
    }
    runtime.bundle(&root).mount("/chain30/x", "tmpfs", "tmpfs", &[]).args(["/inside", "true"]).run().ok();
}

/// /proc, /sys and /dev of the container lie where they seem to.
#[test]
fn links_in_the_place_of_the_kernels_trees_are_refused() {
    let runtime = Runtime::new();
    let outside = PathBuf::from(runtime.directory("outside"));
    for name in ["proc", "sys", "dev"] {
        for target in [outside.to_str().unwrap(), "../outside", "etc", "/", "/nowhere"] {
            let root = runtime.world().rootfs_busybox();
            root.link(name, target);
            let output = runtime.bundle(&root).args(["/inside", "true"]).run();
            assert_eq!(output.code, 1, "{name} -> {target}: {output:?}");
            assert!(output.err().contains("link"), "{name} -> {target}: {output:?}");
            assert!(entries(&outside).is_empty(), "{name} -> {target}: {:?}", entries(&outside));
        }
    }
}

/// Nor is anything mounted into them by way of links: what is written there later must reach the kernel.
#[test]
fn nothing_is_mounted_into_proc_by_links() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let source = runtime.directory("source");
    root.link("p", "/proc");
    root.link("deep", "p/self/attr");
    for destination in
        ["/p", "/p/self", "/p/self/attr", "/deep", "/deep/exec", "/p/sys/kernel", "/p/1/../sys"]
    {
        let bundle = runtime.bundle(&root).bind(&source, destination, &[]).args(["/inside", "true"]);
        let output = bundle.run();
        assert_eq!(output.code, 1, "{destination}: {output:?}");
    }
    // By its own name: what runc refuses too, but for a few files that engines put there.
    for destination in
        ["/proc/self", "/proc/self/attr", "/proc/sys", "/proc/1/attr/exec", "/proc/sys/kernel/core_pattern"]
    {
        let bundle =
            runtime.bundle(&root).mount(destination, "tmpfs", "tmpfs", &[]).args(["/inside", "true"]);
        let output = bundle.run();
        assert_eq!(output.code, 1, "{destination}: {output:?}");
    }
}

/// Directories that become links while a container is made on them: a neighbour has the same volume.
#[test]
fn a_race_for_a_destination_is_lost() {
    let runtime = Runtime::new();
    let outside = PathBuf::from(runtime.directory("outside"));
    let (volume, source) = (runtime.directory("volume"), runtime.directory("source"));
    fs::write(format!("{source}/file"), "mounted").unwrap();
    fs::create_dir(format!("{volume}/one")).unwrap();
    std::os::unix::fs::symlink(&outside, format!("{volume}/other")).unwrap();
    let root = runtime.world().rootfs_inside();
    let racer = hostile(runtime.bundle(&root), "swap /volume").bind(&volume, "/volume", &[]).detached();
    racer.until("ready");
    let root = runtime.world().rootfs_inside();
    let bundle = runtime
        .bundle(&root)
        .bind(&volume, "/volume", &[])
        .bind(&source, "/volume/one", &[])
        .mount("/volume/one/deep/down", "tmpfs", "tmpfs", &[])
        .bind(&source, "/volume/one/further", &[]);
    let mut started = 0;
    for _ in 0..40 {
        let output = bundle.run();
        assert!(matches!(output.code, 0 | 1), "{output:?}");
        assert!(entries(&outside).is_empty(), "led out: {:?}", entries(&outside));
        if output.code == 0 {
            started += 1;
            let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
            for mount in facts["mounts"].as_array().unwrap() {
                let target = mount["target"].as_str().unwrap();
                assert!(!target.starts_with("//") && !target.contains("(unreachable)"), "{mount}");
            }
            assert!(
                facts["root"].as_array().unwrap().iter().all(|name| name != "lost+found" && name != "boot")
            );
        }
    }
    racer.remove();
    assert!(started > 0, "none was made: nothing was tested");
}

/// The root file system itself is shared with the neighbour.
#[test]
fn a_race_in_the_root_is_lost() {
    let runtime = Runtime::new();
    let outside = PathBuf::from(runtime.directory("outside"));
    let source = runtime.directory("source");
    let root = runtime.world().rootfs_inside();
    let arena = root.directory("arena");
    root.directory("arena/one");
    std::os::unix::fs::symlink(&outside, arena.join("other")).unwrap();
    let racer = Racer::between(&arena.join("one"), &arena.join("other"));
    let bundle = runtime
        .bundle(&root)
        .bind(&source, "/arena/one/a", &[])
        .mount("/arena/one/b/c", "tmpfs", "tmpfs", &[])
        .with("/process/cwd", "/arena/one/work/deep")
        .with("/process/user", serde_json::json!({ "uid": 1000, "gid": 1000 }))
        .args(["/inside", "true"]);
    for _ in 0..40 {
        let output = bundle.run();
        assert!(matches!(output.code, 0 | 1), "{output:?}");
        assert!(entries(&outside).is_empty(), "led out: {:?}", entries(&outside));
    }
    assert!(racer.rounds() > 100);
}

/// `tmpcopyup` copies what lies in the image: a file that becomes a link while it is copied is no way to the host's.
#[test]
fn a_race_for_a_copied_file_is_lost() {
    let runtime = Runtime::new();
    let secret = runtime.file("secret", "of the host\n");
    let root = runtime.world().rootfs_busybox();
    let data = root.directory("data");
    let links = root.directory("links");
    let mut pairs = Vec::new();
    for number in 0..200 {
        let (file, link) = (data.join(format!("f{number}")), links.join(format!("l{number}")));
        fs::write(&file, "of the image\n").unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        pairs.push((file, link));
    }
    // A few names at a time: each is changed often while it is read.
    let racers: Vec<_> = pairs.chunks(20).map(|few| few.to_vec()).take(2).map(Racer::among).collect();
    let bundle = runtime
        .bundle(&root)
        .mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"])
        // Links are copied as links, and lead nowhere in there.
        .shell("for f in /data/*; do [ -L $f ] || cat $f; done | sort -u");
    for _ in 0..40 {
        let output = bundle.run();
        assert!(!output.out().contains("of the host"), "a file of the host was copied: {output:?}");
    }
    assert!(racers.iter().all(|racer| racer.rounds() > 100));
}
