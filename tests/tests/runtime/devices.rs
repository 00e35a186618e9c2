//! `linux.devices` and the control group's rules for devices.

use std::os::unix::fs::FileTypeExt;

use minidocker_tests::bundle::Runtime;
use serde_json::{Value, json};

use crate::{owned_by, refused};

#[test]
fn the_standard_devices_are_there() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    owned_by(&runtime, &root, 200_000);
    let standard =
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
    for mapped in [false, true] {
        let bundle = runtime.bundle(&root);
        let bundle = if mapped { bundle.mapped(200_000) } else { bundle };
        let facts = bundle.facts();
        for (name, major, minor) in standard {
            let found = &facts["dev"][name];
            assert_eq!((&found["type"], &found["mode"]), (&json!("char"), &json!("0666")), "{name} {mapped}");
            assert_eq!((&found["major"], &found["minor"]), (&json!(major), &json!(minor)), "{name} {mapped}");
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            assert_eq!(facts["dev"][name]["target"], target, "{name} {mapped}");
        }
        let use_them = "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; \
            echo x 2> /dev/null > /dev/full || echo full";
        bundle.shell(use_them).run().prints("3\n5\nfull\n");
    }
}

#[test]
fn further_devices_are_made_as_asked() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let devices = json!([
        { "path": "/dev/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1000, "gid": 29 },
        { "path": "/dev/two", "type": "u", "major": 1, "minor": 5 },
        { "path": "/dev/disk", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600 },
        { "path": "/dev/deep/pipe", "type": "p", "fileMode": 0o622 },
    ]);
    let facts = runtime.bundle(&root).with("/linux/devices", devices).facts();
    let one = |name: &str| facts["dev"][name].clone();
    let wanted = json!({
        "type": "char", "major": 1, "minor": 3, "mode": "0640", "uid": 1000, "gid": 29, "target": Value::Null,
    });
    assert_eq!(one("one"), wanted);
    assert_eq!((one("two")["type"].as_str(), one("two")["minor"].as_u64()), (Some("char"), Some(5)));
    assert_eq!((one("disk")["type"].as_str(), one("disk")["mode"].as_str()), (Some("block"), Some("0600")));
    assert_eq!((one("disk")["major"].as_u64(), one("disk")["minor"].as_u64()), (Some(7), Some(200)));
    assert_eq!(one("deep")["type"], "directory");
    // One of the standard ones may be asked for as well.
    let again = json!([{ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0 }]);
    assert_eq!(runtime.bundle(&root).with("/linux/devices", again).facts()["dev"]["null"]["mode"], "0666");
    let wrong = json!([{ "path": "/dev/x", "type": "x", "major": 1, "minor": 3 }]);
    assert_eq!(runtime.bundle(&root).with("/linux/devices", wrong).run().code, 1);
}

/// Without a fresh /dev they go into the root's own.
#[test]
fn without_a_mount_on_dev_they_are_made_in_the_image() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"]
        .into_iter()
        .fold(runtime.bundle(&root), minidocker_tests::bundle::Bundle::without_mount);
    let facts = bundle.facts();
    assert_eq!(facts["dev"]["null"]["minor"], 3);
    let null = std::fs::symlink_metadata(root.path().join("dev/null")).unwrap();
    assert!(null.file_type().is_char_device());
    // A second start finds them there; something else in their place is refused.
    assert_eq!(bundle.facts()["dev"]["zero"]["minor"], 5);
    std::fs::remove_file(root.path().join("dev/zero")).unwrap();
    root.file("dev/zero", "no device");
    refused(bundle.run(), 1, &["/dev/zero"]);
}

/// Every device is refused but those in the list, the standard ones and what is needed for terminals; making nodes is
/// not using them. Number 250:1 has no driver: who may open it learns that there is none.
#[test]
fn limits_of_devices() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime
        .bundle(&root)
        .with("/linux/devices", json!([{ "path": "/dev/mine", "type": "c", "major": 250, "minor": 1 }]))
        .with("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }]));
    let opened = |bundle: &minidocker_tests::bundle::Bundle<'_>, path: &str| bundle.attempt(["open", path]);
    assert_eq!(opened(&bundle, "/dev/mine"), "EPERM");
    assert_eq!(opened(&bundle, "/dev/null"), "ok");
    assert_eq!(opened(&bundle, "/dev/pts/ptmx"), "ok");
    assert_eq!(bundle.attempt(["mknod", "/dev/new", "250", "1"]), "ok");
    let rule = json!({ "allow": true, "type": "c", "major": 250, "minor": 1, "access": "r" });
    let allowed = bundle.with("/linux/resources/devices/-", rule);
    assert_eq!(opened(&allowed, "/dev/mine"), "ENXIO");
    assert_eq!(allowed.attempt(["open-rw", "/dev/mine"]), "EPERM");
    // A further program is in the same group.
    let container = allowed.args(["/inside", "pause"]).detached();
    container.exec(["/inside", "try", "open-rw", "/dev/mine"]).run().prints("EPERM\n");
    container.exec(["/inside", "try", "open", "/dev/mine"]).run().prints("ENXIO\n");
    container.remove();
}
