//! Which network, which address, whose: reservations by many at once, refusals by name, what the dead leave.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Barrier;

use network::{Attachment, Leftover, Settings};
use step::Context;

use crate::network;
use crate::world::*;

#[test]
fn a_hundred_at_once_get_a_hundred_addresses() {
    on_a_host("hundred", |settings| {
        let barrier = Barrier::new(100);
        let addresses: Vec<Attachment> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..100)
                .map(|n| {
                    let (settings, barrier) = (&settings, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let to = reserve(settings, n, "").unwrap();
                        take(&plan_of(settings, &to).host, &mut Context::default());
                        to
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let unique: HashSet<_> = addresses.iter().map(|to| to.address).collect();
        assert_eq!(unique.len(), 100);
        assert!(
            addresses.iter().all(|to| to.subnet == addresses[0].subnet && to.gateway == addresses[0].gateway)
        );
        assert_eq!(network::leftovers(&settings).unwrap().len(), 100);
    });
}

#[test]
fn a_small_network_comes_and_goes() {
    on_a_host("small", |settings| {
        let a = reserve(&settings, 1, "10.7.0.5").unwrap();
        assert_eq!((a.network.as_str(), a.bridge.as_str()), ("10.7.0.0/24", "mdn0a07000018"));
        assert_eq!(a.gateway, Ipv4Addr::new(10, 7, 0, 254));
        let b = reserve(&settings, 2, "10.7.0.9/24").unwrap();
        assert_eq!((b.bridge.as_str(), b.gateway), (a.bridge.as_str(), a.gateway));
        let (first, second) = (Container::start(&settings, &a), Container::start(&settings, &b));
        assert_eq!(hello(first.listen(a.address)), "hello 10.7.0.254");
        let neighbour = second.listen(b.address);
        assert_eq!(first.run(move |_| hello(neighbour)), "hello 10.7.0.5");

        network::release(&settings, &a.id, Some(std::slice::from_ref(&a))).unwrap();
        network::release(&settings, &a.id, Some(std::slice::from_ref(&a))).unwrap();
        assert!(links().contains(&a.bridge), "there is another container on it");
        drop((first, second));
        network::release(&settings, &b.id, None).unwrap();
        network::release(&settings, &b.id, None).unwrap();
        assert!(!links().contains(&a.bridge));
        let mut left = std::fs::read_dir(settings.run_dir.join("addresses")).unwrap();
        assert!(!left.any(|entry| entry.unwrap().path().is_dir()));

        // The last address is the container's; the host takes the one before. Then a /30.
        let last = reserve(&settings, 3, "10.7.0.254").unwrap();
        assert_eq!(last.gateway, Ipv4Addr::new(10, 7, 0, 253));
        let narrow = reserve(&settings, 4, "10.8.0.2/30").unwrap();
        assert_eq!((narrow.gateway, narrow.bridge.as_str()), (Ipv4Addr::new(10, 8, 0, 1), "mdn0a0800001e"));
        let narrow_one = Container::start(&settings, &narrow);
        assert_eq!(hello(narrow_one.listen(narrow.address)), "hello 10.8.0.1");
    });
}

#[test]
fn small_networks_come_and_go_under_load() {
    on_a_host("churn", |settings| {
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (settings, barrier) = (&settings, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for _ in 0..6 {
                        let to = reserve(settings, n, &format!("10.9.0.{}", n + 1)).unwrap();
                        let mut context = Context::default();
                        let plan = plan_of(settings, &to);
                        take(&plan.host, &mut context);
                        // Whoever holds a reservation finds the bridge in its place for as long.
                        assert!(routes().iter().any(|(link, ..)| *link == to.bridge), "{:?}", routes());
                        network::release(settings, &to.id, Some(std::slice::from_ref(&to))).unwrap();
                    }
                });
            }
        });
        assert_eq!(links(), ["lo".into()].into());
        assert_eq!(network::leftovers(&settings).unwrap(), []);
    });
}

#[test]
fn names_the_route_in_the_way() {
    on_a_host("routes", |settings| {
        ip("link add dev wan address 02:00:00:00:00:01 type veth peer name wan-peer");
        ip("address add 192.168.77.2/24 dev wan");
        ip("link set wan up");
        ip("link set wan-peer up");
        ip("route add 10.64.0.0/10 via 192.168.77.1");
        ip("route add default via 192.168.77.1");
        ip("route add blackhole 10.200.0.0/16");
        ip("link add down0 type bridge");
        ip("address add 10.201.0.1/24 dev down0");
        ip("route add 10.202.0.0/16 via 192.168.77.1 table 77");

        let by_route = refused(&settings, 1, "10.70.0.5");
        assert_eq!(by_route, "network 10.70.0.0/24 overlaps route 10.64.0.0/10 via 192.168.77.1 dev wan");
        assert_eq!(
            refused(&settings, 1, "10.1.2.3/8"),
            "network 10.0.0.0/8 overlaps route 10.64.0.0/10 via 192.168.77.1 dev wan"
        );
        assert_eq!(
            refused(&settings, 1, "192.168.77.9"),
            "network 192.168.77.0/24 overlaps route 192.168.77.0/24 dev wan"
        );
        assert!(refused(&settings, 1, "10.200.3.4").ends_with("overlaps route blackhole 10.200.0.0/16"));
        assert!(refused(&settings, 1, "10.201.0.7").contains("10.201.0.1"));
        assert!(
            refused(&settings, 1, "10.202.0.7").ends_with("route 10.202.0.0/16 via 192.168.77.1 dev wan")
        );

        // A subnet of the user's own that something is in the way of.
        let chosen = with_subnet(&settings, "192.168.0.0/16");
        assert!(refused(&chosen, 7, "").ends_with("overlaps route 192.168.77.0/24 dev wan"));
    });
}

#[test]
fn names_the_container_in_the_way() {
    on_a_host("owners", |settings| {
        let web = reserve(&settings, 2, "10.7.0.5").unwrap();
        assert_eq!(
            refused(&settings, 3, "10.7.0.5"),
            "address 10.7.0.5 is taken by container c2 (000000020000)"
        );
        assert_eq!(
            refused(&settings, 3, "10.7.0.254"),
            "address 10.7.0.254 is taken by the host's side of 10.7.0.0/24 (bridge mdn0a07000018)"
        );
        assert!(refused(&settings, 3, "10.7.0.0").contains("the network address of 10.7.0.0/24"));
        assert!(refused(&settings, 3, "10.7.0.255").contains("the broadcast address"));
        let overlap = refused(&settings, 3, "10.7.0.6/25");
        assert_eq!(
            overlap,
            "network 10.7.0.0/25 overlaps network 10.7.0.0/24 of container c2 (000000020000)"
        );
        // Made or not, our own bridge's route is in nobody's way.
        let container = Container::start(&settings, &web);
        assert_eq!(reserve(&settings, 4, "10.7.0.6").unwrap().bridge, web.bridge);
        assert_eq!(
            refused(&settings, 3, "10.7.0.6/25"),
            "network 10.7.0.0/25 overlaps network 10.7.0.0/24 of container c2 (000000020000), container c4 (000000040000)"
        );
        drop(container);

        let chosen = with_subnet(&settings, "10.7.0.0/16");
        assert!(refused(&chosen, 7, "").contains("of container c2"));
    });
}

#[test]
fn guards_the_default_network() {
    on_a_host("default", |settings| {
        let fixed = reserve(&settings, 5, "172.30.0.5").unwrap();
        assert_eq!(
            (fixed.network.as_str(), fixed.prefix, fixed.mac),
            ("default", 16, [2, 0x42, 172, 30, 0, 5])
        );
        assert!(refused(&settings, 6, "172.30.0.5/16").contains("taken by container c5"));
        assert!(refused(&settings, 6, "172.30.0.1").contains("the host's side"));
        let default = "overlaps the default network 172.30.0.0/16 (bridge minidocker0)";
        assert!(refused(&settings, 6, "172.30.9.9/24").ends_with(default));
        assert!(refused(&settings, 6, "172.0.0.9/8").ends_with(default));

        let own = reserve(&with_subnet(&settings, "10.33.0.0/24"), 7, "").unwrap();
        assert!(own.subnet.contains(own.address) && own.gateway == Ipv4Addr::new(10, 33, 0, 1));
        take(&plan_of(&settings, &own).host, &mut Context::default());
        assert_eq!(
            reserve(&settings, 8, "").unwrap().subnet,
            own.subnet,
            "the bridge's address is the truth"
        );
        assert_eq!(
            refused(&with_subnet(&settings, "172.30.0.0/16"), 9, ""),
            "bridge minidocker0 has 10.33.0.1/24, not the chosen subnet 172.30.0.0/16"
        );
        for bridge in ["", "a/b", "sixteen-letters0", ".."] {
            refused(&Settings { bridge: bridge.into(), ..settings.clone() }, 1, "");
        }
        let short = network::reserve(&settings, "0123456789ab", "", &bridge(""), &|_| true).unwrap_err();
        assert_eq!(short.to_string(), "'0123456789ab' is no container's id");
    });
}

fn with_subnet(settings: &Settings, subnet: &str) -> Settings {
    Settings { subnet: Some(subnet.parse().unwrap()), ..settings.clone() }
}

#[test]
fn chooses_a_default_network_that_nothing_is_in_the_way_of() {
    on_a_host("choice", |settings| {
        ip("link add wan type bridge");
        ip("address add 172.30.7.1/24 dev wan");
        ip("link set wan up");
        // As VPNs do it: a default route in two halves is in nobody's way.
        ip("route add 0.0.0.0/1 dev wan");
        ip("route add 128.0.0.0/1 dev wan");
        assert_eq!(reserve(&settings, 1, "172.31.0.9").unwrap().network, "default");
        assert_eq!(reserve(&settings, 2, "").unwrap().subnet.to_string(), "172.31.0.0/16");
        // In the way now, and no bridge yet: another choice.
        ip("route add 172.31.5.0/24 dev wan");
        assert_eq!(reserve(&settings, 3, "").unwrap().subnet.to_string(), "10.210.0.0/16");
        for taken in ["10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12"] {
            ip(&format!("route add {taken} dev wan"));
        }
        assert!(refused(&settings, 4, "").starts_with("no private network is free for bridge minidocker0"));
        assert_eq!(reserve(&settings, 5, "100.100.0.1").unwrap().network, "100.100.0.0/24");
    });
}

#[test]
fn the_dead_own_nothing() {
    on_a_host("stale", |settings| {
        let old = reserve(&settings, 1, "10.7.0.5/16").unwrap();
        take(&plan_of(&settings, &old).host, &mut Context::default());
        let dead = |id: &str| id != old.id;
        let again = |n: usize, ip: &str| {
            network::reserve(&settings, &id(n), "new", &bridge(ip), &dead).unwrap().remove(0)
        };
        // Another prefix: the dead one's network goes, its bridge too.
        let new = again(2, "10.7.0.5/24");
        assert_eq!(new.network, "10.7.0.0/24");
        assert!(!links().contains(&old.bridge));
        // The late release of the dead one takes nothing from the new one.
        network::release(&settings, &old.id, None).unwrap();
        network::release(&settings, &old.id, Some(std::slice::from_ref(&old))).unwrap();
        assert!(refused(&settings, 3, "10.7.0.5").contains("container new"));
        // The same address: taken over.
        let dead = |id: &str| id != new.id;
        let third =
            network::reserve(&settings, &id(3), "third", &bridge("10.7.0.5"), &dead).unwrap().remove(0);
        assert_eq!(third.bridge, new.bridge);
        // The host's side of a dead network.
        let dead = |id: &str| id != third.id;
        let last =
            network::reserve(&settings, &id(4), "last", &bridge("10.7.0.254"), &dead).unwrap().remove(0);
        assert_eq!(last.gateway, Ipv4Addr::new(10, 7, 0, 253));
    });
}

#[test]
fn finds_and_removes_what_is_left_over() {
    on_a_host("left", |settings| {
        let (a, b) = (reserve(&settings, 1, "").unwrap(), reserve(&settings, 2, "10.7.0.5").unwrap());
        let containers = (Container::start(&settings, &a), Container::start(&settings, &b));
        // Not ours: another engine's container, somebody's link, a port with a similar name.
        ip("link add other type bridge");
        ip("link add mdabcdefabcde type veth peer name wan");
        ip("link set mdabcdefabcde master other");
        ip("link add mdn0a09000018 type bridge");
        let found = network::leftovers(&settings).unwrap();
        let link =
            |to: &Attachment| Leftover::Link { id_prefix: to.id[..11].into(), name: to.host_link.clone() };
        let reservation = |to: &Attachment, n: usize, network: &str| Leftover::Reservation {
            id: to.id.clone(),
            name: format!("c{n}"),
            network: network.into(),
            address: to.address.into(),
        };
        let expected = [
            reservation(&a, 1, "minidocker0"),
            reservation(&b, 2, "mdn0a07000018@10.7.0.254"),
            link(&a),
            link(&b),
            Leftover::Bridge { name: "mdn0a09000018".into() },
        ];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert!(expected.iter().all(|expected| found.contains(expected)), "{found:?}");
        for leftover in found.iter().chain(&found) {
            network::remove(&settings, leftover).unwrap();
        }
        assert_eq!(network::leftovers(&settings).unwrap(), []);
        assert!(links().contains("minidocker0") && links().contains("mdabcdefabcde"));
        assert!(!links().contains(&b.bridge) && !links().contains(&a.host_link));
        drop(containers);
    });
}

#[test]
fn reads_a_large_routing_table() {
    on_a_host("large", |settings| {
        ip("link add wan type bridge");
        ip("address add 10.0.0.1/24 dev wan");
        ip("link set wan up");
        let file = std::env::temp_dir().join(format!("minidocker-routes-{}", std::process::id()));
        let lines: String =
            (0..20_000u32).map(|n| format!("route add 20.{}.{}.0/24 dev wan\n", n / 256, n % 256)).collect();
        std::fs::write(&file, lines).unwrap();
        ip(&format!("-batch {}", file.display()));
        std::fs::remove_file(file).unwrap();
        // The first, one of the middle, the last, none.
        for (ip, route) in
            [("20.0.0.7", "20.0.0.0"), ("20.39.15.7", "20.39.15.0"), ("20.78.31.7", "20.78.31.0")]
        {
            assert!(refused(&settings, 1, ip).ends_with(&format!("route {route}/24 dev wan")), "{ip}");
        }
        assert!(reserve(&settings, 1, "20.78.32.7").is_ok());
    });
}
