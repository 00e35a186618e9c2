//! An environment that runs: its command was started on the host, its agent inside takes commands one after the other.
//! Whatever was started is ended when the session is dropped, however that comes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use step::Failure;
use sys::signal::{SignalFd, Signals};

use crate::exchange::{self, Done, Job};
use crate::group::Nest;
use crate::inside;

/// How often we look whether something happened. A look is one stat(2): 200 of them a second cost less than 0.1 % of a
/// processor.
const LOOK: Duration = Duration::from_millis(5);
/// How long an environment may take until its agent answers.
const UP: Duration = Duration::from_secs(600);
/// How long it may take to go once it is told to.
const DOWN: Duration = Duration::from_secs(60);

/// Why something did not come to its end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Somebody wants us to stop: the signal.
    Stopped(i32),
    /// It failed: its exit code and why, in one line.
    Case(i32, String),
    /// The lab itself cannot go on.
    Lab(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Lab(failure)
    }
}

/// Signals that stop a run, and looking for them.
#[derive(Debug)]
pub(crate) struct Stops(SignalFd);

impl Stops {
    /// Blocks what stops us for this thread and those that it starts.
    pub(crate) fn new() -> Result<Self, Failure> {
        use rustix::process::Signal;
        let others = [Signal::CHILD, Signal::PIPE, Signal::TSTP, Signal::CONT, Signal::TTIN, Signal::TTOU];
        let signals = Signals::all_but(&others.map(Signal::as_raw));
        signals.block().map_err(|cause| Failure::new("bench.signals", "", cause))?;
        Ok(Self(SignalFd::new(&signals).map_err(|cause| Failure::new("bench.signals", "", cause))?))
    }

    /// An error once somebody wants us to stop.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        use rustix::process::Signal;
        let ends = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].map(Signal::as_raw);
        match self.0.next() {
            Ok(Some(signal)) if ends.contains(&signal) => Err(Trouble::Stopped(signal)),
            _ => Ok(()),
        }
    }

    /// Waits until `ready`, an end, or the time is over.
    pub(crate) fn wait(
        &self,
        time: Duration,
        mut ready: impl FnMut() -> Result<bool, Trouble>,
    ) -> Result<bool, Trouble> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            if ready()? {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// What a job gave.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// By the clock inside.
    pub(crate) seconds: f64,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ran {
    /// Its last words, for a message.
    pub(crate) fn last_words(&self) -> String {
        let lines = self.err.lines().chain(self.out.lines()).map(str::trim).filter(|line| !line.is_empty());
        let told: Vec<&str> = lines.collect();
        let fatal = told.iter().find(|line| line.starts_with("FATAL")).or(told.last());
        fatal.map_or(String::new(), |line| format!(": {}", line.chars().take(300).collect::<String>()))
    }
}

/// A running environment.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    stops: &'a Stops,
    child: Child,
    /// The directory that we share with the agent, on the host.
    exchange: PathBuf,
    /// What the environment's own command printed.
    console: PathBuf,
    nest: Arc<Nest>,
    ender: Option<Vec<String>>,
    next: u32,
    over: bool,
}

/// Starts a command in a nest, with what it prints in a file.
pub(crate) fn start(
    program: &Path,
    nest: &Nest,
    command: &[String],
    out: &Path,
    err: &Path,
) -> Result<Child, Failure> {
    use std::os::unix::process::CommandExt as _;
    let failed = |path: &Path, cause: io::Error| Failure::new("bench.start", path.to_string_lossy(), cause);
    let file = |path: &Path| fs::File::create(path).map_err(|cause| failed(path, cause));
    let mut starter = Command::new(program);
    starter.arg(inside::NAME).arg("join").args(&nest.join).arg("--").args(command);
    // ctrl-C at the terminal is for us; what we started is ended in order.
    starter.process_group(0).stdin(Stdio::null()).stdout(file(out)?).stderr(file(err)?);
    starter.spawn().map_err(|cause| failed(program, cause))
}

impl<'a> Session<'a> {
    /// Starts `command`, which runs the agent, and waits for the agent.
    pub(crate) fn start(
        program: &Path,
        stops: &'a Stops,
        nest: &Arc<Nest>,
        command: &[String],
        exchange: &Path,
        ender: Option<Vec<String>>,
    ) -> Result<Self, Trouble> {
        let console = exchange.with_extension("console");
        let child = start(program, nest, command, &console.with_extension("stdout"), &console)?;
        let nest = Arc::clone(nest);
        let exchange = exchange.to_owned();
        let mut session = Self { stops, child, exchange, console, nest, ender, next: 1, over: false };
        let inside = session.exchange.join("mark-inside");
        if !session.wait(UP, |_| Ok(inside.exists()))? {
            return Err(Trouble::Case(124, format!("it was not up after {} s", UP.as_secs())));
        }
        Ok(session)
    }

    /// Waits for something that the environment does; one that ends before is a failure of the case.
    fn wait(
        &mut self,
        time: Duration,
        mut ready: impl FnMut(&Self) -> Result<bool, Trouble>,
    ) -> Result<bool, Trouble> {
        let stops = self.stops;
        stops.wait(time, || {
            if ready(self)? {
                return Ok(true);
            }
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.over = true;
                    // It may have come between the two looks.
                    if ready(self)? {
                        return Ok(true);
                    }
                    let code = inside::code(status);
                    let said = self.console();
                    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
                    let told: String = last.chars().take(300).collect();
                    Err(Trouble::Case(code, format!("the environment ended with {code}: {told}")))
                }
                _ => Ok(false),
            }
        })
    }

    /// Runs one command inside. `at_mark` is called once for each mark that the command makes, when it is seen.
    pub(crate) fn run(
        &mut self,
        argv: &[String],
        directory: &str,
        limit: f64,
        at_mark: &mut dyn FnMut(&str),
    ) -> Result<Ran, Trouble> {
        let number = self.next;
        self.next += 1;
        let marks = ["mark-begin", "mark-end"].map(|mark| self.exchange.join(mark));
        let mut seen = [false; 2];
        for mark in &marks {
            let _ = fs::remove_file(mark);
        }
        let job = Job { argv: argv.to_vec(), directory: directory.to_owned() };
        let path = exchange::job(&self.exchange, number);
        exchange::put(&path, &job)
            .map_err(|cause| Failure::new("bench.exchange", path.to_string_lossy(), cause))?;
        let done = exchange::done(&self.exchange, number);
        let time = Duration::try_from_secs_f64(limit).unwrap_or(Duration::MAX / 4);
        let ended = self.wait(time, |_| {
            for (mark, seen) in marks.iter().zip(&mut seen) {
                if !*seen && mark.exists() {
                    *seen = true;
                    at_mark(&mark.file_name().unwrap_or_default().to_string_lossy());
                }
            }
            Ok(done.exists())
        })?;
        if !ended {
            return Err(Trouble::Case(124, format!("{} was not over after {limit} s", argv[0])));
        }
        let told: Option<Done> = exchange::get(&done)
            .map_err(|cause| Failure::new("bench.exchange", done.to_string_lossy(), cause))?;
        let told = told.unwrap_or(Done { code: 125, seconds: 0.0, problem: "no answer".to_owned() });
        if !told.problem.is_empty() {
            return Err(Trouble::Case(told.code, told.problem));
        }
        let read = |path: &PathBuf| {
            fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        let [out, err] = exchange::output(&self.exchange, number);
        Ok(Ran { code: told.code, seconds: told.seconds, out: read(&out), err: read(&err) })
    }

    /// What the environment's own command printed.
    pub(crate) fn console(&self) -> String {
        fs::read(&self.console).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Lets it end in order.
    pub(crate) fn end(mut self) -> Result<(), Trouble> {
        let path = exchange::end(&self.exchange);
        let told = exchange::put_bytes(&path, b"");
        told.map_err(|cause| Failure::new("bench.exchange", path.to_string_lossy(), cause))?;
        let stops = self.stops;
        let over = stops.wait(DOWN, || Ok(!matches!(self.child.try_wait(), Ok(None))))?;
        self.over = over;
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.over {
            let _ = self.child.kill();
            if let Some(words) = &self.ender {
                let mut command = Command::new(&words[0]);
                let _ = command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        }
        // What it left: the group goes with all that is in it. What cannot go is found by the next run.
        let _ = self.nest.end();
        let _ = self.child.wait();
    }
}
