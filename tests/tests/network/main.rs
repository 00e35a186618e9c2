//! The network: a cable from every container to a bridge of its network, an address, routes; real TCP between host,
//! container and neighbour. "The host" is each world's own network namespace.

mod dns;
mod firewalls;
mod flows;
mod made;
mod ports;
mod reach;
mod rules;
mod shaping;
mod show;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;

use minidocker_tests::{Rootfs, Running, World};
use serde_json::{Value, json};

/// The address of a container's interface, as `172.17.0.2/16`, from its facts.
#[track_caller]
fn address(facts: &Value) -> String {
    let all = facts["interfaces"]["eth0"]["addresses"].as_array().expect("addresses of eth0");
    let found: Vec<&str> = all.iter().filter_map(Value::as_str).filter(|text| text.contains('.')).collect();
    assert_eq!(found.len(), 1, "one IPv4 address: {all:?}");
    found[0].to_owned()
}

/// The address alone.
fn host_part(address: &str) -> &str {
    address.split('/').next().unwrap_or_default()
}

/// The address that a detached container has.
#[track_caller]
fn address_of(world: &World, id: &str) -> String {
    // No command tells it yet; the kernel's own table of the container's network namespace does.
    let text = fs::read_to_string(format!("/proc/{}/net/fib_trie", world.init(id))).expect("its addresses");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let local = |pair: &&[&str]| pair[1].starts_with("/32 host LOCAL") && !pair[0].starts_with("|-- 127.");
    let found = lines.windows(2).find(local).expect("an address of its own");
    found[0].trim_start_matches("|-- ").to_owned()
}

fn serve(world: &World, root: &Rootfs, name: &str, options: &[&str]) -> String {
    let overlay = root.overlay();
    let mut words = vec!["--name", name, "--hostname", name, "--rootfs", &overlay];
    words.extend(options);
    words.extend(["/inside", "listen", "80"]);
    let id = world.detached(words);
    // It answers once it listens; a refused connection is no lost packet.
    let address = address_of(world, &id);
    minidocker_tests::until("it listens", || ask(world, &address, 80, "up?").contains(name));
    id
}

/// A line to a server and its answer, from the world's "host".
fn ask(world: &World, address: &str, port: u16, text: &str) -> String {
    let inside = world.inside_path();
    let port = port.to_string();
    world.program([inside.to_str().expect("text"), "connect", address, &port, text]).run().out()
}

/// The same from a container.
fn ask_from(world: &World, root: &Rootfs, options: &[&str], address: &str, port: u16) -> String {
    let (overlay, port) = (root.overlay(), port.to_string());
    let mut words = vec!["run", "--rm", "--rootfs", &overlay];
    words.extend(options);
    words.extend(["/inside", "connect", address, &port, "hello"]);
    world.minidocker(words).text()
}

/// A server in the world's "host".
fn host_server(world: &World, port: u16) -> Running {
    let inside = world.inside_path();
    let port = port.to_string();
    let running = world.program([inside.to_str().expect("text"), "listen", &port]).spawn();
    running.until("listening");
    running
}

/// Links of the world's "host", without its loopback.
fn links(world: &World) -> BTreeSet<String> {
    let table = world.inside_network(|| fs::read_to_string("/proc/thread-self/net/dev")).expect("links");
    let names = table.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    names.filter(|name| *name != "lo").map(str::to_owned).collect()
}

fn ip(world: &World, words: &[&str]) -> String {
    world.program(["ip"].into_iter().chain(words.iter().copied())).run().text()
}

/// Gives the world's "host" a link of its own, `uplink`, with this address.
fn uplink(world: &World, address: &str) {
    ip(world, &["link", "add", "uplink", "type", "veth", "peer", "name", "far"]);
    ip(world, &["addr", "add", address, "dev", "uplink"]);
    ip(world, &["link", "set", "uplink", "up"]);
    ip(world, &["link", "set", "far", "up"]);
}

fn remove(world: &World, names: &[&str]) {
    world.minidocker(["rm", "-f"].into_iter().chain(names.iter().copied())).ok();
}

#[test]
fn two_listen_on_the_same_port_and_a_client_on_the_host_talks_to_both() {
    let world = World::new();
    let root = world.rootfs_inside();
    let (one, two) = (serve(&world, &root, "one", &[]), serve(&world, &root, "two", &[]));
    let (first, second) = (address_of(&world, &one), address_of(&world, &two));
    assert_ne!(first, second);
    assert_eq!(ask(&world, &first, 80, "hello"), "one 1 hello\n");
    assert_eq!(ask(&world, &second, 80, "hello"), "two 1 hello\n");
    remove(&world, &["one", "two"]);
}

#[test]
fn container_to_host_and_container_to_neighbour() {
    let world = World::new();
    let root = world.rootfs_inside();
    let id = serve(&world, &root, "neighbour", &[]);
    let facts = world.facts([""; 0]);
    let gateway =
        facts["routes"].as_array().unwrap().iter().find(|route| route["destination"] == "0.0.0.0/0");
    let gateway = gateway.expect("a default route")["gateway"].as_str().unwrap().to_owned();
    let server = host_server(&world, 8080);
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let answer = ask_from(&world, &root, &[], &gateway, 8080);
    assert_eq!(answer, format!("{name} {} hello", server.pid()));
    assert_eq!(ask_from(&world, &root, &[], &address_of(&world, &id), 80), "neighbour 1 hello");
    remove(&world, &["neighbour"]);
}

/// A connection whose other side no longer answers keeps a network namespace alive for more than a minute, and the
/// container's interface with it, after the last process is gone.
#[test]
fn a_connection_that_nobody_answers_keeps_no_link() {
    let world = World::new();
    let root = world.rootfs_inside();
    let id = serve(&world, &root, "half-open", &[]);
    let address = address_of(&world, &id);
    let client = world.inside_network(|| TcpStream::connect((address.as_str(), 80))).expect("a connection");
    ip(&world, &["link", "set", &format!("md{}", &id[..11]), "nomaster"]);
    remove(&world, &["half-open"]);
    world.expect_nothing_left();
    drop(client);
}

#[test]
fn the_interface_is_as_promised() {
    let world = World::new();
    let facts = world.facts(["--hostname", "administrator"]);
    let interfaces = facts["interfaces"].as_object().unwrap();
    assert_eq!(interfaces.keys().collect::<Vec<_>>(), ["eth0", "lo"]);
    assert_eq!(interfaces["lo"]["flags"], json!(["up", "loopback", "running"]));
    assert_eq!(interfaces["lo"]["addresses"][0], "127.0.0.1/8");
    assert_eq!(interfaces["eth0"]["flags"], json!(["up", "broadcast", "running", "multicast"]));
    assert_eq!(interfaces["eth0"]["mtu"], 1500);
    let address = address(&facts);
    let octets: Vec<u8> = host_part(&address).split('.').map(|octet| octet.parse().unwrap()).collect();
    let mac = format!("02:42:{:02x}:{:02x}:{:02x}:{:02x}", octets[0], octets[1], octets[2], octets[3]);
    assert_eq!(interfaces["eth0"]["mac"], mac.as_str(), "Docker's: the address is in it");
    let routes = facts["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 2, "{routes:?}");
    // The bridge is the gateway, and the host has the address.
    let gateway = routes.iter().find_map(|route| route["gateway"].as_str()).unwrap();
    assert!(ip(&world, &["-o", "addr", "show", "dev", world.bridge()]).contains(&format!(" {gateway}/16 ")));
    let facts = world.facts(["--mac-address", "92:d0:c6:0a:29:33"]);
    assert_eq!(facts["interfaces"]["eth0"]["mac"], "92:d0:c6:0a:29:33");
    let root = world.rootfs_inside();
    for bad in ["x", "92:d0:c6:0a:29", "01:00:5e:00:00:01", "00:00:00:00:00:00"] {
        let words = ["run", "--rm", "--mac-address", bad, "--rootfs", &root.overlay(), "/inside", "true"];
        world.minidocker(words).refuses(125, &[bad]);
    }
}

#[test]
fn an_address_of_the_default_network() {
    let world = World::new();
    let root = world.rootfs_inside();
    let any = address(&world.facts([""; 0]));
    let (net, prefix) = (host_part(&any).rsplitn(3, '.').nth(2).unwrap(), any.split('/').nth(1).unwrap());
    assert_eq!(prefix, "16");
    let wanted = format!("{net}.77.7");
    let id = serve(&world, &root, "wanted", &["--ip", &wanted]);
    assert_eq!(address_of(&world, &id), wanted);
    assert_eq!(ask(&world, &wanted, 80, "x"), "wanted 1 x\n");
    let refused = |address: &str, words: &[&str]| {
        let command = ["run", "--rm", "--ip", address, "--rootfs", &root.overlay(), "/inside", "true"];
        world.minidocker(command).refuses(125, words);
    };
    // Taken: by whom.
    refused(&wanted, &["taken", "wanted"]);
    refused(&format!("{net}.0.1"), &["taken", world.bridge()]);
    refused(&format!("{net}.0.0"), &[&format!("{net}.0.0")]);
    refused(&format!("{net}.255.255"), &[&format!("{net}.255.255")]);
    for bad in ["1.2.3", "1.2.3.4/33", "::1", "300.1.1.1", "x", "127.0.0.5", "224.0.0.1", "0.0.0.0"] {
        refused(bad, &[bad]);
    }
    // Given back with its container.
    remove(&world, &["wanted"]);
    let facts = world.facts(["--ip", &wanted]);
    assert_eq!(address(&facts), format!("{wanted}/16"));
}

#[test]
fn any_other_address_gets_a_network_of_its_own() {
    let world = World::new();
    let root = world.rootfs_inside();
    for (wanted, address_seen, network) in
        [("10.0.0.1", "10.0.0.1/24", "10.0.0.0/24"), ("10.0.0.1/8", "10.0.0.1/8", "10.0.0.0/8")]
    {
        let before = links(&world);
        let facts = world.facts(["--ip", wanted]);
        assert_eq!(address(&facts), address_seen);
        let routes = facts["routes"].as_array().unwrap();
        assert!(routes.iter().any(|route| route["destination"] == network), "{routes:?}");
        let gateway = routes.iter().find_map(|route| route["gateway"].as_str()).expect("a default route");
        assert_ne!(gateway, "10.0.0.1");
        // The small network's bridge went with its last container.
        minidocker_tests::until("the links are as before", || links(&world) == before);
    }
    let one = serve(&world, &root, "one", &["--ip", "10.0.0.1/8"]);
    assert_eq!(address_of(&world, &one), "10.0.0.1");
    assert_eq!(ask(&world, "10.0.0.1", 80, "x"), "one 1 x\n");
    // A second one in the same small network, neighbours at once.
    let two = serve(&world, &root, "two", &["--ip", "10.0.0.2/8"]);
    assert_eq!(address_of(&world, &two), "10.0.0.2");
    assert_eq!(ask_from(&world, &root, &["--ip", "10.9.9.9/8"], "10.0.0.2", 80), "two 1 hello");
    // From the default network it is reached by the host, which is both networks' gateway, only if that forwards.
    let bridges = |world: &World| links(world).into_iter().filter(|name| name.starts_with("mdn")).count();
    assert_eq!(bridges(&world), 1);
    remove(&world, &["one"]);
    assert_eq!(bridges(&world), 1, "the other still needs it");
    assert_eq!(ask(&world, "10.0.0.2", 80, "x"), "two 1 x\n");
    remove(&world, &["two"]);
    minidocker_tests::until("its bridge is gone", || bridges(&world) == 0);
}

#[test]
fn what_clashes_is_refused_with_the_owners_name_and_leaves_nothing() {
    let world = World::new();
    let root = world.rootfs_inside();
    serve(&world, &root, "owner", &["--ip", "10.1.2.3/16"]);
    let refused = |address: &str, words: &[&str]| {
        let before = (links(&world), world.leaks());
        let command = [
            "run",
            "--rm",
            "--name",
            "late",
            "--ip",
            address,
            "--rootfs",
            &root.overlay(),
            "/inside",
            "true",
        ];
        world.minidocker(command).refuses(125, words);
        assert_eq!((links(&world), world.leaks()), before, "--ip {address}");
    };
    refused("10.1.2.3/16", &["10.1.2.3", "taken", "owner"]);
    // Networks that overlap without being the same.
    refused("10.1.2.9/24", &["10.1.2.0/24", "overlaps", "10.1.0.0/16"]);
    refused("10.9.9.9/8", &["10.0.0.0/8", "overlaps", "10.1.0.0/16"]);
    // A route of the host that is none of minidocker's.
    uplink(&world, "192.168.50.1/24");
    refused("192.168.50.7", &["192.168.50.0/24", "overlaps", "uplink"]);
    refused("192.168.1.1/16", &["192.168.0.0/16", "overlaps", "192.168.50.0/24", "uplink"]);
    // A default route is in nobody's way.
    ip(&world, &["route", "add", "default", "via", "192.168.50.254"]);
    assert_eq!(address(&world.facts(["--ip", "10.200.0.1"])), "10.200.0.1/24");
    ip(&world, &["link", "del", "uplink"]);
    assert_eq!(address(&world.facts(["--ip", "192.168.50.7"])), "192.168.50.7/24");
    remove(&world, &["owner"]);
}

#[test]
fn the_default_network_keeps_clear_of_the_hosts_routes() {
    let world = World::new();
    let first = address(&world.facts([""; 0]));
    drop(world);
    // The same place is taken on another host: another subnet is chosen.
    let world = World::new();
    uplink(&world, &format!("{}/16", host_part(&first)));
    let second = address(&world.facts([""; 0]));
    let net = |address: &str| address.rsplitn(3, '.').nth(2).map(str::to_owned);
    assert_ne!(net(&first), net(&second), "{first} and {second}");
    // Chosen by the user.
    ip(&world, &["link", "del", world.bridge()]);
    let root = world.rootfs_inside().overlay();
    let run_root = world.directory().join("run2");
    let words = ["--run-root", run_root.to_str().unwrap(), "--bridge", "chosen0", "--subnet", "10.77.0.0/24"];
    let tail = ["run", "--rm", "--rootfs", &root, "/inside", "facts"];
    let third = address(&world.minidocker(words.into_iter().chain(tail)).json());
    assert!(third.starts_with("10.77.0.") && third.ends_with("/24"), "{third}");
    ip(&world, &["link", "del", "chosen0"]);
    ip(&world, &["link", "del", "uplink"]);
}

#[test]
fn no_network_the_hosts_and_anothers() {
    let world = World::new();
    let root = world.rootfs_inside();
    let facts = world.facts(["--network", "none"]);
    assert_eq!(facts["interfaces"].as_object().unwrap().keys().collect::<Vec<_>>(), ["lo"]);
    assert_eq!(facts["interfaces"]["lo"]["flags"], json!(["up", "loopback", "running"]));
    assert_eq!(facts["routes"], json!([]));
    let server = host_server(&world, 90);
    let answer = ask_from(&world, &root, &["--network", "host"], "127.0.0.1", 90);
    assert!(answer.ends_with(&format!(" {} hello", server.pid())), "{answer}");
    let id = serve(&world, &root, "other", &["--add-host", "db:10.1.1.1"]);
    assert_eq!(ask_from(&world, &root, &["--network", "container:other"], "127.0.0.1", 80), "other 1 hello");
    let facts = world.facts(["--network", &format!("container:{id}")]);
    assert_eq!(host_part(&address(&facts)), address_of(&world, &id));
    // As with Docker: its host name and its files of names as well.
    assert!(facts["hosts"].as_str().unwrap().contains("10.1.1.1\tdb"), "{}", facts["hosts"]);
    assert_eq!(facts["hostname"], "other");
    remove(&world, &["other"]);
    for (options, word) in [
        (&["--network", "none", "--ip", "10.0.0.1"][..], "--ip"),
        (&["--network", "host", "--mac-address", "92:d0:c6:0a:29:33"], "--mac-address"),
        (&["--network", "container:x", "--hostname", "y"], "--hostname"),
        (&["--network", "nonsense"], "nonsense"),
    ] {
        let overlay = root.overlay();
        let words = ["run", "--rm", "--rootfs", &overlay].into_iter().chain(options.iter().copied());
        world.minidocker(words.chain(["/inside", "true"])).refuses(125, &[word]);
    }
}

#[test]
fn names_and_resolver() {
    let world = World::new();
    let options = [
        "--hostname",
        "web",
        "--add-host",
        "db:10.1.1.1",
        "--add-host",
        "v6:fe80::1",
        "--add-host",
        "gate:host-gateway",
        "--dns",
        "9.9.9.9",
        "--dns",
        "1.1.1.1",
        "--dns-search",
        "example.org",
        "--dns-option",
        "ndots:2",
    ];
    let facts = world.facts(options);
    let gateway =
        facts["routes"].as_array().unwrap().iter().find_map(|route| route["gateway"].as_str()).unwrap();
    let own = format!("{}\tweb", host_part(&address(&facts)));
    let hosts = facts["hosts"].as_str().unwrap();
    for line in [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.1.1.1\tdb",
        "fe80::1\tv6",
        &format!("{gateway}\tgate"),
        &own,
    ] {
        assert_eq!(hosts.lines().filter(|have| *have == line).count(), 1, "`{line}` in {hosts}");
    }
    assert_eq!(facts["etc_hostname"], "web\n");
    // Its monitor answers, and asks those that were given.
    let resolver = facts["resolv_conf"].as_str().unwrap();
    assert!(
        resolver.ends_with("\nnameserver 127.0.0.11\nsearch example.org\noptions ndots:2\n"),
        "{resolver}"
    );
    // The container's own: it may write them, and nothing of the host changes.
    let host = fs::read("/etc/hosts").ok();
    let root = world.rootfs_busybox();
    let words =
        ["run", "--rm", "--rootfs", &root.overlay(), "sh", "-c", "echo x > /etc/hosts; cat /etc/hosts"];
    world.minidocker(words).prints("x\n");
    assert_eq!(fs::read("/etc/hosts").ok(), host);
    // With no network nobody answers: the host's servers stand there, but none that only the host's loopback has.
    let facts = world.facts(["--network", "none"]);
    let resolver = facts["resolv_conf"].as_str().unwrap();
    assert!(!resolver.contains("nameserver 127."), "{resolver}");
    for bad in [["--add-host", "nocolon"], ["--add-host", "x:y"], ["--dns", "ns.example.org"]] {
        let words = ["run", "--rm", "--rootfs", &root.overlay(), bad[0], bad[1], "true"].map(str::to_owned);
        world.minidocker(words).refuses(125, &[bad[1]]);
    }
}

/// A bridge's port learns to forward some time after its cable is plugged in: the program must not start before, or
/// its first packet is lost and comes again a second later.
#[test]
fn many_at_once_talk_at_once() {
    let world = World::new();
    let root = world.rootfs_inside();
    let facts = world.facts([""; 0]);
    let gateway =
        facts["routes"].as_array().unwrap().iter().find_map(|route| route["gateway"].as_str()).unwrap();
    let server = host_server(&world, 8080);
    let overlay = root.overlay();
    let start = || {
        let words = ["run", "--rm", "--rootfs", &overlay, "/inside", "connect-and-count", gateway, "8080"];
        world.spawn(words)
    };
    let lost_nothing = |running: Running| {
        let output = running.wait().ok();
        assert!(output.out().ends_with(" hello\nsent again: 0\n"), "{output:?}");
    };
    let all: Vec<Running> = (0..24).map(|_| start()).collect();
    all.into_iter().for_each(lost_nothing);
    // And one alone, when nothing else runs.
    (0..10).for_each(|_| lost_nothing(start()));
    drop(server);
}

#[test]
fn addresses_are_not_given_twice_and_come_back() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    let start = |_| world.spawn(["run", "-d", "--rootfs", &overlay, "/inside", "pause"]);
    let all: Vec<Running> = (0..16).map(start).collect();
    let ids: Vec<String> = all.into_iter().map(|running| running.wait().text()).collect();
    let held: BTreeSet<String> = ids.iter().map(|id| address_of(&world, id)).collect();
    assert_eq!(held.len(), 16, "an address of its own each: {held:?}");
    world.minidocker(["rm", "-f"].into_iter().chain(ids.iter().map(String::as_str))).ok();
    world.expect_nothing_left();
    // A network with room for few: 10.5.5.0/30 has two addresses, one is the gateway's.
    let one =
        world.detached(["--name", "one", "--ip", "10.5.5.1/30", "--rootfs", &overlay, "/inside", "pause"]);
    let words = ["run", "--rm", "--ip", "10.5.5.2/30", "--rootfs", &overlay, "/inside", "true"];
    world.minidocker(words).refuses(125, &["10.5.5.2", "taken"]);
    world.minidocker(["rm", "-f", &one]).ok();
}
