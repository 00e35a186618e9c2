//! Mounts: `-v src:dst:ro`, `--mount type=bind,src=…,dst=…`, `--tmpfs /path:size=64m`.

use std::path::{Component, Path, PathBuf};

use engine::request::Mount;

use super::volumes::{Volume, driver, pair, subpath};
use super::{booleans, csv, numbers, sizes};

pub(super) const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// Options that stay as typed. `z` and `Z` are SELinux's, the next three Docker Desktop's; the rest mount(8)'s.
pub(super) const PLAIN: [&str; 11] =
    ["z", "Z", "cached", "consistent", "delegated", "nosuid", "suid", "nodev", "dev", "noexec", "exec"];

/// tmpfs(5)'s own options and the general ones that it takes.
const TMPFS_FLAGS: [&str; 24] = [
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "defaults",
    "noswap",
];
const TMPFS_KEYS: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// `-v SOURCE:TARGET[:OPTIONS]`: a directory of the host, or a volume's name. `-v TARGET`: a volume without a name. A
/// relative source counts from `here`.
pub(crate) fn volume(text: &str, here: &Path) -> Result<Mount, String> {
    let help = "write it as ./data:/data:ro, or data:/data for a volume";
    let parts: Vec<&str> = text.split(':').collect();
    let (source, goal, options) = match parts[..] {
        [goal] => return Volume::default().mount("", target(goal)?),
        [source, goal] => (source, goal, None),
        [source, goal, options] => (source, goal, Some(options)),
        _ => return Err(format!("more than SOURCE:TARGET:OPTIONS; {help}")),
    };
    let options = options.iter().flat_map(|options| options.split(','));
    if source.is_empty() {
        return Err(format!("no source; {help}"));
    }
    if source.starts_with('~') {
        let name = step::quote(source);
        return Err(format!("{name} is no path: no shell expanded the ~; {help}"));
    }
    if !source.starts_with(['/', '.']) {
        let mut volume = Volume::default();
        options.into_iter().try_for_each(|option| volume.option(option))?;
        return volume.mount(source, target(goal)?);
    }
    let mut bind = Bind { create_source: true, ..Bind::default() };
    options.into_iter().try_for_each(|option| bind.option(option))?;
    bind.mount(absolute(source, here), target(goal)?)
}

/// `--mount KEY=VALUE,…`.
pub(crate) fn mount(text: &str, here: &Path) -> Result<Mount, String> {
    let help = "write it as type=bind,src=/data,dst=/data,ro";
    let fields = csv::fields(text).map_err(|why| format!("{why}; {help}"))?;
    let mut typed = Fields::default();
    for field in &fields {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        typed.take(&key.to_ascii_lowercase(), value).map_err(|why| format!("{why}; {help}"))?;
    }
    let goal = typed.target.as_deref().ok_or_else(|| format!("no target; {help}"))?;
    let goal = target(goal)?;
    let kind = typed.kind.as_deref().unwrap_or("volume");
    let owners = [("bind", &typed.of_bind), ("volume", &typed.of_volume), ("tmpfs", &typed.of_tmpfs)];
    if !owners.iter().any(|(known, _)| *known == kind) {
        return Err(format!(
            "type {} is unknown, bind, volume and tmpfs are there; {help}",
            step::quote(kind)
        ));
    }
    for (owner, key) in owners {
        if let Some(key) = key.as_deref().filter(|_| owner != kind) {
            return Err(format!("{key} belongs to type={owner}, this is type={kind}; {help}"));
        }
    }
    match kind {
        "bind" => {
            let source = typed.source.ok_or_else(|| format!("no source; {help}"))?;
            typed.bind.mount(absolute(&source, here), goal)
        }
        "tmpfs" if typed.source.is_some() => {
            Err("a tmpfs has no source; write it as type=tmpfs,dst=/tmp".to_owned())
        }
        "tmpfs" => {
            let mut options = typed.tmpfs;
            if typed.bind.read_only {
                options.push("ro".to_owned());
            }
            Ok(Mount::Tmpfs { target: goal, options })
        }
        _ => {
            let mut volume = typed.volume;
            volume.read_only = typed.bind.read_only;
            volume.mount(typed.source.as_deref().unwrap_or_default(), goal)
        }
    }
}

/// `--tmpfs TARGET[:OPTIONS]`.
pub(crate) fn tmpfs(text: &str) -> Result<Mount, String> {
    let (goal, options) = text.split_once(':').unwrap_or((text, ""));
    let target = target(goal)?;
    let options: Vec<String> =
        options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
    for option in &options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let known = if value.is_empty() { TMPFS_FLAGS.contains(&key) } else { TMPFS_KEYS.contains(&key) };
        if !known {
            return Err(format!(
                "unknown option {}; write it as /run:size=64m,mode=755",
                step::quote(option)
            ));
        }
        match key {
            "mode" => drop(numbers::octal(value, 0o7777)?),
            "size" if !value.ends_with('%') => drop(sizes::parse(value)?),
            _ => {}
        }
    }
    Ok(Mount::Tmpfs { target, options })
}

/// A path of this process as an absolute one.
pub(crate) fn absolute(path: &str, here: &Path) -> PathBuf {
    cleaned(&here.join(path))
}

/// A place in the container: absolute, not the root itself, without `.` and `..`.
fn target(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') {
        return Err(format!("the target {} is not absolute; write it as /data", step::quote(text)));
    }
    let path = cleaned(Path::new(text));
    if path == Path::new("/") {
        return Err("the target cannot be /, which is --rootfs; write it as /data".to_owned());
    }
    Ok(path)
}

/// The path without `.`, `..` and double slashes, by its letters alone: Go's path.Clean, which Docker uses.
pub(super) fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// What the options of a bind mount say.
#[derive(Debug, Default)]
struct Bind {
    read_only: bool,
    recursive_read_only: bool,
    writable: bool,
    propagation: Option<String>,
    create_source: bool,
    options: Vec<String>,
    idmap: bool,
    shallow: bool,
}

impl Bind {
    fn option(&mut self, option: &str) -> Result<(), String> {
        match option {
            "ro" | "readonly" => self.read_only = true,
            "rro" => (self.read_only, self.recursive_read_only) = (true, true),
            "rw" => self.writable = true,
            option if PROPAGATIONS.contains(&option) && self.propagation.is_none() => {
                self.propagation = Some(option.to_owned());
            }
            option if PROPAGATIONS.contains(&option) => {
                return Err(format!("two propagations, the second is {option}"));
            }
            option if PLAIN.contains(&option) => self.options.push(option.to_owned()),
            "idmap" => self.idmap = true,
            "" => return Err("an empty option; write it as ./data:/data:ro".to_owned()),
            "nocopy" => return Err("nocopy belongs to volumes, this is a directory of the host".to_owned()),
            option => {
                return Err(format!(
                    "unknown option {}; write it as ro, rro, rshared, idmap or nosuid",
                    step::quote(option)
                ));
            }
        }
        Ok(())
    }

    fn mount(self, source: PathBuf, target: PathBuf) -> Result<Mount, String> {
        if self.shallow && self.recursive_read_only {
            return Err("bind-recursive is both disabled and readonly".to_owned());
        }
        if self.writable && self.read_only {
            return Err("both read-only and rw".to_owned());
        }
        if self.recursive_read_only && !self.read_only {
            return Err("bind-recursive=readonly needs readonly too".to_owned());
        }
        // mount_setattr(2) makes the tree read-only once; a mount that comes in later by propagation is not.
        let received = self.propagation.as_deref().is_some_and(|name| !name.ends_with("private"));
        if self.recursive_read_only && received {
            return Err(
                "rro holds only with rprivate: mounts that come in later would be writable".to_owned()
            );
        }
        Ok(Mount::Bind {
            source,
            target,
            read_only: self.read_only,
            recursive_read_only: self.recursive_read_only,
            propagation: self.propagation,
            create_source: self.create_source,
            options: self.options,
            idmap: self.idmap,
            shallow: self.shallow,
        })
    }
}

/// The fields of one `--mount`.
#[derive(Debug, Default)]
struct Fields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    tmpfs: Vec<String>,
    bind: Bind,
    volume: Volume,
    /// A key that only this type has, as it was typed.
    of_bind: Option<String>,
    of_volume: Option<String>,
    of_tmpfs: Option<String>,
}

impl Fields {
    fn take(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let on = || booleans::parse(value.unwrap_or("true")).map_err(|why| format!("{key}: {why}"));
        let needed = || value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{key} has no value"));
        let owner = match key {
            "idmap" => Some(&mut self.of_bind),
            key if key.starts_with("bind-") => Some(&mut self.of_bind),
            key if key.starts_with("volume-") => Some(&mut self.of_volume),
            key if key.starts_with("tmpfs-") => Some(&mut self.of_tmpfs),
            _ => None,
        };
        if let Some(owner) = owner {
            *owner = Some(key.to_owned());
        }
        match key {
            "type" => self.kind = Some(needed()?.to_ascii_lowercase()),
            "source" | "src" => self.source = Some(needed()?.to_owned()),
            "target" | "dst" | "destination" => self.target = Some(needed()?.to_owned()),
            "readonly" | "ro" => self.bind.read_only = on()?,
            "consistency" => drop(needed()?),
            "bind-propagation" => {
                let name = needed()?;
                if !PROPAGATIONS.contains(&name) {
                    return Err(format!("no such propagation {}", step::quote(name)));
                }
                self.bind.propagation = Some(name.to_owned());
            }
            "bind-recursive" => match needed()? {
                "enabled" | "writable" => {}
                "readonly" => self.bind.recursive_read_only = true,
                "disabled" => self.bind.shallow = true,
                other => return Err(format!("bind-recursive knows no {}", step::quote(other))),
            },
            "bind-nonrecursive" => self.bind.shallow = on()?,
            "idmap" => self.bind.idmap = on()?,
            "volume-nocopy" => self.volume.no_copy = on()?,
            "volume-driver" => driver(needed()?)?,
            "volume-subpath" => self.volume.subpath = Some(subpath(needed()?)?),
            "volume-label" => self.volume.labels.extend([pair(needed()?)]),
            "volume-opt" => self.volume.driver_options.extend([pair(needed()?)]),
            "tmpfs-size" => {
                let bytes = sizes::parse(needed()?).map_err(|why| format!("tmpfs-size: {why}"))?;
                self.tmpfs.push(format!("size={bytes}"));
            }
            "tmpfs-mode" => {
                let mode = numbers::octal(needed()?, 0o7777).map_err(|why| format!("tmpfs-mode: {why}"))?;
                self.tmpfs.push(format!("mode={mode:o}"));
            }
            "" => return Err("an empty field".to_owned()),
            key => return Err(format!("unknown key {}", step::quote(key))),
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
