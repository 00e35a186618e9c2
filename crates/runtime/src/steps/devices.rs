//! /dev: the standard devices and links, and those that were asked for.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use step::{Context, Failure, Shell, Step, quote};

use super::mounts::{attach, clone};
use super::root;
use crate::path::{self, Kind};

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// In the container, absolute.
    pub path: PathBuf,
    /// `c`, `b` or `p`, as mknod(1) has it.
    pub kind: char,
    /// Major and minor number.
    pub number: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
}

impl Node {
    fn file_type(&self) -> FileType {
        match self.kind {
            'b' => FileType::BlockDevice,
            'p' => FileType::Fifo,
            _ => FileType::CharacterDevice,
        }
    }
}

/// Links that programs expect in /dev.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

/// Device steps.
#[derive(Debug)]
pub(crate) enum Devices {
    /// mknod(2) of each.
    Nodes(Vec<Node>),
    /// The host's nodes bound in: where a user namespace forbids mknod(2).
    BindNodes(Vec<Node>),
    /// /dev/fd and friends, and /dev/ptmx where the container has terminals of its own.
    Links { ptmx: bool },
}

impl Step for Devices {
    fn id(&self) -> &'static str {
        match self {
            Self::Nodes(_) | Self::BindNodes(_) => "device.nodes",
            Self::Links { .. } => "device.links",
        }
    }

    fn call(&self) -> String {
        let names = |nodes: &[Node]| {
            let names: Vec<_> = nodes
                .iter()
                .map(|n| format!("{} {} {}:{}", n.path.display(), n.kind, n.number.0, n.number.1))
                .collect();
            names.join(", ")
        };
        match self {
            Self::Nodes(nodes) => format!("mknodat for {}", names(nodes)),
            Self::BindNodes(nodes) => format!("open_tree, move_mount for {}", names(nodes)),
            Self::Links { ptmx } => {
                let mut all: Vec<_> = LINKS.iter().map(|(link, to)| format!("{link} -> {to}")).collect();
                all.extend(ptmx.then(|| "/dev/ptmx -> pts/ptmx".to_owned()));
                format!("symlinkat for {}", all.join(", "))
            }
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Nodes(_) => "the devices that every program may rely on, and none of the host's others",
            Self::BindNodes(_) => {
                "a user namespace may not make device nodes, so the host's own are bound in"
            }
            Self::Links { .. } => "names that shells and programs expect in /dev",
        })
    }

    fn shell(&self) -> Shell {
        Shell::Lines(match self {
            Self::Nodes(nodes) => nodes
                .iter()
                .map(|node| {
                    let at = quote(&node.path.to_string_lossy()).into_owned();
                    let (major, minor) = node.number;
                    match node.kind {
                        'p' => format!("mknod -m {:o} \"$ROOT\"{at} p", node.mode),
                        kind => format!("mknod -m {:o} \"$ROOT\"{at} {kind} {major} {minor}", node.mode),
                    }
                })
                .collect(),
            Self::BindNodes(nodes) => nodes
                .iter()
                .map(|node| {
                    let at = quote(&node.path.to_string_lossy()).into_owned();
                    format!(": > \"$ROOT\"{at}; mount --bind {at} \"$ROOT\"{at}")
                })
                .collect(),
            Self::Links { ptmx } => {
                let mut lines: Vec<_> =
                    LINKS.iter().map(|(link, to)| format!("ln -s {to} \"$ROOT\"{link}")).collect();
                if *ptmx {
                    lines.push("ln -s pts/ptmx \"$ROOT\"/dev/ptmx".to_owned());
                }
                lines
            }
        })
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        let root = root(context, self.id())?;
        match self {
            Self::Nodes(nodes) => nodes.iter().try_for_each(|node| self.make(root, node)),
            Self::BindNodes(nodes) => nodes.iter().try_for_each(|node| self.bind(root, node)),
            Self::Links { ptmx } => {
                let ptmx = ptmx.then_some(("/dev/ptmx", "pts/ptmx"));
                LINKS.into_iter().chain(ptmx).try_for_each(|(link, to)| self.link(root, link, to))
            }
        }
    }
}

impl Devices {
    /// A neighbour with whom the directory is shared may change it at any moment: the mode comes with mknod(2), and the
    /// owner by a descriptor.
    fn make(&self, root: &OwnedFd, node: &Node) -> Result<(), Failure> {
        let failed = |errno| self.failed(node.path.display().to_string(), errno);
        let (parent, name) = parent(root, &node.path).map_err(failed)?;
        let device = rustix::fs::makedev(node.number.0, node.number.1);
        let mask = rustix::process::umask(Mode::empty());
        let mode = Mode::from_raw_mode(node.mode);
        let made = rustix::fs::mknodat(&parent, name, node.file_type(), mode, device);
        rustix::process::umask(mask);
        // A root file system without a fresh /dev may bring its own: good if it is the same, and left as it is.
        let existed = made == Err(Errno::EXIST);
        if !existed {
            made.map_err(failed)?;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name, flags, Mode::empty()).map_err(failed)?;
        self.same(&file, node)?;
        if existed || node.owner == (0, 0) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
        rustix::fs::chownat(&file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).map_err(failed)
    }

    fn same(&self, file: &OwnedFd, node: &Node) -> Result<(), Failure> {
        let stat =
            rustix::fs::fstat(file).map_err(|errno| self.failed(node.path.display().to_string(), errno))?;
        let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) == node.file_type()
            && (node.kind == 'p' || number == node.number)
        {
            return Ok(());
        }
        Err(Failure::because(self.id(), node.path.display().to_string(), "is something else in the image")
            .hint("remove it from the root file system"))
    }

    fn bind(&self, root: &OwnedFd, node: &Node) -> Result<(), Failure> {
        let failed = |errno| self.failed(node.path.display().to_string(), errno);
        let mount = clone(CWD, &node.path, false).map_err(failed)?;
        let place = path::ensure(root, &node.path, Kind::File).map_err(failed)?;
        attach(&mount, &place).map_err(failed)
    }

    fn link(&self, root: &OwnedFd, link: &str, to: &str) -> Result<(), Failure> {
        let failed = |errno| self.failed(link, errno);
        let (parent, name) = parent(root, Path::new(link)).map_err(failed)?;
        match rustix::fs::symlinkat(to, &parent, name) {
            Err(Errno::EXIST) => Ok(()),
            made => made.map_err(failed),
        }
    }
}

fn parent<'p>(root: &OwnedFd, path: &'p Path) -> Result<(OwnedFd, &'p Path), Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    Ok((path::ensure(root, parent, Kind::Directory)?, Path::new(name)))
}
