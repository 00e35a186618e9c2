//! The words inside of `{{ }}`: text/template's lexical elements.

use serde_json::Value;

/// One word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// `json`, `if`, `end`.
    Name(String),
    /// `.`, `.A.B`: the names.
    Place(Vec<String>),
    /// `$`, `$x`, `$x.A`: the variable's name and the names below.
    Variable(String, Vec<String>),
    /// A string, a number, true, false or nil.
    Literal(Value),
    /// `(`.
    Open,
    /// `)`, and the names after it.
    Close(Vec<String>),
    /// `|`.
    Bar,
    /// `:=` or `=`.
    Set,
    /// `,`.
    Comma,
}

/// Reads words up to `}}`; them, and what stands after it.
pub(super) fn read(text: &str) -> Result<(Vec<Word>, &str), String> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((words, after));
        }
        let Some(first) = rest.chars().next() else {
            return Err("a {{ without its }}; write it as {{.Id}}".to_owned());
        };
        let (word, after) = one(first, rest)?;
        words.push(word);
        rest = after;
    }
}

fn one(first: char, rest: &str) -> Result<(Word, &str), String> {
    let odd = || {
        let end = rest.find("}}").unwrap_or(rest.len());
        let whole = format!("{{{{{}}}}}", rest[..end].trim_end());
        format!("{} is no word of a template; write it as {{{{.Config.Env}}}}", step::quote(&whole))
    };
    Ok(match first {
        '(' => (Word::Open, &rest[1..]),
        ')' => {
            let (names, after) = names(&rest[1..]).ok_or_else(odd)?;
            (Word::Close(names), after)
        }
        '|' => (Word::Bar, &rest[1..]),
        ',' => (Word::Comma, &rest[1..]),
        '=' => (Word::Set, &rest[1..]),
        ':' if rest.starts_with(":=") => (Word::Set, &rest[2..]),
        '"' => string(rest)?,
        '`' => {
            let (inside, after) = rest[1..].split_once('`').ok_or("a ` without its other")?;
            (Word::Literal(inside.into()), after)
        }
        '.' => {
            let (names, after) = match names(rest).ok_or_else(odd)? {
                (none, _) if none.is_empty() => (none, &rest[1..]),
                found => found,
            };
            if after.starts_with('.') {
                return Err(odd());
            }
            (Word::Place(names), after)
        }
        '$' => {
            let (name, after) = name(&rest[1..]);
            let (names, after) = names(after).ok_or_else(odd)?;
            (Word::Variable(name.to_owned(), names), after)
        }
        c if c.is_ascii_digit() || c == '-' => {
            let end =
                rest[1..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |at| at + 1);
            let number = serde_json::from_str(&rest[..end]).map_err(|_| odd())?;
            (Word::Literal(number), &rest[end..])
        }
        _ => match name(rest) {
            ("", _) => return Err(odd()),
            ("true", after) => (Word::Literal(true.into()), after),
            ("false", after) => (Word::Literal(false.into()), after),
            ("nil", after) => (Word::Literal(Value::Null), after),
            (name, after) => (Word::Name(name.to_owned()), after),
        },
    })
}

fn name(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

/// `.A.B` at the beginning of `text`; none where a point has no name.
fn names(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut all, mut rest) = (Vec::new(), text);
    while let Some(after) = rest.strip_prefix('.') {
        match name(after) {
            ("", _) if all.is_empty() => return Some((all, rest)),
            ("", _) => return None,
            (name, after) => {
                all.push(name.to_owned());
                rest = after;
            }
        }
    }
    Some((all, rest))
}

/// A string in double quotes, with Go's escapes as far as JSON has them.
fn string(rest: &str) -> Result<(Word, &str), String> {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let whole = rest[..=at].replace('\t', "\\t").replace('\n', "\\n");
                let text: Value = serde_json::from_str(&whole)
                    .map_err(|_| format!("{whole} is no string that is known"))?;
                return Ok((Word::Literal(text), &rest[at + 1..]));
            }
            _ => {}
        }
    }
    Err("a \" without its other".to_owned())
}
