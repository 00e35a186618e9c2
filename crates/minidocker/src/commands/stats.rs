//! `stats`: what containers use, in Docker's columns, live.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::time::Duration;

use engine::Settings;
use engine::ops::list::State;
use engine::ops::stats::{Looker, Seen, Usage};
use engine::request::Rate;

use super::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::template::{self, Field, Row, Template};
use crate::terminal;
use crate::values::sizes::{binary, decimal};

pub(crate) const COMMAND: Command = Command {
    name: "stats",
    long_names: &["container stats"],
    summary: "Show what containers use",
    usage: &["stats [OPTIONS] [CONTAINER...]"],
    about: "Show what containers use, live; those that run, where none is named.\n\n\
            CPU % is of one processor: two that are fully used are 200%. Memory is without page cache that\n\
            could go at once. Further fields for --format: .MemPeak .Swap .Throttled .ThrottledPeriods\n\
            .OOMKills .PIDsLimit, and what processes wait for, in percent of the last ten seconds:\n\
            .CPUPressure .MemPressure .IOPressure ('--' where the kernel does not tell). .NetRate is what may go\n\
            over its link in and out (--network-rate).",
    examples: &[
        ("minidocker stats", ""),
        ("minidocker stats --no-stream --format json web", "one look, for a program"),
        ("minidocker stats --format 'table {{.Name}}\\t{{.CPUPerc}}\\t{{.MemPeak}}'", "one's own columns"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all", "Show those that do not run too").short('a'),
            one("format", "FORMAT", "table, json, or a template such as '{{.Name}} {{.CPUPerc}}'"),
            flag("no-stream", "Look once, and end"),
            flag("no-trunc", "Show ids in full"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

const FIELDS: &[Field] = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
    ("MemPeak", "MEM PEAK"),
    ("Swap", "SWAP"),
    ("Throttled", "THROTTLED"),
    ("ThrottledPeriods", "THROTTLED PERIODS"),
    ("OOMKills", "OOM KILLS"),
    ("PIDsLimit", "PIDS LIMIT"),
    ("CPUPressure", "CPU PRESSURE"),
    ("MemPressure", "MEM PRESSURE"),
    ("IOPressure", "I/O PRESSURE"),
    ("NetRate", "NET LIMIT"),
];

const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t\
                     {{.BlockIO}}\t{{.PIDs}}";

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between the two looks of `--no-stream`: long enough for a share of a processor.
const GLANCE: Duration = Duration::from_millis(500);

pub(super) fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let asked = Asked { names: typed.words.clone(), all: on("all")?, full: on("no-trunc")? };
    let format = typed.one("format").unwrap_or("table");
    let template = typed.read("format", |text| template::parse(text, FIELDS, TABLE))?;
    let template = match template {
        Some(template) => template,
        None => template::parse("table", FIELDS, TABLE).map_err(Problem::new)?,
    };
    let looker = Looker::new(settings)?;
    let mut before = asked.look(&looker)?;
    std::thread::sleep(GLANCE);
    let once = on("no-stream")?;
    // A table stands still on a terminal; everywhere else lines follow lines.
    let live = !once && format.starts_with("table") && std::io::stdout().is_terminal();
    loop {
        let now = asked.look(&looker)?;
        let text = asked.text(&template, &now, &before);
        let text = if live { still(&text) } else { text };
        if !written(&text)? || once {
            return Ok(0);
        }
        before = now;
        std::thread::sleep(INTERVAL);
    }
}

/// What was asked for.
struct Asked {
    names: Vec<String>,
    all: bool,
    full: bool,
}

impl Asked {
    /// The containers, each with what the user called it.
    fn look(&self, looker: &Looker) -> Result<Vec<(String, Seen)>, Problem> {
        if !self.names.is_empty() {
            let one = |name: &String| Ok((name.clone(), looker.one(name)?));
            return self.names.iter().map(one).collect();
        }
        let all = looker.all()?.into_iter();
        Ok(all
            .filter(|one| self.all || one.usage.is_some())
            .filter(|one| !matches!(one.summary.state, State::Damaged(_)))
            .map(|one| (one.summary.id.clone(), one))
            .collect())
    }

    fn text(&self, template: &Template, now: &[(String, Seen)], before: &[(String, Seen)]) -> String {
        let before: HashMap<&str, &Usage> = before
            .iter()
            .filter_map(|(_, one)| Some((one.summary.id.as_str(), one.usage.as_ref()?)))
            .collect();
        let rows: Vec<Row> = now
            .iter()
            .map(|(called, one)| row(called, one, before.get(one.summary.id.as_str()).copied(), self.full))
            .collect();
        template.render(FIELDS, &rows)
    }
}

/// The values of [`FIELDS`].
fn row(called: &str, one: &Seen, before: Option<&Usage>, full: bool) -> Row {
    let short = |id: &str| if full { id.to_owned() } else { id.chars().take(12).collect() };
    let none = || "--".to_owned();
    let called = if called == one.summary.id { short(called) } else { called.to_owned() };
    let mut values = vec![called, short(&one.summary.id), one.summary.name.clone()];
    let Some(usage) = &one.usage else {
        values.extend(["0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"].map(str::to_owned));
        values.extend(FIELDS[values.len()..].iter().map(|_| none()));
        return Row { values, labels: BTreeMap::new() };
    };
    let pair = |(one, other): (u64, u64)| format!("{} / {}", decimal(one), decimal(other));
    let count = |number: Option<u64>| number.map_or_else(none, |number| number.to_string());
    let bytes = |number: Option<u64>| number.map_or_else(none, binary);
    values.extend([
        format!("{:.2}%", before.map_or(0.0, |before| usage.cpu_percent(before))),
        format!("{} / {}", binary(usage.memory), binary(usage.memory_limit)),
        format!("{:.2}%", usage.memory_percent()),
        pair(usage.network),
        pair(usage.disk),
        usage.pids.to_string(),
        bytes(usage.memory_peak),
        bytes(usage.swap),
        usage.throttled.map_or_else(none, |nanos| format!("{:.3}s", nanos as f64 / 1e9)),
        count(usage.throttled_periods),
        count(usage.oom_kills),
        count(usage.pids_limit),
    ]);
    values
        .extend(usage.pressure.map(|percent| percent.map_or_else(none, |percent| format!("{percent:.2}%"))));
    let rate = |rate: Option<Rate>| rate.map_or_else(none, |rate| rate.to_string());
    values.push(format!("{} / {}", rate(usage.rates.into), rate(usage.rates.out_of)));
    Row { values, labels: BTreeMap::new() }
}

/// The text in the place of the one before: from the first corner on, and nothing of that one stays.
fn still(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\r\n"))
}

/// False when nobody reads any more.
fn written(text: &str) -> Result<bool, Problem> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            let reason = terminal::io_reason(&error);
            Err(Problem::new(format!("cannot write to standard output: {reason}")))
        }
        Ok(()) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use engine::ops::list::Summary;
    use engine::request::Rates;

    use super::*;

    fn seen(usage: Option<Usage>) -> Seen {
        let summary = Summary {
            id: "0123456789abcdef".repeat(4),
            name: "web".to_owned(),
            image: "host".to_owned(),
            command: Vec::new(),
            created: SystemTime::UNIX_EPOCH,
            state: State::Created,
            labels: BTreeMap::new(),
            addresses: Vec::new(),
            image_id: None,
            mounts: Vec::new(),
            volumes: 0,
            networks: Vec::new(),
            ports: Vec::new(),
            exposed: Vec::new(),
            to_publish: Vec::new(),
            health: None,
            pod: None,
        };
        Seen { summary, usage }
    }

    fn usage(at: Instant, cpu: u64) -> Usage {
        Usage {
            at,
            cpu,
            memory: 3 << 19,
            memory_limit: 64 << 20,
            memory_peak: Some(2 << 20),
            swap: None,
            periods: None,
            throttled_periods: None,
            throttled: Some(1_500_000_000),
            oom_kills: Some(0),
            pids: 3,
            pids_limit: None,
            disk: (4096, 0),
            network: (1296, 816),
            pressure: [Some(1.5), None, None],
            rates: Rates { into: Some(Rate(10_000_000)), ..Rates::default() },
        }
    }

    #[test]
    fn columns_are_dockers() {
        let start = Instant::now();
        let before = seen(Some(usage(start, 0)));
        let now = seen(Some(usage(start + Duration::from_secs(2), 3_000_000_000)));
        let asked = Asked { names: Vec::new(), all: true, full: false };
        let called = |one: Seen| vec![(one.summary.id.clone(), one)];
        let table = template::parse("table", FIELDS, TABLE).unwrap();
        assert_eq!(
            asked.text(&table, &called(now.clone()), &called(before)),
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O        BLOCK I/O    PIDS\n\
             0123456789ab   web       150.00%   1.5MiB / 64MiB      2.34%     1.3kB / 816B   4.1kB / 0B   3\n"
        );
        let more = "{{.MemPeak}} {{.Throttled}} {{.OOMKills}} {{.CPUPressure}} {{.MemPressure}} {{.CPUPerc}}";
        let more = template::parse(more, FIELDS, TABLE).unwrap();
        assert_eq!(asked.text(&more, &called(now), &[]), "2MiB 1.500s 0 1.50% -- 0.00%\n");
        let json = template::parse("json", FIELDS, TABLE).unwrap();
        let text = asked.text(&json, &called(seen(None)), &[]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["CPUPerc"], &value["MemUsage"]), (&"0.00%".into(), &"0B / 0B".into()));
        assert_eq!((&value["Container"], &value["OOMKills"]), (&"0123456789ab".into(), &"--".into()));
    }

    #[test]
    fn a_live_table_leaves_nothing_of_the_one_before() {
        assert_eq!(still("a\nb\n"), "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J");
    }
}
