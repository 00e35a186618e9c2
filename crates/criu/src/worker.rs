//! One `criu swrk`: started, talked to, waited for.
//!
//! ```text
//!   this process                       criu swrk N
//!   ────────────                       ───────────
//!   socketpair, spawn ──────────────▶  waits for a request
//!   request           ──────────────▶  does it
//!                     ◀──────────────  notification, with a descriptor or not   ┐ any number
//!   agreed or refused ──────────────▶                                           ┘ of times
//!                     ◀──────────────  response
//!   end of file       ──────────────▶  exits
//! ```
//!
//! The socket keeps packets apart (SOCK_SEQPACKET), each one message. CRIU reads the pid of whoever made the socket off
//! it (SO_PEERCRED) and opens that process's descriptors through /proc: the directories must stay open here meanwhile.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Seek as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use prost::Message as _;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags,
    Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown, socketpair,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::wire;

/// How much of what CRIU wrote to its standard error is kept, in bytes.
const STDERR: u64 = 16 * 1024;

/// What a worker gets beside its task.
#[derive(Debug, Default)]
pub(crate) struct Provision {
    /// Descriptors that it inherits under their numbers, all above 2.
    pub(crate) inherited: Vec<OwnedFd>,
    /// Its standard input: the terminal of a shell job. /dev/null if none.
    pub(crate) stdin: Option<OwnedFd>,
    /// Lines of configuration beside the host's own files.
    pub(crate) configuration: Option<String>,
    /// Whether it stays in this process's session and process group, which restored shell jobs get from it. Else it has
    /// a group of its own: the terminal's ^C must not end it in the middle, which would leave its traces in the
    /// processes that it was about to dump.
    pub(crate) same_group: bool,
}

/// A running worker. Dropped before its end it is told so by the closed socket, and waited for, never killed: CRIU
/// takes its traces out of the dumped processes itself.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    pidfd: OwnedFd,
    socket: OwnedFd,
    stderr: File,
}

impl Worker {
    pub(crate) fn start(program: &Path, provision: Provision) -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let theirs = above_streams(theirs)?;
        let stderr = File::from(memfd_create("criu-stderr", MemfdFlags::CLOEXEC)?);
        let mut command = Command::new(program);
        command.arg("swrk").arg(theirs.as_raw_fd().to_string());
        command.stdin(provision.stdin.map_or_else(Stdio::null, Stdio::from));
        command.stdout(stderr.try_clone()?).stderr(stderr.try_clone()?);
        if !provision.same_group {
            command.process_group(0);
        }
        let mut inherited = provision.inherited;
        inherited.push(theirs);
        if let Some(text) = provision.configuration {
            let file = configuration(&text)?;
            command.env("CRIU_CONFIG_FILE", format!("/proc/self/fd/{}", file.as_raw_fd()));
            inherited.push(file);
        }
        sys::command::inherit(&mut command, inherited)?;
        let child = command.spawn()?;
        // The command owns the worker's end of the socket: only without it does the worker's end come as end of file.
        drop(command);
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        Ok(Self { child, pidfd, socket: ours, stderr })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends one message. A worker that has gone is found by the next [`Self::receive`].
    pub(crate) fn send(&self, request: &wire::Request) -> io::Result<()> {
        let bytes = request.encode_to_vec();
        let mut nothing = SendAncillaryBuffer::default();
        let send = || sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut nothing, SendFlags::NOSIGNAL);
        match retry_on_intr(send) {
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            sent => Ok(sent.map(drop)?),
        }
    }

    /// The next message and the descriptor that came with it; none if the worker has ended. Waits for as long as it
    /// takes. A packet that is no message is `InvalidData`.
    pub(crate) fn receive(&self) -> io::Result<Option<(wire::Response, Option<OwnedFd>)>> {
        // The end of file alone would not do: processes that a worker leaves behind half made have its socket too.
        let (socket, pidfd) = (self.socket.as_fd(), self.pidfd.as_fd());
        let mut both = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
        retry_on_intr(|| poll(&mut both, None))?;
        let Some((bytes, descriptor)) = receive_packet(socket)? else { return Ok(None) };
        let response = wire::Response::decode(bytes.as_slice())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Some((response, descriptor)))
    }

    /// Says that nothing more will come, and waits for the worker's end.
    pub(crate) fn finish(&mut self) -> io::Result<ExitStatus> {
        // To a worker that has ended already there is nothing to say.
        let _ = shutdown(&self.socket, Shutdown::Both);
        self.child.wait()
    }

    /// What the worker wrote to its standard output and error.
    pub(crate) fn said(&mut self) -> String {
        let mut bytes = Vec::new();
        // Of words that cannot be read nothing is told: they are an addition to an error.
        if self.stderr.rewind().is_ok() {
            let _ = (&self.stderr).take(STDERR).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A worker that was waited for already is only asked for its status again.
        let _ = self.finish();
    }
}

/// One packet, at its full length, and its descriptor. None at the end of file, or if nothing is there.
fn receive_packet(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut none = RecvAncillaryBuffer::default();
    let look = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
    let size = match retry_on_intr(|| recvmsg(socket, &mut [], &mut none, look)) {
        Ok(message) => message.bytes,
        Err(Errno::AGAIN | Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if size == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; size];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    bytes.truncate(message.bytes);
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(Some((bytes, descriptor)))
}

/// The descriptor under a number that no standard stream takes, close-on-exec.
pub(crate) fn above_streams(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() > 2 { Ok(descriptor) } else { Ok(fcntl_dupfd_cloexec(&descriptor, 3)?) }
}

/// A file with what CRIU is to read beside its own configuration files: after what the caller's environment names,
/// whose place it takes.
fn configuration(text: &str) -> io::Result<OwnedFd> {
    use std::io::Write as _;
    let mut file = File::from(memfd_create("criu.conf", MemfdFlags::CLOEXEC)?);
    if let Some(own) = std::env::var_os("CRIU_CONFIG_FILE") {
        file.write_all(&std::fs::read(own)?)?;
        file.write_all(b"\n")?;
    }
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    above_streams(file.into())
}
