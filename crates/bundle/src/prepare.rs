//! From config.json to a container that the runtime room can plan: control groups, network, filter, hooks.

use std::path::{Path, PathBuf};

use cgroup::systemd::{self, Manager, Request, Unit};
use cgroup::{Hierarchies, Limits};
use network::Namespace;
use oci::spec::{
    Capabilities, Capability, Hook, LinuxNamespaceType as Kind, LinuxSeccomp, LinuxSeccompAction, Process,
    Spec, State,
};
use runtime::{Container, First, GroupSteps, GroupView, Hooks, Manner, NetworkSteps, RootSteps};
use step::Steps;
use sys::seccomp::{Flags, Instruction};

use crate::Settings;
use crate::config::{Bundle, VERSION};
use crate::error::Error;

/// The compiled filter, as the runtime room takes it.
pub(crate) type Filter = (Vec<Instruction>, Flags);

/// The control group of a container: cgroupsPath, below every hierarchy; without one a group named like the container.
pub(crate) fn group_path(spec: &Spec, id: &str) -> Result<String, Error> {
    let asked = cgroups_path(spec)?;
    // What leads up leads no higher than the top, as in a path below the root of a file system.
    let mut parts: Vec<&str> = Vec::new();
    for part in asked.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Ok(match parts.is_empty() {
        true => format!("/{id}"),
        false => format!("/{}", parts.join("/")),
    })
}

fn cgroups_path(spec: &Spec) -> Result<String, Error> {
    let asked = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone()).unwrap_or_default();
    asked.into_os_string().into_string().map_err(|_| Error::new("cgroupsPath is not UTF-8"))
}

/// The limits of a specification. The devices that every container may use come after its own rules, as in runc.
pub(crate) fn limits(spec: &Spec) -> Result<Limits, Error> {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().clone()).unwrap_or_default();
    let mut limits = Limits::from_oci(&resources)?;
    limits.devices = cgroup::devices::with_runtime_defaults(limits.devices);
    Ok(limits)
}

/// The control group of a container that is being made: its path, its unit, the steps.
pub(crate) struct Grouped {
    pub(crate) path: String,
    /// cgroupsPath, where systemd makes a unit of it.
    pub(crate) unit: Option<String>,
    pub(crate) steps: GroupSteps,
}

/// How a container gets its control group: made by itself, or by systemd.
pub(crate) fn groups(spec: &Spec, id: &str, settings: &Settings) -> Result<Grouped, Error> {
    let hierarchies = Hierarchies::probe()?;
    let limits = limits(spec)?;
    let confined = has(spec, Kind::User);
    if settings.systemd_cgroup {
        return in_unit(&hierarchies, spec, id, &limits, confined);
    }
    let path = group_path(spec, id)?;
    cgroup::check_usable(&hierarchies, &path)?;
    let steps = own_groups(&hierarchies, &path, &limits, confined)?;
    Ok(Grouped { path, unit: None, steps })
}

/// The steps for a group that this process makes itself.
pub(crate) fn own_groups(
    hierarchies: &Hierarchies,
    path: &str,
    limits: &Limits,
    confined: bool,
) -> Result<GroupSteps, Error> {
    let plan = cgroup::plan_over(hierarchies, path, limits)?;
    let mut plan = if confined { plan.opened_by_monitor() } else { plan };
    let mut before = if confined { Steps::new() } else { plan.take_into() };
    let beside = if confined { Steps::new() } else { std::mem::take(&mut plan.create) };
    before.append(&mut plan.create);
    Ok(steps(plan, before, beside))
}

/// The same in a unit of systemd's, which needs the container's first process: after the clone.
fn in_unit(
    hierarchies: &Hierarchies,
    spec: &Spec,
    id: &str,
    limits: &Limits,
    confined: bool,
) -> Result<Grouped, Error> {
    let asked = cgroups_path(spec)?;
    let unit = Unit::parse(&asked, id, is_rootless())?;
    let manager = Manager::connect(is_rootless())?;
    let path = manager.facts().path(&unit);
    cgroup::check_usable(hierarchies, &path)?;
    let annotations = spec.annotations().clone().unwrap_or_default();
    let extra = systemd::annotations(&annotations)?;
    let request = Request { unit: &unit, limits, extra, confined };
    let mut plan = systemd::plan(hierarchies, manager.facts(), request)?;
    let beside = std::mem::take(&mut plan.create);
    Ok(Grouped { path, unit: Some(asked), steps: steps(plan, Steps::new(), beside) })
}

/// Whether the user's own systemd is asked.
pub(crate) fn is_rootless() -> bool {
    !rustix::process::geteuid().is_root()
}

fn steps(plan: cgroup::Plan, before: Steps, beside: Steps) -> GroupSteps {
    let named = plan.view.iter().filter(|view| !view.name.is_empty());
    let view = named.map(|view| GroupView {
        name: view.name.clone(),
        links: view.links.clone(),
        dir: view.dir.clone(),
    });
    GroupSteps { before, beside, view: view.collect(), into: plan.into, join: plan.join }
}

/// The filter of a specification, compiled.
pub(crate) fn filter(spec: &Spec) -> Result<Option<Filter>, Error> {
    let Some(profile) = seccomp_of(spec) else { return Ok(None) };
    let program = seccomp::compile(profile).map_err(|error| Error::new(format!("seccomp: {error}")))?;
    let notified = profile.syscalls().iter().flatten();
    let mut notified = notified.filter(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify);
    if notified.any(|rule| rule.names().iter().any(|name| name == "write"))
        || profile.default_action() == LinuxSeccompAction::ScmpActNotify
    {
        // The program's own start writes when the filter is on, and nobody listens yet.
        return Err(Error::new("SCMP_ACT_NOTIFY cannot be used for the write syscall"));
    }
    if program.notifies() && profile.listener_path().as_ref().is_none_or(|path| path.as_os_str().is_empty()) {
        return Err(Error::new("seccomp: SCMP_ACT_NOTIFY needs a listenerPath"));
    }
    Ok(Some((program.instructions().to_vec(), program.flags())))
}

/// The seccomp profile of a specification.
pub(crate) fn seccomp_of(spec: &Spec) -> Option<&LinuxSeccomp> {
    spec.linux().as_ref()?.seccomp().as_ref()
}

/// What hooks and agents are told of a container; status and pid are filled in.
pub(crate) fn state(spec: &Spec, id: &str, bundle: &Path) -> State {
    let mut state = State::default();
    state.set_version(VERSION.to_owned());
    state.set_id(id.to_owned());
    state.set_bundle(bundle.to_owned());
    state.set_annotations(spec.annotations().clone().filter(|all| !all.is_empty()));
    state
}

/// What `create` and `run` say beyond config.json.
pub(crate) struct Asked<'a> {
    pub(crate) id: &'a str,
    pub(crate) gate: Option<PathBuf>,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) preserve_fds: u32,
    /// This process copies the bytes of its terminal.
    pub(crate) plain_newlines: bool,
    /// How many of them are sockets to listen on.
    pub(crate) listen_fds: u32,
}

/// Whether the container has a namespace of this kind, its own or another's.
pub(crate) fn has(spec: &Spec, kind: Kind) -> bool {
    let linux = spec.linux().as_ref();
    linux
        .and_then(|linux| linux.namespaces().as_ref())
        .is_some_and(|all| all.iter().any(|ns| ns.typ() == kind))
}

/// Whether it has one of its own.
pub(crate) fn owns(spec: &Spec, kind: Kind) -> bool {
    let linux = spec.linux().as_ref();
    linux
        .and_then(|linux| linux.namespaces().as_ref())
        .is_some_and(|all| all.iter().any(|ns| ns.typ() == kind && is_own(ns)))
}

/// An empty path is none.
fn is_own(namespace: &oci::spec::LinuxNamespace) -> bool {
    namespace.path().as_ref().is_none_or(|path| path.as_os_str().is_empty())
}

/// The network namespace that it joins.
fn joined_network(spec: &Spec) -> Option<PathBuf> {
    let namespaces = spec.linux().as_ref()?.namespaces().as_ref()?;
    let path = namespaces.iter().find(|ns| ns.typ() == Kind::Network)?.path().clone();
    path.filter(|path| !path.as_os_str().is_empty())
}

/// The container for the runtime room.
pub(crate) fn container(
    bundle: &Bundle,
    asked: Asked<'_>,
    mut groups: GroupSteps,
    warn: fn(&str),
) -> Result<Container, Error> {
    let mut spec = bundle.spec.clone();
    // Some engines name destinations from outside.
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if let Ok(inside) = mount.destination().strip_prefix(&bundle.rootfs) {
            let inside = Path::new("/").join(inside);
            mount.set_destination(inside);
        }
        // config.md, "Mounts": a relative source of a bind is one of the bundle's.
        let options = mount.options().as_deref().unwrap_or_default();
        let is_bind = matches!(mount.typ().as_deref(), None | Some("bind" | "none"))
            || options.iter().any(|option| option == "bind" || option == "rbind");
        let relative =
            mount.source().as_ref().filter(|source| source.is_relative() && !source.as_os_str().is_empty());
        if let Some(source) = relative.filter(|_| is_bind) {
            let source = bundle.path.join(source);
            mount.set_source(Some(source));
        }
    }
    if let Some(process) = spec.process_mut() {
        if asked.listen_fds > 0 {
            let told = [format!("LISTEN_FDS={}", asked.listen_fds), "LISTEN_PID=1".to_owned()];
            process.set_env(Some(process.env().iter().flatten().cloned().chain(told).collect()));
        }
        tidy(process, warn);
    }
    let own_network = owns(&spec, Kind::Network);
    let network = match own_network {
        true => network::plan(&network::Mode::None, None),
        false => network::Plan::default(),
    };
    let mut network = NetworkSteps {
        host: network.host,
        beside: network.beside,
        loopback: network.loopback,
        inside: network.inside,
        settled: network.settled,
        script_name: String::new(),
    };
    if let Some(devices) = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref()) {
        match joined_network(&spec) {
            // Nobody waits for init there: it is done before there is one.
            Some(path) => groups.before.extend(network::move_devices(devices, &Namespace::At(path))?),
            None if own_network => {
                let init = Namespace::Init { script_name: String::new() };
                network.beside.extend(network::move_devices(devices, &init)?);
            }
            None if devices.is_empty() => {}
            None => {
                return Err(Error::new("unable to move network devices without a private NET namespace"));
            }
        }
    }
    Ok(Container {
        id: asked.id.to_owned(),
        root: RootSteps::directory(bundle.rootfs.clone()),
        groups,
        network,
        filter: filter(&spec)?,
        first: First::Program,
        hooks: hooks(&spec, asked.id, &bundle.path),
        manner: Manner {
            volumes: Vec::new(),
            gate: asked.gate,
            no_pivot: asked.no_pivot,
            no_new_keyring: asked.no_new_keyring,
            preserved: asked.preserve_fds,
            plain_newlines: asked.plain_newlines,
            sealed: crate::guard::is_read_only(),
            follows_host: true,
        },
        spec,
    })
}

fn hooks(spec: &Spec, id: &str, bundle: &Path) -> Hooks {
    let Some(hooks) = spec.hooks() else { return Hooks::default() };
    let list = |hooks: &Option<Vec<Hook>>| hooks.clone().unwrap_or_default();
    Hooks {
        state: state(spec, id, bundle),
        prestart: list(hooks.prestart()),
        create_runtime: list(hooks.create_runtime()),
        create_container: list(hooks.create_container()),
        start_container: list(hooks.start_container()),
    }
}

/// A process as the kernel takes it. Of two variables with one name the last one stays, in the place of the first. An
/// ambient capability that is not permitted and inheritable as well cannot be (capabilities(7)): it is left out, with a
/// warning.
pub(crate) fn tidy(process: &mut Process, warn: fn(&str)) {
    if let Some(mut capabilities) = process.capabilities().clone() {
        let in_set =
            |set: &Option<Capabilities>, one: &Capability| set.as_ref().is_some_and(|set| set.contains(one));
        let possible = |one: &Capability| {
            in_set(capabilities.permitted(), one) && in_set(capabilities.inheritable(), one)
        };
        let (ambient, refused): (Capabilities, Capabilities) =
            capabilities.ambient().iter().flatten().copied().partition(possible);
        for one in refused {
            warn(&format!(
                "can't raise ambient capability CAP_{one}: it is not permitted and inheritable as well"
            ));
        }
        capabilities.set_ambient(Some(ambient));
        process.set_capabilities(Some(capabilities));
    }
    let mut tidied: Vec<String> = Vec::new();
    for variable in process.env().iter().flatten() {
        let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
        match tidied.iter_mut().find(|known| name(known) == name(variable)) {
            Some(known) => known.clone_from(variable),
            None => tidied.push(variable.clone()),
        }
    }
    process.set_env(Some(tidied));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stay_below_the_top() {
        let path = |asked: &str| {
            let mut spec = Spec::default();
            let mut linux = oci::spec::Linux::default();
            linux.set_cgroups_path(Some(asked.into()));
            spec.set_linux(Some(linux));
            group_path(&spec, "id").unwrap()
        };
        assert_eq!(path(""), "/id");
        assert_eq!(path("/a/b"), "/a/b");
        assert_eq!(path("a/./b/"), "/a/b");
        assert_eq!(path("/../../etc"), "/etc");
        assert_eq!(path("/.."), "/id");
    }

    #[test]
    fn the_last_variable_of_a_name_counts() {
        let mut process = Process::default();
        process.set_env(Some(["A=1", "B=2", "A=3"].map(str::to_owned).into()));
        tidy(&mut process, |_| ());
        assert_eq!(process.env().as_deref().unwrap(), ["A=3", "B=2"]);
    }
}
