//! Durations as Go writes them: `5s`, `100ms`, `1h30m`, `1.5s`.

use std::time::Duration;

/// Nanoseconds of each unit; the longer names first where one begins with another.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// A duration; none where the text is no duration, or a negative or endless one.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|digits| *digits > 0)?;
        let (number, unit) = rest.split_at(digits);
        let (name, length) = UNITS.iter().find(|(name, _)| unit.starts_with(name))?;
        nanoseconds += number.parse::<f64>().ok()? * length;
        rest = &unit[name.len()..];
    }
    // Go counts nanoseconds in 63 bits: 292 years.
    let is_one = text.ends_with(|c: char| c.is_ascii_alphabetic()) && nanoseconds < i64::MAX as f64;
    is_one.then(|| Duration::from_nanos(nanoseconds.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_gos_durations() {
        let cases = [
            ("5s", 5_000),
            ("100ms", 100),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("0", 0),
            ("0s", 0),
            ("1m1s1ms", 61_001),
            ("+2s", 2_000),
            ("1000000ns", 1),
            ("1000µs", 1),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1x", "1.2.3s", "1s ", "1e3s", "99999999999h", "+", "."] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
