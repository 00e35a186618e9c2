//! What is done to containers: by another minidocker each, so that the screen lives on meanwhile, and so that no monitor
//! is a fork of a process that has a terminal in raw mode.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use engine::Settings;

use super::view::View;
use crate::terminal;

/// Those that are under way.
pub(super) struct Acts {
    options: Vec<String>,
    running: Vec<(String, Child)>,
}

/// A shell that the container has.
const SHELL: &str = "command -v bash >/dev/null && exec bash; exec sh";

impl Acts {
    pub(super) fn new(settings: &Settings) -> Self {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let mut options = vec!["--root".to_owned(), text(&settings.root)];
        options.extend(["--run-root".to_owned(), text(&settings.run_root)]);
        options.extend(["--bridge".to_owned(), settings.bridge.clone()]);
        options.extend(["--cgroup-parent".to_owned(), settings.cgroup_parent.clone()]);
        if let Some(subnet) = &settings.subnet {
            options.extend(["--subnet".to_owned(), subnet.clone()]);
        }
        Self { options, running: Vec::new() }
    }

    fn minidocker(&self, words: &[&str]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(&self.options).args(words);
        command
    }

    /// Begins `stop`, `kill` and the like.
    pub(super) fn begin(&mut self, view: &mut View, what: &'static str, id: &str, name: &str) {
        let mut command = self.minidocker(&[what, id]);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let doing = format!("{what} {name}");
        match started {
            Ok(child) => {
                view.note = Some(format!("{doing} …"));
                self.running.push((doing, child));
            }
            Err(error) => view.note = Some(format!("{doing}: {}", terminal::io_reason(&error))),
        }
    }

    /// Tells of those that are done.
    pub(super) fn collect(&mut self, view: &mut View) {
        self.running.retain_mut(|(doing, child)| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                let mut said = String::new();
                if let Some(stderr) = &mut child.stderr {
                    let _ = stderr.take(4096).read_to_string(&mut said);
                }
                let first = said.lines().next().unwrap_or_default();
                view.note = Some(match status.success() {
                    true => format!("{doing}: done"),
                    false => terminal::plain(first.trim_start_matches("error: ")).into_owned(),
                });
                false
            }
            Err(_) => false,
        });
    }

    /// Gives the terminal to a log or a shell until that ends; what is to be told of it.
    pub(super) fn outside(&self, what: &str, id: &str) -> Option<String> {
        let mut command = match what {
            "logs" => self.minidocker(&["logs", "--tail", "500", "-f", id]),
            _ => self.minidocker(&["exec", "-it", id, "sh", "-c", SHELL]),
        };
        terminal::warn(match what {
            "logs" => "the log, as it grows: ctrl-c comes back\n",
            _ => "a shell in the container: exit comes back\n",
        });
        match command.status() {
            Err(error) => Some(format!("{what}: {}", terminal::io_reason(&error))),
            // What it said is gone with its screen.
            Ok(status) if what == "exec" && matches!(status.code(), Some(1 | 125..=127)) => {
                Some("no shell: the container does not run, or has none".to_owned())
            }
            Ok(_) => None,
        }
    }
}
