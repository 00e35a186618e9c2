//! Changes in the directory of a log, by inotify(7): a descriptor to poll together with others.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use step::Failure;

#[derive(Debug)]
pub(crate) struct Watch(OwnedFd);

impl Watch {
    pub(crate) fn new(dir: &Path) -> Result<Self, Failure> {
        let failed = |errno| {
            Failure::new("logs.follow", dir.display().to_string(), errno)
                .hint("fs.inotify.max_user_instances and max_user_watches bound how much may be watched")
        };
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(failed)?;
        let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&fd, dir, what | WatchFlags::ONLYDIR).map_err(failed)?;
        Ok(Self(fd))
    }

    /// Takes all events: whoever reads the files after this misses nothing.
    pub(crate) fn drain(&self) {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.0, &mut space);
        while events.next().is_ok() {}
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
