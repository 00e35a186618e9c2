//! Files by http and https, through the same proxies and with the same authorities as registries: what an ADD of a
//! Dockerfile names.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use ureq::BodyReader;
use ureq::http::{Method, header};

use crate::error::Error;
use crate::http::{self, Ask, Fault, Http, Kind};
use crate::settings::Settings;
use crate::url::Url;

/// A file that comes.
pub struct Download {
    /// Its content. A connection that breaks is an error here.
    pub body: BodyReader<'static>,
    /// Last-Modified, as the server writes it.
    pub modified: Option<String>,
    /// The name in Content-Disposition.
    pub name: Option<String>,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("modified", &self.modified).field("name", &self.name).finish()
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

/// Asks for a file; redirects are followed.
///
/// # Errors
///
/// What is no URL; no answer, or one that is no success, in the same words as a registry's.
pub fn download(settings: &Arc<Settings>, url: &str) -> Result<Download, Error> {
    let parsed = Url::parse(url).filter(|_| url.starts_with("http://") || url.starts_with("https://"));
    let wrong = || Error::Unsupported {
        what: format!("'{}'", oci::shown(url)),
        reason: "it is no URL of http or https",
    };
    let parsed = parsed.ok_or_else(wrong)?;
    let registry = parsed.authority.clone();
    let asked = format!("get {}", oci::shown(url));
    let http = Http::new(Arc::clone(settings));
    let failed = |fault: Fault, attempts: u32| {
        let (registry, asked, reason) = (registry.clone(), asked.clone(), fault.words);
        match fault.kind {
            Kind::Passing => Error::Unreachable { registry, asked, reason, attempts },
            Kind::Tls => Error::Tls { registry, asked, reason },
            Kind::Lasting => Error::Answer { registry, asked, reason },
        }
    };
    let mut failures = 0;
    let response = loop {
        match http.send(Ask::new(Method::GET, parsed.clone())) {
            Ok(response) if http::may_pass(response.status()) && failures + 1 < settings.attempts => {}
            Ok(response) => break response,
            Err(fault) if fault.kind == Kind::Passing && failures + 1 < settings.attempts => {}
            Err(fault) => return Err(failed(fault, failures + 1)),
        }
        failures += 1;
        std::thread::sleep(http::pause(settings.first_pause, failures, http::random()));
    };
    let (registry, message) = (registry.clone(), String::new());
    match response.status().as_u16() {
        200..=299 => {}
        404 | 410 => return Err(Error::NoFile { registry, asked }),
        status => return Err(Error::Status { registry, asked, status, message }),
    }
    let modified = http::text(response.headers(), &header::LAST_MODIFIED).map(str::to_owned);
    let disposition = http::text(response.headers(), &header::CONTENT_DISPOSITION);
    let name = disposition.and_then(file_name);
    Ok(Download { body: response.into_body().into_reader(), modified, name })
}

/// The `filename` of a Content-Disposition (RFC 6266), if it is one plain name.
fn file_name(text: &str) -> Option<String> {
    let value = text.split(';').find_map(|part| part.trim().strip_prefix("filename="))?;
    let name = value.trim_matches('"');
    let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != "..";
    plain.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert_eq!(file_name("attachment; filename=\"a.tar\"").as_deref(), Some("a.tar"));
        assert_eq!(file_name("attachment; filename=b"), Some("b".to_owned()));
        for odd in ["attachment", "filename=../x", "filename=\"a/b\"", "filename=\"..\"", "filename=\"\""] {
            assert_eq!(file_name(odd), None, "{odd}");
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        let settings = Arc::new(Settings::default());
        for url in ["file:///etc/passwd", "ftp://x/y", "x"] {
            assert!(matches!(download(&settings, url), Err(Error::Unsupported { .. })), "{url}");
        }
    }
}
