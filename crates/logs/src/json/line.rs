//! One line of json-file: written as Docker writes it, byte for byte; read in any form that JSON has.

/// A JSON string of `bytes`, as Docker's encoder writes it: what is no UTF-8 becomes U+FFFD, and `<`, `>`, `&` and the
/// separators of JavaScript are escaped.
pub(crate) fn string(text: &mut Vec<u8>, bytes: &[u8]) {
    text.push(b'"');
    escape(text, bytes);
    text.push(b'"');
}

pub(crate) fn escape(text: &mut Vec<u8>, bytes: &[u8]) {
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
