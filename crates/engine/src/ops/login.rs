//! `login` and `logout`.

use std::path::PathBuf;

use registry::{Credential, Stored};

use super::images::registries;
use crate::Error;

/// Checks a login with the registry and keeps it. The file where it now stands unencrypted; none where a credential
/// helper has it.
pub fn login(registry: &str, user: &str, secret: &str) -> Result<Option<PathBuf>, Error> {
    let failed = |error: registry::Error| Error::from(error.into_failure("login"));
    let credential = Credential::Password { user: user.to_owned(), secret: secret.to_owned() };
    let stored = registry::login(&registries()?, registry, &credential).map_err(failed)?;
    Ok(match stored {
        Stored::File(path) => Some(path),
        Stored::Helper(_) => None,
    })
}

/// Forgets a login. Whether there was one.
pub fn logout(registry: &str) -> Result<bool, Error> {
    let failed = |error: registry::Error| Error::from(error.into_failure("logout"));
    registry::logout(&*registries()?, registry).map_err(failed)
}
