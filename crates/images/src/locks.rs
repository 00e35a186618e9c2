//! Who may do what at the same time.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use step::Failure;

use crate::Images;

/// As long as this lives, no blob and no layer is removed. It goes with the process, too.
#[derive(Debug)]
pub struct Bringing {
    _lock: OwnedFd,
}

impl Images {
    /// Keeps everything that is here, named or not: for who brings content, and for who starts a container until its
    /// record says which layers it uses.
    ///
    /// # Errors
    /// A lock that cannot be taken.
    pub fn bringing(&self) -> Result<Bringing, Failure> {
        let lock = self.lock("bringing.lock", FlockOperation::LockShared)?;
        Ok(Bringing { _lock: lock.ok_or_else(|| Failure::new("images", "bringing.lock", Errno::AGAIN))? })
    }

    /// The right to remove; none as long as somebody brings something.
    pub(crate) fn removing(&self) -> Result<Option<OwnedFd>, Failure> {
        self.lock("bringing.lock", FlockOperation::NonBlockingLockExclusive)
    }

    /// The right to change the catalogue.
    pub(crate) fn changing(&self) -> Result<OwnedFd, Failure> {
        let lock = self.lock("images.lock", FlockOperation::LockExclusive)?;
        lock.ok_or_else(|| Failure::new("images", "images.lock", Errno::AGAIN))
    }

    fn lock(&self, name: &str, how: FlockOperation) -> Result<Option<OwnedFd>, Failure> {
        let path = self.root.join(name);
        let target = || path.display().to_string();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|cause| storage::blobs::with_hint(Failure::new("images", target(), cause)))?;
        loop {
            match rustix::fs::flock(&file, how) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                locked => {
                    return locked
                        .map(|()| Some(file.into()))
                        .map_err(|errno| Failure::new("images", target(), errno));
                }
            }
        }
    }
}
