//! Rates and shares: what really goes over a link, in both directions, by real connections.

use minidocker_tests::{Rootfs, World, until};
use serde_json::{Value, json};

use super::{address_of, ip, remove};

/// A container that takes and gives.
fn serve(world: &World, root: &Rootfs, name: &str, options: &[&str]) -> String {
    let overlay = root.overlay();
    let mut words = vec!["--name", name, "--rootfs", &overlay];
    words.extend(options);
    words.extend(["/inside", "flow", "90"]);
    let id = world.detached(words);
    let address = address_of(world, &id);
    until("it listens", || {
        let inside = world.inside_path();
        let words = [inside.to_str().expect("text"), "ping-pong", &address, "90", "1"];
        world.program(words).run().out().contains("median_us")
    });
    id
}

/// Megabits a second from the world's "host" to an address.
fn towards(world: &World, address: &str, seconds: &str) -> f64 {
    let inside = world.inside_path();
    let words = [inside.to_str().expect("text"), "pour", address, "90", seconds];
    mbit(&world.program(words).run().json())
}

/// The same from a container to the host.
fn from(world: &World, name: &str, gateway: &str, seconds: &str) -> f64 {
    mbit(&world.minidocker(["exec", name, "/inside", "pour", gateway, "90", seconds]).json())
}

#[track_caller]
fn mbit(said: &Value) -> f64 {
    said["mbit"].as_f64().unwrap_or_else(|| panic!("megabits: {said}"))
}

/// So much within a second and a half, a burst included.
#[track_caller]
fn near(measured: f64, wanted: f64) {
    assert!((wanted * 0.7..wanted * 1.15).contains(&measured), "{measured} in the place of {wanted} mbit");
}

/// The bridge's address, where the "host" serves too.
fn gateway(world: &World) -> String {
    let shown = ip(world, &["-o", "-4", "addr", "show", "dev", world.bridge()]);
    let word = shown.split_whitespace().skip_while(|word| *word != "inet").nth(1).expect("an address");
    word.split('/').next().expect("a part").to_owned()
}

fn host_flow(world: &World) -> minidocker_tests::Running {
    let inside = world.inside_path();
    let running = world.program([inside.to_str().expect("text"), "flow", "90"]).spawn();
    running.until("listening");
    running
}

#[test]
fn a_link_carries_what_was_said_and_no_more() {
    let world = World::new();
    let root = world.rootfs_inside();
    let id = serve(&world, &root, "slow", &["--network-rate", "in=20mbit,out=5mbit"]);
    let _server = host_flow(&world);
    let (address, gateway) = (address_of(&world, &id), gateway(&world));
    near(towards(&world, &address, "1.5"), 20.0);
    near(from(&world, "slow", &gateway, "1.5"), 5.0);
    // While it runs: one of the two, then none.
    world.minidocker(["update", "--network-rate", "out=10mbit", "slow"]).ok();
    near(from(&world, "slow", &gateway, "1.5"), 10.0);
    near(towards(&world, &address, "1.5"), 20.0);
    let shown = world.minidocker(["inspect", "-f", "{{json .HostConfig.NetworkRate}}", "slow"]).json();
    assert_eq!(shown, json!({"In": "20mbit", "Out": "10mbit", "Burst": null}));
    let stats = world.minidocker(["stats", "--no-stream", "--format", "{{.NetRate}}", "slow"]).text();
    assert_eq!(stats, "20mbit / 10mbit");
    world.minidocker(["update", "--network-rate", "none", "slow"]).ok();
    assert!(towards(&world, &address, "0.5") > 100.0 && from(&world, "slow", &gateway, "0.5") > 100.0);
    remove(&world, &["slow"]);
}

#[test]
fn a_container_cannot_lift_its_own_limit_and_a_restart_keeps_it() {
    let world = World::new();
    let root = world.rootfs_inside();
    let options = ["--network-rate", "8mbit", "--restart", "always", "-v", "/usr/sbin:/usr/sbin:ro"];
    let id = serve(&world, &root, "kept", &options);
    let _server = host_flow(&world);
    let buckets = |world: &World, id: &str| {
        let outside = ip_tc(world, &["qdisc", "show", "dev", &format!("md{}", &id[..11])]);
        let pid = world.init(id).to_string();
        let words = ["nsenter", "--net", "--target", &pid, "tc", "qdisc", "show", "dev", "eth0"];
        let inside = world.program(words).run().text();
        [outside, inside].map(|text| text.contains("tbf") && text.contains("rate 8Mbit"))
    };
    assert_eq!(buckets(&world, &id), [true, true]);
    near(from(&world, "kept", &gateway(&world), "1.5"), 8.0);
    // Root within has not the capability.
    let status = world.minidocker(["exec", "kept", "/inside", "read", "/proc/self/status"]).text();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).expect("CapEff");
    let net_admin = 1_u64 << 12;
    assert_eq!(u64::from_str_radix(effective, 16).expect("hexadecimal") & net_admin, 0);
    // Its policy starts it again, with the limits.
    let before = world.init(&id);
    world.program(["kill", "-9", &before.to_string()]).run().ok();
    let pid = || world.minidocker(["inspect", "-f", "{{.State.Pid}}", "kept"]).text();
    until("it runs again", || !["0", &before.to_string()].contains(&pid().as_str()));
    until("it has its limits", || buckets(&world, &id) == [true, true]);
    remove(&world, &["kept"]);
}

#[test]
fn shares_are_kept_and_what_others_leave_is_borrowed() {
    let world = World::new();
    let root = world.rootfs_inside();
    // A share of what may carry anything is none.
    let share = |share: &str| {
        let overlay = root.overlay();
        let words = ["run", "--rm", "--network-share", share, "--rootfs", &overlay, "/inside", "true"];
        world.minidocker(words)
    };
    share("10mbit").refuses(125, &["no rate"]).hints("network update --rate");
    world.minidocker(["network", "update", "--rate", "40mbit", "default"]).ok();
    let large = serve(&world, &root, "large", &["--network-share", "25mbit"]);
    let small = serve(&world, &root, "small", &["--network-share", "5mbit"]);
    share("20mbit").refuses(125, &["40mbit", "30mbit"]);
    let [large, small] = [large, small].map(|id| address_of(&world, &id));
    // Alone it has all of it.
    near(towards(&world, &small, "1.5"), 40.0);
    // Together each has its own, and the rest is divided.
    let both = std::thread::scope(|scope| {
        let one = scope.spawn(|| towards(&world, &large, "2"));
        let other = scope.spawn(|| towards(&world, &small, "2"));
        (one.join().expect("a rate"), other.join().expect("a rate"))
    });
    assert!(both.0 >= 22.0 && both.1 >= 4.0 && both.0 > both.1 * 2.0 && both.0 + both.1 < 46.0, "{both:?}");
    // The other way too.
    let _server = host_flow(&world);
    let gateway = gateway(&world);
    near(from(&world, "large", &gateway, "1.5"), 40.0);
    // A total below what was promised is refused; without a total nothing is limited.
    world.minidocker(["network", "update", "--rate", "20mbit", "default"]).refuses(1, &["30mbit"]);
    world.minidocker(["update", "--network-share", "none", "large"]).ok();
    world.minidocker(["network", "update", "--rate", "none", "default"]).ok();
    assert!(towards(&world, &small, "0.5") > 100.0);
    remove(&world, &["large", "small"]);
    let left = ip_tc(&world, &["qdisc", "show"]);
    assert!(!left.contains("htb") && !left.contains("ingress"), "{left}");
}

/// A network's rate is a network's for good, and laid on whenever its bridge is made.
#[test]
fn a_networks_rate_survives_a_reboot() {
    let world = World::new();
    let root = world.rootfs_inside();
    world.minidocker(["network", "create", "web"]).ok();
    let rate = |network: &str, rate: &str| {
        world.minidocker(["network", "update", "--rate", rate, network]).ok();
    };
    rate("default", "40mbit");
    rate("web", "30mbit");
    let id = world.minidocker(["network", "inspect", "-f", "{{.Id}}", "web"]).text();
    let bridges = [world.bridge().to_owned(), format!("md-{}", &id[..12])];
    let start = || {
        serve(&world, &root, "usual", &[]);
        serve(&world, &root, "made", &["--network", "web"]);
        let shown = |bridge: &String| ip_tc(&world, &["class", "show", "dev", bridge]);
        assert!(shown(&bridges[0]).contains("ceil 40Mbit") && shown(&bridges[1]).contains("ceil 30Mbit"));
    };
    start();
    assert_eq!(world.go_down(), 2);
    // What a machine loses besides.
    for link in super::links(&world).iter().filter(|link| bridges.contains(link) || link.ends_with('i')) {
        ip(&world, &["link", "del", link]);
    }
    world.minidocker(["rm", "-f", "usual", "made"]).ok();
    start();
    for (network, shown) in [("bridge", "40mbit"), ("web", "30mbit")] {
        let found = world.minidocker(["network", "inspect", "-f", "{{.Rate}}", network]).text();
        assert_eq!(found, shown, "{network}");
    }
    remove(&world, &["usual", "made"]);
    rate("default", "none");
    world.minidocker(["network", "rm", "web"]).ok();
    let left = ip_tc(&world, &["qdisc", "show"]);
    assert!(!left.contains("htb") && !left.contains("ingress"), "{left}");
    // It went with its network.
    let totals = std::fs::read_dir(world.root().join("networks/totals")).expect("where they are");
    assert_eq!(totals.count(), 0);
}

/// A share goes with its container, whose address the next one gets.
#[test]
fn a_share_goes_with_its_container() {
    let world = World::new();
    let root = world.rootfs_inside();
    world.minidocker(["network", "update", "--rate", "40mbit", "default"]).ok();
    let classes = |world: &World| ip_tc(world, &["class", "show", "dev", world.bridge()]).lines().count();
    let id = serve(&world, &root, "first", &["--network-share", "10mbit"]);
    assert_eq!(classes(&world), 3);
    // However it ends.
    world.program(["kill", "-9", &world.init(&id).to_string()]).run().ok();
    until("it has ended", || world.minidocker(["ps", "-q"]).text().is_empty());
    // Its monitor may still be at it.
    until("its share is gone", || classes(&world) == 2);
    remove(&world, &["first"]);
    world.minidocker(["network", "update", "--rate", "none", "default"]).ok();
}

#[test]
fn bad_rates_are_refused_in_one_line() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let refused = |options: &[&str], words: &[&str]| {
        let mut all = vec!["run", "--rm"];
        all.extend(options);
        all.extend(["--rootfs", &root, "/inside", "true"]);
        world.minidocker(all).refuses(125, words);
    };
    for bad in ["10mbps", "x", "in=1mbit,in=2mbit", "up=1mbit", "1bit", "in=10mbit,burst=1", "-1mbit"] {
        refused(&["--network-rate", bad], &["--network-rate", bad.split(',').next_back().unwrap_or(bad)]);
    }
    for mode in ["none", "host"] {
        refused(&["--network", mode, "--network-rate", "10mbit"], &["--network-rate", "--network bridge"]);
    }
    world.minidocker(["network", "update", "--rate", "1mbit", "nowhere"]).refuses(1, &["nowhere"]);
    world.minidocker(["network", "update", "default"]).refuses(1, &["--rate"]);
}

fn ip_tc(world: &World, words: &[&str]) -> String {
    world.program(["tc"].into_iter().chain(words.iter().copied())).run().text()
}
