//! May a container start in this group? Asked before anything is made: a group that has processes is somebody's, one
//! that is stopped would stop the container's init before it can say why, and v2's threaded ones take no processes.

use std::path::{Path, PathBuf};

use ::step::Failure;

use crate::group::Group;
use crate::hierarchies::{Hierarchies, Mount, Version};
use crate::kernfs;

/// Errors where a container cannot start in the group `path`. A group that is not there can be made, one that is
/// empty can be taken ([`crate::plan_over`]).
///
/// The first two refusals have the words that runc has for them (`libcontainer/factory_linux.go`), which callers and
/// its test suite look for.
pub fn check_usable(h: &Hierarchies, path: &str) -> Result<(), Failure> {
    let group = Group::open(h, path)?;
    let refuse = |reason: String| Failure::because("cgroup.usable", path, reason);
    let members = members(h, path, &group);
    if members > 0 {
        let pids: Vec<String> = group.processes().iter().take(5).map(ToString::to_string).collect();
        let who = if pids.is_empty() { String::new() } else { format!(" ({})", pids.join(", ")) };
        return Err(refuse(format!("container's cgroup is not empty: {members} process(es) found"))
            .hint(format!("give the container a group of its own, or end what is in this one{who}")));
    }
    for mount in &h.mounts {
        if let Some(dir) = frozen(mount, path) {
            let own = dir == mount.group(path);
            let which = if own { String::new() } else { format!(": by {}, above it", dir.display()) };
            return Err(
                refuse(format!("container's cgroup unexpectedly frozen{which}")).hint(thaw(mount, &dir))
            );
        }
    }
    h.v2().map_or(Ok(()), |mount| check_type(mount, path))
}

/// How many processes are in the group, in any hierarchy, and below. One that our pid namespace does not see counts
/// too: the kernel gives it the number 0.
fn members(h: &Hierarchies, path: &str, group: &Group) -> usize {
    let unseen = |mount: &Mount| {
        let groups = kernfs::subtree(&mount.group(path)).into_iter();
        let texts = groups.map(|dir| kernfs::read(&dir.join("cgroup.procs")).unwrap_or_default());
        texts.map(|text| text.lines().filter(|line| *line == "0").count()).sum()
    };
    group.processes().len() + h.mounts.iter().map(unseen).max().unwrap_or(0)
}

/// The group, or the nearest above it that is there.
fn nearest(mount: &Mount, path: &str) -> PathBuf {
    let dir = mount.group(path);
    let above = dir.ancestors().take_while(|above| above.starts_with(&mount.dir));
    above.into_iter().find(|above| above.is_dir()).unwrap_or(&mount.dir).to_owned()
}

fn read(dir: &Path, file: &str) -> String {
    kernfs::read(&dir.join(file)).unwrap_or_default().trim().to_owned()
}

/// The stopped group that holds this one, itself or one above it.
fn frozen(mount: &Mount, path: &str) -> Option<PathBuf> {
    let (file, stopped): (_, &[&str]) = match mount.version {
        Version::V1 if mount.has("freezer") => ("freezer.self_freezing", &["1"]),
        Version::V1 => return None,
        Version::V2 => ("cgroup.freeze", &["1"]),
    };
    let dir = nearest(mount, path);
    let mut above = dir.ancestors().take_while(|above| above.starts_with(&mount.dir));
    above.find(|above| stopped.contains(&read(above, file).as_str())).map(Path::to_owned)
}

fn thaw(mount: &Mount, dir: &Path) -> String {
    let (value, file) = match mount.version {
        Version::V1 => ("THAWED", "freezer.state"),
        Version::V2 => ("0", "cgroup.freeze"),
    };
    format!("let it run: echo {value} > {}", dir.join(file).display())
}

/// v2: a group below a threaded one takes no process (`EOPNOTSUPP`), and a threaded one no memory limit:
/// Documentation/admin-guide/cgroup-v2.rst, "Threads".
fn check_type(mount: &Mount, path: &str) -> Result<(), Failure> {
    let dir = nearest(mount, path);
    let own = dir == mount.group(path);
    let kind = read(&dir, "cgroup.type");
    let taken = match kind.as_str() {
        "threaded" | "domain invalid" => true,
        // A threaded domain takes processes itself; groups made below it begin as "domain invalid".
        "domain threaded" => !own,
        _ => false,
    };
    if !taken {
        return Ok(());
    }
    let reason =
        format!("cannot enter cgroupv2 {:?} with domain controllers -- it is in {kind} mode", dir.display());
    Err(Failure::because("cgroup.usable", path, reason)
        .hint("put the container below a group that is not threaded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_group_that_is_there() {
        let base = std::env::temp_dir().join(format!("minidocker-test-{}-nearest", std::process::id()));
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        let mount = Mount { dir: base.clone(), version: Version::V2, controllers: Vec::new() };
        let found = |path: &str| nearest(&mount, path);
        assert_eq!(found("/a/b"), base.join("a/b"));
        assert_eq!(found("/a/b/c/d"), base.join("a/b"));
        assert_eq!(found("/x/y"), base);
        // Made of plain files: what is asked of a threaded group and of one below it.
        let refused = |path: &str| check_type(&mount, path).map_err(|failure| failure.cause());
        std::fs::write(base.join("a/b/cgroup.type"), "domain threaded\n").unwrap();
        assert_eq!(refused("/a/b"), Ok(()));
        let words = format!(
            "cannot enter cgroupv2 {:?} with domain controllers -- it is in domain threaded mode",
            base.join("a/b").display()
        );
        assert_eq!(refused("/a/b/c"), Err(words));
        std::fs::write(base.join("a/b/cgroup.type"), "domain\n").unwrap();
        assert_eq!(refused("/a/b/c"), Ok(()));
        std::fs::write(base.join("a/cgroup.freeze"), "1\n").unwrap();
        assert_eq!(frozen(&mount, "/a/b/c"), Some(base.join("a")));
        assert_eq!(frozen(&mount, "/x"), None);
        std::fs::remove_dir_all(base).unwrap();
    }
}
