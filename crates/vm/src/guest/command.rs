//! The command: found, started with its identity and its streams.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use step::Failure;

use crate::settings::{Process, Refusal, Settings};

const STEP: &str = "exec";

/// Docker's default where the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command that runs.
pub(super) struct Started {
    pub(super) pid: Pid,
    pub(super) streams: Streams,
}

/// Init's ends.
pub(super) enum Streams {
    /// Three pipes.
    Pipes { input: Option<OwnedFd>, output: OwnedFd, error: OwnedFd },
    /// A terminal.
    Terminal(OwnedFd),
}

/// Starts it: execve(2) has succeeded.
pub(super) fn start(settings: &Settings) -> Result<Started, Refusal> {
    let process = &settings.process;
    let other = |failure: Failure| Refusal { failure, code: 125 };
    let [name, words @ ..] = process.command.as_slice() else {
        return Err(other(Failure::because(STEP, "", "there is no command")));
    };
    let workdir = &process.workdir;
    let no_directory = |cause: io::Error| other(Failure::new(STEP, workdir.display().to_string(), cause));
    fs::create_dir_all(workdir).map_err(no_directory)?;
    let path = find(name, process)?;
    let mut command = Command::new(&path);
    std::os::unix::process::CommandExt::arg0(&mut command, name);
    command.args(words).env_clear().current_dir(workdir);
    command.envs(process.env.iter().filter_map(|variable| variable.split_once('=')));
    let io_failed = |cause: io::Error| other(Failure::new(STEP, "its streams", cause));
    let streams = streams(&mut command, process).map_err(io_failed)?;
    let identity = sys::command::Identity {
        uid: process.uid,
        gid: process.gid,
        groups: process.groups.clone(),
        terminal: process.terminal,
    };
    sys::command::identify(&mut command, &identity);
    let child = command.spawn().map_err(|cause| refused(name, &path, cause))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| other(Failure::because(STEP, name, "has no number")))?;
    Ok(Started { pid, streams })
}

fn streams(command: &mut Command, process: &Process) -> io::Result<Streams> {
    if process.terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&ours)?;
        rustix::pty::unlockpt(&ours)?;
        let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
        rustix::fs::fchown(&theirs, Some(rustix::fs::Uid::from_raw(process.uid)), None)?;
        if let Some((rows, columns)) = process.size {
            rustix::termios::tcsetwinsize(&ours, size(rows, columns))?;
        }
        command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
        rustix::io::ioctl_fionbio(&ours, true)?;
        return Ok(Streams::Terminal(ours));
    }
    let input = if process.interactive {
        let (theirs, ours) = io::pipe()?;
        command.stdin(theirs);
        Some(own(ours.into())?)
    } else {
        command.stdin(Stdio::null());
        None
    };
    let (output, theirs) = io::pipe()?;
    command.stdout(theirs);
    let (error, theirs) = io::pipe()?;
    command.stderr(theirs);
    Ok(Streams::Pipes { input, output: own(output.into())?, error: own(error.into())? })
}

/// Init never waits on a stream.
fn own(stream: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&stream, true)?;
    Ok(stream)
}

pub(super) fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// execve(2) refused it.
fn refused(name: &str, path: &Path, cause: io::Error) -> Refusal {
    let code = if cause.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    let failure = Failure::new(STEP, name, cause);
    let failure = match failure.errno {
        // ENOENT of a file that is there: its interpreter is not.
        2 => failure
            .hint(format!("{} is there, but what it is interpreted or linked by is not", path.display())),
        8 => failure.hint("it is no program for this processor, or a script without its first line"),
        _ => failure,
    };
    Refusal { failure, code }
}

/// The file of a name, by `PATH`; of a path that path.
fn find(name: &str, process: &Process) -> Result<PathBuf, Refusal> {
    let absent = |reason: &str| {
        let failure = Failure::because(STEP, name, reason).hint("is it in the image, and spelt like this?");
        Refusal { failure, code: 127 }
    };
    if name.contains('/') {
        let path = process.workdir.join(name);
        return if path.exists() { Ok(path) } else { Err(absent("no such file or directory")) };
    }
    let path = process.env.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let mut found = None;
    for directory in path.unwrap_or(DEFAULT_PATH).split(':') {
        let candidate = process.workdir.join(directory).join(name);
        let Ok(meta) = candidate.metadata() else { continue };
        if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
            return Ok(candidate);
        }
        found = Some(candidate);
    }
    match found {
        None => Err(absent("executable file not found in $PATH")),
        Some(path) => {
            let reason = "is in $PATH, and cannot be executed";
            let failure = Failure::because(STEP, path.display().to_string(), reason);
            Err(Refusal { failure: failure.hint("chmod +x makes a file executable"), code: 126 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(path: &str) -> Process {
        Process { env: vec![format!("PATH={path}")], workdir: "/".into(), ..Process::default() }
    }

    #[test]
    fn a_name_is_looked_for_and_a_path_is_taken() {
        let found = find("sh", &process("/nowhere:/bin:/usr/bin")).unwrap();
        assert_eq!(found, Path::new("/bin/sh"));
        assert_eq!(find("bin/sh", &process("")).unwrap(), Path::new("/bin/sh"));
        assert_eq!(find("no-such-program", &process("/bin")).unwrap_err().code, 127);
        assert_eq!(find("/no/such", &process("/bin")).unwrap_err().code, 127);
        let refusal = find("passwd", &process("/etc")).unwrap_err();
        assert_eq!(refusal.code, 126, "{refusal:?}");
    }

    #[test]
    fn what_cannot_be_executed_is_126() {
        let cause = io::Error::from_raw_os_error(13);
        assert_eq!(refused("x", Path::new("/x"), cause).code, 126);
        let missing = refused("x", Path::new("/x"), io::Error::from_raw_os_error(2));
        assert!(missing.code == 127 && missing.failure.hint.is_some());
    }
}
