//! How long the commands take.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::rand::GetRandomFlags;
use serde_json::{Map, Value};

use super::super::statistics::{Series, milliseconds};
use super::super::world::time;
use super::bundle::Filter;
use super::field::{Field, reap};
use super::peers::{Family, Runtime};
use super::{Plan, Row, Verdict, worst};

/// At most so many times the fastest runc.
const TARGET_RUNC: f64 = 0.5;
/// And no slower than crun.
const TARGET_CRUN: f64 = 1.0;

/// What is timed.
const NAMES: [&str; 6] = ["create", "start", "delete", "create to delete", "run", "exec"];
/// The parts of one measurement.
const LIFE: [usize; 4] = [0, 1, 2, 3];
const RUN: usize = 4;
const EXEC: usize = 5;
/// What the target is about: what somebody waits for.
const JUDGED: [usize; 3] = [3, RUN, EXEC];

/// One measurement of a round.
#[derive(Debug, Clone, Copy)]
struct Turn {
    runtime: usize,
    filter: usize,
    operation: Operation,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Life,
    Run,
    Exec,
}

pub(super) struct Times {
    tables: Vec<Table>,
}

/// All that was measured with one filter.
struct Table {
    filter: Filter,
    /// By name, then by runtime.
    rows: Vec<(Row, Vec<Series>)>,
    versions: Vec<String>,
}

/// By filter, name and runtime.
type Taken = Vec<Vec<Vec<Vec<Duration>>>>;

pub(super) fn measure(plan: &Plan, field: &Field<'_>, runtimes: &[Runtime]) -> Result<Times> {
    let mut taken: Taken = vec![vec![vec![Vec::new(); runtimes.len()]; NAMES.len()]; Filter::BOTH.len()];
    let mut chance = Chance::new();
    let mut turns = turns(runtimes.len());
    for _ in 0..plan.runs {
        chance.shuffle(&mut turns);
        for turn in &turns {
            std::thread::sleep(Duration::from_millis(plan.spacing_ms));
            let runtime = &runtimes[turn.runtime];
            take(field, runtime, *turn, &mut taken[turn.filter]).with_context(|| runtime.version.clone())?;
            reap();
        }
    }
    let times = Times::of(taken, runtimes);
    times.print(plan, runtimes);
    Ok(times)
}

/// Every measurement once.
fn turns(runtimes: usize) -> Vec<Turn> {
    let mut turns = Vec::new();
    for runtime in 0..runtimes {
        for filter in 0..Filter::BOTH.len() {
            for operation in [Operation::Life, Operation::Run, Operation::Exec] {
                turns.push(Turn { runtime, filter, operation });
            }
        }
    }
    turns
}

fn take(field: &Field<'_>, runtime: &Runtime, turn: Turn, taken: &mut [Vec<Vec<Duration>>]) -> Result<()> {
    let filter = Filter::BOTH[turn.filter];
    let mut note = |name: usize, time: Duration| taken[name][turn.runtime].push(time);
    match turn.operation {
        Operation::Life => {
            let life = field.life(runtime, filter)?;
            LIFE.into_iter()
                .zip([life.create, life.start, life.delete, life.whole])
                .for_each(|(n, t)| note(n, t));
        }
        Operation::Run => note(RUN, time(&mut field.run(runtime, filter))?),
        Operation::Exec => note(EXEC, time(&mut field.exec(runtime, filter))?),
    }
    Ok(())
}

impl Times {
    fn of(taken: Taken, runtimes: &[Runtime]) -> Self {
        let versions: Vec<String> = runtimes.iter().map(|runtime| runtime.version.clone()).collect();
        let row = |(name, all): (&str, Vec<Vec<Duration>>)| {
            let series: Vec<Series> = all.into_iter().filter_map(Series::new).collect();
            let values = series.iter().map(|series| milliseconds(series.median())).collect();
            (Row { name: name.to_owned(), values }, series)
        };
        let table = |(filter, all): (Filter, Vec<Vec<Vec<Duration>>>)| Table {
            filter,
            rows: NAMES.into_iter().zip(all).map(row).collect(),
            versions: versions.clone(),
        };
        Self { tables: Filter::BOTH.into_iter().zip(taken).map(table).collect() }
    }

    fn print(&self, plan: &Plan, runtimes: &[Runtime]) {
        println!("{} runs each in random order, {} ms before each; milliseconds", plan.runs, plan.spacing_ms);
        for table in &self.tables {
            table.print(runtimes);
        }
    }

    pub(super) fn verdicts(&self, runtimes: &[Runtime]) -> Vec<Verdict> {
        let judge = |name: usize, family: Family, at_most: f64| {
            let rows = self.tables.iter().map(|table| &table.rows[name].0);
            let what = format!("{}, the slower of both, times {}", NAMES[name], family.program());
            Verdict { what, value: worst(rows, family, runtimes), at_most }
        };
        let families = [(Family::Runc, TARGET_RUNC), (Family::Crun, TARGET_CRUN)];
        let all = families.into_iter().flat_map(|target| JUDGED.map(|name| (name, target)));
        all.map(|(name, (family, at_most))| judge(name, family, at_most)).collect()
    }

    pub(super) fn json(&self) -> Value {
        let tables = self.tables.iter().map(|table| (table.filter.words().to_owned(), table.json()));
        Value::Object(tables.collect())
    }
}

impl Table {
    fn print(&self, runtimes: &[Runtime]) {
        println!(
            "\n{:<26} {:>9} {:>9} {:>9} {:>8} {:>8}",
            self.filter.words(),
            "median",
            "min",
            "p95",
            "x runc",
            "x crun"
        );
        for (row, series) in &self.rows {
            println!("{}", row.name);
            for (index, (series, version)) in series.iter().zip(&self.versions).enumerate() {
                let [median, min, p95] = [series.median(), series.min(), series.p95()].map(milliseconds);
                let ratios = row.columns(index, runtimes);
                println!("  {version:<24} {median:>9.2} {min:>9.2} {p95:>9.2}{ratios}");
            }
        }
    }

    fn json(&self) -> Value {
        let of = |series: &[Series]| {
            let all = self.versions.iter().cloned().zip(series.iter().map(Series::json));
            Value::Object(all.collect::<Map<_, _>>())
        };
        let rows = self.rows.iter().map(|(row, series)| (row.name.clone(), of(series)));
        Value::Object(rows.collect())
    }
}

/// Enough chance for an order (splitmix64).
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let mut bytes = [0; 8];
        // Without it the order is one of the possible ones too.
        let _ = rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty());
        Self(u64::from_ne_bytes(bytes))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fisher and Yates.
    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_everything_once() {
        let mut order: Vec<usize> = (0..100).collect();
        Chance(7).shuffle(&mut order);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        assert_eq!(turns(3).len(), 3 * 2 * 3);
    }
}
