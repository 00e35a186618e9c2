//! Image names, digests and platforms as users write them: what is read is written and read again as the same, and the
//! grammar of distribution/reference as regular expressions, its own form, agrees.

use std::sync::LazyLock;

use oci::{Digest, Platform, Reference};
use regex::Regex;

/// Registry, repository, tag and digest of a complete name, by the expressions of distribution/reference (regexp.go).
static COMPLETE: LazyLock<Regex> = LazyLock::new(|| {
    let label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
    let host = format!(r"(?:{label}(?:\.{label})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?");
    let component = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
    let tag = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
    let digest = "sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}";
    let name = format!("^({host})/({component}(?:/{component})*)(?::({tag}))?(?:@({digest}))?$");
    Regex::new(&name).expect("the grammar is an expression")
});

/// The input as each of them.
pub fn image_names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<Reference>() {
        Ok(reference) => read(text, &reference),
        Err(error) => {
            told(&error.to_string());
            refused(text, &error.to_string());
        }
    }
    match text.parse::<Digest>() {
        Ok(digest) => assert_eq!(digest.to_string(), text),
        Err(error) => told(&error.to_string()),
    }
    match text.parse::<Platform>() {
        Ok(platform) => {
            assert_eq!(platform.to_string().parse(), Ok(platform.clone()));
            let runs = platform.runs();
            assert_eq!(runs[0], platform);
            assert!(runs.iter().all(|other| other.os() == platform.os()));
        }
        Err(error) => told(&error.to_string()),
    }
}

fn read(text: &str, reference: &Reference) {
    let canonical = reference.canonical();
    let Some(parts) = COMPLETE.captures(&canonical) else { panic!("{canonical} is no name") };
    assert_eq!(&parts[1], reference.registry());
    assert_eq!(&parts[2], reference.repository());
    assert_eq!(parts.get(3).map(|part| part.as_str()), reference.tag());
    assert_eq!(
        parts.get(4).map(|part| part.as_str().to_owned()),
        reference.digest().map(|digest| digest.to_string())
    );
    assert!(reference.repository().len() <= 255);
    assert!(reference.tag().is_some() || reference.digest().is_some());
    assert!(canonical.contains(&reference.wanted()), "{text}");
    assert_eq!(canonical.parse().as_ref(), Ok(reference));
    assert_eq!(reference.to_string().parse().as_ref(), Ok(reference));
}

/// What has a registry that can be nothing else, and follows the grammar, is not to be refused.
fn refused(text: &str, words: &str) {
    let Some(parts) = COMPLETE.captures(text) else { return };
    let host = &parts[1];
    let is_host = host == "localhost" || host.contains(['.', ':']) || host.to_lowercase() != host;
    assert!(!is_host || parts[2].len() > 255, "{text} is refused: {words}");
}

/// One line.
fn told(words: &str) {
    assert!(!words.is_empty() && !words.contains(char::is_control), "{words:?}");
}
