//! Mount options in the words of mount(8) and of the OCI runtime specification, told apart: attributes of the mount,
//! its propagation, and what is left for the file system itself.

use sys::mount as attr;

/// What a list of options means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// MOUNT_ATTR_* of the mount.
    pub set: u64,
    /// MOUNT_ATTR_* to clear: a bind mount inherits its source's.
    pub clear: u64,
    /// The same for every mount below (`rro` and its like).
    pub recursive_set: u64,
    /// The same for every mount below.
    pub recursive_clear: u64,
    /// MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE; 0 where nothing was said.
    pub propagation: u64,
    /// With MS_REC.
    pub propagation_recursive: bool,
    /// `bind` or `rbind`.
    pub bind: bool,
    /// `rbind`.
    pub recursive: bool,
    /// `tmpcopyup`: a tmpfs starts with what it hides.
    pub copy_up: bool,
    /// `idmap` or `ridmap`.
    pub idmap: Option<IdMap>,
    /// An access time setting was asked for, not only taken back.
    pub access_time: bool,
    /// `remount`: what is mounted there already gets these options.
    pub remount: bool,
    /// The file system's own options, in order.
    pub data: Vec<(String, Option<String>)>,
}

/// Which mounts of a bind are idmapped, OCI runtime specification, "idmap" and "ridmap".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMap {
    /// The mount itself.
    Single,
    /// And all below.
    Recursive,
}

/// The words of mount(8) that set (or clear) a bit, and those that the kernel ignores today.
const ATTRIBUTES: &[(&str, u64, bool)] = &[
    ("ro", attr::RDONLY, true),
    ("rw", attr::RDONLY, false),
    ("nosuid", attr::NOSUID, true),
    ("suid", attr::NOSUID, false),
    ("nodev", attr::NODEV, true),
    ("dev", attr::NODEV, false),
    ("noexec", attr::NOEXEC, true),
    ("exec", attr::NOEXEC, false),
    ("nodiratime", attr::NODIRATIME, true),
    ("diratime", attr::NODIRATIME, false),
    ("nosymfollow", attr::NOSYMFOLLOW, true),
    ("symfollow", attr::NOSYMFOLLOW, false),
];

/// Access time settings are one field, not bits: setting one clears the mask (mount_setattr(2)).
const ACCESS_TIMES: &[(&str, u64)] = &[
    ("noatime", attr::NOATIME),
    ("atime", 0),
    ("relatime", 0),
    ("norelatime", 0),
    ("strictatime", attr::STRICTATIME),
    ("nostrictatime", 0),
];

const PROPAGATIONS: &[(&str, u64)] = &[
    ("private", libc_ms::PRIVATE),
    ("slave", libc_ms::SLAVE),
    ("shared", libc_ms::SHARED),
    ("unbindable", libc_ms::UNBINDABLE),
];

/// mount(2)'s propagation flags.
mod libc_ms {
    pub(super) const UNBINDABLE: u64 = 1 << 17;
    pub(super) const PRIVATE: u64 = 1 << 18;
    pub(super) const SLAVE: u64 = 1 << 19;
    pub(super) const SHARED: u64 = 1 << 20;
}

impl Options {
    /// Reads a list of options.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Self {
        let mut options = Self::default();
        for word in words {
            options.read(word.as_ref());
        }
        options
    }

    fn read(&mut self, word: &str) {
        match word {
            "" | "defaults" | "async" | "nomand" | "noiversion" | "loud" | "silent" | "noauto" | "auto"
            | "_netdev" | "nofail" | "user" | "nouser" | "users" | "owner" | "group" => return,
            "bind" => return self.bind = true,
            "rbind" => return (self.bind, self.recursive) = (true, true),
            "tmpcopyup" => return self.copy_up = true,
            "idmap" => return self.idmap = Some(IdMap::Single),
            "ridmap" => return self.idmap = Some(IdMap::Recursive),
            "remount" => return self.remount = true,
            _ => {}
        }
        if self.read_attribute(word) || self.read_propagation(word) {
            return;
        }
        self.data.push(match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        });
    }

    fn read_attribute(&mut self, word: &str) -> bool {
        if let Some((_, bit, on)) = ATTRIBUTES.iter().find(|(name, ..)| *name == word) {
            put(&mut self.set, &mut self.clear, *bit, *on);
            self.access_time |= word == "nodiratime";
            return true;
        }
        if let Some((_, value)) = ACCESS_TIMES.iter().find(|(name, _)| *name == word) {
            self.clear |= attr::ATIME;
            self.set = (self.set & !attr::ATIME) | value;
            self.access_time |= matches!(word, "noatime" | "relatime" | "strictatime");
            return true;
        }
        // `rro`, `rnosuid`, …: the same for every mount below. `ro` and `rw` themselves never come here.
        let Some(word) = word.strip_prefix('r') else { return false };
        if let Some((_, bit, on)) = ATTRIBUTES.iter().find(|(name, ..)| *name == word) {
            put(&mut self.recursive_set, &mut self.recursive_clear, *bit, *on);
            return true;
        }
        if let Some((_, value)) = ACCESS_TIMES.iter().find(|(name, _)| *name == word) {
            self.recursive_clear |= attr::ATIME;
            self.recursive_set = (self.recursive_set & !attr::ATIME) | value;
            return true;
        }
        false
    }

    fn read_propagation(&mut self, word: &str) -> bool {
        let (name, recursive) = match word.strip_prefix('r') {
            Some(name) => (name, true),
            None => (word, false),
        };
        let Some((_, flag)) = PROPAGATIONS.iter().find(|(known, _)| *known == name) else { return false };
        self.propagation = *flag;
        self.propagation_recursive = recursive;
        true
    }

    /// Whether mounts made on one side are to show on the other.
    pub fn passes_events(&self) -> bool {
        self.propagation & (libc_ms::SHARED | libc_ms::SLAVE) != 0
    }

    /// The same as mount(2) remounts a bind: attributes that are not among them are off, unless none are. Access times
    /// that were only taken back, or not spoken of, stay as they are.
    pub fn exact(&self) -> Self {
        const TIMES: u64 = attr::ATIME | attr::NODIRATIME;
        let mut options = self.clone();
        if options.set | options.clear != 0 {
            let all = ATTRIBUTES.iter().fold(0, |all, (_, bit, _)| all | bit);
            options.clear |= (all | attr::ATIME) & !options.set;
            if self.access_time {
                options.clear |= attr::ATIME;
            } else {
                options.clear &= !TIMES;
                options.set &= !TIMES;
            }
        }
        options
    }

    /// The attributes as mount(8) would print them: for the trace and the script.
    pub fn words(&self) -> Vec<&'static str> {
        let bits =
            ATTRIBUTES.iter().filter(|(_, bit, on)| *on && self.set & bit != 0).map(|(name, ..)| *name);
        let times = ACCESS_TIMES.iter().filter(|(_, value)| *value != 0 && self.set & attr::ATIME == *value);
        bits.chain(times.map(|(name, _)| *name)).collect()
    }

    /// The propagation as mount(8) takes it, `rslave`.
    pub fn propagation_word(&self) -> Option<String> {
        let (name, _) = PROPAGATIONS.iter().find(|(_, flag)| *flag == self.propagation)?;
        Some(if self.propagation_recursive { format!("r{name}") } else { (*name).to_owned() })
    }
}

fn put(set: &mut u64, clear: &mut u64, bit: u64, on: bool) {
    if on {
        *set |= bit;
        *clear &= !bit;
    } else {
        *clear |= bit;
        *set &= !bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_attributes_from_data() {
        let options =
            Options::parse(&["nosuid", "noexec", "mode=755", "size=65536k", "strictatime", "newinstance"]);
        assert_eq!(options.set, attr::NOSUID | attr::NOEXEC | attr::STRICTATIME);
        assert_eq!(options.clear, attr::ATIME);
        let data = [("mode", Some("755")), ("size", Some("65536k")), ("newinstance", None)];
        assert_eq!(options.data, data.map(|(k, v)| (k.to_owned(), v.map(str::to_owned))));
    }

    #[test]
    fn the_last_word_wins() {
        let options = Options::parse(&["ro", "rw"]);
        assert_eq!((options.set, options.clear), (0, attr::RDONLY));
        let options = Options::parse(&["rw", "ro"]);
        assert_eq!((options.set, options.clear), (attr::RDONLY, 0));
    }

    #[test]
    fn recursive_words() {
        let options = Options::parse(&["rbind", "rro", "rnosuid", "rprivate"]);
        assert!(options.bind && options.recursive && options.propagation_recursive);
        assert_eq!(options.recursive_set, attr::RDONLY | attr::NOSUID);
        assert_eq!(options.set, 0);
        assert_eq!(options.propagation_word().unwrap(), "rprivate");
        // `relatime` and `rw` begin with r and are not recursive.
        let options = Options::parse(&["relatime", "rw"]);
        assert_eq!((options.recursive_set, options.recursive_clear), (0, 0));
        assert_eq!(options.clear, attr::ATIME | attr::RDONLY);
    }
}
