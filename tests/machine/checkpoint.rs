//! `checkpoint` and `restore` of the runtime: processes become files, everything of them goes from the machine, and they
//! go on from the files.
//!
//! A CRIU is as old as the kernels that it knows: Debian's works on the machine's kernel.

use std::fs;

use minidocker_tests::bundle::{Bundle, Receiver, Runtime, Streams, Terminal};
use minidocker_tests::need;
use serde_json::Value;

/// Counts in /count and on its standard output.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >/new; mv /new /count; echo $i; usleep 20000; done";

/// The CRIU that is tried: `MINIDOCKER_CRIU`, or the one in PATH.
fn criu() -> String {
    let named = std::env::var("MINIDOCKER_CRIU").ok().filter(|path| !path.is_empty());
    named.unwrap_or_else(|| need("criu").to_str().expect("text").to_owned())
}

/// A container that is checkpointed and restored.
struct Traveller<'r> {
    runtime: &'r Runtime,
    bundle: &'r Bundle<'r>,
    criu: &'r str,
    images: String,
}

impl<'r> Traveller<'r> {
    fn new(runtime: &'r Runtime, bundle: &'r Bundle<'r>, criu: &'r str) -> Self {
        Self { runtime, bundle, criu, images: runtime.path("images") }
    }

    fn words(&self, command: &str, options: &[&str]) -> Vec<String> {
        let mut words = vec!["--criu", self.criu, command, "--image-path", &self.images];
        words.extend(options);
        words.push(self.bundle.id());
        words.into_iter().map(str::to_owned).collect()
    }

    #[track_caller]
    fn checkpoint(&self, options: &[&str]) {
        self.runtime.call(self.words("checkpoint", options)).run().prints("");
    }

    fn restore_words(&self, options: &[&str]) -> Vec<String> {
        let directory = self.bundle.directory().to_str().expect("text").to_owned();
        self.words("restore", &[&["--bundle", &directory], options].concat())
    }

    #[track_caller]
    fn restore(&self, options: &[&str]) -> Streams {
        let words = self.restore_words(&[&["--detach"], options].concat());
        self.runtime.leave(&[], words).unwrap_or_else(|output| panic!("{output:?}"))
    }

    #[track_caller]
    fn state(&self) -> Value {
        self.runtime.call(["state", self.bundle.id()]).run().json()
    }

    #[track_caller]
    fn exec(&self, line: &str) -> String {
        self.runtime.call(["exec", self.bundle.id(), "sh", "-c", line]).run().text()
    }

    #[track_caller]
    fn delete(&self) {
        self.runtime.call(["delete", "--force", self.bundle.id()]).run().prints("");
    }
}

/// The last whole number that was counted to.
fn last(text: &str) -> u64 {
    let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    whole.lines().last().and_then(|line| line.parse().ok()).unwrap_or(0)
}

#[test]
fn a_counter_goes_on_from_files_when_all_else_of_it_is_gone() {
    let criu = &criu();
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    root.link("data", "real/data");
    let (outer, inner) = (runtime.directory("outer"), runtime.directory("inner"));
    fs::write(format!("{inner}/file"), "of the host").unwrap();
    // One bind mount through a link, one in it.
    let bundle = runtime
        .bundle(&root)
        .shell(COUNT)
        .bind(&outer, "/data", &["rbind", "rw"])
        .bind(&inner, "/data/deep/er", &["bind", "ro"])
        .with("/linux/resources/pids/limit", 77);
    let traveller = Traveller::new(&runtime, &bundle, criu);
    let container = bundle.detached();
    container.until("\n5\n");
    let before = traveller.state();
    traveller.checkpoint(&[]);
    let counted = last(&container.all_out());
    // Whoever took it over may not have waited for it yet.
    let stat = fs::read_to_string(format!("/proc/{}/stat", before["pid"]));
    assert!(stat.is_err() || stat.is_ok_and(|text| text.contains(") Z ")), "its process is gone");
    assert!(runtime.states().is_empty(), "{:?}", runtime.states());
    assert!(bundle.group().directories().is_empty(), "its control groups are gone");
    // Mount points in what is the host's are made again.
    fs::remove_dir_all(format!("{outer}/deep")).unwrap();

    let pid_file = runtime.path("pid");
    let streams = traveller.restore(&["--pid-file", &pid_file]);
    let text = streams.until(&format!("\n{}\n", counted + 3));
    assert_eq!(text.lines().next(), Some((counted + 1).to_string().as_str()), "not one number is lost");
    let state = traveller.state();
    assert_eq!(state["status"], "running");
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    assert_eq!(bundle.group().number("pids", "pids.max"), 77, "its limits are back");
    assert!(bundle.group().processes().contains(&(state["pid"].as_i64().unwrap() as i32)));
    assert_eq!(traveller.exec("cat /data/deep/er/file"), "of the host");
    assert_eq!(traveller.exec("touch /data/deep/er/new 2>/dev/null || echo read-only"), "read-only");
    // The network came back empty, with its loopback up as at the start.
    assert_eq!(traveller.exec("cat /sys/class/net/lo/carrier"), "1");

    // It can be saved again, and its streams are known by their new names.
    traveller.checkpoint(&[]);
    let counted = last(&streams.all_out());
    let streams = traveller.restore(&[]);
    streams.until(&format!("\n{}\n", counted + 2));
    traveller.delete();
}

#[test]
fn what_is_left_running_goes_on_and_what_is_restored_in_the_foreground_is_waited_for() {
    let criu = &criu();
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    // Without files: those of one that goes on are not those of its images any more, and CRIU looks.
    let script = "trap 'exit 7' TERM; i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done";
    let bundle = runtime.bundle(&root).shell(script);
    let traveller = Traveller::new(&runtime, &bundle, criu);
    let container = bundle.detached();
    container.until("\n3\n");
    traveller.checkpoint(&["--leave-running"]);
    let now = last(&container.out());
    container.until(&format!("\n{}\n", now + 3));
    assert_eq!(container.status(), "running");
    container.remove();

    let restored = runtime.call(traveller.restore_words(&[])).spawn();
    restored.until(&format!("\n{}\n", now + 3));
    runtime.call(["kill", bundle.id(), "TERM"]).run().prints("");
    restored.wait().exits(7);
    assert!(runtime.states().is_empty() && bundle.group().directories().is_empty());
}

#[test]
fn the_terminal_is_sent_to_whoever_restores() {
    let criu = &criu();
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let console = Receiver::at(&runtime.path("console"));
    let bundle = runtime
        .bundle(&root)
        .shell("echo first; while read line; do echo \"<$line>\"; done")
        .with("/process/terminal", true);
    let traveller = Traveller::new(&runtime, &bundle, criu);
    let options = ["--detach", "--console-socket", &console.path()];
    bundle.launch(&[], "run", &options).unwrap();
    let first = Terminal::over(console.receive().1);
    first.until("first");
    traveller.checkpoint(&[]);
    traveller.restore(&["--console-socket", &console.path()]);
    let second = Terminal::over(console.receive().1);
    second.type_in("hello\n");
    second.until("<hello>");
    traveller.delete();
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    let criu = &criu();
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).shell(COUNT);
    let traveller = Traveller::new(&runtime, &bundle, criu);
    let container = bundle.create();
    let refused = |command, word: &str| {
        let output = runtime.call(traveller.words(command, &[])).run().exits(1);
        assert!(output.err().contains(word), "`{word}` is not in {output:?}");
    };
    refused("checkpoint", "Container cannot be checkpointed in created state");
    container.start();
    container.until("\n2\n");
    traveller.checkpoint(&["--leave-running"]);
    container.remove();
    // Without what it needs of the images nothing is restored, and nothing stays.
    let images = fs::read_dir(&traveller.images).unwrap().flatten();
    images
        .filter(|file| file.file_name() == "inventory.img")
        .for_each(|file| fs::remove_file(file.path()).unwrap());
    let output = runtime.call(traveller.restore_words(&["--detach"])).run().exits(1);
    assert!(output.err().contains("criu restore failed"), "{output:?}");
    assert!(runtime.states().is_empty() && bundle.group().directories().is_empty());
    refused("checkpoint", "container does not exist");
    let output =
        runtime.call(["--criu", "/no/such/criu", "restore", "-b", bundle.directory().to_str().unwrap(), "x"]);
    assert!(output.run().exits(1).err().contains("/no/such/criu not found"));
}
