//! `docker exec`: more programs in a container that runs.

use serde_json::json;

use super::{Docker, IMAGE};
use crate::lines;

#[test]
fn a_program_joins_with_streams_and_code() {
    let docker = Docker::new();
    let id = docker.detached(&["-e", "A=container", IMAGE, "/inside", "pause"]);
    let output = docker.docker(["exec", &id, "sh", "-c", "echo out; echo err >&2; exit 7"]).exits(7);
    assert_eq!((output.out().as_str(), output.err().as_str()), ("out\n", "err\n"), "{output:?}");
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let output = docker.call(["exec", "-i", &id, "/inside", "cat"]).stdin(bytes.clone()).run().ok();
    assert!(output.stdout == bytes, "{} bytes came back, {}", output.stdout.len(), output.err());
    docker.docker(["exec", &id, "sh", "-c", "kill -9 $$"]).exits(137);
    for (program, part) in [
        ("/no/such/program", "no such file or directory"),
        ("no-such-program", "no-such-program"),
        ("/etc/not-executable", "permission denied"),
    ] {
        let output = docker.docker(["exec", &id, program]);
        // Docker up to 20.10 has one code for all, and tells why on standard output.
        assert!(matches!(output.code, 126 | 127), "{output:?}");
        let told = format!("{}{}", output.out(), output.err());
        assert!(told.contains(program) && told.contains(part), "no `{part}` in {output:?}");
    }
}

#[test]
fn a_program_joins_as_whom_and_where_it_is_told() {
    let docker = Docker::new();
    let options = ["-e", "A=container", "--cap-drop", "NET_RAW", "--group-add", "7"];
    let id = docker.detached(&[&options[..], &[IMAGE, "/inside", "pause"]].concat());
    let facts = docker.docker(["exec", &id, "/inside", "facts"]).json();
    assert_eq!(facts["env"]["A"], "container");
    assert_eq!(facts["seccomp"], 2);
    assert_eq!(facts["capabilities"]["effective"].as_array().expect("a list").len(), 13);
    assert!(facts["pid"].as_i64() > Some(1), "{}", facts["pid"]);
    assert_eq!(facts["processes"].as_array().expect("a list").len(), 2);
    assert_eq!(facts["hostname"], id[..12]);
    let paths: Vec<String> =
        facts["cgroups"].as_object().expect("groups").values().map(|path| path.to_string()).collect();
    let own = |path: &String| path.contains(&id) || path == "\"/\"";
    assert!(paths.iter().all(own), "not the container's control groups: {paths:?}");
    let words = ["exec", "-u", "user", "-w", "/tmp", "-e", "B=exec", &id, "/inside", "facts"];
    let facts = docker.docker(words).json();
    assert_eq!((&facts["uid"], &facts["gid"], &facts["cwd"]), (&json!(1000), &json!(1000), &json!("/tmp")));
    assert_eq!((&facts["env"]["A"], &facts["env"]["B"]), (&json!("container"), &json!("exec")));
    assert_eq!(facts["capabilities"]["effective"], json!([]));
}

#[test]
fn a_terminal_of_its_own() {
    let docker = Docker::new();
    let id = docker.detached(&[IMAGE, "/inside", "pause"]);
    let mut terminal = docker.call(["exec", "-it", &id, "sh"]).pty(33, 99);
    terminal.until("# ");
    terminal.type_in("tty; stty size\r");
    terminal.until("/dev/pts/0\r\n33 99\r\n");
    terminal.type_in("exit 6\r");
    terminal.wait().exits(6);
    assert_eq!(terminal.settings(), terminal.settings_before());
}

#[test]
fn many_at_once_and_in_the_background_leave_only_the_first() {
    let docker = Docker::new();
    let id = docker.detached(&["--init", IMAGE, "/inside", "pause"]);
    let before = docker.docker(["top", &id]).text().lines().count();
    let all: Vec<_> = (0..10)
        .map(|number| (number, docker.call(["exec", &id, "/inside", "exit", &number.to_string()]).spawn()))
        .collect();
    for (number, running) in all {
        running.wait().exits(number);
    }
    docker.docker(["exec", "-d", &id, "sh", "-c", "echo done > /tmp/done"]).prints("");
    let words = ["exec", &id, "sh", "-c", "until [ -s /tmp/done ]; do sleep 0.05; done; cat /tmp/done"];
    docker.docker(words).prints("done\n");
    let after = docker.docker(["top", &id]).text();
    assert_eq!(lines(&after).len(), before, "{after}");
    // What was started in the background ends with the container.
    docker.docker(["exec", "-d", &id, "sleep", "1000"]).prints("");
    docker.remove(&[&id]);
    docker.expect_nothing_left();
}

#[test]
fn a_container_that_is_paused_or_gone_takes_none() {
    let docker = Docker::new();
    let id = docker.detached(&[IMAGE, "/inside", "pause"]);
    docker.docker(["pause", &id]).ok();
    let output = docker.docker(["exec", &id, "true"]).exits(1);
    assert!(output.err().contains("is paused"), "{output:?}");
    docker.docker(["unpause", &id]).ok();
    docker.docker(["exec", &id, "true"]).ok();
    docker.docker(["stop", &id]).ok();
    let output = docker.docker(["exec", &id, "true"]).exits(1);
    assert!(output.err().contains("is not running"), "{output:?}");
}
