//! Networks that users make: both families, a link more and a link less while a container runs, removal.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use network::{Attachment, BridgeRequest, LinkRequest, Mode, NewNetwork, Settings};

use crate::network;
use crate::world::*;

fn create(settings: &Settings, n: usize, name: &str, ipv6: bool) -> network::Network {
    let new = NewNetwork { name: name.to_owned(), ipv6, ..NewNetwork::default() };
    network::create(settings, &new, &id(n)).unwrap()
}

fn link_to(network: &network::Network) -> LinkRequest {
    LinkRequest { network: Some(Box::new(network.clone())), ..LinkRequest::default() }
}

fn reserve_in(settings: &Settings, n: usize, networks: &[&network::Network]) -> Vec<Attachment> {
    let links = networks.iter().map(|network| link_to(network)).collect();
    let mode = Mode::Bridge(BridgeRequest { links, ..BridgeRequest::default() });
    network::reserve(settings, &id(n), &format!("c{n}"), &mode, &|_| true).unwrap()
}

fn namespace(container: &Container) -> OwnedFd {
    std::fs::File::open(format!("/proc/{}/ns/net", container.tid)).unwrap().into()
}

/// Answers one connection with what it was sent, on IPv6.
fn echo6(address: Ipv6Addr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, peer) = listener.accept().unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(format!("{} {}", String::from_utf8_lossy(&word), peer.ip()).as_bytes()).unwrap();
    });
    there
}

#[test]
fn both_families_at_once_and_no_packet_lost() {
    on_a_host("made-both", |settings| {
        let web = create(&settings, 900, "web", true);
        let (a, b) =
            (reserve_in(&settings, 1, &[&web]).remove(0), reserve_in(&settings, 2, &[&web]).remove(0));
        let (first, second) = (Container::start(&settings, &a), Container::start(&settings, &b));
        let (six, other) = (a.v6.unwrap(), b.v6.unwrap());
        // Its place in the network is that of the IPv4 address.
        let offset = a.address.to_bits() - a.subnet.network().to_bits();
        assert_eq!(six.address.to_bits() - six.subnet.network().to_bits(), u128::from(offset));
        // Nobody on a bridge tells the host its routes.
        let accepts = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{}/accept_ra", web.bridge()));
        assert_eq!(accepts.unwrap(), "0\n");
        let there = second.run(move |_| echo6(other.address));
        assert_eq!(first.run(move |_| hello(there)), format!("hello {}", six.address));
        let there = first.run(move |_| echo6(six.address));
        assert_eq!(hello(there), format!("hello {}", six.gateway));
        assert_eq!(hello(first.listen(a.address)), format!("hello {}", a.gateway));
        let members = network::members(&settings, &a.directory()).unwrap();
        assert_eq!(members.len(), 4);
        assert!(members.iter().any(|one| one.address == IpAddr::V6(six.address) && one.name == "c1"));
        network::rename(&settings, std::slice::from_ref(&a), "other").unwrap();
        let members = network::members(&settings, &a.directory()).unwrap();
        assert_eq!(members.iter().filter(|one| one.name == "other").count(), 2);

        let refused = network::remove_network(&settings, "web", &|_| true).unwrap_err().to_string();
        assert!(refused.contains("other") && refused.contains("c2"), "{refused}");
        drop((first, second));
        network::release(&settings, &a.id, Some(std::slice::from_ref(&a))).unwrap();
        network::release(&settings, &b.id, None).unwrap();
        network::remove_network(&settings, "web", &|_| true).unwrap();
        assert!(!links().contains(&web.bridge()));
        assert_eq!(network::leftovers(&settings).unwrap(), []);
    });
}

#[test]
fn a_link_more_and_a_link_less_while_it_runs() {
    on_a_host("made-connect", |settings| {
        let (one, two) = (create(&settings, 901, "one", false), create(&settings, 902, "two", true));
        let places = reserve_in(&settings, 1, &[&one]);
        let other = reserve_in(&settings, 2, &[&two]).remove(0);
        let (first, second) = (Container::start(&settings, &places[0]), Container::start(&settings, &other));
        let new = network::reserve_link(&settings, &id(1), "c1", &link_to(&two), 1, &|_| true).unwrap();
        let after = network::connect(&settings, &namespace(&first), &places, new).unwrap();
        assert_eq!(first.run(|_| links()), ["lo".into(), "eth0".into(), "eth1".into()].into());
        let neighbour = second.listen(other.address);
        assert_eq!(first.run(move |_| hello(neighbour)), format!("hello {}", after[1].address));
        // Both families are the better way out.
        assert!(!after[0].way_out && after[1].way_out && after[1].way_out6);
        let default = |routes: Vec<(String, std::net::Ipv4Addr, std::net::Ipv4Addr, u32)>| {
            routes.into_iter().find(|route| route.3 == 0).map(|route| (route.0, route.2))
        };
        assert_eq!(default(first.run(|_| routes())), Some(("eth1".into(), after[1].gateway)));
        let left = network::without(&settings, &after, &after[1].directory()).unwrap();
        network::disconnect(&settings, &namespace(&first), &after, &left).unwrap();
        assert_eq!(default(first.run(|_| routes())), Some(("eth0".into(), places[0].gateway)));
        assert_eq!(first.run(|_| links()), ["lo".into(), "eth0".into()].into());
        assert_eq!(network::members(&settings, &two.bridge()).unwrap().len(), 2, "the other's two addresses");
        drop((first, second));
    });
}

#[test]
fn a_removal_that_was_cut_short_is_finished_by_the_next() {
    on_a_host("made-going", |settings| {
        let web = create(&settings, 903, "web", false);
        let addresses = settings.run_dir.join("addresses");
        std::fs::create_dir_all(&addresses).unwrap();
        // As far as a remover came that was killed: noted, and the record gone.
        std::os::unix::fs::symlink("its bridge goes", addresses.join(format!("{}~", web.bridge()))).unwrap();
        std::fs::remove_file(settings.networks.join("web.json")).unwrap();
        assert!(links().contains(&web.bridge()));
        create(&settings, 904, "web", false);
        assert!(!links().contains(&web.bridge()));
        assert!(!addresses.join(format!("{}~", web.bridge())).exists());
    });
}
