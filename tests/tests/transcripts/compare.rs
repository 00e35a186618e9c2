//! Two answers to one command: what of them must be the same, and what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use minidocker_tests::Output;
use serde_json::Value;

use crate::script::{Shape, Step};

/// One difference: of which step, in what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    step: String,
    what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.what)
    }
}

/// All differences between two answers.
pub(crate) fn compare(step: &Step, theirs: &Output, ours: &Output) -> Vec<Difference> {
    let mut what = Vec::new();
    if theirs.code != ours.code {
        what.push(format!("exit code {}, Docker's {}", ours.code, theirs.code));
    }
    if let Shape::Says(words) = step.shape {
        let first = |output: &Output| output.err().lines().next().unwrap_or_default().to_lowercase();
        for (whose, said) in [("Docker", first(theirs)), ("minidocker", first(ours))] {
            what.extend(
                words
                    .iter()
                    .filter(|word| !said.contains(**word))
                    .map(|word| format!("{whose} does not say `{word}`")),
            );
        }
    } else if theirs.code == 0 && ours.code == 0 {
        answers(step.shape, &theirs.out(), &ours.out(), &mut what);
    }
    let named = |what| Difference { step: step.words.join(" "), what };
    what.into_iter().map(named).collect()
}

fn answers(shape: Shape, theirs: &str, ours: &str, what: &mut Vec<String>) {
    match shape {
        Shape::Code | Shape::Says(_) => {}
        Shape::Words => {
            let (theirs, ours) = (normal(theirs), normal(ours));
            if theirs != ours {
                what.push(format!("prints {ours:?}, Docker {theirs:?}"));
            }
        }
        Shape::Columns => {
            let (theirs, ours) = (columns(theirs), columns(ours));
            if theirs != ours {
                what.push(format!("columns {}, Docker's {}", ours.join("|"), theirs.join("|")));
            }
        }
        Shape::Json => {
            let (theirs, ours) = (documents(theirs), documents(ours));
            match (theirs, ours) {
                (Ok(theirs), Ok(ours)) => fields(&theirs, &ours, what),
                (theirs, ours) => what.push(format!(
                    "no JSON: {}",
                    if theirs.is_err() {
                        "Docker's"
                    } else if ours.is_err() {
                        "ours"
                    } else {
                        ""
                    }
                )),
            }
        }
    }
}

/// The titles of a table: words with two or more blanks between them.
fn columns(text: &str) -> Vec<String> {
    let first = text.lines().next().unwrap_or_default();
    first.split("  ").map(str::trim).filter(|title| !title.is_empty()).map(str::to_owned).collect()
}

/// One document, or one a line; as an array.
fn documents(text: &str) -> Result<Value, serde_json::Error> {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Array(_)) => Ok(value),
        Ok(value) => Ok(Value::Array(vec![value])),
        Err(_) => text.lines().map(serde_json::from_str).collect::<Result<Vec<_>, _>>().map(Value::Array),
    }
}

/// What is at each path: kinds of values, and the values themselves where they say the same each time.
type Paths = BTreeMap<String, BTreeSet<String>>;

fn fields(theirs: &Value, ours: &Value, what: &mut Vec<String>) {
    let (mut left, mut right) = (Paths::new(), Paths::new());
    collect("", theirs, &mut left);
    collect("", ours, &mut right);
    let below = |all: &Paths, path: &String| {
        // Of what is missing as a whole, its top alone is told.
        path.match_indices(['.', '[']).any(|(at, _)| at > 0 && !all.contains_key(&path[..at]))
    };
    for path in left.keys().filter(|path| !right.contains_key(*path) && !below(&right, path)) {
        what.push(format!("no {path}"));
    }
    for path in right.keys().filter(|path| !left.contains_key(*path) && !below(&left, path)) {
        what.push(format!("{path} is ours alone"));
    }
    for (path, values) in &right {
        let Some(other) = left.get(path) else { continue };
        // An empty list has no elements to compare.
        if values != other {
            let shown = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" or ");
            what.push(format!("{path} is {}, Docker's {}", shown(values), shown(other)));
        }
    }
}

fn collect(path: &str, value: &Value, into: &mut Paths) {
    let kind = match value {
        Value::Null => "null".to_owned(),
        // Docker's daemon turns it on at its own start, we at the first start on a bridge.
        Value::Bool(_) if path.ends_with(".IPv4Forwarding") => "the machine's".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number_of(path, &number.to_string()),
        // A path of the engine's own world.
        Value::String(text) if text.contains("/minidocker-test-") => "a path of its own".to_owned(),
        Value::String(text) => format!("{:?}", normal(text)),
        Value::Array(all) => {
            for one in all {
                collect(&format!("{path}[]"), one, into);
            }
            "list".to_owned()
        }
        Value::Object(all) => {
            for (key, one) in all {
                collect(&format!("{path}.{key}"), one, into);
            }
            "object".to_owned()
        }
    };
    into.entry(path.to_owned()).or_default().insert(kind);
}

/// Numbers are compared but for those of the moment: process numbers, sizes, times.
fn number_of(path: &str, text: &str) -> String {
    let last = path.rsplit('.').next().unwrap_or_default();
    let moment = ["pid", "size", "time", "used", "usage", "bytes", "total", "count", "fd", "goroutines"];
    if moment.iter().any(|word| last.to_lowercase().contains(word)) {
        "number".to_owned()
    } else {
        text.to_owned()
    }
}

const SEPARATORS: [char; 9] = [' ', '\n', '\t', '"', ',', '/', '=', '(', ')'];

/// Text without what is another each time: ids, digests, times, addresses, paths of the engine's own, ages, sizes.
pub(crate) fn normal(text: &str) -> String {
    let words = text.split_inclusive(SEPARATORS).map(|word| {
        let end = word.trim_end_matches(SEPARATORS);
        format!("{}{}", of_word(end), &word[end.len()..])
    });
    let text: String = words.collect();
    // "2 seconds" and "Less than a second" are the same age here.
    let mut text = text.replace("Less than a second", "AGE").replace("About a minute", "AGE");
    for unit in ["seconds", "second", "minutes", "minute"] {
        for number in 0..100 {
            text = text
                .replace(&format!("{number} {unit} "), "AGE ")
                .replace(&format!("{number} {unit}\n"), "AGE\n");
            if text.ends_with(&format!("{number} {unit}")) {
                text.truncate(text.len() - format!("{number} {unit}").len());
                text.push_str("AGE");
            }
        }
    }
    while text.contains("1AGE") || text.contains("2AGE") || text.contains("3AGE") {
        text = text.replace("1AGE", "AGE").replace("2AGE", "AGE").replace("3AGE", "AGE");
    }
    text
}

fn of_word(word: &str) -> String {
    let hex = |word: &str| word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digit = word.bytes().any(|byte| byte.is_ascii_digit());
    if let Some(rest) = word.strip_prefix("sha256:")
        && hex(rest)
    {
        return format!("DIGEST{}", rest.len());
    }
    if matches!(word.len(), 12 | 64) && hex(word) && digit {
        return format!("ID{}", word.len());
    }
    let time = word.len() > 18 && word.as_bytes()[4] == b'-' && word.as_bytes()[10] == b'T';
    if time && !word.starts_with("0001") {
        return "TIME".to_owned();
    }
    let is_date = |word: &str, mark| {
        word.split(mark).count() == 3
            && word.split(mark).all(|part| part.len() >= 2 && part.parse::<u16>().is_ok())
    };
    if is_date(word, '-') || is_date(word, ':') {
        return "TIME".to_owned();
    }
    let dots = word.split('.').count() == 4 && word.split('.').all(|part| part.parse::<u8>().is_ok());
    if dots && word != "0.0.0.0" {
        return "ADDRESS".to_owned();
    }
    if word.split(':').count() == 6 && word.split(':').all(|part| part.len() == 2 && hex(part)) {
        return "MAC".to_owned();
    }
    let number = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '%');
    let unit = &word[number.len()..];
    let size = ["B", "kB", "MB", "GB", "KiB", "MiB", "GiB", "%"].contains(&unit);
    if size && !number.is_empty() && number.parse::<f64>().is_ok() {
        return if unit == "%" { "PERCENT" } else { "SIZE" }.to_owned();
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_each_time_is_no_difference() {
        assert_eq!(normal("Up 3 seconds"), normal("Up Less than a second"));
        assert_eq!(normal("Exited (0) 12 seconds ago"), normal("Exited (0) 2 seconds ago"));
        assert_eq!(normal("0123456789ab\n"), "ID12\n");
        assert_eq!(normal("2026-11-21T13:23:37.123Z"), "TIME");
        assert_eq!(normal("172.17.0.2/16"), "ADDRESS/16");
        assert_eq!(normal("1.2MB (virtual 3kB)"), normal("9MB (virtual 17GB)"));
    }

    #[test]
    fn of_what_is_missing_the_top_alone_is_told() {
        let theirs = serde_json::json!([{"a": {"b": {"c": 1}}, "l": [], "Pid": 7}]);
        let ours = serde_json::json!([{"l": [], "Pid": 8, "x": ""}]);
        let mut what = Vec::new();
        fields(&theirs, &ours, &mut what);
        assert_eq!(what, ["no [].a", "[].x is ours alone"]);
    }
}
