//! `network`: networks that users make, and who is in them.

pub(super) mod connect;
pub(super) mod create;
pub(super) mod disconnect;
mod filters;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod prune;
pub(super) mod rm;
pub(super) mod show;
pub(super) mod update;
