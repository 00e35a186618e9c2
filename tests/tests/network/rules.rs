//! The rules: what goes out has the host's address, what others drop is dropped, what is forged or not published does not
//! come in, and what another tool or a crash did to them is mended.

use minidocker_tests::{World, until};
use rustix::process::{Pid, Signal, kill_process};

use super::ports::{FAR, HOST, Machine, elements, serve};
use super::{address_of, host_server, ip, remove};

fn nft(world: &World, words: &[&str]) -> String {
    world.program(["nft"].iter().chain(words)).run().ok().out()
}

/// Packets that a chain's counters have counted.
fn counted(world: &World, chain: &str) -> u64 {
    let text = nft(world, &["list", "ruleset"]);
    let start = text.find(&format!("chain {chain} {{")).unwrap_or(text.len());
    let chain = &text[start..];
    let chain = &chain[..chain.find("\n\t}").unwrap_or(chain.len())];
    let counts = chain.split("counter packets ").skip(1);
    counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn a_container_reaches_the_world_with_the_hosts_address() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    let server = machine.inside(&["who", "9000"]);
    server.until("listening");
    let overlay = root.overlay();
    for how in ["connect", "connect-udp"] {
        let words =
            ["run", "--rm", "--hostname", "x", "--rootfs", &overlay, "/inside", how, FAR, "9000", "out"];
        let answer = world.minidocker(words).text();
        assert!(answer.ends_with(&format!(" {HOST} out")), "{answer}");
    }
    // In a small network too; its bridge is forgotten with it.
    let words =
        ["run", "--rm", "--ip", "10.9.8.7", "--rootfs", &overlay, "/inside", "connect", FAR, "9000", "out"];
    assert!(world.minidocker(words).text().ends_with(&format!(" {HOST} out")));
    until("its bridge is not in the rules", || !nft(&world, &["list", "ruleset"]).contains("mdn0a0908"));
}

#[test]
fn only_what_is_published_is_reached_from_outside() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    let id = serve(&world, &root, "web", &["-p", "127.0.0.1:8080:80"]);
    let own = address_of(&world, &id);
    let net = own.rsplitn(3, '.').nth(2).unwrap();
    // Who knows the way to the container itself.
    machine.ip(&["route", "add", &format!("{net}.0.0/16"), "via", HOST]);
    let mut straight = machine.inside(&["connect", &own, "80", "straight"]);
    until("it is dropped", || counted(&world, "forward") > 0);
    assert!(straight.is_alive() && straight.out_so_far().is_empty());
    straight.signal(9);
    // Published for the host's own programs alone: nobody listens on the host's other addresses.
    let refused = machine.inside(&["connect", HOST, "8080", "x"]).wait();
    assert!(refused.err().contains("efused"), "{refused:?}");
    // A packet from the wire that names the loopback's address (CVE-2020-8558).
    machine.ip(&["route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"]);
    machine.ip(&["route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local"]);
    machine.ip(&["route", "add", "127.0.0.1/32", "via", HOST, "src", FAR]);
    let mut forged = machine.inside(&["connect", "127.0.0.1", "8080", "forged"]);
    until("it is dropped", || counted(&world, "guard") > 0);
    assert!(forged.is_alive() && forged.out_so_far().is_empty());
    forged.signal(9);
    remove(&world, &["web"]);
}

/// The host's own firewall has the last word, for published ports too.
#[test]
fn what_the_hosts_firewall_drops_stays_dropped() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    let policy = "table ip own { chain forwarding { type filter hook forward priority 10; policy accept; \
                  iifname uplink ct state new counter drop; }; }";
    nft(&world, &[policy]);
    serve(&world, &root, "web", &["-p", "8080:80"]);
    let mut dropped = machine.inside(&["connect", HOST, "8080", "x"]);
    until("it is dropped", || counted(&world, "forwarding") > 0);
    assert!(dropped.is_alive() && dropped.out_so_far().is_empty());
    dropped.signal(9);
    nft(&world, &["insert", "rule", "ip", "own", "forwarding", "tcp", "dport", "80", "accept"]);
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    remove(&world, &["web"]);
}

#[test]
fn what_another_tool_flushed_is_put_back() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    serve(&world, &root, "web", &["-p", "8080:80"]);
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    let check = |words: &[&str]| world.minidocker(["system", "check"].iter().chain(words));
    check(&[]).ok();
    nft(&world, &["flush", "ruleset"]);
    let told = check(&[]).out();
    assert!(told.contains("firewall rules") && told.contains("the table is not there"), "{told}");
    check(&["--repair"]);
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    check(&[]).ok();
    // The next start does it too.
    nft(&world, &["flush", "ruleset"]);
    let overlay = root.overlay();
    world.minidocker(["run", "--rm", "--rootfs", &overlay, "/inside", "true"]).ok();
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    // Some of it, and something that nobody has asked for.
    let table = nft(&world, &["list", "tables"]);
    let name = table.split_ascii_whitespace().last().unwrap().to_owned();
    nft(&world, &["flush", "chain", "inet", &name, "out"]);
    assert!(check(&[]).out().contains("chain out has 0 rules"));
    check(&["--repair"]);
    nft(&world, &["add", "element", "inet", &name, "ports_any", "{ tcp . 9999 : 10.0.0.1 . 9999 }"]);
    assert!(check(&[]).out().contains("1 are nobody's"));
    check(&["--repair"]);
    assert!(!elements(&world).contains("9999"));
    // It goes though its rules have gone before.
    nft(&world, &["flush", "ruleset"]);
    remove(&world, &["web"]);
    assert_eq!(elements(&world), "");
}

/// Kills a process and waits until it has let go of everything; its parent may take its time.
fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    until("it is dead", || stat().rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z')));
}

#[test]
fn a_crash_leaves_no_port() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    // Its monitor is killed: it runs on, is reached, and gets another one.
    let id = serve(&world, &root, "web", &["-p", "8080:80"]);
    kill(world.monitor(&id));
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    world.minidocker(["ps"]).ok();
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    assert_eq!(world.minidocker(["port", "web", "80"]).text(), "0.0.0.0:8080");
    remove(&world, &["web"]);
    assert_eq!(elements(&world), "");
    // All of it is killed: the next command takes the rules away, and the port can be had.
    let id = serve(&world, &root, "web", &["-p", "8080:80"]);
    let (monitor, init) = (world.monitor(&id), world.init(&id));
    kill(monitor);
    kill(init);
    assert!(elements(&world).contains("8080"));
    let overlay = root.overlay();
    let words = ["run", "--rm", "-p", "8080:80", "--rootfs", &overlay, "/inside", "true"];
    world.minidocker(words).ok();
    assert_eq!(elements(&world), "");
    remove(&world, &["web"]);
    // A start that fails on the way.
    let words = ["run", "--rm", "-p", "8080:80", "--rootfs", &overlay, "/none"];
    world.minidocker(words).refuses(127, &["/none"]);
    assert_eq!(elements(&world), "");
    drop(host_server(&world, 8080));
    ip(&world, &["link", "del", "uplink"]);
}
