//! `--explain`: its steps are told in order, with their reasons, and are the calls that are really made; its script
//! builds the same container.

#[path = "../calls/mod.rs"]
mod calls;
mod script;
mod told;
