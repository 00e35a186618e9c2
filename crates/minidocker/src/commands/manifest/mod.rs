//! `manifest`: what registries have by a name, and lists of images for platforms.

pub(super) mod annotate;
pub(super) mod create;
pub(super) mod inspect;
pub(super) mod push;
pub(super) mod rm;
