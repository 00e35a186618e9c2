//! A program that runs: what it has said so far, signals to it, its end. A hanging one is killed and fails the test.

use std::io::{Read, Write};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::output::{Output, shown};

/// What a stream has brought so far.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    state: Mutex<(Vec<u8>, bool)>,
    news: Condvar,
}

impl Heard {
    /// Reads `stream` to its end in a thread of its own.
    pub(crate) fn listen(mut stream: impl Read + Send + 'static) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        let writer = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            loop {
                let read = match stream.read(&mut buffer) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    // EIO: the last user of a terminal is gone.
                    Ok(0) | Err(_) => 0,
                    Ok(read) => read,
                };
                let mut state = writer.state.lock().expect("no reader panics");
                state.0.extend(&buffer[..read]);
                state.1 = read == 0;
                writer.news.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        heard
    }

    /// All of it so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.lock().expect("no reader panics").0.clone()
    }

    /// Waits until `enough` holds for the text so far, or nothing more can come. Whether it holds.
    pub(crate) fn wait(&self, patience: Duration, enough: impl Fn(&[u8], bool) -> bool) -> bool {
        let state = self.state.lock().expect("no reader panics");
        let waiting = |(bytes, ended): &mut (Vec<u8>, bool)| !enough(bytes, *ended) && !*ended;
        let (state, _) = self.news.wait_timeout_while(state, patience, waiting).expect("no reader panics");
        enough(&state.0, state.1)
    }
}

/// Killed when dropped.
pub struct Running {
    child: Child,
    command: String,
    stdout: Option<Arc<Heard>>,
    stderr: Option<Arc<Heard>>,
    started: Instant,
    patience: Duration,
    ended: Option<ExitStatus>,
}

impl Running {
    pub(crate) fn new(mut child: Child, command: String, patience: Duration) -> Self {
        let stdout = child.stdout.take().map(Heard::listen);
        let stderr = child.stderr.take().map(Heard::listen);
        Self { child, command, stdout, stderr, started: Instant::now(), patience, ended: None }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends it a signal, by number.
    #[track_caller]
    pub fn signal(&self, signal: i32) {
        let signal = Signal::from_named_raw(signal).expect("a signal with a name");
        let pid = Pid::from_raw(self.pid()).expect("a process");
        kill_process(pid, signal).unwrap_or_else(|errno| panic!("signal {signal:?} to {self:?}: {errno}"));
    }

    /// Writes to its standard input, which [`crate::Call::stdin_open`] left open.
    #[track_caller]
    pub fn type_in(&mut self, bytes: &[u8]) {
        let pipe = self.child.stdin.as_mut().expect("started with an open stdin");
        pipe.write_all(bytes).unwrap_or_else(|error| panic!("write to `{}`: {error}", self.command));
    }

    /// Closes its standard input.
    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// What it has written to standard output so far.
    pub fn out_so_far(&self) -> String {
        self.stdout
            .as_ref()
            .map_or(String::new(), |heard| String::from_utf8_lossy(&heard.bytes()).into_owned())
    }

    /// Waits until its standard output has `text` in it, and gives all of it so far.
    ///
    /// # Panics
    /// Where it does not come, with what came.
    #[track_caller]
    pub fn until(&self, text: &str) -> String {
        let heard = self.stdout.as_ref().expect("its output is listened to");
        let has = |bytes: &[u8], _| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(heard.wait(self.patience, has), "`{text}` did not come from {self:?}");
        self.out_so_far()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Whether it has ended, and nobody it left behind holds its output.
    pub fn is_over(&mut self) -> bool {
        let silent = |heard: &Option<Arc<Heard>>| {
            heard.as_ref().is_none_or(|heard| heard.wait(Duration::ZERO, |_, ended| ended))
        };
        !self.is_alive() && silent(&self.stdout) && silent(&self.stderr)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it hangs, or leaves its output open behind it; with what it said so far.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let status = self.wait_for_end();
        let time = self.started.elapsed();
        let mut bytes = [Vec::new(), Vec::new()];
        for (heard, bytes) in [&self.stdout, &self.stderr].into_iter().zip(&mut bytes) {
            if let Some(heard) = heard {
                assert!(
                    heard.wait(self.patience, |_, ended| ended),
                    "somebody keeps the output open after the end of {self:?}"
                );
                *bytes = heard.bytes();
            }
        }
        let [stdout, stderr] = bytes;
        Output::new(&self.command, status, stdout, stderr, time)
    }

    /// Waits for its end alone, output aside.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        if let Some(status) = self.child.try_wait().expect("our own child") {
            return status;
        }
        let pid = Pid::from_raw(self.pid()).expect("a process");
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("our own child, not yet waited for");
        let deadline = self.started + self.patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("a short time");
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) => panic!("hangs: {self:?}"),
                _ => break,
            }
        }
        let status = self.child.wait().expect("our own child");
        self.ended = Some(status);
        status
    }

    /// The words that started it.
    pub(crate) fn command(&self) -> &str {
        &self.command
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// What it said, for a message.
    pub(crate) fn said(&self) -> String {
        let text = |heard: &Option<Arc<Heard>>| heard.as_ref().map_or(String::new(), |h| shown(&h.bytes()));
        let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
        format!("`{}`\n--- stdout so far\n{stdout}--- stderr so far\n{stderr}---", self.command)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

// The derived one would print bytes as numbers.
impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.said())
    }
}
