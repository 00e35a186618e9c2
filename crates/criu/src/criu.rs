//! The program: found, asked what it can do, and made to dump and restore.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid};
use rustix::thread::CapabilitySet;
use step::Failure;

use crate::conversation::{Conversation, Outcome};
use crate::error::Error;
use crate::log::Log;
use crate::notify::{Notify, Script};
use crate::options::{Common, DumpOptions, RestoreOptions};
use crate::request::{self, DUMP_LOG, Directories, RESTORE_LOG};
use crate::wire;
use crate::worker::Provision;

/// The CRIU of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criu {
    program: PathBuf,
}

/// A version of CRIU; they are ordered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The 4 of 4.1.1.
    pub major: u32,
    /// The first 1 of 4.1.1.
    pub minor: u32,
    /// The second 1 of 4.1.1; 0 in 4.1.
    pub sublevel: u32,
    /// What git calls it, if it was not built from a release.
    pub git: Option<String>,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.sublevel > 0 {
            write!(f, ".{}", self.sublevel)?;
        }
        self.git.iter().try_for_each(|git| write!(f, " ({git})"))
    }
}

/// What this CRIU can do on this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Pre-dumps, and dumps on top of them.
    pub memory_tracking: bool,
    /// Lazy pages, by userfaultfd(2).
    pub lazy_pages: bool,
    /// Pre-dumps that hold processes by pidfds, so that a number that is used again is noticed.
    pub pidfd_store: bool,
}

/// A dump that is done.
#[derive(Debug)]
#[must_use]
pub struct Dumped {
    /// What [`Notify::notified`] refused when it was too late, and when.
    pub complaints: Vec<(Script, Failure)>,
}

/// A restore that is done: the processes run.
#[derive(Debug)]
#[must_use]
pub struct Restored {
    /// The root process, as the caller's pid namespace numbers it.
    pub pid: Pid,
    /// What [`Notify::notified`] refused when it was too late, and when.
    pub complaints: Vec<(Script, Failure)>,
}

impl Criu {
    /// CRIU at `path`, or `criu` in PATH. It is not run yet.
    pub fn find(path: Option<&Path>) -> Result<Self, Error> {
        let name = path.unwrap_or(Path::new("criu"));
        let candidates = if name.components().count() > 1 {
            vec![name.to_owned()]
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).map(|directory| directory.join(name)).collect()
        };
        let found = candidates.into_iter().find(|path| path.is_file());
        Ok(Self { program: found.ok_or_else(|| Error::Missing { program: name.to_owned() })? })
    }

    /// Where it is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Which version it is.
    pub fn version(&self) -> Result<Version, Error> {
        let request = wire::Request { kind: wire::kind::VERSION, ..Default::default() };
        let response = self.ask("version", &request)?;
        let version =
            response.version.ok_or_else(|| Error::Answer { asked: "version", answer: "none".into() })?;
        let number = |number: i32| u32::try_from(number).unwrap_or(0);
        Ok(Version {
            major: number(version.major),
            minor: number(version.minor),
            sublevel: number(version.sublevel.unwrap_or(0)),
            git: version.git,
        })
    }

    /// Whether it works on this kernel at all: `criu check`.
    pub fn check(&self) -> Result<(), Error> {
        let mut command = Command::new(&self.program);
        let output = command.args(["check", "--no-default-config"]).stdin(Stdio::null()).output();
        let output = output.map_err(|source| self.cannot("start", source))?;
        if output.status.success() {
            return Ok(());
        }
        // Errors go to the one or the other stream, by version.
        let said = [output.stdout, output.stderr].concat();
        let log = Log::of_text(&String::from_utf8_lossy(&said));
        Err(Error::Unfit { program: self.program.clone(), log })
    }

    /// What it can do here beyond a plain dump.
    pub fn features(&self) -> Result<Features, Error> {
        let asked = wire::Features { mem_track: Some(true), lazy_pages: Some(true), pidfd_store: Some(true) };
        let request =
            wire::Request { kind: wire::kind::FEATURE_CHECK, features: Some(asked), ..Default::default() };
        let answer = self.ask("feature check", &request).map_err(|error| match error {
            // Without a log of its own it does not say what is wrong; what is wrong is wrong with everything.
            Error::Failed { .. } => self.check().err().unwrap_or(error),
            other => other,
        });
        let there = answer?.features.unwrap_or_default();
        Ok(Features {
            memory_tracking: there.mem_track == Some(true),
            lazy_pages: there.lazy_pages == Some(true),
            pidfd_store: there.pidfd_store == Some(true),
        })
    }

    /// Dumps a process tree, or with `pre_dump` its memory only. Returns when all is on disk (with lazy pages: fetched)
    /// and, unless they are left running, the processes have been killed; whoever started them still waits for them.
    pub fn dump(&self, options: &DumpOptions, notify: &mut dyn Notify) -> Result<Dumped, Error> {
        let asked = if options.pre_dump { "pre-dump" } else { "dump" };
        let listen = request::listen_address(options)?;
        // The request is made twice: what is wrong with the options is told before anything is made or started.
        request::dump(options, Directories { images: -1, work: None })?;
        self.need(options)?;
        make_directory(&options.common.images_dir)?;
        request::check_parent(options)?;
        let places = Places::open(&options.common, DUMP_LOG)?;
        let provision = Provision {
            configuration: listen.map(|address| format!("address {address}\n")),
            same_group: options.common.shell_job,
            ..Provision::default()
        };
        let request = request::dump(options, places.directories())?;
        let conversation = Conversation { criu: self, asked, log: Some(&places.log) };
        match conversation.hold(provision, &request, notify) {
            Outcome::Done { complaints, .. } => Ok(Dumped { complaints }),
            Outcome::Failed { error, .. } => Err(error),
        }
    }

    /// Restores a process tree. Of a restore that failed nothing is left.
    pub fn restore(&self, options: &RestoreOptions<'_>, notify: &mut dyn Notify) -> Result<Restored, Error> {
        let numbers: Vec<i32> =
            options.inherit.iter().map(|inherit| inherit.descriptor.as_raw_fd()).collect();
        request::restore(options, Directories { images: -1, work: None }, &numbers)?;
        let places = Places::open(&options.common, RESTORE_LOG)?;
        let copy = |descriptor: BorrowedFd<'_>| {
            fcntl_dupfd_cloexec(descriptor, 3)
                .map_err(|error| self.cannot("pass a descriptor to", error.into()))
        };
        let inherited = options.inherit.iter().map(|inherit| copy(inherit.descriptor));
        let inherited = inherited.collect::<Result<Vec<OwnedFd>, _>>()?;
        let numbers: Vec<i32> = inherited.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
        let request = request::restore(options, places.directories(), &numbers)?;
        let provision = Provision {
            inherited,
            stdin: options.terminal.map(copy).transpose()?,
            same_group: options.common.shell_job,
            configuration: None,
        };
        let conversation = Conversation { criu: self, asked: "restore", log: Some(&places.log) };
        match conversation.hold(provision, &request, notify) {
            Outcome::Done { pid: Some(pid), complaints } => Ok(Restored { pid, complaints }),
            Outcome::Done { pid: None, .. } => {
                Err(Error::Answer { asked: "restore", answer: "no process".into() })
            }
            Outcome::Failed { error, pid } => {
                if let Some(pid) = pid.filter(|_| options.sibling) {
                    end_child(pid);
                }
                Err(error)
            }
        }
    }

    /// CRIU's own words for what is missing come late and are unclear.
    fn need(&self, options: &DumpOptions) -> Result<(), Error> {
        let tracks = options.pre_dump || options.track_mem || options.parent_path.is_some();
        if !tracks && !options.common.lazy_pages {
            return Ok(());
        }
        let there = self.features()?;
        let lacking = |feature| Err(Error::Feature { program: self.program.clone(), feature });
        match () {
            () if tracks && !there.memory_tracking => lacking("memory tracking"),
            () if options.common.lazy_pages && !there.lazy_pages => lacking("lazy pages"),
            // CRIU makes pipes larger than /proc/sys/fs/pipe-max-size, and finds out when the memory is being fetched.
            () if options.common.lazy_pages && !may_exceed_limits() => {
                lacking("lazy pages without the capability SYS_RESOURCE")
            }
            () => Ok(()),
        }
    }

    /// A request without images, log and notifications.
    fn ask(&self, asked: &'static str, request: &wire::Request) -> Result<wire::Response, Error> {
        let conversation = Conversation { criu: self, asked, log: None };
        conversation.ask(request)
    }

    pub(crate) fn cannot(&self, action: &'static str, source: io::Error) -> Error {
        Error::Start { action, program: self.program.clone(), source }
    }
}

fn may_exceed_limits() -> bool {
    let sets = rustix::thread::capabilities(None);
    sets.is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE))
}

/// The directories of one dump or restore, open for as long as CRIU may open them again through /proc.
struct Places {
    images: OwnedFd,
    work: Option<OwnedFd>,
    log: PathBuf,
}

impl Places {
    fn open(common: &Common, log: &str) -> Result<Self, Error> {
        let images = open_directory(&common.images_dir)?;
        let mut log_dir = &common.images_dir;
        let mut work = None;
        if let Some(directory) = &common.work_dir {
            make_directory(directory)?;
            work = Some(open_directory(directory)?);
            log_dir = directory;
        }
        let log = log_dir.join(log);
        // An older attempt's log would explain a failure that is not this one's. Where it cannot be removed, CRIU
        // cannot write its own either, and says so.
        let _ = fs::remove_file(&log);
        Ok(Self { images, work, log })
    }

    fn directories(&self) -> Directories {
        Directories { images: self.images.as_raw_fd(), work: self.work.as_ref().map(|work| work.as_raw_fd()) }
    }
}

/// Memory of processes lies in it: for its owner only.
fn make_directory(path: &Path) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::File { action: "create", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| Error::File {
        action: "open",
        path: path.to_owned(),
        source: error.into(),
    })
}

/// Ends and reaps what a failed restore left as this process's child. CRIU kills it, but only its parent can wait for
/// it.
fn end_child(pid: Pid) {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // Not a child: somebody else's, or of another pid namespace. Its number must not be touched.
    if waitid(WaitId::Pid(pid), look).is_err() {
        return;
    }
    // A child keeps its number until it is waited for: nobody else can be hit.
    let _ = kill_process(pid, Signal::KILL);
    let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_and_told_as_criu_tells_them() {
        let version = |major, minor, sublevel| Version { major, minor, sublevel, git: None };
        assert!(version(3, 17, 1) < version(3, 18, 0) && version(3, 19, 0) < version(4, 0, 0));
        assert_eq!(version(3, 17, 1).to_string(), "3.17.1");
        let built = Version { git: Some("v4.2-7-gabc".into()), ..version(4, 2, 0) };
        assert_eq!(built.to_string(), "4.2 (v4.2-7-gabc)");
    }

    #[test]
    fn a_missing_criu_comes_with_a_way_out() {
        let error = Criu::find(Some(Path::new("/nonexistent/criu"))).unwrap_err();
        assert_eq!(error.to_string(), "/nonexistent/criu not found");
        assert!(error.hint().unwrap().contains("install"));
        let error = Criu::find(Some(Path::new("criu-that-nobody-has"))).unwrap_err();
        assert_eq!(error.to_string(), "criu-that-nobody-has not found");
    }

    #[test]
    fn what_is_no_child_is_left_alone() {
        // Process 1 lives on, whoever runs this test.
        end_child(Pid::INIT);
        let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        end_child(pid);
        assert_eq!(waitpid(Some(pid), WaitOptions::NOHANG).unwrap_err(), rustix::io::Errno::CHILD);
        assert!(child.try_wait().is_err());
    }
}
