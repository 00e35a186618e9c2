//! sysbench 1.0's report, all of it. Times are in milliseconds there, amounts in MiB; here in seconds and bytes.

use super::{Metrics, Reader};

const MIB: f64 = 1024.0 * 1024.0;

/// The figures of a report.
pub(super) fn read(reader: Reader, output: &str) -> Result<Metrics, String> {
    let mut metrics = Metrics::new();
    for line in output.lines().map(str::trim) {
        if let Some((name, rest)) = line.split_once(':') {
            labelled(reader, name.trim(), rest.trim(), &mut metrics);
        } else if line.contains(" MiB transferred (") {
            // 2431.88 MiB transferred (2425.36 MiB/sec)
            set(&mut metrics, "transferred", numbers(line).first().map(|mib| mib * MIB));
            set(&mut metrics, "throughput", numbers(line).get(1).map(|mib| mib * MIB));
        }
    }
    if let (Reader::SysbenchFileio, Some(reads), Some(writes)) =
        (reader, metrics.get("reads_per_second"), metrics.get("writes_per_second"))
    {
        let both = reads + writes;
        metrics.insert("operations_per_second".to_owned(), both);
    }
    // What it was asked for, which is there whatever became of the run.
    if metrics.contains_key("total_time") {
        Ok(metrics)
    } else {
        let said = output.lines().map(str::trim).find(|line| line.starts_with("FATAL"));
        Err(format!("sysbench printed no result{}", said.map_or(String::new(), |said| format!(": {said}"))))
    }
}

fn labelled(reader: Reader, name: &str, rest: &str, metrics: &mut Metrics) {
    let numbers = numbers(rest);
    let (first, second) = (numbers.first().copied(), numbers.get(1).copied());
    let milliseconds = first.map(|value| value / 1e3);
    let oltp = reader == Reader::SysbenchOltp;
    match name {
        "Number of threads" => set(metrics, "threads", first),
        "events per second" => set(metrics, "events_per_second", first),
        "eps" | "events/s (eps)" => set(metrics, "events_per_second", first),
        "total time" | "time elapsed" => set(metrics, "total_time", first),
        "total number of events" => set(metrics, "total_events", first),
        "min" => set(metrics, "latency_min", milliseconds),
        "avg" => set(metrics, "latency_avg", milliseconds),
        "max" => set(metrics, "latency_max", milliseconds),
        "95th percentile" => set(metrics, "latency_p95", milliseconds),
        "sum" => set(metrics, "latency_sum", milliseconds),
        "events (avg/stddev)" => {
            set(metrics, "thread_events_avg", first);
            set(metrics, "thread_events_stddev", second);
        }
        "execution time (avg/stddev)" => {
            set(metrics, "thread_time_avg", first);
            set(metrics, "thread_time_stddev", second);
        }
        "reads/s" => set(metrics, "reads_per_second", first),
        "writes/s" => set(metrics, "writes_per_second", first),
        "fsyncs/s" => set(metrics, "fsyncs_per_second", first),
        "read, MiB/s" => set(metrics, "read_throughput", first.map(|mib| mib * MIB)),
        "written, MiB/s" => set(metrics, "write_throughput", first.map(|mib| mib * MIB)),
        // 2490245 (2483566.60 per second)
        "Total operations" => {
            set(metrics, "operations", first);
            set(metrics, "operations_per_second", second);
        }
        "read" if oltp => set(metrics, "queries_read", first),
        "write" if oltp => set(metrics, "queries_write", first),
        "other" if oltp => set(metrics, "queries_other", first),
        // 2490   (248.90 per sec.)
        "transactions" if oltp => {
            set(metrics, "transactions", first);
            set(metrics, "transactions_per_second", second);
        }
        "queries" if oltp => {
            set(metrics, "queries", first);
            set(metrics, "queries_per_second", second);
        }
        "ignored errors" if oltp => set(metrics, "errors", first),
        "reconnects" if oltp => set(metrics, "reconnects", first),
        _ => {}
    }
}

fn set(metrics: &mut Metrics, name: &str, value: Option<f64>) {
    if let Some(value) = value {
        metrics.insert(name.to_owned(), value);
    }
}

/// The numbers of a text, in their order: `757.5000/64.97`, `1.0184s`, `10 (2.5 per second)`.
fn numbers(text: &str) -> Vec<f64> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    text.split(|c| !is_part(c))
        .filter(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        .filter_map(|part| part.trim_end_matches('.').parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reader: Reader, output: &str, expected: &[(&str, f64)]) {
        let metrics = read(reader, output).unwrap();
        let names: Vec<&String> = metrics.keys().collect();
        for (name, value) in expected {
            let found = metrics.get(*name).unwrap_or_else(|| panic!("{name} is not among {names:?}"));
            assert!((found - value).abs() < 1e-9 * value.abs().max(1.0), "{name}: {found}, not {value}");
        }
        assert_eq!(metrics.len(), expected.len(), "{names:?}");
    }

    #[test]
    fn every_figure_of_a_cpu_run() {
        let expected = [
            ("threads", 4.0),
            ("events_per_second", 2970.39),
            ("total_time", 1.0184),
            ("total_events", 3030.0),
            ("latency_min", 0.00013),
            ("latency_avg", 0.00128),
            ("latency_max", 0.0602),
            ("latency_p95", 0.00017),
            ("latency_sum", 3.87835),
            ("thread_events_avg", 757.5),
            ("thread_events_stddev", 64.97),
            ("thread_time_avg", 0.9696),
            ("thread_time_stddev", 0.03),
        ];
        check(Reader::SysbenchCpu, include_str!("samples/cpu.txt"), &expected);
    }

    #[test]
    fn every_figure_of_a_threads_run() {
        let metrics = read(Reader::SysbenchThreads, include_str!("samples/threads.txt")).unwrap();
        assert_eq!(
            (metrics["threads"], metrics["total_time"], metrics["total_events"]),
            (8.0, 1.2921, 747.0)
        );
        assert_eq!((metrics["latency_max"], metrics["thread_events_stddev"]), (0.39448, 1.11));
        assert_eq!(metrics.len(), 12);
    }

    #[test]
    fn every_figure_of_a_memory_run() {
        let metrics = read(Reader::SysbenchMemory, include_str!("samples/memory.txt")).unwrap();
        assert_eq!((metrics["operations"], metrics["operations_per_second"]), (2490245.0, 2483566.60));
        assert_eq!((metrics["transferred"], metrics["throughput"]), (2431.88 * MIB, 2425.36 * MIB));
        assert_eq!((metrics["total_time"], metrics["latency_max"]), (1.0009, 0.04807));
        assert_eq!(metrics.len(), 16);
    }

    #[test]
    fn every_figure_of_a_fileio_run() {
        let metrics = read(Reader::SysbenchFileio, include_str!("samples/fileio.txt")).unwrap();
        assert_eq!((metrics["reads_per_second"], metrics["writes_per_second"]), (1445.74, 963.83));
        assert_eq!(
            (metrics["fsyncs_per_second"], metrics["operations_per_second"]),
            (399.03, 1445.74 + 963.83)
        );
        assert_eq!((metrics["read_throughput"], metrics["write_throughput"]), (22.59 * MIB, 15.06 * MIB));
        assert_eq!((metrics["total_events"], metrics["latency_sum"]), (2898.0, 1.00539));
        assert_eq!(metrics.len(), 18);
    }

    /// The form of sysbench 1.0.20's oltp_read_write.
    #[test]
    fn every_figure_of_a_database_run() {
        let output = "\
Number of threads: 2
SQL statistics:
    queries performed:
        read:                            3486
        write:                           996
        other:                           498
        total:                           4980
    transactions:                        249    (24.82 per sec.)
    queries:                             4980   (496.40 per sec.)
    ignored errors:                      3      (0.00 per sec.)
    reconnects:                          1      (0.00 per sec.)

General statistics:
    total time:                          10.0315s
    total number of events:              249
";
        let expected = [
            ("threads", 2.0),
            ("queries_read", 3486.0),
            ("queries_write", 996.0),
            ("queries_other", 498.0),
            ("transactions", 249.0),
            ("transactions_per_second", 24.82),
            ("queries", 4980.0),
            ("queries_per_second", 496.4),
            ("errors", 3.0),
            ("reconnects", 1.0),
            ("total_time", 10.0315),
            ("total_events", 249.0),
        ];
        check(Reader::SysbenchOltp, output, &expected);
    }

    #[test]
    fn a_run_that_failed_is_told() {
        let output = "Number of threads: 1\nFATAL: Cannot open file 'test_file.0' errno = 2 (No such file)\n";
        let reason = read(Reader::SysbenchFileio, output).unwrap_err();
        assert!(reason.starts_with("sysbench printed no result: FATAL: Cannot open"), "{reason}");
    }
}
