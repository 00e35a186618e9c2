//! `state`: what is known of a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::VERSION;
use crate::error::Error;
use crate::store::{Saved, Store};
use crate::{Settings, Status};

/// A container's state as it is printed: the specification's fields, and runc's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateReport {
    /// The version of the specification.
    #[serde(rename = "ociVersion")]
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Its first process; 0 where it has none.
    pub pid: i32,
    /// What it is doing.
    pub status: Status,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The root file system's directory.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// config.json's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The name of the user who made it, or the number.
    pub owner: String,
}

/// Tells the state of a container.
pub fn state(settings: &Settings, id: &str) -> Result<StateReport, Error> {
    let store = Store::new(&settings.root);
    let saved = store.load(id)?;
    Ok(report(&store, saved))
}

pub(super) fn report(store: &Store, saved: Saved) -> StateReport {
    let status = Status::of(&saved, &store.dir(&saved.id));
    let init = saved.init.filter(|_| status != Status::Stopped);
    StateReport {
        oci_version: VERSION.to_owned(),
        pid: init.map_or(0, |init| init.pid),
        status,
        bundle: saved.bundle,
        rootfs: saved.rootfs,
        created: saved.created,
        annotations: saved.config.annotations().clone().unwrap_or_default().into_iter().collect(),
        owner: user_name(saved.owner),
        id: saved.id,
    }
}

/// The user's name in the host's /etc/passwd, passwd(5).
fn user_name(uid: u32) -> String {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let wanted = uid.to_string();
    let named = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut named = named.filter(|fields| fields.get(2) == Some(&wanted.as_str()));
    named.next().and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or(wanted)
}
