//! Ports: `--publish`, `--expose`.

use engine::request::{Ports, Publish};

/// `--publish`, in Docker's short form or in the long one of keys and values.
pub(crate) fn publish(text: &str) -> Result<Publish, String> {
    let short = if text.contains('=') { short_form(text)? } else { text.to_owned() };
    short.parse().map_err(|why| format!("{why}; write it as 8080:80, 127.0.0.1:8080:80 or 5353:53/udp"))
}

fn short_form(text: &str) -> Result<String, String> {
    let (mut target, mut published, mut protocol) = ("", "", "tcp");
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("target", value)) => target = value,
            Some(("published", value)) => published = value,
            Some(("protocol", value)) => protocol = value,
            // Of services: there are none, and a container's port is the host's.
            Some(("mode", "host" | "ingress")) => {}
            _ => {
                let part = step::quote(part);
                return Err(format!("{part} is none of target=, published= and protocol="));
            }
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// `--expose`.
pub(crate) fn expose(text: &str) -> Result<Ports, String> {
    text.parse().map_err(|why| format!("{why}; write it as 80, 53/udp or 8000-8010"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms() {
        for (text, shown) in [
            ("8080:80", "8080:80/tcp"),
            ("127.0.0.1::53/udp", "127.0.0.1::53/udp"),
            ("target=80,published=8080", "8080:80/tcp"),
            ("published=8080,target=80,protocol=udp,mode=host", "8080:80/udp"),
            ("target=80", "80/tcp"),
        ] {
            assert_eq!(publish(text).unwrap().to_string(), shown);
        }
        for text in ["", "x", "80:x", "target=80,colour=red", "published=80", "1.2.3.4.5:80:80", "99999:80"] {
            assert!(publish(text).unwrap_err().contains("write it as") || text.contains("colour"), "{text}");
        }
        assert_eq!(expose("8000-8002/sctp").unwrap().to_string(), "8000-8002/sctp");
        assert!(expose("8080:80").is_err() && expose("").is_err());
    }
}
