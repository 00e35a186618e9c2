//! The service on real sockets of this machine's loopback. What needs a network namespace is tested from outside.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};

use super::*;
use crate::message::tests::question;
use crate::message::{Kind, Query, Rcode, Record, answer};
use crate::names::Neighbour;
use crate::settings::Upstreams;

/// Servers beyond, how long each may take, and whether they are asked by streams alone.
struct Known(Vec<SocketAddr>, Duration, bool);

/// Long enough for a server on the loopback of a machine with time, short enough to wait for.
const SOON: Duration = Duration::from_millis(200);

impl Names for Known {
    fn find(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        (name == "web").then(|| (1..=120).map(|n| IpAddr::from([10, 0, 0, n])).collect())
    }

    fn at(&mut self, _: IpAddr) -> Neighbour {
        Neighbour::Elsewhere
    }

    fn upstreams(&mut self) -> Option<Upstreams> {
        Some(Upstreams {
            servers: self.0.clone(),
            timeout: self.1,
            attempts: 1,
            rotate: false,
            streams: self.2,
        })
    }
}

/// A server beyond, for datagrams and streams on one port, which answers so many times to each.
fn beyond(datagrams: usize, streams: usize) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Another program may have the port for streams.
        if let Ok(tcp) = std::net::TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let said = |asked: &[u8]| {
        let query = Query::read(asked).unwrap();
        let records = vec![Record::Address("198.51.100.7".parse().unwrap()); 60];
        answer(asked, &query, Rcode::OK, &records, 65535, 60)
    };
    std::thread::spawn(move || {
        let mut room = [0; 2048];
        for _ in 0..datagrams {
            let (count, from) = udp.recv_from(&mut room).unwrap();
            udp.send_to(&said(&room[..count]), from).unwrap();
        }
        // What comes now is read by nobody, and the port is not closed.
        std::thread::sleep(Duration::from_secs(20));
    });
    std::thread::spawn(move || {
        for _ in 0..streams {
            let (mut client, _) = tcp.accept().unwrap();
            let asked = framed(&mut client);
            let said = said(&asked);
            client.write_all(&(said.len() as u16).to_be_bytes()).unwrap();
            // In two parts, some time between them.
            client.write_all(&said[..100]).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            client.write_all(&said[100..]).unwrap();
        }
    });
    address
}

fn framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

/// Serves with these servers beyond, while `ask` asks it.
fn serve(servers: Vec<SocketAddr>, ask: impl FnOnce(SocketAddr)) {
    serve_with(Known(servers, SOON, false), ask);
}

fn serve_with(mut known: Known, ask: impl FnOnce(SocketAddr)) {
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = std::net::TcpListener::bind(datagrams.local_addr().unwrap()).unwrap();
    datagrams.set_nonblocking(true).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = datagrams.local_addr().unwrap();
    let mut service = Service::new([datagrams.into(), listener.into()]).unwrap();
    assert_eq!(service.due(), None);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let now = Instant::now();
                let most = Duration::from_millis(20);
                let left = service.due().map_or(most, |due| due.saturating_duration_since(now).min(most));
                let left = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
                poll(&mut [PollFd::new(&service, PollFlags::IN)], Some(&left)).unwrap();
                service.turn(&mut known);
            }
        });
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _end = End(&over);
        ask(address);
    });
}

fn client(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn ask(socket: &UdpSocket, message: &[u8]) -> Vec<u8> {
    socket.send(message).unwrap();
    hear(socket)
}

fn hear(socket: &UdpSocket) -> Vec<u8> {
    let mut room = [0; 65535];
    let count = socket.recv(&mut room).unwrap();
    room[..count].to_vec()
}

fn ask_by_stream(stream: &mut TcpStream, message: &[u8]) -> Vec<u8> {
    stream.write_all(&(message.len() as u16).to_be_bytes()).unwrap();
    stream.write_all(message).unwrap();
    framed(stream)
}

/// Code, whether truncated, number of answers.
fn told(message: &[u8]) -> (u8, bool, u16) {
    (message[3] & 15, message[2] & 2 != 0, u16::from_be_bytes([message[6], message[7]]))
}

#[test]
fn by_datagram_and_by_stream() {
    serve(vec![beyond(1, 2)], |address| {
        let socket = client(address);
        assert_eq!(told(&ask(&socket, &question(1, "web", Kind::A, None))), (0, true, 30));
        assert_eq!(told(&ask(&socket, &question(2, "web", Kind::AAAA, None))), (0, false, 0));
        // Much comes from beyond: the room that the asker has counts.
        assert_eq!(told(&ask(&socket, &question(3, "example.org", Kind::A, None))), (0, true, 0));
        let mut stream = TcpStream::connect(address).unwrap();
        assert_eq!(told(&ask_by_stream(&mut stream, &question(4, "web", Kind::A, None))), (0, false, 120));
        let far = ask_by_stream(&mut stream, &question(5, "example.org", Kind::A, None));
        assert_eq!((told(&far), &far[..2]), ((0, false, 60), &[0, 5][..]));
        // Two at once, a byte at a time; then no more is said, and all is answered.
        let mut bytes = Vec::new();
        for message in [question(6, "example.org", Kind::A, None), question(7, "web", Kind::A, None)] {
            bytes.extend((message.len() as u16).to_be_bytes());
            bytes.extend(message);
        }
        bytes.iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut ids = [framed(&mut stream)[1], framed(&mut stream)[1]];
        ids.sort_unstable();
        assert_eq!(ids, [6, 7]);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "and that is the end");
    });
}

#[test]
fn servers_that_are_asked_by_streams_alone() {
    // Two parts of an answer come with a pause between them.
    serve_with(Known(vec![beyond(0, 1)], Duration::from_secs(5), true), |address| {
        let told_all = ask(&client(address), &question(3, "example.org", Kind::A, Some(4096)));
        assert_eq!(told(&told_all), (0, false, 60));
    });
}

#[test]
fn who_takes_no_answers_gets_no_more_and_nothing_is_lost() {
    const MANY: u16 = 4000;
    serve(vec![], |address| {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut asks = stream.try_clone().unwrap();
        // More answers than the kernel has room for on the way: 8 MB.
        let asker = std::thread::spawn(move || {
            for id in 0..MANY {
                let message = question(id, "web", Kind::A, None);
                asks.write_all(&(message.len() as u16).to_be_bytes()).unwrap();
                asks.write_all(&message).unwrap();
            }
            asks.shutdown(std::net::Shutdown::Write).unwrap();
        });
        std::thread::sleep(Duration::from_millis(300));
        // Others are answered meanwhile.
        assert_eq!(told(&ask(&client(address), &question(1, "web", Kind::AAAA, None))), (0, false, 0));
        for id in 0..MANY {
            let answer = framed(&mut stream);
            assert_eq!((told(&answer), &answer[..2]), ((0, false, 120), &id.to_be_bytes()[..]));
        }
        asker.join().unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "and that is the end");
    });
}

#[test]
fn a_silent_server_and_a_closed_port() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    serve(vec![closed, beyond(0, 0), beyond(1, 0)], |address| {
        let socket = client(address);
        let start = Instant::now();
        let good = ask(&socket, &question(3, "example.org", Kind::A, Some(4096)));
        assert_eq!(told(&good), (0, false, 60));
        assert!(start.elapsed() >= Duration::from_millis(200), "the second had its time");
        // Now none answers.
        assert_eq!(told(&ask(&socket, &question(4, "example.org", Kind::A, None))), (2, false, 0));
        // By stream the closed port is refused, and nobody accepts on the others.
        let mut stream = TcpStream::connect(address).unwrap();
        let none = ask_by_stream(&mut stream, &question(5, "example.org", Kind::A, None));
        assert_eq!(told(&none), (2, false, 0));
    });
}

#[test]
fn many_at_once() {
    // No server is asked twice, however busy the machine is; and so many answers fit into a socket's room.
    const WAVE: u16 = 50;
    serve_with(Known(vec![beyond(200, 0)], Duration::from_secs(60), false), |address| {
        let socket = client(address);
        for wave in 0..4 {
            let ids = wave * WAVE..(wave + 1) * WAVE;
            for id in ids.clone() {
                socket.send(&question(id, &format!("n{id}.example"), Kind::A, Some(4096))).unwrap();
            }
            let mut heard: Vec<u16> = ids
                .clone()
                .map(|_| {
                    let message = hear(&socket);
                    let id = u16::from_be_bytes([message[0], message[1]]);
                    let asked = question(id, &format!("n{id}.example"), Kind::A, None);
                    assert_eq!(message[12..asked.len()], asked[12..], "the answer to its own question");
                    id
                })
                .collect();
            heard.sort_unstable();
            assert_eq!(heard, ids.collect::<Vec<_>>());
        }
    });
}

#[test]
fn nonsense_hurts_nobody() {
    serve(vec![], |address| {
        let socket = client(address);
        for length in [0, 1, 11, 12, 13, 512, 4096, 4097, 60000] {
            socket.send(&vec![0xc0; length]).unwrap();
            socket.send(&vec![0; length]).unwrap();
        }
        // Bytes that can be told so are; the last answer is the one that is waited for.
        socket.send(&question(77, "web", Kind::A, None)).unwrap();
        while hear(&socket)[..2] != [0, 77] {}
        // A stream that promises much, and one that says nothing, are in nobody's way.
        let mut long = TcpStream::connect(address).unwrap();
        long.write_all(&[0xff, 0xff]).unwrap();
        assert_eq!(long.read(&mut [0]).unwrap_or(0), 0);
        let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut stream = TcpStream::connect(address).unwrap();
        assert_eq!(told(&ask_by_stream(&mut stream, &question(4, "web", Kind::A, None))), (0, false, 120));
        drop(silent);
    });
}
