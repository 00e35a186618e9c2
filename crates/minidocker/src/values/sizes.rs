//! Amounts of memory as Docker's options write them: `512k`, `10m`, `1.5g`, `1073741824`; powers of 1024.

const HELP: &str = "write it as 512k, 10m or 1.5g";

/// Bytes. Negative, empty, unknown units and more than fits a file size are refused.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Err(format!("no size; {HELP}"));
    }
    if text.starts_with('-') {
        return Err(format!("a size is not negative; {HELP}"));
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (fraction.is_empty() && number.ends_with('.')) {
        return Err(format!("not a number with a unit; {HELP}"));
    }
    let shift = shift(unit).ok_or_else(|| {
        format!("unknown unit {}, known are b, k, m, g, t and p; {HELP}", step::quote(unit.trim()))
    })?;
    bytes(whole, fraction, shift).ok_or_else(|| format!("more than the kernel can count; {HELP}"))
}

/// Bytes, or -1 for no limit.
pub(crate) fn parse_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    if text.starts_with('-') {
        return Err("neither a size nor -1 for no limit; write it as 20m".to_owned());
    }
    // `bytes` keeps below i64::MAX.
    parse(text).map(|bytes| bytes.try_into().unwrap_or(i64::MAX))
}

/// The power of two that a unit stands for. `k`, `kb` and `kib` are one: Docker's options count in 1024.
fn shift(unit: &str) -> Option<u32> {
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let prefix = match unit.as_str() {
        "" | "b" => return Some(0),
        unit => unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit),
    };
    let power = ["k", "m", "g", "t", "p"].iter().position(|known| *known == prefix)?;
    Some(10 * (power as u32 + 1))
}

/// `whole.fraction << shift`, cut to whole bytes; `None` from 2^63 on.
fn bytes(whole: &str, fraction: &str, shift: u32) -> Option<u64> {
    let whole = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    // 18 digits are finer than a byte of a petabyte, and 10^18 << 50 still fits into 128 bits.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let part = if fraction.is_empty() {
        0
    } else {
        let scale = 10u128.pow(fraction.len() as u32);
        (fraction.parse::<u128>().ok()? << shift) / scale
    };
    whole.checked_add(part.try_into().ok()?).filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// An amount as Docker shows memory: powers of 1024, four digits, `1.5MiB`.
pub(crate) fn binary(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = match amount {
        amount if amount < 9.9995 => 3,
        amount if amount < 99.995 => 2,
        amount => usize::from(amount < 999.95),
    };
    let text = format!("{amount:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// An amount as Docker shows it: powers of 1000, three digits, `78.1MB`.
pub(crate) fn decimal(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    // What three digits round up to the next unit belongs there.
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    let digits = if amount < 9.995 { 2 } else { usize::from(amount < 99.95) };
    let text = format!("{amount:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_sizes_as_docker_does() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.23kB"),
            (78_123_456, "78.1MB"),
            (100_000_000, "100MB"),
            (999_600_000, "1GB"),
            (1_020_000_000, "1.02GB"),
            (9_996_000, "10MB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(decimal(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn shows_memory_as_docker_does() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (3 << 19, "1.5MiB"),
            (1_653_309, "1.577MiB"),
            (24_641_535, "23.5MiB"),
            (16_636_280_832, "15.49GiB"),
            (1_047_527_424, "999MiB"),
        ] {
            assert_eq!(binary(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn reads_dockers_sizes() {
        let cases = [
            ("0", 0),
            ("1", 1),
            ("1b", 1),
            ("10m", 10 << 20),
            ("10M", 10 << 20),
            ("10mb", 10 << 20),
            ("10MiB", 10 << 20),
            ("512k", 512 << 10),
            ("1.5g", 3 << 29),
            ("0.5k", 512),
            ("1.0005k", 1024),
            ("2t", 2 << 40),
            ("3p", 3 << 50),
            ("8191p", 8191 << 50),
            ("9223372036854775807", i64::MAX as u64),
            ("1 g", 1 << 30),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn every_number_with_every_unit_is_that_power_of_two() {
        for (unit, shift) in [("", 0), ("b", 0), ("k", 10), ("m", 20), ("g", 30), ("t", 40), ("p", 50)] {
            let mut number = 1u64;
            while number.leading_zeros() > shift + 1 {
                for text in [format!("{number}{unit}"), format!("{number}{}", unit.to_uppercase())] {
                    assert_eq!(parse(&text), Ok(number << shift), "{text}");
                    assert_eq!(parse_or_unlimited(&text), Ok((number << shift) as i64), "{text}");
                }
                number = number * 3 + 1;
            }
        }
    }

    #[test]
    fn halves_are_exact_and_long_fractions_never_overflow() {
        for shift in [("k", 10), ("m", 20), ("g", 30), ("t", 40), ("p", 50)] {
            for number in [0u64, 1, 7, 100, 1000] {
                assert_eq!(
                    parse(&format!("{number}.5{}", shift.0)),
                    Ok((number << shift.1) + (1 << (shift.1 - 1)))
                );
            }
            for digits in 1..60 {
                let text = format!("1.{}{}", "9".repeat(digits), shift.0);
                let bytes = parse(&text).unwrap();
                assert!(bytes >= 1 << shift.1 && bytes < 2 << shift.1, "{text} gave {bytes}");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        let reasons = [
            ("", "no size; write it as 512k, 10m or 1.5g"),
            ("-1", "a size is not negative; write it as 512k, 10m or 1.5g"),
            ("10x", "unknown unit x, known are b, k, m, g, t and p; write it as 512k, 10m or 1.5g"),
            ("1e30", "unknown unit e30, known are b, k, m, g, t and p; write it as 512k, 10m or 1.5g"),
            ("m", "not a number with a unit; write it as 512k, 10m or 1.5g"),
            ("1.", "not a number with a unit; write it as 512k, 10m or 1.5g"),
            ("1.m", "not a number with a unit; write it as 512k, 10m or 1.5g"),
            (".5m", "not a number with a unit; write it as 512k, 10m or 1.5g"),
            ("1.2.3m", "not a number with a unit; write it as 512k, 10m or 1.5g"),
            ("8192p", "more than the kernel can count; write it as 512k, 10m or 1.5g"),
            ("9223372036854775808", "more than the kernel can count; write it as 512k, 10m or 1.5g"),
            ("99999999999999999999999", "more than the kernel can count; write it as 512k, 10m or 1.5g"),
        ];
        for (text, reason) in reasons {
            assert_eq!(parse(text), Err(reason.to_owned()), "{text}");
        }
        for text in
            ["NaN", "inf", "+1m", "0x10", "1,5g", "10 mm", "10kk", "10bb", "１０m", "10m ", " 10m", "10\n"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn minus_one_is_no_limit_only_where_allowed() {
        assert_eq!(parse_or_unlimited("-1"), Ok(-1));
        assert_eq!(parse_or_unlimited("20m"), Ok(20 << 20));
        for text in ["-2", "-10m", "--1", "-"] {
            let reason = "neither a size nor -1 for no limit; write it as 20m";
            assert_eq!(parse_or_unlimited(text), Err(reason.to_owned()));
        }
    }
}
