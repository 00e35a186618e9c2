//! The same commands for Docker and for minidocker, one after the other, and what both answered compared: exit codes,
//! columns, fields of JSON, templates, the words of an error. `script.rs` has the commands, `differences.rs` what is
//! different on purpose, each with its reason: a difference that is not listed fails, and so does one that is listed
//! and no longer there.

mod compare;
mod differences;
mod docker;
mod script;

use std::collections::BTreeSet;

use minidocker_tests::{Output, World};

use compare::{Difference, compare};
use differences::KEPT;
use docker::Docker;
use script::{IMAGE, SCRIPT, Step};

/// An engine's command line.
trait Engine {
    /// Runs one command to its end.
    fn run(&self, words: &[&str]) -> Output;
    /// A directory for its files: the same name stands for each engine's own.
    fn directory(&self) -> String;
}

impl Engine for World {
    fn run(&self, words: &[&str]) -> Output {
        self.minidocker(words)
    }

    fn directory(&self) -> String {
        World::directory(self).display().to_string()
    }
}

/// What each step of the script gave.
fn play(engine: &dyn Engine) -> Vec<Output> {
    let directory = engine.directory();
    let one = |step: &Step| {
        let words: Vec<String> = step.words.iter().map(|word| word.replace("DIR", &directory)).collect();
        engine.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    SCRIPT.iter().map(one).collect()
}

#[test]
fn docker_and_minidocker_answer_the_same() {
    let (docker, world) = (Docker::new(), World::new());
    // One image for both, with the same id.
    let archive = world.directory().join("image.tar");
    let archive = archive.to_str().expect("text");
    docker.save(IMAGE, archive);
    world.minidocker(["load", "-i", archive]).ok();
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| play(&docker));
        let ours = play(&world);
        (theirs.join().expect("Docker's part"), ours)
    });
    let mut found = BTreeSet::new();
    for ((step, theirs), ours) in SCRIPT.iter().zip(&theirs).zip(&ours) {
        assert!(!ours.err().contains("panicked") && !ours.err().contains("internal:"), "{ours:?}");
        found.extend(
            compare(step, theirs, ours).into_iter().map(|difference| told(&difference, theirs, ours)),
        );
    }
    let listed: Vec<&str> = KEPT.iter().flat_map(|(_, all)| *all).copied().collect();
    let is_listed = |line: &str| listed.iter().any(|row| differences::means(row, line));
    let news: Vec<&String> = found.iter().map(|(line, _)| line).filter(|line| !is_listed(line)).collect();
    let gone: Vec<&&str> =
        listed.iter().filter(|row| !found.iter().any(|(line, _)| differences::means(row, line))).collect();
    for (line, shown) in found.iter().filter(|(line, _)| !is_listed(line)) {
        eprintln!("== {line}\n{shown}");
    }
    assert!(
        news.is_empty() && gone.is_empty(),
        "differences that differences.rs does not list:\n{news:#?}\nlisted there and no longer so:\n{gone:#?}"
    );
}

/// A difference in a line, and both answers.
fn told(difference: &Difference, theirs: &Output, ours: &Output) -> (String, String) {
    (difference.to_string(), format!("{theirs:?}\n{ours:?}\n"))
}
