//! `info CONTAINER`: a container in the lines of lxc-info(1).

use engine::Settings;
use engine::ops::list::State;
use engine::ops::stats::{Looker, Seen};

use crate::options::{Opt, Typed, flag};
use crate::problem::Problem;
use crate::terminal::{plain, print};
use crate::values::sizes;

/// Which lines, and how; lxc-info's.
pub(super) const OPTIONS: &[Opt] = &[
    flag("pid", "The pid of its first process").short('p'),
    flag("ips", "Its addresses").short('i'),
    flag("state", "Its state").short('s'),
    flag("stats", "What it uses").short('S'),
    flag("no-humanize", "Plain numbers: bytes, nanoseconds; of a single line its value alone").short('H'),
];

/// A line: its group, its name, its value for people, its value for programs.
type Line = (&'static str, &'static str, String, String);

pub(super) fn tell(typed: &Typed, settings: &Settings, name: &str) -> Result<u8, Problem> {
    let seen = Looker::new(settings)?.one(name)?;
    let mut lines = lines(&seen);
    let mut asked = Vec::new();
    for group in ["pid", "ips", "state", "stats"] {
        if typed.flag(group)?.unwrap_or(false) {
            asked.push(group);
        }
    }
    if !asked.is_empty() {
        lines.retain(|(group, ..)| asked.contains(group));
    }
    print(&text(&lines, typed.flag("no-humanize")?.unwrap_or(false))).map(|()| 0)
}

fn text(lines: &[Line], plainly: bool) -> String {
    match lines {
        [(.., value)] if plainly => format!("{}\n", plain(value)),
        lines => lines
            .iter()
            .map(|(_, name, words, value)| {
                let value = plain(if plainly { value } else { words });
                format!("{:<15} {value}\n", format!("{name}:"))
            })
            .collect(),
    }
}

fn lines(seen: &Seen) -> Vec<Line> {
    let one = &seen.summary;
    let same = |group, name, value: String| (group, name, value.clone(), value);
    let (state, pid) = match &one.state {
        State::Running(_, pid) => ("RUNNING", Some(pid)),
        State::Paused(_, pid) => ("FROZEN", Some(pid)),
        State::Restarting(..) => ("STARTING", None),
        State::Created | State::Exited(..) | State::Lost | State::Damaged(_) => ("STOPPED", None),
    };
    let mut lines = vec![same("name", "Name", one.name.clone()), same("state", "State", state.to_owned())];
    lines.extend(pid.map(|pid| same("pid", "PID", pid.to_string())));
    let address = |text: &String| text.split('/').next().unwrap_or_default().to_owned();
    lines.extend(one.addresses.iter().map(|text| same("ips", "IP", address(text))));
    let Some(usage) = &seen.usage else { return lines };
    let bytes = |name, bytes: u64| ("stats", name, sizes::binary(bytes), bytes.to_string());
    let (received, sent) = usage.network;
    let seconds = format!("{:.2} seconds", usage.cpu as f64 / 1e9);
    lines.push(("stats", "CPU use", seconds, usage.cpu.to_string()));
    lines.push(bytes("BlkIO use", usage.disk.0 + usage.disk.1));
    lines.push(bytes("Memory use", usage.memory));
    if let Some(link) = seen.link() {
        lines.push(same("stats", "Link", link));
        lines.push(bytes(" TX bytes", sent));
        lines.push(bytes(" RX bytes", received));
        lines.push(bytes(" Total bytes", sent + received));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_lxc_infos() {
        let all: Vec<Line> = vec![
            ("name", "Name", "web".into(), "web".into()),
            ("stats", "Memory use", "1MiB".into(), "1048576".into()),
        ];
        assert_eq!(text(&all, false), "Name:           web\nMemory use:     1MiB\n");
        assert_eq!(text(&all, true), "Name:           web\nMemory use:     1048576\n");
        assert_eq!(text(&all[1..], true), "1048576\n");
    }
}
