//! `network show`: namespaces, links, bridges, rules and published ports as a picture of what the kernel says.

mod html;
mod picture;
mod svg;
mod text;

use std::io::IsTerminal as _;

use engine::Settings;
use engine::ops::survey;

use crate::commands::Command;
use crate::options::{Group, Typed, Words, bad_value, flag, one};
use crate::problem::Problem;
use crate::terminal::{self, print};
use picture::Picture;

pub(crate) const COMMAND: Command = Command {
    name: "network show",
    long_names: &[],
    summary: "Draw networks, links and published ports as the kernel has them",
    usage: &["network show [OPTIONS]"],
    about: "Draw the host's and the containers' network namespaces, their links and addresses, bridges, limits, rules\n\
            and published ports. All of it is asked of the kernel by netlink, in each namespace; nothing is read of\n\
            minidocker's own files. A bridge runs down as a heavy line, each cable from it ends at a container.",
    examples: &[
        ("minidocker network show", ""),
        (
            "minidocker network show --html networks.html --svg networks.svg",
            "for a browser, and for a document",
        ),
        ("minidocker network show --all", "with the namespaces of other programs"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all", "Show every network namespace of this host").short('a'),
            one("format", "FORMAT", "text (default) or json"),
            one("svg", "FILE", "Write the picture to this file; - for standard output"),
            one("html", "FILE", "Write a page that needs no other file"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if !typed.words.is_empty() {
        return Err(Problem::new("network show takes no words").hint("it draws all networks"));
    }
    let json = match typed.one("format") {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => return Err(bad_value("format", other, "neither text nor json")),
    };
    let survey = survey::survey(settings, typed.flag("all")?.unwrap_or(false))?;
    let picture = Picture::new(&survey);
    let files = [
        typed.one("svg").map(|path| (path, svg::file(&picture))),
        typed.one("html").map(|path| (path, html::page(&survey, &picture))),
    ];
    for (path, text) in files.iter().flatten() {
        match *path {
            "-" => print(text)?,
            path => std::fs::write(path, text).map_err(|error| {
                Problem::new(format!("cannot write {path}: {}", terminal::io_reason(&error)))
            })?,
        }
    }
    if json {
        let text = serde_json::to_string_pretty(&survey).map_err(|error| Problem::new(error.to_string()))?;
        print(&format!("{text}\n"))?;
    } else if files.iter().all(Option::is_none) {
        let colours = std::io::stdout().is_terminal() && terminal::coloured();
        print(&text::draw(&picture, width(), colours))?;
    }
    Ok(0)
}

/// The terminal's width; 80 columns where there is none.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
}
