//! What was built before is not built again; what is built again is the same, bit for bit.

use std::fs;
use std::time::{Duration, SystemTime};

use minidocker_tests::Rootfs;
use minidocker_tests::registry::Registry;

use crate::ground::{self, Ground, all_cached, steps, text};
use crate::shapes;

#[test]
fn the_second_build_of_every_shape_is_all_cache() {
    let ground = Ground::new();
    for (shape, context) in shapes::contexts(&ground.world) {
        let first = ground.call_in(&context, shape.arguments).run().ok();
        assert!(steps(&first).1 > 0, "{}: {first:?}", shape.name);
        let second = ground.call_in(&context, shape.arguments).run().ok();
        let (_, done) = steps(&second);
        assert_eq!(done, 0, "{}: {second:?}", shape.name);
        let id =
            |words: &str| words.lines().find(|line| line.starts_with("writing image ")).map(str::to_owned);
        let third = ground.call_in(&context, shape.arguments).run().ok();
        assert_eq!(id(&second.err()), id(&third.err()), "{}", shape.name);
        assert!(id(&third.err()).is_some());
    }
    ground.expect_nothing_left();
}

fn touch(directory: &std::path::Path) {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 365);
    for entry in fs::read_dir(directory).expect("our own directory").flatten() {
        let kind = entry.file_type().expect("our own file");
        if kind.is_dir() {
            touch(&entry.path());
        }
        if !kind.is_symlink() {
            let file = fs::File::open(entry.path()).expect("our own file");
            file.set_modified(old).expect("our own file");
        }
    }
}

#[test]
fn times_and_places_do_not_count_content_and_modes_do() {
    let ground = Ground::new();
    let shape = shapes::SHAPES.iter().find(|shape| shape.name == "copies").expect("that shape");
    let context = shape.context(&ground.world);
    let build = |context: &Rootfs| ground.call_in(context, &[]).run().ok();
    build(&context);
    touch(context.path());
    all_cached(&build(&context));
    let copy = ground.world.rootfs_empty();
    ground
        .world
        .program([
            "cp",
            "-r",
            "--preserve=mode,ownership,links",
            &format!("{}/.", context.plain()),
            text(copy.path()),
        ])
        .run()
        .ok();
    all_cached(&build(&copy));
    // Content of the same length and time.
    let file = copy.path().join("tree/x/2");
    let before = fs::metadata(&file).expect("our own file").modified().expect("a time");
    fs::write(&file, "TREE/X/2").expect("our own file");
    fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|file| file.set_modified(before))
        .expect("our own file");
    assert!(steps(&build(&copy)).1 > 0, "another content was not seen");
    all_cached(&build(&copy));
    ground::chmod(&copy.path().join("a.conf"), 0o755);
    assert!(steps(&build(&copy)).1 > 0, "another mode was not seen");
    all_cached(&build(&copy));
    fs::remove_file(copy.path().join("tree/to-nothing")).expect("our own file");
    copy.link("tree/to-nothing", "/no/suck");
    assert!(steps(&build(&copy)).1 > 0, "another target of a link was not seen");
    fs::remove_dir(copy.path().join("tree/empty")).expect("our own directory");
    assert!(steps(&build(&copy)).1 > 0, "a directory that is gone was not seen");
    // What was built first is there still.
    all_cached(&build(&context));
}

#[test]
fn what_a_step_does_not_see_does_not_count() {
    let ground = Ground::new();
    ground.context.file("a", "a");
    ground.context.file("b", "b");
    let dockerfile = "ARG X\nCOPY a /a\nRUN cat /a\nCOPY b /b\nRUN cat /b\n";
    ground.build(dockerfile, &[]).ok();
    ground.context.file("unseen", "x");
    all_cached(&ground.build(dockerfile, &[]).ok());
    ground.context.file("b", "B");
    let changed = ground.build(dockerfile, &[]).ok();
    assert_eq!(steps(&changed), (2, 2), "{changed:?}");
    // An argument that was declared counts for RUN, not for COPY.
    let changed = ground.build(dockerfile, &["--build-arg", "X=1"]).ok();
    assert!(steps(&changed).1 >= 1, "{changed:?}");
    let again = ground.build(dockerfile, &["--no-cache"]).ok();
    assert_eq!(steps(&again), (0, 4), "{again:?}");
}

#[test]
fn twenty_cached_steps() {
    let ground = Ground::new();
    let dockerfile: String = (0..20).map(|number| format!("RUN echo {number} > /{number}\n")).collect();
    let first = ground.build(&dockerfile, &[]).ok();
    assert_eq!(steps(&first), (0, 20), "{first:?}");
    let mut times = Vec::new();
    for _ in 0..5 {
        let again = ground.build(&dockerfile, &[]).ok();
        assert_eq!(steps(&again), (20, 0), "{again:?}");
        times.push(again.time);
    }
    times.sort();
    println!(
        "a new step: {:?}; a cached one: {:?} (the whole command by its steps)",
        first.time / 20,
        times[2] / 20
    );
}

#[test]
fn the_cache_goes_to_another_store_by_a_directory() {
    let (one, two) = (Ground::new(), Ground::new());
    let place = one.world.directory().join("carried");
    let dockerfile = "RUN echo made > /made\nRUN cat /made > /again\n";
    one.build(dockerfile, &["--cache-to", &format!("type=local,dest={}", text(&place))]).ok();
    two.world.minidocker(["rmi", "base:1"]).ok();
    let archive = one.world.directory().join("base-image.tar");
    one.world.minidocker(["save", "-o", text(&archive), "base:1"]).ok();
    two.world.minidocker(["load", "-i", text(&archive)]).ok();
    let from = format!("type=local,src={}", text(&place));
    let output = two.build(dockerfile, &["--cache-from", &from]).ok();
    assert_eq!(steps(&output), (2, 0), "{output:?}");
    let without = two.build(dockerfile, &[]).ok();
    assert_eq!(steps(&without), (2, 0), "it is its own now: {without:?}");
}

/// The store that gave it away has nothing of it left when it comes back.
#[test]
fn the_cache_goes_and_comes_by_a_registry() {
    let ground = Ground::new();
    let registry = Registry::new(&ground.world);
    let archive = ground.world.directory().join("base-image.tar");
    ground.world.minidocker(["save", "-o", text(&archive), "base:1"]).ok();
    let dockerfile = "RUN echo made > /made\nRUN cat /made > /again\n";
    let cache = registry.name("app:cache");
    let into = format!("type=registry,ref={cache},mode=max");
    ground.build(dockerfile, &["--cache-to", &into]).ok();
    // An image of its own kind, that other tools read and nobody takes for one to run.
    let pulled = ground.world.images(["pull", &cache]).run();
    pulled.refuses(1, &["is no image to run", "minidocker.build.steps"]);
    // One that is pushed carries what it is made of.
    let app = registry.name("app:1");
    ground.build(dockerfile, &["--cache-to", "type=inline", "-t", &app]).ok();
    ground.world.images(["push", &app]).run().ok();
    let forget = || {
        ground.world.minidocker(["system", "prune", "-af"]).ok();
        ground.world.minidocker(["builder", "prune", "-af"]).ok();
        ground.world.minidocker(["load", "-i", text(&archive)]).ok();
    };
    for from in [format!("type=registry,ref={cache}"), app.clone()] {
        forget();
        let output = ground.build(dockerfile, &["--cache-from", &from]).ok();
        assert_eq!(steps(&output), (2, 0), "{from}: {output:?}");
    }
    // What is not there costs a warning.
    forget();
    let output = ground.build(dockerfile, &["--cache-from", &registry.name("none:1")]).ok();
    assert!(output.err().contains("no cache from "), "{output:?}");
    assert_eq!(steps(&output), (0, 2), "{output:?}");
    let refused = ground.build(dockerfile, &["--cache-to", "type=gha"]);
    refused.refuses(1, &["a cache of type gha is not made", "type=registry,ref=IMAGE"]);
}

#[test]
fn the_same_input_makes_the_same_image_in_another_store() {
    let (one, two) = (Ground::new(), Ground::new());
    let archive = one.world.directory().join("base-image.tar");
    one.world.minidocker(["save", "-o", text(&archive), "base:1"]).ok();
    two.world.minidocker(["rmi", "base:1"]).ok();
    two.world.minidocker(["load", "-i", text(&archive)]).ok();
    for shape in &shapes::SHAPES {
        // What goes in has other times in each, and so has what commands write.
        let made = [&one, &two].map(|ground| {
            let context = shape.context(&ground.world);
            let words = [&["-q", "-t", "same:1"], shape.arguments].concat();
            let id = ground.call_in(&context, &words).env("SOURCE_DATE_EPOCH", "1700000000").run().text();
            let inspected = ground.world.minidocker(["image", "inspect", "same:1"]).json();
            (id, inspected[0]["Descriptor"]["digest"].clone())
        });
        assert_eq!(made[0], made[1], "{}", shape.name);
        assert!(made[0].1.as_str().is_some_and(|digest| digest.starts_with("sha256:")));
    }
}
