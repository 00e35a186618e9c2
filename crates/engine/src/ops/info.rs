//! `info`: what this host offers, each answer with its reason where it is no.

use cgroup::{Controller, Hierarchies, Version};

use crate::Error;

/// One controller, hierarchy or kernel feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// `memory`, `time namespaces`, …
    pub name: String,
    /// How it is there, `v2`; or why it is not.
    pub state: Result<String, String>,
}

/// Which limits this host can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The version of control groups that has the memory controller: 1 or 2.
    pub version: u32,
    /// Memory.
    pub memory: bool,
    /// Memory and swap together.
    pub swap: bool,
    /// A container that is out of memory may be held instead of killed: version 1.
    pub oom_kill_disable: bool,
    /// Shares, periods and quotas of processors.
    pub cpu: bool,
    /// Which processors, and which memory nodes.
    pub cpuset: bool,
    /// The number of processes.
    pub pids: bool,
}

/// What can be limited here.
pub fn limits() -> Result<Limits, Error> {
    let hierarchies = Hierarchies::probe()?;
    let has = |controller| hierarchies.find(controller).is_some();
    let memory = hierarchies.find(Controller::Memory);
    let v1 = memory.is_some_and(|mount| mount.version == Version::V1);
    let swap = memory.is_some_and(|mount| match mount.version {
        Version::V1 => mount.dir.join("memory.memsw.limit_in_bytes").exists(),
        // A root has no limits of its own: the kernel was not told otherwise.
        _ => std::fs::read_to_string("/proc/cmdline").is_ok_and(|line| !line.contains("swapaccount=0")),
    });
    Ok(Limits {
        version: if v1 { 1 } else { 2 },
        memory: memory.is_some(),
        swap,
        oom_kill_disable: v1,
        cpu: has(Controller::Cpu),
        cpuset: has(Controller::Cpuset),
        pids: has(Controller::Pids),
    })
}

/// The controllers of control groups, and what else the kernel offers to containers.
pub fn features() -> Result<Vec<Feature>, Error> {
    let hierarchies = Hierarchies::probe()?;
    let controllers = [
        Controller::Memory,
        Controller::Cpu,
        Controller::Cpuset,
        Controller::Pids,
        Controller::Io,
        Controller::Hugetlb,
        Controller::NetCls,
        Controller::NetPrio,
        Controller::Rdma,
        Controller::Devices,
    ];
    let mut features: Vec<_> =
        controllers.iter().map(|controller| group(&hierarchies, *controller)).collect();
    features.extend(NAMESPACES.map(|(name, file)| file_feature(name, &format!("/proc/self/ns/{file}"))));
    features.push(file_feature("seccomp", "/proc/sys/kernel/seccomp/actions_avail"));
    features.push(file_feature("apparmor", "/sys/kernel/security/apparmor"));
    features.push(file_feature("selinux", "/sys/fs/selinux"));
    Ok(features)
}

const NAMESPACES: [(&str, &str); 8] = [
    ("pid namespaces", "pid"),
    ("mount namespaces", "mnt"),
    ("network namespaces", "net"),
    ("uts namespaces", "uts"),
    ("ipc namespaces", "ipc"),
    ("user namespaces", "user"),
    ("cgroup namespaces", "cgroup"),
    ("time namespaces", "time"),
];

fn group(hierarchies: &Hierarchies, controller: Controller) -> Feature {
    let state = match (hierarchies.find(controller), hierarchies.absence(controller)) {
        (Some(mount), _) => {
            let version = if mount.version == Version::V1 { "v1" } else { "v2" };
            Ok(format!("cgroup {version}, {}", mount.dir.display()))
        }
        (None, Some(reason)) => Err(reason),
        (None, None) => Err("no hierarchy has it".to_owned()),
    };
    Feature { name: format!("{} controller", controller.v1()), state }
}

fn file_feature(name: &str, path: &str) -> Feature {
    let state = if std::path::Path::new(path).exists() {
        Ok("yes".to_owned())
    } else {
        Err(format!("{path} is not there: the kernel was built or started without"))
    };
    Feature { name: name.to_owned(), state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_an_answer_and_every_no_a_reason() {
        let features = features().unwrap();
        assert!(features.len() > 18);
        for feature in &features {
            let words = feature.state.as_ref().unwrap_or_else(|reason| reason);
            assert!(!words.is_empty(), "{feature:?}");
        }
        let memory = features.iter().find(|feature| feature.name == "memory controller").unwrap();
        assert!(memory.state.as_ref().is_ok_and(|state| state.contains("/sys/fs/cgroup")), "{memory:?}");
    }
}
