//! Builds that are killed: what was done counts, what was half is gone, and no container stays.

use std::fs;

use minidocker_tests::registry::noise;
use minidocker_tests::{Running, until};

use crate::ground::{Ground, all_cached, names, steps};

/// Waits until something of a build's words is there.
#[track_caller]
fn until_command_runs(ground: &Ground) {
    let group = ground.world.cgroup_parent();
    until("a command of the build runs", || {
        fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            words.starts_with(b"sleep\x00654321") && groups.contains(&group)
        })
    });
}

const SLOW: &str = "RUN echo first > /first\nRUN echo half > /half && sleep 654321\n";

#[track_caller]
fn expect_works_again(ground: &Ground) {
    // Any command that makes or looks after containers sweeps.
    ground.world.minidocker(["ps", "-a"]).ok();
    let quick = SLOW.replace(" && sleep 654321", "");
    let after = ground.build(&quick, &[]).ok();
    assert_eq!(steps(&after), (1, 1), "the first step was done before: {after:?}");
    all_cached(&ground.build(&quick, &[]).ok());
    ground.expect_nothing_left();
}

fn running(ground: &Ground) -> Running {
    ground.dockerfile(SLOW);
    let running = ground.call(&[]).spawn();
    until_command_runs(ground);
    running
}

#[test]
fn killed_in_the_middle_of_a_command() {
    let ground = Ground::new();
    for _ in 0..3 {
        let build = running(&ground);
        build.signal(9);
        build.wait().exits(128 + 9);
    }
    expect_works_again(&ground);
}

#[test]
fn ended_by_ctrl_c_and_by_sigterm() {
    for signal in [2, 15, 1] {
        let ground = Ground::new();
        let build = running(&ground);
        build.signal(signal);
        let output = build.wait();
        assert!(output.code != 0, "{output:?}");
        expect_works_again(&ground);
    }
}

#[test]
fn a_build_on_a_terminal_ends_with_ctrl_c() {
    let ground = Ground::new();
    ground.dockerfile(SLOW);
    let mut build = ground.call(&[]).pty(24, 80);
    until_command_runs(&ground);
    build.type_in("\x03");
    assert!(build.wait().code != 0);
    expect_works_again(&ground);
}

#[test]
fn killed_in_the_middle_of_a_copy() {
    let ground = Ground::new();
    for number in 0..8 {
        ground.context.file(&format!("big/{number}"), noise(8 << 20, number));
    }
    let dockerfile = "RUN echo first > /first\nCOPY big /big\nRUN ls /big | wc -l > /count\n";
    ground.dockerfile(dockerfile);
    let work = ground.world.root().join("build/work");
    for _ in 0..3 {
        let build = ground.call(&[]).spawn();
        until("a copy is on its way", || {
            let scratches = names(&work).into_iter().flat_map(|build| {
                let build = work.join(build);
                names(&build).into_iter().map(move |number| build.join(number).join("fs/big"))
            });
            scratches.into_iter().any(|path| !names(&path).is_empty())
        });
        build.signal(9);
        let code = build.wait().code;
        assert_eq!(code, 137, "it ended before it could be killed");
    }
    let after = ground.build(dockerfile, &[]).ok();
    assert_eq!(steps(&after), (1, 2), "{after:?}");
    let out = ground.files(dockerfile, &[]);
    assert_eq!(fs::read_to_string(out.path().join("count")).expect("that file"), "8\n");
    assert_eq!(names(&out.path().join("big")).len(), 8);
    ground.expect_nothing_left();
}

#[test]
fn killed_at_any_moment_the_next_build_works() {
    let ground = Ground::new();
    ground.context.file("a", noise(1 << 20, 1));
    let dockerfile = |round: u32| {
        format!(
            "ENV ROUND={round}\nRUN echo 1 > /1\nCOPY a /$ROUND/\n\
            RUN --mount=type=cache,target=/c echo 2 > /2\nWORKDIR /w\nRUN cat /1 /2\n"
        )
    };
    let whole = ground.build(&dockerfile(1000), &[]).ok().time;
    let mut killed = 0;
    for round in 0..20_u32 {
        ground.dockerfile(&dockerfile(round));
        let build = ground.call(&["-t", "killed:1"]).spawn();
        // Spread over the time that the whole takes, in no order.
        std::thread::sleep(whole * (round * 7 % 20) / 20);
        build.signal(9);
        killed += usize::from(build.wait().code == 137);
        if round % 5 == 4 {
            let again = ground.build(&dockerfile(round), &["-t", "killed:1"]).ok();
            drop(again);
            // What was dying when that build began is the next command's.
            ground.world.minidocker(["ps", "-a"]).ok();
            ground.expect_nothing_left();
            ground.world.minidocker(["image", "prune", "-f"]).ok();
            assert_eq!(names(&ground.world.root().join("ingest")), Vec::<String>::new());
            let said = ground.world.minidocker(["run", "--rm", "killed:1", "cat", "/1", "/2"]).text();
            assert_eq!(said, "1\n2");
        }
    }
    assert!(killed >= 5, "only {killed} of 20 were killed before their end");
}
