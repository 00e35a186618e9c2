//! Standard streams pass through unharmed, whoever is slow, closed or gone.

use std::time::Duration;

use minidocker_tests::World;

/// Bytes of every value in no order that a terminal or a line buffer would like.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn a_megabyte_goes_both_ways_at_once() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let bytes = noise(1 << 20);
    let output =
        world.call(["run", "--rm", "-i", "--rootfs", &root, "/inside", "cat"]).stdin(bytes.clone()).run();
    let output = output.ok();
    assert!(output.stdout == bytes, "{} bytes came back of {}", output.stdout.len(), bytes.len());
    assert_eq!(output.err(), "");
}

#[test]
fn without_i_nothing_goes_in() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    world.call(["run", "--rm", "--rootfs", &root, "/inside", "cat"]).stdin("for nobody").run().prints("");
}

#[test]
fn an_open_input_is_read_as_it_comes() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let mut running =
        world.call(["run", "--rm", "-i", "--rootfs", &root, "/inside", "cat"]).stdin_open().spawn();
    running.type_in(b"first\n");
    running.until("first\n");
    running.type_in(b"second\n");
    running.until("second\n");
    assert!(running.is_alive());
    running.end_input();
    running.wait().prints("first\nsecond\n");
}

#[test]
fn a_program_that_reads_nothing_ends_in_peace() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let call = world.call(["run", "--rm", "-i", "--rootfs", &root, "/inside", "exit", "3"]);
    call.stdin(noise(4 << 20)).run().exits(3);
}

#[test]
fn closed_streams_are_no_obstacle() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let run = |options: &[&str], words: &[&str]| {
        world.call([&["run", "--rm", "--rootfs", root.as_str()], options, words].concat())
    };
    run(&["-i"], &["cat"]).stdin_closed().run().prints("");
    run(&[], &["sh", "-c", "cat; echo end"]).stdin_closed().run().prints("end\n");
    let closed = |redirection: &str| format!("exec \"$@\" {redirection}");
    run(&[], &["sh", "-c", "echo lost; exit 3"]).through(&["sh", "-c", &closed(">&-"), "sh"]).run().exits(3);
    run(&[], &["sh", "-c", "echo lost >&2; exit 3"])
        .through(&["sh", "-c", &closed("2>&-"), "sh"])
        .run()
        .exits(3);
    let all = closed("<&- >&- 2>&-");
    run(&["-i"], &["sh", "-c", "cat; echo x; exit 3"]).through(&["sh", "-c", &all, "sh"]).run().exits(3);
    let output = run(&["-d", "--name", "none"], &["true"]).through(&["sh", "-c", &all, "sh"]).run().exits(0);
    assert_eq!((output.out(), output.err()), (String::new(), String::new()));
}

#[test]
fn both_outputs_arrive_whole_and_apart() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "yes error | head -c 1000000 >&2 & yes output | head -c 1500000; wait";
    let output = world.minidocker(["run", "--rm", "--rootfs", &root, "sh", "-c", script]).ok();
    let is_all = |bytes: &[u8], word: &[u8], length: usize| {
        bytes.len() == length && bytes.iter().zip(word.iter().cycle()).all(|(a, b)| a == b)
    };
    assert!(is_all(&output.stdout, b"output\n", 1_500_000), "{output:?}");
    assert!(is_all(&output.stderr, b"error\n", 1_000_000), "{output:?}");
}

#[test]
fn a_slow_reader_gets_everything() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "yes | head -c 5000000";
    let call = world.call(["run", "--rm", "--rootfs", &root, "sh", "-c", script]);
    call.through(&["sh", "-c", "\"$@\" | { sleep 0.7; wc -c; }", "sh"]).run().prints("5000000\n");
}

#[test]
fn a_reader_that_leaves_ends_the_container() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    for (options, words) in [
        // The kernel spares PID 1 the SIGPIPE: the program sees EPIPE, and this one says so.
        (&[][..], "yes: (null): Broken pipe\n"),
        (&["--init"], ""),
    ] {
        let call = world.call([&["run", "--rm", "--rootfs", &root], options, &["yes"]].concat());
        let call = call.patience(Duration::from_secs(10));
        let output = call.through(&["sh", "-c", "\"$@\" | head -n 2", "sh"]).run();
        assert_eq!((output.out().as_str(), output.err().as_str()), ("y\ny\n", words));
    }
}

#[test]
fn what_is_left_running_does_not_hold_the_streams() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let output = world.minidocker(["run", "--rm", "--rootfs", &root, "sh", "-c", "sleep 1000 & echo hi"]);
    assert!(output.time < Duration::from_secs(20), "{output:?}");
    output.prints("hi\n");
}

#[test]
fn only_the_attached_streams_are_shown() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "echo out; echo err >&2";
    let run = |stream: &str| {
        world.minidocker(["run", "--rm", "-a", stream, "--rootfs", &root, "sh", "-c", script]).ok()
    };
    let (out, err) = (run("stdout"), run("stderr"));
    assert_eq!((out.out().as_str(), out.err().as_str()), ("out\n", ""));
    assert_eq!((err.out().as_str(), err.err().as_str()), ("", "err\n"));
}

#[test]
fn the_program_has_three_descriptors_and_no_more() {
    let world = World::new();
    let root = world.rootfs_inside();
    for options in [&[][..], &["-i"], &["--init"]] {
        let facts = world.facts_in(&root, options);
        let fds = facts["fds"].as_object().expect("the descriptors");
        assert_eq!(fds.keys().collect::<Vec<_>>(), ["0", "1", "2"], "with {options:?}: {fds:?}");
    }
    // What the caller leaves open does not leak in.
    let call = world.call(["run", "--rm", "--rootfs", &root.overlay(), "/inside", "facts"]);
    let facts = call.through(&["sh", "-c", "exec \"$@\" 7</etc/passwd 8</", "sh"]).run().json();
    let fds = facts["fds"].as_object().expect("the descriptors");
    assert_eq!(fds.keys().collect::<Vec<_>>(), ["0", "1", "2"], "{fds:?}");
}
