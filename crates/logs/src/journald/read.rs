//! Reading the journal by journalctl(1): its files are systemd's own affair.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::UNIX_EPOCH;

use oci::time;
use rustix::fs::OFlags;
use serde::Deserialize;
use step::Failure;

use crate::Stream;
use crate::reader::{Filter, Options, Piece};

#[derive(Debug)]
pub(crate) struct Reader {
    child: Child,
    stdout: ChildStdout,
    filter: Filter,
    buffer: Vec<u8>,
    follows: bool,
}

/// A line of `journalctl --output=json`.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "MESSAGE")]
    message: Option<Value>,
    #[serde(rename = "PRIORITY")]
    priority: Option<String>,
    #[serde(rename = "CONTAINER_PARTIAL_MESSAGE")]
    partial: Option<String>,
    #[serde(rename = "SYSLOG_TIMESTAMP")]
    timestamp: Option<String>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime: Option<String>,
}

/// A field: text, or bytes that are no text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Bytes(Vec<u8>),
}

const FIELDS: &str = "--output-fields=MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE,SYSLOG_TIMESTAMP";

impl Reader {
    pub(crate) fn open(id: &str, options: &Options) -> Result<Self, Failure> {
        let mut command = Command::new("journalctl");
        command.args(["--output=json", "--all", "--no-pager", "--quiet", FIELDS]);
        if let Some(since) = options.since {
            let seconds = since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            command.arg(format!("--since=@{seconds}"));
        }
        match options.tail {
            Some(lines) => command.arg(format!("--lines={lines}")),
            None => command.arg("--no-tail"),
        };
        if options.follow {
            command.arg("--follow");
        }
        command.arg(format!("CONTAINER_ID_FULL={id}"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::because("logs.journald", "journalctl", "it is not installed")
                .hint("install systemd's journalctl, or create containers with --log-driver local"),
            _ => failed(error),
        })?;
        let Some(stdout) = child.stdout.take() else { return Err(failed(io::ErrorKind::BrokenPipe.into())) };
        if options.follow {
            rustix::fs::fcntl_setfl(&stdout, OFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        }
        let filter = Filter::new(options);
        Ok(Self { child, stdout, filter, buffer: Vec::new(), follows: options.follow })
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.follows.then(|| self.stdout.as_fd())
    }

    pub(crate) fn read<E: From<Failure>>(
        &mut self,
        mut each: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut block = vec![0; 64 * 1024];
        while !self.filter.done {
            match self.stdout.read(&mut block) {
                Ok(0) => return Ok(self.ended()?),
                Ok(size) => self.buffer.extend_from_slice(&block[..size]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error).into()),
            }
            let buffer = std::mem::take(&mut self.buffer);
            let mut rest = &buffer[..];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                if let Some((time, stream, bytes)) = line(&rest[..end]) {
                    self.filter.pass(time, stream, &bytes, "", &mut each)?;
                }
                rest = &rest[end + 1..];
            }
            self.buffer = rest.to_vec();
        }
        Ok(())
    }

    /// journalctl has ended: an error where it says so.
    fn ended(&mut self) -> Result<(), Failure> {
        let status = self.child.wait().map_err(failed)?;
        let mut said = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.take(4096).read_to_string(&mut said);
        }
        let said = said.lines().next().unwrap_or_default();
        match status.success() || said.is_empty() {
            true => Ok(()),
            false => Err(Failure::because("logs.journald", "journalctl", said.to_owned())
                .hint("`journalctl` by hand says more; the group systemd-journal may read it all")),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::new("logs.journald", "journalctl", error)
}

/// What one line of journalctl says: when, where and what was printed.
fn line(text: &[u8]) -> Option<(i64, Stream, Vec<u8>)> {
    let line: Line = serde_json::from_slice(text).ok()?;
    let mut bytes = match line.message? {
        Value::Text(text) => text.into_bytes(),
        Value::Bytes(bytes) => bytes,
    };
    if line.partial.as_deref() != Some("true") {
        bytes.push(b'\n');
    }
    let stream = if line.priority.as_deref() == Some("3") { Stream::Stderr } else { Stream::Stdout };
    let received = || line.realtime.as_ref()?.parse::<i64>().ok()?.checked_mul(1000);
    let time = line.timestamp.as_deref().and_then(time::parse).or_else(received)?;
    Some((time, stream, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_journalctl_are_read() {
        let read = |text: &str| line(text.as_bytes());
        assert_eq!(
            read(r#"{"__REALTIME_TIMESTAMP":"1500000","MESSAGE":"hello","PRIORITY":"6"}"#),
            Some((1_500_000_000, Stream::Stdout, b"hello\n".to_vec()))
        );
        assert_eq!(
            read(
                r#"{"__REALTIME_TIMESTAMP":"9","SYSLOG_TIMESTAMP":"1970-01-01T00:00:01.5Z","MESSAGE":[104,255],
                "PRIORITY":"3","CONTAINER_PARTIAL_MESSAGE":"true"}"#
            ),
            Some((1_500_000_000, Stream::Stderr, vec![104, 255]))
        );
        assert_eq!(read(r#"{"__REALTIME_TIMESTAMP":"9","MESSAGE":null}"#), None);
        assert_eq!(read("-- No entries --"), None);
    }
}
