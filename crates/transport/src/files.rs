//! What images are read from, whatever it is: contents by name.

mod archive;
mod directory;
mod spool;

use std::io::Read;

use oci::Digest;
use step::Failure;

pub(crate) use archive::ArchiveFile;
pub(crate) use directory::Directory;
pub(crate) use spool::spool;

pub(crate) const STEP: &str = "transport.read";

/// The longest manifest, index or configuration that is taken: what registries take (distribution-spec, "Pushing
/// Manifests").
pub(crate) const MAX_TEXT: u64 = 4 << 20;

/// Something that has contents by name.
pub(crate) trait Files: Sync {
    /// What it is called in messages.
    fn place(&self) -> &str;

    /// The content of this name; none if there is none.
    fn open(&self, name: &str) -> Result<Option<Content<'_>>, Failure>;

    /// The content of this name, if it was brought into the store already.
    fn kept(&self, _name: &str) -> Option<(Digest, u64)> {
        None
    }

    /// Whether what was kept was read by whoever unpacks layers.
    fn was_read(&self, _name: &str) -> bool {
        false
    }
}

/// A content, from its beginning.
pub(crate) struct Content<'f> {
    /// How many bytes it says that it has.
    pub(crate) size: u64,
    pub(crate) reader: Box<dyn Read + Send + 'f>,
}

/// A failure on one content of a place.
pub(crate) fn wrong(files: &dyn Files, name: &str, reason: impl Into<String>) -> Failure {
    Failure::because(STEP, at(files.place(), name), reason)
}

/// `image.tar: index.json`, without what a terminal could take for its own.
pub(crate) fn at(place: &str, name: &str) -> String {
    if name.is_empty() {
        place.to_owned()
    } else {
        format!("{place}: {}", storage::layer::shown(name.as_bytes()))
    }
}

/// A text, whole; none if there is none.
pub(crate) fn find_text(files: &dyn Files, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let Some(content) = files.open(name)? else { return Ok(None) };
    if content.size > MAX_TEXT {
        let reason =
            format!("has {} bytes, more than the {MAX_TEXT} that are read of such a file", content.size);
        return Err(wrong(files, name, reason));
    }
    let mut text = Vec::new();
    let read = content.reader.take(MAX_TEXT + 1).read_to_end(&mut text);
    read.map_err(|cause| Failure::new(STEP, at(files.place(), name), cause))?;
    if text.len() as u64 != content.size {
        return Err(wrong(files, name, format!("ends after {} of {} bytes", text.len(), content.size)));
    }
    Ok(Some(text))
}

/// A text that has to be there.
pub(crate) fn text(files: &dyn Files, name: &str) -> Result<Vec<u8>, Failure> {
    find_text(files, name)?.ok_or_else(|| missing(files, name))
}

/// What a place should have and has not.
pub(crate) fn missing(files: &dyn Files, name: &str) -> Failure {
    wrong(files, name, "is missing").hint("the archive is not whole: make it anew where it came from")
}

/// A name as others call the same: without `./` before it and slashes behind it. None for the place itself. An error
/// says what is wrong with it.
pub(crate) fn normal(name: &[u8]) -> Result<Option<String>, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "its name is no text")?;
    if name.starts_with('/') {
        return Err("its name begins at the root");
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("its name leads out of the archive");
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// Where a symbolic link at `name` leads; none if that is out of the place.
pub(crate) fn link_target(name: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok().filter(|target| !target.starts_with('/'))?;
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        for (name, expected) in [
            ("a/b", Ok(Some("a/b"))),
            ("./a//b/", Ok(Some("a/b"))),
            ("./", Ok(None)),
            ("a/../b", Err("its name leads out of the archive")),
            ("..", Err("its name leads out of the archive")),
            ("/a", Err("its name begins at the root")),
        ] {
            assert_eq!(normal(name.as_bytes()), expected.map(|name| name.map(str::to_owned)), "{name}");
        }
        assert!(normal(b"\xff").is_err());
    }

    #[test]
    fn links_lead_to_names_within() {
        for (name, target, expected) in [
            ("a/layer.tar", "../b/layer.tar", Some("b/layer.tar")),
            ("a/layer.tar", "x", Some("a/x")),
            ("x", "a/./b", Some("a/b")),
            ("a/x", "../../etc/passwd", None),
            ("a/x", "/etc/passwd", None),
            ("a/x", "..", None),
        ] {
            assert_eq!(link_target(name, target.as_bytes()).as_deref(), expected, "{name} -> {target}");
        }
    }
}
