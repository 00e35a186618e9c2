//! The operations, one file each.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod restore;
mod run;
mod spec;
mod start;
mod state;
mod update;

pub use checkpoint::{CheckpointRequest, Criu, checkpoint};
pub use create::{CreateRequest, create};
pub use delete::delete;
pub use events::{EventsRequest, events};
pub use exec::{ExecProcess, ExecRequest, exec};
pub use features::features;
pub use kill::kill;
pub use list::list;
pub use pause::{pause, resume};
pub use ps::ps;
pub use restore::{RestoreRequest, restore};
pub use run::{RunRequest, run};
pub use spec::{SPEC_VERSION, spec};
pub use start::start;
pub use state::{StateReport, state};
pub use update::{UpdateRequest, update};
