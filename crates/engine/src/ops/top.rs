//! `top`: the processes of a container, as the host's ps(1) shows them, or as /proc does where there is none.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Output};

use cgroup::{Group, Hierarchies};

use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings};

/// A table of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// What stands above the columns.
    pub titles: Vec<String>,
    /// One row for each process.
    pub rows: Vec<Vec<String>>,
}

/// The processes of a container that runs; `options` are ps(1)'s, `-ef` where there are none.
pub fn top(settings: &Settings, name: &str, options: &[String]) -> Result<Processes, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    let Some(first) = store.living_init(&id) else {
        return Err(Error::new(Kind::Invalid, format!("container {name} is not running"))
            .hint(format!("start it first: minidocker start {name}")));
    };
    let pids = processes(&record, first)?;
    let words: Vec<&str> = match options {
        [] => vec!["-ef"],
        options => options.iter().map(String::as_str).collect(),
    };
    let invalid =
        |reason: String| Error::new(Kind::Invalid, format!("cannot list the processes of {name}: {reason}"));
    let output = match run(&words, &pids) {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound && options.is_empty() => return Ok(of_proc(&pids)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(invalid("this host has no ps".to_owned())
                .hint("install ps (procps), or leave the options out"));
        }
        Err(error) => return Err(invalid(error.to_string())),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said =
            said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it failed").to_owned();
        return Err(invalid(format!("ps {}: {said}", words.join(" "))).hint("see ps(1) for its options"));
    }
    read(&String::from_utf8_lossy(&output.stdout), &pids).map_err(|reason| {
        invalid(reason).hint("ps needs its column PID to tell which processes are the container's: -o pid,…")
    })
}

/// All processes in the container's control group; its first one alone where there are no groups.
fn processes(record: &Record, first: i32) -> Result<HashSet<i32>, Error> {
    let group = Group::open(&Hierarchies::probe()?, &record.group)?;
    Ok(group.processes().into_iter().chain([first]).collect())
}

/// As Docker does: by number, and all of them where that contradicts the options.
fn run(words: &[&str], pids: &HashSet<i32>) -> std::io::Result<Output> {
    let list = pids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let output = Command::new("ps").args(words).arg(format!("-q{list}")).output()?;
    if output.status.success() { Ok(output) } else { Command::new("ps").args(words).output() }
}

/// Those lines of ps that are the container's. The last column takes all that is left.
fn read(text: &str, pids: &HashSet<i32>) -> Result<Processes, String> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or("").split_ascii_whitespace().map(str::to_owned).collect();
    let place = titles.iter().position(|title| title == "PID").ok_or("its output has no column PID")?;
    let mut processes = Processes { titles, rows: Vec::new() };
    // A line that follows one of the container's and has no number, as with `ps -m`, belongs to it.
    let mut mine = false;
    for line in lines {
        let row = columns(line, processes.titles.len());
        match row.get(place).map(String::as_str) {
            Some("-") => {}
            Some(word) => mine = word.parse().is_ok_and(|pid| pids.contains(&pid)),
            None => continue,
        }
        if mine {
            processes.rows.push(row);
        }
    }
    Ok(processes)
}

fn columns(line: &str, most: usize) -> Vec<String> {
    let mut row = Vec::new();
    let mut rest = line.trim();
    while row.len() + 1 < most {
        let Some((word, after)) = rest.split_once(|c: char| c.is_ascii_whitespace()) else { break };
        row.push(word.to_owned());
        rest = after.trim_start();
    }
    if !rest.is_empty() {
        row.push(rest.to_owned());
    }
    row
}

/// The columns of `ps -ef`, proc(5).
fn of_proc(pids: &HashSet<i32>) -> Processes {
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"].map(str::to_owned).to_vec();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    let mut pids: Vec<i32> = pids.iter().copied().collect();
    pids.sort_unstable();
    Processes { titles, rows: pids.into_iter().filter_map(|pid| one(pid, uptime)).collect() }
}

/// Clock ticks of one second: USER_HZ, which is 100 on all architectures that there are images for.
const TICKS: u64 = 100;

fn one(pid: i32, uptime: f64) -> Option<Vec<String>> {
    let dir = format!("/proc/{pid}");
    let owner = std::fs::metadata(&dir).ok()?.uid();
    let stat = std::fs::read_to_string(format!("{dir}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    // Field 3, the state, is the first one here.
    let number = |field: usize| fields.get(field - 3).and_then(|word| word.parse::<u64>().ok());
    let used = (number(14)? + number(15)?) / TICKS;
    let age = (uptime - number(22)? as f64 / TICKS as f64).max(0.0);
    let share = if age < 1.0 { 0 } else { (used as f64 * 100.0 / age) as u64 };
    let command = std::fs::read(format!("{dir}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
    let command = match command.is_empty() {
        // A kernel thread, or one that has ended.
        true => format!("[{}]", before.split_once('(')?.1),
        false => command,
    };
    Some(vec![
        user(owner),
        pid.to_string(),
        (*fields.get(1)?).to_owned(),
        share.min(99).to_string(),
        started(age),
        terminal(number(7).unwrap_or(0)),
        format!("{:02}:{:02}:{:02}", used / 3600, used / 60 % 60, used % 60),
        command,
    ])
}

/// The name of a user of the host, as ps has it: cut where it is long.
fn user(id: u32) -> String {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id.to_string()).then(|| name.to_owned())
    });
    known.unwrap_or_else(|| id.to_string())
}

/// The time of the day (UTC), or how many days ago.
fn started(age: f64) -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |past| past.as_secs());
    let at = now.saturating_sub(age as u64);
    if age > 86_400.0 {
        return format!("{}d", age as u64 / 86_400);
    }
    format!("{:02}:{:02}", at / 3600 % 24, at / 60 % 60)
}

/// `tty_nr` of proc(5): the minor number is split around the major one; 136 to 143 are pseudo-terminals (Documentation
/// /admin-guide/devices.txt).
fn terminal(number: u64) -> String {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_container_are_kept_whole() {
        let text = "UID          PID    PPID CMD\nroot           1       0 /sbin/init\nroot  77   1 sh -c sleep 10\n";
        let all = read(text, &HashSet::from([77])).unwrap();
        assert_eq!(all.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(all.rows, [["root", "77", "1", "sh -c sleep 10"]]);
        assert!(read("CMD\nx\n", &HashSet::new()).is_err());
        assert!(read("", &HashSet::new()).is_err());
        let threads = "PID LWP CMD\n77 - sh\n- 77 -\n5 - x\n- 5 -\n";
        assert_eq!(read(threads, &HashSet::from([77])).unwrap().rows.len(), 2);
    }

    #[test]
    fn proc_alone_tells_of_this_process() {
        let pid = std::process::id() as i32;
        let all = of_proc(&HashSet::from([pid]));
        assert_eq!(all.rows.len(), 1);
        let row = &all.rows[0];
        assert_eq!((row.len(), row[1].as_str()), (8, pid.to_string().as_str()));
        assert_eq!(row[2], std::os::unix::process::parent_id().to_string());
        let first = std::env::args().next().unwrap();
        assert!(row[7].starts_with(&first), "{row:?}");
        assert_eq!(
            (terminal(0), terminal(136 << 8 | 3), terminal(4 << 8 | 1)),
            ("?".into(), "pts/3".into(), "tty1".into())
        );
    }
}
