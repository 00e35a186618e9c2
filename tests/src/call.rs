//! A program about to be started in a world: its words, its input, its surroundings.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{Output, Pty, Running, World, need, scaled};

/// How long a program may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// Started by [`Call::run`], [`Call::spawn`] or [`Call::pty`].
#[derive(Debug)]
pub struct Call<'w> {
    world: &'w World,
    words: Vec<String>,
    variables: Vec<(String, Option<String>)>,
    directory: Option<PathBuf>,
    input: Input,
    patience: Duration,
}

#[derive(Debug)]
enum Input {
    /// /dev/null.
    None,
    Bytes(Vec<u8>),
    /// A pipe that stays open, for [`Running::type_in`].
    Open,
    /// No descriptor 0 at all.
    Closed,
}

impl<'w> Call<'w> {
    pub(crate) fn new(world: &'w World, words: Vec<String>) -> Self {
        let (variables, directory) = (Vec::new(), None);
        Self { world, words, variables, directory, input: Input::None, patience: scaled(PATIENCE) }
    }

    /// Standard input: these bytes, then the end.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Standard input: a pipe that stays open until [`Running::end_input`].
    #[must_use]
    pub fn stdin_open(mut self) -> Self {
        self.input = Input::Open;
        self
    }

    /// No standard input at all: descriptor 0 is closed.
    #[must_use]
    pub fn stdin_closed(mut self) -> Self {
        self.input = Input::Closed;
        self
    }

    /// Sets a variable of the program's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Unsets one.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.variables.push((name.to_owned(), None));
        self
    }

    /// The working directory.
    #[must_use]
    pub fn directory(mut self, path: &Path) -> Self {
        self.directory = Some(path.to_owned());
        self
    }

    /// Puts a wrapper and its options before the program, such as `setpriv --reuid 65534`.
    #[must_use]
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        need(wrapper[0]);
        self.words.splice(0..0, wrapper.iter().map(|word| (*word).to_owned()));
        self
    }

    /// The words as one line for a shell.
    pub fn quoted(&self) -> String {
        let quote = |word: &String| format!("'{}'", word.replace('\'', "'\\''"));
        self.words.iter().map(quote).collect::<Vec<_>>().join(" ")
    }

    /// Waits so long, on a machine of normal speed, before it counts as hanging.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = scaled(time);
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// Where it hangs; with what it said so far.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        if matches!(self.input, Input::Closed) {
            self = self.through(&["sh", "-c", "exec \"$@\" <&-", "sh"]);
        }
        let mut command = self.command();
        let input = std::mem::replace(&mut self.input, Input::None);
        command.stdin(if matches!(input, Input::None) { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.world.start(command);
        match input {
            Input::Bytes(bytes) => {
                let mut pipe = child.stdin.take().expect("a pipe");
                // A program that does not read it all is the test's business, not the writer's.
                std::thread::spawn(move || drop(pipe.write_all(&bytes)));
            }
            Input::Closed => drop(child.stdin.take()),
            Input::None | Input::Open => {}
        }
        Running::new(child, self.words.join(" "), self.patience)
    }

    /// Starts it on a terminal of its own with so many rows and columns, which controls it.
    #[track_caller]
    pub fn pty(mut self, rows: u16, columns: u16) -> Pty {
        // setsid(1) does not fork here: a program that we start leads no process group.
        self = self.through(&["setsid", "--ctty"]);
        let words = self.words.join(" ");
        Pty::new(rows, columns, |terminal| {
            let mut command = self.command();
            let end = || Stdio::from(terminal.try_clone().expect("another descriptor"));
            command.stdin(end()).stdout(end()).stderr(end());
            Running::new(self.world.start(command), words, self.patience)
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        for name in ["ROOT", "RUN_ROOT", "BRIDGE", "SUBNET", "CGROUP_PARENT"] {
            command.env_remove(format!("MINIDOCKER_{name}"));
        }
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}
