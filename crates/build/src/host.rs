//! What a build needs of the world: images, containers, downloads. The engine has them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use oci::{Digest, Platform};
use step::Failure;

use crate::dockerfile::Network;
use crate::git::Repository;

/// The world. Its methods are called from several threads at a time.
pub trait Host: Sync {
    /// The image that a FROM, a `COPY --from=` or a `--mount=from=` names, as it was written there, with its variables
    /// expanded; never `scratch`, and never a stage. Pulled where it has to be, by whatever `--pull` says, its layers
    /// unpacked into the same store ([`storage::layers`]) and kept until the build ends.
    ///
    /// # Errors
    /// No such image, or none for that platform.
    fn image(&self, name: &str, platform: &Platform) -> Result<Base, Failure>;

    /// Runs a command and waits for its end. The exit code; 128 and the signal's number where a signal ended it.
    ///
    /// # Errors
    /// A command that could not be started, with the reason: no such program, no such user.
    fn run(&self, run: &Run<'_>) -> Result<i32, Failure>;

    /// Downloads what an ADD names by http or https.
    ///
    /// # Errors
    /// An answer that is none.
    fn fetch(&self, url: &str) -> Result<Fetched, Failure>;

    /// Fetches what an ADD names of a repository of git into the directory `place`, which is not there yet.
    ///
    /// # Errors
    /// No git, no such repository, nothing of that name in it.
    fn repository(&self, repository: &Repository, place: &Path, keep: bool) -> Result<Cloned, Failure>;

    /// The configuration of an image of a registry, which may carry steps of earlier builds.
    ///
    /// # Errors
    /// No such image.
    fn configuration(&self, name: &str) -> Result<Vec<u8>, Failure>;

    /// Fetches a layer that such an image carries: a blob, and unpacked, in the same store.
    ///
    /// # Errors
    /// It is not there, or another one than it says.
    fn bring(&self, name: &str, layer: &Packed) -> Result<(), Failure>;

    /// Makes an image at a registry with this configuration and these layers, whose blobs are in the store. Nobody runs it.
    ///
    /// # Errors
    /// The registry's.
    fn carry(&self, name: &str, configuration: &[u8], layers: &[Packed]) -> Result<(), Failure>;
}

/// A layer as a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The digest of its tar stream.
    pub diff_id: Digest,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The blob's media type.
    pub media_type: String,
}

/// An image to build on.
#[derive(Debug, Clone)]
pub struct Base {
    /// Its configuration, as the registry has it: JSON of OCI's or Docker's kind.
    pub config: Vec<u8>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// A layer: unpacked, and as a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The directory, as an overlay wants it.
    pub directory: PathBuf,
    /// The digest of its tar stream.
    pub diff_id: Digest,
    /// The blob's media type; Docker's become OCI's in the new manifest.
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
}

/// A RUN.
///
/// The command sees an overlay of `lower` and `upper`, mounted with `redirect_dir=off,metacopy=off,index=off` (and
/// `userxattr` where the store has it), /proc, /sys and /dev as every container of the engine has them, its default
/// capabilities and system call policy, no terminal, and an empty standard input. What the engine mounts on, it may make
/// in `upper` if it is missing: empty directories and files at [`STUBS`] and at the targets of `mounts` are removed after
/// the command, everything else in `upper` becomes the layer. All processes of the command are gone when `run` returns,
/// and the overlay is no longer mounted.
pub struct Run<'r> {
    /// The layers below, the lowest first. None at all for a `FROM scratch` without any.
    pub lower: Vec<PathBuf>,
    /// An empty directory with the root's owner and permissions: what the command writes.
    pub upper: &'r Path,
    /// An empty directory beside it: the overlay's own.
    pub work: &'r Path,
    /// The program and its arguments; the program is looked for in PATH.
    pub args: &'r [String],
    /// `NAME=value`, PATH among them. HOME is the engine's to add where it is missing, by the user's line in passwd.
    pub env: &'r [String],
    /// `user`, `uid`, `user:group` or empty for root: resolved in the image's /etc/passwd and /etc/group.
    pub user: &'r str,
    /// Where it starts: an absolute path, made with root's ownership if it is missing.
    pub workdir: &'r str,
    /// In this order. A target is an absolute path of the image, whose links stay inside.
    pub mounts: Vec<Mount>,
    /// What it reaches.
    pub network: Network,
    /// What the command runs on.
    pub platform: &'r Platform,
    /// Set when another stage failed: the command is to be killed, and any exit code will do.
    pub stop: &'r AtomicBool,
    /// Gets what the command writes, as it comes; from any thread.
    pub output: &'r (dyn Fn(Stream, &[u8]) + Sync),
}

/// Where containers of the engine have mounts of its own: what it made for them does not get into the layer.
pub const STUBS: [&str; 7] =
    ["/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/secrets"];

/// Which of a command's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// A mount of a RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where: an absolute path of the image. A directory, or a file if that is what is mounted; made if it is missing.
    pub target: String,
    /// What.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A directory, file or socket of the host, bound without what is mounted below it.
    Bind {
        /// It.
        source: PathBuf,
        /// It cannot be written.
        read_only: bool,
    },
    /// A path within layers, as an overlay shows them.
    Layers {
        /// The lowest first.
        lower: Vec<PathBuf>,
        /// The path in them, whose links stay inside; empty for all.
        path: String,
        /// Where writes go, and the overlay's own directory, both empty and thrown away afterwards. None: it cannot be
        /// written.
        writable: Option<(PathBuf, PathBuf)>,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Bytes it may have; none is the kernel's own limit.
        size: Option<u64>,
    },
}

/// What came of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloned {
    /// What was asked for: the directory, or one in it.
    pub directory: PathBuf,
    /// The commit, in hex.
    pub commit: String,
}

/// A download.
pub struct Fetched {
    /// What came.
    pub body: Box<dyn Read + Send>,
    /// Last-Modified, in seconds since 1970.
    pub modified: Option<i64>,
    /// The name in Content-Disposition, if there is one.
    pub name: Option<String>,
}
