//! A test's own world: nothing that it does meets another test's, or the host's.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use serde_json::Value;

use crate::cgroups::{self, Group};
use crate::{Call, Output, Rootfs, leaks, need, programs, scaled};

/// How long the kernel may take to clean up behind the last process: network namespaces go in the background, one
/// after the other, those of all worlds, and on a machine that is busy with others that takes its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bridge of every world: each has a network namespace of its own.
pub(crate) const BRIDGE: &str = "mdtest0";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// State roots, a bridge's name, a control group and a "host" network namespace of its own. Dropped, it looks for
/// leaks: each is a failure of the test.
#[derive(Debug)]
pub struct World {
    name: String,
    directory: PathBuf,
    network: File,
    minidocker: PathBuf,
    /// For the names of root directories.
    made: AtomicU32,
    gone: bool,
}

impl World {
    /// A new one.
    ///
    /// # Panics
    /// Without root, without the programs under test, or where the machine lacks what every test needs.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it makes kernel objects")]
    pub fn new() -> Self {
        programs::need_root();
        let minidocker = programs::minidocker();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("minidocker-test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir(&directory).unwrap_or_else(|error| panic!("make {}: {error}", directory.display()));
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("our own directory");
        let network = new_network();
        Self { name, directory, network, minidocker, made: AtomicU32::new(0), gone: false }
    }

    /// `minidocker-test-<pid>-<number>`, part of the name of everything that is the world's own.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A directory for the test's own files; it goes with the world.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The state root.
    pub fn root(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The run root.
    pub fn run_root(&self) -> PathBuf {
        self.directory.join("run")
    }

    /// The control group above all containers of this world, `/minidocker-test-…`.
    pub fn cgroup_parent(&self) -> String {
        format!("/{}", self.name)
    }

    /// The name of the default network's bridge, in the world's own network namespace.
    pub fn bridge(&self) -> &'static str {
        BRIDGE
    }

    /// The world's "host" network namespace, as a path that nsenter(1) and setns(2) take.
    pub fn network_path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd()).into()
    }

    /// Runs `minidocker WORDS` to its end.
    ///
    /// # Panics
    /// Where it hangs.
    #[track_caller]
    pub fn minidocker<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Output {
        self.call(words).run()
    }

    /// Starts `minidocker WORDS`, without waiting.
    #[track_caller]
    pub fn spawn<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> crate::Running {
        self.call(words).spawn()
    }

    /// Starts `minidocker WORDS` on a terminal of 24 rows and 80 columns.
    #[track_caller]
    pub fn pty<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> crate::Pty {
        self.call(words).pty(24, 80)
    }

    /// `minidocker WORDS` with this world's roots, bridge and control group, yet to be started.
    #[track_caller]
    pub fn call<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Call<'_> {
        let text = |path: &Path| path.to_str().expect("our own names are text").to_owned();
        let mut all = vec![text(&self.minidocker)];
        all.extend([
            "--root".to_owned(),
            text(&self.root()),
            "--run-root".to_owned(),
            text(&self.run_root()),
        ]);
        all.extend(["--bridge", BRIDGE, "--cgroup-parent"].map(str::to_owned));
        all.push(self.cgroup_parent());
        all.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        Call::new(self, all)
    }

    /// Any other program of the machine in the world's "host" network namespace, yet to be started.
    #[track_caller]
    pub fn program<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Call<'_> {
        let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        if !words[0].contains('/') {
            need(&words[0]);
        }
        Call::new(self, words)
    }

    /// The path of the minidocker under test.
    pub fn minidocker_path(&self) -> &Path {
        &self.minidocker
    }

    /// The path of the reporter `inside` on the host.
    pub fn inside_path(&self) -> PathBuf {
        programs::inside()
    }

    /// Starts a container in the background and gives its id: `detached(["--rootfs", …, "/inside", "pause"])`.
    #[track_caller]
    pub fn detached<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> String {
        let mut all = vec!["run".to_owned(), "-d".to_owned()];
        all.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        let id = self.minidocker(all).text();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "`{id}` is no id");
        id
    }

    /// What `/inside facts` reports from a container with these options (of `run`).
    #[track_caller]
    pub fn facts<W: AsRef<str>>(&self, options: impl IntoIterator<Item = W>) -> Value {
        let root = self.rootfs_inside();
        self.facts_in(&root, options)
    }

    /// The same in a root directory of the test's own, which has /inside.
    #[track_caller]
    pub fn facts_in<W: AsRef<str>>(&self, root: &Rootfs, options: impl IntoIterator<Item = W>) -> Value {
        let mut all: Vec<String> =
            ["run", "--rm", "--rootfs", &root.overlay()].iter().map(|word| (*word).to_owned()).collect();
        all.extend(options.into_iter().map(|word| word.as_ref().to_owned()));
        all.extend(["/inside".to_owned(), "facts".to_owned()]);
        self.minidocker(all).json()
    }

    /// An empty directory to be a root.
    pub fn rootfs_empty(&self) -> Rootfs {
        Rootfs::empty(self.next())
    }

    /// A root directory with the reporter as /inside, and nothing else.
    pub fn rootfs_inside(&self) -> Rootfs {
        Rootfs::inside(self.next())
    }

    /// A root directory with busybox and its links, users, groups, and the reporter as /inside.
    pub fn rootfs_busybox(&self) -> Rootfs {
        Rootfs::busybox(self.next())
    }

    fn next(&self) -> PathBuf {
        self.directory.join(format!("root{}", self.made.fetch_add(1, Ordering::Relaxed)))
    }

    /// The control group of the container with this full id.
    pub fn group(&self, id: &str) -> Group {
        Group::at(&format!("/{}/{id}", self.name))
    }

    /// Control groups that bear this world's name and are not where they belong: other engines have their own mind of it.
    pub fn stray_groups(&self) -> Vec<PathBuf> {
        cgroups::named_elsewhere(&self.name)
    }

    /// The names of the control groups below this world's own that hold a process: full ids of containers.
    pub fn busy_groups(&self) -> BTreeSet<String> {
        let own = self.group_directories();
        let entries = own.iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten());
        let busy = entries.filter(|entry| {
            fs::read_to_string(entry.path().join("cgroup.procs")).is_ok_and(|list| !list.is_empty())
        });
        busy.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The first process of the container with this full id, by its number on the host: the oldest in its group.
    #[track_caller]
    pub fn init(&self, id: &str) -> i32 {
        // One that has ended meanwhile has no start any more, and is none.
        let started = |pid: i32| Some((leaks::stat_field(pid, 19)?.parse::<u64>().ok()?, pid));
        let oldest = self.group(id).processes().into_iter().filter_map(started).min();
        oldest.unwrap_or_else(|| panic!("container {id} has no process")).1
    }

    /// The monitor of the running container with this full id: its first process's parent.
    #[track_caller]
    pub fn monitor(&self, id: &str) -> i32 {
        let parent = leaks::stat_field(self.init(id), 1).and_then(|text| text.parse().ok());
        parent.expect("a process has a parent")
    }

    /// As a machine that goes down: every running container and its monitor are killed, their control groups and the run
    /// root are gone. How many there were.
    #[track_caller]
    pub fn go_down(&self) -> usize {
        let ids = self.minidocker(["ps", "-q", "--no-trunc"]).text();
        let ids: Vec<&str> = ids.lines().collect();
        for id in &ids {
            let init = self.init(id);
            for pid in [self.monitor(id), init] {
                kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL).expect("it lives");
            }
        }
        crate::until("all are dead", || ids.iter().all(|id| self.group(id).processes().is_empty()));
        for directory in ids.iter().flat_map(|id| self.group(id).directories()) {
            fs::remove_dir(directory).expect("an empty group");
        }
        // The monitor of one that was stopped a moment ago still takes down what it had, in the run root.
        crate::until("nobody is there any more", || leaks::processes(self).is_empty());
        fs::remove_dir_all(self.run_root()).expect("our own");
        ids.len()
    }

    /// Runs `work` in a thread inside the world's "host" network namespace.
    pub fn inside_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let entered = || {
            move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("enter the world's network namespace");
            work()
        };
        // The thread dies there: none that has entered is used for anything else.
        std::thread::scope(|scope| match scope.spawn(entered).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Starts a program in the world's network namespace: a child has its parent thread's.
    #[track_caller]
    pub(crate) fn start(&self, mut command: Command) -> Child {
        let child = self.inside_network(|| command.spawn());
        child.unwrap_or_else(|error| panic!("start {}: {error}", command.get_program().display()))
    }

    /// What is left of containers right now, in words.
    pub fn leaks(&self) -> Vec<String> {
        leaks::find(self)
    }

    /// Waits until nothing is left of any container of this world.
    ///
    /// # Panics
    /// With what is left.
    #[track_caller]
    pub fn expect_nothing_left(&self) {
        self.expect_nothing_left_after(PATIENCE);
    }

    /// The same, with so much patience on a machine of normal speed.
    ///
    /// # Panics
    /// With what is left.
    #[track_caller]
    pub fn expect_nothing_left_after(&self, patience: Duration) {
        let deadline = Instant::now() + scaled(patience);
        let mut left = self.leaks();
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            left = self.leaks();
        }
        assert!(left.is_empty(), "left behind in {}:\n  {}", self.name, left.join("\n  "));
    }

    /// Ends the world with its leak check; dropping it does the same.
    #[track_caller]
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.gone, true) {
            return;
        }
        let checked = if std::thread::panicking() {
            Ok(())
        } else {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.expect_nothing_left()))
        };
        let removed = leaks::remove(self);
        if let Err(panic) = checked {
            std::panic::resume_unwind(panic);
        }
        if !std::thread::panicking() {
            assert!(
                removed.is_empty(),
                "could not be removed at the end of {}:\n  {}",
                self.name,
                removed.join("\n  ")
            );
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end();
    }
}

/// A new network namespace with its loopback up, held by a descriptor.
fn new_network() -> File {
    let busybox = need("busybox");
    let make = || {
        // Deprecated for what CLONE_FILES would do to descriptors; this is CLONE_NEWNET, in a thread of its own.
        #[expect(deprecated, reason = "its successor is unsafe for a flag that is not used here")]
        rustix::thread::unshare(UnshareFlags::NEWNET).expect("a new network namespace");
        let up = Command::new(busybox).args(["ip", "link", "set", "lo", "up"]).output().expect("run busybox");
        assert!(up.status.success(), "lo up: {}", String::from_utf8_lossy(&up.stderr));
        File::open("/proc/thread-self/ns/net").expect("the new network namespace")
    };
    std::thread::spawn(make).join().expect("a world's network")
}

/// Waits until `holds`, as long as is decent.
///
/// # Panics
/// Where it does not come to hold; `what` says what was waited for.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + scaled(Duration::from_secs(30));
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl World {
    /// The world's directories in every hierarchy.
    pub(crate) fn group_directories(&self) -> Vec<PathBuf> {
        let parent = |hierarchy: cgroups::Hierarchy| hierarchy.path.join(&self.name);
        cgroups::hierarchies().into_iter().map(parent).filter(|path| path.is_dir()).collect()
    }
}
