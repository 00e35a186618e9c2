//! The processes of a container, as the host sees them.

use cgroup::{Group, Hierarchies};

use crate::state::Store;
use crate::{Error, Settings};

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number on the host.
    pub pid: i32,
    /// Its number in the container.
    pub inner: i32,
    /// One letter, as ps(1) has it: `R`, `S`, `D`, `Z`, `T`.
    pub state: char,
    /// The user's number on the host.
    pub uid: u32,
    /// Its threads.
    pub threads: u32,
    /// Memory of its own and shared, in bytes.
    pub memory: u64,
    /// Processor time in ticks of 10 ms.
    pub ticks: u64,
    /// Its command line; its name where it has none.
    pub command: String,
}

/// The processes of the container that `name` means, by number; none where it does not run.
pub fn processes(settings: &Settings, name: &str) -> Result<Vec<Process>, Error> {
    let store = Store::new(settings);
    let (_, record) = store.load(name)?;
    let group = Group::open(&Hierarchies::probe()?, &record.group)?;
    let mut all: Vec<Process> = group.processes().into_iter().filter_map(look).collect();
    all.sort_by_key(|process| process.pid);
    Ok(all)
}

/// One that ends meanwhile is none.
fn look(pid: i32) -> Option<Process> {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok();
    let status = String::from_utf8_lossy(&read("status")?).into_owned();
    let field =
        |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim));
    let first = |key: &str| field(key).and_then(|text| text.split_ascii_whitespace().next());
    let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
    // A name may have spaces and parentheses; after the last of them stand plain words, proc_pid_stat(5).
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |place: usize| words.get(place).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let arguments = read("cmdline").unwrap_or_default();
    let command = String::from_utf8_lossy(&arguments).trim_end_matches('\0').replace('\0', " ");
    Some(Process {
        pid,
        inner: field("NSpid")
            .and_then(|text| text.split_ascii_whitespace().last()?.parse().ok())
            .unwrap_or(pid),
        state: first("State").and_then(|text| text.chars().next()).unwrap_or('?'),
        uid: first("Uid").and_then(|text| text.parse().ok()).unwrap_or(0),
        threads: first("Threads").and_then(|text| text.parse().ok()).unwrap_or(1),
        memory: first("VmRSS").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024,
        ticks: number(11) + number(12),
        command: if command.is_empty() {
            format!("[{}]", field("Name").unwrap_or_default())
        } else {
            command
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let own = look(std::process::id() as i32).unwrap();
        assert!(own.memory > 0 && own.threads > 0 && own.command.contains("engine"), "{own:?}");
        assert_eq!(own.uid, rustix::process::getuid().as_raw());
        assert_eq!(look(-1), None);
    }
}
