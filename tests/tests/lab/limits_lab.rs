//! What every environment is given holds, whatever version of control groups the machine has: in the QEMU machine with
//! version 2 this runs too, for its name says `limits`.

use std::fs;

use minidocker_tests::{Version, World};

use crate::{Results, alone, fine};

/// Whose program every machine has.
const SUITE: &str = r#"
name = "own"
title = "Own"
[[case]]
name = "count"
title = "Counts"
reader = "time"
run = ["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]
[[case]]
name = "memory"
title = "Holds 40 MB for a moment"
reader = "time"
run = ["sh", "-c", "head -c 50000000 /dev/zero | tail -c 40000000 | { sleep 2; cat >/dev/null; }"]
"#;

#[test]
fn processors_and_memory_hold_in_a_short_run() {
    let _alone = alone();
    let world = World::new();
    let results = Results(world.directory().join("results"));
    let suite = world.directory().join("own.toml");
    fs::write(&suite, SUITE).expect("our own file");
    let suite = suite.to_str().expect("text");
    let words = [suite, "--env", "native,container", "--size", "192m/1cpu", "--repeat", "1"];
    fine(results.bench(&world, &words).run());
    for environment in ["native", "container"] {
        for what in ["processors", "memory"] {
            let (verdict, found) = results.check(&format!("{environment}-192m-1cpu"), what);
            assert_eq!(verdict, "held", "{environment}, {what}: {found}");
        }
    }
    let all = results.measurements();
    assert_eq!(all.len(), 4);
    for (measurement, text) in all {
        let which = measurement["slot"].to_string();
        assert_eq!(measurement["problem"], "", "{which}\n{text}");
        let cost =
            |name: &str| measurement["cost"][name].as_f64().unwrap_or_else(|| panic!("{which}: no {name}"));
        if measurement["slot"]["case"] == "memory" {
            // The group of the lab holds what the environment's own group below it holds.
            assert!(cost("memory_peak") >= 40e6, "{which}: {} bytes at most", cost("memory_peak"));
        } else {
            let used = cost("user") + cost("system");
            assert!(used > 0.0 && used <= cost("wall") * 1.15, "{which}: {used} of {} s", cost("wall"));
        }
    }
    let version = results.read("run.json")["host"]["cgroup"].as_str().expect("text").to_owned();
    assert!(version.starts_with(Version::pick("1", "2")), "{version}");
    results.expect_nothing_else(&world);
}
