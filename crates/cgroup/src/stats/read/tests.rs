//! The parsers, on what kernels of several ages printed.

use super::*;
use std::path::PathBuf;

/// A directory with the files of a group as some kernel showed them.
pub(in super::super) struct Fake(PathBuf);

impl Fake {
    pub(in super::super) fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("minidocker-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        for (file, text) in files {
            std::fs::write(dir.join(file), text).unwrap();
        }
        Self(dir)
    }

    pub(in super::super) fn files(&self) -> Files<'_> {
        Files(&self.0)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn numbers_as_kernels_print_them() {
    assert_eq!(number("max"), Ok(u64::MAX));
    assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
    assert_eq!(number("-4096"), Ok(0), "a counter that fell below zero");
    assert!(number("").is_err() && number("12 3").is_err() && number("x").is_err());
    assert_eq!(table("anon 5\nfile -3\n").unwrap(), [("anon".into(), 5), ("file".into(), 0)].into());
    assert_eq!(table("anon\n").unwrap_err(), r#""anon" is no key and number"#);
}

#[test]
fn processor_time_of_v1() {
    let fake = Fake::new(
        "cpu-v1",
        &[
            ("cpuacct.stat", "user 452\nsystem 29\n"),
            ("cpuacct.usage", "12262454190222160\n"),
            ("cpuacct.usage_percpu", "1564936537989058 1583937096487821 \n"),
            ("cpuacct.usage_all", "cpu user system\n0 962250696038415 637727786389114\n1 98 99\n"),
            (
                "cpu.stat",
                "nr_periods 2000\nnr_throttled 200\nthrottled_time 18446744073709551615\nnr_bursts 1\n",
            ),
        ],
    );
    assert_eq!(
        cpu_v1(&fake.files()).unwrap(),
        CpuUsage {
            total: 12_262_454_190_222_160,
            percpu: vec![1_564_936_537_989_058, 1_583_937_096_487_821],
            percpu_kernel: vec![637_727_786_389_114, 99],
            percpu_user: vec![962_250_696_038_415, 98],
            kernel: 290_000_000,
            user: 4_520_000_000,
        }
    );
    assert_eq!(
        throttling(&fake.files(), Version::V1).unwrap(),
        Throttling { periods: 2000, throttled_periods: 200, throttled_time: u64::MAX }
    );
    let none = Fake::new("cpu-none", &[]);
    assert_eq!(cpu_v1(&none.files()).unwrap(), CpuUsage::default());
}

#[test]
fn processor_time_of_v2() {
    let text = "usage_usec 1000\nuser_usec 700\nsystem_usec 300\nnr_periods 5\nnr_throttled 4\n\
                throttled_usec 3\nnr_bursts 0\nburst_usec 0\n";
    let fake = Fake::new("cpu-v2", &[("cpu.stat", text)]);
    let usage = CpuUsage { total: 1_000_000, kernel: 300_000, user: 700_000, ..CpuUsage::default() };
    assert_eq!(cpu_v2(&fake.files()).unwrap(), usage);
    let throttled = Throttling { periods: 5, throttled_periods: 4, throttled_time: 3_000 };
    assert_eq!(throttling(&fake.files(), Version::V2).unwrap(), throttled);
}

#[test]
fn processors_and_nodes() {
    let fake = Fake::new(
        "cpuset",
        &[
            ("cpuset.cpus", "0-2,7,12-14\n"),
            ("cpuset.mems", "\n"),
            ("cpuset.cpu_exclusive", "1\n"),
            ("cpuset.memory_pressure", "34377\n"),
            ("cpuset.sched_load_balance", "1\n"),
            ("cpuset.sched_relax_domain_level", "-1\n"),
        ],
    );
    assert_eq!(
        cpuset(&fake.files()).unwrap(),
        Cpuset {
            cpus: vec![0, 1, 2, 7, 12, 13, 14],
            cpu_exclusive: 1,
            memory_pressure: 34_377,
            sched_load_balance: 1,
            sched_relax_domain_level: -1,
            ..Cpuset::default()
        }
    );
    assert!(members("0-70000").is_err() && members("a").is_err());
}

#[test]
fn memory_of_v1() {
    let entry = |name: &'static str, limit: &'static str| {
        [
            ("usage_in_bytes", "2048\n"),
            ("max_usage_in_bytes", "4096\n"),
            ("failcnt", "100\n"),
            ("limit_in_bytes", limit),
        ]
        .map(|(what, text)| (format!("memory{name}.{what}"), text))
    };
    let mut all: Vec<(String, &str)> = entry("", "8192\n").into();
    all.extend(entry(".memsw", "9223372036854771712\n"));
    // Linux 6.x has lost the limit of the kernel's memory, not the count; and TCP is built without here.
    all.extend(entry(".kmem", "8192\n").into_iter().filter(|(file, _)| !file.contains("limit")));
    all.push(("memory.stat".into(), "cache 512\nrss 1024\nhierarchical_memory_limit 8192\n"));
    let all: Vec<(&str, &str)> = all.iter().map(|(file, text)| (file.as_str(), *text)).collect();
    let memory = memory_v1(&Fake::new("memory-v1", &all).files()).unwrap();
    let usage = MemoryEntry { limit: 8192, usage: 2048, max: 4096, failcnt: 100 };
    assert_eq!((memory.usage, memory.cache, memory.raw["rss"]), (usage, 512, 1024));
    assert_eq!(memory.swap, MemoryEntry { limit: 9_223_372_036_854_771_712, ..usage });
    assert_eq!(memory.kernel, MemoryEntry { limit: 0, ..usage });
    assert_eq!(memory.kernel_tcp, MemoryEntry::default());
}

#[test]
fn memory_of_v2() {
    let stat = ("memory.stat", "anon 790425600\nfile 6502666240\nkernel_stack 7012352\n");
    let (now, peak) = (("memory.current", "123456789\n"), ("memory.peak", "987654321\n"));
    let read = |name: &str, files: &[(&str, &str)]| memory_v2(&Fake::new(name, files).files()).unwrap();
    let memory = read(
        "memory-v2",
        &[
            stat,
            now,
            peak,
            ("memory.max", "999999999\n"),
            ("memory.swap.current", "11\n"),
            ("memory.swap.max", "1\n"),
        ],
    );
    assert_eq!(memory.cache, 6_502_666_240);
    let usage = MemoryEntry { limit: 999_999_999, usage: 123_456_789, max: 987_654_321, failcnt: 0 };
    let swap = MemoryEntry { limit: 1_000_000_000, usage: 123_456_800, max: 0, failcnt: 0 };
    assert_eq!((memory.usage, memory.swap), (usage, swap));
    // An old kernel that does not count swap, and no limit.
    let memory = read("memory-v2-old", &[stat, now, ("memory.max", "max\n")]);
    let endless = MemoryEntry { limit: u64::MAX, usage: 123_456_789, max: 0, failcnt: 0 };
    assert_eq!((memory.usage, memory.swap), (endless, endless));
    // The group above does not hand the controller on.
    assert_eq!(read("memory-v2-none", &[]), Memory::default());
}

#[test]
fn tasks_with_and_without_the_controller() {
    let read = |name: &str, files: &[(&str, &str)]| pids(&Fake::new(name, files).files()).unwrap();
    let limited = read("pids", &[("pids.current", "3\n"), ("pids.max", "20\n")]);
    assert_eq!(limited, Pids { current: 3, limit: 20 });
    let endless = read("pids-max", &[("pids.current", "3\n"), ("pids.max", "max\n")]);
    assert_eq!(endless, Pids { current: 3, limit: 0 });
    assert_eq!(read("pids-none", &[("cgroup.procs", "1\n2\n")]), Pids { current: 2, limit: 0 });
}

#[test]
fn huge_pages_count_by_reservation_where_they_can() {
    let v1 = Fake::new(
        "hugetlb-v1",
        &[
            ("hugetlb.2MB.usage_in_bytes", "1\n"),
            ("hugetlb.2MB.rsvd.usage_in_bytes", "128\n"),
            ("hugetlb.2MB.rsvd.max_usage_in_bytes", "256\n"),
            ("hugetlb.2MB.rsvd.failcnt", "100\n"),
            ("hugetlb.1GB.usage_in_bytes", "5\n"),
            ("hugetlb.1GB.max_usage_in_bytes", "6\n"),
            ("hugetlb.1GB.failcnt", "7\n"),
        ],
    );
    let expected = [
        ("1GB".to_owned(), Hugetlb { usage: 5, max: 6, failcnt: 7 }),
        ("2MB".to_owned(), Hugetlb { usage: 128, max: 256, failcnt: 100 }),
    ];
    assert_eq!(hugetlb(&v1.files(), Version::V1).unwrap(), expected.into());
    let v2 = Fake::new(
        "hugetlb-v2",
        &[
            ("hugetlb.2MB.current", "1\n"),
            ("hugetlb.2MB.rsvd.current", "2\n"),
            ("hugetlb.2MB.events", "max 9\n"),
        ],
    );
    let expected = [("2MB".to_owned(), Hugetlb { usage: 2, max: 0, failcnt: 9 })];
    assert_eq!(hugetlb(&v2.files(), Version::V2).unwrap(), expected.into());
}

#[test]
fn remote_memory_devices() {
    let fake = Fake::new(
        "rdma",
        &[
            ("rdma.max", "mlx4_0 hca_handle=2 hca_object=max\n"),
            ("rdma.current", "mlx4_0 hca_handle=1 hca_object=20\n"),
        ],
    );
    let entry = |hca_handles, hca_objects| RdmaEntry { device: "mlx4_0".into(), hca_handles, hca_objects };
    let read = rdma(&fake.files()).unwrap();
    assert_eq!((read.limit, read.current), (vec![entry(2, u32::MAX)], vec![entry(1, 20)]));
    let gone = Fake::new("rdma-gone", &[("rdma.max", "a hca_handle=1\n"), ("rdma.current", "")]);
    assert_eq!(rdma(&gone.files()).unwrap(), Rdma::default());
    assert!(rdma_entries("mlx4_0 hca_handle=x\n").is_err());
}

#[test]
fn pressure_of_some_and_of_all() {
    let text = "some avg10=1.71 avg60=2.36 avg300=2.57 total=230548833\n\
                full avg10=1.00 avg60=1.01 avg300=1.00 total=157622356\n";
    let read = pressure(text).unwrap();
    assert_eq!(read.some, Stall { avg10: 1.71, avg60: 2.36, avg300: 2.57, total: 230_548_833 });
    assert_eq!(read.full, Stall { avg10: 1.0, avg60: 1.01, avg300: 1.0, total: 157_622_356 });
    // Linux before 5.13 tells no `full` of processors.
    assert_eq!(pressure("some avg10=0.00 total=5\n").unwrap().full, Stall::default());
    assert!(pressure("some avg10=x\n").is_err() && pressure("some avg10\n").is_err());
    assert_eq!(Files(Path::new("/no/such/group")).pressure("cpu.pressure").unwrap(), None);
}

#[test]
fn an_error_names_the_file() {
    let fake = Fake::new("bad", &[("pids.current", "many\n")]);
    let failure = pids(&fake.files()).unwrap_err();
    let file = fake.0.join("pids.current");
    assert_eq!(failure.to_string(), format!("cgroup.stats on {}: \"many\" is no number", file.display()));
}
