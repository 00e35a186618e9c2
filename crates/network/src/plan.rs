//! The steps that make a container's network: what, by which call, why, and how by hand.
//!
//! ```text
//! monitor:  bridge ─ rules ─ clone init ─── pair, its end in init's namespace ─ ports ──┐ meet
//! init:                            └── loopback ─────────────────────────────────────────┘── address ─ up ─ route ──┐ meet
//! monitor:                                                                                                   settle ┴─ exec
//! ```

use std::borrow::Cow;
use std::net::Ipv4Addr;

use rustix::io::Errno;
use step::{Context, Failure, Shell, Step, Steps, quote};

use crate::attachment::Attachment;
use crate::facts::failed;
use crate::links::{self, Pair};
use crate::netlink::{self, Route};
use crate::netns_name;
use crate::ports::Published;
use crate::settings::{Mode, Settings};
use crate::subnet::{Subnet, mac_of, mac_text};
use crate::table::{Table, is_unsupported, let_loopback_out, localnet};

/// The steps by who takes them and when.
#[derive(Debug, Default)]
pub struct Plan {
    /// The monitor, in the host's network namespace, before or while init starts.
    pub host: Steps,
    /// The monitor, once init's network namespace is there (`context.init` is set).
    pub beside: Steps,
    /// Init, in its own network namespace, at once.
    pub loopback: Steps,
    /// Init, in its own network namespace, once the monitor has taken `beside`.
    pub inside: Steps,
    /// The monitor, once init has taken `inside` and before the user's program begins.
    pub settled: Steps,
}

/// The steps for a container whose network is to be `mode`, with what was reserved for it, and where the reservations are.
/// Looks only which table of rules is the engine's.
///
/// The host's network and another container's need none; a bridge for which nothing was reserved gets loopback
/// alone.
pub fn plan(mode: &Mode, attachment: Option<(&Settings, &Attachment)>) -> Plan {
    match mode {
        Mode::Host | Mode::Join => Plan::default(),
        Mode::None => Plan { loopback: vec![Box::new(NetworkStep::Loopback)], ..Plan::default() },
        Mode::Bridge(_) => Plan {
            loopback: vec![Box::new(NetworkStep::Loopback)],
            ..attachment.map(|(settings, to)| bridged(settings, to)).unwrap_or_default()
        },
    }
}

fn bridged(settings: &Settings, to: &Attachment) -> Plan {
    let table = Table::of(&settings.run_dir);
    let bridge = NetworkStep::Bridge { bridge: to.bridge.clone(), subnet: to.subnet, gateway: to.gateway };
    let pair = NetworkStep::Pair {
        id: to.id.clone(),
        host_link: to.host_link.clone(),
        bridge: to.bridge.clone(),
        link: to.link.clone(),
        mac: to.mac,
    };
    let address = NetworkStep::Address {
        link: to.link.clone(),
        address: to.address,
        subnet: to.subnet,
        bridge: to.bridge.clone(),
    };
    let rules =
        NetworkStep::Rules { table: table.clone(), bridge: to.bridge.clone(), needed: !to.ports.is_empty() };
    let mut beside: Steps = vec![Box::new(pair)];
    if to.ports.iter().any(Published::is_on_loopback) {
        beside.push(Box::new(NetworkStep::Localnet { bridge: to.bridge.clone() }));
    }
    if !to.ports.is_empty() {
        let (id, address, ports) = (to.id.clone(), to.address, to.ports.clone());
        beside.push(Box::new(NetworkStep::Publish { table, id, address, ports }));
    }
    Plan {
        host: vec![Box::new(bridge), Box::new(rules)],
        beside,
        inside: vec![
            Box::new(address),
            Box::new(NetworkStep::Up { link: to.link.clone() }),
            Box::new(NetworkStep::DefaultRoute { gateway: to.gateway }),
        ],
        settled: vec![Box::new(NetworkStep::Settle {
            host_link: to.host_link.clone(),
            bridge: to.bridge.clone(),
        })],
        loopback: Steps::new(),
    }
}

/// One step of this room.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NetworkStep {
    /// The network's bridge: there, up, with the host's address.
    Bridge { bridge: String, subnet: Subnet, gateway: Ipv4Addr },
    /// The engine's table of rules: there, with this bridge. `needed`: ports are published.
    Rules { table: Table, bridge: String, needed: bool },
    /// What the host sends to its own 127.0.0.1 may leave by the bridge.
    Localnet { bridge: String },
    /// The host's ports that lead to the container.
    Publish { table: Table, id: String, address: Ipv4Addr, ports: Vec<Published> },
    /// The pair of links, one end a port of the bridge, the other in the container.
    Pair { id: String, host_link: String, bridge: String, link: String, mac: [u8; 6] },
    /// The container's loopback link.
    Loopback,
    /// The container's address.
    Address { link: String, address: Ipv4Addr, subnet: Subnet, bridge: String },
    /// The container's link.
    Up { link: String },
    /// The container's way out.
    DefaultRoute { gateway: Ipv4Addr },
    /// The bridge's port: forwarding.
    Settle { host_link: String, bridge: String },
}

impl Step for NetworkStep {
    fn id(&self) -> &'static str {
        match self {
            Self::Bridge { .. } => "network.bridge",
            Self::Rules { .. } => "network.rules",
            Self::Localnet { .. } => "network.localnet",
            Self::Publish { .. } => "network.publish",
            Self::Pair { .. } => "network.veth",
            Self::Loopback => "network.loopback",
            Self::Address { .. } => "network.address",
            Self::Up { .. } => "network.up",
            Self::DefaultRoute { .. } => "network.route",
            Self::Settle { .. } => "network.settle",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Bridge { bridge, subnet, gateway } => format!(
                "unless {subnet} dev {bridge} src {gateway} is a route: sendto(netlink, RTM_NEWLINK {{name={bridge}, \
                 kind=bridge, address={}, up}}), sendto(netlink, RTM_NEWADDR {{local={gateway}/{}, dev={bridge}}})",
                mac_text(mac_of(*gateway)),
                subnet.prefix()
            ),
            Self::Rules { table, bridge, .. } => format!(
                "unless table inet {name} has bridge {bridge}, NFT_MSG_GETSETELEM: sendto(netlink, {{NFT_MSG_NEWTABLE                  {name}, NFT_MSG_NEWSET, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSETELEM {bridge}}})",
                name = table.name
            ),
            Self::Localnet { bridge } => format!("write(\"{}\", \"1\")", localnet(bridge)),
            Self::Publish { table, address, ports, .. } => format!(
                "sendto(netlink, {{NFT_MSG_NEWSETELEM {} {} to {address}}})",
                table.name,
                ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ),
            Self::Pair { host_link, bridge, link, mac, .. } => format!(
                "sendto(netlink, RTM_NEWLINK {{name={host_link}, kind=veth, master={bridge}, up, queues=1, \
                 peer={{name={link}, address={}, netns=<init>, queues=1}}}})",
                mac_text(*mac)
            ),
            Self::Loopback => "sendto(netlink, RTM_NEWLINK {name=lo, up})".into(),
            Self::Address { link, address, subnet, .. } => {
                format!("sendto(netlink, RTM_NEWADDR {{local={address}/{}, dev={link}}})", subnet.prefix())
            }
            Self::Up { link } => format!("sendto(netlink, RTM_NEWLINK {{name={link}, up}})"),
            Self::DefaultRoute { gateway } => {
                format!("sendto(netlink, RTM_NEWROUTE {{dst=0.0.0.0/0, gateway={gateway}}})")
            }
            Self::Settle { host_link, bridge } => format!(
                "sendto(netlink, RTM_GETLINK {{name={host_link}}}), sendto(netlink, RTM_GETLINK {{name={bridge}}})"
            ),
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Bridge { .. } => {
                "a switch in the kernel: the containers of a network and the host meet on it"
            }
            Self::Rules { .. } => {
                "what leaves the bridge gets the host's address, or no answer would come back; what comes from outside \
                 reaches published ports alone"
            }
            Self::Localnet { .. } => {
                "the ports are published on 127.0.0.1 too, and the kernel keeps that network within the host otherwise"
            }
            Self::Publish { .. } => {
                "asked for: --publish; all ports at once, in maps in which the kernel finds one among thousands"
            }
            Self::Pair { .. } => {
                "a cable from the bridge into the container; made at both ends in one request, for moving an end later \
                 takes 19 ms"
            }
            Self::Loopback => "a new network namespace has its loopback link down",
            Self::Address { .. } => {
                "the address that was reserved; the route to the neighbours comes with it"
            }
            Self::Up { .. } => "a link that is down carries nothing",
            Self::DefaultRoute { .. } => "everything beyond the neighbours goes by the host",
            Self::Settle { .. } => {
                "to tell the link's state the kernel must make it true first: the bridge's port forwards from now on, \
                 not from some later moment, and the program's first packet is not lost, which would cost a second"
            }
        })
    }

    fn shell(&self) -> Shell {
        Shell::Lines(match self {
            Self::Bridge { bridge, subnet, gateway } => vec![
                format!(
                    "ip link show dev {bridge} >/dev/null 2>&1 || ip link add name {bridge} address {} type bridge",
                    mac_text(mac_of(*gateway))
                ),
                format!("ip address replace {gateway}/{} broadcast + dev {bridge}", subnet.prefix()),
                format!("ip link set dev {bridge} up"),
            ],
            Self::Rules { table, bridge, .. } => {
                let name = &table.name;
                vec![
                    format!(
                        "nft list table inet {name} >/dev/null 2>&1 || nft {}",
                        quote(&table.script(bridge))
                    ),
                    format!("nft {}", quote(&format!("add element inet {name} bridges {{ \"{bridge}\" }}"))),
                    format!(
                        "nft {}",
                        quote(&format!("add element inet {name} within {{ \"{bridge}\" . \"{bridge}\" }}"))
                    ),
                ]
            }
            Self::Localnet { bridge } => vec![format!("echo 1 > {}", localnet(bridge))],
            Self::Publish { table, address, ports, .. } => Table::script_ports(*address, ports)
                .into_iter()
                .map(|(map, list)| {
                    let command = format!("add element inet {} {map} {list}", table.name);
                    format!("nft {}", quote(&command))
                })
                .collect(),
            Self::Pair { id, host_link, bridge, link, mac } => vec![format!(
                "ip link add name {host_link} up master {bridge} numtxqueues 1 numrxqueues 1 type veth peer name {link} \
                 address {} numtxqueues 1 numrxqueues 1 netns {}",
                mac_text(*mac),
                netns_name(id)
            )],
            Self::Loopback => vec!["ip link set lo up".into()],
            Self::Address { link, address, subnet, .. } => {
                vec![format!("ip addr add {address}/{} broadcast + dev {link}", subnet.prefix())]
            }
            Self::Up { link } => vec![format!("ip link set {link} up")],
            Self::DefaultRoute { gateway } => vec![format!("ip route add default via {gateway}")],
            Self::Settle { host_link, bridge } => {
                [host_link, bridge].iter().map(|link| format!("ip link show dev {link} >/dev/null")).collect()
            }
        })
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Rules { table, bridge, needed } => {
                return match table.ensure(bridge) {
                    // The container has its network all the same; nobody outside will answer it.
                    Err(failure) if !needed && is_unsupported(&failure) => Ok(()),
                    result => result,
                };
            }
            Self::Localnet { bridge } => {
                return let_loopback_out(bridge).map_err(|error| {
                    self.failed(localnet(bridge), error).hint(
                        "where /proc/sys cannot be written, publish on an address of the host that is not loopback: \
                         -p ADDRESS:HOSTPORT:PORT",
                    )
                });
            }
            Self::Publish { table, id, address, ports } => return table.publish(id, *address, ports),
            _ => {}
        }
        let init = context.init;
        let route = socket(self.id(), context)?;
        match self {
            Self::Bridge { bridge, subnet, gateway } => {
                if links::bridge_is_ready(route, bridge, *subnet, *gateway) {
                    return Ok(());
                }
                links::ensure_bridge(route, self.id(), bridge, *subnet, *gateway)
            }
            Self::Rules { .. } | Self::Localnet { .. } | Self::Publish { .. } => Ok(()),
            Self::Pair { host_link, bridge, link, mac, .. } => {
                let init = init.ok_or_else(|| {
                    Failure::because(
                        self.id(),
                        host_link,
                        "there is no process yet whose namespace it could lead to",
                    )
                })?;
                links::attach(route, self.id(), Pair { host_link, bridge, link, mac: *mac }, init)
            }
            Self::Loopback => links::raise(route, "lo").map_err(|refusal| failed(self.id(), "lo", refusal)),
            Self::Address { link, address, subnet, bridge } => {
                links::add_address(route, link, *address, *subnet).map_err(|refusal| {
                    let gone = refusal.errno == Errno::NODEV;
                    let failure = failed(self.id(), format!("{link}, address {address}"), refusal);
                    if gone {
                        failure.hint(format!("the pair into bridge {bridge} must be made first"))
                    } else {
                        failure
                    }
                })
            }
            Self::Up { link } => {
                links::raise(route, link).map_err(|refusal| failed(self.id(), link, refusal))
            }
            Self::DefaultRoute { gateway } => links::add_default_route(route, *gateway)
                .map_err(|refusal| failed(self.id(), format!("default via {gateway}"), refusal)),
            // The port first: it gives the bridge its carrier.
            Self::Settle { host_link, bridge } => [host_link, bridge].into_iter().try_for_each(|link| {
                links::settle(route, link).map_err(|refusal| failed(self.id(), link, refusal))
            }),
        }
    }
}

/// The process's route socket, opened by the first step that needs one.
fn socket<'a>(step: &'static str, context: &'a mut Context) -> Result<Route<'a>, Failure> {
    let socket = match context.netlink.take() {
        Some(socket) => socket,
        None => netlink::open().map_err(|error| Failure::new(step, "the route socket", error))?,
    };
    Ok(Route::new(context.netlink.insert(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::host_link;
    use crate::settings::BridgeRequest;

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
        }
    }

    #[test]
    fn says_what_it_does() {
        let (settings, place) = (Settings::default(), attachment());
        let plan = plan(&Mode::Bridge(BridgeRequest::default()), Some((&settings, &place)));
        let calls = |steps: &Steps| steps.iter().map(|step| step.call()).collect::<Vec<_>>();
        assert_eq!(
            calls(&plan.beside)[..1],
            [
                "sendto(netlink, RTM_NEWLINK {name=md0123456789a, kind=veth, master=mdn0a07000018, up, queues=1, \
              peer={name=eth0, address=02:42:0a:07:00:05, netns=<init>, queues=1}})"
            ]
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
            calls(&plan.host)[0]
                .starts_with("unless 10.7.0.0/24 dev mdn0a07000018 src 10.7.0.254 is a route: ")
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
        let plan = plan(&Mode::Bridge(BridgeRequest::default()), Some((&settings, &place)));
        let line = "ip link add name md0123456789a up master mdn0a07000018 numtxqueues 1 numrxqueues 1 type veth peer \
                    name eth0 address 02:42:0a:07:00:05 numtxqueues 1 numrxqueues 1 netns md-0123456789ab";
        assert_eq!(plan.beside[0].shell(), Shell::line(line));
    }
}
