//! One row for each measurement and metric, as recorded: for spreadsheets and for R and pandas.

use std::fmt::Write as _;

use crate::read::Results;
use crate::record::Measurement;

/// The columns. `metric` is one of the case's, or one of the host's accounting: `cost.wall`, `cost.user`, … A measurement
/// that failed has one row without a metric, with its exit code and problem.
pub const HEADER: &str =
    "number,case,group,environment,kind,size,repetition,started,exit_code,problem,metric,unit,value";

pub(super) fn render(results: &Results) -> String {
    let mut text = format!("{HEADER}\n");
    for one in &results.measurements {
        let slot = &one.slot;
        let case = results.run.cases.iter().find(|case| case.name == slot.case);
        let kind = results
            .run
            .environments
            .iter()
            .find(|known| known.name == slot.environment)
            .map(|known| known.kind);
        let kind = kind.map_or(String::new(), |kind| format!("{kind:?}").to_ascii_lowercase());
        let start = [
            slot.number.to_string(),
            field(&slot.case),
            field(case.map_or("", |case| &case.group)),
            field(&slot.environment),
            kind,
            field(&slot.size),
            slot.repetition.to_string(),
            one.started.to_string(),
            one.exit_code.to_string(),
            field(&one.problem),
        ]
        .join(",");
        if one.metrics.is_empty() {
            let _ = writeln!(text, "{start},,,");
        }
        for (name, value) in &one.metrics {
            let metric = case.and_then(|case| case.metrics.iter().find(|metric| metric.name == *name));
            let _ = writeln!(
                text,
                "{start},{},{},{value}",
                field(name),
                field(metric.map_or("", |metric| &metric.unit))
            );
        }
        for (name, unit, value) in costs(one) {
            let _ = writeln!(text, "{start},cost.{name},{unit},{value}");
        }
    }
    text
}

/// What the host's accounting says of a measurement: name, unit, value.
pub(crate) fn costs(one: &Measurement) -> Vec<(&'static str, &'static str, f64)> {
    let cost = &one.cost;
    let bytes = |value: Option<u64>| value.map(|bytes| bytes as f64);
    [
        ("wall", "s", Some(cost.wall)),
        ("user", "s", cost.user),
        ("system", "s", cost.system),
        ("guest", "s", cost.guest),
        ("throttled", "s", cost.throttled),
        ("steal", "s", cost.steal),
        ("memory_peak", "B", bytes(cost.memory_peak)),
        ("disk_read", "B", bytes(cost.disk_read)),
        ("disk_written", "B", bytes(cost.disk_written)),
    ]
    .into_iter()
    .filter_map(|(name, unit, value)| Some((name, unit, value?)))
    .collect()
}

/// A field as RFC 4180 has it. What a spreadsheet would take for a formula is kept from being one.
fn field(text: &str) -> String {
    let text =
        if text.starts_with(['=', '@', '+', '-', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn every_recorded_number_is_there_unchanged() {
        let results = fixture::course();
        let text = render(&results);
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
        assert!(rows.iter().all(|row| row.len() == HEADER.split(',').count()));
        let mut seen = 0;
        for one in &results.measurements {
            for (name, value) in &one.metrics {
                let number = one.slot.number.to_string();
                let row = rows.iter().find(|row| row[0] == number && row[10] == name).unwrap();
                assert_eq!(row[12].parse::<f64>().unwrap(), *value);
                seen += 1;
            }
        }
        let costs = rows.iter().filter(|row| row[10].starts_with("cost.")).count();
        assert_eq!(
            (seen + costs, costs),
            (rows.len(), results.measurements.iter().map(|one| self::costs(one).len()).sum())
        );
    }

    #[test]
    fn a_failure_is_a_row_and_odd_text_is_quoted() {
        let mut results = fixture::course();
        let one = &mut results.measurements[0];
        one.metrics.clear();
        (one.exit_code, one.problem) = (1, "no \"space\", none".to_owned());
        let text = render(&results);
        let line = text.lines().nth(1).unwrap();
        assert!(line.ends_with(",1,\"no \"\"space\"\", none\",,,"), "{line}");
        assert_eq!([field("=1+1"), field("plain"), field("a\nb")], ["'=1+1", "plain", "\"a\nb\""]);
    }
}
