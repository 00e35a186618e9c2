//! Kills one of minidocker's processes right after its n-th call of a name, by strace: it stops whoever makes that
//! call, and the one that is meant is killed there; the others go on.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use minidocker_tests::{World, scaled};
use rustix::process::{Pid, Signal, kill_process};

use crate::calls::{Calls, Role};

/// When to kill: after the `nth` call (from 1) of `name` by the process in `role`.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) nth: usize,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victims {
    /// The process in the moment's role alone.
    One,
    /// All of minidocker's processes that are there by then, the container's first among them.
    All,
}

/// What happened.
#[derive(Debug)]
pub(crate) struct Killed {
    /// Whether the moment came.
    pub(crate) hit: bool,
    /// The calls that were made.
    pub(crate) calls: Calls,
}

/// Runs `minidocker WORDS` and kills at that moment; returns when everything that strace has seen is gone.
#[track_caller]
pub(crate) fn kill_at(world: &World, words: &[&str], moment: &Moment, victims: Victims) -> Killed {
    kill_until(world, words, moment, victims, &|_| false)
}

/// The same for a container that lives on by itself: returns when the command has ended.
#[track_caller]
pub(crate) fn kill_at_start(world: &World, words: &[&str], moment: &Moment, victims: Victims) -> Killed {
    let is_gone = |pid: &i32| !fs::exists(format!("/proc/{pid}")).expect("/proc can be read");
    let has_ended = |log: &str| Calls::parse(log).pid(Role::Command).as_ref().is_some_and(is_gone);
    kill_until(world, words, moment, victims, &has_ended)
}

/// `is_over` is asked of what strace has written so far.
#[track_caller]
fn kill_until(
    world: &World,
    words: &[&str],
    moment: &Moment,
    victims: Victims,
    is_over: &dyn Fn(&str) -> bool,
) -> Killed {
    let path = world.directory().join("strace");
    let _ = fs::remove_file(&path);
    let inject = format!("--inject={}:signal=SIGSTOP:when={}", moment.name, moment.nth);
    let wrapper = ["strace", "-f", "-s", "400", &inject, "-o", path.to_str().expect("our own path is text")];
    let running = world.call(words.iter().copied()).through(&wrapper).spawn();
    let deadline = Instant::now() + scaled(Duration::from_secs(20));
    let (mut log, mut position) = (String::new(), 0);
    let (mut handled, mut hit) = (0, false);
    loop {
        let ended = is_zombie(running.pid()) || is_over(&log);
        read_more(&path, &mut position, &mut log);
        let whole = log.rfind('\n').map_or(0, |end| end + 1);
        let news = &log[handled..whole];
        for line in news.lines().filter(|line| line.ends_with("--- stopped by SIGSTOP ---")) {
            let stopped = line.split(' ').next().and_then(|pid| pid.parse::<i32>().ok()).expect("a pid");
            let pids = Calls::parse(&log[..whole]).pids;
            let meant = pids.get(moment.role as usize) == Some(&stopped);
            if meant && !hit {
                hit = true;
                let all = if victims == Victims::All { pids } else { vec![stopped] };
                all.iter().for_each(|pid| signal(*pid, Signal::KILL));
            } else {
                signal(stopped, Signal::CONT);
            }
        }
        handled = whole;
        if ended {
            break;
        }
        assert!(Instant::now() < deadline, "hangs after a kill at {moment:?} of {victims:?}:\n{log}");
        std::thread::sleep(Duration::from_micros(200));
    }
    // Whoever strace still watches goes on without it, also who came to such a call after the last look.
    drop(running);
    read_more(&path, &mut position, &mut log);
    let seen: BTreeSet<i32> = log.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    seen.into_iter().for_each(|pid| signal(pid, Signal::CONT));
    Killed { hit, calls: Calls::parse(&log) }
}

/// It has ended and nobody has asked how; `running` will.
fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

/// Every minidocker of this world but these: commands, monitors, those on their way to be a container.
pub(crate) fn others(world: &World, but: &[i32]) -> Vec<i32> {
    let run_root = world.run_root().display().to_string();
    let is_one = |pid: &i32| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split('\0').any(|word| word == run_root) && !but.contains(pid)
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_one).collect()
}

/// Kills every minidocker of this world but these, as a kernel that is out of memory might.
pub(crate) fn kill_others(world: &World, but: &[i32]) {
    others(world, but).into_iter().for_each(kill);
}

/// Kills a process, if it is there.
pub(crate) fn kill(pid: i32) {
    signal(pid, Signal::KILL);
}

/// A process that is gone needs no signal.
fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn read_more(path: &std::path::Path, position: &mut u64, log: &mut String) {
    let Ok(mut file) = File::open(path) else { return };
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(*position)).is_ok() && file.read_to_end(&mut bytes).is_ok() {
        *position += bytes.len() as u64;
        log.push_str(&String::from_utf8_lossy(&bytes));
    }
}
