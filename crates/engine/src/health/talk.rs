//! A question by TCP or HTTP, asked by the monitor itself in the container's network namespace.
//!
//! A fork that enters the namespace and dies there would cost a process and a copy of the page tables for each question.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::inside::in_network;

/// So much of an answer is read for its first line.
const MOST: usize = 4096;

/// A question on its way. Nothing of it waits.
#[derive(Debug)]
pub(super) struct Talk {
    socket: OwnedFd,
    address: SocketAddr,
    /// What is to be said when there is a connection, as far as it was not.
    words: Vec<u8>,
    heard: Vec<u8>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Saying,
    Hearing,
}

/// An exit code, and what there is to say.
pub(super) type Answer = (i32, String);

impl Talk {
    /// Asks in the network namespace of process `pid`.
    ///
    /// # Errors
    /// The answer, where it is known at once.
    pub(super) fn begin(pid: i32, address: SocketAddr, path: Option<&str>) -> Result<Self, Answer> {
        let socket = socket_in(pid, address)
            .map_err(|errno| (-1, format!("cannot enter the container's network: {}", words_for(errno))))?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(errno) => return Err(refused(address, errno)),
        }
        let words = path.map_or(Vec::new(), |path| request(address, path));
        Ok(Self { socket, address, words, heard: Vec::new(), stage: Stage::Connecting })
    }

    pub(super) fn waits_for(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = if self.stage == Stage::Hearing { PollFlags::IN } else { PollFlags::OUT };
        (self.socket.as_fd(), flags)
    }

    /// Does what can be done without waiting; the answer, once there is one.
    pub(super) fn go_on(&mut self) -> Option<Answer> {
        if self.stage == Stage::Connecting {
            match connected(&self.socket) {
                Ok(false) => return None,
                Err(errno) => return Some(refused(self.address, errno)),
                Ok(true) if self.words.is_empty() => {
                    return Some((0, format!("{} accepts connections", self.address)));
                }
                Ok(true) => self.stage = Stage::Saying,
            }
        }
        while self.stage == Stage::Saying {
            match rustix::net::send(&self.socket, &self.words, SendFlags::NOSIGNAL) {
                Ok(count) => drop(self.words.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(errno) => return Some(self.broken(errno)),
            }
            if self.words.is_empty() {
                self.stage = Stage::Hearing;
            }
        }
        self.hear()
    }

    fn hear(&mut self) -> Option<Answer> {
        let mut buffer = [0_u8; MOST];
        loop {
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()).map(|(count, _)| count)
            {
                Ok(0) => return Some((1, format!("{} hung up without an answer", self.address))),
                Ok(count) => self.heard.extend(&buffer[..count]),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return None,
                Err(errno) => return Some(self.broken(errno)),
            }
            match status_line(&self.heard) {
                Status::Told(code, line) => return Some((i32::from(!(200..400).contains(&code)), line)),
                Status::More if self.heard.len() <= MOST => {}
                Status::More | Status::Nonsense => {
                    return Some((1, format!("{} does not answer in HTTP", self.address)));
                }
            }
        }
    }

    fn broken(&self, errno: Errno) -> Answer {
        (1, format!("{}: {}", self.address, words_for(errno)))
    }
}

fn refused(address: SocketAddr, errno: Errno) -> Answer {
    (1, format!("connect to {address}: {}", words_for(errno)))
}

fn words_for(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// What is said. HTTP/1.1 with a name of the host, as every server understands it; one answer, then the end.
fn request(address: SocketAddr, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: minidocker-health\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes()
}

/// A TCP socket in the network namespace of process `pid`.
fn socket_in(pid: i32, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    in_network(pid, || rustix::net::socket_with(family, SocketType::STREAM, flags, None))
}

/// Whether it is connected by now.
fn connected(socket: &OwnedFd) -> Result<bool, Errno> {
    sockopt::socket_error(socket)??;
    match rustix::net::getpeername(socket) {
        Ok(_) => Ok(true),
        Err(Errno::NOTCONN) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    /// The code, and the line that tells it.
    Told(u16, String),
    More,
    Nonsense,
}

/// The status line of an answer (RFC 9112, section 4), past those that only say that one comes (RFC 9110, 15.2).
fn status_line(mut heard: &[u8]) -> Status {
    loop {
        let Some(end) = heard.iter().position(|byte| *byte == b'\n') else {
            let start = &b"HTTP/1."[..heard.len().min(7)];
            return if heard.starts_with(start) { Status::More } else { Status::Nonsense };
        };
        let line = String::from_utf8_lossy(&heard[..end]);
        let line = line.trim_end();
        let mut words = line.split(' ');
        let version = words.next().unwrap_or_default();
        let code = words.next().filter(|code| code.len() == 3).and_then(|code| code.parse::<u16>().ok());
        let Some(code) = code.filter(|_| version.starts_with("HTTP/1.")) else { return Status::Nonsense };
        if !(100..200).contains(&code) {
            return Status::Told(code, line.to_owned());
        }
        match heard.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(at) => heard = &heard[at + 4..],
            None => return Status::More,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use rustix::event::{PollFd, poll};

    use super::*;

    #[test]
    fn status_lines() {
        let told = |code, line: &str| Status::Told(code, line.to_owned());
        for (heard, status) in [
            (&b""[..], Status::More),
            (b"HT", Status::More),
            (b"HTTP/1.1 20", Status::More),
            (b"HTTP/1.1 200 OK\r\n", told(200, "HTTP/1.1 200 OK")),
            (b"HTTP/1.0 503 Service Unavailable\nX", told(503, "HTTP/1.0 503 Service Unavailable")),
            (b"HTTP/1.1 204\r\n", told(204, "HTTP/1.1 204")),
            (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n", Status::More),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\n", told(302, "HTTP/1.1 302 Found")),
            (b"SSH-2.0", Status::Nonsense),
            (b"HTTP/2 200\r\n", Status::Nonsense),
            (b"HTTP/1.1 abc\r\n", Status::Nonsense),
            (b"HTTP/1.1 20\r\n", Status::Nonsense),
            (b"\n", Status::Nonsense),
        ] {
            assert_eq!(status_line(heard), status, "{:?}", String::from_utf8_lossy(heard));
        }
    }

    /// Asks a server of this machine, in this process's own namespace, as root.
    fn ask(serve: impl FnOnce(TcpListener) + Send, path: Option<&str>) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(listener));
            let mut talk = match Talk::begin(rustix::process::getpid().as_raw_pid(), address, path) {
                Ok(talk) => talk,
                Err(answer) => return answer,
            };
            loop {
                if let Some((code, text)) = talk.go_on() {
                    return (code, text.replace(&address.to_string(), "ADDRESS"));
                }
                let (fd, flags) = talk.waits_for();
                poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None).unwrap();
            }
        })
    }

    /// Answers one client, a byte at a time.
    fn answer(text: &'static str) -> impl FnOnce(TcpListener) + Send {
        move |listener| {
            let (mut client, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut buffer = [0; 256];
            while !asked.ends_with(b"\r\n\r\n") {
                let count = client.read(&mut buffer).unwrap();
                asked.extend(&buffer[..count]);
            }
            assert!(asked.starts_with(b"GET /up HTTP/1.1\r\nHost: 127.0.0.1:"));
            for byte in text.as_bytes() {
                let _ = client.write_all(&[*byte]);
            }
        }
    }

    #[test]
    fn answers_of_servers() {
        let accepts = |listener: TcpListener| drop(listener.accept().unwrap());
        assert_eq!(ask(accepts, None), (0, "ADDRESS accepts connections".into()));
        let http = |text| ask(answer(text), Some("/up"));
        assert_eq!(http("HTTP/1.1 200 OK\r\n\r\n"), (0, "HTTP/1.1 200 OK".into()));
        assert_eq!(http("HTTP/1.1 301 Moved\r\n\r\n"), (0, "HTTP/1.1 301 Moved".into()));
        assert_eq!(http("HTTP/1.1 404 Not Found\r\n\r\n"), (1, "HTTP/1.1 404 Not Found".into()));
        assert_eq!(http(""), (1, "ADDRESS hung up without an answer".into()));
        assert_eq!(http("220 mail\r\n"), (1, "ADDRESS does not answer in HTTP".into()));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut talk = Talk::begin(rustix::process::getpid().as_raw_pid(), port, None);
        let answer = talk.as_mut().map_or_else(|answer| answer.clone(), |talk| talk.go_on().unwrap());
        assert_eq!(answer, (1, format!("connect to {port}: connection refused")));
    }
}
