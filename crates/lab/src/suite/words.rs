//! What stands in braces in a suite's words: `{cpus}`, `{time}`, `{size:10G}`. Pure.

/// What the placeholders stand for in one environment of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Filling {
    /// Processors.
    pub cpus: u32,
    /// Memory, in bytes.
    pub memory: u64,
    /// The case's `time`, in seconds, before it is scaled.
    pub time: f64,
    /// What times and amounts are multiplied by.
    pub scale: f64,
    /// A directory of its own on the environment's disk.
    pub directory: String,
    /// A directory that the host and the environment share.
    pub exchange: String,
    /// The host, as the environment reaches it.
    pub host: String,
}

const KNOWN: &str = "{cpus}, {memory}, {time}, {count:N}, {size:N}, {directory}, {exchange} and {host}";

/// The word with every placeholder replaced. One that is not known stays, as [`check`] has refused it.
pub fn fill(word: &str, filling: &Filling) -> String {
    replace(word, |name| {
        Ok(match name.split_once(':') {
            None => match name {
                "cpus" => filling.cpus.to_string(),
                "memory" => filling.memory.to_string(),
                "time" => whole(filling.time * filling.scale).to_string(),
                "directory" => filling.directory.clone(),
                "exchange" => filling.exchange.clone(),
                "host" => filling.host.clone(),
                _ => return Err(String::new()),
            },
            Some(("count", amount)) => whole(number(amount)? as f64 * filling.scale).to_string(),
            Some(("size", amount)) => blocks(number(amount)? as f64 * filling.scale).to_string(),
            Some(_) => return Err(String::new()),
        })
    })
    .unwrap_or_else(|_| word.to_owned())
}

/// Whether every placeholder of the word is known; the reason where one is not.
pub(super) fn check(word: &str) -> Result<(), String> {
    let checked = replace(word, |name| {
        let known = match name.split_once(':') {
            None => matches!(name, "cpus" | "memory" | "time" | "directory" | "exchange" | "host"),
            Some(("count" | "size", amount)) => return number(amount).map(|_| String::new()),
            Some(_) => false,
        };
        if known {
            Ok(String::new())
        } else {
            Err(format!("unknown placeholder {{{name}}}: there are {KNOWN}"))
        }
    });
    checked.map(|_| ())
}

/// Braces around anything but a word and a colon are the command's own, as a shell's `${x}` and JSON.
fn replace(word: &str, value: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let mut text = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start);
        text.push_str(before);
        let is_name = |name: &&str| {
            !name.is_empty()
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == ':')
                && !before.ends_with('$')
        };
        match after[1..].find('}').map(|end| &after[1..=end]).filter(is_name) {
            Some(name) => {
                text.push_str(&value(name)?);
                rest = &after[name.len() + 2..];
            }
            None => {
                text.push('{');
                rest = &after[1..];
            }
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// At least one: programs take 0 for "for ever".
fn whole(number: f64) -> u64 {
    (number.round() as u64).max(1)
}

/// Bytes that 128 files of 16 KiB blocks can share: sysbench refuses others.
fn blocks(bytes: f64) -> u64 {
    const STEP: u64 = 128 * 16 * 1024;
    (bytes as u64 / STEP).max(1) * STEP
}

/// `20000`, `10G`: powers of 1024.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[end..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("{text} is no amount: a number, and k, m, g or t behind it")),
    };
    let number: Option<u64> = text[..end].parse().ok();
    number
        .filter(|number| *number > 0)
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("{text} is no amount: a number, and k, m, g or t behind it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filling(scale: f64) -> Filling {
        Filling {
            cpus: 2,
            memory: 1 << 31,
            time: 60.0,
            scale,
            directory: "/d".to_owned(),
            exchange: "/x".to_owned(),
            host: "127.0.0.1".to_owned(),
        }
    }

    #[test]
    fn placeholders_are_filled_and_braces_of_others_stay() {
        let cases = [
            ("--threads={cpus}", 1.0, "--threads=2"),
            ("--time={time}", 1.0, "--time=60"),
            ("--time={time}", 0.02, "--time=1"),
            ("{count:10000}", 0.5, "5000"),
            ("{size:10G}", 1.0, "10737418240"),
            ("{size:10G}", 0.02, "213909504"),
            ("{size:1k}", 1.0, "2097152"),
            ("{directory}/{exchange}{host}", 1.0, "/d//x127.0.0.1"),
            ("${cpus} {a b} {} { {\"a\":1}", 1.0, "${cpus} {a b} {} { {\"a\":1}"),
            ("{memory}", 1.0, "2147483648"),
        ];
        for (word, scale, expected) in cases {
            assert_eq!(fill(word, &filling(scale)), expected, "{word}");
            assert_eq!(check(word), Ok(()), "{word}");
        }
        assert!(
            check("{cpu}").is_err_and(|reason| reason.starts_with("unknown placeholder {cpu}: there are"))
        );
        assert!(check("{size:10X}").is_err());
        assert!(check("{count:0}").is_err());
    }
}
