//! Docker's `HealthConfig`: how the health of an image's containers is looked after.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};

/// `Healthcheck` of a configuration, in Docker's spelling. Times are nanoseconds; 0 and an empty test say nothing, so
/// that the image's own, or else the engine's, counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `NONE`; `CMD` and words; `CMD-SHELL` and a line. Of our own: `TCP` and an address with its port, `HTTP` and an
    /// address of the web.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub test: Vec<String>,
    /// From the end of one probe to the next.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "natural")]
    pub interval: u64,
    /// How long one may take.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "natural")]
    pub timeout: u64,
    /// How long failures do not count after the start.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "natural")]
    pub start_period: u64,
    /// From one to the next in that time.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "natural")]
    pub start_interval: u64,
    /// After how many failures in a row it is unhealthy.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "natural")]
    pub retries: u64,
}

/// What a test asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe<'a> {
    /// A program and its arguments; 0 is healthy.
    Command(&'a [String]),
    /// A line for the shell.
    Shell(&'a str),
    /// Whether somebody accepts connections there.
    Tcp(SocketAddr),
    /// Whether a GET there is answered by 2xx or 3xx: the address, and a path that is visible ASCII.
    Http(SocketAddr, &'a str),
}

impl Healthcheck {
    /// No check, not the image's either.
    pub fn none() -> Self {
        Self { test: vec!["NONE".to_owned()], ..Self::default() }
    }

    /// What is to be done; none for `NONE`, and for a test of a kind that is not known here, as in Docker.
    pub fn probe(&self) -> Option<Probe<'_>> {
        let (kind, rest) = self.test.split_first()?;
        match (kind.as_str(), rest) {
            ("CMD", [_, ..]) => Some(Probe::Command(rest)),
            ("CMD-SHELL", [line]) => Some(Probe::Shell(line)),
            ("TCP", [address]) => address.parse().ok().map(Probe::Tcp),
            ("HTTP", [url]) => {
                let rest = url.strip_prefix("http://")?;
                let (address, path) = rest.split_at(rest.find('/')?);
                let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
                address.parse().ok().filter(|_| is_plain).map(|address| Probe::Http(address, path))
            }
            _ => None,
        }
    }

    /// This one, with what it says nothing of from `below`: field by field, as Docker does.
    #[must_use]
    pub fn over(self, below: &Self) -> Self {
        let or = |own: u64, other: u64| if own == 0 { other } else { own };
        Self {
            test: if self.test.is_empty() { below.test.clone() } else { self.test },
            interval: or(self.interval, below.interval),
            timeout: or(self.timeout, below.timeout),
            start_period: or(self.start_period, below.start_period),
            start_interval: or(self.start_interval, below.start_interval),
            retries: or(self.retries, below.retries),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn or_null<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Go's numbers have a sign; a negative one, which no builder writes, says nothing.
fn natural<'d, D: Deserializer<'d>>(from: D) -> Result<u64, D::Error> {
    Ok(Option::<i64>::deserialize(from)?.and_then(|number| u64::try_from(number).ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(words: &[&str]) -> Healthcheck {
        Healthcheck { test: words.iter().map(|word| (*word).to_owned()).collect(), ..Healthcheck::default() }
    }

    #[test]
    fn tests_of_all_kinds() {
        assert_eq!(test(&["CMD", "a", "b"]).probe(), Some(Probe::Command(&["a".into(), "b".into()])));
        assert_eq!(test(&["CMD-SHELL", "a | b"]).probe(), Some(Probe::Shell("a | b")));
        let address = "127.0.0.1:80".parse().unwrap();
        assert_eq!(test(&["TCP", "127.0.0.1:80"]).probe(), Some(Probe::Tcp(address)));
        assert_eq!(
            test(&["HTTP", "http://127.0.0.1:80/up?x=1"]).probe(),
            Some(Probe::Http(address, "/up?x=1"))
        );
        for none in [
            &[][..],
            &["NONE"],
            &["CMD"],
            &["CMD-SHELL"],
            &["cmd", "x"],
            &["TCP", "80"],
            &["TCP", "localhost:80"],
            &["HTTP", "http://127.0.0.1:80"],
            &["HTTP", "https://127.0.0.1:80/"],
            &["HTTP", "http://127.0.0.1:80/a b"],
            &["HTTP", "http://127.0.0.1:80/\r\nX: y"],
        ] {
            assert_eq!(test(none).probe(), None, "{none:?}");
        }
    }

    #[test]
    fn what_was_typed_wins_field_by_field() {
        let image = Healthcheck { interval: 5, timeout: 6, retries: 7, ..test(&["CMD", "image"]) };
        let typed = Healthcheck { timeout: 1, start_period: 2, ..Healthcheck::default() };
        let both = typed.over(&image);
        assert_eq!(
            both,
            Healthcheck { interval: 5, timeout: 1, start_period: 2, retries: 7, ..test(&["CMD", "image"]) }
        );
        assert_eq!(Healthcheck::none().over(&image).test, ["NONE"]);
    }

    #[test]
    fn is_written_as_docker_does() {
        let check = Healthcheck { interval: 1_000_000_000, retries: 2, ..test(&["CMD-SHELL", "true"]) };
        let text = r#"{"Test":["CMD-SHELL","true"],"Interval":1000000000,"Retries":2}"#;
        assert_eq!(serde_json::to_string(&check).unwrap(), text);
        assert_eq!(serde_json::from_str::<Healthcheck>(text).unwrap(), check);
        let odd = r#"{"Test":null,"Interval":-5,"Timeout":null,"StartPeriod":0}"#;
        assert_eq!(serde_json::from_str::<Healthcheck>(odd).unwrap(), Healthcheck::default());
    }
}
