//! The few numbers that describe a series of times.

use std::time::Duration;

use serde_json::{Value, json};

/// A series of times, sorted.
#[derive(Debug, Clone)]
pub(crate) struct Series(Vec<Duration>);

impl Series {
    /// None for no times at all.
    pub(crate) fn new(mut times: Vec<Duration>) -> Option<Self> {
        times.sort();
        (!times.is_empty()).then_some(Self(times))
    }

    pub(crate) fn runs(&self) -> usize {
        self.0.len()
    }

    /// The middle one, or the mean of the two in the middle.
    pub(crate) fn median(&self) -> Duration {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 { self.0[middle] } else { (self.0[middle - 1] + self.0[middle]) / 2 }
    }

    pub(crate) fn min(&self) -> Duration {
        self.0[0]
    }

    /// The smallest time that at least 95 of 100 do not exceed (nearest rank).
    pub(crate) fn p95(&self) -> Duration {
        self.0[(self.0.len() * 95).div_ceil(100) - 1]
    }

    /// In milliseconds, with every time, for those who want to compute something else.
    pub(crate) fn json(&self) -> Value {
        json!({
            "runs": self.runs(),
            "median_ms": milliseconds(self.median()),
            "min_ms": milliseconds(self.min()),
            "p95_ms": milliseconds(self.p95()),
            "all_ms": self.0.iter().copied().map(milliseconds).collect::<Vec<_>>(),
        })
    }
}

/// With three decimals.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_a_series() {
        let series = Series::new((1..=20).rev().map(Duration::from_millis).collect()).unwrap();
        assert_eq!(milliseconds(series.median()), 10.5);
        assert_eq!(milliseconds(series.min()), 1.0);
        assert_eq!(milliseconds(series.p95()), 19.0);
        let one = Series::new(vec![Duration::from_millis(3)]).unwrap();
        assert_eq!((one.median(), one.min(), one.p95()), (one.0[0], one.0[0], one.0[0]));
        assert!(Series::new(Vec::new()).is_none());
    }
}
