//! Moments: as `logs -t` shows them, as Docker's files have them, and as `--since` and `--until` are typed.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::writer::nanoseconds;

const SECOND: i64 = 1_000_000_000;

/// So many nanoseconds after 1970.
pub(crate) fn at(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// RFC 3339 in UTC, `2026-11-21T20:41:34.5Z`.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339 {
    nanoseconds: i64,
    all_digits: bool,
}

impl Rfc3339 {
    /// With nine digits of the second, as `logs -t` has it, so that columns stay columns.
    pub fn aligned(nanoseconds: i64) -> Self {
        Self { nanoseconds, all_digits: true }
    }

    /// Without the zeros at the end of the second, as json-file has it (Go's RFC3339Nano).
    pub fn short(nanoseconds: i64) -> Self {
        Self { nanoseconds, all_digits: false }
    }

    /// The same as bytes, without the machinery of formatting: the number of those in `space` that it took.
    pub fn write(self, space: &mut [u8; 30]) -> usize {
        let (seconds, mut fraction) =
            (self.nanoseconds.div_euclid(SECOND), self.nanoseconds.rem_euclid(SECOND));
        let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
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

/// Year, month and day of the day so many after 1970-01-01; years of four digits are all that 64 bits of nanoseconds have.
/// By eras of 400 years that begin in March, so that the leap day is a year's last.
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
/// fraction. A date without a zone is in that of `offset`, seconds east of UTC. What is wrong with it, and how to write it.
pub fn moment(text: &str, now: SystemTime, offset: i32) -> Result<SystemTime, String> {
    let wrong = || format!("'{text}' is no time; {HELP}");
    let nanoseconds = if text == "0" {
        0
    } else if let Some(age) = duration(text) {
        nanoseconds(now).checked_sub(age).ok_or_else(wrong)?
    } else if text.trim_start_matches('-').contains('-') {
        calendar(text, offset).ok_or_else(wrong)?
    } else {
        unix(text).ok_or_else(wrong)?
    };
    Ok(at(nanoseconds))
}

/// Go's durations, in nanoseconds: `1h30m`, `1.5s`, `-300ms`.
fn duration(text: &str) -> Option<i64> {
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

/// `2026-11-21[T13[:23[:37[.5]]]][Z|+01:00]`.
fn calendar(text: &str, offset: i32) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let day = days(field(date, 0, 4)?, field(date, 5, 2)?, field(date, 8, 2)?)?;
    if date.as_bytes()[4] != b'-' || date.as_bytes()[7] != b'-' {
        return None;
    }
    let zone = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone);
    let offset = match zone.as_bytes() {
        [] => i64::from(offset),
        b"Z" | b"z" => 0,
        [sign, _, _, b':', _, _] => {
            let (hours, minutes) = (field(zone, 1, 2)?, field(zone, 4, 2)?);
            (hours < 24 && minutes < 60).then_some(())?;
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let of_day = match time {
        "" => 0,
        _ => clock(time.strip_prefix(['T', 't', ' '])?)?,
    };
    (day * 86_400 - offset).checked_mul(SECOND)?.checked_add(of_day)
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

/// A time as json-file has it, in nanoseconds; none where it is no time of RFC 3339.
pub(crate) fn parse(text: &str) -> Option<i64> {
    calendar(text, 0).filter(|_| {
        text.len() > 10
            && text.contains(['Z', 'z', '+']) | text.get(10..).is_some_and(|zone| zone.contains('-'))
    })
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
        let read = |text| moment(text, now, 3600).map(nanoseconds);
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
}
