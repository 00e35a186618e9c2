//! Mounts: `-v src:dst:ro`, `--mount type=bind,src=…,dst=…`, `--tmpfs /path:size=64m`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use engine::ops::volumes;
use engine::request::{Mount, VolumeMount, VolumesFrom};

use super::{booleans, csv, numbers, sizes};

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// Options that stay as typed. `z` and `Z` are SELinux's, the next three Docker Desktop's; the rest mount(8)'s.
const PLAIN: [&str; 11] =
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

/// `--volumes-from CONTAINER[:ro]`.
pub(crate) fn volumes_from(text: &str) -> Result<VolumesFrom, String> {
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    if container.is_empty() {
        return Err("no container; write it as web:ro".to_owned());
    }
    let mut from = VolumesFrom { container: container.to_owned(), read_only: false };
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => from.read_only = true,
            "rw" | "z" | "Z" => {}
            other => return Err(format!("unknown option {}; write it as web:ro", step::quote(other))),
        }
    }
    Ok(from)
}

/// `--volume-driver`.
pub(crate) fn driver(text: &str) -> Result<(), String> {
    match text {
        "" | "local" => Ok(()),
        _ => Err("no such driver, local is there".to_owned()),
    }
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
            let volume = Volume { read_only: typed.bind.read_only, ..typed.volume };
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
fn cleaned(path: &Path) -> PathBuf {
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

/// What the options of a volume say.
#[derive(Debug, Default)]
struct Volume {
    read_only: bool,
    recursive_read_only: bool,
    writable: bool,
    no_copy: bool,
    subpath: Option<PathBuf>,
    labels: BTreeMap<String, String>,
    driver_options: BTreeMap<String, String>,
    options: Vec<String>,
}

impl Volume {
    fn option(&mut self, option: &str) -> Result<(), String> {
        match option {
            "ro" | "readonly" => self.read_only = true,
            "rro" => (self.read_only, self.recursive_read_only) = (true, true),
            "rw" => self.writable = true,
            "nocopy" => self.no_copy = true,
            option if PLAIN.contains(&option) => self.options.push(option.to_owned()),
            "" => return Err("an empty option; write it as data:/data:ro".to_owned()),
            option if PROPAGATIONS.contains(&option) => {
                return Err(format!("{option} belongs to directories of the host, this is a volume"));
            }
            "idmap" => {
                return Err(
                    "idmap belongs to directories of the host: a volume's files have the container's owners \
                            already"
                        .to_owned(),
                );
            }
            option => {
                return Err(format!(
                    "unknown option {}; write it as ro, nocopy or nosuid",
                    step::quote(option)
                ));
            }
        }
        Ok(())
    }

    /// An empty name is none.
    fn mount(self, name: &str, target: PathBuf) -> Result<Mount, String> {
        if self.writable && self.read_only {
            return Err("both read-only and rw".to_owned());
        }
        if !name.is_empty() {
            volumes::check_name(name).map_err(why)?;
        }
        volumes::check_options(&self.driver_options).map_err(why)?;
        if self.subpath.is_some() && name.is_empty() {
            return Err("a volume without a name is new and has no subpath; name it with src=".to_owned());
        }
        Ok(Mount::Volume(VolumeMount {
            name: name.to_owned(),
            anonymous: false,
            target,
            read_only: self.read_only,
            recursive_read_only: self.recursive_read_only,
            propagation: None,
            no_copy: self.no_copy,
            subpath: self.subpath,
            labels: self.labels,
            driver_options: self.driver_options,
            options: self.options,
        }))
    }
}

/// The engine's words in one line.
fn why(error: engine::Error) -> String {
    match error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message,
    }
}

/// A directory of a volume: relative, and in it.
fn subpath(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let within = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_absolute() || !within {
        return Err(format!(
            "the subpath {} is not within the volume; write it as data/sub",
            step::quote(text)
        ));
    }
    Ok(cleaned(path))
}

fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
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
mod tests {
    use super::*;

    fn bind(source: &str, target: &str) -> Mount {
        Mount::Bind {
            source: source.into(),
            target: target.into(),
            read_only: false,
            recursive_read_only: false,
            propagation: None,
            create_source: true,
            options: vec![],
            idmap: false,
            shallow: false,
        }
    }

    fn here() -> &'static Path {
        Path::new("/here")
    }

    #[test]
    fn reads_volumes() {
        assert_eq!(volume("/a:/b", here()), Ok(bind("/a", "/b")));
        assert_eq!(volume("./x:/b", here()), Ok(bind("/here/x", "/b")));
        assert_eq!(volume(".:/b/", here()), Ok(bind("/here", "/b")));
        assert_eq!(volume("../x/./y:/b/../c", here()), Ok(bind("/x/y", "/c")));
        let Ok(Mount::Bind { read_only, recursive_read_only, propagation, options, .. }) =
            volume("/a:/b:ro,z,rshared,nosuid", here())
        else {
            panic!("refused")
        };
        assert!(read_only && !recursive_read_only);
        assert_eq!(propagation.as_deref(), Some("rshared"));
        assert_eq!(options, ["z", "nosuid"]);
        let Ok(Mount::Bind { read_only: true, recursive_read_only: true, .. }) = volume("/a:/b:rro", here())
        else {
            panic!("rro is recursive")
        };
    }

    #[test]
    fn refuses_volumes_that_say_too_little_or_too_much() {
        let cases = [
            ("", "the target '' is not absolute; write it as /data"),
            ("data", "the target data is not absolute; write it as /data"),
            ("/", "the target cannot be /, which is --rootfs; write it as /data"),
            (
                "a/b:/data",
                "a/b cannot be a volume's name; a name starts with a letter or digit, at least one of a-z A-Z 0-9 _ . - follows; a directory of the host is written as /data or ./data",
            ),
            ("data:/b:rshared", "rshared belongs to directories of the host, this is a volume"),
            ("data:/b:bogus", "unknown option bogus; write it as ro, nocopy or nosuid"),
            ("data:/b:ro,rw", "both read-only and rw"),
            (":/b", "no source; write it as ./data:/data:ro, or data:/data for a volume"),
            ("/a:", "the target '' is not absolute; write it as /data"),
            ("/a:b", "the target b is not absolute; write it as /data"),
            ("/a:/", "the target cannot be /, which is --rootfs; write it as /data"),
            ("/a:/b/..", "the target cannot be /, which is --rootfs; write it as /data"),
            (
                "/a:/b:ro:rw",
                "more than SOURCE:TARGET:OPTIONS; write it as ./data:/data:ro, or data:/data for a volume",
            ),
            ("/a:/b:bogus", "unknown option bogus; write it as ro, rro, rshared, idmap or nosuid"),
            ("/a:/b:", "an empty option; write it as ./data:/data:ro"),
            ("/a:/b:ro,rw", "both read-only and rw"),
            ("/a:/b:shared,slave", "two propagations, the second is slave"),
            (
                "/a:/b:rro,rshared",
                "rro holds only with rprivate: mounts that come in later would be writable",
            ),
            ("/a:/b:nocopy", "nocopy belongs to volumes, this is a directory of the host"),
        ];
        for (text, reason) in cases {
            assert_eq!(volume(text, here()), Err(reason.to_owned()), "{text}");
        }
        assert!(volume("~/x:/b", here()).unwrap_err().contains("no shell expanded the ~"));
    }

    #[test]
    fn reads_mounts() {
        let Ok(Mount::Bind { source, target, read_only, create_source, propagation, .. }) =
            mount("type=bind,source=./a,target=/b,readonly,bind-propagation=rslave", here())
        else {
            panic!("refused")
        };
        assert_eq!((source.as_path(), target.as_path()), (Path::new("/here/a"), Path::new("/b")));
        assert!(read_only && !create_source);
        assert_eq!(propagation.as_deref(), Some("rslave"));
        let Ok(Mount::Bind { read_only: false, .. }) = mount("type=bind,src=/a,dst=/b,ro=false", here())
        else {
            panic!("ro=false is writable")
        };
        assert_eq!(
            mount("type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1770,ro", here()),
            Ok(Mount::Tmpfs {
                target: "/t".into(),
                options: vec!["size=1048576".into(), "mode=1770".into(), "ro".into()]
            })
        );
        let Ok(Mount::Bind { source, .. }) = mount(r#"type=bind,"src=/a,b",dst=/c"#, here()) else {
            panic!("quotes keep a comma")
        };
        assert_eq!(source, Path::new("/a,b"));
    }

    #[test]
    fn refuses_mounts_that_contradict_themselves() {
        let cases = [
            ("", "an empty field"),
            ("src=/a,dst=/b", "/a cannot be a volume's name"),
            ("dst=/b,volume-subpath=x", "a volume without a name is new and has no subpath"),
            ("src=ab,dst=/b,volume-subpath=../x", "the subpath ../x is not within the volume"),
            ("src=ab,dst=/b,volume-subpath=/x", "the subpath /x is not within the volume"),
            ("src=ab,dst=/b,volume-opt=size=1", "invalid option: size"),
            ("src=ab,dst=/b,volume-driver=nfs", "no such driver"),
            (
                "src=ab,dst=/b,bind-recursive=disabled",
                "bind-recursive belongs to type=bind, this is type=volume",
            ),
            ("type=bind,src=/a,dst=/b,volume-nocopy", "volume-nocopy belongs to type=volume"),
            ("type=npipe,dst=/b", "type npipe is unknown"),
            ("type=bind,dst=/b", "no source"),
            ("type=bind,src=/a", "no target"),
            ("type=bind,src=,dst=/b", "src has no value"),
            ("type=bind,src=/a,dst=b", "the target b is not absolute"),
            ("type=bind,src=/a,dst=/", "the target cannot be /"),
            ("type=bind,src=/a,dst=/b,bogus=1", "unknown key bogus"),
            ("type=bind,src=/a,dst=/b,ro=maybe", "ro: neither true nor false"),
            ("type=bind,src=/a,dst=/b,tmpfs-size=1m", "tmpfs-size belongs to type=tmpfs, this is type=bind"),
            ("type=bind,src=/a,dst=/b,bind-propagation=odd", "no such propagation odd"),
            ("type=bind,src=/a,dst=/b,bind-recursive=readonly", "bind-recursive=readonly needs readonly too"),
            ("type=tmpfs,src=/a,dst=/b", "a tmpfs has no source"),
            (
                "type=tmpfs,dst=/b,bind-propagation=shared",
                "bind-propagation belongs to type=bind, this is type=tmpfs",
            ),
            ("type=tmpfs,dst=/b,tmpfs-size=10x", "tmpfs-size: unknown unit x"),
            ("type=tmpfs,dst=/b,tmpfs-mode=9", "tmpfs-mode: not an octal number"),
            ("\"type=tmpfs", "a quote that is not closed"),
        ];
        for (text, start) in cases {
            let why = mount(text, here()).unwrap_err();
            assert!(why.starts_with(start), "{text}: {why}");
        }
    }

    #[test]
    fn reads_volumes_by_name() {
        let volume_of = |mount| match mount {
            Ok(Mount::Volume(volume)) => volume,
            other => panic!("{other:?}"),
        };
        let named = VolumeMount { name: "data".into(), target: "/b".into(), ..VolumeMount::default() };
        assert_eq!(volume_of(volume("data:/b/", here())), named);
        assert_eq!(volume_of(mount("src=data,dst=/b", here())), named);
        let unnamed = VolumeMount { target: "/b".into(), ..VolumeMount::default() };
        assert_eq!(volume_of(volume("/b", here())), unnamed);
        assert_eq!(volume_of(mount("type=volume,dst=/b", here())), unnamed);
        let typed = volume_of(volume("data:/b:ro,nocopy,z", here()));
        assert!(typed.read_only && typed.no_copy && typed.options == ["z"]);
        let typed = volume_of(mount(
            r#"src=data,dst=/b,ro,volume-nocopy,volume-subpath=./a/b,volume-label=k=v,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,uid=3""#,
            here(),
        ));
        assert!(typed.read_only && typed.no_copy);
        assert_eq!((typed.subpath.as_deref(), typed.labels["k"].as_str()), (Some(Path::new("a/b")), "v"));
        assert_eq!(typed.driver_options["o"], "size=1m,uid=3");
        let Ok(Mount::Bind { idmap: true, shallow: false, .. }) = volume("/a:/b:idmap", here()) else {
            panic!("idmap")
        };
        let text = "type=bind,src=/a,dst=/b,bind-recursive=disabled,idmap";
        let Ok(Mount::Bind { idmap: true, shallow: true, .. }) = mount(text, here()) else {
            panic!("disabled")
        };
    }

    #[test]
    fn reads_volumes_of_others() {
        let from = |container: &str, read_only| VolumesFrom { container: container.into(), read_only };
        assert_eq!(volumes_from("web"), Ok(from("web", false)));
        assert_eq!(volumes_from("web:ro,z"), Ok(from("web", true)));
        assert!(volumes_from(":ro").is_err() && volumes_from("web:bogus").is_err());
        assert!(driver("local").is_ok() && driver("nfs").is_err());
    }

    #[test]
    fn reads_tmpfs() {
        assert_eq!(tmpfs("/t"), Ok(Mount::Tmpfs { target: "/t".into(), options: vec![] }));
        assert_eq!(
            tmpfs("/t:size=64m,mode=1777,noexec"),
            Ok(Mount::Tmpfs {
                target: "/t".into(),
                options: vec!["size=64m".into(), "mode=1777".into(), "noexec".into()]
            })
        );
        assert!(tmpfs("/t:size=50%").is_ok());
        for text in ["", "t", "/", "/t:bogus", "/t:size", "/t:size=10x", "/t:mode=rw", "/t:ro=1", "/t:/u"] {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }
}
