//! Environment variables and labels: `NAME=VALUE` on the command line, one a line in a file (Docker's env-file).

/// `-e NAME=VALUE`, or `-e NAME`, which takes the value from `caller`; without one the variable is taken away.
pub(crate) fn variable(
    text: &str,
    caller: impl Fn(&str) -> Option<String>,
) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, caller(text)),
    };
    if name.is_empty() {
        return Err("no name before the =; write it as LANG=C".to_owned());
    }
    Ok((name.to_owned(), value))
}

/// The variables of a file. Values are taken as they stand, quotes and spaces too; a name alone takes the value
/// from `caller`, and is passed over without one.
pub(crate) fn variables(
    text: &str,
    caller: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, String> {
    let value_of = |(name, value): (String, Option<String>)| {
        let value = value.or_else(|| caller(&name))?;
        Some((name, value))
    };
    Ok(entries(text)?.into_iter().filter_map(value_of).collect())
}

/// `-l KEY=VALUE` or `-l KEY`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("no key before the =; write it as tier=web".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// The labels of a file, of the same form.
pub(crate) fn labels(text: &str) -> Result<Vec<(String, String)>, String> {
    Ok(entries(text)?.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// The lines that are neither empty nor comments, at their first `=`.
fn entries(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line.trim_end(), None),
        };
        let number = number + 1;
        if name.is_empty() {
            return Err(format!("line {number} has no name before the ="));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("line {number}: the name {} contains a space", step::quote(name)));
        }
        if line.contains('\0') {
            return Err(format!("line {number} contains a zero byte"));
        }
        entries.push((name.to_owned(), value));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn reads_variables() {
        assert_eq!(variable("A=b", caller), Ok(("A".into(), Some("b".into()))));
        assert_eq!(variable("A=", caller), Ok(("A".into(), Some(String::new()))));
        assert_eq!(variable("A=b=c d", caller), Ok(("A".into(), Some("b=c d".into()))));
        assert_eq!(variable("HOME", caller), Ok(("HOME".into(), Some("/root".into()))));
        assert_eq!(variable("AWAY", caller), Ok(("AWAY".into(), None)));
        for text in ["", "=", "=b"] {
            assert_eq!(variable(text, caller), Err("no name before the =; write it as LANG=C".to_owned()));
        }
    }

    #[test]
    fn reads_files_as_docker_does() {
        let text = "\u{feff}# comment\n\nA=1\n  B='quoted' # kept\nHOME\nAWAY\nC= spaced \r\nD=x=y\n#E=1\n";
        let wanted =
            [("A", "1"), ("B", "'quoted' # kept"), ("HOME", "/root"), ("C", " spaced "), ("D", "x=y")];
        let read = variables(text, caller).unwrap();
        assert_eq!(read, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(variables("", caller), Ok(vec![]));
    }

    #[test]
    fn refuses_lines_without_a_name() {
        assert_eq!(variables("A=1\n=2\n", caller), Err("line 2 has no name before the =".to_owned()));
        assert_eq!(variables("A B=1", caller), Err("line 1: the name 'A B' contains a space".to_owned()));
        assert_eq!(variables("A =1", caller), Err("line 1: the name 'A ' contains a space".to_owned()));
        assert_eq!(variables("A=\0", caller), Err("line 1 contains a zero byte".to_owned()));
    }

    #[test]
    fn reads_labels() {
        assert_eq!(label("a.b=c"), Ok(("a.b".into(), "c".into())));
        assert_eq!(label("a"), Ok(("a".into(), String::new())));
        assert!(label("=x").is_err() && label("").is_err());
        let read = labels("# x\nHOME\na=b\n").unwrap();
        assert_eq!(read, [("HOME".to_owned(), String::new()), ("a".to_owned(), "b".to_owned())]);
    }
}
