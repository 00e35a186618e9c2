//! What an answer makes of what was known, and when to ask again: Docker's rules, of values alone.

use std::time::Duration;

use oci::Healthcheck;

use crate::state::{Health, Known, Verdict};

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u64 = 3;

/// How many answers are kept.
const KEPT: usize = 5;

/// How one container is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    interval: Duration,
    /// How long a probe may take.
    pub(super) timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u64,
}

impl Rules {
    pub(super) fn of(check: &Healthcheck) -> Self {
        let or = |nanos: u64, default| if nanos == 0 { default } else { Duration::from_nanos(nanos) };
        Self {
            interval: or(check.interval, INTERVAL),
            timeout: or(check.timeout, TIMEOUT),
            start_period: Duration::from_nanos(check.start_period),
            start_interval: or(check.start_interval, START_INTERVAL),
            retries: if check.retries == 0 { RETRIES } else { check.retries },
        }
    }

    /// Takes note of an answer; `age` is how long the container had run when it was asked. Whether the status changed.
    pub(super) fn judge(&self, known: &mut Known, verdict: Verdict, age: Duration) -> bool {
        let before = known.status;
        if verdict.exit_code == 0 {
            known.failing_streak = 0;
            known.status = Health::Healthy;
        } else if before != Health::Starting || age >= self.start_period {
            known.failing_streak += 1;
            if known.failing_streak >= self.retries {
                known.status = Health::Unhealthy;
            }
        }
        if known.log.len() >= KEPT {
            known.log.drain(..=known.log.len() - KEPT);
        }
        known.log.push(verdict);
        known.status != before
    }

    /// How long to wait for the next question, in a container that has run for `age`.
    pub(super) fn pause(&self, status: Health, age: Duration) -> Duration {
        match status {
            Health::Starting if age < self.start_period => self.start_interval,
            _ => self.interval,
        }
    }
}

/// A duration as Go prints it: `30s`, `1m30s`, `1h0m0s`, `1.5s`, `200ms`.
pub(super) fn shown(duration: Duration) -> String {
    // So many digits stand behind the point, as far as they are needed.
    let decimal = |nanos: u128, digits: u32, unit: &str| {
        let one = 10_u128.pow(digits);
        let fraction = format!(".{:0width$}", nanos % one, width = digits as usize);
        let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
        format!("{}{fraction}{unit}", nanos / one)
    };
    let minutes = duration.as_secs() / 60;
    let nanos = (duration - Duration::from_secs(minutes * 60)).as_nanos();
    match (minutes / 60, minutes % 60, nanos) {
        (0, 0, 1..1_000_000) => decimal(nanos, 3, "µs"),
        (0, 0, 1_000_000..1_000_000_000) => decimal(nanos, 6, "ms"),
        (0, 0, _) => decimal(nanos, 9, "s"),
        (0, minutes, _) => format!("{minutes}m{}", decimal(nanos, 9, "s")),
        (hours, minutes, _) => format!("{hours}h{minutes}m{}", decimal(nanos, 9, "s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rules(start_period: u64, retries: u64) -> Rules {
        Rules::of(&Healthcheck { start_period: start_period * SECOND, retries, ..Healthcheck::default() })
    }

    /// The statuses and streaks after probes: seconds after the start, and the exit code.
    fn life(rules: Rules, probes: &[(u64, i32)]) -> Vec<(Health, u64)> {
        let mut known = Known::default();
        let mut all = Vec::new();
        for (at, exit_code) in probes {
            let before = known.status;
            let verdict = Verdict { exit_code: *exit_code, ..Verdict::default() };
            let changed = rules.judge(&mut known, verdict, Duration::from_secs(*at));
            assert_eq!(changed, before != known.status);
            all.push((known.status, known.failing_streak));
        }
        all
    }

    #[test]
    fn dockers_defaults() {
        let rules = Rules::of(&Healthcheck::default());
        assert_eq!((rules.interval, rules.timeout, rules.retries), (INTERVAL, TIMEOUT, 3));
        assert_eq!(rules.pause(Health::Starting, Duration::ZERO), INTERVAL, "there is no start period");
    }

    #[test]
    fn so_many_failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        use Health::{Healthy, Starting, Unhealthy};
        let probes = [(1, 1), (2, 1), (3, -1), (4, 1), (5, 0), (6, 1), (7, 0), (8, 2)];
        let expected = [
            (Starting, 1),
            (Starting, 2),
            (Unhealthy, 3),
            (Unhealthy, 4),
            (Healthy, 0),
            (Healthy, 1),
            (Healthy, 0),
            (Healthy, 1),
        ];
        assert_eq!(life(rules(0, 3), &probes), expected);
    }

    #[test]
    fn in_the_start_period_failures_do_not_count_until_it_was_healthy_once() {
        use Health::{Healthy, Starting, Unhealthy};
        assert_eq!(
            life(rules(10, 1), &[(1, 1), (9, 1), (10, 1), (11, 0)]),
            [(Starting, 0), (Starting, 0), (Unhealthy, 1), (Healthy, 0)]
        );
        assert_eq!(
            life(rules(10, 2), &[(1, 0), (2, 1), (3, 1)]),
            [(Healthy, 0), (Healthy, 1), (Unhealthy, 2)]
        );
    }

    #[test]
    fn in_the_start_period_it_is_asked_more_often_until_it_was_healthy_once() {
        let rules = rules(10, 1);
        let age = Duration::from_secs;
        assert_eq!(rules.pause(Health::Starting, age(9)), START_INTERVAL);
        assert_eq!(rules.pause(Health::Healthy, age(9)), INTERVAL);
        assert_eq!(rules.pause(Health::Starting, age(10)), INTERVAL);
    }

    #[test]
    fn the_last_five_answers_are_kept() {
        let mut known = Known::default();
        for start in 0..8 {
            rules(0, 3).judge(&mut known, Verdict { start, ..Verdict::default() }, Duration::ZERO);
        }
        let starts: Vec<u64> = known.log.iter().map(|verdict| verdict.start).collect();
        assert_eq!(starts, [3, 4, 5, 6, 7]);
    }

    #[test]
    fn durations_are_gos() {
        for (nanos, text) in [
            (0, "0s"),
            (1_500, "1.5µs"),
            (200_000_000, "200ms"),
            (2_500_000, "2.5ms"),
            (SECOND, "1s"),
            (3 * SECOND / 2, "1.5s"),
            (90 * SECOND, "1m30s"),
            (60 * SECOND, "1m0s"),
            (3600 * SECOND, "1h0m0s"),
            (3600 * SECOND + 1, "1h0m0.000000001s"),
        ] {
            assert_eq!(shown(Duration::from_nanos(nanos)), text);
        }
    }
}
