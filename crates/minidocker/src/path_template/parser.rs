//! Templates' text to parts.

use super::words::{Word, read};
use super::{Part, Pipe, Root, Term, functions};

/// What ended a list of parts.
enum End {
    Text,
    Closed,
    /// With the words after it: `else if …`.
    Else(Vec<Word>),
}

/// A whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, String> {
    let (parts, end, _) = list(text, 0)?;
    match end {
        End::Text => Ok(parts),
        End::Closed => Err("{{end}} ends nothing".to_owned()),
        End::Else(_) => Err("{{else}} belongs to nothing".to_owned()),
    }
}

/// Deeper, and it is no template but an attack on the stack.
const DEEPEST: usize = 64;

fn list(text: &str, depth: usize) -> Result<(Vec<Part>, End, &str), String> {
    if depth > DEEPEST {
        return Err("it is nested too deeply".to_owned());
    }
    let mut parts = Vec::new();
    let (mut rest, mut trim) = (text, false);
    while let Some((before, after)) = rest.split_once("{{") {
        let dash = after.strip_prefix("- ");
        literal(before, trim, dash.is_some(), &mut parts);
        let (words, after) = action(dash.unwrap_or(after))?;
        (rest, trim) = after;
        let mut words = words.into_iter().peekable();
        let Some(first) = words.peek() else { continue };
        let keyword = match first {
            Word::Name(name) => name.clone(),
            _ => String::new(),
        };
        // What stands after a keyword's block begins there.
        let block = |words: Vec<Word>, rest| block(&keyword, words, rest, depth);
        match keyword.as_str() {
            "end" => return Ok((parts, End::Closed, at(rest, trim))),
            "else" => return Ok((parts, End::Else(words.skip(1).collect()), at(rest, trim))),
            "if" | "with" | "range" => {
                let (part, after) = block(words.skip(1).collect(), at(rest, trim))?;
                parts.push(part);
                (rest, trim) = (after, false);
            }
            _ => parts.push(statement(words.collect())?),
        }
    }
    literal(rest, trim, false, &mut parts);
    Ok((parts, End::Text, ""))
}

fn at(rest: &str, trim: bool) -> &str {
    if trim { rest.trim_start() } else { rest }
}

/// The words of an action, what stands after it, and whether white space there is cut off.
fn action(text: &str) -> Result<(Vec<Word>, (&str, bool)), String> {
    if let Some(comment) = text.trim_start().strip_prefix("/*") {
        let (_, after) = comment.split_once("*/").ok_or("a /* without its */")?;
        let after = after.trim_start();
        let (after, trim) = after.strip_prefix('-').map_or((after, false), |after| (after, true));
        let after = after.strip_prefix("}}").ok_or("a comment stands alone")?;
        return Ok((Vec::new(), (after, trim)));
    }
    // `-}}` with a blank before it: words end there.
    let close = text.find("}}").unwrap_or(text.len());
    if let Some(inside) = text[..close].strip_suffix(" -") {
        let whole = format!("{inside}}}}}");
        let (words, _) = read(&whole)?;
        return Ok((something(words)?, (&text[close + 2..], true)));
    }
    let (words, after) = read(text)?;
    Ok((something(words)?, (after, false)))
}

fn something(words: Vec<Word>) -> Result<Vec<Word>, String> {
    if words.is_empty() { Err("{{}} names nothing; write it as {{.Id}}".to_owned()) } else { Ok(words) }
}

/// Text as it stands, `\t` and `\n` as Docker's command line reads them.
fn literal(text: &str, trim_start: bool, trim_end: bool, parts: &mut Vec<Part>) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        parts.push(Part::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
    }
}

fn block<'t>(
    keyword: &str,
    words: Vec<Word>,
    rest: &'t str,
    depth: usize,
) -> Result<(Part, &'t str), String> {
    let (names, words) = match keyword {
        "range" => variables(words),
        _ => (Vec::new(), words),
    };
    let pipe = whole_pipe(words)?;
    let (body, end, rest) = list(rest, depth + 1)?;
    let (other, rest) = match end {
        End::Text => return Err(format!("{{{{{keyword}}}}} without its {{{{end}}}}")),
        End::Closed => (Vec::new(), rest),
        End::Else(words) if words.is_empty() => match list(rest, depth + 1)? {
            (other, End::Closed, rest) => (other, rest),
            _ => return Err(format!("{{{{{keyword}}}}} without its {{{{end}}}}")),
        },
        End::Else(words) => match words.split_first() {
            // `else if` ends with the same `end`.
            Some((Word::Name(name), more)) if name == keyword && keyword != "range" => {
                let (part, rest) = block(keyword, more.to_vec(), rest, depth + 1)?;
                (vec![part], rest)
            }
            _ => return Err("what follows {{else is not known".to_owned()),
        },
    };
    let part = match keyword {
        "if" => Part::If(pipe, body, other),
        "with" => Part::With(pipe, body, other),
        _ => Part::Range(names, pipe, body, other),
    };
    Ok((part, rest))
}

/// `$k, $v :=` at the beginning.
fn variables(words: Vec<Word>) -> (Vec<String>, Vec<Word>) {
    match words.as_slice() {
        [Word::Variable(one, _), Word::Set, rest @ ..] => (vec![one.clone()], rest.to_vec()),
        [Word::Variable(one, _), Word::Comma, Word::Variable(two, _), Word::Set, rest @ ..] => {
            (vec![one.clone(), two.clone()], rest.to_vec())
        }
        _ => (Vec::new(), words),
    }
}

fn statement(words: Vec<Word>) -> Result<Part, String> {
    let (mut names, words) = variables(words);
    let pipe = whole_pipe(words)?;
    match (names.pop(), names.is_empty()) {
        (None, _) => Ok(Part::Show(pipe)),
        (Some(name), true) => Ok(Part::Set(name, pipe)),
        _ => Err("two variables are for range".to_owned()),
    }
}

fn whole_pipe(words: Vec<Word>) -> Result<Pipe, String> {
    let mut words = words.into_iter().peekable();
    let (pipe, closed) = pipe(&mut words, 0)?;
    match (closed, words.next()) {
        (None, None) => Ok(pipe),
        _ => Err("a ) without its (".to_owned()),
    }
}

type Words = std::iter::Peekable<std::vec::IntoIter<Word>>;

/// Calls up to the end or to a `)`; the names after that.
fn pipe(words: &mut Words, depth: usize) -> Result<(Pipe, Option<Vec<String>>), String> {
    if depth > DEEPEST {
        return Err("it is nested too deeply".to_owned());
    }
    let (mut calls, mut call) = (Vec::new(), Vec::new());
    let closed = loop {
        call.push(match words.next() {
            None => break None,
            Some(Word::Close(names)) => break Some(names),
            Some(Word::Bar) => {
                calls.push(checked(std::mem::take(&mut call), calls.is_empty())?);
                continue;
            }
            Some(Word::Open) => {
                let (inner, closed) = pipe(words, depth + 1)?;
                Term::Place(Root::Nested(inner), closed.ok_or("a ( without its )")?)
            }
            Some(Word::Name(name)) if functions::NAMES.contains(&name.as_str()) => Term::Function(name),
            Some(Word::Name(name)) => {
                let hint = "write it as {{.Config.Env}} or {{json .Config}}";
                let known = functions::NAMES.join(" ");
                return Err(format!(
                    "{} is no function, there are {known}; a field begins with a point: {hint}",
                    step::quote(&name)
                ));
            }
            Some(Word::Place(names)) => Term::Place(Root::Dot, names),
            Some(Word::Variable(name, names)) => Term::Place(Root::Variable(name), names),
            Some(Word::Literal(value)) => Term::Literal(value),
            Some(Word::Set | Word::Comma) => return Err("a := or , where none can be".to_owned()),
        });
    };
    calls.push(checked(call, calls.is_empty())?);
    Ok((Pipe(calls), closed))
}

fn checked(call: Vec<Term>, is_first: bool) -> Result<Vec<Term>, String> {
    match call.as_slice() {
        [] => Err("a part of it is empty; write it as {{.Id}}".to_owned()),
        [Term::Function(_), ..] => Ok(call),
        [_] if is_first => Ok(call),
        _ => Err("only a function takes arguments; write it as {{json .Config}}".to_owned()),
    }
}
