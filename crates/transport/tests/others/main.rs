//! Other programs read what we write, and we read what they write, digest for digest.

#[path = "../trial/mod.rs"]
mod trial;
