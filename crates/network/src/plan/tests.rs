//! What the steps say of themselves.

use super::*;
use crate::attachment::host_link;

fn attachment() -> Attachment {
    let address = Ipv4Addr::new(10, 7, 0, 5);
    let id = "0123456789abcdef".repeat(4);
    Attachment {
        host_link: host_link(&id),
        id,
        network: "10.7.0.0/24".into(),
        bridge: "mdn0a07000018".into(),
        subnet: Subnet::of(address, 24),
        gateway: Ipv4Addr::new(10, 7, 0, 254),
        address,
        prefix: 24,
        mac: mac_of(address),
        link: "eth0".into(),
        ports: vec!["0.0.0.0:8080->80/tcp".parse().unwrap(), "10.1.1.1:53->53/udp".parse().unwrap()],
        network_id: None,
        v6: None,
        aliases: Vec::new(),
        link_local: Vec::new(),
        priority: 0,
        way_out: true,
        way_out6: false,
        manner: None,
    }
}

#[test]
fn says_what_it_does() {
    let (settings, place) = (Settings::default(), attachment());
    let plan = plan(&Mode::Bridge(BridgeRequest::default()), Some((&settings, &[place])));
    let calls = |steps: &Steps| steps.iter().map(|step| step.call()).collect::<Vec<_>>();
    assert_eq!(
        calls(&plan.beside)[..1],
        ["sendto(netlink, RTM_NEWLINK {name=md0123456789a, kind=veth, master=mdn0a07000018, up, queues=1, \
          peer={name=eth0, address=02:42:0a:07:00:05, netns=<init>, queues=1}})"]
    );
    assert_eq!(
        calls(&plan.inside),
        [
            "sendto(netlink, RTM_NEWADDR {local=10.7.0.5/24, dev=eth0})",
            "sendto(netlink, RTM_NEWLINK {name=eth0, up})",
            "sendto(netlink, RTM_NEWROUTE {dst=0.0.0.0/0, gateway=10.7.0.254})"
        ]
    );
    assert_eq!(calls(&plan.loopback), ["sendto(netlink, RTM_NEWLINK {name=lo, up})"]);
    assert!(
        calls(&plan.host)[0].starts_with("unless 10.7.0.0/24 dev mdn0a07000018 src 10.7.0.254 is a route: ")
    );
    let all =
        [&plan.host, &plan.beside, &plan.loopback, &plan.inside, &plan.settled].map(|steps| steps.iter());
    for step in all.into_iter().flatten() {
        assert!(step.id().starts_with("network.") && !step.why().is_empty());
    }
}

#[test]
fn the_shell_names_a_namespace_for_init() {
    let (settings, place) = (Settings::default(), attachment());
    let plan = plan(&Mode::Bridge(BridgeRequest::default()), Some((&settings, &[place])));
    let line = "ip link add name md0123456789a up master mdn0a07000018 numtxqueues 1 numrxqueues 1 type veth peer \
                name eth0 address 02:42:0a:07:00:05 numtxqueues 1 numrxqueues 1 netns md-0123456789ab";
    assert_eq!(plan.beside[0].shell(), Shell::line(line));
}
