//! Where in a file something stands, and what is wrong with a file: with its line, and a caret below the word.

use std::fmt;

/// A stretch of the source text, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

/// A stretch of a line, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line's number, from 1.
    pub line: usize,
    /// The first character's number in the line, from 1.
    pub column: usize,
    /// How many characters of the line it is, at least 1.
    pub width: usize,
    /// The line, or of a long one what is around the word; without control characters.
    pub text: String,
    /// How many characters of the line stand before `text`.
    pub skipped: usize,
}

/// Characters of a line that are shown.
const SHOWN: usize = 200;
/// So many of them before the word.
const BEFORE: usize = 60;

impl Place {
    /// The place of `span` in `source`; what is beyond the end stands for the end. Of several lines the first is shown.
    pub fn of(source: &str, span: Span) -> Self {
        let start = floor(source, span.start);
        let begin = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let stop = floor(source, span.end).clamp(start, end);
        let shown =
            |text: &str| -> String { text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect() };
        let column = source[begin..start].chars().count() + 1;
        let text = source[begin..end].trim_end();
        let skipped = if text.chars().count() > SHOWN { (column - 1).saturating_sub(BEFORE) } else { 0 };
        let text: String = text.chars().skip(skipped).take(SHOWN).collect();
        let room = (skipped + text.chars().count()).saturating_sub(column - 1).max(1);
        Self {
            line: source[..begin].matches('\n').count() + 1,
            column,
            width: source[start..stop].trim_end().chars().count().clamp(1, room),
            text: shown(&text),
            skipped,
        }
    }
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Place {
    /// Two lines: the text with its number, and carets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let (gap, before) = (" ".repeat(number.len()), " ".repeat(self.column - 1 - self.skipped));
        writeln!(f, " {number} | {}", self.text)?;
        write!(f, " {gap} | {before}{}", "^".repeat(self.width))
    }
}

/// What is wrong with a Dockerfile, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// In words, on one line.
    pub message: String,
    /// The way out, where there is one.
    pub hint: Option<String>,
    /// Where.
    pub place: Place,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}\n{}", self.place.line, self.message, self.place)
    }
}

impl std::error::Error for ParseError {}

/// The same while the source is at hand elsewhere.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) span: Span,
}

impl Wrong {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, span }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn at(self, source: &str) -> ParseError {
        ParseError { message: self.message, hint: self.hint, place: Place::of(source, self.span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_and_the_word() {
        let source = "FROM a\nRUN\tälter x\n";
        let start = source.find('x').unwrap();
        let place = Place::of(source, Span { start, end: start + 1 });
        assert_eq!(place.to_string(), " 2 | RUN älter x\n   |           ^");
        let place = Place::of(source, Span { start: 1000, end: 2000 });
        assert_eq!((place.line, place.width), (3, 1));
    }
}
