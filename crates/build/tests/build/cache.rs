//! What a second build does again, and what it does not.

use crate::world::World;
use build::{CacheFrom, CacheTo};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use storage::blobs::Blobs;

/// Builds and says how many steps were cached, of how many.
fn cached(world: &World, source: &str) -> (usize, usize) {
    world.build(source).cached
}

const SOURCE: &str = "FROM base\nARG V=1\nENV E=2\nWORKDIR /w\nCOPY d /n/\nRUN cat /n/x > /y\n";

#[test]
fn a_second_build_is_all_cache_and_the_same_image() {
    let world = World::new("second");
    world.file("d/x", "X");
    let first = world.build(SOURCE);
    assert_eq!(first.cached, (0, 3));
    let second = world.build(SOURCE);
    assert_eq!(second.cached, (3, 3));
    assert_eq!((first.config_digest, first.manifest_digest), (second.config_digest, second.manifest_digest));
    assert_eq!(world.count(), 1);
    assert!(world.said.lock().unwrap().contains("CACHED"));
    world.is_tidy();
}

#[test]
fn content_counts_and_times_do_not() {
    let world = World::new("content");
    let file = world.file("d/x", "X");
    world.build(SOURCE);
    // As touch(1) and another checkout: new times, a new inode.
    let moved = world.path.join("moved");
    fs::rename(world.context(), &moved).unwrap();
    world.file("d/x", "X");
    fs::set_permissions(&file, fs::metadata(moved.join("d/x")).unwrap().permissions()).unwrap();
    Command::new("touch").args(["-d", "2001-01-01"]).arg(&file).status().unwrap();
    assert_eq!(cached(&world, SOURCE), (3, 3), "after a touch");
    // The directory's own permissions are not copied, what is in it is.
    fs::set_permissions(world.context().join("d"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(cached(&world, SOURCE), (3, 3), "another mode of what is not copied");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(cached(&world, SOURCE), (1, 3), "after a chmod");
    fs::write(&file, "Y").unwrap();
    assert_eq!(cached(&world, SOURCE), (1, 3), "other content");
    fs::write(&file, "X").unwrap();
    assert_eq!(cached(&world, SOURCE), (3, 3), "the content of before");
    world.file("d/z", "");
    assert_eq!(cached(&world, SOURCE), (1, 3), "one file more");
    fs::remove_file(world.context().join("d/z")).unwrap();
    std::os::unix::fs::symlink("x", world.context().join("d/z")).unwrap();
    assert_eq!(cached(&world, SOURCE), (1, 3), "a link in its place");
    let mut request = world.request(SOURCE);
    request.ignore = build::Ignore::parse("d/z").unwrap();
    assert_eq!(world.with(&request).unwrap().cached, (3, 3), "and that left out");
}

#[test]
fn instructions_count_as_far_as_they_are_seen() {
    let world = World::new("instructions");
    world.file("d/x", "X");
    // A directory that COPY makes has the time of the build, and RUN depends on it.
    let at_a_time = |source: &str| {
        let mut request = world.request(source);
        request.epoch = Some(1_500_000_000);
        world.with(&request).expect("it is built").cached
    };
    at_a_time(SOURCE);
    let all = |from: &str, to: &str| at_a_time(&SOURCE.replace(from, to));
    assert_eq!(all("FROM base", "FROM base AS name"), (3, 3));
    assert_eq!(
        all("COPY d /n/", "LABEL a=b\nEXPOSE 80\nCMD x\ncopy   d \\\n  /n"),
        (2, 3),
        "another destination's form"
    );
    assert_eq!(
        all("COPY d /n/", "LABEL a=b\nEXPOSE 80\nCMD x\ncopy   d \\\n  /n/"),
        (3, 3),
        "what no command sees"
    );
    assert_eq!(all("ENV E=2", "ENV E=3"), (2, 3), "a command's environment");
    assert_eq!(all("ARG V=1", "ARG V=2"), (2, 3), "an argument is one too");
    assert_eq!(all("ARG V=1\n", ""), (2, 3), "an argument that is not there");
    assert_eq!(all("COPY d", "COPY --chmod=600 d"), (1, 3));
    assert_eq!(at_a_time("FROM base\nWORKDIR /w\nCOPY --chmod=600 --chown=1:2 d /n/\n"), (1, 2));
    assert_eq!(
        at_a_time("FROM base\nARG UNUSED=5\nWORKDIR /w\nCOPY --chown=1:2 --chmod=600 d /n/\n"),
        (2, 2),
        "the order of flags, and an argument that a COPY does not use"
    );
    assert_eq!(at_a_time("FROM base\nCOPY --link d /l/\n"), (0, 1));
    assert_eq!(
        at_a_time("FROM base\nRUN true\nCOPY --link d /l/\n"),
        (1, 2),
        "a linked layer does not depend on those below"
    );
    let mut request = world.request(SOURCE);
    request.no_cache = true;
    assert_eq!(world.with(&request).unwrap().cached, (0, 3));
}

#[test]
fn what_is_missing_is_made_again() {
    let world = World::new("missing");
    world.file("d/x", "X");
    let first = world.build(SOURCE);
    // Layers that were removed come back from their blobs.
    let layers = storage::layers::Layers::open(&world.root(), false).unwrap();
    for layer in &first.layers[1..] {
        assert!(layers.remove(&layer.diff_id).unwrap());
    }
    let second = world.build(SOURCE);
    assert_eq!((second.cached, second.config_digest), ((3, 3), first.config_digest));
    assert!(second.layers.iter().all(|layer| layer.directory.is_dir()));
    assert_eq!(world.read(&second, "y"), "X");
    // Without its blob a layer is no use.
    let blobs = storage::blobs::Blobs::open(&world.root()).unwrap();
    blobs.remove(&first.layers[2].digest).unwrap();
    // Made again it may have another time, and then what is on it is made again too.
    assert!((1..=2).contains(&world.build(SOURCE).cached.0));
    // Records that nobody can read are none.
    for entry in fs::read_dir(world.root().join("build/cache")).unwrap() {
        fs::write(entry.unwrap().path(), "{").unwrap();
    }
    fs::write(world.root().join("build/digests"), "nonsense").unwrap();
    assert_eq!(world.build(SOURCE).cached.0, 0);
}

#[test]
fn a_cache_goes_to_another_machine() {
    let one = World::new("from");
    let two = World::new("to");
    for world in [&one, &two] {
        world.file("d/x", "X");
        fs::set_permissions(world.context().join("d/x"), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let mut request = one.request(SOURCE);
    request.cache_to = vec![CacheTo::Directory(one.path.join("exported"))];
    let first = one.with(&request).unwrap();
    // All of it again, from this machine's cache.
    fs::remove_dir_all(one.path.join("exported")).unwrap();
    one.with(&request).unwrap();
    let mut request = two.request(SOURCE);
    request.cache_from = ["none", "exported"].map(|name| CacheFrom::Directory(one.path.join(name))).to_vec();
    let second = two.with(&request).unwrap();
    assert_eq!((second.cached, two.count()), ((3, 3), 0));
    assert_eq!(first.config_digest, second.config_digest);
    assert_eq!(two.build(SOURCE).cached, (3, 3), "kept here too");
    // A blob that is not what it says is not taken.
    let three = World::new("forged");
    three.file("d/x", "X");
    fs::set_permissions(three.context().join("d/x"), fs::Permissions::from_mode(0o644)).unwrap();
    for entry in fs::read_dir(one.path.join("exported/blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let length = fs::metadata(&path).unwrap().len() as usize;
        fs::write(path, vec![0; length]).unwrap();
    }
    let mut request = three.request(SOURCE);
    request.cache_from = vec![CacheFrom::Directory(one.path.join("exported"))];
    assert_eq!(three.with(&request).unwrap().cached, (0, 3));
    three.is_tidy();
}

#[test]
fn a_cache_goes_by_an_image_of_a_registry() {
    const STAGES: &str = "FROM base AS first\nRUN cat /bin/sh > /big; echo a > /a\nRUN echo b > /b\n\
                          FROM base\nCOPY --from=first /a /a\nRUN cat /a > /c\n";
    let one = World::new("carries");
    let image = |name: &str, all| CacheTo::Image { name: name.to_owned(), all };
    let mut request = one.request(STAGES);
    request.cache_to = vec![image("max", true), image("min", false), CacheTo::Inline];
    let first = one.with(&request).unwrap();
    assert_eq!(first.cached, (0, 4));
    let carried = std::mem::take(&mut *one.carried.lock().unwrap());
    let blobs = |name: &str| carried[name].1.len();
    assert_eq!((blobs("max"), blobs("min")), (4, 2), "the steps of all stages, those of the image's layers");
    let packed = first.layers[first.layers.len() - 2..].iter().map(|layer| {
        let mut bytes = Vec::new();
        let mut blob = Blobs::open(&one.root()).unwrap().get(&layer.digest).unwrap().unwrap();
        blob.file.read_to_end(&mut bytes).unwrap();
        (layer.digest, bytes)
    });
    let inline = (first.config.clone(), packed.collect());
    // With the whole cache nothing is made; with the image's own layers, what they are made from.
    for (name, expected) in [("max", (4, 4)), ("min", (2, 4)), ("inline", (2, 4))] {
        let two = World::new("takes");
        let mut all = carried.clone();
        all.insert("inline".to_owned(), inline.clone());
        *two.carried.lock().unwrap() = all;
        let mut request = two.request(STAGES);
        request.cache_from = vec![CacheFrom::Image("none".to_owned()), CacheFrom::Image(name.to_owned())];
        let second = two.with(&request).unwrap();
        assert_eq!(second.cached, expected, "{name}");
        assert!(two.said.lock().unwrap().contains("no cache from none: "));
    }
    // Of a base the cache is not the image's.
    let config: serde_json::Value = serde_json::from_slice(&first.config).unwrap();
    assert_eq!(config["minidocker.build.steps"]["steps"].as_object().unwrap().len(), 2);
    // A blob that is not what it says is not taken, and the build goes on without.
    let three = World::new("forged");
    let mut forged = carried;
    for blob in forged.get_mut("max").unwrap().1.values_mut() {
        blob.fill(0);
    }
    *three.carried.lock().unwrap() = forged;
    let mut request = three.request(STAGES);
    request.cache_from = vec![CacheFrom::Image("max".to_owned())];
    assert_eq!(three.with(&request).unwrap().cached, (0, 4));
    three.is_tidy();
}

/// Not a test of its own: the build that the next one kills.
#[test]
fn a_build_that_is_killed() {
    let Some(path) = std::env::var_os("BUILD_TEST_KILLED") else { return };
    let path = std::path::PathBuf::from(path);
    let world = std::mem::ManuallyDrop::new(World::new("killed-inner"));
    // Its own world has the image; the store's other parts are the killer's.
    let mut request = world.request(KILLED);
    request.context = path.join("context");
    let root = path.join("root");
    fs::create_dir_all(root.join("build")).unwrap();
    std::os::unix::fs::symlink(root.join("build"), world.root().join("build")).unwrap();
    println!("WORLD {}", world.path.display());
    let _ = world.with(&request);
    println!("DONE");
}

const KILLED: &str = "FROM base\nRUN echo a > /a\nCOPY . /n/\nRUN echo b > /b\nRUN cat /a /b > /c\n";

#[test]
fn a_kill_at_any_moment_leaves_nothing_in_the_way() {
    use std::io::{BufRead as _, BufReader};
    let world = World::new("killer");
    for number in 0..50 {
        world.file(&format!("f{number}"), &"x".repeat(20_000));
    }
    let mut cut = 0;
    for goal in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cache::a_build_that_is_killed", "--nocapture", "--test-threads=1"])
            .env("BUILD_TEST_KILLED", &world.path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut inner = None;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.by_ref() {
            if let Some((_, path)) = line.unwrap().split_once("WORLD ") {
                inner = Some(std::path::PathBuf::from(path));
                break;
            }
        }
        let inner = inner.unwrap();
        // So many blobs or files on their way beyond the base's: then it is killed, wherever that is.
        let progress = || {
            let count = |place: &str| fs::read_dir(inner.join("root").join(place)).map_or(0, Iterator::count);
            count("blobs/sha256") + count("ingest") + count("layers/new") + count("build/work")
        };
        while progress() < 1 + goal && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
        cut += usize::from(fs::read_dir(world.root().join("build/work")).is_ok_and(|all| all.count() > 0));
        // What is left of it, store and all, is no trouble for the next.
        let after = World::new("after");
        fs::remove_dir_all(after.root()).unwrap();
        fs::rename(inner.join("root"), after.root()).unwrap();
        fs::remove_file(after.root().join("build")).unwrap();
        fs::rename(world.root().join("build"), after.root().join("build")).unwrap();
        fs::rename(world.context(), world.path.join("kept")).unwrap();
        fs::remove_dir_all(after.context()).unwrap();
        fs::rename(world.path.join("kept"), after.context()).unwrap();
        let built = after.build(KILLED);
        assert_eq!(after.tree(&built)["c"], "644 0:0 = a\nb");
        assert_eq!(after.build(KILLED).cached, (4, 4));
        for place in ["build/work", "layers/new"] {
            assert_eq!(fs::read_dir(after.root().join(place)).unwrap().count(), 0, "{place}");
        }
        fs::rename(after.context(), world.context()).unwrap();
        let _ = fs::remove_dir_all(inner);
    }
    assert!(cut > 2, "{cut} kills came in the middle");
}

#[test]
fn a_file_that_did_not_change_is_not_read_again() {
    let world = World::new("memo");
    for number in 0..20 {
        let path = world.file(&format!("d/{number}"), "content");
        // Its state is old enough to be believed: nothing of a clock's grain.
        while fs::metadata(&path).unwrap().modified().unwrap().elapsed().unwrap().as_millis() < 150 {}
    }
    let source = "FROM base\nCOPY d /n/\n";
    world.build(source);
    let bytes = fs::metadata(world.root().join("build/digests")).unwrap().len();
    assert_eq!(bytes, 16 + 20 * 96);
    // A memo that lies is believed: so the files were not read.
    let path = world.root().join("build/digests");
    let mut memo = fs::read(&path).unwrap();
    for record in memo[16..].chunks_exact_mut(96) {
        record[64] ^= 1;
    }
    fs::write(&path, memo).unwrap();
    assert_eq!(world.build(source).cached, (0, 1));
}
