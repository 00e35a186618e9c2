//! The content store against the kernel: kills, full disks, several processes.

use super::*;
use crate::trial::{Scratch, fill, on_small_disk, respawn};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

fn content(bytes: usize) -> Vec<u8> {
    fill(bytes, 7)
}

fn begun(blobs: &Blobs, digest: &Digest, size: usize) -> Ingest {
    match blobs.ingest(digest, size as u64).unwrap() {
        Ingesting::Begun(ingest) => ingest,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keeps_what_it_is_given_read_only() {
    let scratch = Scratch::new("blobs");
    let blobs = Blobs::open(&scratch.path).unwrap();
    let digest = blobs.put_bytes(b"hello").unwrap();
    assert_eq!(digest, Digest::of(b"hello"));
    assert_eq!(blobs.put_bytes(b"hello").unwrap(), digest);
    assert_eq!(blobs.has(&digest), Some(5));
    assert_eq!(blobs.list().unwrap(), [(digest, 5)]);
    let mut blob = blobs.get(&digest).unwrap().unwrap();
    let mut text = String::new();
    blob.file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), blob.size), ("hello", 5));
    assert_eq!(fs::metadata(blobs.path(&digest)).unwrap().permissions().mode() & 0o777, 0o444);
    assert_eq!(fs::metadata(scratch.path.join("blobs")).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(blobs.remove(&digest).unwrap() && !blobs.remove(&digest).unwrap());
    assert!(blobs.get(&digest).unwrap().is_none() && blobs.has(&digest).is_none());
    assert_eq!(fs::read_dir(scratch.path.join("ingest")).unwrap().count(), 0);
}

#[test]
fn what_another_has_hashed_is_not_hashed_here() {
    let scratch = Scratch::new("unproven");
    let blobs = Blobs::open(&scratch.path).unwrap();
    let (all, other) = (content(1_000_000), Digest::of(b"other"));
    let digest = Digest::of(&all);
    let written = || {
        let mut unproven = blobs.create().unwrap().unproven();
        unproven.write_all(&all).unwrap();
        unproven
    };
    // Whose word it is, is taken.
    let mut fresh = written().proven(other);
    assert_eq!(fresh.digest(), other);
    assert!(fresh.write_all(b"more").is_err());
    assert_eq!(fresh.commit().unwrap(), (other, 1_000_000));
    // Where there is none, what is on the disk counts.
    let mut fresh = written().hashed().unwrap();
    assert_eq!(fresh.digest(), digest);
    fresh.write_all(b"more").unwrap();
    assert_eq!(fresh.digest(), Digest::of(&[&all[..], b"more"].concat()));
    drop((fresh, written()));
    assert_eq!(blobs.list().unwrap(), [(other, 1_000_000)]);
    assert_eq!(fs::read_dir(scratch.path.join("ingest")).unwrap().count(), 0);
}

#[test]
fn goes_on_where_an_attempt_ended() {
    let scratch = Scratch::new("resume");
    let blobs = Blobs::open(&scratch.path).unwrap();
    let all = content(1_000_000);
    let digest = Digest::of(&all);
    let mut ingest = begun(&blobs, &digest, all.len());
    assert_eq!(ingest.offset(), 0);
    ingest.write(&all[..300_000]).unwrap();
    let failure = ingest.commit().unwrap_err();
    assert_eq!(failure.reason.as_deref(), Some("has 300000 of 1000000 bytes"));

    let mut ingest = begun(&blobs, &digest, all.len());
    assert_eq!(ingest.offset(), 300_000);
    let mut before = Vec::new();
    ingest.begun().unwrap().read_to_end(&mut before).unwrap();
    assert!(before == all[..300_000]);
    assert!(matches!(blobs.try_ingest(&digest, 1_000_000).unwrap(), Ingesting::Busy));
    assert_eq!(blobs.remove_partial().unwrap(), 0, "somebody writes it");
    ingest.write(&all[300_000..]).unwrap();
    assert!(ingest.write(b"x").is_err(), "more than its size");
    ingest.commit().unwrap();
    assert!(fs::read(blobs.path(&digest)).unwrap() == all);
    assert!(matches!(blobs.ingest(&digest, 1_000_000).unwrap(), Ingesting::Present(1_000_000)));
    assert_eq!(fs::read_dir(scratch.path.join("ingest")).unwrap().count(), 0);
}

#[test]
fn wrong_content_vanishes() {
    let scratch = Scratch::new("wrong");
    let blobs = Blobs::open(&scratch.path).unwrap();
    let digest = Digest::of(b"right");
    let mut ingest = begun(&blobs, &digest, 5);
    ingest.write(b"wrong").unwrap();
    let failure = ingest.commit().unwrap_err();
    assert!(failure.reason.unwrap().contains(&Digest::of(b"wrong").to_string()) && failure.hint.is_some());
    assert!(blobs.has(&digest).is_none());
    assert_eq!(begun(&blobs, &digest, 5).offset(), 0);
    // A part that is damaged, or longer than the blob, costs one attempt at most.
    fs::write(scratch.path.join("ingest").join(digest.hex()), "wrong and long").unwrap();
    let mut ingest = begun(&blobs, &digest, 5);
    assert_eq!(ingest.offset(), 0);
    ingest.write(b"ri").unwrap();
    ingest.restart().unwrap();
    ingest.write(b"right").unwrap();
    ingest.commit().unwrap();
    fs::write(scratch.path.join("ingest").join(Digest::of(b"abc").hex()), "xx").unwrap();
    blobs.put_bytes(b"abc").unwrap();
    assert_eq!(blobs.list().unwrap().len(), 2);
}

#[test]
fn an_unknown_digest_is_found_at_the_end() {
    let scratch = Scratch::new("fresh");
    let blobs = Blobs::open(&scratch.path).unwrap();
    for _ in 0..2 {
        let mut fresh = blobs.create().unwrap();
        fresh.write_all(b"hello").unwrap();
        assert_eq!(fresh.commit().unwrap(), (Digest::of(b"hello"), 5));
    }
    let mut fresh = blobs.create().unwrap();
    fresh.write_all(b"never mind").unwrap();
    drop(fresh);
    assert_eq!(blobs.list().unwrap(), [(Digest::of(b"hello"), 5)]);
    assert_eq!(fs::read_dir(scratch.path.join("ingest")).unwrap().count(), 0);
}

#[test]
fn partial_files_of_the_dead_are_swept() {
    let scratch = Scratch::new("partial");
    let blobs = Blobs::open(&scratch.path).unwrap();
    let all = content(1000);
    let mut ingest = begun(&blobs, &Digest::of(&all), 1000);
    ingest.write(&all[..400]).unwrap();
    drop(ingest);
    let fresh = blobs.create().unwrap();
    assert_eq!(blobs.remove_partial().unwrap(), 400);
    assert_eq!(fs::read_dir(scratch.path.join("ingest")).unwrap().count(), 1, "one is being written");
    drop(fresh);
}

/// The content that the processes of the next two tests bring.
const SIZE: usize = 3_000_000;

/// Not a test of its own: what those processes do.
#[test]
fn a_process_that_ingests() {
    let Some(root) = std::env::var_os("STORAGE_TEST_INGEST") else { return };
    let again = std::env::var_os("STORAGE_TEST_AGAIN").is_some();
    let blobs = Blobs::open(Path::new(&root)).unwrap();
    let all = content(SIZE);
    match blobs.ingest(&Digest::of(&all), SIZE as u64).unwrap() {
        Ingesting::Present(size) => assert_eq!(size, SIZE as u64),
        Ingesting::Begun(mut ingest) => {
            let offset = ingest.offset() as usize;
            assert!(again || offset == 0, "it was begun twice");
            for piece in all[offset..].chunks(10_000) {
                ingest.write(piece).unwrap();
            }
            ingest.commit().unwrap();
            println!("brought");
        }
        Ingesting::Busy => panic!("waits"),
    }
}

#[test]
fn of_eight_processes_one_brings_it() {
    let scratch = Scratch::new("eight");
    let blobs = Blobs::open(&scratch.path).unwrap();
    let start = || respawn("blobs::tests::a_process_that_ingests", &[("STORAGE_TEST_INGEST", &scratch.path)]);
    let children: Vec<_> = (0..8).map(|_| start()).collect();
    let mut brought = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        brought += usize::from(String::from_utf8_lossy(&output.stdout).contains("brought"));
    }
    assert_eq!(brought, 1);
    let all = content(SIZE);
    assert_eq!(blobs.list().unwrap(), [(Digest::of(&all), SIZE as u64)]);
    assert!(fs::read(blobs.path(&Digest::of(&all))).unwrap() == all);
    assert_eq!(fs::read_dir(scratch.path.join("ingest")).unwrap().count(), 0);
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    let scratch = Scratch::new("kill");
    let blobs = Blobs::open(&scratch.path).unwrap();
    let all = content(SIZE);
    let digest = Digest::of(&all);
    let partial = scratch.path.join("ingest").join(digest.hex());
    let mut had = 0;
    let again = Path::new("1");
    let vars = [("STORAGE_TEST_INGEST", scratch.path.as_path()), ("STORAGE_TEST_AGAIN", again)];
    for round in 1..=20 {
        let mut child = respawn("blobs::tests::a_process_that_ingests", &vars);
        let goal = round * SIZE as u64 / 15;
        while fs::metadata(&partial).map_or(0, |stat| stat.size()) < goal.min(SIZE as u64) {
            if blobs.has(&digest).is_some() || child.try_wait().unwrap().is_some() {
                break;
            }
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        match fs::metadata(&partial) {
            Ok(stat) => {
                assert!(stat.size() >= had, "{} after {had}", stat.size());
                had = stat.size();
                assert!(fs::read(&partial).unwrap() == all[..had as usize]);
            }
            Err(_) => assert!(fs::read(blobs.path(&digest)).unwrap() == all),
        }
    }
    assert!(had > 0, "it was always complete before the kill");
    assert!(respawn("blobs::tests::a_process_that_ingests", &vars).wait().unwrap().success());
    assert!(fs::read(blobs.path(&digest)).unwrap() == all);
    assert_eq!(fs::read_dir(scratch.path.join("ingest")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_one_error_and_keeps_the_part() {
    on_small_disk("full-blobs", 1 << 20, |disk| {
        let blobs = Blobs::open(disk).unwrap();
        let all = content(2 << 20);
        let digest = Digest::of(&all);
        let mut ingest = begun(&blobs, &digest, all.len());
        let failure = ingest.write(&all).unwrap_err();
        assert_eq!(failure.errno, Errno::NOSPC.raw_os_error());
        assert!(failure.hint.unwrap().contains("disk is full"));
        let offset = ingest.offset();
        assert!(offset > 500_000);
        drop(ingest);
        assert_eq!(begun(&blobs, &digest, all.len()).offset(), offset);
        let mut fresh = blobs.create().unwrap();
        assert!(fresh.write_all(&all).is_err());
        drop(fresh);
        assert_eq!(fs::read_dir(disk.join("ingest")).unwrap().count(), 1);
        // A child that another test has forked holds our locks until it executes its program.
        let mut removed = 0;
        while fs::read_dir(disk.join("ingest")).unwrap().count() > 0 {
            removed += blobs.remove_partial().unwrap();
        }
        assert_eq!(removed, offset);
        assert_eq!(blobs.list().unwrap(), []);
        blobs.put_bytes(&all[..500_000]).unwrap();
    });
}
