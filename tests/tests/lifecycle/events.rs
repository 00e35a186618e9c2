//! `events`: everything that happens is told once, in order, by whoever did it.

use std::collections::BTreeMap;

use minidocker_tests::World;
use serde_json::Value;

/// What was told so far: action and name.
fn told(world: &World, filters: &[&str]) -> Vec<String> {
    let mut words = vec!["events", "--since", "1h", "--until", "0s"];
    filters.iter().for_each(|filter| words.extend(["-f", *filter]));
    words.extend(["--format", "{{.Action}} {{.Actor.Attributes.name}}"]);
    world.minidocker(words).out().lines().map(str::to_owned).collect()
}

#[test]
fn a_containers_life_is_told_from_its_creation_to_its_end() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id =
        world.detached(["--name", "web", "--label", "tier=front", "--rootfs", &root, "/inside", "pause"]);
    world.minidocker(["exec", "web", "/inside", "exit", "3"]).exits(3);
    world.minidocker(["pause", "web"]).ok();
    world.minidocker(["unpause", "web"]).ok();
    world.minidocker(["update", "--pids-limit", "20", "web"]).ok();
    world.minidocker(["rename", "web", "site"]).ok();
    world.minidocker(["stop", "-s", "KILL", "site"]).ok();
    world.minidocker(["start", "site"]).ok();
    world.minidocker(["restart", "-s", "KILL", "site"]).ok();
    world.minidocker(["kill", "-s", "CHLD", "site"]).ok();
    world.minidocker(["rm", "-f", "site"]).ok();
    let all = [
        "create web",
        "start web",
        "exec_create: /inside exit 3 web",
        "exec_start: /inside exit 3 web",
        "exec_die web",
        "pause web",
        "unpause web",
        "update web",
        "rename site",
        "kill site",
        "die site",
        "stop site",
        "start site",
        "kill site",
        "die site",
        "stop site",
        "start site",
        "restart site",
        "kill site",
        "kill site",
        "die site",
        "destroy site",
    ];
    assert_eq!(told(&world, &[]), all);
    // Filters: of one key any, of different keys all.
    assert_eq!(told(&world, &["event=exec_die", "event=rename"]), ["exec_die web", "rename site"]);
    assert_eq!(told(&world, &["container=web", "event=start"]), ["start web"]);
    assert_eq!(told(&world, &["label=tier=front", "event=destroy"]), ["destroy site"]);
    assert_eq!(told(&world, &["type=image"]), Vec::<String>::new());
    assert_eq!(told(&world, &[&format!("container={}", &id[..12])]).len(), all.len());

    let lines = world.minidocker(["system", "events", "--since", "1h", "--until", "0s", "--format", "json"]);
    let lines: Vec<Value> =
        lines.out().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let find = |action: &str| lines.iter().find(|line| line["Action"] == action).expect("told above");
    let attribute = |action: &str, key: &str| find(action)["Actor"]["Attributes"][key].clone();
    assert_eq!(attribute("kill", "signal"), "9");
    assert_eq!(attribute("die", "exitCode"), "137");
    assert!(attribute("die", "execDuration").as_str().is_some_and(|text| text.parse::<u64>().is_ok()));
    assert_eq!(attribute("exec_die", "exitCode"), "3");
    assert_eq!(attribute("exec_die", "execID"), attribute("exec_create: /inside exit 3", "execID"));
    assert_eq!(attribute("rename", "oldName"), "web");
    assert_eq!(attribute("create", "image"), root.as_str());
    assert_eq!(
        (&find("die")["Actor"]["ID"], &find("die")["Type"]),
        (&id.clone().into(), &"container".into())
    );

    let text = world.minidocker(["events", "--since", "1h", "--until", "0s", "-f", "event=die"]).out();
    let line = text.lines().next().expect("it died");
    let (time, rest) = line.split_once(' ').expect("a time");
    assert!(time.len() == 30 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{line}");
    let begin = format!("container die {id} (execDuration=");
    let end = format!("exitCode=137, image={root}, name=site, tier=front)");
    assert!(rest.starts_with(&begin) && rest.ends_with(&end), "{line}");
}

#[test]
fn in_the_foreground_with_rm_it_is_told_too_and_what_it_died_of() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    world.minidocker(["run", "--rm", "--name", "a1", "--rootfs", &root, "/inside", "true"]).ok();
    assert_eq!(told(&world, &[]), ["create a1", "attach a1", "start a1", "die a1", "destroy a1"]);
    let small = ["run", "--rm", "--name", "b1", "-m", "10m", "--memory-swap", "10m", "--rootfs", &root];
    world.minidocker([&small[..], &["/inside", "hog", "100m"]].concat()).exits(137);
    assert_eq!(
        told(&world, &["container=b1"]),
        ["create b1", "attach b1", "start b1", "oom b1", "die b1", "destroy b1"]
    );
    world.minidocker(["run", "--rm", "--name", "c1", "--rootfs", &root, "/absent"]).exits(127);
    let c = told(&world, &["container=c1"]);
    assert!(!c.contains(&"start c1".to_owned()) && c.ends_with(&["destroy c1".to_owned()]), "{c:?}");
}

#[test]
fn who_follows_gets_each_line_once_while_many_write() {
    const NUMBER: usize = 8;
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let follower =
        world.spawn(["events", "--since", "1h", "--format", "{{.Actor.Attributes.name}} {{.Action}}"]);
    std::thread::scope(|scope| {
        for number in 0..NUMBER {
            let (world, root) = (&world, &root);
            scope.spawn(move || {
                let name = format!("c{number}");
                world.minidocker(["run", "--rm", "--name", &name, "--rootfs", root, "/inside", "true"]).ok();
            });
        }
    });
    world.minidocker(["create", "--name", "last", "--rootfs", &root, "/inside", "true"]).ok();
    let text = follower.until("last create\n");
    let mut lives: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let (name, action) = line.split_once(' ').expect("name and action");
        lives.entry(name).or_default().push(action);
    }
    assert_eq!(lives.len(), NUMBER + 1);
    for (name, life) in lives.iter().filter(|(name, _)| **name != "last") {
        assert_eq!(*life, ["create", "attach", "start", "die", "destroy"], "{name}");
    }
    world.minidocker(["rm", "last"]).ok();
    follower.until("last destroy\n");
}

#[test]
fn a_full_disk_keeps_nobody_from_working() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let events = world.run_root().join("events");
    std::fs::create_dir_all(&events).expect("our own directory");
    let log = events.join("log");
    // Every write to it fails as on a full disk.
    world.program(["mknod", log.to_str().expect("text"), "c", "1", "7"]).run().ok();
    world.minidocker(["run", "--rm", "--rootfs", &root, "/inside", "exit", "4"]).exits(4).err();
    world.minidocker(["run", "--rm", "--rootfs", &root, "/inside", "true"]).prints("");
    std::fs::remove_file(&log).expect("the node");
    world.minidocker(["run", "--rm", "--name", "a1", "--rootfs", &root, "/inside", "true"]).ok();
    assert_eq!(told(&world, &["event=start"]), ["start a1"], "and it goes on when there is room");
}

#[test]
fn images_have_events() {
    let world = World::new();
    let root = world.rootfs_inside();
    let file = |name: &str| world.directory().join(name).to_str().expect("text").to_owned();
    world.program(["tar", "-cf", &file("x.tar"), "-C", root.path().to_str().expect("text"), "."]).run().ok();
    world.minidocker(["import", &file("x.tar"), "x:1"]).ok();
    world.minidocker(["tag", "x:1", "y:2"]).ok();
    world.minidocker(["save", "-o", &file("y.tar"), "y:2"]).ok();
    world.minidocker(["rmi", "y:2"]).ok();
    world.minidocker(["rmi", "x:1"]).ok();
    world.minidocker(["load", "-i", &file("y.tar")]).ok();
    let words = ["events", "--since", "1h", "--until", "0s", "-f", "type=image", "--format", "{{.Action}}"];
    let actions = world.minidocker(words).out();
    let actions: Vec<&str> = actions.lines().collect();
    assert_eq!(actions, ["import", "tag", "save", "untag", "untag", "delete", "load"]);
    assert_eq!(told(&world, &["event=tag"]), ["tag y:2"]);
    assert_eq!(told(&world, &["image=y", "event=load"]), ["load y:2"]);
    world.minidocker(["rmi", "y:2"]).ok();
}

#[test]
fn what_is_typed_wrong_is_refused() {
    let world = World::new();
    world.minidocker(["events", "-f", "colour=red"]).refuses(1, &["--filter", "no filter colour", "label"]);
    world.minidocker(["events", "--format", "{{.Bogus}}"]).refuses(1, &["--format", "no field"]);
    world.minidocker(["events", "--since", "never"]).refuses(1, &["--since", "never"]);
    world.minidocker(["events", "web"]).refuses(1, &["unexpected argument"]);
}
