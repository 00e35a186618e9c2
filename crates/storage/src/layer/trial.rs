//! For the tests: archives byte by byte, and what a tree is, so that two can be compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use step::Failure;

use super::apply::{Applied, Options, apply};
use oci::Digest;

/// An archive in the making, without the code that it is to test.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    /// A header as ustar has it, of root's.
    pub(crate) fn header(name: &[u8], kind: u8, size: u64, link: &[u8]) -> [u8; 512] {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name);
        block[100..107].copy_from_slice(b"0000644");
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000001750");
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self::sum(&mut block);
        block
    }

    /// Sets the checksum.
    pub(crate) fn sum(block: &mut [u8; 512]) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn data(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(&Self::header(name.as_bytes(), b'0', data.len() as u64, b"")).data(data)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(name, b'5', "")
    }

    pub(crate) fn entry(self, name: &str, kind: u8, link: &str) -> Self {
        self.raw(&Self::header(name.as_bytes(), kind, 0, link.as_bytes()))
    }

    /// An extended header of pax with these records.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut text = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length =
                (1..7).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all).unwrap();
            text.extend_from_slice(format!("{length} {key}=").as_bytes());
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        self.raw(&Self::header(b"PaxHeaders/x", b'x', text.len() as u64, b"")).data(&text)
    }

    /// GNU's long name (`L`) or long link (`K`).
    pub(crate) fn long(self, kind: u8, name: &[u8]) -> Self {
        self.raw(&Self::header(b"././@LongLink", kind, name.len() as u64 + 1, b""))
            .data(&[name, b"\0"].concat())
    }

    pub(crate) fn end(self) -> Self {
        self.raw(&[0; 1024])
    }

    /// Applies it as it is.
    pub(crate) fn apply(&self, directory: &Path, options: &Options) -> Result<Applied, Failure> {
        apply_bytes(&self.0, directory, options)
    }
}

pub(crate) fn apply_bytes(bytes: &[u8], directory: &Path, options: &Options) -> Result<Applied, Failure> {
    apply(bytes, File::open(directory).unwrap(), options)
}

/// All that there is to say of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    pub(crate) device: u64,
    /// Digest of the content or target of the link.
    pub(crate) content: Option<String>,
    pub(crate) attributes: BTreeMap<String, Vec<u8>>,
    /// The first name of the same file.
    pub(crate) same_as: Option<String>,
}

/// A tree by the names below its root, which is the empty name.
pub(crate) fn facts(root: &Path) -> BTreeMap<String, Fact> {
    let mut all = BTreeMap::new();
    let mut files = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let name =
            String::from_utf8_lossy(path.strip_prefix(root).unwrap().as_os_str().as_bytes()).into_owned();
        if stat.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if stat.nlink() > 1 {
            files.entry(stat.ino()).or_insert_with(Vec::new).push(name.clone());
        }
        let content = if stat.is_symlink() {
            Some(
                String::from_utf8_lossy(&fs::read_link(&path).unwrap().into_os_string().into_vec())
                    .into_owned(),
            )
        } else {
            stat.is_file().then(|| Digest::of(&fs::read(&path).unwrap()).to_string())
        };
        let fact = Fact {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            device: stat.rdev(),
            content,
            attributes: attributes(&path),
            same_as: None,
        };
        all.insert(name, fact);
    }
    for mut names in files.into_values() {
        names.sort();
        for name in &names {
            all.get_mut(name).unwrap().same_as = Some(names[0].clone());
        }
    }
    all
}

pub(crate) fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut all = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
        value.truncate(length);
        all.insert(String::from_utf8_lossy(name).into_owned(), value);
    }
    all
}

/// Fails with the names that differ rather than with two trees.
pub(crate) fn assert_same(left: &BTreeMap<String, Fact>, right: &BTreeMap<String, Fact>) {
    let mut differ = Vec::new();
    for name in left.keys().chain(right.keys().filter(|name| !left.contains_key(*name))) {
        if left.get(name) != right.get(name) {
            differ.push(format!("{name:?}:\n  {:?}\n  {:?}", left.get(name), right.get(name)));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ[..differ.len().min(5)].join("\n"));
}
