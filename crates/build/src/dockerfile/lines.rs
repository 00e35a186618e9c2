//! From characters to logical lines: parser directives, comments, continuations, heredocs. What stands where in the
//! source is kept.

use super::place::{Span, Wrong};
use super::{Directives, Heredoc};

/// A logical line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// From which byte of the text on which byte of the source stands there.
    map: Vec<(usize, usize)>,
}

impl Line {
    fn push(&mut self, text: &str, at: usize) {
        self.map.push((self.text.len(), at));
        self.text.push_str(text);
    }

    /// A line of its own: of an ONBUILD trigger.
    pub(crate) fn of(text: &str) -> Self {
        let mut line = Self::default();
        line.push(text, 0);
        line
    }

    /// Where a byte of the text stands in the source.
    fn at(&self, offset: usize) -> usize {
        let index = self.map.partition_point(|(from, _)| *from <= offset).saturating_sub(1);
        self.map.get(index).map_or(0, |(from, at)| at + (offset - from))
    }

    /// The source's stretch for a stretch of the text.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        let last = if end > start { self.at(end - 1) + 1 } else { self.at(start) };
        Span { start: self.at(start), end: last }
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Span {
        self.span(0, self.text.trim_end().len())
    }
}

/// The source, line by line.
pub(crate) struct Lines<'s> {
    source: &'s str,
    at: usize,
    escape: char,
}

impl<'s> Lines<'s> {
    /// Reads the directives at the top.
    pub(crate) fn new(source: &'s str) -> Result<(Self, Directives), Wrong> {
        let at = if source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut this = Self { source, at, escape: '\\' };
        let mut directives = Directives { escape: '\\', ..Directives::default() };
        let mut seen: Vec<String> = Vec::new();
        loop {
            let before = this.at;
            let Some((start, text)) = this.physical() else { break };
            let span = Span { start, end: start + text.len() };
            let Some((name, value)) = directive(text) else {
                this.at = before;
                break;
            };
            if seen.contains(&name) {
                return Err(Wrong::new(span, format!("the directive {name} stands here twice")));
            }
            match name.as_str() {
                "syntax" => directives.syntax = Some(value.to_owned()),
                "check" => directives.check = Some(value.to_owned()),
                "escape" => match value {
                    "\\" | "`" => directives.escape = value.chars().next().unwrap_or('\\'),
                    _ => return Err(Wrong::new(span, "escape is \\ or `, nothing else")),
                },
                // Any other is a comment, and ends the directives.
                _ => break,
            }
            seen.push(name);
        }
        this.escape = directives.escape;
        Ok((this, directives))
    }

    /// A line of the source without its end, and where it begins.
    fn physical(&mut self) -> Option<(usize, &'s str)> {
        let rest = &self.source[self.at..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let start = self.at;
        self.at += length;
        let text = &rest[..length];
        let text = text.strip_suffix('\n').unwrap_or(text);
        Some((start, text.trim_end_matches('\r')))
    }

    /// The next logical line that says something.
    pub(crate) fn next(&mut self) -> Option<Line> {
        loop {
            let (start, text) = self.physical()?;
            let trimmed = text.trim_start();
            if is_nothing(trimmed) {
                continue;
            }
            let mut line = Line::default();
            let (content, mut more) = continued(trimmed, self.escape);
            line.push(content, start + text.len() - trimmed.len());
            while more {
                let Some((start, text)) = self.physical() else { break };
                if is_nothing(text.trim_start()) {
                    continue;
                }
                let content;
                (content, more) = continued(text, self.escape);
                line.push(content, start);
            }
            line.text.truncate(line.text.trim_end().len());
            return Some(line);
        }
    }

    /// The bodies of the heredocs that a line begins.
    pub(crate) fn heredocs(&mut self, line: &Line, from: usize) -> Result<Vec<Heredoc>, Wrong> {
        let mut all = Vec::new();
        for (start, end) in shell_words(&line.text, from, self.escape) {
            let Some((name, expand, chomp)) = heredoc(&line.text[start..end]) else { continue };
            let mut content = String::new();
            loop {
                let Some((_, text)) = self.physical() else {
                    let words = format!("the heredoc {name} has no end: a line `{name}` is missing");
                    return Err(Wrong::new(line.span(start, end), words));
                };
                let text = if chomp { text.trim_start_matches('\t') } else { text };
                if text == name {
                    break;
                }
                content.push_str(text);
                content.push('\n');
            }
            all.push(Heredoc { name, content, expand });
        }
        Ok(all)
    }
}

fn is_nothing(trimmed: &str) -> bool {
    trimmed.is_empty() || trimmed.starts_with('#')
}

/// A line without the sign that it goes on, and whether it does.
fn continued(text: &str, escape: char) -> (&str, bool) {
    let trimmed = text.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (text, false),
    }
}

/// `# name=value`.
fn directive(text: &str) -> Option<(String, &str)> {
    let (name, value) = text.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

/// The stretches of a shell's words: separated by white space that is neither quoted nor escaped.
pub(crate) fn shell_words(text: &str, from: usize, escape: char) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    let (mut start, mut quote, mut escaped) = (None, None, false);
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < from) {
        if escaped {
            escaped = false;
            continue;
        }
        match quote {
            None if c.is_whitespace() => {
                all.extend(start.take().map(|start| (start, at)));
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        escaped = c == escape && quote != Some('\'');
        start = start.or(Some(at));
    }
    all.extend(start.map(|start| (start, text.len())));
    all
}

/// The name of the heredoc that a word begins, whether variables in it count, and whether tabs go.
pub(crate) fn heredoc(word: &str) -> Option<(String, bool, bool)> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let name: String = rest.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
    let is_plain = !name.is_empty() && !name.contains(['<', '>', '\\', '$', '/', '(', ')', '`']);
    is_plain.then_some((name.clone(), name == rest, chomp))
}
