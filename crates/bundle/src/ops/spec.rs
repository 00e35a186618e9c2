//! `spec`: a config.json to start from, with what runc's has, in the specification's order of keys.

use rustix::process::{getegid, geteuid};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// The newest version of the OCI runtime specification that is known here.
pub const SPEC_VERSION: &str = crate::config::VERSION;

/// statfs(2): f_type of the version 2 hierarchy.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// The text of a config.json for a shell in `rootfs`, indented by tabs, without a line break at its end. With
/// `rootless` for a user who is not root: in a user namespace where the caller is root, with the host's network, and
/// without control groups.
pub fn spec(rootless: bool) -> String {
    let unified = rustix::fs::statfs("/sys/fs/cgroup")
        .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| kind == CGROUP2_SUPER_MAGIC));
    let user = rootless.then(|| (geteuid().as_raw(), getegid().as_raw()));
    text(&starter(unified, user))
}

fn text(spec: &Spec) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"\t"));
    // Neither can fail: numbers and text only, written to memory.
    let _ = spec.serialize(&mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}

// The types of oci-spec have another order of keys, and sets without any: this text is read by people.

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: [&'static str; 1],
    env: [&'static str; 2],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Capabilities {
    bounding: [&'static str; 3],
    effective: [&'static str; 3],
    permitted: [&'static str; 3],
}

#[derive(Serialize)]
struct Rlimit {
    #[serde(rename = "type")]
    kind: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_mappings: Option<[IdMapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid_mappings: Option<[IdMapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: &'static [&'static str],
    readonly_paths: &'static [&'static str],
}

#[derive(Serialize)]
struct IdMapping {
    #[serde(rename = "containerID")]
    container: u32,
    #[serde(rename = "hostID")]
    host: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: [DeviceRule; 1],
}

#[derive(Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: &'static str,
}

const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

/// The specification for a host with version 2 control groups alone (`unified`) or others, for root or for a user.
fn starter(unified: bool, user: Option<(u32, u32)>) -> Spec {
    Spec {
        oci_version: SPEC_VERSION,
        process: Process {
            terminal: true,
            user: User { uid: 0, gid: 0 },
            args: ["sh"],
            env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            cwd: "/",
            capabilities: Capabilities {
                bounding: CAPABILITIES,
                effective: CAPABILITIES,
                permitted: CAPABILITIES,
            },
            rlimits: [Rlimit { kind: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
            no_new_privileges: true,
        },
        root: Root { path: "rootfs", readonly: true },
        hostname: "minidocker",
        mounts: mounts(user.is_some()),
        linux: Linux {
            uid_mappings: user.map(|(uid, _)| [IdMapping { container: 0, host: uid, size: 1 }]),
            gid_mappings: user.map(|(_, gid)| [IdMapping { container: 0, host: gid, size: 1 }]),
            resources: user
                .is_none()
                .then_some(Resources { devices: [DeviceRule { allow: false, access: "rwm" }] }),
            namespaces: namespaces(unified, user.is_some()),
            masked_paths: &MASKED,
            readonly_paths: &oci::defaults::READ_ONLY_PATHS,
        },
    }
}

fn mounts(rootless: bool) -> Vec<Mount> {
    let mount = |destination, kind, source, options: &[&'static str]| Mount {
        destination,
        kind,
        source,
        options: options.to_vec(),
    };
    let pts: &[&str] = &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    // Group 5 is not mapped, and a new sysfs needs a network namespace that belongs to the user's own.
    let (pts, sys) = match rootless {
        true => (
            &pts[..pts.len() - 1],
            mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]),
        ),
        false => (pts, mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])),
    };
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        sys,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

fn namespaces(unified: bool, rootless: bool) -> Vec<Namespace> {
    let mut kinds = vec!["pid", "network", "ipc", "uts", "mount"];
    if unified {
        kinds.push("cgroup");
    }
    if rootless {
        kinds.retain(|kind| *kind != "network");
        kinds.push("user");
    }
    kinds.into_iter().map(|kind| Namespace { kind }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(unified: bool, user: Option<(u32, u32)>) -> Value {
        serde_json::from_str(&text(&starter(unified, user))).unwrap()
    }

    /// The words of an array, or of one field of its objects.
    fn list(value: &Value, field: &str) -> Vec<String> {
        let word = |one: &Value| one.get(field).unwrap_or(one).as_str().unwrap().to_owned();
        value.as_array().unwrap().iter().map(word).collect()
    }

    #[test]
    fn it_is_read_back_and_passes_our_own_checks() {
        for user in [None, Some((1000, 100))] {
            let (spec, warnings) = crate::config::parse(text(&starter(true, user)).as_bytes()).unwrap();
            assert!(warnings.is_empty());
            assert_eq!(spec.version(), SPEC_VERSION);
            assert_eq!(spec.process().as_ref().unwrap().args().as_deref().unwrap(), ["sh"]);
            assert_eq!(spec.mounts().as_ref().unwrap().len(), 7);
        }
    }

    #[test]
    fn keys_stand_in_the_specifications_order_and_lines_are_indented_by_tabs() {
        let text = text(&starter(false, None));
        assert!(text.starts_with("{\n\t\"ociVersion\": \"1."), "{text}");
        assert!(text.ends_with("\n\t}\n}"));
        let places: Vec<usize> =
            ["\n\t\"process\"", "\n\t\"root\"", "\n\t\"hostname\"", "\n\t\"mounts\"", "\n\t\"linux\""]
                .iter()
                .map(|key| text.find(key).unwrap())
                .collect();
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn root_gets_control_groups_and_a_network() {
        let spec = read(false, None);
        assert_eq!(list(&spec["linux"]["namespaces"], "type"), ["pid", "network", "ipc", "uts", "mount"]);
        assert_eq!(spec["linux"]["resources"], json!({"devices": [{"allow": false, "access": "rwm"}]}));
        assert_eq!(spec["linux"].get("uidMappings"), None);
        assert_eq!(list(&spec["mounts"][2]["options"], "").last().unwrap(), "gid=5");
        assert_eq!(spec["mounts"][0].get("options"), None);
        assert_eq!(list(&read(true, None)["linux"]["namespaces"], "type").last().unwrap(), "cgroup");
    }

    #[test]
    fn a_user_gets_a_user_namespace_instead() {
        let spec = read(true, Some((1000, 100)));
        let kinds = ["pid", "ipc", "uts", "mount", "cgroup", "user"];
        assert_eq!(list(&spec["linux"]["namespaces"], "type"), kinds);
        let mapping = |host| json!([{"containerID": 0, "hostID": host, "size": 1}]);
        assert_eq!(spec["linux"]["uidMappings"], mapping(1000));
        assert_eq!(spec["linux"]["gidMappings"], mapping(100));
        assert_eq!(spec["linux"].get("resources"), None);
        assert_eq!(list(&spec["mounts"][2]["options"], "").last().unwrap(), "mode=0620");
        assert_eq!(spec["mounts"][5]["source"], "/sys");
        assert_eq!(list(&spec["mounts"][5]["options"], "")[0], "rbind");
    }
}
