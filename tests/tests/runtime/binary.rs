//! The host's program is out of reach (CVE-2019-5736): whatever runs in a container, through whichever link of /proc,
//! cannot write to it. Each test works on a copy of the program and compares it at the end.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use minidocker_tests::bundle::{Bundle, Runtime};
use minidocker_tests::{Rootfs, emulated, until};

use crate::inner::hostile;

/// The program, as it was before.
struct Victim {
    path: PathBuf,
    content: Vec<u8>,
    inode: u64,
}

impl Victim {
    fn of(runtime: &Runtime) -> Self {
        let path = fs::canonicalize(runtime.program()).unwrap();
        Self { content: fs::read(&path).unwrap(), inode: fs::metadata(&path).unwrap().ino(), path }
    }

    #[track_caller]
    fn is_unharmed(&self) {
        let now = fs::metadata(&self.path).unwrap();
        assert_eq!((now.ino(), now.len()), (self.inode, self.content.len() as u64));
        assert_eq!(now.permissions().mode() & 0o777, 0o755);
        assert!(fs::read(&self.path).unwrap() == self.content, "the host's program was overwritten");
    }
}

/// Rights that let a program in the container look into others: without a user namespace of its own these are the
/// host's, and /proc/PID of whoever arrives is open to it.
const PEEPER: [&str; 5] =
    ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER"];

/// The program as the entry point, by /proc/self/exe and by a script whose interpreter that is.
#[test]
fn as_the_entry_point() {
    let runtime = Runtime::on_a_copy();
    let victim = Victim::of(&runtime);
    let root = runtime.world().rootfs_busybox();
    root.script("evil", "#!/proc/self/exe\n");
    root.link("link", "/proc/self/exe");
    for program in ["/proc/self/exe", "/evil", "/link", "/proc/1/exe", "/proc/thread-self/exe"] {
        let bundle = runtime.bundle(&root).capabilities(&PEEPER).args([program, "features"]);
        // Whether the kernel executes it is not the question.
        drop(bundle.run());
        if let Ok(container) = bundle.launch(&[], "create", &[]) {
            drop(container.call(&["start"]).run());
            container.remove();
        }
        victim.is_unharmed();
    }
    let container = runtime.bundle(&root).args(["/inside", "pause"]).detached();
    container.until("ready");
    for program in ["/proc/self/exe", "/evil", "/link"] {
        drop(container.exec([program, "features"]).run());
        victim.is_unharmed();
    }
    container.remove();
}

/// What a process of the container may try on /proc/1/exe, as its shell does it: the descriptor is opened for reading
/// and kept, and tried again when the program runs no more.
const ATTACK: &str = "
exec 9< /proc/1/exe || exit 0
try() { eval \"$2\" 2> /dev/null && echo \"$1 succeeded\"; }
attack() {
    try write 'echo evil > /proc/self/fd/9'
    try append 'echo evil >> /proc/self/fd/9'
    try open-both 'echo evil 1<> /proc/self/fd/9'
    try direct 'echo evil > /proc/1/exe'
    try chmod 'chmod 777 /proc/self/fd/9'
    try chown 'chown 1:1 /proc/self/fd/9'
    try touch 'touch /proc/self/fd/9'
    try truncate 'truncate -s 0 /proc/self/fd/9'
    try remount 'mount -o remount,bind,rw /proc/self/fd/9'
    try bind 'mount --bind /proc/self/fd/9 /target && echo evil > /target'
    try dd 'dd if=/bin/busybox of=/proc/self/fd/9 bs=1 count=1 conv=notrunc'
}
attack
echo attacked
";

/// While PID 1 is the host's program: it was the entry point, and waits for its standard input.
#[test]
fn while_it_is_pid_1() {
    let runtime = Runtime::on_a_copy();
    let victim = Victim::of(&runtime);
    let root = runtime.world().rootfs_busybox();
    root.file("target", "");
    let words = ["/proc/self/exe", "update", "--resources", "-", "x"];
    let bundle = runtime.bundle(&root).capabilities(&PEEPER).args(words);
    let mut running = bundle.call("run", &[]).stdin_open().spawn();
    until("it runs or has ended", || {
        !running.is_alive() || runtime.call(["state", bundle.id()]).run().out().contains("running")
    });
    if running.is_alive() {
        let output = runtime.call(["exec", bundle.id(), "sh", "-c", ATTACK]).run();
        assert!(!output.out().contains("succeeded"), "{output:?}");
        victim.is_unharmed();
        // Held by a descriptor until nothing executes it any more.
        let late = format!("{ATTACK} kill -9 -1; sleep 0.05; attack");
        drop(runtime.call(["exec", bundle.id(), "sh", "-c", &late]).run());
        victim.is_unharmed();
    }
    running.end_input();
    drop(running.wait());
    drop(runtime.call(["delete", "--force", bundle.id()]).run());
    victim.is_unharmed();
}

/// How many programs arrive before a thief without a chance is believed.
fn arrivals() -> usize {
    if emulated() { 5 } else { 60 }
}

fn thief<'r>(runtime: &'r Runtime, root: &Rootfs, rights: &[&str]) -> Bundle<'r> {
    hostile(runtime.bundle(root), "steal").capabilities(rights)
}

/// A process of the container opens /proc/PID/exe of an arriving `exec` for reading, and opens that again for writing
/// when the program that it was is no longer executed.
#[test]
fn while_a_further_program_arrives() {
    let runtime = Runtime::on_a_copy();
    let victim = Victim::of(&runtime);
    let root = runtime.world().rootfs_inside();
    for rights in [&PEEPER[..], &[], &["CAP_DAC_OVERRIDE"]] {
        let container = thief(&runtime, &root, rights).detached();
        container.until("ready");
        for _ in 0..arrivals() {
            let output = container.exec(["/inside", "true"]).run();
            assert_eq!(output.code, 0, "{output:?}");
            if container.out().contains("stole 3") {
                break;
            }
        }
        // With the rights to look it saw one: the test is one.
        let stole = container.out().contains("stole");
        assert!(stole || rights != PEEPER, "nothing was there to steal: {container:?}");
        assert!(!stole || rights == PEEPER, "what arrives can be opened without any right: {container:?}");
        if stole {
            container.until("refused");
        }
        assert!(!container.out().contains("WRITTEN"), "{container:?}");
        victim.is_unharmed();
        container.remove();
        victim.is_unharmed();
    }
}

/// The same where the container's root is nobody outside.
#[test]
fn while_a_further_program_arrives_in_a_user_namespace() {
    let runtime = Runtime::on_a_copy();
    let victim = Victim::of(&runtime);
    let root = runtime.world().rootfs_inside();
    crate::owned_by(&runtime, &root, 200_000);
    let container = thief(&runtime, &root, &PEEPER).mapped(200_000).detached();
    container.until("ready");
    for _ in 0..arrivals() {
        container.exec(["/inside", "true"]).run().ok();
    }
    assert!(!container.out().contains("stole"), "its root has rights over what arrives: {container:?}");
    container.remove();
    victim.is_unharmed();
}

/// A container that is made in the pid namespace of another, as in a pod: its init is seen there while it is made.
#[test]
fn while_a_container_arrives_in_its_pid_namespace() {
    let runtime = Runtime::on_a_copy();
    let victim = Victim::of(&runtime);
    let root = runtime.world().rootfs_inside();
    for rights in [&PEEPER[..], &[]] {
        let first = thief(&runtime, &root, rights).detached();
        first.until("ready");
        let path = format!("/proc/{}/ns/pid", first.pid());
        for _ in 0..arrivals() / 2 {
            runtime.bundle(&root).namespace("pid", &path).args(["/inside", "true"]).run().ok();
        }
        assert!(!first.out().contains("WRITTEN"), "{first:?}");
        assert!(!first.out().contains("stole") || rights == PEEPER, "opened without any right: {first:?}");
        first.remove();
        victim.is_unharmed();
    }
}

/// A container that waits for its start is the host's program still.
#[test]
fn while_it_waits_for_its_start() {
    let runtime = Runtime::on_a_copy();
    let victim = Victim::of(&runtime);
    let root = runtime.world().rootfs_busybox();
    root.file("target", "");
    let container = runtime.bundle(&root).capabilities(&PEEPER).args(["/inside", "pause"]).create();
    // The host's root has more rights than any container; the copy is on a mount that nobody can make writable.
    let path = format!("/proc/{}/exe", container.pid());
    let opened = fs::OpenOptions::new().write(true).open(&path);
    assert!(opened.is_err(), "{path} can be written");
    let held = fs::File::open(&path).unwrap();
    container.start();
    container.until("ready");
    use std::os::fd::AsRawFd;
    let again = format!("/proc/self/fd/{}", held.as_raw_fd());
    let errno = fs::OpenOptions::new().write(true).open(&again).unwrap_err().raw_os_error();
    // EROFS, or for a sealed copy in memory EPERM; not ETXTBSY, which lasts only as long as somebody executes it.
    assert!(matches!(errno, Some(30 | 1)), "the mount that it was on: {errno:?}");
    container.remove();
    victim.is_unharmed();
}

/// /proc/PID/exe of a running container leads to the container's own program and to nothing of the host's.
#[test]
fn a_running_container_shows_its_own_program() {
    let runtime = Runtime::on_a_copy();
    let victim = Victim::of(&runtime);
    let root = runtime.world().rootfs_inside();
    let container = runtime.bundle(&root).args(["/inside", "pause"]).detached();
    container.until("ready");
    let exe = fs::metadata(format!("/proc/{}/exe", container.pid())).unwrap();
    let own = fs::metadata(root.path().join("inside")).unwrap();
    assert_eq!((exe.dev(), exe.ino()), (own.dev(), own.ino()));
    let facts = container.exec(["/inside", "facts"]).run().json();
    assert_eq!(facts["fds"].as_object().unwrap().keys().collect::<Vec<_>>(), ["0", "1", "2"]);
    container.remove();
    victim.is_unharmed();
}
