//! Numbers with units as people read them: `1.2 GB/s`, `3.40 ms`, `12,345 /s`; a row of a table in one unit and with
//! the same digits.

/// A unit that values are shown in, and how many digits after the point.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    factor: f64,
    /// What stands beside the number; empty for a plain one.
    pub unit: String,
    decimals: usize,
}

/// The larger and smaller units of a base unit.
fn ladder(unit: &str) -> Vec<(f64, String)> {
    let bytes = |after: &str| -> Vec<(f64, String)> {
        let names = [(1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB")];
        names.map(|(factor, name)| (factor, format!("{name}{after}"))).into()
    };
    let own =
        |steps: &[(f64, &str)]| steps.iter().map(|(factor, name)| (*factor, (*name).to_owned())).collect();
    match unit {
        "s" => own(&[(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")]),
        "B" => bytes(""),
        "B/s" => bytes("/s"),
        "1/s" => own(&[(1.0, "/s"), (1e6, "M/s"), (1e9, "G/s")]),
        "" => own(&[(1.0, "")]),
        other => own(&[(1.0, other)]),
    }
}

impl Scale {
    /// One that fits all of `values`, which are in `unit`: the smallest of them has three digits that count.
    pub fn of(values: impl IntoIterator<Item = f64>, unit: &str) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let sizes = values.iter().map(|value| value.abs()).filter(|size| *size > 0.0 && size.is_finite());
        let (least, most) =
            sizes.fold((f64::INFINITY, 0.0f64), |(least, most), size| (least.min(size), most.max(size)));
        let ladder = ladder(unit);
        let rung =
            |size: f64| ladder.iter().rev().find(|(factor, _)| size >= *factor).or(ladder.first()).cloned();
        let plain = (1.0, unit.to_owned());
        let whole = unit.is_empty() && values.iter().all(|value| value.fract() == 0.0);
        if most == 0.0 {
            let unit =
                ladder.iter().find(|(factor, _)| *factor == 1.0).map_or(plain.1, |(_, name)| name.clone());
            return Self { factor: 1.0, unit, decimals: 0 };
        }
        let (mut factor, mut name) = rung(most).unwrap_or(plain.clone());
        if least / factor < 0.01 {
            (factor, name) = rung((least * most).sqrt()).unwrap_or(plain);
        }
        let exponent = (least / factor).log10();
        // 9.996 is shown as 10.0, not as 10.00.
        let digits = (exponent + 0.0002).floor() as i32;
        let decimals = if whole { 0 } else { (2 - digits).clamp(0, 4) as usize };
        Self { factor, unit: name, decimals }
    }

    /// The same with digits enough to show the smallest of these deviations, within reason.
    #[must_use]
    pub fn finer(mut self, deviations: impl IntoIterator<Item = f64>) -> Self {
        let least = deviations.into_iter().filter(|one| *one > 0.0).fold(f64::INFINITY, f64::min);
        if least.is_finite() {
            let digits = -(least / self.factor).log10().floor();
            self.decimals = self.decimals.max(digits.clamp(0.0, 4.0) as usize).min(self.decimals + 2);
        }
        self
    }

    /// The number alone, thousands apart: `12,345`.
    pub fn number(&self, value: f64) -> String {
        grouped(&format!("{:.*}", self.decimals, value / self.factor))
    }

    /// The number with its unit.
    pub fn words(&self, value: f64) -> String {
        match self.unit.as_str() {
            "" => self.number(value),
            unit => format!("{} {unit}", self.number(value)),
        }
    }
}

/// One value in a unit that fits it: `1.24 GB/s`.
pub fn words(value: f64, unit: &str) -> String {
    Scale::of([value], unit).words(value)
}

/// A share as percent: `98 %`, `3.1 %`, `0.4 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || (percent.abs() >= 9.95 && percent.abs() < 99.5) || percent.abs() >= 99.95 {
        format!("{} %", grouped(&format!("{percent:.0}")))
    } else {
        format!("{percent:.1} %")
    }
}

/// A ratio: `1.023`, `5.20`, `31.4`, `412`, `0.0123`.
pub fn ratio(ratio: f64) -> String {
    let digits = if ratio == 0.0 { 0.0 } else { (ratio.abs().log10() + 0.0002).floor() };
    // Around 1 a percent counts, and parts of it.
    let decimals = if (0.1..2.0).contains(&ratio) { 3 } else { (2.0 - digits).clamp(0.0, 4.0) as usize };
    grouped(&format!("{ratio:.decimals$}"))
}

/// A probability: `0.008`, `0.10`, `< 0.001`.
pub fn probability(p: f64) -> String {
    match p {
        p if p < 0.001 => "< 0.001".to_owned(),
        p if p < 0.0995 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

/// Memory that was asked for, in powers of 1024: `2 GiB`.
pub fn binary(bytes: u64) -> String {
    let names = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut name = 0;
    while value >= 1024.0 && name + 1 < names.len() {
        value /= 1024.0;
        name += 1;
    }
    let text = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{text} {}", names[name])
}

/// A moment in universal time: `2026-11-22 04:05 UTC`.
pub fn moment(seconds: u64) -> String {
    let text = oci::time::Rfc3339::seconds(seconds as i64).to_string();
    format!("{} UTC", text[..16].replace('T', " "))
}

fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut text = if digits.bytes().all(|b| b == b'0') && rest.bytes().all(|b| b == b'0' || b == b'.') {
        String::new()
    } else {
        sign.to_owned()
    };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_in_a_unit_that_fits() {
        let cases = [
            (1.24e9, "B/s", "1.24 GB/s"),
            (0.0034, "s", "3.40 ms"),
            (300.0, "s", "300 s"),
            (12_345.0, "1/s", "12,345 /s"),
            (2_340_000.0, "1/s", "2.34 M/s"),
            (0.5, "1/s", "0.500 /s"),
            (0.0, "s", "0 s"),
            (0.0, "B", "0 B"),
            (9.996, "s", "10.0 s"),
            (4096.0, "B", "4.10 kB"),
            (64_000.0, "", "64,000"),
            (1.0, "", "1"),
            (1.5, "", "1.50"),
            (1.5, "processors", "1.50 processors"),
            (-0.25, "s", "-250 ms"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(words(value, unit), text);
        }
    }

    #[test]
    fn a_row_has_one_unit_and_the_same_digits() {
        let scale = Scale::of([5.15, 12.58, 31.34], "s");
        assert_eq!((scale.number(31.34), scale.words(5.15)), ("31.34".to_owned(), "5.15 s".to_owned()));
        let scale = Scale::of([0.003, 3.0], "s");
        assert_eq!((scale.number(0.003), scale.number(3.0)), ("3.00".to_owned(), "3,000.00".to_owned()));
        assert_eq!(Scale::of([11.9, 62.8], "s").finer([0.04, 0.5]).words(11.9), "11.90 s");
        assert_eq!(Scale::of([], "1/s").words(0.0), "0 /s");
    }

    #[test]
    fn shares_ratios_and_moments() {
        assert_eq!(
            [percent(0.98), percent(0.031), percent(0.9971), percent(1.0), percent(0.0)],
            ["98 %", "3.1 %", "99.7 %", "100 %", "0 %"]
        );
        assert_eq!(
            [ratio(1.0), ratio(5.204), ratio(31.44), ratio(412.3), ratio(0.0123), ratio(0.982)],
            ["1.000", "5.20", "31.4", "412", "0.0123", "0.982"]
        );
        assert_eq!([probability(0.0079), probability(0.1), probability(1e-5)], ["0.008", "0.10", "< 0.001"]);
        assert_eq!([binary(2 << 30), binary(1536), binary(10)], ["2 GiB", "1.5 KiB", "10 B"]);
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        assert_eq!(moment(951_868_740), "2000-02-29 23:59 UTC");
    }
}
