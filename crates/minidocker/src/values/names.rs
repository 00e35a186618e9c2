//! Names: of containers, hosts, domains, links and users.

/// A container's name, by Docker's rule.
pub(crate) fn container(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let mut rest = bytes.clone();
    let later = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !first || bytes.next().is_none() || !rest.all(later) {
        return Err(
            "a name starts with a letter or digit, at least one of a-z A-Z 0-9 _ . - follows; write it as web-1"
                .to_owned(),
        );
    }
    if text.len() > 255 { Err("a name has at most 255 letters".to_owned()) } else { Ok(text.to_owned()) }
}

/// A host name by RFC 1123 that the kernel takes: uname(2) keeps 64 bytes.
pub(crate) fn host(text: &str) -> Result<String, String> {
    if text.len() > 64 {
        return Err(format!("{} letters, the kernel keeps at most 64", text.len()));
    }
    domain(text).map_err(|why| format!("{why}; write it as web-1.example"))
}

/// A domain name by RFC 1123: 253 letters, labels of 63.
pub(crate) fn domain(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("empty".to_owned());
    }
    if text.len() > 253 {
        return Err(format!("{} letters, a name has at most 253", text.len()));
    }
    for label in text.split('.') {
        if label.is_empty() {
            return Err("nothing between two dots, or beside one".to_owned());
        }
        if label.len() > 63 {
            return Err(format!("a part of {} letters, at most 63 are allowed between dots", label.len()));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a part of a name neither starts nor ends with a hyphen".to_owned());
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err("a name is made of letters, digits, hyphens and dots".to_owned());
        }
    }
    Ok(text.to_owned())
}

/// The name of a network link: netdevice(7), IFNAMSIZ.
pub(crate) fn link(text: &str) -> Result<String, String> {
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.is_empty() || text.len() > 15 || text == "." || text == ".." || text.contains(odd) {
        return Err(
            "a link's name has 1 to 15 letters, no slash, colon or space; write it as eth0".to_owned()
        );
    }
    Ok(text.to_owned())
}

/// `user[:group]`, `None` for an empty one; resolved later, in the container's own files.
pub(crate) fn user(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let odd = |part: &str| part.is_empty() || part.contains([':', '/', '\n']) || part.starts_with('-');
    if odd(name) || group.is_some_and(odd) {
        return Err("not user[:group] with names or numbers; write it as 1000:1000".to_owned());
    }
    Ok(Some(text.to_owned()))
}

/// A group's name or number.
pub(crate) fn group(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains([':', '/', '\n']) || text.starts_with('-') {
        return Err("not a group's name or number; write it as audio or 29".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_have_dockers_names() {
        for name in ["ab", "web-1", "A.b_c", "0x", &"a".repeat(255)] {
            assert_eq!(container(name), Ok(name.to_owned()));
        }
        for name in ["", "a", "-ab", "_a", ".a", "a b", "a/b", "/ab", "a\n", "ä1", "a\u{1b}[31m", "..", "a:b"]
        {
            assert!(container(name).unwrap_err().starts_with("a name starts with"), "{name:?}");
        }
        assert_eq!(container(&"a".repeat(256)), Err("a name has at most 255 letters".to_owned()));
    }

    #[test]
    fn hosts_have_rfc_1123_names() {
        for name in ["administrator", "a", "3com", "web-1.example.org", &"a".repeat(63)] {
            assert_eq!(host(name), Ok(name.to_owned()));
        }
        assert!(host(&"a".repeat(65)).unwrap_err().contains("65 letters"));
        assert!(host(&"a".repeat(64)).unwrap_err().contains("part of 64 letters"));
        for name in ["", ".", "a..b", ".a", "a.", "-a", "a-", "a.-b", "a_b", "a b", "é", "a/b", "a\n"] {
            assert!(host(name).is_err(), "{name:?}");
        }
        let long = ["a".repeat(63).as_str(), "b".repeat(63).as_str(), "c".repeat(63).as_str()].join(".");
        assert!(domain(&long).is_ok());
        assert!(domain(&format!("{long}.{long}")).unwrap_err().contains("at most 253"));
    }

    #[test]
    fn links_have_names_that_the_kernel_takes() {
        for name in ["eth0", "br-lan.5", "123456789012345"] {
            assert_eq!(link(name), Ok(name.to_owned()));
        }
        for name in ["", "1234567890123456", "a b", "a/b", ".", "..", "a:1", "a\t"] {
            assert!(link(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn users_and_groups_are_names_or_numbers() {
        assert_eq!(user(""), Ok(None));
        for name in ["root", "0", "1000:1000", "www-data:www-data"] {
            assert_eq!(user(name), Ok(Some(name.to_owned())));
        }
        for name in [":", "a:", ":b", "a:b:c", "-1", "0:-1", "a/b"] {
            assert!(user(name).is_err(), "{name:?}");
        }
        assert!(group("audio").is_ok());
        assert!(group("").is_err() && group("a:b").is_err() && group("-1").is_err());
    }
}
