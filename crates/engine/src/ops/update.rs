//! `update`: other limits and another restart policy for a container, running or not.

use cgroup::{Hierarchies, Limits};
use monitor::Hello;

use super::networks;
use crate::request::{NetworkMode, Rate, RateChange, Resources, Restart};
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, contact, events, spec};

/// What is to be changed; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Limits; a list changes the entries of what it names.
    pub resources: Resources,
    /// `--restart`.
    pub restart: Option<Restart>,
    /// `--storage-opt size=`, bytes.
    pub size: Option<u64>,
    /// `--network-rate`.
    pub rates: RateChange,
    /// `--network-share`; within, none for no share any more.
    pub share: Option<Option<Rate>>,
}

/// Changes a container: its control groups where it runs, its record in any case. The kernel's refusal leaves both as
/// they were.
pub fn update(settings: &Settings, name: &str, change: &Change) -> Result<(), Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    let writing = store.lock_record(&record)?;
    let (_, mut record) = store.load(&id)?;
    check(name, &record, change)?;
    let old = record.request.resources.clone();
    let new = merged(&old, &change.resources);
    let asked = spec::change(&new, &change.resources)?;
    // First, for it is not taken back: a larger disk is what was asked for, whatever becomes of the rest.
    if let Some(size) = change.size {
        grow(settings, &mut record, size)?;
        writing.write(&record)?;
    }
    if change.resources != Resources::default() && runs(&store, &id)? {
        let mut limits = Limits::for_update(&asked, &spec::change(&old, &old)?)?;
        limits.memory.check_before_update = change.resources.memory.is_some();
        limits.raw.extend(change.resources.raw.clone());
        cgroup::update(&Hierarchies::probe()?, &record.group, &limits).map_err(|failure| {
            let message = format!("cannot update container {name}: {failure}");
            Error { hint: failure.hint, ..Error::new(Kind::Engine, message) }
        })?;
    }
    record.request.resources = new;
    shape(settings, &store, name, &mut record, change)?;
    record.request.restart = change.restart.unwrap_or(record.request.restart);
    writing.write(&record)?;
    events::container(settings, &record, "update", &[]);
    Ok(())
}

/// Whether it has control groups; one that is just being started is waited for.
fn runs(store: &Store, id: &str) -> Result<bool, Error> {
    if store.living_init(id).is_none() && store.run_dir(id).exists() {
        drop(contact::connect(store, id, Hello::default())?);
    }
    Ok(store.living_init(id).is_some())
}

/// What contradicts what it has.
fn check(name: &str, record: &Record, change: &Change) -> Result<(), Error> {
    let (old, new) = (&record.request.resources, &change.resources);
    let invalid = |message: String, hint: &str| Err(Error::new(Kind::Invalid, message).hint(hint));
    if record.request.remove && change.restart.is_some_and(|restart| restart != Restart::No) {
        return invalid(
            format!(
                "cannot update container {name}: --rm removes it at its end, and --restart starts it again"
            ),
            "a container is made with the one or the other",
        );
    }
    let period = new.cpu_period.is_some() && new.cpu_quota.is_none() && new.milli_cpus.is_none();
    if period && old.milli_cpus.is_some() {
        return invalid(
            format!("cannot update container {name}: --cpu-period contradicts its --cpus"),
            "give --cpu-quota too, or another --cpus",
        );
    }
    if let (Some(memory), None, Some(sum)) = (new.memory, new.memory_swap, old.memory_swap)
        && sum > 0
        && memory > sum as u64
    {
        return invalid(
            format!("cannot update container {name}: --memory {memory} is more than its --memory-swap {sum}"),
            "give --memory-swap too: it is the limit of memory and swap together",
        );
    }
    Ok(())
}

/// Other limits for its link, at once where it runs.
fn shape(
    settings: &Settings,
    store: &Store,
    name: &str,
    record: &mut Record,
    change: &Change,
) -> Result<(), Error> {
    if change.rates == RateChange::default() && change.share.is_none() {
        return Ok(());
    }
    if record.request.network.mode != NetworkMode::Bridge {
        let message = format!("cannot update container {name}: it has no link of its own to limit");
        return Err(
            Error::new(Kind::Invalid, message).hint("limits are for containers with --network bridge")
        );
    }
    let old = record.request.network.rates;
    let rates = change.rates.of(old);
    let share = change.share.unwrap_or(record.request.network.share);
    if runs(store, &record.id)?
        && let Some(living) = networks::living(store, &record.id)?
    {
        let refused = |error: network::Error| {
            let hint = error.hint();
            Error { hint, ..Error::new(Kind::Engine, format!("cannot update container {name}: {error}")) }
        };
        if change.share.is_some() {
            network::change_share(&settings.network(), &record.networks, share).map_err(refused)?;
        }
        for place in record.networks.iter().filter(|_| rates != old) {
            network::change_rates(place, &living.namespace, old, rates)
                .map_err(|failure| refused(failure.into()))?;
        }
    }
    (record.request.network.rates, record.request.network.share) = (rates, share);
    Ok(())
}

/// More room on its disk.
fn grow(settings: &Settings, record: &mut Record, size: u64) -> Result<(), Error> {
    // Before its first start it has no disk yet.
    if let Some(disk) = &mut record.disk {
        storage::grow(&settings.places(), &record.id, size)?;
        if let Some((limit, _)) = &mut disk.limit {
            *limit = size;
        }
    }
    record.request.storage.size = Some(size);
    Ok(())
}

/// What it has afterwards.
fn merged(old: &Resources, new: &Resources) -> Resources {
    let time = new.milli_cpus.is_some() || new.cpu_quota.is_some() || new.cpu_period.is_some();
    // One way of giving the share of the processors takes the place of the other.
    let (milli_cpus, cpu_quota, cpu_period) = match (time, new.milli_cpus) {
        (true, Some(milli)) => (Some(milli), None, None),
        (true, None) => (None, new.cpu_quota.or(old.cpu_quota), new.cpu_period.or(old.cpu_period)),
        (false, _) => (old.milli_cpus, old.cpu_quota, old.cpu_period),
    };
    Resources {
        memory: new.memory.or(old.memory),
        memory_reservation: new.memory_reservation.or(old.memory_reservation),
        memory_swap: new.memory_swap.or(old.memory_swap),
        memory_swappiness: new.memory_swappiness.or(old.memory_swappiness),
        oom_kill_disable: old.oom_kill_disable,
        milli_cpus,
        cpu_period,
        cpu_quota,
        cpu_shares: new.cpu_shares.or(old.cpu_shares),
        cpuset_cpus: new.cpuset_cpus.clone().or_else(|| old.cpuset_cpus.clone()),
        cpuset_mems: new.cpuset_mems.clone().or_else(|| old.cpuset_mems.clone()),
        pids: new.pids.or(old.pids),
        blkio_weight: new.blkio_weight.or(old.blkio_weight),
        blkio_weight_devices: joined(&old.blkio_weight_devices, &new.blkio_weight_devices),
        read_bps: joined(&old.read_bps, &new.read_bps),
        write_bps: joined(&old.write_bps, &new.write_bps),
        read_iops: joined(&old.read_iops, &new.read_iops),
        write_iops: joined(&old.write_iops, &new.write_iops),
        hugetlb: joined(&old.hugetlb, &new.hugetlb),
        net_cls: new.net_cls.or(old.net_cls),
        net_prio: joined(&old.net_prio, &new.net_prio),
        raw: old.raw.iter().chain(&new.raw).map(|(file, value)| (file.clone(), value.clone())).collect(),
        cgroup_parent: old.cgroup_parent.clone(),
    }
}

/// The old entries, and the new ones in the place of those of the same name.
fn joined<K: Clone + PartialEq, V: Clone>(old: &[(K, V)], new: &[(K, V)]) -> Vec<(K, V)> {
    let kept = old.iter().filter(|(key, _)| !new.iter().any(|(other, _)| other == key));
    kept.chain(new).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let old = Resources {
            memory: Some(64),
            milli_cpus: Some(500),
            read_bps: vec![("/dev/a".into(), 1), ("/dev/b".into(), 2)],
            raw: [("memory.high".to_owned(), "1".to_owned())].into(),
            ..Resources::default()
        };
        let new = Resources {
            pids: Some(7),
            cpu_quota: Some(5000),
            read_bps: vec![("/dev/a".into(), 3)],
            ..Resources::default()
        };
        let all = merged(&old, &new);
        assert_eq!((all.memory, all.pids), (Some(64), Some(7)));
        assert_eq!((all.milli_cpus, all.cpu_quota, all.cpu_period), (None, Some(5000), None));
        assert_eq!(all.read_bps, [("/dev/b".into(), 2), ("/dev/a".into(), 3)]);
        assert_eq!(merged(&old, &Resources::default()), old);
        let again = merged(&all, &Resources { milli_cpus: Some(250), ..Resources::default() });
        assert_eq!((again.milli_cpus, again.cpu_quota), (Some(250), None));
    }
}
