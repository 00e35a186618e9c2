//! Project quotas: where the file system has them, a container's directories are a project of their own, and what they
//! may take is a number in the file system. Nothing is mounted and nothing copied.
//!
//! The number belongs to no process and must be taken back: it is found by the directory, which carries it.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use step::Failure;

use crate::image::Usage;

const STEP: &str = "storage.quota";
/// Containers' projects are numbered from here on: /etc/projects has small numbers.
const FIRST: u32 = 0x4000_0000;
/// Directories of a container of which one carries its project, if it has one.
const NAMES: [&str; 3] = ["upper", "root", "root.new"];

/// Whether the file system of `path`, or of the nearest directory above it that is there, limits projects.
pub(crate) fn is_supported(path: &Path) -> bool {
    let there = path.ancestors().find_map(|path| File::open(path).ok());
    // Of project 0, which every file without one belongs to.
    there.is_some_and(|directory| sys::disk::project_quota(&directory, 0).is_ok())
}

/// Makes the directories `names` of the container `id`, which are new or its own, one project that may take so many
/// bytes.
pub(crate) fn limit(container: &Path, id: &str, names: &[&str], bytes: u64) -> Result<(), Failure> {
    let open = |name: &str| {
        let path = container.join(name);
        let failed = |cause: io::Error| Failure::new(STEP, path.display().to_string(), cause);
        File::open(&path).map_err(failed)
    };
    let failed = |cause: io::Error| Failure::new(STEP, container.display().to_string(), cause);
    let directories = names.iter().map(|name| open(name)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = directories.first() else { return Ok(()) };
    let number = match sys::disk::project(first).map_err(failed)? {
        Some(number) => number,
        None => free_number(first, id).map_err(failed)?,
    };
    // The limit first: it is found by the directory that carries the number.
    for directory in &directories {
        sys::disk::set_project(directory, number).map_err(failed)?;
    }
    sys::disk::set_project_quota(first, number, bytes).map_err(failed)?;
    // What df(1) will say inside is the proof that it counts: xfs may count without limiting.
    let shown = Usage::of(first).map_err(|errno| failed(errno.into()))?.size;
    if shown > bytes.next_multiple_of(65536) {
        let reason = format!("a limit of {bytes} bytes was set and {shown} are allowed");
        return Err(Failure::because(STEP, container.display().to_string(), reason)
            .hint("is the file system mounted with prjquota, and are its quotas on?"));
    }
    Ok(())
}

/// A project that nobody uses, by the container's id.
fn free_number(directory: &File, id: &str) -> io::Result<u32> {
    // FNV-1a, 32 bits.
    let hash =
        id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    for tries in 0..1000 {
        let number = FIRST | (hash.wrapping_add(tries) & (FIRST - 1));
        if sys::disk::project_quota(directory, number)? == (0, 0) {
            return Ok(number);
        }
    }
    Err(Errno::BUSY.into())
}

/// Takes back the limit of the container whose directory this is; fine if it has none.
pub(crate) fn release(container: &Path) {
    for directory in NAMES.iter().filter_map(|name| File::open(container.join(name)).ok()) {
        if let Ok(Some(number)) = sys::disk::project(&directory)
            && number >= FIRST
        {
            // A file system without quotas has nothing to take back.
            let _ = sys::disk::set_project_quota(&directory, number, 0);
            return;
        }
    }
}

/// Another limit for a container that has one.
pub(crate) fn change(container: &Path, bytes: u64) -> Option<Result<(), Failure>> {
    let directory = NAMES.iter().find_map(|name| File::open(container.join(name)).ok())?;
    let number = sys::disk::project(&directory).ok().flatten()?;
    let failed = |cause| Failure::new("storage.grow", container.display().to_string(), cause);
    Some(sys::disk::set_project_quota(&directory, number, bytes).map_err(failed))
}
