//! What tests say of their failures: passed on as it comes, and the words of each failed test's panic kept, so that the end
//! of a run tells them again, where a log that was cut in the middle still has them.
//!
//! libtest prints the output of each failed test behind a line `---- NAME stdout ----`, after all tests of a program.

use std::io::{self, Read as _, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Set for every test: the place of a panic is in its first line, and a hundred lines of frames hide it in a log. Whoever
/// wants them says `full`.
pub(crate) const BACKTRACE: &str = "RUST_BACKTRACE";

/// Lines of a panic that are kept of its beginning and of its end, and letters of each.
const HEAD: usize = 10;
const TAIL: usize = 5;
const WIDTH: usize = 300;

/// Those of this process, whatever ran them.
static ALL: Mutex<Vec<Failed>> = Mutex::new(Vec::new());

/// A test that failed.
#[derive(Debug, PartialEq, Eq)]
struct Failed {
    name: String,
    words: Vec<String>,
}

/// The value for [`BACKTRACE`].
pub(crate) fn backtrace() -> &'static str {
    if std::env::var_os(BACKTRACE).is_some_and(|value| value == "full") { "full" } else { "0" }
}

/// As [`process::run`], for what runs tests.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = process::shown(command);
    eprintln!("+ {shown}");
    command.env(BACKTRACE, backtrace()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {shown}"))?;
    if let Some(mut stdout) = child.stdout.take() {
        let mut heard = Heard::new(io::stdout());
        let mut buffer = [0; 1 << 16];
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            heard.write_all(&buffer[..length]).context("pass on what tests say")?;
        }
    }
    let status = child.wait().with_context(|| format!("wait for {shown}"))?;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(())
}

/// Takes what a log of other tests says.
pub(crate) fn hear(log: &str) {
    // Nobody refuses what is thrown away.
    let _ = Heard::new(io::sink()).write_all(log.as_bytes());
}

/// Tells every failed test once more, shortly. Nothing where none failed.
pub(crate) fn tell() {
    let all = std::mem::take(&mut *ALL.lock().unwrap_or_else(PoisonError::into_inner));
    if all.is_empty() {
        return;
    }
    eprintln!(
        "\n==> {} failed:",
        if all.len() == 1 { "1 test".to_owned() } else { format!("{} tests", all.len()) }
    );
    for failed in all {
        eprintln!("--- {}", failed.name);
        for line in failed.words {
            eprintln!("    {line}");
        }
    }
}

/// Passes on what tests say, and takes note of what has failed.
pub(crate) struct Heard<W> {
    to: W,
    /// The beginning of a line.
    rest: Vec<u8>,
    reader: Reader,
}

impl<W: Write> Heard<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, rest: Vec::new(), reader: Reader::default() }
    }
}

impl<W: Write> Write for Heard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(bytes)?;
        self.to.flush()?;
        for byte in bytes {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&self.rest).into_owned();
                self.rest.clear();
                if let Some(failed) = self.reader.line(&line) {
                    ALL.lock().unwrap_or_else(PoisonError::into_inner).push(failed);
                }
            } else {
                self.rest.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Finds the panics in what libtest prints.
#[derive(Default)]
struct Reader {
    /// The test whose output this is, and what of it is kept so far.
    current: Option<(String, Vec<String>)>,
    /// A panic of it has begun: what came before is no part of it.
    panicked: bool,
    /// In the frames of a backtrace.
    frames: bool,
}

impl Reader {
    /// Takes a line; gives the test whose output has ended with it.
    fn line(&mut self, line: &str) -> Option<Failed> {
        let begun = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        let ended = begun.is_some() || line == "failures:" || line.starts_with("test result: ");
        if ended {
            let done = self.current.take().map(|(name, words)| Failed { name, words: shortened(words) });
            *self = Self { current: begun.map(|name| (name.to_owned(), Vec::new())), ..Self::default() };
            return done;
        }
        let Some((_, words)) = &mut self.current else { return None };
        if line.starts_with("thread '") && line.contains(" panicked at ") && !self.panicked {
            words.clear();
            self.panicked = true;
        }
        if line == "stack backtrace:" {
            self.frames = true;
        }
        let is_advice = line.starts_with("note: ");
        if self.frames {
            self.frames = !is_advice && !line.is_empty();
        } else if !is_advice && !line.trim().is_empty() {
            words.push(line.chars().take(WIDTH).collect());
        }
        None
    }
}

fn shortened(mut words: Vec<String>) -> Vec<String> {
    if words.len() > HEAD + TAIL + 1 {
        let left_out = words.len() - HEAD - TAIL;
        drop(words.splice(HEAD..HEAD + left_out, [format!("… {left_out} lines …")]));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Failed> {
        let mut reader = Reader::default();
        text.lines().filter_map(|line| reader.line(line)).collect()
    }

    #[test]
    fn a_failed_test_is_its_panic_without_frames() {
        let text = "\
running 3 tests
test a::b ... FAILED
test c ... ok

failures:

---- a::b stdout ----
what it printed before

thread 'a::b' (24393) panicked at tests/a.rs:178:5:
differs for [\"-v\"]:
  .flags: one, the other
stack backtrace:
   0: __rustc::rust_begin_unwind
             at /rustc/library/std/src/panicking.rs:689:5
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.

---- d stdout ----
Error: \"no panic\"
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    a::b
    d

test result: FAILED. 1 passed; 2 failed; 0 ignored
";
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let first = words(&[
            "thread 'a::b' (24393) panicked at tests/a.rs:178:5:",
            "differs for [\"-v\"]:",
            "  .flags: one, the other",
        ]);
        let second = words(&["Error: \"no panic\""]);
        assert_eq!(
            read(text),
            [Failed { name: "a::b".into(), words: first }, Failed { name: "d".into(), words: second }]
        );
        assert_eq!(read("running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed\n"), []);
    }

    #[test]
    fn of_a_long_panic_both_ends_are_kept() {
        let lines: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let found = read(&format!("---- long stdout ----\n{lines}\nfailures:\n"));
        let words = &found[0].words;
        assert_eq!(words.len(), HEAD + TAIL + 1);
        assert_eq!([words[0].as_str(), words[HEAD].as_str()], ["line 0", "… 85 lines …"]);
        assert_eq!(words.last().unwrap(), "line 99");
    }

    #[test]
    fn what_is_heard_is_passed_on_however_it_is_cut() {
        let text = b"---- cut stdout ----\nthread 'cut' panicked at x.rs:1:1:\nno\ntest result: FAILED\n";
        let mut passed = Vec::new();
        let mut heard = Heard::new(&mut passed);
        for piece in text.chunks(7) {
            heard.write_all(piece).unwrap();
        }
        assert_eq!(passed, text);
        let mut all = ALL.lock().unwrap();
        let place = all.iter().position(|failed| failed.name == "cut").unwrap();
        assert_eq!(all.remove(place).words, ["thread 'cut' panicked at x.rs:1:1:", "no"]);
    }
}
