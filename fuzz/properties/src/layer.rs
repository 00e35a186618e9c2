//! Layers: whatever an archive has in it, nothing outside of the directory that it is unpacked into changes; refused, it
//! leaves nothing; accepted, the tree that it made packs and unpacks to itself.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use storage::layer::{Compression, Devices, Kind, Limits, Onto, Options, Settings, apply, archive};

use crate::bytes::Bytes;

const NAMES: [&str; 24] = [
    "a",
    "b",
    "a/b",
    "a/b/c",
    "b/c",
    "c",
    "./",
    "/a",
    "a/",
    "..",
    "../x",
    "a/../b",
    "a/..",
    ".wh.a",
    "a/.wh.b",
    "a/.wh..wh..opq",
    ".wh..wh..opq",
    ".wh.",
    ".wh...",
    "out",
    "out/x",
    "b//c",
    ".wh..wh.plnk/a",
    "a/b/.wh.c",
];

const LINKS: [&str; 12] = [
    "a",
    "b",
    "a/b",
    "/a",
    "../outside",
    "../../outside/secret",
    "..",
    "/",
    "",
    "c",
    "../outside/secret",
    "out/secret",
];

const KINDS: [u8; 14] = *b"0001235560xLSg";

const RECORDS: [(&str, &[u8]); 14] = [
    ("path", b"a/b"),
    ("path", b"../outside/x"),
    ("path", b"a\0b"),
    ("linkpath", b"../outside"),
    ("size", b"3"),
    ("size", b"99999999999"),
    ("uid", b"3000000000"),
    ("mtime", b"-1.5"),
    ("mtime", b"1700000000.123456789"),
    ("SCHILY.xattr.user.x", b"a\nb"),
    ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
    ("GNU.sparse.map", b"0,1,4096,2"),
    ("GNU.sparse.size", b"8192"),
    ("GNU.sparse.major", b"1"),
];

/// The directory of this process: what it holds is the same after every input.
struct World {
    path: PathBuf,
}

impl World {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("minidocker-fuzz-{}-{number}", std::process::id()));
        for directory in ["root", "tree", "again", "outside"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        fs::write(path.join("outside/secret"), "secret").unwrap();
        // A tree with links that lead out, for what is written onto one.
        symlink("../outside", path.join("tree/out")).unwrap();
        symlink("../outside/secret", path.join("tree/b")).unwrap();
        Self { path }
    }

    fn check(&self) {
        let mut names: Vec<_> =
            fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["again", "outside", "root", "tree"]);
        let outside = self.path.join("outside");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The first byte says whether the rest is an archive as it is, or decisions by which one is made.
pub fn layer(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let bytes = if first & 1 == 0 { rest.to_vec() } else { made(&mut Bytes(rest)) };
    let world = World::new();
    let limits = Limits { bytes: 1 << 20, entries: 200, ..Limits::default() };
    let onto = Onto::Layer { userxattr: first & 2 != 0 };
    let options = Options { onto, limits, devices: Devices::Refuse, ..Options::default() };
    let open = |name: &str| File::open(world.path.join(name)).unwrap();
    let applied = apply(&bytes[..], open("root"), &options);
    world.check();
    match applied {
        Ok(applied) => assert_eq!(applied.compressed_bytes, bytes.len() as u64),
        Err(_) => assert_eq!(fs::read_dir(world.path.join("root")).unwrap().count(), 0),
    }
    let _ = apply(&bytes[..], open("tree"), &Options { onto: Onto::Tree, ..options });
    world.check();
    there_and_back(&world.path, &options);
    world.check();
}

/// What was unpacked, packed, unpacked and packed again, is the same.
fn there_and_back(path: &Path, options: &Options) {
    let Onto::Layer { userxattr } = options.onto else { return };
    let settings =
        Settings { kind: Kind::Layer { userxattr }, compression: Compression::None, ..Settings::default() };
    let pack = |name: &str| {
        let mut bytes = Vec::new();
        archive(File::open(path.join(name)).unwrap(), &mut bytes, &settings).map(|_| bytes)
    };
    let first = pack("root").unwrap();
    apply(&first[..], File::open(path.join("again")).unwrap(), options).unwrap();
    assert!(pack("again").unwrap() == first, "another archive of the same tree");
}

/// An archive whose checksums are right, by decisions.
fn made(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut all = Vec::new();
    while !bytes.is_empty() && all.len() < 1 << 16 {
        let kind = bytes.pick(&KINDS);
        let (name, link) = (bytes.pick(&NAMES), bytes.pick(&LINKS));
        let data = match kind {
            b'x' | b'g' => (0..=bytes.below(3)).flat_map(|_| record(bytes.pick(&RECORDS))).collect(),
            b'L' => [bytes.pick(&NAMES).as_bytes(), b"\0"].concat(),
            b'0' => vec![b'd'; bytes.below(1200)],
            b'S' => vec![b'd'; 3],
            _ => Vec::new(),
        };
        let odd = bytes.byte();
        let size = if odd == 1 { data.len() + 1000 } else { data.len() };
        all.extend(header(name, kind, size, link, odd));
        all.extend_from_slice(&data);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

fn record((key, value): (&str, &[u8])) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = if rest + 1 < 10 { rest + 1 } else { rest + 2 };
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn header(name: &str, kind: u8, size: usize, link: &str, odd: u8) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(if odd & 2 == 0 { b"0000755" } else { b"0007000" });
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000005");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000001750");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(if odd & 4 == 0 { b"ustar\x0000" } else { b"ustar  \0" });
    if kind == b'S' {
        block[386..397].copy_from_slice(b"00000010000");
        block[398..409].copy_from_slice(b"00000000003");
        block[483..494].copy_from_slice(b"00000020000");
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let sum = if odd == 255 { sum + 1 } else { sum };
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
