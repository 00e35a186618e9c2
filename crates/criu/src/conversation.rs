//! One request to CRIU, from its start to its end: notifications answered, failures explained.

use std::path::Path;

use rustix::process::Pid;
use step::Failure;

use crate::criu::Criu;
use crate::error::Error;
use crate::log::Log;
use crate::notify::{Event, Notify, Script};
use crate::wire;
use crate::worker::{Provision, Worker};

/// Who is asked for what.
pub(crate) struct Conversation<'a> {
    pub(crate) criu: &'a Criu,
    /// In words.
    pub(crate) asked: &'static str,
    /// Where CRIU logs it, if it does.
    pub(crate) log: Option<&'a Path>,
}

/// How a conversation ended. The pid is that of the restored root process, of which a failure may have left something.
pub(crate) enum Outcome {
    Done { pid: Option<Pid>, complaints: Vec<(Script, Failure)> },
    Failed { error: Error, pid: Option<Pid> },
}

/// What has been heard so far.
#[derive(Default)]
struct Heard {
    pid: Option<Pid>,
    refusals: Vec<(Script, Failure)>,
}

impl Conversation<'_> {
    /// A request that is answered at once.
    pub(crate) fn ask(&self, request: &wire::Request) -> Result<wire::Response, Error> {
        let mut worker = self.start(Provision::default())?;
        self.send(&worker, request)?;
        let response = self.response(&mut worker, request.kind, &mut Heard::default(), &mut ())?;
        self.finish(&mut worker)?;
        Ok(response)
    }

    /// A request with notifications.
    pub(crate) fn hold(
        &self,
        provision: Provision,
        request: &wire::Request,
        notify: &mut dyn Notify,
    ) -> Outcome {
        let mut heard = Heard::default();
        let result = self.run(provision, request, notify, &mut heard);
        let Heard { pid, mut refusals } = heard;
        let Err(error) = result else { return Outcome::Done { pid, complaints: refusals } };
        // Of a refusal CRIU only repeats that there was one.
        let error = match refusals.iter().position(|(script, _)| script.can_stop()) {
            Some(first) if matches!(error, Error::Failed { .. }) => {
                let (script, failure) = refusals.swap_remove(first);
                self.refused(script.name(), failure)
            }
            _ => error,
        };
        Outcome::Failed { error, pid }
    }

    fn run(
        &self,
        provision: Provision,
        request: &wire::Request,
        notify: &mut dyn Notify,
        heard: &mut Heard,
    ) -> Result<(), Error> {
        let mut worker = self.start(provision)?;
        notify.started(worker.pid()).map_err(|failure| self.refused("start", failure))?;
        self.send(&worker, request)?;
        self.response(&mut worker, request.kind, heard, notify)?;
        self.finish(&mut worker)
    }

    fn refused(&self, at: &str, failure: Failure) -> Error {
        Error::Refused { asked: self.asked, at: at.into(), failure: Box::new(failure) }
    }

    fn start(&self, provision: Provision) -> Result<Worker, Error> {
        Worker::start(self.criu.program(), provision).map_err(|source| self.criu.cannot("start", source))
    }

    fn send(&self, worker: &Worker, request: &wire::Request) -> Result<(), Error> {
        worker.send(request).map_err(|source| self.criu.cannot("talk to", source))
    }

    /// Answers notifications until the response to `kind` comes.
    fn response(
        &self,
        worker: &mut Worker,
        kind: i32,
        heard: &mut Heard,
        notify: &mut dyn Notify,
    ) -> Result<wire::Response, Error> {
        loop {
            let received = worker.receive().map_err(|source| self.criu.cannot("understand", source))?;
            let Some((response, descriptor)) = received else {
                let status = worker.finish().map_err(|source| self.criu.cannot("wait for", source))?;
                return Err(Error::Ended { asked: self.asked, status, log: self.log(worker) });
            };
            let pid = response.notify.as_ref().and_then(|notify| notify.pid);
            let pid = pid.or(response.restore.as_ref().map(|restored| restored.pid));
            heard.pid = pid.and_then(some_pid).or(heard.pid);
            match response.kind {
                wire::kind::NOTIFY if response.success => {
                    let notification = response.notify.unwrap_or_default();
                    let script = Script::of(notification.script.as_deref().unwrap_or_default());
                    let event = Event { script, pid: notification.pid.and_then(some_pid), descriptor };
                    self.send(worker, &answer(event, heard, notify))?;
                }
                _ if !response.success => {
                    // All of its log is there only after its end.
                    worker.finish().map_err(|source| self.criu.cannot("wait for", source))?;
                    let log = self.log(worker).or(response.message);
                    return Err(Error::Failed { asked: self.asked, errno: response.errno, log });
                }
                answered if answered == kind => return Ok(response),
                other => {
                    return Err(Error::Answer {
                        asked: self.asked,
                        answer: format!("a message of kind {other}"),
                    });
                }
            }
        }
    }

    fn finish(&self, worker: &mut Worker) -> Result<(), Error> {
        let status = worker.finish().map_err(|source| self.criu.cannot("wait for", source))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Ended { asked: self.asked, status, log: self.log(worker) })
    }

    fn log(&self, worker: &mut Worker) -> Log {
        let said = worker.said();
        self.log.map_or_else(|| Log::of_text(&said), |path| Log::read(path, &said))
    }
}

/// What CRIU is told after a notification.
fn answer(event: Event, heard: &mut Heard, notify: &mut dyn Notify) -> wire::Request {
    let script = event.script.clone();
    let mut result = notify.notified(event);
    let mut options = None;
    if script == Script::QueryExternalFiles && result.is_ok() {
        match notify.external_files() {
            // Without images_dir_fd, which the message cannot do without, -1 is its "none".
            Ok(external) if !external.is_empty() => {
                options = Some(wire::Options { images_dir_fd: -1, external, ..Default::default() });
            }
            Ok(_) => {}
            Err(failure) => result = Err(failure),
        }
    }
    let success = result.is_ok();
    heard.refusals.extend(result.err().map(|failure| (script, failure)));
    wire::Request { kind: wire::kind::NOTIFY, notify_success: Some(success), options, ..Default::default() }
}

/// -1 stands for none.
fn some_pid(number: i32) -> Option<Pid> {
    (number > 0).then(|| Pid::from_raw(number)).flatten()
}
