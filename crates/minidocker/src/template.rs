//! `--format`: the part of Docker's templates that names fields: `table {{.ID}}\t{{.Names}}`, `{{json .}}`,
//! `{{.Label "tier"}}`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::terminal::plain;

/// A field that a template may name: its name and its heading in a table.
pub(crate) type Field = (&'static str, &'static str);

/// What is shown of one object: a value for each field, in the fields' order, and its labels.
#[derive(Debug)]
pub(crate) struct Row {
    /// As many as there are fields.
    pub(crate) values: Vec<String>,
    /// For `{{.Label "key"}}`.
    pub(crate) labels: BTreeMap<String, String>,
}

/// How rows are printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    table: bool,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(usize),
    JsonField(usize),
    Json,
    Label(String),
}

/// Reads a template; `json` and `table` alone stand for `{{json .}}` and for the table of `default`.
pub(crate) fn parse(text: &str, fields: &[Field], default: &str) -> Result<Template, String> {
    let text = match text {
        "json" => "{{json .}}",
        "" | "table" => default,
        text => text,
    };
    let (table, text) = match text.strip_prefix("table ") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    let mut parts = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, after) = after.split_once("}}").ok_or("a {{ without its }}; write it as {{.ID}}")?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(part(inside.trim(), fields)?);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(Template { table, parts })
}

fn part(inside: &str, fields: &[Field]) -> Result<Part, String> {
    let place = |name: &str| {
        fields.iter().position(|(known, _)| *known == name).ok_or_else(|| {
            let known: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
            format!("no field {}, there are {}", step::quote(name), known.join(" "))
        })
    };
    let label = |rest: &str| rest.trim().strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    match inside.strip_prefix("json ").map(str::trim) {
        Some(".") => return Ok(Part::Json),
        Some(field) if field.starts_with('.') => return place(&field[1..]).map(Part::JsonField),
        _ => {}
    }
    match inside.strip_prefix('.') {
        Some(field) => match field.strip_prefix("Label ").and_then(label) {
            Some(key) => Ok(Part::Label(key)),
            None => place(field).map(Part::Field),
        },
        None => Err(format!(
            "{} is more than a field; write it as {{{{.ID}}}}",
            step::quote(&format!("{{{{{inside}}}}}"))
        )),
    }
}

impl Template {
    /// Whether a field of that name is shown by its own name: of `{{json .}}` it is not said which ones are wanted.
    pub(crate) fn names(&self, fields: &[Field], name: &str) -> bool {
        let is = |place: usize| fields[place].0 == name;
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Field(place) | Part::JsonField(place) if is(*place)))
    }

    /// All rows as text.
    pub(crate) fn render(&self, fields: &[Field], rows: &[Row]) -> String {
        let lines = rows.iter().map(|row| self.line(fields, row));
        if !self.table {
            return lines.map(|line| line + "\n").collect();
        }
        let heading = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(place) | Part::JsonField(place) => fields[*place].1.to_owned(),
            Part::Json => String::new(),
            Part::Label(key) => key.clone(),
        });
        aligned(&std::iter::once(heading.collect()).chain(lines).collect::<Vec<String>>())
    }

    fn line(&self, fields: &[Field], row: &Row) -> String {
        let mut line = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field(place) => line.push_str(&plain(&row.values[*place])),
                Part::JsonField(place) => {
                    line.push_str(&Value::from(row.values[*place].as_str()).to_string())
                }
                Part::Label(key) => line.push_str(&plain(row.labels.get(key).map_or("", String::as_str))),
                Part::Json => {
                    let pairs = fields.iter().zip(&row.values);
                    let object: Map<String, Value> =
                        pairs.map(|((name, _), value)| ((*name).to_owned(), value.as_str().into())).collect();
                    line.push_str(&Value::Object(object).to_string());
                }
            }
        }
        line
    }
}

/// Lines whose cells, between tabs, stand below each other: at least ten letters and three spaces, as in Docker.
fn aligned(lines: &[String]) -> String {
    let cells: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let widths = cells.iter().filter(|row| column + 1 < row.len()).map(|row| row[column].chars().count());
        widths.max().map_or(0, |most| (most + 3).max(10))
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[("ID", "CONTAINER ID"), ("Names", "NAMES")];

    fn render(text: &str, rows: &[[&str; 2]]) -> String {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        let row = |row: &[&str; 2]| Row { values: row.map(str::to_owned).to_vec(), labels: labels.clone() };
        let rows: Vec<Row> = rows.iter().map(row).collect();
        parse(text, FIELDS, "table {{.ID}}\t{{.Names}}").unwrap().render(FIELDS, &rows)
    }

    #[test]
    fn renders_fields_tables_and_json() {
        let rows = [["abc", "web"], ["0123456789ab", "a\x1b[31mb"]];
        assert_eq!(render("{{.Names}}={{ .ID }}!", &rows), "web=abc!\nab=0123456789ab!\n");
        assert_eq!(render("table", &rows), "CONTAINER ID   NAMES\nabc            web\n0123456789ab   ab\n");
        assert_eq!(
            render("table {{.Names}}\\t{{.Label \"tier\"}}", &rows),
            "NAMES     tier\nweb       web\nab        web\n"
        );
        assert_eq!(render("json", &rows[..1]), "{\"ID\":\"abc\",\"Names\":\"web\"}\n");
        assert_eq!(render("{{json .Names}}", &rows[..1]), "\"web\"\n");
        assert_eq!(render("", &[]), "CONTAINER ID   NAMES\n");
        assert_eq!(render("{{.ID}}", &[]), "");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let parse = |text| parse(text, FIELDS, "").unwrap_err();
        assert_eq!(parse("{{.Bogus}}"), "no field Bogus, there are ID Names");
        assert_eq!(parse("{{.ID"), "a {{ without its }}; write it as {{.ID}}");
        assert_eq!(parse("{{if .ID}}"), "'{{if .ID}}' is more than a field; write it as {{.ID}}");
    }
}
