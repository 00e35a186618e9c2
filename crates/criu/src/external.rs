//! What lies outside of the images: named at the dump, and given by whoever restores.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Something outside, as "external" of criu(8) names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum External {
    /// A mount whose content belongs to the host. Dump: `id` is the mount point as the container sees it, `value` the
    /// name that it gets in the images. Restore: `id` is that name, `value` the path on the host that is mounted.
    ///
    /// A runtime takes the mount point for the name too. A file that is masked by /dev/null is dumped with the name
    /// `/dev/null`, of which one restored mount serves them all. Mount points that are none do no harm.
    Mount {
        /// Mount point or name. Not empty.
        id: String,
        /// Name or path.
        value: String,
    },
    /// Dump: a namespace that came from outside. It is restored by an [`Inherit`](crate::Inherit) with the same key.
    Namespace {
        /// Which.
        kind: NamespaceKind,
        /// Its inode.
        inode: u64,
        /// Its name in the images.
        key: String,
    },
    /// Dump: an open file that the container's mount namespace does not reach. It is restored by an
    /// [`Inherit`](crate::Inherit) whose key is this value's text.
    File {
        /// `mnt_id` of /proc/PID/fdinfo/N.
        mount: u32,
        /// Its inode.
        inode: u64,
    },
    /// Dump: one end of a socketpair(2) whose other end may get lost.
    UnixSocket {
        /// Its inode.
        inode: u32,
    },
    /// Restore: what becomes of a veth that led outside.
    Veth {
        /// The link inside: `eth0`.
        inside: String,
        /// The name of its peer outside.
        outside: String,
        /// The bridge that the peer becomes a port of.
        bridge: Option<String>,
    },
    /// Anything else, in the words of criu(8): `dev[8/1]:disk`, `mnt[]:ms`.
    Literal(String),
}

/// A namespace that can be external.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceKind {
    /// Since CRIU 3.11.
    Network,
    /// Since CRIU 3.15.
    Pid,
}

impl NamespaceKind {
    /// The name in the images that runc, crun and youki agree on, so that each restores the others' images.
    pub fn key(self) -> &'static str {
        match self {
            Self::Network => "extRootNetNS",
            Self::Pid => "extRootPidNS",
        }
    }
}

impl External {
    /// The namespace at `path` (`/run/netns/blue`, `/proc/PID/ns/net`) under its usual key.
    pub fn namespace(kind: NamespaceKind, path: &Path) -> io::Result<Self> {
        Ok(Self::Namespace { kind, inode: std::fs::metadata(path)?.ino(), key: kind.key().into() })
    }

    /// A bind mount at the dump, under its own mount point's name.
    pub fn mount_point(path: impl Into<String>) -> Self {
        let id = path.into();
        Self::Mount { value: id.clone(), id }
    }
}

impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { id, value } => write!(f, "mnt[{id}]:{value}"),
            Self::Namespace { kind: NamespaceKind::Network, inode, key } => write!(f, "net[{inode}]:{key}"),
            Self::Namespace { kind: NamespaceKind::Pid, inode, key } => write!(f, "pid[{inode}]:{key}"),
            Self::File { mount, inode } => write!(f, "file[{mount:x}:{inode:x}]"),
            Self::UnixSocket { inode } => write!(f, "unix[{inode}]"),
            Self::Veth { inside, outside, bridge: Some(bridge) } => {
                write!(f, "veth[{inside}]:{outside}@{bridge}")
            }
            Self::Veth { inside, outside, bridge: None } => write!(f, "veth[{inside}]:{outside}"),
            Self::Literal(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn externals_in_the_words_of_criu() {
        let veth = |bridge: Option<&str>| External::Veth {
            inside: "eth0".into(),
            outside: "v1".into(),
            bridge: bridge.map(Into::into),
        };
        let cases = [
            (External::mount_point("/data"), "mnt[/data]:/data"),
            (External::File { mount: 27, inode: 4096 }, "file[1b:1000]"),
            (External::UnixSocket { inode: 12 }, "unix[12]"),
            (veth(Some("br0")), "veth[eth0]:v1@br0"),
            (veth(None), "veth[eth0]:v1"),
            (External::Literal("dev[8/1]:disk".into()), "dev[8/1]:disk"),
        ];
        for (external, text) in cases {
            assert_eq!(external.to_string(), text);
        }
    }

    #[test]
    fn a_namespace_is_known_by_its_inode() {
        let link = std::fs::read_link("/proc/self/ns/net").unwrap();
        let inode = link.to_str().unwrap().trim_start_matches("net:[").trim_end_matches(']').to_owned();
        let external = External::namespace(NamespaceKind::Network, Path::new("/proc/self/ns/net")).unwrap();
        assert_eq!(external.to_string(), format!("net[{inode}]:extRootNetNS"));
    }
}
