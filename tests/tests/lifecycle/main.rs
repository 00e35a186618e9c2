//! From `run` to the end: exit codes, streams, signals, terminals, names, the background, many at once.

mod crowd;
mod detached;
mod disk;
mod events;
mod exit_codes;
mod init;
mod names;
mod process;
mod signals;
mod streams;
mod terminal;
