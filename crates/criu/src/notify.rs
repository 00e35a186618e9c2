//! What CRIU tells while it works, and what the caller does then.

use std::fmt;
use std::os::fd::OwnedFd;

use rustix::process::Pid;
use step::Failure;

/// A moment of a dump or restore: the "action scripts" of criu(8).
///
/// ```text
/// dump:      PreDump NetworkLock QueryExternalFiles PostDump NetworkUnlock (leave running) StatusReady (lazy pages)
/// restore:   PreRestore SetupNamespaces PostSetupNamespaces OrphanPtsMaster (each) PostRestore NetworkUnlock
///            PreResume PostResume
/// pre-dump:  nothing
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// Nothing has been done yet.
    PreDump,
    /// All is in the images. The processes still stand, and go on if this is refused.
    PostDump,
    /// Nothing has been done yet.
    PreRestore,
    /// The root process is there, in new namespaces, with nothing in them: the moment for the network and for hooks.
    SetupNamespaces,
    /// The namespaces are as they were.
    PostSetupNamespaces,
    /// All is there, nothing runs. The pid is that of the root process.
    PostRestore,
    /// The processes are about to run.
    PreResume,
    /// The processes run.
    PostResume,
    /// Connections must be held. Only for a network namespace of its own.
    NetworkLock,
    /// Connections may go on.
    NetworkUnlock,
    /// The master of a terminal whose master was outside of the dumped processes, as the event's descriptor. Dropping
    /// it hangs up the terminal.
    OrphanPtsMaster,
    /// Lazy pages: the dump is done but for memory, which is served from now on.
    StatusReady,
    /// [`Notify::external_files`] is asked. Since CRIU 3.19.
    QueryExternalFiles,
    /// One that came after CRIU 4.2, by its name.
    Unknown(String),
}

impl Script {
    const NAMES: [(Self, &str); 13] = [
        (Self::PreDump, "pre-dump"),
        (Self::PostDump, "post-dump"),
        (Self::PreRestore, "pre-restore"),
        (Self::SetupNamespaces, "setup-namespaces"),
        (Self::PostSetupNamespaces, "post-setup-namespaces"),
        (Self::PostRestore, "post-restore"),
        (Self::PreResume, "pre-resume"),
        (Self::PostResume, "post-resume"),
        (Self::NetworkLock, "network-lock"),
        (Self::NetworkUnlock, "network-unlock"),
        (Self::OrphanPtsMaster, "orphan-pts-master"),
        (Self::StatusReady, "status-ready"),
        (Self::QueryExternalFiles, "query-ext-files"),
    ];

    pub(crate) fn of(name: &str) -> Self {
        let known = Self::NAMES.into_iter().find(|(_, known)| *known == name);
        known.map_or_else(|| Self::Unknown(name.into()), |(script, _)| script)
    }

    /// Whether a refusal makes CRIU give up.
    pub(crate) fn can_stop(&self) -> bool {
        !matches!(self, Self::PreResume | Self::PostResume | Self::NetworkUnlock)
    }

    /// CRIU's name of it: `post-restore`.
    pub fn name(&self) -> &str {
        match self {
            Self::Unknown(name) => name,
            known => Self::NAMES.iter().find(|(script, _)| script == known).map_or("", |(_, name)| name),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What CRIU tells.
#[derive(Debug)]
pub struct Event {
    /// Which moment it is.
    pub script: Script,
    /// The root process as CRIU's pid namespace numbers it, the caller's own: at [`Script::SetupNamespaces`] and
    /// [`Script::PostRestore`].
    pub pid: Option<Pid>,
    /// The master of a terminal: at [`Script::OrphanPtsMaster`].
    pub descriptor: Option<OwnedFd>,
}

/// What the caller does while CRIU works. CRIU waits for each answer.
pub trait Notify {
    /// CRIU runs as this process and waits for its task: the moment to put it into the control groups from which a
    /// restore starts. A failure ends it.
    fn started(&mut self, criu: Pid) -> Result<(), Failure> {
        let _ = criu;
        Ok(())
    }

    /// Something happens. A failure makes CRIU give up: a dumped process goes on, a restored one is killed. Where it
    /// is too late for that ([`Script::PreResume`], [`Script::PostResume`], [`Script::NetworkUnlock`]) it is handed
    /// back in [`Dumped`](crate::Dumped) or [`Restored`](crate::Restored).
    fn notified(&mut self, event: Event) -> Result<(), Failure>;

    /// At [`Script::QueryExternalFiles`]: more externals, now that the processes stand still, as
    /// [`External`](crate::External) writes them.
    fn external_files(&mut self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}

/// Agrees to everything.
impl Notify for () {
    fn notified(&mut self, _: Event) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_by_its_name_and_a_new_one_keeps_it() {
        for (script, name) in Script::NAMES {
            assert_eq!((Script::of(name), script.name()), (script.clone(), name));
        }
        assert_eq!(Script::of("pre-stream").to_string(), "pre-stream");
    }
}
