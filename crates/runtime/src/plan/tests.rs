//! The plan as data: what is asked for is in it, in the right order, and both lists agree on where they meet.

use oci::spec::{
    LinuxBuilder, LinuxNamespaceBuilder, LinuxNamespaceType as Type, Mount, ProcessBuilder, Spec,
};
use std::borrow::Cow;

use step::{Context, Shell};

use super::*;
use crate::container::{First, GroupView, Hooks, Manner, NetworkSteps};

/// A step of another room.
#[derive(Debug)]
struct Other(&'static str);

impl Step for Other {
    fn id(&self) -> &'static str {
        self.0
    }
    fn call(&self) -> String {
        self.0.to_owned()
    }
    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed("test")
    }
    fn shell(&self) -> Shell {
        Shell::line(self.0)
    }
    fn perform(&self, _: &mut Context) -> Result<(), Failure> {
        Ok(())
    }
}

fn other(name: &'static str) -> Steps {
    vec![Box::new(Other(name))]
}

struct Case {
    namespaces: Vec<(Type, Option<&'static str>)>,
    terminal: bool,
    network: bool,
    grouped: bool,
    no_new_privileges: bool,
}

const OWN: [Type; 4] = [Type::Mount, Type::Pid, Type::Uts, Type::Ipc];

fn case() -> Case {
    let mut namespaces: Vec<_> = OWN.map(|kind| (kind, None)).into();
    namespaces.extend([(Type::Network, None), (Type::Cgroup, None)]);
    Case { namespaces, terminal: false, network: true, grouped: true, no_new_privileges: false }
}

impl Case {
    fn plan(&self) -> Plan {
        let namespace = |(kind, path): &(Type, Option<&'static str>)| {
            let builder = LinuxNamespaceBuilder::default().typ(*kind);
            path.iter().fold(builder, |builder, path| builder.path(*path)).build().unwrap()
        };
        let linux = LinuxBuilder::default()
            .namespaces(self.namespaces.iter().map(namespace).collect::<Vec<_>>())
            .masked_paths(vec!["/proc/kcore".to_owned()])
            .build()
            .unwrap();
        let process = ProcessBuilder::default()
            .terminal(self.terminal)
            .args(vec!["true".to_owned()])
            .cwd("/work")
            .no_new_privileges(self.no_new_privileges)
            .build()
            .unwrap();
        let mut spec = Spec::default();
        spec.set_linux(Some(linux)).set_process(Some(process)).set_mounts(Some(vec![
            mount("proc", "/proc"),
            mount("tmpfs", "/dev"),
            mount("devpts", "/dev/pts"),
            mount("cgroup", "/sys/fs/cgroup"),
        ]));
        let network = if self.network {
            NetworkSteps {
                host: other("bridge"),
                beside: other("veth"),
                loopback: other("lo"),
                inside: other("address"),
                settled: other("settle"),
                script_name: "md-x".into(),
            }
        } else {
            NetworkSteps::default()
        };
        let groups = if self.grouped {
            let view =
                GroupView { name: "memory".into(), links: vec![], dir: "/sys/fs/cgroup/memory/x".into() };
            GroupSteps {
                beside: other("group"),
                join: other("join"),
                view: vec![view],
                ..GroupSteps::default()
            }
        } else {
            GroupSteps {
                before: other("group"),
                into: Some("/sys/fs/cgroup/x".into()),
                ..GroupSteps::default()
            }
        };
        let root = RootSteps { mount: other("root"), below: Steps::new(), at: "/run/x".into() };
        let filter = Some((Vec::new(), sys::seccomp::Flags::NONE));
        plan(Container {
            id: "x".into(),
            spec,
            root,
            groups,
            network,
            filter,
            first: First::Program,
            hooks: Hooks::default(),
            manner: Manner::default(),
        })
        .unwrap()
    }
}

fn mount(kind: &str, target: &str) -> Mount {
    let mut mount = Mount::default();
    mount.set_typ(Some(kind.to_owned())).set_destination(target.into());
    mount
}

/// Every meeting of one list in order: who speaks, and of what.
fn meetings(entries: &[Entry], speaker: &str, listener: &str) -> Vec<(String, Point)> {
    let meeting = |entry: &Entry| match entry {
        Entry::Tell(point) => Some((speaker.to_owned(), *point)),
        Entry::Await(point) => Some((listener.to_owned(), *point)),
        Entry::Do(_) => None,
    };
    entries.iter().filter_map(meeting).collect()
}

/// What a list hears, in the order in which it expects it, must be what the other says, in the order in which it is
/// said: the socket keeps the order and nobody reads ahead.
fn agree(plan: &Plan) {
    let monitor = meetings(&plan.monitor, "monitor", "init");
    let mut init = meetings(&plan.init, "init", "monitor");
    init.push(("init".to_owned(), Point::Ready));
    for speaker in ["monitor", "init"] {
        let of = |list: &[(String, Point)]| -> Vec<Point> {
            list.iter().filter(|(who, _)| who == speaker).map(|(_, point)| *point).collect()
        };
        assert_eq!(of(&monitor), of(&init), "{speaker}");
    }
    // Performed by turns until both are through: no deadlock. `records` does just that.
    let steps = |list: &[Entry]| list.iter().filter(|entry| matches!(entry, Entry::Do(_))).count();
    let init = steps(&plan.init) + plan.late.len();
    assert_eq!(plan.records().len(), plan.before.len() + steps(&plan.monitor) + init + 2);
}

fn ids(entries: &[Entry]) -> Vec<&'static str> {
    let id = |entry: &Entry| match entry {
        Entry::Do(step) => Some(step.id()),
        _ => None,
    };
    entries.iter().filter_map(id).collect()
}

fn position(ids: &[&str], id: &str) -> usize {
    ids.iter().position(|known| *known == id).unwrap_or_else(|| panic!("no {id} in {ids:?}"))
}

#[test]
fn both_lists_agree_whatever_is_asked_for() {
    for bits in 0..32_u32 {
        let has = |bit: u32| bits >> bit & 1 == 1;
        let mut case = Case { terminal: has(0), network: has(1), grouped: has(2), ..case() };
        if has(3) {
            case.namespaces.push((Type::User, None));
        }
        if has(4) {
            case.namespaces.retain(|(kind, _)| *kind != Type::Pid);
            case.namespaces.push((Type::Pid, Some("/proc/7/ns/pid")));
        }
        agree(&case.plan());
    }
}

#[test]
fn what_takes_rights_away_comes_last() {
    let plan = case().plan();
    let ids = ids(&plan.init);
    let order = [
        "process.death-signal",
        "namespace.network",
        "namespace.mount",
        "mount.propagation",
        "root",
        "mount.root",
        "mount.proc",
        "device.nodes",
        "join",
        "namespace.cgroup",
        "address",
        "mount.mask",
        "mount.pivot",
        "process.directory",
        "capabilities.bounding",
        "process.user",
        "capabilities.set",
    ];
    let positions: Vec<_> = order.iter().map(|id| position(&ids, id)).collect();
    assert!(positions.is_sorted(), "{ids:?}");
    // The filter may forbid all of it. What was kept to set it goes right after.
    let late: Vec<_> = plan.late.iter().map(|step| step.id()).collect();
    assert_eq!(late, ["seccomp.filter", "capabilities.give-back"]);
}

#[test]
fn with_no_new_privileges_the_filter_comes_last_of_all() {
    let plan = Case { no_new_privileges: true, ..case() }.plan();
    assert_eq!(ids(&plan.init).last(), Some(&"process.no-new-privileges"));
    assert_eq!(plan.late.iter().map(|step| step.id()).collect::<Vec<_>>(), ["seccomp.filter"]);
}

#[test]
fn a_user_namespace_lets_the_monitor_build_the_root() {
    let mut case = case();
    case.namespaces.push((Type::User, None));
    let plan = case.plan();
    assert!(ids(&plan.monitor).starts_with(&["namespace.user-maps", "root"]));
    assert!(!ids(&plan.init).contains(&"root"));
    assert!(plan.clone.call().contains("CLONE_NEWUSER|CLONE_NEWPID"));
    assert!(ids(&plan.init).contains(&"device.nodes"));
}

#[test]
fn a_joined_pid_namespace_needs_no_second_process() {
    let mut case = case();
    case.namespaces.retain(|(kind, _)| *kind != Type::Pid);
    case.namespaces.push((Type::Pid, Some("/proc/7/ns/pid")));
    let plan = case.plan();
    assert!(plan.clone.call().starts_with("setns(\"/proc/7/ns/pid\"), clone3("));
    assert_eq!(position(&ids(&plan.init), "process.dumpable"), 1, "before anything that it could leak");
}

#[test]
fn version_2_is_cloned_into_its_group_and_joins_nothing() {
    let plan = Case { grouped: false, ..case() }.plan();
    assert_eq!(plan.before.len(), 1);
    assert!(plan.clone.call().contains("CLONE_INTO_CGROUP, \"/sys/fs/cgroup/x\""));
    assert!(!ids(&plan.init).contains(&"join"));
}

#[test]
fn a_relative_destination_and_a_missing_process_are_refused() {
    let container = |spec: Spec| Container {
        id: "x".into(),
        spec,
        root: RootSteps::default(),
        groups: GroupSteps::default(),
        network: NetworkSteps::default(),
        filter: None,
        first: First::Program,
        hooks: Hooks::default(),
        manner: Manner::default(),
    };
    let mut spec = Spec::default();
    spec.set_mounts(Some(vec![mount("tmpfs", "tmp")]));
    assert!(plan(container(spec.clone())).unwrap_err().to_string().contains("must be absolute"));
    spec.set_process(None);
    assert!(plan(container(spec)).unwrap_err().to_string().contains("no process"));
}
