//! What a container keeps its files on: `--storage-opt size=10g`, `--rootfs-kind loop`.

use engine::request::RootfsKind;

use super::sizes;

/// An option of a container's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskOption {
    /// Bytes.
    Size(u64),
    /// What is written need not reach the disk: fsync(2) does nothing.
    Volatile(bool),
}

/// `size=10g`, `volatile=false`.
pub(crate) fn option(text: &str) -> Result<DiskOption, String> {
    match text.split_once('=') {
        Some(("size", size)) => sizes::parse(size).map(DiskOption::Size),
        Some(("volatile", "true")) => Ok(DiskOption::Volatile(true)),
        Some(("volatile", "false")) => Ok(DiskOption::Volatile(false)),
        Some(("volatile", _)) => Err("neither volatile=true nor volatile=false".to_owned()),
        _ => Err("unknown, known are size=BYTES and volatile=true|false; write it as size=10g".to_owned()),
    }
}

/// The last of each that was typed.
pub(crate) fn last(options: &[DiskOption]) -> (Option<u64>, Option<bool>) {
    options.iter().fold((None, None), |(size, volatile), option| match option {
        DiskOption::Size(bytes) => (Some(*bytes), volatile),
        DiskOption::Volatile(is) => (size, Some(*is)),
    })
}

/// A kind by its name.
pub(crate) fn kind(text: &str) -> Result<RootfsKind, String> {
    let all = [RootfsKind::Overlay, RootfsKind::Loop, RootfsKind::Copy];
    all.into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| "neither overlay, loop nor copy".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_and_kinds() {
        assert_eq!(option("size=10g"), Ok(DiskOption::Size(10 << 30)));
        assert_eq!(option("size=32M"), Ok(DiskOption::Size(32 << 20)));
        assert_eq!(option("volatile=false"), Ok(DiskOption::Volatile(false)));
        assert!(option("volatile=no").is_err());
        let all = [DiskOption::Size(1), DiskOption::Volatile(true), DiskOption::Size(2)];
        assert_eq!(last(&all), (Some(2), Some(true)));
        let unknown =
            Err("unknown, known are size=BYTES and volatile=true|false; write it as size=10g".to_owned());
        for text in ["", "size", "10g", "dm.basesize=10g", "Size=1g"] {
            assert_eq!(option(text), unknown, "{text}");
        }
        assert!(option("size=ten").is_err() && option("size=").is_err());
        assert_eq!(kind("loop"), Ok(RootfsKind::Loop));
        assert_eq!(kind("copy"), Ok(RootfsKind::Copy));
        assert_eq!(kind("overlay"), Ok(RootfsKind::Overlay));
        assert_eq!(kind("overlay2"), Err("neither overlay, loop nor copy".to_owned()));
    }
}
