//! Servers that die, pulls that are killed, disks that are full: what was there counts, and nothing is half.

use std::path::Path;
use std::time::{Duration, Instant};

use minidocker_tests::registry::{Image, Packing, Registry, Tar, noise};
use minidocker_tests::{Call, World, until};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use serde_json::json;

use crate::store::Store;

const STOP: i32 = 19;
const CONT: i32 = 18;

#[test]
fn a_pull_goes_on_after_the_server_was_killed_in_mid_layer() {
    const SIZE: usize = 96 << 20;
    let world = World::new();
    let mut registry = Registry::new(&world);
    let tar = Tar::new().file("big", noise(SIZE, 1));
    let put = registry.put("app:1", &Image::new(json!({})).packed(tar, Packing::None));
    let store = Store::of(&world);
    let words = ["pull", "-q", &registry.name("app:1")];
    let pull = world.registries("attempts = 10\n", words).patience(Duration::from_secs(120)).spawn();
    until("some of the layer is here", || store.partial() > 1 << 20);
    pull.signal(STOP);
    let before = store.partial();
    assert!(before < SIZE as u64, "all of it was here too soon: {before}");
    registry.kill();
    registry.restart();
    pull.signal(CONT);
    pull.wait().ok();
    store.expect_complete(Some(1));
    store.expect_nothing_else();
    let path = format!("/v2/app/blobs/{}", put.layers[0].digest);
    let gets: Vec<_> =
        registry.served().into_iter().filter(|one| one.path == path && one.method == "GET").collect();
    assert_eq!(gets.len(), 1, "the first died with its server: {gets:?}");
    assert_eq!(gets[0].status, 206);
    assert!(gets[0].bytes <= put.layers[0].size - before, "{} after {before} were here", gets[0].bytes);
}

#[test]
fn a_pull_that_was_killed_is_gone_on_with() {
    const SIZE: usize = 96 << 20;
    let world = World::new();
    let registry = Registry::new(&world);
    let tar = Tar::new().file("big", noise(SIZE, 2));
    let put = registry.put("app:1", &Image::new(json!({})).packed(tar, Packing::None));
    let (store, name) = (Store::of(&world), registry.name("app:1"));
    let pull = world.images(["pull", "-q", &name]).patience(Duration::from_secs(120)).spawn();
    until("some of the layer is here", || store.partial() > 1 << 20);
    pull.signal(9);
    pull.wait().exits(128 + 9);
    let before = store.partial();
    assert!(before > 0 && before < SIZE as u64, "{before}");
    world.images(["pull", "-q", &name]).patience(Duration::from_secs(120)).run().ok();
    store.expect_complete(Some(1));
    store.expect_nothing_else();
    let path = format!("/v2/app/blobs/{}", put.layers[0].digest);
    let last = registry.served().into_iter().rfind(|one| one.path == path && one.status == 206);
    assert_eq!(last.expect("a request for the rest").bytes, put.layers[0].size - before);
}

/// Six layers of 20 files each, some megabytes in all.
fn layered(seed: u64) -> Image {
    let layer = |image: Image, number: u64| {
        let file = |tar: Tar, file: u64| {
            tar.file(&format!("{number}-{file}"), noise(60_000, seed * 1000 + number * 20 + file))
        };
        let packing = [Packing::Gzip, Packing::Zstd, Packing::None][number as usize % 3];
        image.packed((0..20).fold(Tar::new(), file), packing)
    };
    (0..6).fold(Image::new(json!({"Cmd": ["/x"]})), layer)
}

#[test]
fn killed_at_any_moment_nothing_is_half() {
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:1", &layered(1));
    let (store, name) = (Store::of(&world), registry.name("app:1"));
    let whole = world.images(["pull", "-q", &name]).run().ok().time;
    world.images(["rmi", &name]).run().ok();
    store.expect_empty();
    let mut killed = 0;
    for round in 0..20_u32 {
        let pull = world.images(["pull", "-q", &name]).spawn();
        // Spread over the time that the whole takes, in no order.
        std::thread::sleep(whole * (round * 7 % 20) / 20);
        pull.signal(9);
        let code = pull.wait().code;
        killed += usize::from(code == 137);
        assert!(code == 137 || code == 0, "exit code {code}");
        store.expect_complete(Some(20));
        if !store.images().is_empty() {
            world.images(["rmi", &name]).run().ok();
        }
    }
    assert!(killed >= 10, "only {killed} of 20 were killed before their end");
    world.images(["pull", "-q", &name]).run().ok();
    assert_eq!(store.images().len(), 1);
    store.expect_complete(Some(20));
    store.expect_nothing_else();
}

/// A tmpfs in the world's directory; it goes with this.
struct Tmpfs<'p>(&'p Path);

impl<'p> Tmpfs<'p> {
    fn new(path: &'p Path, size: &str) -> Self {
        std::fs::create_dir(path).expect("our own directory");
        let options = std::ffi::CString::new(format!("size={size}")).expect("no zero");
        mount("none", path, "tmpfs", MountFlags::empty(), options.as_c_str()).expect("mount a tmpfs");
        Self(path)
    }

    fn change(&self, flags: MountFlags, options: &std::ffi::CStr) {
        mount_remount(self.0, flags, options).expect("remount a tmpfs");
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

/// `minidocker WORDS` with another state root.
fn at<'w>(world: &'w World, root: &Path, words: &[&str]) -> Call<'w> {
    let text = |path: &Path| path.to_str().expect("our own names are text").to_owned();
    let (program, root, run_root) = (text(world.minidocker_path()), text(root), text(&world.run_root()));
    let all = [&[&program, "--root", &root, "--run-root", &run_root], words].concat();
    world.program(all).env("MINIDOCKER_REGISTRIES", "/dev/null").env("DOCKER_CONFIG", "/dev/null")
}

#[test]
fn a_disk_that_is_full_is_told_and_emptied() {
    let world = World::new();
    let registry = Registry::new(&world);
    let name = registry.name("app:1");
    registry.put("app:1", &layered(2));
    let root = world.directory().join("full");
    let disk = Tmpfs::new(&root, "3m");
    let said = at(&world, &root, &["pull", &name]).run();
    said.refuses(1, &["no space left on device"]).hints("--root");
    let store = Store::at(&root);
    assert_eq!(store.images().len(), 0);
    let unfinished = store.unfinished();
    assert!(unfinished.iter().all(|path| path.starts_with("ingest/")), "{unfinished:?}");
    at(&world, &root, &["image", "prune", "-f"]).run().ok();
    store.expect_empty();
    at(&world, &root, &["pull", &name]).run().refuses(1, &["no space left on device"]);
    disk.change(MountFlags::empty(), c"size=64m");
    at(&world, &root, &["pull", "-q", &name]).run().ok();
    store.expect_complete(Some(20));
    store.expect_nothing_else();
}

#[test]
fn a_disk_that_is_read_only_is_told() {
    let world = World::new();
    let registry = Registry::new(&world);
    let name = registry.name("app:1");
    registry.put("app:1", &layered(3));
    let root = world.directory().join("fixed");
    let disk = Tmpfs::new(&root, "64m");
    disk.change(MountFlags::RDONLY, c"");
    at(&world, &root, &["pull", &name]).run().refuses(1, &["read-only file system"]).hints("--root");
    disk.change(MountFlags::empty(), c"");
    at(&world, &root, &["pull", "-q", &name]).run().ok();
    disk.change(MountFlags::RDONLY, c"");
    at(&world, &root, &["pull", &name]).run().refuses(1, &["read-only file system"]);
    at(&world, &root, &["rmi", &name]).run().refuses(1, &["read-only file system"]);
    // Looking is no writing.
    let listed = at(&world, &root, &["images", "-q"]).run().text();
    assert_eq!(listed.len(), 12);
    Store::at(&root).expect_complete(Some(20));
    let start = Instant::now();
    drop(disk);
    assert!(start.elapsed() < Duration::from_secs(60));
}
