//! Keys, from the bytes that a terminal sends for them (ECMA-48, xterm's ctlseqs).

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Letter(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    /// Ctrl-C.
    Interrupt,
}

/// The keys that were typed; what is none of them is left out.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.as_ref();
    let mut keys = Vec::new();
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\x1b[").or_else(|| rest.strip_prefix("\x1bO")) {
            let end =
                after.find(|letter: char| ('@'..='~').contains(&letter)).map_or(after.len(), |end| end + 1);
            keys.extend(sequence(&after[..end]));
            rest = &after[end..];
            continue;
        }
        keys.extend(match first {
            '\r' | '\n' => Some(Key::Enter),
            '\x1b' => Some(Key::Escape),
            '\x7f' | '\x08' => Some(Key::Backspace),
            '\x03' => Some(Key::Interrupt),
            letter if letter.is_control() || letter == char::REPLACEMENT_CHARACTER => None,
            letter => Some(Key::Letter(letter)),
        });
        rest = &rest[first.len_utf8()..];
    }
    keys
}

fn sequence(text: &str) -> Option<Key> {
    Some(match text {
        "A" => Key::Up,
        "B" => Key::Down,
        "H" | "1~" | "7~" => Key::Home,
        "F" | "4~" | "8~" => Key::End,
        "5~" => Key::PageUp,
        "6~" => Key::PageDown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(keys(b"q"), [Key::Letter('q')]);
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[5~\x1b[H"), [Key::Up, Key::Down, Key::PageUp, Key::Home]);
        assert_eq!(keys(b"\x1b"), [Key::Escape]);
        assert_eq!(
            keys("ä\r\x7f\x03".as_bytes()),
            [Key::Letter('ä'), Key::Enter, Key::Backspace, Key::Interrupt]
        );
        assert_eq!(keys(b"\x1b[1;5C\x1b[200~x\x01\xff"), [Key::Letter('x')]);
        assert_eq!(keys(b"\x1b["), []);
    }
}
