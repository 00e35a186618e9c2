//! How much goes over each way, and how long a byte takes there and back, in turn.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::super::engines::OURS;
use super::subject::{Question, Subject, Way};
use super::{Plan, median};

/// At least so much of what bare links carry, and at most so much longer.
const LOSS: f64 = 0.05;

/// What one subject gave on one way.
#[derive(Debug, Clone, Default)]
struct Row {
    gbit: Vec<f64>,
    micros: Vec<f64>,
}

pub(super) fn paths(plan: &Plan, subjects: &mut [Subject]) -> Result<Value> {
    for subject in subjects.iter_mut() {
        subject.serve().with_context(|| subject.name)?;
    }
    let mut rows = vec![vec![Row::default(); subjects.len()]; Way::ALL.len()];
    // The first round warms up, and is not counted.
    for round in 0..=plan.runs {
        for (way, rows) in Way::ALL.into_iter().zip(&mut rows) {
            for (n, subject) in subjects.iter().enumerate() {
                let seconds = plan.seconds;
                let stream = if plan.iperf3 { Question::Iperf3(seconds) } else { Question::Stream(seconds) };
                let gbit = subject.ask(way, stream)? / 1000.0;
                let micros = subject.ask(way, Question::PingPong(plan.questions))?;
                if round > 0 {
                    rows[n].gbit.push(gbit);
                    rows[n].micros.push(micros);
                }
            }
        }
    }
    let mut results = Map::new();
    for (way, rows) in Way::ALL.into_iter().zip(&rows) {
        results.insert(way.name().to_owned(), report(plan, way, subjects, rows));
    }
    for subject in subjects.iter() {
        subject.rest()?;
    }
    Ok(Value::Object(results))
}

fn report(plan: &Plan, way: Way, subjects: &[Subject], rows: &[Row]) -> Value {
    println!(
        "\n{}: medians of {} rounds of {} s{} and {} questions",
        way.name(),
        plan.runs,
        plan.seconds,
        if plan.iperf3 { " by iperf3" } else { "" },
        plan.questions
    );
    println!("{:<22} {:>10} {:>8} {:>10} {:>8}", "", "gbit/s", "x bare", "us", "x bare");
    let [bare_gbit, bare_micros] =
        [median(&rows[0].gbit), median(&rows[0].micros)].map(|value| value.unwrap_or(f64::NAN));
    let mut values = Map::new();
    for (subject, row) in subjects.iter().zip(rows) {
        let (Some(gbit), Some(micros)) = (median(&row.gbit), median(&row.micros)) else { continue };
        // Neighbours in time are compared: what the machine does meanwhile hits both.
        let pairs = |own: &[f64], bare: &[f64]| {
            median(&own.iter().zip(bare).map(|(own, bare)| own / bare).collect::<Vec<_>>())
                .unwrap_or(f64::NAN)
        };
        let [more, longer] = [pairs(&row.gbit, &rows[0].gbit), pairs(&row.micros, &rows[0].micros)];
        println!("{:<22} {gbit:>10.2} {more:>8.3} {micros:>10.2} {longer:>8.3}", subject.name);
        if subject.name == OURS {
            let verdict = |met| if met { "met" } else { "not met" };
            println!(
                "  limit {:.2} and {:.2} of bare: {} and {}",
                1.0 - LOSS,
                1.0 + LOSS,
                verdict(more >= 1.0 - LOSS),
                verdict(longer <= 1.0 + LOSS)
            );
        }
        values.insert(
            subject.name.to_owned(),
            json!({"gbit": gbit, "micros": micros, "of_bare": [more, longer], "all_gbit": row.gbit, "all_micros": row.micros}),
        );
    }
    json!({"subjects": values, "bare": [bare_gbit, bare_micros], "limit": LOSS, "iperf3": plan.iperf3})
}
