//! Acting as the root of a user namespace towards the file system, with the capabilities of the host's root.
//!
//! An overlay works on its upper layer with the identity that it was mounted with. On an idmapped upper layer the
//! host's root has no id (`EOVERFLOW`), so that the overlay could not even make its work directory; the
//! namespace's root has one, and what it makes belongs to 0 on disk.

use rustix::io::Errno;
use rustix::process::{dumpable_behavior, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySets, capabilities, set_capabilities, set_thread_res_gid, set_thread_res_uid,
};
use rustix::thread::{Gid, Uid};

/// Does `act` with `uid` and `gid` as effective ids of this thread. The real and the saved ones stay root's: nobody
/// else may signal or trace it meanwhile (kill(2), ptrace(2)).
pub(crate) fn acting_as<T>(uid: u32, gid: u32, act: impl FnOnce() -> T) -> Result<T, Errno> {
    let (old_uid, old_gid) = (geteuid(), getegid());
    let dumpable = dumpable_behavior()?;
    let sets = capabilities(None)?;
    set_thread_res_gid(None, Gid::from_raw(gid), None)?;
    let result = set_thread_res_uid(None, Uid::from_raw(uid), None).and_then(|()| {
        // A change away from root took the effective set (capabilities(7)).
        let raised = set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets });
        let result = raised.map(|()| act());
        set_thread_res_uid(None, old_uid, None)?;
        result
    });
    set_thread_res_gid(None, old_gid, None)?;
    set_capabilities(None, sets)?;
    // Changing ids made the process undumpable, and its /proc files root's alone.
    set_dumpable_behavior(dumpable)?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::in_namespace;

    #[test]
    fn the_identity_and_every_capability_come_back() {
        in_namespace(|| {
            let before = (geteuid(), getegid(), capabilities(None).unwrap());
            let during =
                acting_as(12345, 54321, || (geteuid(), getegid(), capabilities(None).unwrap())).unwrap();
            assert_eq!((during.0.as_raw(), during.1.as_raw()), (12345, 54321));
            assert_eq!(during.2.effective, before.2.permitted);
            assert_eq!((geteuid(), getegid(), capabilities(None).unwrap()), before);
            assert_eq!(dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::Dumpable);
        });
    }
}
