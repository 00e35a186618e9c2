//! One line of json-file: written as Docker writes it, byte for byte; read in any form that JSON has.

use memchr::memchr2;
use oci::time::{self, Rfc3339};
use serde::Deserialize;

use crate::Stream;

/// The end of a line after its text: the same for all that came at one time.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    of: Option<(Stream, i64)>,
    text: Vec<u8>,
}

impl Ending {
    /// For that stream and time, with these attributes, which are always the same.
    pub(crate) fn of(&mut self, stream: Stream, time: i64, attributes: &[u8]) -> &[u8] {
        if self.of != Some((stream, time)) {
            self.of = Some((stream, time));
            self.text.clear();
            self.text.extend_from_slice(b"\",\"stream\":\"");
            self.text.extend_from_slice(stream.name().as_bytes());
            self.text.push(b'"');
            if !attributes.is_empty() {
                self.text.extend_from_slice(b",\"attrs\":");
                self.text.extend_from_slice(attributes);
            }
            self.text.extend_from_slice(b",\"time\":\"");
            let mut space = [0; 30];
            let size = Rfc3339::short(time).write(&mut space);
            self.text.extend_from_slice(&space[..size]);
            self.text.extend_from_slice(b"\"}\n");
        }
        &self.text
    }
}

/// What a line says, as far as it is kept from one to the next: reading the same again is not done again.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// What was printed.
    pub(crate) log: Vec<u8>,
    /// A JSON object, or empty.
    pub(crate) attributes: String,
    time: Vec<u8>,
    nanoseconds: i64,
}

/// Any form of a line, for what is not written as Docker writes it.
#[derive(Deserialize)]
struct Any {
    #[serde(default)]
    log: String,
    stream: String,
    #[serde(default)]
    attrs: Option<serde_json::Value>,
    time: String,
}

impl Entry {
    /// Reads a line, without its line feed: where it was printed, and when. None where it is none of json-file.
    pub(crate) fn read(&mut self, line: &[u8]) -> Option<(Stream, i64)> {
        self.log.clear();
        match self.quickly(line) {
            Some(read) => Some(read),
            None => self.slowly(line),
        }
    }

    /// In the one form that Docker and we write.
    fn quickly(&mut self, line: &[u8]) -> Option<(Stream, i64)> {
        let rest = self.unescape(line.strip_prefix(b"{\"log\":\"")?)?;
        let (stream, rest) = match rest.strip_prefix(b",\"stream\":\"stdout\"") {
            Some(rest) => (Stream::Stdout, rest),
            None => (Stream::Stderr, rest.strip_prefix(b",\"stream\":\"stderr\"")?),
        };
        let rest = match rest.strip_prefix(b",\"attrs\":") {
            None => {
                self.attributes.clear();
                rest
            }
            // What an earlier line had was looked at then.
            Some(rest) if !self.attributes.is_empty() => rest.strip_prefix(self.attributes.as_bytes())?,
            Some(_) => return None,
        };
        let time = rest.strip_prefix(b",\"time\":\"")?.strip_suffix(b"\"}")?;
        if self.time != time {
            self.nanoseconds = time::parse(std::str::from_utf8(time).ok()?)?;
            self.time.clear();
            self.time.extend_from_slice(time);
        }
        Some((stream, self.nanoseconds))
    }

    /// Takes a JSON string up to its end: what follows that. None where it has an escape that Docker does not write.
    fn unescape<'a>(&mut self, mut text: &'a [u8]) -> Option<&'a [u8]> {
        loop {
            let at = memchr2(b'"', b'\\', text)?;
            self.log.extend_from_slice(&text[..at]);
            if text[at] == b'"' {
                return Some(&text[at + 1..]);
            }
            let (byte, size) = match (text.get(at + 1)?, text.get(at + 2..at + 6)) {
                (b'n', _) => (b'\n', 2),
                (b'r', _) => (b'\r', 2),
                (b't', _) => (b'\t', 2),
                (b'"', _) => (b'"', 2),
                (b'\\', _) => (b'\\', 2),
                (b'u', Some([b'0', b'0', high @ b'0'..=b'7', low])) => {
                    ((high - b'0') << 4 | char::from(*low).to_digit(16)? as u8, 6)
                }
                (b'u', Some(b"fffd")) => {
                    self.log.extend_from_slice("\u{fffd}".as_bytes());
                    text = &text[at + 6..];
                    continue;
                }
                _ => return None,
            };
            self.log.push(byte);
            text = &text[at + size..];
        }
    }

    fn slowly(&mut self, line: &[u8]) -> Option<(Stream, i64)> {
        let any: Any = serde_json::from_slice(line).ok()?;
        let stream = match any.stream.as_str() {
            "stdout" => Stream::Stdout,
            "stderr" => Stream::Stderr,
            _ => return None,
        };
        let time = time::parse(&any.time)?;
        self.log.clear();
        self.log.extend_from_slice(any.log.as_bytes());
        self.attributes = match any.attrs {
            Some(attributes) if attributes.is_object() => attributes.to_string(),
            _ => String::new(),
        };
        Some((stream, time))
    }
}

/// A JSON string of `bytes`, as Docker's encoder writes it: what is no UTF-8 becomes U+FFFD, and `<`, `>`, `&` and the
/// separators of JavaScript are escaped.
pub(crate) fn string(text: &mut Vec<u8>, bytes: &[u8]) {
    text.push(b'"');
    escape(text, bytes);
    text.push(b'"');
}

/// Most output is plain text, of which many bytes are looked at together; the rest goes byte by byte.
pub(crate) fn escape(text: &mut Vec<u8>, bytes: &[u8]) {
    const TOGETHER: usize = 32;
    let is_plain = |part: &&[u8]| !part.iter().fold(false, |other, byte| other | !plain_letter(*byte));
    let plain = bytes.chunks_exact(TOGETHER).take_while(is_plain).count() * TOGETHER;
    text.extend_from_slice(&bytes[..plain]);
    let rest = &bytes[plain..];
    if is_plain(&rest) {
        text.extend_from_slice(rest);
    } else {
        escape_each(text, rest);
    }
}

/// A letter of ASCII that stands for itself; what is above ASCII is below zero as an i8. Without branches, so that the
/// compiler looks at many at once.
fn plain_letter(byte: u8) -> bool {
    (byte as i8 >= 0x20) & (byte != b'"') & (byte != b'\\') & (byte != b'<') & (byte != b'>') & (byte != b'&')
}

fn escape_each(text: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut plain = 0;
        let mut at = 0;
        while at < valid.len() {
            let byte = valid[at];
            let separator = byte == 0xe2 && valid[at + 1] == 0x80 && valid[at + 2] & 0xfe == 0xa8;
            if !ESCAPED[byte as usize] && !separator {
                at += 1;
                continue;
            }
            text.extend_from_slice(&valid[plain..at]);
            match byte {
                b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\r' => text.extend_from_slice(b"\\r"),
                _ if separator => {
                    text.extend_from_slice(if valid[at + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    at += 2;
                }
                _ => text.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]),
            }
            at += 1;
            plain = at;
        }
        text.extend_from_slice(&valid[plain..]);
        // Go's decoder takes one byte at a time of what is invalid.
        for _ in chunk.invalid() {
            text.extend_from_slice(b"\\ufffd");
        }
    }
}

/// The bytes of ASCII that are escaped.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[b'<' as usize] = true;
    table[b'>' as usize] = true;
    table[b'&' as usize] = true;
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_the_same_wherever_it_stands() {
        let wild = "a\"\\<>&\n\r\t\u{1}\u{7f}é\u{2028}\u{2029}\u{fffd}😀".as_bytes();
        for before in 0..70 {
            for after in [0, 1, 40] {
                let bytes = [&vec![b'x'; before][..], wild, b"\xff\xe2\x82", &vec![b'y'; after]].concat();
                let (mut quick, mut each) = (Vec::new(), Vec::new());
                escape(&mut quick, &bytes);
                escape_each(&mut each, &bytes);
                assert_eq!(quick, each);
                let quoted = [b"\"", &quick[..], b"\""].concat();
                let read: String = serde_json::from_slice(&quoted).unwrap();
                let start = String::from_utf8_lossy(&bytes[..before + wild.len()]);
                // One for each byte that is none of UTF-8, as Go has it.
                assert_eq!(read, format!("{start}\u{fffd}\u{fffd}\u{fffd}{}", "y".repeat(after)));
            }
        }
    }

    #[test]
    fn quick_and_slow_reading_agree() {
        let line = br#"{"log":"a\u003cb\u0009\"\\\ufffd\n","stream":"stderr","attrs":{"a":"b"},"time":"1970-01-01T00:00:01.5Z"}"#;
        let (mut first, mut slow) = (Entry::default(), Entry::default());
        assert_eq!(first.read(line), Some((Stream::Stderr, 1_500_000_000)));
        assert_eq!(slow.slowly(line), Some((Stream::Stderr, 1_500_000_000)));
        first.log.clear();
        assert_eq!(first.quickly(line), Some((Stream::Stderr, 1_500_000_000)));
        assert_eq!((&first.log, &first.attributes), (&slow.log, &slow.attributes));
    }
}
