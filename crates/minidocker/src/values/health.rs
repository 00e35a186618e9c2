//! `--health-*`: what is asked of a container, and when.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::durations::duration;

/// The least that Docker takes for a time: a millisecond.
const LEAST: u64 = 1_000_000;

/// A duration in nanoseconds; 0 is the default.
pub(crate) fn time(text: &str) -> Result<u64, String> {
    if text.strip_prefix('-').is_some_and(|rest| duration(rest).is_some()) {
        return Err("cannot be negative".to_owned());
    }
    let wrong = || "no duration; write it as 30s, 1m30s or 500ms".to_owned();
    let nanos = duration(text).and_then(|time| i64::try_from(time.as_nanos()).ok()).ok_or_else(wrong)?;
    match nanos as u64 {
        nanos if nanos == 0 || nanos >= LEAST => Ok(nanos),
        _ => Err("it cannot be less than 1ms".to_owned()),
    }
}

/// A number; 0 is the default.
pub(crate) fn retries(text: &str) -> Result<u64, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err("cannot be negative".to_owned()),
        Ok(number) => Ok(number as u64),
        Err(_) => Err("no whole number".to_owned()),
    }
}

/// `80`, `:80`, `10.0.0.2:80`, `[::1]:80`: a test of a configuration.
pub(crate) fn tcp(text: &str) -> Result<Vec<String>, String> {
    let wrong = || "no address; write it as 80 or 127.0.0.1:80".to_owned();
    Ok(vec!["TCP".to_owned(), address(text, None).ok_or_else(wrong)?.to_string()])
}

/// `8080`, `:8080/up`, `http://localhost:8080/up`: a test of a configuration.
pub(crate) fn http(text: &str) -> Result<Vec<String>, String> {
    if text.starts_with("https://") {
        return Err("no TLS is spoken; ask by --health-cmd, or a port that speaks HTTP".to_owned());
    }
    let (rest, port) = match text.strip_prefix("http://") {
        Some(rest) => (rest, Some(80)),
        None => (text, None),
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = address(host, port).ok_or_else(|| {
        "no address of the web; write it as :8080/up or http://127.0.0.1:8080/up: names are not looked up"
            .to_owned()
    })?;
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its path has letters that must be written as %20 and the like".to_owned());
    }
    // What follows # is the browser's own.
    let path = path.split('#').next().unwrap_or_default();
    Ok(vec!["HTTP".to_owned(), format!("http://{address}{}", if path.is_empty() { "/" } else { path })])
}

/// An address with a port; with `port` it may be left out. `localhost` is 127.0.0.1.
fn address(text: &str, port: Option<u16>) -> Option<SocketAddr> {
    let known = |host: &str| match host {
        "" | "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse().ok(),
    };
    let address = match (text.parse::<SocketAddr>(), text.rsplit_once(':')) {
        (Ok(address), _) => Some(address),
        (_, Some((host, number))) if !host.contains(':') => {
            Some(SocketAddr::new(known(host)?, number.parse().ok()?))
        }
        _ => None,
    };
    let alone = || match port {
        // `[::1]` of a URL.
        Some(port) if !text.is_empty() => {
            Some(SocketAddr::new(known(text.trim_start_matches('[').trim_end_matches(']'))?, port))
        }
        Some(_) => None,
        None => Some(SocketAddr::new(known("")?, text.parse().ok()?)),
    };
    address.or_else(alone).filter(|address| address.port() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_tcp() {
        for (text, address) in [
            ("80", "127.0.0.1:80"),
            (":80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("10.0.0.2:443", "10.0.0.2:443"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(tcp(text).unwrap(), ["TCP", address], "{text}");
        }
        for text in ["", "0", "x", ":x", "70000", "web:80", "::1:80", "10.0.0.2", "-1", "80/tcp", ":"] {
            assert!(tcp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_web() {
        for (text, url) in [
            ("8080", "http://127.0.0.1:8080/"),
            (":8080", "http://127.0.0.1:8080/"),
            (":8080/up?deep=1", "http://127.0.0.1:8080/up?deep=1"),
            ("http://localhost", "http://127.0.0.1:80/"),
            ("http://localhost/up#x", "http://127.0.0.1:80/up"),
            ("http://10.0.0.2:81/a", "http://10.0.0.2:81/a"),
            ("http://[::1]/a", "http://[::1]:80/a"),
            ("http://[::1]:81/a", "http://[::1]:81/a"),
        ] {
            let test = http(text).unwrap();
            assert_eq!(test, ["HTTP", url], "{text}");
            let check = engine::request::Healthcheck { test, ..Default::default() };
            assert!(check.probe().is_some(), "{text}");
        }
        for text in
            ["", "/up", "http://", "https://localhost/", "http://example.org/", ":8080/a b", "ftp://x", "x"]
        {
            assert!(http(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_and_numbers() {
        assert_eq!(time("1m30s"), Ok(90_000_000_000));
        assert_eq!(time("0"), Ok(0));
        assert_eq!(time("-1s"), Err("cannot be negative".to_owned()));
        for text in ["", "5", "never", "10us", "9999999h"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert_eq!(retries("3"), Ok(3));
        assert!(retries("-1").is_err() && retries("x").is_err());
    }
}
