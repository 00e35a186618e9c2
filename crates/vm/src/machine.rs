//! A machine from its parts to its process: daemons, initramfs, QEMU.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use step::Failure;
use sys::ticks::Ticks;

use crate::devices::{self, Disk, Layout};
use crate::settings::{self, Lower, Process, Share, Source};
use crate::share::{self, Daemon, Shared};
use crate::timings::Notes;
use crate::{Hardware, Kernel, Settings, initramfs};

const STEP: &str = "vm.start";

/// The least memory, in bytes, that a kernel with this init boots in.
pub const LEAST_MEMORY: u64 = 128 << 20;

/// What is needed of the kernel. Those that are built in need no loading.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_console", "virtio_blk", "overlay", "crc32c_intel"];

/// A tree of the host.
#[derive(Debug)]
pub struct Tree {
    /// Its top, or the mount that shows it.
    pub directory: OwnedFd,
    /// Where it goes, absolute.
    pub at: PathBuf,
    /// Whether `directory` only reads: the guest's mount is to say so too.
    pub read_only: bool,
}

/// A read-only file system of the root.
#[derive(Debug)]
pub enum Root {
    /// An ext4 in a file.
    Disk(File),
    /// A tree that nobody on the host changes.
    Tree(OwnedFd),
}

/// What a machine is to be.
#[derive(Debug)]
pub struct Plan {
    /// How much of it.
    pub hardware: Hardware,
    /// What it boots.
    pub kernel: Kernel,
    /// What its root is made of, each with where it goes, relative; the root itself first, with an empty path.
    pub root: Vec<(Root, PathBuf)>,
    /// The disk that takes what is written: an empty ext4, thrown away with its last descriptor.
    pub scratch: File,
    /// Further trees of the host.
    pub trees: Vec<Tree>,
    /// What it runs.
    pub process: Process,
    /// Its host name.
    pub hostname: String,
    /// What QEMU's process is called on the host.
    pub name: String,
}

/// A machine that has been started. It ends when this goes.
#[derive(Debug)]
pub struct Machine {
    pub(crate) qemu: share::Process,
    pub(crate) port: UnixStream,
    pub(crate) console: UnixStream,
    pub(crate) monitor: UnixStream,
    pub(crate) errors: OwnedFd,
    pub(crate) notes: Notes,
    pub(crate) began: Instant,
    pub(crate) daemons: Vec<Daemon>,
}

/// Whether what a machine needs of the host is there: QEMU, and virtiofsd where a tree is to be shared. To be asked
/// before anything is made.
///
/// # Errors
/// What is missing, with the package that has it.
pub fn check_host(shares: bool) -> Result<(), Failure> {
    program()?;
    if shares {
        share::daemon()?;
    }
    Ok(())
}

fn program() -> Result<PathBuf, Failure> {
    const NAME: &str = "qemu-system-x86_64";
    share::find(NAME).ok_or_else(|| {
        Failure::because(STEP, NAME, "is not installed").hint("install qemu-system-x86 (Debian, Ubuntu)")
    })
}

impl Machine {
    /// Starts it. `began`, when the command did: what times are counted from.
    ///
    /// # Errors
    /// What of the host is missing or refuses. Nothing is left then.
    pub fn start(plan: Plan, began: Instant) -> Result<Self, Failure> {
        let Plan { hardware, kernel, root, scratch, trees, process, hostname, name } = plan;
        let mut notes = Notes { image: began.elapsed().as_secs_f64(), ..Notes::default() };
        let (program, ticks) = (program()?, Ticks::now());
        let mut parts = Parts::default();
        let mut lower = Vec::new();
        for (index, (root, at)) in root.into_iter().enumerate() {
            let source = match root {
                Root::Disk(file) => Source::Disk(parts.disk(format!("root{index}"), file, true)),
                Root::Tree(tree) => Source::Tree(parts.tree(&tree, true)?),
            };
            lower.push(Lower { source, at });
        }
        let scratch = parts.disk("scratch".to_owned(), scratch, false);
        let mut shares = Vec::new();
        for Tree { directory, at, read_only } in trees {
            shares.push(Share { tag: parts.tree(&directory, false)?, at, read_only });
        }
        let mut needed = MODULES.to_vec();
        needed.extend((!parts.shared.is_empty()).then_some("virtiofs"));
        needed.extend(hardware.network.then_some("virtio_net"));
        let modules = kernel.modules(&needed)?;
        let files = settings::files(&hostname, hardware.network);
        let settings = Settings {
            process,
            hostname,
            modules: modules.iter().map(|(name, _)| name.clone()).collect(),
            lower,
            scratch,
            shares,
            network: hardware.network,
            files,
        };
        let initramfs = initramfs::build(&modules, &settings)?;
        drop(modules);
        let sockets = Sockets::new().map_err(|cause| Failure::new(STEP, "a socket", cause))?;
        let layout = Layout {
            name: &name,
            hardware,
            tsc: ticks.map(Ticks::khz),
            kernel: &kernel.image,
            initramfs: initramfs.as_raw_fd(),
            port: sockets.theirs[0].as_raw_fd(),
            console: sockets.theirs[1].as_raw_fd(),
            monitor: sockets.theirs[2].as_raw_fd(),
            disks: &parts.disks(),
            trees: &parts.tags(),
        };
        let arguments = devices::arguments(&layout);
        let mut inherited: Vec<OwnedFd> = sockets.theirs.into_iter().map(OwnedFd::from).collect();
        inherited.push(initramfs.into());
        inherited.extend(parts.files.into_iter().map(|(file, ..)| OwnedFd::from(file)));
        let mut daemons = Vec::new();
        for (_, Shared { socket, daemon }) in parts.shared {
            inherited.push(socket);
            daemons.push(daemon);
        }
        let (qemu, errors) = spawn(&program, &arguments, inherited)?;
        notes.spawned = began.elapsed().as_secs_f64();
        let [port, console, monitor] = sockets.ours;
        Ok(Self { qemu, port, console, monitor, errors, notes, began, daemons })
    }
}

/// Starts QEMU; its errors come by the pipe.
fn spawn(
    program: &Path,
    arguments: &[String],
    inherited: Vec<OwnedFd>,
) -> Result<(share::Process, OwnedFd), Failure> {
    let failed = |cause: std::io::Error| Failure::new(STEP, program.display().to_string(), cause);
    let mut command = Command::new(program);
    command.args(arguments);
    sys::command::inherit(&mut command, inherited).map_err(failed)?;
    sys::command::die_with_parent(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let errors = child.stderr.take().map(OwnedFd::from);
    let process = share::Process(child);
    let errors =
        errors.ok_or_else(|| Failure::because(STEP, program.display().to_string(), "has no errors"))?;
    Ok((process, errors))
}

/// Sockets between the command and QEMU: frames, console, monitor.
struct Sockets {
    ours: [UnixStream; 3],
    theirs: [UnixStream; 3],
}

impl Sockets {
    fn new() -> std::io::Result<Self> {
        let (port, their_port) = UnixStream::pair()?;
        let (console, their_console) = UnixStream::pair()?;
        let (monitor, their_monitor) = UnixStream::pair()?;
        for stream in [&port, &console, &monitor] {
            stream.set_nonblocking(true)?;
        }
        Ok(Self { ours: [port, console, monitor], theirs: [their_port, their_console, their_monitor] })
    }
}

/// Disks and shared trees, as they are collected.
#[derive(Default)]
struct Parts {
    /// File, serial, read-only, past the page cache.
    files: Vec<(File, String, bool, bool)>,
    shared: Vec<(String, Shared)>,
}

impl Parts {
    /// Gives the serial.
    fn disk(&mut self, serial: String, file: File, read_only: bool) -> String {
        let direct = takes_direct(&file);
        self.files.push((file, serial.clone(), read_only, direct));
        serial
    }

    /// Gives the tag.
    fn tree(&mut self, tree: &OwnedFd, steady: bool) -> Result<String, Failure> {
        let tag = format!("tree{}", self.shared.len());
        let shared = share::share(&share::daemon()?, tree, steady)?;
        self.shared.push((tag.clone(), shared));
        Ok(tag)
    }

    fn disks(&self) -> Vec<Disk<'_>> {
        self.files
            .iter()
            .map(|(file, serial, read_only, direct)| Disk {
                file: file.as_raw_fd(),
                serial,
                read_only: *read_only,
                direct: *direct,
            })
            .collect()
    }

    fn tags(&self) -> Vec<(String, RawFd)> {
        self.shared.iter().map(|(tag, shared)| (tag.clone(), shared.socket.as_raw_fd())).collect()
    }
}

/// Whether the file's file system reads and writes past the page cache. (O_DIRECT of open(2))
fn takes_direct(file: &File) -> bool {
    let Ok(flags) = fcntl_getfl(file) else { return false };
    let takes = fcntl_setfl(file, flags | OFlags::DIRECT).is_ok();
    takes && fcntl_setfl(file, flags).is_ok()
}
