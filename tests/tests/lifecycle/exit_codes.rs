//! The exit code is the command's own; 128 and the signal; 127, 126, 125 where it never ran.

use minidocker_tests::World;

#[test]
fn the_commands_own_code_comes_back() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for code in [0, 1, 2, 42, 125, 128, 255] {
        let words = ["run", "--rm", "--rootfs", &root, "/inside", "exit", &code.to_string()];
        let output = world.minidocker(words).exits(code);
        assert_eq!((output.out(), output.err()), (String::new(), String::new()), "{output:?}");
    }
}

#[test]
fn a_signal_is_128_and_its_number() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    // Below an init: the kernel spares PID 1 of a namespace its own signals, see pid_namespaces(7).
    for signal in [1, 2, 6, 9, 11, 15] {
        let signal_text = signal.to_string();
        let words = ["run", "--rm", "--init", "--rootfs", &root, "/inside", "signal-self", &signal_text];
        world.minidocker(words).exits(128 + signal);
    }
}

#[test]
fn pid_1_survives_its_own_signals_and_not_the_hosts() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    world.minidocker(["run", "--rm", "--rootfs", &root, "/inside", "signal-self", "9"]).exits(99);

    let running = world.spawn(["run", "--rm", "--name", "one", "--rootfs", &root, "/inside", "pause"]);
    running.until("ready");
    world.minidocker(["kill", "one"]).prints("one\n");
    running.wait().exits(137);

    let running = world.spawn(["run", "--rm", "--name", "two", "--rootfs", &root, "/inside", "pause"]);
    running.until("ready");
    world.minidocker(["kill", "-s", "ABRT", "two"]).ok();
    // Even this one is spared where it has no handler for it; TERM has.
    world.minidocker(["kill", "-s", "SIGTERM", "two"]).ok();
    running.wait().exits(0);
}

#[test]
fn what_never_ran_is_127_126_or_125() {
    let world = World::new();
    let root = world.rootfs_busybox();
    root.file("plain", "#!/bin/sh\n");
    let root = root.overlay();
    let run =
        |words: &[&str]| world.minidocker([&["run", "--rm", "--rootfs", root.as_str()], words].concat());
    run(&["no-such-program"]).refuses(127, &["no-such-program", "not found"]);
    run(&["/bin/no-such-program"]).refuses(127, &["/bin/no-such-program", "no such file"]);
    run(&["/plain"]).refuses(126, &["/plain", "not executable"]);
    run(&["/etc"]).refuses(126, &["/etc", "directory"]);
    run(&["--memory", "10x", "true"]).refuses(125, &["--memory"]);
    run(&["--no-such-option", "true"]).refuses(125, &["--no-such-option"]);
}

#[test]
fn without_words_a_shell_runs() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let call = world.call(["run", "--rm", "-i", "--rootfs", &root]).stdin("echo $0 $$; exit 4\n");
    let output = call.run().exits(4);
    assert_eq!(output.out(), "sh 1\n");
}

#[test]
fn the_program_is_one_static_file() {
    let world = World::new();
    let output = world.program(["ldd", world.minidocker_path().to_str().expect("text")]).run();
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.err().contains("not a dynamic executable"), "{output:?}");
}
