//! Other limits for a running group: the same writes as for a new one, in an order in which every step between the
//! old limits and the new ones is one that the kernel takes. Read back at the end; taken back where one fails.

mod undo;

use std::path::Path;

use ::step::{Failure, Step as _};
use rustix::io::Errno;

use crate::group::Group;
use crate::hierarchies::{Controller, Hierarchies, Mount, Version};
use crate::kernfs;
use crate::limits::{Amount, Limits};
use crate::plan;
use crate::step::perform_write;
use crate::write::{Now, Purpose, Write};
use undo::Undo;

/// Writes `limits` to the running group `path`; what they do not speak of stays.
///
/// Errors before anything is written: a group that is not there, device rules, an absent controller, a limit that
/// the version has no word for, `check_before_update` and more in use. After that the kernel's refusal of one limit;
/// those written before it are set back, and what cannot be is named in the hint.
pub fn update(h: &Hierarchies, path: &str, limits: &Limits) -> Result<(), Failure> {
    let group = Group::open(h, path)?;
    if !limits.devices.is_empty() {
        return Err(Failure::because(
            "cgroup.update",
            "devices",
            "device rules hold for a container's whole life",
        )
        .hint("make the container anew with other rules"));
    }
    let writes = plan::writes(h, limits, &Purpose::Update(now(&group, limits)))?;
    let missing = writes.iter().map(|(mount, _)| mount.group(path)).find(|dir| !dir.is_dir());
    if let Some(dir) = missing {
        return Err(Failure::new("cgroup.update", dir.to_string_lossy(), Errno::NOENT)
            .hint("the container is not running"));
    }
    if limits.memory.check_before_update {
        room_for(&group, limits)?;
    }
    if let Some(mount) = h.v2() {
        let own: Vec<_> = writes.iter().filter(|(on, _)| *on == mount).map(|(_, write)| write).collect();
        let step = if own.is_empty() {
            None
        } else {
            plan::hand_on(mount, &mount.group(path), limits, &own, plan::is_counting)
        };
        step.map_or(Ok(()), |step| step.perform(&mut ::step::Context::default()))?;
    }
    let mut done = Vec::with_capacity(writes.len());
    write_all(&group, path, &writes, &mut done).map_err(|failure| undo::take_back(done, failure))
}

fn write_all(
    group: &Group,
    path: &str,
    writes: &[(&Mount, Write)],
    done: &mut Vec<Undo>,
) -> Result<(), Failure> {
    for (mount, write) in writes {
        let dir = mount.group(path);
        let before = undo::before(&dir, write);
        // Of several lines some may be written when one is refused.
        let in_parts = write.value.lines().nth(1).is_some();
        let result = perform_write(&dir, write).map_err(|failure| in_use(group, failure));
        if result.is_ok() || in_parts {
            done.extend(before);
        }
        result?;
    }
    let checks = writes.iter().filter_map(|(mount, write)| plan::check(&mount.group(path), write));
    checks.into_iter().try_for_each(|check| check.verify())
}

/// What the order of the writes depends on; nothing is read that no limit needs.
pub(crate) fn now(group: &Group, limits: &Limits) -> Now {
    let read = |dir: Option<&Path>, file: &str| dir.and_then(|dir| kernfs::read(&dir.join(file)).ok());
    let number = |text: Option<String>| text.and_then(|text| text.trim().parse().ok());
    let mut now = Now::default();
    if limits.memory.limit.is_some() {
        now.memsw = number(read(group.v1(Controller::Memory.v1()), "memory.memsw.limit_in_bytes"));
    }
    let cpu = group.v1(Controller::Cpu.v1());
    if limits.cpu.period.is_some() && limits.cpu.quota.is_none() && cpu.is_none() {
        let text = read(group.v2(), "cpu.max");
        now.quota = text.and_then(|text| text.split_ascii_whitespace().next().map(str::to_owned));
    }
    if limits.cpu.realtime_period.is_some() && limits.cpu.realtime_runtime.is_some() {
        now.realtime_period = number(read(cpu, "cpu.rt_period_us"));
    }
    now
}

/// v2: refuses a memory limit of what is in use or less, which it would take and kill for. v1 frees what it can and
/// refuses of itself, so that there is nothing to check. The words are runc's (`fs2.CheckMemoryUsage`).
fn room_for(group: &Group, limits: &Limits) -> Result<(), Failure> {
    let Some((Version::V2, dir)) = group.with("memory", "memory") else { return Ok(()) };
    // The OCI's number is memory and swap together; below memory in use it leaves no room for that either.
    let sum = limits.memory.swap.map(|swap| swap.with_memory);
    let asked = [("memory+swap", sum), ("memory", limits.memory.limit)];
    let Some(used) = number(dir, "memory.current") else { return Ok(()) };
    for (name, limit) in asked {
        if let Some(Amount::Of(limit)) = limit
            && limit <= used
        {
            let reason = format!("rejecting {name} limit {limit} <= usage {used}");
            return Err(Failure::because("cgroup.update", "memory.limit", reason)
                .hint("choose more, or end some of the processes"));
        }
    }
    Ok(())
}

/// The failure, with how much is in use where that is the cause. The words are runc's (`fs.setMemory`).
fn in_use(group: &Group, failure: Failure) -> Failure {
    let busy = failure.errno == Errno::BUSY.raw_os_error();
    let Some((Version::V1, dir)) = group.with("memory", "memory").filter(|_| busy) else { return failure };
    let used = (number(dir, "memory.usage_in_bytes"), number(dir, "memory.max_usage_in_bytes"));
    let (file, limit) = failure.target.split_once(" = ").unwrap_or((&failure.target, ""));
    match (used, file.ends_with("/memory.limit_in_bytes")) {
        ((Some(used), Some(peak)), true) => {
            let reason =
                format!("unable to set memory limit to {limit} (current usage: {used}, peak usage: {peak})");
            Failure { reason: Some(reason), ..failure }.hint(format!(
                "the group uses {used} bytes that cannot be freed: choose more, or end processes"
            ))
        }
        _ => failure,
    }
}

fn number(dir: &Path, file: &str) -> Option<u64> {
    kernfs::read(&dir.join(file)).ok()?.trim().parse().ok()
}
