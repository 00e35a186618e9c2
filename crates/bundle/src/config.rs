//! config.json: read, and refused where it asks for what cannot be. Words are runc's where it has them: people search
//! for them.

use std::fs;
use std::path::{Path, PathBuf};

use oci::spec::{LinuxNamespaceType as Kind, LinuxResources, Process, Spec};
use serde_json::Value;

use crate::error::Error;
use crate::keys;

/// The newest version of the specification that this runtime knows.
pub(crate) const VERSION: &str = "1.3.0";

/// A bundle that was read.
pub(crate) struct Bundle {
    /// Its directory, absolute.
    pub(crate) path: PathBuf,
    /// The root file system's directory, absolute.
    pub(crate) rootfs: PathBuf,
    /// Its config.json.
    pub(crate) spec: Spec,
    /// What was passed over.
    pub(crate) warnings: Vec<String>,
}

/// Reads and checks a bundle.
pub(crate) fn load(bundle: &Path) -> Result<Bundle, Error> {
    let path = fs::canonicalize(bundle).map_err(|error| Error::io("open the bundle", bundle, error))?;
    let file = path.join("config.json");
    let text = fs::read(&file).map_err(|error| {
        Error::io("read", &file, error).hint("--bundle names the directory that config.json lies in")
    })?;
    let (spec, warnings) = parse(&text).map_err(|error| error.during(&file.display().to_string()))?;
    check(&spec)?;
    let rootfs = spec.root().as_ref().map(|root| path.join(root.path()));
    let Some(rootfs) = rootfs.filter(|rootfs| !rootfs.as_os_str().is_empty()) else {
        return Err(Error::new("config.json has no root.path"));
    };
    let rootfs = fs::canonicalize(&rootfs).map_err(|error| {
        Error::io("invalid rootfs", &rootfs, error).hint("root.path in config.json names it")
    })?;
    if !rootfs.is_dir() {
        return Err(Error::new(format!("invalid rootfs {}: not a directory", rootfs.display())));
    }
    Ok(Bundle { path, rootfs, spec, warnings })
}

/// Reads config.json's text. Capabilities that nobody knows yet are passed over with a warning, as the specification
/// wants it; everything else must be understood.
pub(crate) fn parse(text: &[u8]) -> Result<(Spec, Vec<String>), Error> {
    match serde_json::from_slice(text) {
        Ok(spec) if !keys::is_suspicious(text) => Ok((spec, Vec::new())),
        read => {
            let mut value: Value =
                serde_json::from_slice(text).map_err(|error| Error::new(error.to_string()))?;
            value.pointer_mut("/linux/resources").map(keys::respell);
            let warnings = value.get_mut("process").map(understood).unwrap_or_default();
            if let Some(wrong) = wrong_memory_policy(&value) {
                return Err(Error::new(wrong));
            }
            // What is wrong besides has its place in the text told.
            let spec = serde_json::from_value(value)
                .map_err(|error| Error::new(read.err().unwrap_or(error).to_string()))?;
            Ok((spec, warnings))
        }
    }
}

/// Reads the resources of `update`.
///
/// # Errors
/// What is wrong with the JSON, and where.
pub fn parse_resources(text: &[u8]) -> Result<LinuxResources, Error> {
    let read = match keys::is_suspicious(text) {
        false => serde_json::from_slice(text),
        true => serde_json::from_slice(text).and_then(|mut value| {
            keys::respell(&mut value);
            serde_json::from_value(value)
        }),
    };
    read.map_err(|error| Error::new(error.to_string()))
}

/// Reads the process of `exec --process`.
pub(crate) fn parse_process(text: &[u8]) -> Result<(Process, Vec<String>), Error> {
    match serde_json::from_slice(text) {
        Ok(process) => Ok((process, Vec::new())),
        Err(first) => {
            let mut value: Value =
                serde_json::from_slice(text).map_err(|error| Error::new(error.to_string()))?;
            let warnings = understood(&mut value);
            let process = serde_json::from_value(value).map_err(|_| Error::new(first.to_string()))?;
            Ok((process, warnings))
        }
    }
}

/// What the specification allows and its types here do not take.
fn understood(process: &mut Value) -> Vec<String> {
    // They spell two of the scheduler's flags otherwise than the specification.
    const FLAGS: [(&str, &str); 2] = [
        ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
        ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
    ];
    let flags = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        if let Some((_, ours)) = FLAGS.iter().find(|(theirs, _)| flag == theirs) {
            *flag = Value::from(*ours);
        }
    }
    // No user is the first of all.
    if let Some(process) = process.as_object_mut() {
        process.entry("user").or_insert_with(|| serde_json::json!({}));
    }
    // An empty list of processors is none.
    if let Some(affinity) = process.get_mut("execCPUAffinity").and_then(Value::as_object_mut) {
        affinity.retain(|_, list| list.as_str() != Some(""));
        for list in affinity.values_mut() {
            if let Some(text) = list.as_str() {
                *list = Value::from(text.replace(' ', ""));
            }
        }
    }
    without_unknown_capabilities(process)
}

/// What is wrong with a memory policy that its types do not take, in runc's words.
fn wrong_memory_policy(spec: &Value) -> Option<String> {
    const MODES: [&str; 7] = [
        "MPOL_DEFAULT",
        "MPOL_BIND",
        "MPOL_INTERLEAVE",
        "MPOL_WEIGHTED_INTERLEAVE",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_LOCAL",
    ];
    const FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];
    let policy = spec.pointer("/linux/memoryPolicy")?;
    let mode = policy.get("mode").and_then(Value::as_str).unwrap_or_default();
    if !MODES.contains(&mode) {
        return Some(format!("invalid memory policy mode {mode:?}: it is one of {}", MODES.join(", ")));
    }
    let flags = policy.get("flags").and_then(Value::as_array).into_iter().flatten();
    let mut wrong = flags.filter(|flag| !flag.as_str().is_some_and(|flag| FLAGS.contains(&flag)));
    wrong.next().map(|flag| format!("invalid memory policy flag {flag}: it is one of {}", FLAGS.join(", ")))
}

fn without_unknown_capabilities(process: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let sets = process.get_mut("capabilities").and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()).filter_map(Value::as_array_mut) {
        set.retain(|name| {
            let known = name.as_str().is_some_and(oci::is_capability);
            if !known {
                unknown.push(name.as_str().unwrap_or("?").to_owned());
            }
            known
        });
    }
    unknown.sort();
    unknown.dedup();
    match unknown.is_empty() {
        true => Vec::new(),
        false => vec![format!("ignoring unknown or unavailable capabilities: [{}]", unknown.join(" "))],
    }
}

pub(crate) fn check(spec: &Spec) -> Result<(), Error> {
    let refuse = |text: &str| Err(Error::new(text));
    let version = spec.version();
    if version.split('.').next() != Some("1") {
        return Err(Error::new(format!(
            "unsupported ociVersion {version:?}: this runtime knows {VERSION} and older 1.x"
        )));
    }
    let Some(linux) = spec.linux() else {
        return refuse("config.json has no linux section");
    };
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let mut seen = Vec::new();
    for namespace in namespaces {
        if seen.contains(&namespace.typ()) {
            return Err(Error::new(format!("malformed spec file: duplicated ns {}", namespace.typ())));
        }
        seen.push(namespace.typ());
    }
    let has = |kind: Kind| seen.contains(&kind);
    let joined = |kind: Kind| {
        let path = |path: &PathBuf| !path.as_os_str().is_empty();
        namespaces.iter().any(|ns| ns.typ() == kind && ns.path().as_ref().is_some_and(path))
    };
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if given(spec.hostname()) && !has(Kind::Uts) {
        return refuse("unable to set hostname without a private UTS namespace");
    }
    if given(spec.domainname()) && !has(Kind::Uts) {
        return refuse("unable to set domainname without a private UTS namespace");
    }
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if (any(linux.masked_paths()) || any(linux.readonly_paths())) && !has(Kind::Mount) {
        return refuse("unable to restrict sys entries without a private MNT namespace");
    }
    let mapped = linux.uid_mappings().as_ref().is_some_and(|maps| !maps.is_empty());
    match (has(Kind::User), joined(Kind::User), mapped) {
        (true, false, false) => return refuse("user namespaces enabled, but no uid mappings found"),
        (false, _, true) => {
            return refuse(
                "user namespace mappings specified, but user namespace isn't enabled in the config",
            );
        }
        _ => {}
    }
    if linux.time_offsets().as_ref().is_some_and(|offsets| !offsets.is_empty()) && !has(Kind::Time) {
        return refuse("time namespace offsets specified, but time namespace isn't enabled in the config");
    }
    let propagation = linux.rootfs_propagation().as_deref().unwrap_or_default();
    let known = ["private", "slave", "shared", "unbindable"];
    if !propagation.is_empty()
        && !known.contains(&propagation)
        && !propagation.strip_prefix('r').is_some_and(|word| known.contains(&word))
    {
        return Err(Error::new(format!("rootfsPropagation={propagation} is not supported")));
    }
    for key in linux.sysctl().iter().flatten().map(|(key, _)| key) {
        check_sysctl(key, &has)?;
    }
    if linux.intel_rdt().is_some() && !Path::new("/sys/fs/resctrl/schemata").exists() {
        return refuse(
            "intelRdt is specified in config, but Intel RDT is not enabled: the kernel has no resctrl file system mounted",
        );
    }
    match spec.process() {
        Some(process) => check_process(process),
        None => refuse("config.json has no process"),
    }
}

/// What of a process must be there.
pub(crate) fn check_process(process: &Process) -> Result<(), Error> {
    if process.cwd().as_os_str().is_empty() {
        return Err(Error::new("Cwd property must not be empty"));
    }
    if !process.cwd().is_absolute() {
        return Err(Error::new("Cwd must be an absolute path"));
    }
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return Err(Error::new("args must not be empty"));
    }
    Ok(())
}

/// A kernel setting may be changed where it belongs to a namespace of the container's own.
fn check_sysctl(key: &str, has: &dyn Fn(Kind) -> bool) -> Result<(), Error> {
    const IPC: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.msg_next_id",
    ];
    // sysctl.d(5): the first separator decides which of the two the key is written with.
    let slashes = key.find('/').is_some_and(|slash| key.find('.').is_none_or(|dot| slash < dot));
    let dotted: String = match slashes {
        true => key
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                c => c,
            })
            .collect(),
        false => key.to_owned(),
    };
    let missing =
        |kind: &str| Err(Error::new(format!("sysctl {key:?} is not allowed in the hosts {kind} namespace")));
    if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        return if has(Kind::Ipc) { Ok(()) } else { missing("ipc") };
    }
    if dotted.starts_with("net.") {
        return if has(Kind::Network) { Ok(()) } else { missing("network") };
    }
    if dotted.starts_with("user.") {
        return if has(Kind::User) { Ok(()) } else { missing("user") };
    }
    match dotted.as_str() {
        "kernel.domainname" if has(Kind::Uts) => Ok(()),
        "kernel.domainname" => missing("UTS"),
        "kernel.hostname" => Err(Error::new(format!(
            "sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" field"
        ))),
        _ => Err(Error::new(format!("sysctl {key:?} is not in a separate kernel namespace"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(change: impl Fn(&mut Value)) -> Result<(), Error> {
        let mut value = serde_json::json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
            "root": {"path": "rootfs"},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}]},
        });
        change(&mut value);
        let (spec, _) = parse(value.to_string().as_bytes())?;
        check(&spec)
    }

    #[track_caller]
    fn refused(change: impl Fn(&mut Value), words: &str) {
        let error = spec(change).unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        spec(|_| ()).unwrap();
        spec(|spec| spec["hostname"] = "x".into()).unwrap();
        refused(|spec| spec["ociVersion"] = "2.0.0".into(), "unsupported ociVersion");
        refused(|spec| spec["process"]["cwd"] = "x".into(), "absolute");
        refused(|spec| spec["process"]["args"] = serde_json::json!([]), "args must not be empty");
        refused(
            |spec| spec["linux"]["namespaces"] = serde_json::json!([{"type": "pid"}, {"type": "pid"}]),
            "duplicated ns",
        );
        refused(
            |spec| {
                spec["hostname"] = "x".into();
                spec["linux"]["namespaces"] = serde_json::json!([]);
            },
            "UTS",
        );
        refused(
            |spec| spec["linux"]["sysctl"] = serde_json::json!({"net.ipv4.ip_forward": "1"}),
            "network namespace",
        );
        refused(
            |spec| spec["linux"]["sysctl"] = serde_json::json!({"vm.swappiness": "1"}),
            "separate kernel namespace",
        );
        refused(|spec| spec["linux"]["sysctl"] = serde_json::json!({"kernel/hostname": "1"}), "hostname");
        refused(
            |spec| {
                spec["linux"]["uidMappings"] = serde_json::json!([{"containerID": 0, "hostID": 1, "size": 1}])
            },
            "isn't enabled",
        );
    }

    #[test]
    fn unknown_capabilities_are_passed_over_with_a_word() {
        let text = br#"{"ociVersion":"1.0.2","process":{"user":{"uid":0,"gid":0},"cwd":"/","args":["x"],
            "capabilities":{"bounding":["CAP_CHOWN","CAP_NEW_ONE"],"ambient":["CAP_OTHER"]}}}"#;
        let (spec, warnings) = parse(text).unwrap();
        assert_eq!(warnings, ["ignoring unknown or unavailable capabilities: [CAP_NEW_ONE CAP_OTHER]"]);
        let caps = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(caps.bounding().as_ref().unwrap().len(), 1);
        // What else is wrong is told with its place.
        let error = parse(br#"{"ociVersion": 7}"#).unwrap_err();
        assert!(error.message.contains("line 1"), "{error}");
    }
}
