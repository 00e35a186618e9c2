//! A build on a terminal: every step on a line with the time it takes, below those at work the last lines of their
//! commands, drawn anew as it goes on. In the manner of BuildKit's.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::ops::build::{Event, Watch};

use crate::terminal::{coloured, plain};

/// How often it is drawn anew.
const EVERY: Duration = Duration::from_millis(100);
/// Lines of a command's output that are shown while it works.
const LINES: usize = 6;
/// Lines of it that are told if it fails.
const KEPT: usize = 200;
/// Bytes of a line that has no end yet.
const LONGEST: usize = 4096;

/// Shows a build on standard error.
pub(crate) struct View {
    shared: Arc<Shared>,
    /// It begins with the first event: a build forks before that, and has one thread until then.
    drawer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    coloured: bool,
}

struct State {
    steps: Vec<Step>,
    warnings: Vec<String>,
    begun: Instant,
    /// Lines that stand on the terminal.
    drawn: usize,
    ended: bool,
}

struct Step {
    number: u32,
    title: String,
    begun: Instant,
    state: Is,
    lines: VecDeque<String>,
    /// The beginning of a line.
    piece: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Is {
    Working,
    Done(f64),
    Cached,
    Failed(f64),
}

impl View {
    pub(crate) fn new() -> Self {
        let state =
            State { steps: Vec::new(), warnings: Vec::new(), begun: Instant::now(), drawn: 0, ended: false };
        let shared = Shared { state: Mutex::new(state), wake: Condvar::new(), coloured: coloured() };
        Self { shared: Arc::new(shared), drawer: Mutex::default() }
    }

    /// Draws the last picture, whole, and what commands wrote that failed.
    pub(crate) fn end(self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_all();
        if let Some(drawer) = self.drawer.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let _ = drawer.join();
        }
        let mut state = self.shared.lock();
        if state.steps.is_empty() {
            return;
        }
        let mut text = state.picture(None, self.shared.coloured);
        for step in
            state.steps.iter().filter(|step| matches!(step.state, Is::Failed(_)) && !step.lines.is_empty())
        {
            text.push_str(&format!("------\n > {}:\n", step.title));
            step.lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            text.push_str("------\n");
        }
        state.warnings.iter().for_each(|words| text.push_str(&format!("warning: {words}\n")));
        state.draw(&text);
    }
}

impl Watch for View {
    fn event(&self, event: &Event<'_>) {
        self.shared.lock().take(event);
        let mut drawer = self.drawer.lock().unwrap_or_else(PoisonError::into_inner);
        if drawer.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("build-view".to_owned());
            // Without a further thread the last picture is the only one.
            *drawer = thread.spawn(move || shared.run()).ok();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.ended {
            let size = rustix::termios::tcgetwinsize(io::stderr().as_fd()).ok();
            let size = size.map_or((24, 80), |size| (usize::from(size.ws_row), usize::from(size.ws_col)));
            let size = (size.0.max(4), size.1.max(20));
            let text = state.picture(Some(size), self.coloured);
            state.draw(&text);
            state = self.wake.wait_timeout(state, EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn take(&mut self, event: &Event<'_>) {
        let mut end = |number: u32, state: Is| {
            if let Some(step) = self.steps.iter_mut().find(|step| step.number == number) {
                step.finish();
                step.state = state;
            }
        };
        match event {
            Event::Started(vertex) => self.steps.push(Step {
                number: vertex.number,
                title: plain(&format!("[{} {}/{}] {}", vertex.stage, vertex.index, vertex.of, vertex.text))
                    .into_owned(),
                begun: Instant::now(),
                state: Is::Working,
                lines: VecDeque::new(),
                piece: Vec::new(),
            }),
            Event::Cached(vertex) => end(vertex.number, Is::Cached),
            Event::Done { vertex, seconds } => end(vertex.number, Is::Done(*seconds)),
            Event::Failed(vertex, _) => {
                let step = self.steps.iter().find(|step| step.number == vertex.number);
                let seconds = step.map_or(0.0, |step| step.begun.elapsed().as_secs_f64());
                if let Some(step) = self.steps.iter_mut().find(|step| step.number == vertex.number) {
                    step.finish();
                    step.state = Is::Failed(seconds);
                }
            }
            Event::Output(vertex, _, bytes) => {
                if let Some(step) = self.steps.iter_mut().find(|step| step.number == vertex.number) {
                    step.wrote(bytes);
                }
            }
            Event::Warning(words) => self.warnings.push(plain(words).into_owned()),
        }
    }

    /// What is to stand there: all of it, or what fits into so many rows and columns.
    fn picture(&self, size: Option<(usize, usize)>, coloured: bool) -> String {
        let over = self.steps.iter().filter(|step| step.state != Is::Working).count();
        let time = self.begun.elapsed().as_secs_f64();
        let end = if self.ended { " FINISHED" } else { "" };
        let mut rows = vec![(None, format!("[+] Building {time:.1}s ({over}/{}){end}", self.steps.len()))];
        // A row is left for the cursor, one is the first line.
        let room = size.map_or(usize::MAX, |(rows, _)| rows - 2);
        let working = self.steps.len() - over;
        let lines = match size {
            Some(_) => LINES.min(room.saturating_sub(working) / working.max(1)),
            None => 0,
        };
        let output = |step: &Step| if step.state == Is::Working { step.lines.len().min(lines) } else { 0 };
        let needed: usize = self.steps.iter().map(|step| 1 + output(step)).sum();
        // Those that are done go first, the oldest first.
        let mut too_many = needed.saturating_sub(room);
        for step in &self.steps {
            if too_many > 0 && step.state != Is::Working {
                too_many -= 1;
                continue;
            }
            rows.push((Some(step.state), step.row(size.map(|(_, columns)| columns))));
            let shown = step.lines.iter().skip(step.lines.len() - output(step));
            rows.extend(shown.map(|line| (Some(Is::Working), format!(" => => # {line}"))));
        }
        rows.truncate(room.saturating_add(1));
        let columns = size.map_or(usize::MAX, |(_, columns)| columns - 1);
        let mut text = String::new();
        for (state, row) in rows {
            let row: String = row.chars().take(columns).collect();
            match state.filter(|_| coloured) {
                Some(Is::Done(_) | Is::Cached) => text.push_str(&format!("\x1b[34m{row}\x1b[0m\n")),
                Some(Is::Failed(_)) => text.push_str(&format!("\x1b[31m{row}\x1b[0m\n")),
                _ => text.push_str(&format!("{row}\n")),
            }
        }
        text
    }

    /// Over what stands there.
    fn draw(&mut self, text: &str) {
        let up = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
        // Whoever looked at it has gone.
        let _ = io::stderr().lock().write_all(format!("{up}{text}").as_bytes());
        self.drawn = text.lines().count();
    }
}

impl Step {
    fn row(&self, columns: Option<usize>) -> String {
        let (before, seconds) = match self.state {
            Is::Working => ("", self.begun.elapsed().as_secs_f64()),
            Is::Done(seconds) => ("", seconds),
            Is::Cached => ("CACHED ", 0.0),
            Is::Failed(seconds) => ("ERROR ", seconds),
        };
        let time = format!("{seconds:.1}s");
        let row = format!(" => {before}{}", self.title);
        let Some(columns) = columns else { return format!("{row} {time}") };
        let width = columns.saturating_sub(time.len() + 2);
        let row: String = row.chars().take(width).collect();
        format!("{row:width$} {time}")
    }

    fn wrote(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.finish(),
                // What follows overwrites it, unless it is the line's end.
                _ if self.piece.last() == Some(&b'\r') => {
                    self.piece.clear();
                    self.piece.push(*byte);
                }
                _ if self.piece.len() < LONGEST => self.piece.push(*byte),
                _ => {}
            }
        }
    }

    /// The line that was begun is whole.
    fn finish(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        let line = String::from_utf8_lossy(&piece);
        let line = plain(line.trim_end_matches('\r')).into_owned();
        if !line.trim().is_empty() {
            self.lines.push_back(line);
        }
        if self.lines.len() > KEPT {
            self.lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::ops::build::{Output, Vertex};

    fn vertex(number: u32, text: &str) -> Vertex {
        Vertex { number, stage: "app".into(), index: number as usize, of: 9, text: text.into() }
    }

    fn state() -> State {
        State { steps: Vec::new(), warnings: Vec::new(), begun: Instant::now(), drawn: 0, ended: false }
    }

    #[test]
    fn what_works_has_its_last_lines_and_what_is_done_gives_way() {
        let mut state = state();
        for number in 1..=9 {
            let vertex = vertex(number, &format!("RUN {number}\x1b[2J"));
            state.take(&Event::Started(&vertex));
            if number < 8 {
                state.take(&Event::Cached(&vertex));
            }
        }
        let text: String = (0..20).map(|line| format!("0%\r50%\rline {line}\r\n")).collect();
        state.take(&Event::Output(&vertex(8, ""), Output::Out, format!("{text}no end").as_bytes()));
        let drawn = state.picture(Some((10, 30)), false);
        let rows: Vec<&str> = drawn.lines().collect();
        assert_eq!(rows.len(), 9, "{drawn}");
        assert!(rows[0].starts_with("[+] Building 0.") && rows[0].ends_with("s (7/9)"), "{drawn}");
        assert_eq!(rows[1], " => CACHED [app 5/9] RUN 0.0s");
        let working: Vec<&&str> = rows.iter().filter(|row| row.starts_with(" => [app")).collect();
        assert_eq!(working.len(), 2, "{drawn}");
        let lines: Vec<&&str> = rows.iter().filter(|row| row.starts_with(" => => # ")).collect();
        assert_eq!(lines, [&" => => # line 17", &" => => # line 18", &" => => # line 19"], "{drawn}");
        assert!(!drawn.contains('\x1b'), "{drawn:?}");
        state.take(&Event::Done { vertex: &vertex(8, ""), seconds: 61.25 });
        state.take(&Event::Failed(&vertex(9, ""), "no"));
        state.ended = true;
        let whole = state.picture(None, true);
        assert!(whole.contains("(9/9) FINISHED\n"), "{whole}");
        assert!(whole.contains("\x1b[34m => [app 8/9] RUN 8 61.2s\x1b[0m\n"), "{whole}");
        assert!(whole.contains("\x1b[31m => ERROR [app 9/9] RUN 9 0.0s\x1b[0m\n"), "{whole}");
        assert_eq!(state.steps[7].lines.back().map(String::as_str), Some("no end"));
    }
}
