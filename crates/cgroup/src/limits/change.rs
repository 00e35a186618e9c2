//! Limits for a container that runs: what an update leaves out stays, and some of what it says follows from what was
//! said before. The record of what a container was given is therefore kept in the OCI's own words and changed with it.

use std::collections::HashMap;

use ::step::Failure;
use oci::spec::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice,
};

use super::*;

impl Limits {
    /// Interprets the OCI's numbers as changes of a running container that was given `recorded`. For
    /// [`crate::update`].
    ///
    /// As from runc's `update`: memory and swap are one number, so that a new limit of memory keeps the recorded
    /// sum, and a new sum is reckoned against the recorded limit of memory; a limit of the kernel's memory is
    /// ignored; so are device rules, which hold for a container's whole life and which some callers send along.
    pub fn for_update(asked: &LinuxResources, recorded: &LinuxResources) -> Result<Self, Failure> {
        let mut asked = asked.clone();
        asked.set_devices(None);
        let old = recorded.memory().unwrap_or_default();
        let mut only_sum = false;
        if let Some(memory) = asked.memory_mut() {
            memory.set_kernel_tcp(None);
            let given = |number: Option<i64>| number.filter(|number| *number != 0);
            match (given(memory.limit()), given(memory.swap())) {
                (Some(1..), None) => {
                    memory.set_swap(given(old.swap()));
                }
                (None, Some(1..)) => {
                    only_sum = true;
                    memory.set_limit(given(old.limit()));
                }
                _ => {}
            }
        }
        let mut limits = Self::from_oci(&asked)?;
        if only_sum {
            // Known for the arithmetic, not asked for.
            limits.memory.limit = None;
        }
        Ok(limits)
    }
}

/// What a container has after `asked` was written, for its record: what was asked for, and for the rest what was
/// `recorded`. Lists are joined by what they speak of: device, size of page, file.
pub fn merge(recorded: &LinuxResources, asked: &LinuxResources) -> LinuxResources {
    let mut all = recorded.clone();
    if let Some(new) = asked.memory() {
        all.set_memory(Some(memory(recorded.memory().unwrap_or_default(), new)));
    }
    if let Some(new) = asked.cpu() {
        all.set_cpu(Some(cpu(recorded.cpu().clone().unwrap_or_default(), new)));
    }
    if asked.pids().is_some() {
        all.set_pids(*asked.pids());
    }
    if let Some(new) = asked.block_io() {
        all.set_block_io(Some(block_io(recorded.block_io().clone().unwrap_or_default(), new)));
    }
    if let Some(new) = asked.hugepage_limits() {
        let old = recorded.hugepage_limits().clone().unwrap_or_default();
        all.set_hugepage_limits(Some(joined(old, new, |a, b| a.page_size() == b.page_size())));
    }
    if let Some(new) = asked.network() {
        all.set_network(Some(network(recorded.network().clone().unwrap_or_default(), new)));
    }
    all.set_rdma(overlaid(recorded.rdma(), asked.rdma()));
    all.set_unified(overlaid(recorded.unified(), asked.unified()));
    all
}

/// What is given and not the word for "no wish".
fn newer<T: Copy + Default + PartialEq>(old: Option<T>, new: Option<T>) -> Option<T> {
    new.filter(|new| *new != T::default()).or(old)
}

fn memory(old: LinuxMemory, new: &LinuxMemory) -> LinuxMemory {
    let mut all = old;
    all.set_limit(newer(old.limit(), new.limit()));
    all.set_reservation(newer(old.reservation(), new.reservation()));
    // Memory without a limit has lifted that of swap too.
    let lifted = new.limit() == Some(-1);
    all.set_swap(newer(old.swap().filter(|_| !lifted), new.swap()));
    all.set_swappiness(new.swappiness().or(old.swappiness()));
    all.set_disable_oom_killer(new.disable_oom_killer().or(old.disable_oom_killer()));
    all.set_check_before_update(new.check_before_update().or(old.check_before_update()));
    all
}

fn cpu(old: LinuxCpu, new: &LinuxCpu) -> LinuxCpu {
    let mut all = old.clone();
    all.set_shares(newer(old.shares(), new.shares()));
    all.set_quota(newer(old.quota(), new.quota()));
    all.set_period(newer(old.period(), new.period()));
    // Zero is a burst, and no idleness.
    all.set_burst(new.burst().or(old.burst()));
    all.set_idle(new.idle().or(old.idle()));
    all.set_realtime_period(newer(old.realtime_period(), new.realtime_period()));
    all.set_realtime_runtime(newer(old.realtime_runtime(), new.realtime_runtime()));
    let list = |old: &Option<String>, new: &Option<String>| {
        new.clone().filter(|list| !list.is_empty()).or_else(|| old.clone())
    };
    all.set_cpus(list(old.cpus(), new.cpus()));
    all.set_mems(list(old.mems(), new.mems()));
    all
}

fn block_io(old: LinuxBlockIo, new: &LinuxBlockIo) -> LinuxBlockIo {
    let mut all = old.clone();
    all.set_weight(newer(old.weight(), new.weight()));
    all.set_leaf_weight(newer(old.leaf_weight(), new.leaf_weight()));
    let weight =
        |a: &LinuxWeightDevice, b: &LinuxWeightDevice| (a.major(), a.minor()) == (b.major(), b.minor());
    let rate = |old: &Option<Vec<LinuxThrottleDevice>>, new: &Option<Vec<LinuxThrottleDevice>>| match new {
        Some(new) => Some(joined(old.clone().unwrap_or_default(), new, |a, b| {
            (a.major(), a.minor()) == (b.major(), b.minor())
        })),
        None => old.clone(),
    };
    if let Some(new) = new.weight_device() {
        all.set_weight_device(Some(joined(old.weight_device().clone().unwrap_or_default(), new, weight)));
    }
    all.set_throttle_read_bps_device(rate(old.throttle_read_bps_device(), new.throttle_read_bps_device()));
    all.set_throttle_write_bps_device(rate(old.throttle_write_bps_device(), new.throttle_write_bps_device()));
    all.set_throttle_read_iops_device(rate(old.throttle_read_iops_device(), new.throttle_read_iops_device()));
    all.set_throttle_write_iops_device(rate(
        old.throttle_write_iops_device(),
        new.throttle_write_iops_device(),
    ));
    all
}

fn network(old: LinuxNetwork, new: &LinuxNetwork) -> LinuxNetwork {
    let mut all = old.clone();
    all.set_class_id(new.class_id().or(old.class_id()));
    if let Some(new) = new.priorities() {
        let old = old.priorities().clone().unwrap_or_default();
        all.set_priorities(Some(joined(old, new, |a, b| a.name() == b.name())));
    }
    all
}

/// The old list with the new entries: each in the place of those that speak of the same.
fn joined<T: Clone>(mut old: Vec<T>, new: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    for entry in new {
        let first = old.iter().position(|other| same(other, entry));
        let mut at = 0..;
        old.retain(|other| at.next() == first || !same(other, entry));
        match first {
            Some(first) => old[first] = entry.clone(),
            None => old.push(entry.clone()),
        }
    }
    old
}

type Map<T> = Option<HashMap<String, T>>;

fn overlaid<T: Clone>(old: &Map<T>, new: &Map<T>) -> Map<T> {
    let Some(new) = new else { return old.clone() };
    let mut all = old.clone().unwrap_or_default();
    all.extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::spec::{
        LinuxBlockIoBuilder, LinuxCpuBuilder, LinuxDeviceCgroup, LinuxMemoryBuilder, LinuxPidsBuilder,
        LinuxResourcesBuilder, LinuxThrottleDeviceBuilder,
    };

    fn with_memory(limit: Option<i64>, swap: Option<i64>) -> LinuxResources {
        let mut memory = LinuxMemoryBuilder::default().build().unwrap();
        memory.set_limit(limit).set_swap(swap);
        LinuxResourcesBuilder::default().memory(memory).build().unwrap()
    }

    fn sum(together: u64, alone: u64) -> Option<Swap> {
        Some(Swap { with_memory: Amount::Of(together), alone: Amount::Of(alone), implied: false })
    }

    #[test]
    fn memory_and_swap_stay_one_number() {
        let recorded = with_memory(Some(100), Some(150));
        let changed =
            |limit, swap| Limits::for_update(&with_memory(limit, swap), &recorded).map(|all| all.memory);
        // A new limit of memory, the recorded sum.
        let memory = changed(Some(120), None).unwrap();
        assert_eq!((memory.limit, memory.swap), (Some(Amount::Of(120)), sum(150, 30)));
        assert!(changed(Some(151), None).unwrap_err().to_string().contains("less than memory.limit, 151"));
        // A new sum, the recorded limit of memory: which is not written again.
        let memory = changed(None, Some(180)).unwrap();
        assert_eq!((memory.limit, memory.swap), (None, sum(180, 80)));
        assert!(changed(None, Some(99)).is_err());
        // Both, or no limit at all.
        assert_eq!(changed(Some(60), Some(80)).unwrap().swap, sum(80, 20));
        let endless = Swap { with_memory: Amount::Max, alone: Amount::Max, implied: false };
        assert_eq!(changed(None, Some(-1)).unwrap().swap, Some(endless));
        let memory = changed(Some(-1), None).unwrap();
        assert_eq!((memory.limit, memory.swap), (Some(Amount::Max), Some(Swap { implied: true, ..endless })));
        assert_eq!(changed(None, None).unwrap(), Memory::default());
        assert_eq!(changed(Some(0), Some(0)).unwrap(), Memory::default());
    }

    #[test]
    fn without_a_record_a_sum_needs_a_limit() {
        let nothing = LinuxResources::default();
        assert!(Limits::for_update(&with_memory(None, Some(5)), &nothing).is_err());
        let limits = Limits::for_update(&with_memory(Some(5), None), &nothing).unwrap();
        assert_eq!((limits.memory.limit, limits.memory.swap), (Some(Amount::Of(5)), None));
    }

    #[test]
    fn what_an_update_cannot_change_is_ignored() {
        let mut asked =
            LinuxResourcesBuilder::default().devices(vec![LinuxDeviceCgroup::default()]).build().unwrap();
        asked.set_memory(Some(LinuxMemoryBuilder::default().kernel_tcp(5i64).build().unwrap()));
        assert_eq!(Limits::for_update(&asked, &LinuxResources::default()).unwrap(), Limits::default());
        // Where it matters, all is checked as ever.
        let cpu = LinuxCpuBuilder::default().idle(2i64).build().unwrap();
        let asked = LinuxResourcesBuilder::default().cpu(cpu).build().unwrap();
        assert!(Limits::for_update(&asked, &LinuxResources::default()).is_err());
    }

    #[test]
    fn a_record_changes_with_the_update() {
        let rate = |minor: i64, rate: u64| {
            LinuxThrottleDeviceBuilder::default().major(8).minor(minor).rate(rate).build().unwrap()
        };
        let io = |rates: Vec<LinuxThrottleDevice>| {
            LinuxBlockIoBuilder::default().throttle_read_bps_device(rates).build().unwrap()
        };
        let mut recorded = with_memory(Some(100), Some(150));
        recorded.set_cpu(Some(
            LinuxCpuBuilder::default().quota(5000i64).period(9000u64).idle(1i64).build().unwrap(),
        ));
        recorded.set_block_io(Some(io(vec![rate(0, 5), rate(16, 6), rate(0, 7)])));
        recorded.set_unified(Some(
            [("a.b".to_owned(), "1".to_owned()), ("c.d".to_owned(), "2".to_owned())].into(),
        ));

        let mut asked = with_memory(Some(120), Some(0));
        asked.set_cpu(Some(LinuxCpuBuilder::default().quota(-1i64).idle(0i64).cpus("").build().unwrap()));
        asked.set_pids(Some(LinuxPidsBuilder::default().limit(0).build().unwrap()));
        asked.set_block_io(Some(io(vec![rate(0, 9), rate(32, 1)])));
        asked.set_unified(Some([("c.d".to_owned(), "3".to_owned())].into()));

        let merged = merge(&recorded, &asked);
        let memory = merged.memory().unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(120), Some(150)));
        let cpu = merged.cpu().as_ref().unwrap();
        assert_eq!((cpu.quota(), cpu.period(), cpu.idle()), (Some(-1), Some(9000), Some(0)));
        assert_eq!(merged.pids().unwrap().limit(), 0);
        let rates = merged.block_io().as_ref().unwrap().throttle_read_bps_device().clone().unwrap();
        assert_eq!(rates, [rate(0, 9), rate(16, 6), rate(32, 1)]);
        let unified = merged.unified().as_ref().unwrap();
        assert_eq!((unified["a.b"].as_str(), unified["c.d"].as_str()), ("1", "3"));
        // Lifting the limit of memory lifts that of swap.
        let lifted = merge(&merged, &with_memory(Some(-1), None));
        assert_eq!((lifted.memory().unwrap().limit(), lifted.memory().unwrap().swap()), (Some(-1), None));
        assert_eq!(merge(&recorded, &LinuxResources::default()), recorded);
    }
}
