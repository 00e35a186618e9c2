//! What a request means: Docker's rules, one by one, without a kernel.

use oci::spec::LinuxNamespaceType as Type;

use super::*;
use crate::request::{Mount, NetworkMode, Resources, TimeOffsets, UserNamespace};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A root that has every capability but SYS_RESOURCE (24), on a host called `machine`.
fn facts() -> Facts {
    let capabilities = (1 << 41) - 1 - (1 << 24);
    let user = crate::users::User { home: "/root".into(), ..Default::default() };
    Facts { hostname: "machine".into(), capabilities, user, ..Facts::default() }
}

fn specified(request: &RunRequest) -> Specified {
    specify(request, &facts(), ID, "/minidocker/x", &[]).unwrap()
}

fn refused(request: &RunRequest) -> String {
    specify(request, &facts(), ID, "/minidocker/x", &[]).unwrap_err().message
}

fn names(request: &RunRequest) -> Vec<String> {
    specified(request).capabilities.iter().map(ToString::to_string).collect()
}

fn with(change: impl FnOnce(&mut RunRequest)) -> RunRequest {
    let mut request = RunRequest::default();
    change(&mut request);
    request
}

#[test]
fn capabilities_by_dockers_rules() {
    let caps = |add: &[&str], drop: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        names(&with(|request| {
            (request.security.cap_add, request.security.cap_drop) = (owned(add), owned(drop))
        }))
    };
    assert_eq!(caps(&[], &[]).len(), 14);
    assert!(caps(&["NET_ADMIN"], &[]).contains(&"NET_ADMIN".to_owned()));
    assert_eq!(caps(&["CHOWN"], &["ALL"]), ["CHOWN"]);
    assert_eq!(caps(&[], &["ALL"]), [""; 0]);
    let all = caps(&["ALL"], &["KILL"]);
    assert!(all.len() == 39 && !all.contains(&"KILL".to_owned()), "{all:?}");
    assert!(!all.contains(&"SYS_RESOURCE".to_owned()), "nobody gives what it has not");
    assert_eq!(names(&with(|request| request.security.privileged = true)).len(), 40);
    let wrong = with(|request| request.security.cap_add = vec!["FLY".into()]);
    assert_eq!(refused(&wrong), "--cap-add FLY: no such capability");
}

#[test]
fn environment_in_order_and_without_what_is_taken_out() {
    let request = with(|request| {
        request.tty = true;
        request.process.env =
            vec![("A".into(), Some("1".into())), ("HOME".into(), None), ("A".into(), Some("2".into()))];
    });
    let env = specified(&request).spec.process().as_ref().unwrap().env().clone().unwrap();
    let path = format!("PATH={}", oci::defaults::PATH);
    assert_eq!(env, [path.as_str(), "HOSTNAME=0123456789ab", "TERM=xterm", "A=2"]);
}

#[test]
fn the_command_and_its_defaults() {
    let words = |entrypoint: Option<&[&str]>, command: &[&str], image: Image| {
        let owned = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        let entrypoint = entrypoint.map(owned);
        command_of(&RunRequest { image, entrypoint, command: owned(command), ..RunRequest::default() })
    };
    fn command_of(request: &RunRequest) -> Result<Vec<String>, Error> {
        command(request)
    }
    assert_eq!(words(None, &[], Image::Host).unwrap(), ["bash"]);
    assert_eq!(words(None, &[], Image::Directory("/x".into())).unwrap(), ["sh"]);
    assert_eq!(words(Some(&["a", "b"]), &["c"], Image::Host).unwrap(), ["a", "b", "c"]);
    assert_eq!(words(None, &[""], Image::Host).unwrap_err().kind, Kind::NotFound);
}

/// The limits of memory, and of memory and swap together.
type Limits = (Option<i64>, Option<i64>);

fn memory(change: impl FnOnce(&mut Resources)) -> Result<Option<Limits>, Error> {
    let request = with(|request| change(&mut request.resources));
    let specified = specify(&request, &facts(), ID, "/x", &[])?;
    let linux = specified.spec.linux().clone().unwrap();
    Ok(linux.resources().as_ref().unwrap().memory().as_ref().map(|memory| (memory.limit(), memory.swap())))
}

#[test]
fn swap_is_twice_the_memory_where_nothing_was_said() {
    assert_eq!(memory(|_| {}).unwrap(), None);
    assert_eq!(memory(|r| r.memory = Some(100)).unwrap(), Some((Some(100), Some(200))));
    assert_eq!(
        memory(|r| (r.memory, r.memory_swap) = (Some(100), Some(-1))).unwrap(),
        Some((Some(100), Some(-1)))
    );
    assert_eq!(
        memory(|r| (r.memory, r.memory_swap) = (Some(100), Some(0))).unwrap(),
        Some((Some(100), Some(200)))
    );
    assert!(memory(|r| (r.memory, r.memory_swap) = (Some(100), Some(99))).is_err());
    assert!(memory(|r| r.memory_swap = Some(100)).is_err());
    assert!(memory(|r| (r.memory, r.memory_reservation) = (Some(100), Some(101))).is_err());
    assert_eq!(memory(|r| r.memory = Some(u64::MAX / 2)).unwrap().unwrap().1, Some(i64::MAX));
}

#[test]
fn cpus_become_a_quota_and_more_than_there_are_is_refused() {
    let request = with(|request| request.resources.milli_cpus = Some(500));
    let linux = specified(&request).spec.linux().clone().unwrap();
    let cpu = linux.resources().as_ref().unwrap().cpu().clone().unwrap();
    assert_eq!((cpu.quota(), cpu.period()), (Some(50_000), Some(100_000)));
    let wrong = with(|request| request.resources.milli_cpus = Some(1_000_000_000));
    assert!(refused(&wrong).starts_with("--cpus 1000000 is more than this machine has"));
}

fn kinds(request: &RunRequest, facts: &Facts) -> Vec<Type> {
    let specified = specify(request, facts, ID, "/x", &[]).unwrap();
    let linux = specified.spec.linux().clone().unwrap();
    linux.namespaces().iter().flatten().map(|namespace| namespace.typ()).collect()
}

#[test]
fn namespaces_as_asked_for() {
    let default = [Type::Mount, Type::Pid, Type::Ipc, Type::Uts, Type::Network, Type::Cgroup];
    assert_eq!(kinds(&RunRequest::default(), &facts()), default);
    let all = with(|request| {
        request.namespaces.user = UserNamespace::Private { host: 0, size: 65536 };
        request.namespaces.time = Some(TimeOffsets { monotonic: 1, boottime: 2 });
    });
    let own = Facts { ids: Some((100_000, 65536)), ..facts() };
    assert_eq!(kinds(&all, &own).len(), 8);
    let none = with(|request| {
        (request.namespaces.pid, request.namespaces.ipc, request.namespaces.uts) =
            (Namespace::Host, Namespace::Host, Namespace::Host);
        (request.network.mode, request.namespaces.cgroup_host) = (NetworkMode::Host, true);
    });
    assert_eq!(kinds(&none, &facts()), [Type::Mount], "the mount namespace is always the container's own");
}

#[test]
fn the_host_name_goes_with_the_network() {
    let name = |request: &RunRequest| own_hostname(request, &facts(), ID);
    assert_eq!(name(&RunRequest::default()).unwrap(), "0123456789ab");
    assert_eq!(name(&with(|request| request.network.mode = NetworkMode::Host)).unwrap(), "machine");
    assert_eq!(name(&with(|request| request.namespaces.uts = Namespace::Host)), None);
}

#[test]
fn mounts_are_parents_first_and_never_on_proc() {
    let bind = |target: &str| Mount::Bind {
        source: "/tmp".into(),
        target: target.into(),
        read_only: true,
        recursive_read_only: false,
        propagation: None,
        create_source: false,
        options: Vec::new(),
        idmap: false,
        shallow: false,
    };
    let request = with(|request| request.storage.mounts = vec![bind("/a/b/c"), bind("/a"), bind("/dev/shm")]);
    let mounts = specified(&request).spec.mounts().clone().unwrap();
    let targets: Vec<_> =
        mounts.iter().map(|mount| mount.destination().to_str().unwrap().to_owned()).collect();
    assert_eq!(targets[targets.len() - 3..], ["/a", "/dev/shm", "/a/b/c"]);
    assert_eq!(
        targets.iter().filter(|target| *target == "/dev/shm").count(),
        1,
        "the user's takes the place"
    );
    for bad in ["/proc", "/proc/self"] {
        assert!(refused(&with(|request| request.storage.mounts = vec![bind(bad)])).contains("/proc"));
    }
    specified(&with(|request| request.storage.mounts = vec![bind("/proc/meminfo")]));
}

#[test]
fn device_rules_are_read_strictly() {
    let rules = |text: &str| {
        let request = with(|request| request.security.device_rules = vec![text.into()]);
        specify(&request, &facts(), ID, "/x", &[]).map(|specified| {
            let linux = specified.spec.linux().clone().unwrap();
            linux.resources().as_ref().unwrap().devices().as_ref().unwrap().last().unwrap().clone()
        })
    };
    let rule = rules("c 10:* rw").unwrap();
    assert_eq!((rule.allow(), rule.major(), rule.minor()), (true, Some(10), None));
    for bad in ["", "c", "x 1:2 r", "c 1 r", "c 1:2 q", "c 1:2", "c -1:2 r", "c 1:2 r extra"] {
        assert!(rules(bad).is_err(), "{bad}");
    }
}
