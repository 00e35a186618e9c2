//! A half-typed command line as words, with a shell's quotes and backslashes, and nothing expanded or run.

/// The words; the last one is what is being typed, empty after a blank.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut letters = line.chars().peekable();
    let mut begun = false;
    while let Some(letter) = letters.next() {
        let last = words.len() - 1;
        match (quote, letter) {
            (None, ' ' | '\t') => {
                if begun {
                    words.push(String::new());
                }
                begun = false;
                continue;
            }
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), letter) if letter == open => quote = None,
            (Some('\''), letter) => words[last].push(letter),
            (Some(_), '\\') => match letters.next_if(|next| matches!(next, '$' | '`' | '"' | '\\')) {
                Some(next) => words[last].push(next),
                None => words[last].push('\\'),
            },
            (None, '\\') => words[last].extend(letters.next()),
            (_, letter) => words[last].push(letter),
        }
        begun = true;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_the_shell_would_hand_on() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[""]),
            ("a b", &["a", "b"]),
            ("a  b ", &["a", "b", ""]),
            ("a 'b c", &["a", "b c"]),
            ("a \"b\\\"c\\d\" ", &["a", "b\"c\\d", ""]),
            ("a b\\ c", &["a", "b c"]),
            ("a '' b", &["a", "", "b"]),
            ("a $(rm) `x`", &["a", "$(rm)", "`x`"]),
            ("a b\\", &["a", "b"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line), words, "{line}");
        }
    }
}
