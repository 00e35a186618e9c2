//! What is shared: namespaces, addresses and ports, messages and memory, the host's name.

use minidocker_tests::{FAR, Machine, until};

use super::Ground;

#[test]
fn namespaces_are_the_same_and_only_those_that_are_shared() {
    let ground = Ground::new();
    let pod = ground.create(&["web"]);
    let (one, two) = (ground.idle("one"), ground.idle("two"));
    let differ = |ids: &[&String], kind: &str| {
        let all: std::collections::BTreeSet<String> =
            ids.iter().map(|id| ground.namespace(id, kind)).collect();
        all.len()
    };
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(differ(&[&pod, &one, &two], kind), 1, "{kind}");
    }
    for kind in ["pid", "mnt", "cgroup"] {
        assert_eq!(differ(&[&pod, &one, &two], kind), 3, "{kind}");
    }
    assert_eq!(differ(&[&pod, &one, &two], "user"), 1, "the host's");
    let host = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_ne!(ground.namespace(&one, "net"), host);
    assert_eq!(ground.inspect("web")["SharedNamespaces"], serde_json::json!(["ipc", "net", "uts"]));
    // An option of its own keeps one apart.
    let apart = ground
        .words(&["--pod", "web", "--name", "apart", "--ipc", "private", "--uts", "private"], &["sleep", "9"]);
    let apart = ground.world.detached(apart);
    assert_eq!((differ(&[&pod, &apart], "ipc"), differ(&[&pod, &apart], "uts")), (2, 2));
    assert_eq!(differ(&[&pod, &apart], "net"), 1);

    let all = ground.create(&["--share", "+pid", "all"]);
    let three = ground.world.detached(ground.words(&["--pod", "all"], &["sleep", "1000"]));
    for kind in ["net", "ipc", "uts", "pid"] {
        assert_eq!(differ(&[&all, &three], kind), 1, "{kind}");
    }
    // The infra is PID 1 there, and what it adopts it reaps.
    let first = ground.exec(&three, &["cat", "/proc/1/cmdline"]);
    assert!(first.starts_with("minidocker-init"), "{first:?}");
    let none = ground.create(&["--share", "none", "none"]);
    let words = ground.words(&["--pod", "none", "-h", "own", "-p", "8099:80"], &["sleep", "1000"]);
    let four = ground.world.detached(words);
    for kind in ["net", "ipc", "uts", "pid"] {
        assert_eq!(differ(&[&none, &four], kind), 2, "{kind}");
    }
    assert_eq!(ground.exec(&four, &["hostname"]), "own");
}

#[test]
fn a_published_port_leads_to_whoever_of_the_pod_listens() {
    let ground = Ground::new();
    let machine = Machine::new(&ground.world);
    ground.create(&["-p", "8080:80", "web"]);
    let words = ["--pod", "web", "--name", "one"];
    ground.world.detached(ground.words(&words, &["/inside", "who", "80"]));
    until("it listens", || ground.exec("one", &["netstat", "-tln"]).contains(":80 "));
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    // Another of the pod reaches it by localhost, and by the pod's address.
    let two = ground.words(&["--rm", "--pod", "web"], &["/inside", "connect", "127.0.0.1", "80", "near"]);
    let two = ground.world.minidocker(["run".to_owned()].into_iter().chain(two)).text();
    assert_eq!(two, "web 127.0.0.1 near");
    for name in ["web", "one"] {
        ground.world.minidocker(["port", name, "80"]).prints("0.0.0.0:8080\n");
    }
    let bindings = ground.inspect("web")["InfraConfig"]["PortBindings"]["80/tcp"][0]["HostPort"].clone();
    assert_eq!(bindings, "8080");
    // Whoever else wants the port is told who has it.
    ground.create(&["-p", "8080:80", "other"]);
    ground.pod(&["start", "other"]).refuses(125, &["pod other cannot be started", "8080", "web"]);
    // It ends, and the port goes with the pod and not with it.
    ground.world.minidocker(["rm", "-f", "one"]).ok();
    ground.world.detached(ground.words(&words, &["/inside", "who", "80"]));
    until("it listens", || ground.exec("one", &["netstat", "-tln"]).contains(":80 "));
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
}

#[test]
fn messages_and_memory_are_shared_and_stay_within() {
    let ground = Ground::new();
    ground.create(&["--shm-size", "8m", "web"]);
    ground.idle("one");
    ground.idle("two");
    let alone = ground.world.detached(ground.words(&["--name", "alone"], &["sleep", "1000"]));
    // System V.
    ground.exec("one", &["/inside", "shm-key", "create", "4242"]);
    let keys = |name: &str| ground.exec(name, &["/inside", "shm-key", "list"]);
    assert!(keys("two").contains("4242"), "{}", keys("two"));
    assert!(!keys(&alone).contains("4242"), "{}", keys(&alone));
    // POSIX: a queue is a file of the namespace's own file system, memory one of /dev/shm.
    ground.exec("one", &["touch", "/dev/mqueue/jobs"]);
    assert!(ground.exec("two", &["ls", "/dev/mqueue"]).contains("jobs"));
    assert_eq!(ground.exec(&alone, &["ls", "/dev/mqueue"]), "");
    ground.exec("one", &["sh", "-c", "echo words >/dev/shm/page"]);
    assert_eq!(ground.exec("two", &["cat", "/dev/shm/page"]), "words");
    assert!(ground.exec("two", &["df", "-m", "/dev/shm"]).contains(" 8 "), "it has the pod's size");
    // It is the pod's: it outlives who made it.
    ground.world.minidocker(["rm", "-f", "one"]).ok();
    assert_eq!(ground.exec("two", &["cat", "/dev/shm/page"]), "words");
    assert!(keys("two").contains("4242"));
}

#[test]
fn the_hosts_name_is_the_pods() {
    let ground = Ground::new();
    ground.create(&["web"]);
    let words = ["--pod", "web", "--name", "one", "--cap-add", "SYS_ADMIN"];
    ground.world.detached(ground.words(&words, &["sleep", "1000"]));
    ground.idle("two");
    let facts: serde_json::Value = serde_json::from_str(&ground.exec("two", &["/inside", "facts"])).unwrap();
    assert_eq!((&facts["hostname"], &facts["etc_hostname"]), (&"web".into(), &"web\n".into()));
    assert_eq!(facts["env"]["HOSTNAME"], "web");
    assert!(facts["hosts"].as_str().unwrap().contains(&format!("{}\tweb\n", ground.address("web"))));
    ground.exec("one", &["hostname", "other"]);
    assert_eq!(ground.exec("two", &["hostname"]), "other");
    assert_ne!(rustix::system::uname().nodename().to_string_lossy(), "other");
    ground.create(&["-h", "front", "named"]);
    let name = ground.words(&["--rm", "--pod", "named"], &["hostname"]);
    ground.world.minidocker(["run".to_owned()].into_iter().chain(name)).prints("front\n");
}

#[test]
fn twenty_come_at_once() {
    let ground = Ground::new();
    let pod = ground.create(&["web"]);
    let start = |number: usize| {
        let name = format!("m{number}");
        let words = ground.words(&["-d", "--pod", "web", "--name", &name], &["sleep", "1000"]);
        ground.world.spawn(["run".to_owned()].into_iter().chain(words))
    };
    let all: Vec<_> = (0..20).map(start).collect();
    let ids: Vec<String> = all.into_iter().map(|one| one.wait().text()).collect();
    let own = ground.namespace(&pod, "net");
    for id in &ids {
        assert_eq!(ground.namespace(id, "net"), own);
    }
    assert_eq!(
        (ground.state("web").as_str(), &ground.inspect("web")["NumContainers"]),
        ("Running", &21.into())
    );
    // All of them are names of the pod's.
    let neighbour = ground.words(&["--rm"], &["nslookup", "m19"]);
    let said = ground.world.minidocker(["run".to_owned()].into_iter().chain(neighbour)).ok().out();
    assert!(said.contains(&format!("Address: {}\n", ground.address("web"))), "{said}");
    ground.pod(&["rm", "-f", "web"]).prints(&format!("{pod}\n"));
    ground.world.expect_nothing_left();
}
