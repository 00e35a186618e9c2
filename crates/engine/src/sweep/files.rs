//! Files: half of one that was being written, directories of builds and unpackings that were killed, volumes without a
//! record, logs with a torn end.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use step::Failure;

use super::finding::Finding;
use super::kernel::AGAIN;
use super::records::names_in;
use super::steps::SweepStep;
use crate::state::Store;
use crate::{Settings, events};

pub(super) const HALF: &str = "whoever wrote it was killed before it was whole";

/// What was killed may go on with half a blob: for so long it is kept.
const DAY: Duration = Duration::from_secs(86_400);

/// Files that are written beside their names, and that nobody writes any more.
pub(super) fn half_written(settings: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    let root = &settings.root;
    let mut found = Vec::new();
    let mut half = |path: PathBuf, held: Option<OwnedFd>| {
        if path.symlink_metadata().is_ok() {
            found.push(Finding { held, ..Finding::at("half a file", &path, HALF).removal(&path) });
        }
    };
    for id in store.kept()? {
        let dir = store.keep_dir(&id);
        let news = |dir: &Path| -> Vec<PathBuf> {
            let names = names_in(dir).into_iter().filter(|name| name.ends_with(".new"));
            names.map(|name| dir.join(name)).collect()
        };
        let news = [news(&dir), news(&dir.join("log"))].concat();
        if news.is_empty() {
            continue;
        }
        // Whoever changes a record holds its directory; everything else is written by who holds the container.
        if let Some(lock) = free(&dir).filter(|_| !store.is_cared_for(&id)) {
            news.into_iter().for_each(|path| half(path, lock.try_clone().ok()));
        }
    }
    for (file, lock) in [("images.json.new", "images.lock"), ("volumes/.new", "volumes.lock")] {
        if let Some(lock) = free(&root.join(lock)) {
            half(root.join(file), Some(lock));
        }
    }
    for name in names_in(&root.join("ingest")) {
        let path = root.join("ingest").join(&name);
        // A blob whose digest is not known is of no use to anybody else; another is gone on with.
        let is_old = || path.metadata().and_then(|meta| meta.modified()).is_ok_and(is_over);
        if let Some(lock) = free(&path).filter(|_| name.starts_with("new-") || is_old()) {
            half(path, Some(lock));
        }
    }
    let cache = root.join("build/cache");
    for name in names_in(&cache) {
        let pid = name.split_once(".new-").and_then(|(_, rest)| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            && let Some(lock) = free(&cache.join(&name))
        {
            half(cache.join(name), Some(lock));
        }
    }
    Ok(found)
}

fn is_over(time: std::time::SystemTime) -> bool {
    time.elapsed().is_ok_and(|age| age > DAY)
}

/// Directories that whoever uses them has locked: free, their user was killed.
const LOCKED: [(&str, &str); 3] = [
    ("bootstrap", "the tree of an image that was being made"),
    ("build/work", "a build was killed"),
    ("layers/new", "half a layer"),
];

/// Those directories, and layers on their way out.
pub(super) fn locked(settings: &Settings, _: &Store) -> Result<Vec<Finding>, Failure> {
    let mut free_ones: Vec<(PathBuf, &str)> = Vec::new();
    for (dir, why) in LOCKED {
        let dir = settings.root.join(dir);
        let paths = names_in(&dir).into_iter().map(|name| dir.join(name));
        free_ones.extend(paths.filter(|path| free(path).is_some()).map(|path| (path, why)));
    }
    // A directory is made first and locked then.
    if !free_ones.is_empty() {
        std::thread::sleep(AGAIN);
    }
    let mut found = Vec::new();
    for (path, why) in free_ones {
        if let Some(lock) = free(&path) {
            found.push(Finding::at("directory", &path, why).removal(&path).held(lock));
        }
    }
    let old = settings.root.join("layers/old");
    // Who removes layers holds this alone.
    if let Some(lock) = free(&settings.root.join("bringing.lock")) {
        for name in names_in(&old) {
            let path = old.join(name);
            let cut = Finding::at("layer", &path, "its removal was cut short").removal(&path);
            found.push(Finding { held: lock.try_clone().ok(), ..cut });
        }
    }
    Ok(found)
}

/// Volumes whose removal was cut short, and those without a record: what is in them is somebody's.
pub(super) fn volumes(_: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    let volumes = store.volumes();
    let mut found = Vec::new();
    for name in names_in(&volumes.all()) {
        let path = volumes.directory(&name);
        if name.starts_with(".old-") {
            let gone =
                |lock| Finding::at("volume", &path, "its removal was cut short").removal(&path).held(lock);
            found.extend(free(&path).map(gone));
            continue;
        }
        let why = match volumes.find(&name) {
            Ok(Some(_)) => continue,
            _ if name.starts_with('.') || !path.is_dir() => continue,
            Ok(None) => "it has no volume.json".to_owned(),
            Err(failure) => failure.cause(),
        };
        let files = volumes.data(&name).display().to_string();
        let remedy = format!("its files are in {files}; minidocker volume rm {name} removes them");
        found.push(Finding::new("volume", name, why).advice(remedy));
    }
    Ok(found)
}

/// Logs and events whose last part was cut short.
pub(super) fn logs(settings: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    const TORN: &str = "its last part was cut short";
    let mut found = Vec::new();
    for id in store.kept()? {
        let Some(record) = store.kept_record(&id).ok().flatten() else { continue };
        if store.is_cared_for(&id) {
            continue;
        }
        if let Some((path, end)) = logs::torn(&store.log_dir(&id), &id, &record.request.log)?
            && !store.is_cared_for(&id)
        {
            let step = SweepStep::Cut { path: path.clone(), end };
            found.push(Finding::at("log", &path, TORN).step("cut it off", step));
        }
    }
    if events::is_torn(&settings.run_root) {
        let step = SweepStep::Events { run_root: settings.run_root.clone() };
        let path = settings.run_root.join("events/log");
        found.push(Finding::at("events", &path, TORN).step("end the line", step));
    }
    Ok(found)
}

/// The lock on a file or directory itself; none where somebody has it, or it is not there.
pub(super) fn free(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    // Removed between the two calls.
    (rustix::fs::fstat(&file).ok()?.st_nlink > 0).then_some(file)
}
