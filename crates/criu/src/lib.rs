//! The client side of CRIU: dumps a container's processes into images and restores them, as the `checkpoint` and
//! `restore` of an OCI runtime want it.
//!
//! CRIU is a program of the host, started for each task as `criu swrk N` and spoken to over a socket; [`Criu`] is where
//! it is, [`DumpOptions`] and [`RestoreOptions`] say what to do, and [`Notify`] is called while it happens.
//!
//! ```no_run
//! # fn main() -> Result<(), criu::Error> {
//! # let init = rustix::process::getpid();
//! let criu = criu::Criu::find(None)?;
//! let dump = criu::DumpOptions::new(init, "/var/lib/images/web");
//! criu.dump(&dump, &mut ())?;
//!
//! let mut restore = criu::RestoreOptions::new("/var/lib/images/web");
//! restore.common.root = Some("/run/restore/web".into());
//! let restored = criu.restore(&restore, &mut ())?;
//! println!("process {} goes on", restored.pid);
//! # Ok(())
//! # }
//! ```
//!
//! What follows is what a runtime has to know, from criu(8), CRIU's sources 3.17.1 and 4.2, what runc and crun do, and
//! the tests of this crate.
//!
//! # The host
//!
//! - Root. CRIU 3.17 or newer; since Linux 6.13 CRIU 4.1 or newer, for the kernel's vDSO is laid out otherwise.
//!   [`Criu::check`] tells.
//! - iptables(8) for a container with a network namespace of its own, unless another [`NetworkLock`] is chosen.
//! - A loopback link that is up where CRIU runs: it tries the kernel with a connection to itself.
//! - Lazy pages: userfaultfd(2), and CAP_SYS_RESOURCE for large pipes. Pre-dumps: CONFIG_MEM_SOFT_DIRTY.
//! - `/etc/criu/default.conf` applies to every task; [`Common::config_file`] overrides even what is set here.
//!
//! # Before a dump
//!
//! - **Mounts.** CRIU dumps tmpfs with its content, and remakes proc, sysfs, devpts, mqueue and cgroup2. The root's
//!   content is not dumped: whoever restores brings the same files. Every bind mount is an [`External::Mount`] under
//!   its mount point, as seen from inside with links resolved ([`External::mount_point`]); so is each hierarchy below
//!   /sys/fs/cgroup with control groups version 1 and no cgroup namespace, and each device node that is a bind mount.
//!   A file masked by /dev/null is external under the name `/dev/null`; a masked directory is a tmpfs.
//! - **Control groups.** [`DumpOptions::freeze_cgroup`] is the container's group, with version 1 that of the freezer.
//!   [`CgroupMode`] must be the restore's too.
//! - **Namespaces.** A network or pid namespace that the container joined by path is an [`External::Namespace`].
//! - **Streams.** Pipes need no option, but their names must be kept: [`Descriptors`], beside the images. A file of
//!   the host as a standard stream cannot be dumped, unless it is an [`External::File`]. The same holds for every
//!   descriptor that leaked into the container.
//! - **Terminal.** Nothing to do if its devpts is the container's own.
//! - A pre-dump needs no externals. Each has a directory of its own; the next names it as
//!   [`DumpOptions::parent_path`], and all of them are needed at the restore.
//! - Lazy pages: [`Script::StatusReady`] is the moment that runc tells by a zero byte to `--status-fd`.
//!
//! # After a dump
//!
//! The processes have been killed, as by SIGKILL, unless they are left running: the parent of the container's init
//! waits for it, and takes network and groups down as at any other end. [`Script::PostDump`] is the moment to note
//! that the container ends by a checkpoint.
//!
//! # Before a restore
//!
//! - **Root.** [`Common::root`] is required. It must be a mount point in the mount namespace of the caller, and its
//!   parent must not be covered by another mount. runc binds the root file system to a directory of its own for the
//!   time being. A caller that does not want to be seen mounts it in a private mount namespace of its own, as the
//!   tests do.
//! - **Mount points.** All must be there, bind mounts' included, except on a tmpfs, which comes back with its
//!   directories, and for control groups. A mount point that lies in a bind mount is to be made there.
//! - **Externals.** For each that was dumped, the same name with the host's path: mount point and source, and for the
//!   masks `/dev/null` with `/dev/null`. Namespaces come as an [`Inherit`] under their key ([`NamespaceKind::key`]);
//!   ipc, uts and time namespaces by path as a [`JoinNamespace`].
//! - **Control groups.** The runtime makes the groups with their limits and, at [`Notify::started`], puts CRIU into
//!   them. CRIU then makes what of the dumped groups is missing, each under its old name, or below the new groups with
//!   [`RestoreOptions::cgroup_roots`]. With [`CgroupMode::Ignore`] the container stays in CRIU's groups, but in CRIU's
//!   control group namespace too: that is for containers without one of their own.
//! - **Streams.** For each of [`Descriptors::pipes`] an [`Inherit`] with the end that the container shall have.
//! - **Terminal.** [`Script::OrphanPtsMaster`] brings the new master, for whoever holds the old one's place.
//! - **Network.** With [`Common::empty_network`], or with a veth that led outside, the runtime sets up the network at
//!   [`Script::SetupNamespaces`], in the namespace of the event's pid. This is also where runc runs the hooks
//!   `prestart` and `createRuntime`.
//! - **Devices.** runc sets [`Common::evasive_devices`].
//! - **Names.** CRIU restores pids as they were. That is easy in a pid namespace, and fails elsewhere if one is taken.
//!   Before CRIU 4.1 only one restore at a time can run in one network namespace.
//!
//! # After a restore
//!
//! With [`RestoreOptions::sibling`] the caller is the parent of the container's init, as if it had started it: it
//! waits for it, and gets SIGCHLD. At [`Script::PostRestore`] nothing runs yet: the moment to write down the pid. The
//! container is in a new time namespace, in which its clocks go on where they were. Mounts that were made for CRIU
//! can go.
//!
//! A restore that fails kills what it made, and what is left of it as a child of the caller is ended and waited for
//! here. CRIU 4.2 can hang, though, if it fails in its very last phase, when it traces all processes: it waits for an
//! init that waits for a child that CRIU traces. Killing CRIU resolves it.

#![forbid(unsafe_code)]

mod conversation;
mod criu;
mod descriptors;
mod error;
mod external;
mod log;
mod notify;
mod options;
mod request;
mod wire;
mod worker;

pub use criu::{Criu, Dumped, Features, Restored, Version};
pub use descriptors::{Descriptors, FILE as DESCRIPTORS_FILE};
pub use error::Error;
pub use external::{External, NamespaceKind};
pub use log::Log;
pub use notify::{Event, Notify, Script};
pub use options::{
    CgroupMode, CgroupRoot, Common, DumpOptions, Inherit, JoinNamespace, NetworkLock, PageServer,
    RestoreOptions,
};
