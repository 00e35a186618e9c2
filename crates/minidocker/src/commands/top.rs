//! `top` and `port`: the processes of a container, and its published ports.

use engine::{Settings, ops};

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "top",
    long_names: &["container top"],
    summary: "Show the processes of a container",
    usage: &["top CONTAINER [PS OPTIONS]"],
    about: "Show the processes of a container that runs, by the host's ps and with its options; -ef without any. The\n\
            numbers are the host's.",
    examples: &[
        ("minidocker top web", ""),
        ("minidocker top web -o pid,rss,args", "other columns; the one of PID is needed"),
    ],
    groups: &[],
    words: Words::Last,
    failed: 1,
    exec: top,
};

pub(crate) const PORT: Command = Command {
    name: "port",
    long_names: &["container port"],
    summary: "Show the published ports of a container",
    usage: &["port CONTAINER [PORT[/PROTOCOL]]"],
    about: "Show which ports of this host lead into a container. There are none yet: a container's own address is\n\
            reachable from this host.",
    examples: &[("minidocker port web 80/tcp", "where port 80 is reached")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec: port,
};

fn top(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let Some((name, options)) = typed.words.split_first() else {
        return Err(Problem::new("top needs a container's name or id").hint("'minidocker ps' lists them"));
    };
    let found = ops::top::top(settings, name, options)?;
    let lines = std::iter::once(&found.titles).chain(&found.rows);
    let lines: Vec<Vec<String>> =
        lines.map(|line| line.iter().map(|cell| plain(cell).into_owned()).collect()).collect();
    print(&aligned(&lines)).map(|()| 0)
}

/// Docker's columns: at least twenty wide, three blanks between them.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells =
            lines.iter().filter(|line| column + 1 < line.len()).map(|line| line[column].chars().count());
        cells.max().map_or(0, |most| (most + 3).max(20))
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

fn port(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let (name, port) = match typed.words.as_slice() {
        [name] => (name, None),
        [name, port] => (name, Some(port)),
        _ => {
            return Err(Problem::new("port needs a container, and one port at most")
                .hint("for example: minidocker port web 80/tcp"));
        }
    };
    if let Some(text) = port {
        parse(text)?;
    }
    ops::inspect::inspect(settings, name, false)?;
    match port {
        None => Ok(0),
        Some(text) => Err(Problem::new(format!("no public port {} published for {name}", step::quote(text)))
        .hint(format!(
            "reach it at its own address: minidocker inspect -f '{{{{.NetworkSettings.IPAddress}}}}' {name}"
        ))),
    }
}

/// `80`, `80/udp`.
fn parse(text: &str) -> Result<(u16, &str), Problem> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let wrong = || {
        Problem::new(format!("{} is no port", step::quote(text)))
            .hint("write it as 80, 80/tcp, 53/udp or 9/sctp")
    };
    let port = port.parse().map_err(|_| wrong())?;
    if ["tcp", "udp", "sctp"].contains(&protocol) { Ok((port, protocol)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_dockers() {
        let line = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let text = aligned(&[line(&["UID", "CMD"]), line(&["root", "sh -c x"])]);
        assert_eq!(text, "UID                 CMD\nroot                sh -c x\n");
    }

    #[test]
    fn ports_are_read() {
        assert_eq!(parse("80").unwrap(), (80, "tcp"));
        assert_eq!(parse("53/udp").unwrap(), (53, "udp"));
        for wrong in ["", "x", "80/", "80/ip", "70000", "-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
