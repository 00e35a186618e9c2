//! Namespaces: new, the host's, another's by its path; ids, names and clocks in them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use minidocker_tests::bundle::Runtime;
use serde_json::{Value, json};

use crate::{owned_by, refused};

/// The kinds by the specification's names and the kernel's.
const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
    ("user", "user"),
];

fn of_facts(facts: &Value, name: &str) -> u64 {
    facts["namespaces"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", facts["namespaces"]))
}

fn of_process(pid: &str, name: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/{name}")).expect("a namespace").ino()
}

#[test]
fn those_in_the_list_are_its_own_and_no_others() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    owned_by(&runtime, &root, 200_000);
    let host = runtime.world().inside_network(|| KINDS.map(|(_, name)| of_process("thread-self", name)));
    let all = runtime.bundle(&root).namespace("time", "").mapped(200_000).facts();
    for ((kind, name), own) in KINDS.into_iter().zip(host) {
        assert_ne!(of_facts(&all, name), own, "{kind} in the list");
    }
    // One left out at a time: it is the host's then, the others are not.
    for (kind, _) in KINDS.into_iter().filter(|(kind, _)| !matches!(*kind, "mount" | "user")) {
        let mut bundle = runtime.bundle(&root).namespace("time", "").without_namespace(kind);
        if kind == "network" {
            // A new sysfs needs a network namespace of one's own.
            bundle = bundle.without_mount("/sys").without_mount("/sys/fs/cgroup");
        }
        if kind == "ipc" {
            bundle = bundle.without_mount("/dev/mqueue");
        }
        let facts = bundle.facts();
        for ((other, name), own) in KINDS.into_iter().zip(host) {
            let shared = other == kind || other == "user";
            assert_eq!(of_facts(&facts, name) == own, shared, "{other} without {kind}");
        }
    }
}

#[test]
fn each_kind_is_joined_by_its_path() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let first = runtime.bundle(&root).namespace("time", "").args(["/inside", "pause"]).detached();
    first.until("ready");
    let pid = first.pid().to_string();
    let path = |name: &str| format!("/proc/{pid}/ns/{name}");
    for (kind, name) in KINDS.into_iter().filter(|(kind, _)| !matches!(*kind, "mount" | "user")) {
        let facts = runtime.bundle(&root).namespace("time", "").namespace(kind, &path(name)).facts();
        for (other, name) in KINDS.into_iter().filter(|(other, _)| *other != "user") {
            assert_eq!(
                of_facts(&facts, name) == of_process(&pid, name),
                other == kind,
                "{other} with joined {kind}"
            );
        }
        assert_eq!(facts["processes"].as_array().unwrap().len(), if kind == "pid" { 2 } else { 1 }, "{kind}");
    }
    // All of them at once.
    let joined = KINDS.into_iter().filter(|(kind, _)| !matches!(*kind, "mount" | "user"));
    let bundle = joined
        .clone()
        .fold(runtime.bundle(&root), |bundle, (kind, name)| bundle.namespace(kind, &path(name)));
    let facts = bundle.facts();
    for (kind, name) in joined {
        assert_eq!(of_facts(&facts, name), of_process(&pid, name), "{kind}");
    }
    first.remove();
}

/// The container's root is built in it.
#[test]
fn a_mount_namespace_is_joined() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let words = ["unshare", "--mount", "sh", "-c", "echo mounted; exec sleep 900"];
    let other = runtime.world().program(words).spawn();
    other.until("mounted");
    let pid = other.pid().to_string();
    let facts = runtime.bundle(&root).namespace("mount", &format!("/proc/{pid}/ns/mnt")).facts();
    assert_eq!(of_facts(&facts, "mnt"), of_process(&pid, "mnt"));
    assert!(facts["root"].as_array().unwrap().contains(&json!("inside")), "{}", facts["root"]);
}

#[test]
fn a_user_namespace_and_those_that_belong_to_it_are_joined() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    owned_by(&runtime, &root, 200_000);
    let first = runtime.bundle(&root).mapped(200_000).args(["/inside", "pause"]).detached();
    first.until("ready");
    let pid = first.pid().to_string();
    let user = format!("/proc/{pid}/ns/user");
    let facts = runtime.bundle(&root).namespace("user", &user).facts();
    assert_eq!(of_facts(&facts, "user"), of_process(&pid, "user"));
    assert_eq!((facts["pid"].as_i64(), facts["uid"].as_i64()), (Some(1), Some(0)));
    assert_ne!(of_facts(&facts, "pid"), of_process(&pid, "pid"));
    // As the containers of a pod: user, network, IPC and UTS of the first, everything else of their own.
    let shared = [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
    let bundle = shared.into_iter().fold(runtime.bundle(&root), |bundle, (kind, name)| {
        bundle.namespace(kind, &format!("/proc/{pid}/ns/{name}"))
    });
    let facts = bundle.facts();
    for (kind, name) in shared {
        assert_eq!(of_facts(&facts, name), of_process(&pid, name), "{kind}");
    }
    // And its processes too.
    let facts = bundle.namespace("pid", &format!("/proc/{pid}/ns/pid")).facts();
    assert_eq!(of_facts(&facts, "pid"), of_process(&pid, "pid"));
    assert_eq!(facts["processes"].as_array().unwrap().len(), 2);
    first.remove();
}

#[test]
fn what_is_no_such_namespace_is_refused() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root);
    refused(bundle.clone().namespace("network", "/no/such/namespace").run(), 1, &["/no/such/namespace"]);
    refused(bundle.clone().namespace("network", "/etc/passwd").run(), 1, &["/etc/passwd"]);
    let own = format!("/proc/{}/ns/uts", std::process::id());
    assert_eq!(bundle.namespace("network", &own).run().code, 1, "one of another kind");
}

#[test]
fn ids_are_mapped_as_asked() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    owned_by(&runtime, &root, 200_000);
    let uids = json!([
        { "containerID": 0, "hostID": 200_000, "size": 1000 }, { "containerID": 1000, "hostID": 1000, "size": 1 },
    ]);
    let gids = json!([{ "containerID": 0, "hostID": 200_000, "size": 65536 }]);
    let bundle = runtime
        .bundle(&root)
        .namespace("user", "")
        .with("/linux/uidMappings", uids)
        .with("/linux/gidMappings", gids);
    let facts = bundle.facts();
    let numbers =
        |text: &Value| text.as_str().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(numbers(&facts["uid_map"]), ["0", "200000", "1000", "1000", "1000", "1"]);
    assert_eq!(numbers(&facts["gid_map"]), ["0", "200000", "65536"]);
    assert_eq!((facts["uid"].as_u64(), facts["gid"].as_u64()), (Some(0), Some(0)));
    let container = bundle.clone().with("/process/user/uid", 1000).args(["/inside", "pause"]).detached();
    container.until("ready");
    let owner = fs::metadata(format!("/proc/{}", container.pid())).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1000, 200_000), "its ids on the host");
    let facts = container.exec_with(&["--user", "7:8"], ["/inside", "facts"]).run().json();
    assert_eq!((facts["uid"].as_u64(), facts["gid"].as_u64()), (Some(7), Some(8)));
    container.remove();
    refused(bundle.with("/process/user/uid", 5000).run(), 1, &["not mapped"]);
}

#[test]
fn a_user_namespace_with_everything_else() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    owned_by(&runtime, &root, 200_000);
    let source = runtime.directory("source");
    fs::write(format!("{source}/file"), "text\n").unwrap();
    let bundle = runtime
        .bundle(&root)
        .mapped(200_000)
        .with("/hostname", "mapped")
        .with("/root/readonly", true)
        .bind(&source, "/data", &["ro", "nosuid"])
        .mount("/tmp", "tmpfs", "tmpfs", &["size=1m"])
        .with("/linux/sysctl/net.ipv4.ip_forward", "1")
        .with("/process/cwd", "/tmp");
    let script = "hostname; cat /data/file /proc/sys/net/ipv4/ip_forward; stat -c %t:%T /dev/null /dev/zero; \
        echo x > /dev/null && touch here && pwd; touch /new 2> /dev/null || echo read-only";
    bundle.shell(script).run().prints("mapped\ntext\n1\n1:3\n1:5\n/tmp\nread-only\n");
}

#[test]
fn host_and_domain_name() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let facts = runtime.bundle(&root).with("/hostname", "one").with("/domainname", "two.example").facts();
    assert_eq!((&facts["hostname"], &facts["domainname"]), (&json!("one"), &json!("two.example")));
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(runtime.bundle(&root).facts()["hostname"], own.as_str(), "without one it is the host's");
}

#[test]
fn clocks_with_offsets() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let offsets = json!({
        "monotonic": { "secs": 7200, "nanosecs": 5 }, "boottime": { "secs": 604_800, "nanosecs": 0 },
    });
    let bundle = runtime.bundle(&root).namespace("time", "").with("/linux/timeOffsets", offsets);
    let host = runtime.bundle(&root).facts();
    let facts = bundle.facts();
    let difference = |clock: &str| facts[clock].as_f64().unwrap() - host[clock].as_f64().unwrap();
    assert!((7200.0..7800.0).contains(&difference("monotonic")), "{}", difference("monotonic"));
    assert!((604_800.0..605_400.0).contains(&difference("boottime")), "{}", difference("boottime"));
    // A further program has them too.
    let container = bundle.args(["/inside", "pause"]).detached();
    let facts = container.exec(["/inside", "facts"]).run().json();
    assert!(facts["boottime"].as_f64().unwrap() - host["boottime"].as_f64().unwrap() > 604_000.0);
    container.remove();
    let wrong = runtime.bundle(&root).with("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } }));
    refused(wrong.run(), 1, &["time namespace"]);
    let below = json!({ "monotonic": { "secs": -4_000_000_000_i64 } });
    let wrong = runtime.bundle(&root).namespace("time", "").with("/linux/timeOffsets", below);
    assert_eq!(wrong.run().code, 1, "clocks do not go below zero");
}

/// A container's network is empty but for its loopback, which is up.
#[test]
fn a_network_of_its_own_has_a_loopback() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let facts = runtime.bundle(&root).facts();
    let interfaces = facts["interfaces"].as_object().unwrap();
    assert_eq!(interfaces.keys().collect::<Vec<_>>(), ["lo"]);
    let flags = interfaces["lo"]["flags"].as_array().unwrap();
    assert!(flags.contains(&json!("up")), "{flags:?}");
    assert!(interfaces["lo"]["addresses"].as_array().unwrap().contains(&json!("127.0.0.1/8")));
}
