//! Archives that mean harm or are damaged: refused with the entry named, and nothing is left, inside or outside.
//! Archives that look odd and mean no harm: what becomes of them.

use super::apply::{Applied, Devices, Limits, Onto, Options};
use super::trial::{Tar, apply_bytes, attributes, facts};
use crate::trial::{Scratch, fill, on_small_disk};
use oci::Digest;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// A stream whose one block says that its dictionary has 4 GiB: tukaani.org's xz-file-format, 5.3.1.
const XZ_OF_4_GIB: &[u8] =
    b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46\x02\0\x21\x01\x28\0\0\0\xe6\xa0\x11\xb3\x01\0\x03evil\0";

fn tar() -> Tar {
    Tar::default()
}

/// Directories to unpack into, with something beside them that must stay as it is.
struct World {
    scratch: Scratch,
}

impl World {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        fs::create_dir(scratch.path.join("outside")).unwrap();
        fs::write(scratch.path.join("outside/secret"), "secret").unwrap();
        fs::create_dir(scratch.path.join("root")).unwrap();
        Self { scratch }
    }

    fn root(&self) -> PathBuf {
        self.scratch.path.join("root")
    }

    fn layer(&self, tar: &Tar) -> Applied {
        tar.apply(&self.root(), &Options::default()).unwrap_or_else(|failure| panic!("{failure}"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(name)).unwrap()
    }
}

/// What an archive is refused for: its name here, itself, the entry, a part of the reason.
fn hostile() -> Vec<(&'static str, Tar, &'static str, &'static str)> {
    let named = |name: &str| tar().directory("good").file(name, b"evil").end();
    let linked = |kind, target: &str| tar().file("good", b"x").entry("bad", kind, target).end();
    let long = "d/".repeat(2100);
    let mut all = vec![
        ("upwards", named("../outside/x"), "entry ../outside/x", "leads upwards"),
        (
            "upwards in the middle",
            named("good/../../outside/x"),
            "entry good/../../outside/x",
            "leads upwards",
        ),
        ("upwards within", named("good/../x"), "entry good/../x", "leads upwards"),
        ("upwards, absolute", named("/../x"), "entry /../x", "leads upwards"),
        ("upwards alone", tar().directory("..").end(), "entry ..", "leads upwards"),
        ("no name", tar().file("./", b"x").end(), "entry ./", "no name"),
        ("a long part", tar().long(b'L', &[b'n'; 256]).file("x", b"").end(), "entry nnn", "longer than 255"),
        (
            "a long name",
            tar().long(b'L', long.as_bytes()).file("x", b"").end(),
            "entry d/d/",
            "longer than 4096",
        ),
        (
            "a long link",
            tar().long(b'K', long.as_bytes()).entry("x", b'2', "y").end(),
            "entry x",
            "longer than 4096",
        ),
        ("NUL in pax", tar().pax(&[("path", b"a\0b")]).file("x", b"").end(), "the archive", "NUL"),
        (
            "NUL in pax's link",
            tar().pax(&[("linkpath", b"a\0b")]).entry("x", b'2', "y").end(),
            "the archive",
            "NUL",
        ),
        ("a link out", linked(b'2', "../outside"), "entry bad", "leads out"),
        (
            "a link out, deep",
            tar().entry("a/b/l", b'2', "../../x/../../outside").end(),
            "entry a/b/l",
            "leads out",
        ),
        ("an empty link", linked(b'2', ""), "entry bad", "link to no name"),
        ("a hard link out", linked(b'1', "../outside/secret"), "entry bad", "leads out"),
        ("a hard link to nothing", linked(b'1', "missing"), "entry bad", "no file of this layer"),
        ("a hard link to nothing, deep", linked(b'1', "a/missing"), "entry bad", "no file of this layer"),
        (
            "a hard link to itself",
            tar().file("bad", b"").entry("./bad", b'1', "bad").end(),
            "entry ./bad",
            "itself",
        ),
        (
            "a hard link to a directory",
            tar().directory("d").entry("x", b'1', "d").end(),
            "entry x",
            "no file",
        ),
        ("a hard link to the root", tar().entry("x", b'1', ".").end(), "entry x", "no file"),
        (
            "a hard link through a link",
            tar().entry("l", b'2', "/").entry("x", b'1', "l/etc/passwd").end(),
            "entry x",
            "through a link",
        ),
        (
            "a name through a link",
            tar().entry("l", b'2', "/").file("l/tmp/minidocker-evil", b"evil").end(),
            "entry l/tmp/minidocker-evil",
            "leads through l",
        ),
        (
            "a name through a link to a directory of the layer",
            tar().directory("d").entry("l", b'2', "d").file("l/x", b"evil").end(),
            "entry l/x",
            "leads through l",
        ),
        (
            "a name through a file",
            tar().file("f", b"").file("f/x", b"").end(),
            "entry f/x",
            "leads through f",
        ),
        (
            "a directory through a link",
            tar().entry("l", b'2', "/").directory("l/minidocker-evil").end(),
            "entry l/minidocker-evil",
            "leads through l",
        ),
        (
            "a whiteout through a link",
            tar().entry("l", b'2', "/etc").file("l/.wh.passwd", b"").end(),
            "entry l/.wh.passwd",
            "leads through",
        ),
        ("a whiteout of nothing", named("good/.wh."), "entry good/.wh.", "hides no name"),
        ("a whiteout of itself", named("good/.wh.."), "entry good/.wh..", "hides no name"),
        ("a whiteout upwards", named("good/.wh..."), "entry good/.wh...", "hides no name"),
        ("below a whiteout", named(".wh.good/x"), "entry .wh.good/x", "through the name of a whiteout"),
        ("an unknown type", tar().entry("x", b'Z', "").end(), "entry x", "unknown type"),
        ("a device 0:0", tar().entry("x", b'3', "").end(), "entry x", "device 0:0"),
        ("cut in a header", tar().file("x", b"").raw(&[b'x'; 100]), "the archive", "ends in the middle"),
        ("cut in data", Tar(tar().file("x", &[1; 4000]).0[..2000].to_vec()), "entry x", "ends in the middle"),
        ("cut after an extended header", tar().pax(&[("path", b"x")]), "the archive", "ends in the middle"),
        (
            "an end after an extended header",
            tar().pax(&[("path", b"x")]).end(),
            "the archive",
            "followed by the archive's end",
        ),
        (
            "one block of zeroes",
            tar().file("x", b"").raw(&[0; 512]).file("y", b"").end(),
            "the archive",
            "block of zeroes",
        ),
        ("noise", tar().raw(&fill(2048, 3)), "the archive", "wrong checksum"),
        (
            "a large extended header",
            tar().raw(&Tar::header(b"x", b'x', 1 << 21, b"")).end(),
            "the archive",
            "1048576",
        ),
        (
            "a large long name",
            tar().raw(&Tar::header(b"x", b'L', 1 << 33 >> 1, b"")).end(),
            "the archive",
            "1048576",
        ),
        (
            "a damaged extended header",
            tar().raw(&Tar::header(b"x", b'x', 4, b"")).data(b"zzzz").end(),
            "the archive",
            "damaged",
        ),
        (
            "an owner beyond",
            tar().pax(&[("uid", b"4294967296")]).file("x", b"").end(),
            "entry x",
            "no user id",
        ),
        (
            "nobody's owner",
            tar().pax(&[("gid", b"4294967295")]).file("x", b"").end(),
            "entry x",
            "no group id",
        ),
        (
            "a negative size",
            tar().pax(&[("size", b"-1")]).file("x", b"").end(),
            "entry x",
            "number that is none",
        ),
        (
            "a size beyond",
            tar().pax(&[("size", b"18446744073709551615")]).file("x", b"").end(),
            "entry x",
            "size cannot be",
        ),
        (
            "a size without data",
            tar().pax(&[("size", b"9000000000000000000")]).file("x", b"").end(),
            "entry x",
            "middle",
        ),
        (
            "a false capability",
            tar().pax(&[("SCHILY.xattr.security.capability", b"nonsense")]).file("x", b"").end(),
            "entry x",
            "security.capability cannot be set",
        ),
        (
            "a sparse map beyond the file",
            tar().pax(&[("GNU.sparse.map", b"0,4"), ("GNU.sparse.size", b"3")]).file("x", b"evil").end(),
            "entry x",
            "sparse map",
        ),
        (
            "a sparse map without end",
            tar()
                .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")])
                .file("x", &[b'1'; 5120])
                .end(),
            "entry x",
            "sparse map",
        ),
        ("damaged xz", tar().raw(b"\xfd7zXZ\0evilevilevil"), "the archive", "xz stream is damaged"),
        ("an xz that wants 4 GiB", tar().raw(XZ_OF_4_GIB), "the archive", "xz stream is damaged"),
        ("damaged bzip2", tar().raw(b"BZh9evilevilevil"), "the archive", "bzip2 stream is damaged"),
        (
            "damaged gzip",
            tar().raw(b"\x1f\x8b\x08\0\0\0\0\0\0\xffevilevilevil"),
            "the archive",
            "gzip stream is damaged",
        ),
        ("damaged zstd", tar().raw(b"\x28\xb5\x2f\xfdevilevil"), "the archive", "zstd stream is damaged"),
    ];
    let mut sum = Tar::header(b"x", b'0', 0, b"");
    sum[0] ^= 1;
    all.push(("a wrong checksum", tar().file("good", b"").raw(&sum).end(), "the archive", "wrong checksum"));
    let mut mode = Tar::header(b"x", b'0', 0, b"");
    mode[100..107].copy_from_slice(b"888888 ");
    Tar::sum(&mut mode);
    all.push(("a false number", tar().raw(&mode).end(), "the archive", "mode is no number"));
    let half = gzip(&named("y").0);
    all.push(("cut gzip", tar().raw(&half[..half.len() / 2]), "the archive", "ends in the middle"));
    all.push((
        "gzip and noise",
        tar().raw(&half).raw(b"noise and more noise"),
        "the archive",
        "gzip stream is damaged",
    ));
    let zstd = zstd::encode_all(&named("y").0[..], 3).unwrap();
    all.push(("cut zstd", tar().raw(&zstd[..zstd.len() - 5]), "the archive", ""));
    all
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_tools_pack_by_is_read_whole_and_a_piece_of_it_is_refused() {
    let plain = tar().file("a", &[b'a'; 300_000]).file("b", b"b").end().0;
    for (what, pack) in [("xz", xz as fn(&[u8]) -> Vec<u8>), ("bzip2", bzip2)] {
        let (first, second) = plain.split_at(100_000);
        for (form, packed) in [("one", pack(&plain)), ("two", [pack(first), pack(second)].concat())] {
            let world = World::new(what);
            let applied = apply_bytes(&packed, &world.root(), &Options::default()).unwrap();
            assert_eq!(applied.diff_id, Digest::of(&plain), "{what} {form}");
            assert_eq!((world.read("a").len(), world.read("b")), (300_000, "b".to_owned()), "{what} {form}");
            let world = World::new(what);
            let cut = &packed[..packed.len() / 2];
            let failure = apply_bytes(cut, &world.root(), &Options::default()).unwrap_err();
            assert!(failure.cause().contains("in the middle"), "{what} {form}: {failure}");
            assert_eq!(fs::read_dir(world.root()).unwrap().count(), 0, "{what} {form}");
        }
    }
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    for (what, tar, entry, reason) in hostile() {
        let world = World::new("hostile");
        let before = facts(&world.scratch.path.join("outside"));
        for (form, bytes) in [("as it is", tar.0.clone()), ("by gzip", gzip(&tar.0))] {
            if form == "by gzip"
                && (what.contains("gzip")
                    || what.contains("zstd")
                    || what.contains("xz")
                    || what.contains("bzip2"))
            {
                continue;
            }
            let failure = apply_bytes(&bytes, &world.root(), &Options::default())
                .map(|applied| panic!("{what} {form}: {applied:?}"))
                .unwrap_err();
            assert!(
                failure.target.starts_with(entry) || entry == "entry x" && failure.target == "the archive",
                "{what} {form}: {failure}"
            );
            assert!(failure.cause().contains(reason), "{what} {form}: {failure}");
            assert_eq!(fs::read_dir(world.root()).unwrap().count(), 0, "{what} {form}");
            assert!(
                !Path::new("/tmp/minidocker-evil").exists() && !Path::new("/minidocker-evil").exists(),
                "{what}"
            );
        }
        let onto_tree = Options { onto: Onto::Tree, ..Options::default() };
        if what != "a device 0:0" {
            assert!(tar.apply(&world.root(), &onto_tree).is_err(), "{what} onto a tree");
        }
        assert_eq!(facts(&world.scratch.path.join("outside")), before, "{what}");
        assert!(fs::metadata("/etc/passwd").is_ok());
    }
}

#[test]
fn links_of_an_existing_tree_lead_nowhere() {
    let world = World::new("links");
    let (root, outside) = (world.root(), world.scratch.path.join("outside"));
    symlink("../outside", root.join("l")).unwrap();
    symlink("../outside/secret", root.join("f")).unwrap();
    let options = Options { onto: Onto::Tree, ..Options::default() };
    for tar in [
        tar().file("l/x", b"evil").end(),
        tar().file("l/.wh.secret", b"").end(),
        tar().file("l/.wh..wh..opq", b"").end(),
        tar().entry("x", b'1', "l/secret").end(),
    ] {
        let failure = tar.apply(&root, &options).unwrap_err();
        assert!(failure.cause().contains("leads through"), "{failure}");
    }
    // A file in the place of a link replaces the link, not what it leads to.
    tar().file("f", b"new").directory("l").file("l/x", b"new").end().apply(&root, &options).unwrap();
    assert_eq!(world.read("f") + &world.read("l/x"), "newnew");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    // A file with another name elsewhere is replaced, never written to.
    fs::hard_link(outside.join("secret"), root.join("h")).unwrap();
    tar().file("h", b"evil").end().apply(&root, &options).unwrap();
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
}

#[test]
fn a_mount_in_the_tree_is_no_part_of_it() {
    crate::trial::in_namespace(|| {
        let world = World::new("mount");
        let at = world.root().join("m");
        fs::create_dir(&at).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &at, "tmpfs", flags, None).unwrap();
        let options = Options { onto: Onto::Tree, ..Options::default() };
        assert!(tar().file("m/x", b"evil").end().apply(&world.root(), &options).is_err());
        assert!(tar().file("m", b"evil").end().apply(&world.root(), &options).is_err());
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    });
}

#[test]
fn slashes_before_a_name_are_taken_off() {
    let world = World::new("absolute");
    world.layer(&tar().file("/etc//./x", b"1").entry("/etc/h", b'1', "/etc/x").end());
    assert_eq!(world.read("etc/x"), "1");
    assert_eq!(fs::metadata(world.root().join("etc/h")).unwrap().nlink(), 2);
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let world = World::new("twice");
    let all = tar()
        .file("a", b"1")
        .file("a", b"2")
        .file("b", b"1")
        .directory("b")
        .file("b/x", b"2")
        .directory("c")
        .file("c/deep/x", b"1")
        .file("c", b"2")
        .entry("d", b'2', "/")
        .directory("d")
        .file("d/x", b"2")
        .directory("e")
        .file("e/x", b"1")
        .directory("e")
        .file("e/y", b"2")
        .file("f", b"1")
        .entry("g", b'1', "f")
        .file("f", b"2")
        .directory("h")
        .entry("h", b'2', "a")
        .file("i", b"2")
        .entry("i", b'6', "")
        .end();
    assert_eq!(world.layer(&all).entries, 22);
    for (name, text) in [
        ("a", "2"),
        ("b/x", "2"),
        ("c", "2"),
        ("d/x", "2"),
        ("e/x", "1"),
        ("e/y", "2"),
        ("f", "2"),
        ("g", "1"),
        ("h", "2"),
    ] {
        assert_eq!(world.read(name), text, "{name}");
    }
    assert!(fs::metadata(world.root().join("i")).unwrap().file_type().is_fifo());
    // Case tricks: two names are two files.
    let other = World::new("case");
    other.layer(&tar().file("Ab", b"1").file("aB", b"2").end());
    assert_eq!(other.read("Ab") + &other.read("aB"), "12");
}

#[test]
fn a_hard_link_to_a_link_is_a_name_of_the_link() {
    let world = World::new("hardsym");
    world.layer(&tar().entry("l", b'2', "/etc/passwd").entry("h", b'1', "l").end());
    assert_eq!(fs::read_link(world.root().join("h")).unwrap(), Path::new("/etc/passwd"));
    // And an entry of that name replaces the name.
    let world = World::new("hardsym2");
    world.layer(&tar().entry("l", b'2', "/etc/minidocker-x").entry("h", b'1', "l").file("h", b"mine").end());
    assert_eq!(world.read("h"), "mine");
    assert!(!Path::new("/etc/minidocker-x").exists());
}

#[test]
fn what_follows_the_end_counts_for_the_digest_alone() {
    let world = World::new("trailing");
    let tar =
        tar().file("x", b"1").end().raw(&[0; 512]).raw(b"anything").raw(&Tar::header(b"y", b'0', 0, b""));
    let applied = world.layer(&tar);
    assert_eq!(
        (applied.diff_id, applied.bytes, applied.entries),
        (Digest::of(&tar.0), tar.0.len() as u64, 1)
    );
    assert!(!world.root().join("y").exists());
}

#[test]
fn ends_as_others_write_them() {
    for tar in [
        tar().file("x", b"1"),
        tar().file("x", b"1").raw(&[0; 512]),
        tar().raw(&Tar::header(b"x", b'0', 1, b"")).raw(b"1"),
    ] {
        let world = World::new("end");
        world.layer(&tar);
        assert_eq!(world.read("x"), "1");
    }
    let world = World::new("empty");
    assert_eq!(world.layer(&tar()).diff_id, Digest::of(b""));
}

#[test]
fn every_compression_gives_the_same() {
    let tar = tar().file("x", &fill(3_000_000, 1)).file("y", &[0; 2_000_000]).end();
    let members: Vec<u8> = tar.0.chunks(700_000).flat_map(gzip).collect();
    let frames: Vec<u8> = tar.0.chunks(700_000).flat_map(|part| zstd::encode_all(part, 1).unwrap()).collect();
    for bytes in [tar.0.clone(), gzip(&tar.0), members, zstd::encode_all(&tar.0[..], 3).unwrap(), frames] {
        let world = World::new("compression");
        let options = Options { compressed: true, ..Options::default() };
        let applied = apply_bytes(&bytes, &world.root(), &options).unwrap();
        assert_eq!((applied.diff_id, applied.bytes), (Digest::of(&tar.0), tar.0.len() as u64));
        assert_eq!(
            (applied.compressed, applied.compressed_bytes),
            (Some(Digest::of(&bytes)), bytes.len() as u64)
        );
        assert!(fs::read(world.root().join("x")).unwrap() == fill(3_000_000, 1));
    }
}

#[test]
fn bombs_meet_limits() {
    let refused = |bytes: &[u8], limits| {
        let world = World::new("bomb");
        let failure =
            apply_bytes(bytes, &world.root(), &Options { limits, ..Options::default() }).unwrap_err();
        assert_eq!(fs::read_dir(world.root()).unwrap().count(), 0);
        failure
    };
    let limits = Limits::default();
    let large = gzip(&tar().file("x", &vec![0; 20_000_000]).end().0);
    assert!(large.len() < 30_000);
    let failure = refused(&large, Limits { bytes: 10_000_000, ..limits });
    assert!(failure.cause().contains("more than 10000000 bytes") && failure.hint.is_some(), "{failure}");
    for packed in [xz as fn(&[u8]) -> Vec<u8>, bzip2] {
        let large = packed(&tar().file("x", &vec![0; 20_000_000]).end().0);
        assert!(large.len() < 30_000);
        let failure = refused(&large, Limits { bytes: 10_000_000, ..limits });
        assert!(failure.cause().contains("more than 10000000 bytes") && failure.hint.is_some(), "{failure}");
    }
    let many = (0..50).fold(tar(), |tar, n| tar.file(&n.to_string(), b"")).end();
    let failure = refused(&many.0, Limits { entries: 49, ..limits });
    assert_eq!(
        (failure.target.as_str(), failure.cause().as_str()),
        ("entry 49", "the archive has more than 49 entries")
    );
    assert!(limits.check(Limits::RATIO_FREE, 0).is_ok());
    assert!(limits.check(Limits::RATIO_FREE + 400_000, 1000).is_ok());
    assert!(limits.check(Limits::RATIO_FREE + 400_001, 1000).unwrap_err().contains("400 times"));
    // A file that says it is large costs what it has.
    let world = World::new("sparsebomb");
    let map = format!("0,1,{},0", 1_u64 << 40);
    let tar = tar()
        .pax(&[("GNU.sparse.map", map.as_bytes()), ("GNU.sparse.size", (1_u64 << 40).to_string().as_bytes())])
        .file("x", b"1")
        .end();
    world.layer(&tar);
    let stat = fs::metadata(world.root().join("x")).unwrap();
    assert!(stat.len() == 1 << 40 && stat.blocks() < 100);
}

#[test]
fn devices_are_made_or_refused() {
    let mut null = Tar::header(b"dev/null", b'3', 0, b"");
    null[329..337].copy_from_slice(b"0000001\0");
    null[337..345].copy_from_slice(b"0000003\0");
    Tar::sum(&mut null);
    let tar = tar().raw(&null).end();
    let world = World::new("devices");
    let options = Options { devices: Devices::Refuse, ..Options::default() };
    let failure = tar.apply(&world.root(), &options).unwrap_err();
    assert_eq!(
        (failure.target.as_str(), failure.cause().as_str()),
        ("entry dev/null", "it is a device node")
    );
    world.layer(&tar);
    let stat = fs::metadata(world.root().join("dev/null")).unwrap();
    assert!(stat.file_type().is_char_device());
    assert_eq!(stat.rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(stat.permissions().mode() & 0o7777, 0o644);
}

#[test]
fn attributes_of_overlayfs_are_none_of_an_archives() {
    let world = World::new("overlayattr");
    let records: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.good", b"a\nb"),
    ];
    world.layer(&tar().pax(&records).directory("d").end());
    let left = attributes(&world.root().join("d"));
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [("user.good".to_owned(), b"a\nb".to_vec())]);
}

#[test]
fn whiteouts_become_an_overlays() {
    for (userxattr, name) in [(false, "trusted.overlay.opaque"), (true, "user.overlay.opaque")] {
        let world = World::new("whiteouts");
        let tar = tar()
            .file("a/.wh.gone", b"")
            .directory("o")
            .file("o/.wh..wh..opq", b"")
            .file("o/x", b"1")
            .file("implied/.wh..wh..opq", b"")
            // Hidden below and brought anew, in both orders and as each kind.
            .file(".wh.d", b"")
            .directory("d")
            .file("d/x", b"1")
            .directory("e")
            .file(".wh.e", b"")
            .file(".wh.f", b"")
            .file("f", b"1")
            .file("g", b"1")
            .file(".wh.g", b"")
            .file(".wh.h", b"")
            .file("h/x", b"1")
            .file(".wh..wh.plnk/1.2", b"aufs")
            .file(".wh..wh.aufs", b"aufs")
            .end();
        let options = Options { onto: Onto::Layer { userxattr }, ..Options::default() };
        tar.apply(&world.root(), &options).unwrap();
        let gone = fs::symlink_metadata(world.root().join("a/gone")).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        let opaque = |at: &str| attributes(&world.root().join(at)).get(name).map(Vec::as_slice) == Some(b"y");
        let names: Vec<_> =
            ["a", "d", "e", "h", "implied", "o"].into_iter().filter(|at| opaque(at)).collect();
        assert_eq!(names, ["d", "e", "h", "implied", "o"]);
        assert_eq!(["o/x", "d/x", "f", "g", "h/x"].map(|name| world.read(name)).concat(), "11111");
        let mut names: Vec<_> = facts(&world.root()).into_keys().collect();
        names.retain(|name| !name.contains('/'));
        assert_eq!(names, ["", "a", "d", "e", "f", "g", "h", "implied", "o"]);
    }
}

#[test]
fn whiteouts_remove_from_a_tree_what_is_not_new() {
    let world = World::new("tree");
    let old = tar()
        .file("keep", b"old")
        .file("gone", b"old")
        .file("dir/a", b"old")
        .file("dir/b/c", b"old")
        .file("opq/old", b"old")
        .file("opq/sub/old", b"old")
        .file("all/x", b"old")
        .file("again/x", b"old")
        .end();
    world.layer(&old);
    let new = tar()
        .file(".wh.gone", b"")
        .file("dir/.wh.b", b"")
        .file(".wh.missing", b"")
        .file("no/such/.wh.x", b"")
        .file("opq/new", b"new")
        .file("opq/sub/new", b"new")
        .file("opq/.wh..wh..opq", b"")
        .file("all/y", b"new")
        .file(".wh.all", b"")
        .file(".wh.again", b"")
        .file("again/y", b"new")
        .end();
    new.apply(&world.root(), &Options { onto: Onto::Tree, ..Options::default() }).unwrap();
    let names: Vec<_> = facts(&world.root())
        .into_iter()
        .filter(|(_, fact)| fact.content.is_some())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["again/y", "all/y", "dir/a", "keep", "opq/new", "opq/sub/new"]);
}

#[test]
fn a_full_disk_leaves_nothing() {
    on_small_disk("full-layer", 1 << 20, |disk| {
        let root = disk.join("root");
        fs::create_dir(&root).unwrap();
        let tar = tar().directory("d").file("d/x", &fill(300_000, 1)).file("big", &fill(2_000_000, 2)).end();
        let failure = tar.apply(&root, &Options::default()).unwrap_err();
        assert_eq!(failure.target, "entry big");
        assert!(failure.cause().contains("no space left") && failure.hint.unwrap().contains("disk is full"));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    });
}

#[test]
fn a_source_that_fails_is_told_as_it_is() {
    struct Broken(usize);
    impl std::io::Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::from_raw_os_error(104));
            }
            let bytes = gzip(&tar().file("x", &fill(100_000, 1)).end().0);
            let length = buffer.len().min(self.0).min(5000);
            buffer[..length].copy_from_slice(&bytes[10_000 - self.0..][..length]);
            self.0 -= length;
            Ok(length)
        }
    }
    let world = World::new("broken");
    for first in [0, 10_000] {
        let directory = fs::File::open(world.root()).unwrap();
        let failure = super::apply(Broken(first), &directory, &Options::default()).unwrap_err();
        assert_eq!((failure.step.as_ref(), failure.errno), ("storage.read", 104), "{failure}");
        assert_eq!(fs::read_dir(world.root()).unwrap().count(), 0);
    }
}

#[test]
fn another_digest_than_expected_leaves_nothing() {
    let world = World::new("digest");
    let tar = tar().file("x", b"1").end();
    let mut options = Options { diff_id: Some(Digest::of(b"other")), ..Options::default() };
    let failure = tar.apply(&world.root(), &options).unwrap_err();
    assert!(failure.cause().contains(&Digest::of(&tar.0).to_string()), "{failure}");
    assert_eq!(fs::read_dir(world.root()).unwrap().count(), 0);
    options.diff_id = Some(Digest::of(&tar.0));
    tar.apply(&world.root(), &options).unwrap();
    // A layer goes into an empty directory only.
    assert_eq!(
        tar.apply(&world.root(), &options).unwrap_err().errno,
        rustix::io::Errno::NOTEMPTY.raw_os_error()
    );
    assert_eq!(world.read("x"), "1");
}

#[test]
fn names_are_shown_without_their_terminal_tricks() {
    let world = World::new("shown");
    let tar = tar().pax(&[("path", b"\x1b[2J/../x\n")]).file("x", b"").end();
    let failure = tar.apply(&world.root(), &Options::default()).unwrap_err();
    assert_eq!(failure.target, "entry \\u{1b}[2J/../x\\n");
}
