//! What cannot be done is one line with the way out, and nothing is written.

use std::fs;

use minidocker_tests::World;

use crate::{Results, alone};

#[test]
fn what_is_not_known_is_told_with_what_is() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let suite = world.directory().join("own.toml");
    fs::write(&suite, "name = \"x\"\ntitle = \"X\"\n[[case]]\nname = \"a\"\nrun = [\"a\"]\ntitel = \"A\"\n")
        .expect("our file");
    let suite = suite.to_str().expect("text");
    let size = ["--size", "256m/1cpu"];
    let cases: [(&[&str], &[&str], &str); 9] = [
        (&["curse", size[0], size[1]], &["curse", "no suite of that name"], "did you mean course?"),
        (&[suite, size[0], size[1]], &["own.toml, line 6", "unknown field `titel`"], "bench.md"),
        (
            &["course", "--env", "jail", size[0], size[1]],
            &["jail", "no such environment"],
            "there are native",
        ),
        (&["course", "--env", "native", "--size", "2g"], &["--size 2g", "MEMORY/CPUS"], ""),
        (&["course", "--env", "native"], &["needs a size"], "--size 2g/1cpu"),
        (
            &["course", "--env", "native", "--size", "256m/999cpu"],
            &["999 processors are asked for"],
            "ask for fewer",
        ),
        (&["course", "--env", "native", "--size", "900t/1cpu"], &["MiB of memory are free"], "ask for less"),
        (
            &["course", "--env", "native", "--case", "gpu", size[0], size[1]],
            &["gpu", "no such case"],
            "there are cpu",
        ),
        (
            &["course", "--env", "native", "--time-scale", "1000", size[0], size[1]],
            &["MiB are free"],
            "larger disk",
        ),
    ];
    for (words, told, hint) in cases {
        let output = results.bench(&world, words).run().refuses(1, told);
        if !hint.is_empty() {
            output.hints(hint);
        }
        assert!(!results.0.exists(), "{words:?}");
    }
    // A suite whose program no machine has.
    let needy = world.directory().join("needy.toml");
    let text = "name = \"x\"\ntitle = \"X\"\n[[case]]\nname = \"a\"\ntitle = \"A\"\nreader = \"time\"\n\
                needs = [\"no-such-program\"]\nrun = [\"no-such-program\"]\n";
    fs::write(&needy, text).expect("our file");
    let words = [needy.to_str().expect("text"), "--env", "native", size[0], size[1]];
    let output = results.bench(&world, &words).run();
    output.refuses(1, &["no-such-program", "is not installed"]).hints("install the package no-such-program");
    assert!(!results.0.exists());
    // A directory that is somebody's.
    fs::create_dir(&results.0).expect("our directory");
    fs::write(results.0.join("letter.txt"), "dear").expect("our file");
    let words = ["course", "--env", "native", size[0], size[1]];
    results.bench(&world, &words).run().refuses(1, &["it has files that are of no run"]);
    assert_eq!(fs::read_dir(&results.0).expect("our directory").count(), 1);
    world.finish();
}
