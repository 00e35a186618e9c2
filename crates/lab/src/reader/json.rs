//! Reports in JSON: fio's and iperf3's.

use serde_json::Value;

use super::Metrics;

/// `fio --output-format=json`: the sum of all jobs; latencies are those of the slowest.
pub(super) fn fio(output: &str) -> Result<Metrics, String> {
    let report = parse(output, "fio")?;
    let jobs = report["jobs"].as_array().filter(|jobs| !jobs.is_empty()).ok_or("fio's report has no jobs")?;
    if let Some(code) = jobs.iter().filter_map(|job| job["error"].as_i64()).find(|code| *code != 0) {
        return Err(format!("fio's job failed with error {code}"));
    }
    let mut metrics = Metrics::new();
    let (mut bytes, mut operations) = (0.0, 0.0);
    for (way, one, many) in [("read", "read", "reads"), ("write", "write", "writes")] {
        let sum = |key: &str| jobs.iter().filter_map(|job| job[way][key].as_f64()).sum::<f64>();
        let (throughput, rate) = (sum("bw_bytes"), sum("iops"));
        bytes += throughput;
        operations += rate;
        if sum("total_ios") == 0.0 {
            continue;
        }
        metrics.insert(format!("{one}_throughput"), throughput);
        metrics.insert(format!("{many}_per_second"), rate);
        let slowest = |find: &dyn Fn(&Value) -> Option<f64>| {
            let all = jobs.iter().filter_map(|job| find(&job[way]["clat_ns"]));
            all.fold(None, |most: Option<f64>, next| Some(most.map_or(next, |most| most.max(next))))
        };
        let found = [
            ("avg", slowest(&|latency| latency["mean"].as_f64())),
            ("p99", slowest(&|latency| latency["percentile"]["99.000000"].as_f64())),
            ("max", slowest(&|latency| latency["max"].as_f64())),
        ];
        for (name, value) in found {
            if let Some(nanoseconds) = value {
                metrics.insert(format!("{one}_latency_{name}"), nanoseconds / 1e9);
            }
        }
    }
    metrics.insert("throughput".to_owned(), bytes);
    metrics.insert("operations_per_second".to_owned(), operations);
    Ok(metrics)
}

/// `iperf3 -c HOST --json`.
pub(super) fn iperf3(output: &str) -> Result<Metrics, String> {
    let report = parse(output, "iperf3")?;
    if let Some(reason) = report["error"].as_str() {
        return Err(format!("iperf3: {reason}"));
    }
    let end = &report["end"];
    let received = end["sum_received"]["bits_per_second"].as_f64().ok_or("iperf3's report has no result")?;
    let streams = end["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    let trips: Vec<f64> = streams.iter().filter_map(|stream| stream["sender"]["mean_rtt"].as_f64()).collect();
    let trip = (!trips.is_empty()).then(|| trips.iter().sum::<f64>() / trips.len() as f64 / 1e6);
    let percent = |key: &str| end["cpu_utilization_percent"][key].as_f64().map(|value| value / 100.0);
    let found = [
        ("throughput", Some(received / 8.0)),
        ("sent_throughput", end["sum_sent"]["bits_per_second"].as_f64().map(|bits| bits / 8.0)),
        ("retransmits", end["sum_sent"]["retransmits"].as_f64()),
        ("round_trip", trip),
        ("cpu_here", percent("host_total")),
        ("cpu_there", percent("remote_total")),
    ];
    Ok(found.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

/// Programs put warnings before their report.
fn parse(output: &str, program: &str) -> Result<Value, String> {
    let start = output.find('{').ok_or_else(|| format!("{program} printed no report"))?;
    serde_json::from_str(&output[start..]).map_err(|cause| format!("{program}'s report is no JSON: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fio_is_read() {
        let sample = include_str!("samples/fio.json");
        let metrics = fio(sample).unwrap();
        assert_eq!((metrics["read_throughput"], metrics["reads_per_second"]), (28468015.0, 6950.199203));
        let latency = ["avg", "p99", "max"].map(|name| metrics[&format!("read_latency_{name}")]);
        assert!(latency[0] < latency[1] && latency[1] <= latency[2] && latency[2] < 1.0, "{latency:?}");
        let both = metrics["read_throughput"] + metrics["write_throughput"];
        assert_eq!(metrics["throughput"], both);
        assert_eq!(metrics.len(), 12);
        assert_eq!(fio(&format!("fio: a warning\n{sample}")).unwrap(), metrics);
        let failed = r#"{"jobs":[{"error":28}]}"#;
        assert_eq!(fio(failed).unwrap_err(), "fio's job failed with error 28");
    }

    #[test]
    fn iperf3_is_read() {
        let metrics = iperf3(include_str!("samples/iperf3.json")).unwrap();
        assert_eq!(metrics["throughput"], 11499953336.965784 / 8.0);
        assert_eq!((metrics["retransmits"], metrics["round_trip"]), (2.0, 0.000962));
        assert!((metrics["cpu_here"] - 0.351).abs() < 1e-3);
        let refused = r#"{"start":{},"error":"unable to connect to server: Connection refused"}"#;
        assert!(iperf3(refused).unwrap_err().contains("Connection refused"));
    }
}
