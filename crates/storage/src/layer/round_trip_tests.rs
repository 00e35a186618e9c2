//! What one end writes the other reads: our archiver and our applier, GNU tar in all its formats, Go's archive/tar by
//! way of umoci, and the `tar` crate as one more reader.

use super::apply::{Onto, Options};
use super::archive::{Archived, Compression, Kind, Owners, Settings, archive};
use super::trial::{Tar, apply_bytes, assert_same, attributes, facts};
use crate::trial::{Scratch, fill, in_namespace};
use oci::Digest;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

fn packed(directory: &Path, settings: &Settings) -> (Vec<u8>, Archived) {
    let mut bytes = Vec::new();
    let archived = archive(File::open(directory).unwrap(), &mut bytes, settings).unwrap();
    assert_eq!((archived.digest, archived.size), (Digest::of(&bytes), bytes.len() as u64));
    (bytes, archived)
}

fn plain() -> Settings {
    Settings { compression: Compression::None, ..Settings::default() }
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) {
    let output = Command::new(program).args(arguments).args(paths).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn touch(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// `user::rwx`, `user:1000:r--`, `group::r-x`, `mask::rwx`, `other::---` as the kernel keeps it (linux/posix_acl_xattr.h).
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x05\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";

/// cap_net_bind_service+ep of version 2 (linux/capability.h). Its second byte sequence has a line feed below.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// cap_chown, cap_fowner in the permitted set: 0x0a, a line feed, in the middle of the value.
const CAPABILITY_LF: &[u8] = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A tree with one of everything.
fn everything(scratch: &Scratch) -> PathBuf {
    let root = scratch.path.join("tree");
    let at = |name: &str| root.join(name);
    for directory in ["bin", "dev", "empty", "etc", "sticky", "deep", "acl"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    fs::write(at("etc/motd"), "hello\n").unwrap();
    fs::write(at("bin/suid"), fill(5000, 1)).unwrap();
    chown(at("bin/suid"), Some(33), Some(42)).unwrap();
    fs::set_permissions(at("bin/suid"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::write(at("bin/cap"), "x").unwrap();
    attribute(&at("bin/cap"), "security.capability", CAPABILITY);
    fs::write(at("bin/cap-lf"), "x").unwrap();
    attribute(&at("bin/cap-lf"), "security.capability", CAPABILITY_LF);
    fs::hard_link(at("bin/suid"), at("bin/again")).unwrap();
    fs::hard_link(at("bin/suid"), at("etc/third")).unwrap();
    symlink("motd", at("etc/link")).unwrap();
    symlink("/abs/olute", at("etc/abs")).unwrap();
    symlink("x".repeat(150), at("etc/longlink")).unwrap();
    lchown(at("etc/link"), Some(7), Some(8)).unwrap();
    touch(&at("etc/link"), 5, 6);
    rustix::fs::mknodat(CWD, at("dev/fifo"), FileType::Fifo, Mode::from_raw_mode(0o622), 0).unwrap();
    for (name, kind, major, minor) in
        [("null", FileType::CharacterDevice, 1, 3), ("loop", FileType::BlockDevice, 7, 300_000)]
    {
        let number = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, at("dev").join(name), kind, Mode::from_raw_mode(0o660), number).unwrap();
    }
    fs::write(at("etc/owned"), "").unwrap();
    chown(at("etc/owned"), Some(3_000_000_000), Some(2_097_152)).unwrap();
    fs::write(at("etc/old"), "").unwrap();
    touch(&at("etc/old"), -1000, 250_000_000);
    fs::write(at("etc/new"), "").unwrap();
    touch(&at("etc/new"), 1_700_000_000, 123_456_789);
    fs::write(at("etc/ünïcödé \\ \" \n x"), "odd").unwrap();
    fs::write(root.join(std::ffi::OsString::from(String::from("etc/latin"))), "odd").unwrap();
    fs::write(at(&format!("etc/{}", "n".repeat(255))), "long").unwrap();
    let deep = format!("deep/{}", ["directory"; 40].join("/"));
    fs::create_dir_all(at(&deep)).unwrap();
    fs::write(at(&deep).join("file"), "deep").unwrap();
    attribute(&at("etc/motd"), "user.mime", b"text\0\nplain=");
    attribute(&at("etc"), "user.dir", &[0xff; 3000]);
    attribute(&at("etc/link"), "trusted.link", b"1");
    attribute(&at("acl"), "system.posix_acl_default", ACL);
    fs::write(at("acl/file"), "").unwrap();
    attribute(&at("acl/file"), "system.posix_acl_access", ACL);
    fs::write(at("acl/plain"), "").unwrap();
    rustix::fs::removexattr(at("acl/plain"), "system.posix_acl_access").ok();
    let mut sparse = File::create(at("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(1 << 20)).unwrap();
    sparse.write_all(b"middle").unwrap();
    sparse.set_len(6 << 20).unwrap();
    fs::write(at("large"), fill(1_500_000, 2)).unwrap();
    fs::set_permissions(at("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(at("empty"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o751)).unwrap();
    for (nanoseconds, directory) in ["bin", "deep", "sticky", "acl", ""].into_iter().enumerate() {
        touch(&at(directory), 1_600_000_000, nanoseconds as i64);
    }
    root
}

fn empty(scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.path.join(name);
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn a_tree_survives_the_way_there_and_back() {
    let scratch = Scratch::new("roundtrip");
    let tree = everything(&scratch);
    let before = facts(&tree);
    assert!(before.len() > 60);
    let mut diff_ids = Vec::new();
    for (number, compression) in
        [Compression::None, Compression::Gzip(1), Compression::Gzip(6), Compression::Zstd(3)]
            .into_iter()
            .enumerate()
    {
        for sparse in [false, true] {
            for onto in [Onto::Layer { userxattr: false }, Onto::Tree] {
                let (bytes, archived) =
                    packed(&tree, &Settings { compression, sparse, ..Settings::default() });
                let target = empty(&scratch, &format!("out-{number}-{sparse}-{onto:?}"));
                let options = Options { diff_id: Some(archived.diff_id), onto, ..Options::default() };
                let applied = apply_bytes(&bytes, &target, &options).unwrap();
                assert_eq!((applied.bytes, applied.entries), (archived.bytes, archived.entries));
                assert_eq!(applied.unknown_attributes, 0);
                assert_same(&before, &facts(&target));
                assert_eq!(fs::metadata(target.join("sparse")).unwrap().blocks() < 1000, sparse);
                diff_ids.push((sparse, archived.diff_id));
                // And the same bytes from the copy.
                let (again, _) = packed(&target, &Settings { compression, sparse, ..Settings::default() });
                assert!(sparse || again == bytes);
            }
        }
    }
    diff_ids.sort();
    diff_ids.dedup();
    assert_eq!(diff_ids.len(), 2, "{diff_ids:?}");
}

#[test]
fn gnu_tar_reads_what_we_write() {
    let scratch = Scratch::new("ours");
    let tree = everything(&scratch);
    // GNU tar reads an attribute only up to a NUL or a line feed here and there; it is told plainly below.
    attribute(&tree.join("etc/motd"), "user.mime", b"text");
    for sparse in [false, true] {
        let (bytes, _) = packed(&tree, &Settings { sparse, ..plain() });
        let file = scratch.path.join("ours.tar");
        fs::write(&file, bytes).unwrap();
        let target = empty(&scratch, &format!("gnu-{sparse}"));
        let options = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "-xpf"];
        run("tar", &options, &[&file, Path::new("-C"), &target]);
        let (mut ours, mut theirs) = (facts(&tree), facts(&target));
        for all in [&mut ours, &mut theirs] {
            for name in ["bin/cap-lf", "bin/cap"] {
                assert!(all.get_mut(name).unwrap().attributes.len() == 1, "{name}");
            }
            // It sets no attributes on links, and an ACL by its own option alone.
            all.get_mut("etc/link").unwrap().attributes.clear();
        }
        assert_same(&ours, &theirs);
    }
}

#[test]
fn we_read_what_gnu_tar_writes() {
    let scratch = Scratch::new("gnu");
    let tree = everything(&scratch);
    let formats: [&[&str]; 7] = [
        &["--format=pax"],
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
        &["--format=oldgnu", "--sparse"],
    ];
    for (number, format) in formats.into_iter().enumerate() {
        let file = scratch.path.join("theirs.tar");
        let pax = format.contains(&"--format=pax");
        let mut options = vec!["--numeric-owner", "--sort=name", "-cf"];
        if pax {
            options.splice(..0, ["--xattrs", "--xattrs-include=*"]);
        }
        options.splice(..0, format.iter().copied());
        run("tar", &options, &[&file, Path::new("-C"), &tree, Path::new(".")]);
        let target = empty(&scratch, &format!("ours-{number}"));
        apply_bytes(&fs::read(&file).unwrap(), &target, &Options::default())
            .unwrap_or_else(|failure| panic!("{format:?}: {failure}"));
        let (mut theirs, mut ours) = (facts(&tree), facts(&target));
        for all in [&mut theirs, &mut ours] {
            all.get_mut("etc/link").unwrap().attributes.clear();
            for fact in all.values_mut().filter(|_| !pax) {
                // These formats have neither attributes nor fractions of seconds.
                fact.attributes.clear();
                fact.mtime.1 = 0;
            }
            if !pax {
                // The group's bits of a file with an ACL are its mask.
                all.get_mut("acl/file").unwrap().mode &= !0o070;
            }
        }
        assert_same(&theirs, &ours);
        let sparse = format.contains(&"--sparse");
        assert_eq!(fs::metadata(target.join("sparse")).unwrap().blocks() < 1000, sparse, "{format:?}");
    }
}

#[test]
fn a_sparse_file_of_many_stretches() {
    let scratch = Scratch::new("stretches");
    let tree = empty(&scratch, "tree");
    let file = File::create(tree.join("s")).unwrap();
    for at in 0..300_u64 {
        rustix::io::pwrite(&file, &fill(4096, at), at * 65536).unwrap();
    }
    file.set_len(300 * 65536 + 17).unwrap();
    let content = fs::read(tree.join("s")).unwrap();
    let (bytes, _) = packed(&tree, &Settings { sparse: true, ..plain() });
    assert!(bytes.len() < 1_300_000);
    let mut archives = vec![bytes];
    for version in ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"] {
        let file = scratch.path.join("s.tar");
        let format = if version.starts_with("--format") { version } else { "--format=pax" };
        let version = if version.starts_with("--format") { "--sparse" } else { version };
        run("tar", &[format, "--sparse", version, "-cf"], &[&file, Path::new("-C"), &tree, Path::new(".")]);
        archives.push(fs::read(&file).unwrap());
    }
    for (number, archive) in archives.into_iter().enumerate() {
        let target = empty(&scratch, &number.to_string());
        apply_bytes(&archive, &target, &Options::default()).unwrap();
        assert!(fs::read(target.join("s")).unwrap() == content, "{number}");
        assert!(fs::metadata(target.join("s")).unwrap().blocks() < 4000, "{number}");
    }
}

#[test]
fn one_more_reader_agrees() {
    let scratch = Scratch::new("crate");
    let tree = everything(&scratch);
    let (bytes, archived) = packed(&tree, &plain());
    let before = facts(&tree);
    let mut names = Vec::new();
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name.trim_start_matches("./").trim_end_matches('/').to_owned();
        let fact = &before[&name];
        assert_eq!(entry.header().mode().unwrap(), fact.mode & 0o7777, "{name}");
        assert!(
            fact.owner.0 > 0o7777777 || entry.header().uid().unwrap() == u64::from(fact.owner.0),
            "{name}"
        );
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert_eq!(fact.content, Some(Digest::of(&content).to_string()), "{name}");
        }
        names.push(name);
    }
    let mut sorted = names.clone();
    // A directory comes before what is in it, and names in order of their bytes within it.
    sorted.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    assert_eq!(names, sorted);
    assert_eq!(names.len() as u64, archived.entries);
    assert_eq!(names.len(), before.len());
}

#[test]
fn records_of_pax_stand_only_where_ustar_has_no_room() {
    let scratch = Scratch::new("plain");
    let tree = empty(&scratch, "tree");
    fs::write(tree.join("f"), "1").unwrap();
    symlink("f", tree.join("l")).unwrap();
    for name in ["f", "l", "."] {
        touch(&tree.join(name), 1_700_000_000, 5);
    }
    // Root, file, one block of content, link, two blocks at the end.
    let (bytes, archived) = packed(&tree, &Settings { whole_seconds: true, ..plain() });
    assert_eq!((bytes.len(), archived.entries), (6 * 512, 3));
    assert_eq!(packed(&tree, &plain()).0.len(), 12 * 512);
    let earlier = Settings { latest: Some(1_600_000_000), ..plain() };
    let (bytes, _) = packed(&tree, &earlier);
    assert_eq!(bytes.len(), 6 * 512);
    let target = empty(&scratch, "target");
    apply_bytes(&bytes, &target, &Options::default()).unwrap();
    assert_eq!(fs::metadata(target.join("f")).unwrap().mtime(), 1_600_000_000);
}

#[test]
fn owners_are_mapped() {
    let scratch = Scratch::new("owners");
    let tree = empty(&scratch, "tree");
    fs::write(tree.join("f"), "1").unwrap();
    chown(tree.join("f"), Some(100_033), Some(100_042)).unwrap();
    chown(&tree, Some(100_000), Some(100_000)).unwrap();
    for (owners, expected) in [
        (Owners::Only(5, 6), (5, 6)),
        (Owners::Keep, (100_033, 100_042)),
        (Owners::Ranges(vec![(0, 1, 1), (100_000, 0, 65536)]), (33, 42)),
    ] {
        let target = empty(&scratch, &format!("{expected:?}"));
        let (bytes, _) = packed(&tree, &Settings { owners, ..plain() });
        apply_bytes(&bytes, &target, &Options::default()).unwrap();
        let stat = fs::metadata(target.join("f")).unwrap();
        assert_eq!((stat.uid(), stat.gid()), expected);
    }
    let settings = Settings { owners: Owners::Ranges(vec![(100_000, 0, 42)]), ..plain() };
    let failure = archive(File::open(&tree).unwrap(), std::io::sink(), &settings).unwrap_err();
    assert_eq!(
        (failure.target.as_str(), failure.cause().as_str()),
        ("f", "its owner 100042 has no place in the ranges of user ids")
    );
}

#[test]
fn an_overlays_upper_layer_becomes_whiteouts() {
    in_namespace(|| {
        let scratch = Scratch::new("upper");
        let lower = empty(&scratch, "lower");
        for name in ["gone", "stay", "dir/x", "again/x", "sub/gone/x"] {
            fs::create_dir_all(lower.join(name).parent().unwrap()).unwrap();
            fs::write(lower.join(name), "old").unwrap();
        }
        let (upper, work, merged) =
            (empty(&scratch, "upper"), empty(&scratch, "work"), empty(&scratch, "merged"));
        let mount = |upper: &Path, at: &Path| {
            let text = format!(
                "lowerdir={},upperdir={},workdir={}",
                lower.display(),
                upper.display(),
                work.display()
            );
            run("mount", &["-t", "overlay", "overlay", "-o", &text], &[at]);
        };
        mount(&upper, &merged);
        fs::remove_file(merged.join("gone")).unwrap();
        fs::remove_dir_all(merged.join("sub/gone")).unwrap();
        fs::remove_dir_all(merged.join("again")).unwrap();
        fs::create_dir(merged.join("again")).unwrap();
        fs::write(merged.join("again/y"), "new").unwrap();
        fs::write(merged.join("new"), "new").unwrap();
        let whole = facts(&merged);
        run("umount", &[], &[&merged]);
        let settings = Settings { kind: Kind::Layer { userxattr: false }, ..plain() };
        let (bytes, _) = packed(&upper, &settings);
        let mut names: Vec<String> = tar::Archive::new(&bytes[..])
            .entries()
            .unwrap()
            .map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["./", ".wh.gone", "again/", "again/.wh..wh..opq", "again/y", "new", "sub/", "sub/.wh.gone"]
        );
        // As a layer of an overlay, and carried out on a copy of the lower one, it is what the overlay was.
        let layer = empty(&scratch, "layer");
        apply_bytes(&bytes, &layer, &Options::default()).unwrap();
        fs::remove_dir_all(&work).unwrap();
        fs::create_dir(&work).unwrap();
        mount(&layer, &merged);
        assert_same(&whole, &facts(&merged));
        run("umount", &[], &[&merged]);
        let copy = empty(&scratch, "copy");
        run("cp", &["-aT"], &[&lower, &copy]);
        apply_bytes(&bytes, &copy, &Options { onto: Onto::Tree, ..Options::default() }).unwrap();
        assert_same(&whole, &facts(&copy));
        assert!(attributes(&copy.join("again")).is_empty());
        // And back once more.
        assert_eq!(packed(&layer, &settings).0, bytes);
        attribute(&upper.join("sub"), "trusted.overlay.redirect", b"/x");
        let failure = archive(File::open(&upper).unwrap(), std::io::sink(), &settings).unwrap_err();
        assert!(failure.hint.unwrap().contains("redirect_dir=off"));
        fs::write(lower.join(".wh.odd"), "").unwrap();
        let failure = archive(File::open(&lower).unwrap(), std::io::sink(), &settings).unwrap_err();
        assert_eq!(failure.target, ".wh.odd");
    });
}

#[test]
fn output_that_fails_is_told() {
    let scratch = Scratch::new("output");
    let tree = empty(&scratch, "tree");
    fs::write(tree.join("f"), fill(20_000_000, 1)).unwrap();
    for compression in [Compression::None, Compression::Gzip(1), Compression::Zstd(1)] {
        let full = File::create("/dev/full").unwrap();
        let failure =
            archive(File::open(&tree).unwrap(), full, &Settings { compression, ..Settings::default() })
                .unwrap_err();
        assert!(failure.errno == 28 && failure.target == "the output", "{failure}");
    }
}

/// An image of one layer in the OCI's layout, for umoci.
fn layout(path: &Path, layer: &[u8], archived: &Archived) {
    let blobs = path.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        fs::write(blobs.join(Digest::of(bytes).hex()), bytes).unwrap();
        (Digest::of(bytes), bytes.len())
    };
    let descriptor = |kind: &str, (digest, size): (Digest, usize)| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":{size}}}"#)
    };
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        archived.diff_id
    );
    let config = descriptor("config.v1+json", put(config.as_bytes()));
    let layer = descriptor("layer.v1.tar+gzip", put(layer));
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
    let manifest = descriptor("manifest.v1+json", put(manifest.as_bytes()));
    let manifest = manifest.replacen('}', r#","annotations":{"org.opencontainers.image.ref.name":"x"}}"#, 1);
    fs::write(path.join("index.json"), format!(r#"{{"schemaVersion":2,"manifests":[{manifest}]}}"#)).unwrap();
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn umoci_and_gnu_tar_unpack_a_part_of_this_host_as_we_do() {
    let scratch = Scratch::new("host");
    let tree = empty(&scratch, "tree");
    // Some thousand files of all kinds that a distribution has.
    for part in ["usr/share/perl5", "usr/share/zoneinfo", "usr/share/terminfo", "usr/sbin", "etc"] {
        if !Path::new("/").join(part).is_dir() {
            continue;
        }
        fs::create_dir_all(tree.join(part).parent().unwrap()).unwrap();
        run("cp", &["-aT", &format!("/{part}")], &[&tree.join(part)]);
    }
    // A link that leads above the root by its own words would be refused, by umoci's users too.
    let (bytes, archived) = packed(&tree, &Settings::default());
    let ours = empty(&scratch, "ours");
    apply_bytes(&bytes, &ours, &Options::default()).unwrap();
    let before = facts(&tree);
    assert!(before.len() > 1000, "{}", before.len());
    assert_same(&before, &facts(&ours));
    let file = scratch.path.join("layer.tar.gz");
    fs::write(&file, &bytes).unwrap();
    let theirs = empty(&scratch, "tar");
    let options = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpzf"];
    run("tar", &options, &[&file, Path::new("-C"), &theirs]);
    assert_same(&before, &facts(&theirs));
    let image = scratch.path.join("image");
    layout(&image, &bytes, &archived);
    let theirs = scratch.path.join("umoci");
    run("umoci", &["raw", "unpack", "--image", &format!("{}:x", image.display())], &[&theirs]);
    assert_same(&before, &facts(&theirs));
}

#[test]
fn extended_names_of_gnu_and_pax_mean_the_same() {
    let scratch = Scratch::new("names");
    let (name, link) = (format!("d/{}", "n".repeat(200)), "l".repeat(3000));
    let forms = [
        Tar::default()
            .long(b'L', name.as_bytes())
            .file("short", b"1")
            .long(b'K', link.as_bytes())
            .entry("s", b'2', "short")
            .end(),
        Tar::default()
            .pax(&[("path", name.as_bytes())])
            .file("short", b"1")
            .pax(&[("linkpath", link.as_bytes())])
            .entry("s", b'2', "short")
            .end(),
    ];
    for (number, tar) in forms.iter().enumerate() {
        let target = empty(&scratch, &number.to_string());
        tar.apply(&target, &Options::default()).unwrap();
        assert_eq!(fs::read_to_string(target.join(&name)).unwrap(), "1");
        assert_eq!(fs::read_link(target.join("s")).unwrap(), Path::new(&link));
    }
}
