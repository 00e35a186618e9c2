//! What the guest's init is told: a JSON file in the initramfs, made on the host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use step::Failure;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What is run.
    pub process: Process,
    /// The host name.
    pub hostname: String,
    /// Modules in the order of loading: names of files in the initramfs.
    pub modules: Vec<String>,
    /// The root file system, and further ones below it: each is read-only, with a layer on the scratch disk over it.
    pub lower: Vec<Lower>,
    /// The scratch disk's serial.
    pub scratch: String,
    /// Trees of the host.
    pub shares: Vec<Share>,
    /// An interface with QEMU's user network behind it.
    pub network: bool,
    /// Files that are written into the root: path, content.
    pub files: Vec<(PathBuf, String)>,
}

/// The command and who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The words: the first is a path, or a name that is looked for in `PATH`. Never empty.
    pub command: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Absolute; made if missing.
    pub workdir: PathBuf,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// It reads what the host sends.
    pub interactive: bool,
    /// It has a terminal.
    pub terminal: bool,
    /// The terminal's rows and columns, where they are known.
    pub size: Option<(u16, u16)>,
}

/// Where a file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The ext4 on the disk with this serial.
    Disk(String),
    /// The tree that virtiofsd shares by this tag.
    Tree(String),
}

/// A file system below the layer of what is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lower {
    /// What it is.
    pub source: Source,
    /// Where it goes, relative to the root; empty for the root itself, which is the first.
    pub at: PathBuf,
}

/// `-v`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// virtiofsd's.
    pub tag: String,
    /// Absolute; made if missing.
    pub at: PathBuf,
    /// The host keeps it so as well.
    pub read_only: bool,
}

/// Why there was no command: what failed, and the exit code that tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What failed.
    pub failure: Failure,
    /// 127 for a command that is not there, 126 for one that cannot be run, 125 for all else.
    pub code: u8,
}

/// The files that every machine gets: names and addresses.
#[must_use]
pub fn files(hostname: &str, network: bool) -> Vec<(PathBuf, String)> {
    let own = if network { ADDRESS } else { "127.0.1.1" };
    let hosts =
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}\t{hostname}\n");
    let resolver = if network { format!("nameserver {NAME_SERVER}\n") } else { String::new() };
    vec![
        ("/etc/hosts".into(), hosts),
        ("/etc/hostname".into(), format!("{hostname}\n")),
        ("/etc/resolv.conf".into(), resolver),
    ]
}

/// QEMU's user network gives the first guest this address.
pub const ADDRESS: &str = "10.0.2.15";
/// Bits of its network.
pub const PREFIX: u8 = 24;
/// Its way out.
pub const GATEWAY: &str = "10.0.2.2";
/// Its name server: QEMU asks the host's.
pub const NAME_SERVER: &str = "10.0.2.3";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_with_and_without_a_network() {
        let of = |network| files("box", network).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert!(of(true)[0].contains("10.0.2.15\tbox\n") && of(true)[2].contains("10.0.2.3"));
        assert!(of(false)[0].contains("127.0.1.1\tbox\n") && of(false)[2].is_empty());
        assert_eq!(of(false)[1], "box\n");
    }
}
