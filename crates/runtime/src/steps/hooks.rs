//! Hooks: programs of the host that are told the container's state and run at its turns (OCI runtime specification,
//! "Hooks" and "POSIX-platform Hooks").

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use oci::spec::{ContainerState, Hook, State};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags};
use step::{Context, Failure, Shell, Step, quote};

/// The hooks of one kind.
#[derive(Debug)]
pub(crate) struct Run {
    /// As the specification has it: `createRuntime`.
    pub(crate) kind: &'static str,
    pub(crate) hooks: Vec<Hook>,
    /// What they are told; the pid is filled in.
    pub(crate) state: State,
    /// The environment of one that brings none; none: the caller's.
    pub(crate) env: Option<Vec<String>>,
    /// Where they are run: the bundle, or the new root before it is entered.
    pub(crate) at: At,
}

/// The working directory of hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// The bundle's.
    Bundle,
    /// The root that init builds in.
    Root,
    /// Where the caller is.
    Here,
}

impl Step for Run {
    fn id(&self) -> &'static str {
        "hook.run"
    }

    fn call(&self) -> String {
        let names: Vec<_> = self.hooks.iter().map(|hook| hook.path().display().to_string()).collect();
        format!("{}: fork, execve of {}", self.kind, names.join(", "))
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed("asked for: hooks in config.json")
    }

    fn shell(&self) -> Shell {
        let line = |hook: &Hook| {
            let words: Vec<_> =
                hook.args().iter().flatten().skip(1).map(|word| quote(word).into_owned()).collect();
            format!("{} {} < state.json", quote(&hook.path().to_string_lossy()), words.join(" "))
        };
        Shell::Lines(self.hooks.iter().map(line).collect())
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        let mut state = self.state.clone();
        // In the container's own pid namespace the number is its own: what the hook there can make use of.
        let own = rustix::process::getpid().as_raw_nonzero().get();
        state.set_pid(Some(context.init.unwrap_or(own)));
        if self.at == At::Root {
            rustix::process::fchdir(super::root(context, self.id())?)
                .map_err(|errno| self.failed("the root", errno))?;
        }
        let dir = (self.at == At::Bundle).then(|| state.bundle().as_path());
        let mut env = self.env.clone();
        if let Some(env) =
            env.as_mut().filter(|env| !env.iter().any(|name| name.starts_with("HOME=") && *name != "HOME="))
        {
            let home = crate::program::home_of(rustix::process::geteuid().as_raw()).unwrap_or_default();
            env.push(format!("HOME={}", String::from_utf8_lossy(&home)));
        }
        run_in(self.kind, &self.hooks, &state, env.as_deref(), dir)
    }
}

/// Runs hooks one after another, each with `state` on its standard input; the first that fails ends it.
///
/// # Errors
/// Which hook of which kind failed, how, and what it printed.
pub fn run(kind: &str, hooks: &[Hook], state: &State) -> Result<(), Failure> {
    run_in(kind, hooks, state, None, Some(state.bundle()))
}

fn run_in(
    kind: &str,
    hooks: &[Hook],
    state: &State,
    env: Option<&[String]>,
    dir: Option<&Path>,
) -> Result<(), Failure> {
    if hooks.is_empty() {
        return Ok(());
    }
    // A State is strings and numbers: writing it as JSON cannot fail.
    let told = serde_json::to_vec(state).unwrap_or_default();
    for (index, hook) in hooks.iter().enumerate() {
        one(hook, &told, env, dir).map_err(|reason| {
            Failure::because(
                "hook.run",
                hook.path().display().to_string(),
                format!("error running {kind} hook #{index}: {reason}"),
            )
        })?;
    }
    Ok(())
}

/// Whether the hook of this status may go on: the state's word for a turn of the container's life.
pub fn state_at(base: &State, status: ContainerState, pid: Option<i32>) -> State {
    let mut state = base.clone();
    state.set_status(status);
    state.set_pid(pid);
    state
}

fn one(hook: &Hook, told: &[u8], env: Option<&[String]>, dir: Option<&Path>) -> Result<(), String> {
    // Files in memory, not pipes: nobody has to read and write at the same time.
    let file = |name: &str| -> std::io::Result<File> {
        Ok(File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?))
    };
    let words = |error: std::io::Error| step::words(&error);
    let mut input = file("hook-state").map_err(words)?;
    input.write_all(told).and_then(|()| input.rewind()).map_err(words)?;
    let (out, err) = (file("hook-stdout").map_err(words)?, file("hook-stderr").map_err(words)?);
    let mut command = Command::new(hook.path());
    let args = hook.args().as_deref().unwrap_or_default();
    if let Some((name, rest)) = args.split_first() {
        command.arg0(name).args(rest);
    }
    if let Some(env) = hook.env().as_deref().or(env) {
        command.env_clear();
        command.envs(env.iter().filter_map(|variable| variable.split_once('=')));
    }
    if let Some(dir) = dir.filter(|dir| dir.is_dir()) {
        command.current_dir(dir);
    }
    let copy = |file: &File| file.try_clone().map(Stdio::from).map_err(words);
    command.stdin(Stdio::from(input)).stdout(copy(&out)?).stderr(copy(&err)?);
    let mut child = command.spawn().map_err(words)?;
    let ended = wait(&mut child, hook.timeout());
    let status = match ended.map_err(words)? {
        Some(status) => status,
        None => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("still running after its {} s", hook.timeout().unwrap_or_default()));
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = |mut file: File| {
        let mut text = Vec::new();
        let _ = file.rewind().and_then(|()| file.take(4096).read_to_end(&mut text));
        String::from_utf8_lossy(&text).trim_end().to_owned()
    };
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(31)) => "signal: bad system call".to_owned(),
        (_, signal) => format!("signal {}", signal.unwrap_or_default()),
    };
    Err(format!("{how}, stdout: {}, stderr: {}", text(out), text(err)))
}

/// Its end, or none after its time.
fn wait(child: &mut Child, seconds: Option<i64>) -> std::io::Result<Option<ExitStatus>> {
    if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
        let pid = Pid::from_raw(child.id().cast_signed()).ok_or(rustix::io::Errno::SRCH)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let mut wanted = [PollFd::new(&pidfd, PollFlags::IN)];
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        if rustix::event::poll(&mut wanted, Some(&limit))? == 0 {
            return Ok(None);
        }
    }
    child.wait().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::spec::HookBuilder;

    fn shell(script: &str, timeout: Option<i64>) -> Hook {
        let args = ["hook", "-c", script].map(str::to_owned);
        let hook = HookBuilder::default().path("/bin/sh").args(args).env(vec!["COLOUR=blue".to_owned()]);
        timeout.into_iter().fold(hook, |hook, seconds| hook.timeout(seconds)).build().unwrap()
    }

    fn state() -> State {
        let mut state = State::default();
        state.set_id("one".to_owned());
        state_at(&state, ContainerState::Creating, Some(7))
    }

    #[test]
    fn a_hook_is_told_the_state_and_has_its_own_environment() {
        let script = r#"set -e; [ "$0" = hook ]; [ "$(env | grep -c .)" -lt 5 ]; [ $COLOUR = blue ];
            text=$(cat); case $text in *'"id":"one"'*'"status":"creating"'*'"pid":7'*) ;; *) echo "$text" >&2; exit 3;; esac"#;
        run("prestart", &[shell(script, None), shell("exit 0", Some(60))], &state()).unwrap();
    }

    #[test]
    fn what_a_failing_hook_says_is_told_and_the_next_is_not_run() {
        let marker = std::env::temp_dir().join(format!("minidocker-hook-{}", std::process::id()));
        let hooks = [
            shell("true", None),
            shell("echo out; echo err >&2; exit 4", None),
            shell(&format!(": > {}", marker.display()), None),
        ];
        let failure = run("createRuntime", &hooks, &state()).unwrap_err();
        assert_eq!(
            failure.cause(),
            "error running createRuntime hook #1: exit status 4, stdout: out, stderr: err"
        );
        assert!(!marker.exists());
        let failure = run("poststop", &[shell("kill -9 $$", None)], &state()).unwrap_err();
        assert!(failure.cause().contains("signal 9"), "{failure}");
        let missing = HookBuilder::default().path("/no/such/hook").build().unwrap();
        let failure = run("poststop", &[missing], &state()).unwrap_err();
        assert!(failure.to_string().contains("/no/such/hook") && failure.cause().contains("no such file"));
    }

    #[test]
    fn a_hook_that_takes_too_long_is_ended() {
        let failure = run("poststart", &[shell("exec sleep 600", Some(1))], &state()).unwrap_err();
        assert!(failure.cause().contains("still running after its 1 s"), "{failure}");
    }
}
