//! The control groups of a world and of a container, read straight from the kernel's files.

use std::fs;
use std::path::{Path, PathBuf};

/// The version that the machine's controllers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller; beside it there may be one of version 2 without those controllers.
    V1,
    /// One hierarchy for all.
    V2,
}

impl Version {
    /// The version of this machine.
    ///
    /// # Panics
    /// Where no control groups are mounted.
    pub fn here() -> Self {
        let hierarchies = hierarchies();
        assert!(!hierarchies.is_empty(), "this machine mounts no control groups");
        if hierarchies.iter().any(|hierarchy| hierarchy.kind == "cgroup") { Self::V1 } else { Self::V2 }
    }

    /// `v1` or `v2`, whichever this machine has.
    pub fn pick<T>(v1: T, v2: T) -> T {
        match Self::here() {
            Self::V1 => v1,
            Self::V2 => v2,
        }
    }
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) path: PathBuf,
    /// `cgroup` or `cgroup2`.
    kind: String,
    /// The options of the mount's super block, among them the controllers of version 1.
    options: Vec<String>,
}

/// Every hierarchy that is mounted here with its root.
pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("the mounts of this process");
    let mut found: Vec<Hierarchy> = text.lines().filter_map(hierarchy).collect();
    found.dedup_by(|a, b| a.path == b.path);
    found
}

/// One line of proc_pid_mountinfo(5).
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut file_system = file_system.split(' ');
    let kind = file_system.next().filter(|kind| matches!(*kind, "cgroup" | "cgroup2"))?;
    let options = file_system.nth(1)?.split(',').map(str::to_owned).collect();
    let mut mount = mount.split(' ').skip(3);
    let (root, path) = (mount.next()?, mount.next()?);
    (root == "/").then(|| Hierarchy { path: path.into(), kind: kind.to_owned(), options })
}

/// A group in every hierarchy.
#[derive(Debug, Clone)]
pub struct Group {
    /// `/minidocker-test-1-0/<id>`.
    path: String,
}

impl Group {
    /// The group of this path below every hierarchy's root.
    pub fn at(path: &str) -> Self {
        Self { path: path.to_owned() }
    }

    /// The group's directory in the hierarchy of `controller`; of the one hierarchy, with version 2.
    ///
    /// # Panics
    /// Where no hierarchy has this controller.
    #[track_caller]
    pub fn directory(&self, controller: &str) -> PathBuf {
        let all = hierarchies();
        let found = all.iter().find(|hierarchy| match hierarchy.kind.as_str() {
            "cgroup" => hierarchy.options.iter().any(|option| option == controller),
            _ => {
                let list = fs::read_to_string(hierarchy.path.join("cgroup.controllers")).unwrap_or_default();
                // Devices, the freezer and perf_event are part of version 2 itself.
                let own = Version::here() == Version::V2
                    && matches!(controller, "devices" | "freezer" | "perf_event");
                own || list.split_whitespace().any(|name| name == controller)
            }
        });
        let found = found.unwrap_or_else(|| panic!("no hierarchy has the controller {controller}"));
        found.path.join(self.path.trim_start_matches('/'))
    }

    /// Whether this machine has a controller.
    pub fn has_controller(controller: &str) -> bool {
        hierarchies().iter().any(|hierarchy| match hierarchy.kind.as_str() {
            "cgroup" => hierarchy.options.iter().any(|option| option == controller),
            _ => fs::read_to_string(hierarchy.path.join("cgroup.controllers"))
                .is_ok_and(|list| list.split_whitespace().any(|name| name == controller)),
        })
    }

    /// The content of one of its files without the white space at the end: `group.read("memory", "memory.max")`.
    #[track_caller]
    pub fn read(&self, controller: &str, file: &str) -> String {
        let path = self.directory(controller).join(file);
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        text.trim_end().to_owned()
    }

    /// The number in one of its files.
    #[track_caller]
    pub fn number(&self, controller: &str, file: &str) -> u64 {
        let text = self.read(controller, file);
        text.parse().unwrap_or_else(|_| panic!("{file} holds `{text}`, no number"))
    }

    /// Its processes, by their numbers on the host, in the order of the kernel's list.
    pub fn processes(&self) -> Vec<i32> {
        let mut all: Vec<i32> = Vec::new();
        for directory in self.directories() {
            let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            all.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Its directories, in those hierarchies where it exists.
    pub fn directories(&self) -> Vec<PathBuf> {
        let below = |hierarchy: Hierarchy| hierarchy.path.join(self.path.trim_start_matches('/'));
        hierarchies().into_iter().map(below).filter(|path| path.is_dir()).collect()
    }
}

/// The control groups of this name that are not right below a hierarchy's root.
pub(crate) fn named_elsewhere(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        let all =
            below(&hierarchy.path).into_iter().filter(|path| path.file_name().is_some_and(|it| it == name));
        found.extend(all.filter(|path| path.parent() != Some(hierarchy.path.as_path())));
    }
    found
}

/// The directories below `directory`, deepest first.
pub(crate) fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(below(&entry.path()));
            found.push(entry.path());
        }
    }
    found
}
