//! The default driver: frames in numbered files.
//!
//! - `frame`: the format, and what a frame is made of.
//! - `files`: the directory: which files there are.
//! - `write`: appending, going on to the next file, recovery.
//! - `pack`: the compressed form of a file.
//! - `read`: forwards, behind the writer; `tail`: backwards.

mod files;
pub(crate) mod frame;
mod pack;
mod read;
mod source;
mod tail;
mod write;

pub(crate) use read::Reader;
pub(crate) use write::{Writer, torn};
