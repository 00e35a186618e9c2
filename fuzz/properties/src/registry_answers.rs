//! What comes from a registry: challenges, manifests and indexes; and the file of settings, which is text as well.

use std::path::Path;

use oci::{Platform, select};
use registry::{Content, Settings, challenges, content, layers};

/// The first line as a challenge and as a media type, the rest as a manifest of it; the whole as settings.
pub fn registry_answers(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (first, rest) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    if let Ok(line) = std::str::from_utf8(first) {
        challenge(line);
        manifest(line, rest);
    }
    manifest("application/json", rest);
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(error) = Settings::parse(text, Path::new("registries.toml"))
    {
        told(&error.to_string());
    }
}

fn challenge(line: &str) {
    let list = challenges(line);
    let mut written = String::new();
    for challenge in &list {
        assert!(!challenge.scheme.is_empty() && challenge.scheme == challenge.scheme.to_ascii_lowercase());
        let parameters: Vec<String> = challenge
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect();
        for (name, _) in &challenge.parameters {
            let first = challenge.parameters.iter().find(|(other, _)| other == name);
            assert_eq!(challenge.parameter(name), first.map(|(_, value)| value.as_str()));
        }
        written.push_str(&format!("{} {}, ", challenge.scheme, parameters.join(", ")));
    }
    // Written properly, the same is read.
    assert_eq!(challenges(&written), list, "{written}");
}

fn manifest(media_type: &str, bytes: &[u8]) {
    match content(media_type, bytes) {
        Ok(Content::Image(image)) => {
            if let Err(error) = layers(&image) {
                told(&error.to_string());
            }
            // What it is does not hang on how it is written.
            let again = serde_json::to_vec(&image).expect("a manifest is JSON");
            assert_eq!(content(media_type, &again).ok(), Some(Content::Image(image)));
        }
        Ok(Content::Index(index)) => {
            let chosen = select(&index, &Platform::host());
            assert!(chosen.is_none_or(|chosen| index.manifests().contains(chosen)));
        }
        Err(error) => told(&error.to_string()),
    }
}

/// One line, of a length that can be shown.
fn told(words: &str) {
    assert!(!words.contains(char::is_control) && words.chars().count() < 1000, "{words:?}");
}
