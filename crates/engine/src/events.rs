//! Events: what happened to containers and images, a line of JSON for each. There is no daemon that could tell: whoever
//! does a thing appends its line to a file below the run root, and readers follow the file.
//!
//! ```text
//! <run_root>/events/
//!   log                  lines of at most [`LONGEST`] bytes, each appended by one write(2)
//!   log.1 … log.3        those before, the newest first
//!   lock                 held shared by who appends or opens, alone by who renames `log`
//! ```
//!
//! A line is appended while the lock is held shared, so nobody appends to a file that was renamed: who has read it to
//! its end after that has all of it. What cannot be written is not told; no command fails for it.

mod follow;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::Settings;
use crate::state::{Record, make_dirs_with};
use crate::volumes::{DRIVER, mounts_of};

pub(crate) use follow::Follower;

/// The most that a line has: less than what a pipe takes whole, so that readers may count on it too.
const LONGEST: usize = 4000;

/// From so many bytes on a file is followed by a new one. The run root is memory: four files are 4 MiB at most.
const FULL: u64 = 1 << 20;

/// How many files are kept beside the one that grows.
const KEPT: u32 = 3;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
}

impl Of {
    /// `container`, `image`, `volume`, `network`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
        }
    }
}

/// One event, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When: nanoseconds since 1970.
    pub at: u64,
    /// What it is about.
    pub of: Of,
    /// What happened: `start`, `exec_create: ls -l`.
    pub action: String,
    /// The id of the container, the id or the name of the image.
    pub id: String,
    /// What else is told: `image`, `name`, `exitCode`; labels come last.
    pub attributes: Vec<(String, String)>,
}

/// Tells what happened to a container.
pub(crate) fn container(settings: &Settings, record: &Record, action: &str, more: &[(&str, &str)]) {
    let mut attributes = Vec::with_capacity(2 + more.len() + record.request.labels.len());
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    attributes.push(pair("image", &record.request.image.to_string()));
    attributes.push(pair("name", &record.name));
    attributes.extend(more.iter().map(|(key, value)| pair(key, value)));
    attributes.extend(record.request.labels.iter().map(|(key, value)| pair(key, value)));
    tell(&settings.run_root, Of::Container, action, &record.id, attributes);
}

/// Tells what happened to an image: `id` is its id, or what was asked for.
pub(crate) fn image(settings: &Settings, action: &str, id: &str, name: &str) {
    tell(&settings.run_root, Of::Image, action, id, vec![("name".to_owned(), name.to_owned())]);
}

/// Tells what happened to a network; `container`: which came or went.
pub(crate) fn network(run_root: &Path, action: &str, network: &network::Network, container: Option<&str>) {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut attributes: Vec<_> = container.map(|id| pair("container", id)).into_iter().collect();
    attributes.extend([pair("name", &network.name), pair("type", network.driver.name())]);
    tell(run_root, Of::Network, action, &network.id, attributes);
}

/// Tells what happened to a volume.
pub(crate) fn volume(run_root: &Path, action: &str, name: &str) {
    tell(run_root, Of::Volume, action, name, vec![("driver".to_owned(), DRIVER.to_owned())]);
}

/// Tells of each volume of a container that it has it now, `mount`, or has it no more, `unmount`.
pub(crate) fn volumes(settings: &Settings, record: &Record, action: &str) {
    for mount in mounts_of(record) {
        let mut pairs = vec![("container", record.id.clone())];
        if action == "mount" {
            pairs.push(("destination", mount.target.display().to_string()));
        }
        pairs.push(("driver", DRIVER.to_owned()));
        if action == "mount" {
            pairs.push(("propagation", mount.propagation.clone().unwrap_or_default()));
            pairs.push(("read/write", (!mount.read_only).to_string()));
        }
        let pairs = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        tell(&settings.run_root, Of::Volume, action, &mount.name, pairs);
    }
}

fn tell(run_root: &Path, of: Of, action: &str, id: &str, attributes: Vec<(String, String)>) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_nanos() as u64);
    let event = Event { at, of, action: action.to_owned(), id: id.to_owned(), attributes };
    // A full disk, or a user who may not write here: the command goes on all the same.
    let _ = Log::new(run_root).append(&line(event));
}

/// The event's line; what does not fit is left out from the end, labels first.
fn line(mut event: Event) -> Vec<u8> {
    loop {
        // Strings and numbers: writing them as JSON cannot fail.
        let mut bytes = serde_json::to_vec(&event).unwrap_or_default();
        if bytes.len() < LONGEST {
            bytes.push(b'\n');
            return bytes;
        }
        if event.attributes.pop().is_none() {
            let shorter = |text: &str| text.chars().take(200).collect::<String>();
            (event.action, event.id) = (shorter(&event.action), shorter(&event.id));
        }
    }
}

/// An event of a line. A write that was cut short by a full disk has the next line behind it: that one counts.
fn read_line(line: &[u8]) -> Option<Event> {
    const START: &[u8] = b"{\"at\":";
    let start = line.windows(START.len()).rposition(|part| part == START);
    let whole = serde_json::from_slice(line).ok();
    whole.or_else(|| serde_json::from_slice(&line[start?..]).ok())
}

/// Whether the last line was cut short, by a full disk or a power loss.
pub(crate) fn is_torn(run_root: &Path) -> bool {
    use std::os::unix::fs::FileExt as _;
    let Ok(file) = std::fs::File::open(Log::new(run_root).path(0)) else { return false };
    let mut last = [0];
    let Some(place) = file.metadata().ok().and_then(|meta| meta.len().checked_sub(1)) else { return false };
    file.read_exact_at(&mut last, place).is_ok() && last != *b"\n"
}

/// Ends a line that was cut short, so that the next one stands alone.
pub(crate) fn mend(run_root: &Path) -> Result<(), Errno> {
    match is_torn(run_root) {
        true => Log::new(run_root).append(b"\n"),
        false => Ok(()),
    }
}

/// The files of events.
#[derive(Debug, Clone)]
struct Log {
    dir: PathBuf,
}

impl Log {
    fn new(run_root: &Path) -> Self {
        Self { dir: run_root.join("events") }
    }

    /// `log`, or one of those before.
    fn path(&self, generation: u32) -> PathBuf {
        match generation {
            0 => self.dir.join("log"),
            number => self.dir.join(format!("log.{number}")),
        }
    }

    fn make_dir(&self) -> Result<(), Errno> {
        let parent = self.dir.parent().unwrap_or(Path::new("/"));
        let errno = |failure: step::Failure| Errno::from_raw_os_error(failure.errno);
        make_dirs_with(parent, Mode::from_raw_mode(0o711)).map_err(errno)?;
        make_dirs_with(&self.dir, Mode::from_raw_mode(0o700)).map_err(errno)
    }

    fn append(&self, line: &[u8]) -> Result<(), Errno> {
        let lock = match self.open_lock() {
            Err(Errno::NOENT) => {
                self.make_dir()?;
                self.open_lock()?
            }
            lock => lock?,
        };
        // Who renames holds it for some microseconds. One that was stopped just there must not stop everybody else: then
        // this line may come to a reader late, or not at all.
        let _ = take(&lock, FlockOperation::NonBlockingLockShared);
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(self.path(0), flags, Mode::from_raw_mode(0o600))?;
        rustix::io::write(&file, line)?;
        if rustix::fs::fstat(&file)?.st_size as u64 >= FULL {
            self.rotate(&lock)?;
        }
        Ok(())
    }

    fn open_lock(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::open(self.dir.join("lock"), flags, Mode::from_raw_mode(0o600))
    }

    /// Begins a new file, unless somebody else did or appends just now: then the next one will.
    fn rotate(&self, lock: &OwnedFd) -> Result<(), Errno> {
        // Let go first: two that both hold it shared would wait for each other.
        rustix::fs::flock(lock, FlockOperation::Unlock)?;
        if !take(lock, FlockOperation::NonBlockingLockExclusive) {
            return Ok(());
        }
        if rustix::fs::stat(self.path(0))?.st_size as u64 >= FULL {
            for generation in (0..KEPT).rev() {
                match rustix::fs::rename(self.path(generation), self.path(generation + 1)) {
                    Err(Errno::NOENT) | Ok(()) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }
}

/// Takes a lock that others have for moments only; false where one of them was stopped meanwhile.
fn take(lock: &OwnedFd, how: FlockOperation) -> bool {
    for _ in 0..200 {
        match rustix::fs::flock(lock, how) {
            Ok(()) => return true,
            Err(Errno::AGAIN | Errno::INTR) => std::thread::sleep(Duration::from_micros(50)),
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests;
