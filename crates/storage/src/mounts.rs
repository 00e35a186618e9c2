//! The host's mounts, of /proc/self/mountinfo (proc_pid_mountinfo(5)).

use std::path::PathBuf;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// As statx(2) has it in stx_mnt_id.
    pub(crate) id: u64,
    /// Absolute, seen from the root of the process.
    pub(crate) point: PathBuf,
    /// `ext4`.
    pub(crate) kind: String,
}

/// File systems with files of the host on them that can be a layer of an overlay.
const REAL: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "bcachefs", "zfs", "erofs", "squashfs", "nilfs2",
];

impl Mount {
    /// Whether the view of the host shows what is on it.
    pub(crate) fn is_real(&self) -> bool {
        REAL.contains(&self.kind.as_str())
    }
}

/// The mounts of a mountinfo file, in its order; lines that make no sense are left out.
pub(crate) fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    // 36 35 98:0 /subtree /point rw,noatime optional:1 - ext3 /dev/root rw
    let mut words = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let point = sys::mount::unescape(words.nth(3)?);
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    Some(Mount { id, point, kind: String::from_utf8(kind.to_vec()).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mountinfo() {
        let text = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            22 27 0:21 / /proc rw shared:3 master:1 - proc proc rw\n\
            30 27 8:1 /sub /opt/a\\040b\\134c rw - btrfs /dev/sda1 rw\n\
            nonsense\n\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0], Mount { id: 27, point: PathBuf::from("/"), kind: "ext4".to_owned() });
        assert!(mounts[0].is_real() && !mounts[1].is_real() && mounts[2].is_real());
        assert_eq!(mounts[2].point, PathBuf::from("/opt/a b\\c"));
    }
}
