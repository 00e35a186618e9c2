//! The functions of templates: those of Go's text/template and of Docker's command line that JSON has a meaning for.

use std::cmp::Ordering;

use serde_json::Value;

use super::{is_true, plain};

/// Their names.
pub(super) const NAMES: [&str; 22] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not", "or", "pad",
    "print", "printf", "println", "split", "title", "truncate", "upper",
];

/// Calls one.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let usage = |words: &str| format!("{name} takes {words}");
    Ok(match (name, arguments) {
        ("json", [value]) => value.to_string().into(),
        ("json", _) => return Err(usage("one value: {{json .Config}}")),
        ("index", [value, keys @ ..]) => index(value, keys)?,
        ("index", _) => return Err(usage("a value and keys: {{index .Config.Labels \"tier\"}}")),
        ("len", [value]) => match value {
            Value::String(text) => text.len().into(),
            Value::Array(list) => list.len().into(),
            Value::Object(map) => map.len().into(),
            Value::Null => 0.into(),
            other => return Err(format!("{other} has no length")),
        },
        ("join", [Value::Array(list), Value::String(between)]) => {
            list.iter().map(shown).collect::<Vec<_>>().join(between).into()
        }
        ("join", [Value::Null, _]) => "".into(),
        ("join", _) => return Err(usage("a list and a string: {{join .Args \" \"}}")),
        ("split", [Value::String(text), Value::String(at)]) => {
            text.split(at.as_str()).collect::<Vec<_>>().into()
        }
        ("split", _) => return Err(usage("two strings")),
        ("upper", [value]) => shown(value).to_uppercase().into(),
        ("lower", [value]) => shown(value).to_lowercase().into(),
        ("title", [value]) => title(&shown(value)).into(),
        ("truncate", [Value::String(text), number]) => {
            let most = number.as_u64().ok_or_else(|| usage("a string and a number"))?;
            text.chars().take(usize::try_from(most).unwrap_or(usize::MAX)).collect::<String>().into()
        }
        ("pad", [value, before, after]) => {
            let blanks = |number: &Value| " ".repeat(number.as_u64().unwrap_or(0).min(1000) as usize);
            format!("{}{}{}", blanks(before), shown(value), blanks(after)).into()
        }
        ("not", [value]) => (!is_true(value)).into(),
        ("and", [.., last]) => arguments.iter().find(|value| !is_true(value)).unwrap_or(last).clone(),
        ("or", [.., last]) => arguments.iter().find(|value| is_true(value)).unwrap_or(last).clone(),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            others.iter().any(|other| same(first, other)).into()
        }
        ("ne", [a, b]) => (!same(a, b)).into(),
        ("lt" | "le" | "gt" | "ge", [a, b]) => {
            let order = order(a, b).ok_or_else(|| format!("{a} and {b} have no order"))?;
            match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }
            .into()
        }
        ("print", all) => all.iter().map(shown).collect::<String>().into(),
        ("println", all) => (all.iter().map(shown).collect::<Vec<_>>().join(" ") + "\n").into(),
        ("printf", [Value::String(format), values @ ..]) => formatted(format, values)?.into(),
        _ => return Err(format!("{name} does not take {} arguments of this kind", arguments.len())),
    })
}

fn shown(value: &Value) -> String {
    let mut text = String::new();
    plain(value, &mut text);
    text
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut here = value;
    for key in keys {
        here = match (here, key) {
            (Value::Object(map), Value::String(key)) => match map.get(key) {
                Some(next) => next,
                // The zero value of Go's map of strings, or of what else its members are.
                None if map.values().all(Value::is_string) => return Ok("".into()),
                None => return Ok(Value::Null),
            },
            (Value::Array(list), key) => {
                let place = key.as_u64().and_then(|place| usize::try_from(place).ok());
                match place.and_then(|place| list.get(place)) {
                    Some(next) => next,
                    None => return Err(format!("no element {key}, there are {}", list.len())),
                }
            }
            (Value::Null, Value::String(_)) => return Ok("".into()),
            (other, key) => return Err(format!("{other} has no element {key}")),
        };
    }
    Ok(here.clone())
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn title(text: &str) -> String {
    let mut at_start = true;
    let change = |letter: char| {
        let is_start = std::mem::replace(&mut at_start, letter.is_whitespace());
        if is_start { letter.to_uppercase().collect::<String>() } else { letter.to_string() }
    };
    text.chars().map(change).collect()
}

/// fmt.Sprintf's verbs for what JSON has, with a width.
fn formatted(format: &str, values: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(after.len());
        let (width, after) = after.split_at(end);
        let verb = after.chars().next().ok_or("printf: a % without a letter after it")?;
        rest = &after[verb.len_utf8()..];
        if verb == '%' {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| format!("printf: no value for %{verb}"))?;
        let one = match verb {
            's' | 'v' | 'd' | 't' => shown(value),
            'q' => Value::from(shown(value)).to_string(),
            _ => return Err(format!("printf: %{verb} is not known, there are %s %v %d %t %q %%")),
        };
        let (left, width) = width.strip_prefix('-').map_or((false, width), |width| (true, width));
        let width = width.parse().unwrap_or(0).min(1000);
        text.push_str(&if left { format!("{one:<width$}") } else { format!("{one:>width$}") });
    }
    Ok(text + rest)
}
