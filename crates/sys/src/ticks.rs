//! The time stamp counter of an x86-64 processor, and how fast it counts: the kernel knows and tells no program.

use std::time::{Duration, Instant};

/// Counting goes on for so long at least: both readings are off by some 50 ns, 5 in a million of this.
const LEAST: Duration = Duration::from_millis(20);
/// Of so many readings the one that took least is believed: between counter and clock others may get the processor.
const TRIES: u32 = 8;

/// The counter and CLOCK_MONOTONIC, read together.
#[derive(Debug, Clone, Copy)]
pub struct Ticks {
    count: u64,
    at: Instant,
}

impl Ticks {
    /// None on processors that have no such counter.
    #[must_use]
    pub fn now() -> Option<Self> {
        let readings = (0..TRIES).filter_map(|_| {
            let before = Instant::now();
            let count = count()?;
            let took = before.elapsed();
            Some((took, Self { count, at: before + took / 2 }))
        });
        readings.min_by_key(|(took, _)| *took).map(|(_, ticks)| ticks)
    }

    /// Thousands of ticks in a second, counted from then until now; waits where that was a moment ago.
    #[must_use]
    pub fn khz(self) -> u64 {
        std::thread::sleep(LEAST.saturating_sub(self.at.elapsed()));
        let now = Self::now().unwrap_or(self);
        let passed = now.at.duration_since(self.at).as_nanos().max(1);
        let ticks = u128::from(now.count.wrapping_sub(self.count));
        (ticks * 1_000_000 / passed) as u64
    }
}

#[cfg(target_arch = "x86_64")]
fn count() -> Option<u64> {
    // SAFETY: every x86-64 processor has the instruction, and it touches no memory. It is forbidden to those alone who
    // asked for that with prctl(PR_SET_TSC), which nothing here does.
    Some(unsafe { std::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn count() -> Option<u64> {
    None
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn it_counts_as_fast_at_any_time() {
        let begin = Ticks::now().unwrap();
        let short = begin.khz();
        std::thread::sleep(Duration::from_millis(200));
        let long = begin.khz();
        assert!((100_000..20_000_000).contains(&long), "{long} kHz");
        // A host's clock is slewed by at most 500 in a million, adjtimex(2).
        assert!(short.abs_diff(long) < long / 500, "{short} and {long} kHz");
    }
}
