//! A run that is killed leaves nothing that the next one does not find, and goes on where it was.

use std::fs;

use minidocker_tests::World;

use crate::{Results, alone, fine};

const WORDS: [&str; 11] = [
    "course",
    "--case",
    "cpu",
    "--env",
    "native,container",
    "--size",
    "256m/1cpu",
    "--repeat",
    "3",
    "--time-scale",
    "0.03",
];
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let running = results.bench(&world, &WORDS).spawn();
    results.until_made(2);
    running.signal(SIGKILL);
    running.wait();
    let made = results.made();
    assert!(made.len() < 6, "it was over before it was killed");
    let run = fs::read(results.0.join("run.json")).expect("the run");
    let first = fs::read(results.0.join("measurements/00001.json")).expect("a measurement");

    let other: Vec<&str> = WORDS.iter().map(|word| if *word == "3" { "4" } else { word }).collect();
    let refused = results.bench(&world, &other).run();
    let words = refused.err();
    assert!(words.starts_with("error: ") && words.contains("it has another run: --repeat differ"), "{words}");
    assert_eq!(results.made(), made);

    let output = fine(results.bench(&world, &WORDS).run());
    assert!(output.out().starts_with("6 of 6 measurements"), "{}", output.out());
    assert_eq!(results.made(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(fs::read(results.0.join("run.json")).expect("the run"), run);
    assert_eq!(fs::read(results.0.join("measurements/00001.json")).expect("a measurement"), first);
    results.expect_nothing_else(&world);
}

#[test]
fn a_run_that_is_told_to_end_ends_all_that_it_started() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let running = results.bench(&world, &WORDS).spawn();
    results.until_made(1);
    running.signal(SIGTERM);
    let output = running.wait().exits(128 + SIGTERM);
    assert!(output.out().contains("the same command goes on with it"), "{}", output.out());
    results.expect_nothing_else(&world);
}
