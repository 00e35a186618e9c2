//! `exec`: a further program in a container that runs.

use bundle::ops::{self, ExecProcess, ExecRequest};

use super::super::Context;
use super::super::arguments::{Typed, number};
use super::create::{CONSOLE_SOCKET, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS};
use super::run::DETACH;
use super::{Command, during};
use crate::options::{flag, many, one};
use crate::problem::Problem;

/// What runc ends with where the program could not be started: 1 may be the program's own.
const FAILED: u8 = 255;

pub(super) const COMMAND: Command = Command {
    arguments: "<container-id> <command> [arguments...] || -p process.json <container-id>",
    about: "The program starts as the container's own did, but for what the options say.",
    options: &[
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        one("cwd", "DIR", "Working directory in the container"),
        many("env", "NAME=VALUE", "Set a variable").short('e'),
        flag("tty", "Give it a terminal").short('t'),
        one("user", "UID[:GID]", "User and group, as numbers").short('u'),
        many("additional-gids", "GID", "A further group").short('g'),
        one("process", "FILE", "Take everything from this file: the specification's process as JSON")
            .short('p'),
        DETACH,
        PID_FILE,
        one("process-label", "LABEL", "SELinux label"),
        one("apparmor", "PROFILE", "AppArmor profile"),
        flag("no-new-privs", "Set no_new_privs: the program gets no rights by set-user-id and the like"),
        many("cap", "CAPABILITY", "A further capability").short('c'),
        PRESERVE_FDS,
        many("cgroup", "[CONTROLLERS:]PATH", "Run it in this group below the container's"),
        flag("ignore-paused", "In a paused container too: it begins when the container is resumed"),
    ],
    words: 1..=usize::MAX,
    interspersed: false,
    starts: true,
    failed: FAILED,
    ..Command::new("exec", "Run a further program in a running container", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    let failed = |problem| during("exec failed", problem);
    context.passed.check().map_err(failed)?;
    let request = request(typed, context).map_err(failed)?;
    ops::exec(&context.settings, &request).map_err(|error| failed(error.into()))
}

fn request(typed: &Typed, context: &Context) -> Result<ExecRequest, Problem> {
    Ok(ExecRequest {
        id: typed.id().to_owned(),
        process: process(typed)?,
        console_socket: typed.owned("console-socket"),
        pid_file: typed.owned("pid-file"),
        pidfd_socket: typed.owned("pidfd-socket"),
        detach: typed.on("detach"),
        preserve_fds: context.passed.preserved,
        ignore_paused: typed.on("ignore-paused"),
        cgroups: typed.many("cgroup").map(str::to_owned).collect(),
    })
}

fn process(typed: &Typed) -> Result<ExecProcess, Problem> {
    if let Some(file) = typed.owned("process") {
        return Ok(ExecProcess::File(file));
    }
    let args = typed.words.get(1..).unwrap_or_default().to_vec();
    if args.is_empty() {
        return Err(Problem::new("exec args cannot be empty")
            .hint("the program to run stands after the container's id, or in a file that --process names"));
    }
    let all = |long| typed.many(long).map(str::to_owned).collect();
    let gid = |text: &str| match number::<i64>("additional-gids", text)? {
        gid @ 0.. => {
            u32::try_from(gid).map_err(|_| Problem::new(format!("additional-gids: {gid} is too large")))
        }
        gid => Err(Problem::new(format!("additional-gids must be a positive number {gid}"))),
    };
    Ok(ExecProcess::Args {
        args,
        cwd: typed.owned("cwd"),
        env: all("env"),
        tty: typed.on("tty"),
        user: typed.owned("user"),
        additional_gids: typed.many("additional-gids").map(gid).collect::<Result<_, _>>()?,
        capabilities: all("cap"),
        apparmor: typed.owned("apparmor"),
        process_label: typed.owned("process-label"),
        no_new_privs: typed.has("no-new-privs").then(|| typed.on("no-new-privs")),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::create::tests::context;
    use super::super::tests::typed;
    use super::*;

    #[test]
    fn every_option_reaches_the_request() {
        let line = "--cwd /w -e A=1 --env B=2 -t -u 7:8 -g 9 --additional-gids 10 -d --pid-file p --process-label l \
                    --apparmor a --no-new-privs -c CAP_KILL --cap CHOWN --cgroup cpu:x --cgroup memory:y \
                    --ignore-paused --console-socket s --pidfd-socket f c1 ls -l --cwd";
        let request = request(&typed(&COMMAND, line), &context()).unwrap();
        assert_eq!((request.id.as_str(), request.detach, request.ignore_paused), ("c1", true, true));
        assert_eq!(request.pid_file.as_deref(), Some(Path::new("p")));
        assert_eq!(request.console_socket.as_deref(), Some(Path::new("s")));
        assert_eq!(request.pidfd_socket.as_deref(), Some(Path::new("f")));
        assert_eq!(request.cgroups, ["cpu:x", "memory:y"]);
        assert_eq!(request.preserve_fds, 0, "systemd's sockets are not handed on");
        let ExecProcess::Args { args, cwd, env, tty, user, additional_gids, capabilities, .. } =
            &request.process
        else {
            panic!("{request:?}");
        };
        assert_eq!(args, &["ls", "-l", "--cwd"]);
        assert_eq!((cwd.as_deref(), user.as_deref(), *tty), (Some("/w"), Some("7:8"), true));
        assert_eq!(
            (env.join(" "), capabilities.join(" ")),
            ("A=1 B=2".to_owned(), "CAP_KILL CHOWN".to_owned())
        );
        assert_eq!(additional_gids, &[9, 10]);
        let ExecProcess::Args { apparmor, process_label, no_new_privs, .. } = request.process else {
            unreachable!();
        };
        assert_eq!((apparmor.as_deref(), process_label.as_deref()), (Some("a"), Some("l")));
        assert_eq!(no_new_privs, Some(true));
    }

    #[test]
    fn a_file_takes_the_place_of_words() {
        let request = request(&typed(&COMMAND, "-p /dev/fd/63 c1"), &context()).unwrap();
        assert!(matches!(request.process, ExecProcess::File(path) if path == Path::new("/dev/fd/63")));
    }

    #[test]
    fn no_new_privs_is_the_containers_unless_it_is_named() {
        for (line, wanted) in
            [("c ls", None), ("--no-new-privs c ls", Some(true)), ("--no-new-privs=false c ls", Some(false))]
        {
            let ExecProcess::Args { no_new_privs, .. } = process(&typed(&COMMAND, line)).unwrap() else {
                unreachable!();
            };
            assert_eq!(no_new_privs, wanted, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_runcs_words() {
        let told = |line| request(&typed(&COMMAND, line), &context()).unwrap_err().message;
        assert_eq!(told("c1"), "exec args cannot be empty");
        assert_eq!(told("-g -1 c1 ls"), "additional-gids must be a positive number -1");
        assert_eq!(told("-g x c1 ls"), "invalid value \"x\" for flag -additional-gids: a number is wanted");
    }
}
