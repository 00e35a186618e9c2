//! The sockets of one container's name service, behind one descriptor for poll(2).
//!
//! Those that programs ask are inside of the container's network namespace; those that ask servers beyond are made here,
//! in the namespace of the monitor, one for each question: the kernel gives it a random port and takes nothing on it
//! but from the server that it is connected to. So a server on the host's loopback is reached too, such as
//! systemd-resolved's.

use std::collections::{BTreeMap, VecDeque};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect, listen, recv,
    recvfrom, send, sendto, socket_with,
};
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_gettime};

use crate::budget::Budget;
use crate::message::MOST_ASKED;
use crate::names::Names;
use crate::server::{Act, Client, Server};
use crate::stream::Stream;

/// Where programs ask: as with Docker, for some images name it.
pub const PLACE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 11), 53);

/// So many datagrams are read before the monitor looks after something else.
const AT_ONCE: usize = 64;
/// So many programs may be connected.
const MOST_STREAMS: usize = 64;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// After this time without a question, what was kept for the next one goes.
const REST: Duration = Duration::from_secs(2);
/// The longest message that there can be.
const LONGEST: usize = 65535;

/// The sockets that programs ask: for datagrams, and for streams.
pub type Sockets = [OwnedFd; 2];

/// What an event is about: this in the upper half, a number in the lower.
const DATAGRAMS: u64 = 0;
const LISTENER: u64 = 1;
const STREAM: u64 = 2;
const BEYOND: u64 = 3;

fn about(what: u64, key: u32) -> epoll::EventData {
    epoll::EventData::new_u64(what << 32 | u64::from(key))
}

/// The name service of one container.
#[derive(Debug)]
pub struct Service {
    epoll: OwnedFd,
    datagrams: OwnedFd,
    listener: OwnedFd,
    server: Server,
    /// Programs that are connected.
    streams: BTreeMap<u32, Connected>,
    /// The number of the last of them.
    last: u32,
    /// The sockets on which servers beyond are asked.
    beyond: BTreeMap<u32, Beyond>,
    /// When somebody asked last; none: what was kept has gone.
    asked: Option<Instant>,
    /// What it may take of a processor.
    budget: Budget,
    /// Until when nothing is done: more than that was taken.
    rests: Option<Instant>,
}

#[derive(Debug)]
struct Connected {
    stream: Stream,
    /// How many of its questions wait for an answer.
    waiting: usize,
    since: Instant,
    /// What epoll was told to wait for.
    flags: epoll::EventFlags,
}

#[derive(Debug)]
enum Beyond {
    Datagram(OwnedFd),
    Stream(Stream, epoll::EventFlags),
}

impl Service {
    /// The sockets for programs, made in the network namespace that this thread is in.
    pub fn sockets() -> Result<Sockets, Errno> {
        let new = |kind| {
            let socket = open(PLACE.into(), kind)?;
            if kind == SocketType::STREAM {
                // A monitor takes the place of one that was killed, whose connections are not quite gone. Of datagrams
                // it would let a program of the container take those that are for us.
                set_socket_reuseaddr(&socket, true)?;
            }
            bind(&socket, &PLACE)?;
            Ok(socket)
        };
        let streams = new(SocketType::STREAM)?;
        listen(&streams, MOST_STREAMS as i32)?;
        Ok([new(SocketType::DGRAM)?, streams])
    }

    /// A service on these.
    pub fn new([datagrams, listener]: Sockets) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &datagrams, about(DATAGRAMS, 0), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &listener, about(LISTENER, 0), epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            datagrams,
            listener,
            server: Server::default(),
            streams: BTreeMap::new(),
            last: 0,
            beyond: BTreeMap::new(),
            asked: None,
            budget: Budget::new(Instant::now()),
            rests: None,
        })
    }

    /// When it wants its turn without anything else happening.
    pub fn due(&self) -> Option<Instant> {
        if self.rests.is_some() {
            return self.rests;
        }
        let silent = self.streams.values().filter(|one| one.waiting == 0);
        let silence = silent.map(|one| one.since + SILENCE).min();
        let rest = self.asked.filter(|_| self.is_quiet()).map(|asked| asked + REST);
        [self.server.due(), silence, rest].into_iter().flatten().min()
    }

    /// Whether it waits for its turn and for nothing else: a program has asked more than there is time for. What it asks
    /// meanwhile waits in the kernel, as far as there is room.
    pub fn rests(&self) -> bool {
        self.rests.is_some()
    }

    fn is_quiet(&self) -> bool {
        self.server.waiting() == 0 && self.streams.is_empty()
    }

    /// Its turn: does all that can be done without waiting.
    pub fn turn(&mut self, names: &mut dyn Names) {
        let now = Instant::now();
        if self.rests.is_some_and(|until| now < until) {
            return;
        }
        let before = processor_time();
        self.work(now, names);
        let now = Instant::now();
        self.budget.spend(processor_time().saturating_sub(before), now);
        self.rests = self.budget.rests_until();
    }

    fn work(&mut self, now: Instant, names: &mut dyn Names) {
        let mut acts = VecDeque::new();
        let mut room = [MaybeUninit::<epoll::Event>::uninit(); AT_ONCE];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Nothing is lost where it fails: whatever it is stays ready.
        if let Ok((events, _)) = epoll::wait(&self.epoll, &mut room, Some(&at_once)) {
            for event in events {
                let data = event.data.u64();
                let key = data as u32;
                match data >> 32 {
                    DATAGRAMS => self.read_datagrams(now, names, &mut acts),
                    LISTENER => self.accept(now),
                    STREAM => self.attend(key, now, names, &mut acts),
                    _ => self.hear_beyond(key, now, &mut acts),
                }
                self.perform(now, &mut acts);
            }
        }
        self.server.tick(now, &mut number, &mut acts);
        self.perform(now, &mut acts);
        let is_silent = |one: &Connected| now.saturating_duration_since(one.since) >= SILENCE;
        self.streams.retain(|_, one| one.waiting > 0 || !is_silent(one));
        if self.is_quiet() && self.asked.is_some_and(|asked| now.saturating_duration_since(asked) >= REST) {
            self.asked = None;
            names.forget();
        }
    }

    /// Never part of its caller, as all that have large buffers: they would stay in memory.
    #[inline(never)]
    fn read_datagrams(&mut self, now: Instant, names: &mut dyn Names, acts: &mut VecDeque<Act>) {
        let mut room = [MaybeUninit::<u8>::uninit(); MOST_ASKED];
        for _ in 0..AT_ONCE {
            let (message, length, from) = match recvfrom(&self.datagrams, &mut room, RecvFlags::TRUNC) {
                Ok(((bytes, _), length, from)) => (bytes, length, from),
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            if let Some(from) = from.filter(|_| length <= MOST_ASKED) {
                self.asked = Some(now);
                self.server.asked(Client::Datagram(from), message, now, names, &mut number, acts);
                self.perform(now, acts);
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..AT_ONCE {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(_) => return,
            };
            if self.streams.len() >= MOST_STREAMS {
                // Whoever was silent for longest makes room.
                let oldest = self.streams.iter().min_by_key(|(_, one)| one.since).map(|(key, _)| *key);
                oldest.and_then(|key| self.streams.remove(&key));
            }
            self.last = self.last.wrapping_add(1);
            let flags = epoll::EventFlags::IN;
            if epoll::add(&self.epoll, &socket, about(STREAM, self.last), flags).is_ok() {
                let stream = Stream::new(socket);
                self.asked = Some(now);
                self.streams.insert(self.last, Connected { stream, waiting: 0, since: now, flags });
            }
        }
    }

    /// A program says something on its connection, or takes what was said to it.
    fn attend(&mut self, key: u32, now: Instant, names: &mut dyn Names, acts: &mut VecDeque<Act>) {
        let Some(one) = self.streams.get_mut(&key) else { return };
        one.since = now;
        let mut fails = one.stream.flush().and_then(|()| one.stream.hear(MOST_ASKED)).is_err();
        while !fails {
            let Some(one) = self.streams.get_mut(&key) else { return };
            if one.stream.has_unsaid() {
                // Who does not take answers gets no more of them.
                break;
            }
            match one.stream.next(MOST_ASKED) {
                Ok(Some(message)) => {
                    one.waiting += 1;
                    self.asked = Some(now);
                    let before = (acts.len(), self.server.waiting());
                    self.server.asked(Client::Stream(key), &message, now, names, &mut number, acts);
                    if before == (acts.len(), self.server.waiting()) {
                        // Nobody answers that.
                        one.waiting -= 1;
                    }
                    self.perform(now, acts);
                }
                Ok(None) => break,
                Err(_) => fails = true,
            }
        }
        if fails {
            self.streams.remove(&key);
        }
        self.settle(key);
    }

    /// What a connection waits for now; none that has ended, and to whom nothing is owed.
    fn settle(&mut self, key: u32) {
        let Some(one) = self.streams.get_mut(&key) else { return };
        let ended = one.stream.has_ended();
        let unsaid = one.stream.has_unsaid();
        if ended && one.waiting == 0 && !unsaid && !one.stream.has_message(MOST_ASKED) {
            self.streams.remove(&key);
            return;
        }
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, !ended && !unsaid);
        flags.set(epoll::EventFlags::OUT, unsaid);
        if flags != one.flags {
            one.flags = flags;
            let _ = epoll::modify(&self.epoll, one.stream.as_fd(), about(STREAM, key), flags);
        }
    }

    /// A server beyond says something, or cannot be reached.
    #[inline(never)]
    fn hear_beyond(&mut self, key: u32, now: Instant, acts: &mut VecDeque<Act>) {
        let mut room = [MaybeUninit::<u8>::uninit(); LONGEST];
        let fails = match self.beyond.get_mut(&key) {
            None => return,
            Some(Beyond::Datagram(socket)) => loop {
                match recv(&*socket, &mut room, RecvFlags::empty()) {
                    Ok(((answer, _), _)) => {
                        if self.server.answered(key, answer, now, &mut number, acts) {
                            return;
                        }
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return,
                    Err(_) => break true,
                }
            },
            Some(Beyond::Stream(stream, flags)) => {
                let heard =
                    stream.flush().and_then(|()| stream.hear(LONGEST)).and_then(|()| stream.next(LONGEST));
                let wanted = wants(stream);
                if *flags != wanted {
                    *flags = wanted;
                    let _ = epoll::modify(&self.epoll, stream.as_fd(), about(BEYOND, key), wanted);
                }
                match heard {
                    Ok(None) => stream.has_ended(),
                    // On a connection of one question anything else is a failure.
                    Ok(Some(answer)) => !self.server.answered(key, &answer, now, &mut number, acts),
                    Err(_) => true,
                }
            }
        };
        if fails {
            self.beyond.remove(&key);
            self.server.failed(key, now, &mut number, acts);
        }
    }

    /// Does what the server wants done.
    fn perform(&mut self, now: Instant, acts: &mut VecDeque<Act>) {
        while let Some(act) = acts.pop_front() {
            match act {
                // What there is no room for is lost, as datagrams are; it is asked for again.
                Act::Reply(Client::Datagram(to), message) => {
                    let _ = sendto(&self.datagrams, &message, SendFlags::NOSIGNAL, &to);
                }
                Act::Reply(Client::Stream(key), message) => {
                    if let Some(one) = self.streams.get_mut(&key) {
                        (one.waiting, one.since) = (one.waiting.saturating_sub(1), now);
                        if one.stream.say(&message).is_err() {
                            self.streams.remove(&key);
                        }
                        self.settle(key);
                    }
                }
                Act::Ask { key, server, stream, message } => {
                    self.beyond.remove(&key);
                    match self.ask(key, server, stream, &message) {
                        Ok(asked) => drop(self.beyond.insert(key, asked)),
                        Err(_) => self.server.failed(key, now, &mut number, acts),
                    }
                }
                Act::Done(key) => drop(self.beyond.remove(&key)),
            }
        }
    }

    fn ask(&self, key: u32, server: SocketAddr, stream: bool, message: &[u8]) -> Result<Beyond, Errno> {
        let socket = open(server, if stream { SocketType::STREAM } else { SocketType::DGRAM })?;
        match connect(&socket, &server) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if !stream {
            send(&socket, message, SendFlags::NOSIGNAL)?;
            epoll::add(&self.epoll, &socket, about(BEYOND, key), epoll::EventFlags::IN)?;
            return Ok(Beyond::Datagram(socket));
        }
        let mut stream = Stream::new(socket);
        stream.say(message)?;
        let flags = wants(&stream);
        epoll::add(&self.epoll, stream.as_fd(), about(BEYOND, key), flags)?;
        Ok(Beyond::Stream(stream, flags))
    }
}

impl AsFd for Service {
    /// Readable when there is something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn wants(stream: &Stream) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::IN;
    flags.set(epoll::EventFlags::OUT, stream.has_unsaid());
    flags
}

fn open(address: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// The time that this thread has had of a processor. Time that others had meanwhile is nobody's fault here.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// A number that nobody can guess. The kernel gives few bytes always, once it has any.
fn number() -> u16 {
    let mut bytes = [0; 2];
    while getrandom(&mut bytes, GetRandomFlags::empty()) == Err(Errno::INTR) {}
    u16::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests;
