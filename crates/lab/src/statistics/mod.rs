//! What repetitions of a measurement say together, and what they cannot say. Pure: numbers in, numbers out.
//!
//! The figure that everything is compared by is the median: one disturbed repetition does not move it, and no
//! repetition has to be dropped for it. The mean stands beside it, as the documents' tables have it.

mod bootstrap;
mod rank;

pub use bootstrap::{Interval, median_interval, ratio_interval};
pub use rank::{Test, Way, mann_whitney, smallest_p};

/// The confidence that intervals are made for.
pub const CONFIDENCE: f64 = 0.95;

/// Below this a difference is taken for real.
pub const SIGNIFICANT: f64 = 0.05;

/// Repetitions of one measurement in short, in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many; at least one.
    pub n: usize,
    /// The arithmetic mean.
    pub mean: f64,
    /// The middle value, or the mean of the two in the middle.
    pub median: f64,
    /// The standard deviation of a sample (divided by n - 1); none for one value.
    pub deviation: Option<f64>,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The bootstrap interval of the median; none for one value.
    pub interval: Option<Interval>,
    /// Values beyond these are outliers (Tukey's fences); none below five values, of which no quartile tells much.
    pub fences: Option<Interval>,
}

impl Summary {
    /// Whether `value` lies beyond the fences. It counts in every figure all the same.
    pub fn is_outlier(&self, value: f64) -> bool {
        self.fences.is_some_and(|fences| value < fences.low || value > fences.high)
    }

    /// The deviation as a share of the mean; none where there is no such share.
    pub fn variation(&self) -> Option<f64> {
        self.deviation.filter(|_| self.mean != 0.0).map(|deviation| deviation / self.mean.abs())
    }
}

/// Sums up `values`; `None` where there are none. The same `seed` gives the same interval.
pub fn summary(values: &[f64], seed: u64) -> Option<Summary> {
    let sorted = sorted(values);
    let (&min, &max) = (sorted.first()?, sorted.last()?);
    let fences = (sorted.len() >= 5).then(|| {
        let (low, high) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
        let reach = 1.5 * (high - low);
        Interval { low: low - reach, high: high + reach }
    });
    Some(Summary {
        n: values.len(),
        mean: mean(values),
        median: middle(&sorted),
        deviation: deviation(values),
        min,
        max,
        interval: median_interval(values, seed),
        fences,
    })
}

/// The arithmetic mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The median; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(middle(&sorted(values))) }
}

/// The standard deviation of a sample; `None` of less than two values.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// The probability with which the true median lies between the smallest and the largest of `n` values, whatever
/// their distribution: 1 - 2^(1-n). No interval that is made of the values alone can promise more.
pub fn reach(n: usize) -> f64 {
    1.0 - 0.5f64.powi(n.saturating_sub(1).min(1000) as i32)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The median of sorted values; there is at least one.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// A quantile of sorted values, linear between the two next to it (Hyndman and Fan's type 7, as R and NumPy have it).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-9 * right.abs().max(1.0), "{left} is not {right}");
    }

    #[test]
    fn sums_up_as_numpy_does() {
        // numpy: mean, median, std(ddof=1), percentile(25 and 75) of the same values.
        let seconds = [2.33, 2.41, 2.29, 2.38, 2.90];
        let summary = summary(&seconds, 1).unwrap();
        assert_eq!((summary.n, summary.median, summary.min, summary.max), (5, 2.38, 2.29, 2.90));
        close(summary.mean, 2.462);
        close(summary.deviation.unwrap(), 0.2491385156895657);
        close(summary.variation().unwrap(), 0.2491385156895657 / 2.462);
        let fences = summary.fences.unwrap();
        close(fences.low, 2.33 - 1.5 * 0.08);
        close(fences.high, 2.41 + 1.5 * 0.08);
        let outliers: Vec<f64> = seconds.into_iter().filter(|&value| summary.is_outlier(value)).collect();
        assert_eq!(outliers, [2.90]);
        close(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 30.0], 0.25), 3.25);
        close(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 30.0], 0.75), 7.75);
    }

    #[test]
    fn one_value_has_no_spread_and_none_has_no_summary() {
        let one = summary(&[7.0], 1).unwrap();
        assert_eq!((one.mean, one.median, one.min, one.max), (7.0, 7.0, 7.0, 7.0));
        assert_eq!((one.deviation, one.interval, one.fences), (None, None, None));
        assert!(!one.is_outlier(1e9));
        assert_eq!(summary(&[], 1), None);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0, 10.0]), Some(2.5));
        assert_eq!(summary(&[1.0, 2.0, 3.0, 100.0], 1).unwrap().fences, None);
    }

    #[test]
    fn few_values_reach_less_than_the_interval_says() {
        assert_eq!((reach(1), reach(2), reach(3), reach(5)), (0.0, 0.5, 0.75, 0.9375));
        assert!(reach(6) > CONFIDENCE);
        assert_eq!(reach(0), 0.0);
    }
}
