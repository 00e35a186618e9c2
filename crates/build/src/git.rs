//! Repositories of git as contexts and as sources of ADD: how they are written. Fetching them is the host's.

use std::fmt;

/// A repository, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// As git takes it: by http, https, ssh or git's own protocol.
    pub url: String,
    /// A branch, a tag or a commit; none is what the repository says itself.
    pub reference: Option<String>,
    /// A directory of it.
    pub directory: Option<String>,
}

impl Repository {
    /// Reads `URL[#REF[:DIRECTORY]]`; none if that is no repository: <https://docs.docker.com/build/concepts/context/>, "Git
    /// repositories". An address of http or https is one if its path ends in `.git`.
    ///
    /// # Errors
    /// In words: a name that git would read as something else.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        let known = ["git://", "ssh://", "git@"].iter().any(|start| url.starts_with(start));
        if !(known || is_web && url.ends_with(".git")) {
            return None;
        }
        Some(Self::checked(url, fragment))
    }

    fn checked(url: &str, fragment: &str) -> Result<Self, String> {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split_once('@').map_or(host, |(_, host)| host);
        // ssh(1) would take it for an option: CVE-2017-1000117.
        if host.starts_with('-') || host.is_empty() || url.contains(|c: char| c.is_control() || c == ' ') {
            return Err(format!("{} names no host", step::quote(url)));
        }
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        // What git-check-ref-format(1) forbids, and what a refspec and an option begin with.
        let odd = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
        if reference.starts_with(['-', '+', '/']) || reference.contains(odd) || reference.contains("..") {
            return Err(format!("{} is no branch, tag or commit", step::quote(reference)));
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self { url: url.to_owned(), reference: some(reference), directory: some(directory) })
    }

    /// Whether the reference may be a commit's number, whole or its beginning.
    pub fn names_commit(&self) -> bool {
        let is_hex =
            |text: &String| (7..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit());
        self.reference.as_ref().is_some_and(is_hex)
    }
}

impl fmt::Display for Repository {
    /// Without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?))) {
            Some((scheme, (user, rest))) if !user.contains('/') => write!(f, "{scheme}://{rest}")?,
            _ => f.write_str(&self.url)?,
        }
        match (&self.reference, &self.directory) {
            (None, None) => Ok(()),
            (reference, None) => write!(f, "#{}", reference.as_deref().unwrap_or_default()),
            (reference, Some(directory)) => {
                write!(f, "#{}:{directory}", reference.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Option<String>, Option<String>) {
        let it = Repository::parse(text).unwrap().unwrap();
        (it.url, it.reference, it.directory)
    }

    #[test]
    fn repositories_are_known_by_their_addresses() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("https://h/o/r.git"), ("https://h/o/r.git".into(), None, None));
        assert_eq!(read("git://h/r#v1:sub/dir"), ("git://h/r".into(), some("v1"), some("sub/dir")));
        assert_eq!(read("git@h:o/r#:sub"), ("git@h:o/r".into(), None, some("sub")));
        assert_eq!(read("ssh://git@h:22/r#feature/x"), ("ssh://git@h:22/r".into(), some("feature/x"), None));
        for text in
            ["https://h/o/r", "https://h/r.git.tar", "file:///r.git", "ext::sh -c x", "r.git", "/r.git", "-"]
        {
            assert!(Repository::parse(text).is_none(), "{text}");
        }
        let it = Repository::parse("https://me:secret@h/r.git#v1").unwrap().unwrap();
        assert_eq!(it.to_string(), "https://h/r.git#v1");
    }

    #[test]
    fn what_git_would_take_for_something_else_is_refused() {
        for text in [
            "https://h/r.git#--upload-pack=x",
            "git://h/r#+a",
            "git://h/r#a b",
            "git://h/r#a..b",
            "git://h/r#refs/*",
            "ssh://-oProxyCommand=x/r",
            "ssh://u@-oProxyCommand=x/r",
            "git@-x:r",
            "git://",
        ] {
            assert!(Repository::parse(text).unwrap().is_err(), "{text}");
        }
        assert!(Repository::parse("git://h/r#abcdef0").unwrap().unwrap().names_commit());
        assert!(!Repository::parse("git://h/r#abcdefg").unwrap().unwrap().names_commit());
    }
}
