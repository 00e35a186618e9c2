//! The steps that make a container's network: what, by which call, why, and how by hand.
//!
//! ```text
//! monitor:  bridge ─ rules ─ clone init ─── pair, its end in init's namespace ─ ports ──┐ meet
//! init:                            └── loopback ─────────────────────────────────────────┘── address ─ up ─ route ──┐ meet
//! monitor:                                                                                                   settle ┴─ exec
//! ```

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use step::{Context, Failure, Shell, Step, Steps, quote};

use crate::attachment::Attachment;
use crate::facts::failed;
use crate::links::{self, Beside, Bridge, Inside, Pair};
use crate::made::alias;
use crate::netlink::{self, Route};
use crate::netns_name;
use crate::network::{Driver, Network};
use crate::port_book::Target;
use crate::ports::Published;
use crate::reserve::target;
use crate::rules;
use crate::settings::{BridgeRequest, Mode, Settings};
use crate::shape;
use crate::share;
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
pub fn plan(mode: &Mode, places: Option<(&Settings, &[Attachment])>) -> Plan {
    let mut plan = match (mode, places) {
        (Mode::Bridge(request), Some((settings, places))) => connected(settings, request, places),
        _ => Plan::default(),
    };
    if !matches!(mode, Mode::Host | Mode::Join) {
        plan.loopback.push(Box::new(NetworkStep::Loopback));
    }
    plan
}

fn connected(settings: &Settings, request: &BridgeRequest, places: &[Attachment]) -> Plan {
    let table = Table::of(&settings.run_dir);
    let mut plan = Plan::default();
    for to in places {
        let (limits, own_limits) = shape::plan(request.rates, to);
        // While the link is down: on one that is up the kernel waits for every processor first.
        plan.inside.extend(own_limits);
        steps_of(&table, to).into_plan(&mut plan);
        plan.beside.extend(limits);
    }
    share::plan(settings, request.share, places, &mut plan.host, &mut plan.beside);
    let ports: Vec<Published> = places.iter().flat_map(|to| to.ports.iter().copied()).collect();
    if let Some((to, target)) = places.iter().find(|to| !to.ports.is_empty()).zip(target(places)) {
        if ports.iter().any(Published::is_on_loopback) {
            plan.beside.push(Box::new(NetworkStep::Localnet { bridge: to.bridge.clone() }));
        }
        let six =
            places.iter().find(|to| to.way_out6).filter(|_| ports.iter().any(Published::is_on_loopback6));
        if let Some(six) = six {
            plan.beside.push(Box::new(NetworkStep::Localnet6 { bridge: six.bridge.clone() }));
        }
        plan.beside.push(Box::new(NetworkStep::Publish { table, id: to.id.clone(), to: target, ports }));
    }
    plan
}

/// The steps of one link, by who takes them and when.
#[derive(Debug, Default)]
pub(crate) struct LinkSteps {
    pub(crate) host: Vec<NetworkStep>,
    pub(crate) beside: Vec<NetworkStep>,
    pub(crate) inside: Vec<NetworkStep>,
    pub(crate) settled: Vec<NetworkStep>,
}

impl LinkSteps {
    fn into_plan(self, plan: &mut Plan) {
        let boxed = |steps: Vec<NetworkStep>| steps.into_iter().map(|step| Box::new(step) as Box<dyn Step>);
        plan.host.extend(boxed(self.host));
        plan.beside.extend(boxed(self.beside));
        plan.inside.extend(boxed(self.inside));
        plan.settled.extend(boxed(self.settled));
    }
}

/// The steps of one link.
pub(crate) fn steps_of(table: &Table, to: &Attachment) -> LinkSteps {
    let mut plan = LinkSteps::default();
    let manner = to.manner.clone().unwrap_or_default();
    match manner.driver {
        Driver::Macvlan | Driver::Ipvlan => plan.beside.push(NetworkStep::Beside {
            id: to.id.clone(),
            link: Beside {
                parent: manner.parent.clone().unwrap_or_default(),
                link: to.link.clone(),
                mac: to.mac,
                mtu: manner.mtu,
                shared: manner.driver == Driver::Ipvlan,
                mode: manner.mode.clone(),
            },
        }),
        Driver::Bridge | Driver::None | Driver::Host => {
            let bridge = Bridge {
                name: to.bridge.clone(),
                subnet: to.subnet,
                gateway: to.gateway,
                v6: to.v6.map(|six| (six.gateway, six.subnet)),
                mtu: manner.mtu,
                vlan: manner.vlan,
                alias: to.network_id.as_deref().map(alias),
            };
            let rules = rules::Bridge {
                name: to.bridge.clone(),
                internal: manner.internal,
                open: manner.open,
                routed: manner.routed,
                apart: manner.apart,
                v6: to.v6.is_some(),
            };
            plan.host.push(NetworkStep::Bridge(bridge));
            // What is not to be reached must not be reached without rules either.
            let needed = !to.ports.is_empty() || manner.internal;
            plan.host.push(NetworkStep::Rules { table: table.clone(), bridge: rules, needed });
            plan.beside.push(NetworkStep::Pair {
                id: to.id.clone(),
                host_link: to.host_link.clone(),
                bridge: to.bridge.clone(),
                link: to.link.clone(),
                mac: to.mac,
                mtu: manner.mtu,
                apart: manner.apart,
            });
            plan.settled
                .push(NetworkStep::Settle { host_link: to.host_link.clone(), bridge: to.bridge.clone() });
            plan.settled.extend(
                to.v6.map(|six| NetworkStep::Hears { link: to.bridge.clone(), address: six.gateway }),
            );
        }
    }
    let link = &to.link;
    let (address, subnet, bridge) = (to.address, to.subnet, to.bridge.clone());
    plan.inside.push(NetworkStep::Address { link: link.clone(), address, subnet, bridge });
    plan.inside.push(NetworkStep::Up { link: link.clone() });
    let further = to.link_local.iter().map(|address| (*address, if address.is_ipv4() { 16 } else { 64 }));
    let six = to.v6.map(|six| (IpAddr::V6(six.address), six.subnet.prefix()));
    for (address, prefix) in six.into_iter().chain(further) {
        plan.inside.push(NetworkStep::Further { link: link.clone(), address, prefix });
    }
    if to.way_out {
        let gateway = to.gateway.into();
        plan.inside.push(NetworkStep::DefaultRoute { link: link.clone(), gateway });
    }
    if let Some(six) = to.v6.filter(|_| to.way_out6) {
        let gateway = six.gateway.into();
        plan.inside.push(NetworkStep::DefaultRoute { link: link.clone(), gateway });
    }
    plan.inside.extend(to.v6.map(|six| NetworkStep::Hears { link: link.clone(), address: six.address }));
    plan
}

/// The step that makes a network's bridge; none of one without.
pub(crate) fn bridge_of(network: &Network) -> Option<impl Step + use<>> {
    let pool = network.v4.filter(|_| network.driver == Driver::Bridge)?;
    Some(NetworkStep::Bridge(Bridge {
        name: network.bridge(),
        subnet: pool.subnet,
        gateway: pool.gateway,
        v6: network.v6.map(|six| (six.gateway, six.subnet)),
        mtu: network.mtu(),
        vlan: network.vlan(),
        alias: Some(alias(&network.id)),
    }))
}

/// One step of this room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkStep {
    /// The network's bridge: there, up, with the host's address.
    Bridge(Bridge),
    /// The engine's table of rules: there, with this bridge. `needed`: ports are published, or the network is internal.
    Rules { table: Table, bridge: rules::Bridge, needed: bool },
    /// What the host sends to its own 127.0.0.1 may leave by the bridge.
    Localnet { bridge: String },
    /// Answers for the host's ::1 may come in by the bridge.
    Localnet6 { bridge: String },
    /// The host's ports that lead to the container.
    Publish { table: Table, id: String, to: Target, ports: Vec<Published> },
    /// The pair of links, one end a port of the bridge, the other in the container.
    Pair {
        id: String,
        host_link: String,
        bridge: String,
        link: String,
        mac: [u8; 6],
        mtu: Option<u32>,
        /// The bridge keeps it from its other ports.
        apart: bool,
    },
    /// A link beside one of the host's, in the container.
    Beside { id: String, link: Beside },
    /// The container's loopback link.
    Loopback,
    /// The container's address.
    Address { link: String, address: Ipv4Addr, subnet: Subnet, bridge: String },
    /// A further address of the container, of IPv6 or for the link alone.
    Further { link: String, address: IpAddr, prefix: u8 },
    /// The container's link.
    Up { link: String },
    /// The container's way out.
    DefaultRoute { link: String, gateway: IpAddr },
    /// The bridge's port: forwarding.
    Settle { host_link: String, bridge: String },
    /// An IPv6 address: neighbours who ask for it are heard.
    Hears { link: String, address: Ipv6Addr },
}

impl Step for NetworkStep {
    fn id(&self) -> &'static str {
        match self {
            Self::Bridge { .. } => "network.bridge",
            Self::Rules { .. } => "network.rules",
            Self::Localnet { .. } => "network.localnet",
            Self::Localnet6 { .. } => "network.localnet6",
            Self::Publish { .. } => "network.publish",
            Self::Pair { .. } => "network.veth",
            Self::Beside { .. } => "network.beside",
            Self::Further { .. } => "network.address",
            Self::Loopback => "network.loopback",
            Self::Address { .. } => "network.address",
            Self::Up { .. } => "network.up",
            Self::DefaultRoute { .. } => "network.route",
            Self::Settle { .. } => "network.settle",
            Self::Hears { .. } => "network.hears",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Bridge(Bridge { name: bridge, subnet, gateway, v6, .. }) => format!(
                "unless {subnet} dev {bridge} src {gateway} is a route: sendto(netlink, RTM_NEWLINK {{name={bridge}, \
                 kind=bridge, address={}, up}}), sendto(netlink, RTM_NEWADDR {{local={gateway}/{}, dev={bridge}}}){}",
                mac_text(mac_of(*gateway)),
                subnet.prefix(),
                v6.map_or_else(String::new, |(address, subnet)| new_address(
                    bridge,
                    address.into(),
                    subnet.prefix()
                ))
            ),
            Self::Rules { table, bridge, .. } => format!(
                "unless table inet {name} has bridge {bridge}, NFT_MSG_GETSETELEM: sendto(netlink, {{NFT_MSG_NEWTABLE \
                 {name}, NFT_MSG_NEWSET, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSETELEM {bridge}}})",
                name = table.name,
                bridge = bridge.name
            ),
            Self::Localnet { bridge } => format!("write(\"{}\", \"1\")", localnet(bridge)),
            Self::Localnet6 { bridge } => {
                format!(
                    "sendto(netlink, RTM_NEWROUTE {{type=local, dst=::1/128, dev={bridge}, table=local}})"
                )
            }
            Self::Publish { table, to, ports, .. } => format!(
                "sendto(netlink, {{NFT_MSG_NEWSETELEM {} {} to {}{}}})",
                table.name,
                ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                to.v4,
                to.v6.map_or_else(String::new, |six| format!(" and {six}"))
            ),
            Self::Beside { link, .. } => format!(
                "sendto(netlink, RTM_NEWLINK {{name={}, kind={}, link={}, netns=<init>}})",
                link.link,
                beside_kind(link),
                link.parent
            ),
            Self::Further { link, address, prefix } => new_address(link, *address, *prefix)[2..].to_owned(),
            Self::Pair { host_link, bridge, link, mac, apart, .. } => format!(
                "sendto(netlink, RTM_NEWLINK {{name={host_link}, kind=veth, master={bridge}, up, queues=1, \
                 peer={{name={link}, address={}, netns=<init>, queues=1}}}}){}",
                mac_text(*mac),
                match apart {
                    true => format!(", sendto(netlink, RTM_NEWLINK {{name={host_link}, isolated}})"),
                    false => String::new(),
                }
            ),
            Self::Loopback => "sendto(netlink, RTM_NEWLINK {name=lo, up})".into(),
            Self::Address { link, address, subnet, .. } => {
                format!("sendto(netlink, RTM_NEWADDR {{local={address}/{}, dev={link}}})", subnet.prefix())
            }
            Self::Up { link } => format!("sendto(netlink, RTM_NEWLINK {{name={link}, up}})"),
            Self::DefaultRoute { gateway, .. } => {
                let all = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
                format!("sendto(netlink, RTM_NEWROUTE {{dst={all}, gateway={gateway}}})")
            }
            Self::Hears { link, address } => format!(
                "sendto(netlink, RTM_GETLINK {{name={link}}}), read(\"/proc/thread-self/net/igmp6\") until it has {link} in {}",
                links::group_of(*address)
            ),
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
            Self::Localnet6 { .. } => {
                "the ports are published on ::1, for which the kernel takes answers from loopback alone otherwise"
            }
            Self::Publish { .. } => {
                "asked for: --publish; all ports at once, in maps in which the kernel finds one among thousands"
            }
            Self::Pair { apart: true, .. } => {
                "a cable from the bridge into the container, at a port that the bridge keeps from its others: the \
                 network was made with enable_icc=false"
            }
            Self::Pair { .. } => {
                "a cable from the bridge into the container; made at both ends in one request, for moving an end later \
                 takes 19 ms"
            }
            Self::Beside { .. } => {
                "the container stands in the host's own network: its packets leave by the host's link as they are"
            }
            Self::Further { .. } => {
                "an address that counts at once: nobody is asked whether it is taken (IFA_F_NODAD)"
            }
            Self::Loopback => "a new network namespace has its loopback link down",
            Self::Address { .. } => {
                "the address that was reserved; the route to the neighbours comes with it"
            }
            Self::Up { .. } => "a link that is down carries nothing",
            Self::DefaultRoute { .. } => "everything beyond the neighbours goes by the host",
            Self::Hears { .. } => {
                "a worker of the kernel joins the group in which neighbours ask for the address; a question that comes \
                 earlier is lost, which would cost a second"
            }
            Self::Settle { .. } => {
                "to tell the link's state the kernel must make it true first: the bridge's port forwards from now on, \
                 not from some later moment, and the program's first packet is not lost, which would cost a second"
            }
        })
    }

    fn shell(&self) -> Shell {
        Shell::Lines(match self {
            Self::Bridge(Bridge { name: bridge, subnet, gateway, v6, mtu, vlan, alias }) => {
                let mtu = mtu.map_or_else(String::new, |mtu| format!(" mtu {mtu}"));
                let tag =
                    vlan.map(|tag| format!(" vlan_filtering 1 vlan_default_pvid {tag}")).unwrap_or_default();
                let mut lines = vec![
                    format!(
                        "ip link show dev {bridge} >/dev/null 2>&1 || ip link add name {bridge} address {}{mtu} type \
                         bridge{tag}",
                        mac_text(mac_of(*gateway))
                    ),
                    format!("ip address replace {gateway}/{} broadcast + dev {bridge}", subnet.prefix()),
                    format!("ip link set dev {bridge} up"),
                ];
                lines.extend(
                    alias.as_ref().map(|alias| format!("ip link set dev {bridge} alias {}", quote(alias))),
                );
                if let Some((address, subnet)) = v6 {
                    lines
                        .push(format!("ip address replace {address}/{} dev {bridge} nodad", subnet.prefix()));
                }
                lines
            }
            Self::Rules { table, bridge, .. } => {
                let name = &table.name;
                let mut lines = vec![format!(
                    "nft list table inet {name} >/dev/null 2>&1 || nft {}",
                    quote(&table.script(bridge))
                )];
                let add = |(set, element): (&str, String)| {
                    format!("nft {}", quote(&format!("add element inet {name} {set} {{ {element} }}")))
                };
                lines.extend(bridge.script().into_iter().map(add));
                lines
            }
            Self::Localnet { bridge } => vec![format!("echo 1 > {}", localnet(bridge))],
            Self::Localnet6 { bridge } => vec![format!(
                "ip -6 route show table local dev {bridge} | grep -q '^local ::1 ' || ip -6 route append local ::1 dev \
                 {bridge} table local metric 4096"
            )],
            Self::Publish { table, to, ports, .. } => Table::script_ports(*to, ports)
                .into_iter()
                .map(|(map, list)| {
                    let command = format!("add element inet {} {map} {list}", table.name);
                    format!("nft {}", quote(&command))
                })
                .collect(),
            Self::Pair { id, host_link, bridge, link, mac, mtu, apart } => {
                let mtu = mtu.map_or_else(String::new, |mtu| format!(" mtu {mtu}"));
                let mut lines = vec![format!(
                    "ip link add name {host_link} up master {bridge}{mtu} numtxqueues 1 numrxqueues 1 type veth peer name \
                     {link} address {}{mtu} numtxqueues 1 numrxqueues 1 netns {}",
                    mac_text(*mac),
                    netns_name(id)
                )];
                lines.extend(
                    apart.then(|| format!("ip link set dev {host_link} type bridge_slave isolated on")),
                );
                lines
            }
            Self::Beside { id, link } => {
                let address =
                    if link.shared { String::new() } else { format!(" address {}", mac_text(link.mac)) };
                let mode = link.mode.as_deref().unwrap_or(if link.shared { "l2" } else { "bridge" });
                let mtu = link.mtu.map_or_else(String::new, |mtu| format!(" mtu {mtu}"));
                vec![format!(
                    "ip link add name {} link {}{address}{mtu} netns {} type {} mode {mode}",
                    link.link,
                    link.parent,
                    netns_name(id),
                    beside_kind(link)
                )]
            }
            Self::Further { link, address, prefix } => {
                let nodad = if address.is_ipv6() { " nodad" } else { "" };
                vec![format!("ip addr add {address}/{prefix} dev {link}{nodad}")]
            }
            Self::Loopback => vec!["ip link set lo up".into()],
            Self::Address { link, address, subnet, .. } => {
                vec![format!("ip addr add {address}/{} broadcast + dev {link}", subnet.prefix())]
            }
            Self::Up { link } => vec![format!("ip link set {link} up")],
            Self::DefaultRoute { gateway: IpAddr::V4(gateway), .. } => {
                vec![format!("ip route add default via {gateway}")]
            }
            Self::DefaultRoute { gateway, link } => {
                vec![format!("ip -6 route add default via {gateway} dev {link}")]
            }
            Self::Hears { link, address } => {
                let group: String =
                    links::group_of(*address).octets().iter().map(|byte| format!("{byte:02x}")).collect();
                vec![format!(
                    "for n in 1 2 3 4 5 6 7 8 9 10; do grep -q '{link} *{group}' /proc/self/net/igmp6 && break; sleep 0.02; done"
                )]
            }
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
            Self::Publish { table, id, to, ports } => return table.publish(id, *to, ports),
            _ => {}
        }
        let init = context.init;
        let route = socket(self.id(), context)?;
        match self {
            Self::Bridge(bridge) => {
                if !links::bridge_is_ready(route, &bridge.name, bridge.subnet, bridge.gateway) {
                    return links::ensure_bridge(route, self.id(), bridge);
                }
                // The question was of IPv4 alone.
                match bridge.v6 {
                    Some((address, subnet)) => {
                        links::ensure_ipv6(route, self.id(), &bridge.name, address, subnet)
                    }
                    None => Ok(()),
                }
            }
            Self::Localnet6 { bridge } => links::let_loopback6_in(route, bridge)
                .map_err(|refusal| failed(self.id(), format!("::1 by {bridge}"), refusal)),
            Self::Rules { .. } | Self::Localnet { .. } | Self::Publish { .. } => Ok(()),
            Self::Pair { host_link, .. } | Self::Beside { link: Beside { link: host_link, .. }, .. } => {
                let init = init.ok_or_else(|| {
                    Failure::because(
                        self.id(),
                        host_link,
                        "there is no process yet whose namespace it could lead to",
                    )
                })?;
                self.cable(route, Inside::Init(init))
            }
            Self::Further { link, address, prefix } => {
                let added = match address {
                    IpAddr::V4(address) => {
                        links::add_address(route, link, *address, Subnet::of(*address, *prefix))
                    }
                    IpAddr::V6(address) => links::add_address6(route, link, *address, *prefix),
                };
                added.map_err(|refusal| {
                    let off = refusal.errno == Errno::ACCESS || refusal.errno == Errno::OPNOTSUPP;
                    let failure = failed(self.id(), format!("{link}, address {address}"), refusal);
                    if off && address.is_ipv6() {
                        failure.hint("IPv6 is off in the container: use a network without --ipv6, or turn it on: --sysctl net.ipv6.conf.all.disable_ipv6=0")
                    } else {
                        failure
                    }
                })
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
            Self::DefaultRoute { link, gateway } => links::add_default_route(route, link, *gateway, false)
                .map_err(|refusal| failed(self.id(), format!("default via {gateway}"), refusal)),
            Self::Hears { link, address } => {
                links::hears(route, link, *address).map_err(|refusal| failed(self.id(), link, refusal))
            }
            // The port first: it gives the bridge its carrier.
            Self::Settle { host_link, bridge } => [host_link, bridge].into_iter().try_for_each(|link| {
                links::settle(route, link).map_err(|refusal| failed(self.id(), link, refusal))
            }),
        }
    }
}

impl NetworkStep {
    /// Makes the container's link.
    pub(crate) fn cable(&self, route: Route<'_>, inside: Inside<'_>) -> Result<(), Failure> {
        match self {
            Self::Pair { host_link, bridge, link, mac, mtu, apart, .. } => links::attach(
                route,
                self.id(),
                Pair { host_link, bridge, link, mac: *mac, mtu: *mtu, apart: *apart },
                inside,
            ),
            Self::Beside { link, .. } => links::stand_beside(route, self.id(), link, inside),
            _ => Ok(()),
        }
    }
}

fn beside_kind(link: &Beside) -> &'static str {
    if link.shared { "ipvlan" } else { "macvlan" }
}

/// A further request that gives a link an address, after another.
fn new_address(link: &str, address: IpAddr, prefix: u8) -> String {
    format!(", sendto(netlink, RTM_NEWADDR {{local={address}/{prefix}, dev={link}, nodad}})")
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
mod tests;
