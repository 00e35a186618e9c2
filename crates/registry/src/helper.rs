//! Programs that keep credentials: the protocol of docker-credential-* (github.com/docker/docker-credential-helpers).

use std::io::{self, Write};
use std::process::{Command, Stdio};

use oci::shown;
use serde::{Deserialize, Serialize};

use crate::credentials::Credential;
use crate::error::Error;

/// Why a helper failed, where its program is not there.
pub(crate) const MISSING: &str = "there is no such program";

/// The user's name that stands for a token.
const TOKEN: &str = "<token>";

/// What helpers say on standard output where they have nothing.
const NOTHING: &str = "credentials not found";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What the helper has for a server. None if it has nothing.
pub(crate) fn get(helper: &str, server: &str) -> Result<Option<Credential>, Error> {
    let answer = match run(helper, "get", server.as_bytes()) {
        Err(Error::Helper { reason, .. }) if reason.to_lowercase().contains(NOTHING) => return Ok(None),
        answer => answer?,
    };
    let entry: Entry = serde_json::from_slice(&answer)
        .map_err(|error| failed(helper, "get", format!("answered no JSON: {error}")))?;
    if entry.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(if entry.username == TOKEN {
        Credential::IdentityToken(entry.secret)
    } else {
        Credential::Password { user: entry.username, secret: entry.secret }
    }))
}

/// Hands a credential over.
pub(crate) fn store(helper: &str, server: &str, credential: &Credential) -> Result<(), Error> {
    let (username, secret) = match credential {
        Credential::Password { user, secret } => (user.clone(), secret.clone()),
        Credential::IdentityToken(token) => (TOKEN.to_owned(), token.clone()),
    };
    let entry = Entry { server_url: server.to_owned(), username, secret };
    let text = serde_json::to_vec(&entry).map_err(|error| failed(helper, "store", error.to_string()))?;
    run(helper, "store", &text).map(drop)
}

/// Has it forget a server. No error if it knew none.
pub(crate) fn erase(helper: &str, server: &str) -> Result<(), Error> {
    match run(helper, "erase", server.as_bytes()) {
        Err(Error::Helper { reason, .. }) if reason.to_lowercase().contains(NOTHING) => Ok(()),
        answer => answer.map(drop),
    }
}

fn program(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

fn failed(helper: &str, action: &'static str, reason: String) -> Error {
    Error::Helper { program: shown(&program(helper)), action, reason }
}

/// Runs it with `input`; its output. What it says on failure becomes the error's reason.
fn run(helper: &str, action: &'static str, input: &[u8]) -> Result<Vec<u8>, Error> {
    // The name comes from a file: it must not lead out of PATH.
    if helper.is_empty() || helper.contains('/') {
        return Err(failed(helper, action, "no helper can have this name".into()));
    }
    let words = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => failed(helper, action, MISSING.into()),
        _ => failed(helper, action, step::words(&error)),
    };
    let mut child = Command::new(program(helper))
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(words)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read has failed already; its exit says so.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(words)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = shown(&String::from_utf8_lossy(&output.stdout));
    Err(failed(helper, action, if said.is_empty() { output.status.to_string() } else { said }))
}
