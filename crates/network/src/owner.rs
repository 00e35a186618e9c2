//! Whose an address is, as the text of a symbolic link.
//!
//! The id's 32 bytes are written in 43 digits of base64 (RFC 4648, section 5) and not in 64 of hexadecimal: with a
//! usual name the text then has at most 59 bytes, which ext4 keeps in the inode. A longer one takes a block, and
//! removing that took 2.8 ms instead of 14 us where /run was no tmpfs.

use std::fmt;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The owner of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// 64 hexadecimal digits, lower case.
    pub(crate) id: String,
    /// For messages, and for those who ask for the container's address.
    pub(crate) name: String,
    /// Further names, on one network.
    pub(crate) aliases: Vec<String>,
}

impl Owner {
    /// The owner, if `id` is 64 hexadecimal digits, lower case.
    pub(crate) fn new(id: &str, name: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = id.len() == 64 && id.bytes().all(digit);
        fits.then(|| Self { id: id.to_owned(), name: name.to_owned(), aliases: Vec::new() })
    }

    /// Reads a link's text. One that is none of ours is an owner whom nobody knows.
    pub(crate) fn read(text: &str) -> Self {
        let mut words = text.split(' ');
        let (id, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let printable = |text: &str| text.chars().filter(|c| !c.is_control()).collect();
        let aliases = words.filter(|word| !word.is_empty()).map(printable).collect();
        Self { id: unpack(id).unwrap_or_else(|| printable(id)), name: printable(name), aliases }
    }

    /// The link's text: the id, the name, the aliases.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} {}", pack(&self.id), self.name);
        for alias in &self.aliases {
            text.push(' ');
            text.push_str(alias);
        }
        text
    }

    /// The same with further names on a network.
    pub(crate) fn called(&self, aliases: &[String]) -> Self {
        Self { aliases: aliases.to_vec(), ..self.clone() }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.get(..12).unwrap_or(&self.id);
        if self.name.is_empty() {
            write!(f, "container {id}")
        } else {
            write!(f, "container {} ({id})", self.name)
        }
    }
}

/// Three hexadecimal digits are two of base64; the last of 64 stands alone, in the upper four bits of its six.
fn pack(id: &str) -> String {
    let mut text = String::with_capacity(43);
    for three in id.as_bytes().chunks(3) {
        let bits = three.iter().fold(0, |bits, digit| bits << 4 | (*digit as char).to_digit(16).unwrap_or(0));
        let bits = if three.len() == 1 { bits << 8 } else { bits };
        text.push(DIGITS[(bits >> 6 & 63) as usize] as char);
        if three.len() == 3 {
            text.push(DIGITS[(bits & 63) as usize] as char);
        }
    }
    text
}

/// None where it is not what [`pack`] makes.
fn unpack(text: &str) -> Option<String> {
    if text.len() != 43 {
        return None;
    }
    let mut id = String::with_capacity(66);
    for two in text.as_bytes().chunks(2) {
        let value = |digit: Option<&u8>| DIGITS.iter().position(|known| Some(known) == digit);
        let bits = value(two.first())? << 6 | if two.len() == 2 { value(two.get(1))? } else { 0 };
        for shift in [8, 4, 0] {
            id.push(char::from_digit((bits >> shift & 15) as u32, 16)?);
        }
    }
    id.truncate(64);
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_text_is_short_and_read_back() {
        for id in ["0", "f", "5a", "0123456789abcdef"].map(|part| part.repeat(64 / part.len())) {
            let owner = Owner::new(&id, "fifteen-letters").unwrap();
            assert!(owner.text().len() <= 59, "{}", owner.text());
            assert_eq!(Owner::read(&owner.text()), owner);
        }
        let owner = Owner::new(&"5a".repeat(32), "web").unwrap().called(&["db".into(), "db.example".into()]);
        assert_eq!(Owner::read(&owner.text()), owner);
        // As base64(1) writes these 32 bytes.
        assert_eq!(pack(&"0123456789abcdef".repeat(4)), "ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8");
    }

    #[test]
    fn takes_ids_only_and_shows_no_control_characters() {
        for id in ["", "0123456789ab", &"A".repeat(64), &"0".repeat(65), &"g".repeat(64)] {
            assert_eq!(Owner::new(id, "x"), None);
        }
        let owner = Owner::read("0123456789abcdef\u{7} we\u{1b}[31mb");
        assert_eq!(owner.to_string(), "container we[31mb (0123456789ab)");
        assert_eq!(Owner::read("").to_string(), "container ");
        assert_eq!(Owner::read(&"!".repeat(43)).id, "!".repeat(43));
    }
}
