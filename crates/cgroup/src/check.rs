//! Reading a limit back: what a file must say after the write, and which roundings are the kernel's right.
//! The kernel takes some values without a word and keeps another: only what it reads afterwards is in force.

use std::path::PathBuf;

use ::step::Failure;

use crate::kernfs;
use crate::limits::{Amount, parse_list};

/// What a file must read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Bytes, which the kernel rounds down to pages of `page` bytes.
    Bytes {
        /// The limit.
        amount: Amount,
        /// The most that rounding may take off.
        page: u64,
    },
    /// Numbers in this order at the start of the file, exactly: `50000 100000`.
    Words(Vec<Amount>),
    /// A list of processors or memory nodes, however written: `0-1` is `0,1`.
    List(String),
    /// A line `key value` among others; a `value` of [`Amount::Max`] also where there is no such line.
    Entry(String, Amount),
    /// A line `key name=value …` with these among others; no line is all `max`.
    Fields(String, Vec<(&'static str, Amount)>),
    /// Exactly these lines, in any order.
    Lines(Vec<String>),
}

/// The largest page of any architecture that we run on: what rounding may take off a limit in bytes.
pub(crate) const PAGE: u64 = 64 << 10;

/// From here on a number of bytes is no limit: v1 has no other word for it.
const ENDLESS: u64 = i64::MAX as u64 - (1 << 20);

impl Expect {
    /// Bytes, rounded to pages.
    pub(crate) fn bytes(amount: Amount) -> Self {
        Self::Bytes { amount, page: PAGE }
    }

    /// One number.
    pub(crate) fn number(number: u64) -> Self {
        Self::Words(vec![Amount::Of(number)])
    }

    /// Whether `text` says this.
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Bytes { amount, page } => match (amount, read_amount(text.trim())) {
                (Amount::Max, Some(read)) => read == Amount::Max,
                (Amount::Of(want), Some(Amount::Of(read))) => read <= *want && want - read < *page,
                (Amount::Of(want), Some(Amount::Max)) => *want >= ENDLESS,
                (_, None) => false,
            },
            Self::Words(words) => {
                let mut read = text.split_ascii_whitespace().map(read_amount);
                words.iter().all(|want| read.next() == Some(Some(*want)))
            }
            Self::List(list) => parse_list(list).is_some() && parse_list(list) == parse_list(text.trim()),
            Self::Entry(key, value) => match line_of(text, key) {
                Some(rest) => read_amount(rest) == Some(*value),
                None => *value == Amount::Max,
            },
            Self::Fields(key, fields) => {
                let line = line_of(text, key).unwrap_or_default();
                fields.iter().all(|(name, want)| {
                    let mut pairs = line.split_ascii_whitespace().filter_map(|pair| pair.split_once('='));
                    match pairs.find(|(other, _)| other == name) {
                        Some((_, value)) => read_amount(value) == Some(*want),
                        None => *want == Amount::Max,
                    }
                })
            }
            Self::Lines(lines) => {
                let mut read: Vec<&str> = text.lines().collect();
                let mut want: Vec<&str> = lines.iter().map(String::as_str).collect();
                read.sort_unstable();
                want.sort_unstable();
                read == want
            }
        }
    }
}

/// The rest of the line that begins with `key`.
fn line_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, rest) = line.split_once([' ', '\t'])?;
        (name == key).then(|| rest.trim())
    })
}

/// A number as the kernel prints one; `max`, `-1` and v1's largest number are no limit.
fn read_amount(word: &str) -> Option<Amount> {
    match word {
        "max" | "-1" => Some(Amount::Max),
        _ => word.parse().ok().map(|number| if number >= ENDLESS { Amount::Max } else { Amount::Of(number) }),
    }
}

/// A file and what it must read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The file.
    pub file: PathBuf,
    /// What it reads.
    pub expect: Expect,
    /// What was written, for the report.
    pub written: String,
    /// What is checked where the kernel has no such file.
    pub otherwise: Option<Box<Check>>,
    /// Whether the kernel may rightly have no such file.
    pub optional: bool,
}

impl Check {
    /// Reads the file and compares. A file that is missing is an error, unless it may be or `otherwise` has an answer.
    pub fn verify(&self) -> Result<(), Failure> {
        let text = match (kernfs::read(&self.file), &self.otherwise) {
            (Ok(text), _) => text,
            (Err(error), Some(other)) if error.kind() == std::io::ErrorKind::NotFound => {
                return other.verify();
            }
            (Err(error), _) if self.optional && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            (Err(error), _) => return Err(Failure::new("cgroup.check", self.file.to_string_lossy(), error)),
        };
        if self.expect.holds(&text) {
            return Ok(());
        }
        let reason = format!("reads {:?} after {:?} was written", text.trim(), self.written);
        Err(Failure::because("cgroup.check", self.file.to_string_lossy(), reason)
            .hint("the kernel keeps another value than it was given: ask for one that it keeps"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_down_to_pages_and_no_further() {
        let expect = Expect::Bytes { amount: Amount::Of(10_000), page: 4096 };
        assert!(expect.holds("8192\n"));
        assert!(expect.holds("10000\n"));
        assert!(!expect.holds("4096\n"));
        assert!(!expect.holds("12288\n"), "never up");
        assert!(!expect.holds("max\n"));
        assert!(!expect.holds(""));
    }

    #[test]
    fn no_limit_has_three_names() {
        let expect = Expect::bytes(Amount::Max);
        assert!(expect.holds("max\n") && expect.holds("-1\n") && expect.holds("9223372036854771712\n"));
        assert!(!expect.holds("1048576\n"));
    }

    #[test]
    fn words_lists_entries_fields_lines() {
        let bandwidth = Expect::Words(vec![Amount::Of(50_000), Amount::Of(100_000)]);
        assert!(bandwidth.holds("50000 100000\n"));
        assert!(!bandwidth.holds("50000 200000\n") && !bandwidth.holds("50000\n"));
        assert!(Expect::Words(vec![Amount::Max]).holds("max 100000\n"));
        assert!(Expect::List("0,1".into()).holds("0-1\n"));
        assert!(!Expect::List("0,1".into()).holds("0\n") && !Expect::List("0".into()).holds("\n"));
        let rate = Expect::Entry("8:0".into(), Amount::Of(1 << 20));
        assert!(rate.holds("7:0 5\n8:0 1048576\n"));
        assert!(!rate.holds("7:0 1048576\n"));
        assert!(Expect::Entry("8:0".into(), Amount::Max).holds(""));
        let io = Expect::Fields("8:0".into(), vec![("rbps", Amount::Of(5)), ("wiops", Amount::Max)]);
        assert!(io.holds("8:0 rbps=5 wbps=max riops=9 wiops=max\n"));
        assert!(!io.holds("8:0 rbps=5 wiops=4\n") && !io.holds(""));
        let lines = Expect::Lines(vec!["c 1:3 rwm".into(), "c 1:5 rwm".into()]);
        assert!(lines.holds("c 1:5 rwm\nc 1:3 rwm\n"));
        assert!(!lines.holds("c 1:3 rwm\n") && !lines.holds("a *:* rwm\nc 1:3 rwm\nc 1:5 rwm\n"));
    }

    #[test]
    fn a_difference_is_told_with_both_values() {
        let check = Check {
            file: "/proc/sys/kernel/ostype".into(),
            expect: Expect::number(5),
            written: "5".into(),
            otherwise: None,
            optional: false,
        };
        let failure = check.verify().unwrap_err();
        assert_eq!(
            failure.to_string(),
            "cgroup.check on /proc/sys/kernel/ostype: reads \"Linux\" after \"5\" was written"
        );
        let other = Check { file: "/proc/no-such-file".into(), otherwise: Some(Box::new(check)), ..other() };
        assert_eq!(other.verify().unwrap_err().target, "/proc/sys/kernel/ostype");
        Check { file: "/proc/no-such-file".into(), optional: true, ..self::other() }.verify().unwrap();
    }

    fn other() -> Check {
        Check {
            file: PathBuf::new(),
            expect: Expect::number(5),
            written: String::new(),
            otherwise: None,
            optional: false,
        }
    }
}
