//! Who was killed for want of memory: the kernel tells it in its log alone. Asked only after the group's count of
//! such kills has risen; a log that cannot be read is no error, it leaves the names out.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// A process that the kernel killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its name as the kernel knows it, 15 bytes at most.
    pub name: String,
    /// Its number in the host's first pid namespace.
    pub pid: i32,
}

/// The last `count` victims in the group `path` and the groups below it, in the order of their deaths. The count
/// (of [`crate::Group::oom_kills`]) keeps those of an earlier group of the same path out.
pub fn victims(path: &str, count: u64) -> Vec<Victim> {
    let mut all = Vec::new();
    // A record that we cannot read any more was overwritten; the next read goes on after the gap.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(log) = rustix::fs::open("/dev/kmsg", flags, Mode::empty()) else { return all };
    // One read gives one record; records are shorter than this (CONSOLE_EXT_LOG_MAX in kernel/printk).
    let mut record = vec![0u8; 8192];
    loop {
        match rustix::io::read(&log, &mut record[..]) {
            Ok(0) => break,
            Ok(length) => all.extend(victim(&String::from_utf8_lossy(&record[..length]), path)),
            Err(Errno::PIPE | Errno::INTR) => {}
            // The end, or a log that is not ours to read.
            Err(_) => break,
        }
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    all.split_off(all.len().saturating_sub(count))
}

/// The victim that a record of the log tells of, if it was in the group `path` or below.
///
/// `6,462,1687482340,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,`
/// `oom_memcg=/m,task_memcg=/m/x,task=tail,pid=17611,uid=0` (`dump_oom_summary` in mm/oom_kill.c). `oom_memcg` is
/// the group whose limit was met and absent where the host had no memory left; the name may hold any character.
pub(crate) fn victim(record: &str, path: &str) -> Option<Victim> {
    let (_, text) = record.split_once(';')?;
    let text = text.lines().next()?.strip_prefix("oom-kill:")?;
    let (_, text) = text.split_once(",task_memcg=")?;
    let (group, text) = text.split_once(",task=")?;
    let (text, _) = text.rsplit_once(",uid=")?;
    let (name, pid) = text.rsplit_once(",pid=")?;
    // Where we see the hierarchy from inside a group, the kernel's path is longer than ours: it ends alike.
    let at = group.find(path)?;
    let end = &group[at + path.len()..];
    if !end.is_empty() && !end.starts_with('/') {
        return None;
    }
    Some(Victim { name: name.to_owned(), pid: pid.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "6,462,1687482340,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,\
                          mems_allowed=0,oom_memcg=/m/x,task_memcg=/m/x/below,task=tail,pid=17611,uid=0\n";

    #[test]
    fn a_victim_in_the_group_or_below() {
        let tail = Victim { name: "tail".into(), pid: 17611 };
        assert_eq!(victim(RECORD, "/m/x/below"), Some(tail.clone()));
        assert_eq!(victim(RECORD, "/m/x"), Some(tail.clone()));
        assert_eq!(victim(RECORD, "/m/x/be"), None, "another group whose name begins alike");
        assert_eq!(victim(RECORD, "/m/y"), None);
        // Seen from a container, our /x is the host's /m/x.
        assert_eq!(victim(RECORD, "/x"), Some(tail));
    }

    #[test]
    fn no_memory_on_the_host_and_names_with_commas() {
        let record = "3,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=x,mems_allowed=0,global_oom,\
                      task_memcg=/m/x,task=a,pid=5,uid=b,pid=9,uid=1000\n SUBSYSTEM=x\n";
        assert_eq!(victim(record, "/m/x"), Some(Victim { name: "a,pid=5,uid=b".into(), pid: 9 }));
    }

    #[test]
    fn other_records_tell_of_nobody() {
        for record in [
            "3,463,1687482358,-;Memory cgroup out of memory: Killed process 17611 (tail) total-vm:23140kB\n",
            "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/m/x,task=tail,pid=x,uid=0\n",
            "6,1,2,-;oom-kill:",
            "",
            ";",
        ] {
            assert_eq!(victim(record, "/m/x"), None, "{record}");
        }
    }
}
