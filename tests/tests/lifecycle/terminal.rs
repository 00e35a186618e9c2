//! The terminal: sizes, keys, job control, detaching, and the user's own settings restored on every way out.

use minidocker_tests::{Pty, World, until};
use serde_json::Value;

fn restored(terminal: &Pty) {
    until("the settings of the user's terminal are restored", || {
        terminal.settings() == terminal.settings_before()
    });
}

#[test]
fn it_is_a_terminal_with_its_size_from_the_start() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let mut terminal = world.call(["run", "--rm", "-it", "--rootfs", &root, "/inside", "facts"]).pty(31, 99);
    let output = terminal.wait().ok();
    restored(&terminal);
    let facts: Value = serde_json::from_str(&output.out()).expect("facts");
    for stream in ["0", "1", "2"] {
        let tty = &facts["tty"][stream];
        assert_eq!((&tty["rows"], &tty["columns"]), (&31.into(), &99.into()), "{tty}");
        assert_eq!(tty["name"], "/dev/pts/0");
        assert_eq!(tty["foreground"], 1, "{tty}");
    }
    assert_eq!(facts["tty"]["controlling"], true);
    assert_eq!(facts["session"], 1);
    assert_eq!(facts["dev"]["console"]["type"], "char", "{}", facts["dev"]);
    assert_eq!(facts["env"]["TERM"], "xterm");
}

#[test]
fn the_console_is_the_terminal() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "echo over the console > /dev/console; tty; echo through tty > /dev/tty";
    let mut terminal = world.pty(["run", "--rm", "-it", "--rootfs", &root, "sh", "-c", script]);
    assert_eq!(terminal.wait().ok().out(), "over the console\r\n/dev/pts/0\r\nthrough tty\r\n");
}

#[test]
fn it_follows_the_users_window() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let mut terminal =
        world.call(["run", "--rm", "-it", "--rootfs", &root, "/inside", "winsize-watch"]).pty(30, 100);
    terminal.until("30 100\r\n");
    for (rows, columns) in [(40, 120), (10, 20), (300, 1000)] {
        terminal.resize(rows, columns);
        terminal.until(&format!("{rows} {columns}\r\n"));
    }
    terminal.running().signal(15);
    terminal.wait().exits(0);
    restored(&terminal);
}

#[test]
fn a_shell_with_job_control() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let mut terminal = world.pty(["run", "--rm", "-it", "-h", "administrator", "--rootfs", &root, "sh"]);
    terminal.until("# ");
    assert_ne!(terminal.settings(), terminal.settings_before(), "raw while it runs");
    terminal.type_in("echo pid $$ on $(hostname)\r");
    terminal.until("\r\npid 1 on administrator\r\n");
    terminal.type_in("sleep 1000\r");
    terminal.until("sleep 1000\r\n");
    // Interrupts what is in the foreground, and not the shell; typed again where the shell was not done with the start.
    until("the shell asks again", || {
        terminal.type_in("\x03");
        std::thread::sleep(std::time::Duration::from_millis(100));
        terminal.screen().rsplit("sleep 1000\r\n").next().is_some_and(|since| since.contains("# "))
    });
    terminal.type_in("echo code $?\r");
    terminal.until("\r\ncode 130\r\n");
    terminal.type_in("exit 3\r");
    terminal.wait().exits(3);
    restored(&terminal);
}

#[test]
fn ctrl_c_goes_to_the_program() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let mut terminal = world.pty(["run", "--rm", "-it", "--rootfs", &root, "sh", "-c", script]);
    terminal.until("ready");
    terminal.type_in("\x03");
    terminal.until("caught");
    terminal.wait().exits(9);
    restored(&terminal);
}

#[test]
fn output_is_not_processed_twice() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let mut terminal = world.pty(["run", "--rm", "-it", "--rootfs", &root, "echo", "one\ntwo"]);
    assert_eq!(terminal.wait().ok().out(), "one\r\ntwo\r\n");
    restored(&terminal);
}

#[test]
fn much_typed_at_once_arrives_in_order() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "stty -echo; echo ready; head -n 400 | md5sum";
    let mut terminal = world.pty(["run", "--rm", "-it", "--rootfs", &root, "sh", "-c", script]);
    terminal.until("ready\r\n");
    let lines: String = (0..400).map(|number| format!("line {number} of what was pasted here\n")).collect();
    terminal.type_in(&lines);
    let sum = world.program(["busybox", "md5sum"]).stdin(lines).run().text();
    assert_eq!(terminal.wait().ok().out(), format!("ready\r\n{sum}\r\n"));
}

#[test]
fn the_detach_keys_leave_the_container_running() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for (options, keys) in [(&[][..], "\x10\x11"), (&["--detach-keys", "ctrl-a,x"], "\x01x")] {
        let words =
            [&["run", "--rm", "-it", "--name", "web"], options, &["--rootfs", &root, "/inside", "pause"]];
        let mut terminal = world.pty(words.concat());
        terminal.until("ready");
        terminal.type_in("typed");
        terminal.type_in(keys);
        let output = terminal.wait().exits(0);
        restored(&terminal);
        assert!(!output.out().contains("error"), "{output:?}");
        assert_eq!(world.minidocker(["ps", "--format", "{{.Names}} {{.State}}"]).text(), "web running");
        world.minidocker(["rm", "-f", "web"]).ok();
        world.expect_nothing_left();
    }
}

#[test]
fn kill_9_of_the_command_restores_the_terminal() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let mut terminal = world.pty(["run", "--rm", "-it", "--rootfs", &root, "/inside", "pause"]);
    terminal.until("ready");
    assert_ne!(terminal.settings(), terminal.settings_before());
    terminal.running().signal(9);
    terminal.wait().exits(137);
    restored(&terminal);
    world.expect_nothing_left();
}

#[test]
fn a_start_that_fails_leaves_the_terminal_alone() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let mut terminal = world.pty(["run", "--rm", "-it", "--rootfs", &root, "/no-such-program"]);
    let output = terminal.wait().exits(127);
    restored(&terminal);
    // Told on a terminal, the words may have colours; they start a line and end it.
    assert!(output.out().contains("/no-such-program"), "{output:?}");
    assert!(!output.out().replace("\r\n", "").contains('\n'), "raw line ends: {output:?}");
}

#[test]
fn what_is_told_at_the_end_meets_a_terminal_in_order() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let limits = ["--memory", "10m", "--memory-swap", "10m"];
    let words =
        [&["run", "--rm", "-it"], &limits[..], &["--rootfs", &root, "/inside", "hog", "100m"]].concat();
    let mut terminal = world.pty(words);
    let output = terminal.wait().exits(137);
    restored(&terminal);
    assert!(output.out().contains("out of memory"), "{output:?}");
    assert!(!output.out().replace("\r\n", "").contains('\n'), "raw line ends: {output:?}");
}

#[test]
fn t_without_i_leaves_the_users_terminal_as_it_is() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "test -t 0 && test -t 1 && echo terminal; sleep 0.5";
    let mut terminal = world.pty(["run", "--rm", "-t", "--rootfs", &root, "sh", "-c", script]);
    terminal.until("terminal");
    assert_eq!(terminal.settings(), terminal.settings_before());
    terminal.wait().ok();
    // And where nobody has a terminal.
    world.minidocker(["run", "--rm", "-t", "--rootfs", &root, "tty"]).prints("/dev/pts/0\r\n");
}

#[test]
fn it_without_a_terminal_is_refused() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let call = world.call(["run", "--rm", "-it", "--rootfs", &root, "/inside", "true"]);
    call.stdin("x").run().refuses(1, &["not a TTY"]).hints("-t");
}

#[test]
fn a_closed_window_ends_the_container() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let words = world.call(["run", "--rm", "-it", "--rootfs", &root, "sh"]).quoted();
    // script(1) is the window: killed, its end of the terminal goes, and the kernel tells those inside.
    let mut window = world.program(["script", "-q", "-c", &words, "/dev/null"]).stdin_open().spawn();
    window.until("# ");
    window.type_in(b"echo here $$\n");
    window.until("here 1");
    window.signal(9);
    window.wait().exits(137);
    world.expect_nothing_left();
}
