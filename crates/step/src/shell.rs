//! A step in the words of the shell.

use std::borrow::Cow;

/// What a user would type to do the same by hand. Lines may use `$ROOT`, the directory that the new root file
/// system is mounted on before the pivot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shell {
    /// These lines do it.
    Lines(Vec<String>),
    /// Another line of the script does it already; says which.
    Within(&'static str),
    /// No plain command does it; says why.
    Nothing(&'static str),
}

impl Shell {
    /// One line.
    pub fn line(line: impl Into<String>) -> Self {
        Self::Lines(vec![line.into()])
    }
}

/// `text` as one word of a POSIX shell: bare where that is safe, else in single quotes.
pub fn quote(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_a_shell_would_read() {
        assert_eq!(quote("/proc/sys"), "/proc/sys");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("$(id)"), "'$(id)'");
    }
}
