//! The table as the kernel has it after our batches, beside the one that nft(8) makes of the same words.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use rustix::thread::UnshareFlags;

use super::*;
use crate::owner::Owner;

/// Runs `work` in a network namespace of its own, which goes with the thread.
fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let entered = || {
        // Deprecated for what CLONE_FILES would do to descriptors; this is CLONE_NEWNET, in a thread of its own.
        #[expect(deprecated, reason = "its successor is unsafe for a flag that is not used here")]
        rustix::thread::unshare(UnshareFlags::NEWNET).expect("as root: a network namespace");
        work()
    };
    std::thread::spawn(entered).join().unwrap()
}

fn nft(words: &[&str]) -> String {
    let output = Command::new("nft").args(words).output().expect("nft, of the package nftables");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn table(name: &str) -> Table {
    let run_dir = std::env::temp_dir().join(format!("minidocker-rules-{name}-{}", std::process::id()));
    // The network's reservations, of which the table's bridges are made.
    fs::create_dir_all(run_dir.join("addresses/br0")).unwrap();
    Table::of(&run_dir)
}

fn id(digit: &str) -> String {
    digit.repeat(64)
}

fn ports(words: &[&str]) -> Vec<Published> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

const TO: Target =
    Target { v4: Ipv4Addr::new(172, 30, 0, 2), v6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)) };

/// What is compared: the expressions that the kernel has, and the table in words.
fn seen(table: &Table) -> (String, String) {
    let words = nft(&["list", "table", "inet", &table.name]);
    let expressions = nft(&["--debug=netlink", "list", "table", "inet", &table.name]);
    // Of a map's elements the words are sorted, these are as the hash has them.
    let lines = expressions.lines().filter(|line| !line.starts_with("\telement "));
    (lines.collect::<Vec<_>>().join("\n"), words)
}

#[test]
fn the_kernel_has_what_nft_would_have_made() {
    apart(|| {
        let table = table("same");
        let some = ports(&[
            "0.0.0.0:8080->80/tcp",
            "10.1.1.1:5000-5001->53-54/udp",
            "[::]:8080->80/tcp",
            "[fd00::1]:53->53/udp",
        ]);
        table.ensure(&Bridge::plain("br0")).unwrap();
        table.publish("", TO, &some).unwrap();
        let ours = seen(&table);
        open().unwrap().change(&table.name, |batch| batch.delete_table()).unwrap();
        nft(&[&table.script(&Bridge::plain("br0"))]);
        for (map, list) in Table::script_ports(TO, &some) {
            nft(&[&format!("add element inet {} {map} {list}", table.name)]);
        }
        let theirs = seen(&table);
        assert_eq!(ours.1, theirs.1);
        assert_eq!(ours.0, theirs.0);
        fs::remove_dir_all(&table.run_dir).unwrap();
    });
}

#[test]
fn a_host_that_was_no_router_is_one_for_our_bridges_alone() {
    apart(|| {
        let table = table("alone");
        fs::write(IP_FORWARD, "0").unwrap();
        table.ensure(&Bridge::plain("br0")).unwrap();
        assert_eq!(fs::read_to_string(IP_FORWARD).unwrap(), "1\n");
        let ours = seen(&table);
        let rule = "meta nfproto ipv4 iifname != @bridges oifname != @bridges drop";
        let (drop, accept) = (ours.1.find(rule).unwrap(), ours.1.find("oifname != @bridges accept").unwrap());
        assert!(drop < accept, "{}", ours.1);
        nft(&["delete", "table", "inet", &table.name]);
        nft(&[&table.script(&Bridge::plain("br0"))]);
        assert_eq!(ours, seen(&table));
        fs::remove_dir_all(&table.run_dir).unwrap();
    });
}

#[test]
fn an_internal_a_routed_and_an_open_network_have_their_sets() {
    apart(|| {
        let table = table("special");
        fs::write(IP_FORWARD, "1").unwrap();
        let book = Book::new(table.run_dir.join("addresses"));
        for (name, words) in
            [("md-a", "bridge internal apart"), ("md-b", "bridge open routed v6"), ("md-c", "macvlan")]
        {
            book.open_network(name, words).unwrap();
        }
        let special = Bridge::read("md-b", "bridge open routed v6").unwrap();
        table.ensure(&special).unwrap();
        assert_eq!(table.differs().unwrap(), None);
        let words = nft(&["list", "table", "inet", &table.name]);
        for (set, elements) in [
            ("internal", "\"md-a\""),
            ("apart", "\"md-a\""),
            ("open", "\"md-b\""),
            ("routed", "\"md-b\""),
            ("bridges", "\"br0\", \"md-a\",\n\t\t\t     \"md-b\""),
        ] {
            let start = words.find(&format!("set {set} {{")).unwrap();
            let part = &words[start..start + words[start..].find("}\n\t}").unwrap()];
            let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(squeeze(part).contains(&squeeze(elements)), "{set}: {part}");
        }
        assert!(!words.contains("md-c"));
        // IPv6 is forwarded from now on, for us alone.
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding").unwrap(), "1\n");
        assert!(words.contains("meta nfproto ipv6 iifname != @bridges oifname != @bridges drop"), "{words}");
        table.forget_bridge("md-a");
        assert!(!nft(&["list", "table", "inet", &table.name]).contains("md-a"));
        fs::remove_dir_all(&table.run_dir).unwrap();
    });
}

#[test]
fn ports_come_and_go_and_say_whose_they_are() {
    apart(|| {
        let table = table("ports");
        // A router already, or the table would have a rule more.
        fs::write(IP_FORWARD, "1").unwrap();
        let settings = Settings { run_dir: table.run_dir.clone(), ..Settings::default() };
        let list = || nft(&["list", "table", "inet", &table.name]);
        let enter = |digit: &str, address: [u8; 4], words: &[&str]| {
            let mut book = PortBook::open(&table.run_dir).unwrap();
            let owner = Owner::new(&id(digit), "web").unwrap();
            book.entries.push(Entry { owner, to: Some(Ipv4Addr::from(address).into()), ports: ports(words) });
            book.write().unwrap();
        };
        table.ensure(&Bridge::plain("br0")).unwrap();
        let empty = list();
        assert!(empty.contains(&format!("comment \"minidocker, state in {}\"", table.run_dir.display())));
        enter("a", [172, 30, 0, 2], &["0.0.0.0:8080->80/tcp"]);
        table.publish(&id("a"), TO, &ports(&["0.0.0.0:8080->80/tcp"])).unwrap();
        let one = list();
        assert!(one.contains("tcp . 8080 comment \"aaaaaaaaaaaa\" : 172.30.0.2 . 80"), "{one}");
        // Again is nothing.
        table.publish(&id("a"), TO, &ports(&["0.0.0.0:8080->80/tcp"])).unwrap();
        table.ensure(&Bridge::plain("br0")).unwrap();
        assert_eq!(list(), one);
        assert_eq!(table.differs().unwrap(), None);
        // What a crash left goes where somebody needs its place.
        nft(&["add", "element", "inet", &table.name, "ports_any", "{ udp . 53 : 172.30.0.9 . 53 }"]);
        assert_eq!(table.differs().unwrap().unwrap(), "of published ports 0 are missing, 1 are nobody's");
        enter("b", [172, 30, 0, 3], &["0.0.0.0:53->53/udp"]);
        table
            .publish(&id("b"), Ipv4Addr::new(172, 30, 0, 3).into(), &ports(&["0.0.0.0:53->53/udp"]))
            .unwrap();
        assert!(list().contains("udp . 53 comment \"bbbbbbbbbbbb\" : 172.30.0.3 . 53"));
        drop(crate::publish::give_back(&settings, &id("b")).unwrap());
        assert_eq!(list(), one);
        // Another tool has flushed: all is put back by the next start, or by the repair.
        nft(&["flush", "ruleset"]);
        assert!(table.differs().unwrap().unwrap().contains("not there"));
        table.ensure(&Bridge::plain("br0")).unwrap();
        assert_eq!(list(), one);
        nft(&["flush", "chain", "inet", &table.name, "forward"]);
        assert_eq!(table.differs().unwrap().unwrap(), "chain forward has 0 rules in the place of 9");
        table.repair().unwrap();
        assert_eq!(table.differs().unwrap(), None);
        // The last one goes, whether its rules are there or not.
        nft(&["flush", "map", "inet", &table.name, "ports_any"]);
        drop(crate::publish::give_back(&settings, &id("a")).unwrap());
        assert!(!list().contains("aaaaaaaaaaaa"), "{}", list());
        assert!(crate::publish::give_back(&settings, &id("a")).unwrap().is_none());
        fs::remove_dir_all(&table.run_dir).unwrap();
    });
}

#[test]
fn thousands_of_ports_are_one_batch() {
    apart(|| {
        let table = table("many");
        table.ensure(&Bridge::plain("br0")).unwrap();
        let many = ports(&["0.0.0.0:20000-29999->20000-29999/tcp", "10.1.1.1:1-1000->1-1000/udp"]);
        table.publish(&id("c"), TO, &many).unwrap();
        let netfilter = open().unwrap();
        assert_eq!(netfilter.elements(&table.name, "ports_any").unwrap().len(), 10_000);
        assert_eq!(netfilter.elements(&table.name, "ports").unwrap().len(), 1_000);
        fs::remove_dir_all(&table.run_dir).unwrap();
    });
}

/// What a start and an end cost, told and not judged: `cargo test -p minidocker-network --release times -- --ignored
/// --nocapture`.
#[test]
#[ignore = "a measurement"]
fn times() {
    apart(|| {
        let table = table("times");
        let settings = Settings { run_dir: table.run_dir.clone(), ..Settings::default() };
        let took = |what: &str, work: &mut dyn FnMut()| {
            let mut all: Vec<f64> = (0..31)
                .map(|_| {
                    // Back to back the kernel's waits vanish.
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    let start = std::time::Instant::now();
                    work();
                    start.elapsed().as_secs_f64() * 1e6
                })
                .collect();
            all.sort_by(f64::total_cmp);
            println!("{what}: {:.0} us (median of {})", all[all.len() / 2], all.len());
        };
        took("the table, new", &mut || {
            open().unwrap().change(&table.name, |batch| batch.delete_table()).ok();
            table.ensure(&Bridge::plain("br0")).unwrap();
        });
        took("the table, there", &mut || table.ensure(&Bridge::plain("br0")).unwrap());
        for count in [1_u16, 10, 1000, 10_000] {
            let words = format!("0.0.0.0:20000-{}->20000-{}/tcp", 19_999 + count, 19_999 + count);
            let some = ports(&[&words.replace("20000-20000", "20000")]);
            let owner = Owner::new(&id("a"), "web").unwrap();
            let book = || {
                let mut book = PortBook::open(&table.run_dir).unwrap();
                book.entries = vec![Entry { owner: owner.clone(), to: Some(TO), ports: some.clone() }];
                book.write().unwrap();
            };
            book();
            took(&format!("{count} ports, one more time"), &mut || {
                table.publish(&owner.id, TO, &some).unwrap();
            });
            let mut open_still = Vec::new();
            took(&format!("{count} ports, added and removed, not closed"), &mut || {
                book();
                table.publish(&owner.id, TO, &some).unwrap();
                open_still.push(crate::publish::give_back(&settings, &owner.id).unwrap());
            });
            drop(open_still);
            took(&format!("{count} ports, added, removed and closed"), &mut || {
                book();
                table.publish(&owner.id, TO, &some).unwrap();
                drop(crate::publish::give_back(&settings, &owner.id).unwrap());
            });
        }
        fs::remove_dir_all(&table.run_dir).unwrap();
    });
}

#[test]
fn two_engines_have_two_tables() {
    let (one, two) = (table("one"), table("two"));
    assert_ne!(one.name, two.name);
    assert_eq!(Table::of(Path::new("/run/../run/minidocker/")).name.len(), "minidocker-".len() + 8);
    fs::remove_dir_all(&one.run_dir).unwrap();
    fs::remove_dir_all(&two.run_dir).unwrap();
}
