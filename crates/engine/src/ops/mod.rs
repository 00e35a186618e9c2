//! One file per operation; each begins with its contents page.

mod attach;
pub(crate) use attach::refusal;
pub mod bootstrap;
pub mod build;
pub mod commit;
pub mod export;
pub mod files;
pub mod images;
pub mod info;
pub mod kill;
pub mod list;
pub mod login;
pub mod remove;
pub mod run;
pub mod usage;
