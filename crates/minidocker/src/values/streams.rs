//! `--attach` and `--detach-keys`: what a foreground run is connected to, and the keys that end that.

/// `--attach`: the stream in small letters.
pub(crate) fn stream(text: &str) -> Result<&'static str, String> {
    let known = ["stdin", "stdout", "stderr"].into_iter().find(|name| text.eq_ignore_ascii_case(name));
    known.ok_or_else(|| "neither STDIN, STDOUT nor STDERR".to_owned())
}

/// `--detach-keys ctrl-p,ctrl-q`: the bytes that the terminal sends for them.
pub(crate) fn keys(text: &str) -> Result<Vec<u8>, String> {
    text.split(',')
        .map(|key| match key.as_bytes() {
            [byte] if byte.is_ascii_graphic() => Some(*byte),
            [b'c', b't', b'r', b'l', b'-', byte] if matches!(byte, b'@' | b'['..=b'_' | b'a'..=b'z') => {
                Some(byte.to_ascii_uppercase() & 0x1f)
            }
            b"DEL" => Some(0x7f),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| {
            "not keys between commas, each a letter or ctrl- and a letter; write it as ctrl-p,ctrl-q"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_streams_and_keys() {
        assert_eq!((stream("STDIN"), stream("stderr")), (Ok("stdin"), Ok("stderr")));
        assert!(stream("").is_err() && stream("std").is_err());
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(keys("a,ctrl-@,ctrl-[,ctrl-_"), Ok(vec![b'a', 0, 27, 31]));
        for text in ["", ",", "ctrl-", "ctrl-pp", "ctrl-1", "a,,b", "Ctrl-p", "ä"] {
            assert!(keys(text).is_err(), "{text}");
        }
    }
}
