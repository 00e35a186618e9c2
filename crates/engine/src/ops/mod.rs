//! One file per operation; each begins with its contents page.

pub mod attach;
pub(crate) use attach::refusal;
pub mod bootstrap;
pub mod build;
pub mod builder;
pub mod commit;
pub mod create;
pub mod exec;
pub mod export;
pub mod files;
pub mod git;
pub mod images;
pub mod info;
pub mod kill;
mod launch;
pub mod list;
pub mod login;
pub mod logs;
pub mod pause;
pub mod remove;
pub mod rename;
pub mod run;
pub mod start;
pub mod stop;
pub mod usage;
pub mod volumes;
pub mod wait;
