//! What a program said and how it ended, with the questions that tests ask of it.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;

/// A program that has ended.
pub struct Output {
    /// The words that started it.
    pub command: String,
    /// Its exit code; 128 and the signal's number where one ended the program itself.
    pub code: i32,
    /// All of its standard output (of its terminal, on one).
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
    /// From its start to its end.
    pub time: Duration,
}

impl Output {
    pub(crate) fn new(
        command: &str,
        status: ExitStatus,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
        time: Duration,
    ) -> Self {
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        Self { command: command.to_owned(), code, stdout, stderr, time }
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Asserts exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of {self:?}");
        self.sane();
        self
    }

    /// Asserts exit code 0, and this standard output, nothing else said.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        let this = self.ok();
        assert_eq!(this.out(), text, "output of {this:?}");
        assert_eq!(this.err(), "", "words of {this:?}");
        this
    }

    /// Standard output without the white space around it, of a success.
    #[track_caller]
    pub fn text(self) -> String {
        self.ok().out().trim().to_owned()
    }

    /// Standard output as JSON, of a success.
    #[track_caller]
    pub fn json(self) -> Value {
        let this = self.ok();
        serde_json::from_slice(&this.stdout).unwrap_or_else(|error| panic!("no JSON ({error}) from {this:?}"))
    }

    /// Asserts this exit code and a refusal as users should get one: one `error:` line with each of `words` in it, at
    /// most one `hint:` line after it, nothing else.
    #[track_caller]
    pub fn refuses(self, code: i32, words: &[&str]) -> Self {
        let this = self.exits(code);
        let text = this.err();
        let lines: Vec<&str> = text.lines().collect();
        let shape = match lines.as_slice() {
            [error] => error.starts_with("error: "),
            [error, hint] => error.starts_with("error: ") && hint.starts_with("hint: "),
            _ => false,
        };
        assert!(shape, "not one `error:` line with at most one `hint:` line from {this:?}");
        for word in words {
            assert!(lines[0].contains(word), "`{word}` is not in the error line of {this:?}");
        }
        this
    }

    /// Asserts a `hint:` line with this in it.
    #[track_caller]
    pub fn hints(self, word: &str) -> Self {
        let text = self.err();
        let hint = text.lines().find(|line| line.starts_with("hint: "));
        assert!(hint.is_some_and(|hint| hint.contains(word)), "no hint with `{word}` from {self:?}");
        self
    }

    /// No panic reaches a user, whatever happens.
    #[track_caller]
    fn sane(&self) {
        let text = self.err();
        for word in ["panicked at", "internal:", "RUST_BACKTRACE", "(os error"] {
            assert!(!text.contains(word), "`{word}` reached the user: {self:?}");
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, which ended with {} after {:?}", self.command, self.code, self.time)?;
        write!(f, "\n--- stdout\n{}--- stderr\n{}---", shown(&self.stdout), shown(&self.stderr))
    }
}

/// Text for people, the middle of a long one left out.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 8000;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if bytes.len() <= MOST {
        return text(bytes);
    }
    let (head, tail) = (&bytes[..MOST / 2], &bytes[bytes.len() - MOST / 2..]);
    format!("{}\n… {} bytes …\n{}", text(head), bytes.len() - MOST, text(tail))
}
