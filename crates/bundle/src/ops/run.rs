//! `run`: create, start and, in the foreground, delete: one process from the first step to the last.

use crate::Settings;
use crate::config;
use crate::error::Error;
use crate::foreground::Watch;
use crate::store::Store;

use super::create::{CreateRequest, make};
use super::{delete, start};

/// What `run` is asked for.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// As for `create`.
    pub create: CreateRequest,
    /// Returns when the program runs.
    pub detach: bool,
    /// Does not delete the container when its program ends.
    pub keep: bool,
}

/// Runs a container; its exit code, or 0 with `detach`.
pub fn run(settings: &Settings, request: &RunRequest) -> Result<u8, Error> {
    let bundle = config::load(&request.create.bundle)?;
    let terminal = bundle.spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    match (request.detach, terminal, &request.create.console_socket) {
        (true, true, None) => {
            return Err(Error::new("cannot allocate tty if runc will detach without setting console socket")
                .hint("--console-socket names the socket that takes the terminal"));
        }
        (false, true, Some(_)) => {
            return Err(Error::new("cannot use console socket if runc will not detach or allocate tty")
                .hint("use --detach, or leave --console-socket out"));
        }
        _ => {}
    }
    let watch = if request.detach { None } else { Some(Watch::begin()?) };
    let store = Store::new(&settings.root);
    let made = match make(settings, &request.create, bundle, false) {
        // As from a shell that could not execute it: one line of the container's, and its exit code.
        Err(Error { refused: Some((words, errno)), .. }) if !request.detach => {
            eprintln!("{words}");
            return Ok(if errno == rustix::io::Errno::NOENT.raw_os_error() { 127 } else { 126 });
        }
        made => made?,
    };
    let started = start::after_start(&made.saved);
    let id = &request.create.id;
    let Some(watch) = watch else {
        return started.map(|()| 0).inspect_err(|_| drop(delete::destroy(&store, id, settings)));
    };
    let code = started.and_then(|()| watch.until_end(&made.running));
    if !request.keep || code.is_err() {
        delete::destroy(&store, id, settings)?;
    }
    code
}
