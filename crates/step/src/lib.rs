//! The vocabulary of explainable kernel steps: what a step says of itself, how it fails, and the trace of what was
//! done. No I/O here: each room of the house brings its own small enum of steps and performs them itself.
//!
//! A step is data. One pure `plan` makes the list, one loop performs it, `--explain` prints the same list, the
//! kernel tests kill us between any two of its entries.
//!
//! There is no undo stack beside it: every kernel object carries the container's id in its name, so what a step
//! made is found and removed by id (docs/decisions/0002).

#![forbid(unsafe_code)]

mod failure;
mod nearest;
mod shell;
mod trace;

pub use failure::{Failure, words};
pub use nearest::nearest;
pub use shell::{Shell, quote};
pub use trace::{Actor, Record, Trace};

use std::borrow::Cow;
use std::fmt::Debug;
use std::os::fd::OwnedFd;

/// One kernel step.
pub trait Step: Debug {
    /// A stable dotted name, domain first: `mount.proc`, `cgroup.limit`, `network.veth`.
    fn id(&self) -> &'static str;

    /// The exact system call or file write, as strace(1) would show it.
    fn call(&self) -> String;

    /// One line: why this step is taken.
    fn why(&self) -> Cow<'static, str>;

    /// The same by plain commands.
    fn shell(&self) -> Shell;

    /// Does it. Whatever a later step needs of it goes into `context`.
    fn perform(&self, context: &mut Context) -> Result<(), Failure>;

    /// A failure of this step on `target` (a path, an address, a name).
    fn failed(&self, target: impl Into<String>, cause: impl Into<std::io::Error>) -> Failure
    where
        Self: Sized,
    {
        Failure::new(self.id(), target, cause)
    }
}

/// A list of steps, in the order in which they are taken.
pub type Steps = Vec<Box<dyn Step>>;

/// What the steps of one process hand on to each other: only what the kernel gives at run time and no plan can
/// know beforehand. The monitor and the container's init have one each.
#[derive(Debug, Default)]
pub struct Context {
    /// The container's init as the monitor's pid namespace numbers it; none before the clone, and none in init.
    pub init: Option<i32>,
    /// The new root file system: a detached mount until it is attached, then the directory that init builds in.
    pub root: Option<OwnedFd>,
    /// The container's user namespace where it has its own: for idmapped mounts.
    pub userns: Option<OwnedFd>,
    /// The container's terminal, once it is open.
    pub terminal: Option<Terminal>,
    /// Control group files that were opened with the monitor's rights, for an init that has none on them: the kernel
    /// checks the rights of who opened the file (CVE-2021-4197).
    pub groups: Vec<OwnedFd>,
    /// Detached clones of the host's mounts by their number in the plan: taken while events still pass between them
    /// and the host's, or by the monitor because init has no rights to.
    pub taken: Vec<(usize, OwnedFd)>,
    /// Where a container that is created first and started later waits, and where it tells how that went.
    pub gate: Option<Gate>,
    /// The listener of a system call filter that notifies, seccomp_unotify(2).
    pub listener: Option<OwnedFd>,
    /// The working directory was refused, and is to be tried again as the program's user.
    pub directory_refused: bool,
    /// A route netlink socket of the network namespace that this process is in, opened by the first step that
    /// needs one.
    pub netlink: Option<OwnedFd>,
    /// The sockets of the container's name service, inside of its network namespace: for datagrams, for streams.
    pub resolver: Option<[OwnedFd; 2]>,
    /// What takes milliseconds to close, and goes when there is time.
    pub closing: Vec<OwnedFd>,
}

/// What a created container waits at: two named pipes, so that any later process can open the gate, whoever made it.
#[derive(Debug)]
pub struct Gate {
    /// Read by init; the first byte lets it go.
    pub go: OwnedFd,
    /// Written by init: a failure on the last steps. Its end, without a word, says that the program runs.
    pub told: OwnedFd,
}

/// Both ends of a container's terminal.
#[derive(Debug)]
pub struct Terminal {
    /// The end that the monitor reads and writes.
    pub master: OwnedFd,
    /// The end that is the program's terminal.
    pub slave: OwnedFd,
}
