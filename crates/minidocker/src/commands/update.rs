//! `update`: other limits for containers, running or not.

use engine::Settings;
use engine::ops::update::{self, Change};
use engine::request::Resources;

use super::{Command, for_each, run};
use crate::options::{Group, Typed, Words, many, one};
use crate::problem::Problem;
use crate::values::{disks, rates, restarts};

pub(crate) const COMMAND: Command = Command {
    name: "update",
    long_names: &["container update"],
    summary: "Give containers other limits",
    usage: &["update [OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Give containers other limits or another restart policy. A running container has them at once, and\n\
            each limit is read back; what is not named stays.",
    examples: &[
        ("minidocker update -m 256m --cpus 1.5 web", ""),
        ("minidocker update --restart unless-stopped web db", "from their next end on"),
        ("minidocker update --network-rate in=10mbit web", "none lifts it again"),
        ("minidocker update --storage-opt size=20g web", "more room on its disk, while it runs"),
    ],
    groups: &[GENERAL, MEMORY, run::options::CPU, DEVICES, NETWORK],
    words: Words::Between,
    failed: 1,
    exec,
};

const GENERAL: Group = Group {
    title: "Container",
    options: &[
        one("restart", "POLICY", "no, on-failure[:TIMES], always or unless-stopped"),
        many("storage-opt", "size=BYTES", "More room on the disk of a container that has a limit"),
    ],
};

const MEMORY: Group = Group {
    title: "Memory and processes",
    options: &[
        one("memory", "BYTES", "Most memory: 512k, 10m, 1.5g").short('m'),
        one("memory-reservation", "BYTES", "Soft limit, held under pressure"),
        one("memory-swap", "BYTES", "Memory and swap together; -1 for no limit"),
        one("memory-swappiness", "0-100", "How readily its memory is swapped out (cgroup v1)"),
        one("pids-limit", "NUMBER", "Most processes and threads; -1 for no limit"),
        many("hugetlb", "SIZE=BYTES", "Most huge pages of a size: 2MB=64m"),
    ],
};

const DEVICES: Group = Group {
    title: "Devices and further limits",
    options: &[
        one("blkio-weight", "10-1000", "Weight of its disk I/O against others"),
        many("blkio-weight-device", "DEVICE:WEIGHT", "The same for one disk"),
        many("device-read-bps", "DEVICE:BYTES", "Most bytes a second read from a disk"),
        many("device-write-bps", "DEVICE:BYTES", "Most bytes a second written to a disk"),
        many("device-read-iops", "DEVICE:NUMBER", "Most reads a second from a disk"),
        many("device-write-iops", "DEVICE:NUMBER", "Most writes a second to a disk"),
        one("net-cls-classid", "CLASS", "Class of its packets for tc(8): 10:1 or 0x100001 (cgroup v1)"),
        many("net-prio", "LINK=PRIORITY", "Priority of its packets on a link (cgroup v1)"),
        many("cgroup-conf", "FILE=VALUE", "Write VALUE to this file of the control group"),
    ],
};

const NETWORK: Group = Group { title: "Network", options: &[run::options::RATE, run::options::SHARE] };

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let disk = disks::last(&typed.read_many("storage-opt", disks::option)?);
    let lasting = [("volatile", disk.volatile), ("image", disk.image)];
    if let Some((name, _)) = lasting.iter().find(|(_, said)| said.is_some()) {
        return Err(Problem::new(format!("--storage-opt {name}= is for the container's whole life"))
            .hint("give it to 'minidocker run' or 'minidocker create'"));
    }
    let rates = typed.read("network-rate", rates::rates)?.unwrap_or_default();
    let share = typed.read("network-share", rates::rate_or_none)?;
    let change = Change {
        rates,
        share,
        resources: run::request::limits(&typed)?,
        restart: typed.read("restart", restarts::policy)?,
        size: disk.size,
    };
    if change == Change::default() {
        return Err(Problem::new("update needs something to change")
            .hint("for example: minidocker update -m 256m web; see 'minidocker update --help'"));
    }
    if change.resources.milli_cpus.is_some() && has_time(&change.resources) {
        return Err(Problem::new("--cpus contradicts --cpu-period and --cpu-quota")
            .hint("they say the same in two ways: leave out the one or the other"));
    }
    for_each(&typed, &COMMAND, |name| update::update(settings, name, &change).map(drop))
}

fn has_time(resources: &Resources) -> bool {
    resources.cpu_period.is_some() || resources.cpu_quota.is_some()
}
