//! `network create`: a network before its first container.

use engine::Settings;
use engine::ops::networks::{self, NewNetwork};

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::terminal::print;
use crate::values::{env, networks as values};

pub(crate) const COMMAND: Command = Command {
    name: "network create",
    long_names: &[],
    summary: "Make a network",
    usage: &["network create [OPTIONS] NETWORK"],
    about: "Make a network and print its id. Containers on it reach each other, the host and the world; other networks\n\
            do not reach them. Without --subnet it gets one that no route of this host and no other network has.",
    examples: &[
        ("minidocker network create web", "then: minidocker run --network web app"),
        ("minidocker network create --ipv6 --subnet 10.7.0.0/24 --subnet fd00:7::/64 both", "IPv4 and IPv6"),
        ("minidocker network create --internal backstage", "no way out, and none in"),
        (
            "minidocker network create -d macvlan --subnet 192.168.1.0/24 -o parent=eth0 lan",
            "containers in the host's own network",
        ),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            one("driver", "DRIVER", "bridge (default), macvlan, ipvlan, none or host").short('d'),
            many("subnet", "SUBNET", "Its addresses: 10.7.0.0/24, and a second one of IPv6: fd00:7::/64"),
            many("gateway", "ADDRESS", "The host's address there (default: the subnet's first)"),
            many("ip-range", "SUBNET", "Containers get addresses of this part of the subnet"),
            many("aux-address", "NAME=ADDRESS", "An address that some other machine has")
                .alias("aux-addresses"),
            flag("ipv6", "IPv6 too; without --subnet of it a unique local one"),
            flag("ipv4", "IPv4 (default true)"),
            flag("internal", "No way out, and no published ports"),
            many(
                "opt",
                "KEY=VALUE",
                "mtu=, vlan=, isolate=false, parent=, com.docker.network.bridge.name=, …",
            )
            .short('o'),
            many("label", "KEY=VALUE", "Label of the network"),
            flag("attachable", "Kept for who asks: every network is"),
            one("ipam-driver", "DRIVER", "default"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(
            Problem::new("network create needs one name").hint("for example: minidocker network create web")
        );
    };
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    typed.read("ipam-driver", |text| match text {
        "default" => Ok(()),
        _ => Err("there is no such driver, only default".to_owned()),
    })?;
    if typed.flag("ipv4")? == Some(false) {
        return Err(Problem::new("--ipv4=false: a network without IPv4 cannot be made")
            .hint("leave it out; --ipv6 adds IPv6"));
    }
    let driver = typed.read("driver", |text| {
        networks::driver(text)
            .ok_or_else(|| "no such driver, there are bridge, macvlan, ipvlan, none and host".to_owned())
    })?;
    let words = |long| typed.many(long).map(str::to_owned).collect();
    let new = NewNetwork {
        name: name.clone(),
        driver: driver.unwrap_or_default(),
        subnets: words("subnet"),
        gateways: typed.read_many("gateway", values::gateway)?,
        ranges: words("ip-range"),
        auxiliary: typed.read_many("aux-address", values::auxiliary)?.into_iter().collect(),
        ipv6: on("ipv6")?,
        internal: on("internal")?,
        attachable: on("attachable")?,
        labels: typed.read_many("label", env::label)?.into_iter().collect(),
        options: typed.read_many("opt", values::option)?.into_iter().collect(),
    };
    let id = networks::create(settings, &new)?;
    print(&format!("{id}\n")).map(|()| 0)
}
