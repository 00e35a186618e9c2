//! From a question to its answer. No socket is touched here: what is to be sent comes out as [`Act`]s, what came in and
//! what time it is are told.
//!
//! ```text
//! asked ── a container's name, or the name of an address of its networks ──▶ Reply
//!       └─ anything else ──▶ Ask ── answered ──▶ Reply
//!                             ▲        │ refused, failed, or nothing in time
//!                             └────────┴─ the next server, round for round ──▶ Reply: what the last one said, or SERVFAIL
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::message::{self, Broken, Kind, Query, Rcode, Record};
use crate::names::{Names, Neighbour};
use crate::settings::Upstreams;

/// So many questions wait for servers beyond at most. Each has a socket, of which a process has some thousand.
const MOST: usize = 256;
/// How long a server that did not answer comes after the others.
const PENANCE: Duration = Duration::from_secs(30);
/// How long an answer of ours may be kept by who asked. Containers come and go.
const KEPT: u32 = 5;
/// So many servers are remembered for not answering.
const MOST_LATE: usize = 16;

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// By a datagram from here.
    Datagram(SocketAddr),
    /// On the connection with this number.
    Stream(u32),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// This is sent to who asked.
    Reply(Client, Vec<u8>),
    /// This is sent to a server, from a new socket: whatever question `key` waited for before is not waited for any more.
    Ask {
        /// The question's number, for what comes back.
        key: u32,
        /// Who is asked.
        server: SocketAddr,
        /// By TCP.
        stream: bool,
        /// The question.
        message: Vec<u8>,
    },
    /// Nothing is waited for any more.
    Done(u32),
}

/// A question that waits for a server.
#[derive(Debug)]
struct Pending {
    client: Client,
    /// The asker's number for it.
    id: u16,
    /// As it came, with the number that it was last sent with.
    message: Vec<u8>,
    /// The bytes of the question in it.
    question: (usize, usize),
    /// How long the answer may be.
    room: usize,
    /// Whom to ask, in this order, so often.
    upstreams: Upstreams,
    tried: u32,
    /// Until when the server that was asked last has time.
    until: Instant,
    /// The answer of one that refused, or nothing of one that could not be reached.
    refusal: Option<Vec<u8>>,
}

impl Pending {
    fn question(&self) -> &[u8] {
        self.message.get(self.question.0..self.question.1).unwrap_or_default()
    }

    fn server(&self) -> Option<SocketAddr> {
        let servers = &self.upstreams.servers;
        servers.get(self.tried as usize % servers.len().max(1)).copied()
    }
}

/// The server of one container.
#[derive(Debug, Default)]
pub struct Server {
    pending: BTreeMap<u32, Pending>,
    /// The number of the last question.
    last: u32,
    /// Servers that did not answer in time, and until when they come last.
    late: Vec<(SocketAddr, Instant)>,
    /// With which server the next question begins, where they take turns.
    turn: usize,
}

impl Server {
    /// Somebody asks. `number` gives random numbers: who can guess one can answer in a server's place.
    pub fn asked(
        &mut self,
        client: Client,
        message: &[u8],
        now: Instant,
        names: &mut dyn Names,
        number: &mut dyn FnMut() -> u16,
        acts: &mut VecDeque<Act>,
    ) {
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(Broken::Silent) => return,
            Err(Broken::Told(code)) => {
                return acts.push_back(Act::Reply(client, message::complaint(message, code)));
            }
        };
        let room = match client {
            Client::Datagram(_) => query.room,
            Client::Stream(_) => usize::from(u16::MAX),
        };
        let reply = |code, records: &[Record]| {
            Act::Reply(client, message::answer(message, &query, code, records, room, KEPT))
        };
        if query.is_of_the_future() {
            return acts.push_back(reply(Rcode::BAD_VERSION, &[]));
        }
        if !query.internet || query.kind.is_transfer() {
            return acts.push_back(reply(Rcode::REFUSED, &[]));
        }
        if let Some((code, records)) = known(&query, names, usize::from(number())) {
            return acts.push_back(reply(code, &records));
        }
        let Some(upstreams) = names.upstreams() else {
            // There is no other world for this container, and so no such name in it.
            return acts.push_back(reply(Rcode::NO_NAME, &[]));
        };
        let again = |one: &Pending| {
            one.client == client && one.id == query.id && one.question() == query.question(message)
        };
        if self.pending.values().any(again) {
            // It has not lost patience yet, only its resolver: the answer is on its way.
            return;
        }
        if self.pending.len() >= MOST || upstreams.servers.is_empty() {
            return acts.push_back(reply(Rcode::FAILED, &[]));
        }
        let upstreams = self.in_order(upstreams, now);
        let start = 12;
        let pending = Pending {
            client,
            id: query.id,
            message: message.to_vec(),
            question: (start, start + query.question(message).len()),
            room,
            upstreams,
            tried: 0,
            until: now,
            refusal: None,
        };
        self.last = self.last.wrapping_add(1);
        while self.pending.contains_key(&self.last) {
            self.last = self.last.wrapping_add(1);
        }
        self.pending.insert(self.last, pending);
        self.ask(self.last, now, number, acts);
    }

    /// A server, or somebody in its place, answers to the question `key`. False where it is none: it is waited on.
    pub fn answered(
        &mut self,
        key: u32,
        answer: &[u8],
        now: Instant,
        number: &mut dyn FnMut() -> u16,
        acts: &mut VecDeque<Act>,
    ) -> bool {
        let Some(pending) = self.pending.get_mut(&key) else { return false };
        if !message::belongs(answer, message::id(&pending.message), pending.question()) {
            return false;
        }
        if let Some(server) = pending.server() {
            self.late.retain(|(late, _)| *late != server);
        }
        if message::code(answer).is_refusal() {
            pending.refusal = Some(answer.to_vec());
            self.next(key, now, number, acts);
            return true;
        }
        let Some(pending) = self.pending.remove(&key) else { return true };
        finish(key, &pending, answer.to_vec(), acts);
        true
    }

    /// The server that question `key` was sent to cannot be reached, or hung up.
    pub fn failed(
        &mut self,
        key: u32,
        now: Instant,
        number: &mut dyn FnMut() -> u16,
        acts: &mut VecDeque<Act>,
    ) {
        let Some(pending) = self.pending.get_mut(&key) else { return };
        pending.refusal.get_or_insert_default();
        self.next(key, now, number, acts);
    }

    /// The time goes by: whoever has not answered in time has not.
    pub fn tick(&mut self, now: Instant, number: &mut dyn FnMut() -> u16, acts: &mut VecDeque<Act>) {
        let late: Vec<u32> =
            self.pending.iter().filter(|(_, one)| one.until <= now).map(|(key, _)| *key).collect();
        for key in late {
            if let Some(server) = self.pending.get(&key).and_then(Pending::server) {
                self.late.retain(|(late, until)| *late != server && *until > now);
                if self.late.len() < MOST_LATE {
                    self.late.push((server, now + PENANCE));
                }
            }
            self.next(key, now, number, acts);
        }
    }

    /// When [`tick`](Self::tick) is due.
    pub fn due(&self) -> Option<Instant> {
        self.pending.values().map(|one| one.until).min()
    }

    /// How many questions wait.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// The servers, those last that did not answer lately.
    fn in_order(&mut self, mut upstreams: Upstreams, now: Instant) -> Upstreams {
        if upstreams.rotate {
            let count = upstreams.servers.len();
            upstreams.servers.rotate_left(self.turn % count);
            self.turn = self.turn.wrapping_add(1);
        }
        let is_late =
            |server: &SocketAddr| self.late.iter().any(|(late, until)| late == server && *until > now);
        upstreams.servers.sort_by_key(is_late);
        upstreams
    }

    /// The next server has its turn, if there is one.
    fn next(&mut self, key: u32, now: Instant, number: &mut dyn FnMut() -> u16, acts: &mut VecDeque<Act>) {
        let Some(pending) = self.pending.get_mut(&key) else { return };
        pending.tried += 1;
        // Who refuses will refuse again: there is no second round then.
        let rounds = if pending.refusal.is_some() { 1 } else { pending.upstreams.attempts };
        if pending.tried < pending.upstreams.servers.len() as u32 * rounds {
            return self.ask(key, now, number, acts);
        }
        let Some(mut pending) = self.pending.remove(&key) else { return };
        let answer = match pending.refusal.take().filter(|answer| !answer.is_empty()) {
            Some(answer) => answer,
            None => match Query::read(&pending.message) {
                Ok(query) => {
                    let mut answer =
                        message::answer(&pending.message, &query, Rcode::FAILED, &[], pending.room, 0);
                    message::no_authority(&mut answer);
                    answer
                }
                // It could be read when it came.
                Err(_) => message::complaint(&pending.message, Rcode::FAILED),
            },
        };
        finish(key, &pending, answer, acts);
    }

    fn ask(&mut self, key: u32, now: Instant, number: &mut dyn FnMut() -> u16, acts: &mut VecDeque<Act>) {
        let Some(pending) = self.pending.get_mut(&key) else { return };
        let Some(server) = pending.server() else { return };
        message::set_id(&mut pending.message, number());
        pending.until = now + pending.upstreams.timeout;
        let stream = pending.upstreams.streams || matches!(pending.client, Client::Stream(_));
        acts.push_back(Act::Ask { key, server, stream, message: pending.message.clone() });
    }
}

/// Hands an answer on.
fn finish(key: u32, pending: &Pending, mut answer: Vec<u8>, acts: &mut VecDeque<Act>) {
    if answer.len() > pending.room {
        message::shorten(&mut answer, pending.question());
    }
    message::set_id(&mut answer, pending.id);
    acts.push_back(Act::Done(key));
    acts.push_back(Act::Reply(pending.client, answer));
}

/// What is known here of a question: none, and the servers beyond are asked. `chance` says which of several
/// addresses comes first, for most programs take that one.
fn known(query: &Query, names: &mut dyn Names, chance: usize) -> Option<(Rcode, Vec<Record>)> {
    let name = query.name.as_deref()?;
    let wants = |kind| query.kind == kind || query.kind == Kind::ANY;
    if let Some(address) = message::reverse_of(name) {
        return match names.at(address) {
            Neighbour::Named(name) if wants(Kind::PTR) => Some((Rcode::OK, vec![Record::Name(name)])),
            Neighbour::Named(_) => Some((Rcode::OK, Vec::new())),
            // Nobody beyond knows who is in our networks, and nobody is to be asked.
            Neighbour::Nobody => Some((Rcode::NO_NAME, Vec::new())),
            Neighbour::Elsewhere => None,
        };
    }
    let mut addresses = names.find(name)?;
    if !addresses.is_empty() {
        let count = addresses.len();
        addresses.rotate_left(chance % count);
    }
    let wanted = |address: &IpAddr| wants(if address.is_ipv4() { Kind::A } else { Kind::AAAA });
    // A name without what is asked for is a name all the same: an empty answer, not NXDOMAIN, or nobody would ask for the
    // addresses of the other family.
    Some((Rcode::OK, addresses.into_iter().filter(wanted).map(Record::Address).collect()))
}

#[cfg(test)]
mod tests;
