//! Hosts that limits are planned for, with control groups at a place where there are none: whatever a plan looks at
//! is not there.

use cgroup::Hierarchies;

/// Version 2 alone.
pub(crate) fn unified() -> Hierarchies {
    host(&[(V2, "unified")], "cpuset cpu io memory hugetlb pids rdma misc")
}

/// Version 1 for all controllers but one.
pub(crate) fn hybrid() -> Hierarchies {
    let v1 = ["cpuset", "cpu,cpuacct", "blkio", "memory", "devices", "freezer", "net_cls,net_prio", "pids"];
    let mut mounts: Vec<(&str, &str)> = v1.map(|controllers| ("cgroup", controllers)).into();
    mounts.extend([("cgroup", "name=systemd"), ("cgroup", "rdma"), (V2, "unified")]);
    host(&mounts, "hugetlb")
}

/// Nothing at all.
pub(crate) fn bare() -> Hierarchies {
    Hierarchies::default()
}

/// Where they are mounted.
pub(crate) const TOP: &str = "/proc/no-such-host/cgroup";

const V2: &str = "cgroup2";

fn host(mounts: &[(&str, &str)], controllers: &str) -> Hierarchies {
    let line = |(number, (kind, options)): (usize, &(&str, &str))| {
        format!("{} 20 0:{number} / {TOP}/{options} rw - {kind} {kind} rw,{options}\n", number + 30)
    };
    let mountinfo: String = mounts.iter().enumerate().map(line).collect();
    Hierarchies::parse(&mountinfo, |_| Ok(controllers.to_owned())).expect("a list of mounts")
}
