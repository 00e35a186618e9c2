//! Layers that are unpacked while they are read; archives that become layers, and trees that become archives.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;

use oci::{Compression, Digest, Platform};
use storage::blobs::Blobs;
use storage::layer::{Limits, Options};
use storage::layers::{Extraction, Layers};
use transport::{Platforms, Reader, Unpacking, Writer, export, import};

use crate::trial::{Sample, Scratch, gzip, layer, packed, piped};

fn load(blobs: &Blobs, layers: &Layers, file: File) -> Vec<transport::Image> {
    let unpacking = Unpacking::new(layers, Options::default());
    let platforms = Platforms::One(Platform::host());
    let images = Reader { blobs, platforms: &platforms, unpack: &unpacking }.load(file, "archive").unwrap();
    unpacking.publish(&images, blobs).unwrap();
    images
}

#[test]
fn layers_are_unpacked_while_they_are_read() {
    let scratch = Scratch::new("unpacking");
    for compression in [Compression::None, Compression::Gzip] {
        for old in [false, true] {
            let sample = Sample::new("one", &["a", "b"], compression);
            let archive = if old { sample.docker(&["one"]).tar() } else { sample.layout().tar() };
            for (way, file) in [
                ("file", File::open(scratch.file("archive.tar", &archive)).unwrap()),
                ("pipe", piped(&archive)),
            ] {
                let why = format!("{way} {compression:?} old: {old}");
                let store = scratch.store(&why);
                let layers = Layers::open(&store.root, false).unwrap();
                let images = load(&store.blobs, &layers, file);
                for (layer, content) in images[0].layers.iter().zip(["a", "b"]) {
                    let file = layers.have(&layer.diff_id).expect(&why).join("etc").join(content);
                    assert_eq!(fs::read_to_string(file).unwrap(), content.repeat(300), "{why}");
                }
                assert_eq!(layers.list().unwrap().len(), 2, "{why}");
                assert_eq!(fs::read_dir(store.root.join("layers/new")).unwrap().count(), 0, "{why}");
                store.assert_no_parts(&why);
                // Layers that were removed come back, although the blobs are there.
                layers.remove(&images[0].layers[0].diff_id).unwrap();
                load(&store.blobs, &layers, piped(&archive));
                assert!(layers.have(&images[0].layers[0].diff_id).is_some(), "{why}");
            }
        }
    }
}

#[test]
fn a_layer_that_another_is_at_is_waited_for_at_the_end() {
    let scratch = Scratch::new("busy");
    let sample = Sample::new("one", &["a", "b"], Compression::Gzip);
    let store = scratch.store("to");
    let layers = Layers::open(&store.root, false).unwrap();
    let diff_id = Digest::of(&sample.tars[0]);
    let Extraction::Done(done) = layers.extract(&diff_id, &sample.tars[0][..], &Options::default()).unwrap()
    else {
        panic!("it is not there yet");
    };
    let archive = sample.layout().tar();
    let unpacking = Unpacking::new(&layers, Options::default());
    let platforms = Platforms::One(Platform::host());
    let reader = Reader { blobs: &store.blobs, platforms: &platforms, unpack: &unpacking };
    let images = reader.load(piped(&archive), "archive").unwrap();
    drop(done);
    unpacking.publish(&images, &store.blobs).unwrap();
    assert_eq!(layers.list().unwrap().len(), 2);
}

#[test]
fn a_wrong_layer_leaves_neither_blobs_nor_directories() {
    let scratch = Scratch::new("wrong-layer");
    let sample = Sample::new("one", &["a", "b"], Compression::None);
    let mut members = sample.docker(&["one"]);
    members.set(&format!("{:064x}/layer.tar", 2), &layer("x", b"another"));
    for (way, file) in [
        ("file", File::open(scratch.file("archive.tar", &members.tar())).unwrap()),
        ("pipe", piped(&members.tar())),
    ] {
        let store = scratch.store(way);
        let layers = Layers::open(&store.root, false).unwrap();
        let unpacking = Unpacking::new(&layers, Options::default());
        let platforms = Platforms::One(Platform::host());
        let reader = Reader { blobs: &store.blobs, platforms: &platforms, unpack: &unpacking };
        let failure = reader.load(file, "archive").unwrap_err();
        assert!(failure.to_string().contains("2/layer.tar: has the digest sha256:"), "{failure}");
        drop(unpacking);
        store.assert_empty(way);
        assert_eq!(layers.list().unwrap(), [], "{way}");
        assert_eq!(fs::read_dir(store.root.join("layers/new")).unwrap().count(), 0, "{way}");
    }
}

#[test]
fn an_archive_becomes_a_layer() {
    let scratch = Scratch::new("import");
    let tar = layer("a", b"content");
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let store = scratch.store(&format!("{compression:?}"));
        let bytes = packed(&tar, compression);
        let made = import(&store.blobs, &bytes[..], "rootfs", &Limits::default()).unwrap();
        assert_eq!((made.digest, made.diff_id), (Digest::of(&bytes), Digest::of(&tar)));
        assert_eq!(made.descriptor.size(), bytes.len() as u64);
        assert_eq!(store.bytes(&made.digest), bytes);
    }
    for (name, bytes, words) in [
        ("text", b"hello".to_vec(), "transport.import on rootfs: the archive ends in the middle"),
        ("nothing", Vec::new(), "transport.import on rootfs: is no tar archive"),
        ("half", tar[..1028].to_vec(), "transport.import on rootfs: the archive ends in the middle"),
        (
            "half a gzip",
            gzip(&tar)[..100].to_vec(),
            "transport.import on rootfs: the archive ends in the middle",
        ),
        ("xz", b"\xfd7zXZ\0\0".to_vec(), "transport.import on rootfs: the archive ends in the middle"),
    ] {
        let store = scratch.store(name);
        let failure = import(&store.blobs, &bytes[..], "rootfs", &Limits::default()).unwrap_err();
        assert!(failure.to_string().starts_with(words), "{name}: {failure}");
        store.assert_empty(name);
    }
}

#[test]
fn a_tree_becomes_an_archive_without_whiteouts_and_sockets() {
    let scratch = Scratch::new("export");
    let tree = scratch.at("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/motd"), "hello").unwrap();
    fs::write(tree.join("etc/.wh.is-a-name-here"), "").unwrap();
    fs::set_permissions(tree.join("etc/motd"), fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::symlink("motd", tree.join("etc/link")).unwrap();
    let _socket = UnixListener::bind(tree.join("etc/socket")).unwrap();
    let mut bytes = Vec::new();
    let archived = export(File::open(&tree).unwrap(), &mut bytes).unwrap();
    assert_eq!(archived.diff_id, Digest::of(&bytes));
    let into = scratch.at("into");
    fs::create_dir(&into).unwrap();
    let mut archive = tar::Archive::new(&bytes[..]);
    archive.set_preserve_permissions(true);
    archive.unpack(&into).unwrap();
    let mut names: Vec<_> = fs::read_dir(into.join("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".wh.is-a-name-here", "link", "motd"]);
    assert_eq!(fs::metadata(into.join("etc/motd")).unwrap().mode() & 0o7777, 0o4755);
    // What was exported can be imported.
    let store = scratch.store("again");
    let sample = Sample::new("x", &["x"], Compression::None);
    sample.put(&store, &[]);
    let made = import(&store.blobs, &bytes[..], "tree", &Limits::default()).unwrap();
    assert_eq!(made.digest, archived.diff_id);
    assert!(Writer { blobs: &store.blobs }.save(Vec::new(), "out", &[sample.export(&[])]).is_ok());
}
