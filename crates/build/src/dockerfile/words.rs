//! What stands behind an instruction's name, cut into words.

use super::lines::{Line, shell_words};
use super::place::Wrong;
use super::{Command, Word};

/// What is left of a line from a byte on.
#[derive(Clone, Copy)]
pub(super) struct Rest<'l> {
    pub(super) line: &'l Line,
    pub(super) at: usize,
    pub(super) escape: char,
}

impl<'l> Rest<'l> {
    /// The text without white space around it.
    pub(super) fn text(&self) -> &'l str {
        self.line.text[self.at..].trim()
    }

    /// All of it as one word.
    pub(super) fn word(&self) -> Word {
        let text = self.text();
        let start =
            self.at + (self.line.text[self.at..].len() - self.line.text[self.at..].trim_start().len());
        Word { text: text.to_owned(), span: self.line.span(start, start + text.len()) }
    }

    pub(super) fn cut(&self, (start, end): (usize, usize)) -> Word {
        Word { text: self.line.text[start..end].to_owned(), span: self.line.span(start, end) }
    }

    /// The first word, by white space alone, and what follows it.
    pub(super) fn split(&self) -> Option<(Word, Rest<'l>)> {
        let text = &self.line.text[self.at..];
        let start = self.at + (text.len() - text.trim_start().len());
        let length =
            self.line.text[start..].find(char::is_whitespace).unwrap_or(self.line.text.len() - start);
        (length > 0).then(|| (self.cut((start, start + length)), Rest { at: start + length, ..*self }))
    }

    /// Words by white space alone: a quote does not keep them together.
    pub(super) fn plain(&self) -> Vec<Word> {
        let (mut all, mut rest) = (Vec::new(), *self);
        while let Some((word, next)) = rest.split() {
            all.push(word);
            rest = next;
        }
        all
    }

    /// Words as a shell has them, quotes kept.
    pub(super) fn quoted(&self) -> Vec<Word> {
        shell_words(&self.line.text, self.at, self.escape).into_iter().map(|at| self.cut(at)).collect()
    }

    /// `["a", "b"]`, if it is that.
    pub(super) fn json(&self) -> Option<Vec<String>> {
        let text = self.text();
        text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
    }

    /// A list, in JSON or by white space.
    pub(super) fn list(&self) -> Vec<Word> {
        let span = self.word().span;
        match self.json() {
            Some(all) => {
                all.into_iter().map(|text| Word { text: literal(&text, self.escape), span }).collect()
            }
            None => self.plain(),
        }
    }

    /// A command line.
    pub(super) fn command(&self) -> Command {
        match self.json() {
            Some(all) => Command::Exec(all),
            None => Command::Shell(self.text().to_owned()),
        }
    }

    /// `name=value` words, or the old form of one name and its value.
    pub(super) fn pairs(&self, instruction: &str) -> Result<Vec<(Word, Word)>, Wrong> {
        let words = self.quoted();
        let Some(first) = words.first() else {
            return Err(Wrong::new(self.line.whole(), format!("{instruction} needs a name and a value")));
        };
        if !first.text.contains('=') {
            let (name, rest) = self.split().unwrap_or_else(|| (first.clone(), *self));
            let value = rest.word();
            if value.text.is_empty() {
                let words = format!("{instruction} {} has no value", name.text);
                return Err(Wrong::new(name.span, words).hint(format!("{instruction} {}=…", name.text)));
            }
            return Ok(vec![(name, value)]);
        }
        words.into_iter().map(|word| pair(word, instruction)).collect()
    }
}

/// A word of JSON keeps its quotes and spaces when variables are looked into: they are letters.
fn literal(text: &str, escape: char) -> String {
    let mut all = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '"' || c == '\'' {
            all.push(escape);
        }
        all.push(c);
    }
    all
}

/// `name=value` in its two words.
pub(super) fn pair(word: Word, instruction: &str) -> Result<(Word, Word), Wrong> {
    let span = word.span;
    let Some((name, value)) = word.text.split_once('=') else {
        let words = format!("{instruction}: `{}` has no =", word.text);
        return Err(Wrong::new(span, words).hint("a value with spaces in it stands in quotes"));
    };
    if name.is_empty() {
        return Err(Wrong::new(span, format!("{instruction}: there is no name before the =")));
    }
    let word = |text: &str| Word { text: text.to_owned(), span };
    Ok((word(name), word(value)))
}
