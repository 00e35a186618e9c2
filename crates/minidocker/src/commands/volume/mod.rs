//! `volume`: directories that outlive containers.

pub(super) mod create;
mod filters;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod prune;
pub(super) mod rm;
