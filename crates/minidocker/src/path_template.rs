//! `--format` of `inspect`: templates that name places in a JSON value, `{{.Config.Env}}`, `{{json .RootFS}}`,
//! `{{index .Config.Labels "tier"}}`.

use serde_json::Value;

/// A template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place { path: Vec<String>, json: bool },
}

/// Reads one; `json` stands for the whole value.
pub(crate) fn parse(text: &str) -> Result<Template, String> {
    let text = if text == "json" { "{{json .}}" } else { text };
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    let mut parts = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, after) = after.split_once("}}").ok_or("a {{ without its }}; write it as {{.Id}}")?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(place(inside.trim())?);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(Template(parts))
}

fn place(inside: &str) -> Result<Part, String> {
    let wrong = || {
        let whole = format!("{{{{{inside}}}}}");
        format!(
            "{} names no place; write it as {{{{.Config.Env}}}} or {{{{json .Config}}}}",
            step::quote(&whole)
        )
    };
    let (json, word) = match inside.strip_prefix("json ") {
        Some(rest) => (true, rest.trim()),
        None => (false, inside),
    };
    if let Some(rest) = word.strip_prefix("index ") {
        let (path, key) = rest.trim().split_once(' ').ok_or_else(wrong)?;
        let key = key.trim();
        let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
        let mut path = dotted(path).ok_or_else(wrong)?;
        path.push(key.to_owned());
        return Ok(Part::Place { path, json });
    }
    Ok(Part::Place { path: dotted(word).ok_or_else(wrong)?, json })
}

fn dotted(word: &str) -> Option<Vec<String>> {
    let names = word.strip_prefix('.')?;
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if names.is_empty() {
        return Some(Vec::new());
    }
    names.split('.').map(|name| is_name(name).then(|| name.to_owned())).collect()
}

impl Template {
    /// The text for a value.
    pub(crate) fn render(&self, value: &Value) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Place { path, json } => {
                    let found = find(value, path)?;
                    if *json {
                        text.push_str(&found.to_string());
                    } else {
                        plain(&found, &mut text);
                    }
                }
            }
        }
        Ok(text)
    }
}

fn find(value: &Value, path: &[String]) -> Result<Value, String> {
    let mut here = value;
    for name in path {
        here = match here {
            Value::Object(map) => match map.get(name) {
                Some(next) => next,
                // A label that is not there is empty, as in Go's maps; a field is a mistake.
                None if map.keys().any(|key| key.starts_with(char::is_uppercase)) => {
                    let known: Vec<&str> = map.keys().map(String::as_str).collect();
                    return Err(format!("no field {}, there are {}", step::quote(name), known.join(" ")));
                }
                None => return Ok(Value::Null),
            },
            Value::Array(list) => match name.parse::<usize>().ok().and_then(|place| list.get(place)) {
                Some(next) => next,
                None => return Err(format!("no element {}, there are {}", step::quote(name), list.len())),
            },
            _ => return Ok(Value::Null),
        };
    }
    Ok(here.clone())
}

/// As Go prints values: lists in brackets, maps as `map[a:b]`.
fn plain(value: &Value, text: &mut String) {
    match value {
        Value::String(string) => text.push_str(string),
        Value::Null => text.push_str("<no value>"),
        Value::Array(list) => {
            text.push('[');
            for (number, one) in list.iter().enumerate() {
                if number > 0 {
                    text.push(' ');
                }
                plain(one, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push_str("map[");
            for (number, (key, one)) in map.iter().enumerate() {
                if number > 0 {
                    text.push(' ');
                }
                text.push_str(key);
                text.push(':');
                plain(one, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// JSON that was indented by two, indented by four.
pub(crate) fn indented(text: &str) -> String {
    let line = |line: &str| {
        let depth = line.len() - line.trim_start_matches(' ').len();
        format!("{}{line}", " ".repeat(depth))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_found_and_shown_as_go_does() {
        let value = json!({"Id": "sha256:1", "Config": {"Env": ["A=1", "B=2"], "Labels": {"a.b": "x"}, "Tty": false}});
        let render = |text: &str| parse(text).unwrap().render(&value);
        assert_eq!(render("{{.Id}}").unwrap(), "sha256:1");
        assert_eq!(render("{{ .Config.Env }}\\t{{.Config.Tty}}").unwrap(), "[A=1 B=2]\tfalse");
        assert_eq!(render("{{json .Config.Env}}").unwrap(), r#"["A=1","B=2"]"#);
        assert_eq!(render("{{index .Config.Labels \"a.b\"}}").unwrap(), "x");
        assert_eq!(render("{{.Config.Labels}}").unwrap(), "map[a.b:x]");
        assert_eq!(render("{{index .Config.Env 1}}").unwrap(), "B=2");
        assert_eq!(render("{{index .Config.Labels \"none\"}}").unwrap(), "<no value>");
        assert!(render("{{.Bogus}}").unwrap_err().starts_with("no field Bogus, there are "));
        assert_eq!(parse("json").unwrap(), parse("{{json .}}").unwrap());
        for wrong in ["{{Id}}", "{{.Id", "{{if .Id}}", "{{..}}"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
