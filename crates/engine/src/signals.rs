//! Signals by name or number: `SIGTERM`, `term`, `15`, `RTMIN+3`; signal(7).

/// Linux's signals on x86_64 and aarch64 (and all but alpha, mips, parisc and sparc).
const NAMES: [(&str, i32); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
];

/// The first real-time signal that the C library leaves to programs, and the last one.
const REAL_TIME: (i32, i32) = (34, 64);

/// The names that people use, without `SIG`, each with its number; of several names for a number the first.
pub fn names() -> impl Iterator<Item = (&'static str, i32)> {
    NAMES
        .into_iter()
        .enumerate()
        .filter(|(at, (_, number))| NAMES[..*at].iter().all(|(_, other)| other != number))
        .map(|(_, named)| named)
}

/// A signal's number.
pub fn parse(text: &str) -> Result<i32, String> {
    let wrong = || "no such signal; write it as TERM, SIGKILL or 15".to_owned();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (1..=REAL_TIME.1).contains(number)).ok_or_else(wrong);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let (first, last) = REAL_TIME;
    let offset = |text: &str| text.parse::<u8>().ok().map(i32::from);
    let number = match name {
        "RTMIN" => Some(first),
        "RTMAX" => Some(last),
        name => {
            name.strip_prefix("RTMIN+").and_then(|text| offset(text).map(|offset| first + offset)).or_else(
                || name.strip_prefix("RTMAX-").and_then(|text| offset(text).map(|offset| last - offset)),
            )
        }
    };
    number.filter(|number| (first..=last).contains(number)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_names_and_numbers() {
        for text in ["SIGTERM", "TERM", "term", "sigterm", "SigTerm", "15"] {
            assert_eq!(parse(text), Ok(15), "{text}");
        }
        let cases = [
            ("KILL", 9),
            ("9", 9),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("rtmax", 64),
        ];
        for (text, number) in cases {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for (name, number) in NAMES {
            assert_eq!(parse(name), Ok(number));
            assert_eq!(parse(&format!("sig{}", name.to_lowercase())), Ok(number));
        }
    }

    #[test]
    fn refuses_others() {
        let others = [
            "",
            "0",
            "65",
            "-1",
            "-9",
            "+9",
            "9.0",
            "SIG",
            "TERMX",
            "SIGSIGTERM",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN-1",
            "99999999999",
            "TERM ",
        ];
        for text in others {
            assert_eq!(
                parse(text),
                Err("no such signal; write it as TERM, SIGKILL or 15".to_owned()),
                "{text:?}"
            );
        }
    }
}
