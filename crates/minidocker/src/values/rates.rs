//! `--network-rate in=10mbit,out=2mbit,burst=64k`, and single rates: units as tc(8) has them, but for those that mean
//! bits to some and bytes to others.

use engine::request::{Rate, RateChange};

use super::sizes;

const HELP: &str = "write it as 500kbit, 10mbit or 1gbit";

/// `--network-rate`: a rate for both directions, or `in=`, `out=` and `burst=`.
pub(crate) fn rates(text: &str) -> Result<RateChange, String> {
    let mut asked = RateChange::default();
    if !text.contains('=') {
        let both = rate_or_none(text)?;
        return Ok(RateChange { into: Some(both), out_of: Some(both), ..asked });
    }
    for part in text.split(',') {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("no name for {part}; write it as in=10mbit,out=2mbit"))?;
        let twice = match key {
            "in" => asked.into.replace(rate_or_none(value)?).is_some(),
            "out" => asked.out_of.replace(rate_or_none(value)?).is_some(),
            "burst" => asked.burst.replace(burst(value)?).is_some(),
            other => return Err(format!("unknown {}, known are in, out and burst", step::quote(other))),
        };
        if twice {
            return Err(format!("{key} is given twice"));
        }
    }
    Ok(asked)
}

/// `--network-share`, `--rate`: a rate, or `none`.
pub(crate) fn rate_or_none(text: &str) -> Result<Option<Rate>, String> {
    if text == "none" { Ok(None) } else { rate(text).map(Some) }
}

/// Bits a second.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    if text.is_empty() {
        return Err(format!("no rate; {HELP}"));
    }
    if text.starts_with('-') {
        return Err(format!("a rate is not negative; {HELP}"));
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let torn = whole.is_empty() || fraction.contains('.') || number.ends_with('.') || fraction.len() > 9;
    if torn {
        return Err(format!("not a number with a unit; {HELP}"));
    }
    let unit = factor(unit)?;
    let scale = 10_u128.pow(fraction.len() as u32);
    let digits: Option<u128> = format!("{whole}{fraction}").parse().ok();
    let bits = digits.and_then(|digits| digits.checked_mul(unit.into())).map(|scaled| scaled / scale);
    match bits.and_then(|bits| u64::try_from(bits).ok()) {
        Some(bits) if Rate::BOUNDS.contains(&bits) => Ok(Rate(bits)),
        _ => Err(format!("not from {} to {}", Rate(*Rate::BOUNDS.start()), Rate(*Rate::BOUNDS.end()))),
    }
}

/// The bits of a unit. Without one a number is bits, as in tc(8).
fn factor(unit: &str) -> Result<u64, String> {
    let lower = unit.to_ascii_lowercase();
    // tc(8) reads 10mbps as bytes, most people as bits; 10mb is a size.
    let unclear = || {
        let bare = lower.trim_end_matches("ps").trim_end_matches("/s").trim_end_matches('b');
        Err(format!("{unit} is bits to some and bytes to others; write {bare}bit or {bare}byte"))
    };
    let (prefix, eight) = match lower.as_str() {
        "" => return Ok(1),
        word if word.ends_with("bit") => (&word[..word.len() - 3], 1),
        word if word.ends_with("byte") => (&word[..word.len() - 4], 8),
        word if word.ends_with("bps") || word.ends_with('b') || word.ends_with("b/s") => return unclear(),
        word => (word, 0),
    };
    let size = match prefix {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        _ => 0,
    };
    match size * eight {
        0 => Err(format!("unknown unit {}; {HELP}", step::quote(unit))),
        bits => Ok(bits),
    }
}

/// What may go at once: a frame at least.
fn burst(text: &str) -> Result<u64, String> {
    match sizes::parse(text)? {
        bytes if (2 << 10..=1 << 30).contains(&bytes) => Ok(bytes),
        _ => Err("a burst is not from 2k to 1g; write it as 64k".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_tc_reads_them() {
        for (text, bits) in [
            ("10mbit", 10_000_000),
            ("1gbit", 1_000_000_000),
            ("500kbit", 500_000),
            ("1.5mbit", 1_500_000),
            ("1Mbyte", 8_000_000),
            ("10MBit", 10_000_000),
            ("100000", 100_000),
            ("64kibit", 65_536),
            ("1tbit", 1_000_000_000_000),
            ("0.000009gbit", 9_000),
        ] {
            assert_eq!(rate(text).unwrap(), Rate(bits), "{text}");
        }
    }

    #[test]
    fn bad_rates_are_refused_with_the_way_out() {
        for (text, why) in [
            ("", "no rate"),
            ("x", "not a number"),
            ("-1mbit", "not negative"),
            ("1..2mbit", "not a number"),
            ("1.mbit", "not a number"),
            ("10mbps", "mbps is bits to some and bytes to others; write mbit or mbyte"),
            ("10m", "unknown unit m"),
            ("10MB/s", "write mbit or mbyte"),
            ("10xbit", "unknown unit xbit"),
            ("0", "not from 8kbit to 1tbit"),
            ("7999bit", "not from 8kbit to 1tbit"),
            ("2tbit", "not from 8kbit to 1tbit"),
            ("99999999999999999999tbit", "not from"),
            ("10 mbit", "unknown unit"),
        ] {
            let said = rate(text).unwrap_err();
            assert!(said.contains(why) && !said.contains('\n'), "{text}: {said}");
        }
    }

    #[test]
    fn a_change_names_what_it_changes() {
        let one = |text| rates(text).unwrap();
        let ten = Some(Rate(10_000_000));
        assert_eq!(one("10mbit"), RateChange { into: Some(ten), out_of: Some(ten), burst: None });
        assert_eq!(one("none"), RateChange { into: Some(None), out_of: Some(None), burst: None });
        assert_eq!(one("in=10mbit"), RateChange { into: Some(ten), out_of: None, burst: None });
        assert_eq!(
            one("in=none,out=10mbit,burst=64k"),
            RateChange { into: Some(None), out_of: Some(ten), burst: Some(64 << 10) }
        );
        for (text, why) in [
            ("in=10mbit,in=1mbit", "in is given twice"),
            ("up=10mbit", "unknown up, known are in, out and burst"),
            ("in=10mbit,2mbit", "no name for 2mbit"),
            ("in=", "no rate"),
            ("burst=1", "from 2k to 1g"),
            ("burst=2g", "from 2k to 1g"),
        ] {
            let said = rates(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
