//! Many at once, without a daemon: what has a name is complete at any moment, and each blob is asked for once.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use minidocker_tests::World;
use minidocker_tests::registry::{Image, Packing, Registry, Tar, noise};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::store::Store;

/// Set when this is dropped, by a panic too: who waits for it would wait for ever.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Files of each layer.
const FILES: u64 = 10;

fn layer(seed: u64) -> Tar {
    let file = |tar: Tar, number: u64| tar.file(&format!("f{number}"), noise(50_000, seed * 100 + number));
    (0..FILES).fold(Tar::new(), file)
}

/// Three shared layers and one of its own.
fn image(number: u64) -> Image {
    let shared = (0..3).fold(Image::new(json!({"Cmd": ["/x"]})), |image, seed| image.layer(layer(seed)));
    shared.packed(layer(10 + number), Packing::Zstd)
}

#[test]
fn eight_pulls_of_images_that_share_layers() {
    let world = World::new();
    let registry = Registry::new(&world);
    let all: Vec<_> = (0..4).map(|number| registry.put(&format!("app:{number}"), &image(number))).collect();
    let names: Vec<String> = (0..8).map(|number| registry.name(&format!("app:{}", number % 4))).collect();
    // Written once, before anybody reads it.
    drop(world.images(["images"]).run());
    let pulls: Vec<_> = names.iter().map(|name| world.images(["pull", "-q", name]).spawn()).collect();
    for pull in pulls {
        pull.wait().ok();
    }
    let store = Store::of(&world);
    assert_eq!(store.images().len(), 4);
    store.expect_complete(Some(FILES as usize));
    store.expect_nothing_else();
    let served = registry.served();
    for layer in all.iter().flat_map(|put| &put.layers) {
        let path = format!("/v2/app/blobs/{}", layer.digest);
        let asked: Vec<_> = served.iter().filter(|one| one.method == "GET" && one.path == path).collect();
        assert_eq!(asked.len(), 1, "{asked:?}");
    }
}

#[test]
fn pulls_race_with_removals() {
    const ROUNDS: usize = 15;
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:1", &image(1));
    registry.put("app:2", &image(2));
    let store = Store::of(&world);
    let [one, two] = ["app:1", "app:2"].map(|name| registry.name(name));
    drop(world.images(["images"]).run());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pull = |name: &str| {
            for _ in 0..ROUNDS {
                world.images(["pull", "-q", name]).run().ok();
            }
        };
        let pulls = [&one, &one, &two].map(|name| scope.spawn(move || pull(name)));
        let until_over = |words: Vec<String>| {
            let (world, over) = (&world, &over);
            move || {
                while !over.load(Ordering::Relaxed) {
                    let said = world.images(&words).run();
                    let missing = said.err().starts_with("error: no such image: ");
                    assert!(said.code == 0 || said.code == 1 && missing, "{said:?}");
                }
            }
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        scope.spawn(until_over(words(&["rmi", "-f", &one])));
        scope.spawn(until_over(words(&["rmi", &two])));
        scope.spawn(until_over(words(&["image", "prune", "-af"])));
        scope.spawn(|| {
            let lock = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(world.root().join("bringing.lock"))
                .expect("the lock");
            while !over.load(Ordering::Relaxed) {
                // As who brings something: nothing is removed while we look.
                flock(&lock, FlockOperation::LockShared).expect("a lock");
                store.expect_complete(Some(FILES as usize));
                flock(&lock, FlockOperation::Unlock).expect("a lock");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        let _over = Over(&over);
        let ended: Vec<_> = pulls.map(|pull| pull.join()).into();
        for one in ended {
            if let Err(panic) = one {
                std::panic::resume_unwind(panic);
            }
        }
    });
    for name in [&one, &two] {
        world.images(["pull", "-q", name]).run().ok();
    }
    store.expect_complete(Some(FILES as usize));
    world.images(["image", "prune", "-f"]).run().ok();
    store.expect_nothing_else();
    assert_eq!(store.images().len(), 2);
}

#[test]
fn runs_race_with_removals() {
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:1", &Image::inside(&world).layer(layer(1)));
    let name = registry.name("app:1");
    world.images(["pull", "-q", &name]).run().ok();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let said = world.images(["rmi", "-f", &name]).run();
                let expected = ["no such image", "is being used by running container"];
                let told = expected.iter().any(|words| said.err().contains(words));
                assert!(said.code == 0 || told, "{said:?}");
            }
        });
        let _over = Over(&over);
        let started = (0..15).map(|_| {
            let words = ["run", "--rm", "-q", "--network", "none", &name, "/inside", "read", "/f1"];
            let said = world.images(words).run();
            // It went between its pull and its start: told, and nothing of it is left.
            let gone = said.code == 125 && said.err().contains("no such image");
            assert!(gone || said.code == 0, "{said:?}");
            usize::from(said.code == 0)
        });
        let started: usize = started.sum();
        assert!(started > 0, "none of them was started");
    });
    world.images(["rmi", "-f", &name]).run().exits(0);
    world.images(["image", "prune", "-af"]).run().ok();
    Store::of(&world).expect_empty();
}
