//! What a container may use: devices, memory, processors, block I/O, in the words of the specification.

use std::path::{Path, PathBuf};

use oci::spec::{
    LinuxBlockIo, LinuxCpu, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
    LinuxHugepageLimit, LinuxInterfacePriority, LinuxMemory, LinuxNetwork, LinuxPids, LinuxResources,
    LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDevice, LinuxWeightDeviceBuilder,
};

use crate::facts::{DeviceFact, Facts};
use crate::request::{Resources, RunRequest};
use crate::{Error, Kind};

pub(super) fn device(fact: &DeviceFact) -> LinuxDevice {
    let mut device = LinuxDevice::default();
    device
        .set_path(fact.path.clone())
        .set_typ(if fact.kind == 'b' { LinuxDeviceType::B } else { LinuxDeviceType::C })
        .set_major(i64::from(fact.number.0))
        .set_minor(i64::from(fact.number.1))
        .set_file_mode(Some(fact.mode))
        .set_uid(Some(fact.owner.0))
        .set_gid(Some(fact.owner.1));
    device
}

fn device_rules(request: &RunRequest, facts: &Facts) -> Result<Vec<LinuxDeviceCgroup>, Error> {
    if request.security.privileged {
        let all = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .access("rwm".to_owned())
            .build()
            .unwrap_or_default();
        return Ok(vec![all]);
    }
    let mut rules = oci::defaults::device_rules();
    for fact in &facts.devices {
        let kind = if fact.kind == 'b' { LinuxDeviceType::B } else { LinuxDeviceType::C };
        let rule = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .typ(kind)
            .major(i64::from(fact.number.0))
            .minor(i64::from(fact.number.1))
            .access(fact.access.clone());
        rules.push(rule.build().unwrap_or_default());
    }
    for text in &request.security.device_rules {
        rules.push(device_rule(text)?);
    }
    Ok(rules)
}

/// `c 1:3 rwm`, with `*` for any number.
fn device_rule(text: &str) -> Result<LinuxDeviceCgroup, Error> {
    let invalid = || {
        Error::new(Kind::Invalid, format!("--device-cgroup-rule '{text}' is no rule"))
            .hint("write it like 'c 10:229 rwm': kind a, b or c; major:minor, * for any; some of r, w, m")
    };
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let [kind, numbers, access] = words.as_slice() else { return Err(invalid()) };
    let kind = match *kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(invalid()),
    };
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse::<u32>().map(|n| Some(i64::from(n))).map_err(|_| invalid()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    if access.is_empty() || !access.bytes().all(|byte| b"rwm".contains(&byte)) {
        return Err(invalid());
    }
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(true)
        .set_typ(Some(kind))
        .set_major(number(major)?)
        .set_minor(number(minor)?)
        .set_access(Some((*access).to_owned()));
    Ok(rule)
}

pub(super) fn resources(request: &RunRequest, facts: &Facts) -> Result<LinuxResources, Error> {
    let mut resources = limits(&request.resources)?;
    resources.set_devices(Some(device_rules(request, facts)?));
    Ok(resources)
}

/// What is `asked` of a container that is to have `all` afterwards: memory and swap are one number, so that who asks
/// for one of them is given both.
pub(crate) fn change(all: &Resources, asked: &Resources) -> Result<LinuxResources, Error> {
    memory(all)?;
    let mut part = asked.clone();
    if part.memory.is_some() || part.memory_swap.is_some() {
        (part.memory, part.memory_swap) = (all.memory, all.memory_swap);
    }
    limits(&part)
}

fn limits(asked: &Resources) -> Result<LinuxResources, Error> {
    let mut resources = LinuxResources::default();
    resources.set_memory(memory(asked)?).set_cpu(Some(cpu(asked)?)).set_block_io(block_io(asked)?);
    if let Some(limit) = asked.pids {
        let mut pids = LinuxPids::default();
        pids.set_limit(if limit <= 0 { -1 } else { limit });
        resources.set_pids(Some(pids));
    }
    let pages = asked.hugetlb.iter().map(|(size, limit)| {
        let mut page = LinuxHugepageLimit::default();
        page.set_page_size(size.clone()).set_limit(*limit as i64);
        page
    });
    resources.set_hugepage_limits(Some(pages.collect()));
    if asked.net_cls.is_some() || !asked.net_prio.is_empty() {
        let priorities = asked.net_prio.iter().map(|(name, priority)| {
            let mut one = LinuxInterfacePriority::default();
            one.set_name(name.clone()).set_priority(*priority);
            one
        });
        let mut network = LinuxNetwork::default();
        network.set_class_id(asked.net_cls).set_priorities(Some(priorities.collect()));
        resources.set_network(Some(network));
    }
    Ok(resources)
}

fn memory(asked: &Resources) -> Result<Option<LinuxMemory>, Error> {
    let invalid = |message: String, hint: &str| Err(Error::new(Kind::Invalid, message).hint(hint));
    let swap = match (asked.memory, asked.memory_swap) {
        (None, Some(swap)) if swap > 0 => {
            return invalid(
                "--memory-swap needs --memory".into(),
                "it is the limit of memory and swap together",
            );
        }
        // 0 stands for unset, as in Docker.
        (Some(memory), None | Some(0)) => Some(memory.saturating_mul(2).min(i64::MAX as u64) as i64),
        (Some(memory), Some(swap)) if swap > 0 && (swap as u64) < memory => {
            return invalid(
                format!("--memory-swap {swap} is less than --memory {memory}"),
                "it is the limit of memory and swap together; -1 is no limit",
            );
        }
        (_, swap) => swap.filter(|swap| *swap != 0),
    };
    if let (Some(reservation), Some(memory)) = (asked.memory_reservation, asked.memory)
        && reservation > memory
    {
        return invalid(
            format!("--memory-reservation {reservation} is more than --memory {memory}"),
            "the soft limit must be below the hard one",
        );
    }
    if asked.memory.is_none()
        && asked.memory_reservation.is_none()
        && swap.is_none()
        && asked.memory_swappiness.is_none()
        && !asked.oom_kill_disable
    {
        return Ok(None);
    }
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(asked.memory.map(|bytes| bytes as i64))
        .set_reservation(asked.memory_reservation.map(|bytes| bytes as i64))
        .set_swap(swap)
        .set_swappiness(asked.memory_swappiness)
        .set_disable_oom_killer(asked.oom_kill_disable.then_some(true));
    Ok(Some(memory))
}

/// The kernel's period where only a share of CPUs was asked for, microseconds.
const PERIOD: u64 = 100_000;

fn cpu(asked: &Resources) -> Result<LinuxCpu, Error> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(asked.cpu_shares.filter(|shares| *shares > 0))
        .set_cpus(asked.cpuset_cpus.clone())
        .set_mems(asked.cpuset_mems.clone())
        .set_quota(asked.cpu_quota.filter(|quota| *quota != 0))
        .set_period(asked.cpu_period.filter(|period| *period > 0));
    if let Some(milli) = asked.milli_cpus.filter(|milli| *milli > 0) {
        let present = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        if milli > present * 1000 {
            return Err(Error::new(
                Kind::Invalid,
                format!("--cpus {} is more than this machine has: {present}", milli as f64 / 1000.0),
            )
            .hint(format!("give 0.001 to {present}")));
        }
        cpu.set_quota(Some((milli * PERIOD / 1000) as i64)).set_period(Some(PERIOD));
    }
    Ok(cpu)
}

fn block_io(asked: &Resources) -> Result<Option<LinuxBlockIo>, Error> {
    let number = |option: &str, path: &Path| -> Result<(i64, i64), Error> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let invalid = |reason: &str| {
            Error::new(Kind::Invalid, format!("{option} {}: {reason}", path.display()))
                .hint("give the path of a block device, like /dev/sda; `lsblk` lists them")
        };
        let meta = std::fs::metadata(path).map_err(|_| invalid("does not exist on the host"))?;
        if !meta.file_type().is_block_device() {
            return Err(invalid("is not a block device"));
        }
        Ok((i64::from(rustix::fs::major(meta.rdev())), i64::from(rustix::fs::minor(meta.rdev()))))
    };
    let rates = |option: &str, list: &[(PathBuf, u64)]| -> Result<Option<Vec<LinuxThrottleDevice>>, Error> {
        let rate = |(path, rate): &(PathBuf, u64)| -> Result<LinuxThrottleDevice, Error> {
            let (major, minor) = number(option, path)?;
            let rate = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(*rate).build();
            rate.map_err(|error| Error::new(Kind::Invalid, format!("{option}: {error}")))
        };
        if list.is_empty() { Ok(None) } else { list.iter().map(rate).collect::<Result<_, _>>().map(Some) }
    };
    let weight = |(path, weight): &(PathBuf, u16)| -> Result<LinuxWeightDevice, Error> {
        let (major, minor) = number("--blkio-weight-device", path)?;
        let weight = LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(*weight).build();
        weight.map_err(|error| Error::new(Kind::Invalid, format!("--blkio-weight-device: {error}")))
    };
    let mut io = LinuxBlockIo::default();
    let weights: Vec<_> = asked.blkio_weight_devices.iter().map(weight).collect::<Result<_, _>>()?;
    io.set_weight(asked.blkio_weight.filter(|weight| *weight > 0))
        .set_weight_device((!weights.is_empty()).then_some(weights))
        .set_throttle_read_bps_device(rates("--device-read-bps", &asked.read_bps)?)
        .set_throttle_write_bps_device(rates("--device-write-bps", &asked.write_bps)?)
        .set_throttle_read_iops_device(rates("--device-read-iops", &asked.read_iops)?)
        .set_throttle_write_iops_device(rates("--device-write-iops", &asked.write_iops)?);
    Ok((io != LinuxBlockIo::default()).then_some(io))
}
