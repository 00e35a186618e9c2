//! The OCI specification of a request: pure, from what was asked for and the facts.

mod mounts;
mod resources;

use std::collections::HashMap;
use std::path::PathBuf;

use mounts::mounts;
use oci::spec::{
    Capability, Linux, LinuxCapabilities, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType,
    LinuxTimeOffset, LinuxTimeOffsetBuilder, PosixRlimitBuilder, PosixRlimitType, Process, Root, Spec, User,
};
pub(crate) use resources::change;
use resources::{device, resources};

use crate::facts::Facts;
use crate::request::{self, Image, Namespace, NetworkMode, RunRequest};
use crate::{Error, Kind};

/// A specification, and the capabilities that its filter must know.
#[derive(Debug)]
pub(crate) struct Specified {
    /// The specification.
    pub spec: Spec,
    /// The bounding set.
    pub capabilities: Vec<Capability>,
}

/// Makes it. `files` are the container's own hosts, hostname and resolv.conf, and where they go.
pub(crate) fn specify(
    request: &RunRequest,
    facts: &Facts,
    id: &str,
    group: &str,
    files: &[(PathBuf, &'static str)],
) -> Result<Specified, Error> {
    let capabilities = capabilities(request, facts.capabilities)?;
    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs")).set_readonly(Some(request.storage.read_only));
    let mut spec = Spec::default();
    spec.set_version("1.2.1".to_owned())
        .set_root(Some(root))
        .set_process(Some(process(request, facts, id, &capabilities)?))
        .set_hostname(own_hostname(request, facts, id))
        .set_domainname(request.namespaces.domainname.clone())
        .set_mounts(Some(mounts(request, facts, files)?))
        .set_linux(Some(linux(request, facts, group)?));
    Ok(Specified { spec, capabilities })
}

/// The host name of a container with a UTS namespace of its own: with another's network that other's, as in
/// Docker.
pub(crate) fn own_hostname(request: &RunRequest, facts: &Facts, id: &str) -> Option<String> {
    if request.namespaces.uts != Namespace::Private {
        return None;
    }
    Some(match &request.namespaces.hostname {
        Some(name) => name.clone(),
        None if matches!(request.network.mode, NetworkMode::Host | NetworkMode::Container(_)) => {
            facts.hostname.clone()
        }
        None => id[..12].to_owned(),
    })
}

fn process(
    request: &RunRequest,
    facts: &Facts,
    id: &str,
    capabilities: &[Capability],
) -> Result<Process, Error> {
    let mut user = User::default();
    user.set_uid(facts.user.uid)
        .set_gid(facts.user.gid)
        .set_umask(request.process.umask)
        .set_additional_gids(Some(facts.user.groups.clone()));
    let set = |set: &[Capability]| Some(set.iter().copied().collect());
    let mut caps = LinuxCapabilities::default();
    caps.set_bounding(set(capabilities))
        .set_effective(set(capabilities))
        .set_permitted(set(capabilities))
        .set_inheritable(set(&[]))
        .set_ambient(set(&[]));
    let mut process = Process::default();
    process
        .set_terminal(Some(request.tty))
        .set_user(user)
        .set_args(Some(command(request)?))
        .set_env(Some(environment(request, facts, id)))
        .set_cwd(request.process.workdir.clone().unwrap_or_else(|| "/".into()))
        .set_capabilities(Some(caps))
        .set_rlimits(Some(request.process.ulimits.iter().map(limit).collect::<Result<_, _>>()?))
        .set_no_new_privileges(Some(request.security.no_new_privileges))
        .set_apparmor_profile(request.security.apparmor.clone())
        .set_oom_score_adj(request.process.oom_score_adj);
    if let Some((rows, columns)) = facts.terminal {
        let size = oci::spec::BoxBuilder::default().height(rows).width(columns).build();
        process.set_console_size(size.ok());
    }
    Ok(process)
}

/// The words to execute: the entry point, then the command.
pub(crate) fn command(request: &RunRequest) -> Result<Vec<String>, Error> {
    let mut words = request.entrypoint.clone().unwrap_or_default();
    words.extend(request.command.iter().cloned());
    if words.is_empty() {
        words.push(match request.image {
            Image::Host => "bash".to_owned(),
            _ => "sh".to_owned(),
        });
    }
    if words[0].is_empty() {
        return Err(Error::new(Kind::NotFound, "the command is empty").hint("name a program after the image"));
    }
    Ok(words)
}

fn environment(request: &RunRequest, facts: &Facts, id: &str) -> Vec<String> {
    let hostname = own_hostname(request, facts, id).unwrap_or_else(|| facts.hostname.clone());
    variables(request, &hostname, &facts.user.home)
}

/// The variables, `NAME=VALUE`: Docker's own, then those that were asked for.
pub(crate) fn variables(request: &RunRequest, hostname: &str, home: &str) -> Vec<String> {
    let mut variables: Vec<(String, String)> =
        vec![("PATH".into(), oci::defaults::PATH.into()), ("HOSTNAME".into(), hostname.to_owned())];
    if request.tty {
        variables.push(("TERM".into(), "xterm".into()));
    }
    variables.push(("HOME".into(), home.to_owned()));
    for (name, value) in &request.process.env {
        variables.retain(|(known, _)| known != name);
        variables.extend(value.clone().map(|value| (name.clone(), value)));
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn limit(limit: &request::Ulimit) -> Result<oci::spec::PosixRlimit, Error> {
    let unknown = || {
        Error::new(Kind::Invalid, format!("--ulimit {}: no such limit", limit.name))
            .hint("known are core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack, as")
    };
    let name = format!("\"RLIMIT_{}\"", limit.name.to_uppercase());
    let kind: PosixRlimitType = serde_json::from_str(&name).map_err(|_| unknown())?;
    PosixRlimitBuilder::default().typ(kind).soft(limit.soft).hard(limit.hard).build().map_err(|_| unknown())
}

/// Docker's rules: `ALL` stands for every capability that minidocker has itself (`own`); what is dropped goes from the
/// default, what is added comes.
fn capabilities(request: &RunRequest, own: u64) -> Result<Vec<Capability>, Error> {
    let security = &request.security;
    let every = || {
        let had = oci::CAPABILITIES.iter().enumerate().filter(move |(number, _)| own >> number & 1 == 1);
        had.map(|(_, (capability, _))| *capability)
    };
    if security.privileged {
        return Ok(every().collect());
    }
    let read = |option: &str, names: &[String]| -> Result<(bool, Vec<Capability>), Error> {
        let mut read = (false, Vec::new());
        for name in names {
            match (name.as_str(), oci::capability_named(name)) {
                ("ALL", _) => read.0 = true,
                (_, Some(capability)) => read.1.push(capability),
                (_, None) => {
                    return Err(Error::new(Kind::Invalid, format!("{option} {name}: no such capability"))
                        .hint("see capabilities(7); names are written like NET_ADMIN, or ALL"));
                }
            }
        }
        Ok(read)
    };
    let (add_all, add) = read("--cap-add", &security.cap_add)?;
    let (drop_all, drop) = read("--cap-drop", &security.cap_drop)?;
    let base: Vec<Capability> = match (add_all, drop_all) {
        (true, _) => every().collect(),
        (false, true) => Vec::new(),
        (false, false) => oci::defaults::CAPABILITIES.to_vec(),
    };
    let kept = |capability: &Capability| {
        (base.contains(capability) && !drop.contains(capability)) || add.contains(capability)
    };
    let known = oci::CAPABILITIES.iter().map(|(capability, _)| *capability);
    Ok(known.filter(kept).collect())
}

fn linux(request: &RunRequest, facts: &Facts, group: &str) -> Result<Linux, Error> {
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(request, facts)))
        .set_cgroups_path(Some(PathBuf::from(group)))
        .set_resources(Some(resources(request, facts)?))
        .set_devices(Some(facts.devices.iter().map(device).collect()))
        .set_rootfs_propagation(Some("rprivate".to_owned()))
        .set_masked_paths(None)
        .set_readonly_paths(None);
    let sysctls: HashMap<String, String> =
        request.security.sysctls.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    linux.set_sysctl(Some(sysctls));
    if !request.security.privileged && !request.security.unmasked {
        let owned = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect());
        linux.set_masked_paths(owned(&oci::defaults::MASKED_PATHS));
        linux.set_readonly_paths(owned(&oci::defaults::READ_ONLY_PATHS));
    }
    if let Some((host, size)) = facts.ids {
        let map =
            || LinuxIdMappingBuilder::default().container_id(0_u32).host_id(host).size(size).build().ok();
        linux.set_uid_mappings(map().map(|map| vec![map])).set_gid_mappings(map().map(|map| vec![map]));
    }
    if let Some(offsets) = request.namespaces.time {
        let offset = |secs: i64| -> LinuxTimeOffset {
            LinuxTimeOffsetBuilder::default().secs(secs).nanosecs(0_u32).build().unwrap_or_default()
        };
        let clocks = [("monotonic", offsets.monotonic), ("boottime", offsets.boottime)];
        linux.set_time_offsets(Some(clocks.map(|(clock, secs)| (clock.to_owned(), offset(secs))).into()));
    }
    Ok(linux)
}

fn namespaces(request: &RunRequest, facts: &Facts) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType as Type;
    let names = &request.namespaces;
    let mut list = Vec::new();
    let mut add = |kind: Type, join: Option<(i32, &str)>| {
        let mut namespace = LinuxNamespace::default();
        namespace
            .set_typ(kind)
            .set_path(join.map(|(pid, name)| PathBuf::from(format!("/proc/{pid}/ns/{name}"))));
        list.push(namespace);
    };
    add(Type::Mount, None);
    for (kind, namespace, pid, name) in [
        (Type::Pid, &names.pid, facts.pid, "pid"),
        (Type::Ipc, &names.ipc, facts.ipc, "ipc"),
        (Type::Uts, &names.uts, facts.uts, "uts"),
    ] {
        match namespace {
            Namespace::Private => add(kind, None),
            Namespace::Host => {}
            Namespace::Container(_) => add(kind, pid.map(|pid| (pid, name))),
        }
    }
    match request.network.mode {
        NetworkMode::Bridge | NetworkMode::None => add(Type::Network, None),
        NetworkMode::Host => {}
        NetworkMode::Container(_) => add(Type::Network, facts.network.map(|pid| (pid, "net"))),
    }
    if facts.ids.is_some() {
        add(Type::User, None);
    }
    if !names.cgroup_host && !request.security.privileged {
        add(Type::Cgroup, None);
    }
    if names.time.is_some() {
        add(Type::Time, None);
    }
    list
}

#[cfg(test)]
mod tests;
