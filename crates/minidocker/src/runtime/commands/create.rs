//! `create`: everything is made, and the program waits for `start`.

use std::path::PathBuf;

use bundle::ops::{self, CreateRequest};

use super::super::Context;
use super::super::arguments::Typed;
use super::{Command, during};
use crate::options::{Opt, flag, one};
use crate::problem::Problem;

pub(super) const BUNDLE: Opt =
    one("bundle", "DIR", "Directory with config.json (default: the current one)").short('b');
pub(super) const CONSOLE_SOCKET: Opt =
    one("console-socket", "PATH", "Unix socket that is sent the descriptor of the terminal's outer end");
pub(super) const PIDFD_SOCKET: Opt =
    one("pidfd-socket", "PATH", "Unix socket that is sent a pidfd of the first process");
pub(super) const PID_FILE: Opt = one("pid-file", "FILE", "Write the process number there");
pub(super) const NO_PIVOT: Opt =
    flag("no-pivot", "Move the root instead of pivot_root(2): for a host that runs from an initial ramdisk");
pub(super) const NO_NEW_KEYRING: Opt = flag("no-new-keyring", "Keep the session keyring of the caller");
pub(super) const PRESERVE_FDS: Opt =
    one("preserve-fds", "N", "Hand N descriptors to the program, from 3 and systemd's sockets on");

pub(super) const COMMAND: Command = Command {
    about: "Makes a container of a bundle, up to the point where its program would begin: 'start' lets it go.",
    options: &[BUNDLE, CONSOLE_SOCKET, PIDFD_SOCKET, PID_FILE, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS],
    starts: true,
    listens: true,
    ..Command::new("create", "Create a container", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    let failed = |problem| during(format!("{} create failed", context.name), problem);
    let request = request(typed, context).map_err(failed)?;
    ops::create(&context.settings, &request).map(|()| 0).map_err(|error| failed(error.into()))
}

/// What `create` and `run` are asked for alike.
pub(super) fn request(typed: &Typed, context: &Context) -> Result<CreateRequest, Problem> {
    context.passed.check()?;
    Ok(CreateRequest {
        id: typed.id().to_owned(),
        bundle: typed.owned("bundle").unwrap_or_else(|| PathBuf::from(".")),
        console_socket: typed.owned("console-socket"),
        pid_file: typed.owned("pid-file"),
        pidfd_socket: typed.owned("pidfd-socket"),
        no_pivot: typed.on("no-pivot"),
        no_new_keyring: typed.on("no-new-keyring"),
        preserve_fds: context.passed.preserved,
        listen_fds: context.passed.listening,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::super::tests::typed;
    use super::*;
    use crate::runtime::descriptors::Passed;
    use crate::runtime::log;

    pub(in super::super) fn context() -> Context {
        let settings = bundle::Settings {
            root: "/x".into(),
            systemd_cgroup: false,
            criu: None,
            rootless: None,
            debug: None,
            warn: log::warn,
        };
        Context { name: "runc".to_owned(), settings, passed: Passed { listening: 2, preserved: 0 } }
    }

    #[test]
    fn every_option_reaches_the_request() {
        let line = "-b /b --console-socket c.sock c1 --pid-file pid --pidfd-socket p.sock --no-pivot --no-new-keyring";
        let request = request(&typed(&COMMAND, line), &context()).unwrap();
        assert_eq!((request.id.as_str(), request.bundle.as_path()), ("c1", Path::new("/b")));
        assert_eq!(request.console_socket.as_deref(), Some(Path::new("c.sock")));
        assert_eq!(request.pid_file.as_deref(), Some(Path::new("pid")));
        assert_eq!(request.pidfd_socket.as_deref(), Some(Path::new("p.sock")));
        assert!(request.no_pivot && request.no_new_keyring);
        assert_eq!((request.preserve_fds, request.listen_fds), (0, 2));
        let request = self::request(&typed(&COMMAND, "c1 --pid-file="), &context()).unwrap();
        assert_eq!((request.bundle.as_path(), request.pid_file), (Path::new("."), None));
    }

    #[test]
    fn a_preserved_descriptor_that_is_not_open_is_refused_with_the_commands_name() {
        let passed = Passed { listening: 0, preserved: 1_000_000 };
        let told = exec(&typed(&COMMAND, "c1"), &Context { passed, ..context() }).unwrap_err().message;
        assert!(told.starts_with("runc create failed: unable to stat preserved-fd "), "{told}");
    }
}
