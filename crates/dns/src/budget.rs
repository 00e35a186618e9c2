//! How much of a processor the answers to one container may take. Its questions are answered outside of its control group:
//! without a bound a program that does nothing but ask would have a processor beyond the container's limit.

use std::time::{Duration, Instant};

/// So much time of a processor may be taken at once, after a rest.
const MOST: Duration = Duration::from_millis(500);
/// What comes back: one part of so many of the time that goes by.
const PART: u32 = 2;

/// The time of a processor that is left.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Duration,
    /// What was taken beyond it.
    owed: Duration,
    /// As of.
    at: Instant,
}

impl Budget {
    /// All of it.
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: MOST, owed: Duration::ZERO, at: now }
    }

    /// So much was taken until now.
    pub(crate) fn spend(&mut self, taken: Duration, now: Instant) {
        let back = now.saturating_duration_since(self.at) / PART;
        self.at = now;
        let paid = back.min(self.owed);
        self.owed -= paid;
        self.left = (self.left + (back - paid)).min(MOST);
        self.owed += taken.saturating_sub(self.left);
        self.left = self.left.saturating_sub(taken);
    }

    /// When work may go on; none where it may now.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        (!self.owed.is_zero()).then(|| self.at + self.owed * PART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_only_asks_has_half_a_processor() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let (mut now, mut worked) = (start, Duration::ZERO);
        while now < start + 10_000 * MS {
            match budget.rests_until() {
                Some(until) => {
                    now = now.max(until);
                    budget.spend(Duration::ZERO, now);
                    assert_eq!(budget.rests_until(), None);
                }
                None => {
                    now += MS;
                    worked += MS;
                    budget.spend(MS, now);
                }
            }
        }
        assert!((5_400 * MS..5_600 * MS).contains(&worked), "{worked:?}");
    }

    #[test]
    fn who_asks_now_and_then_never_waits_and_a_rest_saves_no_more_than_all() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        for second in 1..100 {
            budget.spend(400 * MS, start + 1000 * MS * second);
            assert_eq!(budget.rests_until(), None);
        }
        let later = start + 1_000_000 * MS;
        budget.spend(MOST + 100 * MS, later);
        assert_eq!(budget.rests_until(), Some(later + 200 * MS));
    }
}
