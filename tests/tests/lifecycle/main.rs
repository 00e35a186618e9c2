//! From `run` to the end: exit codes, streams, signals, terminals, names, the background, health, many at once, looking
//! at them, copying.

mod clones;
mod copying;
mod crowd;
mod detached;
mod disk;
mod events;
mod exit_codes;
mod health;
mod init;
mod lives_on;
mod look;
mod names;
mod process;
mod signals;
mod streams;
mod terminal;
mod ui;
