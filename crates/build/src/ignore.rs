//! `.dockerignore`: what of the context no COPY sees. As Docker's `patternmatcher` has it: the last pattern that
//! matches a path, or a directory above it, decides.

use crate::pattern::Pattern;

/// A list of patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    /// How many names the pattern has.
    depth: usize,
    /// `!`.
    exception: bool,
    /// Its names before the first with a sign in it.
    literal: Vec<String>,
    /// Whether more names follow those.
    more: bool,
}

impl Ignore {
    /// Reads a file of patterns, one a line.
    ///
    /// # Errors
    /// The line's number and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut this = Self::default();
        for (number, line) in text.lines().enumerate() {
            if !line.starts_with('#') && !line.trim().is_empty() {
                this.add(line.trim()).map_err(|words| (number + 1, words))?;
            }
        }
        Ok(this)
    }

    /// Adds a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, line: &str) -> Result<(), String> {
        let (exception, text) = match line.strip_prefix('!') {
            Some(text) => (true, text.trim()),
            None => (false, line),
        };
        if text.is_empty() {
            return Err("there is nothing behind the !".to_owned());
        }
        let cleaned = clean(text);
        let names: Vec<&str> = cleaned.split('/').collect();
        let plain = names.iter().take_while(|name| !name.contains(['*', '?', '[', '\\'])).count();
        self.rules.push(Rule {
            pattern: Pattern::docker(&cleaned)?,
            depth: names.len(),
            exception,
            literal: names[..plain].iter().map(|name| (*name).to_owned()).collect(),
            more: plain < names.len(),
        });
        Ok(())
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a path is left out; relative to the context, without a slash at either end.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            // What would not change anything need not be matched.
            if rule.exception == excluded && rule.matches(path) {
                excluded = !rule.exception;
            }
        }
        excluded
    }

    /// Whether something below an excluded directory may be an exception.
    pub fn may_include_below(&self, directory: &str) -> bool {
        let names: Vec<&str> = directory.split('/').collect();
        self.rules.iter().any(|rule| {
            let known = rule.literal.len().min(names.len());
            let agrees = rule.literal.iter().zip(&names).all(|(a, b)| a == b);
            rule.exception && agrees && (known < names.len() && rule.more || rule.depth > names.len())
        })
    }
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        if self.pattern.matches(path) {
            return true;
        }
        // Or a directory above.
        path.match_indices('/').any(|(end, _)| self.pattern.matches(&path[..end]))
    }
}

/// Go's `filepath.Clean`, and no slash before it.
fn clean(text: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            ".." if text.starts_with('/') => {}
            name => names.push(name),
        }
    }
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_dockers() {
        for (patterns, excluded, kept) in [
            ("a", &["a", "a/b", "a/b/c"][..], &["b/a", "ab"][..]),
            ("/a/", &["a", "a/b"], &["b/a"]),
            ("*.o", &["x.o"], &["d/x.o", "x.oo"]),
            ("**/*.o", &["x.o", "d/x.o", "d/e/x.o", "d/x.o/y"], &["x.c"]),
            ("d/**", &["d/x", "d/e/x"], &["d", "e"]),
            ("**", &["a", "a/b"], &[]),
            ("*", &["a", "a/b"], &[]),
            ("a/*/c", &["a/b/c", "a/b/c/d"], &["a/c", "a/b/b/c"]),
            ("a/**/c", &["a/c", "a/b/c", "a/b/b/c"], &["a/cc"]),
            ("**/node_modules", &["node_modules", "a/node_modules/x"], &["a/node_modulesx"]),
            ("fo?", &["foo", "fox"], &["fo", "fo/"]),
            ("[a-c]x", &["ax", "cx"], &["dx"]),
            ("[^a]x", &["bx"], &["ax"]),
            ("\\*", &["*"], &["a"]),
            ("# comment\n \n  b  ", &["b"], &["# comment"]),
            ("*\n!a", &["b", "c/a"], &["a", "a/x"]),
            ("a\n!a/b\na/b/c", &["a", "a/x", "a/b/c"], &["a/b", "a/b/d"]),
            (
                "*.md\n!README*.md\nREADME-secret.md",
                &["x.md", "README-secret.md"],
                &["README.md", "README-a.md"],
            ),
            ("a/../b", &["b"], &["a"]),
            ("!a", &[], &["a", "b"]),
            ("ä*", &["äx"], &["a"]),
            ("a.c", &["a.c"], &["abc"]),
            ("**/a/b", &["a/b", "x/a/b", "x/a/b/c"], &["a", "xa/b"]),
        ] {
            let ignore = Ignore::parse(patterns).unwrap();
            for path in excluded {
                assert!(ignore.excludes(path), "{patterns:?} leaves {path} in");
            }
            for path in kept {
                assert!(!ignore.excludes(path), "{patterns:?} leaves {path} out");
            }
        }
        assert_eq!(Ignore::parse("a\n[x").unwrap_err().0, 2);
        assert_eq!(Ignore::parse("!").unwrap_err().1, "there is nothing behind the !");
    }

    #[test]
    fn excluded_directories_are_looked_into_for_exceptions_only() {
        let ignore = Ignore::parse("*\n!src/lib/*.rs\n!**/keep").unwrap();
        assert!(ignore.may_include_below("src") && ignore.may_include_below("src/lib"));
        let ignore = Ignore::parse("*\n!src/lib").unwrap();
        assert!(ignore.may_include_below("src") && !ignore.may_include_below("target"));
        assert!(!ignore.may_include_below("src/other"));
        assert!(!Ignore::parse("*").unwrap().may_include_below("a"));
        assert!(Ignore::parse("*\n!**/x").unwrap().may_include_below("a/b"));
        assert!(Ignore::parse("*\n!*/x").unwrap().may_include_below("a"));
    }
}
