//! What keeps a run from beginning, and what could spoil it: both are looked for before anything is written.

use std::fs;
use std::path::Path;
use std::time::Duration;

use step::Failure;

use crate::environment::Environment;
use crate::host::{self, CpuTime, Disk, meminfo};
use crate::record::{Finding, Size};
use crate::suite::{Case, Filling, Suite, fill};

/// How long the idle machine is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Programs, and the packages of Debian and Ubuntu that bring them, where these are called otherwise.
const PACKAGES: [(&str, &str); 5] = [
    ("ping", "iputils-ping"),
    ("redis-server", "redis-server"),
    ("redis-benchmark", "redis-tools"),
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
];

/// The package of a program.
fn package(program: &str) -> &str {
    PACKAGES.iter().find(|row| row.0 == program).map_or(program, |row| row.1)
}

/// Refuses what cannot be done, in one line with the way out.
pub(crate) fn check(
    suite: &Suite,
    environments: &[Environment],
    sizes: &[Size],
    image: &str,
    cpus: &[u32],
) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::because("bench.preflight", "", "a bench makes control groups and drops caches")
            .hint("run it as root"));
    }
    for environment in environments {
        environment.check_image(image)?;
        environment.check_groups(&fs::read_to_string("/proc/1/cgroup").unwrap_or_default())?;
        check_networks(suite, environment)?;
        for (program, package) in environment.needs() {
            need(program, package, &format!("--env {} needs it", environment.name))?;
        }
    }
    // The programs of an image are not looked for: its first start tells.
    for case in suite.cases.iter().filter(|_| image == "host") {
        for program in &case.needs {
            let package = package(program);
            need(program, package, &format!("the case {} needs it", case.record.name))?;
        }
    }
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = meminfo(&text, "MemAvailable").unwrap_or(f64::MAX);
    for size in sizes {
        if size.cpus as usize > cpus.len() {
            let reason = format!("{} processors are asked for, and there are {}", size.cpus, cpus.len());
            return Err(Failure::because("bench.preflight", size.name.as_str(), reason).hint(
                "environments of more processors than the host has cannot be compared: ask for fewer",
            ));
        }
        // A virtual machine's memory, what the test of the limit takes on top, and its emulator.
        if size.memory as f64 * 1.1 > free {
            let reason = format!("{} MiB of memory are free", (free / 1048576.0) as u64);
            return Err(Failure::because("bench.preflight", size.name.as_str(), reason)
                .hint("ask for less memory, or end what takes it"));
        }
    }
    Ok(())
}

/// Refuses cases that reach the host in a way that an environment has not.
fn check_networks(suite: &Suite, environment: &Environment) -> Result<(), Failure> {
    let can = |case: &&Case| environment.host(case.network).is_ok();
    let Some((case, why)) =
        suite.cases.iter().find_map(|case| Some((case, environment.host(case.network).err()?)))
    else {
        return Ok(());
    };
    let names: Vec<&str> = suite.cases.iter().filter(can).map(|case| case.record.name.as_str()).collect();
    let failure = Failure::because("bench.preflight", case.record.name.as_str(), why);
    Err(failure.hint(if names.is_empty() {
        "measure it without that environment".to_owned()
    } else {
        format!("measure it without that environment, or the others alone: --case {}", names.join(","))
    }))
}

fn need(program: &str, package: &str, why: &str) -> Result<(), Failure> {
    if host::find(program).is_some() {
        return Ok(());
    }
    Err(Failure::because("bench.preflight", program, format!("is not installed, and {why}"))
        .hint(format!("install the package {package}, or leave it out")))
}

/// Refuses a disk that the largest case does not fit on.
pub(crate) fn check_space(suite: &Suite, scale: f64, directory: &Path) -> Result<(), Failure> {
    let most = suite.cases.iter().map(|case| space(case, scale)).max().unwrap_or_default();
    let failed =
        |cause| Failure::new("bench.preflight", directory.to_string_lossy(), std::io::Error::from(cause));
    let stat = rustix::fs::statvfs(directory).map_err(failed)?;
    let free = stat.f_bavail * stat.f_frsize;
    // An eighth more: series and outputs, and what a disk image needs of its own. And our own program, which is copied there.
    let own = fs::metadata("/proc/self/exe").map_or(0, |meta| meta.len());
    let wanted = most + most / 8 + own + (64 << 20);
    if free >= wanted {
        return Ok(());
    }
    let mib = |bytes: u64| bytes >> 20;
    let reason = format!("{} MiB are free, and the largest case needs {}", mib(free), mib(wanted));
    Err(Failure::because("bench.preflight", directory.to_string_lossy(), reason)
        .hint("name a directory on a larger disk by -o"))
}

/// The most that a case's preparations write: the largest `{size:…}` of each command, together.
fn space(case: &Case, scale: f64) -> u64 {
    let filling = Filling {
        cpus: 1,
        memory: 0,
        time: 0.0,
        scale,
        directory: String::new(),
        exchange: String::new(),
        host: String::new(),
    };
    let largest = |words: &Vec<String>| {
        let sizes = words.iter().filter(|word| word.contains("{size:"));
        let number = |word: &String| {
            let filled = fill(word, &filling);
            filled.rsplit('=').next().and_then(|number| number.parse::<u64>().ok())
        };
        sizes.filter_map(number).max().unwrap_or_default()
    };
    case.prepare.iter().map(largest).sum()
}

/// What could spoil the figures: looked at for a second, and told with what to do about it. `emulated` says that machines
/// are.
pub(crate) fn findings(emulated: bool, disk: &Disk, directory: &Path) -> Vec<Finding> {
    let before = CpuTime::now();
    std::thread::sleep(LOOK);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let governors = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    // As df(1) has it: of what users may have.
    let full = rustix::fs::statvfs(directory).ok().map(|stat| {
        let used = stat.f_blocks.saturating_sub(stat.f_bfree) as f64;
        used / (used + stat.f_bavail as f64).max(1.0)
    });
    let seen = Seen {
        idle: before.zip(CpuTime::now()),
        governor: governors.trim().to_owned(),
        swap: meminfo(&read("/proc/meminfo"), "SwapTotal").unwrap_or_default(),
        full: full.unwrap_or_default(),
        disk: disk.name.clone(),
        emulated,
        nested: read("/proc/cpuinfo")
            .lines()
            .any(|line| line.starts_with("flags") && line.contains(" hypervisor")),
    };
    judge(&seen)
}

/// What was seen of the machine.
struct Seen {
    idle: Option<(CpuTime, CpuTime)>,
    governor: String,
    swap: f64,
    full: f64,
    disk: String,
    emulated: bool,
    nested: bool,
}

fn judge(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |what: String, remedy: &str| found.push(Finding { what, remedy: remedy.to_owned() });
    if let Some((then, now)) = &seen.idle {
        let busy = (now.user - then.user) + (now.kernel - then.kernel);
        let steal = now.steal - then.steal;
        let all = busy + steal + (now.idle - then.idle) + (now.iowait - then.iowait);
        let percent = |part: f64| 100.0 * part / all.max(0.01);
        if percent(steal) > 1.0 {
            let what =
                format!("{:.1} % of the processors' time was stolen by the hypervisor", percent(steal));
            find(what, "use a machine with processors of its own, or more repetitions");
        }
        if percent(busy) > 5.0 {
            let what = format!("the machine was busy for {:.1} % before anything began", percent(busy));
            find(what, "end what else runs");
        }
    }
    if seen.nested {
        let what = "this host is a virtual machine itself: its neighbours are measured too".to_owned();
        find(what, "measure on a machine of your own, or publish ratios and not absolute figures");
    }
    if !matches!(seen.governor.as_str(), "" | "performance") {
        let what = format!("the frequency governor is {}: the processors change their speed", seen.governor);
        find(what, "cpupower frequency-set -g performance");
    }
    if seen.swap > 0.0 {
        find("there is swap: memory that is short becomes disk time".to_owned(), "swapoff -a while it runs");
    }
    if seen.full > 0.9 {
        let what = format!("{} is {:.0} % full: file systems become slow then", seen.disk, seen.full * 100.0);
        find(what, "make room, or name a directory on another disk by -o");
    }
    if seen.emulated {
        let what = "virtual machines are emulated (TCG): /dev/kvm cannot be used here".to_owned();
        find(
            what,
            "load the module kvm_intel or kvm_amd; in a virtual machine, nested virtualisation must be allowed",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Seen {
        let then = CpuTime::default();
        Seen {
            idle: Some((then, CpuTime { idle: 2.0, ..then })),
            governor: "performance".to_owned(),
            swap: 0.0,
            full: 0.5,
            disk: "vda".to_owned(),
            emulated: false,
            nested: false,
        }
    }

    #[test]
    fn a_quiet_machine_has_no_findings_and_each_spoiler_is_one() {
        assert_eq!(judge(&quiet()), []);
        let busy = CpuTime { user: 1.0, steal: 0.5, idle: 0.5, ..CpuTime::default() };
        let spoiled = Seen {
            idle: Some((CpuTime::default(), busy)),
            governor: "powersave".to_owned(),
            swap: 1.0,
            full: 0.95,
            emulated: true,
            nested: true,
            ..quiet()
        };
        let told: Vec<String> = judge(&spoiled).into_iter().map(|finding| finding.what).collect();
        let words = [
            "25.0 % of the processors' time was stolen",
            "busy for 50.0 %",
            "itself",
            "powersave",
            "swap",
            "95 % full",
            "TCG",
        ];
        assert_eq!(told.len(), words.len());
        for (told, word) in told.iter().zip(words) {
            assert!(told.contains(word), "{told} lacks {word}");
        }
    }

    #[test]
    fn the_space_of_a_case_is_what_it_prepares() {
        let suite = crate::suite::load("loop").unwrap();
        assert_eq!(suite.cases.iter().map(|case| space(case, 1.0)).max(), Some(10 << 30));
        assert_eq!(suite.cases.iter().map(|case| space(case, 0.02)).max(), Some(213909504));
    }

    #[test]
    fn a_missing_program_is_told_with_its_package() {
        let failure = need("no-such-program", package("ping"), "the case x needs it").unwrap_err();
        assert_eq!(
            failure.to_string(),
            "bench.preflight on no-such-program: is not installed, and the case x needs it"
        );
        assert!(failure.hint.unwrap().contains("iputils-ping"));
        assert_eq!(package("sysbench"), "sysbench");
    }
}
