//! Moments and durations: RFC 3339 as images, containers and logs have it, Go's durations, and what Docker's `--since`,
//! `--until` and filters take.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECOND: i64 = 1_000_000_000;

/// So many nanoseconds after 1970.
pub fn at(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// Since 1970; what is before or after all time of 64 bits is its end.
pub fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |before| -before),
    }
}

/// RFC 3339 in UTC, `2026-11-21T20:41:34.5Z`; years from 0 to 9999.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339 {
    seconds: i64,
    nanoseconds: i64,
    all_digits: bool,
}

impl Rfc3339 {
    /// So many nanoseconds after 1970, with nine digits of the second, as `logs -t` has it, so that columns stay columns.
    pub fn aligned(nanoseconds: i64) -> Self {
        Self { all_digits: true, ..Self::short(nanoseconds) }
    }

    /// So many nanoseconds after 1970, without the zeros at the end of the second (Go's RFC3339Nano).
    pub fn short(nanoseconds: i64) -> Self {
        let (seconds, nanoseconds) = (nanoseconds.div_euclid(SECOND), nanoseconds.rem_euclid(SECOND));
        Self { seconds, nanoseconds, all_digits: false }
    }

    /// So many seconds after 1970, without a fraction.
    pub fn seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0, all_digits: false }
    }

    /// The same as bytes, without the machinery of formatting: the number of those in `space` that it took.
    pub fn write(self, space: &mut [u8; 30]) -> usize {
        let mut fraction = self.nanoseconds;
        let (day, second) = (self.seconds.div_euclid(86_400), self.seconds.rem_euclid(86_400));
        let (year, month, day) = date(day);
        space.copy_from_slice(b"0000-00-00T00:00:00.000000000Z");
        for (place, width, number) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, second / 3600),
            (14, 2, second / 60 % 60),
            (17, 2, second % 60),
            (20, 9, fraction),
        ] {
            digits(&mut space[place..place + width], number);
        }
        if self.all_digits {
            return 30;
        }
        let mut end = if fraction == 0 { 19 } else { 29 };
        while fraction != 0 && fraction % 10 == 0 {
            fraction /= 10;
            end -= 1;
        }
        space[end] = b'Z';
        end + 1
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = [0; 30];
        let size = self.write(&mut space);
        f.write_str(std::str::from_utf8(&space[..size]).map_err(|_| fmt::Error)?)
    }
}

fn digits(space: &mut [u8], mut number: i64) {
    for digit in space.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of the day so many after 1970-01-01, by eras of 400 years that begin in March, so that the leap day is a year's last.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year, if month < 10 { month + 3 } else { month - 9 });
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// Days after 1970-01-01; none where there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let from_march = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (from_march.div_euclid(400), from_march.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    (date(days) == (year, month, day)).then_some(days)
}

const HELP: &str = "write it as 42m, 2026-11-21T13:23:37Z or in seconds since 1970";

/// A moment as Docker's `--since` and `--until` take it: so long before `now` (`42m`, `1h30m`; `-5m` lies after it), a
/// date with or without time and zone (`2026-11-21`, `2026-11-21T13:23:37.5+01:00`), or seconds since 1970 with a
/// fraction. A date without a zone is in the user's: `zone` says how many seconds east of UTC that is, of a moment told in
/// its own clock's seconds since 1970.
///
/// # Errors
/// What is wrong with it, and how to write it.
pub fn moment(text: &str, now: SystemTime, zone: impl Fn(i64) -> i64) -> Result<SystemTime, String> {
    let wrong = || format!("'{text}' is no time; {HELP}");
    let since = if text == "0" {
        0
    } else if let Some(age) = duration(text) {
        nanoseconds(now).checked_sub(age).ok_or_else(wrong)?
    } else if text.trim_start_matches('-').contains('-') {
        calendar(text, zone).and_then(Calendar::nanoseconds).ok_or_else(wrong)?
    } else {
        unix(text).ok_or_else(wrong)?
    };
    Ok(at(since))
}

/// A time of RFC 3339, in nanoseconds since 1970; none where it is none, or before 1678 or after 2262.
pub fn parse(text: &str) -> Option<i64> {
    rfc3339(text)?.nanoseconds()
}

/// A time of RFC 3339, in seconds since 1970, fractions cut off; none where it is none. Docker writes the year 1 where it
/// knows no time.
pub fn seconds(text: &str) -> Option<i64> {
    Some(rfc3339(text)?.seconds)
}

fn rfc3339(text: &str) -> Option<Calendar> {
    let has_zone = text.get(10..)?.contains(['Z', 'z', '+', '-']);
    if has_zone { calendar(text, |_| 0) } else { None }
}

/// Go's durations, in nanoseconds: `1h30m`, `1.5s`, `-300ms`; none where it is none, or longer than 292 years.
pub fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut sum = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount = &rest[..end];
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return None,
        };
        sum = sum.checked_add(scaled(amount, unit)?)?;
        rest = &rest[end..];
    }
    (!text.trim_start_matches(['-', '+']).is_empty()).then_some(sign * sum)
}

/// `1.5` of a unit.
fn scaled(amount: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
    let mut part = 0_i128;
    let mut size = i128::from(unit);
    let mut divisor = 1_i128;
    for digit in fraction.bytes().take(18) {
        divisor *= 10;
        part += i128::from(digit - b'0') * (10_i128.pow(18) / divisor);
    }
    size = size * part / 10_i128.pow(18);
    whole.checked_mul(unit)?.checked_add(i64::try_from(size).ok()?)
}

/// Seconds since 1970, with a fraction of any length.
fn unix(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(before) => Some(-scaled(before, SECOND)?),
        None => scaled(text, SECOND),
    }
}

/// A date and a time of day, in UTC.
struct Calendar {
    seconds: i64,
    /// Of the second, in nanoseconds.
    fraction: i64,
}

impl Calendar {
    fn nanoseconds(self) -> Option<i64> {
        self.seconds.checked_mul(SECOND)?.checked_add(self.fraction)
    }
}

/// `2026-11-21[T13[:23[:37[.5]]]][Z|+01:00]`.
fn calendar(text: &str, local: impl Fn(i64) -> i64) -> Option<Calendar> {
    let (date, rest) = text.split_at_checked(10)?;
    let day = days(field(date, 0, 4)?, field(date, 5, 2)?, field(date, 8, 2)?)?;
    if date.as_bytes()[4] != b'-' || date.as_bytes()[7] != b'-' {
        return None;
    }
    let zone = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone);
    let of_day = match time {
        "" => 0,
        _ => clock(time.strip_prefix(['T', 't', ' '])?)?,
    };
    let shown = day * 86_400 + of_day / SECOND;
    let offset = match zone.as_bytes() {
        [] => local(shown),
        b"Z" | b"z" => 0,
        [sign, _, _, b':', _, _] => {
            let (hours, minutes) = (field(zone, 1, 2)?, field(zone, 4, 2)?);
            (hours < 24 && minutes < 60).then_some(())?;
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    Some(Calendar { seconds: shown - offset, fraction: of_day % SECOND })
}

/// `13[:23[:37[.5]]]`, in nanoseconds.
fn clock(text: &str) -> Option<i64> {
    let (text, fraction) = match text.split_once('.') {
        Some((text, fraction)) if !fraction.is_empty() && text.len() == 8 => (text, fraction),
        Some(_) => return None,
        None => (text, "0"),
    };
    let mut parts = [0; 3];
    for (at, part) in text.split(':').enumerate() {
        *parts.get_mut(at)? = (part.len() == 2).then(|| field(part, 0, 2))??;
    }
    let [hours, minutes, seconds] = parts;
    (hours < 24 && minutes < 60 && seconds < 60).then_some(())?;
    Some((hours * 3600 + minutes * 60 + seconds) * SECOND + scaled(&format!("0.{fraction}"), SECOND)?)
}

/// So many digits there.
fn field(text: &str, at: usize, size: usize) -> Option<i64> {
    let digits = text.get(at..at + size)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_as_go_shows_them() {
        for (nanoseconds, short, aligned) in [
            (0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000000Z"),
            (1, "1970-01-01T00:00:00.000000001Z", "1970-01-01T00:00:00.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_500_000_000, "2000-02-29T00:00:00.5Z", "2000-02-29T00:00:00.500000000Z"),
            (1_795_293_694_120_000_000, "2026-11-21T20:41:34.12Z", "2026-11-21T20:41:34.120000000Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z", "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z", "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(Rfc3339::short(nanoseconds).to_string(), short);
            assert_eq!(Rfc3339::aligned(nanoseconds).to_string(), aligned);
            if nanoseconds > i64::MIN {
                assert_eq!(parse(short), Some(nanoseconds), "{short}");
                assert_eq!(parse(aligned), Some(nanoseconds), "{aligned}");
            }
        }
    }

    #[test]
    fn every_day_is_found_again() {
        for day in -200_000..200_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
        for (year, month, day) in [(2026, 2, 29), (2026, 4, 31), (2026, 13, 1), (2026, 0, 1), (2026, 1, 0)] {
            assert_eq!(days(year, month, day), None);
        }
    }

    #[test]
    fn moments_are_read_as_docker_reads_them() {
        let now = at(1_000_000 * SECOND);
        let read = |text| moment(text, now, |_| 3600).map(nanoseconds);
        for (text, expected) in [
            ("42m", (1_000_000 - 2520) * SECOND),
            ("1h30m", (1_000_000 - 5400) * SECOND),
            ("-5m", (1_000_000 + 300) * SECOND),
            ("1.5s", 1_000_000 * SECOND - 1_500_000_000),
            ("300ms", 1_000_000 * SECOND - 300_000_000),
            ("0", 0),
            ("1136073600.000000001", 1_136_073_600_000_000_001),
            ("1136073600.5", 1_136_073_600_500_000_000),
            ("12345", 12_345 * SECOND),
            ("1970-01-02", 82_800 * SECOND),
            ("1970-01-02Z", 86_400 * SECOND),
            ("1970-01-02T01", 86_400 * SECOND),
            ("1970-01-02T01:02", 86_520 * SECOND),
            ("1970-01-02T01:02:03", 86_523 * SECOND),
            ("1970-01-02T01:02:03.25", 86_523 * SECOND + 250_000_000),
            ("1970-01-02T01:02:03.25Z", 90_123 * SECOND + 250_000_000),
            ("1970-01-02T01:02:03+01:00", 86_523 * SECOND),
            ("1970-01-02T01:02:03-01:30", 95_523 * SECOND),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "never",
            "2026-99-01",
            "2026-02-30",
            "1970-01-02T25",
            "1970-01-02T1",
            "1970-01-02T01:02:03.",
            "5x",
            "1970-01-02T01:02:03+1:00",
            "1.2.3",
            "99999999999999999999",
            "1h30",
            "-",
            "é-é",
            "1970-01-02Tééééé",
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("is no time; write it as 42m"), "{error}");
        }
    }

    #[test]
    fn seconds_reach_to_the_year_1() {
        for (text, number) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-21T17:12:37Z", 1_795_281_157),
            ("1969-12-31T23:59:59Z", -1),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
        ] {
            assert_eq!(seconds(text), Some(number), "{text}");
            assert_eq!(Rfc3339::seconds(number).to_string(), text);
        }
        assert_eq!(seconds("2026-11-21T18:12:37.999+01:00"), Some(1_795_281_157));
        assert_eq!(parse("0001-01-01T00:00:00Z"), None);
        for wrong in
            ["", "2026-11-21", "2026-11-21T17:12:37", "2026-13-21T17:12:37Z", "2026-11-21T17:12:37Zé"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in [
            ("24h", 86_400_000),
            ("5s", 5_000),
            ("100ms", 100),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("0", 0),
            ("0s", 0),
            ("1m1s1ms", 61_001),
            ("+2s", 2_000),
            ("-1h", -3_600_000),
            ("1000000ns", 1),
            ("1000µs", 1),
        ] {
            assert_eq!(duration(text), Some(milliseconds * 1_000_000), "{text}");
        }
        for text in
            ["", "5", "h", "s", "1d", "1h30", "1x", "1..5s", "1.2.3s", "1s ", "1e3s", "+", "-", ".", ".s"]
        {
            assert_eq!(duration(text), None, "{text:?}");
        }
        assert_eq!(duration("99999999999999999999h"), None);
    }
}
