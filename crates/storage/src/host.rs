//! What of the host's root file system a container with the image `host` sees: turns the table (`hidden`) and the
//! facts of this host into masks, one for the root and one for each further file system below it.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString};
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, StatxFlags};
use rustix::io::Errno;
use step::Failure;

use crate::Places;
use crate::hidden::{FRESH, HIDDEN, Hide, NEVER_A_HOME, VISIBLE};
use crate::mask::{Entry, Mask, Owner, What};
use crate::mounts::{self, Mount};

const STEP: &str = "storage.host";

/// What is read of the host besides its root: paths are as the host names them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// minidocker's own state: not there.
    pub(crate) state: Vec<PathBuf>,
    /// The home of whoever calls it: empty.
    pub(crate) home: Option<PathBuf>,
    /// Every mount.
    pub(crate) mounts: Vec<Mount>,
}

impl Facts {
    /// The facts of this process.
    pub(crate) fn read(places: &Places) -> Result<Self, Failure> {
        const MOUNTINFO: &str = "/proc/self/mountinfo";
        let text = read_whole(MOUNTINFO).map_err(|cause| Failure::new(STEP, MOUNTINFO, cause))?;
        Ok(Self {
            state: vec![places.root.clone(), places.run_root.clone()],
            home: std::env::var_os("HOME").map(PathBuf::from),
            mounts: mounts::parse(&text),
        })
    }
}

/// A file of /proc, whose size is not known beforehand, in one go as a rule.
fn read_whole(path: &str) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(32768);
    std::fs::File::open(path)?.read_to_end(&mut text)?;
    Ok(text)
}

/// The masks by the place that they are for, relative to `base`: the root's first, then each further file system's
/// from the shallowest to the deepest.
pub(crate) fn plan(base: &Path, facts: &Facts) -> Result<Vec<(PathBuf, Mask)>, Failure> {
    let failed = |cause: Errno| Failure::new(STEP, base.display().to_string(), cause);
    let root = rustix::fs::open(base, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let mut view = View { base, root: root.map_err(failed)?, hidden: BTreeMap::new() };
    view.hide_table().map_err(failed)?;
    view.replace_accounts();
    facts.home.iter().for_each(|path| view.hide_wherever(path, Hide::Empty));
    facts.state.iter().for_each(|path| view.hide_state(path));
    let mut further = view.sort_mounts(&facts.mounts);
    further.sort();
    // Last: what is hidden at the top level is hidden whatever was said of it before.
    view.hide_top_level().map_err(failed)?;
    Ok(view.into_masks(further))
}

struct View<'a> {
    base: &'a Path,
    root: OwnedFd,
    /// By path, relative to the base; as plain text, for paths are compared part by part, which takes long.
    hidden: BTreeMap<OsString, What>,
}

impl View<'_> {
    /// Whatever of the top level is not on the white list is taken away; what every container has is made new.
    fn hide_top_level(&mut self) -> Result<(), Errno> {
        let mut links = Vec::new();
        for_names(&self.root, |name, kind| {
            let name = OsStr::from_bytes(name.to_bytes());
            if FRESH.iter().any(|(fresh, _)| name == *fresh) {
                // Where /home is a link to /var/home, it is that one that holds the homes.
                links.extend((kind == FileType::Symlink).then(|| self.base.join(name)));
            } else if !VISIBLE.iter().any(|visible| name == *visible) {
                self.hidden.insert(name.to_owned(), What::Gone);
            }
        })?;
        links.iter().for_each(|link| self.hide_wherever(link, Hide::Empty));
        for (name, mode) in FRESH {
            self.hidden.insert(OsString::from(name), What::Empty(Owner { mode: *mode, uid: 0, gid: 0 }));
        }
        Ok(())
    }

    /// The table, as far as this host has what it names: each parent is listed once, which costs less than to ask
    /// for each of many names that are not there.
    fn hide_table(&mut self) -> Result<(), Errno> {
        for (parent, rows) in HIDDEN {
            let Some((real, directory)) = self.open_parent(parent)? else { continue };
            for_names(&directory, |name, kind| {
                let bytes = name.to_bytes();
                let matches = |pattern: &&str| match pattern.strip_suffix('*') {
                    Some(prefix) => bytes.starts_with(prefix.as_bytes()),
                    None => bytes == pattern.as_bytes(),
                };
                let Some((how, _)) = rows.iter().find(|(_, names)| names.iter().any(&matches)) else {
                    return;
                };
                if *how == Hide::Unlinked && kind == FileType::RegularFile {
                    return;
                }
                if let Ok(stat) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
                    && let Some(what) = hide(&stat, *how)
                {
                    self.hidden.insert(real.join(OsStr::from_bytes(bytes)).into(), what);
                }
            })?;
        }
        Ok(())
    }

    /// A parent directory of the table, with its path free of links; none where it is missing or not visible.
    fn open_parent(&self, parent: &str) -> Result<Option<(PathBuf, OwnedFd)>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&self.root, parent, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(Some((PathBuf::from(parent), fd))),
            Err(Errno::LOOP) => {
                let Some(real) = self.visible(&self.base.join(parent)) else { return Ok(None) };
                let fd = rustix::fs::openat2(&self.root, &real, flags, Mode::empty(), resolve)?;
                Ok(Some((real, fd)))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The path without links and relative to the base, if it is there and below a visible top-level directory.
    fn visible(&self, path: &Path) -> Option<PathBuf> {
        let real = path.canonicalize().ok()?;
        let below = real.strip_prefix(self.base).ok()?;
        let Some(Component::Normal(top)) = below.components().next() else { return None };
        VISIBLE.iter().any(|name| top == *name).then(|| below.to_owned())
    }

    /// Hides a directory, if it is below a visible one and not one that every program needs.
    fn hide_wherever(&mut self, path: &Path, how: Hide) {
        let Some(below) = self.visible(path) else { return };
        if NEVER_A_HOME.iter().any(|name| Path::new(name).starts_with(&below)) {
            return;
        }
        if let Ok(stat) = rustix::fs::statat(&self.root, &below, AtFlags::SYMLINK_NOFOLLOW) {
            self.hidden.extend(hide(&stat, how).map(|what| (below.into(), what)));
        }
    }

    /// Takes away a directory of minidocker's, which may be made between now and the mount: if it is missing, then
    /// the first part of its path that is.
    fn hide_state(&mut self, path: &Path) {
        let mut missing = None;
        let there = path.ancestors().find(|above| {
            let found = above.symlink_metadata().is_ok();
            if !found {
                missing = above.file_name();
            }
            found
        });
        match (there, missing) {
            (Some(above), Some(name)) => {
                let first = self.visible(above).map(|above| above.join(name));
                self.hidden.extend(first.map(|first| (first.into(), What::Gone)));
            }
            _ => self.hide_wherever(path, Hide::Gone),
        }
    }

    /// The files with the users' passwords become files with none, and their homes are hidden.
    fn replace_accounts(&mut self) {
        let Ok(passwd) = std::fs::read(self.base.join("etc/passwd")) else { return };
        let group = std::fs::read(self.base.join("etc/group")).unwrap_or_default();
        for home in homes(&passwd) {
            self.hide_wherever(&self.base.join(home.strip_prefix("/").unwrap_or(home)), Hide::Empty);
        }
        self.replace("etc/shadow", locked(&passwd, b":*:::::::\n", None));
        self.replace("etc/gshadow", locked(&group, b":*::", Some(3)));
        // From before there was a shadow file.
        for (file, text) in [("etc/passwd", &passwd), ("etc/group", &group)] {
            if let Some(clean) = without_hashes(text) {
                self.replace(file, clean);
            }
        }
    }

    /// Another content for a file that the host has.
    fn replace(&mut self, file: &str, content: Vec<u8>) {
        let Ok(stat) = rustix::fs::statat(&self.root, file, AtFlags::empty()) else { return };
        self.hidden.insert(OsString::from(file), What::File(Owner::of(&stat), content));
    }

    /// Which mounts get an overlay of their own. The others below visible directories, memory and network file
    /// systems, become empty directories: what lies beneath such a mount is not shown on the host either.
    fn sort_mounts(&mut self, mounts: &[Mount]) -> Vec<PathBuf> {
        let mut further = Vec::new();
        for mount in mounts {
            let Ok(below) = mount.point.strip_prefix(self.base) else { continue };
            let Some(Component::Normal(top)) = below.components().next() else { continue };
            if !VISIBLE.iter().any(|name| top == *name) {
                continue;
            }
            // A mount beneath another one is out of sight; automount points must not be triggered.
            let flags = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW;
            let wanted =
                StatxFlags::MNT_ID | StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::UID | StatxFlags::GID;
            let Ok(stat) = rustix::fs::statx(CWD, &mount.point, flags, wanted) else { continue };
            let directory = FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::Directory;
            if stat.stx_mnt_id != mount.id || !directory {
                continue;
            }
            if mount.is_real() {
                further.push(below.to_owned());
            } else {
                let mode = u32::from(stat.stx_mode) & 0o7777;
                let owner = Owner { mode, uid: stat.stx_uid, gid: stat.stx_gid };
                self.hidden.entry(below.into()).or_insert(What::Empty(owner));
            }
        }
        further
    }

    /// Whether something on the way to `path` is hidden.
    fn lies_below_hidden(&self, path: &Path) -> bool {
        path.ancestors().skip(1).any(|above| self.hidden.contains_key(above.as_os_str()))
    }

    /// Gives each file system the entries that lie on it, with the directories that lead to them.
    fn into_masks(self, further: Vec<PathBuf>) -> Vec<(PathBuf, Mask)> {
        let mut places: Vec<(PathBuf, BTreeMap<OsString, What>)> = vec![(PathBuf::new(), BTreeMap::new())];
        let shown = further
            .into_iter()
            .filter(|path| !self.hidden.contains_key(path.as_os_str()) && !self.lies_below_hidden(path));
        places.extend(shown.map(|path| (path, BTreeMap::new())));
        for (path, what) in &self.hidden {
            let path = Path::new(path);
            // What lies below something hidden needs no word of its own.
            if self.lies_below_hidden(path) {
                continue;
            }
            // Sorted: the last that holds it is the deepest. One that is hidden itself is not among them.
            let Some((place, entries)) = places.iter_mut().rev().find(|place| path.starts_with(&place.0))
            else {
                continue;
            };
            let Ok(below) = path.strip_prefix(&*place) else { continue };
            for parent in below.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
                if !entries.contains_key(parent.as_os_str())
                    && let Ok(stat) =
                        rustix::fs::statat(&self.root, place.join(parent), AtFlags::SYMLINK_NOFOLLOW)
                {
                    entries.insert(parent.into(), What::Way(Owner::of(&stat)));
                }
            }
            entries.insert(below.into(), what.clone());
        }
        let entry = |(path, what)| Entry { path: PathBuf::from(path), what };
        let mask = |map: BTreeMap<_, _>| Mask { entries: map.into_iter().map(entry).collect() };
        places.into_iter().map(|(place, map)| (place, mask(map))).collect()
    }
}

/// What stands in the place of something with this `stat`; none where it stays.
fn hide(stat: &Stat, how: Hide) -> Option<What> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let plain = Owner { mode: 0o644, uid: 0, gid: 0 };
    match how {
        Hide::Gone => Some(What::Gone),
        Hide::Empty if kind == FileType::Directory => Some(What::Empty(Owner::of(stat))),
        // Where the link leads is hidden for its own sake or shown.
        Hide::Empty if kind == FileType::Symlink => None,
        Hide::Empty => Some(What::Gone),
        Hide::Blank if kind == FileType::Symlink => Some(What::File(plain, Vec::new())),
        Hide::Blank => Some(What::File(Owner::of(stat), Vec::new())),
        Hide::Unlinked => (kind == FileType::Symlink).then_some(What::File(plain, Vec::new())),
    }
}

/// Calls `with` for each name in a directory.
fn for_names(directory: &OwnedFd, mut with: impl FnMut(&CStr, FileType)) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::uninit(); 16384];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            with(entry.file_name(), entry.file_type());
        }
    }
    Ok(())
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let fields = |line: &'_ [u8]| -> bool { !line.is_empty() && line[0] != b'#' };
    text.split(|byte| *byte == b'\n')
        .filter(move |line| fields(line))
        .map(|line| line.split(|b| *b == b':').collect())
}

/// The homes of people in a passwd(5) file: ids from 1000 on are theirs, those below the system's (login.defs(5)).
fn homes(passwd: &[u8]) -> Vec<&Path> {
    const NOBODY: u32 = 65534;
    let home = |fields: Vec<_>| {
        let [_, _, uid, _, _, home, ..] = fields[..] else { return None };
        let uid: u32 = std::str::from_utf8(uid).ok()?.parse().ok()?;
        let home = Path::new(OsStr::from_bytes(home));
        (uid >= 1000 && uid != NOBODY && home.is_absolute()).then_some(home)
    };
    lines(passwd).filter_map(home).collect()
}

/// A shadow(5) or gshadow(5) file in which nobody has a password, for the names of `text`: each name, `rest`, and,
/// where given, the field with that number.
fn locked(text: &[u8], rest: &[u8], field: Option<usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for fields in lines(text) {
        out.extend_from_slice(fields[0]);
        out.extend_from_slice(rest);
        if let Some(number) = field {
            out.extend_from_slice(fields.get(number).copied().unwrap_or_default());
            out.push(b'\n');
        }
    }
    out
}

/// The same file with `x` for every password hash; none if there is no hash in it.
fn without_hashes(text: &[u8]) -> Option<Vec<u8>> {
    let is_hash = |field: &&[u8]| field.len() > 1 && **field != *b"!!" && **field != *b"!*";
    if !lines(text).any(|fields| fields.get(1).is_some_and(is_hash)) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    for mut fields in lines(text) {
        if let Some(field) = fields.get_mut(1).filter(|field| is_hash(field)) {
            *field = b"x";
        }
        out.extend_from_slice(&fields.join(&b':'));
        out.push(b'\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_homes_and_services_do_not() {
        let passwd = b"root:x:0:0:root:/root:/bin/bash\npostgres:x:105:110::/var/lib/postgresql:/bin/sh\n\
            ann:x:1000:1000:Ann:/var/people/ann:/bin/sh\nbad:x:1001:1001::/usr:/bin/sh\nodd:x:1002\n\
            none:x:1003:1003::/:/bin/sh\nnobody:x:65534:65534::/var/nobody:/bin/sh\nrel:x:1004:1:::\n";
        let homes = homes(passwd);
        assert_eq!(homes, ["/var/people/ann", "/usr", "/"].map(Path::new));
    }

    #[test]
    fn what_every_program_needs_is_nobodys_home() {
        let scratch = crate::trial::Scratch::new("homes");
        for directory in ["usr/bin", "usr/share/x", "var/lib/dpkg", "var/lib/ann"] {
            std::fs::create_dir_all(scratch.path.join(directory)).unwrap();
        }
        std::fs::create_dir_all(scratch.path.join("etc")).unwrap();
        let homes = [
            "/",
            "/usr",
            "/usr/bin",
            "/usr/share",
            "/var/lib/dpkg",
            "/var/lib",
            "/var/lib/ann",
            "/usr/share/x",
        ];
        let line = |home: &str| format!("x:x:1000:1000::{home}:/bin/sh\n");
        std::fs::write(scratch.path.join("etc/passwd"), homes.map(line).concat()).unwrap();
        let masks = plan(&scratch.path, &Facts::default()).unwrap();
        let hidden = masks[0].1.entries.iter().filter(|entry| !matches!(entry.what, What::Way(_)));
        let hidden = hidden.map(|entry| entry.path.to_str().unwrap()).filter(|path| path.contains('/'));
        assert_eq!(hidden.collect::<Vec<_>>(), ["usr/share/x", "var/lib/ann"]);
    }

    #[test]
    fn shadow_files_have_names_and_no_password() {
        let passwd = b"root:x:0:0:root:/root:/bin/bash\n# note\n\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n";
        assert_eq!(locked(passwd, b":*:::::::\n", None), b"root:*:::::::\nann:*:::::::\n");
        let group = b"root:x:0:\nsudo:x:27:ann,bob\n";
        assert_eq!(locked(group, b":*::", Some(3)), b"root:*::\nsudo:*::ann,bob\n");
    }

    #[test]
    fn hashes_in_passwd_itself_are_replaced() {
        assert_eq!(without_hashes(b"root:x:0:0\nann:!:1\nbob::2\neve:*:3\njim:!!:4\n"), None);
        assert_eq!(
            without_hashes(b"root:$6$abc:0:0:root:/root:/bin/sh\nann:x:1:1\n").unwrap(),
            b"root:x:0:0:root:/root:/bin/sh\nann:x:1:1\n"
        );
    }
}
