//! Deeds on processes: wait, signal, fork, orphan.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::json;

use crate::{Outcome, errno, parse, raw};

/// How long an orphan outlives its parent.
const ORPHAN_LIFE: Duration = Duration::from_millis(100);

/// Sleeps until SIGTERM.
pub(crate) fn pause() -> Outcome {
    let signals = [libc::SIGTERM];
    raw::block_signals(&signals).map_err(|error| format!("block SIGTERM: {error}"))?;
    println!("ready");
    raw::wait_for_signal(&signals).map_err(|error| format!("wait for SIGTERM: {error}"))?;
    Ok(0)
}

pub(crate) fn sleep(seconds: f64) -> Outcome {
    let length = Duration::try_from_secs_f64(seconds).map_err(|error| format!("sleep {seconds}: {error}"))?;
    std::thread::sleep(length);
    Ok(0)
}

/// Sends itself a signal with its default effect. PID 1 of a namespace survives even SIGKILL of its own.
pub(crate) fn signal_self(signal: i32) -> Outcome {
    raw::raise_default(signal).map_err(|error| format!("signal {signal}: {error}"))?;
    // A stopped process goes on here once it is continued.
    Ok(99)
}

/// Starts children until the kernel refuses, says how many, and ends them.
pub(crate) fn fork_bomb(count: usize) -> Outcome {
    let mut children = Vec::new();
    let mut refused = None;
    while children.len() < count && refused.is_none() {
        match raw::fork() {
            Ok(Some(child)) => children.push(child),
            Ok(None) => loop {
                std::thread::sleep(Duration::from_secs(60));
            },
            Err(error) => refused = error.raw_os_error(),
        }
    }
    for child in children.iter().filter_map(|child| Pid::from_raw(*child)) {
        // A child that is gone already is as good as one that was ended.
        let _ = kill_process(child, Signal::KILL);
        let _ = waitpid(Some(child), WaitOptions::empty());
    }
    println!("{}", json!({ "started": children.len(), "errno": refused.map(errno::name) }));
    Ok(0)
}

/// Makes `count` orphans that end: each is the child of a child that ends first. What is left as a zombie a second
/// later was reaped by nobody.
pub(crate) fn zombies(count: usize) -> Outcome {
    for _ in 0..count {
        match raw::fork().map_err(|error| format!("fork: {error}"))? {
            Some(child) => {
                let child = Pid::from_raw(child);
                waitpid(child, WaitOptions::empty()).map_err(|error| format!("wait: {error}"))?;
            }
            None => {
                if let Ok(None) = raw::fork() {
                    // Outlive the parent, so that the end comes as an orphan.
                    std::thread::sleep(ORPHAN_LIFE);
                }
                raw::exit_now(0);
            }
        }
    }
    // By then the last orphan has ended too; what is left is the reaper's time.
    std::thread::sleep(ORPHAN_LIFE * 2);
    let deadline = Instant::now() + Duration::from_secs(1);
    let count_zombies = || visible().iter().filter(|process| process.state == 'Z').count();
    let mut left = count_zombies();
    while left > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        left = count_zombies();
    }
    println!("{}", json!({ "orphans": count, "zombies": left }));
    Ok(0)
}

/// One process of /proc.
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) name: String,
    /// The letter of proc_pid_stat(5): R, S, Z...
    pub(crate) state: char,
}

/// Every process that /proc shows, by number; empty where there is no /proc.
pub(crate) fn visible() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut processes: Vec<Process> = numbers.filter_map(process).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

fn process(pid: i32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, state, parent) = parse::stat(&text)?;
    Some(Process { pid, parent, name: name.to_owned(), state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_itself() {
        let pid = std::process::id() as i32;
        let own = visible().into_iter().find(|process| process.pid == pid).unwrap();
        assert_ne!(own.state, 'Z');
        assert!(own.parent > 0);
    }
}
