//! The name service of one container: names of its neighbours, and everything else from the host's own servers.
//!
//! It runs inside of the container's monitor, which has one thread: nothing here waits, and nothing is allocated before
//! the first question comes. What is said to programs and to servers beyond is decided without any socket, by
//! [`Server`]; [`Service`] has the sockets.
//!
//! - `message`: questions and answers as bytes.
//! - `settings`: what resolv.conf(5) says.
//! - `names`: what is asked of the engine.
//! - `server`: from a question to its answer, bytes in, bytes out, the time given.
//! - `service`: the sockets, behind one descriptor that poll(2) takes.
//! - `stream`: messages over TCP.
//! - `budget`: how much of a processor all that may take.
//!
//! No name in a message is ever followed by a compression pointer: of questions none is taken that has one, of answers
//! from beyond nothing is read but their header and the question in it.

#![forbid(unsafe_code)]

mod budget;
mod message;
mod names;
mod server;
mod service;
mod settings;
mod stream;

pub use message::{Asked, Broken, Kind, MOST_ASKED, Query, Rcode, Record, answer, belongs, reverse_of};
pub use names::{Names, Neighbour};
pub use server::{Act, Client, Server};
pub use service::{PLACE, Service, Sockets};
pub use settings::{Settings, Upstreams};
