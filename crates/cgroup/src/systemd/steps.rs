//! The steps of a container whose group is a unit, and the plan that they make up with those of `crate::plan`.

use std::borrow::Cow;
use std::path::PathBuf;

use ::step::{Context, Failure, Shell, quote};

use super::manager::{Facts, Manager, common};
use super::properties::{Property, translate};
use super::unit::Unit;
use crate::hierarchies::{Hierarchies, Mount, Version};
use crate::kernfs;
use crate::limits::{Amount, Limits};
use crate::{Group, Plan};

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The monitor's, after the clone: have systemd make the unit around `context.init`, which waits meanwhile.
    Start {
        /// The unit.
        unit: Unit,
        /// Its properties beside those that every container has.
        properties: Vec<Property>,
        /// By the user's own systemd.
        rootless: bool,
    },
    /// Init is in the group of this hierarchy: put there by systemd, else put there now.
    Enter {
        /// The hierarchy as /proc/self/cgroup names it: its controllers; none for version 2.
        hierarchy: Vec<String>,
        /// The group.
        path: String,
        /// What takes it in; none where systemd must have done it.
        file: Option<PathBuf>,
        /// The monitor does it, for an init that has no right to.
        by_monitor: bool,
    },
    /// Have systemd stop the unit, if it is there; its processes should be dead by now.
    Stop {
        /// The unit.
        unit: Unit,
        /// By the user's own systemd.
        rootless: bool,
    },
}

impl ::step::Step for Step {
    fn id(&self) -> &'static str {
        match self {
            Self::Start { .. } => "systemd.start",
            Self::Enter { .. } => "systemd.enter",
            Self::Stop { .. } => "systemd.stop",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Start { unit, properties, .. } => {
                let all = common(unit).into_iter().chain(properties.iter().cloned());
                let all: Vec<String> = all.map(|property| property.to_string()).collect();
                format!(
                    "StartTransientUnit({:?}, \"replace\", {{PIDs=<init>, {}}})",
                    unit.name,
                    all.join(", ")
                )
            }
            Self::Enter { path, file, by_monitor, .. } => {
                let (who, number) = if *by_monitor { ("<init>", "<init>") } else { ("self", "0") };
                let look = format!("read(openat(\"/proc/{who}/cgroup\", O_RDONLY))");
                match file {
                    Some(file) => {
                        format!("{look}; unless in it, write(openat({file:?}, O_WRONLY), \"{number}\")")
                    }
                    None => format!("{look}: {path}"),
                }
            }
            Self::Stop { unit, .. } => format!("StopUnit({:?}, \"replace\")", unit.name),
        }
    }

    fn why(&self) -> Cow<'static, str> {
        match self {
            Self::Start { .. } => {
                "systemd keeps the groups of this host: a unit of its own, delegated to us".into()
            }
            Self::Enter { file: None, .. } => "nothing is started outside of the unit".into(),
            Self::Enter { .. } => "systemd does not use every hierarchy for a unit".into(),
            Self::Stop { .. } => "systemd is to forget the unit too".into(),
        }
    }

    fn shell(&self) -> Shell {
        match self {
            Self::Start { unit, properties, rootless } => {
                let all: Vec<Property> = common(unit).into_iter().chain(properties.iter().cloned()).collect();
                let mut words = Vec::new();
                all.iter().for_each(|property| property.pair().words(&mut words));
                let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
                Shell::line(format!(
                    "busctl {}call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \
                     StartTransientUnit 'ssa(sv)a(sa(sv))' {} replace {} {} PIDs au 1 $$ 0",
                    if *rootless { "--user " } else { "" },
                    quote(&unit.name),
                    all.len() + 1,
                    words.join(" ")
                ))
            }
            Self::Enter { file: Some(file), .. } => {
                Shell::line(format!("echo $$ > {}", quote(&file.to_string_lossy())))
            }
            Self::Enter { file: None, .. } => Shell::Within("the line that makes the unit"),
            Self::Stop { unit, rootless } => {
                let user = if *rootless { "--user " } else { "" };
                Shell::line(format!("systemctl {user}stop {}", quote(&unit.name)))
            }
        }
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        let absent =
            |target: &str| Failure::because(self.id(), target, "there is no process yet to put into it");
        match self {
            Self::Start { unit, properties, rootless } => {
                let init = context.init.ok_or_else(|| absent(&unit.name))?;
                Manager::connect(*rootless)?.start(unit, Some(init), properties)
            }
            Self::Enter { hierarchy, path, file, by_monitor } => {
                let init = match by_monitor {
                    true => Some(context.init.ok_or_else(|| absent(path))?),
                    false => None,
                };
                enter(hierarchy, path, file.as_ref(), init)
            }
            Self::Stop { unit, rootless } => Manager::connect(*rootless)?.stop(unit),
        }
    }
}

/// Brings the process, or this one, into the group of a hierarchy, unless it is there.
fn enter(hierarchy: &[String], path: &str, file: Option<&PathBuf>, pid: Option<i32>) -> Result<(), Failure> {
    let (who, number) = match pid {
        Some(pid) => (pid.to_string(), pid.to_string()),
        None => ("self".to_owned(), "0".to_owned()),
    };
    let list = format!("/proc/{who}/cgroup");
    let text = kernfs::read(list.as_ref()).map_err(|cause| Failure::new("systemd.enter", &list, cause))?;
    let place = place(&text, hierarchy);
    match file {
        _ if place == Some(path) => Ok(()),
        Some(file) => kernfs::write(file, &number)
            .map_err(|cause| Failure::new("systemd.enter", file.to_string_lossy(), cause)),
        None => {
            let reason =
                format!("process {who} is in {} and not there", place.unwrap_or("no such hierarchy"));
            Err(Failure::because("systemd.enter", path, reason).hint(
                "something moves processes between groups here, or systemd keeps other hierarchies than ours",
            ))
        }
    }
}

/// Where a process is, by the text of its /proc/<pid>/cgroup: `2:cpu,cpuacct:/system.slice`.
fn place<'a>(text: &'a str, hierarchy: &[String]) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let mut controllers: Vec<&str> = controllers.split(',').filter(|name| !name.is_empty()).collect();
        let mut wanted: Vec<&str> = hierarchy.iter().map(String::as_str).collect();
        controllers.sort_unstable();
        wanted.sort_unstable();
        (controllers == wanted).then_some(path)
    })
}

/// What a container in a unit is to have.
#[derive(Debug)]
pub struct Request<'a> {
    /// The unit, a scope.
    pub unit: &'a Unit,
    /// Its limits, which hold against `extra`.
    pub limits: &'a Limits,
    /// Properties from [`super::annotations`].
    pub extra: Vec<Property>,
    /// Init, in a user namespace of its own, has no right to the host's groups: the monitor puts it there.
    pub confined: bool,
}

/// Plans a container in a unit: [`Step::Start`], then all of [`crate::plan_over`]: limits are written to their files
/// too, exactly, and systemd knows them so that a daemon-reload keeps them.
///
/// The whole of `create` is taken after the clone, while init waits: the unit needs its process, and there is no group
/// to be born into (`into` is none, [`Plan::take_into`] nothing). `join` is never empty, so that init waits for the
/// unit. [`Plan::opened_by_monitor`] is not for this plan: see [`Request::confined`].
///
/// Errors as those of [`crate::plan`] and [`translate`]; a slice, which has no processes.
pub fn plan(h: &Hierarchies, facts: &Facts, request: Request<'_>) -> Result<Plan, Failure> {
    let Request { unit, limits, extra: mut properties, confined } = request;
    if unit.is_slice() {
        return Err(Failure::because("systemd.unit", &unit.name, "a slice has no processes of its own")
            .hint("a container needs a scope: a cgroupsPath whose name does not end in .slice"));
    }
    let translation = translate(h, limits, facts.version)?;
    properties.extend(translation.properties);
    let path = facts.path(unit);
    let mut plan = crate::plan_over(h, &path, &translation.limits)?;
    plan.create.insert(0, Box::new(Step::Start { unit: unit.clone(), properties, rootless: facts.rootless }));
    let unified = plan.into.take();
    (plan.v2, plan.tasks) = (0..0, Vec::new());
    let enter = |mount: &Mount, file: Option<PathBuf>, by_monitor: bool| Step::Enter {
        hierarchy: if mount.version == Version::V1 { mount.controllers.clone() } else { Vec::new() },
        path: path.clone(),
        file,
        by_monitor,
    };
    let used: Vec<&Mount> =
        h.mounts.iter().filter(|mount| mount.version == Version::V1 || unified.is_some()).collect();
    let v1 = used.iter().any(|mount| mount.version == Version::V1);
    if confined {
        plan.join.clear();
        for mount in used.iter().filter(|_| v1) {
            let name = if mount.version == Version::V1 { "tasks" } else { "cgroup.procs" };
            plan.create.push(Box::new(enter(mount, Some(mount.group(&path).join(name)), true)));
        }
    }
    // Init's own: version 2, which systemd fills where there is nothing else, and may or may not use beside version 1.
    for mount in used.iter().filter(|mount| mount.version == Version::V2) {
        let own = (v1 && !confined).then(|| mount.group(&path).join("cgroup.procs"));
        plan.join.push(Box::new(enter(mount, own, false)));
    }
    if let (true, Some(mount)) = (plan.join.is_empty(), used.first()) {
        plan.join.push(Box::new(enter(mount, None, false)));
    }
    Ok(plan)
}

/// Other limits for a running unit, in its files and for systemd. Files first: what the kernel refuses is set back, and
/// systemd has not heard of it. And last: they hold what was asked for, not what systemd makes of it.
///
/// Errors as those of [`crate::update`] and [`Manager::set`]; after the latter the limits hold until systemd is
/// reloaded.
pub fn update(manager: &mut Manager, h: &Hierarchies, unit: &Unit, limits: &Limits) -> Result<(), Failure> {
    let path = manager.facts().path(unit);
    let mut limits = limits.clone();
    complete(&Group::open(h, &path)?, &mut limits);
    let translation = translate(h, &limits, manager.facts().version)?;
    crate::update(h, &path, &translation.limits)?;
    // That of a unit that runs is not systemd's to change.
    let fixed = |property: &Property| property.name == "OOMPolicy";
    let properties: Vec<Property> = translation.properties.into_iter().filter(|one| !fixed(one)).collect();
    if properties.is_empty() {
        return Ok(());
    }
    manager.set(unit, &properties)?;
    // systemd writes what it was told into the files, in its own conversions (weights of bfq), without those of single
    // devices, and may do so after its answer: it has by the time that it answers once more.
    manager.state(unit)?;
    let mut limits = translation.limits;
    limits.memory.check_before_update = false;
    crate::update(h, &path, &limits)
}

/// systemd keeps a quota as a share of a second, so that one of quota and period is not enough: the other is that of
/// the running group.
fn complete(group: &Group, limits: &mut Limits) {
    let cpu = &mut limits.cpu;
    if cpu.quota.is_some() == cpu.period.is_some() {
        return;
    }
    let Some((version, dir)) = group.with("cpu", "cpu") else { return };
    let read = |file: &str| kernfs::read(&dir.join(file)).unwrap_or_default();
    let text = match version {
        Version::V1 => read("cpu.cfs_quota_us") + &read("cpu.cfs_period_us"),
        Version::V2 => read("cpu.max"),
    };
    let mut words = text.split_ascii_whitespace();
    // `max` and -1 are no numbers of microseconds.
    let quota = words.next().map(|word| word.parse().map_or(Amount::Max, Amount::Of));
    let period = words.next().and_then(|word| word.parse().ok());
    cpu.quota = cpu.quota.or(quota);
    cpu.period = cpu.period.or(period);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::step::{Step as _, Steps};

    use crate::hierarchies::tests::{hybrid, unified};
    use crate::limits::Memory;

    fn facts() -> Facts {
        Facts { version: 252, root: String::new(), rootless: false }
    }

    fn unit() -> Unit {
        Unit::parse("system.slice:docker:0f", "c1", false).unwrap()
    }

    fn limits() -> Limits {
        let memory = Memory { limit: Some(Amount::Of(64 << 20)), ..Memory::default() };
        Limits { memory, pids: Some(Amount::Of(64)), ..Limits::default() }
    }

    fn planned(h: &Hierarchies, extra: Vec<Property>, confined: bool) -> Plan {
        let (unit, limits) = (unit(), limits());
        plan(h, &facts(), Request { unit: &unit, limits: &limits, extra, confined }).unwrap()
    }

    fn calls(steps: &Steps) -> Vec<String> {
        steps
            .iter()
            .map(|step| format!("{} {}", step.id(), step.call().replace("/sys/fs/cgroup/", "")))
            .collect()
    }

    const START: &str = "systemd.start StartTransientUnit(\"docker-0f.scope\", \"replace\", {PIDs=<init>, \
        Description=minidocker container docker-0f, Slice=system.slice, Delegate=true, MemoryAccounting=true, \
        CPUAccounting=true, IOAccounting=true, TasksAccounting=true, DefaultDependencies=false, ";

    #[test]
    fn in_version_2_the_unit_comes_first_and_its_files_after_it() {
        for confined in [false, true] {
            let extra = vec![Property::new("CollectMode", "inactive-or-failed")];
            let mut plan = planned(&unified(), extra, confined);
            assert_eq!(
                calls(&plan.create),
                [
                    format!("{START}CollectMode=inactive-or-failed, MemoryMax=67108864, TasksMax=64}})"),
                    r#"cgroup.parent write(openat("system.slice/cgroup.subtree_control", O_WRONLY), "+memory +pids +cpuset +cpu +io +hugetlb +rdma +misc")"#
                        .into(),
                    r#"cgroup.make unless it is there: mkdir("system.slice/docker-0f.scope", 0755)"#.into(),
                    r#"cgroup.limit write(openat("system.slice/docker-0f.scope/memory.max", O_WRONLY), "67108864")"#.into(),
                    r#"cgroup.limit write(openat("system.slice/docker-0f.scope/pids.max", O_WRONLY), "64")"#.into(),
                ]
            );
            assert_eq!(plan.into, None);
            let look =
                r#"systemd.enter read(openat("/proc/self/cgroup", O_RDONLY)): /system.slice/docker-0f.scope"#;
            assert_eq!(calls(&plan.join), [look]);
            assert_eq!(plan.checks.len(), 2);
            assert!(plan.take_into().is_empty(), "nothing is done before the clone");
            assert_eq!(plan.create.len(), 5);
        }
    }

    #[test]
    fn in_version_1_init_joins_what_systemd_does_not_use() {
        let plan = planned(&hybrid(), vec![], false);
        let create = calls(&plan.create);
        assert_eq!(create[0], format!("{START}MemoryLimit=67108864, TasksMax=64}})"));
        assert_eq!(create.iter().filter(|call| call.starts_with("cgroup.make unless")).count(), 10);
        let joins = calls(&plan.join);
        assert_eq!(joins.len(), 10);
        let first = r#"cgroup.join write(openat("cpu/system.slice/docker-0f.scope/tasks", O_WRONLY), "0")"#;
        assert_eq!(joins[0], first);
        assert_eq!(
            joins[9],
            r#"systemd.enter read(openat("/proc/self/cgroup", O_RDONLY)); unless in it, write(openat("unified/system.slice/docker-0f.scope/cgroup.procs", O_WRONLY), "0")"#
        );
    }

    #[test]
    fn an_init_without_rights_is_put_there_by_the_monitor() {
        let plan = planned(&hybrid(), vec![], true);
        let create = calls(&plan.create);
        let entered: Vec<&String> = create.iter().filter(|call| call.starts_with("systemd.enter")).collect();
        assert_eq!(entered.len(), 10);
        assert!(
            entered[0]
                .ends_with(r#"write(openat("cpu/system.slice/docker-0f.scope/tasks", O_WRONLY), "<init>")"#)
        );
        assert!(
            entered[9]
                .contains(r#"("unified/system.slice/docker-0f.scope/cgroup.procs", O_WRONLY), "<init>")"#)
        );
        assert!(create.last().unwrap().starts_with("systemd.enter"), "limits come first");
        let look =
            r#"systemd.enter read(openat("/proc/self/cgroup", O_RDONLY)): /system.slice/docker-0f.scope"#;
        assert_eq!(calls(&plan.join), [look]);
        // Version 1 alone: init waits and looks all the same.
        let mut legacy = hybrid();
        legacy.mounts.pop();
        assert_eq!(calls(&planned(&legacy, vec![], true).join), [look]);
        assert_eq!(planned(&legacy, vec![], false).join.len(), 9);
    }

    #[test]
    fn a_process_and_where_it_is() {
        let text = "2:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/d\n";
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        assert_eq!(place(text, &names(&["cpuacct", "cpu"])), Some("/a"));
        assert_eq!(place(text, &names(&["name=systemd"])), Some("/b:c"));
        assert_eq!(place(text, &[]), Some("/d"));
        assert_eq!(place(text, &names(&["cpu"])), None);
        let failure = enter(&[], "/no/such/group", None, None).unwrap_err();
        assert!(
            failure.to_string().starts_with("systemd.enter on /no/such/group: process self is in "),
            "{failure}"
        );
        let h = Hierarchies::probe().unwrap();
        let mount = h.mounts.iter().find(|mount| mount.version == Version::V2).unwrap();
        let text = kernfs::read("/proc/self/cgroup".as_ref()).unwrap();
        let here = place(&text, &[]).unwrap();
        // There already: nothing is written.
        let nowhere = mount.dir.join("no/such/group/cgroup.procs");
        enter(&[], here, Some(&nowhere), Some(std::process::id().cast_signed())).unwrap();
        let failure = enter(&[], "/no/such/group", Some(&nowhere), None).unwrap_err();
        assert_eq!(failure.errno, rustix::io::Errno::NOENT.raw_os_error());
    }

    #[test]
    fn a_users_unit_is_below_the_users_manager() {
        let unit = Unit::parse("user.slice:libpod:x", "c1", true).unwrap();
        let root = "/user.slice/user-1000.slice/user@1000.service".to_owned();
        let facts = Facts { version: 252, root, rootless: true };
        let limits = Limits::default();
        let request = Request { unit: &unit, limits: &limits, extra: vec![], confined: true };
        let plan = plan(&unified(), &facts, request).unwrap();
        let dir = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-x.scope";
        assert_eq!(plan.view[0].dir.to_str(), Some(dir));
        let Shell::Lines(lines) = plan.create[0].shell() else { panic!() };
        assert!(lines[0].starts_with("busctl --user call org.freedesktop.systemd1 "), "{}", lines[0]);
    }

    #[test]
    fn a_slice_takes_no_container() {
        let slice = Unit::parse("::a.slice", "c1", false).unwrap();
        let limits = Limits::default();
        let request = Request { unit: &slice, limits: &limits, extra: vec![], confined: false };
        let failure = plan(&unified(), &facts(), request).unwrap_err();
        assert_eq!(failure.to_string(), "systemd.unit on a.slice: a slice has no processes of its own");
    }

    #[test]
    fn a_start_as_one_types_it() {
        let properties = vec![Property::new("MemoryMax", 5)];
        let step = Step::Start { unit: unit(), properties, rootless: false };
        assert_eq!(
            step.shell(),
            Shell::line(
                "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \
                 StartTransientUnit 'ssa(sv)a(sa(sv))' docker-0f.scope replace 10 Description s \
                 'minidocker container docker-0f' Slice s system.slice Delegate b true MemoryAccounting b true \
                 CPUAccounting b true IOAccounting b true TasksAccounting b true DefaultDependencies b false \
                 MemoryMax t 5 PIDs au 1 $$ 0"
            )
        );
        let stop = Step::Stop { unit: unit(), rootless: true };
        assert_eq!(stop.shell(), Shell::line("systemctl --user stop docker-0f.scope"));
        let failure = step.perform(&mut Context::default()).unwrap_err();
        assert!(failure.to_string().ends_with("there is no process yet to put into it"), "{failure}");
    }
}
