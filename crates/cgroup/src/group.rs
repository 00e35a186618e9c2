//! A group that was made: who is in it, stopping and killing them, and taking it away. Once over v1 and v2.
//! Every wait is bounded, and what runs out of time names the process that it waited for.

mod freezer;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::step::Failure;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::hierarchies::{Hierarchies, Version};
use crate::kernfs;
use crate::plan::check_path;

/// How long killed processes may take to go: one that frees much memory takes its time.
const KILL: Duration = Duration::from_secs(10);
/// How long a group may stay busy after its last process was killed.
const REMOVE: Duration = Duration::from_secs(2);

/// A group, by its directories in every hierarchy.
#[derive(Debug, Clone)]
pub struct Group {
    path: String,
    dirs: Vec<Dir>,
}

#[derive(Debug, Clone)]
struct Dir {
    version: Version,
    controllers: Vec<String>,
    path: PathBuf,
}

impl Group {
    /// The group of that path (`/minidocker/<id>`), whether it is there or not. Errors where it is no path.
    pub fn open(h: &Hierarchies, path: &str) -> Result<Self, Failure> {
        check_path(path)?;
        let dirs = h.mounts.iter().map(|mount| Dir {
            version: mount.version,
            controllers: mount.controllers.clone(),
            path: mount.group(path),
        });
        Ok(Self { path: path.to_owned(), dirs: dirs.collect() })
    }

    /// Its path below the mounts.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether any hierarchy has it.
    pub fn exists(&self) -> bool {
        self.dirs.iter().any(|dir| dir.path.is_dir())
    }

    /// The directory in the v1 hierarchy of that controller.
    pub(crate) fn v1(&self, controller: &str) -> Option<&Path> {
        self.find(Version::V1, controller)
    }

    /// The directory in the v2 hierarchy.
    pub(crate) fn v2(&self) -> Option<&Path> {
        self.dirs.iter().find(|dir| dir.version == Version::V2).map(|dir| dir.path.as_path())
    }

    /// The directory that has the controller, by its name in v1 and in v2.
    pub(crate) fn with(&self, v1: &str, v2: &str) -> Option<(Version, &Path)> {
        let found = self.v1(v1).map(|dir| (Version::V1, dir));
        found.or_else(|| self.find(Version::V2, v2).map(|dir| (Version::V2, dir)))
    }

    fn find(&self, version: Version, controller: &str) -> Option<&Path> {
        let has =
            |dir: &&Dir| dir.version == version && dir.controllers.iter().any(|name| name == controller);
        self.dirs.iter().find(has).map(|dir| dir.path.as_path())
    }

    /// The processes in it and in the groups below it, in any hierarchy, as our pid namespace numbers them; sorted.
    pub fn processes(&self) -> Vec<i32> {
        self.members(|_| "cgroup.procs")
    }

    /// The same with every thread of v1: there each may be in a group of its own.
    fn tasks(&self) -> Vec<i32> {
        self.members(|version| if version == Version::V1 { "tasks" } else { "cgroup.procs" })
    }

    fn members(&self, file: fn(Version) -> &'static str) -> Vec<i32> {
        let mut all = Vec::new();
        for dir in &self.dirs {
            for group in kernfs::subtree(&dir.path) {
                // A group may go at any time, and a threaded one does not list processes: its parent does.
                let text = kernfs::read(&group.join(file(dir.version))).unwrap_or_default();
                // 0 is a process that our pid namespace does not see.
                all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Kills everything in the group and below, and waits until it is empty. A group that is gone is empty.
    pub fn kill(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + KILL;
        // One write, and nobody can fork away from it (Linux 5.14).
        let at_once = self.v2().is_some_and(|dir| kernfs::write(&dir.join("cgroup.kill"), "1").is_ok());
        if at_once {
            // v1's frozen processes do not even die; with the signal pending they do nothing else either.
            let _ = self.write_frozen(false);
        }
        let mut pause = Backoff::new();
        // The dying take a moment; only who is there after it has to be killed by hand.
        let mut patience = if at_once { 8 } else { 0 };
        loop {
            let left = self.tasks();
            if left.is_empty() {
                return Ok(());
            }
            if patience == 0 {
                self.kill_by_hand(left);
            } else {
                patience -= 1;
            }
            if Instant::now() >= deadline {
                let reason = format!("still has {} after {KILL:?}", told(&self.processes()));
                return Err(Failure::because("cgroup.kill", &self.path, reason).hint(
                    "a process that waits for a device or a network file system dies when that answers",
                ));
            }
            pause.wait();
        }
    }

    /// Stops all, so that nobody forks meanwhile and no number is given anew, kills all, lets them run to their end.
    fn kill_by_hand(&self, tasks: Vec<i32>) {
        let frozen = self.set_frozen(true, Duration::from_millis(200)).is_ok();
        let tasks = if frozen { self.tasks() } else { tasks };
        for pid in tasks.into_iter().filter_map(Pid::from_raw) {
            // It may have gone of itself.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        // After a freeze that failed some may be frozen all the same.
        let _ = self.write_frozen(false);
    }

    /// Removes the group and all groups below it from every hierarchy. What is gone already is no error; a group
    /// with processes in it is one.
    pub fn remove(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + REMOVE;
        self.dirs.iter().try_for_each(|dir| self.remove_dir(&dir.path, deadline))
    }

    fn remove_dir(&self, dir: &Path, deadline: Instant) -> Result<(), Failure> {
        let mut pause = Backoff::new();
        loop {
            match rustix::fs::rmdir(dir) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(Failure::new("cgroup.remove", dir.to_string_lossy(), errno)),
            }
            let below = kernfs::children(dir);
            if below.is_empty() {
                if Instant::now() >= deadline {
                    let failure = Failure::new("cgroup.remove", dir.to_string_lossy(), Errno::BUSY);
                    let left = told(&self.processes());
                    return Err(failure.hint(format!("kill what is in it first: {left}")));
                }
                // The killed are counted until they are gone altogether.
                pause.wait();
            }
            below.iter().try_for_each(|child| self.remove_dir(child, deadline))?;
        }
    }
}

/// The names of the groups right below `parent`, in any hierarchy: one that is only in some counts. Sorted.
///
/// # Errors
/// A `parent` that is no path.
pub fn below(h: &Hierarchies, parent: &str) -> Result<Vec<String>, Failure> {
    let parent = Group::open(h, parent)?;
    let children = parent.dirs.iter().flat_map(|dir| kernfs::children(&dir.path));
    let names = children.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    let names: std::collections::BTreeSet<String> = names.collect();
    Ok(names.into_iter().collect())
}

/// Processes for a message.
fn told(pids: &[i32]) -> String {
    let shown: Vec<String> = pids.iter().take(5).map(ToString::to_string).collect();
    match pids.len() {
        0 => "no process that can be seen from here".to_owned(),
        1 => format!("process {}", shown[0]),
        more @ 2..=5 => format!("{more} processes, {}", shown.join(", ")),
        more => format!("{more} processes, {}, …", shown.join(", ")),
    }
}

/// Pauses that double from 0.2 ms to 32 ms.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Self {
        Self(Duration::from_micros(200))
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Duration::from_millis(32));
        pause
    }

    fn wait(&mut self) {
        std::thread::sleep(self.next());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_shortly() {
        assert_eq!(told(&[]), "no process that can be seen from here");
        assert_eq!(told(&[7]), "process 7");
        assert_eq!(told(&[7, 8]), "2 processes, 7, 8");
        assert_eq!(told(&[1, 2, 3, 4, 5, 6]), "6 processes, 1, 2, 3, 4, 5, …");
    }

    #[test]
    fn a_group_that_is_not_there() {
        let h = Hierarchies::probe().unwrap();
        let group = Group::open(&h, &format!("/minidocker-test-{}/none", std::process::id())).unwrap();
        assert!(!group.exists());
        assert!(group.processes().is_empty());
        group.kill().unwrap();
        group.remove().unwrap();
        assert!(!group.is_frozen().unwrap());
        assert_eq!(group.signal(15).unwrap(), 0);
        assert_eq!(group.stats().unwrap_err().errno, Errno::NOENT.raw_os_error());
        assert_eq!(group.watch_oom().unwrap_err().raw_os_error(), Some(Errno::NOENT.raw_os_error()));
        assert_eq!(group.freeze().unwrap_err().errno, Errno::NOENT.raw_os_error());
        assert_eq!(group.usage(), crate::Usage::default());
        assert!(Group::open(&h, "/a/../b").is_err());
    }

    #[test]
    fn no_freezer_is_told() {
        let group = Group::open(&Hierarchies::default(), "/x").unwrap();
        let failure = group.freeze().unwrap_err();
        assert_eq!(failure.to_string(), "cgroup.freeze on /x: this host has neither v1's freezer nor v2");
    }
}
