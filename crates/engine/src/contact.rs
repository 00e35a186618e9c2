//! How a command comes to the monitor of a container.

use std::time::{Duration, Instant};

use monitor::{Channel, Ended, Hello, Kind, Welcome};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use step::Failure;

use crate::state::Store;

/// How long a monitor may take to be there: one that has just been forked, or is busy with a start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects with the container's monitor. None: there is none, the container does not run.
pub(crate) fn connect(store: &Store, id: &str, hello: Hello) -> Result<Option<(Channel, Welcome)>, Failure> {
    let start = Instant::now();
    let failed = |errno: Errno| {
        Failure::new("monitor.connect", id[..12].to_owned(), errno)
            .hint("its monitor does not answer; try again")
    };
    let dir = store.run_dir(id);
    loop {
        let errno = match monitor::connect(&dir, hello) {
            Ok(mut channel) => match welcome(&mut channel, start + PATIENCE).map_err(failed)? {
                Some(welcome) => return Ok(Some((channel, welcome))),
                // It ended before it heard us.
                None => Errno::CONNREFUSED,
            },
            Err(errno) => errno,
        };
        match errno {
            Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN => {}
            errno => return Err(failed(errno)),
        }
        if !dir.exists() || store.abandoned(id)?.is_some() {
            return Ok(None);
        }
        if start.elapsed() > PATIENCE {
            return Err(failed(errno));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn welcome(channel: &mut Channel, until: Instant) -> Result<Option<Welcome>, Errno> {
    loop {
        if channel.is_closed() {
            return Ok(None);
        }
        // Everything else that it says comes after the welcome.
        if let Some((_, payload)) = channel.take_if(Kind::Welcome) {
            return Ok(serde_json::from_slice(&payload).ok());
        }
        if !wait(channel, Some(until))? {
            return Err(Errno::TIMEDOUT);
        }
    }
}

/// What a monitor tells of a container's end.
#[derive(Debug)]
pub(crate) enum Word {
    /// Its first process ended.
    Ended(Ended),
    /// Everything of it is taken down.
    Gone,
    /// The monitor is gone, with or without that.
    Lost,
    /// Nothing so far: the time is over.
    Nothing,
}

/// The next word about its health; none where the container ends before there is one.
pub(crate) fn next_health(channel: &mut Channel) -> Result<Option<Vec<u8>>, Failure> {
    loop {
        match channel.take() {
            Some((Kind::Health, payload)) => return Ok(Some(payload)),
            Some((Kind::Ended | Kind::Gone, _)) => return Ok(None),
            Some(_) => {}
            None if channel.is_closed() => return Ok(None),
            None => {
                wait(channel, None).map_err(|errno| Failure::new("monitor.wait", "poll", errno))?;
            }
        }
    }
}

/// The next word about its end.
pub(crate) fn next(channel: &mut Channel, until: Option<Instant>) -> Result<Word, Failure> {
    loop {
        match channel.take() {
            Some((Kind::Ended, payload)) => {
                if let Ok(ended) = serde_json::from_slice(&payload) {
                    return Ok(Word::Ended(ended));
                }
            }
            Some((Kind::Gone, _)) => return Ok(Word::Gone),
            Some(_) => {}
            None if channel.is_closed() => return Ok(Word::Lost),
            None => {
                let waited = wait(channel, until);
                if !waited.map_err(|errno| Failure::new("monitor.wait", "poll", errno))? {
                    return Ok(Word::Nothing);
                }
            }
        }
    }
}

/// Waits until there is something to read and takes it in; false when the time is over.
fn wait(channel: &mut Channel, until: Option<Instant>) -> Result<bool, Errno> {
    let timeout = until.map(|until| {
        let left = until.saturating_duration_since(Instant::now());
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
    });
    let mut fds = [PollFd::new(channel, PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) => return Ok(false),
        Err(errno) if errno != Errno::INTR => return Err(errno),
        _ => {}
    }
    channel.fill();
    Ok(true)
}
