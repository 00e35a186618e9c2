//! `network connect`: a network more for a container, running or not.

use engine::Settings;
use engine::ops::networks;
use engine::request::Endpoint;

use crate::commands::Command;
use crate::options::{Group, Typed, Words, many, one};
use crate::problem::Problem;
use crate::terminal::report_warning;
use crate::values::{addresses, networks as values};

pub(crate) const COMMAND: Command = Command {
    name: "network connect",
    long_names: &[],
    summary: "Connect a container to a further network",
    usage: &["network connect [OPTIONS] NETWORK CONTAINER"],
    about: "Connect a container to a further network: at once if it runs, and whenever it is started.",
    examples: &[(
        "minidocker network connect --alias db backstage web",
        "other containers there know it as db",
    )],
    groups: &[Group {
        title: "Options",
        options: &[
            many("alias", "NAME", "A further name of the container on this network"),
            many("driver-opt", "KEY=VALUE", "Kept for who asks"),
            one("gw-priority", "NUMBER", "The network with the most is the way out (default 0)"),
            one("ip", "ADDRESS", "IPv4 address, of the network's"),
            one("ip6", "ADDRESS", "IPv6 address, of the network's"),
            many("link", "NAME[:ALIAS]", "What it alone calls another container of this network"),
            many("link-local-ip", "ADDRESS", "A further address of the link: of 169.254.0.0/16 or fe80::/10"),
            one("mac-address", "MAC", "Such as 92:d0:c6:0a:29:33"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [network, container] = typed.words.as_slice() else {
        return Err(Problem::new("network connect needs a network and a container")
            .hint("for example: minidocker network connect backstage web"));
    };
    let endpoint = Endpoint {
        network: network.clone(),
        aliases: typed.read_many("alias", values::alias)?,
        ip: typed.read("ip", addresses::ip)?,
        ip6: typed.read("ip6", values::ip6)?,
        mac: typed.read("mac-address", addresses::mac)?,
        link_local: typed.read_many("link-local-ip", values::link_local)?,
        driver_options: typed.read_many("driver-opt", values::option)?.into_iter().collect(),
        priority: typed.read("gw-priority", values::priority)?.unwrap_or(0),
        links: typed.read_many("link", values::link)?,
    };
    for (message, hint) in networks::connect(settings, container, &endpoint)? {
        report_warning(&message, hint.as_deref());
    }
    Ok(0)
}
