//! Confidence intervals by the bootstrap: the values are drawn from themselves, with replacement, as often as there
//! are values, and the figure is made anew each time; its middle 95 % are the interval.
//!
//! The percentile method (Efron 1979), for it is right for medians, where the corrections of the BCa method have no
//! derivative to lean on. It knows nothing beyond the values: with few of them it spans from the smallest to the
//! largest at most, see [`super::reach`].

use super::{CONFIDENCE, middle, quantile};

/// How often the values are drawn anew.
pub(crate) const DRAWS: usize = 4000;

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The interval of the median; `None` for less than two values.
pub fn median_interval(values: &[f64], seed: u64) -> Option<Interval> {
    if values.len() < 2 {
        return None;
    }
    let mut random = Random(seed);
    let mut room = Vec::with_capacity(values.len());
    percentiles((0..DRAWS).map(|_| random.median_of(values, &mut room)).collect())
}

/// The interval of `median(values) / median(base)`, both drawn anew and independently of each other; `None` for less
/// than two values on a side, or where a draw of `base` has a median of 0.
pub fn ratio_interval(values: &[f64], base: &[f64], seed: u64) -> Option<Interval> {
    if values.len() < 2 || base.len() < 2 {
        return None;
    }
    let mut random = Random(seed);
    let mut room = Vec::with_capacity(values.len().max(base.len()));
    let ratios: Vec<f64> = (0..DRAWS)
        .map(|_| random.median_of(values, &mut room) / random.median_of(base, &mut room))
        .filter(|ratio| ratio.is_finite())
        .collect();
    if ratios.len() < DRAWS { None } else { percentiles(ratios) }
}

fn percentiles(mut drawn: Vec<f64>) -> Option<Interval> {
    drawn.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some(Interval { low: quantile(&drawn, tail), high: quantile(&drawn, 1.0 - tail) })
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and good enough to draw some thousand times from a handful.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `end` - 1. The bias of the multiplication is below 2^-50 here.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    fn median_of(&mut self, values: &[f64], room: &mut Vec<f64>) -> f64 {
        room.clear();
        for _ in 0..values.len() {
            room.push(values[self.below(values.len())]);
        }
        room.sort_by(f64::total_cmp);
        middle(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWELVE: [f64; 12] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.5];

    #[test]
    fn generator_is_splitmix64() {
        // The first outputs for the seed 1234567, as the reference implementation prints them.
        let mut random = Random(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn intervals_are_those_of_scipy() {
        // scipy.stats.bootstrap(method='percentile', n_resamples=200000): [3.5, 9.5], [2.29, 2.9], [4.851485, 5.252525].
        assert_eq!(median_interval(&TWELVE, 1), Some(Interval { low: 3.5, high: 9.5 }));
        let five = [2.33, 2.41, 2.29, 2.38, 2.90];
        assert_eq!(median_interval(&five, 1), Some(Interval { low: 2.29, high: 2.90 }));
        let base = [10.0, 10.2, 9.9, 10.1, 10.3];
        let ratio = ratio_interval(&[50.0, 52.0, 49.0, 51.0, 53.0], &base, 1).unwrap();
        assert!((ratio.low - 4.851485).abs() < 1e-6 && (ratio.high - 5.252525).abs() < 1e-6, "{ratio:?}");
    }

    #[test]
    fn the_seed_decides() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
        assert_eq!(ratio_interval(&values, &TWELVE, 7), ratio_interval(&values, &TWELVE, 7));
        assert_ne!(Random(7).next(), Random(8).next());
    }

    #[test]
    fn equal_values_have_an_interval_of_no_width_and_one_value_none() {
        assert_eq!(median_interval(&[3.0; 4], 1), Some(Interval { low: 3.0, high: 3.0 }));
        assert_eq!(median_interval(&[3.0], 1), None);
        assert_eq!(ratio_interval(&[3.0], &[1.0, 2.0], 1), None);
        assert_eq!(ratio_interval(&[3.0, 4.0], &[0.0, 2.0], 1), None);
    }
}
