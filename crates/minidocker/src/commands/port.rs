//! `port`: the published ports of a container.

use std::net::IpAddr;

use engine::request::{Protocol, Published};
use engine::{Settings, ops};

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "port",
    long_names: &["container port"],
    summary: "Show the published ports of a container",
    usage: &["port CONTAINER [PORT[/PROTOCOL]]"],
    about: "Show which ports of this host lead into a container: 0.0.0.0 stands for all addresses of this host, 127.0.0.1 is\n\
            for its own programs alone. What the host's firewall does not let through reaches none of them.",
    examples: &[
        ("minidocker port web", "all of them"),
        ("minidocker port web 80/tcp", "where port 80 of the container is reached"),
    ],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let (name, wanted) = match typed.words.as_slice() {
        [name] => (name, None),
        [name, port] => (name, Some(parse(port)?)),
        _ => {
            return Err(Problem::new("port needs a container, and one port at most")
                .hint("for example: minidocker port web 80/tcp"));
        }
    };
    let published = ops::port::ports(settings, name)?;
    let Some((port, protocol)) = wanted else {
        let line = |(container, protocol, host): (u16, Protocol, String)| {
            format!("{container}/{protocol} -> {host}\n")
        };
        return print(&each(&published).into_iter().map(line).collect::<String>()).map(|()| 0);
    };
    let lines: String = each(&published)
        .into_iter()
        .filter(|(container, of, _)| (*container, *of) == (port, protocol))
        .map(|(_, _, host)| host + "\n")
        .collect();
    if lines.is_empty() {
        let (typed, name) = (step::quote(&typed.words[1]).into_owned(), plain(name));
        return Err(Problem::new(format!("no public port {typed} published for {name}")).hint(format!(
            "publish it when you make the container (-p {port}), or reach it at its own address: \
             minidocker inspect -f '{{{{.NetworkSettings.IPAddress}}}}' {name}"
        )));
    }
    print(&lines).map(|()| 0)
}

/// Each port by itself: the container's, its protocol, and where it is reached.
fn each(published: &[Published]) -> Vec<(u16, Protocol, String)> {
    let one = |published: &Published| {
        let (address, protocol) = (published.address, published.container.protocol);
        published.each().map(move |(host, container)| (container, protocol, place(address, host)))
    };
    published.iter().flat_map(one).collect()
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
        let shown: Vec<String> = each(&published).into_iter().map(|(_, _, host)| host).collect();
        assert_eq!(shown, ["0.0.0.0:8000", "0.0.0.0:8001", "[::1]:53"]);
    }
}
