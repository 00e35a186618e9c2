//! Published ports: from another machine, from the host, from a neighbour, from the container itself; whose a port is.

use std::collections::BTreeSet;
use std::fs;

pub(crate) use minidocker_tests::{FAR, HOST, Machine};
use minidocker_tests::{Rootfs, Running, World, until};
use serde_json::json;

use super::{address_of, remove};

/// A container that says who asks, and answers by TCP and UDP on port 80.
pub(crate) fn serve(world: &World, root: &Rootfs, name: &str, options: &[&str]) -> String {
    let overlay = root.overlay();
    let mut words = vec!["--name", name, "--hostname", name, "--rootfs", &overlay];
    words.extend(options);
    words.extend(["/inside", "who", "80"]);
    let id = world.detached(words);
    let address = address_of(world, &id);
    until("it listens", || try_host(world, "connect", &address, 80).starts_with(name));
    id
}

/// Asked from the world's "host"; what it says where nobody answers is not told.
fn try_host(world: &World, how: &str, address: &str, port: u16) -> String {
    let (inside, port) = (world.inside_path(), port.to_string());
    world.program([inside.to_str().expect("text"), how, address, &port, "near"]).run().out()
}

fn ask_host(world: &World, how: &str, address: &str, port: u16) -> String {
    try_host(world, how, address, port).trim_end().to_owned()
}

/// The elements of the two maps, without what their set is.
pub(crate) fn elements(world: &World) -> String {
    let text = world.program(["nft", "list", "ruleset"]).run().ok().out();
    let of = |map: &str| {
        let start = text.find(&format!("map {map} {{")).unwrap_or(text.len());
        let rest = &text[start..];
        let end = rest.find("\n\t}").unwrap_or(rest.len());
        rest[..end].split_once("elements = {").map_or("", |(_, elements)| elements).to_owned()
    };
    of("ports") + &of("ports_any")
}

#[test]
fn a_port_is_reached_from_everywhere_and_the_asker_is_known() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    let web = serve(&world, &root, "web", &["-p", "8080:80", "-p", "8080:80/udp"]);
    let own = address_of(&world, &web);
    // From outside, with the address that it really has.
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    let udp = machine.inside(&["connect-udp", HOST, "8080", "far"]).wait().text();
    assert_eq!(udp, format!("web {FAR} far"));
    // From the host itself, by its address and by 127.0.0.1, which cannot be the asker's in the container.
    assert_eq!(ask_host(&world, "connect", HOST, 8080), format!("web {HOST} near"));
    let gateway = own.rsplitn(3, '.').nth(2).map(|net| format!("{net}.0.1")).unwrap();
    for how in ["connect", "connect-udp"] {
        assert_eq!(ask_host(&world, how, "127.0.0.1", 8080), format!("web {gateway} near"));
    }
    assert_eq!(ask_host(&world, "connect", &gateway, 8080), format!("web {gateway} near"));
    // From a neighbour, and from itself: the answer has to come back the same way.
    let overlay = root.overlay();
    let words = ["run", "--rm", "--rootfs", &overlay, "/inside", "connect", HOST, "8080", "beside"];
    // Where bridges are filtered too (br_netfilter, which other engines load), the packets never leave the bridge, and
    // the neighbour is seen as it is.
    let filter = |on: &str| {
        let _ = world.inside_network(|| fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", on));
    };
    filter("1");
    let beside = world.minidocker(words).text();
    assert!(beside.starts_with("web ") && beside.ends_with(" beside"), "{beside}");
    filter("0");
    assert_eq!(world.minidocker(words).text(), format!("web {gateway} beside"));
    let words = ["exec", "web", "/inside", "connect", HOST, "8080", "self"];
    assert_eq!(world.minidocker(words).text(), format!("web {gateway} self"));
    remove(&world, &["web"]);
    assert_eq!(elements(&world), "");
    // Nobody is there any more, and that is said at once.
    assert_eq!(try_host(&world, "connect", HOST, 8080), "");
    assert_eq!(try_host(&world, "connect", "127.0.0.1", 8080), "");
}

#[test]
fn what_is_published_is_told() {
    let world = World::new();
    let root = world.rootfs_inside();
    let options =
        ["-p", "127.0.0.1:8080:80", "-p", "7000-7002:90-92/udp", "--expose", "443", "-p", "9000:80"];
    let id = serve(&world, &root, "web", &options);
    let ps = |format: &str| world.minidocker(["ps", "--format", format]).text();
    assert_eq!(
        ps("{{.Ports}}"),
        "443/tcp, 0.0.0.0:9000->80/tcp, 127.0.0.1:8080->80/tcp, 0.0.0.0:7000->90/udp, 0.0.0.0:7001->91/udp, \
         0.0.0.0:7002->92/udp"
    );
    let port = |words: &[&str]| world.minidocker(["port", "web"].iter().chain(words)).ok().out();
    assert_eq!(
        port(&[]),
        "80/tcp -> 0.0.0.0:9000\n80/tcp -> 127.0.0.1:8080\n90/udp -> 0.0.0.0:7000\n91/udp -> 0.0.0.0:7001\n\
         92/udp -> 0.0.0.0:7002\n"
    );
    assert_eq!(port(&["91/udp"]), "0.0.0.0:7001\n");
    assert_eq!(port(&["80"]), "0.0.0.0:9000\n127.0.0.1:8080\n");
    world.minidocker(["port", "web", "91"]).refuses(1, &["no public port 91 published for web"]);
    let facts = &world.minidocker(["inspect", "web"]).json()[0];
    let host = |address: &str, port: &str| json!({"HostIp": address, "HostPort": port});
    assert_eq!(
        facts["NetworkSettings"]["Ports"],
        json!({
            "80/tcp": [host("0.0.0.0", "9000"), host("127.0.0.1", "8080")],
            "90/udp": [host("0.0.0.0", "7000")],
            "91/udp": [host("0.0.0.0", "7001")],
            "92/udp": [host("0.0.0.0", "7002")],
            "443/tcp": null,
        })
    );
    assert_eq!(
        facts["HostConfig"]["PortBindings"]["80/tcp"],
        json!([host("127.0.0.1", "8080"), host("", "9000")])
    );
    assert_eq!(facts["Config"]["ExposedPorts"]["443/tcp"], json!({}));
    for (filter, there) in
        [("publish=80", true), ("publish=443", false), ("expose=443", true), ("expose=91/udp", true)]
    {
        let found = world.minidocker(["ps", "-q", "--no-trunc", "--filter", filter]).text();
        assert_eq!(found == id, there, "{filter}");
    }
    world.minidocker(["stop", "-t", "0", "web"]).ok();
    assert_eq!(world.minidocker(["ps", "-a", "--format", "{{.Ports}}"]).text(), "");
    assert_eq!((port(&[]), elements(&world)), (String::new(), String::new()));
    world.minidocker(["start", "web"]).ok();
    assert_eq!(port(&["91/udp"]), "0.0.0.0:7001\n");
    remove(&world, &["web"]);
}

#[test]
fn free_ports_are_chosen() {
    let world = World::new();
    let root = world.rootfs_inside();
    serve(&world, &root, "any", &["-p", "80"]);
    let place = world.minidocker(["port", "any", "80"]).text();
    let port: u16 = place.strip_prefix("0.0.0.0:").expect("any address").parse().unwrap();
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let range: Vec<u16> = range.split_ascii_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!((range[0]..=range[1]).contains(&port), "{port}");
    assert!(ask_host(&world, "connect", "127.0.0.1", port).starts_with("any "));
    serve(&world, &root, "all", &["-P", "--expose", "80", "--expose", "90-91/udp", "-p", "7000:91/udp"]);
    let told = world.minidocker(["port", "all"]).ok().out();
    let places: Vec<(&str, &str)> = told.lines().filter_map(|line| line.split_once(" -> 0.0.0.0:")).collect();
    assert_eq!(places.iter().map(|(port, _)| *port).collect::<Vec<_>>(), ["80/tcp", "90/udp", "91/udp"]);
    assert_eq!(places[2].1, "7000");
    serve(&world, &root, "first", &["-p", "127.0.0.1:7100-7101:80"]);
    serve(&world, &root, "second", &["-p", "127.0.0.1:7100-7101:80"]);
    assert_eq!(world.minidocker(["port", "first", "80"]).text(), "127.0.0.1:7100");
    assert_eq!(world.minidocker(["port", "second", "80"]).text(), "127.0.0.1:7101");
    let overlay = root.overlay();
    let words = ["run", "--rm", "-p", "127.0.0.1:7100-7101:80", "--rootfs", &overlay, "/inside", "true"];
    world.minidocker(words).refuses(125, &["no tcp port from 7100 to 7101 is free"]);
    remove(&world, &["any", "all", "first", "second"]);
    assert_eq!(elements(&world), "");
}

#[test]
fn a_taken_port_is_refused_with_its_owner() {
    let world = World::new();
    let root = world.rootfs_inside();
    serve(&world, &root, "owner", &["-p", "8080:80"]);
    let overlay = root.overlay();
    // Links go a moment after their containers.
    let left = || world.leaks().into_iter().filter(|left| left.starts_with("state")).collect::<Vec<_>>();
    let refused = |port: &str, words: &[&str]| {
        let before = left();
        let command = ["run", "--rm", "--name", "late", "-p", port, "--rootfs", &overlay, "/inside", "true"];
        world.minidocker(command).refuses(125, words);
        assert_eq!(left(), before, "-p {port}");
    };
    refused("8080:90", &["8080/tcp", "taken", "container owner"]);
    refused("127.0.0.1:8080:90", &["8080/tcp", "taken", "container owner"]);
    refused("8070-8090:70-90", &["8080/tcp", "container owner"]);
    // A program of the host, by name and number.
    let server = super::host_server(&world, 9090);
    refused("9090:80", &["9090/tcp", "taken", "inside", &format!("(pid {})", server.pid())]);
    drop(server);
    refused("203.0.113.9:80:80", &["203.0.113.9", "no such address"]);
    refused("[::1]:80:80", &["[::1]:80:80", "no IPv6 address"]);
    refused("80:80:80", &["80:80:80"]);
    refused("80-81:80-83", &["80-81:80-83", "lengths"]);
    // Another protocol is another port.
    let command = ["run", "--rm", "-p", "8080:80/udp", "--rootfs", &overlay, "/inside", "true"];
    world.minidocker(command).ok();
    // The one who had it goes, and it can be had.
    remove(&world, &["owner"]);
    let command = ["run", "--rm", "-p", "8080:80", "--rootfs", &overlay, "/inside", "true"];
    world.minidocker(command).ok();
    let command = ["run", "--rm", "--network", "host", "-p", "80", "--rootfs", &overlay, "/inside", "true"];
    assert!(world.minidocker(command).ok().err().contains("--publish is ignored with --network host"));
}

/// Nothing is left of a plan, and the plan says it all.
#[test]
fn a_plan_publishes_nothing() {
    let world = World::new();
    let overlay = world.rootfs_inside().overlay();
    let words = ["run", "--rm", "--dry-run", "-p", "8080:80", "--rootfs", &overlay, "/inside", "true"];
    let plan = world.minidocker(words).ok().out();
    for step in ["network.rules", "network.localnet", "network.publish", "network.unpublish"] {
        assert!(plan.contains(step), "{step} in {plan}");
    }
    assert!(plan.contains("0.0.0.0:8080->80/tcp"), "{plan}");
    assert_eq!(elements(&world), "");
    assert_eq!(fs::read_to_string(world.run_root().join("ports")).unwrap_or_default(), "");
    let words = ["run", "--rm", "--explain=shell", "-p", "8080:80", "--rootfs", &overlay, "/inside", "true"];
    let script = world.minidocker(words).ok().out();
    assert!(script.contains("add element inet") && script.contains("tcp . 8080 : "), "{script}");
}

#[test]
fn many_at_once_get_ports_of_their_own_and_give_them_back() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    let start = |n: usize| {
        let name = format!("c{n}");
        world.spawn(["run", "-d", "--name", &name, "-p", "80", "--rootfs", &overlay, "/inside", "who", "80"])
    };
    let all: Vec<Running> = (0..20).map(start).collect();
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    all.into_iter().for_each(|running| drop(running.wait().text()));
    let ports: BTreeSet<String> =
        names.iter().map(|name| world.minidocker(["port", name, "80"]).text()).collect();
    assert_eq!(ports.len(), 20, "{ports:?}");
    for name in &names {
        let place = world.minidocker(["port", name, "80"]).text();
        let port: u16 = place.rsplit(':').next().unwrap().parse().unwrap();
        until("it answers", || ask_host(&world, "connect", "127.0.0.1", port).contains("near"));
    }
    world.minidocker(["rm", "-f"].into_iter().chain(names.iter().map(String::as_str))).ok();
    assert_eq!(elements(&world), "");
    world.expect_nothing_left();
}
