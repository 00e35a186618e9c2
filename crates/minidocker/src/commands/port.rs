//! `port`: the published ports of a container, and who can reach them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use engine::ops::port::Reach;
use engine::request::{Protocol, Published};
use engine::{Settings, ops};

use super::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::template::{self, Field, Row};
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "port",
    long_names: &["container port"],
    summary: "Show the published ports of a container",
    usage: &["port [OPTIONS] CONTAINER [PORT[/PROTOCOL]]"],
    about: "Show which ports of this host lead into a container: 0.0.0.0 stands for all addresses of this host, 127.0.0.1 is\n\
            for its own programs alone. What the host's firewall does not let through reaches none of them: --reach\n\
            tells who can, as far as addresses and the policies of the firewall's chains say it.",
    examples: &[
        ("minidocker port web", "all of them"),
        ("minidocker port web 80/tcp", "where port 80 of the container is reached"),
        ("minidocker port --reach web", "by whom"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("reach", "Tell who can reach each of them"),
            one("format", "FORMAT", "table, json, or a template such as '{{.Host}} {{.Reach}}'"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

const FIELDS: &[Field] = &[
    ("Container", "CONTAINER"),
    ("Host", "HOST"),
    ("Who", "WHO"),
    ("Networks", "NETWORKS"),
    ("Chains", "CHAINS"),
    ("Reach", "REACHED BY"),
];
const TABLE: &str = "table {{.Container}}\t{{.Host}}\t{{.Reach}}";

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let (name, wanted) = match typed.words.as_slice() {
        [name] => (name, None),
        [name, port] => (name, Some(parse(port)?)),
        _ => {
            return Err(Problem::new("port needs a container, and one port at most")
                .hint("for example: minidocker port web 80/tcp"));
        }
    };
    let format = typed.read("format", |text| template::parse(text, FIELDS, TABLE))?;
    let reach = typed.flag("reach")?.unwrap_or(false);
    // Docker's lines need no question to the kernel.
    let all: Vec<(Published, Option<Reach>)> = if reach || format.is_some() {
        let all = ops::port::reach(settings, name)?;
        all.into_iter().map(|(published, reach)| (published, Some(reach))).collect()
    } else {
        ops::port::ports(settings, name)?.into_iter().map(|published| (published, None)).collect()
    };
    let chosen = |line: &Line<'_>| wanted.is_none_or(|wanted| wanted == (line.container, line.protocol));
    let lines: Vec<Line<'_>> = each(&all).into_iter().filter(chosen).collect();
    if let Some((port, _)) = wanted.filter(|_| lines.is_empty()) {
        let (typed, name) = (step::quote(&typed.words[1]).into_owned(), plain(name));
        return Err(Problem::new(format!("no public port {typed} published for {name}")).hint(format!(
            "publish it when you make the container (-p {port}), or reach it at its own address: \
             minidocker inspect -f '{{{{.NetworkSettings.IPAddress}}}}' {name}"
        )));
    }
    if let Some(template) = format {
        let rows: Vec<Row> = lines.iter().map(Line::row).collect();
        return print(&template.render(FIELDS, &rows)).map(|()| 0);
    }
    print(&lines.iter().map(|line| line.text(wanted.is_some())).collect::<String>()).map(|()| 0)
}

/// One port: the container's, its protocol, where it is reached, and by whom where that was asked for.
struct Line<'a> {
    container: u16,
    protocol: Protocol,
    host: String,
    reach: Option<&'a Reach>,
}

impl Line<'_> {
    /// As Docker has it; who can reach it stands behind, where other programs that read these lines do not look.
    fn text(&self, short: bool) -> String {
        let head = if short { String::new() } else { format!("{}/{} -> ", self.container, self.protocol) };
        let reach = self.reach.map_or(String::new(), |reach| format!("  {reach}"));
        format!("{head}{}{reach}\n", self.host)
    }

    fn row(&self) -> Row {
        let networks = match self.reach.map(|reach| &reach.who) {
            Some(ops::port::Who::Networks(networks)) => networks.join(","),
            _ => String::new(),
        };
        let chain = |chain: &ops::port::Chain| format!("{} {} {}", chain.hook, chain.table, chain.name);
        let chains = self.reach.map(|reach| reach.chains.iter().map(chain).collect::<Vec<_>>());
        let values = vec![
            format!("{}/{}", self.container, self.protocol),
            self.host.clone(),
            self.reach.map_or("", |reach| reach.who.name()).to_owned(),
            networks,
            chains.unwrap_or_default().join(","),
            self.reach.map_or(String::new(), ToString::to_string),
        ];
        Row { values, labels: BTreeMap::new() }
    }
}

/// Each port by itself.
fn each(all: &[(Published, Option<Reach>)]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for (published, reach) in all {
        let (address, protocol) = (published.address, published.container.protocol);
        lines.extend(published.each().map(|(host, container)| Line {
            container,
            protocol,
            host: place(address, host),
            reach: reach.as_ref(),
        }));
    }
    lines
}

/// `0.0.0.0:8080`, `[::]:8080`.
pub(super) fn place(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

/// `80`, `80/udp`.
fn parse(text: &str) -> Result<(u16, Protocol), Problem> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match (port.parse(), protocol.parse()) {
        (Ok(port), Ok(protocol)) => Ok((port, protocol)),
        _ => Err(Problem::new(format!("{} is no port", step::quote(text)))
            .hint("write it as 80, 80/tcp, 53/udp or 9/sctp")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert_eq!(parse("80").unwrap(), (80, Protocol::Tcp));
        assert_eq!(parse("53/udp").unwrap(), (53, Protocol::Udp));
        for wrong in ["", "x", "80/", "80/ip", "70000", "-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_are_shown_port_by_port() {
        let published =
            ["0.0.0.0:8000-8001->80-81/tcp", "[::1]:53->53/udp"].map(|text| text.parse().unwrap());
        let all = published.map(|one| (one, None));
        let shown: Vec<String> = each(&all).iter().map(|line| line.text(false)).collect();
        assert_eq!(shown, ["80/tcp -> 0.0.0.0:8000\n", "81/tcp -> 0.0.0.0:8001\n", "53/udp -> [::1]:53\n"]);
        assert_eq!(each(&all)[2].text(true), "[::1]:53\n");
    }
}
