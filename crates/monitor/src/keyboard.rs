//! The detach keys, `ctrl-p,ctrl-q`: held back until it is clear that they are not the beginning of something else.

/// A sequence of keys, and how far it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self { keys: vec![0x10, 0x11], typed: 0 }
    }
}

impl DetachKeys {
    /// The bytes that the terminal sends for the keys, in order; none for no keys at all.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, typed: 0 }
    }

    /// Takes typed bytes; what goes on to the container lands in `out`. True once the whole sequence was typed.
    pub fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend(typed);
            return false;
        }
        for byte in typed {
            if *byte == self.keys[self.typed] {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return true;
                }
                continue;
            }
            out.extend(&self.keys[..self.typed]);
            self.typed = usize::from(*byte == self.keys[0]);
            if self.typed == 0 {
                out.push(*byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &mut DetachKeys, text: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let done = keys.filter(text, &mut out);
        (out, done)
    }

    #[test]
    fn holds_back_a_beginning_and_gives_it_on_if_it_was_none() {
        let mut keys = DetachKeys::default();
        assert_eq!(typed(&mut keys, b"ls\x10"), (b"ls".to_vec(), false));
        assert_eq!(typed(&mut keys, b"x"), (b"\x10x".to_vec(), false));
        assert_eq!(typed(&mut keys, b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(typed(&mut keys, b"\x11"), (Vec::new(), true));
    }
}
