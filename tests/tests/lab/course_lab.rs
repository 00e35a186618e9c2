//! Short runs of the shipped suites, whose figures are compared with sysbench's own output and the kernel's counters.

use std::fs;

use minidocker_tests::{World, need};
use serde_json::Value;

use crate::{Results, alone, fine};

/// The number behind a label of sysbench's report, as its own reader does not read it.
fn printed(text: &str, label: &str) -> f64 {
    let line = text.lines().rev().find(|line| line.trim_start().starts_with(label)).expect(label);
    let rest = line.trim_start()[label.len()..].trim();
    rest.trim_end_matches('s').parse().expect("a number")
}

/// Bytes that a block device has read and written since the boot.
fn sectors(disk: &str) -> [f64; 2] {
    let text = fs::read_to_string("/proc/diskstats").expect("the kernel's counters");
    let fields = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let fields = fields.into_iter().find(|fields| fields[2] == disk).expect(disk);
    [5, 9].map(|place| fields[place].parse::<f64>().expect("a number") * 512.0)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_course_says_what_sysbench_and_the_kernel_say() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let words = ["course", "--env", "native,container", "--size", "256m/1cpu", "--repeat", "1"];
    let words = [&words[..], &["--time-scale", "0.03", "--case", "cpu,fileio-rndrw,fileio-seqrd"]].concat();
    let counters = |path: &str| fs::read_to_string(path).expect(path);
    let root = counters("/proc/self/mountinfo");
    let disk = root.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("the root's mount");
    let source = disk.split(" - ").nth(1).and_then(|rest| rest.split(' ').nth(1)).expect("its device");
    let name = fs::canonicalize(source).ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let before = name.as_ref().map(|name| sectors(name));
    fine(results.bench(&world, &words).run());
    let run = results.read("run.json");
    assert_eq!(run["order"].as_array().expect("slots").len(), 6);
    assert_eq!(run["host"]["cpus"], std::thread::available_parallelism().expect("processors").get());

    let mut read_cold = 0.0;
    for (measurement, text) in results.measurements() {
        let which = measurement["slot"].to_string();
        assert_eq!(measurement["problem"], "", "{which}");
        let metric = |name: &str| number(&measurement["metrics"][name]);
        assert_eq!(metric("total_time"), printed(&text, "total time:"), "{which}");
        assert_eq!(metric("total_events"), printed(&text, "total number of events:"), "{which}");
        assert!((metric("latency_max") * 1e3 - printed(&text, "max:")).abs() < 1e-6, "{which}");
        let phases = measurement["phases"].as_array().expect("phases");
        let phase = |name: &str| phases.iter().find(|phase| phase["name"] == name);
        let run = phase("run").expect("a run");
        let wall = number(&run["end"]) - number(&run["start"]);
        assert!(wall >= metric("total_time"), "{which}: {wall}");
        let cost = &measurement["cost"];
        let used = number(&cost["user"]) + number(&cost["system"]);
        // One processor, and what starts and waits for it.
        assert!(used > 0.0 && used <= wall * 1.15, "{which}: {used} of {wall} s");
        if measurement["slot"]["case"] == "cpu" {
            assert_eq!(metric("events_per_second"), printed(&text, "events per second:"), "{which}");
            // Threads that only compute are in user space.
            assert!(number(&cost["user"]) > number(&cost["system"]), "{which}");
        } else {
            assert!(phase("cold").is_some() && phase("prepare").is_some(), "{which}");
            read_cold += number(&cost["disk_read"]);
            assert!(number(&cost["disk_read"]) > 0.0, "{which}: the caches were not dropped");
        }
        let series = results.read(&format!("series/{:05}.json", number(&measurement["slot"]["number"])));
        let at: Vec<f64> = series["at"].as_array().expect("moments").iter().map(number).collect();
        assert!(at.len() > 3 && at.is_sorted(), "{which}: {at:?}");
        for curve in series["curves"].as_array().expect("curves") {
            let values = curve["values"].as_array().expect("values");
            assert_eq!(values.len(), at.len(), "{which}");
            assert!(values.iter().filter_map(Value::as_f64).all(|value| value >= 0.0), "{which} {curve}");
        }
    }
    if let (Some(name), Some(before)) = (&name, before)
        && run["host"]["disk"].as_str().expect("text").ends_with(&format!(" on {name}"))
    {
        let all = sectors(name)[0] - before[0];
        assert!(read_cold <= all, "{read_cold} of {all} bytes that the disk read in all");
    }
    for environment in ["native", "container"] {
        let file = format!("{environment}-256m-1cpu");
        let (verdict, found) = results.check(&file, "memory");
        assert_eq!(verdict, "held", "{environment}: {found}");
        let (verdict, found) = results.check(&file, "processors");
        assert_eq!(verdict, "held", "{environment}: {found}");
    }
    results.expect_nothing_else(&world);
}

#[test]
fn the_five_commands_of_the_loop_suite_run_everywhere() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let environments = "native,container:overlay,container:loop,container:host";
    let words = ["loop", "--env", environments, "--size", "512m/1cpu"];
    let words =
        [&words[..], &["--repeat", "1", "--time-scale", "0.02", "--case", "cpu,memory-100,memory-1m,fileio"]];
    fine(results.bench(&world, &words.concat()).run());
    let all = results.measurements();
    assert_eq!(all.len(), 16);
    for (measurement, text) in all {
        let which = measurement["slot"].to_string();
        assert_eq!(measurement["problem"], "", "{which}\n{text}");
        if measurement["slot"]["case"] == "memory-1m" {
            let line = text.lines().find(|line| line.contains("MiB transferred (")).expect("its result");
            let (_, rate) = line.split_once('(').expect("its rate");
            let rate: f64 = rate.split(' ').next().and_then(|rate| rate.parse().ok()).expect("a number");
            let told = number(&measurement["metrics"]["throughput"]);
            assert!((told - rate * 1048576.0).abs() < 1.0, "{which}: {told} of {rate}");
            assert_eq!(number(&measurement["metrics"]["threads"]), 1.0);
        }
    }
    results.expect_nothing_else(&world);
}

/// On the host's own files a loop device takes no copy of the machine, and what is written lies on it all the same.
#[test]
fn what_is_written_lies_on_a_loop_device() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let suite = world.directory().join("own.toml");
    let text = "name = \"own\"\ntitle = \"Own\"\n[[case]]\nname = \"where\"\ntitle = \"Where\"\nreader = \"time\"\n\
                run = [\"df\", \"-P\", \"-B1M\", \".\"]\n";
    fs::write(&suite, text).expect("our own file");
    let suite = suite.to_str().expect("text");
    let words = [suite, "--env", "container:loop", "--size", "256m/1cpu", "--repeat", "1"];
    fine(results.bench(&world, &words).run());
    let all = results.measurements();
    let [(measurement, text)] = all.as_slice() else { panic!("not one measurement") };
    assert_eq!(measurement["problem"], "", "{text}");
    let size = text.lines().last().and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    // 64 GiB less what an ext4 keeps for itself.
    assert!(size.is_some_and(|mib| (60 << 10..64 << 10).contains(&mib)), "{text}");
    let phases = measurement["phases"].as_array().expect("phases");
    let start = phases.iter().find(|phase| phase["name"] == "start").expect("a start");
    let took = number(&start["end"]) - number(&start["start"]);
    assert!(took < 30.0, "a start took {took} s");
    let described =
        results.read("run.json")["environments"][0]["description"].as_str().expect("text").to_owned();
    assert!(described.contains("overlay whose layer is an ext4 on a loop device"), "{described}");
    results.expect_nothing_else(&world);
}

#[test]
fn starts_and_density_are_told() {
    let _alone = alone();
    let world = World::new();
    let results = Results::of(&world);
    let suite = world.directory().join("own.toml");
    let text = "name = \"own\"\ntitle = \"Own\"\n\
        [[case]]\nname = \"start\"\ntitle = \"Start\"\nstart = { count = 3 }\nrun = [\"/bin/true\"]\n\
        [[case]]\nname = \"two\"\ntitle = \"Two\"\ndensity = 2\nrun = [\"/bin/sleep\", \"3600\"]\n\
        [[case]]\nname = \"wrong\"\ntitle = \"Wrong\"\nreader = \"time\"\nrun = [\"sh\", \"-c\", \"echo no luck >&2; exit 3\"]\n";
    fs::write(&suite, text).expect("our own file");
    let suite = suite.to_str().expect("text");
    let words = [suite, "--env", "native,container", "--size", "256m/1cpu", "--repeat", "1"];
    // One case fails on purpose: the others are measured, and the exit code says so.
    let output = results.bench(&world, &words).run().exits(1);
    assert!(
        output.out().contains("6 of 6 measurements") && output.out().contains("2 of them failed"),
        "{}",
        output.out()
    );
    let mut medians = Vec::new();
    for (measurement, _) in results.measurements() {
        let metric = |name: &str| number(&measurement["metrics"][name]);
        match measurement["slot"]["case"].as_str().expect("text") {
            "start" => {
                assert_eq!(metric("starts"), 3.0);
                assert!(
                    metric("start_min") <= metric("start_median")
                        && metric("start_median") <= metric("start_max")
                );
                let is_container = measurement["slot"]["environment"] == "container";
                medians.push((is_container, metric("start_median")));
                let steps = measurement["steps"].as_array().expect("steps");
                assert_eq!(steps.is_empty(), !is_container, "{steps:?}");
            }
            "two" => assert_eq!(metric("instances"), 2.0),
            _ => {
                assert_eq!(
                    (&measurement["exit_code"], &measurement["metrics"]),
                    (&3.into(), &serde_json::json!({}))
                );
                assert_eq!(measurement["problem"], "sh ended with 3: no luck");
            }
        }
    }
    medians.sort_by(|one, other| one.1.total_cmp(&other.1));
    assert_eq!(medians.iter().map(|one| one.0).collect::<Vec<_>>(), [false, true], "{medians:?}");
    results.expect_nothing_else(&world);
}

#[test]
fn a_machine_is_measured_as_the_others_are() {
    let _alone = alone();
    let world = World::new();
    need("qemu-system-x86_64");
    let results = Results::of(&world);
    let words =
        ["course", "--env", "native,vm", "--size", "512m/1cpu", "--repeat", "1", "--time-scale", "0.02"];
    fine(results.bench(&world, &[&words[..], &["--case", "cpu,fileio-rndrw"]].concat()).run());
    let mut cpu = Vec::new();
    for (measurement, text) in results.measurements() {
        let which = measurement["slot"].to_string();
        assert_eq!(measurement["problem"], "", "{which}\n{text}");
        let cost = &measurement["cost"];
        let used = number(&cost["user"]) + number(&cost["system"]);
        assert!(used > 0.0 && used <= number(&cost["wall"]) * 1.15, "{which}: {used} s");
        if measurement["slot"]["case"] == "cpu" {
            let is_machine = measurement["slot"]["environment"] == "vm";
            cpu.push((number(&measurement["metrics"]["events_per_second"]), is_machine));
        } else {
            assert!(number(&cost["disk_read"]) > 0.0, "{which}: the caches were not dropped");
        }
    }
    // Whatever emulates or guards a machine, it is not faster than what is below it.
    cpu.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert_eq!(cpu.iter().map(|one| one.1).collect::<Vec<_>>(), [true, false], "{cpu:?}");
    let environments = results.read("run.json")["environments"].clone();
    let machine = environments.as_array().expect("environments").iter().find(|one| one["name"] == "vm");
    let description = machine.expect("the machine")["description"].as_str().expect("text").to_owned();
    assert!(description.starts_with("QEMU") && description.contains(", Linux "), "{description}");
    for what in ["memory", "disk"] {
        let (verdict, found) = results.check("vm-512m-1cpu", what);
        assert_eq!(verdict, "held", "{what}: {found}");
    }
    let (verdict, found) = results.check("vm-512m-1cpu", "processors");
    assert_ne!(verdict, "differs", "{found}");
    results.expect_nothing_else(&world);
}
