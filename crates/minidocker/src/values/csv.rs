//! One line of comma-separated fields, of which some may stand in double quotes: `--mount`'s syntax (RFC 4180).

/// The fields. Inside quotes a comma is a letter and `""` is one quote.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        let fresh = fields.last().is_none_or(String::is_empty);
        let keep = match letter {
            '"' if quoted && letters.peek() == Some(&'"') => letters.next(),
            '"' if quoted => {
                quoted = false;
                if !matches!(letters.peek(), None | Some(',')) {
                    return Err("letters behind a closing quote".to_owned());
                }
                None
            }
            '"' if fresh => {
                quoted = true;
                None
            }
            '"' => return Err("a quote in the middle of a field".to_owned()),
            ',' if !quoted => {
                fields.push(String::new());
                None
            }
            letter => Some(letter),
        };
        if let (Some(letter), Some(field)) = (keep, fields.last_mut()) {
            field.push(letter);
        }
    }
    if quoted { Err("a quote that is not closed".to_owned()) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_commas_outside_quotes() {
        assert_eq!(fields("a,b").unwrap(), ["a", "b"]);
        assert_eq!(fields("").unwrap(), [""]);
        assert_eq!(fields("a,,").unwrap(), ["a", "", ""]);
        assert_eq!(fields(r#""src=/a,b",dst=/c"#).unwrap(), ["src=/a,b", "dst=/c"]);
        assert_eq!(fields(r#""a ""b""",c"#).unwrap(), [r#"a "b""#, "c"]);
        for bad in [r#"a"b"#, r#""a"#, r#""a"b"#] {
            assert!(fields(bad).is_err(), "{bad}");
        }
    }
}
