//! What cannot be done is one line with the way out, and nothing is written.

use std::fs;

use minidocker_tests::{Output, World, need};

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

/// Words before a command that has a mount namespace of its own, in which these lines were done.
fn apart(lines: &str) -> [String; 6] {
    let script = format!("set -e; {lines}; exec \"$@\"");
    ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned)
}

/// One line and its hint, behind those of the progress.
#[track_caller]
fn refused(output: Output, told: &[&str], hint: &str) {
    let output = output.exits(1);
    let text = output.err();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("trying ")).collect();
    let [error, advice] = lines.as_slice() else { panic!("not one line and its hint: {output:?}") };
    assert!(
        error.starts_with("error: ") && advice.starts_with("hint: ") && advice.contains(hint),
        "{output:?}"
    );
    assert!(told.iter().all(|word| error.contains(word)), "{told:?} in {output:?}");
}

/// What of the host's ground is missing or too small is told with the package or the way out, before anything is written.
#[test]
fn broken_ground_is_told_with_the_way_out() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    need("qemu-system-x86_64");
    let size = ["--size", "256m/1cpu"];
    // Only what the bench needs besides is in PATH.
    let programs = world.directory().join("programs");
    fs::create_dir(&programs).expect("our directory");
    let path = programs.to_str().expect("text").to_owned();
    let native = ["course", "--case", "cpu", "--env", "native", size[0], size[1]];
    let machine = ["course", "--case", "cpu", "--env", "native,vm", size[0], size[1]];
    let cases: [(&[&str], &str, &[&str], &str); 5] = [
        (&native, "PATH", &["sysbench", "is not installed", "the case cpu needs it"], "the package sysbench"),
        (
            &machine,
            "PATH",
            &["qemu-system-x86_64", "is not installed", "--env vm needs it"],
            "the package qemu-system-x86",
        ),
        (
            &machine,
            "mount -t tmpfs none /boot",
            &["vm", "does not start (125)", "/boot", "no kernel with modules"],
            "linux-image-cloud-amd64",
        ),
        (
            &machine,
            "mount -t tmpfs none /lib/modules",
            &["vm", "does not start (125)", "/boot", "no kernel with modules in /lib/modules"],
            "linux-image-cloud-amd64",
        ),
        (
            &machine,
            "for file in /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd; do \
             if [ -e $file ]; then mount --bind /dev/null $file; fi; done",
            &["vm", "does not start (125)", "virtiofsd", "is not installed"],
            "virtiofsd",
        ),
    ];
    for (words, how, told, hint) in cases {
        let call = results.bench(&world, words);
        let output = if how == "PATH" {
            call.env("PATH", &path).run()
        } else {
            call.through(&apart(how).each_ref().map(String::as_str)).run()
        };
        refused(output, told, hint);
        assert!(!results.0.exists(), "{how}");
    }
    world.expect_nothing_left();

    // A small disk: too small for what is copied there, and then for what the case writes.
    let directory = results.0.to_str().expect("text").to_owned();
    fs::create_dir(&results.0).expect("our directory");
    let own = fs::metadata(world.minidocker_path()).expect("the program").len() >> 20;
    for (words, mib) in [
        (&native[..], 32),
        (&["course", "--case", "fileio-rndrw", "--env", "native", size[0], size[1]], own + 128),
    ] {
        let mount = format!("mount -t tmpfs -o size={mib}m none {directory}");
        let see = "\"$@\" || { code=$?; ls -A";
        let script = format!("set -e; {mount}; {see} {directory} >&2; exit $code; }}");
        let call = results.bench(&world, words).through(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
        // What ls(1) would show is a line more than a refusal has.
        call.run().refuses(1, &["MiB are free", "the largest case needs"]).hints("a larger disk by -o");
    }
    fs::remove_dir(&results.0).expect("it is empty");
    world.finish();
}

#[test]
fn a_suite_that_is_written_wrong_is_told_by_its_line() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let suite = world.directory().join("own.toml");
    let path = suite.to_str().expect("text").to_owned();
    let head = "name = \"x\"\ntitle = \"X\"\n[[case]]\nname = \"a\"\ntitle = \"A\"\nreader = \"time\"\n";
    for (rest, told) in [
        ("run = \"true\"\n", &["line 7", "expected a sequence"][..]),
        ("run = [\"true\"]\ntime = \"long\"\n", &["line 8", "expected f64"]),
        ("run = [\"true\"]\ncold = 1\n", &["line 8", "expected a boolean"]),
        (
            "run = [\"true\"]\npublished = [{ source = \"s\", environment = \"e\", kind = \"vm\", metric = \"total_time\", ratio = 2 }]\n",
            &["line 8", "a ratio needs what it is to"],
        ),
    ] {
        fs::write(&suite, format!("{head}{rest}")).expect("our file");
        results.bench(&world, &[&path, "--env", "native", "--size", "256m/1cpu"]).run().refuses(1, told);
        assert!(!results.0.exists(), "{rest}");
    }
    results
        .bench(&world, &["./none.toml", "--env", "native", "--size", "256m/1cpu"])
        .run()
        .refuses(1, &["none.toml", "no such file"])
        .hints("bench list");
    // What an environment cannot have at all is told before the run, with the cases that it can.
    let words = [
        "survey",
        "--env",
        "native,vm",
        "--size",
        "256m/1cpu",
        "--case",
        "cpu-one,network-host,latency-host",
    ];
    let output = results.bench(&world, &words).run();
    output.refuses(1, &["network-host", "vm has a network of its own"]).hints("--case cpu-one");
    assert!(!results.0.exists());
    world.finish();
}
