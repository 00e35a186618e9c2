//! The machine below: what it is, and what its kernel counts. The parsers are pure.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use step::Failure;

use crate::record;

/// Processor time of all processors since the boot, in seconds: /proc/stat's first line, proc_stat(5).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CpuTime {
    pub(crate) user: f64,
    pub(crate) kernel: f64,
    pub(crate) idle: f64,
    pub(crate) iowait: f64,
    pub(crate) steal: f64,
}

impl CpuTime {
    /// From the file's text. `user` has nice in it, `kernel` interrupts; guests are in `user` already.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let ticks: Vec<f64> = text
            .lines()
            .find_map(|line| line.strip_prefix("cpu "))?
            .split_ascii_whitespace()
            .map(|field| field.parse::<f64>().unwrap_or_default() / TICKS)
            .collect();
        let at = |place: usize| ticks.get(place).copied().unwrap_or_default();
        Some(Self {
            user: at(0) + at(1),
            kernel: at(2) + at(5) + at(6),
            idle: at(3),
            iowait: at(4),
            steal: at(7),
        })
    }

    pub(crate) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }
}

/// USER_HZ: what the kernel's files count in, 100 on every architecture that we are built for.
pub(crate) const TICKS: f64 = 100.0;

/// What a block device did since the boot: a line of /proc/diskstats (Documentation/admin-guide/iostats.rst).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct DiskTime {
    pub(crate) reads: f64,
    pub(crate) read_bytes: f64,
    pub(crate) writes: f64,
    pub(crate) written_bytes: f64,
    /// Seconds that requests took, together.
    pub(crate) waited: f64,
    /// Seconds in which there was one at least.
    pub(crate) busy: f64,
    /// Seconds, weighted by how many there were.
    pub(crate) queued: f64,
}

impl DiskTime {
    pub(crate) fn parse(text: &str, (major, minor): (u32, u32)) -> Option<Self> {
        let fields: Vec<&str> =
            text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>()).find(|fields| {
                let number = |place: usize| fields.get(place).and_then(|field| field.parse::<u32>().ok());
                number(0) == Some(major) && number(1) == Some(minor)
            })?;
        let at =
            |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        Some(Self {
            reads: at(3),
            read_bytes: at(5) * 512.0,
            writes: at(7),
            written_bytes: at(9) * 512.0,
            waited: (at(6) + at(10)) / 1e3,
            busy: at(12) / 1e3,
            queued: at(13) / 1e3,
        })
    }

    pub(crate) fn now(device: (u32, u32)) -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/diskstats").ok()?, device)
    }
}

/// Bytes in and out of all links but `lo`: /proc/net/dev, proc_pid_net(5). The bridge's are its ports' again: what has
/// no device below counts once.
pub(crate) fn net_bytes(text: &str) -> (f64, f64) {
    let (mut input, mut output) = (0.0, 0.0);
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let fields: Vec<f64> =
            rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
        input += fields.first().copied().unwrap_or_default();
        output += fields.get(8).copied().unwrap_or_default();
    }
    (input, output)
}

/// A line of /proc/meminfo, in bytes.
pub(crate) fn meminfo(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// Seconds that some task stalled since the boot: /proc/pressure (Documentation/accounting/psi.rst).
pub(crate) fn pressure(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some"))?;
    line.rsplit_once("total=")?.1.trim().parse::<f64>().ok().map(|us| us / 1e6)
}

/// A disk: its numbers and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Major and minor.
    pub(crate) device: (u32, u32),
    /// `vda`; the numbers where it has no name.
    pub(crate) name: String,
    /// `ext4`.
    pub(crate) kind: String,
}

impl Disk {
    /// The disk below a directory.
    pub(crate) fn below(directory: &Path) -> Result<Self, Failure> {
        let failed = |cause| Failure::new("disk.find", directory.to_string_lossy(), cause);
        let found = fs::metadata(directory).map_err(failed)?.dev();
        let mut device = (rustix::fs::major(found), rustix::fs::minor(found));
        let text = fs::read_to_string("/proc/self/mountinfo").map_err(failed)?;
        let (kind, source) = mount_of(&text, device).unwrap_or_default();
        // btrfs and others have numbers of their own, and the device's in their source.
        if device.0 == 0
            && let Ok(real) = fs::metadata(&source)
        {
            device = (rustix::fs::major(real.rdev()), rustix::fs::minor(real.rdev()));
        }
        let numbers = format!("{}:{}", device.0, device.1);
        let name = fs::read_link(format!("/sys/dev/block/{numbers}")).ok();
        let name = name.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Ok(Self { device, name: name.unwrap_or(numbers), kind })
    }
}

/// Kind and source of the mount of that device.
fn mount_of(mountinfo: &str, (major, minor): (u32, u32)) -> Option<(String, String)> {
    let numbers = format!("{major}:{minor}");
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if left.split(' ').nth(2)? != numbers {
            return None;
        }
        let mut right = right.split(' ');
        Some((right.next()?.to_owned(), right.next()?.to_owned()))
    })
}

/// Where a program is, by PATH and the places of system programs.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    if program.contains('/') {
        return Path::new(program).exists().then(|| program.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(Into::into));
    places.map(|place| place.join(program)).find(|path| path.is_file())
}

/// The processors that we may use: `Cpus_allowed_list`, proc_pid_status(5).
pub(crate) fn processors() -> Vec<u32> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    parse_list(list.unwrap_or("0").trim())
}

/// `0-3,5`.
pub(crate) fn parse_list(text: &str) -> Vec<u32> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            all.extend(first..=last);
        }
    }
    all
}

/// What the record says of the machine.
pub(crate) fn describe(disk: &Disk, cgroup: &str) -> record::Host {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let release = read("/etc/os-release");
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let uname = rustix::system::uname();
    let memory = read("/proc/meminfo");
    let mut facts = BTreeMap::new();
    let mut fact = |name: &str, value: String| {
        if !value.trim().is_empty() {
            facts.insert(name.to_owned(), value.trim().to_owned());
        }
    };
    fact("frequency governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    fact("transparent huge pages", read("/sys/kernel/mm/transparent_hugepage/enabled"));
    fact("swap", format!("{} MiB", meminfo(&memory, "SwapTotal").unwrap_or_default() / 1048576.0));
    fact("I/O scheduler", read(&format!("/sys/block/{}/queue/scheduler", disk.name)));
    let mitigated = |name: &str| read(&format!("/sys/devices/system/cpu/vulnerabilities/{name}"));
    fact("mitigation of spectre v2", mitigated("spectre_v2"));
    fact("processors online", read("/sys/devices/system/cpu/online"));
    let virtual_machine =
        field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let vendor = read("/sys/class/dmi/id/sys_vendor").trim().to_owned();
    let hypervisor = match (virtual_machine, read("/sys/hypervisor/type").trim()) {
        (false, _) => String::new(),
        (true, "") if vendor.is_empty() => "unknown".to_owned(),
        (true, "") => vendor,
        (true, kind) => kind.to_owned(),
    };
    record::Host {
        processor: field("model name").unwrap_or_else(|| uname.machine().to_string_lossy().into_owned()),
        cpus: std::thread::available_parallelism().map_or(1, |number| number.get() as u32),
        memory: meminfo(&memory, "MemTotal").unwrap_or_default() as u64,
        kernel: format!("{} {}", uname.release().to_string_lossy(), uname.version().to_string_lossy()),
        system: system.map(|name| name.trim_matches('"').to_owned()).unwrap_or_default(),
        cgroup: cgroup.to_owned(),
        disk: format!("{} on {}", disk.kind, disk.name),
        hypervisor,
        facts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "cpu  100 20 30 4000 50 6 7 80 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        let time = CpuTime::parse(stat).unwrap();
        let expected = CpuTime { user: 1.2, kernel: 0.43, idle: 40.0, iowait: 0.5, steal: 0.8 };
        assert_eq!(format!("{time:?}"), format!("{expected:?}"));
        let disks = "   7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n \
                     254 0 vda 100 5 2000 300 40 6 800 700 0 900 1000 7 8 9 10 11 12\n";
        let disk = DiskTime::parse(disks, (254, 0)).unwrap();
        assert_eq!(
            (disk.reads, disk.read_bytes, disk.writes, disk.written_bytes),
            (100.0, 1024e3, 40.0, 409600.0)
        );
        assert_eq!((disk.waited, disk.busy, disk.queued), (1.0, 0.9, 1.0));
        assert_eq!(DiskTime::parse(disks, (254, 1)), None);
        let net = "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  \
                   eth0: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n";
        assert_eq!(net_bytes(net), (100.0, 200.0));
        assert_eq!(meminfo("MemTotal:       2048 kB\nMemFree: 1 kB\n", "MemTotal"), Some(2097152.0));
        assert_eq!(pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"), Some(1.5));
        assert_eq!(parse_list("0-2,5"), [0, 1, 2, 5]);
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:21 / /b rw - btrfs /dev/vdb rw\n";
        assert_eq!(mount_of(mounts, (0, 21)), Some(("btrfs".to_owned(), "/dev/vdb".to_owned())));
    }

    #[test]
    fn this_machine_is_described() {
        let disk = Disk::below(Path::new("/")).unwrap();
        let host = describe(&disk, "2");
        assert!(host.cpus > 0 && host.memory > 1 << 20 && !host.kernel.is_empty(), "{host:?}");
        assert!(find("sh").is_some() && find("no-such-program").is_none());
        assert!(!processors().is_empty());
    }
}
