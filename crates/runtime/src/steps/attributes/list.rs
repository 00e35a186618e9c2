//! Numbers of processors or memory nodes as cpuset(7) lists them: `0-3,7`.

use std::fmt;

/// No machine has processors or nodes of higher numbers; runc's own bound. It keeps a slip from taking memory.
const HIGHEST: usize = 64 * 1024;

/// A list of numbers that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    /// Bit by bit, from the lowest of the first word on: a kernel bitmap.
    words: Vec<usize>,
}

impl List {
    /// Parses a list; spaces and empty places between commas mean nothing, and a list of nothing is none.
    ///
    /// Errors: what is wrong with the text.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut words = Vec::new();
        for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("the range {range} runs backwards"));
            }
            for n in first..=last {
                let (word, bit) = (n / usize::BITS as usize, n % usize::BITS as usize);
                words.resize(words.len().max(word + 1), 0);
                words[word] |= 1 << bit;
            }
        }
        Ok((!words.is_empty()).then_some(Self { words }))
    }

    /// How many numbers.
    pub(super) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// As the kernel takes it.
    pub(super) fn words(&self) -> &[usize] {
        &self.words
    }
}

fn number(text: &str) -> Result<usize, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    match number {
        Some(number) if number <= HIGHEST => Ok(number),
        _ if digits => Err(format!("{text} is above {HIGHEST}")),
        _ => Err(format!("\"{}\" is no number; a list looks like 0-3,7", text.escape_debug())),
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |n: usize| self.words[n / usize::BITS as usize] >> (n % usize::BITS as usize) & 1 == 1;
        let end = self.words.len() * usize::BITS as usize;
        let mut next = 0;
        let mut comma = "";
        while let Some(first) = (next..end).find(|n| has(*n)) {
            next = (first..end).find(|n| !has(*n)).unwrap_or(end);
            match next - 1 {
                last if last == first => write!(f, "{comma}{first}")?,
                last => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<usize> {
        List::parse(text).unwrap().unwrap().words
    }

    #[test]
    fn reads_lists_as_the_kernel_writes_them() {
        assert_eq!(words("0-3,7"), [0x8f]);
        assert_eq!(words(" 7 ,, 0-3,2"), [0x8f]);
        let wide = words("63-64,130");
        assert_eq!(wide, [1 << 63, 1, 4]);
        for text in ["", " ", ",,"] {
            assert_eq!(List::parse(text), Ok(None), "{text:?}");
        }
        for text in ["0", "0-3,7", "63-64,130", "0-127", "65536"] {
            assert_eq!(List::parse(text).unwrap().unwrap().to_string(), text);
        }
        assert_eq!(List::parse("3,1,2,0,0-1").unwrap().unwrap().to_string(), "0-3");
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, reason) in [
            ("3-1", "the range 3-1 runs backwards"),
            ("0-9876543210", "9876543210 is above 65536"),
            ("99999999999999999999999", "99999999999999999999999 is above 65536"),
            ("a", "\"a\" is no number; a list looks like 0-3,7"),
            ("1-", "\"\" is no number; a list looks like 0-3,7"),
            ("-1", "\"\" is no number; a list looks like 0-3,7"),
            ("1-2-3", "\"2-3\" is no number; a list looks like 0-3,7"),
            ("+1", "\"+1\" is no number; a list looks like 0-3,7"),
        ] {
            assert_eq!(List::parse(text), Err(reason.to_owned()));
        }
    }
}
