//! Images from Dockerfiles: read, planned, built, without a daemon. What a build needs of the world (images, containers,
//! downloads) it asks a [`Host`] for; all else is here.
//!
//! ```text
//! dockerfile   text → instructions, each with its place          pure
//! plan         which stages, on what                             pure
//! builder      stages beside each other, each as soon as something needs it
//! stage        one instruction after the other: the configuration as it grows
//! run          RUN: mounts, cache directories, secrets → Host::run
//! add          COPY, ADD, WORKDIR: straight into a new layer     tree/: no mount, no container
//! cache        which step made which layer, by content
//! kept         what is kept for later builds, for who removes it
//! shelf        directories to work in → blobs, layers
//! image        configuration and manifest
//! ```
//!
//! A step's key in the cache is what it is made from: the layers below (by their digests), the instruction with its
//! variables expanded, and the content of what it copies or mounts, without times. So a cached step stays cached after
//! touch(1), in another checkout, and under an ENV that it does not see.

#![forbid(unsafe_code)]

mod add;
mod builder;
mod cache;
mod config;
pub mod dockerfile;
mod error;
mod git;
mod host;
mod ignore;
mod kept;
mod mounts;
mod pattern;
mod plan;
mod progress;
mod run;
mod shelf;
mod squash;
mod stage;
mod tree;
mod workplace;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci::{Digest, Platform};

pub use builder::build;
pub use cache::{CacheFrom, CacheTo};
pub use error::Error;
pub use git::Repository;
pub use host::{Base, Cloned, Fetched, Host, Layer, Mount, MountKind, Packed, Run, STUBS, Stream};
pub use ignore::Ignore;
pub use kept::{CacheMount, Cached, cache_mounts, cached};
pub use progress::{Event, Plain, Progress, Quiet, Vertex, line};
pub use storage::layer::Compression;
pub use tree::stubs::mount_points;
pub use workplace::Workplace;

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where the store is: /var/lib/minidocker. The build's own state is in `build` below it.
    pub root: PathBuf,
    /// In memory: /run/minidocker. Secrets are there while a command sees them.
    pub run_root: PathBuf,
    /// Overlays of this store are mounted with `userxattr`.
    pub userxattr: bool,
    /// The directory that COPY copies from.
    pub context: PathBuf,
    /// What of it no COPY sees: [`ignore_file`].
    pub ignore: Ignore,
    /// The Dockerfile's name in messages.
    pub file: String,
    /// Its text.
    pub source: String,
    /// `--target`: a stage by name or number; none is the last.
    pub target: Option<String>,
    /// `--build-arg`.
    pub arguments: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--platform`: an image for each.
    pub platforms: Vec<Platform>,
    /// `--network`, for each RUN that says nothing of its own.
    pub network: dockerfile::Network,
    /// `--no-cache`: nothing is taken from earlier builds.
    pub no_cache: bool,
    /// `--cache-from`.
    pub cache_from: Vec<CacheFrom>,
    /// `--cache-to`.
    pub cache_to: Vec<CacheTo>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`, by id: the socket of an agent.
    pub agents: BTreeMap<String, PathBuf>,
    /// SOURCE_DATE_EPOCH: no time in the image is later.
    pub epoch: Option<i64>,
    /// `--squash`: all new layers become one.
    pub squash: bool,
    /// How many steps may work at the same time; 0 is as many as there are processors.
    pub jobs: usize,
    /// How layers are compressed.
    pub compression: Compression,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// `src=FILE`.
    File(PathBuf),
    /// `env=NAME`, or any text: it.
    Value(String),
}

/// An image that was built. Its blobs, the configuration's and the manifest's too, are in the store; a name is the
/// engine's to give.
#[derive(Debug, Clone)]
pub struct Built {
    /// The configuration file.
    pub config: Vec<u8>,
    /// Its digest: the image's id.
    pub config_digest: Digest,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// Its digest.
    pub manifest_digest: Digest,
    /// What kind the manifest is.
    pub media_type: &'static str,
    /// The layers, the lowest first; a directory may be missing where another process is unpacking the same layer.
    pub layers: Vec<Layer>,
    /// What it was built for: one of the request's.
    pub platform: Platform,
    /// Steps that the cache had, and all steps that could have been there.
    pub cached: (usize, usize),
}

impl Request {
    /// Builds `context/Dockerfile` for this machine, with nothing said beyond.
    pub fn new(root: &Path, run_root: &Path, context: &Path, source: &str) -> Self {
        Self {
            root: root.to_owned(),
            run_root: run_root.to_owned(),
            userxattr: false,
            context: context.to_owned(),
            ignore: Ignore::default(),
            file: "Dockerfile".to_owned(),
            source: source.to_owned(),
            target: None,
            arguments: BTreeMap::new(),
            labels: BTreeMap::new(),
            platforms: vec![Platform::host()],
            network: dockerfile::Network::Default,
            no_cache: false,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            secrets: BTreeMap::new(),
            agents: BTreeMap::new(),
            epoch: None,
            squash: false,
            jobs: 0,
            compression: Compression::Gzip(6),
        }
    }
}

/// Whether a file with this beginning, of 512 bytes if it has so many, is an archive, plain or packed.
pub fn is_archive(begin: &[u8]) -> bool {
    let packed = begin.starts_with(&[0x1f, 0x8b]) || begin.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    packed
        || storage::layer::Foreign::of(begin).is_some()
        || begin.first_chunk().is_some_and(|block: &[u8; 512]| add::is_header(block))
}

/// A directory of a tree, links in its path being followed inside of the tree; none if it is not there.
pub fn within(tree: &Path, directory: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let resolved = tree::stack::Stack::plain(tree).ok()?.resolve(directory.as_bytes(), true).ok()?;
    let is_directory = matches!(resolved.found, tree::stack::Found::Dir(_));
    let names = resolved.components.iter().map(|name| std::ffi::OsStr::from_bytes(name));
    is_directory.then(|| tree.join(names.collect::<PathBuf>()))
}

/// What a context's COPY does not see: `<Dockerfile>.dockerignore` beside the Dockerfile, else `.dockerignore` in the
/// context, else nothing.
///
/// # Errors
/// A file that cannot be read, a line that is no pattern.
pub fn ignore_file(context: &Path, dockerfile: Option<&Path>) -> Result<Ignore, Error> {
    let beside = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in beside.into_iter().chain([context.join(".dockerignore")]) {
        let text = match std::fs::read(&path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
            text => {
                text.map_err(|cause| step::Failure::new("build.ignore", path.display().to_string(), cause))?
            }
        };
        return Ignore::parse(&String::from_utf8_lossy(&text))
            .map_err(|(line, words)| Error::new(format!("{}:{line}: {words}", path.display())));
    }
    Ok(Ignore::default())
}
