//! What is said: lists, what is known of a pod and of who is in it, and refusals with the way out.

use serde_json::json;

use super::Ground;

#[test]
fn lists_have_podmans_columns() {
    let ground = Ground::new();
    let pod = ground.create(&["--name", "web", "--label", "tier=front"]);
    let one = ground.idle("one");
    let alone = ground.world.detached(ground.words(&["--name", "alone"], &["sleep", "1000"]));
    let table = ground.pod(&["ls"]).ok().out();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(lines[0], ["POD ID", "NAME", "STATUS", "CREATED", "INFRA ID", "# OF CONTAINERS"]);
    assert_eq!((lines[1][0], lines[1][1], lines[1][2]), (&pod[..12], "web", "Running"));
    assert_eq!((lines[1][4], lines[1][5]), (&pod[..12], "2"));
    let full = ground.pod(&["ps", "--no-trunc", "-q"]).text();
    assert_eq!(full, pod);
    for (filter, shown) in [
        ("name=web", true),
        ("id=x", false),
        ("status=running", true),
        ("status=exited", false),
        ("label=tier=front", true),
        ("label=tier=back", false),
        ("ctr-names=one", true),
        ("ctr-number=2", true),
        ("network=bridge", true),
    ] {
        let ids = ground.pod(&["ls", "-q", "--filter", filter]).text();
        assert_eq!(ids, if shown { &pod[..12] } else { "" }, "{filter}");
    }
    ground.pod(&["ls", "--filter", "colour=red"]).refuses(125, &["colour"]);
    // Containers tell of their pod.
    let shown =
        ground.world.minidocker(["ps", "--pod", "--format", "{{.Names}} {{.Pod}} {{.PodName}}"]).text();
    let mut shown: Vec<&str> = shown.lines().map(str::trim).collect();
    shown.sort_unstable();
    let short = &pod[..12];
    assert_eq!(shown, ["alone", &format!("one {short} web"), &format!("web {short} web")]);
    let title = ground.world.minidocker(["ps", "-p"]).ok().out();
    assert!(title.lines().next().unwrap().ends_with("POD ID         PODNAME"), "{title}");
    for of in ["web", short] {
        let ids =
            ground.world.minidocker(["ps", "-q", "--no-trunc", "--filter", &format!("pod={of}")]).text();
        assert_eq!(ids.lines().collect::<Vec<_>>(), [one.as_str(), pod.as_str()], "{of}");
    }
    ground.world.minidocker(["ps", "-q", "--filter", "pod=nobody"]).prints("");
    let inspected = |name: &str| ground.world.minidocker(["inspect", name]).json()[0].clone();
    assert_eq!((&inspected("one")["Pod"], &inspected("one")["IsInfra"]), (&json!(pod), &json!(false)));
    assert_eq!((&inspected("web")["Pod"], &inspected("web")["IsInfra"]), (&json!(pod), &json!(true)));
    assert_eq!(inspected(&alone).get("Pod"), None);
    let all = ground.inspect("web");
    assert_eq!(
        (&all["Id"], &all["InfraContainerID"], &all["NumContainers"]),
        (&json!(pod), &json!(pod), &json!(2))
    );
    assert_eq!(all["Containers"][1], json!({"Id": one, "Name": "one", "State": "running"}));
    assert_eq!((&all["Labels"], &all["Hostname"]), (&json!({"tier": "front"}), &json!("web")));
    ground.pod(&["inspect", "nobody"]).refuses(125, &["no such pod: nobody"]);
    ground.pod(&["exists", "web"]).prints("");
    assert_eq!(ground.pod(&["exists", "alone"]).exits(1).err(), "");
}

#[test]
fn what_is_the_pods_is_refused_to_its_containers() {
    let ground = Ground::new();
    ground.create(&["web"]);
    for (options, option) in [
        (&["-p", "8080:80"][..], "--publish"),
        (&["-P"], "--publish-all"),
        (&["--network", "host"], "--network"),
        (&["--ip", "10.0.0.9"], "--ip"),
        (&["--mac-address", "92:d0:c6:0a:29:33"], "--mac-address"),
        (&["--network-alias", "a"], "--network-alias"),
        (&["--dns", "9.9.9.9"], "--dns"),
        (&["--add-host", "a:1.2.3.4"], "--add-host"),
        (&["-h", "other"], "--hostname"),
        (&["--shm-size", "1m"], "--shm-size"),
        (&["--network-rate", "1mbit"], "--network-rate"),
    ] {
        let options = [options, &["--pod", "web"]].concat();
        for command in ["run", "create"] {
            let words = ground.words(&options, &["true"]);
            let said = ground.world.minidocker([command.to_owned()].into_iter().chain(words));
            let code = if command == "run" { 125 } else { 1 };
            said.refuses(
                code,
                &[&format!("{option} with --pod web"), &format!("minidocker pod create {option}")],
            );
        }
    }
    let run = |options: &[&str]| {
        let words = ground.words(options, &["true"]);
        ground.world.minidocker(["run".to_owned()].into_iter().chain(words))
    };
    run(&["--pod", "nobody"]).refuses(125, &["no such pod: nobody"]).hints("pod ls");
    // Before a pull is begun: nothing listens there.
    let absent = ground.world.minidocker(["run", "--pod", "nobody", "127.0.0.1:1/absent:1"]);
    absent.refuses(125, &["no such pod: nobody"]);
    run(&["--pod", "web", "--sysctl", "net.core.somaxconn=9"]).refuses(125, &["shared"]);
    // Nothing came of any of them, and nothing was started for it.
    assert_eq!(
        (ground.state("web").as_str(), &ground.inspect("web")["NumContainers"]),
        ("Created", &json!(1))
    );
    for (words, word) in [
        (&["--share", "mnt", "a1"][..], "mnt"),
        (&["--share", "cgroup", "a1"], "control groups of its own"),
        (&["--share", "ipc", "-p", "80:80", "a1"], "--share without net"),
        (&["--network", "container:web", "a1"], "--network container"),
        (&["--exit-policy", "odd", "a1"], "odd"),
        (&["--name", "a1", "a2"], "as a word and by --name"),
        (&["a1", "a2"], "one name"),
        (&["a/b"], "a/b"),
        (&["--replace"], "needs a name"),
        (&["--network", "nobody", "a1"], "nobody"),
    ] {
        ground.pod(&[&["create"], words].concat()).refuses(125, &[word]);
    }
    assert_eq!(ground.pod(&["ls", "-q"]).text().lines().count(), 1);
}

#[test]
fn a_name_has_one_owner() {
    let ground = Ground::new();
    let create = || ground.world.spawn(["pod", "create", "web"]);
    let both: Vec<_> = [create(), create()].into_iter().map(minidocker_tests::Running::wait).collect();
    let won: Vec<_> = both.iter().filter(|output| output.code == 0).collect();
    assert_eq!(won.len(), 1, "{both:?}");
    let pod = won[0].out().trim().to_owned();
    let lost = both.into_iter().find(|output| output.code != 0).expect("the other");
    lost.refuses(125, &["the name web is already in use by pod", &pod[..12]]).hints("pod rm -f web");
    let words = ground.words(&["--name", "web"], &["true"]);
    let said = ground.world.minidocker(["create".to_owned()].into_iter().chain(words));
    said.refuses(1, &["in use by pod"]).hints("minidocker pod rm -f web");
    ground.world.detached(ground.words(&["--name", "alone"], &["sleep", "1000"]));
    ground.pod(&["create", "alone"]).refuses(125, &["in use by container"]).hints("minidocker rm -f alone");
    ground.pod(&["create", "--replace", "alone"]).refuses(125, &["in use by container"]);
    ground.idle("one");
    let other = ground.create(&["--replace", "web"]);
    assert_ne!(other, pod);
    assert_eq!(ground.inspect("web")["NumContainers"], 1, "its containers went with it");
}
