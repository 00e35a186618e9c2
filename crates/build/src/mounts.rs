//! `RUN --mount`: what each is made of, for the key and for the command.
//!
//! ```text
//! <root>/build/mounts/<hex of the id>/<number>/data   a cache mount; the directory above is locked while it is used
//! <run root>/build/<pid>-<number>/<number>            a secret, while a command sees it
//! ```

use std::fs::Permissions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use oci::Digest;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use step::Failure;

use crate::Secret;
use crate::builder::chain;
use crate::cache::{Key, make};
use crate::dockerfile::{Mount, MountKind, Place, Sharing};
use crate::error::Error;
use crate::host;
use crate::shelf::Scratch;
use crate::stage::{Work, directories, open};
use crate::tree::copy::{Manner, absolute, copy};
use crate::tree::digest::{View, digest};
use crate::tree::owner::Owner;
use crate::tree::pick::{Picked, pick};
use crate::tree::stack::{Found, Stack};
use crate::tree::walk::Filter;
use crate::tree::write::Layer;

const STEP: &str = "build.mount";

/// What a command gets, and what is kept until it ends.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) mounts: Vec<host::Mount>,
    pub(crate) env: Vec<String>,
    _locks: Vec<OwnedFd>,
    _secrets: Vec<Private>,
}

/// A directory in memory, removed at the end.
#[derive(Debug)]
struct Private(PathBuf);

impl Drop for Private {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Adds to a key what of the mounts a command may depend on: of the context and of other layers their content, of a
/// cache, a secret and an agent that it is there.
pub(crate) fn key(work: &Work<'_>, mounts: &[Mount], key: &mut Key) -> Result<(), Error> {
    for mount in mounts {
        let target = target(work, mount)?;
        match &mount.kind {
            MountKind::Bind { from, source, writable } => {
                key.list("bind", &[target, writable.to_string()]);
                match from {
                    Some(name) => {
                        key.add("layers", chain(&work.named(name)?).bytes());
                        key.add("source", work.text(source)?.as_bytes());
                    }
                    None => {
                        let picked = in_context(work, source)?;
                        let view = View { owners: false, chmod: None, top: false };
                        let builder = work.builder;
                        let digest =
                            digest(&builder.context, &picked, context_filter(work), view, &builder.memo)?;
                        key.add("content", digest.bytes());
                    }
                }
            }
            MountKind::Cache { id, .. } => {
                key.list("cache", &[target, id.clone().unwrap_or_default()]);
            }
            MountKind::Tmpfs { .. } => key.list("tmpfs", &[target]),
            MountKind::Secret { id, env, .. } => {
                key.list("secret", &[target, id.clone(), env.clone().unwrap_or_default()]);
            }
            MountKind::Ssh { id, .. } => key.list("ssh", &[target, id.clone()]),
        }
    }
    Ok(())
}

/// Makes what is mounted. Waits for caches that are locked.
pub(crate) fn prepare(work: &Work<'_>, mounts: &[Mount], scratch: &Scratch) -> Result<Prepared, Error> {
    let mut prepared = Prepared::default();
    let mut caches = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        let at = |error: Error| {
            let request = work.builder.request;
            error.at(&request.file, Place::of(&request.source, mount.span))
        };
        let target = target(work, mount)?;
        let kind = match &mount.kind {
            MountKind::Bind { from: Some(name), source, writable } => {
                let layers = work.named(name).map_err(at)?;
                let path = work.text(source)?;
                let stack = open(&layers, work.builder.shelf.userxattr)?;
                let found = stack.resolve(path.as_bytes(), true);
                if !found.is_ok_and(|resolved| !matches!(resolved.found, Found::Nothing)) {
                    return Err(at(Error::new(format!("{name} has no {path}"))));
                }
                let own = writable.then(|| -> Result<_, Failure> {
                    let (upper, over) = (
                        scratch.path().join(format!("upper-{number}")),
                        scratch.path().join(format!("work-{number}")),
                    );
                    make(&upper)?;
                    make(&over)?;
                    Ok((upper, over))
                });
                host::MountKind::Layers { lower: directories(&layers), path, writable: own.transpose()? }
            }
            MountKind::Bind { from: None, source, writable } => {
                let source =
                    of_context(work, source, *writable, &scratch.path().join(format!("bind-{number}")))?;
                host::MountKind::Bind { source, read_only: !writable }
            }
            MountKind::Tmpfs { size } => host::MountKind::Tmpfs { size: *size },
            MountKind::Cache { .. } => {
                // Their locks are taken in an order that all builds have.
                caches.push((cache_name(work, mount)?, prepared.mounts.len(), mount));
                let source = PathBuf::new();
                host::MountKind::Bind { source, read_only: false }
            }
            MountKind::Secret { id, required, env, mode, uid, gid } => {
                let Some(secret) = work.builder.request.secrets.get(id) else {
                    if *required {
                        let error = Error::new(format!("the secret {id} is required and was not given"));
                        return Err(at(error.hint(format!("--secret id={id},src=FILE"))));
                    }
                    continue;
                };
                let content = read_secret(id, secret)?;
                if let Some(name) = env {
                    prepared.env.push(format!("{name}={}", String::from_utf8_lossy(&content)));
                    if mount.target.is_empty() {
                        continue;
                    }
                }
                let place = place_secret(&work.builder.request.run_root, &content, *mode, *uid, *gid)?;
                let source = place.0.join("secret");
                prepared._secrets.push(place);
                host::MountKind::Bind { source, read_only: true }
            }
            MountKind::Ssh { id, required } => {
                let Some(socket) = work.builder.request.agents.get(id) else {
                    if *required {
                        return Err(at(Error::new(format!("the agent {id} is required and was not given"))
                            .hint(format!("--ssh {id}=$SSH_AUTH_SOCK"))));
                    }
                    continue;
                };
                prepared.env.push(format!("SSH_AUTH_SOCK={target}"));
                host::MountKind::Bind { source: socket.clone(), read_only: false }
            }
        };
        prepared.mounts.push(host::Mount { target, kind });
    }
    caches.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, index, mount) in caches {
        let (source, lock) = cache(work, &name, mount)?;
        prepared._locks.push(lock);
        let read_only = matches!(&mount.kind, MountKind::Cache { read_only: true, .. });
        prepared.mounts[index].kind = host::MountKind::Bind { source, read_only };
    }
    Ok(prepared)
}

/// Where a mount goes, as an absolute path.
fn target(work: &Work<'_>, mount: &Mount) -> Result<String, Error> {
    let target = match (&mount.kind, mount.target.as_str()) {
        (MountKind::Secret { id, .. }, "") => format!("/run/secrets/{id}"),
        (MountKind::Ssh { id, .. }, "") => format!("/run/buildkit/ssh_agent.{id}"),
        (_, target) => work.text(target)?,
    };
    Ok(absolute(work.image.workdir(), &target))
}

fn context_filter<'w>(work: &'w Work<'_>) -> Filter<'w> {
    Filter { ignore: Some(&work.builder.request.ignore), exclude: None }
}

/// A path of the context.
fn in_context(work: &Work<'_>, source: &str) -> Result<Picked, Error> {
    let source = work.text(source)?;
    let mut all = pick(&work.builder.context, &source, context_filter(work))?;
    all.pop().ok_or_else(|| Error::new(format!("the context has no {source}")))
}

/// What is bound of the context: itself, or a copy where something of it is left out, or may be written.
fn of_context(work: &Work<'_>, source: &str, writable: bool, place: &Path) -> Result<PathBuf, Error> {
    let request = work.builder.request;
    let picked = in_context(work, source)?;
    if !writable && (request.ignore.is_empty() || matches!(picked.found, Found::File(_))) {
        let path = std::os::unix::ffi::OsStrExt::from_bytes(picked.path.as_slice());
        let path: &std::ffi::OsStr = path;
        return Ok(request.context.join(path));
    }
    make(place)?;
    let mut layer = Layer::begin(place, &Stack::empty())?;
    let owner = Some(Owner::default());
    let manner = Manner { owner, chmod: None, parents: false, link: false };
    let is_file = matches!(picked.found, Found::File(_));
    copy(&mut layer, &work.builder.context, &picked, context_filter(work), b"/", is_file, manner)?;
    layer.finish()?;
    Ok(if is_file { place.join(String::from_utf8_lossy(&picked.name).as_ref()) } else { place.to_owned() })
}

/// The directory's name for a cache mount.
fn cache_name(work: &Work<'_>, mount: &Mount) -> Result<String, Error> {
    let MountKind::Cache { id, .. } = &mount.kind else { return Ok(String::new()) };
    let id = match id {
        Some(id) => work.text(id)?,
        None => target(work, mount)?,
    };
    Ok(Digest::of(id.as_bytes()).hex())
}

/// A cache mount's directory, and its lock.
fn cache(work: &Work<'_>, name: &str, mount: &Mount) -> Result<(PathBuf, OwnedFd), Error> {
    let MountKind::Cache { sharing, from, source, mode, uid, gid, .. } = &mount.kind else {
        return Err(Error::new("no cache mount"));
    };
    let all = work.builder.request.root.join("build/mounts").join(name);
    let mut number = 0_u32;
    let (place, lock) = loop {
        let place = all.join(number.to_string());
        make(&place)?;
        let failed = |errno| Failure::new(STEP, place.display().to_string(), errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(CWD, &place, flags, Mode::empty()).map_err(failed)?;
        let how = match sharing {
            Sharing::Private => FlockOperation::NonBlockingLockExclusive,
            Sharing::Locked => FlockOperation::LockExclusive,
            Sharing::Shared if place.join("data").is_dir() => FlockOperation::LockShared,
            Sharing::Shared => FlockOperation::NonBlockingLockExclusive,
        };
        // Whoever removes a cache has the lock of a directory that is then gone.
        let is_there = || {
            let here = rustix::fs::fstat(&lock).map(|stat| (stat.st_dev, stat.st_ino));
            here.is_ok() && here == rustix::fs::stat(&place).map(|stat| (stat.st_dev, stat.st_ino))
        };
        match rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, how)) {
            Err(rustix::io::Errno::WOULDBLOCK) if *sharing == Sharing::Shared => {
                // Somebody makes it, and shares it when it is there.
                rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockShared))
                    .map_err(failed)?;
                if place.join("data").is_dir() {
                    break (place, lock);
                }
            }
            Err(rustix::io::Errno::WOULDBLOCK) => number += 1,
            locked => {
                locked.map_err(failed)?;
                if is_there() {
                    break (place, lock);
                }
            }
        }
    };
    crate::cache::touch(&place);
    let data = place.join("data");
    let failed = |cause: std::io::Error| Failure::new(STEP, data.display().to_string(), cause);
    if !data.is_dir() {
        let new = "data.new";
        storage::remove_directory(&place, new)?;
        std::fs::DirBuilder::new().mode(0o700).create(place.join(new)).map_err(failed)?;
        if let Some(name) = from {
            let layers = work.named(name)?;
            let stack = open(&layers, work.builder.shelf.userxattr)?;
            let mut layer = Layer::begin(&place.join(new), &Stack::empty())?;
            let manner = Manner { owner: None, chmod: None, parents: false, link: false };
            for picked in pick(&stack, &work.text(source)?, Filter::default())? {
                copy(&mut layer, &stack, &picked, Filter::default(), b"/", false, manner)?;
            }
            layer.finish()?;
        }
        chown(place.join(new), Some(*uid), Some(*gid)).map_err(failed)?;
        std::fs::set_permissions(place.join(new), Permissions::from_mode(*mode)).map_err(failed)?;
        std::fs::rename(place.join(new), &data).map_err(failed)?;
    }
    if *sharing == Sharing::Shared {
        rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockShared))
            .map_err(|errno| failed(errno.into()))?;
    }
    Ok((data, lock))
}

fn read_secret(id: &str, secret: &Secret) -> Result<Vec<u8>, Failure> {
    match secret {
        Secret::Value(text) => Ok(text.clone().into_bytes()),
        Secret::File(path) => std::fs::read(path)
            .map_err(|cause| Failure::new("build.secret", format!("{id} ({})", path.display()), cause)),
    }
}

/// Writes a secret where only memory keeps it.
fn place_secret(run_root: &Path, content: &[u8], mode: u32, uid: u32, gid: u32) -> Result<Private, Failure> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = run_root.join("build").join(format!("{}-{number}", std::process::id()));
    let failed = |cause| Failure::new("build.secret", directory.display().to_string(), cause);
    // Of a killed process of the same number.
    let _ = std::fs::remove_dir_all(&directory);
    make(&directory)?;
    let private = Private(directory.clone());
    let path = directory.join("secret");
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    std::io::Write::write_all(&mut file, content).map_err(failed)?;
    chown(&path, Some(uid), Some(gid)).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(mode & 0o777)).map_err(failed)?;
    Ok(private)
}
