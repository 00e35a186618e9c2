//! What mounts leave in a layer: the empty files and directories that they were mounted on.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Stat};
use rustix::io::Errno;
use step::Failure;

use crate::view;

const STEP: &str = "storage.stubs";

/// Removes from `upper`, the layer of a container that has ended, what its mounts at `targets` needed to be mounted on
/// and what was made on the way there: empty files and directories that `lower` (the uppermost first) has not, and
/// copies of its directories in which nothing has changed. What a program wrote stays.
///
/// # Errors
/// What cannot be removed.
pub fn remove_stubs(upper: &Path, lower: &[PathBuf], targets: &[PathBuf]) -> Result<(), Failure> {
    let mut targets: Vec<&PathBuf> = targets.iter().collect();
    // The deepest first: its parents may be empty then.
    targets.sort_by_key(|target| std::cmp::Reverse(target.components().count()));
    for target in targets {
        let inside = target.strip_prefix("/").unwrap_or(target);
        for (number, path) in inside.ancestors().take_while(|path| !path.as_os_str().is_empty()).enumerate() {
            if !remove_one(upper, lower, path, number == 0)? {
                break;
            }
        }
    }
    Ok(())
}

/// Whether it is gone, or was never there.
fn remove_one(upper: &Path, lower: &[PathBuf], path: &Path, is_target: bool) -> Result<bool, Failure> {
    let at = upper.join(path);
    let failed = |errno: Errno| Failure::new(STEP, at.display().to_string(), errno);
    // A link on the way would lead out of the layer.
    let parents = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    for above in parents {
        match stat(&upper.join(above)) {
            Ok(stat) if is_directory(&stat) => {}
            Err(Errno::NOENT) => return Ok(true),
            _ => return Ok(false),
        }
    }
    let own = match stat(&at) {
        Err(Errno::NOENT) => return Ok(true),
        own => own.map_err(failed)?,
    };
    let below = view::stat(lower, path);
    if is_directory(&own) {
        let copied = |below: Stat| {
            is_directory(&below)
                && (below.st_mode, below.st_uid, below.st_gid) == (own.st_mode, own.st_uid, own.st_gid)
        };
        if !below.is_none_or(copied) {
            return Ok(false);
        }
        return match rustix::fs::rmdir(&at) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            removed => removed.map(|()| true).map_err(failed),
        };
    }
    let is_stub = FileType::from_raw_mode(own.st_mode) == FileType::RegularFile && own.st_size == 0;
    if !is_target || !is_stub || below.is_some() {
        return Ok(false);
    }
    rustix::fs::unlink(&at).map(|()| true).map_err(failed)
}

fn stat(path: &Path) -> Result<Stat, Errno> {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::trial::Scratch;

    #[test]
    fn only_what_mounts_left_goes() {
        let scratch = Scratch::new("stubs");
        let (upper, lower) = (scratch.path.join("upper"), scratch.path.join("lower"));
        let make = |path: &str| {
            let path = scratch.path.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        make("lower/etc/passwd");
        make("lower/var/lib/x");
        make("upper/etc/hosts");
        make("upper/etc/resolv.conf");
        fs::create_dir_all(upper.join("proc")).unwrap();
        fs::create_dir_all(upper.join("new/cache/of")).unwrap();
        fs::create_dir_all(upper.join("kept/cache")).unwrap();
        make("upper/kept/file");
        fs::create_dir_all(upper.join("var/lib/cache")).unwrap();
        make("upper/var/written");
        fs::create_dir_all(scratch.path.join("out/stub")).unwrap();
        std::os::unix::fs::symlink("../out", upper.join("link")).unwrap();
        let targets = [
            "/etc/hosts",
            "/etc/resolv.conf",
            "/proc",
            "/new/cache/of",
            "/kept/cache",
            "/var/lib/cache",
            "/sys",
            "/link/stub",
        ];
        remove_stubs(&upper, &[lower], &targets.map(PathBuf::from)).unwrap();
        let mut left = Vec::new();
        for entry in fs::read_dir(&upper).unwrap() {
            left.push(entry.unwrap().file_name().into_string().unwrap());
        }
        left.sort();
        assert_eq!(left, ["kept", "link", "var"]);
        assert!(upper.join("kept/file").exists() && !upper.join("kept/cache").exists());
        assert!(upper.join("var/written").exists() && !upper.join("var/lib").exists());
        assert!(scratch.path.join("out/stub").exists());
    }

    #[test]
    fn a_file_with_something_in_it_stays() {
        let scratch = Scratch::new("stubs-full");
        fs::create_dir_all(scratch.path.join("upper/etc")).unwrap();
        fs::write(scratch.path.join("upper/etc/hosts"), "x").unwrap();
        fs::create_dir_all(scratch.path.join("lower/etc")).unwrap();
        remove_stubs(&scratch.path.join("upper"), &[scratch.path.join("lower")], &["/etc/hosts".into()])
            .unwrap();
        assert!(scratch.path.join("upper/etc/hosts").exists());
    }
}
