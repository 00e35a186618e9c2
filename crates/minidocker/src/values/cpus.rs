//! CPU time and sets of CPUs: `--cpus 1.5`, `--cpuset-cpus 0-3,5`.

/// The least share of a CPU that the kernel takes: 1 ms of each 100 ms.
const LEAST: u64 = 10;

/// Thousandths of a CPU's time; `None` for 0, which is no limit, as in Docker.
pub(crate) fn time(text: &str) -> Result<Option<u64>, String> {
    let help = "write it as 0.5 or 2";
    if text.starts_with('-') {
        return Err(format!("a number of CPUs is not negative; {help}"));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(format!("not a number of CPUs; {help}"));
    }
    // The digit after the thousandths rounds.
    let fraction: u64 = format!("{fraction:0<4}")[..4].parse().unwrap_or(0);
    let thousandths = whole
        .parse::<u64>()
        .ok()
        .filter(|whole| *whole <= 1_000_000)
        .map(|whole| whole * 1000 + (fraction + 5) / 10)
        .ok_or_else(|| format!("more than a million CPUs; {help}"))?;
    match thousandths {
        0 if text.bytes().all(|byte| matches!(byte, b'0' | b'.')) => Ok(None),
        0..LEAST => Err("less than 0.01, the least share of a CPU that the kernel takes".to_owned()),
        thousandths => Ok(Some(thousandths)),
    }
}

/// A list of numbers and ranges, as it was written; cpuset(7)'s "list format".
pub(crate) fn set(text: &str) -> Result<String, String> {
    let wrong = || "not a list of numbers and ranges; write it as 0-3,5".to_owned();
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain { text.parse::<u32>().map_err(|_| wrong()) } else { Err(wrong()) }
    };
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if number(first)? > number(last)? {
            return Err(format!("the range {part} runs backwards; write it as 0-3,5"));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cpus_in_thousandths() {
        let cases = [
            ("1", 1000),
            ("1.5", 1500),
            ("0.25", 250),
            ("0.01", 10),
            ("64", 64000),
            ("0.3333", 333),
            ("0.6666", 667),
            ("0.0996", 100),
            ("1.0004999", 1000),
            ("1.0005", 1001),
        ];
        for (text, wanted) in cases {
            assert_eq!(time(text), Ok(Some(wanted)), "{text}");
        }
        for text in ["0", "0.0", "0.000", "00"] {
            assert_eq!(time(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn every_thousandth_is_itself() {
        for thousandths in 10..5000u64 {
            let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
            assert_eq!(time(&text), Ok(Some(thousandths)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_number_of_cpus() {
        for text in ["", ".", ".5", "2.", "x", "NaN", "inf", "1e3", "+1", "1,5", "1.5.2", " 1", "１"] {
            assert_eq!(time(text), Err("not a number of CPUs; write it as 0.5 or 2".to_owned()), "{text:?}");
        }
        assert_eq!(time("-1"), Err("a number of CPUs is not negative; write it as 0.5 or 2".to_owned()));
        assert_eq!(time("-0"), Err("a number of CPUs is not negative; write it as 0.5 or 2".to_owned()));
        assert!(time("0.001").unwrap_err().starts_with("less than 0.01"));
        assert!(time("0.0001").unwrap_err().starts_with("less than 0.01"));
        assert!(time("99999999999999999999").unwrap_err().starts_with("more than a million"));
    }

    #[test]
    fn reads_sets() {
        for text in ["0", "0-3", "0,2-3,7", "5,1"] {
            assert_eq!(set(text), Ok(text.to_owned()));
        }
        for text in ["", ",", "0,", "a", "0-", "-1", "0--3", "0-3-5", "0;1", "0 1", "4294967296"] {
            assert!(set(text).unwrap_err().starts_with("not a list"), "{text:?}");
        }
        assert_eq!(set("3-1"), Err("the range 3-1 runs backwards; write it as 0-3,5".to_owned()));
    }
}
