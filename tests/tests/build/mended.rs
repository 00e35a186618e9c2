//! What once was wrong, and is to stay right.

use minidocker_tests::World;
use minidocker_tests::registry::noise;
use serde_json::json;

use crate::failures::fails;
use crate::ground::{Ground, names, text};

#[test]
fn the_stage_that_failed_is_told_and_not_one_that_waited_for_it() {
    let ground = Ground::new();
    let dockerfile = "FROM base:1 AS a\nRUN sleep 0.2; exit 7\nFROM a AS b\nRUN true\nFROM base:1\n\
        COPY --from=b /etc/passwd /p\nCOPY --from=a /etc/group /g\n";
    for _ in 0..10 {
        fails(ground.build(dockerfile, &[]), 2, "exit code 7");
    }
    ground.expect_nothing_left();
}

#[test]
fn a_base_without_path_gets_the_common_one() {
    let ground = Ground::new();
    let archive = ground.world.directory().join("base.tar");
    ground.world.minidocker(["import", text(&archive), "bare:1"]).ok();
    let id = ground.id("FROM bare:1\nENV PATH=/opt/bin:$PATH\nRUN env > /env\n", &[]);
    let path = "PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(ground.config(&id)["Env"], json!([path]));
}

#[test]
fn two_dollars_are_a_variable_that_is_not_set() {
    let ground = Ground::new();
    let id = ground.id("ENV OLD=x\nLABEL a=$$OLD\n", &[]);
    assert_eq!(ground.config(&id)["Labels"]["a"], "OLD");
}

#[test]
fn an_import_with_a_change_can_be_the_first_thing_in_a_store() {
    let ground = Ground::new();
    let archive = ground.world.directory().join("base.tar");
    let fresh = World::new();
    fresh.minidocker(["import", "-c", "CMD [\"sh\"]", text(&archive), "fresh:1"]).ok();
    assert_eq!(crate::ground::config(&fresh, "fresh:1")["Cmd"], json!(["sh"]));
}

#[test]
fn a_change_may_be_a_trigger() {
    let ground = Ground::new();
    let archive = ground.world.directory().join("base.tar");
    ground.world.minidocker(["import", "-c", "ONBUILD RUN true", text(&archive), "changed:1"]).ok();
    assert_eq!(ground.config("changed:1")["OnBuild"], json!(["RUN true"]));
}

#[test]
fn a_change_that_is_refused_leaves_no_image() {
    let ground = Ground::new();
    let archive = ground.world.directory().join("base.tar");
    let images = || ground.world.minidocker(["images", "-aq"]).ok().out();
    let before = images();
    ground.world.minidocker(["import", "-c", "RUN true", text(&archive), "bad:1"]).refuses(1, &["--change"]);
    assert_eq!(images(), before);
}

#[test]
fn a_build_from_the_cache_is_the_same_image() {
    let ground = Ground::new();
    let dockerfile = "FROM base:1 AS one\nRUN echo x > /x && sleep 0.1\nRUN true\n\
                      FROM base:1\nRUN echo x > /x && sleep 0.1\nCOPY --from=one /x /y\n";
    for _ in 0..5 {
        let first = ground.id(dockerfile, &["--no-cache", "--jobs", "4"]);
        assert_eq!(ground.id(dockerfile, &[]), first);
    }
}

#[test]
fn of_a_line_without_end_a_part_is_shown() {
    let ground = Ground::new();
    let said = fails(ground.build(&format!("FOO {}\n", "x".repeat(1 << 20)), &[]), 2, "FOO");
    assert!(said.len() < 1 << 14, "{} bytes", said.len());
}

/// As Docker and Podman have it: whoever builds such a link may keep it, and nobody takes it from others.
#[test]
fn a_link_above_the_root_is_built_and_refused_by_who_loads_it() {
    let ground = Ground::new();
    ground.context.directory("d");
    ground.context.link("d/up", "../../../x");
    ground.dockerfile("COPY d /d\n");
    ground.call(&["-t", "up:1"]).run().ok();
    let archive = ground.world.directory().join("up.tar");
    ground.world.minidocker(["save", "-o", text(&archive), "up:1"]).ok();
    let other = World::new();
    other.minidocker(["load", "-i", text(&archive)]).refuses(1, &["d/up"]);
    assert_eq!(other.minidocker(["images", "-q"]).ok().out(), "");
}

#[test]
fn the_next_build_sweeps_half_blobs() {
    let ground = Ground::new();
    ground.context.file("big", noise(32 << 20, 1));
    ground.dockerfile("COPY big /big\n");
    let ingest = ground.world.root().join("ingest");
    let killed = ground.call(&[]).spawn();
    minidocker_tests::until("a blob is on its way", || !names(&ingest).is_empty());
    killed.signal(9);
    killed.wait().exits(137);
    ground.build("RUN true\n", &[]).ok();
    assert_eq!(names(&ingest), Vec::<String>::new());
}

#[test]
fn a_new_cache_is_shared_at_the_same_time() {
    let ground = Ground::new();
    for round in 0..20 {
        // Each ends when all have begun.
        let stage = |number: u32| {
            format!(
                "FROM base:1 AS s{number}\nRUN --mount=type=cache,id={round},target=/m touch /m/{number} && i=0; \
                 while [ $(ls /m | wc -l) -lt 4 ]; do i=$((i+1)); [ $i -lt 1000 ] || exit 9; sleep 0.01; done; \
                 echo {round} > /{number}\n"
            )
        };
        let stages: String = (0..4).map(stage).collect();
        let copies: String = (0..4).map(|n| format!("COPY --from=s{n} /{n} /\n")).collect();
        ground.build(&format!("{stages}FROM scratch\n{copies}"), &["--jobs", "4"]).ok();
    }
}

/// It was looked whether to stop only when the container was silent.
#[test]
fn a_stage_that_never_falls_silent_is_stopped_with_the_others() {
    let ground = Ground::new();
    let dockerfile = "FROM base:1 AS talks\nRUN yes\nFROM base:1 AS fails\nRUN sleep 0.3; exit 3\nFROM base:1\n\
        COPY --from=talks /x /x\nCOPY --from=fails /y /y\n";
    fails(ground.build(dockerfile, &["-q", "--jobs", "2"]), 4, "exit code 3");
    ground.expect_nothing_left();
}
