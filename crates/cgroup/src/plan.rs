//! From the host's hierarchies and the limits asked for to the steps that make the group: pure, nothing is touched.
//! Every mounted hierarchy is joined, as a process left outside would be neither limited nor counted there.

use std::path::PathBuf;

use ::step::{Failure, Steps};

use crate::check::{Check, Expect};
use crate::group::Group;
use crate::hierarchies::{Controller, Hierarchies, Mount, Version};
use crate::limits::{Limits, file_name};
use crate::step::Step;
use crate::write::{Missing, Purpose, Write};
use crate::{devices, v1, v2};

/// How a container gets its group.
#[derive(Debug, Default)]
pub struct Plan {
    /// The monitor's, before the clone: make the group in every hierarchy, write the limits.
    pub create: Steps,
    /// The v2 directory for clone3(2) with `CLONE_INTO_CGROUP`, wherever a v2 hierarchy is used, hybrid hosts
    /// included: joining it by `cgroup.procs` waits 5 to 10 ms for an RCU grace period, the clone none.
    pub into: Option<PathBuf>,
    /// Init's, while it has one thread: join the v1 hierarchies. Empty where there are none.
    pub join: Steps,
    /// What the files must read once the limits are written.
    pub checks: Vec<Check>,
    /// What the container should see below /sys/fs/cgroup.
    pub view: Vec<View>,
    pub(crate) tasks: Vec<PathBuf>,
    /// Where in `create` the steps for the v2 hierarchy are.
    pub(crate) v2: std::ops::Range<usize>,
}

impl Plan {
    /// Takes out of `create` what must be done before the clone: the group that `into` names. The rest can be done
    /// while init starts.
    pub fn take_into(&mut self) -> Steps {
        let range = std::mem::take(&mut self.v2);
        self.create.drain(range).collect()
    }

    /// For an init that has no rights on the groups, in a user namespace of its own: the monitor opens the files
    /// before the clone, init writes to them.
    #[must_use]
    pub fn opened_by_monitor(mut self) -> Self {
        self.create.extend(self.tasks.iter().map(|file| boxed(Step::Open { file: file.clone() })));
        self.join =
            self.tasks.iter().map(|file| boxed(Step::Join { file: file.clone(), opened: true })).collect();
        self
    }
}

/// One hierarchy as the container should see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The directory below /sys/fs/cgroup: `memory`, `cpu,cpuacct`, `unified`; empty for /sys/fs/cgroup itself,
    /// which is what a host has that knows v2 alone.
    pub name: String,
    /// The single controllers, where the directory is named otherwise: `cpu` and `cpuacct` of `cpu,cpuacct`, for
    /// which programs look too.
    pub links: Vec<String>,
    /// The group's directory on the host.
    pub dir: PathBuf,
    /// The interface.
    pub version: Version,
}

/// Controllers that a v2 group should have for their counting alone.
const COUNTING: [&str; 4] = ["cpu", "io", "memory", "pids"];

pub(crate) fn is_counting(controller: &str) -> bool {
    COUNTING.contains(&controller)
}

/// Plans the group `path` (`/minidocker/<id>`) under `limits`.
///
/// Errors: a path that is none, a limit whose controller is absent, a limit that the version has no word for.
pub fn plan(h: &Hierarchies, path: &str, limits: &Limits) -> Result<Plan, Failure> {
    check_path(path)?;
    let make = |mount, dir, cpuset| Step::Make { mount, dir, cpuset };
    planned(h, path, limits, &Purpose::Create, make, is_counting)
}

/// The same for a group that may be there already, as the OCI runtimes take it where it is empty
/// ([`crate::check_usable`]). What it has of limits that `limits` do not speak of stays. Reads what the order of the
/// writes depends on.
pub fn plan_over(h: &Hierarchies, path: &str, limits: &Limits) -> Result<Plan, Failure> {
    let group = Group::open(h, path)?;
    let purpose =
        if group.exists() { Purpose::Update(crate::update::now(&group, limits)) } else { Purpose::Create };
    // With every controller that there is: whom engines give the group may use them all.
    planned(h, path, limits, &purpose, |mount, dir, cpuset| Step::MakeOrTake { mount, dir, cpuset }, |_| true)
}

fn planned(
    h: &Hierarchies,
    path: &str,
    limits: &Limits,
    purpose: &Purpose,
    make: fn(PathBuf, PathBuf, bool) -> Step,
    welcome: fn(&str) -> bool,
) -> Result<Plan, Failure> {
    let writes = writes(h, limits, purpose)?;
    let program = device_program(h, limits)?;
    let mut plan = Plan::default();
    let joined = h.mounts.iter().filter(|mount| is_joined(h, mount, &writes, program.is_some()));
    for mount in joined {
        let dir = mount.group(path);
        let own: Vec<&Write> = writes.iter().filter(|(on, _)| *on == mount).map(|(_, write)| write).collect();
        let first = plan.create.len();
        if mount.version == Version::V2 {
            plan.create.extend(hand_on(mount, &dir, limits, &own, welcome).map(boxed));
        }
        let cpuset = mount.version == Version::V1 && mount.has("cpuset");
        plan.create.push(boxed(make(mount.dir.clone(), dir.clone(), cpuset)));
        if cpuset {
            let files = ["cpuset.cpus", "cpuset.mems"];
            let files: Vec<_> =
                files.into_iter().filter(|file| own.iter().all(|write| write.file != *file)).collect();
            if !files.is_empty() {
                plan.create.push(boxed(Step::Inherit { mount: mount.dir.clone(), dir: dir.clone(), files }));
            }
        }
        for write in own {
            plan.checks.extend(check(&dir, write));
            plan.create.push(boxed(Step::Write { dir: dir.clone(), write: write.clone() }));
        }
        match mount.version {
            Version::V1 => {
                let file = dir.join("tasks");
                plan.join.push(boxed(Step::Join { file: file.clone(), opened: false }));
                plan.tasks.push(file);
            }
            Version::V2 => {
                let attach = program.as_ref().map(|program| (dir.clone(), program.clone()));
                plan.create.extend(attach.map(|(dir, program)| boxed(Step::AttachDevices { dir, program })));
                plan.into = Some(dir.clone());
                plan.v2 = first..plan.create.len();
            }
        }
        let alone = mount.version == Version::V2 && !h.is_hybrid();
        let name = if alone { String::new() } else { mount.name() };
        let links = match mount.version {
            Version::V1 => mount
                .controllers
                .iter()
                .filter(|link| **link != name && !link.contains('='))
                .cloned()
                .collect(),
            Version::V2 => Vec::new(),
        };
        plan.view.push(View { name, links, dir, version: mount.version });
    }
    Ok(plan)
}

fn boxed(step: Step) -> Box<dyn ::step::Step> {
    Box::new(step)
}

/// A path that stays below the mounts: absolute, no empty part, no dots.
pub(crate) fn check_path(path: &str) -> Result<(), Failure> {
    let parts = path.strip_prefix('/').map(|rest| rest.split('/'));
    let good = parts.is_some_and(|mut parts| parts.all(|part| !matches!(part, "" | "." | "..")));
    if good && !path.contains(['\n', '\0']) {
        return Ok(());
    }
    Err(Failure::because("cgroup.plan", path, "is no path of a control group")
        .hint("such as /minidocker/<id>: it begins with / and has neither empty parts nor dots"))
}

/// Whether the group is made in `mount`: in all of v1, in v2 where it has controllers or is needed.
fn is_joined(h: &Hierarchies, mount: &Mount, writes: &[(&Mount, Write)], program: bool) -> bool {
    mount.version == Version::V1
        || !h.is_hybrid()
        || !mount.controllers.is_empty()
        || program
        || writes.iter().any(|(on, _)| *on == mount)
}

/// Every write that the limits need, in order, with the hierarchy that it is made in.
pub(crate) fn writes<'h>(
    h: &'h Hierarchies,
    limits: &Limits,
    purpose: &Purpose,
) -> Result<Vec<(&'h Mount, Write)>, Failure> {
    let mut all = Vec::new();
    for controller in Controller::ALL {
        // Values that say "as it is by default" need no controller on a new group; on a running one they may.
        let asked = limits.asks(controller);
        let lifts = controller == Controller::Memory
            && *purpose != Purpose::Create
            && limits.memory.oom_kill_disable == Some(false);
        let mount = match (asked, lifts) {
            (Some(limit), _) => h.require(controller, limit)?,
            (None, true) => match h.find(controller) {
                Some(mount) => mount,
                None => continue,
            },
            (None, false) => continue,
        };
        let writes = match mount.version {
            Version::V1 => v1::writes(controller, limits, purpose)?,
            Version::V2 => v2::writes(controller, limits, purpose)?,
        };
        all.extend(writes.into_iter().map(|write| (mount, write)));
    }
    for (file, value) in &limits.unified {
        let controller = file_name("unified", file)?;
        let Some(mount) = h.v2() else {
            let reason = "invalid configuration: this host has no cgroup v2";
            let failure = Failure::because("cgroup.plan", format!("unified: {file}"), reason);
            return Err(failure.hint("leave it out, or give v1's files as raw limits"));
        };
        if controller != "cgroup" && !mount.has(controller) {
            return Err(no_controller(h, mount, "unified", file, controller));
        }
        // Written last, it stands above the limit of the same file, which then is not read back.
        let same = all.iter_mut().filter(|(on, write)| *on == mount && write.is_to(file));
        same.for_each(|(_, write)| write.expect = None);
        all.push((mount, raw(file, value)));
    }
    for (file, value) in &limits.raw {
        let controller = file_name("raw limit", file)?;
        let core = if controller == "cgroup" { h.v2() } else { None };
        match h.mounts.iter().find(|mount| mount.has(controller)).or(core) {
            Some(mount) => all.push((mount, raw(file, value))),
            None => {
                let failure = Failure::because(
                    "cgroup.plan",
                    format!("raw limit: {file}"),
                    format!("no mounted hierarchy, v1 or v2, has the controller {controller}"),
                );
                return Err(failure
                    .hint("`blkio` is v1's name and `io` v2's; /proc/self/mountinfo shows what is mounted"));
            }
        }
    }
    Ok(all)
}

fn no_controller(h: &Hierarchies, mount: &Mount, kind: &str, file: &str, controller: &str) -> Failure {
    let listed = mount.dir.join("cgroup.controllers");
    let reason = format!("invalid configuration: {} does not list {controller}", listed.display());
    let failure = Failure::because("cgroup.plan", format!("{kind}: {file}"), reason);
    if h.is_hybrid() {
        failure.hint(
            "this host is hybrid and keeps the controller in cgroup v1: use the limit's own option instead",
        )
    } else {
        failure.hint("leave it out, or use a kernel that has the controller")
    }
}

/// A file and value as they are: nothing is known of what it reads afterwards.
fn raw(file: &str, value: &str) -> Write {
    Write {
        file: file.to_owned(),
        value: value.to_owned(),
        why: "as asked for by the file's name".into(),
        missing: Missing::Fail(
            "this kernel's controller has no such file; v1 and v2 name theirs differently",
        ),
        expect: None,
    }
}

/// The device program, where rules restrict and v1's controller is not there for them.
fn device_program(h: &Hierarchies, limits: &Limits) -> Result<Option<Vec<u64>>, Failure> {
    if !devices::restricts(&limits.devices) {
        return Ok(None);
    }
    let mount = h.require(Controller::Devices, "devices")?;
    Ok((mount.version == Version::V2).then(|| devices::program(&limits.devices)))
}

/// v2: which controllers the parent must hand on, if any, and which it may.
pub(crate) fn hand_on(
    mount: &Mount,
    dir: &std::path::Path,
    limits: &Limits,
    own: &[&Write],
    welcome: fn(&str) -> bool,
) -> Option<Step> {
    let named = |name: &String| own.iter().any(|write| write.file.split('.').next() == Some(name));
    let asked = |name: &String| {
        Controller::ALL.iter().any(|other| other.v2() == Some(name.as_str()) && limits.asks(*other).is_some())
    };
    let (needed, rest): (Vec<String>, Vec<String>) =
        mount.controllers.iter().cloned().partition(|name| named(name) || asked(name));
    let welcome: Vec<String> = rest.into_iter().filter(|name| welcome(name)).collect();
    if needed.is_empty() && welcome.is_empty() {
        return None;
    }
    let parent = dir.parent().unwrap_or(&mount.dir).to_owned();
    Some(Step::EnsureParent { mount: mount.dir.clone(), parent, needed, welcome })
}

/// The check of a write; none where it is not meant to be read back.
pub(crate) fn check(dir: &std::path::Path, write: &Write) -> Option<Check> {
    let expect = write.expect.clone()?;
    // v1's device files are for writing only.
    let file = if matches!(expect, Expect::Lines(_)) { "devices.list" } else { write.file.as_str() };
    let otherwise = match &write.missing {
        Missing::Instead(other) => check(dir, other).map(Box::new),
        Missing::Skip | Missing::Fail(_) => None,
    };
    let optional = write.missing == Missing::Skip;
    Some(Check { file: dir.join(file), expect, written: write.value.clone(), otherwise, optional })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{Access, Kind, Rule};
    use crate::hierarchies::tests::{hybrid, unified};
    use crate::limits::{Amount, Cpu, Io, Memory, Shares, Swap};

    const DENY: Rule = Rule { allow: false, kind: Kind::All, major: None, minor: None, access: Access::ALL };
    const NULL: Rule =
        Rule { allow: true, kind: Kind::Char, major: Some(1), minor: Some(3), access: Access::ALL };

    fn usual() -> Limits {
        Limits {
            memory: Memory {
                limit: Some(Amount::Of(64 << 20)),
                swap: Some(Swap {
                    with_memory: Amount::Of(128 << 20),
                    alone: Amount::Of(64 << 20),
                    implied: false,
                }),
                ..Memory::default()
            },
            cpu: Cpu {
                shares: Some(Shares(512)),
                quota: Some(Amount::Of(50_000)),
                period: Some(100_000),
                ..Cpu::default()
            },
            cpus: Some("0-1".into()),
            pids: Some(Amount::Of(64)),
            hugetlb: vec![("2MB".into(), Amount::Of(0))],
            devices: vec![DENY, NULL],
            ..Limits::default()
        }
    }

    fn calls(steps: &Steps) -> Vec<String> {
        steps
            .iter()
            .map(|step| format!("{} {}", step.id(), step.call().replace("/sys/fs/cgroup/", "")))
            .collect()
    }

    #[test]
    fn hybrid_makes_and_limits_each_hierarchy_in_turn() {
        let plan = plan(&hybrid(), "/m/x", &usual()).unwrap();
        assert_eq!(
            calls(&plan.create),
            [
                r#"cgroup.make mkdir("cpu/m/x", 0755)"#,
                r#"cgroup.limit write(openat("cpu/m/x/cpu.shares", O_WRONLY), "512")"#,
                r#"cgroup.limit write(openat("cpu/m/x/cpu.cfs_period_us", O_WRONLY), "100000")"#,
                r#"cgroup.limit write(openat("cpu/m/x/cpu.cfs_quota_us", O_WRONLY), "50000")"#,
                r#"cgroup.make mkdir("cpuacct/m/x", 0755)"#,
                r#"cgroup.make mkdir("cpuset/m/x", 0755)"#,
                r#"cgroup.inherit unless the kernel has copied them: write(openat("cpuset/m/x/cpuset.mems", O_WRONLY), "what the parent's reads")"#,
                r#"cgroup.limit write(openat("cpuset/m/x/cpuset.cpus", O_WRONLY), "0-1")"#,
                r#"cgroup.make mkdir("memory/m/x", 0755)"#,
                r#"cgroup.limit write(openat("memory/m/x/memory.limit_in_bytes", O_WRONLY), "67108864")"#,
                r#"cgroup.limit write(openat("memory/m/x/memory.memsw.limit_in_bytes", O_WRONLY), "134217728")"#,
                r#"cgroup.make mkdir("devices/m/x", 0755)"#,
                r#"cgroup.limit write(openat("devices/m/x/devices.deny", O_WRONLY), "a")"#,
                r#"cgroup.limit write(openat("devices/m/x/devices.allow", O_WRONLY), "c 1:3 rwm")"#,
                r#"cgroup.make mkdir("freezer/m/x", 0755)"#,
                r#"cgroup.make mkdir("blkio/m/x", 0755)"#,
                r#"cgroup.make mkdir("pids/m/x", 0755)"#,
                r#"cgroup.limit write(openat("pids/m/x/pids.max", O_WRONLY), "64")"#,
                r#"cgroup.make mkdir("systemd/m/x", 0755)"#,
                r#"cgroup.parent write(openat("unified/m/cgroup.subtree_control", O_WRONLY), "+hugetlb")"#,
                r#"cgroup.make mkdir("unified/m/x", 0755)"#,
                r#"cgroup.limit write(openat("unified/m/x/hugetlb.2MB.max", O_WRONLY), "0")"#,
                r#"cgroup.limit write(openat("unified/m/x/hugetlb.2MB.rsvd.max", O_WRONLY), "0")"#,
            ]
        );
        let joins = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"];
        let joins =
            joins.map(|name| format!(r#"cgroup.join write(openat("{name}/m/x/tasks", O_WRONLY), "0")"#));
        assert_eq!(calls(&plan.join), joins);
        assert_eq!(plan.into, Some("/sys/fs/cgroup/unified/m/x".into()));
        let files: Vec<String> = plan
            .checks
            .iter()
            .map(|check| check.file.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            files,
            [
                "cpu.shares",
                "cpu.cfs_period_us",
                "cpu.cfs_quota_us",
                "cpuset.cpus",
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                "devices.list",
                "pids.max",
                "hugetlb.2MB.max",
                "hugetlb.2MB.rsvd.max"
            ]
        );
        assert_eq!(plan.view.len(), 10);
        let last = View {
            name: "unified".into(),
            links: vec![],
            dir: "/sys/fs/cgroup/unified/m/x".into(),
            version: Version::V2,
        };
        assert_eq!(plan.view.last(), Some(&last));
        assert!(plan.view.iter().all(|view| view.links.is_empty()));
    }

    #[test]
    fn v2_alone_is_one_directory() {
        let plan = plan(&unified(), "/m/x", &usual()).unwrap();
        let program = devices::program(&[DENY, NULL]).len();
        let attach = format!(
            "cgroup.devices bpf(BPF_PROG_ATTACH, {{\"m/x\", bpf(BPF_PROG_LOAD, {{BPF_PROG_TYPE_CGROUP_DEVICE, \
             {program} instructions}}), BPF_CGROUP_DEVICE}})"
        );
        assert_eq!(
            calls(&plan.create),
            [
                r#"cgroup.parent write(openat("m/cgroup.subtree_control", O_WRONLY), "+cpuset +cpu +memory +hugetlb +pids +io")"#,
                r#"cgroup.make mkdir("m/x", 0755)"#,
                r#"cgroup.limit write(openat("m/x/cpuset.cpus", O_WRONLY), "0-1")"#,
                r#"cgroup.limit write(openat("m/x/cpu.weight", O_WRONLY), "59")"#,
                r#"cgroup.limit write(openat("m/x/cpu.max", O_WRONLY), "50000 100000")"#,
                r#"cgroup.limit write(openat("m/x/memory.swap.max", O_WRONLY), "67108864")"#,
                r#"cgroup.limit write(openat("m/x/memory.max", O_WRONLY), "67108864")"#,
                r#"cgroup.limit write(openat("m/x/hugetlb.2MB.max", O_WRONLY), "0")"#,
                r#"cgroup.limit write(openat("m/x/hugetlb.2MB.rsvd.max", O_WRONLY), "0")"#,
                r#"cgroup.limit write(openat("m/x/pids.max", O_WRONLY), "64")"#,
                attach.as_str(),
            ]
        );
        assert!(plan.join.is_empty());
        assert_eq!(plan.into, Some("/sys/fs/cgroup/m/x".into()));
        assert_eq!(
            plan.view,
            [View {
                name: String::new(),
                links: vec![],
                dir: "/sys/fs/cgroup/m/x".into(),
                version: Version::V2
            }]
        );
    }

    #[test]
    fn controllers_mounted_together_are_one_directory() {
        let mount = Mount {
            dir: "/sys/fs/cgroup/cpu,cpuacct".into(),
            version: Version::V1,
            controllers: vec!["cpu".into(), "cpuacct".into()],
        };
        let plan = plan(&Hierarchies { mounts: vec![mount] }, "/m/x", &Limits::default()).unwrap();
        assert_eq!((plan.create.len(), plan.join.len(), plan.view.len()), (1, 1, 1));
        assert_eq!(
            (plan.view[0].name.as_str(), plan.view[0].links.join(" ").as_str()),
            ("cpu,cpuacct", "cpu cpuacct")
        );
    }

    #[test]
    fn no_limits_are_joined_all_the_same() {
        let plan = plan(&hybrid(), "/m/x", &Limits::default()).unwrap();
        let made: Vec<&str> = plan.create.iter().map(|step| step.id()).collect();
        let mut expected = vec!["cgroup.make"; 10];
        expected.insert(3, "cgroup.inherit");
        assert_eq!(made, expected);
        assert_eq!(plan.join.len(), 9);
        assert!(plan.checks.is_empty());
    }

    #[test]
    fn an_absent_controller_is_told() {
        let rdma = crate::limits::Rdma { device: "mlx5_0".into(), handles: Some(1), objects: None };
        let failure = plan(&hybrid(), "/m/x", &Limits { rdma: vec![rdma], ..Limits::default() }).unwrap_err();
        assert!(
            failure.to_string().starts_with("cgroup.plan on rdma: needs the controller rdma: "),
            "{failure}"
        );
        let none = Hierarchies::default();
        assert!(plan(&none, "/m/x", &usual()).unwrap_err().hint.is_some());
        assert!(plan(&none, "/m/x", &Limits { devices: vec![DENY], ..Limits::default() }).is_err());
        let bare = plan(&none, "/m/x", &Limits::default()).unwrap();
        assert!(
            bare.create.is_empty() && bare.join.is_empty() && bare.into.is_none() && bare.view.is_empty()
        );
        let failure =
            plan(&unified(), "/m/x", &Limits { net_class: Some(5), ..Limits::default() }).unwrap_err();
        assert!(failure.to_string().contains("cgroup v2 has no such controller"), "{failure}");
    }

    #[test]
    fn raw_files_go_where_their_controller_lives() {
        let raw = |file: &str| Limits { raw: vec![(file.into(), "5".into())], ..Limits::default() };
        let v2 = |file: &str| Limits { unified: vec![(file.into(), "5".into())], ..Limits::default() };
        let place = |h: &Hierarchies, limits: &Limits| {
            let plan = plan(h, "/m/x", limits)?;
            Ok::<_, Failure>(
                calls(&plan.create).into_iter().find(|call| call.starts_with("cgroup.limit")).unwrap(),
            )
        };
        let at = |file: &str| format!("cgroup.limit write(openat(\"{file}\", O_WRONLY), \"5\")");
        assert_eq!(
            place(&hybrid(), &raw("memory.soft_limit_in_bytes")).unwrap(),
            at("memory/m/x/memory.soft_limit_in_bytes")
        );
        assert_eq!(place(&hybrid(), &raw("cgroup.max.depth")).unwrap(), at("unified/m/x/cgroup.max.depth"));
        assert_eq!(place(&unified(), &raw("memory.high")).unwrap(), at("m/x/memory.high"));
        assert_eq!(place(&unified(), &v2("memory.high")).unwrap(), at("m/x/memory.high"));
        let refused = place(&hybrid(), &v2("memory.high")).unwrap_err();
        // runc's own tests look for these two words.
        assert!(refused.to_string().contains("invalid configuration"), "{refused}");
        assert!(refused.hint.unwrap().contains("hybrid"));
        assert!(place(&hybrid(), &raw("io.max")).is_err());
        assert!(place(&unified(), &raw("cpu/../x.y")).is_err());
        // What a raw file needs is handed on like any other.
        let misc = plan(&unified(), "/m/x", &v2("misc.max")).unwrap();
        assert!(misc.create[0].call().contains("+misc"));
    }

    #[test]
    fn a_unified_file_stands_above_the_limit_of_the_same_file() {
        let io = Io { weight: Some(500), ..Io::default() };
        let file = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let unified_files =
            vec![file("cpu.weight", "42"), file("io.weight", "7"), file("memory.min", "131072")];
        let limits = Limits { io, unified: unified_files, ..usual() };
        let plan = plan(&unified(), "/m/x", &limits).unwrap();
        let calls = calls(&plan.create);
        let at = |text: &str| calls.iter().position(|call| call.contains(text)).unwrap();
        assert!(at(r#"cpu.weight", O_WRONLY), "59")"#) < at(r#"cpu.weight", O_WRONLY), "42")"#));
        let read_back = |name: &str| plan.checks.iter().any(|check| check.file.ends_with(name));
        assert!(!read_back("cpu.weight") && !read_back("io.bfq.weight"), "{:?}", plan.checks);
        assert!(read_back("cpu.max") && read_back("memory.max"));
    }

    #[test]
    fn a_group_that_may_be_there_is_taken() {
        let plan = plan_over(&unified(), "/minidocker-test-none/x", &usual()).unwrap();
        let made = calls(&plan.create).into_iter().find(|call| call.starts_with("cgroup.make")).unwrap();
        assert_eq!(made, r#"cgroup.make unless it is there: mkdir("minidocker-test-none/x", 0755)"#);
        assert!(plan_over(&unified(), "/a/../b", &usual()).is_err());
    }

    #[test]
    fn a_v2_mount_without_controllers_is_left_alone_unless_needed() {
        let mut h = hybrid();
        h.mounts.last_mut().unwrap().controllers.clear();
        assert_eq!(plan(&h, "/m/x", &Limits::default()).unwrap().into, None);
        h.mounts.retain(|mount| !mount.has("devices"));
        let filtered = plan(&h, "/m/x", &Limits { devices: vec![DENY], ..Limits::default() }).unwrap();
        assert_eq!(filtered.create.last().unwrap().id(), "cgroup.devices");
        assert!(filtered.into.is_some());
    }

    #[test]
    fn weights_are_checked_in_whichever_file_there_is() {
        let io = Io { weight: Some(500), ..Io::default() };
        let plan = plan(&unified(), "/m/x", &Limits { io, ..Limits::default() }).unwrap();
        let other = plan.checks[0].otherwise.as_ref().unwrap();
        assert!(other.file.ends_with("io.weight"));
        assert_eq!(other.expect, Expect::Entry("default".into(), Amount::Of(4950)));
    }

    #[test]
    fn paths_stay_below_the_mounts() {
        for good in ["/a", "/minidocker/0f3a", "/a/b/c"] {
            check_path(good).unwrap();
        }
        for bad in ["", "/", "a", "/a/../b", "/a//b", "/a/", "/./a"] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }
}
