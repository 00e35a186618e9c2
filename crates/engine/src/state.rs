//! State on disk. One directory per container, small files, each written whole or not at all; whether a container
//! runs is asked of the kernel.
//!
//! ```text
//! <run_root>/                        gone after a reboot
//!   lock                             held shared while a directory below `containers` is made, alone to judge one
//!   names/<name>         -> <id>     a symbolic link: made in one call, refused if it exists, read in one call
//!   ids/<first>          -> <id>     a range of user ids, likewise
//!   addresses/…                      the network room's
//!   root/                            where each init attaches its root, in its own mount namespace
//!   containers/<id>/
//!     lock                           held by the container's monitor: free means that nobody cares for it
//!     init               -> pid:start   its first process, by number and start time
//!     container.json                 the record (with --rm)
//!     hosts, hostname, resolv.conf   bound into the container
//! <root>/                            survives a reboot
//!   containers/<id>/
//!     container.json                 the record (without --rm)
//!     exit.json                      how it ended
//!     upper/, work/, …               the storage room's
//!   removed/<id>/                    on the way out: one rename takes it there, record and layer at once
//! ```
//!
//! A directory below `<run_root>/containers` whose lock is free was left behind by a crash: `sweep` takes it down.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use step::Failure;

use crate::request::RunRequest;
use crate::{Error, Kind, Settings};

/// The format of the records; others are refused.
const FORMAT: u32 = 1;

/// What is kept of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// When it was made: milliseconds since 1970.
    pub created: u64,
    /// The path of its control group in each hierarchy.
    pub group: String,
    /// Its place in a network.
    pub network: Option<network::Attachment>,
    /// What was asked for.
    pub request: RunRequest,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The exit code; none where nobody saw it.
    pub code: Option<u8>,
    /// Milliseconds since 1970.
    pub at: u64,
}

impl ExitRecord {
    /// Now.
    pub(crate) fn now(code: Option<u8>) -> Self {
        Self { format: FORMAT, code, at: millis(SystemTime::now()) }
    }
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |past| past.as_millis() as u64)
}

/// And back.
pub(crate) fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

/// The store of a pair of roots.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    run: PathBuf,
    keep: PathBuf,
}

/// A container's directory in the run root, with its lock held.
#[derive(Debug)]
pub(crate) struct Held {
    /// Closed, it is free.
    pub lock: OwnedFd,
}

fn failed(path: &Path) -> impl Fn(Errno) -> Failure {
    move |errno| {
        let failure = Failure::new("state", path.display().to_string(), errno);
        match errno {
            Errno::ACCESS | Errno::PERM => failure.hint("minidocker must run as root"),
            Errno::NOSPC => failure.hint("the disk is full: free some space, or choose another with --root"),
            Errno::ROFS => failure.hint("choose a writable place with --root and --run-root"),
            _ => failure,
        }
    }
}

impl Store {
    /// The store of these settings; nothing is made yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { run: settings.run_root.clone(), keep: settings.root.clone() }
    }

    /// Where inits attach their roots.
    pub(crate) fn mount_point(&self) -> PathBuf {
        self.run.join("root")
    }

    /// A container's directory that a reboot empties.
    pub(crate) fn run_dir(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// A container's directory that stays.
    pub(crate) fn keep_dir(&self, id: &str) -> PathBuf {
        self.keep.join("containers").join(id)
    }

    /// Makes the directories, where they are missing.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        let point = self.mount_point();
        if rustix::fs::access(&point, rustix::fs::Access::EXISTS).is_ok() {
            return Ok(());
        }
        for dir in [self.keep.join("containers"), self.run.join("containers"), self.run.join("names"), point]
        {
            make_dirs(&dir)?;
        }
        storage::remove_leftovers(&storage::Places { root: self.keep.clone(), run_root: self.run.clone() })?;
        self.restore_names()
    }

    /// After a reboot: the names of the containers that are kept.
    fn restore_names(&self) -> Result<(), Failure> {
        for id in directories(&self.keep.join("containers"))? {
            if let Ok(Some(record)) = self.record(&id) {
                let _ = self.take_name(&record.name, &id)?;
            }
        }
        Ok(())
    }

    /// Makes the directory of a new container, with its lock held before anybody can see it free.
    pub(crate) fn hold(&self, id: &str) -> Result<Held, Failure> {
        let _shared = self.turnstile(FlockOperation::LockShared)?;
        let dir = self.run_dir(id);
        rustix::fs::mkdir(&dir, Mode::from_raw_mode(0o711)).map_err(failed(&dir))?;
        let lock = open_lock(&dir.join("lock"), true).map_err(failed(&dir))?;
        wait_for(&lock).map_err(failed(&dir))?;
        Ok(Held { lock })
    }

    /// The container's directory if nobody cares for it any more, now held by us.
    pub(crate) fn abandoned(&self, id: &str) -> Result<Option<Held>, Failure> {
        let dir = self.run_dir(id);
        let try_lock = || match open_lock(&dir.join("lock"), false) {
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
            Ok(lock) => match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::AGAIN) => Ok(Some(None)),
                Err(errno) => Err(errno),
                Ok(()) => Ok(Some(Some(lock))),
            },
        };
        // The hot answer first: somebody cares.
        if matches!(try_lock(), Ok(Some(None))) {
            return Ok(None);
        }
        // It may be in the making, between its directory and its lock: judged alone.
        let _alone = self.turnstile(FlockOperation::LockExclusive)?;
        match try_lock().map_err(failed(&dir))? {
            Some(None) => Ok(None),
            Some(Some(lock)) => Ok(Some(Held { lock })),
            None if dir.is_dir() => {
                let lock = open_lock(&dir.join("lock"), true).map_err(failed(&dir))?;
                wait_for(&lock).map_err(failed(&dir))?;
                Ok(Some(Held { lock }))
            }
            None => Ok(None),
        }
    }

    /// [`Self::abandoned`], once its monitor has ended: a dying process lets go of its socket before its lock. None: it
    /// is gone by itself, or `patience` is over.
    pub(crate) fn wait_until_abandoned(&self, id: &str, patience: Duration) -> Result<Option<Held>, Failure> {
        let start = std::time::Instant::now();
        loop {
            if let Some(held) = self.abandoned(id)? {
                return Ok(Some(held));
            }
            if !self.run_dir(id).exists() || start.elapsed() > patience {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn turnstile(&self, how: FlockOperation) -> Result<OwnedFd, Failure> {
        let path = self.run.join("lock");
        let lock = open_lock(&path, true).map_err(failed(&path))?;
        loop {
            match rustix::fs::flock(&lock, how) {
                Err(Errno::INTR) => {}
                result => return result.map(|()| lock).map_err(failed(&path)),
            }
        }
    }

    /// Takes `name` for `id`; `Err` holds the id that has it already.
    pub(crate) fn take_name(&self, name: &str, id: &str) -> Result<Result<(), String>, Failure> {
        let path = self.run.join("names").join(name);
        match rustix::fs::symlink(id, &path) {
            Ok(()) => Ok(Ok(())),
            Err(Errno::EXIST) => Ok(Err(read_link(&path).unwrap_or_default())),
            Err(errno) => Err(failed(&path)(errno)),
        }
    }

    /// Gives `name` back if `id` has it.
    pub(crate) fn give_name(&self, name: &str, id: &str) -> Result<(), Failure> {
        let path = self.run.join("names").join(name);
        if read_link(&path).as_deref() != Some(id) {
            return Ok(());
        }
        match rustix::fs::unlink(&path) {
            Err(Errno::NOENT) => Ok(()),
            result => result.map_err(failed(&path)),
        }
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

    fn give_ids(&self, id: &str) {
        let Ok(entries) = std::fs::read_dir(self.run.join("ids")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if read_link(&path).as_deref() == Some(id) {
                let _ = rustix::fs::unlink(&path);
            }
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

    /// Writes a container's record where it belongs.
    pub(crate) fn write_record(&self, record: &Record) -> Result<(), Failure> {
        let dir = if record.request.remove {
            self.run_dir(&record.id)
        } else {
            let dir = self.keep_dir(&record.id);
            match rustix::fs::mkdir(&dir, Mode::from_raw_mode(0o711)) {
                Err(Errno::EXIST) => {}
                made => made.map_err(failed(&dir))?,
            }
            dir
        };
        write_json(&dir, "container.json", record, !record.request.remove)
    }

    /// Writes how a container ended, where its record is kept.
    pub(crate) fn write_exit(&self, record: &Record, exit: ExitRecord) -> Result<(), Failure> {
        if record.request.remove {
            Ok(())
        } else {
            write_json(&self.keep_dir(&record.id), "exit.json", &exit, true)
        }
    }

    /// Notes a container's first process.
    pub(crate) fn write_init(&self, id: &str, pid: i32) -> Result<(), Failure> {
        let path = self.run_dir(id).join("init");
        let start = start_time(pid).unwrap_or(0);
        rustix::fs::symlink(format!("{pid}:{start}"), &path).map_err(failed(&path))
    }

    /// A container's first process, if it still lives: a number that another process has by now does not count.
    pub(crate) fn living_init(&self, id: &str) -> Option<i32> {
        let text = read_link(&self.run_dir(id).join("init"))?;
        let (pid, start) = text.split_once(':')?;
        let pid: i32 = pid.parse().ok()?;
        let start: u64 = start.parse().ok()?;
        (start_time(pid)? == start).then_some(pid)
    }

    /// When a container's first process was noted.
    pub(crate) fn started(&self, id: &str) -> Option<SystemTime> {
        std::fs::symlink_metadata(self.run_dir(id).join("init")).ok()?.modified().ok()
    }

    /// The record of a container; none if there is none (any more).
    pub(crate) fn record(&self, id: &str) -> Result<Option<Record>, Failure> {
        for dir in [self.run_dir(id), self.keep_dir(id)] {
            let record: Option<Record> = read_json(&dir.join("container.json"))?;
            if let Some(record) = record {
                return if record.format == FORMAT {
                    Ok(Some(record))
                } else {
                    Err(Failure::because(
                        "state",
                        dir.display().to_string(),
                        format!("the record has format {}, this minidocker knows {FORMAT}", record.format),
                    )
                    .hint("use the minidocker that wrote it, or remove the directory"))
                };
            }
        }
        Ok(None)
    }

    /// How a container ended, if it is known.
    pub(crate) fn exit(&self, id: &str) -> Result<Option<ExitRecord>, Failure> {
        read_json(&self.keep_dir(id).join("exit.json"))
    }

    /// The ids of the containers that have a directory in the run root: those that run, and those that crashed.
    pub(crate) fn present(&self) -> Result<Vec<String>, Failure> {
        directories(&self.run.join("containers"))
    }

    /// The ids of all containers.
    pub(crate) fn all(&self) -> Result<Vec<String>, Failure> {
        let mut ids = self.present()?;
        ids.extend(directories(&self.keep.join("containers"))?);
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Removes the record that a container with --rm has in the run root.
    pub(crate) fn forget_record(&self, id: &str) -> Result<(), Failure> {
        let path = self.run_dir(id).join("container.json");
        match rustix::fs::unlink(&path) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            result => result.map_err(failed(&path)),
        }
    }

    /// Removes a container's directory in the run root, the lock last: until then it counts as cared for.
    pub(crate) fn forget(&self, id: &str) -> Result<(), Failure> {
        self.give_ids(id);
        let dir = self.run_dir(id);
        for name in ["init", "container.json", "container.json.new", "hosts", "hostname", "resolv.conf"] {
            match rustix::fs::unlink(dir.join(name)) {
                Err(Errno::NOENT) => {}
                result => result.map_err(failed(&dir))?,
            }
        }
        // Between these two calls it would look like one in the making.
        let _alone = self.turnstile(FlockOperation::LockExclusive)?;
        match rustix::fs::unlink(dir.join("lock")) {
            Err(Errno::NOENT) => {}
            result => result.map_err(failed(&dir))?,
        }
        match rustix::fs::rmdir(&dir) {
            Err(Errno::NOENT) => Ok(()),
            result => result.map_err(failed(&dir)),
        }
    }

    /// The container that a user means by `name`: a name, an id, or the unambiguous beginning of an id.
    pub(crate) fn find(&self, name: &str) -> Result<String, Error> {
        let valid = |text: &str| !text.is_empty() && !text.contains('/') && text != "." && text != "..";
        let none = || {
            Error::new(Kind::NoSuchContainer, format!("no such container: {name}"))
                .hint("`minidocker ps -a` lists all containers")
        };
        if !valid(name) {
            return Err(none());
        }
        if let Some(id) = read_link(&self.run.join("names").join(name)) {
            return Ok(id);
        }
        let all = self.all()?;
        if all.iter().any(|id| id == name) {
            return Ok(name.to_owned());
        }
        let mut begins = all.iter().filter(|id| id.starts_with(name));
        match (begins.next(), begins.next()) {
            (Some(id), None) => Ok(id.clone()),
            (Some(_), Some(_)) => Err(Error::new(
                Kind::Invalid,
                format!("id {name} is ambiguous: several containers begin with it"),
            )
            .hint("give more digits, or the name")),
            (None, _) => match all
                .into_iter()
                .find(|id| self.record(id).ok().flatten().is_some_and(|r| r.name == name))
            {
                Some(id) => Ok(id),
                None => Err(none()),
            },
        }
    }
}

/// Makes a directory of the state's and its parents: the way through is open for all, the lists are closed.
pub(crate) fn make_dirs(dir: &Path) -> Result<(), Failure> {
    make_dirs_with(dir, Mode::from_raw_mode(0o711))
}

/// Makes a directory and its parents.
pub(crate) fn make_dirs_with(dir: &Path, mode: Mode) -> Result<(), Failure> {
    match rustix::fs::mkdir(dir, mode) {
        Err(Errno::NOENT) => {
            if let Some(parent) = dir.parent() {
                make_dirs_with(parent, mode)?;
            }
            match rustix::fs::mkdir(dir, mode) {
                Err(Errno::EXIST) => Ok(()),
                made => made.map_err(failed(dir)),
            }
        }
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(failed(dir)(errno)),
    }
}

/// Takes a lock that nobody has but, for a moment, who only looks whether it is free.
fn wait_for(lock: &OwnedFd) -> Result<(), Errno> {
    loop {
        match rustix::fs::flock(lock, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn open_lock(path: &Path, create: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let flags = if create { flags | OFlags::CREATE } else { flags };
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
}

fn read_link(path: &Path) -> Option<String> {
    rustix::fs::readlink(path, Vec::new()).ok()?.into_string().ok()
}

fn directories(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            failed(dir)(errno)
        })?,
    };
    let is_id = |name: &OsString| {
        name.to_str().is_some_and(|name| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    Ok(names.filter(is_id).filter_map(|name| name.into_string().ok()).collect())
}

/// Writes a file whole: beside it, then over it. `durable` survives a power cut.
fn write_json(dir: &Path, name: &str, value: &impl Serialize, durable: bool) -> Result<(), Failure> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::new("state", path.display().to_string(), error))?;
    write_file(&new, &bytes, durable)?;
    rustix::fs::rename(&new, &path).map_err(failed(&path))
}

/// Writes a file of the state's.
pub(crate) fn write_file(path: &Path, bytes: &[u8], durable: bool) -> Result<(), Failure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map_err(failed(path))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).map_err(failed(path))?;
        rest = &rest[written..];
    }
    if durable { rustix::fs::fdatasync(&file).map_err(failed(path)) } else { Ok(()) }
}

fn read_json<T: for<'d> Deserialize<'d>>(path: &Path) -> Result<Option<T>, Failure> {
    let bytes = match std::fs::read(path) {
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        bytes => bytes.map_err(|error| Failure::new("state", path.display().to_string(), error))?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Failure::because("state", path.display().to_string(), format!("is damaged: {error}"))
            .hint("remove the container's directory if its content is of no use")
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn store(name: &str) -> (Scratch, Store) {
        let dir = std::env::temp_dir().join(format!("minidocker-state-{}-{name}", std::process::id()));
        let settings = Settings { root: dir.join("keep"), run_root: dir.join("run"), ..Settings::default() };
        let store = Store::new(&settings);
        store.prepare().unwrap();
        (Scratch(dir), store)
    }

    fn id(digit: char) -> String {
        std::iter::repeat_n(digit, 64).collect()
    }

    #[test]
    fn a_held_container_is_cared_for_and_a_free_one_is_not() {
        let (_dir, store) = store("held");
        let held = store.hold(&id('a')).unwrap();
        assert!(store.abandoned(&id('a')).unwrap().is_none());
        drop(held);
        let again = store.abandoned(&id('a')).unwrap().unwrap();
        assert!(store.abandoned(&id('a')).unwrap().is_none(), "whoever found it holds it");
        store.forget(&id('a')).unwrap();
        drop(again);
        assert!(store.abandoned(&id('a')).unwrap().is_none());
        assert!(store.present().unwrap().is_empty());
    }

    #[test]
    fn a_directory_without_a_lock_is_abandoned() {
        let (_dir, store) = store("bare");
        std::fs::create_dir(store.run_dir(&id('b'))).unwrap();
        assert!(store.abandoned(&id('b')).unwrap().is_some());
    }

    #[test]
    fn a_name_has_one_owner() {
        let (_dir, store) = store("name");
        assert_eq!(store.take_name("web", &id('a')).unwrap(), Ok(()));
        assert_eq!(store.take_name("web", &id('b')).unwrap(), Err(id('a')));
        store.give_name("web", &id('b')).unwrap();
        assert_eq!(store.find("web").unwrap(), id('a'));
        store.give_name("web", &id('a')).unwrap();
        assert_eq!(store.find("web").unwrap_err().kind, Kind::NoSuchContainer);
    }

    #[test]
    fn short_ids_must_be_unambiguous() {
        let (_dir, store) = store("short");
        let other: String = format!("ab{}", &id('c')[2..]);
        let _held = [store.hold(&id('a')).unwrap(), store.hold(&other).unwrap()];
        assert_eq!(store.find("ab").unwrap(), other);
        assert_eq!(store.find("aa").unwrap(), id('a'));
        assert_eq!(store.find("a").unwrap_err().kind, Kind::Invalid);
        for bad in ["", ".", "..", "a/b", "x"] {
            assert_eq!(store.find(bad).unwrap_err().kind, Kind::NoSuchContainer, "{bad:?}");
        }
    }

    #[test]
    fn a_process_is_its_number_and_its_start() {
        let (_dir, store) = store("init");
        let _held = store.hold(&id('a')).unwrap();
        let own = std::process::id() as i32;
        store.write_init(&id('a'), own).unwrap();
        assert_eq!(store.living_init(&id('a')), Some(own));
        let path = store.run_dir(&id('a')).join("init");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(format!("{own}:1"), &path).unwrap();
        assert_eq!(store.living_init(&id('a')), None, "another process of that number");
    }
}
