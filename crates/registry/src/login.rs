//! Logging in and out: tried with the registry first, then kept where Docker keeps it.

use std::sync::Arc;

use crate::client::Client;
use crate::credentials::{Credential, Stored};
use crate::error::Error;
use crate::settings::Settings;

/// Tries a credential with the registry and keeps it if it is taken. Where it went.
///
/// # Errors
///
/// [`Error::Denied`] where it is not; [`Error::Keyring`] and [`Error::Helper`] where it cannot be kept.
pub fn login(settings: &Arc<Settings>, registry: &str, credential: &Credential) -> Result<Stored, Error> {
    Client::with_credential(registry, Arc::clone(settings), credential.clone())?.ping()?;
    let keyring = settings.keyring.as_ref().ok_or_else(homeless)?;
    keyring.store(registry, credential)
}

/// Forgets the credential for a registry. Whether there was one.
///
/// # Errors
///
/// [`Error::Keyring`] and [`Error::Helper`].
pub fn logout(settings: &Settings, registry: &str) -> Result<bool, Error> {
    settings.keyring.as_ref().map_or(Ok(false), |keyring| keyring.erase(registry))
}

fn homeless() -> Error {
    Error::Keyring {
        action: "write",
        path: "config.json".into(),
        reason: "neither HOME nor DOCKER_CONFIG says where it is".into(),
    }
}
