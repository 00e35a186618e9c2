//! Crashes: kill -9 of minidocker at every step leaves nothing after the next command.

#[path = "../calls/mod.rs"]
mod calls;
mod killer;
mod numbers;
mod parallel;
mod rounds;
mod steps;
