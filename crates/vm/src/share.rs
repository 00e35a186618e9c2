//! Trees of the host in the guest: virtiofsd, one process for each, which dies with the command and is connected to
//! before it starts, so that nothing has a name for longer than a moment.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::MemfdFlags;
use step::Failure;

const STEP: &str = "vm.share";

/// Where the daemon is: with QEMU, or a package of its own.
///
/// # Errors
/// It is nowhere.
pub(crate) fn daemon() -> Result<PathBuf, Failure> {
    let places = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd"];
    let found = places.into_iter().map(PathBuf::from).find(|file| file.is_file());
    found.or_else(|| find("virtiofsd")).ok_or_else(|| {
        Failure::because(STEP, "virtiofsd", "is not installed")
            .hint("install virtiofsd, or qemu-system-common where it has it (Debian 12)")
    })
}

/// A program of `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// A process that does not outlive its owner.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or it is to end now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tree that is being shared.
#[derive(Debug)]
pub(crate) struct Shared {
    /// QEMU's end.
    pub(crate) socket: OwnedFd,
    /// Who shares it.
    pub(crate) daemon: Daemon,
}

/// A daemon that does not outlive its owner.
#[derive(Debug)]
pub(crate) struct Daemon {
    _process: Process,
    errors: File,
}

impl Daemon {
    /// What it has complained of.
    pub(crate) fn errors(&self) -> Vec<u8> {
        let mut text = vec![0; 4096];
        let length = self.errors.read_at(&mut text, 0).unwrap_or(0);
        text.truncate(length);
        text
    }
}

/// Shares `tree`. `steady`: nobody on the host changes it meanwhile.
pub(crate) fn share(program: &Path, tree: &OwnedFd, steady: bool) -> Result<Shared, Failure> {
    let failed = |cause: std::io::Error| Failure::new(STEP, program.display().to_string(), cause);
    let (listener, socket) = connected().map_err(failed)?;
    let (listener, tree) = (OwnedFd::from(listener), tree.try_clone().map_err(failed)?);
    let cache = if steady { "always" } else { "auto" };
    let mut command = Command::new(program);
    command.arg(format!("--fd={}", listener.as_raw_fd())).arg("--thread-pool-size=1");
    // The descriptor is a link, the dot behind it is what it leads to: a directory is asked for.
    let source = format!("source=/proc/self/fd/{}/.", tree.as_raw_fd());
    command.args(["-o", &source, "-o", &format!("cache={cache}")]);
    command.args(["-o", "sandbox=chroot", "-o", "xattr", "-o", "log_level=err"]);
    let errors =
        rustix::fs::memfd_create("errors", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
    let errors = File::from(errors);
    let their_errors = errors.try_clone().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(their_errors);
    sys::command::inherit(&mut command, vec![listener, tree]).map_err(failed)?;
    sys::command::die_with_parent(&mut command);
    let process = Process(command.spawn().map_err(failed)?);
    Ok(Shared { socket: socket.into(), daemon: Daemon { _process: process, errors } })
}

/// A listening socket with the one connection that it is to have waiting already. It has a name only until that is
/// there, in a directory that nobody else may enter.
fn connected() -> std::io::Result<(UnixListener, UnixStream)> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let directory = std::env::temp_dir().join(format!("minidocker-vm-{:016x}", u64::from_ne_bytes(random)));
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    let path = directory.join("socket");
    let connect = || {
        let listener = UnixListener::bind(&path)?;
        let stream = UnixStream::connect(&path)?;
        Ok((listener, stream))
    };
    let both = connect();
    let _ = fs::remove_file(&path);
    fs::remove_dir(&directory)?;
    both
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn the_first_to_be_accepted_is_the_one_that_was_made() {
        let (listener, mut stream) = connected().unwrap();
        let name = listener.local_addr().unwrap();
        assert!(!name.as_pathname().unwrap().parent().unwrap().exists());
        let (mut accepted, _) = listener.accept().unwrap();
        stream.write_all(b"x").unwrap();
        let mut byte = [0];
        accepted.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
}
