//! Counts of block devices: v1's many files, of which a kernel has one set or another, and v2's `io.stat`.

use super::read::Files;
use super::{Blkio, BlkioEntry};

use ::step::Failure;

/// Where a file's counts go.
type Field = fn(&mut Blkio) -> &mut Vec<BlkioEntry>;

const BYTES: Field = |blkio| &mut blkio.io_service_bytes_recursive;
const SERVICED: Field = |blkio| &mut blkio.io_serviced_recursive;

/// v1's files in sets, the best first. Who counts is the scheduler, and every scheduler has names of its own: BFQ
/// built with debugging counts all, BFQ without the last two, CFQ (before Linux 5.0) all; the throttler counts
/// whatever the scheduler is. A set whose first file is missing or empty is not used.
const V1: [&[(&str, Field)]; 5] = [
    &[
        ("blkio.bfq.sectors_recursive", |blkio| &mut blkio.sectors_recursive),
        ("blkio.bfq.io_service_time_recursive", |blkio| &mut blkio.io_service_time_recursive),
        ("blkio.bfq.io_wait_time_recursive", |blkio| &mut blkio.io_wait_time_recursive),
        ("blkio.bfq.io_merged_recursive", |blkio| &mut blkio.io_merged_recursive),
        ("blkio.bfq.io_queued_recursive", |blkio| &mut blkio.io_queued_recursive),
        ("blkio.bfq.time_recursive", |blkio| &mut blkio.io_time_recursive),
        ("blkio.bfq.io_serviced_recursive", SERVICED),
        ("blkio.bfq.io_service_bytes_recursive", BYTES),
    ],
    &[("blkio.bfq.io_serviced_recursive", SERVICED), ("blkio.bfq.io_service_bytes_recursive", BYTES)],
    &[
        ("blkio.sectors_recursive", |blkio| &mut blkio.sectors_recursive),
        ("blkio.io_service_time_recursive", |blkio| &mut blkio.io_service_time_recursive),
        ("blkio.io_wait_time_recursive", |blkio| &mut blkio.io_wait_time_recursive),
        ("blkio.io_merged_recursive", |blkio| &mut blkio.io_merged_recursive),
        ("blkio.io_queued_recursive", |blkio| &mut blkio.io_queued_recursive),
        ("blkio.time_recursive", |blkio| &mut blkio.io_time_recursive),
        ("blkio.io_serviced_recursive", SERVICED),
        ("blkio.io_service_bytes_recursive", BYTES),
    ],
    &[
        ("blkio.throttle.io_serviced_recursive", SERVICED),
        ("blkio.throttle.io_service_bytes_recursive", BYTES),
    ],
    &[("blkio.throttle.io_serviced", SERVICED), ("blkio.throttle.io_service_bytes", BYTES)],
];

/// All of v1.
pub(super) fn v1(files: &Files) -> Result<Blkio, Failure> {
    let mut blkio = Blkio::default();
    for set in V1 {
        for (at, (file, field)) in set.iter().enumerate() {
            let counts = files.parsed(file, entries)?.unwrap_or_default();
            match (counts.is_empty(), at) {
                (true, 0) => break,
                // The files of a set are all there or none; an empty one after a full one is a device that left.
                (true, _) => return Ok(blkio),
                (false, _) => *field(&mut blkio) = counts,
            }
            if at + 1 == set.len() {
                return Ok(blkio);
            }
        }
    }
    Ok(blkio)
}

/// Lines of `8:0 Read 4096` or `8:0 4096`, and a `Total 4096` of all devices that is left out.
pub(crate) fn entries(text: &str) -> Result<Vec<BlkioEntry>, String> {
    let mut all = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line
            .split(|c: char| c == ':' || c.is_ascii_whitespace())
            .filter(|word| !word.is_empty())
            .collect();
        let (major, minor, op, value) = match words[..] {
            [major, minor, op, value] => (major, minor, op, value),
            ["Total", _] => continue,
            [major, minor, value] => (major, minor, "", value),
            _ => return Err(format!("{line:?} is no count of a device")),
        };
        let number =
            |word: &str| word.parse::<u64>().map_err(|_| format!("{line:?} has no number in {word:?}"));
        let (major, minor, value) = (number(major)?, number(minor)?, number(value)?);
        all.push(BlkioEntry { major, minor, op: op.to_owned(), value });
    }
    Ok(all)
}

/// v2's `io.stat`, in v1's tables: `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`. What v1 has no table for
/// (discards, the cost model) is left out.
pub(crate) fn v2(text: &str) -> Result<Blkio, String> {
    let mut blkio = Blkio::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let device = words.next().and_then(|device| device.split_once(':'));
        let Some((Ok(major), Ok(minor))) = device.map(|(major, minor)| (major.parse(), minor.parse())) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (field, op): (Field, &str) = match key {
                "rbytes" => (BYTES, "Read"),
                "wbytes" => (BYTES, "Write"),
                "rios" => (SERVICED, "Read"),
                "wios" => (SERVICED, "Write"),
                _ => continue,
            };
            let value = value.parse().map_err(|_| format!("{line:?} has no number in {key:?}"))?;
            field(&mut blkio).push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
    Ok(blkio)
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::Fake;
    use super::*;

    fn entry(major: u64, minor: u64, op: &str, value: u64) -> BlkioEntry {
        BlkioEntry { major, minor, op: op.to_owned(), value }
    }

    const BYTES_TEXT: &str = "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 4608\n8:0 Async 0\n8:0 Discard 0\n\
                              8:0 Total 4608\nTotal 4608\n";

    #[test]
    fn lines_with_and_without_a_kind() {
        let all = entries(BYTES_TEXT).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!((all[0].clone(), all[5].clone()), (entry(8, 0, "Read", 4096), entry(8, 0, "Total", 4608)));
        assert_eq!(entries("8:16 6792\n").unwrap(), [entry(8, 16, "", 6792)]);
        assert_eq!(entries("Total 0\n").unwrap(), []);
        assert_eq!(entries("8:0 Read x\n").unwrap_err(), r#""8:0 Read x" has no number in "x""#);
        assert_eq!(entries("8:0\n").unwrap_err(), r#""8:0" is no count of a device"#);
    }

    #[test]
    fn the_throttler_counts_where_no_scheduler_does() {
        // What a kernel with BFQ built in shows while no device uses it.
        let fake = Fake::new(
            "blkio-throttle",
            &[
                ("blkio.bfq.io_serviced_recursive", "Total 0\n"),
                ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
                ("blkio.throttle.io_serviced_recursive", "254:0 Read 3\n254:0 Total 3\nTotal 3\n"),
                ("blkio.throttle.io_service_bytes_recursive", BYTES_TEXT),
                ("blkio.throttle.io_serviced", "254:0 Read 1\n"),
            ],
        );
        let blkio = v1(&fake.files()).unwrap();
        assert_eq!(blkio.io_serviced_recursive, [entry(254, 0, "Read", 3), entry(254, 0, "Total", 3)]);
        assert_eq!(blkio.io_service_bytes_recursive.len(), 6);
        assert_eq!(blkio.sectors_recursive, []);
    }

    #[test]
    fn an_old_scheduler_counts_all() {
        let set = V1[2].iter().map(|(file, _)| (*file, "8:0 Read 5\n"));
        let mut set: Vec<(&str, &str)> = set.collect();
        set[0].1 = "8:0 6792\n";
        set.push(("blkio.throttle.io_serviced_recursive", "8:0 Read 99\n"));
        let blkio = v1(&Fake::new("blkio-cfq", &set).files()).unwrap();
        assert_eq!(blkio.sectors_recursive, [entry(8, 0, "", 6792)]);
        for counts in [
            &blkio.io_service_bytes_recursive,
            &blkio.io_serviced_recursive,
            &blkio.io_queued_recursive,
            &blkio.io_service_time_recursive,
            &blkio.io_wait_time_recursive,
            &blkio.io_merged_recursive,
            &blkio.io_time_recursive,
        ] {
            assert_eq!(*counts, [entry(8, 0, "Read", 5)]);
        }
    }

    #[test]
    fn nothing_at_all_is_no_error_and_nonsense_names_its_file() {
        assert_eq!(v1(&Fake::new("blkio-none", &[]).files()).unwrap(), Blkio::default());
        let fake = Fake::new("blkio-bad", &[("blkio.throttle.io_serviced_recursive", "254:0 Read\n? ?\n")]);
        let failure = v1(&fake.files()).unwrap_err();
        assert!(failure.target.ends_with("blkio.throttle.io_serviced_recursive"), "{failure}");
    }

    #[test]
    fn v2_says_it_in_v1s_tables() {
        let text = "8:0 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n\
                    253:1 rbytes=90430464 wbytes=299008000 rios=8950 wios=1252 dbytes=50331648 dios=3021 cost.usage=5\n\
                    7:0\n";
        let blkio = v2(text).unwrap();
        assert_eq!(
            blkio.io_service_bytes_recursive,
            [
                entry(8, 0, "Read", 1_459_200),
                entry(8, 0, "Write", 314_773_504),
                entry(253, 1, "Read", 90_430_464),
                entry(253, 1, "Write", 299_008_000)
            ]
        );
        assert_eq!(
            blkio.io_serviced_recursive,
            [
                entry(8, 0, "Read", 192),
                entry(8, 0, "Write", 353),
                entry(253, 1, "Read", 8950),
                entry(253, 1, "Write", 1252)
            ]
        );
        assert_eq!(v2("").unwrap(), Blkio::default());
        assert!(v2("8:0 rbytes=x\n").unwrap_err().contains("rbytes"));
    }
}
