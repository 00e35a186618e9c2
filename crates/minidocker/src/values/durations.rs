//! Moments as Docker's filters write them: `24h`, `1h30m`, `2026-08-01T12:00:00Z`, `2026-08-01`, seconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HELP: &str = "write it as 24h, 90m or 2026-08-01T12:00:00Z";

/// A moment: so long before `now`, or that time.
pub(crate) fn moment(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    if let Some(age) = duration(text) {
        return now.checked_sub(age).ok_or_else(|| format!("that is before all time; {HELP}"));
    }
    let date = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let seconds = text.parse().ok().or_else(|| engine::seconds(&date));
    let seconds: i64 = seconds.ok_or_else(|| format!("no time; {HELP}"))?;
    let seconds = u64::try_from(seconds).map_err(|_| format!("that is before 1970; {HELP}"))?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or_else(|| format!("no time; {HELP}"))
}

/// Go's durations: `1h30m`, `1.5s`, `300ms`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum = sum.checked_add(Duration::try_from_secs_f64(amount * seconds).ok()?)?;
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, seconds) in
            [("24h", 86_400.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("300ms", 0.3), ("0", 0.0)]
        {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "5", "h", "1d", "-1h", "1h30", "1..5s", "99999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn moments_are_ages_or_times() {
        let now = UNIX_EPOCH + Duration::from_secs(100_000);
        let at = |seconds| Ok(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(moment("10h", now), at(64_000));
        assert_eq!(moment("1970-01-02T00:00:01Z", now), at(86_401));
        assert_eq!(moment("1970-01-02", now), at(86_400));
        assert_eq!(moment("12345", now), at(12_345));
        for wrong in ["", "never", "-5", "1969-01-01", "2026-99"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }
}
