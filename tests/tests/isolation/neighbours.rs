//! Two containers at once: neither sees the other's processes, mounts, host name, IPC objects or files.

use minidocker_tests::{Running, World};

/// A shell in a container, typed to.
struct Shell {
    running: Running,
    asked: usize,
}

impl Shell {
    /// What one command line prints.
    #[track_caller]
    fn ask(&mut self, line: &str) -> String {
        self.asked += 1;
        let (begin, end) = (format!("<{}>", self.asked), format!("</{}>", self.asked));
        self.running.type_in(format!("echo '{begin}'; {line}; echo '{end}'\n").as_bytes());
        let all = self.running.until(&end);
        let text = all.split(&begin).nth(1).and_then(|rest| rest.split(&end).next());
        text.expect("an answer between its marks").trim().to_owned()
    }
}

fn start(world: &World, hostname: &str, volume: &str) -> Shell {
    let root = world.rootfs_busybox().plain();
    let source = world.directory().join(volume);
    std::fs::create_dir(&source).expect("our own directory");
    let volume = format!("{}:/{volume}", source.display());
    let words = ["run", "--rm", "-i", "--rootfs", &root, "--hostname", hostname, "-v", &volume, "sh"];
    Shell { running: world.call(words).stdin_open().spawn(), asked: 0 }
}

#[test]
fn neither_sees_the_other() {
    let world = World::new();
    let mut one = start(&world, "alpha", "only-alpha");
    let mut two = start(&world, "beta", "only-beta");
    for (shell, other, name) in [(&mut one, "beta", "alpha"), (&mut two, "alpha", "beta")] {
        assert_eq!(shell.ask("hostname"), name);
        // The same key in both: an object of its own each.
        let made = shell.ask("/inside shm-key create 4711");
        assert!(made.contains("\"id\":"), "{made}");
        // The shell's child is called as the shell until it has become the program.
        shell.ask("/inside sleep 100 & until ps -o args | grep -q '[i]nside sleep'; do sleep 0.01; done");
        shell.ask("mkdir /private; touch /tmp/file-of-$(hostname)");
        let mounts = shell.ask("cat /proc/self/mountinfo");
        assert!(mounts.contains(&format!(" /only-{name} ")), "{mounts}");
        assert!(!mounts.contains(&format!("only-{other}")), "{mounts}");
    }
    for (shell, other) in [(&mut one, "beta"), (&mut two, "alpha")] {
        let list = shell.ask("/inside shm-key list");
        assert_eq!(list.matches("4711").count(), 1, "its own segment alone: {list}");
        let processes = shell.ask("ps -o pid,args");
        assert_eq!(processes.matches("/inside sleep 100").count(), 1, "{processes}");
        assert_eq!(processes.lines().count(), 4, "heading, shell, sleep, ps: {processes}");
        let files = shell.ask("ls /tmp");
        assert!(!files.contains(other), "{files}");
    }
    // What one removes, the other keeps.
    one.ask("/inside shm-key remove 4711");
    assert!(two.ask("/inside shm-key list").contains("4711"));
    // No process of the other can be signalled: its numbers are its own.
    assert_eq!(one.ask("kill -9 -1; echo alive"), "alive");
    assert_eq!(two.ask("ps -o args | grep -c '[i]nside sleep'"), "1");
    for mut shell in [one, two] {
        shell.running.type_in(b"exit 0\n");
        shell.running.wait().ok();
    }
}
