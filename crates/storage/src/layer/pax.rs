//! Records of pax extended headers: `LENGTH KEY=VALUE\n`, POSIX.1-2001 pax, "pax Extended Header".

/// The records in their order; a later one of the same key counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records(pub(super) Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// The records of an extended header's content; or why it is none.
    pub(super) fn parse(mut text: &[u8]) -> Result<Self, &'static str> {
        const WRONG: &str = "its extended header is damaged";
        let mut all = Vec::new();
        while !text.is_empty() {
            let blank = text.iter().take(8).position(|byte| *byte == b' ').ok_or(WRONG)?;
            let length = decimal(&text[..blank]).ok_or(WRONG)?;
            let length = usize::try_from(length).map_err(|_| WRONG)?;
            let record = text.get(blank + 1..length).ok_or(WRONG)?;
            let record = record.strip_suffix(b"\n").ok_or(WRONG)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(WRONG)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            if key.is_empty() || key.contains(&0) {
                return Err(WRONG);
            }
            let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname" | b"GNU.sparse.name");
            if is_text && value.contains(&0) {
                return Err("its extended header has a name with a NUL");
            }
            all.push((key.to_vec(), value.to_vec()));
            text = &text[length..];
        }
        Ok(Self(all))
    }

    /// The last value of a key; an empty one takes back what was said before it.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let last = self.0.iter().rev().find(|(name, _)| name == key)?;
        (!last.1.is_empty()).then_some(&last.1)
    }

    /// As a whole number that is not negative.
    pub(super) fn number(&self, key: &[u8]) -> Result<Option<u64>, &'static str> {
        self.get(key)
            .map(|value| decimal(value).ok_or("its extended header has a number that is none"))
            .transpose()
    }

    /// As a time: seconds since 1970 and nanoseconds, rounded down.
    pub(super) fn time(&self, key: &[u8]) -> Result<Option<(i64, u32)>, &'static str> {
        self.get(key)
            .map(|value| time(value).ok_or("its extended header has a time that is none"))
            .transpose()
    }

    /// Extended attributes by name, the names in order.
    pub(super) fn attributes(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = std::collections::BTreeMap::new();
        for (key, value) in &self.0 {
            if let Some(name) = key.strip_prefix(XATTR) {
                all.insert(name.to_vec(), value.clone());
            }
        }
        all.into_iter().collect()
    }

    pub(super) fn add(&mut self, key: &[u8], value: impl AsRef<[u8]>) {
        self.0.push((key.to_vec(), value.as_ref().to_vec()));
    }

    /// The header's content.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (key, value) in &self.0 {
            let rest = key.len() + value.len() + 3;
            // The length counts its own digits.
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            text.extend_from_slice(length.to_string().as_bytes());
            text.push(b' ');
            text.extend_from_slice(key);
            text.push(b'=');
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        text
    }
}

/// The prefix of an extended attribute's key.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// Digits alone.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `-12.5` is 12.5 seconds before 1970: second -13 and half a second.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |place: usize| u32::from(fraction.get(place).map_or(0, |byte| byte - b'0'));
    let nanoseconds = (0..9).fold(0, |sum, place| sum * 10 + digit(place));
    let more = fraction.iter().skip(9).any(|byte| *byte != b'0');
    Some(match (negative, nanoseconds, more) {
        (false, nanoseconds, _) => (seconds, nanoseconds),
        (true, 0, false) => (-seconds, 0),
        (true, 999_999_999, true) => (-seconds - 1, 0),
        (true, nanoseconds, more) => (-seconds - 1, 1_000_000_000 - nanoseconds - u32::from(more)),
    })
}

/// A time as pax writes it: the shortest decimal number.
pub(super) fn written_time(seconds: i64, nanoseconds: u32) -> String {
    let (sign, whole, fraction) = match (seconds, nanoseconds) {
        (seconds, 0) => return seconds.to_string(),
        (seconds @ ..0, nanoseconds) => ("-", -(seconds + 1), 1_000_000_000 - nanoseconds),
        (seconds, nanoseconds) => ("", seconds, nanoseconds),
    };
    format!("{sign}{whole}.{fraction:09}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_at_every_length() {
        for length in (0..1100).chain([9990, 9995, 99_990]) {
            let mut records = Records::default();
            records.add(b"path", vec![b'n'; length]);
            records.add(b"SCHILY.xattr.user.x", b"a\nb\0=c");
            assert_eq!(Records::parse(&records.write()).unwrap(), records);
        }
    }

    #[test]
    fn refuses_what_is_no_record() {
        for text in [
            &b"5 a=\n"[..7 - 2],
            b"x",
            b" 6 a=b\n",
            b"7 a=b\n",
            b"5 a=b\n",
            b"6 a=b",
            b"6 abc\n",
            b"5 =b\n",
            b"0 a=b\n",
            b"99999999999999999999 a=b\n",
            b"+6 a=b\n",
            b"10 path=\0\n\n",
            b"8 a\0a=b\n",
        ] {
            let refused = Records::parse(text);
            assert!(
                refused.is_err() || text == b"5 a=\n",
                "{:?}: {refused:?}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn times_go_both_ways() {
        for (text, expected) in [
            ("0", (0, 0)),
            ("1.5", (1, 500_000_000)),
            ("1700000000.123456789", (1_700_000_000, 123_456_789)),
            ("-1", (-1, 0)),
            ("-0.5", (-1, 500_000_000)),
            ("-12.25", (-13, 750_000_000)),
            ("-0.000000001", (-1, 999_999_999)),
        ] {
            assert_eq!(time(text.as_bytes()), Some(expected), "{text}");
            assert_eq!(written_time(expected.0, expected.1), text);
        }
        assert_eq!(time(b"1.1234567899"), Some((1, 123_456_789)));
        assert_eq!(time(b"-1.0000000001"), Some((-2, 999_999_999)));
        for wrong in ["", "-", "1e3", "1.-5", ".5", "99999999999999999999"] {
            assert_eq!(time(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
