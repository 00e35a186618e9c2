//! The words after a command: options in any order, then the rest.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Result, bail};

/// What is still to be read. Each question takes its answer out; [`Arguments::finish`] refuses what nobody asked for.
pub(crate) struct Arguments {
    words: Vec<String>,
    /// The words after `--`.
    tail: Vec<String>,
}

impl Arguments {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        let mut words: Vec<String> = words.collect();
        let tail = match words.iter().position(|word| word == "--") {
            Some(at) => words.drain(at..).skip(1).collect(),
            None => Vec::new(),
        };
        Self { words, tail }
    }

    /// Whether `name` was given.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() < before
    }

    /// The value of `name VALUE` or `name=VALUE`.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>> {
        let assigned = |word: &String| word.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        if let Some(at) = self.words.iter().position(assigned) {
            return Ok(Some(self.words.remove(at).split_off(name.len() + 1)));
        }
        let Some(at) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        if at + 1 == self.words.len() {
            bail!("{name} needs a value");
        }
        self.words.remove(at);
        Ok(Some(self.words.remove(at)))
    }

    /// The same, of another type, or `default`.
    pub(crate) fn value_or<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> Result<T> {
        match self.value(name)? {
            None => Ok(default),
            Some(text) => text.parse().or_else(|error| bail!("{name} {text}: {error}")),
        }
    }

    /// The next word that is no option.
    pub(crate) fn positional(&mut self) -> Option<String> {
        let at = self.words.iter().position(|word| !word.starts_with('-'))?;
        Some(self.words.remove(at))
    }

    /// The words after `--`.
    pub(crate) fn tail(&mut self) -> Vec<String> {
        std::mem::take(&mut self.tail)
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> Result<()> {
        match self.words.first().or(self.tail.first()) {
            None => Ok(()),
            Some(word) => bail!("`{word}` is not understood here; `cargo xtask` lists what is"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Arguments {
        Arguments::new(text.split_whitespace().map(String::from))
    }

    #[test]
    fn options_come_in_any_order() {
        let mut words = arguments("limits --runs 7 --cgroup=v2 --peers -- a --runs");
        assert_eq!(words.value("--cgroup").unwrap().as_deref(), Some("v2"));
        assert_eq!(words.value_or("--runs", 50).unwrap(), 7);
        assert_eq!(words.value_or("--spacing-ms", 250).unwrap(), 250);
        assert!(words.flag("--peers"));
        assert!(!words.flag("--peers"));
        assert_eq!(words.positional().as_deref(), Some("limits"));
        assert_eq!(words.tail(), ["a", "--runs"]);
        assert!(words.finish().is_ok());
    }

    #[test]
    fn wrong_words_are_refused() {
        assert!(arguments("--runs").value("--runs").is_err());
        assert!(arguments("--runs x").value_or("--runs", 1).is_err());
        assert!(arguments("--nonsense").finish().is_err());
        assert!(arguments("-- x").finish().is_err());
    }
}
