//! `mounts`: every option, propagation, file systems, id maps, and where sources and destinations are looked for.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use minidocker_tests::bundle::{Bundle, Runtime};
use minidocker_tests::{Running, until};
use serde_json::{Value, json};

use crate::{owned_by, refused, words};

/// The uppermost mount at `target`.
#[track_caller]
fn mount_at<'v>(facts: &'v Value, target: &str) -> &'v Value {
    let mounts = facts["mounts"].as_array().expect("a list of mounts");
    let found = mounts.iter().rfind(|mount| mount["target"] == target);
    found.unwrap_or_else(|| panic!("nothing is mounted on {target}: {mounts:#?}"))
}

#[track_caller]
fn options_at<'v>(facts: &'v Value, target: &str) -> Vec<&'v str> {
    words(&mount_at(facts, target)["options"])
}

/// A mount namespace of the test's own in the place of the host's, where a script has mounted things.
struct Host {
    running: Running,
}

impl Host {
    fn new(runtime: &Runtime, script: &str) -> Self {
        let line = format!("set -e; {script}\necho mounted; exec sleep 900");
        let call =
            runtime.world().program(["unshare", "--mount", "--propagation", "private", "sh", "-c", &line]);
        let running = call.patience(std::time::Duration::from_secs(900)).spawn();
        running.until("mounted");
        Self { running }
    }

    fn pid(&self) -> String {
        self.running.pid().to_string()
    }

    fn shell(&self, runtime: &Runtime, line: &str) -> String {
        let words = ["nsenter", "--target", &self.pid(), "--mount", "--", "sh", "-c", line];
        runtime.world().program(words).run().text()
    }

    /// What `/inside facts` reports from a container that was started in there.
    fn facts(&self, bundle: &Bundle<'_>) -> Value {
        bundle.call("run", &[]).through(&["nsenter", "--target", &self.pid(), "--mount", "--"]).run().json()
    }
}

#[test]
fn every_attribute_of_a_bind() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let source = runtime.directory("source");
    let cases = [
        ("ro", &["ro"][..], &["rw"][..]),
        ("rw", &["rw"], &["ro"]),
        ("nosuid", &["nosuid"], &[]),
        ("nodev", &["nodev"], &[]),
        ("noexec", &["noexec"], &[]),
        ("suid", &[], &["nosuid"]),
        ("dev", &[], &["nodev"]),
        ("exec", &[], &["noexec"]),
        ("noatime", &["noatime"], &["relatime"]),
        ("nodiratime", &["nodiratime"], &[]),
        ("relatime", &["relatime"], &["noatime"]),
        ("strictatime", &[], &["relatime", "noatime"]),
        ("nosymfollow", &["nosymfollow"], &[]),
        ("ro,nosuid,nodev,noexec,noatime", &["ro", "nosuid", "nodev", "noexec", "noatime"], &["rw"]),
        ("ro,rw", &["rw"], &["ro"]),
        ("rro", &["ro"], &["rw"]),
        ("rnosuid,rnodev,rnoexec,rnoatime", &["nosuid", "nodev", "noexec", "noatime"], &[]),
        ("rnosymfollow", &["nosymfollow"], &[]),
    ];
    let bundle = cases.iter().enumerate().fold(runtime.bundle(&root), |bundle, (number, (options, ..))| {
        let options: Vec<&str> = options.split(',').collect();
        bundle.bind(&source, &format!("/m{number}"), &options)
    });
    let facts = bundle.facts();
    for (number, (options, with, without)) in cases.iter().enumerate() {
        let found = options_at(&facts, &format!("/m{number}"));
        assert!(with.iter().all(|word| found.contains(word)), "{options}: {found:?}");
        assert!(!without.iter().any(|word| found.contains(word)), "{options}: {found:?}");
    }
}

/// `ro` is the mount's alone, `rro` and its like are for all mounts below it.
#[test]
fn attributes_of_mounts_below() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let source = runtime.directory("source");
    let host = Host::new(
        &runtime,
        &format!(
            "mkdir {source}/sub; mount -t tmpfs none {source}/sub; mkdir {source}/sub/deep; \
            mount -t tmpfs -o nosuid none {source}/sub/deep"
        ),
    );
    let cases = [
        ("/bind", "bind", None),
        ("/rbind", "rbind", Some(&["rw"][..])),
        ("/ro", "rbind,ro", Some(&["rw"])),
        ("/rro", "rbind,rro", Some(&["ro"])),
        ("/rnosuid", "rbind,rnosuid,rnodev,rnoexec", Some(&["rw", "nosuid", "nodev", "noexec"])),
        ("/rsuid", "rbind,rsuid,rnoatime", Some(&["rw", "noatime"])),
        ("/both", "rbind,rro,rw", Some(&["ro"])),
    ];
    let bundle = cases.iter().fold(runtime.bundle(&root), |bundle, (target, options, _)| {
        bundle.mount(target, "none", &source, &options.split(',').collect::<Vec<_>>())
    });
    let facts = host.facts(&bundle);
    let mounted =
        |target: &str| facts["mounts"].as_array().unwrap().iter().any(|mount| mount["target"] == target);
    for (target, options, below) in cases {
        for place in [format!("{target}/sub"), format!("{target}/sub/deep")] {
            let Some(wanted) = below else {
                assert!(!mounted(&place), "{options}");
                continue;
            };
            let found = options_at(&facts, &place);
            assert!(wanted.iter().all(|word| found.contains(word)), "{place} {options}: {found:?}");
        }
    }
    let has = |target, word| options_at(&facts, target).contains(&word);
    assert!(has("/ro", "ro") && has("/rro", "ro") && has("/rbind", "rw"));
    assert!(
        has("/rro/sub/deep", "nosuid") && !has("/rsuid/sub/deep", "nosuid"),
        "what was there, and taken off"
    );
}

#[test]
fn propagation_in_every_kind() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let (shared, private) = (runtime.directory("shared"), runtime.directory("private"));
    let script = format!(
        "mount -t tmpfs none {shared}; mount --make-shared {shared}; mount -t tmpfs none {private}; \
         mount --make-private {private}"
    );
    let host = Host::new(&runtime, &script);
    let cases = [
        ("private", &shared, ""),
        ("rprivate", &shared, ""),
        ("slave", &shared, "master:"),
        ("rslave", &shared, "master:"),
        ("shared", &shared, "shared:"),
        ("rshared", &shared, "shared:"),
        ("unbindable", &private, "unbindable"),
        ("runbindable", &private, "unbindable"),
        ("slave", &private, ""),
    ];
    let bundle =
        cases.iter().enumerate().fold(runtime.bundle(&root), |bundle, (number, (option, source, _))| {
            bundle.mount(&format!("/m{number}"), "none", source, &["rbind", option])
        });
    let facts = host.facts(&bundle);
    for (number, (option, _, tag)) in cases.iter().enumerate() {
        let found = words(&mount_at(&facts, &format!("/m{number}"))["propagation"]);
        match tag.is_empty() {
            true => assert!(found.is_empty(), "{option}: {found:?}"),
            false => assert!(found.iter().any(|word| word.starts_with(tag)), "{option}: {found:?}"),
        }
    }
}

#[test]
fn later_mounts_show_on_the_other_side_as_asked() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let source = runtime.directory("source");
    let script =
        format!("mount -t tmpfs none {source}; mount --make-shared {source}; cd {source}; mkdir a b c in");
    let host = Host::new(&runtime, &script);
    let bundle = runtime
        .bundle(&root)
        .with("/linux/rootfsPropagation", "shared")
        .mount("/private", "none", &source, &["rbind", "rprivate"])
        .mount("/slave", "none", &source, &["rbind", "rslave"])
        .mount("/shared", "none", &source, &["rbind", "rshared"])
        .capabilities(&["CAP_SYS_ADMIN"])
        .args(["/inside", "pause"]);
    bundle.write();
    let wrapper = ["nsenter", "--target", &host.pid(), "--mount", "--"];
    let container = bundle.launch(&wrapper, "run", &["--detach"]).unwrap();
    container.until("ready");
    host.shell(&runtime, &format!("mount -t tmpfs none {source}/in; touch {source}/in/seen"));
    let seen = |place: &str| container.exec(["sh", "-c", &format!("ls /{place}/in")]).run().text();
    assert_eq!(
        (seen("private").as_str(), seen("slave").as_str(), seen("shared").as_str()),
        ("", "seen", "seen")
    );
    for (place, name) in [("private", "a"), ("slave", "b"), ("shared", "c")] {
        let line = format!("mount -t tmpfs none /{place}/{name} && touch /{place}/{name}/file");
        container.exec(["sh", "-c", &line]).run().ok();
        let here = host.shell(&runtime, &format!("ls {source}/{name}"));
        assert_eq!(here, if place == "shared" { "file" } else { "" }, "from {place} to the host");
    }
    container.remove();
}

#[test]
fn rootfs_propagation_in_every_kind() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let cases = [
        ("", ""),
        ("private", ""),
        ("rprivate", ""),
        ("slave", ""),
        ("rslave", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ];
    for (word, tag) in cases {
        // What is unbindable with all below it leaves nothing to bind: no control groups.
        let bundle = runtime.bundle(&root).without_mount("/sys/fs/cgroup");
        let facts = bundle.with("/linux/rootfsPropagation", word).facts();
        let found = words(&mount_at(&facts, "/")["propagation"]);
        let fits = if tag.is_empty() {
            !found.iter().any(|word| word.starts_with("shared:") || *word == "unbindable")
        } else {
            found.iter().any(|word| word.starts_with(tag))
        };
        assert!(fits, "{word}: {found:?}");
    }
    let output = runtime.bundle(&root).with("/linux/rootfsPropagation", "sideways").run();
    assert_ne!(output.code, 0, "{output:?}");
}

/// A root whose mounts are peers of the host's, as systemd has them on most machines: what leaves the container's
/// namespace stays mounted on the host.
#[test]
fn nothing_is_unmounted_on_a_host_that_shares() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let host = Host::new(&runtime, "mount --make-rshared /");
    let before = host.shell(&runtime, "cut -d' ' -f 5- /proc/self/mountinfo");
    assert!(before.contains("shared:"), "{before}");
    for word in ["shared", "rshared", "slave", "private", "unbindable", ""] {
        for options in [&[][..], &["--no-pivot"]] {
            let bundle = runtime.bundle(&root).without_mount("/sys/fs/cgroup").args(["/inside", "true"]);
            let bundle = bundle.with("/linux/rootfsPropagation", word);
            let wrapper = ["nsenter", "--target", &host.pid(), "--mount", "--"];
            bundle.call("run", options).through(&wrapper).run().ok();
            let now = host.shell(&runtime, "cut -d' ' -f 5- /proc/self/mountinfo");
            assert_eq!(now, before, "{word} {options:?}");
        }
    }
}

#[test]
fn a_tmpfs_with_its_options() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    root.directory("secret");
    fs::set_permissions(root.path().join("secret"), fs::Permissions::from_mode(0o2750)).unwrap();
    let script = "stat -c %a /one /secret; df -k /one | tail -n 1 | awk '{print $2}'; touch /ro/x; ls /ro";
    let bundle = runtime
        .bundle(&root)
        .mount("/one", "tmpfs", "named", &["size=64k", "mode=1711", "nosuid", "noexec"])
        .mount("/secret", "tmpfs", "tmpfs", &[])
        .mount("/ro", "tmpfs", "tmpfs", &["ro"]);
    let output = bundle.clone().shell(script).run();
    let text = output.out();
    // A tmpfs over a directory looks like it.
    assert_eq!(text, "1711\n2750\n64\n", "{output:?}");
    assert!(output.err().contains("Read-only file system"), "{output:?}");
    let facts = bundle.facts();
    let one = mount_at(&facts, "/one");
    assert_eq!((&one["source"], &one["fstype"]), (&json!("named"), &json!("tmpfs")));
    assert!(options_at(&facts, "/one").contains(&"noexec"));
    let wrong = runtime.bundle(&root).mount("/one", "tmpfs", "tmpfs", &["nosuchoption=1"]).run();
    refused(wrong, 1, &["/one", "nosuchoption"]);
}

#[test]
fn tmpcopyup_starts_with_what_was_there() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    root.file("data/dir/file", "text\n");
    root.script("data/run", "#!/bin/sh\necho ran\n");
    root.link("data/link", "dir/file");
    std::os::unix::fs::chown(root.path().join("data/dir"), Some(1000), Some(29)).unwrap();
    fs::set_permissions(root.path().join("data/dir"), fs::Permissions::from_mode(0o3770)).unwrap();
    for options in [&["tmpcopyup"][..], &["tmpcopyup", "ro"]] {
        let script = "cat /data/link; /data/run; stat -c %u:%g:%a /data/dir; echo more > /data/dir/new; \
            ls /data/dir";
        let output = runtime.bundle(&root).mount("/data", "tmpfs", "tmpfs", options).shell(script).run().ok();
        let new = if options.contains(&"ro") { "" } else { "new\n" };
        assert_eq!(output.out(), format!("text\nran\n1000:29:3770\nfile\n{new}"), "{options:?}: {output:?}");
        assert!(!root.path().join("data/dir/new").exists(), "the image is as it was");
    }
}

#[test]
fn files_and_missing_destinations() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let (file, directory) = (runtime.file("file", "content\n"), runtime.directory("directory"));
    fs::write(format!("{directory}/inner"), "inner\n").unwrap();
    let bundle = runtime
        .bundle(&root)
        .bind(&file, "/new/deep/file", &[])
        .bind(&file, "/etc/passwd", &["ro"])
        .bind(&directory, "/new/directory", &[])
        .bind(&directory, "relative/place", &[])
        .bind(&directory, "/./etc/../odd//place/", &[]);
    let script = "cat /new/deep/file /etc/passwd /new/directory/inner /relative/place/inner /odd/place/inner; \
        echo x 2>/dev/null > /etc/passwd || echo read-only";
    let output = bundle.shell(script).run().ok();
    assert_eq!(output.out(), "content\ncontent\ninner\ninner\ninner\nread-only\n", "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "content\n");
    // What was made for them is empty.
    assert_eq!(fs::metadata(root.path().join("new/deep/file")).unwrap().len(), 0);
    let wrong = runtime.bundle(&root).bind(&directory, "/etc/group", &[]).run();
    refused(wrong, 1, &["/etc/group", "directory"]);
    let wrong = runtime.bundle(&root).bind(&file, "/etc", &[]).run();
    assert_eq!(wrong.code, 1, "{wrong:?}");
    refused(runtime.bundle(&root).bind("/no/such/source", "/x", &[]).run(), 1, &["/no/such/source"]);
    refused(runtime.bundle(&root).mount("/x", "nosuchfs", "x", &[]).run(), 1, &["nosuchfs"]);
}

/// The specification: a source is an absolute path or relative to the bundle.
#[test]
fn a_relative_source_lies_in_the_bundle() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root).bind("data", "/data", &[]).args(["/inside", "read", "/data/file"]);
    fs::create_dir(bundle.directory().join("data")).unwrap();
    fs::write(bundle.directory().join("data/file"), "of the bundle\n").unwrap();
    bundle.run().prints("of the bundle\n");
}

#[test]
fn a_source_below_the_root() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    root.file("data/file", "text\n");
    owned_by(&runtime, &root, 200_000);
    let source = format!("{}/data", root.plain());
    for mapped in [false, true] {
        let bundle = runtime.bundle(&root);
        let bundle = if mapped { bundle.mapped(200_000) } else { bundle };
        let bundle = bundle.bind(&source, "/again", &["ro"]);
        bundle
            .shell("cat /again/file; echo x 2> /dev/null > /again/file || echo read-only")
            .run()
            .prints("text\nread-only\n");
    }
    // Before the control groups are joined, or after: the host's side may be ahead with what it does for them.
    for bundle in [runtime.bundle(&root).without_mount("/sys/fs/cgroup"), runtime.bundle(&root)] {
        let bundle = bundle.mapped(200_000).bind(&source, "/again", &[]).bind(&source, "/once-more", &["ro"]);
        bundle.shell("cat /again/file /once-more/file").run().prints("text\ntext\n");
    }
    // A destination that is named from outside is meant inside: some engines do so.
    let destination = format!("{}/within", root.plain());
    runtime
        .bundle(&root)
        .bind(&source, &destination, &[])
        .args(["/inside", "read", "/within/file"])
        .run()
        .prints("text\n");
}

#[test]
fn what_comes_later_lies_above() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let (one, two) = (runtime.directory("one"), runtime.directory("two"));
    fs::write(format!("{one}/file"), "one\n").unwrap();
    fs::write(format!("{two}/file"), "two\n").unwrap();
    fs::create_dir(format!("{one}/sub")).unwrap();
    let bundle = runtime.bundle(&root).bind(&two, "/place", &[]).bind(&one, "/place", &[]).bind(
        &two,
        "/place/sub",
        &[],
    );
    bundle.clone().args(["/inside", "read", "/place/file"]).run().prints("one\n");
    bundle.args(["/inside", "read", "/place/sub/file"]).run().prints("two\n");
}

#[test]
fn the_kernels_own_file_systems() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let facts = runtime.bundle(&root).facts();
    for (target, kind, options) in [
        ("/proc", "proc", &["rw", "nosuid", "nodev", "noexec"][..]),
        ("/dev", "tmpfs", &["rw", "nosuid"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
    ] {
        assert_eq!(mount_at(&facts, target)["fstype"], kind);
        let found = options_at(&facts, target);
        assert!(options.iter().all(|word| found.contains(word)), "{target}: {found:?}");
    }
    let all = words(&mount_at(&facts, "/dev/pts")["super"]);
    assert!(all.contains(&"ptmxmode=666") && all.contains(&"mode=620") && all.contains(&"gid=5"), "{all:?}");
    assert!(words(&mount_at(&facts, "/dev/shm")["super"]).contains(&"size=65536k"));
    assert_eq!(facts["processes"].as_array().unwrap().len(), 1, "the proc of its own processes");
}

#[test]
fn idmapped_binds() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    owned_by(&runtime, &root, 200_000);
    let source = runtime.directory("source");
    for (name, owner) in [("root", 0), ("user", 1000)] {
        fs::write(format!("{source}/{name}"), "").unwrap();
        std::os::unix::fs::chown(format!("{source}/{name}"), Some(owner), Some(owner)).unwrap();
    }
    let map = |first: u32| json!([{ "containerID": 0, "hostID": first, "size": 65536 }]);
    let with = |destination: &str, options: &[&str], first: Option<u32>| {
        let options = [&["bind"], options].concat();
        let mut mount = json!({
            "destination": destination, "type": "bind", "source": source, "options": options,
        });
        if let Some(first) = first {
            mount["uidMappings"] = map(first);
            mount["gidMappings"] = map(first);
        }
        mount
    };
    let look = "stat -c %u:%g /data/root /data/user; touch /data/new; stat -c %u:%g /data/new";
    let run = |bundle: &Bundle<'_>, mount: Value| bundle.clone().with("/mounts/-", mount).shell(look).run();
    let new = || {
        let owner = fs::metadata(format!("{source}/new")).unwrap().uid();
        fs::remove_file(format!("{source}/new")).unwrap();
        owner
    };
    // Without a user namespace: 0 on the disk is seen as 5000, and root of the container writes nothing there.
    let plain = runtime.bundle(&root);
    let output = run(&plain, with("/data", &[], Some(5000)));
    assert!(output.out().starts_with("5000:5000\n6000:6000\n"), "{output:?}");
    assert_ne!(output.code, 0, "root is not in the map: {output:?}");
    // With one: the ids on the disk are those inside, as if there were none.
    let mapped = runtime.bundle(&root).mapped(200_000);
    for mount in [
        with("/data", &["idmap"], None),
        with("/data", &["ridmap"], None),
        with("/data", &[], Some(200_000)),
        with("/data", &["idmap"], Some(200_000)),
    ] {
        let output = run(&mapped, mount.clone()).ok();
        assert_eq!(output.out(), "0:0\n1000:1000\n0:0\n", "{mount}");
        assert_eq!(new(), 0, "{mount}");
    }
    // Not mapped, they are nobody's.
    let output = run(&mapped, with("/data", &[], None));
    assert!(output.out().starts_with("65534:65534\n65534:65534\n"), "{output:?}");
    let mut half = with("/data", &[], None);
    half["uidMappings"] = map(5000);
    assert_eq!(run(&plain, half).code, 1, "one half of a map");
    assert_eq!(run(&plain, with("/data", &["idmap"], None)).code, 1, "no map, and no user namespace");
}

/// `idmap` is the mount's alone, `ridmap` is for all mounts below it.
#[test]
fn idmapped_binds_of_mounts_below() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    owned_by(&runtime, &root, 200_000);
    let source = runtime.directory("source");
    let host = Host::new(
        &runtime,
        &format!("mkdir {source}/sub; mount -t tmpfs none {source}/sub; touch {source}/sub/file"),
    );
    for (option, below) in [("idmap", "65534:65534"), ("ridmap", "0:0")] {
        let bundle = runtime
            .bundle(&root)
            .mapped(200_000)
            .mount("/data", "none", &source, &["rbind", option])
            .shell("stat -c %u:%g /data /data/sub/file");
        let wrapper = ["nsenter", "--target", &host.pid(), "--mount", "--"];
        let output = bundle.call("run", &[]).through(&wrapper).run();
        assert_eq!(output.text(), format!("0:0\n{below}"), "{option}");
    }
}

#[test]
fn a_read_only_root_with_mounts_that_are_not() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).with("/root/readonly", true).mount("/tmp", "tmpfs", "tmpfs", &[]);
    assert_eq!(bundle.attempt(["create", "/new"]), "EROFS");
    assert_eq!(bundle.attempt(["create", "/tmp/new"]), "ok");
    assert_eq!(bundle.attempt(["create", "/dev/new"]), "ok");
    assert_eq!(runtime.bundle(&root).attempt(["create", "/new"]), "ok");
    assert!(words(&mount_at(&bundle.facts(), "/")["options"]).contains(&"ro"));
}

#[test]
fn masked_and_read_only_paths() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    root.file("secrets/key", "secret");
    root.file("secret", "secret");
    root.file("frozen/file", "text");
    let bundle = runtime
        .bundle(&root)
        .with("/linux/maskedPaths", json!(["/proc/keys", "/sys/firmware", "/secrets", "/secret", "/no/such"]))
        .with("/linux/readonlyPaths", json!(["/proc/sys", "/frozen", "/no/such"]));
    let script = "ls /secrets; cat /secret /proc/keys; stat -c %t:%T /secret; ls /sys/firmware; \
        touch /secrets/x 2> /dev/null || echo no; touch /frozen/x 2> /dev/null || echo no; \
        echo 1 2> /dev/null > /proc/sys/net/ipv4/ip_forward || echo no; cat /frozen/file";
    bundle.shell(script).run().prints("1:3\nno\nno\nno\ntext");
}

#[test]
fn without_a_mount_namespace_the_hosts_is_used() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime
        .bundle(&root)
        .without_namespace("mount")
        .with("/mounts", json!([]))
        .without("/linux/maskedPaths")
        .without("/linux/readonlyPaths");
    // No /proc there: the program reports less.
    let output = bundle.args(["/inside", "read", "/inside"]).run();
    assert!(output.code == 0 && output.stdout.starts_with(b"\x7fELF"), "{}", output.code);
    // The root's mount stays in the host's namespace, as other OCI runtimes leave it: it is the caller's to unmount.
    let mounted = || fs::read_to_string("/proc/self/mountinfo").unwrap().contains(runtime.world().name());
    assert!(mounted());
    rustix::mount::unmount(root.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    until("nothing of it is mounted here", || !mounted());
}
