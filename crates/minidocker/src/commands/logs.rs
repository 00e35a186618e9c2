//! `logs`: what a container has printed.

use std::io::{self, BufWriter, Write as _};

use engine::ops::logs::{self, Options, Piece, Stream};
use engine::{Error, Kind, Settings};
use oci::time::Rfc3339;

use super::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::terminal::io_reason;
use crate::values::durations;

pub(crate) const COMMAND: Command = Command {
    name: "logs",
    long_names: &["container logs"],
    summary: "Show what a container has printed",
    usage: &["logs [OPTIONS] CONTAINER"],
    about: "Show what a container has printed, to standard output and standard error each on its own.\n\
            Times are shown in UTC; a time that is typed without a zone is in that of TZ or /etc/localtime.",
    examples: &[
        ("minidocker logs -f --tail 10 web", "the last ten lines, and what comes"),
        ("minidocker logs -t --since 5m web", "of the last five minutes, with times"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("follow", "Go on until the container ends").short('f'),
            one("since", "TIME", "Only later than this: 42m ago, or 2026-11-21T13:23:37Z"),
            one("until", "TIME", "Only earlier than this"),
            one("tail", "LINES", "So many lines from the end (default all)").short('n'),
            flag("timestamps", "Show when each line was printed").short('t'),
            flag("details", "Show labels and variables that --log-opt chose"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(Problem::new("logs needs one container").hint("'minidocker ps -a' lists them"));
    };
    let (stamps, details) =
        (typed.flag("timestamps")?.unwrap_or(false), typed.flag("details")?.unwrap_or(false));
    let options = Options {
        since: typed.read("since", durations::moment)?,
        until: typed.read("until", durations::moment)?,
        tail: typed.read("tail", lines)?.flatten(),
        lines: stamps || details,
        follow: typed.flag("follow")?.unwrap_or(false),
        ..Options::default()
    };
    let printer = std::cell::RefCell::new(Printer::new(stamps, details));
    let shown = logs::logs(
        settings,
        name,
        &options,
        &mut |piece| printer.borrow_mut().print(&piece).map_err(unwritten),
        &mut || printer.borrow_mut().out.flush().map_err(unwritten),
    );
    match shown {
        // Nobody reads any more: `logs | head`.
        Err(error) if error.message == UNREAD => Ok(0),
        shown => shown.map(|()| 0).map_err(Problem::from),
    }
}

const UNREAD: &str = "nobody reads";

fn unwritten(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Error::new(Kind::Engine, UNREAD);
    }
    Error::new(Kind::Engine, format!("cannot write the output: {}", io_reason(&error)))
}

/// `--tail`: none for all. What is no number means all too, as in Docker.
fn lines(text: &str) -> Result<Option<u64>, String> {
    Ok(text.parse().ok())
}

/// Puts standard output and standard error in the order in which they were printed.
struct Printer {
    out: BufWriter<io::Stdout>,
    stamps: bool,
    details: bool,
}

impl Printer {
    fn new(stamps: bool, details: bool) -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, io::stdout()), stamps, details }
    }

    fn print(&mut self, piece: &Piece<'_>) -> io::Result<()> {
        let mut head = Vec::new();
        if piece.begins && self.stamps {
            let mut space = [0; 30];
            let length = Rfc3339::aligned(piece.nanoseconds).write(&mut space);
            head.extend_from_slice(&space[..length]);
            head.push(b' ');
        }
        if piece.begins && self.details {
            head.extend(details(piece.attributes).into_bytes());
            head.push(b' ');
        }
        match piece.stream {
            Stream::Stdout => {
                self.out.write_all(&head)?;
                self.out.write_all(piece.bytes)
            }
            Stream::Stderr => {
                self.out.flush()?;
                let mut err = io::stderr().lock();
                err.write_all(&head)?;
                err.write_all(piece.bytes)
            }
        }
    }
}

/// `a=1,b=2` of a JSON object.
fn details(attributes: &str) -> String {
    let all: std::collections::BTreeMap<String, String> =
        serde_json::from_str(attributes).unwrap_or_default();
    all.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
