//! Sending lines to the journal, with Docker's fields.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>: fields as `NAME=value` lines; a value with a line feed in it has its
//! length before it; what is too large for a datagram travels in a sealed memory file.

use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use oci::time::Rfc3339;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, sendmsg, socket_with, sockopt,
};
use step::Failure;

use crate::pieces::{Cutter, Piece};
use crate::settings::{Mode, Settings};
use crate::writer::Losses;
use crate::{Origin, Stream};

const SOCKET: &str = "/run/systemd/journal/socket";
/// How long a journal that is behind may hold up a container, once: until it takes something again, nobody waits.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Writer {
    cutter: Cutter,
    journal: Journal,
}

impl Writer {
    pub(crate) fn open(settings: &Settings, origin: &Origin) -> Result<Self, Failure> {
        Self::to(Path::new(SOCKET), settings, origin)
    }

    /// To the journal that listens there.
    pub(crate) fn to(socket: &Path, settings: &Settings, origin: &Origin) -> Result<Self, Failure> {
        let fields = fields(settings, origin)?;
        let failed = |errno: Errno| {
            Failure::new("log.journald", socket.display().to_string(), errno)
                .hint("the journal of systemd does not listen here; choose --log-driver local")
        };
        let address = SocketAddrUnix::new(socket).map_err(failed)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
        rustix::net::connect(&socket, &address).map_err(failed)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE)).map_err(failed)?;
        let waits = settings.mode == Mode::Blocking;
        let losses = Losses::default();
        let journal = Journal { socket, address, fields, waits, is_behind: false, lines: [0; 2], losses };
        Ok(Self { cutter: Cutter::default(), journal })
    }

    pub(crate) fn write(&mut self, stream: Stream, time: i64, bytes: &[u8]) {
        self.cutter.cut(stream, time, bytes, |piece| self.journal.line(piece));
    }

    pub(crate) fn end(&mut self, stream: Stream, time: i64) {
        self.cutter.end(stream, time, |piece| self.journal.line(piece));
    }

    pub(crate) fn losses(&self) -> &Losses {
        &self.journal.losses
    }
}

#[derive(Debug)]
struct Journal {
    socket: OwnedFd,
    address: SocketAddrUnix,
    /// Those that all lines have.
    fields: Vec<u8>,
    waits: bool,
    /// It did not take the last line in time.
    is_behind: bool,
    /// How many lines in pieces each stream had: the pieces' common number.
    lines: [u64; 2],
    losses: Losses,
}

impl Journal {
    fn line(&mut self, piece: Piece<'_>) {
        let size = piece.bytes.len() + usize::from(piece.ends);
        if let Some(told) = self.losses.told() {
            let told =
                Piece { bytes: told.as_bytes(), stream: Stream::Stderr, ends: true, ordinal: 0, ..piece };
            if let Err(error) = self.send(told) {
                return self.losses.add(size, &error);
            }
            self.losses.forget();
        }
        if let Err(error) = self.send(piece) {
            self.losses.add(size, &error);
        }
    }

    fn send(&mut self, piece: Piece<'_>) -> io::Result<()> {
        let (priority, name) = match piece.stream {
            Stream::Stdout => (&b"\nPRIORITY=6\n"[..], 'o'),
            Stream::Stderr => (&b"\nPRIORITY=3\n"[..], 'e'),
        };
        let mut more = Vec::with_capacity(160);
        writeln!(more, "SYSLOG_TIMESTAMP={}", Rfc3339::short(piece.time))?;
        if piece.ordinal > 0 {
            let lines = &mut self.lines[piece.stream.index()];
            *lines += u64::from(piece.ordinal == 1);
            if !piece.ends {
                more.extend_from_slice(b"CONTAINER_PARTIAL_MESSAGE=true\n");
            }
            writeln!(more, "CONTAINER_PARTIAL_ID={name}{lines}-{}", piece.time)?;
            writeln!(more, "CONTAINER_PARTIAL_ORDINAL={}", piece.ordinal)?;
            writeln!(more, "CONTAINER_PARTIAL_LAST={}", piece.ends)?;
        }
        let parts = [&b"MESSAGE="[..], piece.bytes, priority, &self.fields, &more].map(IoSlice::new);
        let sent = self.datagram(&parts);
        self.is_behind = matches!(sent, Err(Errno::AGAIN));
        Ok(sent?)
    }

    fn datagram(&self, parts: &[IoSlice<'_>]) -> Result<(), Errno> {
        let mut flags = SendFlags::NOSIGNAL;
        if !self.waits || self.is_behind {
            flags |= SendFlags::DONTWAIT;
        }
        let send = |parts: &[IoSlice<'_>], with: &mut SendAncillaryBuffer<'_, '_, '_>| {
            retry_on_intr(|| sendmsg(&self.socket, parts, with, flags)).map(drop)
        };
        let mut nothing = SendAncillaryBuffer::default();
        match send(parts, &mut nothing) {
            // It was started anew.
            Err(Errno::CONNREFUSED | Errno::NOTCONN | Errno::CONNRESET) => {
                rustix::net::connect(&self.socket, &self.address)?;
                send(parts, &mut nothing)
            }
            Err(Errno::MSGSIZE | Errno::NOBUFS) => {
                let memory = sealed(parts)?;
                let descriptors = [memory.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut with = SendAncillaryBuffer::new(&mut space);
                with.push(SendAncillaryMessage::ScmRights(&descriptors));
                send(&[], &mut with)
            }
            other => other,
        }
    }
}

/// The same in memory that nobody can change any more.
fn sealed(parts: &[IoSlice<'_>]) -> Result<OwnedFd, Errno> {
    let memory =
        rustix::fs::memfd_create(c"minidocker-log", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    for part in parts {
        let mut rest = &part[..];
        while !rest.is_empty() {
            let written = retry_on_intr(|| rustix::io::write(&memory, rest))?;
            rest = &rest[written..];
        }
    }
    rustix::fs::fcntl_add_seals(
        &memory,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )?;
    Ok(memory)
}

/// The fields of every line: Docker's, then labels and variables, whose names become the journal's.
fn fields(settings: &Settings, origin: &Origin) -> Result<Vec<u8>, Failure> {
    let tag = origin.tag(settings.option("tag").unwrap_or("{{.ID}}"))?;
    let mut fields = Vec::new();
    for (name, value) in [
        ("CONTAINER_ID", origin.short_id()),
        ("CONTAINER_ID_FULL", &origin.id),
        ("CONTAINER_NAME", &origin.name),
        ("CONTAINER_TAG", &tag),
        ("IMAGE_NAME", &origin.image),
        ("SYSLOG_IDENTIFIER", &tag),
    ] {
        field(&mut fields, name, value);
    }
    for (name, value) in origin.attributes(settings, field_name)? {
        if !name.is_empty() {
            field(&mut fields, &name, &value);
        }
    }
    Ok(fields)
}

fn field(fields: &mut Vec<u8>, name: &str, value: &str) {
    fields.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        fields.push(b'\n');
        fields.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        fields.push(b'=');
    }
    fields.extend_from_slice(value.as_bytes());
    fields.push(b'\n');
}

/// Capital letters, digits and underscores, of which the first is none: what begins with one is the journal's own.
fn field_name(key: &str) -> String {
    let letters = key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    letters.skip_while(|c| *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn origin() -> Origin {
        Origin {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            image: "nginx".into(),
            labels: [("_my.label".into(), "two\nlines".into())].into(),
            ..Origin::default()
        }
    }

    fn settings(options: &[(&str, &str)]) -> Settings {
        let options: Vec<_> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::parse(Some("journald"), &options).unwrap()
    }

    /// A journal of our own.
    struct Listener(UnixDatagram, std::path::PathBuf);

    impl Listener {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("md-journal-{name}-{}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            Self(UnixDatagram::bind(&path).unwrap(), path)
        }

        fn next(&self) -> Vec<u8> {
            let mut space = vec![0; 1 << 18];
            let size = self.0.recv(&mut space).unwrap();
            space.truncate(size);
            space
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.1);
        }
    }

    #[test]
    fn lines_have_dockers_fields() {
        let listener = Listener::new("fields");
        let settings = settings(&[("labels", "_my.label"), ("tag", "{{.Name}}")]);
        let mut writer = Writer::to(&listener.1, &settings, &origin()).unwrap();
        writer.write(Stream::Stdout, 1_500_000_000, b"hel");
        writer.write(Stream::Stdout, 2_000_000_000, b"lo\nrest");
        let mut expected = b"MESSAGE=hello\nPRIORITY=6\nCONTAINER_ID=0123456789ab\nCONTAINER_ID_FULL=0123456789abcdef\n\
            CONTAINER_NAME=web\nCONTAINER_TAG=web\nIMAGE_NAME=nginx\nSYSLOG_IDENTIFIER=web\nMY_LABEL\n\x09\0\0\0\0\0\0\0two\nlines\n"
            .to_vec();
        expected.extend_from_slice(b"SYSLOG_TIMESTAMP=1970-01-01T00:00:02Z\n");
        assert_eq!(listener.next(), expected);
        writer.end(Stream::Stdout, 3_000_000_000);
        let last = String::from_utf8(listener.next()).unwrap();
        assert!(last.starts_with("MESSAGE=rest\nPRIORITY=6\n"), "{last}");
        assert!(last.contains("\nCONTAINER_PARTIAL_MESSAGE=true\n"), "{last}");
        assert!(last.ends_with("_ORDINAL=1\nCONTAINER_PARTIAL_LAST=false\n"), "{last}");
        writer.write(Stream::Stderr, 0, b"\n");
        assert!(listener.next().starts_with(b"MESSAGE=\nPRIORITY=3\n"));
    }

    #[test]
    fn a_journal_that_is_behind_is_told_of_what_it_lost() {
        let listener = Listener::new("behind");
        let settings = settings(&[("mode", "non-blocking")]);
        let mut writer = Writer::to(&listener.1, &settings, &origin()).unwrap();
        let mut written = 0;
        while writer.losses().bytes == 0 {
            writer.write(Stream::Stdout, 0, b"1234\n");
            written += 1;
            assert!(written < 1_000_000, "the socket's buffer has no end");
        }
        for _ in 1..written {
            assert!(listener.next().starts_with(b"MESSAGE=1234\n"));
        }
        writer.write(Stream::Stdout, 0, b"again\n");
        let told = listener.next();
        let wanted = b"MESSAGE=minidocker: 5 bytes of output were lost: resource temporarily unavailable\nPRIORITY=3\n";
        assert!(told.starts_with(wanted), "{}", String::from_utf8_lossy(&told));
        assert!(listener.next().starts_with(b"MESSAGE=again\n"));
        assert_eq!(writer.losses().bytes, 0);
    }

    #[test]
    fn without_a_journal_there_is_one_clear_error() {
        let failure = Writer::to(Path::new("/nonexistent/socket"), &settings(&[]), &origin()).unwrap_err();
        assert_eq!(failure.to_string(), "log.journald on /nonexistent/socket: no such file or directory");
        assert!(failure.hint.unwrap().contains("--log-driver local"));
    }

    #[test]
    fn names_of_fields_are_the_journals() {
        for (key, name) in [("a.b-c", "A_B_C"), ("__x", "X"), ("É", ""), ("x9", "X9")] {
            assert_eq!(field_name(key), name, "{key}");
        }
    }
}
