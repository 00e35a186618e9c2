//! What a user can do, and the state it leaves behind. `ops` holds one contents page per operation.

#![forbid(unsafe_code)]

mod contact;
mod emulation;
mod error;
mod events;
mod facts;
mod files;
mod health;
mod image;
mod inside;
mod keeper;
mod names;
mod networks;
pub mod ops;
mod pods;
mod prepare;
pub mod request;
mod resolver;
mod settings;
pub mod signals;
mod spec;
mod state;
mod steps;
mod sweep;
mod users;
mod volumes;
mod worker;

pub use ::images::{Event, Image, Phase, Watch};
pub use error::{Error, Kind};
pub use monitor::{DetachKeys, Note};
pub use settings::Settings;
