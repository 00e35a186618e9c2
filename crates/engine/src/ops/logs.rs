//! `logs`: what a container has printed, and what it prints from now on.

pub use ::logs::{Options, Piece, Reader, Stream, times};
use monitor::{Channel, Hello};
use rustix::event::{PollFd, PollFlags, poll};
use step::Failure;

use crate::contact::{self, Word};
use crate::state::Store;
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
        crate::state::make_dirs_with(&dir, rustix::fs::Mode::RWXU)?;
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
