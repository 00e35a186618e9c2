//! Descriptors handed to the engine (a terminal, a pidfd), and those handed to the program.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use minidocker_tests::bundle::{Receiver, Runtime, Terminal, becomes_readable};
use serde_json::json;

use crate::refused;

/// A caller with files open at 3, 4 and 5.
const OPEN: [&str; 4] = ["bash", "-c", "exec 3</etc/passwd 4</etc/group 5</etc; exec \"$@\"", "bash"];

/// The same started by systemd with one socket (here a file): sd_listen_fds(3).
const LISTENING: [&str; 4] = [
    "bash",
    "-c",
    "exec 3</etc/passwd 4</etc/group 5</etc; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"",
    "bash",
];

#[test]
fn the_terminal_is_sent_and_works() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let console = Receiver::at(&runtime.path("console"));
    let script = "tty; stty size; stat -c '%t:%T' -L /dev/console $(tty); \
        echo type; read line; echo \"<$line>\"; stty size; read line";
    let bundle = runtime
        .bundle(&root)
        .shell(script)
        .with("/process/terminal", true)
        .with("/process/consoleSize", json!({ "height": 31, "width": 77 }));
    let container = bundle.launch(&[], "create", &["--console-socket", &console.path()]).unwrap();
    let (_, outer) = console.receive();
    let terminal = Terminal::over(outer);
    container.start();
    let screen = terminal.until("type\r\n");
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines[..2], ["/dev/pts/0", "31 77"]);
    assert_eq!(lines[2], lines[3], "/dev/console is the terminal: {screen}");
    terminal.resize(40, 100);
    terminal.type_in("hello\n");
    terminal.until("<hello>\r\n40 100\r\n");
    // It controls the program: ctrl-c reaches it.
    terminal.type_in("\x03");
    container.wait();
    assert_eq!((container.out().as_str(), container.err().as_str()), ("", ""), "nothing beside the terminal");
    container.remove();
}

#[test]
fn a_detached_run_and_an_exec_have_terminals_too() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let console = Receiver::at(&runtime.path("console"));
    let options = ["--detach", "--console-socket", &console.path()];
    let bundle = runtime.bundle(&root).args(["/inside", "pause"]).with("/process/terminal", true);
    let container = bundle.launch(&[], "run", &options).unwrap();
    let first = Terminal::over(console.receive().1);
    first.until("ready");
    let options = ["--tty", "--console-socket", &console.path()];
    let _streams =
        container.exec_detached(&options, ["sh", "-c", "tty; echo type; read line; echo \"<$line>\""]);
    let second = Terminal::over(console.receive().1);
    assert!(second.until("type").starts_with("/dev/pts/1\r\n"));
    second.type_in("again\n");
    second.until("<again>");
    container.remove();
}

#[test]
fn terminals_and_sockets_that_do_not_go_together_are_refused() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let console = Receiver::at(&runtime.path("console"));
    let (with, without) = (runtime.bundle(&root).with("/process/terminal", true), runtime.bundle(&root));
    let socket = ["--console-socket", &console.path()];
    let word = "cannot allocate tty if runc will detach without setting console socket";
    refused(with.launch(&[], "create", &[]).unwrap_err(), 1, &[word]);
    refused(with.launch(&[], "run", &["-d"]).unwrap_err(), 1, &[word]);
    let word = "cannot use console socket if runc will not detach or allocate tty";
    refused(without.launch(&[], "create", &socket).unwrap_err(), 1, &[word]);
    refused(with.launch(&[], "run", &socket).unwrap_err(), 1, &[word]);
    let nowhere = ["--console-socket", "/no/such/socket"];
    refused(with.launch(&[], "create", &nowhere).unwrap_err(), 1, &["/no/such/socket"]);
    assert!(runtime.states().is_empty());
}

/// The process that a pidfd means: proc_pid_fdinfo(5).
fn process_of(pidfd: &OwnedFd) -> String {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    text.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned()
}

#[test]
fn a_pidfd_is_sent() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let socket = Receiver::at(&runtime.path("pidfd"));
    let bundle = runtime.bundle(&root).args(["/inside", "pause"]);
    let container = bundle.launch(&[], "create", &["--pidfd-socket", &socket.path()]).unwrap();
    let (_, init) = socket.receive();
    assert_eq!(process_of(&init), container.pid().to_string());
    container.start();
    container.until("ready");
    let pid_file = runtime.path("pid");
    let options = ["--pidfd-socket", &socket.path(), "--pid-file", &pid_file];
    let streams = container.exec_detached(&options, ["/inside", "pause"]);
    streams.until("ready");
    let (_, exec) = socket.receive();
    assert_eq!(process_of(&exec), fs::read_to_string(&pid_file).unwrap());
    container.kill("KILL");
    assert!(becomes_readable(&init) && becomes_readable(&exec), "both have ended");
    container.remove();
}

/// The descriptors that `/inside facts` found, from 3 on.
fn beyond_streams(facts: &serde_json::Value) -> Vec<(String, String)> {
    let fds = facts["fds"].as_object().unwrap();
    let all = fds.iter().map(|(number, target)| (number.clone(), target.as_str().unwrap().to_owned()));
    all.filter(|(number, _)| number.parse::<u32>().unwrap() > 2).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(number, target)| ((*number).to_owned(), (*target).to_owned())).collect()
}

#[test]
fn descriptors_are_preserved_when_asked() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let two = pairs(&[("3", "/etc/passwd"), ("4", "/etc/group")]);
    let bundle = runtime.bundle(&root);
    for (options, expected) in [(&["--preserve-fds", "2"][..], &two), (&[], &pairs(&[]))] {
        let facts = bundle.call("run", options).through(&OPEN).run().json();
        assert_eq!(&beyond_streams(&facts), expected, "run {options:?}");
        let container = bundle.launch(&OPEN, "create", options).unwrap();
        container.start();
        let facts = serde_json::from_str(&container.all_out()).unwrap();
        assert_eq!(&beyond_streams(&facts), expected, "create {options:?}");
        container.remove();
    }
    let container = bundle.args(["/inside", "pause"]).detached();
    container.until("ready");
    let exec = |options| container.exec_with(options, ["/inside", "facts"]).through(&OPEN).run();
    assert_eq!(beyond_streams(&exec(&["--preserve-fds", "2"]).json()), two);
    assert_eq!(beyond_streams(&exec(&[]).json()), pairs(&[]));
    // Whatever is opened later would take the number of one that is not open.
    refused(exec(&["--preserve-fds", "4"]), 255, &["unable to stat preserved-fd 3 (of 4)"]);
    container.remove();
}

#[test]
fn sockets_of_systemd_are_handed_on() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root);
    let one = [("3", "/etc/passwd")];
    let facts = bundle.call("run", &[]).through(&LISTENING).run().json();
    assert_eq!(beyond_streams(&facts), pairs(&one));
    assert_eq!((&facts["env"]["LISTEN_FDS"], &facts["env"]["LISTEN_PID"]), (&json!("1"), &json!("1")));
    // Preserved ones come after them.
    let facts = bundle.call("run", &["--preserve-fds", "1"]).through(&LISTENING).run().json();
    assert_eq!(beyond_streams(&facts), pairs(&[("3", "/etc/passwd"), ("4", "/etc/group")]));
    // Meant for another process they are nobody's.
    let facts = bundle.call("run", &[]).env("LISTEN_FDS", "1").env("LISTEN_PID", "1").through(&OPEN).run();
    let facts = facts.json();
    assert_eq!(beyond_streams(&facts), pairs(&[]));
    assert_eq!(facts["env"].get("LISTEN_FDS"), None);
}

/// `_ses.ID` in /proc/keys as root sees it.
fn has_keyring(id: &str) -> bool {
    fs::read_to_string("/proc/keys").unwrap().contains(&format!("_ses.{id}"))
}

#[test]
fn a_session_keyring_of_its_own_unless_refused() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    for (options, own) in [(&[][..], true), (&["--no-new-keyring"], false)] {
        let id = format!("{}-{own}", runtime.world().name());
        let bundle = runtime.bundle(&root).named(&id);
        let container = bundle.launch(&[], "create", options).unwrap();
        assert_eq!(has_keyring(&id), own, "{options:?}");
        container.remove();
    }
}
