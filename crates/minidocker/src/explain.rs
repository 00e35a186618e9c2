//! `--explain`: the kernel steps that were taken, or would be, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use step::Record;

use crate::terminal::plain;

/// How `--explain` tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A table, the reason below each step.
    Text,
    /// One JSON object a line.
    Json,
    /// A script that does the same; nothing is run.
    Shell,
}

/// Reads `--explain`'s value.
pub(crate) fn format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "shell" => Ok(Format::Shell),
        _ => Err("neither text, json nor shell".to_owned()),
    }
}

/// How wide the text is at most; words that are longer run over.
const WIDTH: usize = 118;
/// Where the call and the reason start.
const COLUMN: usize = 50;

/// Renders records in the order in which they come, with one count over all calls.
#[derive(Debug)]
pub(crate) struct Teller {
    format: Format,
    coloured: bool,
    told: usize,
}

/// One step as JSON: the keys are a promise to programs.
#[derive(Serialize)]
struct Line<'a> {
    seq: usize,
    process: &'a str,
    step: &'a str,
    call: &'a str,
    why: &'a str,
    took_us: Option<f64>,
    failure: Option<&'a str>,
}

impl Teller {
    /// Tells in one format; with colours where `coloured`.
    pub(crate) fn new(format: Format, coloured: bool) -> Self {
        Self { format, coloured, told: 0 }
    }

    /// The next records as text that ends in a line break; empty where there are none.
    pub(crate) fn tell(&mut self, records: &[Record]) -> String {
        let mut text = String::new();
        if self.format == Format::Text && self.told == 0 && !records.is_empty() {
            let _ = writeln!(text, "   # process step                             took call, and why");
        }
        for record in records {
            self.told += 1;
            match self.format {
                Format::Json => self.json(&mut text, record),
                Format::Text | Format::Shell => self.text(&mut text, record),
            }
        }
        if self.format == Format::Text && !records.is_empty() {
            text.push_str(&sum(records));
        }
        text
    }

    fn json(&self, text: &mut String, record: &Record) {
        let line = Line {
            seq: self.told,
            process: record.process.name(),
            step: &record.step,
            call: &record.call,
            why: &record.why,
            took_us: record.took.map(|took| took.as_nanos() as f64 / 1000.0),
            failure: record.failure.as_deref(),
        };
        // Strings and numbers always have a form in JSON.
        if let Ok(line) = serde_json::to_string(&line) {
            text.push_str(&line);
            text.push('\n');
        }
    }

    fn text(&self, text: &mut String, record: &Record) {
        let took = record.took.map_or("-".to_owned(), duration);
        let start =
            format!("{:>4} {:<7} {:<27} {:>8} ", self.told, record.process.name(), plain(&record.step), took);
        let _ = write!(text, "{start}");
        // A long step's name pushes its call on.
        let indent = start.chars().count().saturating_sub(COLUMN);
        wrapped(text, &shortened(&plain(&record.call)), indent);
        let (dim, red, end) = if self.coloured { ("\x1b[2m", "\x1b[1;31m", "\x1b[0m") } else { ("", "", "") };
        let mut below = |colour: &str, words: &str| {
            let mut lines = String::new();
            wrapped(&mut lines, &plain(words), 0);
            for line in lines.lines() {
                let _ = writeln!(text, "{:COLUMN$}{colour}{}{end}", "", line.trim_start());
            }
        };
        if !record.why.is_empty() {
            below(dim, &format!("# {}", record.why));
        }
        if let Some(failure) = &record.failure {
            below(red, &format!("FAILED: {failure}"));
        }
    }
}

/// Whole ids shortened as `ps` shortens them, for people; JSON has them whole.
fn shortened(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let length = from.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(length);
        short.push_str(before);
        if length == 64 {
            short.push_str(&digits[..12]);
            short.push('…');
        } else {
            short.push_str(digits);
        }
        rest = after;
    }
    short.push_str(rest);
    short
}

/// `words` from the column on, broken at spaces; the first line, `taken` letters shorter, goes on the current one.
fn wrapped(text: &mut String, words: &str, taken: usize) {
    let mut used = taken;
    for (number, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if number > 0 {
            if COLUMN + used + 1 + length > WIDTH {
                let _ = write!(text, "\n{:COLUMN$}", "");
                used = 0;
            } else {
                text.push(' ');
                used += 1;
            }
        }
        text.push_str(word);
        used += length;
    }
    text.push('\n');
}

fn sum(records: &[Record]) -> String {
    let took: Duration = records.iter().filter_map(|record| record.took).sum();
    let (count, plural) = (records.len(), if records.len() == 1 { "" } else { "s" });
    if records.iter().all(|record| record.took.is_none()) {
        format!("     {count} step{plural}, not taken\n")
    } else {
        format!("     {count} step{plural}, {} (of several processes at the same time)\n", duration(took))
    }
}

/// Three or four digits and a unit.
fn duration(took: Duration) -> String {
    let nanos = took.as_nanos();
    match nanos {
        0..1_000_000 => format!("{:.1} us", nanos as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", nanos as f64 / 1e6),
        _ => format!("{:.2} s", nanos as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use step::Actor;

    use super::*;

    fn record(step: &str, took: Option<u64>) -> Record {
        Record {
            process: Actor::Monitor,
            step: step.to_owned(),
            call: "mkdir(\"/sys/fs/cgroup/pids/minidocker/0123\", 0755)".to_owned(),
            why: "a group of its own, so that the limit binds this container alone".to_owned(),
            took: took.map(Duration::from_nanos),
            failure: None,
        }
    }

    #[test]
    fn text_has_a_line_for_the_call_and_one_for_the_reason() {
        let mut teller = Teller::new(Format::Text, false);
        let text = teller.tell(&[record("cgroup.create", Some(12_345))]);
        let wanted = concat!(
            "   # process step                             took call, and why\n",
            "   1 monitor cgroup.create                12.3 us mkdir(\"/sys/fs/cgroup/pids/minidocker/0123\", 0755)\n",
            "                                                  # a group of its own, so that the limit binds this container alone\n",
            "     1 step, 12.3 us (of several processes at the same time)\n",
        );
        assert_eq!(text, wanted);
        let later = teller.tell(&[record("cgroup.remove", None)]);
        assert!(later.starts_with("   2 monitor cgroup.remove                      - mkdir("), "{later}");
        assert!(later.ends_with("     1 step, not taken\n"));
        assert_eq!(teller.tell(&[]), "");
    }

    #[test]
    fn text_marks_failures_breaks_long_lines_and_obeys_no_escapes() {
        let mut failed = record("mount.proc", Some(1_500_000));
        failed.failure = Some("mount.proc on /proc: operation not permitted".to_owned());
        failed.call = "mount(\"\x1b[31mproc\", ".to_owned() + &"word ".repeat(40) + ")";
        let text = Teller::new(Format::Text, false).tell(&[failed]);
        assert!(text.contains("FAILED: mount.proc on /proc: operation not permitted\n"));
        assert!(!text.contains('\x1b'));
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn whole_ids_are_shortened_and_nothing_else_is() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(shortened(&format!("mkdir(\"/a/{id}/b\")")), "mkdir(\"/a/0123456789ab…/b\")");
        for text in ["", "deadbeef", &id[..63], "cafe babe ü"] {
            assert_eq!(shortened(text), text);
        }
    }

    #[test]
    fn json_is_one_object_a_line_and_counts_on() {
        let mut teller = Teller::new(Format::Json, true);
        let text = teller.tell(&[record("a.b", Some(1_500)), record("c.d", None)]);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["seq"], 1);
        assert_eq!(lines[0]["took_us"], 1.5);
        assert_eq!(lines[0]["process"], "monitor");
        assert_eq!(lines[1]["seq"], 2);
        assert!(lines[1]["took_us"].is_null() && lines[1]["failure"].is_null());
        assert!(teller.tell(&[record("e.f", None)]).contains("\"seq\":3"));
    }

    #[test]
    fn durations_are_short() {
        for (nanos, wanted) in [
            (0, "0.0 us"),
            (999, "1.0 us"),
            (12_340, "12.3 us"),
            (1_234_000, "1.23 ms"),
            (2_500_000_000, "2.50 s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), wanted);
        }
    }
}
