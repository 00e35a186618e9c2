//! Images by the real binary, against a real registry: pull, run, names, push, logins; kills, races, full disks, lies.

mod access;
mod hostile;
mod indexes;
mod interrupted;
mod list;
mod names;
mod pull;
mod push;
mod run;
mod store;
mod together;
