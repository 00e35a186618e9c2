use super::*;
use crate::fixture;

fn find(results: &Results, environment: &str, words: &str) -> Option<Explanation> {
    let analysis = Analysis::of(results);
    explain(&analysis).into_iter().find(|one| {
        let tells =
            one.environment == environment || one.environment.is_empty() && one.text.contains(environment);
        tells && one.text.contains(words)
    })
}

#[test]
fn extra_time_of_an_emulated_machine_is_its_emulators() {
    let mut results = fixture::course();
    let found = find(&results, "vm", "each guest instruction is translated").unwrap();
    assert!(found.text.contains("user time of the emulator"), "{}", found.text);
    // Per event: (29.6 / 0.19 - 29.6) user, (0.3 / 0.19 - 0.1) kernel time more.
    let share = (29.6 / 0.19 - 29.6) / (29.9 / 0.19 - 29.7);
    let cpu = found.figures.iter().find(|figure| figure.place == "cpu, 2g/1cpu").unwrap();
    assert!((cpu.value - share).abs() < 0.001, "{} is not {share}", cpu.value);
    assert!(find(&results, "container", "user time").is_none());
    results.measurements.iter_mut().for_each(|one| one.cost.user = None);
    assert!(find(&results, "vm", "user time").is_none());
}

#[test]
fn without_emulation_nothing_is_said_of_it() {
    let mut results = fixture::course();
    let vm = &mut results.run.environments[2];
    vm.description = "QEMU 7.2 by KVM".to_owned();
    vm.facts.clear();
    assert!(find(&results, "vm", "translated").is_none());
    assert!(find(&results, "vm", "the guest's own").is_none());
    results.measurements.iter_mut().for_each(|one| one.cost.guest = Some(28.0));
    assert!(find(&results, "vm", "the guest's own").is_some());
}

#[test]
fn each_sentence_needs_its_figures() {
    let mut results = fixture::course();
    for words in ["throttled", "came out of memory", "Other machines", "still in memory"] {
        assert!(find(&results, "container", words).is_none(), "{words}");
    }
    for one in &mut results.measurements {
        one.cost.throttled = Some(one.cost.wall / 4.0);
        one.cost.disk_read = one.cost.disk_read.map(|_| 0);
        one.cost.steal = Some(one.cost.wall * 0.1);
    }
    let throttled = find(&results, "container", "throttled for 25 % of the run").unwrap();
    assert_eq!(throttled.figures.len(), 6);
    assert!(find(&results, "container", "the device read only 0 B").is_some());
    assert!(find(&results, "container", "took 5.0 % of the processors\u{2019} time").is_some());
    results.measurements.iter_mut().for_each(|one| one.cost = Cost::default());
    for words in ["throttled", "came out of memory", "Other machines", "memory of native"] {
        assert!(find(&results, "vm", words).is_none(), "{words}");
    }
}

#[test]
fn writes_that_stay_in_memory_are_told_beside_the_bare_host() {
    let mut results = fixture::course();
    results.run.cases[1].metrics[0].name = "written".to_owned();
    results.run.cases[1].headline = "written".to_owned();
    for one in results.measurements.iter_mut().filter(|one| one.slot.case == "fileio") {
        let rate = one.metrics["throughput"];
        one.metrics.insert("written".to_owned(), rate);
        let share = if one.slot.environment == "container" { 0.001 } else { 0.97 };
        one.cost.disk_written = Some((rate * one.cost.wall * share) as u64);
    }
    let found = find(&results, "container", "had reached the device when the run ended").unwrap();
    assert!(
        found.text.contains("0.1 % had") && found.text.contains("of what native wrote 97 % had"),
        "{}",
        found.text
    );
    assert!(find(&results, "vm", "had reached the device").is_none());
    results.measurements.retain(|one| one.slot.environment == "container");
    assert!(find(&results, "container", "the rest was still in memory").is_some());
}

#[test]
fn threads_are_nothing_that_is_read() {
    let mut results = fixture::course();
    let metric = |name: &str, unit: &str| Metric {
        name: name.to_owned(),
        title: name.to_owned(),
        unit: unit.to_owned(),
        better: Better::Higher,
    };
    assert!(
        is_rate_of(&metric("read_throughput", "B/s"), &["read"])
            && !is_rate_of(&metric("queries_read", ""), &["read"])
    );
    results.run.cases[1].metrics = vec![metric("threads", "1/s"), metric("throughput", "B/s")];
    for one in results.measurements.iter_mut().filter(|one| one.slot.case == "fileio") {
        one.metrics.insert("threads".to_owned(), 16.0);
        one.cost.disk_read = Some(0);
    }
    assert!(find(&results, "native", "came out of memory").is_none());
    results.run.cases[1].metrics.push(metric("reads", "1/s"));
    assert!(find(&results, "native", "came out of memory").is_some());
}

#[test]
fn the_largest_step_and_the_series_speak() {
    let mut results = fixture::course();
    let steps = find(&results, "vm", "largest step").unwrap();
    assert!(steps.text.contains("\u{201c}kernel\u{201d}: 60 %"), "{}", steps.text);
    assert!(find(&results, "native", "The device was busy for").is_some());
    assert!(find(&results, "native", "waiting for the disk").is_some());
    results.series.clear();
    results.measurements.iter_mut().for_each(|one| one.steps.clear());
    for words in ["largest step", "device was busy", "waiting for the disk"] {
        assert!(find(&results, "vm", words).is_none(), "{words}");
    }
}

#[test]
fn memory_and_spread() {
    let results = fixture::course();
    assert!(find(&results, "vm", "takes 11.9 times the memory of native").is_some());
    assert!(find(&results, "container", "the memory of").is_none());
    let spread = find(&results, "container", "spread by").unwrap();
    assert_eq!(
        spread.figures.iter().map(|figure| figure.place.as_str()).collect::<Vec<_>>(),
        ["fileio, 2g/1cpu in container"]
    );
    assert!(find(&results, "native", "Repetitions").is_none());
}

#[test]
fn a_run_without_measurements_has_nothing_to_say() {
    assert_eq!(explain(&Analysis::of(&fixture::empty())), []);
}
