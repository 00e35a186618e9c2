//! What a build tells while it works.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use crate::host::Stream;

/// Whoever shows it. Called from several threads at a time.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// An instruction that makes a layer, or a FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vertex {
    /// Rising, in the order in which they begin.
    pub number: u32,
    /// The stage's name, or `stage-1`.
    pub stage: String,
    /// Which of the stage's, from 1: FROM.
    pub index: usize,
    /// How many the stage has.
    pub of: usize,
    /// The instruction on one line.
    pub text: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'e> {
    /// It begins.
    Started(&'e Vertex),
    /// It needs not be done: the cache has it.
    Cached(&'e Vertex),
    /// Its command wrote something; lines may come in pieces.
    Output(&'e Vertex, Stream, &'e [u8]),
    /// It is done.
    Done {
        /// It.
        vertex: &'e Vertex,
        /// How long it took.
        seconds: f64,
    },
    /// It failed.
    Failed(&'e Vertex, &'e str),
    /// Something that is no error and yet worth a word.
    Warning(&'e str),
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&self, _: &Event<'_>) {}
}

/// Lines for pipes and logs, as BuildKit's `--progress=plain` has them.
#[derive(Debug)]
pub struct Plain<W>(Mutex<State<W>>);

#[derive(Debug)]
struct State<W> {
    output: W,
    /// Vertices with the beginning of a line that has no end yet.
    pieces: Vec<(u32, Vec<u8>)>,
}

impl<W: Write + Send> Plain<W> {
    /// Writes to `output`; what fails there is not told.
    pub fn new(output: W) -> Self {
        Self(Mutex::new(State { output, pieces: Vec::new() }))
    }
}

impl<W: Write + Send> Progress for Plain<W> {
    fn event(&self, event: &Event<'_>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { output, pieces } = &mut *state;
        let mut text = String::new();
        if let Event::Done { vertex, .. } | Event::Failed(vertex, _) = event
            && let Some(at) = pieces.iter().position(|(number, _)| *number == vertex.number)
        {
            let (number, line) = pieces.remove(at);
            let _ = writeln!(text, "#{number} {}", shown(&line));
        }
        if let Event::Output(vertex, _, bytes) = event {
            let at = pieces.iter().position(|(number, _)| *number == vertex.number).unwrap_or_else(|| {
                pieces.push((vertex.number, Vec::new()));
                pieces.len() - 1
            });
            let mut all = std::mem::take(&mut pieces[at].1);
            all.extend_from_slice(bytes);
            let end = all.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            pieces[at].1 = all.split_off(end);
            for line in all.split_inclusive(|byte| *byte == b'\n') {
                let _ = writeln!(text, "#{} {}", vertex.number, shown(line));
            }
            if pieces[at].1.is_empty() {
                pieces.remove(at);
            }
        }
        text.push_str(&line(event));
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    }
}

/// The line for an event; none of output.
pub fn line(event: &Event<'_>) -> String {
    match event {
        Event::Started(vertex) => format!(
            "#{} [{} {}/{}] {}\n",
            vertex.number,
            vertex.stage,
            vertex.index,
            vertex.of,
            shown(vertex.text.as_bytes())
        ),
        Event::Cached(vertex) => format!("#{} CACHED\n", vertex.number),
        Event::Output(..) => String::new(),
        Event::Done { vertex, seconds } => format!("#{} DONE {seconds:.1}s\n", vertex.number),
        Event::Failed(vertex, words) => format!("#{} ERROR: {}\n", vertex.number, shown(words.as_bytes())),
        Event::Warning(words) => format!("warning: {}\n", shown(words.as_bytes())),
    }
}

/// A line without its end, and without what would move a terminal's cursor. Of what a carriage return would have
/// overwritten the last is shown.
fn shown(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end_matches(['\n', '\r']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    line.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_whole() {
        let vertex = Vertex { number: 5, stage: "builder".into(), index: 2, of: 4, text: "RUN a\nb".into() };
        let mut bytes = Vec::new();
        let plain = Plain::new(&mut bytes);
        plain.event(&Event::Started(&vertex));
        plain.event(&Event::Output(&vertex, Stream::Out, b"one\ntw"));
        plain.event(&Event::Output(&vertex, Stream::Error, b"o\n\x1b[2Jx\r\n10%\r20%"));
        plain.event(&Event::Done { vertex: &vertex, seconds: 0.26 });
        plain.event(&Event::Cached(&vertex));
        plain.event(&Event::Failed(&vertex, "exit code 1"));
        plain.event(&Event::Warning("w"));
        drop(plain);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "#5 [builder 2/4] RUN a?b\n#5 one\n#5 two\n#5 ?[2Jx\n#5 20%\n#5 DONE 0.3s\n#5 CACHED\n#5 ERROR: exit code 1\nwarning: w\n"
        );
    }
}
