//! The control groups of measurements: one for each, with two below it. What an environment's command starts is
//! counted in the outer one, whatever groups it makes of its own.
//!
//! ```text
//! <parent>/lab-<pid>/<number>             counted here; containers make theirs below it
//! <parent>/lab-<pid>/<number>/processes   the command, under the limits of a bare process or an emulator
//! <parent>/lab-<pid>/<number>/lxc         in the place of that: what LXC makes below the group of its caller
//! ```

use std::path::PathBuf;

use cgroup::{Controller, Group, Hierarchies, Limits, Usage, Version};
use step::{Context, Failure, Steps};

/// Where the groups of this process are made.
#[derive(Debug)]
pub(crate) struct Groups {
    hierarchies: Hierarchies,
    parent: String,
}

/// In which of its groups an environment's command begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat {
    /// The inner one.
    Inner,
    /// The outer one, for an engine that makes its groups below that of its caller. It is in every hierarchy then. Not
    /// with version 2: there a group with processes hands on no controllers.
    Outer,
}

/// The groups of one measurement. They go with it.
#[derive(Debug)]
pub(crate) struct Nest {
    hierarchies: Hierarchies,
    outer: Group,
    /// The files that a process writes 0 to in order to join.
    pub(crate) join: Vec<PathBuf>,
}

impl Groups {
    /// Below `parent`, which need not exist. Groups of labs that are gone are taken away.
    pub(crate) fn below(parent: &str) -> Result<Self, Failure> {
        let hierarchies = Hierarchies::probe()?;
        let parent = parent.trim_end_matches('/');
        for name in cgroup::below(&hierarchies, if parent.is_empty() { "/" } else { parent })? {
            let pid = name.strip_prefix("lab-").and_then(|pid| pid.parse::<u32>().ok());
            if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
                let left = Group::open(&hierarchies, &format!("{parent}/{name}"))?;
                left.kill()?;
                left.remove()?;
            }
        }
        Ok(Self { hierarchies, parent: format!("{parent}/lab-{}", std::process::id()) })
    }

    /// The hierarchies that the host has: `1`, `1 (hybrid)`, `2`.
    pub(crate) fn version(&self) -> &'static str {
        match (self.hierarchies.is_hybrid(), self.hierarchies.v2().is_some()) {
            (true, _) => "1 (hybrid)",
            (false, true) => "2",
            (false, false) => "1",
        }
    }

    /// New groups, of which the inner one has the limits, where there is one.
    pub(crate) fn make(&self, name: &str, limits: &Limits, seat: Seat) -> Result<Nest, Failure> {
        let path = format!("{}/{name}", self.parent);
        let outer = Group::open(&self.hierarchies, &path)?;
        // From here on it goes by itself, half made too.
        let mut nest = Nest { hierarchies: self.hierarchies.clone(), outer, join: Vec::new() };
        let mut context = Context::default();
        let mut make = |path: &str, limits: &Limits| -> Result<(), Failure> {
            let mut plan = cgroup::plan(&self.hierarchies, path, limits)?;
            let steps: Steps = std::mem::take(&mut plan.create);
            steps.iter().try_for_each(|step| step.perform(&mut context))
        };
        make(&path, &Limits::default())?;
        let seat = match seat {
            Seat::Inner => {
                let inner = format!("{path}/processes");
                make(&inner, limits)?;
                inner
            }
            Seat::Outer => {
                for mount in self.hierarchies.mounts() {
                    let directory = mount.group(&path);
                    std::fs::create_dir_all(&directory)
                        .map_err(|cause| Failure::new("cgroup.make", directory.to_string_lossy(), cause))?;
                }
                path
            }
        };
        nest.join = self
            .hierarchies
            .mounts()
            .iter()
            .map(|mount| (mount.group(&seat), mount.version))
            .filter(|(directory, _)| directory.is_dir())
            .map(|(directory, version)| match version {
                Version::V1 => directory.join("tasks"),
                Version::V2 => directory.join("cgroup.procs"),
            })
            .collect();
        Ok(nest)
    }

    /// Takes the parent away, once all below it are gone.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        let group = Group::open(&self.hierarchies, &self.parent)?;
        group.kill()?;
        group.remove()
    }
}

impl Nest {
    /// Its path below the mounts: what containers take as the parent of theirs.
    pub(crate) fn path(&self) -> &str {
        self.outer.path()
    }

    /// What all of it used.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = self.outer.usage();
        // The quota's periods are counted in the group that has the quota.
        let below = self.below();
        usage.throttled =
            below.iter().filter_map(|group| group.usage().throttled).reduce(|sum, one| sum + one);
        usage
    }

    fn below(&self) -> Vec<Group> {
        let path = self.outer.path();
        let names = cgroup::below(&self.hierarchies, path).unwrap_or_default();
        names
            .iter()
            .filter_map(|name| Group::open(&self.hierarchies, &format!("{path}/{name}")).ok())
            .collect()
    }

    /// The processors that the host's kernel lets a process of it have whose command line has these words: those of its
    /// set, and no more than its quota and those of the groups above are worth. None where there is no such process.
    pub(crate) fn allowed(&self, words: &str) -> Option<f64> {
        let read = |pid: i32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let is_it = |pid: &&i32| read(**pid, "cmdline").is_ok_and(|line| line.contains(words));
        let processes = self.processes();
        let pid = *processes.iter().find(is_it)?;
        let status = read(pid, "status").ok()?;
        let set = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        let mut allowed = crate::host::parse_list(set.trim()).len() as f64;
        let mount = self.hierarchies.find(Controller::Cpu)?;
        let groups = read(pid, "cgroup").ok()?;
        // 4:cpu,cpuacct:/path, and 0::/path for version 2: cgroups(7).
        let path = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let names = parts.nth(1)?;
            let own = match mount.version {
                Version::V1 => names.split(',').any(|name| name == "cpu"),
                Version::V2 => names.is_empty(),
            };
            if own { parts.next() } else { None }
        })?;
        for group in std::path::Path::new(path).ancestors() {
            let directory = mount.group(&group.to_string_lossy());
            let text = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap_or_default();
            let numbers = match mount.version {
                Version::V1 => {
                    format!("{} {}", text("cpu.cfs_quota_us").trim(), text("cpu.cfs_period_us").trim())
                }
                Version::V2 => text("cpu.max"),
            };
            // `-1` and `max` are no numbers of microseconds.
            let mut numbers = numbers.split_ascii_whitespace().map(str::parse::<u64>);
            if let (Some(Ok(quota)), Some(Ok(period))) = (numbers.next(), numbers.next()) {
                allowed = allowed.min(quota as f64 / period.max(1) as f64);
            }
        }
        Some(allowed)
    }

    /// The processes in it.
    pub(crate) fn processes(&self) -> Vec<i32> {
        self.outer.processes()
    }

    /// Kills what is in it, and takes it away.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        self.outer.kill()?;
        self.outer.remove()
    }
}

impl Nest {
    /// User and kernel time in seconds, and memory in bytes: the three figures that are sampled.
    pub(crate) fn counted(&self) -> (Option<f64>, Option<f64>, Option<f64>) {
        let usage = self.outer.usage();
        let seconds = |time: Option<u64>| time.map(|nanoseconds| nanoseconds as f64 / 1e9);
        (seconds(usage.cpu_user), seconds(usage.cpu_system), usage.memory.map(|bytes| bytes as f64))
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        // What cannot go is told by nobody here, and found by the next lab.
        let _ = self.end();
    }
}
