//! Small facts as symbolic links: made in one call, refused if they exist, read in one call. Names, ranges of user
//! ids, first processes.

use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use step::Failure;

use super::Store;
use super::files::{failed, make_dirs, read_link};

/// So long a container that is being started may take until it can be joined.
const MADE: Duration = Duration::from_secs(10);

impl Store {
    /// Takes `name` for `id`; `Err` holds the id that has it already.
    pub(crate) fn take_name(&self, name: &str, id: &str) -> Result<Result<(), String>, Failure> {
        let path = self.run.join("names").join(name);
        match rustix::fs::symlink(id, &path) {
            Ok(()) => Ok(Ok(())),
            Err(Errno::EXIST) => Ok(Err(read_link(&path).unwrap_or_default())),
            Err(errno) => Err(failed(&path)(errno)),
        }
    }

    /// The id that a name points at.
    pub(crate) fn named(&self, name: &str) -> Option<String> {
        read_link(&self.run.join("names").join(name))
    }

    /// Whether `id` has this name.
    pub(crate) fn has_name(&self, name: &str, id: &str) -> bool {
        self.named(name).as_deref() == Some(id)
    }

    /// Gives `name` back if `id` has it.
    pub(crate) fn give_name(&self, name: &str, id: &str) -> Result<(), Failure> {
        let path = self.run.join("names").join(name);
        if !self.has_name(name, id) {
            return Ok(());
        }
        match rustix::fs::unlink(&path) {
            Err(Errno::NOENT) => Ok(()),
            result => result.map_err(failed(&path)),
        }
    }

    /// Gives back whatever name `id` has: after a crash, before its record was written.
    pub(crate) fn give_all_names(&self, id: &str) -> Result<(), Failure> {
        let dir = self.run.join("names");
        let entries = std::fs::read_dir(&dir)
            .map_err(|error| Failure::new("state", dir.display().to_string(), error))?;
        for entry in entries.flatten() {
            self.give_name(&entry.file_name().to_string_lossy(), id)?;
        }
        Ok(())
    }

    /// Notes that a container's networks are others than when it was started: its monitor looks at its end for what it has.
    pub(crate) fn note_other_networks(&self, id: &str) -> Result<(), Failure> {
        let path = self.run_dir(id).join("networks");
        match rustix::fs::symlink("connected or disconnected", &path) {
            Err(Errno::EXIST) => Ok(()),
            result => result.map_err(failed(&path)),
        }
    }

    /// Whether that was noted.
    pub(crate) fn has_other_networks(&self, id: &str) -> bool {
        read_link(&self.run_dir(id).join("networks")).is_some()
    }

    /// Takes the range of user ids that begins at `first`; false if a living container has it.
    pub(crate) fn take_ids(&self, first: u32, id: &str) -> Result<bool, Failure> {
        let path = self.run.join("ids").join(first.to_string());
        for _ in 0..2 {
            match rustix::fs::symlink(id, &path) {
                Ok(()) => return Ok(true),
                Err(Errno::NOENT) => make_dirs(&self.run.join("ids"))?,
                Err(Errno::EXIST) => match read_link(&path) {
                    // What a crash left is swept before anybody comes here.
                    Some(owner) if self.run_dir(&owner).exists() => return Ok(false),
                    _ => drop(rustix::fs::unlink(&path)),
                },
                Err(errno) => return Err(failed(&path)(errno)),
            }
        }
        Ok(false)
    }

    pub(super) fn give_ids(&self, id: &str) {
        let Ok(entries) = std::fs::read_dir(self.run.join("ids")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if read_link(&path).as_deref() == Some(id) {
                let _ = rustix::fs::unlink(&path);
            }
        }
    }

    /// Notes a container's first process, in the place of an earlier one.
    pub(crate) fn write_init(&self, id: &str, pid: i32) -> Result<(), Failure> {
        let start = start_time(pid).unwrap_or(0);
        self.write_link(id, "init", &format!("{pid}:{start}"))
    }

    /// Notes that the first process has become the container's program: others may join it now.
    pub(crate) fn write_ready(&self, id: &str) -> Result<(), Failure> {
        read_link(&self.run_dir(id).join("init")).map_or(Ok(()), |text| self.write_link(id, "ready", &text))
    }

    /// Whether that is noted of the first process that there is now.
    pub(crate) fn is_ready(&self, id: &str) -> bool {
        let link = |name| read_link(&self.run_dir(id).join(name));
        link("ready").is_some_and(|ready| link("init").as_ref() == Some(&ready))
    }

    fn write_link(&self, id: &str, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.run_dir(id).join(name);
        match rustix::fs::symlink(text, &path) {
            Err(Errno::EXIST) => rustix::fs::unlink(&path).and_then(|()| rustix::fs::symlink(text, &path)),
            made => made,
        }
        .map_err(failed(&path))
    }

    /// Notes that a container lives on when its command or its monitor is gone.
    pub(crate) fn set_apart(&self, id: &str) -> Result<(), Failure> {
        let path = self.run_dir(id).join("apart");
        match rustix::fs::symlink("lives on by itself", &path) {
            Err(Errno::EXIST) => Ok(()),
            made => made.map_err(failed(&path)),
        }
    }

    /// Whether it does.
    pub(crate) fn is_apart(&self, id: &str) -> bool {
        std::fs::symlink_metadata(self.run_dir(id).join("apart")).is_ok()
    }

    /// A container's first process, if it still lives: a number that another process has by now does not count.
    pub(crate) fn living_init(&self, id: &str) -> Option<i32> {
        let text = read_link(&self.run_dir(id).join("init"))?;
        let (pid, start) = text.split_once(':')?;
        let pid: i32 = pid.parse().ok()?;
        let start: u64 = start.parse().ok()?;
        (start_time(pid)? == start).then_some(pid)
    }

    /// The same, once it has become the container's program. Until then its namespaces and its root are the host's: whoever
    /// joined it would be on the host. One that is being started is waited for.
    pub(crate) fn joinable_init(&self, id: &str) -> Option<i32> {
        let start = Instant::now();
        loop {
            let pid = self.living_init(id)?;
            if self.is_ready(id) {
                return Some(pid);
            }
            if start.elapsed() > MADE {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// When a container's first process was noted.
    pub(crate) fn started(&self, id: &str) -> Option<SystemTime> {
        std::fs::symlink_metadata(self.run_dir(id).join("init")).ok()?.modified().ok()
    }
}

/// A process's parent and the leader of its session, in our pid namespace; none of one that has ended.
pub(crate) fn parent_and_session(pid: i32) -> Option<(i32, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    let mut number = || fields.next()?.parse().ok();
    let (parent, _group, session) = (number()?, number()?, number()?);
    Some((parent, session))
}

/// When a process started, in clock ticks after the boot: with its number it means this process and no later one.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; after its end come state, parent, …: the start is field 22.
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace();
    if fields.clone().next() == Some("Z") {
        return None;
    }
    fields.nth(19)?.parse().ok()
}
