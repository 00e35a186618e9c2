//! Mounts: the new mount API throughout (fsopen, fsmount, open_tree, move_mount; Linux 5.2, mount_setattr 5.12), so
//! that each mount is finished before it appears and lands on a descriptor, never on a path that could be swapped.

mod clones;
mod locks;
mod make;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

pub(crate) use clones::{Map, is_elsewhere};
pub(super) use clones::{attach, clone};
use step::{Context, Failure, Shell, Step, quote};

use crate::container::GroupView;
use crate::options::Options;

/// Mount steps.
#[derive(Debug)]
pub(crate) enum Mounts {
    /// How mounts made on either side show on the other.
    Propagation(Options),
    /// A directory as the root file system, its mounts included.
    Directory { path: PathBuf },
    /// The finished root file system, put where init builds on it.
    AttachRoot { at: PathBuf },
    /// A new file system.
    New { kind: String, source: String, target: PathBuf, options: Options },
    /// The source of a bind, cloned before its turn and kept under its number. `slave`: what init mounts stays with it;
    /// `special`: a source that is more than a path.
    Take {
        slot: usize,
        source: PathBuf,
        options: Options,
        map: Option<Map>,
        from: Origin,
        slave: bool,
        special: Option<Special>,
    },
    /// A directory or file of the host; with a number it was taken before. `exact`: attributes that are not asked for
    /// are off, unless none are; `confined`: what the host set and a user namespace may not take off stays; `kind`: it is
    /// a file system that was mounted.
    Bind {
        slot: Option<usize>,
        kind: Option<String>,
        source: PathBuf,
        target: PathBuf,
        options: Options,
        exact: bool,
        confined: bool,
    },
    /// The mount that the root file system lies on, no longer a peer of the host's: no mount may be attached to one
    /// that is, or pivoted from.
    CutOff { at: PathBuf },
    /// Other options for what is mounted there.
    Remount { target: PathBuf, options: Options },
    /// The container's own control groups, each hierarchy below one tmpfs (version 1).
    Groups { target: PathBuf, view: Vec<GroupView>, options: Options },
    /// Nothing to see here.
    Mask(Vec<PathBuf>),
    /// To be read only.
    ReadOnly(Vec<PathBuf>),
    /// The root itself, to be read only.
    ReadOnlyRoot,
    /// Kernel settings of the container's namespaces.
    Sysctl { key: String, value: String },
    /// The new root becomes `/`, the old one goes.
    Change(Change),
    /// How mounts made below the new root show elsewhere.
    RootPropagation(Options),
}

/// Where the source of a bind is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In this mount namespace.
    Host,
    /// There too, where events pass between it and the host's peers: it must be shared.
    Shared,
    /// In init's mount namespace.
    Init,
}

/// The source of a mount that is more than a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Special {
    /// In this directory, whose content is not trusted: no link on the way leads out of it.
    Within(PathBuf),
    /// A file system of this kind, mounted now; the path is its device.
    New(String),
}

/// The ways to a new root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// pivot_root(2): the old root is gone from this namespace. `peers`: mounts in it may be peers of the host's, and must
    /// not be unmounted there too.
    Pivot { peers: bool },
    /// The new root is moved over the old one and entered by chroot(2).
    Move,
    /// chroot(2) alone: without a mount namespace of its own.
    Chroot,
}

impl Step for Mounts {
    fn id(&self) -> &'static str {
        match self {
            Self::Propagation(_) | Self::RootPropagation(_) => "mount.propagation",
            Self::AttachRoot { .. } => "mount.root",
            Self::Directory { .. } => "mount.directory",
            Self::CutOff { .. } => "mount.cut-off",
            Self::Remount { .. } => "mount.remount",
            Self::New { kind, .. } => match kind.as_str() {
                "proc" => "mount.proc",
                "sysfs" => "mount.sys",
                "devpts" => "mount.devpts",
                "mqueue" => "mount.mqueue",
                "cgroup2" => "mount.cgroup",
                "tmpfs" => "mount.tmpfs",
                _ => "mount.new",
            },
            Self::Take { .. } => "mount.take",
            Self::Bind { .. } => "mount.bind",
            Self::Groups { .. } => "mount.cgroup",
            Self::Mask(_) => "mount.mask",
            Self::ReadOnly(_) | Self::ReadOnlyRoot => "mount.read-only",
            Self::Sysctl { .. } => "sysctl.set",
            Self::Change(Change::Pivot { .. }) => "mount.pivot",
            Self::Change(_) => "mount.chroot",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Propagation(options) => {
                let word = options.propagation_word().unwrap_or_default().to_uppercase();
                format!(
                    "mount_setattr(\"/\", AT_RECURSIVE, {{propagation=MS_{}}})",
                    word.trim_start_matches('R')
                )
            }
            Self::AttachRoot { at } => format!("move_mount(<root>, \"{}\")", at.display()),
            Self::New { kind, target, options, .. } => format!(
                "fsopen(\"{kind}\"){}, fsmount({}), move_mount(\"{}\")",
                data_text(options),
                options.words().join(","),
                target.display()
            ),
            Self::CutOff { at } => {
                format!("mount_setattr(<the mount of {}>, {{propagation=MS_PRIVATE}})", at.display())
            }
            Self::Directory { path } => {
                format!("open_tree(\"{}\", OPEN_TREE_CLONE|AT_RECURSIVE)", path.display())
            }
            Self::Take { source, options, from, .. } if is_elsewhere(source) || *from == Origin::Init => {
                format!(
                    "setns(<its mount namespace>), open_tree(\"{}\", OPEN_TREE_CLONE{}), setns(<the own one>)",
                    source.display(),
                    if options.recursive { "|AT_RECURSIVE" } else { "" }
                )
            }
            Self::Take { source, options, special: Some(Special::New(kind)), .. } => format!(
                "fsopen(\"{kind}\"), fsconfig(source={}){}, fsmount({})",
                source.display(),
                data_text(options),
                options.words().join(",")
            ),
            Self::Take { source, options, special: Some(Special::Within(top)), .. } => format!(
                "openat(\"{}\"), openat2(<it>, \"{}\", RESOLVE_BENEATH), open_tree(<it>, OPEN_TREE_CLONE{})",
                top.display(),
                source.strip_prefix(top).unwrap_or(source).display(),
                if options.recursive { "|AT_RECURSIVE" } else { "" }
            ),
            Self::Take { source, options, map, .. } => format!(
                "open_tree(\"{}\", OPEN_TREE_CLONE{}){}",
                source.display(),
                if options.recursive { "|AT_RECURSIVE" } else { "" },
                if map.is_some() { ", mount_setattr(MOUNT_ATTR_IDMAP)" } else { "" }
            ),
            Self::Remount { target, options } => {
                format!("mount_setattr(\"{}\", {})", target.display(), options.words().join(","))
            }
            Self::Bind { slot: Some(_), target, options, .. } => {
                format!("mount_setattr({}), move_mount(\"{}\")", options.words().join(","), target.display())
            }
            Self::Bind { source, target, options, .. } => format!(
                "open_tree(\"{}\", OPEN_TREE_CLONE{}), mount_setattr({}), move_mount(\"{}\")",
                source.display(),
                if options.recursive { "|AT_RECURSIVE" } else { "" },
                options.words().join(","),
                target.display()
            ),
            Self::Groups { target, view, .. } => {
                let names: Vec<_> = view.iter().map(|group| group.name.as_str()).collect();
                format!(
                    "fsopen(\"tmpfs\"), move_mount(\"{}\"), open_tree(<group>) and move_mount for {}",
                    target.display(),
                    names.join(" ")
                )
            }
            Self::Mask(paths) => format!("move_mount(/dev/null or an empty tmpfs) over {}", list(paths)),
            Self::ReadOnly(paths) => {
                format!("open_tree(OPEN_TREE_CLONE), mount_setattr(ro), move_mount over {}", list(paths))
            }
            Self::ReadOnlyRoot => "mount_setattr(<root>, ro)".into(),
            Self::Sysctl { key, value } => {
                format!("write(\"/proc/sys/{}\", {value:?})", key.replace('.', "/"))
            }
            Self::Change(Change::Pivot { peers }) => format!(
                "fchdir(<root>), pivot_root(\".\", \".\"), {}umount2(\".\", MNT_DETACH), chdir(\"/\")",
                if *peers { "mount_setattr(<old root>, AT_RECURSIVE, {propagation=MS_SLAVE}), " } else { "" }
            ),
            Self::Change(Change::Move) => {
                "fchdir(<root>), move_mount(\".\", \"/\"), chroot(\".\"), chdir(\"/\")".into()
            }
            Self::Change(Change::Chroot) => "fchdir(<root>), chroot(\".\"), chdir(\"/\")".into(),
            Self::RootPropagation(options) => {
                format!(
                    "mount_setattr(\"/\", {{propagation={}}})",
                    options.propagation_word().unwrap_or_default()
                )
            }
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Propagation(_) => "nothing that the container mounts reaches the host",
            Self::CutOff { .. } => "nothing can be pivoted from a mount that the host shares",
            Self::Directory { .. } => "the root file system that config.json names",
            Self::AttachRoot { .. } => "init builds on it; the mount exists in this namespace only",
            Self::New { kind, target, .. } => match (kind.as_str(), target.to_str().unwrap_or_default()) {
                ("proc", _) => "ps and friends see the container's own processes",
                ("sysfs", _) => "devices and interfaces of the container's own network",
                ("devpts", _) => "terminals that no other container can open",
                ("mqueue", _) => "the POSIX message queues of the container's own IPC namespace",
                ("cgroup2", _) => "programs can read their own limits",
                (_, "/dev") => "an empty /dev to fill with the standard devices alone",
                (_, "/dev/shm") => "shared memory of its own, with a size limit",
                _ => "asked for",
            },
            Self::Take { special: Some(Special::New(_)), .. } => {
                "a volume's file system: mounted with the host's rights, for this container alone"
            }
            Self::Take { special: Some(Special::Within(_)), .. } => {
                "a part of a volume: containers write it, and no link of theirs may lead out"
            }
            Self::Take { map: Some(_), .. } => "the files' owners are to be other ids inside than outside",
            Self::Take { from: Origin::Host | Origin::Init, .. } => {
                "init has no rights on the host's files: it is handed over"
            }
            Self::Take { .. } => {
                "mounts made on one side are to show on the other: it must stay the host's peer"
            }
            Self::Remount { .. } => "it was filled, and may no longer be changed",
            Self::Bind { target, .. } => match target.to_str().unwrap_or_default() {
                "/etc/hosts" | "/etc/hostname" | "/etc/resolv.conf" => {
                    "names as the container should see them"
                }
                _ => "asked for",
            },
            Self::Groups { .. } => "programs can read their own limits",
            Self::Mask(_) => "these tell of the host, or reach into it",
            Self::ReadOnly(_) => "these change the host's kernel",
            Self::ReadOnlyRoot => "asked for: --read-only",
            Self::Sysctl { .. } => "asked for: --sysctl, in the container's own namespaces",
            Self::Change(Change::Pivot { .. }) => {
                "the host's files are out of reach: not hidden, gone from this namespace"
            }
            Self::Change(_) => "the host's files are out of reach as far as chroot(2) can do that",
            Self::RootPropagation(_) => "asked for: rootfsPropagation",
        })
    }

    fn shell(&self) -> Shell {
        match self {
            Self::Propagation(options) => Shell::line(format!(
                "mount --make-{} /",
                options.propagation_word().unwrap_or("rprivate".into())
            )),
            Self::AttachRoot { .. } => Shell::Within("the mount on $ROOT"),
            Self::New { kind, source, target, options } => new_lines(kind, source, target, options),
            Self::Directory { path, .. } => {
                Shell::line(format!("mount --rbind {} \"$ROOT\"", quote(&path.to_string_lossy())))
            }
            Self::CutOff { at } => {
                Shell::line(format!("mount --make-private \"$(stat -c %m {})\"", quote(&at.to_string_lossy())))
            }
            Self::Take { special: Some(_), .. } => Shell::Nothing("the script mounts it in its place"),
            Self::Take { .. } => Shell::Nothing("a script's bind mounts are private"),
            Self::Bind { kind: Some(kind), source, target, options, .. } => {
                new_lines(kind, &source.to_string_lossy(), target, options)
            }
            Self::Remount { target, options } => Shell::line(format!(
                "mount -o remount,bind,{} {}",
                options.words().join(","),
                below_root(target)
            )),
            Self::Bind { source, target, options, .. } => bind_lines(source, target, options),
            Self::Groups { target, view, .. } => {
                let at = below_root(target);
                let mut lines = vec![format!("mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs {at}")];
                for GroupView { name, links, dir } in view {
                    lines.push(format!(
                        "mkdir {at}/{name}; mount --bind {} {at}/{name}",
                        quote(&dir.to_string_lossy())
                    ));
                    lines.push(format!("mount -o remount,bind,ro,nosuid,nodev,noexec {at}/{name}"));
                    lines.extend(links.iter().map(|link| format!("ln -s {name} {at}/{link}")));
                }
                lines.push(format!("mount -o remount,ro {at}"));
                Shell::Lines(lines)
            }
            Self::Mask(paths) => Shell::Lines(paths.iter().map(|path| mask_line(path)).collect()),
            Self::ReadOnly(paths) => Shell::Lines(paths.iter().map(|path| read_only_line(path)).collect()),
            Self::ReadOnlyRoot => Shell::line("mount -o remount,bind,ro \"$ROOT\""),
            Self::Sysctl { key, value } => {
                Shell::line(format!("echo {} > /proc/sys/{}", quote(value), quote(&key.replace('.', "/"))))
            }
            Self::Change(Change::Move | Change::Chroot) => {
                Shell::line("cd \"$ROOT\"; mount --move . /; exec chroot .")
            }
            Self::RootPropagation(options) => {
                Shell::line(format!("mount --make-{} /", options.propagation_word().unwrap_or_default()))
            }
            Self::Change(Change::Pivot { .. }) => Shell::Lines(vec![
                "cd \"$ROOT\"".into(),
                "pivot_root . .".into(),
                "hash -r; umount -l . 2>/dev/null || echo 'no umount in this root: the host stays mounted behind it' >&2".into(),
                "cd /; hash -r".into(),
            ]),
        }
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Propagation(options) => self.propagation(options),
            Self::Directory { path } => self.directory(path, context),
            Self::AttachRoot { at } => self.attach_root(at, context),
            Self::New { kind, source, target, options } => {
                self.mount_new(kind, source, target, options, context)
            }
            Self::CutOff { at } => self.cut_off(at),
            Self::Take { slot, source, options, special: Some(special), map, .. } => {
                let mount = self.take_special(source, options, special)?;
                self.map(&mount, source, map.as_ref(), context)?;
                context.taken.push((*slot, mount));
                Ok(())
            }
            Self::Take { slot, source, options, map, from, slave, special: None } => {
                let mount = self.take(source, options, map.as_ref(), (*from, *slave), context)?;
                context.taken.push((*slot, mount));
                Ok(())
            }
            Self::Bind { slot, source, target, options, exact, confined, kind: _ } => {
                self.bind(*slot, source, target, options, (*exact, *confined), context)
            }
            Self::Remount { target, options } => self.remount(target, options, context),
            Self::Groups { target, view, options } => self.groups(target, view, options, context),
            Self::Mask(paths) => self.mask(paths, context),
            Self::ReadOnly(paths) => paths.iter().try_for_each(|path| self.read_only(path, context)),
            Self::ReadOnlyRoot => self.read_only_root(context),
            Self::Sysctl { key, value } => self.sysctl(key, value, context),
            Self::Change(change) => self.change(*change, context),
            Self::RootPropagation(options) => self.propagation(options),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn data_text(options: &Options) -> String {
    options.data.iter().fold(String::new(), |text, (key, value)| match value {
        Some(value) => format!("{text}, fsconfig({key}={value})"),
        None => format!("{text}, fsconfig({key})"),
    })
}

fn below_root(target: &Path) -> String {
    let path = target.to_string_lossy();
    if path == "/" { "\"$ROOT\"".into() } else { format!("\"$ROOT\"{}", quote(&path)) }
}

fn new_lines(kind: &str, source: &str, target: &Path, options: &Options) -> Shell {
    let mut words: Vec<String> = options.words().iter().map(|w| (*w).to_owned()).collect();
    words.extend(options.data.iter().map(|(key, value)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    }));
    let flags = if words.is_empty() { String::new() } else { format!(" -o {}", quote(&words.join(","))) };
    let at = below_root(target);
    Shell::Lines(vec![
        format!("mkdir -p {at}"),
        format!("mount -t {}{flags} {} {at}", quote(kind), quote(source)),
    ])
}

fn bind_lines(source: &Path, target: &Path, options: &Options) -> Shell {
    let (from, at) = (quote(&source.to_string_lossy()).into_owned(), below_root(target));
    let parent = below_root(target.parent().unwrap_or(target));
    let kind = if options.recursive { "--rbind" } else { "--bind" };
    let mut lines = vec![
        format!("[ -d {from} ] && mkdir -p {at} || {{ mkdir -p {parent}; [ -e {at} ] || : > {at}; }}"),
        format!("mount {kind} {from} {at}"),
    ];
    let words = options.words();
    if !words.is_empty() {
        lines.push(format!("mount -o remount,bind,{} {at}", words.join(",")));
    }
    if let Some(word) = options.propagation_word() {
        lines.push(format!("mount --make-{word} {at}"));
    }
    Shell::Lines(lines)
}

fn mask_line(path: &Path) -> String {
    let at = below_root(path);
    format!(
        "if [ -d {at} ]; then mount -t tmpfs -o ro,nosuid,nodev,noexec tmpfs {at}; elif [ -e {at} ]; then mount --bind \"$ROOT\"/dev/null {at}; fi"
    )
}

fn read_only_line(path: &Path) -> String {
    let at = below_root(path);
    format!(
        "if [ -e {at} ]; then mount --bind {at} {at}; mount -o remount,bind,ro,nosuid,nodev,noexec {at}; fi"
    )
}
