//! The sealed stub (stub/stub.rs) as a descriptor to execute: what init becomes before it becomes the program.
//!
//! At the moment of execve(2) /proc/self/exe is whatever runs until then. If that were the host's minidocker, an
//! image whose entry point is `/proc/self/exe` could hold it open and overwrite it (CVE-2019-5736). A memfd that is
//! sealed against writing has nothing to overwrite, and nobody else has it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::container::First;

/// The ELF file that build.rs made.
static STUB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub"));

/// The first byte of the message by which the stub tells that execve(2) failed; errno follows, four bytes in native
/// order. No message and an end of file: the program runs.
pub(crate) const FAILED: u8 = b'E';

/// The stub in a new sealed memfd, close-on-exec, to be executed by execveat(2).
///
/// # Errors
/// `EACCES` where the sysctl vm.memfd_noexec is 2; `EMFILE` and its like.
pub(crate) fn sealed() -> io::Result<OwnedFd> {
    const NAME: &CStr = c"minidocker-init";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(NAME, flags | MemfdFlags::EXEC) {
        // MFD_EXEC came with Linux 6.3: before, every memfd is executable.
        Err(Errno::INVAL) => rustix::fs::memfd_create(NAME, flags),
        result => result,
    }?;
    let written = rustix::io::write(&file, STUB)?;
    if written != STUB.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file)
}

/// The stub's arguments: it tells a failure on `status`, becomes or stays the first process as `first` says, and
/// executes `path` with `args` (the first of which is the program's own name).
pub(crate) fn arguments(status: RawFd, first: First, path: &CStr, args: &[CString]) -> Vec<CString> {
    let mode = match first {
        First::Program => 'x',
        First::Init => 'i',
        First::Pause => 'p',
    };
    let order = format!("{status}:{mode}");
    let mut words = Vec::with_capacity(3 + args.len());
    words.push(c"minidocker-init".to_owned());
    // Digits, a colon and a letter: there is no NUL in it that could make this an error.
    words.push(CString::new(order).unwrap_or_default());
    words.push(path.to_owned());
    words.extend_from_slice(args);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, Output, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal};

    /// The stub as a command with its standard error as the status descriptor. The memfd must outlive the spawn.
    fn command(stub: &OwnedFd, init: bool, path: &str, args: &[&str]) -> Command {
        command_of(stub, if init { First::Init } else { First::Program }, path, args)
    }

    fn command_of(stub: &OwnedFd, first: First, path: &str, args: &[&str]) -> Command {
        let path = CString::new(path).unwrap();
        let args: Vec<_> = args.iter().map(|arg| CString::new(*arg).unwrap()).collect();
        let words = arguments(2, first, &path, &args);
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let mut command = Command::new(format!("/proc/self/fd/{}", stub.as_raw_fd()));
        command
            .arg0(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stderr(Stdio::piped());
        command
    }

    fn run(init: bool, path: &str, args: &[&str]) -> Output {
        let stub = sealed().unwrap();
        command(&stub, init, path, args).env("COLOUR", "blue green").output().unwrap()
    }

    fn shell(init: bool, script: &str) -> Output {
        run(init, "/bin/sh", &["sh", "-c", script])
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn message(errno: Errno) -> Vec<u8> {
        [&[FAILED][..], &errno.raw_os_error().to_ne_bytes()].concat()
    }

    /// The same in a pid namespace of its own, where the stub is PID 1, with the proc of that namespace.
    fn as_pid_1(stub: &OwnedFd, script: &str) -> Command {
        let file = format!("/proc/{}/fd/{}", std::process::id(), stub.as_raw_fd());
        // unshare(1) cannot name argv[0], and the file's name means nothing in the new proc: a shell on either side.
        let outer = r#"exec 9<"$0"; exec unshare --pid --mount-proc --fork --kill-child bash -c "$@""#;
        let inner = r#"exec /proc/self/fd/9 2:i "$@""#;
        let mut command = Command::new("bash");
        command.args(["-c", outer, &file, inner, "-", "/bin/sh", "sh", "-c", script]);
        command.stderr(Stdio::piped());
        command
    }

    /// Reads one line, byte by byte, from the child's standard output.
    fn line(child: &mut Child) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    fn pid_of(child: &Child) -> Pid {
        Pid::from_raw(child.id() as i32).unwrap()
    }

    #[test]
    fn is_small_and_needs_nothing() {
        assert_eq!(STUB[..4], *b"\x7fELF");
        assert_eq!(STUB[16..18], 2_u16.to_le_bytes(), "ET_EXEC: static, not position independent");
        assert!(STUB.len() < 4096, "{} bytes", STUB.len());
    }

    #[test]
    fn cannot_be_changed() {
        let stub = sealed().unwrap();
        assert_eq!(rustix::io::pwrite(&stub, b"x", 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&stub, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&stub, 1 << 20), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&stub, SealFlags::FUTURE_WRITE), Err(Errno::PERM));
        let again = File::options().write(true).open(format!("/proc/self/fd/{}", stub.as_raw_fd()));
        assert_eq!(again.unwrap().write(b"x").unwrap_err().raw_os_error(), Some(Errno::PERM.raw_os_error()));
    }

    #[test]
    fn executes_with_arguments_and_environment() {
        for init in [false, true] {
            let output = run(
                init,
                "/bin/sh",
                &["a name", "-c", r#"echo "$0|$1|$2|$COLOUR""#, "zero", "", "two words"],
            );
            assert_eq!(text(&output.stdout), "zero||two words|blue green\n");
            assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
            let output = run(init, "/bin/cat", &["another name", "/proc/self/cmdline", "/proc/self/environ"]);
            let told = "another name\0/proc/self/cmdline\0/proc/self/environ\0COLOUR=blue green\0PATH=/usr/bin:/bin\0";
            assert_eq!(text(&output.stdout), told);
        }
    }

    #[test]
    fn the_program_does_not_have_the_status_descriptor() {
        for init in [false, true] {
            // The listing's own descriptor takes the free number: so ask the shell, which opens none.
            let output = shell(init, "[ -e /proc/$$/fd/2 ] && echo open || echo closed");
            assert_eq!(text(&output.stdout), "closed\n");
        }
    }

    #[test]
    fn tells_why_it_could_not_execute() {
        let script = std::env::temp_dir().join(format!("minidocker-stub-{}", std::process::id()));
        std::fs::write(&script, "no interpreter\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        for init in [false, true] {
            for (path, errno, code) in [
                ("/nonexistent/program", Errno::NOENT, 127),
                ("/etc", Errno::ACCESS, 126),
                ("/etc/passwd", Errno::ACCESS, 126),
                (script.to_str().unwrap(), Errno::NOEXEC, 126),
            ] {
                let output = run(init, path, &["x"]);
                assert_eq!(
                    (output.status.code(), output.stderr),
                    (Some(code), message(errno)),
                    "{path} {init}"
                );
            }
        }
        std::fs::remove_file(script).unwrap();
    }

    #[test]
    fn refuses_to_run_without_a_program() {
        let stub = sealed().unwrap();
        let status = Command::new(format!("/proc/self/fd/{}", stub.as_raw_fd())).arg("2:x").status().unwrap();
        assert_eq!(status.code(), Some(126));
    }

    #[test]
    fn a_pause_stays_until_it_is_asked_to_end() {
        let stub = sealed().unwrap();
        for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
            let mut child = command_of(&stub, First::Pause, "pause", &["pause"]).spawn().unwrap();
            let mut told = Vec::new();
            child.stderr.take().unwrap().read_to_end(&mut told).unwrap();
            assert_eq!(told, b"", "it told of no failure, and closed the status descriptor");
            rustix::process::kill_process(pid_of(&child), Signal::USR1).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            assert!(child.try_wait().unwrap().is_none(), "{signal:?}: it is still there");
            rustix::process::kill_process(pid_of(&child), signal).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0), "{signal:?}");
        }
    }

    #[test]
    fn the_running_executable_is_the_memfd() {
        let stub = sealed().unwrap();
        let mut command = command(&stub, true, "/bin/sh", &["sh", "-c", "echo ready; read word"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        let exe = std::fs::read_link(format!("/proc/{}/exe", child.id())).unwrap();
        assert_eq!(exe.to_str(), Some("/memfd:minidocker-init (deleted)"));
        let opened = File::options().write(true).open(format!("/proc/{}/exe", child.id()));
        assert_eq!(opened.unwrap_err().raw_os_error(), Some(Errno::TXTBSY.raw_os_error()));
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }

    #[test]
    fn ends_as_the_program_ended() {
        assert_eq!(shell(true, "exit 7").status.code(), Some(7));
        assert_eq!(shell(true, "kill -KILL $$").status.code(), Some(137));
        assert_eq!(shell(true, "kill -TERM $$").status.code(), Some(143));
        assert_eq!(shell(true, "ulimit -c 0; kill -SEGV $$").status.code(), Some(139));
        assert_eq!(shell(false, "exit 7").status.code(), Some(7));
        assert_eq!(shell(false, "kill -TERM $$").status.signal(), Some(15));
    }

    #[test]
    fn the_program_starts_with_a_clean_signal_state() {
        let stub = sealed().unwrap();
        let file = format!("/proc/{}/fd/{}", std::process::id(), stub.as_raw_fd());
        let script = r#"trap '' HUP INT USR1 CHLD; stub=$1; shift; exec "$stub" 2:i "$@""#;
        let output = Command::new("bash")
            .args(["-c", script, "-", &file, "/bin/grep", "grep", "^Sig[BI]", "/proc/self/status"])
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(text(&output.stdout), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    }

    #[test]
    fn forwards_signals_to_the_program() {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1, Signal::ABORT] {
            let stub = sealed().unwrap();
            let script = "trap 'exit 42' TERM INT HUP USR1 ABRT; echo ready; while :; do sleep 0.01; done";
            let mut command = command(&stub, true, "/bin/sh", &["sh", "-c", script]);
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            assert_eq!(line(&mut child), "ready");
            rustix::process::kill_process(pid_of(&child), signal).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(42), "{signal:?}");
        }
    }

    #[test]
    fn forwards_signals_as_pid_1() {
        let stub = sealed().unwrap();
        let script = "trap 'exit 42' TERM; echo ready; while :; do sleep 0.01; done";
        let mut child = as_pid_1(&stub, script).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        let id = child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let init = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(init, Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(42));
    }

    #[test]
    fn reaps_orphans_as_pid_1_and_takes_the_rest_along() {
        let stub = sealed().unwrap();
        // Five orphans that end at once, one that would stay for long; then every process but this shell itself.
        let script = "for i in 1 2 3 4 5; do (sleep 0.01 &); done; (sleep 1000 &); sleep 0.3
            for p in /proc/[0-9]*; do read -r id name state parent rest <$p/stat; echo $id $name $state $parent; done
            exit 9";
        let before = Instant::now();
        let output = as_pid_1(&stub, script).output().unwrap();
        assert!(before.elapsed() < Duration::from_secs(100));
        let processes: Vec<_> = text(&output.stdout).lines().collect();
        let names: Vec<_> = processes.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(names.len(), 3, "{processes:?} {}", text(&output.stderr));
        assert!(names.contains(&"(sh)") && names.contains(&"(sleep)"), "{processes:?}");
        assert!(!processes.iter().any(|line| line.contains(" Z ")), "{processes:?}");
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(9), &b""[..]));
    }

    #[test]
    fn the_program_leads_the_terminals_foreground_group() {
        let stub = sealed().unwrap();
        let file = format!("/proc/{}/fd/{}", std::process::id(), stub.as_raw_fd());
        let master =
            rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let script = "read -r id name state parent group session tty foreground rest </proc/$$/stat
            [ $group = $$ ] && [ $foreground = $$ ] && [ $session != $$ ] && echo leads; read word; echo $word";
        let mut child = Command::new("setsid")
            .args([
                "--ctty",
                "--wait",
                "bash",
                "-c",
                r#"stub=$1; shift; exec "$stub" 2:i "$@""#,
                "-",
                &file,
                "/bin/sh",
                "sh",
                "-c",
                script,
            ])
            .stdin(terminal)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(line(&mut child), "leads");
        // A process in the background would be stopped by SIGTTIN here.
        rustix::io::write(&master, b"typed\n").unwrap();
        assert_eq!(line(&mut child), "typed");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
