//! `docker run`: what goes in, what comes out, how it ends.

use std::time::Duration;

use serde_json::json;

use super::{Docker, IMAGE};
use crate::{CATCHER, has, wait_for};

#[test]
fn a_program_gets_its_words_variables_and_place() {
    let docker = Docker::new();
    let options = ["-e", "A=b c", "-e", "EMPTY=", "-w", "/tmp", "-h", "name", "--domainname", "example"];
    let facts = docker.facts(&options);
    assert_eq!(facts["argv"], json!(["/inside", "facts"]));
    assert_eq!(facts["env"]["A"], "b c");
    assert_eq!(facts["env"]["EMPTY"], "");
    assert_eq!(facts["env"]["HOME"], "/root");
    assert_eq!(facts["cwd"], "/tmp");
    assert_eq!(facts["hostname"], "name");
    assert_eq!(facts["domainname"], "example");
    assert_eq!(facts["pid"], 1);
    assert_eq!(facts["ppid"], 0);
    assert_eq!(facts["fds"].as_object().expect("descriptors").len(), 3, "{}", facts["fds"]);
    // A place that the image does not have.
    assert_eq!(docker.run(&["-w", "/new/place", IMAGE, "pwd"]).text(), "/new/place");
    // Docker says which runtime it took.
    let id = docker.docker(["create", IMAGE, "true"]).text();
    assert_eq!(docker.inspect(&id, ".HostConfig.Runtime"), "minidocker");
    docker.remove(&[&id]);
    assert_eq!(docker.run(&["--runtime", "minidocker", IMAGE, "echo", "chosen"]).text(), "chosen");
}

#[test]
fn output_input_and_code_come_through() {
    let docker = Docker::new();
    let output = docker.run(&[IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7"]).exits(7);
    assert_eq!((output.out().as_str(), output.err().as_str()), ("out\n", "err\n"), "{output:?}");
    docker.run(&[IMAGE, "/inside", "exit", "255"]).exits(255);
    // As PID 1 of its namespace a program is not ended by a signal of its own; its child is.
    docker.run(&[IMAGE, "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).exits(137);
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let output = docker.call(["run", "--rm", "-i", IMAGE, "/inside", "cat"]).stdin(bytes.clone()).run().ok();
    assert_eq!(output.stdout.len(), bytes.len(), "{}", output.err());
    assert!(output.stdout == bytes, "the bytes came back as others");
}

#[test]
fn what_is_missing_is_127_and_what_cannot_run_is_126() {
    let docker = Docker::new();
    for (words, code, part) in [
        (vec![IMAGE, "/no/such/program"], 127, "/no/such/program"),
        (vec![IMAGE, "no-such-program"], 127, "no-such-program"),
        (vec![IMAGE, "/etc/not-executable"], 126, "permission denied"),
        (vec![IMAGE, "/etc"], 126, "/etc"),
    ] {
        let output = docker.run(&words).exits(code);
        assert_eq!(output.out(), "", "{output:?}");
        assert!(output.err().contains(part), "no `{part}` in {output:?}");
    }
    // It stays as a container that was created, and can be removed.
    let output = docker.docker(["run", "--name", "failed", IMAGE, "/no/such/program"]).exits(127);
    assert_eq!(docker.inspect("failed", ".State.Status"), "created", "{output:?}");
    assert_eq!(docker.inspect("failed", ".State.ExitCode"), 127, "{output:?}");
    docker.remove(&["failed"]);
    docker.expect_nothing_left();
}

#[test]
fn a_terminal_is_typed_on_and_resized() {
    let docker = Docker::new();
    let mut terminal = docker.call(["run", "--rm", "-it", "--name", "typed", IMAGE, "sh"]).pty(24, 80);
    terminal.until("# ");
    terminal.type_in("tty; stty size\r");
    terminal.until("/dev/pts/0\r\n24 80\r\n");
    terminal.type_in("ls -l /dev/console\r");
    terminal.until("136,   0");
    terminal.type_in("sleep 1000\r");
    // It has the terminal by the time that it has its name.
    wait_for("it sleeps", || has(docker.docker(["top", "typed"]).out(), "sleep 1000"));
    terminal.type_in("\x03");
    terminal.until("# ");
    terminal.type_in("exit 5\r");
    terminal.wait().exits(5);
    assert_eq!(terminal.settings(), terminal.settings_before());

    let words = ["run", "--rm", "-it", "--name", "watch", IMAGE, "/inside", "winsize-watch"];
    let mut terminal = docker.call(words).pty(24, 80);
    terminal.until("24 80");
    // The client may not listen for it yet: it asks for the first size before it does.
    let mut columns = 100;
    wait_for("the new size comes", || {
        columns += 1;
        terminal.resize(40, columns);
        has(terminal.screen(), "40 10")
    });
    docker.docker(["stop", "watch"]).ok();
    terminal.wait().ok();
}

#[test]
fn a_container_that_was_left_is_attached_to_again() {
    let docker = Docker::new();
    let mut terminal = docker.call(["run", "-it", "--name", "left", IMAGE, "sh"]).pty(24, 80);
    terminal.until("# ");
    terminal.type_in("\x10\x11");
    terminal.wait().ok();
    assert_eq!(docker.inspect("left", ".State.Running"), true);
    let mut terminal = docker.call(["attach", "left"]).pty(30, 90);
    terminal.type_in("stty size; exit 3\r");
    terminal.until("30 90");
    terminal.wait().exits(3);
}

#[test]
fn an_init_forwards_signals_and_reaps() {
    let docker = Docker::new();
    let facts = docker.facts(&["--init"]);
    assert_eq!(facts["processes"][0]["name"], "docker-init");
    assert_eq!(facts["ppid"], 1);
    let zombies = docker.run(&["--init", IMAGE, "/inside", "zombies", "5"]).json();
    assert_eq!(zombies, json!({"orphans": 5, "zombies": 0}));
    let id = docker.detached(&["--init", IMAGE, "sh", "-c", CATCHER]);
    docker.until_said(&id, "ready");
    docker.docker(["stop", "--time", "60", &id]).ok();
    assert_eq!(docker.inspect(&id, ".State.ExitCode"), 4);
}

#[test]
fn logs_and_wait_tell_the_same() {
    let docker = Docker::new();
    let script = "echo one; echo two >&2; sleep 0.2; echo three; exit 9";
    let id = docker.detached(&[IMAGE, "sh", "-c", script]);
    let waiting = docker.call(["wait", &id]).patience(Duration::from_secs(60)).spawn();
    let followed = docker.docker(["logs", "--follow", &id]).ok();
    assert_eq!((followed.out().as_str(), followed.err().as_str()), ("one\nthree\n", "two\n"), "{followed:?}");
    assert_eq!(waiting.wait().text(), "9");
    let logs = docker.docker(["logs", &id]).ok();
    assert_eq!((logs.out().as_str(), logs.err().as_str()), ("one\nthree\n", "two\n"), "{logs:?}");
    assert_eq!(docker.inspect(&id, ".State.Status"), "exited");
    // Started again, it says it again.
    docker.docker(["start", &id]).ok();
    assert_eq!(docker.docker(["wait", &id]).text(), "9");
    assert_eq!(docker.docker(["logs", &id]).ok().out(), "one\nthree\none\nthree\n");
}
