//! The directory of a local log: `00000001.log` is written to, older ones may be `00000000.log.zst`.
//!
//! A file never changes its name but to be compressed, so a number says for ever which part of the output it is, and a
//! reader that went on to a number is never fooled by a rotation.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How a file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Packed,
}

/// The files by number, oldest first. One that is there in both forms is plain: then the other is about to replace it.
pub(super) fn list(dir: &Path) -> io::Result<BTreeMap<u64, Form>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        match entry?.file_name().to_str().and_then(parse) {
            Some((number, Form::Plain)) => drop(all.insert(number, Form::Plain)),
            Some((number, Form::Packed)) => drop(all.entry(number).or_insert(Form::Packed)),
            None => {}
        }
    }
    Ok(all)
}

pub(super) fn plain(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

pub(super) fn packed(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log.zst"))
}

/// What is not yet ready to have its name; a new writer removes what it finds of these.
pub(super) fn unready(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".new");
    path.into()
}

pub(super) fn is_unready(name: &str) -> bool {
    name.strip_suffix(".new").is_some_and(|name| parse(name).is_some())
}

fn parse(name: &str) -> Option<(u64, Form)> {
    let (stem, form) = match name.strip_suffix(".zst") {
        Some(stem) => (stem, Form::Packed),
        None => (name, Form::Plain),
    };
    let digits = stem.strip_suffix(".log")?;
    let number =
        (digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse());
    Some((number?.ok()?, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers() {
        let dir = Path::new("/l");
        assert_eq!(plain(dir, 3), Path::new("/l/00000003.log"));
        assert_eq!(parse("00000003.log"), Some((3, Form::Plain)));
        assert_eq!(parse("123456789.log.zst"), Some((123_456_789, Form::Packed)));
        for other in
            ["3.log", "00000003.log.gz", "00000003.log.new", "x0000003.log", "00000003", "+0000003.log"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
        assert!(is_unready("00000003.log.new") && is_unready("00000003.log.zst.new"));
        assert!(!is_unready("notes.new"));
    }
}
