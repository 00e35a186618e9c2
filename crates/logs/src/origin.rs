//! Whose output it is, and what of that goes into the log: tags, labels and variables of the environment.

use std::collections::BTreeMap;

use regex::Regex;
use step::Failure;

use crate::settings::{Settings, refused};

/// The container that prints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its full id.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// Its image as the user named it; empty where it has none.
    pub image: String,
    /// Its image's id, `sha256:…`; empty where it has none.
    pub image_id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its environment, `KEY=value` each.
    pub env: Vec<String>,
}

/// The fields of a tag's template.
const FIELDS: [&str; 7] =
    [".ID", ".FullID", ".Name", ".ImageID", ".ImageFullID", ".ImageName", ".DaemonName"];

impl Origin {
    /// The first twelve letters of the id.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    fn field(&self, name: &str) -> Option<&str> {
        Some(match name {
            ".ID" => self.short_id(),
            ".FullID" => &self.id,
            ".Name" => &self.name,
            ".ImageID" => self.image_id.get(..12).unwrap_or(&self.image_id),
            ".ImageFullID" => &self.image_id,
            ".ImageName" => &self.image,
            ".DaemonName" => "minidocker",
            _ => return None,
        })
    }

    /// A tag's template with its fields filled in: `{{.Name}}/{{.ID}}`.
    pub(crate) fn tag(&self, template: &str) -> Result<String, Failure> {
        let mut text = String::new();
        let mut rest = template;
        while let Some(start) = rest.find("{{") {
            text.push_str(&rest[..start]);
            let Some(end) = rest[start..].find("}}") else {
                return Err(refused("tag", format!("'{template}' has {{{{ without }}}}"))
                    .hint("write a field as {{.Name}}"));
            };
            let name = rest[start + 2..start + end].trim();
            let value = self.field(name).ok_or_else(|| {
                refused("tag", format!("'{template}' has an unknown field {name}"))
                    .hint(format!("known are {}", FIELDS.join(", ")))
            })?;
            text.push_str(value);
            rest = &rest[start + end + 2..];
        }
        text.push_str(rest);
        Ok(text)
    }

    /// The labels and variables that the settings ask for, with the key as `rename` makes it.
    pub(crate) fn attributes(
        &self,
        settings: &Settings,
        rename: fn(&str) -> String,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let env: BTreeMap<&str, &str> = self.env.iter().filter_map(|entry| entry.split_once('=')).collect();
        let labels: BTreeMap<&str, &str> =
            self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut all = BTreeMap::new();
        for (facts, list, pattern) in [(labels, "labels", "labels-regex"), (env, "env", "env-regex")] {
            let listed = settings.option(list).unwrap_or_default();
            let pattern = expression(settings, pattern)?;
            for (key, value) in facts {
                let matches = pattern.as_ref().is_some_and(|pattern| pattern.is_match(key));
                if matches || listed.split(',').any(|wanted| wanted == key) {
                    all.insert(rename(key), value.to_owned());
                }
            }
        }
        Ok(all)
    }

    /// The attributes and, where it is asked for, the tag, as the JSON object that Docker puts beside each line; empty
    /// where there are none.
    pub(crate) fn json(&self, settings: &Settings) -> Result<Vec<u8>, Failure> {
        let mut all = self.attributes(settings, str::to_owned)?;
        if let Some(template) = settings.option("tag") {
            all.insert("tag".into(), self.tag(template)?);
        }
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let mut text = Vec::new();
        for (key, value) in &all {
            text.push(if text.is_empty() { b'{' } else { b',' });
            crate::json::line::string(&mut text, key.as_bytes());
            text.push(b':');
            crate::json::line::string(&mut text, value.as_bytes());
        }
        text.push(b'}');
        Ok(text)
    }
}

/// Refuses templates and expressions that could not be filled in later.
pub(crate) fn check(settings: &Settings) -> Result<(), Failure> {
    if let Some(template) = settings.option("tag") {
        Origin::default().tag(template)?;
    }
    ["labels-regex", "env-regex"].into_iter().try_for_each(|key| expression(settings, key).map(drop))
}

fn expression(settings: &Settings, key: &str) -> Result<Option<Regex>, Failure> {
    let compile = |text: &str| {
        Regex::new(text).map_err(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            refused(key, format!("'{text}' is no regular expression: {why}"))
        })
    };
    settings.option(key).map(compile).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            image: "nginx:1".into(),
            image_id: "sha256:aabbccddeeff".into(),
            labels: [("app.name".into(), "a<b".into()), ("team".into(), "x".into())].into(),
            env: vec!["PATH=/bin".into(), "MODE=test=1".into(), "odd".into()],
        }
    }

    fn settings(options: &[(&str, &str)]) -> Settings {
        let options: Vec<_> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::parse(Some("json-file"), &options).unwrap()
    }

    #[test]
    fn tags_are_filled_in() {
        let tag = |text| origin().tag(text).unwrap();
        assert_eq!(tag("{{.Name}}/{{ .ID }}-x"), "web/0123456789ab-x");
        assert_eq!(tag("{{.ImageName}}{{.FullID}}"), "nginx:10123456789abcdef");
        assert_eq!(tag("{{.ImageID}} {{.DaemonName}}"), "sha256:aabbc minidocker");
        assert!(origin().tag("{{.Name").is_err());
    }

    #[test]
    fn attributes_are_chosen_by_name_and_by_expression() {
        let json =
            |options: &[(&str, &str)]| String::from_utf8(origin().json(&settings(options)).unwrap()).unwrap();
        assert_eq!(json(&[]), "");
        assert_eq!(json(&[("labels", "team,none"), ("env", "MODE")]), r#"{"MODE":"test=1","team":"x"}"#);
        assert_eq!(json(&[("labels-regex", "^app")]), r#"{"app.name":"a\u003cb"}"#);
        assert_eq!(json(&[("env-regex", "^P"), ("tag", "{{.Name}}")]), r#"{"PATH":"/bin","tag":"web"}"#);
    }
}
