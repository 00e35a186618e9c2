//! `--name=value` between an instruction's name and its words.

use super::Word;
use super::lines::shell_words;
use super::place::{Span, Wrong};
use super::words::Rest;

/// How a flag is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Once, with a value.
    Value,
    /// Any number of times, with a value.
    Values,
    /// Alone, or with true or false.
    Switch,
    /// Not done here; why.
    Refused(&'static str),
}

/// What each instruction takes.
fn known(instruction: &str) -> &'static [(&'static str, Form)] {
    use Form::{Refused, Switch, Value, Values};
    match instruction {
        "FROM" => &[("platform", Value)],
        "RUN" => &[
            ("mount", Values),
            ("network", Value),
            (
                "security",
                Refused("a command of a build runs with the rights that containers have, never with more"),
            ),
        ],
        "COPY" => &[
            ("from", Value),
            ("chown", Value),
            ("chmod", Value),
            ("link", Switch),
            ("parents", Switch),
            ("exclude", Values),
        ],
        "ADD" => &[
            ("chown", Value),
            ("chmod", Value),
            ("link", Switch),
            ("exclude", Values),
            ("checksum", Value),
            ("unpack", Switch),
            ("keep-git-dir", Switch),
        ],
        "HEALTHCHECK" => &[
            ("interval", Value),
            ("timeout", Value),
            ("start-period", Value),
            ("start-interval", Value),
            ("retries", Value),
        ],
        _ => &[],
    }
}

/// The flags of one instruction.
#[derive(Default)]
pub(super) struct Flags(Vec<(&'static str, Word)>);

impl Flags {
    /// Takes them off the rest of a line.
    pub(super) fn take(instruction: &str, rest: &mut Rest<'_>) -> Result<Self, Wrong> {
        let mut all: Vec<(&'static str, Word)> = Vec::new();
        for (start, end) in shell_words(&rest.line.text, rest.at, rest.escape) {
            let text = &rest.line.text[start..end];
            let Some(body) = text.strip_prefix("--").filter(|body| !body.is_empty()) else { break };
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let name_span = rest.line.span(start, start + 2 + name.len());
            let Some((known_name, form)) = known(instruction).iter().find(|(known, _)| *known == name) else {
                return Err(unknown(instruction, name, name_span));
            };
            let value_at = end - value.map_or(0, str::len);
            let word = Word {
                text: unquoted(value.unwrap_or("true"), rest.escape),
                span: rest.line.span(value_at, end),
            };
            match form {
                Form::Refused(why) => {
                    return Err(Wrong::new(name_span, format!("--{name} is not done here: {why}")));
                }
                Form::Value | Form::Values if value.is_none_or(str::is_empty) => {
                    let words = format!("--{name} needs a value");
                    return Err(Wrong::new(name_span, words).hint(format!("--{name}=…")));
                }
                Form::Switch if !matches!(word.text.as_str(), "true" | "false" | "1" | "0") => {
                    return Err(Wrong::new(word.span, format!("--{name} is true or false")));
                }
                _ => {}
            }
            if *form != Form::Values && all.iter().any(|(other, _)| other == known_name) {
                return Err(Wrong::new(name_span, format!("--{name} stands here twice")));
            }
            all.push((known_name, word));
            rest.at = end;
        }
        Ok(Self(all))
    }

    /// The one of that name.
    pub(super) fn value(&mut self, name: &str) -> Option<Word> {
        let at = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.remove(at).1)
    }

    /// All of that name.
    pub(super) fn values(&mut self, name: &str) -> Vec<Word> {
        std::iter::from_fn(|| self.value(name)).collect()
    }

    /// Whether it is on; none if nothing is said.
    pub(super) fn switch(&mut self, name: &str) -> Option<bool> {
        self.value(name).map(|word| matches!(word.text.as_str(), "true" | "1"))
    }
}

fn unknown(instruction: &str, name: &str, span: Span) -> Wrong {
    let names = known(instruction).iter().map(|(name, _)| *name);
    let wrong = Wrong::new(span, format!("{instruction} has no flag --{name}"));
    match step::nearest(name, names.clone()) {
        Some(near) => wrong.hint(format!("did you mean --{near}?")),
        None if names.len() == 0 => wrong,
        None => {
            let names: Vec<_> = names.map(|name| format!("--{name}")).collect();
            wrong.hint(format!("it has {}", names.join(", ")))
        }
    }
}

/// A value without the quotes around its parts; variables stay.
fn unquoted(value: &str, escape: char) -> String {
    let (mut all, mut quote, mut characters) = (String::new(), None, value.chars().peekable());
    while let Some(c) = characters.next() {
        match quote {
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape
                && quote != Some('\'')
                && matches!(characters.peek(), Some('"' | '\'' | ' ')) =>
            {
                all.extend(characters.next());
            }
            _ => all.push(c),
        }
    }
    all
}
