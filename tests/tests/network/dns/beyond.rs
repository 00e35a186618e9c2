//! A name server of the world's "host", and questions as bytes, by hand: a second opinion on ours.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minidocker_tests::{Call, World};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where containers ask.
const PLACE: &str = "127.0.0.11:53";

pub(super) const A: u16 = 1;
pub(super) const PTR: u16 = 12;
pub(super) const AAAA: u16 = 28;

/// What a server was asked: name, kind, and whether by TCP.
type Heard = Arc<Mutex<Vec<(String, u16, bool)>>>;

/// A server on an address of the world's "host", port 53. It knows names with one IPv4 address each; `large.example` has
/// 100, `broken.example` is never known to it for it fails, and `silent.example`, and names below, it says nothing about.
pub(super) struct Beyond {
    heard: Heard,
}

impl Beyond {
    pub(super) fn new(world: &World, address: &str, names: &[(&str, &str)]) -> Self {
        let names: BTreeMap<String, Ipv4Addr> =
            names.iter().map(|(name, address)| ((*name).to_owned(), address.parse().unwrap())).collect();
        let at = (address.parse::<Ipv4Addr>().unwrap(), 53);
        let (udp, tcp) =
            world.inside_network(|| (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap()));
        let heard = Heard::default();
        let (by_udp, by_tcp, all) = (Arc::clone(&heard), Arc::clone(&heard), names.clone());
        // They end with the tests.
        std::thread::spawn(move || {
            let mut room = [0; 4096];
            while let Ok((count, from)) = udp.recv_from(&mut room) {
                if let Some(answer) = answer(&room[..count], &names, false, &by_udp) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        std::thread::spawn(move || {
            for mut client in tcp.incoming().flatten() {
                let asked = framed(&mut client);
                if let Some(answer) = answer(&asked, &all, true, &by_tcp) {
                    let _ = client.write_all(&[&(answer.len() as u16).to_be_bytes(), &answer[..]].concat());
                }
            }
        });
        Self { heard }
    }

    /// What it was asked since the last time.
    pub(super) fn heard(&self) -> Vec<(String, u16, bool)> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

fn answer(asked: &[u8], names: &BTreeMap<String, Ipv4Addr>, tcp: bool, heard: &Heard) -> Option<Vec<u8>> {
    let (name, end) = name(asked, 12);
    let kind = u16::from_be_bytes([asked[end], asked[end + 1]]);
    heard.lock().unwrap().push((name.clone(), kind, tcp));
    let number =
        name.strip_prefix('n').and_then(|rest| rest.strip_suffix(".many.example")?.parse::<u16>().ok());
    let addresses: Vec<Ipv4Addr> = match (name.as_str(), number, names.get(&name)) {
        (name, ..) if name.ends_with("silent.example") => return None,
        ("large.example", ..) => (0..100).map(|n| Ipv4Addr::new(198, 51, 100, n)).collect(),
        (_, Some(number), _) => vec![Ipv4Addr::from_bits(0xc612_0000 + u32::from(number))],
        (.., known) => known.copied().into_iter().collect(),
    };
    let room = if tcp || asked[11] == 1 { 4096 } else { 512 };
    let code = match name.as_str() {
        "broken.example" => 2,
        _ if addresses.is_empty() => 3,
        _ => 0,
    };
    let all = if kind == A { addresses } else { Vec::new() };
    let fits = end + 4 + 16 * all.len() <= room;
    let count = if fits { all.len() as u8 } else { 0 };
    let mut bytes = asked[..2].to_vec();
    bytes.extend([if fits { 0x81 } else { 0x83 }, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    bytes.extend(&asked[12..end + 4]);
    for address in all.iter().take(count.into()) {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        bytes.extend(address.octets());
    }
    Some(bytes)
}

/// The name that begins at `at`, and where it ends. Pointers lead backwards here.
fn name(message: &[u8], mut at: usize) -> (String, usize) {
    let (mut labels, mut end) = (Vec::new(), None);
    loop {
        let length = usize::from(message[at]);
        match length {
            0 => break,
            0xc0.. => {
                end.get_or_insert(at + 2);
                at = (length & 0x3f) << 8 | usize::from(message[at + 1]);
            }
            _ => {
                labels.push(String::from_utf8_lossy(&message[at + 1..=at + length]).to_lowercase());
                at += 1 + length;
            }
        }
    }
    (labels.join("."), end.unwrap_or(at + 1))
}

/// A question; with `room` it says how much it takes, by EDNS.
pub(super) fn question(id: u16, name: &str, kind: u16, room: Option<u16>) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(room.is_some())]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    if let Some(room) = room {
        bytes.extend([0, 0, 41]);
        bytes.extend(room.to_be_bytes());
        bytes.extend([0; 6]);
    }
    bytes
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: u16,
    pub(super) code: u8,
    pub(super) truncated: bool,
    /// Addresses and names, sorted.
    pub(super) records: Vec<String>,
}

impl Answer {
    pub(super) fn read(message: &[u8]) -> Self {
        assert!(message[2] & 0x80 != 0, "an answer: {message:?}");
        let count = u16::from_be_bytes([message[6], message[7]]);
        let mut at = if message[5] == 1 { name(message, 12).1 + 4 } else { 12 };
        let mut records = Vec::new();
        for _ in 0..count {
            at = name(message, at).1;
            let length = usize::from(u16::from_be_bytes([message[at + 8], message[at + 9]]));
            let data = &message[at + 10..at + 10 + length];
            records.push(match u16::from_be_bytes([message[at], message[at + 1]]) {
                A => Ipv4Addr::from(<[u8; 4]>::try_from(data).unwrap()).to_string(),
                PTR => name(message, at + 10).0,
                AAAA => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(data).unwrap()).to_string(),
                other => format!("kind {other}"),
            });
            at += 10 + length;
        }
        records.sort();
        Self {
            id: u16::from_be_bytes([message[0], message[1]]),
            code: message[3] & 15,
            truncated: message[2] & 2 != 0,
            records,
        }
    }
}

/// Does `work` in a thread inside of a container's network namespace.
pub(super) fn within<T: Send>(world: &World, id: &str, work: impl FnOnce() -> T + Send) -> T {
    let space = File::open(format!("/proc/{}/ns/net", world.init(id))).expect("its network namespace");
    let entered = || {
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("enter it");
        work()
    };
    // The thread dies there.
    std::thread::scope(|scope| match scope.spawn(entered).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// A socket for questions, in the namespace that this thread is in.
pub(super) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(PLACE).unwrap();
    socket.set_read_timeout(Some(minidocker_tests::scaled(Duration::from_secs(10)))).unwrap();
    socket
}

pub(super) fn hear(socket: &UdpSocket) -> Answer {
    let mut room = [0; 65535];
    let count = socket.recv(&mut room).expect("an answer in time");
    Answer::read(&room[..count])
}

/// Asks from within a container.
pub(super) fn ask(world: &World, id: &str, name: &str, kind: u16) -> Answer {
    within(world, id, || {
        let socket = socket();
        socket.send(&question(7, name, kind, None)).unwrap();
        hear(&socket)
    })
}

/// The same by TCP.
pub(super) fn ask_by_tcp(world: &World, id: &str, name: &str, kind: u16) -> Answer {
    within(world, id, || {
        let mut stream = TcpStream::connect(PLACE.parse::<SocketAddr>().unwrap()).unwrap();
        let asked = question(8, name, kind, None);
        stream.write_all(&[&(asked.len() as u16).to_be_bytes(), &asked[..]].concat()).unwrap();
        Answer::read(&framed(&mut stream))
    })
}

fn framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

/// A host's /etc/resolv.conf of the test's own: what is started by way of it sees that file there.
pub(super) struct Host<'w> {
    world: &'w World,
    file: PathBuf,
}

impl<'w> Host<'w> {
    pub(super) fn new(world: &'w World, text: &str) -> Self {
        let file = world.directory().join("resolv.conf");
        std::fs::write(&file, text).unwrap();
        Self { world, file }
    }

    /// The file says something else from now on.
    pub(super) fn says(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    pub(super) fn minidocker(&self, words: &[&str]) -> Call<'w> {
        let file = self.file.to_str().unwrap();
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        self.world.call(words).through(&["unshare", "--mount", "sh", "-c", script, file])
    }

    /// Starts a container in the background and gives its id.
    pub(super) fn detached(&self, words: &[&str]) -> String {
        self.minidocker(&[&["run", "-d"], words].concat()).run().text()
    }
}
