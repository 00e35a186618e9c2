//! Masks, the console and writes to procfs land where they are meant to, whatever an image, a mount or a neighbour puts
//! in their place (CVE-2019-16884, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use minidocker_tests::Rootfs;
use minidocker_tests::bundle::{Bundle, Receiver, Runtime, Terminal};
use serde_json::json;

use crate::racers::Racer;
use crate::refused;

/// Without mounts on /dev: the image's own is used.
fn on_the_images_dev<'r>(runtime: &'r Runtime, root: &Rootfs) -> Bundle<'r> {
    ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"]
        .into_iter()
        .fold(runtime.bundle(root), Bundle::without_mount)
}

/// CVE-2025-31133: what is bound over masked files is the null device, or nothing starts.
#[test]
fn a_null_device_that_is_none_is_refused() {
    let runtime = Runtime::new();
    let outside = runtime.file("outside", "of the host\n");
    let cases: [&dyn Fn(&Rootfs); 6] = [
        &|root| root.link("dev/null", "/proc/sys/kernel/core_pattern"),
        &|root| root.link("dev/null", "/dev/zero"),
        &|root| root.link("dev/null", &outside),
        &|root| root.link("dev/null", "/no/such/target"),
        &|root| drop(root.file("dev/null", "a regular file")),
        &|root| drop(root.directory("dev/null")),
    ];
    for (number, prepare) in cases.iter().enumerate() {
        let root = runtime.world().rootfs_busybox();
        root.directory("dev");
        prepare(&root);
        let bundle = on_the_images_dev(&runtime, &root).shell("stat -c %t:%T /proc/keys; cat /proc/keys");
        let output = bundle.run();
        if output.code == 0 {
            // Whatever was done about it: the mask is the null device.
            assert_eq!(output.out(), "1:3\n", "case {number}: {output:?}");
        } else {
            assert!(
                output.err().contains("/dev/null") || output.err().contains("/dev"),
                "case {number}: {output:?}"
            );
        }
    }
    // One of the right kind and the wrong number.
    let root = runtime.world().rootfs_busybox();
    root.directory("dev");
    let zero = format!("{}/dev/null", root.plain());
    runtime.world().program(["mknod", &zero, "c", "1", "5"]).run().ok();
    refused(on_the_images_dev(&runtime, &root).shell("true").run(), 1, &["/dev/null"]);
}

/// The same while a neighbour who shares the directory exchanges the device for something else.
#[test]
fn a_race_for_the_null_device_is_lost() {
    let runtime = Runtime::new();
    for other in ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "file"] {
        let root = runtime.world().rootfs_busybox();
        let dev = root.directory("dev");
        let null = dev.join("null");
        runtime.world().program(["mknod", "-m", "666", null.to_str().unwrap(), "c", "1", "3"]).run().ok();
        match other {
            "file" => drop(root.file("dev/.other", "a regular file")),
            link => root.link("dev/.other", link),
        }
        let racer = Racer::between(&null, &dev.join(".other"));
        let bundle = on_the_images_dev(&runtime, &root)
            .shell("stat -c %t:%T /proc/keys /proc/timer_list; cat /proc/keys");
        let (mut started, mut refused) = (0, 0);
        for _ in 0..25 {
            let output = bundle.run();
            if output.code == 0 {
                started += 1;
                assert_eq!(output.out(), "1:3\n1:3\n", "{output:?}");
            } else {
                refused += 1;
                assert!(output.err().contains("/dev"), "{output:?}");
            }
        }
        assert!(racer.rounds() > 100, "{started} {refused}");
    }
}

/// Making devices in a directory that somebody else changes touches nothing of the host's.
#[test]
fn a_race_for_a_device_changes_no_file_of_the_host() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let victim = runtime.file("victim", "secret");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    let shared = root.directory("shared");
    let device = shared.join("one");
    runtime.world().program(["mknod", device.to_str().unwrap(), "c", "1", "3"]).run().ok();
    std::os::unix::fs::symlink(&victim, shared.join("other")).unwrap();
    // The same device many times: many chances for the neighbour.
    let one = json!({ "path": "/shared/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 1000, "gid": 1000 });
    let bundle = runtime.bundle(&root).with("/linux/devices", vec![one; 400]).args(["/inside", "true"]);
    let racer = Racer::between(&device, &shared.join("other"));
    for _ in 0..30 {
        drop(bundle.run());
        let now = fs::metadata(&victim).unwrap();
        assert_eq!(
            (now.mode() & 0o7777, now.uid(), now.gid()),
            (0o600, 0, 0),
            "a file of the host was changed"
        );
    }
    assert!(racer.rounds() > 100);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "secret");
}

/// CVE-2025-52565: the terminal's inner end is bound over /dev/console, and nothing else is, nowhere else.
#[test]
fn a_console_that_is_a_link() {
    let runtime = Runtime::new();
    let victim = runtime.file("victim", "of the host\n");
    for target in
        ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/etc/passwd", "/new/place", &victim]
    {
        let root = runtime.world().rootfs_busybox();
        root.directory("dev/pts");
        root.directory("etc");
        root.link("dev/console", target);
        let console = Receiver::at(&runtime.path(&format!("console{}", target.replace('/', "-"))));
        let mut bundle = runtime.bundle(&root);
        for destination in ["/dev/shm", "/dev/mqueue", "/dev"] {
            bundle = bundle.without_mount(destination);
        }
        let look = "cut -d' ' -f5 /proc/self/mountinfo | grep -c '^/proc/sys' ; stat -c %t /dev/console; \
            echo x 2> /dev/null > /proc/sys/kernel/core_pattern && echo WRITTEN; sleep 600";
        let bundle = bundle.shell(look).with("/process/terminal", true);
        let made = bundle.launch(&[], "create", &["--console-socket", &console.path()]);
        let Ok(container) = made else { continue };
        let terminal = Terminal::over(console.receive().1);
        container.start();
        // /dev/pts/0 is 136:0, whatever name it has.
        let screen = terminal.until("88\r\n");
        assert!(!screen.contains("WRITTEN"), "{target}: {screen}");
        container.remove();
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "of the host\n");
}

/// The same where the image brings /dev/pts itself, with a ptmx of its own.
#[test]
fn terminals_that_are_none() {
    let runtime = Runtime::new();
    let victim = runtime.file("victim", "of the host\n");
    for target in ["/proc/sysrq-trigger", "/dev/zero", "/dev/ptmx", &victim, "/etc/passwd"] {
        let root = runtime.world().rootfs_busybox();
        root.directory("dev/pts");
        root.link("dev/pts/ptmx", target);
        root.file("dev/pts/0", "no terminal");
        let console = Receiver::at(&runtime.path(&format!("console{}", target.replace('/', "-"))));
        let bundle = on_the_images_dev(&runtime, &root)
            .shell("stat -c %t /dev/console")
            .with("/process/terminal", true);
        let made = bundle.launch(&[], "create", &["--console-socket", &console.path()]);
        if let Ok(container) = made {
            container.start();
            container.wait();
            container.remove();
        }
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "of the host\n");
}

/// A race for /dev/pts/0 and /dev/console by a neighbour who shares the directories.
#[test]
fn a_race_for_the_console_is_lost() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let dev = root.directory("dev");
    root.directory("dev/pts");
    root.file("dev/console", "");
    root.link("dev/.other", "/proc/sysrq-trigger");
    let racer = Racer::between(&dev.join("console"), &dev.join(".other"));
    let mut bundle = runtime.bundle(&root);
    for destination in ["/dev/shm", "/dev/mqueue", "/dev"] {
        bundle = bundle.without_mount(destination);
    }
    // Read-only over it as ever: /proc/sysrq-trigger may be hidden, but not opened.
    let look = "echo h 2> /dev/null > /proc/sysrq-trigger && mountpoint -q /proc/sysrq-trigger && \
        [ $(stat -c %t /proc/sysrq-trigger) = 0 ] && echo WRITTEN; echo done; sleep 600";
    let bundle = bundle.shell(look).with("/process/terminal", true);
    for round in 0..20 {
        // One each: who fails may have connected before.
        let console = Receiver::at(&runtime.path(&format!("console{round}")));
        let Ok(container) = bundle.launch(&[], "create", &["--console-socket", &console.path()]) else {
            continue;
        };
        let terminal = Terminal::over(console.receive().1);
        container.start();
        assert!(!terminal.until("done").contains("WRITTEN"));
        container.remove();
    }
    assert!(racer.rounds() > 100);
}

/// A setting of the kernel that belongs to the host alone and harms nobody; as it was before, when dropped.
struct Canary {
    before: String,
}

/// lease-break-time: how long a lease is kept, fcntl(2).
const CANARY: &str = "/proc/sys/fs/lease-break-time";

impl Canary {
    fn new() -> Self {
        Self { before: fs::read_to_string(CANARY).unwrap() }
    }

    #[track_caller]
    fn is_unharmed(&self) {
        assert_eq!(fs::read_to_string(CANARY).unwrap(), self.before, "a setting of the host was changed");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = fs::write(CANARY, &self.before);
    }
}

/// CVE-2025-52881: a kernel setting is written to the container's procfs and to the file of its name there.
#[test]
fn settings_are_not_redirected() {
    let runtime = Runtime::new();
    let canary = Canary::new();
    let root = runtime.world().rootfs_inside();
    let fake = runtime.directory("fake/sys/net/ipv4");
    fs::write(format!("{fake}/ip_forward"), "untouched").unwrap();
    let fake_proc = runtime.path("fake");
    let plain = || runtime.bundle(&root).args(["/inside", "true"]);
    let forward = |bundle: Bundle<'_>| bundle.with("/linux/sysctl/net.ipv4.ip_forward", "1").run();
    let bare =
        || plain().without_mount("/proc").without("/linux/maskedPaths").without("/linux/readonlyPaths");
    // A /proc that is none.
    for (what, bundle) in [
        ("a tmpfs", bare().mount("/proc", "tmpfs", "tmpfs", &[])),
        ("a directory of the host", bare().bind(&fake_proc, "/proc", &[])),
        ("the image's directory", bare()),
        ("a tmpfs over it", plain().mount("/proc", "tmpfs", "tmpfs", &[])),
        ("a directory over it", plain().bind(&fake_proc, "/proc", &[])),
        ("a directory over a part", plain().bind(&fake, "/proc/sys/net/ipv4", &[])),
        ("a tmpfs over a part", plain().mount("/proc/sys/net", "tmpfs", "tmpfs", &[])),
    ] {
        let output = forward(bundle);
        assert_eq!(output.code, 1, "{what}: {output:?}");
    }
    assert_eq!(fs::read_to_string(format!("{fake}/ip_forward")).unwrap(), "untouched");
    // A part of procfs in the place of another: what is allowed by its name is not what it is.
    for (source, destination, key) in [
        ("/proc/sys/fs", "/proc/sys/net/ipv4", "net.ipv4.lease-break-time"),
        (CANARY, "/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("/proc/sys/fs", "/proc/sys/fs/mqueue", "fs.mqueue.lease-break-time"),
        (CANARY, "/proc/sys/kernel/msgmax", "kernel.msgmax"),
    ] {
        let bundle = plain().bind(source, destination, &[]).with(&format!("/linux/sysctl/{key}"), "44");
        drop(bundle.run());
        canary.is_unharmed();
    }
}

/// What a neighbour swaps while it is mounted: a volume whose place becomes a link into /proc.
#[test]
fn a_race_for_settings_is_lost() {
    let runtime = Runtime::new();
    let canary = Canary::new();
    let root = runtime.world().rootfs_inside();
    let arena = root.directory("arena");
    root.directory("arena/one");
    root.link("arena/other", "/proc/sys/net/ipv4");
    let racer = Racer::between(&arena.join("one"), &arena.join("other"));
    let bundle = runtime
        .bundle(&root)
        .bind("/proc/sys/fs", "/arena/one", &[])
        .with("/linux/sysctl/net.ipv4.lease-break-time", "44")
        .args(["/inside", "true"]);
    for _ in 0..25 {
        assert_eq!(bundle.run().code, 1, "there is no such setting");
        canary.is_unharmed();
    }
    assert!(racer.rounds() > 100);
}

/// The security label of a further program is written to procfs, or the program does not run: a file in its place
/// would leave the program without (CVE-2019-16884).
#[test]
fn labels_are_not_redirected() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let fake = "mkdir -p /fake/self/attr/apparmor && mount -t tmpfs none /proc && mkdir -p /proc/self/attr/apparmor && \
        : > /proc/self/attr/apparmor/exec && : > /proc/self/attr/exec && echo ready; sleep 600";
    let rights = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"];
    let container = runtime.bundle(&root).capabilities(&rights).shell(fake).detached();
    container.until("ready");
    for option in ["--apparmor", "--process-label"] {
        let output =
            container.exec_with(&[option, "confined"], ["/bin/busybox", "echo", "ran without a label"]).run();
        assert_eq!((output.code, output.out().as_str()), (255, ""), "{option}: {output:?}");
    }
    container.remove();
    // By config.json: a directory in the place of /proc.
    let place = runtime.directory("place/self/attr/apparmor");
    fs::write(format!("{place}/exec"), "").unwrap();
    fs::write(runtime.path("place/self/attr/exec"), "").unwrap();
    for field in ["apparmorProfile", "selinuxLabel"] {
        let bundle = runtime
            .bundle(&root)
            .bind(&runtime.path("place"), "/proc", &[])
            .without("/linux/maskedPaths")
            .without("/linux/readonlyPaths")
            .with(&format!("/process/{field}"), "confined")
            .shell("echo ran without a label");
        let output = bundle.run();
        assert_eq!((output.code, output.out().as_str()), (1, ""), "{field}: {output:?}");
    }
    assert_eq!(fs::read_to_string(format!("{place}/exec")).unwrap(), "");
}

/// Masks are on what they are meant for, with a link in the image's way or without.
#[test]
fn masks_are_not_redirected() {
    let runtime = Runtime::new();
    for (name, target) in [("proc", "/fake"), ("sys", "/fake"), ("proc", "fake"), ("dev", "/fake")] {
        let root = runtime.world().rootfs_busybox();
        root.directory("fake");
        root.link(name, target);
        refused(runtime.bundle(&root).shell("true").run(), 1, &["link", name]);
    }
    // Whoever administers a user namespace of his own may take masks off, as in any other runtime; what is below them
    // belongs to the host's root, and stays out of reach.
    let root = runtime.world().rootfs_busybox();
    crate::owned_by(&runtime, &root, 200_000);
    let bundle = runtime.bundle(&root).mapped(200_000).capabilities(&["CAP_SYS_ADMIN"]);
    let container = bundle.args(["/inside", "pause"]).detached();
    container.until("ready");
    let line = "umount /proc/sys; umount /proc/sysrq-trigger; mount -o remount,rw,bind /proc/sys; \
        echo 1 > /proc/sys/kernel/panic && echo WRITTEN; echo h > /proc/sysrq-trigger && echo WRITTEN; echo tried";
    let output = container.exec(["sh", "-c", line]).run().ok();
    assert_eq!(output.out(), "tried\n", "{output:?}");
    container.remove();
    // Without that right nobody takes one off.
    let container = runtime.bundle(&root).mapped(200_000).args(["/inside", "pause"]).detached();
    container.until("ready");
    let line =
        "umount /proc/keys; umount -l /proc; mount -o remount,rw,bind /proc/sys; stat -c %t:%T /proc/keys";
    assert_eq!(container.exec(["sh", "-c", line]).run().ok().out(), "1:3\n");
    container.remove();
}
