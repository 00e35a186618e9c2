//! What the kernel writes about control groups, read by every reader of such files: none of them panics, two readers
//! of one file agree, and what is read is written and read again as the same.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cgroup::limits::{Amount, parse_list};
use cgroup::stats::BlkioEntry;
use cgroup::{BlockUse, Controller, Expect, Hierarchies, Mount, Version, fuzz};

/// The input as every file.
pub fn cgroup_files(data: &[u8]) {
    // As the reader of files has it.
    let text = String::from_utf8_lossy(data);
    hierarchies(&text);
    list(text.trim());
    tables(&text);
    block_devices(&text);
    expectations(&text);
    if let Ok(pressure) = fuzz::pressure(&text) {
        let _ = format!("{pressure:?}");
    }
    for path in ["/m/x", "/", ""] {
        if let Some(victim) = fuzz::victim(&text, path) {
            assert!(text.contains(&victim.name) && text.contains("oom-kill:"), "{victim:?}");
        }
    }
}

/// proc_pid_mountinfo(5).
fn hierarchies(text: &str) {
    let read = |text: &str| {
        let all = Hierarchies::parse(text, |_| Ok("cpu memory io pids".to_owned()));
        all.expect("no text is an error")
    };
    let found = read(text);
    for (at, mount) in found.mounts.iter().enumerate() {
        let same = |other: &Mount| {
            other.version == mount.version
                && (mount.version == Version::V2 || other.controllers == mount.controllers)
        };
        assert!(!found.mounts[..at].iter().any(same), "a hierarchy twice: {found:?}");
    }
    for controller in Controller::ALL {
        assert_eq!(found.find(controller).is_none(), found.absence(controller).is_some(), "{controller:?}");
    }
    assert!(!found.is_hybrid() || found.v2().is_some());
    // A name that is not UTF-8 is read with losses.
    let lossless = |mount: &Mount| !mount.dir.to_string_lossy().contains('\u{fffd}');
    if found.mounts.iter().all(lossless) {
        let mut written = String::new();
        for (at, mount) in found.mounts.iter().enumerate() {
            let kind = if mount.version == Version::V2 { "cgroup2" } else { "cgroup" };
            let (options, dir) = (mount.controllers.join(","), escaped(&mount.dir.to_string_lossy()));
            let _ = writeln!(written, "{} 1 0:{at} / {dir} rw - {kind} none rw,{options} end", at + 2);
        }
        assert_eq!(read(&written), found, "{written:?}");
    }
}

/// As `mangle` in fs/seq_file.c, and a carriage return, which would end a line here.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut all, c| {
        match c {
            ' ' | '\t' | '\n' | '\r' | '\\' => {
                let _ = write!(all, "\\{:03o}", u32::from(c));
            }
            c => all.push(c),
        }
        all
    })
}

/// `0-3,5`.
fn list(text: &str) {
    let Some(ranges) = parse_list(text) else {
        assert!(fuzz::members(text).is_err());
        return;
    };
    for pair in ranges.windows(2) {
        assert!(u64::from(pair[0].1) + 1 < u64::from(pair[1].0), "{ranges:?}");
    }
    assert!(ranges.iter().all(|(first, last)| first <= last), "{ranges:?}");
    let word = |(first, last): &(u32, u32)| format!("{first}-{last}");
    let written: Vec<String> = ranges.iter().map(word).collect();
    assert_eq!(parse_list(&written.join(",")), Some(ranges.clone()));
    assert!(Expect::List(text.to_owned()).holds(&written.join(",")));
    // The same, number by number.
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut all = BTreeSet::new();
    for part in parts {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?} is a number of no kernel's");
            text.parse::<u32>().expect("a number")
        };
        let (first, last) = (number(first), number(last));
        if last - first > 1 << 16 || all.len() > 1 << 16 {
            return;
        }
        all.extend(first..=last);
    }
    assert_eq!(ranges.iter().flat_map(|(first, last)| *first..=*last).collect::<BTreeSet<u32>>(), all);
    match fuzz::members(text) {
        Ok(members) => assert!(members.into_iter().map(u32::from).eq(all)),
        Err(_) => assert!(all.last().is_some_and(|last| *last > u32::from(u16::MAX)), "{text:?}"),
    }
}

/// `memory.stat`, `cpu.stat`, `memory.events`, `cpuacct.usage_all`, `rdma.current`.
fn tables(text: &str) {
    if let Ok(table) = fuzz::table(text) {
        let written: String = table.iter().map(|(key, number)| format!("{key} {number}\n")).collect();
        assert_eq!(fuzz::table(&written), Ok(table.clone()), "{written:?}");
        for (key, number) in &table {
            assert_eq!(fuzz::keyed(&written, key), Some(*number));
        }
    }
    if let Ok((user, kernel)) = fuzz::by_mode(text) {
        assert_eq!(user.len(), kernel.len());
        assert!(user.len() <= text.lines().count());
    }
    if let Ok(devices) = fuzz::rdma_entries(text) {
        let line = |entry: &cgroup::stats::RdmaEntry| {
            format!("{} hca_handle={} hca_object={}\n", entry.device, entry.hca_handles, entry.hca_objects)
        };
        let written: String = devices.iter().map(line).collect();
        assert_eq!(fuzz::rdma_entries(&written), Ok(devices));
    }
}

/// `io.stat` and the files of blkio.
fn block_devices(text: &str) {
    if let Ok(entries) = fuzz::blkio_v1(text) {
        let line = |entry: &BlkioEntry| {
            let BlkioEntry { major, minor, op, value } = entry;
            if op.is_empty() {
                format!("{major}:{minor} {value}\n")
            } else {
                format!("{major}:{minor} {op} {value}\n")
            }
        };
        let written: String = entries.iter().map(line).collect();
        assert_eq!(fuzz::blkio_v1(&written), Ok(entries.clone()), "{written:?}");
        let used = fuzz::use_v1(&written, &written);
        for one in &used {
            assert_eq!((one.read_bytes, one.written_bytes), (one.reads, one.writes));
            let last = |kind: &str| {
                let device = |entry: &&BlkioEntry| {
                    (entry.major, entry.minor) == (one.device.0.into(), one.device.1.into())
                        && entry.op == kind
                };
                entries.iter().rfind(device).map_or(0, |entry| entry.value)
            };
            assert_eq!((one.reads, one.writes), (last("Read"), last("Write")), "{written:?}");
        }
    }
    // The two readers of io.stat, one for ourselves and one for engines.
    let used = fuzz::use_v2(text);
    let devices: BTreeSet<(u32, u32)> = used.iter().map(|one| one.device).collect();
    assert_eq!(devices.len(), used.len(), "a device twice");
    if let Ok(blkio) = fuzz::blkio_v2(text) {
        let last = |entries: &[BlkioEntry], one: &BlockUse, kind: &str| {
            let device = |entry: &&BlkioEntry| {
                (entry.major, entry.minor) == (one.device.0.into(), one.device.1.into()) && entry.op == kind
            };
            entries.iter().rfind(device).map_or(0, |entry| entry.value)
        };
        for one in &used {
            let bytes = &blkio.io_service_bytes_recursive;
            let operations = &blkio.io_serviced_recursive;
            assert_eq!(one.read_bytes, last(bytes, one, "Read"), "{text:?}");
            assert_eq!(one.written_bytes, last(bytes, one, "Write"), "{text:?}");
            assert_eq!(one.reads, last(operations, one, "Read"), "{text:?}");
            assert_eq!(one.writes, last(operations, one, "Write"), "{text:?}");
        }
    }
}

/// Limits that are read back.
fn expectations(text: &str) {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(Expect::Lines(lines).holds(text));
    let first = text.split_ascii_whitespace().next().unwrap_or_default().to_owned();
    for amount in [Amount::Max, Amount::Of(0), Amount::Of(4096)] {
        let bytes = Expect::Bytes { amount, page: 4096 }.holds(text);
        let words = Expect::Words(vec![amount]).holds(text);
        // What is exactly there is there to the page too, where it stands alone.
        if text.split_ascii_whitespace().count() == 1 && words {
            assert!(bytes, "{text:?} {amount:?}");
        }
        let _ = Expect::Entry(first.clone(), amount).holds(text);
        let _ = Expect::Fields(first.clone(), vec![("rbps", amount), ("wiops", amount)]).holds(text);
    }
}
