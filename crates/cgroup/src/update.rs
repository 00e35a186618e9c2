//! Other limits for a running group: the same writes as for a new one, in an order in which every step between the
//! old limits and the new ones is one that the kernel takes. Read back at the end.

use std::path::Path;

use ::step::{Failure, Step as _};
use rustix::io::Errno;

use crate::group::Group;
use crate::hierarchies::{Controller, Hierarchies, Version};
use crate::kernfs;
use crate::limits::{Amount, Limits};
use crate::plan;
use crate::step::perform_write;
use crate::write::{Now, Purpose};

/// Writes `limits` to the running group `path`; what they do not speak of stays.
///
/// Errors before anything is written: a group that is not there, device rules, an absent controller, a limit that
/// the version has no word for, `check_before_update` and more in use. After that the kernel's refusal of one limit;
/// those written before it stay.
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
        let step = if own.is_empty() { None } else { plan::hand_on(mount, &mount.group(path), limits, &own) };
        step.map_or(Ok(()), |step| step.perform(&mut ::step::Context::default()))?;
    }
    for (mount, write) in &writes {
        perform_write(&mount.group(path), write).map_err(|failure| in_use(&group, failure))?;
    }
    let checks = writes.iter().filter_map(|(mount, write)| plan::check(&mount.group(path), write));
    checks.into_iter().try_for_each(|check| check.verify())
}

/// What the order of the writes depends on; nothing is read that no limit needs.
fn now(group: &Group, limits: &Limits) -> Now {
    let read = |dir: Option<&Path>, file: &str| dir.and_then(|dir| kernfs::read(&dir.join(file)).ok());
    let mut now = Now::default();
    if limits.memory.limit.is_some() {
        let text = read(group.v1(Controller::Memory.v1()), "memory.memsw.limit_in_bytes");
        now.memsw = text.and_then(|text| text.trim().parse().ok());
    }
    if limits.cpu.period.is_some() && limits.cpu.quota.is_none() && group.v1(Controller::Cpu.v1()).is_none() {
        let text = read(group.v2(), "cpu.max");
        now.quota = text.and_then(|text| text.split_ascii_whitespace().next().map(str::to_owned));
    }
    now
}

/// Refuses a memory limit below what is in use: v2 would take it and kill.
fn room_for(group: &Group, limits: &Limits) -> Result<(), Failure> {
    let (Some(Amount::Of(limit)), Some(used)) = (limits.memory.limit, used(group)) else { return Ok(()) };
    if used <= limit {
        return Ok(());
    }
    let reason = format!("{limit} is less than the {used} bytes in use");
    Err(Failure::because("cgroup.update", "memory.limit", reason)
        .hint("choose more, or end some of the processes"))
}

/// The failure, with how much is in use where that is the cause.
fn in_use(group: &Group, failure: Failure) -> Failure {
    match (Errno::from_raw_os_error(failure.errno), used(group)) {
        (Errno::BUSY, Some(used)) if failure.target.contains("/memory.") => failure
            .hint(format!("the group uses {used} bytes that cannot be freed: choose more, or end processes")),
        _ => failure,
    }
}

/// Memory in use, in bytes.
fn used(group: &Group) -> Option<u64> {
    let (version, dir) = group.with("memory", "memory")?;
    let file = if version == Version::V1 { "memory.usage_in_bytes" } else { "memory.current" };
    kernfs::read(&dir.join(file)).ok()?.trim().parse().ok()
}
