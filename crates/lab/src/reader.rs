//! What programs print, as metrics: pure functions from an output to numbers in base units. Every figure that a
//! program prints of itself is kept.

mod json;
mod lines;
mod sysbench;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::record::{Better, Metric};

/// What reads an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reader {
    /// `sysbench cpu run`.
    SysbenchCpu,
    /// `sysbench threads run`, and `mutex`.
    SysbenchThreads,
    /// `sysbench memory run`.
    SysbenchMemory,
    /// `sysbench fileio run`.
    SysbenchFileio,
    /// `sysbench oltp_… run`.
    SysbenchOltp,
    /// `fio --output-format=json`, one job or `--group_reporting`.
    Fio,
    /// `iperf3 -c HOST --json`, TCP.
    Iperf3,
    /// `redis-benchmark --csv`, of redis 7.
    RedisBenchmark,
    /// `ping -q`, of iputils.
    Ping,
    /// Nothing is read: the time from start to end is what counts.
    Time,
    /// Of cases with `start`.
    #[serde(skip)]
    Starts,
    /// Of cases with `density`.
    #[serde(skip)]
    Density,
}

/// Metrics by name, in base units.
pub type Metrics = BTreeMap<String, f64>;

/// A row of a reader's table: name, title, unit, which is better.
type Row = (&'static str, &'static str, &'static str, Better);

const GENERAL: [Row; 11] = [
    ("total_time", "total time", "s", Better::Lower),
    ("total_events", "events", "", Better::Neither),
    ("latency_min", "latency, least", "s", Better::Lower),
    ("latency_avg", "latency, mean", "s", Better::Lower),
    ("latency_max", "latency, most", "s", Better::Lower),
    ("latency_p95", "latency, 95th percentile", "s", Better::Lower),
    ("latency_sum", "latency, sum", "s", Better::Neither),
    ("thread_events_avg", "events of a thread, mean", "", Better::Neither),
    ("thread_events_stddev", "events of a thread, standard deviation", "", Better::Lower),
    ("thread_time_avg", "time of a thread, mean", "s", Better::Neither),
    ("thread_time_stddev", "time of a thread, standard deviation", "s", Better::Lower),
];

const THREADS: [Row; 1] = [("threads", "threads", "", Better::Neither)];
const CPU: [Row; 1] = [("events_per_second", "events per second", "1/s", Better::Higher)];
const MEMORY: [Row; 4] = [
    ("throughput", "throughput", "B/s", Better::Higher),
    ("operations_per_second", "operations per second", "1/s", Better::Higher),
    ("operations", "operations", "", Better::Neither),
    ("transferred", "transferred", "B", Better::Neither),
];
const FILEIO: [Row; 6] = [
    ("operations_per_second", "reads and writes per second", "1/s", Better::Higher),
    ("reads_per_second", "reads per second", "1/s", Better::Higher),
    ("writes_per_second", "writes per second", "1/s", Better::Higher),
    ("fsyncs_per_second", "fsyncs per second", "1/s", Better::Higher),
    ("read_throughput", "read", "B/s", Better::Higher),
    ("write_throughput", "written", "B/s", Better::Higher),
];
const OLTP: [Row; 10] = [
    ("transactions_per_second", "transactions per second", "1/s", Better::Higher),
    ("queries_per_second", "queries per second", "1/s", Better::Higher),
    ("transactions", "transactions", "", Better::Neither),
    ("queries", "queries", "", Better::Neither),
    ("queries_read", "queries that read", "", Better::Neither),
    ("queries_write", "queries that write", "", Better::Neither),
    ("queries_other", "other queries", "", Better::Neither),
    ("errors", "ignored errors", "", Better::Lower),
    ("reconnects", "reconnects", "", Better::Lower),
    ("events_per_second", "events per second", "1/s", Better::Higher),
];
const FIO: [Row; 12] = [
    ("throughput", "read and written", "B/s", Better::Higher),
    ("operations_per_second", "operations per second", "1/s", Better::Higher),
    ("read_throughput", "read", "B/s", Better::Higher),
    ("write_throughput", "written", "B/s", Better::Higher),
    ("reads_per_second", "reads per second", "1/s", Better::Higher),
    ("writes_per_second", "writes per second", "1/s", Better::Higher),
    ("read_latency_avg", "latency of reads, mean", "s", Better::Lower),
    ("read_latency_p99", "latency of reads, 99th percentile", "s", Better::Lower),
    ("read_latency_max", "latency of reads, most", "s", Better::Lower),
    ("write_latency_avg", "latency of writes, mean", "s", Better::Lower),
    ("write_latency_p99", "latency of writes, 99th percentile", "s", Better::Lower),
    ("write_latency_max", "latency of writes, most", "s", Better::Lower),
];
const IPERF3: [Row; 6] = [
    ("throughput", "received", "B/s", Better::Higher),
    ("sent_throughput", "sent", "B/s", Better::Higher),
    ("retransmits", "segments sent anew", "", Better::Lower),
    ("round_trip", "round trip under load, mean", "s", Better::Lower),
    ("cpu_here", "processors of the sender", "", Better::Lower),
    ("cpu_there", "processors of the receiver", "", Better::Lower),
];
const PING: [Row; 6] = [
    ("round_trip", "round trip, mean", "s", Better::Lower),
    ("round_trip_min", "round trip, least", "s", Better::Lower),
    ("round_trip_max", "round trip, most", "s", Better::Lower),
    ("round_trip_deviation", "round trip, deviation", "s", Better::Lower),
    ("sent", "packets sent", "", Better::Neither),
    ("received", "packets received", "", Better::Neither),
];
const TIME: [Row; 1] = [("total_time", "total time", "s", Better::Lower)];
const STARTS: [Row; 8] = [
    ("start_median", "start, median", "s", Better::Lower),
    ("start_mean", "start, mean", "s", Better::Lower),
    ("start_min", "start, least", "s", Better::Lower),
    ("start_max", "start, most", "s", Better::Lower),
    ("start_p95", "start, 95th percentile", "s", Better::Lower),
    ("starts_per_second", "starts per second", "1/s", Better::Higher),
    ("total_time", "total time", "s", Better::Lower),
    ("starts", "starts", "", Better::Neither),
];
const DENSITY: [Row; 4] = [
    ("memory_each", "memory of the control group without caches, each", "B", Better::Lower),
    ("resident_each", "memory of the processes (PSS), each", "B", Better::Lower),
    ("host_memory_each", "what the host had less, each", "B", Better::Lower),
    ("instances", "at the same time", "", Better::Neither),
];

impl Reader {
    /// Those that a suite may name.
    const NAMES: [&'static str; 10] = [
        "sysbench-cpu",
        "sysbench-threads",
        "sysbench-memory",
        "sysbench-fileio",
        "sysbench-oltp",
        "fio",
        "iperf3",
        "redis-benchmark",
        "ping",
        "time",
    ];

    pub(crate) fn names() -> String {
        Self::NAMES.join(", ")
    }

    /// Whether it is one that a suite does not name.
    pub(crate) fn is_own(self) -> bool {
        matches!(self, Self::Starts | Self::Density)
    }

    /// Every metric that it may give, the one to compare by first.
    pub fn metrics(self) -> Vec<Metric> {
        if self == Self::RedisBenchmark {
            return lines::redis_metrics();
        }
        let rows: &[&[Row]] = match self {
            Self::SysbenchCpu => &[&CPU, &GENERAL, &THREADS],
            Self::SysbenchThreads => &[&GENERAL, &THREADS],
            Self::SysbenchMemory => &[&MEMORY, &GENERAL, &THREADS],
            Self::SysbenchFileio => &[&FILEIO, &GENERAL, &THREADS],
            Self::SysbenchOltp => &[&OLTP, &GENERAL, &THREADS],
            Self::Fio => &[&FIO],
            Self::Iperf3 => &[&IPERF3],
            Self::Ping => &[&PING],
            Self::Time => &[&TIME],
            Self::Starts => &[&STARTS],
            Self::Density | Self::RedisBenchmark => &[&DENSITY],
        };
        rows.concat().into_iter().map(metric).collect()
    }

    /// The metrics of an output; `seconds` is what the run took by the environment's clock.
    ///
    /// # Errors
    /// An output that is not the program's: why, in one line.
    pub fn read(self, output: &str, seconds: f64) -> Result<Metrics, String> {
        match self {
            Self::SysbenchCpu
            | Self::SysbenchThreads
            | Self::SysbenchMemory
            | Self::SysbenchFileio
            | Self::SysbenchOltp => sysbench::read(self, output),
            Self::Fio => json::fio(output),
            Self::Iperf3 => json::iperf3(output),
            Self::RedisBenchmark => lines::redis(output),
            Self::Ping => lines::ping(output),
            Self::Time | Self::Starts | Self::Density => Ok([("total_time".to_owned(), seconds)].into()),
        }
    }
}

fn metric((name, title, unit, better): Row) -> Metric {
    Metric { name: name.to_owned(), title: title.to_owned(), unit: unit.to_owned(), better }
}

/// The metrics of a series of starts: `seconds` of each, and of all of them, pauses apart.
pub fn starts(seconds: &[f64], total: f64) -> Metrics {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return Metrics::new() };
    // The value below which that share lies, between the two nearest.
    let quantile = |share: f64| {
        let place = share * last as f64;
        let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        low + (high - low) * place.fract()
    };
    let number = sorted.len() as f64;
    let values = [
        ("start_median", quantile(0.5)),
        ("start_mean", sorted.iter().sum::<f64>() / number),
        ("start_min", sorted[0]),
        ("start_max", sorted[last]),
        ("start_p95", quantile(0.95)),
        ("starts_per_second", number / total.max(1e-9)),
        ("total_time", total),
        ("starts", number),
    ];
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_that_a_suite_names_is_known_by_it() {
        for name in Reader::NAMES {
            let reader: Reader = serde_json::from_value(name.into()).unwrap();
            assert!(!reader.is_own() && !reader.metrics().is_empty(), "{name}");
        }
    }

    #[test]
    fn starts_are_told_by_their_quantiles() {
        let metrics = starts(&[4.0, 1.0, 2.0, 3.0], 20.0);
        let expected = [
            ("start_median", 2.5),
            ("start_mean", 2.5),
            ("start_min", 1.0),
            ("start_max", 4.0),
            ("starts_per_second", 0.2),
            ("starts", 4.0),
        ];
        for (name, value) in expected {
            assert_eq!(metrics[name], value, "{name}");
        }
        assert!((metrics["start_p95"] - 3.85).abs() < 1e-9);
        assert_eq!(starts(&[], 1.0), Metrics::new());
    }

    #[test]
    fn no_reader_gives_what_its_table_lacks() {
        let samples = [
            (Reader::SysbenchCpu, include_str!("reader/samples/cpu.txt")),
            (Reader::SysbenchThreads, include_str!("reader/samples/threads.txt")),
            (Reader::SysbenchMemory, include_str!("reader/samples/memory.txt")),
            (Reader::SysbenchFileio, include_str!("reader/samples/fileio.txt")),
            (Reader::Fio, include_str!("reader/samples/fio.json")),
            (Reader::Iperf3, include_str!("reader/samples/iperf3.json")),
            (Reader::RedisBenchmark, include_str!("reader/samples/redis.csv")),
        ];
        for (reader, sample) in samples {
            let table: Vec<String> = reader.metrics().into_iter().map(|metric| metric.name).collect();
            let read = reader.read(sample, 1.0).unwrap();
            for name in read.keys() {
                assert!(table.contains(name), "{reader:?} {name}");
            }
            assert!(read.contains_key(&table[0]), "{reader:?}");
            assert!(reader.read("FATAL: no such thing\n", 1.0).is_err(), "{reader:?}");
        }
    }
}
