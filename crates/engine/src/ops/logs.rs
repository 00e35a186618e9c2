//! `logs`: what a container has printed, and what it prints from now on.

use std::path::Path;

pub use ::logs::{Options, Piece, Reader, Stream};
use monitor::{Channel, Hello};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use step::Failure;

use crate::contact::{self, Word};
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Settings};

/// Gives a container's output to `each`, a piece at a time, and with `options.follow` goes on until it has ended and
/// is not started again. `pause` is called whenever there is nothing more for the moment.
pub fn logs(
    settings: &Settings,
    name: &str,
    options: &Options,
    each: &mut dyn FnMut(Piece<'_>) -> Result<(), Error>,
    pause: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    // Whoever follows must see the container's end even if it comes before the first look.
    let mut monitor = if options.follow { connect(&store, &id)? } else { None };
    let dir = store.log_dir(&id);
    if options.follow {
        make_watchable(&store, &record, &dir)?;
    }
    let mut reader = Reader::open(&dir, &id, &record.request.log, options)?;
    loop {
        reader.read(&mut *each)?;
        pause()?;
        if reader.is_done() {
            return Ok(());
        }
        let Some(channel) = &mut monitor else { return Ok(()) };
        if !ends(channel, &reader)? {
            continue;
        }
        // A monitor that was killed is replaced, and the container may print on.
        sweep(settings, &store)?;
        monitor = if store.living_init(&id).is_some() { connect(&store, &id)? } else { None };
    }
}

/// The directory of a log is watched before there is a log in it. That of a container which is removed meanwhile must not
/// come back by this.
fn make_watchable(store: &Store, record: &Record, dir: &Path) -> Result<(), Failure> {
    let made = if record.passing {
        // Nothing of it may be on disk yet.
        crate::state::make_dirs_with(dir, Mode::RWXU)
    } else {
        match rustix::fs::mkdir(dir, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST | Errno::NOENT) => Ok(()),
            Err(errno) => Err(Failure::new("logs", dir.display().to_string(), errno)),
        }
    };
    if record.passing && !store.run_dir(&record.id).exists() {
        // Refused where there is something in them.
        let _ = rustix::fs::rmdir(dir);
        let _ = rustix::fs::rmdir(store.keep_dir(&record.id));
    }
    made
}

fn connect(store: &Store, id: &str) -> Result<Option<Channel>, Failure> {
    Ok(contact::connect(store, id, Hello::default())?.map(|(channel, _)| channel))
}

/// Waits until there is more to read (false), or the container or its monitor has ended (true).
fn ends(channel: &mut Channel, reader: &Reader) -> Result<bool, Failure> {
    loop {
        match contact::next(channel, Some(std::time::Instant::now()))? {
            Word::Ended(ended) if ended.again => continue,
            Word::Ended(_) | Word::Gone | Word::Lost => return Ok(true),
            Word::Nothing => {}
        }
        let mut fds = vec![PollFd::new(&*channel, PollFlags::IN)];
        let descriptor = reader.descriptor();
        fds.extend(descriptor.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            polled => polled.map_err(|errno| Failure::new("logs", "poll", errno))?,
        };
        if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
            return Ok(false);
        }
    }
}
