//! How far layers are, in Docker's words: bars on a terminal, a line for each change elsewhere.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::{Event, Phase};

use crate::values::sizes;

/// How often bars are drawn anew.
const EVERY: Duration = Duration::from_millis(100);
/// Characters of a bar.
const WIDTH: usize = 40;

/// Which way the layers go: the words differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a registry.
    Pull,
    /// To one.
    Push,
}

/// Where it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// Standard output, what `pull` has nothing else for.
    Out,
    /// Standard error, of a `run`.
    Err,
    /// Nowhere: `--quiet`.
    Nowhere,
}

/// Tells of layers.
#[derive(Debug)]
pub(crate) struct Progress {
    way: Way,
    to: To,
    /// Rows of the terminal; none where there is none.
    rows: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they were first heard of.
    layers: Vec<(String, Phase, u64)>,
    places: HashMap<oci::Digest, usize>,
    /// Lines that stand on the terminal.
    drawn: usize,
    last: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(way: Way, to: To) -> Self {
        let size = |fd: rustix::fd::BorrowedFd<'_>| rustix::termios::tcgetwinsize(fd).ok();
        use std::os::fd::AsFd as _;
        let rows = match to {
            To::Out if io::stdout().is_terminal() => size(io::stdout().as_fd()),
            To::Err if io::stderr().is_terminal() => size(io::stderr().as_fd()),
            _ => None,
        };
        let rows = rows.map(|size| usize::from(size.ws_row).max(3));
        Self { way, to, rows, state: Mutex::default() }
    }

    /// Takes what happened.
    pub(crate) fn event(&self, event: Event<'_>) {
        if self.to == To::Nowhere {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !state.places.contains_key(&event.layer.digest);
        let place = match state.places.get(&event.layer.digest) {
            Some(place) => *place,
            None => {
                let (place, name) = (state.layers.len(), event.layer.digest.hex());
                state.layers.push((name[..12].to_owned(), event.phase, event.layer.size));
                state.places.insert(event.layer.digest, place);
                place
            }
        };
        let known = std::mem::replace(&mut state.layers[place].1, event.phase);
        if self.rows.is_some() {
            let moving = matches!(event.phase, Phase::Downloading(_));
            if !moving || state.last.is_none_or(|last| last.elapsed() >= EVERY) {
                state.last = Some(Instant::now());
                self.draw(&mut state);
            }
            return;
        }
        let same = std::mem::discriminant(&known) == std::mem::discriminant(&event.phase);
        if let Some(words) = self.words(event.phase)
            && (is_new || !same)
        {
            self.write(&format!("{}: {words}\n", state.layers[place].0));
        }
    }

    /// The last picture stands.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.rows.is_some() && !state.layers.is_empty() {
            self.draw(&mut state);
        }
    }

    /// What plain text tells of a phase; none where nothing is told.
    fn words(&self, phase: Phase) -> Option<&'static str> {
        Some(match (self.way, phase) {
            (Way::Pull, Phase::Waiting) => "Pulling fs layer",
            (Way::Pull, Phase::Present) => "Already exists",
            (Way::Pull, Phase::Downloaded) => "Download complete",
            (Way::Pull, Phase::Done) => "Pull complete",
            (Way::Push, Phase::Waiting) => "Preparing",
            (Way::Push, Phase::Present) => "Layer already exists",
            (Way::Push, Phase::Downloaded | Phase::Done) => "Pushed",
            (_, Phase::Downloading(_)) => return None,
        })
    }

    fn draw(&self, state: &mut State) {
        let mut text = String::new();
        if state.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", state.drawn);
        }
        // What does not fit on the screen cannot be drawn over: the layers that are on their way come first.
        let room = self.rows.unwrap_or(24) - 2;
        let is_over = |phase: &Phase| matches!(phase, Phase::Done | Phase::Present);
        let mut order: Vec<usize> = (0..state.layers.len()).collect();
        if order.len() > room {
            order.sort_by_key(|place| is_over(&state.layers[*place].1));
            order.truncate(room);
            order.sort_unstable();
        }
        for place in &order {
            let (name, phase, size) = &state.layers[*place];
            let words = match phase {
                Phase::Downloading(bytes) => self.bar(*bytes, *size),
                phase => self.words(*phase).unwrap_or_default().to_owned(),
            };
            let _ = writeln!(text, "\x1b[2K{name}: {words}");
        }
        state.drawn = order.len();
        self.write(&text);
    }

    fn bar(&self, bytes: u64, size: u64) -> String {
        let full = (bytes.min(size) * WIDTH as u64).checked_div(size).map_or(WIDTH, |full| full as usize);
        let word = if self.way == Way::Pull { "Downloading" } else { "Pushing" };
        let head = if full < WIDTH { ">" } else { "" };
        let line = format!("{}{head}", "=".repeat(full));
        format!("{word} [{line:WIDTH$}] {}/{}", sizes::decimal(bytes), sizes::decimal(size))
    }

    fn write(&self, text: &str) {
        // Whoever reads it no longer wants no more.
        let _ = match self.to {
            To::Out => io::stdout().lock().write_all(text.as_bytes()),
            To::Err => io::stderr().lock().write_all(text.as_bytes()),
            To::Nowhere => Ok(()),
        };
    }
}
