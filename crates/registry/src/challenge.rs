//! What a registry wants to be convinced by: the header WWW-Authenticate (RFC 9110, 11.6.1), read leniently where
//! servers are known to be sloppy, never by guessing.

/// One of the ways that the server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `basic`, `bearer`, in lower case.
    pub scheme: String,
    /// The parameters in their order, names in lower case, values unquoted.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The challenges of one header's value. What cannot be read ends the list: nothing is made up.
pub fn challenges(value: &str) -> Vec<Challenge> {
    let mut rest = Text(value);
    let mut list: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
        let Some(word) = rest.token() else { return list };
        let after = rest;
        rest.skip(|byte| matches!(byte, b' ' | b'\t'));
        if !rest.take(b'=') || rest.0.starts_with('=') {
            // No parameter: a scheme. Padding of a token68 ends up here too, and is skipped.
            rest = after;
            list.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
            rest.skip(|byte| byte == b'=');
            continue;
        }
        rest.skip(|byte| matches!(byte, b' ' | b'\t'));
        let Some(value) = rest.value() else { return list };
        let Some(challenge) = list.last_mut() else { return list };
        challenge.parameters.push((word.to_ascii_lowercase(), value));
    }
}

/// What is left to be read.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn skip(&mut self, mut which: impl FnMut(u8) -> bool) {
        let end = self.0.bytes().position(|byte| !which(byte)).unwrap_or(self.0.len());
        self.0 = &self.0[end..];
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.0.strip_prefix(char::from(byte)) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// RFC 9110, 5.6.2.
    fn token(&mut self) -> Option<&'a str> {
        let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let end = self.0.bytes().position(|byte| !of_token(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A quoted string, or what stands before the next comma or space.
    fn value(&mut self) -> Option<String> {
        if !self.take(b'"') {
            let end = self.0.find([',', ' ', '\t', '"']).unwrap_or(self.0.len());
            let (value, rest) = self.0.split_at(end);
            self.0 = rest;
            return Some(value.to_owned());
        }
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                _ => value.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Vec<String> {
        challenges(value)
            .iter()
            .map(|challenge| {
                let parameters: Vec<String> =
                    challenge.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{} {}", challenge.scheme, parameters.join("|"))
            })
            .collect()
    }

    #[test]
    fn reads_what_registries_send() {
        for (value, read) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull""#,
                vec![
                    "bearer realm=https://auth.docker.io/token|service=registry.docker.io|scope=repository:library/alpine:pull",
                ],
            ),
            (r#"Basic realm="Registry Realm""#, vec!["basic realm=Registry Realm"]),
            (
                r#"Bearer realm="https://t/",scope="repository:a:pull,push repository:b:pull",error="invalid_token""#,
                vec![
                    "bearer realm=https://t/|scope=repository:a:pull,push repository:b:pull|error=invalid_token",
                ],
            ),
            (r#"BEARER REALM = "https://t/" , Service=r"#, vec!["bearer realm=https://t/|service=r"]),
            (
                r#"Basic realm="a", Bearer realm="b",service="c""#,
                vec!["basic realm=a", "bearer realm=b|service=c"],
            ),
            (r#"Negotiate, Basic realm="a""#, vec!["negotiate ", "basic realm=a"]),
            (r#"Negotiate YWJj==, Basic realm="a""#, vec!["negotiate ", "ywjj ", "basic realm=a"]),
            (r#"Basic realm="say \"x\", \\y""#, vec![r#"basic realm=say "x", \y"#]),
            (r#"Bearer realm=https://t/x,service=s"#, vec!["bearer realm=https://t/x|service=s"]),
            ("Basic", vec!["basic "]),
        ] {
            assert_eq!(shown(value), read, "{value}");
        }
    }

    #[test]
    fn makes_nothing_up() {
        for (value, read) in [
            ("", vec![]),
            (",,, ", vec![]),
            (r#"realm="x""#, vec![]),
            (r#"Basic realm="open"#, vec!["basic "]),
            (r#"Basic realm="open\"#, vec!["basic "]),
            ("Basic \u{0}", vec!["basic "]),
            ("ünïcode", vec![]),
        ] {
            assert_eq!(
                shown(value),
                Vec::<String>::from_iter(read.iter().map(|s: &&str| (*s).to_owned())),
                "{value:?}"
            );
        }
    }

    #[test]
    fn the_first_parameter_counts() {
        let list = challenges(r#"Bearer realm="a",realm="b""#);
        assert_eq!(list[0].parameter("realm"), Some("a"));
        assert_eq!(list[0].parameter("service"), None);
    }
}
