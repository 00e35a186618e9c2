//! The way back of an update: what a file said before, as the kernel takes it. Best effort by nature, as what was
//! taken meanwhile may not fit the old limit any more; what stays is told.

use std::path::{Path, PathBuf};

use ::step::Failure;

use crate::kernfs::{self, keyed};
use crate::write::{Missing, Write};

/// How to set one file back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undo {
    file: PathBuf,
    /// None where no write makes it as it was.
    value: Option<String>,
}

/// What undoes `write`, in the order in which it is to be kept; [`take_back`] goes through it from the end.
pub(super) fn before(dir: &Path, write: &Write) -> Vec<Undo> {
    let mut all = Vec::new();
    let Some(write) = present(dir, write) else { return all };
    let file = dir.join(&write.file);
    let old = kernfs::read(&file).ok();
    // An idle group loses its shares; they come back after it is idle no more.
    if write.file == "cpu.idle" && old.as_deref().map(str::trim) == Some("0") {
        let shares = ["cpu.shares", "cpu.weight"].map(|name| dir.join(name));
        let kept = shares.into_iter().find_map(|file| Some((kernfs::read(&file).ok()?, file)));
        all.extend(kept.map(|(text, file)| Undo { file, value: Some(text.trim().to_owned()) }));
    }
    let value = old.and_then(|old| inverse(&write.file, &write.value, &old));
    all.push(Undo { file, value });
    all
}

/// The write that will be made: the file that is there.
fn present<'w>(dir: &Path, write: &'w Write) -> Option<&'w Write> {
    match &write.missing {
        _ if dir.join(&write.file).exists() => Some(write),
        Missing::Instead(other) => present(dir, other),
        Missing::Fail(_) | Missing::Skip => None,
    }
}

/// What to write to `file`, which read `old` before `value` was written.
fn inverse(file: &str, value: &str, old: &str) -> Option<String> {
    if file == "memory.oom_control" {
        return keyed(old, "oom_kill_disable").map(|number| number.to_string());
    }
    // Files with a line for each device, interface or the like: those lines that were written.
    let by_device = value.lines().all(|line| line.contains(' ') && !line.starts_with("default"));
    let listed = file.starts_with("io.") || file.starts_with("blkio.") || KEYED.contains(&file);
    if listed && by_device {
        let lines: Option<Vec<String>> = value.lines().map(|line| line_before(file, line, old)).collect();
        return lines.map(|lines| lines.join("\n"));
    }
    if listed && let Some(default) = old.lines().find(|line| line.starts_with("default ")) {
        return Some(default.to_owned());
    }
    let mut lines = old.lines();
    match (lines.next().unwrap_or_default(), lines.next()) {
        (only, None) => Some(only.trim().to_owned()),
        _ => None,
    }
}

const KEYED: [&str; 3] = ["net_prio.ifpriomap", "rdma.max", "misc.max"];

/// The line of the device that `line` speaks of, as it was.
fn line_before(file: &str, line: &str, old: &str) -> Option<String> {
    let (device, _) = line.split_once(' ')?;
    if let Some(before) =
        old.lines().find(|before| before.split_once(' ').is_some_and(|(key, _)| key == device))
    {
        return Some(before.to_owned());
    }
    // It had no line: the kernel's word for that.
    let nothing = match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        _ if file.starts_with("blkio.throttle.") => "0",
        _ if file.ends_with("weight") || file.ends_with("weight_device") => "default",
        _ => return None,
    };
    Some(format!("{device} {nothing}"))
}

/// Sets everything back, the last first. The failure, with a word on what could not be.
pub(super) fn take_back(done: Vec<Undo>, failure: Failure) -> Failure {
    let mut kept: Vec<String> = Vec::new();
    for undo in done.iter().rev() {
        let written = undo.value.as_ref().is_some_and(|value| kernfs::write(&undo.file, value).is_ok());
        if !written {
            kept.push(undo.file.to_string_lossy().into_owned());
        }
    }
    if kept.is_empty() {
        return failure;
    }
    let word = format!("could not be set back and keeps the new limit: {}", kept.join(", "));
    let hint = match &failure.hint {
        Some(hint) => format!("{hint}; {word}"),
        None => word,
    };
    failure.hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_what_it_was() {
        assert_eq!(inverse("memory.max", "5", "max\n").as_deref(), Some("max"));
        assert_eq!(inverse("cpu.max", "5000 9000", "max 100000\n").as_deref(), Some("max 100000"));
        assert_eq!(inverse("cpu.cfs_quota_us", "5000", "-1\n").as_deref(), Some("-1"));
        assert_eq!(inverse("cpuset.cpus", "0", "\n").as_deref(), Some(""));
        assert_eq!(
            inverse("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n").as_deref(),
            Some("0")
        );
        assert_eq!(inverse("memory.stat", "1", "a 1\nb 2\n"), None, "no way back is known");
    }

    #[test]
    fn a_device_keeps_its_line_or_loses_it() {
        let rates = "8:0 1048576\n8:16 5\n";
        let file = "blkio.throttle.read_bps_device";
        assert_eq!(inverse(file, "8:16 9", rates).as_deref(), Some("8:16 5"));
        assert_eq!(inverse(file, "8:32 9", rates).as_deref(), Some("8:32 0"));
        let max = "8:0 rbps=5 wbps=max riops=max wiops=max\n";
        assert_eq!(
            inverse("io.max", "8:0 riops=9\n8:16 rbps=7\n", max).as_deref(),
            Some("8:0 rbps=5 wbps=max riops=max wiops=max\n8:16 rbps=max wbps=max riops=max wiops=max")
        );
        let weights = "default 100\n8:0 300\n";
        assert_eq!(inverse("io.bfq.weight", "200", weights).as_deref(), Some("default 100"));
        assert_eq!(inverse("io.bfq.weight", "default 200", weights).as_deref(), Some("default 100"));
        assert_eq!(inverse("io.bfq.weight", "8:0 200", weights).as_deref(), Some("8:0 300"));
        assert_eq!(inverse("blkio.bfq.weight_device", "8:16 200", weights).as_deref(), Some("8:16 default"));
        assert_eq!(inverse("blkio.bfq.weight", "200", "100\n").as_deref(), Some("100"));
        assert_eq!(inverse("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 1\n").as_deref(), Some("eth0 1"));
        assert_eq!(inverse("rdma.max", "mlx5_0 hca_handle=1", ""), None);
    }

    #[test]
    fn what_cannot_be_set_back_is_told() {
        let failure = || Failure::because("cgroup.limit", "x", "y");
        assert_eq!(take_back(Vec::new(), failure()), failure());
        let undo =
            |file: &str, value: Option<&str>| Undo { file: file.into(), value: value.map(str::to_owned) };
        let told = take_back(vec![undo("/no/a", Some("1")), undo("/no/b", None)], failure().hint("do so"));
        assert_eq!(
            told.hint.as_deref(),
            Some("do so; could not be set back and keeps the new limit: /no/b, /no/a")
        );
    }
}
