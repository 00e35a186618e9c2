//! What a container keeps its files on: `--storage-opt size=10g`, `--rootfs-kind loop`.

use engine::request::RootfsKind;

use super::sizes;

/// Bytes; the size is the only option that there is.
pub(crate) fn option(text: &str) -> Result<u64, String> {
    match text.split_once('=') {
        Some(("size", size)) => sizes::parse(size),
        _ => Err("unknown, known is size=BYTES; write it as size=10g".to_owned()),
    }
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
        assert_eq!(option("size=10g"), Ok(10 << 30));
        assert_eq!(option("size=32M"), Ok(32 << 20));
        let unknown = Err("unknown, known is size=BYTES; write it as size=10g".to_owned());
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
