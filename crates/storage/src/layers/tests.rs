//! Extracted layers against the kernel: kills, several processes, du(1).

use super::*;
use crate::layer::{Compression, Settings, archive};
use crate::trial::{Scratch, fill, respawn};
use std::fs;
use std::process::Command;

/// A layer of some megabytes, the same in every process.
fn sample(scratch: &Path) -> (Digest, Vec<u8>) {
    let tree = scratch.join(format!("sample-{}", std::process::id()));
    for directory in 0..20 {
        let directory = tree.join(directory.to_string());
        fs::create_dir_all(&directory).unwrap();
        for file in 0..20 {
            fs::write(directory.join(file.to_string()), fill(5000 + file, file as u64)).unwrap();
        }
        fs::hard_link(directory.join("1"), directory.join("link")).unwrap();
    }
    let settings =
        Settings { compression: Compression::Gzip(1), latest: Some(1_000_000_000), ..Settings::default() };
    let mut bytes = Vec::new();
    let archived = archive(File::open(&tree).unwrap(), &mut bytes, &settings).unwrap();
    fs::remove_dir_all(&tree).unwrap();
    (archived.diff_id, bytes)
}

fn count(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

fn extracted(layers: &Layers, diff_id: &Digest, bytes: &[u8]) -> Extracted {
    match layers.extract(diff_id, bytes, &Options::default()).unwrap() {
        Extraction::Done(extracted) => *extracted,
        other => panic!("{other:?}"),
    }
}

fn du(path: &Path) -> u64 {
    let output = Command::new("du").args(["-s", "--block-size=1"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split('\t').next().unwrap().parse().unwrap()
}

#[test]
fn a_layer_has_its_name_when_it_is_published() {
    let scratch = Scratch::new("layers");
    let layers = Layers::open(&scratch.path, false).unwrap();
    let (diff_id, bytes) = sample(&scratch.path);
    let one = extracted(&layers, &diff_id, &bytes);
    assert!(layers.have(&diff_id).is_none() && one.files().join("3/link").exists());
    assert!(matches!(
        layers.try_extract(&diff_id, &bytes[..], &Options::default()).unwrap(),
        Extraction::Busy
    ));
    layers.sweep().unwrap();
    assert!(one.files().exists(), "somebody is at it");
    publish(vec![one]).unwrap();
    let files = layers.have(&diff_id).unwrap();
    assert!(fs::read(files.join("3/7")).unwrap() == fill(5007, 7));
    assert_eq!(layers.list().unwrap(), [diff_id]);
    let size = layers.size(&diff_id).unwrap().unwrap();
    assert_eq!(size.disk, du(&files));
    assert_eq!(layers.usage(&diff_id).unwrap(), du(&scratch.path.join("layers").join(diff_id.hex())));
    assert!(size.entries == 441 && size.tar > 2_000_000);
    assert!(matches!(
        layers.extract(&diff_id, std::io::empty(), &Options::default()).unwrap(),
        Extraction::Present
    ));
    assert!(layers.remove(&diff_id).unwrap() && !layers.remove(&diff_id).unwrap());
    assert!(layers.have(&diff_id).is_none() && layers.size(&diff_id).unwrap().is_none());
    assert_eq!((count(&scratch.path.join("layers/new")), count(&scratch.path.join("layers/old"))), (0, 0));
}

#[test]
fn what_is_not_published_is_gone() {
    let scratch = Scratch::new("dropped");
    let layers = Layers::open(&scratch.path, false).unwrap();
    let (diff_id, bytes) = sample(&scratch.path);
    drop(extracted(&layers, &diff_id, &bytes));
    assert_eq!(count(&scratch.path.join("layers/new")), 0);
    let wrong = Digest::of(b"");
    assert!(layers.extract(&wrong, &bytes[..], &Options::default()).is_err());
    assert!(layers.extract(&diff_id, &bytes[..bytes.len() / 2], &Options::default()).is_err());
    assert_eq!(count(&scratch.path.join("layers/new")), 0);
    // Leftovers of a kill, in both places.
    for place in ["new", "old"] {
        fs::create_dir_all(scratch.path.join("layers").join(place).join(diff_id.hex()).join("fs/x")).unwrap();
    }
    publish(vec![extracted(&layers, &diff_id, &bytes)]).unwrap();
    assert!(!layers.have(&diff_id).unwrap().join("x").exists());
    fs::create_dir_all(scratch.path.join("layers/new").join(wrong.hex()).join("fs/x")).unwrap();
    assert!(layers.remove(&diff_id).unwrap());
    layers.sweep().unwrap();
    assert_eq!((count(&scratch.path.join("layers/new")), count(&scratch.path.join("layers/old"))), (0, 0));
}

#[test]
fn a_directory_becomes_the_layer_of_its_archive() {
    let scratch = Scratch::new("adopted");
    let layers = Layers::open(&scratch.path, false).unwrap();
    let tree = |name: &str| scratch.tree(name);
    let settings = Settings {
        kind: crate::layer::Kind::Layer { userxattr: false },
        latest: Some(1_000_000_000),
        ..Settings::default()
    };
    let pack = |path: &Path| {
        let mut bytes = Vec::new();
        (archive(File::open(path).unwrap(), &mut bytes, &settings).unwrap(), bytes)
    };
    let (one, two) = (tree("one"), tree("two"));
    let (archived, bytes) = pack(&one);
    assert_eq!(archived, pack(&two).0);
    let inode =
        fs::metadata(one.join("etc/motd")).map(|stat| std::os::unix::fs::MetadataExt::ino(&stat)).unwrap();
    let Extraction::Done(first) = layers.adopt(&archived, &one).unwrap() else { panic!("it was free") };
    assert!(!one.exists() && first.files().join("etc/motd").exists());
    // Another of the same content stays where it is.
    assert!(matches!(layers.adopt(&archived, &two).unwrap(), Extraction::Busy) && two.exists());
    publish(vec![*first]).unwrap();
    assert!(matches!(layers.adopt(&archived, &two).unwrap(), Extraction::Present) && two.exists());
    let files = layers.have(&archived.diff_id).unwrap();
    let now =
        fs::metadata(files.join("etc/motd")).map(|stat| std::os::unix::fs::MetadataExt::ino(&stat)).unwrap();
    assert_eq!(now, inode);
    assert_eq!(layers.size(&archived.diff_id).unwrap().unwrap().entries, archived.entries);
    // It is what the archive gives.
    assert!(layers.remove(&archived.diff_id).unwrap());
    publish(vec![extracted(&layers, &archived.diff_id, &bytes)]).unwrap();
    assert_eq!(fs::read(files.join("etc/motd")).unwrap(), b"hello\n");
    // Dropped before it is published, it is gone.
    layers.remove(&archived.diff_id).unwrap();
    drop(layers.adopt(&archived, &two).unwrap());
    assert!(!two.exists() && layers.have(&archived.diff_id).is_none());
    assert_eq!(count(&scratch.path.join("layers/new")), 0);
    assert!(layers.adopt(&archived, &scratch.path.join("none")).is_err());
    assert_eq!(count(&scratch.path.join("layers/new")), 0);
}

/// Not a test of its own: what the processes of the next two do.
#[test]
fn a_layer_of_unknown_digest_gets_its_name_once() {
    let scratch = Scratch::new("fresh-layers");
    let layers = Layers::open(&scratch.path, false).unwrap();
    let (diff_id, bytes) = sample(&scratch.path);
    let known = extracted(&layers, &diff_id, &bytes);
    let fresh: Vec<_> =
        (0..2).map(|_| *layers.extract_fresh(&bytes[..], &Options::default()).unwrap()).collect();
    assert!(
        fresh.iter().all(|layer| layer.applied.diff_id == diff_id && layer.files().join("3/link").exists())
    );
    layers.sweep().unwrap();
    assert!(fresh.iter().all(|layer| layer.files().exists()), "somebody is at them");
    let new = scratch.path.join("layers/new");
    assert_eq!(count(&new), 3);
    // Whoever is last finds that there is one.
    publish(fresh).unwrap();
    assert_eq!((count(&new), layers.list().unwrap()), (1, vec![diff_id]));
    publish(vec![known]).unwrap();
    assert_eq!((count(&new), layers.list().unwrap()), (0, vec![diff_id]));
    assert!(fs::read(layers.have(&diff_id).unwrap().join("3/7")).unwrap() == fill(5007, 7));
    let damaged = &bytes[..bytes.len() / 2];
    assert!(layers.extract_fresh(damaged, &Options::default()).is_err());
    assert_eq!(count(&new), 0);
    fs::create_dir_all(new.join("fresh-1-0/fs/killed")).unwrap();
    layers.sweep().unwrap();
    assert_eq!(count(&new), 0);
}

#[test]
fn what_is_set_aside_is_cleared_after_a_crash_too() {
    let scratch = Scratch::new("aside-layers");
    let layers = Layers::open(&scratch.path, false).unwrap();
    let (diff_id, bytes) = sample(&scratch.path);
    publish(vec![extracted(&layers, &diff_id, &bytes)]).unwrap();
    assert!(!layers.is_to_clear().unwrap());
    assert!(layers.set_aside(&diff_id).unwrap() && !layers.set_aside(&diff_id).unwrap());
    assert!(layers.have(&diff_id).is_none() && layers.is_to_clear().unwrap());
    // It comes again, and goes again, before anybody cleared.
    publish(vec![extracted(&layers, &diff_id, &bytes)]).unwrap();
    assert!(layers.set_aside(&diff_id).unwrap());
    for number in 0..10 {
        fs::create_dir_all(scratch.path.join(format!("layers/old/{number}/fs/deep"))).unwrap();
    }
    drop(layers);
    let layers = Layers::open(&scratch.path, false).unwrap();
    layers.clear().unwrap();
    assert!(!layers.is_to_clear().unwrap());
    assert_eq!(count(&scratch.path.join("layers/old")), 0);
    assert!(layers.list().unwrap().is_empty());
}

#[test]
fn a_process_that_extracts() {
    let Some(root) = std::env::var_os("STORAGE_TEST_EXTRACT") else { return };
    let root = Path::new(&root);
    let layers = Layers::open(root, false).unwrap();
    let diff_id = Digest::from_hex(&fs::read_to_string(root.join("diff-id")).unwrap()).unwrap();
    let source = File::open(root.join("layer")).unwrap();
    match layers.extract(&diff_id, source, &Options::default()).unwrap() {
        Extraction::Done(extracted) => {
            publish(vec![*extracted]).unwrap();
            println!("extracted");
        }
        Extraction::Present => {}
        Extraction::Busy => panic!("waits"),
    }
}

fn prepared(name: &str) -> (Scratch, Layers, Digest) {
    let scratch = Scratch::new(name);
    let layers = Layers::open(&scratch.path, false).unwrap();
    let (diff_id, bytes) = sample(&scratch.path);
    fs::write(scratch.path.join("layer"), bytes).unwrap();
    fs::write(scratch.path.join("diff-id"), diff_id.hex()).unwrap();
    (scratch, layers, diff_id)
}

#[test]
fn of_eight_processes_one_extracts() {
    let (scratch, layers, diff_id) = prepared("eight-layers");
    let start =
        || respawn("layers::tests::a_process_that_extracts", &[("STORAGE_TEST_EXTRACT", &scratch.path)]);
    let children: Vec<_> = (0..8).map(|_| start()).collect();
    let mut winners = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        winners += usize::from(String::from_utf8_lossy(&output.stdout).contains("extracted"));
    }
    assert_eq!(winners, 1);
    assert_eq!(layers.list().unwrap(), [diff_id]);
    assert_eq!(count(&scratch.path.join("layers/new")), 0);
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_layer_or_none() {
    let (scratch, layers, diff_id) = prepared("kill-layers");
    let at = scratch.path.join("layers/new").join(diff_id.hex()).join("fs");
    let start =
        || respawn("layers::tests::a_process_that_extracts", &[("STORAGE_TEST_EXTRACT", &scratch.path)]);
    let mut cut = 0;
    for goal in 0..20 {
        let mut child = start();
        while fs::read_dir(&at).map_or(0, |entries| entries.count()) < goal {
            if layers.have(&diff_id).is_some() || child.try_wait().unwrap().is_some() {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        cut += usize::from(at.exists());
        if layers.have(&diff_id).is_some() {
            assert_eq!(layers.size(&diff_id).unwrap().unwrap().entries, 441);
            assert!(layers.remove(&diff_id).unwrap());
        }
    }
    assert!(cut > 3, "{cut} kills came in the middle");
    assert!(start().wait().unwrap().success());
    let files = layers.have(&diff_id).unwrap();
    assert!(fs::read(files.join("19/19")).unwrap() == fill(5019, 19));
    assert_eq!(count(&scratch.path.join("layers/new")), 0);
}

#[test]
fn layers_have_nothing_to_do_with_each_other() {
    let scratch = Scratch::new("layers-apart");
    let layers = Layers::open(&scratch.path, false).unwrap();
    let flags = |path: &Path| rustix::fs::ioctl_getflags(File::open(path).unwrap());
    // Some file systems have no such flag.
    let other = scratch.path.join("other");
    fs::create_dir(&other).unwrap();
    let kept = rustix::fs::ioctl_setflags(File::open(&other).unwrap(), IFlags::TOPDIR).is_ok();
    let (diff_id, bytes) = sample(&scratch.path);
    let one = extracted(&layers, &diff_id, &bytes);
    let spread = flags(&scratch.path.join("layers/new")).is_ok_and(|flags| flags.contains(IFlags::TOPDIR));
    assert_eq!(spread, kept);
    let its = flags(&one.files()).unwrap_or(IFlags::empty());
    assert!(!its.contains(IFlags::TOPDIR), "what is in a layer belongs together");
}
