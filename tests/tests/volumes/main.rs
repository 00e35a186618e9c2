//! Volumes: what a new one gets, who may remove it, what stays and what goes; binds and what they may do.

mod binds;
mod copy_up;
mod drivers;
mod keeping;

use minidocker_tests::{Output, Rootfs, World};

/// A world with a root directory that has something in /srv/www.
struct Ground {
    world: World,
    root: Rootfs,
}

/// The containers go; the world looks for what else is left.
impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let all = self.world.minidocker(["ps", "-aq"]).text();
        let all: Vec<&str> = all.lines().collect();
        if !all.is_empty() {
            self.world.minidocker([&["rm", "-f"], all.as_slice()].concat()).ok();
        }
    }
}

impl Ground {
    fn new() -> Self {
        let world = World::new();
        let root = world.rootfs_busybox();
        root.file("srv/www/index", "hello");
        root.directory("empty");
        Self { world, root }
    }

    /// `run --rm OPTIONS … sh -c SCRIPT`.
    #[track_caller]
    fn run(&self, options: &[&str], script: &str) -> Output {
        self.call(&[&["--rm"], options].concat(), script)
    }

    /// `run OPTIONS … sh -c SCRIPT`: the container stays.
    #[track_caller]
    fn call(&self, options: &[&str], script: &str) -> Output {
        let overlay = self.root.overlay();
        let first: &[&str] = &["run", "--network", "none"];
        self.world.minidocker([first, options, &["--rootfs", &overlay, "sh", "-c", script]].concat())
    }

    /// A container that runs until it is killed.
    #[track_caller]
    fn detached(&self, options: &[&str]) -> String {
        let overlay = self.root.overlay();
        let last: &[&str] = &["--network", "none", "--rootfs", &overlay, "/inside", "pause"];
        self.world.detached([options, last].concat())
    }

    /// The names of all volumes.
    #[track_caller]
    fn volumes(&self) -> Vec<String> {
        let text = self.world.minidocker(["volume", "ls", "-q"]).text();
        text.lines().map(str::to_owned).collect()
    }

    /// Where a volume's files are.
    fn data(&self, name: &str) -> std::path::PathBuf {
        self.world.root().join("volumes").join(name).join("data")
    }
}
