//! A connection to a message bus, or to systemd itself without one: a unix socket, blocking, one call at a time.
//!
//! No thread, no runtime: the processes that use it fork without exec and have one thread. Every wait has an end.
//! Source: the D-Bus specification, "Authentication Protocol", "Server Addresses".

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::message::{Kind, Message, Method};
use super::value::Value;
use super::wire::Senseless;

/// How long a call may take, a job included: what runc and systemctl's own time-outs have settled at.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The message bus itself.
pub(super) const fn bus_method(member: &'static str) -> Method {
    Method {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member,
    }
}

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket in the file system.
    Path(PathBuf),
    /// A name that no file system has.
    Abstract(Vec<u8>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
        }
    }
}

impl Address {
    /// The unix sockets of `unix:path=/run/bus,guid=…;unix:abstract=…`. Other kinds of addresses are left out.
    pub(super) fn parse(text: &str) -> Vec<Self> {
        let one = |address: &str| {
            let pairs = address.strip_prefix("unix:")?.split(',').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find_map(|(key, value)| {
                let value = unescape(value)?;
                match key {
                    "path" => Some(Self::Path(std::ffi::OsString::from_vec(value).into())),
                    "abstract" => Some(Self::Abstract(value)),
                    _ => None,
                }
            })
        };
        text.split(';').filter_map(one).collect()
    }

    fn socket(&self) -> rustix::io::Result<SocketAddrUnix> {
        match self {
            Self::Path(path) => SocketAddrUnix::new(path.as_path()),
            Self::Abstract(name) => SocketAddrUnix::new_abstract_name(name),
        }
    }
}

/// Undoes `%20`.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

/// What can go wrong on a bus.
#[derive(Debug)]
pub(super) enum Error {
    /// The socket.
    Io(io::Error),
    /// Nothing came in time.
    Late,
    /// The other side has hung up.
    Closed,
    /// It does not take us for who we are.
    Rejected(String),
    /// What came is no message, and where.
    Senseless(usize),
    /// An answer of another form than the method's.
    Unexpected(String),
    /// The method's own error: its name and its words.
    Refused { name: String, words: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => f.write_str(&::step::words(error)),
            Self::Late => write!(f, "no answer within {} s", PATIENCE.as_secs()),
            Self::Closed => f.write_str("it hung up"),
            Self::Rejected(words) => write!(f, "it does not let this user in: {words}"),
            Self::Senseless(at) => write!(f, "what came is no message of D-Bus, from byte {at} on"),
            Self::Unexpected(body) => write!(f, "an answer of an unknown form: {body}"),
            Self::Refused { name, words } if words.is_empty() => f.write_str(name),
            // As systemctl shows them: the words without their name, and without a full stop.
            Self::Refused { words, .. } => f.write_str(words.trim_end().trim_end_matches('.')),
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::Late,
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            errno => Self::Io(errno.into()),
        }
    }
}

impl From<Senseless> for Error {
    fn from(senseless: Senseless) -> Self {
        Self::Senseless(senseless.0)
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    socket: OwnedFd,
    serial: u32,
    /// Bytes of the next messages.
    incoming: Vec<u8>,
    /// Signals that came while an answer was waited for.
    signals: VecDeque<Message>,
    /// Answers that came while another one was waited for.
    answers: Vec<Message>,
}

impl Bus {
    /// Connects and proves who we are. `greet` a bus; without it, systemd's own socket, say nothing.
    pub(super) fn connect(address: &Address, greet: bool) -> Result<Self, Error> {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // It bounds connect(2) too, which waits while others are waiting to be let in.
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        rustix::net::connect(&socket, &address.socket()?)?;
        let mut bus =
            Self { socket, serial: 0, incoming: Vec::new(), signals: VecDeque::new(), answers: Vec::new() };
        bus.authenticate(Instant::now() + PATIENCE)?;
        if greet {
            bus.call(bus_method("Hello"), vec![])?;
        }
        Ok(bus)
    }

    /// By the kernel's word on who we are. Our own word, a user number, would be another one from inside a user
    /// namespace; without one the other side looks for itself. Libsystemd does it so since version 246.
    fn authenticate(&mut self, deadline: Instant) -> Result<(), Error> {
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            let Some(end) = self.incoming.windows(2).position(|pair| pair == b"\r\n") else {
                if self.incoming.len() > 16 << 10 {
                    return Err(Error::Senseless(0));
                }
                self.read(deadline)?;
                continue;
            };
            let line: Vec<u8> = self.incoming.drain(..end + 2).take(end).collect();
            let line = String::from_utf8_lossy(&line).into_owned();
            match line.split(' ').next().unwrap_or_default() {
                "OK" => return Ok(()),
                "DATA" => {}
                _ => return Err(Error::Rejected(line.escape_debug().to_string())),
            }
        }
    }

    fn write(&self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            // No signal where nobody reads any more: that is an error like others.
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Waits for bytes and takes what is there.
    fn read(&mut self, deadline: Instant) -> Result<(), Error> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let time = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&time)) {
                Ok(0) => return Err(Error::Late),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let mut buffer = [0; 4096];
        match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(Error::Closed),
            Ok((count, _)) => self.incoming.extend_from_slice(&buffer[..count]),
            // Nothing there after all: the next round waits again.
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// The next message.
    fn next(&mut self, deadline: Instant) -> Result<Message, Error> {
        loop {
            match Message::length(&self.incoming)? {
                Some(length) if length <= self.incoming.len() => {
                    let bytes: Vec<u8> = self.incoming.drain(..length).collect();
                    if let Some(message) = Message::decode(&bytes)? {
                        return Ok(message);
                    }
                }
                _ => self.read(deadline)?,
            }
        }
    }

    /// Sends a message; the number that its answer names.
    pub(super) fn send(&mut self, message: &Message) -> Result<u32, Error> {
        // Zero is no serial number.
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        self.write(&message.encode(self.serial))?;
        Ok(self.serial)
    }

    /// The body of the answer to the message of that number.
    pub(super) fn answer(&mut self, serial: u32, deadline: Instant) -> Result<Vec<Value>, Error> {
        self.answer_whole(serial, deadline).map(|message| message.body)
    }

    /// The same with its sender.
    pub(super) fn answer_whole(&mut self, serial: u32, deadline: Instant) -> Result<Message, Error> {
        let kept = self.answers.iter().position(|message| message.answers == Some(serial));
        let mut found = kept.map(|at| self.answers.swap_remove(at));
        let message = loop {
            if let Some(message) = found {
                break message;
            }
            let message = self.next(deadline)?;
            match message.kind {
                Kind::Signal => self.signals.push_back(message),
                Kind::Return | Kind::Error if message.answers == Some(serial) => found = Some(message),
                Kind::Return | Kind::Error => self.answers.push(message),
                // Nobody has anything to call here.
                Kind::Call => {}
            }
        };
        if message.kind == Kind::Return {
            return Ok(message);
        }
        let words = message.body.first().and_then(Value::text).unwrap_or_default().to_owned();
        Err(Error::Refused { name: message.error.unwrap_or_default(), words })
    }

    /// Calls a method and waits for its answer.
    pub(super) fn call(&mut self, method: Method, body: Vec<Value>) -> Result<Vec<Value>, Error> {
        let serial = self.send(&Message::call(method, body))?;
        self.answer(serial, Instant::now() + PATIENCE)
    }

    /// The next signal that `wanted` makes something of; the others are dropped.
    pub(super) fn signal<T>(
        &mut self,
        deadline: Instant,
        mut wanted: impl FnMut(&Message) -> Option<T>,
    ) -> Result<T, Error> {
        loop {
            let message = match self.signals.pop_front() {
                Some(message) => message,
                None => self.next(deadline)?,
            };
            match message.kind {
                Kind::Signal => {
                    if let Some(found) = wanted(&message) {
                        return Ok(found);
                    }
                }
                Kind::Return | Kind::Error => self.answers.push(message),
                Kind::Call => {}
            }
        }
    }

    /// Forgets the signals that came so far.
    pub(super) fn forget_signals(&mut self) {
        self.signals.clear();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read, Write};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::thread::JoinHandle;

    use super::*;

    /// A bus of one client, which answers as it is told.
    pub(in crate::systemd) struct Server {
        stream: UnixStream,
        incoming: Vec<u8>,
        serial: u32,
    }

    impl Server {
        /// Listens on a name of its own; what `serve` does with the first client is done in a thread.
        pub(in crate::systemd) fn start<T: Send + 'static>(
            serve: impl FnOnce(UnixStream) -> T + Send + 'static,
        ) -> (Address, JoinHandle<T>) {
            static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let name = format!("minidocker-test-bus-{}-{count}", std::process::id());
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
            let listener = UnixListener::bind_addr(&address).unwrap();
            let thread = std::thread::spawn(move || serve(listener.accept().unwrap().0));
            (Address::Abstract(name.into_bytes()), thread)
        }

        /// Lets the client in, as a bus does.
        pub(in crate::systemd) fn welcome(mut stream: UnixStream) -> Self {
            let mut said = Vec::new();
            while !said.ends_with(b"BEGIN\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                said.push(byte[0]);
            }
            assert_eq!(said, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
            stream.write_all(b"DATA\r\nOK 0123456789abcdef\r\n").unwrap();
            Self { stream, incoming: Vec::new(), serial: 100 }
        }

        /// The next message of the client; none when it has gone.
        pub(in crate::systemd) fn next(&mut self) -> Option<Message> {
            loop {
                match Message::length(&self.incoming).unwrap() {
                    Some(length) if length <= self.incoming.len() => {
                        let bytes: Vec<u8> = self.incoming.drain(..length).collect();
                        return Message::decode(&bytes).unwrap();
                    }
                    _ => {
                        let mut buffer = [0; 4096];
                        let count = self.stream.read(&mut buffer).unwrap_or(0);
                        if count == 0 {
                            return None;
                        }
                        self.incoming.extend_from_slice(&buffer[..count]);
                    }
                }
            }
        }

        pub(in crate::systemd) fn send(&mut self, message: Message) {
            self.serial += 1;
            self.stream.write_all(&message.encode(self.serial)).unwrap();
        }

        pub(in crate::systemd) fn answer(&mut self, to: &Message, body: Vec<Value>) {
            self.send(plain(Kind::Return, Some(to.serial), body));
        }

        pub(in crate::systemd) fn refuse(&mut self, to: &Message, name: &str, words: &str) {
            let error = Some(name.to_owned());
            self.send(Message { error, ..plain(Kind::Error, Some(to.serial), vec![words.into()]) });
        }

        pub(in crate::systemd) fn signal(&mut self, member: &str, body: Vec<Value>) {
            let member = Some(member.to_owned());
            let path = Some("/org/freedesktop/systemd1".to_owned());
            let interface = Some("org.freedesktop.systemd1.Manager".to_owned());
            self.send(Message { member, path, interface, ..plain(Kind::Signal, None, body) });
        }
    }

    fn plain(kind: Kind, answers: Option<u32>, body: Vec<Value>) -> Message {
        Message {
            kind,
            serial: 0,
            answers,
            destination: None,
            sender: None,
            path: None,
            interface: None,
            member: None,
            error: None,
            body,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn addresses_of_unix_sockets() {
        let path = |text: &str| Address::Path(text.into());
        assert_eq!(
            Address::parse("unix:path=/run/dbus/system_bus_socket"),
            [path("/run/dbus/system_bus_socket")]
        );
        assert_eq!(
            Address::parse("tcp:host=x;unix:guid=0,path=/a%20b;unix:abstract=/tmp/x,guid=1;unix:path=/%zz"),
            [path("/a b"), Address::Abstract(b"/tmp/x".to_vec())]
        );
        assert!(Address::parse("").is_empty());
        assert_eq!(Address::Abstract(b"x".to_vec()).to_string(), "@x");
    }

    #[test]
    fn answers_and_signals_in_any_order() {
        let (address, server) = Server::start(|stream| {
            let mut server = Server::welcome(stream);
            let hello = server.next().unwrap();
            assert_eq!(hello.member.as_deref(), Some("Hello"));
            server.answer(&hello, vec![":1.5".into()]);
            let (first, second) = (server.next().unwrap(), server.next().unwrap());
            server.signal("One", vec![1u64.into()]);
            server.answer(&second, vec![]);
            server.signal("Two", vec![2u64.into()]);
            server.refuse(&first, "org.example.No", "Not today.");
        });
        let mut bus = Bus::connect(&address, true).unwrap();
        let first = bus.send(&Message::call(bus_method("First"), vec![])).unwrap();
        let second = bus.send(&Message::call(bus_method("Second"), vec![true.into()])).unwrap();
        let refused = bus.answer(first, soon()).unwrap_err();
        assert_eq!(refused.to_string(), "Not today");
        assert!(matches!(refused, Error::Refused { name, .. } if name == "org.example.No"));
        let wanted =
            |message: &Message| (message.member.as_deref() == Some("Two")).then(|| message.body.clone());
        assert_eq!(bus.signal(soon(), wanted).unwrap(), [2u64.into()]);
        assert_eq!(bus.answer(second, soon()).unwrap(), []);
        server.join().unwrap();
        assert!(matches!(bus.answer(99, soon()).unwrap_err(), Error::Closed));
    }

    #[test]
    fn who_hangs_up_or_rejects_is_told() {
        let (address, server) = Server::start(drop);
        let error = Bus::connect(&address, true).unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
        server.join().unwrap();
        let (address, server) = Server::start(|mut stream: UnixStream| {
            stream.write_all(b"REJECTED KERBEROS_V4\r\n").unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        let error = Bus::connect(&address, true).unwrap_err();
        assert_eq!(error.to_string(), "it does not let this user in: REJECTED KERBEROS_V4");
        server.join().unwrap();
        let nobody = Address::Path("/no/such/socket".into());
        assert_eq!(Bus::connect(&nobody, true).unwrap_err().to_string(), "no such file or directory");
    }

    #[test]
    fn garbage_and_silence_end() {
        let (address, server) = Server::start(|stream| {
            let mut server = Server::welcome(stream);
            server.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
            assert!(server.next().is_some());
            server.next()
        });
        let mut bus = Bus::connect(&address, false).unwrap();
        let error = bus.call(bus_method("Hello"), vec![]).unwrap_err();
        assert!(matches!(error, Error::Senseless(0)), "{error}");
        drop(bus);
        assert!(server.join().unwrap().is_none());
        let (address, server) = Server::start(|stream| Server::welcome(stream).next());
        let mut bus = Bus::connect(&address, false).unwrap();
        let error = bus.answer(1, Instant::now()).unwrap_err();
        assert_eq!(error.to_string(), "no answer within 30 s");
        drop(bus);
        server.join().unwrap();
    }
}
