//! Environments that are given something else than the suite asks for are caught.

use minidocker_tests::World;

use crate::{Results, alone, fine};

const CASE: [&str; 8] = ["course", "--case", "cpu", "--repeat", "1", "--time-scale", "0.03", "--env"];

#[test]
fn a_container_with_one_processor_of_two_is_caught() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let words =
        [&CASE[..], &["native,container", "--size", "256m/2cpu", "--option", "container=--cpus=1"]].concat();
    let output = fine(results.bench(&world, &words).run());
    let (verdict, found) = results.check("container-256m-2cpu", "processors");
    assert!(verdict == "differs" && found.ends_with("lets it have 1.00"), "{verdict}: {found}");
    assert!(output.err().contains("container 256m/2cpu: processors DIFFERS"), "{}", output.err());
    assert!(
        output.err().contains("warning: not what was asked for: container 256m/2cpu"),
        "{}",
        output.err()
    );
    let (verdict, found) = results.check("native-256m-2cpu", "processors");
    assert_eq!(verdict, "held", "{found}");
    results.expect_nothing_else(&world);
}

#[test]
fn a_throttled_disk_and_a_smaller_memory_are_caught() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let directory = world.directory().to_str().expect("text");
    let device = world.program(["findmnt", "-n", "-o", "SOURCE", "--target", directory]).run().text();
    let throttle = format!("container=--device-write-bps={device}:1m");
    let words = [
        "native,container",
        "--size",
        "256m/1cpu",
        "--option",
        &throttle,
        "--option",
        "container=--memory=128m",
    ];
    let words = [&CASE[..], &words[..], &["--option", "container=--memory-swap=128m"]].concat();
    fine(results.bench(&world, &words).run());
    let (verdict, found) = results.check("container-256m-1cpu", "disk");
    assert!(verdict == "differs" && found.contains("the bare host writes"), "{verdict}: {found}");
    let (verdict, found) = results.check("container-256m-1cpu", "memory");
    assert!(verdict == "differs" && found.starts_with("killed at 1"), "{verdict}: {found}");
    for what in ["disk", "memory"] {
        let (verdict, found) = results.check("native-256m-1cpu", what);
        assert_eq!(verdict, "held", "{what}: {found}");
    }
    results.expect_nothing_else(&world);
}

#[test]
fn a_container_that_leaves_out_fsync_is_caught() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let words =
        ["native,container", "--size", "256m/1cpu", "--option", "container=--storage-opt=volatile=true"];
    fine(results.bench(&world, &[&CASE[..], &words[..]].concat()).run());
    let (verdict, found) = results.check("container-256m-1cpu", "disk");
    assert!(verdict == "differs" && found.contains("of them landed on"), "{verdict}: {found}");
    let (verdict, found) = results.check("native-256m-1cpu", "disk");
    assert_eq!(verdict, "held", "{found}");
    results.expect_nothing_else(&world);
}

/// An emulator that tells the guest a third of the truth about its clock, as counting against a timer on a busy host can.
#[test]
fn a_machine_whose_clock_is_too_fast_has_no_figures() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let bin = world.directory().join("bin");
    std::fs::create_dir(&bin).expect("our own");
    let emulator = bin.join("qemu-system-x86_64");
    let script = "#!/bin/bash\nwords=()\nfor word; do\n    if [[ $word == *tsc_early_khz=* ]]; then\n        \
                  khz=${word##*tsc_early_khz=}\n        word=${word%$khz}$((khz / 3))\n    fi\n    words+=(\"$word\")\ndone\n\
                  PATH=${PATH#*:} exec qemu-system-x86_64 \"${words[@]}\"\n";
    std::fs::write(&emulator, script).expect("our own");
    std::fs::set_permissions(&emulator, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("our own");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("text"));
    let words = ["course", "--case", "cpu", "--repeat", "1", "--time-scale", "0.3", "--env", "vm"];
    let call = results.bench(&world, &[&words[..], &["--size", "512m/1cpu"]].concat());
    let output = call.env("PATH", &path).run();
    let (measurement, _) = &results.measurements()[0];
    let problem = measurement["problem"].as_str().expect("text");
    assert!(
        problem.starts_with("its clock went ") && problem.contains(" times as fast"),
        "{problem}\n{output:?}"
    );
    assert!(measurement["metrics"].as_object().expect("metrics").is_empty(), "{measurement}");
    results.expect_nothing_else(&world);
}
