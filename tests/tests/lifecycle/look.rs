//! `inspect`, `top`, `port`, `diff`, `ps`: what is seen of containers, and `container prune`.

use std::fs;
use std::time::Duration;

use minidocker_tests::engines::Host;
use minidocker_tests::{World, until};
use serde_json::Value;

/// Docker's members of a container's object, those that are left out where they are empty aside.
const MEMBERS: [&str; 24] = [
    "Id",
    "Created",
    "Path",
    "Args",
    "State",
    "Image",
    "ResolvConfPath",
    "HostnamePath",
    "HostsPath",
    "LogPath",
    "Name",
    "RestartCount",
    "Driver",
    "Platform",
    "MountLabel",
    "ProcessLabel",
    "AppArmorProfile",
    "ExecIDs",
    "HostConfig",
    "GraphDriver",
    "Mounts",
    "Config",
    "NetworkSettings",
    "SizeRw",
];

#[track_caller]
fn inspected(world: &World, words: &[&str]) -> Value {
    let all: Vec<&str> = ["inspect"].into_iter().chain(words.iter().copied()).collect();
    world.minidocker(all).json()[0].clone()
}

#[track_caller]
fn shown(world: &World, format: &str, name: &str) -> String {
    world.minidocker(["inspect", "-f", format, name]).text()
}

#[test]
fn a_container_is_inspected_through_its_life() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let made = ["create", "--name", "web", "--label", "tier=front", "-e", "A=1", "-m", "64m", "--restart"];
    let more = ["on-failure:3", "-v", "/etc:/host:ro", "--rootfs", &root, "/inside", "sleep", "1000"];
    let id = world.minidocker([&made[..], &more[..]].concat()).text();
    let value = inspected(&world, &["-s", "web"]);
    for member in MEMBERS {
        assert!(value.get(member).is_some(), "{member} is missing: {value:#}");
    }
    assert_eq!(value["Id"], id.as_str());
    assert_eq!((&value["Name"], &value["Path"]), (&"/web".into(), &"/inside".into()));
    assert_eq!(value["Args"], serde_json::json!(["sleep", "1000"]));
    assert_eq!(value["State"]["Status"], "created");
    assert_eq!(value["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(value["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(value["HostConfig"]["MemorySwap"], 128 << 20);
    let policy = serde_json::json!({"Name": "on-failure", "MaximumRetryCount": 3});
    assert_eq!(value["HostConfig"]["RestartPolicy"], policy);
    assert_eq!(value["HostConfig"]["Binds"], serde_json::json!(["/etc:/host:ro"]));
    assert_eq!(value["Mounts"][0]["Destination"], "/host");
    assert_eq!((&value["Mounts"][0]["RW"], &value["Mounts"][0]["Type"]), (&false.into(), &"bind".into()));
    assert_eq!(value["Config"]["Labels"]["tier"], "front");
    assert_eq!(value["Config"]["Env"][0], "A=1");
    assert_eq!(value["NetworkSettings"]["IPAddress"], "");

    world.minidocker(["start", "web"]).ok();
    assert_eq!(shown(&world, "{{.State.Status}} {{.State.Running}}", "web"), "running true");
    assert_eq!(shown(&world, "{{.State.Pid}}", "web"), world.init(&id).to_string());
    let address = shown(&world, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "web");
    assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
    assert_eq!(
        shown(&world, "{{index .Config.Labels \"tier\"}} {{join .Args \",\"}}", &id[..8]),
        "front sleep,1000"
    );
    let hosts = shown(&world, "{{.HostsPath}}", "web");
    assert!(std::fs::read_to_string(hosts).expect("its hosts").contains(&address));

    world.minidocker(["kill", "web"]).ok();
    until("it has ended", || {
        shown(&world, "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}", "web") == "exited 137 0"
            || shown(&world, "{{.State.Status}}", "web") == "restarting"
    });
    world.minidocker(["rm", "-f", "web"]).ok();
}

/// Paths of all members below `value`, those of maps of users aside.
fn members(value: &Value, at: &str, all: &mut Vec<String>) {
    let Value::Object(map) = value else { return };
    for (key, value) in map.iter().filter(|_| !["/Config/Labels", "/GraphDriver/Data"].contains(&at)) {
        let path = format!("{at}/{key}");
        members(value, &path, all);
        all.push(path);
    }
}

#[test]
fn docker_has_the_same_fields_of_the_same_container() {
    let host = Host::new();
    let world = host.world();
    let root = world.rootfs_busybox();
    let archive = host.path("root.tar");
    world.program(["tar", "-C", &root.plain(), "-cf", &archive, "."]).run().ok();
    let create = ["create", "--name", "web", "-v", "/etc:/x:ro", "-m", "64m", "b:1", "/bin/sh", "-c", "true"];
    world.minidocker(["import", &archive, "b:1"]).ok();
    world.minidocker(create).ok();
    let ours = inspected(world, &["-s", "web"]);
    world.minidocker(["rm", "web"]).ok();

    let socket = "unix:///run/docker.sock";
    let configuration = serde_json::json!({
        "data-root": host.path("docker"), "exec-root": "/run/docker", "pidfile": "/run/docker.pid",
        "hosts": [socket], "exec-opts": ["native.cgroupdriver=cgroupfs"], "bridge": "none",
        "cgroup-parent": world.cgroup_parent(),
    });
    let file = host.file("daemon.json", configuration.to_string());
    let mut daemon = host.daemon(["dockerd", "--config-file", &file], "API listen on");
    let docker = |words: &[&str]| {
        host.call([&["/usr/bin/docker", "--host", socket], words].concat())
            .patience(Duration::from_secs(120))
            .run()
    };
    docker(&["import", &archive, "b:1"]).ok();
    docker(&create).ok();
    let theirs = docker(&["inspect", "-s", "web"]).json()[0].clone();
    docker(&["rm", "web"]).ok();
    daemon.stop(&host);
    let (mut known, mut wanted) = (Vec::new(), Vec::new());
    members(&ours, "", &mut known);
    members(&theirs, "", &mut wanted);
    assert!(wanted.len() > 100, "{theirs:#}");
    let missing: Vec<&String> = wanted.iter().filter(|path| !known.contains(path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(ours["Mounts"], theirs["Mounts"]);
    assert_eq!(ours["State"], theirs["State"]);
    for member in ["Cmd", "Env", "Entrypoint", "Image", "Labels", "WorkingDir", "User"] {
        assert_eq!(ours["Config"][member], theirs["Config"][member], "{member}");
    }
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.minidocker(["create", "--name", "one", "--rootfs", &root, "/inside", "true"]).text();
    let output = world.minidocker(["inspect", "nobody", "one"]).exits(1);
    assert!(output.err().contains("no such object: nobody"), "{output:?}");
    assert_eq!(serde_json::from_str::<Value>(&output.out()).expect("JSON")[0]["Id"], id.as_str());
    let output = world.minidocker(["container", "inspect", "none"]).exits(1);
    assert_eq!((output.out().as_str(), output.err().contains("no such container: none")), ("[]\n", true));
    world.minidocker(["inspect", "--type", "image", "one"]).exits(1);
    world.minidocker(["inspect", "--type", "odd", "one"]).refuses(1, &["--type", "odd"]);
    world.minidocker(["inspect", "-f", "{{.Bogus}}", "one"]).refuses(1, &["Bogus"]);
    world.minidocker(["inspect", "-f", "{{.Id", "one"]).refuses(1, &["--format"]);
    world.minidocker(["rm", "one"]).ok();
}

#[test]
fn processes_and_ports_are_shown() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let id = world.detached([
        "--name",
        "web",
        "--rootfs",
        &root,
        "/bin/sh",
        "-c",
        "sleep 1111 & sleep 2222; true",
    ]);
    // Who was forked is the shell until it has become what it is to be.
    let sleeps =
        |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep\0"));
    until("both run", || world.group(&id).processes().iter().filter(|pid| sleeps(pid)).count() == 2);
    let text = world.minidocker(["top", "web"]).ok().out();
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().expect("titles").split_whitespace().collect();
    assert_eq!(titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    let pids: Vec<i32> = lines
        .clone()
        .map(|line| line.split_whitespace().nth(1).expect("a pid").parse().expect("a number"))
        .collect();
    let mut sorted = pids.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, world.group(&id).processes());
    assert!(lines.any(|line| line.ends_with("sleep 1111")), "{text}");
    // Where there is no ps, /proc is read.
    let bare = world.call(["top", "web"]).env("PATH", "/no/such").run().ok().out();
    assert!(bare.starts_with("UID") && bare.contains("sleep 2222"), "{bare}");
    assert_eq!(bare.lines().count(), 4, "{bare}");
    let text = world.minidocker(["top", "web", "-o", "pid,args"]).ok().out();
    assert!(text.starts_with("PID") && text.contains("sleep 1111"), "{text}");
    world.minidocker(["top", "web", "-o", "args"]).refuses(1, &["PID"]);

    world.minidocker(["port", "web"]).prints("");
    world.minidocker(["port", "web", "80"]).refuses(1, &["no public port 80 published for web"]);
    world.minidocker(["port", "web", "x"]).refuses(1, &["x"]);
    world.minidocker(["port", "none"]).refuses(1, &["no such container"]);
    world.minidocker(["rm", "-f", "web"]).ok();
    world.minidocker(["create", "--name", "web", "--rootfs", &root, "/bin/sh"]).ok();
    world.minidocker(["top", "web"]).refuses(1, &["web", "not running"]);
    world.minidocker(["rm", "web"]).ok();
}

/// Changes of every kind, in an image without /etc/hosts and such.
const CHANGES: &str = "echo new > /added; echo more >> /srv/changed; rm /srv/gone; rm -r /opt/tree; mkdir /opt/tree; \
                       : > /opt/tree/fresh; mkdir -p /a/b; chmod 700 /keep/mode; ln -s x /link";

const CHANGED: &str = "A /a\nA /a/b\nA /added\nC /keep\nC /keep/mode\nA /link\nC /opt\nC /opt/tree\n\
                       A /opt/tree/fresh\nD /opt/tree/old\nC /srv\nC /srv/changed\nD /srv/gone\n";

fn changed_root(world: &World) -> minidocker_tests::Rootfs {
    let root = world.rootfs_busybox();
    for (name, text) in [("srv/changed", "a"), ("srv/gone", "b"), ("opt/tree/old", "c"), ("keep/mode", "d")] {
        root.file(name, text);
    }
    root
}

#[test]
fn changes_are_told_running_and_stopped() {
    let world = World::new();
    let root = changed_root(&world);
    let script = format!("{CHANGES}; echo done; exec sleep 1000");
    world.detached([
        "--name",
        "web",
        "-v",
        "/etc:/mounted/deep",
        "--tmpfs",
        "/memory",
        "--rootfs",
        &root.overlay(),
        "/bin/sh",
        "-c",
        &script,
    ]);
    until("it has changed all", || world.minidocker(["diff", "web"]).ok().out() == CHANGED);
    world.minidocker(["kill", "web"]).ok();
    until("it has ended", || world.minidocker(["ps", "-q"]).text().is_empty());
    world.minidocker(["diff", "web"]).prints(CHANGED);
    world.minidocker(["rm", "web"]).ok();
    world.minidocker(["create", "--name", "new", "--rootfs", &root.overlay(), "/bin/sh"]).ok();
    world.minidocker(["diff", "new"]).prints("");
    world.minidocker(["rm", "new"]).ok();
    world.minidocker(["run", "--name", "own", "--rootfs", &root.plain(), "/bin/sh", "-c", "true"]).ok();
    world.minidocker(["diff", "own"]).refuses(1, &["own", "no layer"]).hints("overlay");
    world.minidocker(["rm", "own"]).ok();
}

#[test]
fn changes_of_a_copy_are_found_by_comparison() {
    let world = World::new();
    let root = changed_root(&world);
    let script = format!("{CHANGES}; true");
    let run = [
        "run",
        "--name",
        "web",
        "--rootfs-kind",
        "copy",
        "--rootfs",
        &root.overlay(),
        "/bin/sh",
        "-c",
        &script,
    ];
    world.minidocker(run).ok();
    world.minidocker(["diff", "web"]).prints(CHANGED);
    world.minidocker(["rm", "web"]).ok();
}

#[test]
fn a_list_is_filtered_and_counted() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let write = "head -c 100000 /dev/zero > /big";
    world.minidocker(["run", "--name", "first", "-l", "a=1", "--rootfs", &root, "/bin/sh", "-c", write]).ok();
    let made =
        ["create", "--name", "second", "--network", "none", "-v", "/etc:/conf", "--rootfs", &root, "/bin/sh"];
    world.minidocker(made).ok();
    let names = |filters: &[&str]| {
        let mut words = vec!["ps", "-a", "--format", "{{.Names}}"];
        filters.iter().for_each(|filter| words.extend(["--filter", filter]));
        world.minidocker(words).text().replace('\n', " ")
    };
    for (filters, wanted) in [
        (&["before=second"][..], "first"),
        (&["since=first"], "second"),
        (&["network=none"], "second"),
        (&["network=bridge"], "first"),
        (&["volume=/etc"], "second"),
        (&["volume=/conf"], "second"),
        (&["health=none"], "second first"),
        (&["is-task=true"], ""),
        (&["publish=80"], ""),
        (&["expose=80"], ""),
        (&["label!=a"], "second"),
        (&["exited=0"], "first"),
        (&["status=created"], "second"),
        (&["ancestor=nothing/like/it"], ""),
    ] {
        assert_eq!(names(filters), wanted, "{filters:?}");
    }
    world.minidocker(["ps", "--filter", "before=none"]).refuses(1, &["no such container"]);
    let size = world.minidocker(["ps", "-a", "--filter", "name=first", "--format", "{{.Size}}"]).text();
    assert!(size.starts_with("10") && size.contains("kB (virtual "), "{size}");
    let table = world.minidocker(["ps", "-as"]).ok().out();
    assert!(table.lines().next().expect("titles").ends_with("SIZE"), "{table}");
    let line = world.minidocker([
        "ps",
        "-a",
        "-f",
        "name=second",
        "--format",
        "{{.Mounts}} {{.Networks}} {{.LocalVolumes}}",
    ]);
    assert_eq!(line.text(), "/etc none 0");

    // Nobody says yes.
    let asked = world.call(["container", "prune"]).stdin("n\n").run().ok().out();
    assert!(asked.starts_with("WARNING! This will remove all stopped containers.\nAre you sure"), "{asked}");
    assert_eq!(names(&[]), "second first");
    world
        .minidocker(["container", "prune", "-f", "--filter", "until=24h"])
        .prints("Total reclaimed space: 0B\n");
    let pruned = world.minidocker(["container", "prune", "-f", "--filter", "label=a"]).ok().out();
    assert!(
        pruned.starts_with("Deleted Containers:\n") && pruned.contains("Total reclaimed space: 10"),
        "{pruned}"
    );
    assert_eq!(names(&[]), "second");
    let running = world.detached(["--name", "third", "--rootfs", &root, "/bin/sleep", "1000"]);
    world.call(["container", "prune"]).stdin("y\n").run().ok();
    assert_eq!(names(&[]), "third");
    world.minidocker(["rm", "-fv", &running]).ok();
}
