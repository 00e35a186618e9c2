//! Words to the user: on standard output and standard error, with colours only where they are seen, and without
//! whatever text from outside would do to a terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use crate::problem::Problem;

/// Writes `text` to standard output. A reader that has gone, as in `| head -0`, wants no more and is no failure.
pub(crate) fn print(text: &str) -> Result<(), Problem> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Problem::new(format!("cannot write to standard output: {}", io_reason(&error))))
        }
        _ => Ok(()),
    }
}

/// Writes `text` to standard error, where it can be written.
pub(crate) fn warn(text: &str) {
    // There is nobody left to tell of a failure here.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints `error:` and, on a line of its own, `hint:`.
pub(crate) fn report(problem: &Problem) {
    warn(&lines("error", "31", &problem.message, problem.hint.as_deref(), coloured()));
}

/// Prints `warning:` and, on a line of its own, `hint:`.
pub(crate) fn report_warning(message: &str, hint: Option<&str>) {
    warn(&lines("warning", "33", message, hint, coloured()));
}

/// Prints what a container's end has to tell.
pub(crate) fn report_note(message: &str, hint: Option<&str>) {
    warn(&lines("minidocker", "33", message, hint, coloured()));
}

/// Whether standard error shows colours: a terminal, and no wish against (<https://no-color.org>).
pub(crate) fn coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn lines(word: &str, colour: &str, message: &str, hint: Option<&str>, coloured: bool) -> String {
    let (bold, hue, end) = if coloured { ("\x1b[1;", colour, "\x1b[0m") } else { ("", "", "") };
    let set = |hue: &str| if coloured { format!("{bold}{hue}m") } else { String::new() };
    let mut text = format!("{}{word}:{end} {}\n", set(hue), plain(message));
    if let Some(hint) = hint {
        text.push_str(&format!("{}hint:{end} {}\n", set("36"), plain(hint)));
    }
    text
}

/// The kernel's words for a failure, without Rust's "(os error 2)".
pub(crate) fn io_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(reason, _)| reason.to_ascii_lowercase())
}

/// `text` on one line and harmless to a terminal: no escape sequences (ECMA-48), control characters or marks that
/// turn the direction of writing (CVE-2021-42574); a line break becomes a space.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => skip_sequence(&mut letters),
            '\u{9b}' => skip_until(&mut letters, |c| ('@'..='~').contains(&c)),
            '\n' | '\t' => clean.push(' '),
            letter if is_odd(letter) => {}
            letter => clean.push(letter),
        }
    }
    Cow::Owned(clean)
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips what follows an ESC.
fn skip_sequence(letters: &mut Letters<'_>) {
    match letters.next_if(|letter| !letter.is_control()) {
        // CSI: parameters, then one letter.
        Some('[') => skip_until(letters, |letter| ('@'..='~').contains(&letter)),
        // OSC, DCS, SOS, PM and APC: text up to BEL or ESC; what follows that ESC is a backslash.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            skip_until(letters, |letter| matches!(letter, '\x07' | '\x1b' | '\u{9c}'));
            letters.next_if_eq(&'\\');
        }
        // Intermediate bytes, then one letter.
        Some(' '..='/') => skip_until(letters, |letter| ('0'..='~').contains(&letter)),
        _ => {}
    }
}

fn skip_until(letters: &mut Letters<'_>, is_end: impl Fn(char) -> bool) {
    for letter in letters.by_ref() {
        if is_end(letter) {
            break;
        }
    }
}

fn is_odd(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_what_a_terminal_would_obey() {
        let cases = [
            ("plain text, ä and 漢", "plain text, ä and 漢"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07after", "after"),
            ("\x1b]8;;http://x\x1b\\link", "link"),
            ("\x1bPdcs\x1b\\after", "after"),
            ("\x1b(Bascii", "ascii"),
            ("\x1bcreset", "reset"),
            ("\u{9b}31mred", "red"),
            ("a\r\nb\tc\x08\x7f", "a b c"),
            ("open\x1b[", "open"),
            ("open\x1b", "open"),
            ("\x1b]never closed", ""),
            ("a\u{202e}b\u{2066}c", "abc"),
        ];
        for (text, clean) in cases {
            assert_eq!(plain(text), clean, "{text:?}");
        }
    }

    #[test]
    fn colours_only_when_asked() {
        assert_eq!(lines("error", "31", "a\x1b[2Jb", Some("c"), false), "error: ab\nhint: c\n");
        assert_eq!(lines("error", "31", "a", None, true), "\x1b[1;31merror:\x1b[0m a\n");
    }
}
