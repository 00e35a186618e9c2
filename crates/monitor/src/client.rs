//! Who is connected with a monitor: the command that started the container, and those that came by its socket.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::channel::{Channel, Kind};

/// The first words of a guest: what it came for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// It reads the container's standard output, or its terminal.
    pub stdout: bool,
    /// It reads the container's standard error.
    pub stderr: bool,
    /// The user wants the container ended: no restart policy starts it again.
    pub halt: bool,
    /// It wants the container's health looked at right now.
    #[serde(default)]
    pub probe: bool,
}

/// What the monitor answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The container's first process; none while it waits to be started again.
    pub pid: Option<i32>,
    /// It has a terminal.
    pub terminal: bool,
    /// Its standard input is open.
    pub interactive: bool,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
    /// The command whose foreground the container is: it ends with it.
    pub(crate) owner: bool,
    stdout: bool,
    stderr: bool,
    /// It asked for the container's health.
    pub(crate) probes: bool,
}

impl Client {
    /// The command that started the container.
    pub(crate) fn starter(channel: Channel, owner: bool, reading: bool) -> Self {
        Self { channel, owner, stdout: reading, stderr: reading, probes: false }
    }

    /// Who came by the socket, before its first words.
    pub(crate) fn guest(socket: OwnedFd) -> Self {
        Self { channel: Channel::new(socket), owner: false, stdout: false, stderr: false, probes: false }
    }

    /// What it came for.
    pub(crate) fn greet(&mut self, hello: Hello) {
        (self.stdout, self.stderr, self.probes) = (hello.stdout, hello.stderr, hello.probe);
    }

    /// Whether it reads this stream.
    pub(crate) fn reads(&self, kind: Kind) -> bool {
        if kind == Kind::Stderr { self.stderr } else { self.stdout }
    }

    /// It reads no more of this stream.
    pub(crate) fn unread(&mut self, kind: Kind) {
        if kind == Kind::Stderr {
            self.stderr = false;
        } else {
            self.stdout = false;
        }
    }

    /// Says something that is written as JSON.
    pub(crate) fn say(&mut self, kind: Kind, what: &impl Serialize) {
        // Strings, numbers and lists: writing them as JSON cannot fail.
        self.channel.push(kind, &serde_json::to_vec(what).unwrap_or_default());
    }
}
