//! The statistics of each case, metric, environment and size, for programs.

use serde_json::{Value, json};

use super::{csv, notes, published};
use crate::analysis::{Against, Analysis, Cell};
use crate::explain;
use crate::statistics::{Interval, Way};

/// The format that this program writes.
const FORMAT: u32 = 1;

pub(super) fn render(analysis: &Analysis) -> String {
    let results = analysis.results;
    let run = &results.run;
    let notes: Vec<Value> = notes::notes(analysis)
        .into_iter()
        .map(|note| json!({ "weight": note.weight.word(), "text": note.text }))
        .collect();
    let explanations: Vec<Value> = explain::explain(analysis).iter().map(explanation).collect();
    let published: Vec<Value> = run.cases.iter().flat_map(|case| published::rows(analysis, case).iter().map(|row| {
        let ours: Vec<Value> = row.ours.iter().map(|one| json!({
            "environment": one.environment, "size": one.size, "median": one.median, "ratio": one.ratio,
        })).collect();
        json!({ "case": case.name, "published": row.published, "ratio": row.ratio.filter(|(low, high)| low == high).map(|(low, _)| low), "ratio_range": row.ratio, "base": row.base, "ours": ours })
    }).collect::<Vec<_>>()).collect();
    let costs: Vec<Value> = results.measurements.iter().map(|one| {
        let costs: serde_json::Map<String, Value> = csv::costs(one).into_iter().map(|(name, _, value)| (name.to_owned(), json!(value))).collect();
        json!({ "number": one.slot.number, "command": one.command, "exit_code": one.exit_code, "problem": one.problem, "cost": costs, "steps": one.steps })
    }).collect();
    let value = json!({
        "format": FORMAT,
        "run": run,
        "measured": results.measurements.len(),
        "asked": run.order.len(),
        "baseline": results.baseline().map(|base| &base.name),
        "notes": notes,
        "parity": results.parity,
        "figures": analysis.cells.iter().map(cell).collect::<Vec<_>>(),
        "explanations": explanations,
        "published": published,
        "measurements": costs,
    });
    // A value of strings, numbers and lists can always be written.
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

fn cell(cell: &Cell) -> Value {
    let summary = &cell.summary;
    let outliers: Vec<u32> = cell.outliers().iter().map(|value| value.number).collect();
    json!({
        "case": cell.case.name,
        "group": cell.case.group,
        "headline": cell.is_headline(),
        "metric": cell.metric.name,
        "unit": cell.metric.unit,
        "better": cell.metric.better,
        "environment": cell.environment.name,
        "size": cell.size.name,
        "n": summary.n,
        "values": cell.numbers(),
        "numbers": cell.values.iter().map(|value| value.number).collect::<Vec<_>>(),
        "mean": summary.mean,
        "median": summary.median,
        "deviation": summary.deviation,
        "min": summary.min,
        "max": summary.max,
        "interval": interval(summary.interval),
        "outliers": outliers,
        "against": cell.against.as_ref().map(against),
    })
}

/// A comparison, also of two runs.
pub(crate) fn against(against: &Against) -> Value {
    json!({
        "ratio": against.ratio,
        "interval": interval(against.interval),
        "u": against.test.u,
        "p": against.test.p,
        "exact": against.test.way == Way::Exact,
        "smallest_p": against.smallest,
        "verdict": against.verdict().words(),
    })
}

/// `[low, high]` or null.
pub(crate) fn interval(interval: Option<Interval>) -> Value {
    interval.map_or(Value::Null, |interval| json!([interval.low, interval.high]))
}

fn explanation(one: &explain::Explanation) -> Value {
    let figures: Vec<Value> = one
        .figures
        .iter()
        .map(|figure| json!({ "place": figure.place, "what": figure.what, "value": figure.value, "unit": figure.unit }))
        .collect();
    json!({ "environment": one.environment, "text": one.text, "figures": figures })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn figures_are_those_of_the_records() {
        let results = fixture::course();
        let value: Value = serde_json::from_str(&render(&Analysis::of(&results))).unwrap();
        assert_eq!((value["measured"].as_u64(), value["asked"].as_u64()), (Some(90), Some(90)));
        let figures = value["figures"].as_array().unwrap();
        let mut seen = 0;
        for figure in figures {
            let values = figure["values"].as_array().unwrap();
            for (number, value) in figure["numbers"].as_array().unwrap().iter().zip(values) {
                let one = &results.measurements[number.as_u64().unwrap() as usize - 1];
                assert_eq!(value.as_f64().unwrap(), one.metrics[figure["metric"].as_str().unwrap()]);
                seen += 1;
            }
        }
        assert_eq!(seen, results.measurements.iter().map(|one| one.metrics.len()).sum::<usize>());
        let vm = figures.iter().find(|one| one["environment"] == "vm" && one["metric"] == "start").unwrap();
        assert_eq!(vm["against"]["verdict"], "worse");
        assert_eq!(vm["interval"].as_array().unwrap().len(), 2);
        assert!(!value["explanations"].as_array().unwrap().is_empty());
        assert_eq!(value["published"][0]["published"]["environment"], "QEMU");
    }

    #[test]
    fn one_repetition_and_none() {
        let results = fixture::repeated(1);
        let value: Value = serde_json::from_str(&render(&Analysis::of(&results))).unwrap();
        assert!(value["figures"][0]["interval"].is_null() && value["figures"][0]["deviation"].is_null());
        let results = fixture::empty();
        let value: Value = serde_json::from_str(&render(&Analysis::of(&results))).unwrap();
        assert_eq!((value["measured"].as_u64(), value["figures"].as_array().unwrap().len()), (Some(0), 0));
    }
}
