//! Whole numbers within bounds.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A number of `range`. `1e3`, `+1` and spaces are no numbers.
pub(crate) fn within<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("not a whole number; write it as {}", range.start()));
    }
    match text.parse::<T>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("not from {} to {}", range.start(), range.end())),
    }
}

/// A number of `range`, or 0, which stands for not set, as in Docker.
pub(crate) fn within_or_unset<T>(text: &str, range: RangeInclusive<T>) -> Result<Option<T>, String>
where
    T: FromStr + PartialOrd + Display + Default,
{
    if text == "0" { Ok(None) } else { within(text, range).map(Some) }
}

/// A number from 1 on, -1 for no limit, 0 for not set: `--pids-limit`.
pub(crate) fn limit(text: &str) -> Result<Option<i64>, String> {
    if text == "-1" {
        return Ok(Some(-1));
    }
    within_or_unset(text, 1..=i64::MAX)
        .map_err(|_| "neither a number from 1 on nor -1 for no limit; write it as 100".to_owned())
}

/// An octal number of permission bits.
pub(crate) fn octal(text: &str, most: u32) -> Result<u32, String> {
    let wrong = || format!("not an octal number up to {most:o}; write it as {:o}", most & 0o022);
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= most).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_the_bounds() {
        assert_eq!(within("-1000", -1000..=1000), Ok(-1000));
        assert_eq!(within("1000", -1000..=1000), Ok(1000));
        assert_eq!(within("1001", -1000..=1000), Err("not from -1000 to 1000".to_owned()));
        assert_eq!(within("99999999999999999999", 0..=u64::MAX), Err(format!("not from 0 to {}", u64::MAX)));
        assert_eq!(within("-1", 0u64..=100), Err("not from 0 to 100".to_owned()));
        for text in ["", "-", "+1", "1.0", "1e3", " 1", "1 ", "0x10", "x"] {
            assert_eq!(within(text, 2..=9), Err("not a whole number; write it as 2".to_owned()), "{text:?}");
        }
    }

    #[test]
    fn zero_is_unset_and_minus_one_is_no_limit() {
        assert_eq!(within_or_unset("0", 10u16..=1000), Ok(None));
        assert_eq!(within_or_unset("10", 10u16..=1000), Ok(Some(10)));
        assert_eq!(within_or_unset("9", 10u16..=1000), Err("not from 10 to 1000".to_owned()));
        assert_eq!((limit("0"), limit("-1"), limit("7")), (Ok(None), Ok(Some(-1)), Ok(Some(7))));
        for text in ["-2", "many", "", "1.5"] {
            assert!(limit(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn reads_octal_modes() {
        assert_eq!(
            (octal("022", 0o777), octal("0", 0o777), octal("777", 0o777)),
            (Ok(0o22), Ok(0), Ok(0o777))
        );
        for text in ["", "8", "1000", "-1", "0o22", "rw", "99999999999999999"] {
            assert_eq!(
                octal(text, 0o777),
                Err("not an octal number up to 777; write it as 22".to_owned()),
                "{text:?}"
            );
        }
    }
}
