//! `builder prune`: what goes, what stays, and what `system df` says of it.

use std::fs;
use std::time::{Duration, SystemTime};

use minidocker_tests::World;
use serde_json::Value;

use crate::ground::{Ground, all_cached, names, steps, text};

/// A row of `system df`: total, active, and its size in words.
#[track_caller]
fn row(world: &World, kind: &str) -> (u64, u64, String) {
    let all = world.minidocker(["system", "df", "--format", "json"]).text();
    let rows = all.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let row =
        rows.into_iter().find(|row| row["Type"] == kind).unwrap_or_else(|| panic!("no {kind} in {all}"));
    let number = |name: &str| row[name].as_str().and_then(|text| text.parse().ok()).expect("a number");
    (number("TotalCount"), number("Active"), row["Size"].as_str().expect("a size").to_owned())
}

#[track_caller]
fn prune(world: &World, words: &[&str]) -> String {
    let said = world.minidocker([&["builder", "prune", "-f"], words].concat()).ok().out();
    said.strip_prefix("Total:\t").expect("a total").trim_end().to_owned()
}

/// Two stages; one layer of 3 MB that the image has not, and a cache mount of 2 MB.
const TWO: &str = "FROM base:1 AS tools\nRUN head -c 3000000 /dev/urandom > /tool\n\
    FROM base:1\nCOPY --from=tools /bin/sh /copied\n\
    RUN --mount=type=cache,target=/c head -c 2000000 /dev/urandom > /c/x; echo 1 > /one\n";

#[test]
fn what_no_image_has_goes_and_the_rest_stays_cached() {
    let ground = Ground::new();
    let world = &ground.world;
    ground.build(TWO, &["-t", "app:1"]).ok();
    let before = row(world, "Build Cache");
    // Three steps and the mount.
    assert_eq!((before.0, before.1), (4, 0), "{before:?}");
    assert!(before.2.ends_with("MB"), "{before:?}");
    // Docker's words; nobody answers.
    let asked = world.call(["builder", "prune"]).stdin("n\n").run().ok().out();
    assert!(asked.starts_with("WARNING! This will remove all dangling build cache."), "{asked}");
    assert_eq!(row(world, "Build Cache"), before);
    assert_eq!(prune(world, &["--filter", "until=24h"]), "0B");
    assert_eq!(prune(world, &["--keep-storage", "1g"]), "0B");
    // An image's prune is not for what builds keep.
    world.minidocker(["image", "prune", "-f"]).ok();
    all_cached(&ground.build(TWO, &["-t", "app:1"]).ok());
    let freed = prune(world, &[]);
    assert!(freed.ends_with("MB"), "{freed}");
    let megabytes: f64 = freed.trim_end_matches("MB").parse().expect("a number");
    assert!((8.0..8.6).contains(&megabytes), "a layer, its blob and a cache of 3, 3 and 2 MB are {freed}");
    assert_eq!(names(&world.root().join("build/mounts")), Vec::<String>::new());
    let said = ground.build(TWO, &["-t", "app:1"]).ok();
    assert_eq!(steps(&said), (2, 1), "the image's layers are still known: {said:?}");
    world.minidocker(["run", "--rm", "app:1", "cat", "/one"]).prints("1\n");
    assert_ne!(prune(world, &["-a"]), "0B");
    assert_eq!(names(&world.root().join("build/cache")), Vec::<String>::new());
    assert!(!world.root().join("build/digests").exists());
    world.minidocker(["run", "--rm", "app:1", "cat", "/one"]).prints("1\n");
    assert_eq!(prune(world, &["-a"]), "0B");
    assert_eq!(row(world, "Build Cache").0, 0);
    let said = ground.build(TWO, &["-t", "app:1"]).ok();
    assert_eq!(steps(&said).0, 0, "{said:?}");
    // By its other name.
    assert!(world.minidocker(["buildx", "prune", "-f"]).ok().out().starts_with("Total:\t"));
    ground.expect_nothing_left();
}

#[test]
fn what_is_on_disk_is_what_df_says() {
    let ground = Ground::new();
    let world = &ground.world;
    ground.build(TWO, &["-t", "app:1"]).ok();
    let rows = world.minidocker(["system", "df", "--format", "{{.Size}}"]).text();
    let megabytes = |text: &str| -> f64 {
        let (number, unit) = text.split_at(text.find(char::is_alphabetic).expect("a unit"));
        let number: f64 = number.parse().expect("a number");
        number
            * match unit {
                "B" => 1e-6,
                "kB" => 1e-3,
                "MB" => 1.0,
                other => panic!("{other}"),
            }
    };
    let sum: f64 = rows.lines().map(megabytes).sum();
    let root = world.root();
    let du = world.program(["du", "-s", "--block-size=1", text(&root)]).run().text();
    let du: f64 = du.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a number");
    // Directories and the catalogue are nobody's.
    assert!((sum - du / 1e6).abs() < 0.15, "{sum} MB of df, {} MB of du: {rows}", du / 1e6);
}

#[test]
fn what_a_running_build_uses_stays() {
    let ground = Ground::new();
    let world = &ground.world;
    ground.build("RUN --mount=type=cache,target=/c echo old > /c/old\nRUN echo 1 > /1\n", &[]).ok();
    ground.dockerfile(
        "RUN echo 1 > /1\nRUN --mount=type=cache,target=/c touch /c/taken && \
         i=0; while [ ! -e /c/go ]; do i=$((i+1)); [ $i -lt 3000 ] || exit 9; sleep 0.01; done; cat /c/old > /seen\n",
    );
    let mount = world.root().join("build/mounts");
    let data = mount.join(&names(&mount)[0]).join("0/data");
    let building = ground.call(&["-t", "app:1"]).spawn();
    minidocker_tests::until("the command has its cache", || data.join("taken").exists());
    assert_eq!(row(world, "Build Cache").1, 1);
    let said = world.minidocker(["builder", "prune", "-af"]).ok();
    assert!(said.err().contains("layers stay for now"), "{said:?}");
    assert!(data.join("old").exists());
    fs::write(data.join("go"), "").expect("our own file");
    building.wait().ok();
    world.minidocker(["run", "--rm", "app:1", "cat", "/seen", "/1"]).prints("old\n1\n");
    prune(world, &[]);
    assert_eq!(names(&mount), Vec::<String>::new());
    world.minidocker(["run", "--rm", "app:1", "cat", "/seen"]).prints("old\n");
}

#[test]
fn the_oldest_goes_first_and_what_nobody_uses_for_long_goes_by_itself() {
    let ground = Ground::new();
    let world = &ground.world;
    for number in ["1", "2"] {
        ground
            .build(
                &format!("RUN --mount=type=cache,target=/{number} head -c 1000000 /dev/zero > /{number}/x\n"),
                &[],
            )
            .ok();
    }
    let mount = |target: &str| {
        let hex =
            world.program(["sh", "-c", &format!("printf /{target} | sha256sum | cut -c 1-64")]).run().text();
        world.root().join("build/mounts").join(hex).join("0")
    };
    let age = |target: &str, days: u64| {
        let then = SystemTime::now() - Duration::from_secs(days * 86_400);
        fs::File::open(mount(target)).and_then(|file| file.set_modified(then)).expect("our own directory");
    };
    age("1", 3);
    age("2", 5);
    assert_eq!(prune(world, &["--keep-storage", "1200000"]), "1.01MB");
    assert!(mount("1").exists() && !mount("2").exists());
    assert_eq!(prune(world, &["--filter", "until=96h"]), "0B");
    assert_eq!(prune(world, &["--filter", "unused-for=48h"]), "1.01MB");

    ground.build("RUN --mount=type=cache,target=/1 touch /1/x\n", &["--no-cache"]).ok();
    age("1", 70);
    ground.build("RUN true\n", &[]).ok();
    assert!(mount("1").exists(), "it is looked for once a day");
    let marker = world.root().join("build/pruned");
    let then = SystemTime::now() - Duration::from_secs(2 * 86_400);
    fs::File::options()
        .write(true)
        .open(marker)
        .and_then(|file| file.set_modified(then))
        .expect("the marker");
    ground.build("RUN true\n", &[]).ok();
    assert!(!mount("1").exists());
}
