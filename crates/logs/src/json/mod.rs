//! Docker's json-file: `<id>-json.log`, older ones as `.1`, `.2.gz` and so on.
//!
//! - `line`: an entry; `files`: names; `write`: appending and rotation; `read`: beside rotations.

mod files;
pub(crate) mod line;
mod read;
mod write;

pub(crate) use read::Reader;
pub(crate) use write::{Writer, torn};
