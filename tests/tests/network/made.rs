//! Networks that users make: several of a container, of both families, connected and disconnected while it runs; what is
//! kept apart; what cannot be made; what a crash leaves.

use std::fs;
use std::sync::Barrier;

use minidocker_tests::{Rootfs, World, until};
use serde_json::{Value, json};

use super::ports::{FAR, HOST, Machine};
use super::{ip, links, remove};

/// A container that answers with who asks, on port 80 of all its addresses.
fn serve(world: &World, root: &Rootfs, name: &str, options: &[&str]) -> Value {
    let overlay = root.overlay();
    let mut words = vec!["--name", name, "--hostname", name, "--rootfs", &overlay];
    words.extend(options);
    words.extend(["/inside", "who", "80"]);
    let id = world.detached(words);
    until("it listens", || {
        let table = fs::read_to_string(format!("/proc/{}/net/tcp6", world.init(&id))).unwrap_or_default();
        table.contains(":0050 ")
    });
    networks(world, name)
}

/// `NetworkSettings.Networks`.
fn networks(world: &World, name: &str) -> Value {
    world.minidocker(["inspect", name]).json()[0]["NetworkSettings"]["Networks"].clone()
}

fn four(networks: &Value, network: &str) -> String {
    networks[network]["IPAddress"].as_str().expect("an address").to_owned()
}

fn six(networks: &Value, network: &str) -> String {
    networks[network]["GlobalIPv6Address"].as_str().expect("an address").to_owned()
}

/// What a container says to another's port 80; nothing where it does not arrive.
fn from(world: &World, name: &str, to: &str) -> String {
    let call = world.call(["exec", name, "/inside", "connect", to, "80", "hello"]);
    call.run().out().trim_end().to_owned()
}

/// A try that is expected to fail must not take the ten seconds of a connection that nobody answers.
fn does_not_reach(world: &World, name: &str, to: &str) {
    let script = ["exec", name, "/inside", "connect", to, "80", "hello"];
    let running = world.spawn(script);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let said = running.out_so_far();
    running.signal(9);
    drop(running.wait());
    assert_eq!(said, "", "{name} reaches {to}");
}

/// What the world's "host" says to a port.
fn near(world: &World, how: &str, to: &str, port: &str) -> String {
    let inside = world.inside_path();
    world.program([inside.to_str().expect("text"), how, to, port, "near"]).run().out().trim_end().to_owned()
}

fn create(world: &World, words: &[&str]) -> String {
    world.minidocker(["network", "create"].into_iter().chain(words.iter().copied())).text()
}

fn drop_networks(world: &World, names: &[&str]) {
    world.minidocker(["network", "rm"].into_iter().chain(names.iter().copied())).ok();
    world.expect_nothing_left();
}

#[test]
fn a_network_is_made_listed_inspected_and_removed() {
    let world = World::new();
    let words =
        ["--subnet", "10.7.0.0/24", "--ip-range", "10.7.0.128/25", "--aux-address", "printer=10.7.0.130"];
    let more = ["--label", "tier=front", "--opt", "mtu=1400", "--ipv6", "--subnet", "fd00:7::/64", "web"];
    let id = create(&world, &[&words[..], &more[..]].concat());
    assert_eq!(id.len(), 64);
    let list = world.minidocker(["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.IPv6}}"]).text();
    assert_eq!(list, "bridge bridge false\nhost host false\nnone null false\nweb bridge true");
    assert_eq!(world.minidocker(["network", "ls", "-q", "--no-trunc", "-f", "type=custom"]).text(), id);
    assert_eq!(world.minidocker(["network", "ls", "-q", "-f", "label=tier=back"]).text(), "");
    let table = world.minidocker(["network", "ls"]).text();
    assert!(table.starts_with("NETWORK ID     NAME      DRIVER    SCOPE\n"), "{table}");
    let seen = world.minidocker(["network", "inspect", &id[..9]]).json()[0].clone();
    assert_eq!(seen["Name"], "web");
    assert_eq!(seen["EnableIPv6"], true);
    assert_eq!(
        seen["IPAM"]["Config"],
        json!([
            {
                "Subnet": "10.7.0.0/24",
                "IPRange": "10.7.0.128/25",
                "Gateway": "10.7.0.1",
                "AuxiliaryAddresses": {"printer": "10.7.0.130"}
            },
            {"Subnet": "fd00:7::/64", "Gateway": "fd00:7::1"}
        ])
    );
    assert_eq!(seen["Labels"], json!({"tier": "front"}));
    // The bridge is there, with both addresses.
    let bridge = format!("md-{}", &id[..12]);
    let addresses = ip(&world, &["-o", "addr", "show", "dev", &bridge]);
    assert!(addresses.contains(" 10.7.0.1/24 ") && addresses.contains(" fd00:7::1/64 "), "{addresses}");
    assert!(ip(&world, &["link", "show", "dev", &bridge]).contains("mtu 1400"));

    let root = world.rootfs_inside();
    let places = serve(&world, &root, "one", &["--network", "web"]);
    let address: std::net::Ipv4Addr = four(&places, "web").parse().expect("an address");
    assert!(address.octets()[3] >= 128 && address.octets()[3] != 130, "{address}");
    let members = world.minidocker(["network", "inspect", "-f", "{{json .Containers}}", "web"]).text();
    assert!(members.contains("\"Name\":\"one\"") && members.contains(&format!("{address}/24")), "{members}");
    world.minidocker(["network", "rm", "web"]).refuses(1, &["web", "one", "active endpoints"]);
    world.minidocker(["network", "prune", "-f"]).prints("");
    world.minidocker(["stop", "-t", "0", "one"]).ok();
    // Stopped it still names the network: prune spares it, and who removes it by name knows.
    world.minidocker(["network", "prune", "-f"]).prints("");
    remove(&world, &["one"]);
    assert!(world.minidocker(["network", "prune", "-f"]).text().contains("Deleted Networks:\nweb"));
    assert!(!links(&world).contains(&bridge));
    for built_in in ["bridge", "host", "none"] {
        world.minidocker(["network", "rm", built_in]).refuses(1, &[built_in, "pre-defined"]);
    }
    world.minidocker(["network", "rm", "web"]).refuses(1, &["web", "not found"]);
    world.minidocker(["network", "rm", "-f", "web"]).ok();
    world.expect_nothing_left();
}

#[test]
fn what_cannot_be_is_refused_in_a_line() {
    let world = World::new();
    create(&world, &["--subnet", "10.7.0.0/24", "web"]);
    ip(&world, &["link", "add", "uplink", "type", "veth", "peer", "name", "far"]);
    ip(&world, &["addr", "add", "192.0.2.1/24", "dev", "uplink"]);
    ip(&world, &["link", "set", "uplink", "up"]);
    for (words, said) in [
        (&["web"][..], &["web", "already exists"][..]),
        (&["bridge"], &["bridge", "already exists"]),
        (&["--subnet", "10.7.0.128/25", "x"], &["10.7.0.128/25", "overlaps", "network web"]),
        (&["--subnet", "192.0.2.0/25", "x"], &["192.0.2.0/25", "overlaps", "dev uplink"]),
        (&["--subnet", "10.8.0.0/24", "--gateway", "10.9.0.1", "x"], &["--gateway 10.9.0.1"]),
        (&["--subnet", "10.8.0.0/24", "--ip-range", "10.9.0.0/25", "x"], &["--ip-range 10.9.0.0/25"]),
        (&["--subnet", "fd00::/64", "x"], &["--ipv6"]),
        (&["--subnet", "10.8.0.1/24", "x"], &["10.8.0.1/24"]),
        (&["-d", "macvlan", "x"], &["macvlan", "link of the host"]),
        (&["-d", "macvlan", "-o", "parent=nowhere", "x"], &["nowhere", "no such link"]),
        (&["-o", "com.docker.network.bridge.name=md-much-too-long", "x"], &["md-much-too-long"]),
        (&["-x/y"], &["-x"]),
    ] {
        let output = world.minidocker(["network", "create"].into_iter().chain(words.iter().copied()));
        assert_ne!(output.code, 0);
        let error = output.err();
        assert!(said.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    }
    let root = world.rootfs_inside();
    let refused = |options: &[&str], said: &[&str]| {
        let overlay = root.overlay();
        let words = [&["run", "--rm"], options, &["--rootfs", &overlay, "/inside", "true"]].concat();
        world.minidocker(words).refuses(125, said);
        assert_eq!(world.leaks().into_iter().filter(|left| !left.contains("link ")).count(), 0);
    };
    refused(&["--network", "nowhere"], &["nowhere", "not found"]);
    refused(&["--network", "web", "--network", "web"], &["web", "multiple times"]);
    refused(&["--network", "web", "--network", "host"], &["host"]);
    refused(&["--network", "web", "--ip", "10.8.0.9"], &["10.8.0.9", "web"]);
    refused(&["--network", "web", "--ip6", "fd00::9"], &["fd00::9", "web"]);
    refused(&["--network", "web", "--ip", "10.7.0.1"], &["10.7.0.1", "taken"]);
    refused(&["--network", "web", "-p", "[::1]:8080:80"], &["IPv6"]);
    ip(&world, &["link", "del", "uplink"]);
    // Two addresses, and no more: the gateway has one.
    create(&world, &["--subnet", "10.8.0.0/30", "small"]);
    serve(&world, &root, "one", &["--network", "small"]);
    let overlay = root.overlay();
    let second = ["run", "--rm", "--network", "small", "--rootfs", &overlay, "/inside", "true"];
    world.minidocker(second).refuses(125, &["small", "is full"]);
    remove(&world, &["one"]);
    drop_networks(&world, &["web", "small"]);
}

#[test]
fn several_networks_of_a_container_and_none_of_anothers() {
    let world = World::new();
    let root = world.rootfs_inside();
    create(&world, &["--ipv6", "front"]);
    create(&world, &["back"]);
    let web = serve(
        &world,
        &root,
        "web",
        &["--network", "front", "--network", "name=back,alias=www,gw-priority=5"],
    );
    let db = serve(&world, &root, "db", &["--network", "back"]);
    let app = serve(&world, &root, "app", &["--network", "front"]);
    // Neighbours on each of its networks, by both families; the asker's own address is seen.
    assert_eq!(from(&world, "web", &four(&db, "back")), format!("db {} hello", four(&web, "back")));
    assert_eq!(from(&world, "web", &four(&app, "front")), format!("app {} hello", four(&web, "front")));
    assert_eq!(from(&world, "web", &six(&app, "front")), format!("app {} hello", six(&web, "front")));
    assert_eq!(from(&world, "app", &six(&web, "front")), format!("web {} hello", six(&app, "front")));
    assert_eq!(near(&world, "connect", &six(&web, "front"), "80").split(' ').next(), Some("web"));
    // Two networks do not reach each other.
    does_not_reach(&world, "app", &four(&db, "back"));
    does_not_reach(&world, "db", &four(&app, "front"));
    // Which network is the way out was said; eth0 is the first that was named.
    let pid = world.init(&world.minidocker(["inspect", "-f", "{{.Id}}", "web"]).text());
    let routes = fs::read_to_string(format!("/proc/{pid}/net/route")).expect("its routes");
    let default = routes.lines().find(|line| line.split('\t').nth(1) == Some("00000000")).expect("a way out");
    assert!(default.starts_with("eth1\t"), "{routes}");
    assert_eq!(web["back"]["Aliases"], json!(["www"]));
    let hosts = world.minidocker(["exec", "web", "/inside", "read", "/etc/hosts"]).text();
    for address in [four(&web, "front"), six(&web, "front"), four(&web, "back")] {
        assert!(hosts.contains(&format!("{address}\tweb")), "{hosts}");
    }
    assert_eq!(world.minidocker(["ps", "--format", "{{.Networks}}", "-f", "name=web"]).text(), "front,back");
    // Stopped and started it has the same again.
    world.minidocker(["restart", "-t", "0", "web"]).ok();
    until("it listens", || from(&world, "db", &four(&web, "back")).starts_with("web"));
    assert_eq!(four(&networks(&world, "web"), "front"), four(&web, "front"));
    remove(&world, &["web", "db", "app"]);
    drop_networks(&world, &["front", "back"]);
}

#[test]
fn connected_and_disconnected_while_it_runs() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    create(&world, &["--ipv6", "more"]);
    serve(&world, &root, "web", &["-p", "8080:80"]);
    let other = serve(&world, &root, "other", &["--network", "more"]);
    does_not_reach(&world, "web", &four(&other, "more"));
    world.minidocker(["network", "connect", "--alias", "www", "more", "web"]).ok();
    let both = networks(&world, "web");
    assert_eq!(from(&world, "web", &four(&other, "more")), format!("other {} hello", four(&both, "more")));
    assert_eq!(from(&world, "other", &six(&both, "more")), format!("web {} hello", six(&other, "more")));
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    world.minidocker(["network", "connect", "more", "web"]).refuses(1, &["web", "more", "already exists"]);
    let hosts = world.minidocker(["exec", "web", "/inside", "read", "/etc/hosts"]).text();
    assert!(hosts.contains(&four(&both, "more")), "{hosts}");
    // Without its first network it goes out by the other one, and its ports follow.
    world.minidocker(["network", "disconnect", "bridge", "web"]).ok();
    assert_eq!(networks(&world, "web").as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    assert_eq!(from(&world, "web", &four(&other, "more")), format!("other {} hello", four(&both, "more")));
    let hosts = world.minidocker(["exec", "web", "/inside", "read", "/etc/hosts"]).text();
    assert!(!hosts.contains(&four(&both, "bridge")) && hosts.contains(&four(&both, "more")), "{hosts}");
    world.minidocker(["system", "check"]).ok();
    // What it is after that, it is after a restart, and under another monitor.
    let id = world.minidocker(["inspect", "-f", "{{.Id}}", "web"]).text();
    let monitor = rustix::process::Pid::from_raw(world.monitor(&id)).expect("a monitor");
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).expect("it was there");
    world.minidocker(["ps"]).ok();
    assert_eq!(from(&world, "other", &four(&both, "more")), format!("web {} hello", four(&other, "more")));
    world.minidocker(["restart", "-t", "0", "web"]).ok();
    until("it answers", || machine.ask(8080).starts_with("web"));
    world.minidocker(["network", "disconnect", "more", "web"]).ok();
    world.minidocker(["network", "disconnect", "more", "web"]).refuses(1, &["web", "more", "not connected"]);
    world.minidocker(["network", "disconnect", "-f", "more", "web"]).ok();
    let facts = fs::read_to_string(format!("/proc/{}/net/dev", world.init(&id))).expect("its links");
    assert!(!facts.contains("eth"), "{facts}");
    // Stopped: it is for the next start.
    world.minidocker(["stop", "-t", "0", "web"]).ok();
    world.minidocker(["network", "connect", "bridge", "web"]).ok();
    world.minidocker(["start", "web"]).ok();
    until("it answers", || machine.ask(8080).starts_with("web"));
    remove(&world, &["web", "other"]);
    world.minidocker(["network", "rm", "more"]).ok();
    drop(machine);
    world.expect_nothing_left();
}

#[test]
fn ports_are_published_on_both_families() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    ip(&world, &["addr", "add", "2001:db8::1/64", "dev", "uplink", "nodad"]);
    machine.ip(&["addr", "add", "2001:db8::2/64", "dev", "eth0", "nodad"]);
    create(&world, &["--ipv6", "both"]);
    let web = serve(
        &world,
        &root,
        "web",
        &["--network", "both", "-p", "8080:80", "-p", "8080:80/udp", "-p", "[2001:db8::1]:8081:80"],
    );
    let listed = world.minidocker(["port", "web", "80/tcp"]).text();
    assert_eq!(listed, "0.0.0.0:8080\n[::]:8080\n[2001:db8::1]:8081");
    assert_eq!(web["both"]["IPPrefixLen"], 22);
    let far6 = |how: &str, port: &str| {
        machine.inside(&[how, "2001:db8::1", port, "far"]).wait().out().trim_end().to_owned()
    };
    for how in ["connect", "connect-udp"] {
        assert_eq!(far6(how, "8080"), "web 2001:db8::2 far", "{how}");
    }
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    // From the host by its own addresses.
    assert_eq!(near(&world, "connect", HOST, "8080"), format!("web {HOST} near"));
    assert_eq!(near(&world, "connect", "2001:db8::1", "8080"), "web 2001:db8::1 near");
    assert_eq!(far6("connect", "8081"), "web 2001:db8::2 far");
    // On ::1 nobody waits: it is refused at once, and localhost is 127.0.0.1 then.
    let start = std::time::Instant::now();
    assert_eq!(near(&world, "connect", "::1", "8080"), "");
    assert!(start.elapsed() < std::time::Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(near(&world, "connect", "127.0.0.1", "8080").starts_with("web "));
    // Who asks for it has it, where the kernel can, and for nobody else.
    let overlay = root.overlay();
    let filter = |on: &str| {
        let _ = world.inside_network(|| fs::write("/proc/sys/net/bridge/bridge-nf-call-ip6tables", on));
        fs::exists("/proc/sys/net/bridge").expect("/proc can be read")
    };
    let start =
        ["run", "-d", "--name", "local", "--hostname", "local", "--network", "both", "-p", "[::1]:8082:80"];
    let words =
        [&start[..], &["-p", "[::1]:8082:80/udp", "--rootfs", &overlay, "/inside", "who", "80"]].concat();
    if filter("1") {
        world.minidocker(&words).refuses(125, &["::1", "filters its bridges"]);
    }
    filter("0");
    world.minidocker(&words).ok();
    let gateway = ["network", "inspect", "-f", "{{(index .IPAM.Config 1).Gateway}}", "both"];
    let gateway = world.minidocker(gateway).text();
    for how in ["connect", "connect-udp"] {
        until("it answers", || near(&world, how, "::1", "8082") == format!("local {gateway} near"));
    }
    assert_eq!(far6("connect", "8082"), "");
    remove(&world, &["local"]);
    assert_eq!(near(&world, "connect", "::1", "8082"), "");
    // To the world with the host's address: a private one would not be answered.
    let server = machine.inside(&["who", "80"]);
    server.until("listening");
    let said = from(&world, "web", "2001:db8::2");
    assert!(said.ends_with(" 2001:db8::1 hello"), "{said}");
    server.signal(9);
    drop(server.wait());
    // What is not published does not come in, whoever knows the way.
    let subnet =
        world.minidocker(["network", "inspect", "-f", "{{(index .IPAM.Config 1).Subnet}}", "both"]).text();
    machine.ip(&["route", "add", &subnet, "via", "2001:db8::1"]);
    let six = six(&web, "both");
    let running = machine.inside(&["connect", &six, "80", "far"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(running.out_so_far(), "");
    running.signal(9);
    drop(running.wait());
    remove(&world, &["web"]);
    drop(machine);
    drop_networks(&world, &["both"]);
}

#[test]
fn an_internal_network_reaches_nothing_outside() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    create(&world, &["--internal", "--ipv6", "inner"]);
    let one = serve(&world, &root, "one", &["--network", "inner", "-p", "8080:80"]);
    let two = serve(&world, &root, "two", &["--network", "inner"]);
    assert_eq!(from(&world, "one", &four(&two, "inner")), format!("two {} hello", four(&one, "inner")));
    assert_eq!(from(&world, "one", &six(&two, "inner")), format!("two {} hello", six(&one, "inner")));
    assert_eq!(world.minidocker(["port", "one"]).text(), "");
    let pid = world.init(&world.minidocker(["inspect", "-f", "{{.Id}}", "one"]).text());
    let routes = fs::read_to_string(format!("/proc/{pid}/net/route")).expect("its routes");
    assert!(!routes.lines().any(|line| line.split('\t').nth(1) == Some("00000000")), "{routes}");
    // With a route of its own making it does not come out either.
    let target = pid.to_string();
    let gateway =
        world.minidocker(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "inner"]).text();
    let add = ["nsenter", "--net", "--target", &target, "ip", "route", "add", "default", "via", &gateway];
    world.program(add).run().ok();
    let server = machine.inside(&["who", "80"]);
    server.until("listening");
    does_not_reach(&world, "one", FAR);
    server.signal(9);
    drop(server.wait());
    machine.ip(&["route", "add", &format!("{}/32", four(&one, "inner")), "via", HOST]);
    let running = machine.inside(&["connect", &four(&one, "inner"), "80", "far"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(running.out_so_far(), "");
    running.signal(9);
    drop(running.wait());
    remove(&world, &["one", "two"]);
    drop(machine);
    drop_networks(&world, &["inner"]);
}

#[test]
fn networks_that_are_open_to_each_other_meet() {
    let world = World::new();
    let root = world.rootfs_inside();
    for name in ["one", "two"] {
        create(&world, &["--opt", "isolate=false", name]);
    }
    create(&world, &["shut"]);
    let a = serve(&world, &root, "aa", &["--network", "one"]);
    let b = serve(&world, &root, "bb", &["--network", "two"]);
    let c = serve(&world, &root, "cc", &["--network", "shut"]);
    assert_eq!(from(&world, "aa", &four(&b, "two")), format!("bb {} hello", four(&a, "one")));
    does_not_reach(&world, "aa", &four(&c, "shut"));
    remove(&world, &["aa", "bb", "cc"]);
    drop_networks(&world, &["one", "two", "shut"]);
}

#[test]
fn containers_that_are_kept_apart_meet_by_published_ports_alone() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    create(&world, &["--ipv6", "-o", "com.docker.network.bridge.enable_icc=false", "apart"]);
    let one = serve(&world, &root, "one", &["--network", "apart", "-p", "8080:80"]);
    let two = serve(&world, &root, "two", &["--network", "apart"]);
    serve(&world, &root, "three", &[]);
    world.minidocker(["network", "connect", "apart", "three"]).ok();
    for asker in ["two", "three"] {
        does_not_reach(&world, asker, &four(&one, "apart"));
        does_not_reach(&world, asker, &six(&one, "apart"));
    }
    // By way of the host neither, though the asker finds the way.
    let gateway =
        world.minidocker(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "apart"]).text();
    let pid = world.init(&world.minidocker(["inspect", "-f", "{{.Id}}", "two"]).text()).to_string();
    let to = format!("{}/32", four(&one, "apart"));
    world
        .program(["nsenter", "--net", "--target", &pid, "ip", "route", "add", &to, "via", &gateway])
        .run()
        .ok();
    does_not_reach(&world, "two", &four(&one, "apart"));
    // Where bridges are filtered too, a published port is translated on the bridge, which keeps them apart.
    let _ = world.inside_network(|| fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0"));
    let said = world.minidocker(["exec", "two", "/inside", "connect", HOST, "8080", "hello"]).text();
    assert_eq!(said, format!("one {gateway} hello"));
    // The host, other machines and the world are reached as ever.
    assert_eq!(near(&world, "connect", &four(&two, "apart"), "80"), format!("two {gateway} near"));
    assert_eq!(machine.ask(8080), format!("one {FAR} far"));
    let server = machine.inside(&["who", "80"]);
    server.until("listening");
    assert_eq!(from(&world, "two", FAR), format!("{} {HOST} hello", hostname()));
    server.signal(9);
    drop(server.wait());
    remove(&world, &["one", "two", "three"]);
    drop(machine);
    drop_networks(&world, &["apart"]);
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[test]
fn the_default_network_has_ipv6_where_somebody_wants_it() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    let machine = Machine::new(&world);
    ip(&world, &["addr", "add", "2001:db8::1/64", "dev", "uplink", "nodad"]);
    machine.ip(&["addr", "add", "2001:db8::2/64", "dev", "eth0", "nodad"]);
    let before = serve(&world, &root, "before", &[]);
    assert_eq!(six(&before, "bridge"), "");
    let run = |subnet: &str, words: &[&str]| {
        let start = ["--subnet6", subnet, "run", "-d", "--rootfs", &overlay];
        world.minidocker([&start[..], words, &["/inside", "who", "80"]].concat())
    };
    run("fd00:5::/64", &["--name", "web", "--hostname", "web", "-p", "8080:80"]).ok();
    let web = networks(&world, "web");
    assert!(six(&web, "bridge").starts_with("fd00:5::"), "{web}");
    // From now on all who come have it, whoever starts them.
    let other = serve(&world, &root, "other", &["--ip6", "fd00:5::7:7"]);
    assert_eq!(six(&other, "bridge"), "fd00:5::7:7");
    until("it listens", || from(&world, "other", &six(&web, "bridge")) == "web fd00:5::7:7 hello");
    let far = machine.inside(&["connect", "2001:db8::1", "8080", "far"]).wait().text();
    assert_eq!(far, "web 2001:db8::2 far");
    // What leaves has the host's address.
    let server = machine.inside(&["who", "80"]);
    server.until("listening");
    assert!(from(&world, "other", "2001:db8::2").ends_with(" 2001:db8::1 hello"));
    server.signal(9);
    drop(server.wait());
    let seen = world.minidocker(["network", "inspect", "bridge"]).json()[0].clone();
    assert_eq!(
        (&seen["EnableIPv6"], &seen["IPAM"]["Config"][1]["Gateway"]),
        (&json!(true), &json!("fd00:5::1"))
    );
    assert_eq!(
        world.minidocker(["inspect", "-f", "{{.NetworkSettings.IPv6Gateway}}", "web"]).text(),
        "fd00:5::1"
    );
    // Another choice would leave those who are there behind.
    run("fd00:6::/64", &["--rm"]).refuses(125, &["fd00:6::/64", "fd00:5::/64"]);
    assert_eq!(run("auto", &["--name", "more"]).code, 0);
    create(&world, &["x"]);
    let clash = world.minidocker(["network", "create", "--ipv6", "--subnet", "fd00:5::/80", "y"]);
    assert!(clash.err().contains("the default network"), "{clash:?}");
    world.minidocker(["system", "check"]).ok();
    remove(&world, &["before", "web", "other", "more"]);
    drop(machine);
    drop_networks(&world, &["x"]);
}

#[test]
fn links_beside_one_of_the_hosts() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    let subnet = ["-d", "macvlan", "--subnet", "192.0.2.0/24", "--gateway", "192.0.2.254"];
    create(&world, &[&subnet[..], &["-o", "parent=uplink", "lan"]].concat());
    let one = serve(&world, &root, "one", &["--network", "lan", "--ip", "192.0.2.50"]);
    let two = serve(&world, &root, "two", &["--network", "lan", "--ip", "192.0.2.51"]);
    assert_eq!((four(&one, "lan"), four(&two, "lan")), ("192.0.2.50".into(), "192.0.2.51".into()));
    assert_eq!(from(&world, "one", "192.0.2.51"), "two 192.0.2.50 hello");
    // Another machine reaches it as one more of its neighbours.
    let far = machine.inside(&["connect", "192.0.2.50", "80", "far"]).wait().text();
    assert_eq!(far, format!("one {FAR} far"));
    // Ports lead nowhere as long as no bridge is the way out; they are the container's all the same.
    serve(&world, &root, "three", &["--network", "lan", "-p", "8080:80"]);
    assert_eq!(world.minidocker(["port", "three"]).text(), "");
    let other = ["run", "--rm", "-p", "8080:80", "--rootfs", &root.overlay(), "/inside", "try"];
    world.minidocker(other).refuses(125, &["8080", "three"]);
    create(&world, &["web"]);
    world.minidocker(["network", "connect", "--gw-priority", "5", "web", "three"]).ok();
    assert!(world.minidocker(["port", "three"]).text().contains("8080"));
    assert!(near(&world, "connect", "127.0.0.1", "8080").starts_with("three "));
    remove(&world, &["one", "two", "three"]);
    world.minidocker(["network", "rm", "lan"]).ok();
    drop(machine);
    drop_networks(&world, &["web"]);
}

#[test]
fn many_start_at_once_on_one_network() {
    let world = World::new();
    let root = world.rootfs_inside();
    create(&world, &["--ipv6", "busy"]);
    let barrier = Barrier::new(64);
    std::thread::scope(|scope| {
        for n in 0..64 {
            let (world, root, barrier) = (&world, &root, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let (overlay, name) = (root.overlay(), format!("c{n}"));
                let words = ["run", "-d", "--name", &name, "--network", "busy", "--rootfs", &overlay];
                world.minidocker(words.into_iter().chain(["/inside", "pause"])).ok();
            });
        }
    });
    let members = world.minidocker(["network", "inspect", "busy"]).json()[0]["Containers"].clone();
    let members = members.as_object().expect("containers").values();
    let both = members.flat_map(|one| [one["IPv4Address"].to_string(), one["IPv6Address"].to_string()]);
    let seen: std::collections::BTreeSet<String> = both.filter(|address| address.len() > 2).collect();
    // One of each family for each.
    assert_eq!(seen.len(), 128, "{seen:?}");
    let names: Vec<String> = (0..64).map(|n| format!("c{n}")).collect();
    world.minidocker(["rm", "-f"].into_iter().chain(names.iter().map(String::as_str))).ok();
    drop_networks(&world, &["busy"]);
}

#[test]
fn a_subnet_that_the_host_needs_now_is_chosen_anew() {
    let world = World::new();
    let root = world.rootfs_inside();
    create(&world, &["web"]);
    let subnet = |world: &World| {
        world.minidocker(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "web"]).text()
    };
    let old = subnet(&world);
    serve(&world, &root, "first", &["--network", "web"]);
    // A VPN comes with a route to the same addresses.
    ip(&world, &["link", "add", "tun0", "type", "veth", "peer", "name", "vpn"]);
    ip(&world, &["link", "set", "tun0", "up"]);
    let wide = old.replace("/22", "/21");
    let wide = ipv4_network(&wide);
    ip(&world, &["route", "add", &wide, "dev", "tun0"]);
    let found = world.minidocker(["system", "check"]);
    assert!(found.out().contains("web") && found.out().contains("tun0"), "{found:?}");
    remove(&world, &["first"]);
    let overlay = root.overlay();
    let run = ["run", "--rm", "--network", "web", "--rootfs", &overlay, "/inside", "true"];
    let output = world.minidocker(run).ok();
    assert!(output.err().contains(&format!("its old {old} overlaps route {wide} dev tun0")), "{output:?}");
    assert_ne!(subnet(&world), old);
    world.minidocker(["system", "check"]).ok();
    ip(&world, &["link", "del", "tun0"]);
    drop_networks(&world, &["web"]);
}

/// A network's address with the bits behind its prefix cleared, of a prefix of 21 bits.
fn ipv4_network(text: &str) -> String {
    let (address, prefix) = text.split_once('/').expect("a network");
    let address: std::net::Ipv4Addr = address.parse().expect("an address");
    format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 11)))
}

#[test]
fn what_a_crash_in_the_middle_of_connect_leaves_is_found() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    let subnet = ["-d", "macvlan", "--subnet", "192.0.2.0/24", "--gateway", "192.0.2.254"];
    create(&world, &["more"]);
    create(&world, &[&subnet[..], &["-o", "parent=uplink", "lan"]].concat());
    serve(&world, &root, "web", &["-p", "8080:80"]);
    // The link that everything beyond the neighbours goes by.
    let way_out = || {
        let pid = world.init(&world.minidocker(["inspect", "-f", "{{.Id}}", "web"]).text());
        let routes = fs::read_to_string(format!("/proc/{pid}/net/route")).expect("its routes");
        let default = routes.lines().find(|line| line.split('\t').nth(1) == Some("00000000"));
        default.and_then(|line| line.split('\t').next()).expect("a way out").to_owned()
    };
    // At every moment of a connect and of a disconnect: the old state or the new one, and nothing that check cannot mend.
    for (n, micros) in (0..24).map(|n| (n, n as u64 / 2 * 700)) {
        let network = ["more", "lan"][n % 2];
        for verb in ["connect", "disconnect"] {
            let priority: &[&str] = if verb == "connect" { &["--gw-priority", "5"] } else { &[] };
            let words = [&["network", verb], priority, &[network, "web"]].concat();
            let running = world.spawn(words);
            std::thread::sleep(std::time::Duration::from_micros(micros));
            running.signal(9);
            drop(running.wait());
            way_out();
            world.minidocker(["system", "check", "--repair"]).ok();
            world.minidocker(["system", "check"]).ok();
            let pid = world.init(&world.minidocker(["inspect", "-f", "{{.Id}}", "web"]).text());
            let has = fs::read_to_string(format!("/proc/{pid}/net/dev")).expect("its links").contains("eth1");
            let when = format!("{verb} {network} killed after {micros} us");
            assert_eq!(networks(&world, "web")[network].is_object(), has, "{when}");
            assert_eq!(way_out(), if has { "eth1" } else { "eth0" }, "{when}");
            // Where the way out is the other machine's network, the host is no neighbour.
            if !has || network == "more" {
                let said = near(&world, "connect", "127.0.0.1", "8080");
                assert!(said.starts_with("web "), "{when}: `{said}`");
            }
        }
        world.minidocker(["network", "disconnect", "--force", network, "web"]).ok();
    }
    // Nobody else gets a port that leads nowhere for a while.
    world.minidocker(["network", "connect", "--gw-priority", "5", "lan", "web"]).ok();
    assert_eq!((way_out().as_str(), world.minidocker(["port", "web"]).text()), ("eth1", String::new()));
    let other = ["run", "--rm", "-p", "8080:80", "--rootfs", &root.overlay(), "/inside", "try"];
    world.minidocker(other).refuses(125, &["8080", "web"]);
    world.minidocker(["network", "disconnect", "lan", "web"]).ok();
    assert!(world.minidocker(["port", "web"]).text().contains("8080"));
    assert!(near(&world, "connect", "127.0.0.1", "8080").starts_with("web "));
    remove(&world, &["web"]);
    world.minidocker(["network", "rm", "lan"]).ok();
    drop(machine);
    drop_networks(&world, &["more"]);
}
