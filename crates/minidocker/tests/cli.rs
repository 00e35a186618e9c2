//! The binary as users meet it: help, versions, and every kind of bad input with its one line, its hint and its exit
//! code. Nothing here starts a container.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Output, Stdio};

fn minidocker() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minidocker"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MINIDOCKER_"))
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn output<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Output {
    minidocker().args(words).output().unwrap()
}

/// The text on standard output of a command that must succeed and say nothing else.
fn told(line: &str) -> String {
    let output = output(line.split_whitespace());
    assert_eq!(output.status.code(), Some(0), "{line}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    String::from_utf8(output.stdout).unwrap()
}

/// The hint that lists all commands, as the overview has them; `help` is the last.
fn commands() -> String {
    let overview = told("--help");
    let list = overview.split_once("\nCommands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| !["help", "runtime"].contains(name)).collect();
    assert!(names.starts_with(&["run", "create", "start", "stop"]), "{names:?}");
    format!("commands are {} and help", names.join(", "))
}

/// Asserts the exact error line, the hint where one is expected, the exit code and an empty standard output.
fn refused<S: AsRef<OsStr> + std::fmt::Debug>(words: &[S], message: &str, hint: Option<&str>, code: i32) {
    let output = output(words);
    let mut wanted = format!("error: {message}\n");
    if let Some(hint) = hint {
        wanted += &format!("hint: {hint}\n");
    }
    assert_eq!(String::from_utf8_lossy(&output.stderr), wanted, "{words:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{words:?}");
    assert_eq!(output.status.code(), Some(code), "{words:?}");
}

/// `run OPTION VALUE host true`, refused with 125 and this line.
fn bad_value(option: &str, value: &str, shown: &str, why: &str) {
    refused(&["run", option, value, "host", "true"], &format!("{option} {shown}: {why}"), None, 125);
}

#[test]
fn help_has_many_doors() {
    let overview = told("--help");
    assert!(overview.starts_with("Usage: minidocker [OPTIONS] COMMAND\n"));
    for line in ["", "-h", "help"] {
        assert_eq!(told(line), overview, "{line}");
    }
    let container = told("container");
    assert!(container.starts_with("Usage: minidocker container COMMAND\n\nCommands:\n  run "));
    for line in ["container --help", "help container"] {
        assert_eq!(told(line), container, "{line}");
    }
    let run = told("run --help");
    assert!(run.starts_with("Usage: minidocker run [OPTIONS] IMAGE [COMMAND] [ARG...]\n"));
    for line in ["help run", "container run --help", "help container run", "run --rm -it --help"] {
        assert_eq!(told(line), run, "{line}");
    }
    for heading in ["Examples:", "Container:", "Network:", "CPU:", "Namespaces:", "Security:"] {
        assert!(run.contains(&format!("\n{heading}\n")), "{heading}");
    }
    assert!(run.contains("\n  -m, --memory BYTES                Most memory: 512k, 10m, 1.5g\n"));
    for name in ["ps", "kill", "rm", "info", "version"] {
        assert!(overview.contains(&format!("\n  {name} ")), "{name}");
        assert_eq!(told(&format!("{name} -h")), told(&format!("help {name}")));
    }
}

#[test]
fn versions_are_told_without_touching_anything() {
    let version = env!("CARGO_PKG_VERSION");
    for line in ["-v", "--version", "--root /nowhere -v"] {
        assert_eq!(told(line), format!("minidocker version {version}\n"));
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let text = told("--root /nowhere version");
    assert!(text.starts_with(&format!("minidocker\n Version:  {version}\n OS/Arch:  linux/")));
    assert!(text.ends_with(&format!("\n Kernel:   {kernel}")));
    let json = told("version --format json");
    assert!(json.contains(&format!("\"Version\":\"{version}\"")) && json.ends_with("}\n"));
    assert!(!std::path::Path::new("/nowhere").exists());
}

#[test]
fn unknown_commands_get_a_suggestion() {
    let list = commands();
    let list = Some(&*list);
    refused(&["rnu", "host"], "unknown command rnu", Some("did you mean 'minidocker run'?"), 1);
    refused(&["verison"], "unknown command verison", Some("did you mean 'minidocker version'?"), 1);
    refused(&["frobnicate"], "unknown command frobnicate", list, 1);
    refused(&["help", "frobnicate"], "unknown command frobnicate", list, 1);
    refused(&[""], "unknown command ''", list, 1);
    let near = Some("did you mean 'minidocker container ls'?");
    refused(&["container", "lss"], "unknown command 'container lss'", near, 1);
}

#[test]
fn unknown_options_and_words() {
    let see = |name: &str| format!("see 'minidocker {name} --help'");
    refused(
        &["run", "--memmory", "1", "host"],
        "unknown option --memmory",
        Some("did you mean --memory?"),
        125,
    );
    refused(&["run", "-Z", "host"], "unknown option -Z", Some(&see("run")), 125);
    refused(&["run", "-itZ", "host"], "unknown option -Z", Some(&see("run")), 125);
    refused(&["ps", "--frobnicate"], "unknown option --frobnicate", Some(&see("ps")), 125);
    refused(&["ps", "web"], "unexpected argument web", Some(&see("ps")), 1);
    refused(&["version", "x y"], "unexpected argument 'x y'", Some(&see("version")), 1);
    let moved = Some("it stands before the command: minidocker --root DIR run");
    refused(&["run", "--root", "/x", "host"], "unknown option --root", moved, 125);
    refused(
        &["--bogus", "ps"],
        "unknown option --bogus before a command",
        Some(&format!("options of a command stand after it; {}", commands())),
        125,
    );
    refused(
        &["--rot", "/x", "ps"],
        "unknown option --rot before a command",
        Some("did you mean --root?"),
        125,
    );
}

#[test]
fn values_that_are_missing() {
    refused(&["run", "--memory"], "--memory needs a value", None, 125);
    refused(&["run", "-m"], "--memory needs a value", None, 125);
    refused(&["ps", "--format"], "--format needs a value", None, 125);
    refused(&["--root"], "--root needs a value", None, 125);
    let hint = Some("for example: minidocker run -it host bash");
    refused(&["run"], "run needs an image or --rootfs", hint, 125);
    refused(&["run", "-it"], "run needs an image or --rootfs", hint, 125);
    // As in Docker an option takes whatever follows.
    refused(
        &["run", "--name", "--rm", "host"],
        "--name --rm: a name starts with a letter or digit, at least one of a-z A-Z 0-9 _ . - follows; write it as web-1",
        None,
        125,
    );
    let hint = Some("'minidocker ps -a' lists them");
    refused(&["kill"], "kill needs a container's name or id", hint, 1);
    refused(&["rm", "-f"], "rm needs a container's name or id", hint, 1);
}

#[test]
fn sizes() {
    let unit = |unit: &str| {
        format!("unknown unit {unit}, known are b, k, m, g, t and p; write it as 512k, 10m or 1.5g")
    };
    for option in ["--memory", "--memory-reservation", "--shm-size"] {
        bad_value(option, "-1", "-1", "a size is not negative; write it as 512k, 10m or 1.5g");
        bad_value(option, "10x", "10x", &unit("x"));
        bad_value(option, "1e30", "1e30", &unit("e30"));
        bad_value(option, "", "''", "no size; write it as 512k, 10m or 1.5g");
        bad_value(option, "m", "m", "not a number with a unit; write it as 512k, 10m or 1.5g");
        bad_value(option, "1..5m", "1..5m", "not a number with a unit; write it as 512k, 10m or 1.5g");
        bad_value(
            option,
            "99999999999999999999",
            "99999999999999999999",
            "more than the kernel can count; write it as 512k, 10m or 1.5g",
        );
        bad_value(option, "8192p", "8192p", "more than the kernel can count; write it as 512k, 10m or 1.5g");
    }
    bad_value("--memory-swap", "-2", "-2", "neither a size nor -1 for no limit; write it as 20m");
    bad_value("--memory-swappiness", "101", "101", "not from 0 to 100");
    bad_value("--memory-swappiness", "-2", "-2", "not from 0 to 100");
    bad_value("--device-read-bps", "/dev/sda:10x", "/dev/sda:10x", &unit("x"));
    bad_value(
        "--device-write-bps",
        "sda:1m",
        "sda:1m",
        "not a device below /dev and a number; write it as /dev/sda:10m",
    );
    bad_value("--hugetlb", "2M=1m", "2M=1m", "2M is no page size; write it as 2MB=64m");
}

#[test]
fn numbers() {
    bad_value("--cpus", "-1", "-1", "a number of CPUs is not negative; write it as 0.5 or 2");
    bad_value("--cpus", "NaN", "NaN", "not a number of CPUs; write it as 0.5 or 2");
    bad_value("--cpus", "inf", "inf", "not a number of CPUs; write it as 0.5 or 2");
    bad_value("--cpus", "1e3", "1e3", "not a number of CPUs; write it as 0.5 or 2");
    bad_value("--cpus", "", "''", "not a number of CPUs; write it as 0.5 or 2");
    bad_value("--cpus", "0.001", "0.001", "less than 0.01, the least share of a CPU that the kernel takes");
    bad_value(
        "--cpus",
        "99999999999999999999",
        "99999999999999999999",
        "more than a million CPUs; write it as 0.5 or 2",
    );
    bad_value("--cpuset-cpus", "0-", "0-", "not a list of numbers and ranges; write it as 0-3,5");
    bad_value("--cpuset-mems", "3-1", "3-1", "the range 3-1 runs backwards; write it as 0-3,5");
    bad_value("--cpu-shares", "-1", "-1", "not from 2 to 262144");
    bad_value("--cpu-shares", "many", "many", "not a whole number; write it as 2");
    bad_value("--cpu-period", "999", "999", "not from 1000 to 1000000");
    bad_value("--cpu-quota", "-2", "-2", &format!("not from 1000 to {}", i64::MAX / 1000));
    bad_value("--pids-limit", "-2", "-2", "neither a number from 1 on nor -1 for no limit; write it as 100");
    bad_value("--blkio-weight", "9", "9", "not from 10 to 1000");
    bad_value("--oom-score-adj", "1001", "1001", "not from -1000 to 1000");
    bad_value("--umask", "888", "888", "not an octal number up to 777; write it as 22");
    bad_value(
        "--ulimit",
        "nofile=2:1",
        "nofile=2:1",
        "the soft limit is above the hard one; write it as nofile=1024:2048",
    );
    bad_value("--ulimit", "files=1", "files=1", "no limit is called files; write it as nofile=1024:2048");
    bad_value("--stop-signal", "SIGBOGUS", "SIGBOGUS", "no such signal; write it as TERM, SIGKILL or 15");
    refused(
        &["kill", "-s", "0", "web"],
        "--signal 0: no such signal; write it as TERM, SIGKILL or 15",
        None,
        1,
    );
}

#[test]
fn names_and_addresses() {
    let name =
        "a name starts with a letter or digit, at least one of a-z A-Z 0-9 _ . - follows; write it as web-1";
    for (value, shown) in
        [("", "''"), ("a", "a"), ("-a", "-a"), ("a/b", "a/b"), ("a b", "'a b'"), ("../x", "../x")]
    {
        bad_value("--name", value, shown, name);
    }
    bad_value(
        "--hostname",
        "a_b",
        "a_b",
        "a name is made of letters, digits, hyphens and dots; write it as web-1.example",
    );
    bad_value(
        "--hostname",
        "-a",
        "-a",
        "a part of a name neither starts nor ends with a hyphen; write it as web-1.example",
    );
    bad_value("--hostname", "", "''", "empty; write it as web-1.example");
    let long = "a".repeat(65);
    bad_value("--hostname", &long, &long, "65 letters, the kernel keeps at most 64");
    bad_value("--ip", "10.0.0.256", "10.0.0.256", "not an IPv4 address; write it as 10.0.0.1 or 10.0.0.1/8");
    bad_value(
        "--ip",
        "10.0.0.0/8",
        "10.0.0.0/8",
        "this is the address of the network itself; write it as 10.0.0.1 or 10.0.0.1/8",
    );
    bad_value(
        "--ip",
        "127.0.0.1",
        "127.0.0.1",
        "no container can have this address; write it as 10.0.0.1 or 10.0.0.1/8",
    );
    bad_value(
        "--mac-address",
        "01:00:5e:00:00:01",
        "01:00:5e:00:00:01",
        "not the address of one station; write it as 92:d0:c6:0a:29:33",
    );
    bad_value("--add-host", "db", "db", "no address; write it as db:10.0.0.7 or db=fd00::7");
    bad_value("--dns", "dns.example", "dns.example", "not an IP address; write it as 9.9.9.9");
    bad_value(
        "--network",
        "front/end",
        "front/end",
        "no network has such a name: a letter or digit, then a-z A-Z 0-9 _ . - follow",
    );
    bad_value("--user", "a:b:c", "a:b:c", "not user[:group] with names or numbers; write it as 1000:1000");
    bad_value("--workdir", "work", "work", "not absolute; write it as /work");
    bad_value("--env", "=x", "=x", "no name before the =; write it as LANG=C");
    bad_value("--label", "=x", "=x", "no key before the =; write it as tier=web");
}

#[test]
fn mounts_and_devices() {
    bad_value(
        "--volume",
        "a/b:/data",
        "a/b:/data",
        "a/b cannot be a volume's name; a name starts with a letter or digit, at least one of a-z A-Z 0-9 _ . - follows; a directory of the host is written as /data or ./data",
    );
    bad_value("--volume", "/a:/", "/a:/", "the target cannot be /, which is --rootfs; write it as /data");
    bad_value(
        "--volume",
        "/a:/b:bogus",
        "/a:/b:bogus",
        "unknown option bogus; write it as ro, rro, rshared, idmap or nosuid",
    );
    bad_value(
        "--mount",
        "type=bind,dst=/b",
        "type=bind,dst=/b",
        "no source; write it as type=bind,src=/data,dst=/data,ro",
    );
    bad_value(
        "--mount",
        "type=odd,dst=/b",
        "type=odd,dst=/b",
        "type odd is unknown, bind, volume and tmpfs are there; write it as type=bind,src=/data,dst=/data,ro",
    );
    bad_value("--tmpfs", "tmp", "tmp", "the target tmp is not absolute; write it as /data");
    bad_value(
        "--device",
        "fuse",
        "fuse",
        "fuse is not the absolute path of a device; write it as /dev/fuse or /dev/sda:/dev/xvda:r",
    );
    bad_value(
        "--device-cgroup-rule",
        "c 1:3",
        "'c 1:3'",
        "not TYPE MAJOR:MINOR ACCESS; write it as 'c 1:3 rwm'",
    );
    bad_value("--rootfs", "", "''", "no directory; write it as ./new_root");
    bad_value("--rootfs", ":overlay", ":overlay", "no directory; write it as ./new_root");
    bad_value("--env-file", "/nowhere", "/nowhere", "no such file or directory");
    bad_value("--env-file", "/", "/", "is a directory");
    bad_value("--label-file", "/nowhere", "/nowhere", "no such file or directory");
}

#[test]
fn security_and_namespaces() {
    bad_value("--cap-add", "ROOT", "ROOT", "no such capability; write it as NET_ADMIN or ALL");
    bad_value(
        "--security-opt",
        "bogus=1",
        "bogus=1",
        "unknown; known are no-new-privileges, seccomp=, apparmor=, systempaths=unconfined and label=disable",
    );
    bad_value("--security-opt", "seccomp=/nowhere", "seccomp=/nowhere", "no such file or directory");
    bad_value(
        "--sysctl",
        "kernel.panic=1",
        "kernel.panic=1",
        "it would change the host: no namespace of the container owns it; write it as net.ipv4.ip_forward=1",
    );
    bad_value("--pid", "hosts", "hosts", "neither private, host nor container:NAME");
    bad_value("--ipc", "shared", "shared", "neither private, none, shareable, host nor container:NAME");
    bad_value("--cgroupns", "own", "own", "neither private nor host");
    bad_value(
        "--userns",
        "private:0",
        "private:0",
        "the first id is not from 1 to 4294967294; write it as private or private:100000:65536",
    );
    bad_value(
        "--time",
        "private:realtime=1",
        "private:realtime=1",
        "no clock realtime; write it as private:monotonic=86400,boottime=86400",
    );
    refused(&["run", "--rm=maybe", "host"], "--rm maybe: neither true nor false", None, 125);
    refused(&["run", "--explain=html", "host"], "--explain html: neither text, json nor shell", None, 125);
}

#[test]
fn contradictions_and_what_is_not_there() {
    let tty = "the input device is not a TTY";
    refused(&["run", "-it", "host", "sh"], tty, Some("start it from a terminal, or leave out -t"), 1);
    let image = "`minidocker images` lists those that are here; `minidocker pull alpine` may bring it";
    let words = ["--root", env!("CARGO_TARGET_TMPDIR"), "run", "--pull", "never", "alpine", "sh"];
    refused(&words, "no such image: alpine", Some(image), 125);
    let uts = "--hostname with --uts: the name belongs to whom the namespace does";
    refused(&["run", "--uts", "host", "-h", "x", "host"], uts, None, 125);
    let ip = "--ip with --network host: the host has its addresses already";
    refused(&["run", "--net=host", "--ip=10.0.0.1", "host"], ip, None, 125);
}

#[test]
fn lists_refuse_unknown_fields_and_filters() {
    refused(
        &["ps", "--format", "{{.Bogus}}"],
        "--format '{{.Bogus}}': no field Bogus, there are ID Image Command CreatedAt RunningFor Status State Ports Names Labels Addresses Mounts LocalVolumes Networks Size Pod PodName",
        None,
        1,
    );
    refused(
        &["ps", "--format", "{{.ID"],
        "--format '{{.ID': a {{ without its }}; write it as {{.ID}}",
        None,
        1,
    );
    refused(
        &["ps", "--filter", "colour=red"],
        "--filter colour=red: no filter colour, there are name, id, label, label!, status, exited, ancestor, before, since, health, is-task, network, volume, publish, expose, pod",
        None,
        1,
    );
    refused(&["ps", "-n", "x"], "--last x: not a whole number; write it as -1", None, 125);
    let fields = "no field Bogus, there are Client Server";
    refused(&["version", "--format", "{{.Bogus}}"], fields, None, 1);
    refused(&["container", "ls", "--all=x"], "--all x: neither true nor false", None, 125);
}

#[test]
fn words_from_outside_do_not_reach_the_terminal_as_commands() {
    let name =
        "a name starts with a letter or digit, at least one of a-z A-Z 0-9 _ . - follows; write it as web-1";
    bad_value("--name", "\x1b]0;owned\x07\x1b[31mx\r\ny\u{202e}", "'x y'", name);
    refused(&["\x1b[2Jrun"], "unknown command 'run'", Some(&commands()), 1);
    let bytes = [OsString::from("run"), OsString::from_vec(b"--name=\xff".to_vec())];
    refused(&bytes, "argument 2 is not UTF-8: '--name=\u{fffd}'", None, 125);
}

#[test]
fn settings_from_the_environment_are_checked_too() {
    let output = minidocker().env("MINIDOCKER_SUBNET", "10.0.0.1/8").arg("ps").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text, "error: MINIDOCKER_SUBNET=10.0.0.1/8: the network is 10.0.0.0/8\n");
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is_one() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = minidocker().args(["run", "--help"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = minidocker().arg("version").stdout(full).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text, "error: cannot write to standard output: no space left on device\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn reports_of_the_lab_name_what_is_wrong_and_write_nothing() {
    let directory = std::env::temp_dir().join(format!("minidocker-cli-bench-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let name = directory.to_str().unwrap();
    let no_run = format!("bench.read on {name}: has no run.json, so it is no run of a suite");
    let hint = Some("'minidocker bench run -o DIR' writes one");
    refused(&["bench", "report", name], &no_run, hint, 1);
    refused(&["bench", "compare", name, name], &no_run, hint, 1);
    std::fs::write(directory.join("run.json"), "{\"format\": 1,\n \"started\": \"today\"}").unwrap();
    let bad = format!(
        "bench.read on {name}/run.json: key started: invalid type: string \"today\", expected u64 at line 2 column 19"
    );
    refused(&["bench", "report", name], &bad, None, 1);
    refused(
        &["bench", "report", "--format", "pdf", name],
        "--format pdf: unknown format pdf, known are html, md, csv and json",
        None,
        1,
    );
    let hint = Some("it is what 'minidocker bench run -o DIR' was given");
    refused(&["bench", "report"], "bench report needs the directory of one run", hint, 1);
    let hint = Some("the first is what the second is compared to");
    refused(&["bench", "compare", name], "bench compare needs the directories of two runs", hint, 1);
    let left: Vec<_> = std::fs::read_dir(&directory).unwrap().collect();
    assert_eq!(left.len(), 1);
    std::fs::remove_dir_all(&directory).unwrap();
}
