//! Firewalls of the host as distributions package them: what the guide tells their users is what works. Each runs in the
//! world's network namespace, with directories of its own over /etc and /run.

use std::time::Duration;

use minidocker_tests::{World, need};

use super::ports::{FAR, HOST, Machine, serve};
use super::remove;

const GUIDE: &str = include_str!("../../../docs/guide/networks.md");

/// The guide's commands of a program, for the world's bridge.
fn guided(world: &World, program: &str) -> Vec<String> {
    let is_one = |text: &&str| text.starts_with(&format!("{program} "));
    let lines = GUIDE.lines().map(str::trim).filter(is_one);
    let within = GUIDE.split('`').filter(is_one).filter(|text| !text.contains('\n'));
    let all: Vec<String> = if program == "ufw" {
        within.map(str::to_owned).collect()
    } else {
        lines.map(str::to_owned).collect()
    };
    assert!(all.len() > 1, "the guide has no commands of {program}");
    all.into_iter().map(|line| line.replace("minidocker0", world.bridge())).collect()
}

/// A shell's lines before a firewall's: layers that keep what is written in the world's directory.
fn ground(world: &World) -> String {
    let own = world.directory().join("firewall").display().to_string();
    format!(
        "set -e; mkdir -p {own}/etc {own}/work; \
         mount -t overlay -o lowerdir=/etc,upperdir={own}/etc,workdir={own}/work none /etc; mount -t tmpfs none /run; "
    )
}

/// Nobody answers, and nobody refuses either way: what is sent is dropped or rejected on the way.
#[track_caller]
fn expect_closed(machine: &Machine<'_>) {
    let mut asks = machine.inside(&["connect", HOST, "8080", "x"]);
    std::thread::sleep(Duration::from_millis(700));
    assert!(!asks.out_so_far().contains("web"), "{asks:?}");
    if asks.is_alive() {
        asks.signal(9);
    }
    asks.wait();
}

/// What a container reaches of the world: another machine's server.
fn reaches_out(world: &World, overlay: &str) -> bool {
    let words = [
        "run", "--rm", "--rootfs", overlay, "busybox", "timeout", "-s", "KILL", "1", "/inside", "connect",
        FAR, "9000", "out",
    ];
    world.minidocker(words).out().contains("out")
}

#[test]
fn ufw_lets_through_what_the_guide_tells_its_users() {
    let world = World::new();
    need("ufw");
    let root = world.rootfs_inside();
    let overlay = world.rootfs_busybox().overlay();
    let machine = Machine::new(&world);
    let server = machine.inside(&["who", "9000"]);
    server.until("listening");
    serve(&world, &root, "web", &["-p", "8080:80"]);
    let ufw = |line: &str| {
        let script = format!("{}exec {line}", ground(&world));
        world.program(["unshare", "--mount", "sh", "-c", &script]).run().ok();
    };
    ufw("ufw --force enable");
    expect_closed(&machine);
    assert!(!reaches_out(&world, &overlay));
    let reach = || world.minidocker(["port", "--reach", "web"]).ok().out();
    let said = reach();
    assert!(
        said.contains("as far as chain FORWARD of table ip filter accepts it, which drops the rest"),
        "{said}"
    );
    for line in guided(&world, "ufw") {
        ufw(&line);
    }
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    assert!(reaches_out(&world, &overlay));
    server.signal(9);
    remove(&world, &["web"]);
}

#[test]
fn firewalld_lets_containers_out_as_the_guide_tells() {
    let world = World::new();
    for program in ["firewalld", "firewall-cmd", "dbus-daemon"] {
        need(program);
    }
    let root = world.rootfs_inside();
    let overlay = world.rootfs_busybox().overlay();
    let machine = Machine::new(&world);
    let server = machine.inside(&["who", "9000"]);
    server.until("listening");
    serve(&world, &root, "web", &["-p", "8080:80"]);
    let commands = guided(&world, "firewall-cmd").join(" && ");
    let script = format!(
        "{} mkdir -p /run/dbus /run/firewalld
         dbus-daemon --system --nofork --nopidfile >/dev/null 2>&1 &
         until [ -S /run/dbus/system_bus_socket ]; do sleep 0.05; done
         firewalld --nofork --nopid >/dev/null 2>&1 &
         until firewall-cmd --state >/dev/null 2>&1; do sleep 0.1; done
         echo on; read -r line
         {{ {commands}; }} >/dev/null && echo opened; read -r line",
        ground(&world)
    );
    let words =
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", &script];
    let mut firewall = world.program(words).stdin_open().spawn();
    firewall.until("on\n");
    // It accepts what was translated, and nothing that comes from a bridge that is in none of its zones.
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    assert!(!reaches_out(&world, &overlay));
    let said = world.minidocker(["port", "--reach", "web"]).ok().out();
    assert!(said.contains("unless chain filter_FORWARD of table inet firewalld rejects it"), "{said}");
    firewall.type_in(b"\n");
    firewall.until("opened");
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    assert!(reaches_out(&world, &overlay));
    firewall.signal(9);
    server.signal(9);
    remove(&world, &["web"]);
}

/// One port among ten thousand costs a packet what a single one does: it walks the same rules and is looked up once.
#[test]
fn ten_thousand_ports_cost_a_packet_no_more_than_one() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    serve(&world, &root, "web", &["-p", "8080:80/udp"]);
    let nft = |words: &[&str]| world.program(["nft"].iter().chain(words)).run().ok().out();
    nft(&[
        "table ip traced { chain pre { type filter hook prerouting priority -400; udp dport 8080 meta nftrace set 1; }; }",
    ]);
    // The rules that one packet walks, of our table.
    let walked = || {
        let monitor = world.program(["nft", "monitor", "trace"]).spawn();
        std::thread::sleep(Duration::from_millis(300));
        machine.inside(&["connect-udp", HOST, "8080", "far"]).wait().ok();
        std::thread::sleep(Duration::from_millis(300));
        let text = monitor.out_so_far();
        monitor.signal(2);
        monitor.wait();
        let of_first = |line: &&str| text.starts_with(&line[..line.len().min(17)]);
        let ours = text
            .lines()
            .filter(of_first)
            .filter(|line| line.contains("minidocker") && line.contains(" rule "));
        let rule = |line: &str| line.split(" rule ").nth(1).unwrap_or_default().to_owned();
        ours.map(rule).collect::<Vec<_>>()
    };
    let terse = || nft(&["--terse", "list", "ruleset"]);
    let (few, rules) = (walked(), terse());
    assert!(few.iter().any(|rule| rule.contains("@ports_any")), "{few:?}");
    serve(&world, &root, "many", &["-p", "10000-19999:10000-19999/udp"]);
    assert_eq!(terse(), rules);
    assert_eq!(walked(), few);
    // Hashes, in which ten thousand are looked for as fast as one: an interval's tree would be another thing.
    assert!(!rules.contains("flags interval"), "{rules}");
    remove(&world, &["web", "many"]);
}
