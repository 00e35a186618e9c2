//! The host's apt settings: the mirror and the proxy that this host can reach. sources.list(5), apt.conf(5).

use std::fs;
use std::path::Path;
use std::process::Command;

/// The host's mirror for one of these suites; one that it has for the first of them is the best.
pub(crate) fn mirror(etc_apt: &Path, suites: &[&str]) -> Option<String> {
    let mut found = entries(etc_apt);
    found.retain(|(uri, suite)| {
        suites.contains(&suite.as_str())
            && ["http://", "https://", "file:/"].iter().any(|scheme| uri.starts_with(scheme))
    });
    let rank = |suite: &String| suites.iter().position(|known| known == suite);
    found
        .into_iter()
        .min_by_key(|(_, suite)| rank(suite))
        .map(|(uri, _)| uri.trim_end_matches('/').to_owned())
}

/// Every (URI, suite) of binary packages.
fn entries(etc_apt: &Path) -> Vec<(String, String)> {
    let mut files = vec![etc_apt.join("sources.list")];
    let parts = fs::read_dir(etc_apt.join("sources.list.d")).into_iter().flatten().flatten();
    let mut parts: Vec<_> = parts.map(|entry| entry.path()).collect();
    parts.sort();
    files.extend(parts);
    let mut all = Vec::new();
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => all.extend(text.lines().filter_map(one_line)),
            Some("sources") => all.extend(stanzas(&text)),
            _ => {}
        }
    }
    all
}

/// `deb [options] URI suite component…`
fn one_line(line: &str) -> Option<(String, String)> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

/// Paragraphs of fields; a line that begins with a space goes on.
fn stanzas(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for stanza in text.split("\n\n") {
        let (mut fields, mut key): (Vec<(String, String)>, Option<String>) = (Vec::new(), None);
        for line in stanza.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with([' ', '\t']) {
                if let (Some(_), Some((_, value))) = (&key, fields.last_mut()) {
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                key = Some(name.to_ascii_lowercase());
                fields.push((name.to_ascii_lowercase(), value.to_owned()));
            }
        }
        let words = |name: &str| -> Vec<String> {
            let field = fields.iter().find(|(key, _)| key == name);
            field.map_or_else(Vec::new, |(_, value)| value.split_whitespace().map(str::to_owned).collect())
        };
        let off = words("enabled").iter().any(|word| word.eq_ignore_ascii_case("no"));
        if off || !words("types").iter().any(|word| word == "deb") {
            continue;
        }
        for uri in words("uris") {
            all.extend(words("suites").into_iter().map(|suite| (uri.clone(), suite)));
        }
    }
    all
}

/// The proxy that apt uses for http, where the environment has none.
pub(crate) fn proxy() -> Option<String> {
    if ["http_proxy", "HTTP_PROXY"].iter().any(|name| std::env::var_os(name).is_some()) {
        return None;
    }
    let output = Command::new("apt-config")
        .args(["dump", "--format", "%v%n", "Acquire::http::Proxy"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().map(str::trim).find(|value| value.starts_with("http")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_the_hosts_sources() {
        let directory = std::env::temp_dir().join(format!("minidocker-bootstrap-apt-{}", std::process::id()));
        fs::create_dir_all(directory.join("sources.list.d")).unwrap();
        let list = "# deb http://old/debian bookworm main\ndeb-src http://src/debian bookworm main\n\
            deb [arch=amd64 signed-by=/x] https://first/debian/ bookworm-security main\n\
            deb cdrom:[x]/ trixie main\ndeb [ trusted=yes ] http://third/debian trixie main # near\n";
        fs::write(directory.join("sources.list"), list).unwrap();
        let sources = "Types: deb deb-src\nURIs: http://second/debian/\nSuites: bookworm\n bookworm-updates\nComponents: main\n\
            \nTypes: deb\nEnabled: no\nURIs: http://off/debian\nSuites: sid\n";
        fs::write(directory.join("sources.list.d/x.sources"), sources).unwrap();
        fs::write(directory.join("sources.list.d/y.save"), "deb http://saved/debian sid main").unwrap();
        let mirror = |suites: &[&str]| mirror(&directory, suites);
        assert_eq!(mirror(&["bookworm", "trixie"]).as_deref(), Some("http://second/debian"));
        assert_eq!(mirror(&["trixie", "bookworm"]).as_deref(), Some("http://third/debian"));
        assert_eq!(mirror(&["bookworm-security"]).as_deref(), Some("https://first/debian"));
        assert_eq!(mirror(&["sid", "noble"]), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}
