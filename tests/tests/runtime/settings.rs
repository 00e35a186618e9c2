//! Kernel settings of the container's namespaces, network devices moved in, and what is told of a container.

use minidocker_tests::bundle::Runtime;
use serde_json::json;

use crate::{owned_by, refused};

#[test]
fn sysctls_are_set_in_the_containers_namespaces() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    owned_by(&runtime, &root, 200_000);
    let host = std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let settings = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.ping_group_range", "0\t1"),
        ("net/core/somaxconn", "77"),
        ("kernel.msgmax", "4711"),
        ("kernel.shm_rmid_forced", "1"),
        ("fs.mqueue.msg_max", "9"),
    ];
    for mapped in [false, true] {
        let bundle = runtime.bundle(&root);
        let bundle = if mapped { bundle.mapped(200_000) } else { bundle };
        // In a user namespace the IPC settings belong to its root, the kernel's own files do not.
        let bundle = settings.iter().fold(bundle, |bundle, (key, value)| {
            bundle.with(&format!("/linux/sysctl/{}", key.replace('/', "~1")), *value)
        });
        let names = settings.map(|(key, _)| key.replace('/', "."));
        let words = ["/inside", "facts"].into_iter().map(str::to_owned);
        let asked = names.iter().flat_map(|name| ["--sysctl".to_owned(), name.clone()]);
        let facts = bundle.args(words.chain(asked)).run().json();
        for ((_, value), name) in settings.iter().zip(&names) {
            assert_eq!(facts["sysctls"][name], *value, "{name} {mapped}");
        }
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), host, "the host's is as it was");
    let domain = runtime.bundle(&root).with("/linux/sysctl/kernel.domainname", "here.example");
    assert_eq!(domain.facts()["domainname"], "here.example");
    let unknown = runtime.bundle(&root).with("/linux/sysctl/net.no_such_setting", "1").run();
    refused(unknown, 1, &["net/no_such_setting"]);
    let wrong = runtime.bundle(&root).with("/linux/sysctl/net.ipv4.ip_forward", "many").run();
    refused(wrong, 1, &["net/ipv4/ip_forward", "many"]);
    for key in [
        "kernel.hostname",
        "kernel.core_pattern",
        "vm.swappiness",
        "net.ipv4.../../kernel/core_pattern",
        "/etc/x",
    ] {
        let pointer = format!("/linux/sysctl/{}", key.replace('/', "~1"));
        let output = runtime.bundle(&root).with(&pointer, "1").run();
        assert_eq!(output.code, 1, "{key}: {output:?}");
    }
}

#[test]
fn network_devices_are_moved_in() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let ip = |line: &str| {
        runtime.world().program(["ip"].into_iter().chain(line.split(' '))).run().ok();
    };
    let pair = |name: &str| {
        ip(&format!("link add {name} type veth peer name {name}-peer"));
        ip(&format!("addr add 10.99.7.1/24 dev {name}"));
        ip(&format!("link set {name} mtu 1400 up"));
    };
    for renamed in [false, true] {
        pair("veth7");
        let (wanted, name) = if renamed { (json!({ "name": "eth7" }), "eth7") } else { (json!({}), "veth7") };
        let bundle = runtime.bundle(&root).with("/linux/netDevices/veth7", wanted);
        let facts = bundle.facts();
        let device = &facts["interfaces"][name];
        assert_eq!(device["mtu"], 1400, "{}", facts["interfaces"]);
        assert!(device["flags"].as_array().unwrap().contains(&json!("up")), "{device}");
        assert!(device["addresses"].as_array().unwrap().contains(&json!("10.99.7.1/24")), "{device}");
        // It goes with its namespace.
        minidocker_tests::until("the peer is gone", || {
            runtime.world().program(["ip", "link", "show", "veth7-peer"]).run().code != 0
        });
    }
    // A hook of the host's finds it moved.
    pair("veth9");
    let line = "nsenter -t $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/') -n ip -br link show veth9 > seen";
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", line] }]);
    let bundle = runtime.bundle(&root).with("/linux/netDevices/veth9", json!({}));
    let bundle = bundle.with("/hooks/createRuntime", hook);
    assert!(bundle.facts()["interfaces"].get("veth9").is_some());
    assert!(std::fs::read_to_string(bundle.directory().join("seen")).unwrap().starts_with("veth9@"));
    // Into a namespace that is there already.
    let pause = runtime.bundle(&root).args(["/inside", "pause"]).detached();
    pause.until("ready");
    pair("veth8");
    let path = format!("/proc/{}/ns/net", pause.pid());
    let bundle = runtime.bundle(&root).namespace("network", &path).with("/linux/netDevices/veth8", json!({}));
    assert!(bundle.facts()["interfaces"].get("veth8").is_some());
    pause.remove();
    let wrong = runtime.bundle(&root).with("/linux/netDevices/nosuch0", json!({})).run();
    refused(wrong, 1, &["nosuch0"]);
    let wrong =
        runtime.bundle(&root).without_namespace("network").with("/linux/netDevices/lo", json!({})).run();
    refused(wrong, 1, &["NET namespace"]);
}

#[test]
fn annotations_come_back_in_the_state() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let all = json!({ "org.example.key": "value", "empty": "", "ä/ö": "ü \" \\" });
    let container = runtime.bundle(&root).with("/annotations", all.clone()).create();
    assert_eq!(container.state()["annotations"], all);
    container.remove();
}

#[test]
fn features_are_told_in_the_specifications_form() {
    let runtime = Runtime::new();
    let features = runtime.call(["features"]).run().json();
    let list = |pointer: &str| -> Vec<String> {
        let list = features.pointer(pointer).and_then(|list| list.as_array().cloned());
        let list = list.unwrap_or_else(|| panic!("no list at {pointer} in {features}"));
        list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let has = |pointer: &str, words: &[&str]| {
        let found = list(pointer);
        for word in words {
            assert!(found.iter().any(|known| known == word), "{word} at {pointer}: {found:?}");
        }
        let mut unique = found.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), found.len(), "{pointer} names each once: {found:?}");
    };
    assert!(features["ociVersionMin"].as_str().unwrap() <= features["ociVersionMax"].as_str().unwrap());
    has(
        "/hooks",
        &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
    );
    has(
        "/mountOptions",
        &["ro", "rro", "bind", "rbind", "rshared", "tmpcopyup", "idmap", "ridmap", "nosymfollow"],
    );
    has("/linux/namespaces", &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
    has("/linux/capabilities", &["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]);
    has(
        "/linux/seccomp/actions",
        &["SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"],
    );
    has("/linux/seccomp/operators", &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]);
    has("/linux/seccomp/archs", &["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]);
    for flag in [
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
        "/linux/seccomp/enabled",
        "/linux/mountExtensions/idmap/enabled",
    ] {
        assert_eq!(features.pointer(flag), Some(&json!(true)), "{flag}");
    }
    // What it says of itself is true: every option that is no other's opposite can be used.
    let root = runtime.world().rootfs_inside();
    let source = runtime.directory("source");
    for option in list("/mountOptions") {
        if matches!(option.as_str(), "remount" | "idmap" | "ridmap" | "mand" | "bind" | "tmpcopyup") {
            continue;
        }
        let bundle = runtime.bundle(&root).bind(&source, "/m", &[&option]).args(["/inside", "true"]);
        let output = bundle.run();
        assert_eq!((output.code, output.err().as_str()), (0, ""), "{option}");
    }
}

#[test]
fn spec_writes_what_run_takes() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let directory = runtime.directory("spec");
    runtime.call(["spec", "--bundle", &directory]).run().prints("");
    let path = format!("{directory}/config.json");
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["sh"]));
    refused(runtime.call(["spec", "--bundle", &directory]).run(), 1, &["exists"]);
    config["process"]["terminal"] = json!(false);
    config["root"]["path"] = json!(root.path());
    config["linux"]["cgroupsPath"] = json!(format!("{}/spec", runtime.world().cgroup_parent()));
    std::fs::write(&path, config.to_string()).unwrap();
    let id = format!("{}-spec", runtime.world().name());
    let output = runtime.call(["run", "--bundle", &directory, &id]).stdin("echo hello; exit 3\n").run();
    assert_eq!(output.exits(3).out(), "hello\n");
}

#[test]
fn versions_and_help_are_told() {
    let runtime = Runtime::new();
    let version = runtime.call(["--version"]).run().ok();
    assert!(version.out().lines().any(|line| line.starts_with("spec: 1.")), "{version:?}");
    assert!(runtime.call(["--help"]).run().ok().out().contains("COMMANDS"));
    let unknown = runtime.call(["nosuch"]).run();
    assert_ne!(unknown.code, 0);
    refused(runtime.call(["state"]).run(), 1, &["requires exactly 1 argument"]);
}
