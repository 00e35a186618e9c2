//! Many at once: whoever comes second is told so, and nobody is harmed.

use minidocker_tests::bundle::Runtime;
use minidocker_tests::{Output, emulated};

/// Runs all of them at the same time.
fn at_once(count: usize, work: impl Fn(usize) -> Output + Sync) -> Vec<Output> {
    let gate = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        let one = |number| {
            gate.wait();
            work(number)
        };
        let all: Vec<_> = (0..count).map(|number| scope.spawn(move || one(number))).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// The number of successes; every other must have said one of `words`.
#[track_caller]
fn successes(outputs: &[Output], words: &[&str]) -> usize {
    for output in outputs.iter().filter(|output| output.code != 0) {
        assert!(words.iter().any(|word| output.err().contains(word)), "{output:?}");
    }
    outputs.iter().filter(|output| output.code == 0).count()
}

#[test]
fn a_hundred_creates_at_once() {
    let count = if emulated() { 10 } else { 100 };
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundles: Vec<_> = (0..count).map(|_| runtime.bundle(&root).args(["/inside", "pause"])).collect();
    let gate = std::sync::Barrier::new(count);
    let containers: Vec<_> = std::thread::scope(|scope| {
        let one = |bundle| {
            let gate = &gate;
            scope.spawn(move || {
                gate.wait();
                minidocker_tests::bundle::Bundle::create(bundle)
            })
        };
        let all: Vec<_> = bundles.iter().map(one).collect();
        all.into_iter().map(|thread| thread.join().expect("created")).collect()
    });
    let list = runtime.call(["list", "--format", "json"]).run().json();
    let statuses: Vec<_> =
        list.as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, vec!["created"; count]);
    let started = at_once(count, |number| containers[number].call(&["start"]).run());
    assert_eq!(successes(&started, &[]), count);
    for container in &containers {
        container.until("ready");
    }
    let deleted = at_once(count, |number| containers[number].call(&["delete", "--force"]).run());
    assert_eq!(successes(&deleted, &[]), count);
}

#[test]
fn of_many_starts_one_succeeds() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    for _ in 0..5 {
        let container = runtime.bundle(&root).shell("echo ran; exec /inside pause").create();
        let outputs = at_once(4, |_| container.call(&["start"]).run());
        assert_eq!(successes(&outputs, &["cannot start an already running container"]), 1);
        container.until("ready");
        assert_eq!(container.out(), "ran\nready\n", "once");
        container.remove();
    }
}

#[test]
fn of_many_creates_with_one_id_one_succeeds() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    for _ in 0..5 {
        let bundle = runtime.bundle(&root).args(["/inside", "true"]);
        bundle.write();
        let words = ["create", "--bundle", bundle.directory().to_str().unwrap(), bundle.id()];
        // Its program keeps the streams: to nowhere.
        let nowhere = ["sh", "-c", "exec \"$@\" > /dev/null 2> \"$0\"", &runtime.path("err")];
        let outputs = at_once(4, |number| {
            let mut nowhere = nowhere.map(str::to_owned);
            nowhere[3].push_str(&number.to_string());
            let wrapper: Vec<&str> = nowhere.iter().map(String::as_str).collect();
            let mut output = runtime.call(words).through(&wrapper).run();
            output.stderr = std::fs::read(&nowhere[3]).unwrap();
            output
        });
        assert_eq!(successes(&outputs, &["already exists"]), 1);
        let state = runtime.call(["state", bundle.id()]).run().json();
        assert_eq!(state["status"], "created");
        runtime.call(["delete", bundle.id()]).run().prints("");
    }
}

#[test]
fn of_many_deletes_all_are_content() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    for force in [true, false] {
        let container = runtime.bundle(&root).create();
        let words: &[&str] = if force { &["delete", "--force"] } else { &["delete"] };
        let outputs = at_once(4, |_| container.call(words).run());
        let succeeded = successes(&outputs, &["does not exist"]);
        assert!(succeeded == 4 || !force && succeeded >= 1, "{outputs:?}");
        assert!(runtime.states().is_empty());
    }
}

#[test]
fn many_programs_enter_at_once() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let container = runtime.bundle(&root).args(["/inside", "pause"]).detached();
    let outputs = at_once(20, |number| container.exec(["/inside", "exit", &number.to_string()]).run());
    let codes: Vec<i32> = outputs.iter().map(|output| output.code).collect();
    assert_eq!(codes, (0..20).collect::<Vec<_>>());
    container.remove();
}

/// A container's end in the middle of whatever else is done to it: an answer each, and it can be deleted.
#[test]
fn everything_at_once_on_one_that_ends() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    for _ in 0..5 {
        let container = runtime.bundle(&root).args(["/inside", "pause"]).detached();
        container.until("ready");
        let outputs = at_once(8, |number| match number {
            0 => runtime.call(["kill", container.id(), "KILL"]).run(),
            1 | 2 => container.exec(["/inside", "true"]).run(),
            3 => container.call(&["state"]).run(),
            4 => container.call(&["pause"]).run(),
            5 => container.call(&["ps"]).run(),
            6 => runtime.call(["list"]).run(),
            _ => container.call(&["events", "--stats"]).run(),
        });
        for output in &outputs {
            assert!(!output.err().contains("panicked"), "{output:?}");
            // An exec'd program may be killed with the container.
            assert!(matches!(output.code, 0 | 1 | 137 | 255), "{output:?}");
        }
        container.remove();
    }
}
