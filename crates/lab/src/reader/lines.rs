//! Reports in lines: redis-benchmark's table and ping's summary.

use super::Metrics;
use crate::record::{Better, Metric};

/// The tests of redis-benchmark that are kept; others are left out.
const TESTS: [&str; 6] = ["set", "get", "incr", "lpush", "rpush", "ping_mbulk"];
/// Its columns: name there, name here, title, unit.
const COLUMNS: [(&str, &str, &str, &str); 7] = [
    ("rps", "per_second", "per second", "1/s"),
    ("avg_latency_ms", "latency_avg", "latency, mean", "s"),
    ("min_latency_ms", "latency_min", "latency, least", "s"),
    ("p50_latency_ms", "latency_p50", "latency, median", "s"),
    ("p95_latency_ms", "latency_p95", "latency, 95th percentile", "s"),
    ("p99_latency_ms", "latency_p99", "latency, 99th percentile", "s"),
    ("max_latency_ms", "latency_max", "latency, most", "s"),
];

pub(super) fn redis_metrics() -> Vec<Metric> {
    let row = |test: &str, (_, name, title, unit): (&str, &str, &str, &str)| Metric {
        name: format!("{test}_{name}"),
        title: format!("{} {title}", test.to_uppercase()),
        unit: unit.to_owned(),
        better: if unit == "s" { Better::Lower } else { Better::Higher },
    };
    TESTS.iter().flat_map(|test| COLUMNS.map(|column| row(test, column))).collect()
}

/// `redis-benchmark --csv`: a line of names, then one for each test.
pub(super) fn redis(output: &str) -> Result<Metrics, String> {
    let fields =
        |line: &str| line.split(',').map(|field| field.trim_matches('"').to_owned()).collect::<Vec<_>>();
    let mut lines = output.lines().skip_while(|line| !line.starts_with("\"test\""));
    let names = fields(lines.next().ok_or("redis-benchmark printed no table")?);
    let mut metrics = Metrics::new();
    for line in lines {
        let values = fields(line);
        let test = values.first().map(|test| test.to_ascii_lowercase()).unwrap_or_default();
        for (place, name) in names.iter().enumerate().skip(1) {
            let column = COLUMNS.iter().find(|column| column.0 == name);
            let value = values.get(place).and_then(|value| value.parse::<f64>().ok());
            if let (Some((_, name, _, unit)), Some(value), true) =
                (column, value, TESTS.contains(&test.as_str()))
            {
                let value = if *unit == "s" { value / 1e3 } else { value };
                metrics.insert(format!("{test}_{name}"), value);
            }
        }
    }
    if metrics.is_empty() { Err("redis-benchmark's table has no row".to_owned()) } else { Ok(metrics) }
}

/// `ping -q`'s last two lines.
pub(super) fn ping(output: &str) -> Result<Metrics, String> {
    let mut metrics = Metrics::new();
    for line in output.lines() {
        if let Some((sent, rest)) = line.split_once(" packets transmitted, ") {
            let received = rest.split(' ').next().and_then(|number| number.parse().ok());
            for (name, value) in [("sent", sent.parse().ok()), ("received", received)] {
                metrics.extend(value.map(|value: f64| (name.to_owned(), value)));
            }
        }
        // rtt min/avg/max/mdev = 0.024/0.031/0.045/0.005 ms, ipg/ewma …
        if let Some((_, rest)) = line.split_once("min/avg/max/mdev = ") {
            let names = ["round_trip_min", "round_trip", "round_trip_max", "round_trip_deviation"];
            let values = rest.split(' ').next().unwrap_or_default().split('/');
            for (name, value) in names.into_iter().zip(values) {
                metrics.extend(value.parse::<f64>().ok().map(|value| (name.to_owned(), value / 1e3)));
            }
        }
    }
    if metrics.contains_key("round_trip") { Ok(metrics) } else { Err("ping had no answer".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_is_read() {
        let metrics = redis(include_str!("samples/redis.csv")).unwrap();
        assert_eq!((metrics["set_per_second"], metrics["get_per_second"]), (37037.04, 68493.15));
        for (name, value) in [("set_latency_avg", 0.000913), ("get_latency_max", 0.004463)] {
            assert!((metrics[name] - value).abs() < 1e-12, "{name}");
        }
        assert_eq!(metrics.len(), 14);
    }

    #[test]
    fn ping_is_read() {
        let output = "100 packets transmitted, 99 received, 1% packet loss, time 990ms\n\
                      rtt min/avg/max/mdev = 0.024/0.031/0.045/0.005 ms, ipg/ewma 10.0/0.03 ms\n";
        let metrics = ping(output).unwrap();
        assert_eq!((metrics["sent"], metrics["received"]), (100.0, 99.0));
        assert!((metrics["round_trip"] - 0.000031).abs() < 1e-12);
        assert!(ping("5 packets transmitted, 0 received, 100% packet loss, time 4000ms\n").is_err());
    }
}
