//! The network against the real kernel, each test on a host of its own (see `world`): the machine's own network is
//! never touched. Needs root and ip(8).

use minidocker_network as network;

mod attaching;
mod deciding;
mod devices;
mod made;
mod world;
