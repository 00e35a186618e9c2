//! Who a program is and what it may: users, capabilities, system calls, namespaces.

use minidocker_tests::{Version, may_raise};
use serde_json::{Value, json};

use super::{Docker, IMAGE};

/// What `/inside try WORDS` answers.
#[track_caller]
fn attempt(docker: &Docker, options: &[&str], words: &[&str]) -> String {
    docker.run(&[options, &[IMAGE, "/inside", "try"], words].concat()).text()
}

#[test]
fn a_user_has_his_ids_and_no_capabilities() {
    let docker = Docker::new();
    let facts = docker.facts(&["-u", "user", "--group-add", "29"]);
    assert_eq!((&facts["uid"], &facts["gid"]), (&json!(1000), &json!(1000)));
    assert_eq!(facts["groups"], json!([10, 29, 1000]), "as the image's /etc/group has it, and one more");
    assert_eq!(facts["env"]["HOME"], "/home/user");
    assert_eq!(facts["capabilities"]["effective"], json!([]));
    assert_eq!(facts["capabilities"]["bounding"].as_array().expect("a list").len(), 14);
    let facts = docker.facts(&["-u", "12:34"]);
    assert_eq!((&facts["uid"], &facts["gid"]), (&json!(12), &json!(34)));
}

#[test]
fn capabilities_are_given_and_taken() {
    let docker = Docker::new();
    let facts = docker.facts(&["--cap-drop", "ALL", "--cap-add", "CHOWN"]);
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(facts["capabilities"][set], json!(["CHOWN"]), "{set}");
    }
    let facts = docker.facts(&["--cap-drop", "NET_RAW"]);
    assert_eq!(facts["capabilities"]["effective"].as_array().expect("a list").len(), 13);
    assert_eq!(attempt(&docker, &["--cap-drop", "NET_RAW"], &["raw-socket"]), "EPERM");
    assert_eq!(attempt(&docker, &[], &["raw-socket"]), "ok");
    assert_eq!(docker.facts(&[])["no_new_privs"], false);
    assert_eq!(docker.facts(&["--security-opt", "no-new-privileges"])["no_new_privs"], true);
}

#[test]
fn system_calls_are_filtered() {
    let docker = Docker::new();
    let facts = docker.facts(&[]);
    assert_eq!((&facts["seccomp"], &facts["seccomp_filters"]), (&json!(2), &json!(1)));
    assert_eq!(attempt(&docker, &[], &["unshare-user"]), "EPERM");
    assert_eq!(attempt(&docker, &[], &["add-key"]), "EPERM");
    let free = ["--security-opt", "seccomp=unconfined"];
    assert_eq!(docker.facts(&free)["seccomp"], 0);
    assert_eq!(attempt(&docker, &free, &["unshare-user"]), "ok");
    // The user's own profile, with an error number of its own. 38 is ENOSYS.
    let refused = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]});
    let profile = docker.host.file("profile.json", profile.to_string());
    let own = ["--security-opt", &format!("seccomp={profile}")];
    assert_eq!(attempt(&docker, &own, &["mkdir", "/new"]), "ENOSYS");
    assert_eq!(attempt(&docker, &own, &["create", "/new"]), "ok");
}

#[test]
fn who_is_trusted_may_all() {
    let docker = Docker::new();
    assert_eq!(attempt(&docker, &[], &["mount", "/tmp"]), "EPERM");
    let all = ["--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined"];
    let effective = docker.facts(&all)["capabilities"]["effective"].as_array().expect("a list").len();
    assert!(effective > 36, "{effective} capabilities");
    assert_eq!(attempt(&docker, &all, &["mount", "/tmp"]), "ok");
    if !may_raise() {
        // Root lacks a capability here: nobody can have them all, and nobody is told otherwise.
        let output = docker.run(&["--privileged", IMAGE, "true"]).exits(125);
        assert!(output.err().contains("cap"), "{output:?}");
        return;
    }
    let facts = docker.facts(&["--privileged"]);
    assert_eq!(facts["seccomp"], 0);
    let privileged = facts["capabilities"]["effective"].as_array().expect("a list").len();
    assert_eq!(privileged, effective + 1);
    let mounts = facts["mounts"].as_array().expect("a list");
    let sys = mounts.iter().find(|mount| mount["target"] == "/sys").expect("a mount on /sys");
    assert_eq!(sys["options"][0], "rw", "{sys}");
    let script = "mknod /m b 7 0 && /inside try open /m";
    assert_ne!(docker.run(&["--privileged", IMAGE, "sh", "-c", script]).text(), "EPERM");
}

#[test]
fn namespaces_are_own_or_shared_as_asked() {
    let docker = Docker::new();
    let namespace = |facts: &Value, name: &str| facts["namespaces"][name].as_u64().expect("a number");
    let own = docker.facts(&[]);
    let hosts = docker.host.call([&docker.host.path("root0/inside"), "facts"]).run().json();
    for name in ["mnt", "uts", "ipc", "net", "pid"] {
        assert_ne!(namespace(&own, name), namespace(&hosts, name), "{name}");
    }
    let options = ["--network", "host", "--ipc", "host", "--pid", "host", "--uts", "host"];
    let shared = docker.facts(&options);
    for name in ["uts", "ipc", "net", "pid"] {
        assert_eq!(namespace(&shared, name), namespace(&hosts, name), "{name}");
    }
    docker.detached(&["--name", "first", "--ipc", "shareable", IMAGE, "/inside", "pause"]);
    let first = docker.docker(["exec", "first", "/inside", "facts"]).json();
    let options = ["--network", "container:first", "--ipc", "container:first", "--pid", "container:first"];
    let joined = docker.facts(&options);
    for name in ["ipc", "net", "pid"] {
        assert_eq!(namespace(&joined, name), namespace(&first, name), "{name}");
    }
    assert_ne!(namespace(&joined, "mnt"), namespace(&first, "mnt"));
    assert!(joined["pid"].as_i64() > Some(1), "{}", joined["pid"]);
    // The first one's process is in sight, the joined one's end leaves it alone.
    assert_eq!(joined["processes"][0]["name"], "inside");
    assert_eq!(docker.inspect("first", ".State.Running"), true);
    if Version::here() == Version::V1 {
        let private = docker.facts(&["--cgroupns", "private"]);
        assert_ne!(namespace(&private, "cgroup"), namespace(&hosts, "cgroup"));
        assert_eq!(private["cgroups"]["memory"], "/", "{}", private["cgroups"]);
    }
}

#[test]
fn users_are_mapped_when_the_daemon_maps_them() {
    let mut docker = Docker::new();
    docker.host.shell(
        "echo mapped:x:2000:2000::/:/bin/false >> /etc/passwd; echo mapped:x:2000: >> /etc/group
        echo mapped:200000:65536 | tee /etc/subuid > /etc/subgid",
    );
    docker.restart(json!({"userns-remap": "mapped", "bridge": "none"}));
    docker.allow(&format!("mount {}", docker.host.path("docker/200000.200000")));
    docker.docker(["import", &docker.host.path("root.tar"), IMAGE]).ok();
    let facts = docker.facts(&[]);
    let words = |name: &str| -> Vec<String> {
        facts[name].as_str().expect("text").split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(words("uid_map"), ["0", "200000", "65536"]);
    assert_eq!(words("gid_map"), ["0", "200000", "65536"]);
    assert_eq!(facts["uid"], 0);
    assert_eq!(attempt(&docker, &[], &["mkdir", "/new"]), "ok");
    let id = docker.detached(&[IMAGE, "/inside", "pause"]);
    let owner = docker.host.shell(&format!("stat -c %u /proc/{}", docker.pid(&id)));
    assert_eq!(owner, "200000");
    docker.docker(["exec", &id, "/inside", "try", "create", "/root/new"]).prints("ok\n");
}
