//! Where errors, warnings and debug lines go: to standard error, and to the file of `--log`, in the lines of Go's
//! logrus, which engines read: containerd takes the `msg` of the last error in the file for its own.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::SystemTime;

use serde::Serialize;

use crate::ages;
use crate::problem::Problem;
use crate::terminal;

/// `--log`, `--log-format`, `--debug`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// Absolute. Opened for each line: init, which is a fork of this process, must not find it open.
    pub(super) file: Option<PathBuf>,
    /// JSON instead of text.
    pub(super) json: bool,
    /// Debug lines too.
    pub(super) debug: bool,
}

/// Once for the process: a warning can come from anywhere.
static LOG: OnceLock<Log> = OnceLock::new();

/// From here on lines go where `log` says.
pub(super) fn set_up(log: Log) {
    // A second call would be our own mistake, and the first one counts.
    let _ = LOG.set(log);
}

/// One line of a log; the keys in logrus's order.
#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
}

/// An error: to the file, if there is one, and to standard error. The hint is a part of its one line.
pub(super) fn error(problem: &Problem) {
    let log = LOG.get();
    let message = sentence(&problem.message, problem.hint.as_deref());
    match log.filter(|log| log.file.is_some()) {
        Some(log) => {
            log.append("error", &message);
            terminal::warn(&format!("{message}\n"));
        }
        // Somebody looks on.
        None if io::stderr().is_terminal() && !log.is_some_and(|log| log.json) => terminal::report(problem),
        None => terminal::warn(&line("error", &message, log.is_some_and(|log| log.json))),
    }
}

/// A warning: to the file or, without one, to standard error.
pub(super) fn warn(message: &str) {
    tell("warning", message);
}

/// What happens, where `--debug` wants to know it: to the file or, without one, to standard error.
pub(super) fn debug(message: &str) {
    if LOG.get().is_some_and(|log| log.debug) {
        tell("debug", message);
    }
}

fn tell(level: &str, message: &str) {
    let message = terminal::plain(message);
    match LOG.get() {
        Some(log) if log.file.is_some() => log.append(level, &message),
        log => terminal::warn(&line(level, &message, log.is_some_and(|log| log.json))),
    }
}

impl Log {
    fn append(&self, level: &str, message: &str) {
        let Some(file) = &self.file else { return };
        let opened = OpenOptions::new().append(true).create(true).open(file);
        // In one write: several runtimes share the file.
        let written =
            opened.and_then(|mut opened| opened.write_all(line(level, message, self.json).as_bytes()));
        if let Err(error) = written {
            let reason = terminal::io_reason(&error);
            terminal::report_warning(&format!("cannot write the log {}: {reason}", file.display()), None);
        }
    }
}

/// The message and, in brackets, the way out: a line, and harmless to a terminal.
fn sentence(message: &str, hint: Option<&str>) -> String {
    let message = terminal::plain(message);
    match hint {
        Some(hint) => format!("{message} ({})", terminal::plain(hint)),
        None => message.into_owned(),
    }
}

fn line(level: &str, msg: &str, json: bool) -> String {
    // `2026-08-01 12:00:00 +0000 UTC` as RFC 3339 has it.
    let date = ages::date(SystemTime::now());
    let time = format!("{}T{}Z", &date[..10], &date[11..19]);
    if json {
        let line = serde_json::to_string(&Line { level, msg, time });
        // Text only: nothing in it can fail.
        return line.unwrap_or_default() + "\n";
    }
    format!("time=\"{time}\" level={level} msg={}\n", quoted(msg))
}

/// logrus's quotes: only where something else than letters, digits and `-._/@^+` stands. Control characters are gone.
fn quoted(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if text.chars().all(is_bare) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn lines_are_logruss() {
        let text = line("error", "container \"a\\b\" does not exist", false);
        let (time, rest) = text.split_once(" level=").unwrap();
        assert_eq!(rest, "error msg=\"container \\\"a\\\\b\\\" does not exist\"\n");
        let time = time.strip_prefix("time=\"20").and_then(|time| time.strip_suffix("Z\"")).unwrap();
        assert_eq!(time.replace(|c: char| c.is_ascii_digit(), "0"), "00-00-00T00:00:00");
        assert!(line("debug", "done", false).ends_with(" level=debug msg=done\n"));
    }

    #[test]
    fn json_has_the_three_keys_on_one_line() {
        let text = line("warning", "a \"b\" <c>\u{e4}", true);
        assert!(text.starts_with("{\"level\":\"warning\",\"msg\":\"") && text.ends_with("\"}\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["msg"], "a \"b\" <c>\u{e4}");
        assert!(read["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn the_hint_stands_on_the_same_line() {
        assert_eq!(sentence("a\nb\x1b[2J", Some("do\nthis")), "a b (do this)");
        assert_eq!(sentence("a", None), "a");
    }

    #[test]
    fn the_file_is_appended_to() {
        let file = std::env::temp_dir().join(format!("minidocker-log-{}", std::process::id()));
        std::fs::write(&file, "before\n").unwrap();
        let log = Log { file: Some(file.clone()), json: true, debug: false };
        log.append("error", "one");
        log.append("debug", "two");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (3, "before"));
        assert!(lines[1].contains("\"msg\":\"one\"") && lines[2].contains("\"level\":\"debug\""));
    }
}
