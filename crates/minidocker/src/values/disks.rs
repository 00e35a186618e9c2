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
    /// What is written lies in an ext4 image.
    Image(bool),
}

/// What all of them together say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DiskOptions {
    pub(crate) size: Option<u64>,
    pub(crate) volatile: Option<bool>,
    pub(crate) image: Option<bool>,
}

/// `size=10g`, `volatile=false`, `image=true`.
pub(crate) fn option(text: &str) -> Result<DiskOption, String> {
    let flag = |name: &str, value: &str| match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("neither {name}=true nor {name}=false")),
    };
    match text.split_once('=') {
        Some(("size", size)) => sizes::parse(size).map(DiskOption::Size),
        Some((name @ "volatile", value)) => flag(name, value).map(DiskOption::Volatile),
        Some((name @ "image", value)) => flag(name, value).map(DiskOption::Image),
        _ => Err(UNKNOWN.to_owned()),
    }
}

const UNKNOWN: &str =
    "unknown, known are size=BYTES, volatile=true|false and image=true|false; write it as size=10g";

/// The last of each that was typed.
pub(crate) fn last(options: &[DiskOption]) -> DiskOptions {
    options.iter().fold(DiskOptions::default(), |all, option| match option {
        DiskOption::Size(bytes) => DiskOptions { size: Some(*bytes), ..all },
        DiskOption::Volatile(is) => DiskOptions { volatile: Some(*is), ..all },
        DiskOption::Image(is) => DiskOptions { image: Some(*is), ..all },
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
        assert_eq!(option("image=true"), Ok(DiskOption::Image(true)));
        assert_eq!(option("volatile=no"), Err("neither volatile=true nor volatile=false".to_owned()));
        assert_eq!(option("image="), Err("neither image=true nor image=false".to_owned()));
        let all = [DiskOption::Size(1), DiskOption::Volatile(true), DiskOption::Size(2)];
        assert_eq!(last(&all), DiskOptions { size: Some(2), volatile: Some(true), image: None });
        let unknown = Err(UNKNOWN.to_owned());
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
