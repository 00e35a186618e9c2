//! `--format` of `inspect`: Go's templates over a JSON value, as far as Docker's users write them: `{{.Config.Env}}`,
//! `{{json .Mounts}}`, `{{range .Mounts}}{{.Source}} {{end}}`, `{{index .Config.Labels "tier"}}`, `{{if}}`, `{{with}}`,
//! variables, pipelines and the functions of Docker's command line.

mod functions;
mod parser;
mod words;

use std::collections::BTreeMap;

use serde_json::Value;

/// A template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Show(Pipe),
    Set(String, Pipe),
    If(Pipe, Vec<Part>, Vec<Part>),
    With(Pipe, Vec<Part>, Vec<Part>),
    /// The variables of the key and the value come first.
    Range(Vec<String>, Pipe, Vec<Part>, Vec<Part>),
}

/// Calls, each with the result of the one before as its last argument.
#[derive(Debug, PartialEq, Eq)]
struct Pipe(Vec<Vec<Term>>);

/// A word of a call.
#[derive(Debug, PartialEq, Eq)]
enum Term {
    Function(String),
    Literal(Value),
    /// A place below the value at hand, below a variable (`$` is the whole), or below what parentheses give.
    Place(Root, Vec<String>),
}

#[derive(Debug, PartialEq, Eq)]
enum Root {
    Dot,
    Variable(String),
    Nested(Pipe),
}

/// Reads one; `json` stands for the whole value.
pub(crate) fn parse(text: &str) -> Result<Template, String> {
    let text = if text == "json" { "{{json .}}" } else { text };
    parser::parse(text).map(Template)
}

/// Fields that Docker leaves out of its JSON where they are empty, and that templates may still ask for.
const OFTEN_ABSENT: [&str; 13] = [
    "Health",
    "Healthcheck",
    "SizeRw",
    "SizeRootFs",
    "ExposedPorts",
    "StopSignal",
    "StopTimeout",
    "Shell",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Init",
    "MacAddress",
];

type Variables = BTreeMap<String, Value>;

impl Template {
    /// The text for a value.
    pub(crate) fn render(&self, value: &Value) -> Result<String, String> {
        let mut text = String::new();
        let mut variables = Variables::from([(String::new(), value.clone())]);
        show(&self.0, value, &mut variables, &mut text)?;
        Ok(text)
    }
}

fn show(parts: &[Part], dot: &Value, variables: &mut Variables, text: &mut String) -> Result<(), String> {
    for part in parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Show(pipe) => plain(&pipe.value(dot, variables)?, text),
            Part::Set(name, pipe) => {
                let value = pipe.value(dot, variables)?;
                variables.insert(name.clone(), value);
            }
            Part::If(pipe, yes, no) => {
                let chosen = if is_true(&pipe.value(dot, variables)?) { yes } else { no };
                show(chosen, dot, variables, text)?;
            }
            Part::With(pipe, yes, no) => match pipe.value(dot, variables)? {
                value if is_true(&value) => show(yes, &value, variables, text)?,
                _ => show(no, dot, variables, text)?,
            },
            Part::Range(names, pipe, body, none) => {
                let all = members(pipe.value(dot, variables)?)?;
                if all.is_empty() {
                    show(none, dot, variables, text)?;
                }
                for (key, value) in all {
                    match names.as_slice() {
                        [one] => drop(variables.insert(one.clone(), value.clone())),
                        [first, second] => {
                            variables.insert(first.clone(), key);
                            variables.insert(second.clone(), value.clone());
                        }
                        _ => {}
                    }
                    show(body, &value, variables, text)?;
                }
            }
        }
    }
    Ok(())
}

/// What `range` goes through, with the keys: Go has those of maps in order.
fn members(value: Value) -> Result<Vec<(Value, Value)>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => {
            Ok(list.into_iter().enumerate().map(|(place, one)| (Value::from(place), one)).collect())
        }
        Value::Object(map) => {
            let mut all: Vec<(Value, Value)> = map.into_iter().map(|(key, one)| (key.into(), one)).collect();
            all.sort_by(|a, b| a.0.as_str().cmp(&b.0.as_str()));
            Ok(all)
        }
        other => Err(format!("range cannot go through {other}")),
    }
}

impl Pipe {
    fn value(&self, dot: &Value, variables: &mut Variables) -> Result<Value, String> {
        let mut result: Option<Value> = None;
        for call in &self.0 {
            let mut arguments = Vec::new();
            let (function, terms) = match call.split_first() {
                Some((Term::Function(name), rest)) => (Some(name), rest),
                _ => (None, call.as_slice()),
            };
            for term in terms {
                arguments.push(term.value(dot, variables)?);
            }
            arguments.extend(result.take());
            result = Some(match function {
                Some(name) => functions::call(name, &arguments)?,
                None => arguments.swap_remove(0),
            });
        }
        Ok(result.unwrap_or(Value::Null))
    }
}

impl Term {
    fn value(&self, dot: &Value, variables: &mut Variables) -> Result<Value, String> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Function(name) => functions::call(name, &[]),
            Self::Place(Root::Dot, path) => find(dot, path),
            Self::Place(Root::Variable(name), path) => match variables.get(name) {
                Some(value) => find(value, path),
                None => Err(format!("no variable ${name}")),
            },
            Self::Place(Root::Nested(pipe), path) => find(&pipe.value(dot, variables)?, path),
        }
    }
}

fn find(value: &Value, path: &[String]) -> Result<Value, String> {
    let mut here = value;
    for name in path {
        here = match here {
            Value::Object(map) => match map.get(name) {
                Some(next) => next,
                None if OFTEN_ABSENT.contains(&name.as_str()) => return Ok(Value::Null),
                // A label that is not there is empty, as in Go's maps; a field is a mistake.
                None if map.keys().any(|key| key.starts_with(char::is_uppercase)) => {
                    let known: Vec<&str> = map.keys().map(String::as_str).collect();
                    return Err(format!("no field {}, there are {}", step::quote(name), known.join(" ")));
                }
                None => return Ok(Value::Null),
            },
            Value::Null => return Ok(Value::Null),
            other => return Err(format!("no field {} in {other}", step::quote(name))),
        };
    }
    Ok(here.clone())
}

/// What Go's templates take for true: whatever is neither zero nor empty.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
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

    fn render(text: &str, value: &Value) -> Result<String, String> {
        parse(text)?.render(value)
    }

    #[test]
    fn places_are_found_and_shown_as_go_does() {
        let value = json!({"Id": "sha256:1", "Config": {"Env": ["A=1", "B=2"], "Labels": {"a.b": "x"}, "Tty": false}});
        let render = |text: &str| render(text, &value);
        assert_eq!(render("{{.Id}}").unwrap(), "sha256:1");
        assert_eq!(render("{{ .Config.Env }}\\t{{.Config.Tty}}").unwrap(), "[A=1 B=2]\tfalse");
        assert_eq!(render("{{json .Config.Env}}").unwrap(), r#"["A=1","B=2"]"#);
        assert_eq!(render("{{index .Config.Labels \"a.b\"}}").unwrap(), "x");
        assert_eq!(render("{{.Config.Labels}}").unwrap(), "map[a.b:x]");
        assert_eq!(render("{{index .Config.Env 1}}").unwrap(), "B=2");
        assert_eq!(render("{{index .Config.Labels \"none\"}}").unwrap(), "");
        assert!(render("{{.Bogus}}").unwrap_err().starts_with("no field Bogus, there are "));
        assert!(render("{{.Id.More}}").is_err());
        assert_eq!(parse("json").unwrap(), parse("{{json .}}").unwrap());
        for wrong in [
            "{{Id}}",
            "{{.Id",
            "{{if .Id}}",
            "{{..}}",
            "{{end}}",
            "{{else}}",
            "{{}}",
            "{{\"a}}",
            "{{range .Id}}{{else}}{{else}}{{end}}",
            "{{(.Id}}",
            "{{.Id)}}",
            "{{| .Id}}",
            "{{.Id |}}",
            "{{template \"x\"}}",
            "{{.Id .Id}}",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn actions_are_gos() {
        let value = json!({
            "Mounts": [{"Source": "/a", "RW": true}, {"Source": "/b", "RW": false}],
            "Networks": {"two": {"IPAddress": "10.0.0.2"}, "one": {"IPAddress": "10.0.0.1"}},
            "State": {"Status": "running", "ExitCode": 0},
            "Args": ["-c", "sleep"], "None": null,
        });
        for (text, wanted) in [
            ("{{range .Mounts}}{{.Source}};{{end}}", "/a;/b;"),
            ("{{range $i, $m := .Mounts}}{{$i}}={{$m.Source}} {{end}}", "0=/a 1=/b "),
            ("{{range $k, $v := .Networks}}{{$k}}:{{$v.IPAddress}} {{end}}", "one:10.0.0.1 two:10.0.0.2 "),
            ("{{range .None}}x{{else}}nothing{{end}}", "nothing"),
            ("{{range .Mounts}}{{if .RW}}rw{{else}}ro{{end}} {{end}}", "rw ro "),
            (
                "{{if .State.Health}}{{.State.Health.Status}}{{else if eq .State.Status \"x\"}}1{{else}}2{{end}}",
                "2",
            ),
            ("{{with .State}}{{.Status}} {{$.Args}}{{end}}", "running [-c sleep]"),
            ("{{join .Args \" \"}}|{{.Args | len}}|{{upper .State.Status}}", "-c sleep|2|RUNNING"),
            ("{{$s := .State.Status}}{{$s}}", "running"),
            ("{{(index .Mounts 1).Source}} {{index .Networks \"one\" \"IPAddress\"}}", "/b 10.0.0.1"),
            ("{{printf \"%s-%d-%q%%\" .State.Status .State.ExitCode \"x\"}}", "running-0-\"x\"%"),
            ("{{if and .Args (not .None)}}yes{{end}}{{/* no */}}", "yes"),
            ("a {{- .State.ExitCode -}} b", "a0b"),
            ("{{json .State | len}}", "33"),
            ("{{println .State.Status}}", "running\n"),
            ("{{index (split .State.Status \"n\") 0}}{{title \"ab\"}}{{lower \"AB\"}}", "ruAbab"),
            ("{{if and (eq .State.ExitCode 0) (ne 1 2) (lt 1 2) (ge 2 2)}}ok{{end}}", "ok"),
        ] {
            assert_eq!(render(text, &value).as_deref(), Ok(wanted), "{text}");
        }
        for wrong in
            ["{{index .Args 9}}", "{{range .State.Status}}{{end}}", "{{$no}}", "{{join .State \"\"}}"]
        {
            assert!(render(wrong, &value).is_err(), "{wrong}");
        }
    }
}
