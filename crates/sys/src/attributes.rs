//! What the kernel keeps of a process and rustix does not set: scheduling, I/O priority, the processors it runs on,
//! its personality, its memory policy. All of them pass to children and stay over execve(2).
//!
//! A `pid` is as the caller's pid namespace numbers it; 0 is the calling thread.

use std::io;

/// IOPRIO_WHO_PROCESS, linux/ioprio.h.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
/// IOPRIO_CLASS_SHIFT, linux/ioprio.h.
const IOPRIO_CLASS_SHIFT: u16 = 13;

/// What sched_setattr(2) sets: `struct sched_attr` of linux/sched/types.h in its first version, without the clamps of
/// utilization.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// SCHED_*, by number.
    pub policy: u32,
    /// SCHED_FLAG_* bits.
    pub flags: u64,
    /// -20 (first) to 19; counts for SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// 1 to 99 (first) for SCHED_FIFO and SCHED_RR, 0 for the others.
    pub priority: u32,
    /// SCHED_DEADLINE: how long it may run in each period, in nanoseconds.
    pub runtime: u64,
    /// SCHED_DEADLINE: by when in each period it has run, in nanoseconds.
    pub deadline: u64,
    /// SCHED_DEADLINE: the period in nanoseconds; 0 is the deadline's length.
    pub period: u64,
}

/// sched_setattr(2).
///
/// Errors: `EINVAL` for a policy that the kernel does not know or parameters that it refuses, `EPERM` without
/// CAP_SYS_NICE in the first user namespace, in a group without real-time budget, or for SCHED_DEADLINE where not every
/// processor may be used, `EBUSY` where SCHED_DEADLINE's admission test fails.
pub fn set_scheduling(pid: i32, scheduling: &Scheduling) -> io::Result<()> {
    let mut attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: scheduling.policy,
        sched_flags: scheduling.flags,
        sched_nice: scheduling.nice,
        sched_priority: scheduling.priority,
        sched_runtime: scheduling.runtime,
        sched_deadline: scheduling.deadline,
        sched_period: scheduling.period,
    };
    // SAFETY: `attributes` outlives the call and says its own size, beyond which the kernel does not read; to one that
    // is larger than its own it writes the size it knows, into that field.
    done(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw mut attributes, 0) })
}

/// ioprio_set(2) of one process: `class` is 1 (real time), 2 (best effort) or 3 (idle), `level` 0 (first) to 7.
///
/// Errors: `EPERM` for class 1 without CAP_SYS_NICE or CAP_SYS_ADMIN in the first user namespace, `EINVAL` for another
/// class or level, `ENOSYS` on kernels without block devices.
pub fn set_io_priority(pid: i32, class: u8, level: u8) -> io::Result<()> {
    let priority = u16::from(class) << IOPRIO_CLASS_SHIFT | u16::from(level);
    // SAFETY: takes three numbers, touches no memory.
    done(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, libc::c_int::from(priority)) })
}

/// sched_setaffinity(2): the processors that may be used, bit by bit from the lowest of the first word on, for as many
/// processors as there are bits. rustix's set ends at 1,024.
///
/// Errors: `EINVAL` where none of them exists and may be used (see cpuset(7)), `EPERM` without CAP_SYS_NICE for another
/// user's process.
pub fn set_affinity(pid: i32, processors: &[usize]) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as are given, all of them the slice's.
    done(unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(processors), processors.as_ptr())
    })
}

/// personality(2) of the calling thread: PER_* and its flags, all at once. `EINVAL` for a domain that this machine
/// cannot be (PER_LINUX32 on a 64-bit ARM without 32-bit mode).
pub fn set_personality(persona: u32) -> io::Result<()> {
    // SAFETY: takes a number; what it changes counts from the next execve(2) or mmap(2) on.
    let before = unsafe { libc::personality(libc::c_ulong::from(persona)) };
    if before == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// set_mempolicy(2) of the calling thread: `mode` is MPOL_* with MPOL_F_* bits, `nodes` the memory nodes bit by bit from
/// the lowest of the first word on.
///
/// Errors: `EINVAL` for a mode or flag that the kernel does not know, nodes that do not exist or may not be used, or a
/// mode that wants nodes and has none (or the other way round), `ENOSYS` on kernels without NUMA.
pub fn set_memory_policy(mode: i32, nodes: &[usize]) -> io::Result<()> {
    // The kernel takes one bit less than it is told (mm/mempolicy.c, get_nodes): told 1, it reads nothing.
    let bits = size_of_val(nodes) * 8 + 1;
    // SAFETY: the kernel reads the words that hold `bits - 1` bits, all of them the slice's, and none of an empty one.
    done(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) })
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;

    /// All of it is a thread's own and dies with it.
    fn in_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(body).join().unwrap()
    }

    fn scheduling() -> Scheduling {
        let mut attributes = MaybeUninit::<libc::sched_attr>::zeroed();
        let size = size_of::<libc::sched_attr>();
        // SAFETY: the kernel writes at most `size` bytes to `attributes`, for which all zeroes are valid too.
        let attributes = unsafe {
            assert_eq!(libc::syscall(libc::SYS_sched_getattr, 0, attributes.as_mut_ptr(), size, 0), 0);
            attributes.assume_init()
        };
        Scheduling {
            policy: attributes.sched_policy,
            flags: attributes.sched_flags,
            nice: attributes.sched_nice,
            priority: attributes.sched_priority,
            runtime: attributes.sched_runtime,
            deadline: attributes.sched_deadline,
            period: attributes.sched_period,
        }
    }

    fn errno(result: io::Result<()>) -> Option<i32> {
        result.unwrap_err().raw_os_error()
    }

    #[test]
    fn scheduling_reads_back_as_it_was_set() {
        let batch = Scheduling { policy: 3, nice: 7, flags: 1, ..Scheduling::default() };
        let read = in_thread(move || {
            set_scheduling(0, &batch).unwrap();
            scheduling()
        });
        assert_eq!((read.policy, read.nice, read.flags, read.priority), (3, 7, 1, 0));
        let refused = in_thread(|| set_scheduling(0, &Scheduling { policy: 99, ..Scheduling::default() }));
        assert_eq!(errno(refused), Some(libc::EINVAL));
    }

    #[test]
    fn io_priority_reads_back_as_it_was_set() {
        let get = || {
            // SAFETY: takes two numbers, touches no memory.
            unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) }
        };
        for (class, level) in [(2, 6), (3, 0)] {
            let read = in_thread(move || {
                set_io_priority(0, class, level).unwrap();
                get()
            });
            assert_eq!(read, i64::from(class) << 13 | i64::from(level));
        }
        assert_eq!(errno(in_thread(|| set_io_priority(0, 7, 0))), Some(libc::EINVAL));
    }

    #[test]
    fn affinity_takes_masks_of_any_length() {
        let first = rustix::thread::sched_getaffinity(None).unwrap();
        let first = (0..1024).find(|processor| first.is_set(*processor)).unwrap();
        for words in [16, 1024] {
            let mut mask = vec![0; words];
            mask[first / usize::BITS as usize] |= 1 << (first % usize::BITS as usize);
            let read = in_thread(move || {
                set_affinity(0, &mask).unwrap();
                rustix::thread::sched_getaffinity(None).unwrap()
            });
            assert!(read.is_set(first) && read.count() == 1, "{read:?}");
        }
        assert_eq!(errno(in_thread(|| set_affinity(0, &[0]))), Some(libc::EINVAL));
    }

    #[test]
    fn personality_reads_back_as_it_was_set() {
        let get = || {
            // SAFETY: this number asks only.
            unsafe { libc::personality(0xffff_ffff) }
        };
        for persona in [8, 0] {
            let read = in_thread(move || {
                set_personality(persona).unwrap();
                get()
            });
            assert_eq!(read, persona as i32);
        }
    }

    #[test]
    fn memory_policy_reads_back_as_it_was_set() {
        let get = || {
            let (mut mode, mut nodes) = (0, [0_usize; 64]);
            // SAFETY: the kernel writes an int and at most as many bits as the array has.
            let result = unsafe {
                let bits = size_of_val(&nodes) * 8;
                libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), bits, 0, 0)
            };
            assert_eq!(result, 0);
            (mode, nodes[0])
        };
        // The kernel's highest node lies somewhere below the last bit of 16 words: what is beyond must be zero.
        let read = in_thread(move || {
            let mut nodes = [0; 16];
            nodes[0] = 1;
            set_memory_policy(libc::MPOL_BIND | libc::MPOL_F_STATIC_NODES, &nodes).unwrap();
            let bound = get();
            set_memory_policy(libc::MPOL_DEFAULT, &[]).unwrap();
            (bound, get())
        });
        assert_eq!(read, ((libc::MPOL_BIND | libc::MPOL_F_STATIC_NODES, 1), (libc::MPOL_DEFAULT, 0)));
        assert_eq!(errno(in_thread(|| set_memory_policy(libc::MPOL_BIND, &[]))), Some(libc::EINVAL));
        // The last of a word's bits is read too: there is no node of that number.
        let last = 1 << (usize::BITS - 1);
        assert_eq!(errno(in_thread(move || set_memory_policy(libc::MPOL_BIND, &[last]))), Some(libc::EINVAL));
    }
}
