//! What Docker gives a container that asks for nothing: facts of its documentation and of `docker inspect`.

use oci_spec::runtime::{Capability, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType};

/// The capabilities of a container without --cap-add and --cap-drop.
pub const CAPABILITIES: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// What tells of the host or reaches into it.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// What would change the host's kernel.
pub const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// `PATH` where the image says nothing.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// /dev/shm, bytes.
pub const SHM_SIZE: u64 = 64 << 20;

/// The devices cgroup: nothing but making nodes, and the standard devices.
pub fn device_rules() -> Vec<LinuxDeviceCgroup> {
    let rule = |allow, kind, major: Option<i64>, minor: Option<i64>, access: &str| {
        let mut rule = LinuxDeviceCgroupBuilder::default().allow(allow).typ(kind).access(access.to_owned());
        if let Some(major) = major {
            rule = rule.major(major);
        }
        if let Some(minor) = minor {
            rule = rule.minor(minor);
        }
        // The builder has a default for every field that is not given.
        rule.build().unwrap_or_default()
    };
    let device = |major, minor| rule(true, LinuxDeviceType::C, Some(major), minor, "rwm");
    vec![
        rule(false, LinuxDeviceType::A, None, None, "rwm"),
        rule(true, LinuxDeviceType::C, None, None, "m"),
        rule(true, LinuxDeviceType::B, None, None, "m"),
        device(1, Some(3)),
        device(1, Some(5)),
        device(1, Some(7)),
        device(1, Some(8)),
        device(1, Some(9)),
        device(5, Some(0)),
        device(5, Some(1)),
        device(5, Some(2)),
        device(136, None),
    ]
}
