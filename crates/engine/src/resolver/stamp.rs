//! Whether a file or a directory is still as it was read.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The clock of changes ticks every 1 to 10 ms: what changes twice within a tick has the same time.
const TICK: Duration = Duration::from_millis(50);

/// What changes with a file's content: which it is, when it was written, how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    seconds: i64,
    nanos: u64,
    size: i64,
}

/// How a thing was when it was read; nothing where that does not say how it is now.
#[derive(Debug, Default)]
pub(super) struct Seen(Option<Stamp>);

impl Stamp {
    /// Of what is there now.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let stat = rustix::fs::stat(path).ok()?;
        Some(Self {
            inode: stat.st_ino,
            seconds: stat.st_mtime,
            nanos: stat.st_mtime_nsec as u64,
            size: stat.st_size,
        })
    }

    /// Whether it has not just been written: if it had, it may be written again without another time.
    fn is_settled(self) -> bool {
        let written = Duration::new(self.seconds.try_into().unwrap_or(0), self.nanos as u32);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // A clock that was put back makes it a time that has not come; then it is read each time.
        now.checked_sub(written).is_some_and(|age| age > TICK)
    }
}

impl Seen {
    /// Whether what `stamp` is of is as it was seen. If not it is to be read now, and counts as seen from then on.
    pub(super) fn is(&mut self, stamp: Option<Stamp>) -> bool {
        let same = stamp.is_some() && self.0 == stamp;
        if !same {
            self.0 = stamp.filter(|stamp| stamp.is_settled());
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_written_is_read_again() {
        let path = std::env::temp_dir().join(format!("minidocker-stamp-{}", std::process::id()));
        let mut seen = Seen::default();
        std::fs::write(&path, "1").unwrap();
        assert!(!seen.is(Stamp::of(&path)) && !seen.is(Stamp::of(&path)), "it may change within the tick");
        std::thread::sleep(TICK * 2);
        assert!(!seen.is(Stamp::of(&path)) && seen.is(Stamp::of(&path)));
        std::fs::write(&path, "22").unwrap();
        assert!(!seen.is(Stamp::of(&path)));
        std::fs::remove_file(&path).unwrap();
        assert!(!seen.is(Stamp::of(&path)) && !seen.is(None));
    }
}
