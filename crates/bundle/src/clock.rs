//! The time of day as RFC 3339 has it, in UTC with nanoseconds: `2026-11-21T10:17:05.123456789Z`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
pub(crate) fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    text(since.as_secs(), since.subsec_nanos())
}

fn text(seconds: u64, nanos: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// The date of a day counted from 1970-01-01, by years of 365 or 366 days and their months.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_time() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000000Z");
        // date -u -d 2024-02-29T23:59:59 +%s
        assert_eq!(text(1_709_251_199, 5), "2024-02-29T23:59:59.000000005Z");
        assert_eq!(text(1_709_251_200, 0), "2024-03-01T00:00:00.000000000Z");
        // date -u -d 2100-12-31 +%s
        assert_eq!(text(4_133_894_400, 0), "2100-12-31T00:00:00.000000000Z");
    }
}
