//! A run in figures: for each case, metric, environment and size what the repetitions say, and how that compares to
//! the bare host. Made once; every form of the report and the comparison of two runs read it.

use crate::read::Results;
use crate::record::{Better, Case, Environment, Metric, Size};
use crate::statistics::{self, Interval, SIGNIFICANT, Summary, Test};

/// All figures of a run.
#[derive(Debug)]
pub struct Analysis<'a> {
    /// What they were made of.
    pub results: &'a Results,
    /// One for each case, metric, size and environment that has a value, in the order of the run.
    pub cells: Vec<Cell<'a>>,
}

/// One metric of one case in one environment of one size.
#[derive(Debug)]
pub struct Cell<'a> {
    /// The case.
    pub case: &'a Case,
    /// The metric.
    pub metric: &'a Metric,
    /// The environment.
    pub environment: &'a Environment,
    /// Its size.
    pub size: &'a Size,
    /// Every repetition, in their order.
    pub values: Vec<Value>,
    /// What they say together.
    pub summary: Summary,
    /// Beside the baseline; none for the baseline itself, and where it has no value.
    pub against: Option<Against>,
}

/// One repetition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// The measurement's number.
    pub number: u32,
    /// From 1.
    pub repetition: u32,
    /// In the metric's unit.
    pub value: f64,
}

/// A comparison of two sets of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Against {
    /// The median divided by the other one's.
    pub ratio: f64,
    /// The bootstrap interval of the ratio; none where a side has less than two values.
    pub interval: Option<Interval>,
    /// Whether the difference is real.
    pub test: Test,
    /// The smallest p that so many values can give.
    pub smallest: f64,
    /// Which is the better value.
    pub better: Better,
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A real difference, for the better.
    Better,
    /// A real difference, for the worse.
    Worse,
    /// A real difference of a metric that only describes.
    Differs,
    /// None that the test can tell from chance.
    Alike,
    /// So few values that the test could not find any.
    TooFew,
}

impl Verdict {
    /// In a word or two.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Differs => "differs",
            Verdict::Alike => "no difference shown",
            Verdict::TooFew => "too few to tell",
        }
    }
}

impl Against {
    /// Compares `values` to `base`; none where a side is empty or the median of `base` is 0.
    pub fn compare(values: &[f64], base: &[f64], better: Better, seed: u64) -> Option<Self> {
        let ratio = statistics::median(values)? / statistics::median(base)?;
        let test = statistics::mann_whitney(values, base)?;
        let interval = statistics::ratio_interval(values, base, seed);
        let smallest = statistics::smallest_p(values.len(), base.len());
        ratio.is_finite().then_some(Self { ratio, interval, test, smallest, better })
    }

    /// What it says.
    pub fn verdict(&self) -> Verdict {
        match (self.test.p < SIGNIFICANT, self.better) {
            (false, _) if self.smallest >= SIGNIFICANT => Verdict::TooFew,
            (false, _) => Verdict::Alike,
            (true, Better::Neither) => Verdict::Differs,
            (true, Better::Higher) if self.ratio > 1.0 => Verdict::Better,
            (true, Better::Lower) if self.ratio < 1.0 => Verdict::Better,
            (true, _) => Verdict::Worse,
        }
    }

    /// How many times worse: the ratio of times, the inverse ratio of throughputs. Its interval beside it.
    pub fn cost(&self) -> Option<(f64, Option<Interval>)> {
        let inverse = self.better == Better::Higher;
        let turn = |value: f64| if inverse { 1.0 / value } else { value };
        let interval = self.interval.map(|interval| {
            let (one, other) = (turn(interval.low), turn(interval.high));
            Interval { low: one.min(other), high: one.max(other) }
        });
        let fits = |value: f64| value.is_finite() && value > 0.0;
        let interval = interval.filter(|interval| fits(interval.low) && fits(interval.high));
        fits(turn(self.ratio)).then(|| (turn(self.ratio), interval))
    }
}

impl Cell<'_> {
    /// The values alone.
    pub fn numbers(&self) -> Vec<f64> {
        self.values.iter().map(|value| value.value).collect()
    }

    /// The values that lie beyond the fences.
    pub fn outliers(&self) -> Vec<Value> {
        self.values.iter().copied().filter(|value| self.summary.is_outlier(value.value)).collect()
    }

    /// Whether the case is compared by this metric.
    pub fn is_headline(&self) -> bool {
        self.metric.name == self.case.headline
    }
}

impl<'a> Analysis<'a> {
    /// Makes all figures. The same run gives the same figures.
    pub fn of(results: &'a Results) -> Self {
        let mut cells = Vec::new();
        for case in &results.run.cases {
            for metric in &case.metrics {
                for size in &results.run.sizes {
                    cells.extend(row(results, case, metric, size));
                }
            }
        }
        Self { results, cells }
    }

    /// The figures of a metric, if there are any.
    pub fn cell(&self, case: &str, metric: &str, environment: &str, size: &str) -> Option<&Cell<'a>> {
        self.cells.iter().find(|cell| {
            cell.case.name == case
                && cell.metric.name == metric
                && cell.environment.name == environment
                && cell.size.name == size
        })
    }

    /// The figures that cases are compared by.
    pub fn headlines(&self) -> impl Iterator<Item = &Cell<'a>> {
        self.cells.iter().filter(|cell| cell.is_headline())
    }

    /// The groups of cases, in the order of the suite.
    pub fn groups(&self) -> Vec<&'a str> {
        let mut groups: Vec<&str> = Vec::new();
        for case in &self.results.run.cases {
            if !groups.contains(&case.group.as_str()) {
                groups.push(&case.group);
            }
        }
        groups
    }

    /// The smallest and the largest number of repetitions behind a headline; none where nothing was measured.
    pub fn repetitions(&self) -> Option<(usize, usize)> {
        let counts: Vec<usize> = self.headlines().map(|cell| cell.summary.n).collect();
        Some((*counts.iter().min()?, *counts.iter().max()?))
    }
}

/// The cells of one metric at one size, each compared to the baseline's.
fn row<'a>(results: &'a Results, case: &'a Case, metric: &'a Metric, size: &'a Size) -> Vec<Cell<'a>> {
    let values = |environment: &str| -> Vec<Value> {
        let all = results.of(&case.name, environment, &size.name);
        let value = |name: &str| {
            all.iter()
                .filter_map(|one| {
                    let value = *one.metrics.get(name)?;
                    Some(Value { number: one.slot.number, repetition: one.slot.repetition, value })
                })
                .collect()
        };
        value(&metric.name)
    };
    let baseline = results.baseline().map(|environment| environment.name.as_str());
    let base: Vec<f64> = baseline.map(values).unwrap_or_default().iter().map(|value| value.value).collect();
    let cell = |environment: &'a Environment| {
        let values = values(&environment.name);
        let numbers: Vec<f64> = values.iter().map(|value| value.value).collect();
        let names = [&case.name, &metric.name, &size.name, &environment.name].map(String::as_str);
        let seed = seed(results.run.seed, &names);
        let summary = statistics::summary(&numbers, seed)?;
        let against = if baseline == Some(environment.name.as_str()) {
            None
        } else {
            Against::compare(&numbers, &base, metric.better, seed)
        };
        Some(Cell { case, metric, environment, size, values, summary, against })
    };
    results.run.environments.iter().filter_map(cell).collect()
}

/// A seed of its own for each figure, so that it does not change when others are added (FNV-1a over the names).
pub(crate) fn seed(run: u64, names: &[&str]) -> u64 {
    let bytes = names.iter().flat_map(|name| name.bytes().chain([0]));
    bytes.fold(run ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn compares_to_the_bare_host() {
        let results = fixture::course();
        let analysis = Analysis::of(&results);
        let native = analysis.cell("cpu", "events_per_second", "native", "2g/1cpu").unwrap();
        assert!(native.against.is_none() && native.is_headline());
        assert_eq!(native.summary.n, 5);
        let vm = analysis.cell("cpu", "events_per_second", "vm", "2g/1cpu").unwrap();
        let against = vm.against.unwrap();
        assert!((against.ratio - vm.summary.median / native.summary.median).abs() < 1e-12);
        assert_eq!((against.test.u, against.verdict()), (0.0, Verdict::Worse));
        let (cost, interval) = against.cost().unwrap();
        let interval = interval.unwrap();
        assert!((cost * against.ratio - 1.0).abs() < 1e-12);
        assert!(interval.low <= cost && cost <= interval.high);
        let container = analysis.cell("cpu", "events_per_second", "container", "2g/1cpu").unwrap();
        assert_eq!(container.against.unwrap().verdict(), Verdict::Alike);
    }

    #[test]
    fn outliers_are_named_and_counted() {
        let results = fixture::course();
        let analysis = Analysis::of(&results);
        let cell = analysis.cell("fileio", "throughput", "container", "2g/1cpu").unwrap();
        assert_eq!(cell.summary.n, 5);
        assert_eq!(cell.outliers().len(), 1);
        assert_eq!(cell.outliers()[0].value, cell.summary.min);
    }

    #[test]
    fn three_repetitions_are_too_few_to_tell() {
        let results = fixture::repeated(3);
        let analysis = Analysis::of(&results);
        let vm = analysis.cell("cpu", "events_per_second", "vm", "2g/1cpu").unwrap();
        assert_eq!(vm.against.unwrap().verdict(), Verdict::TooFew);
        assert_eq!(analysis.repetitions(), Some((3, 3)));
    }

    #[test]
    fn without_native_the_first_is_the_base() {
        let mut results = fixture::course();
        results.run.environments.remove(0);
        results.measurements.retain(|one| one.slot.environment != "native");
        let analysis = Analysis::of(&results);
        assert!(analysis.cell("cpu", "events_per_second", "container", "2g/1cpu").unwrap().against.is_none());
        assert!(analysis.cell("cpu", "events_per_second", "vm", "2g/1cpu").unwrap().against.is_some());
    }

    #[test]
    fn figures_are_the_same_each_time() {
        let results = fixture::course();
        let (one, other) = (Analysis::of(&results), Analysis::of(&results));
        for (left, right) in one.cells.iter().zip(&other.cells) {
            assert_eq!((left.summary, left.against), (right.summary, right.against));
        }
    }
}
