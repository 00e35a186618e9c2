//! `linux.seccomp`: every action, conditions, and a filter that asks somebody else.

use std::time::{Duration, Instant};

use minidocker_tests::bundle::{Bundle, Runtime};
use minidocker_tests::scaled;
use serde_json::{Value, json};

use crate::refused;

fn profile(rules: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"], "syscalls": rules })
}

fn rule(name: &str, action: &str) -> Value {
    json!({ "names": [name], "action": action })
}

/// mkdir(2) by both of its names.
fn mkdir(action: &str) -> Value {
    json!({ "names": ["mkdir", "mkdirat"], "action": action })
}

fn filtered<'r>(bundle: Bundle<'r>, rules: Value) -> Bundle<'r> {
    bundle.with("/linux/seccomp", profile(rules))
}

#[test]
fn what_is_refused_answers_as_asked() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let mut other = mkdir("SCMP_ACT_ERRNO");
    assert_eq!(filtered(runtime.bundle(&root), json!([other])).attempt(["mkdir", "/x"]), "EPERM");
    other["errnoRet"] = json!(28);
    let bundle = filtered(runtime.bundle(&root), json!([other]));
    assert_eq!(bundle.attempt(["mkdir", "/x"]), "ENOSPC");
    assert_eq!(bundle.attempt(["open", "/inside"]), "ok");
    // Names that this machine has not are passed over.
    let mut unknown = other.clone();
    unknown["names"].as_array_mut().unwrap().push(json!("no_such_call"));
    assert_eq!(filtered(runtime.bundle(&root), json!([unknown])).attempt(["mkdir", "/x"]), "ENOSPC");
}

#[test]
fn without_no_new_privs_and_capabilities_too() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    for (uid, no_new_privs) in [(0, false), (1000, false), (1000, true)] {
        let bundle = filtered(runtime.bundle(&root), json!([mkdir("SCMP_ACT_ERRNO")]))
            .with("/process/user/uid", uid)
            .with("/process/noNewPrivileges", no_new_privs)
            .capabilities(&[]);
        let facts = bundle.facts();
        assert_eq!((facts["seccomp"].as_u64(), facts["seccomp_filters"].as_u64()), (Some(2), Some(1)));
        assert_eq!(facts["no_new_privs"], no_new_privs);
        assert_eq!(facts["capabilities"]["permitted"], json!([]), "what the filter needed was given back");
        assert_eq!(bundle.attempt(["mkdir", "/x"]), "EPERM");
    }
    assert_eq!(runtime.bundle(&root).facts()["seccomp"], 0, "none without one");
}

/// SIGSYS is signal 31. PID 1 is killed by a filter, unlike by signals of its own.
#[test]
fn what_kills_and_what_signals() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let tried = "/inside try mkdir /x; echo code $?";
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"] {
        let bundle = filtered(runtime.bundle(&root), json!([mkdir(action)])).shell(tried);
        let output = bundle.run().ok();
        assert!(output.out().contains("code 159\n"), "{action}: {output:?}");
    }
    let bundle = filtered(runtime.bundle(&root), json!([mkdir("SCMP_ACT_KILL_PROCESS")]));
    bundle.args(["/inside", "try", "mkdir", "/x"]).run().exits(159);
    for action in ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"] {
        assert_eq!(
            filtered(runtime.bundle(&root), json!([mkdir(action)])).attempt(["mkdir", "/x"]),
            "ok",
            "{action}"
        );
    }
    // Without a tracer there is no such call.
    let bundle = filtered(runtime.bundle(&root), json!([mkdir("SCMP_ACT_TRACE")]));
    assert_eq!(bundle.attempt(["mkdir", "/x"]), "ENOSYS");
}

#[test]
fn a_list_of_what_is_allowed() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    // What a static program needs at the least, and what this one does.
    let names = [
        "execve",
        "exit",
        "exit_group",
        "brk",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "mprotect",
        "prlimit64",
        "readlinkat",
        "readlink",
        "getrandom",
        "poll",
        "ppoll",
        "rt_sigaction",
        "sigaltstack",
        "mmap",
        "munmap",
        "write",
        "read",
        "newfstatat",
        "fstat",
        "futex",
        "rt_sigprocmask",
        "sched_getaffinity",
        "gettid",
        "open",
        "openat",
        "close",
        "statx",
        "fcntl",
        "getpid",
        "lseek",
        "mremap",
    ];
    let bundle = runtime.bundle(&root).with(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "syscalls": [{ "names": names.to_vec(), "action": "SCMP_ACT_ALLOW" }],
        }),
    );
    assert_eq!(bundle.attempt(["open", "/inside"]), "ok");
    assert_eq!(bundle.attempt(["mkdir", "/x"]), "ENOSYS");
    let container = bundle.clone().create();
    container.start();
    container.wait();
    container.remove();
}

#[test]
fn conditions_on_arguments() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let refuse = |conditions: Value| json!([{ "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": conditions }]);
    // Families: 1 unix, 2 IPv4, 10 IPv6.
    let cases = [
        (json!([{ "index": 0, "value": 2, "op": "SCMP_CMP_EQ" }]), ["ok", "ENOSYS", "ok"]),
        (json!([{ "index": 0, "value": 2, "op": "SCMP_CMP_NE" }]), ["ENOSYS", "ok", "ENOSYS"]),
        (json!([{ "index": 0, "value": 2, "op": "SCMP_CMP_LT" }]), ["ENOSYS", "ok", "ok"]),
        (json!([{ "index": 0, "value": 2, "op": "SCMP_CMP_LE" }]), ["ENOSYS", "ENOSYS", "ok"]),
        (json!([{ "index": 0, "value": 2, "op": "SCMP_CMP_GE" }]), ["ok", "ENOSYS", "ENOSYS"]),
        (json!([{ "index": 0, "value": 2, "op": "SCMP_CMP_GT" }]), ["ok", "ok", "ENOSYS"]),
        (
            json!([{ "index": 0, "value": 2, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ" }]),
            ["ok", "ENOSYS", "ENOSYS"],
        ),
        (
            json!([{ "index": 0, "value": 2, "op": "SCMP_CMP_EQ" }, { "index": 1, "value": 2, "op": "SCMP_CMP_EQ" }]),
            ["ok", "ok", "ok"],
        ),
    ];
    for (conditions, wanted) in cases {
        let bundle = filtered(runtime.bundle(&root), refuse(conditions.clone()));
        let found = ["1", "2", "10"].map(|family| bundle.attempt(["socket", family, "1", "0"]));
        assert_eq!(found, wanted, "{conditions}");
    }
}

/// A further program has the filter from its first instruction on: even the first calls of its start are refused.
#[test]
fn a_further_program_is_filtered() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = filtered(runtime.bundle(&root), json!([mkdir("SCMP_ACT_ERRNO")])).args(["/inside", "pause"]);
    let container = bundle.detached();
    let facts = container.exec(["/inside", "facts"]).run().json();
    assert_eq!((facts["seccomp"].as_u64(), facts["seccomp_filters"].as_u64()), (Some(2), Some(1)));
    container.exec(["/inside", "try", "mkdir", "/x"]).run().prints("EPERM\n");
    container.remove();
}

#[test]
fn flags_and_nonsense() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let with = |pointer: &str, value: Value| {
        filtered(runtime.bundle(&root), json!([mkdir("SCMP_ACT_ERRNO")])).with(pointer, value)
    };
    for flags in [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_LOG"]),
        json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]),
    ] {
        assert_eq!(with("/linux/seccomp/flags", flags).attempt(["mkdir", "/x"]), "EPERM");
    }
    assert_eq!(with("/linux/seccomp/flags", json!(["NO_SUCH_FLAG"])).run().code, 1);
    assert_eq!(with("/linux/seccomp/defaultAction", json!("SCMP_ACT_NOSUCH")).run().code, 1);
    assert_eq!(with("/linux/seccomp/syscalls/0/action", json!("SCMP_ACT_NOSUCH")).run().code, 1);
    refused(with("/linux/seccomp/syscalls/-", rule("mkdir", "SCMP_ACT_NOTIFY")).run(), 1, &["listenerPath"]);
}

/// Answers for the kernel, seccomp_unotify(2): mkdir fails with ENOTTY, getppid is 4242, and everything that it is told
/// of the container goes to standard output.
const AGENT: &str = r#"
import fcntl, socket, struct, sys, threading
RECEIVE, SEND = 0xC0502100, 0xC0182101
def answer(fd):
    while True:
        request = bytearray(80)
        try:
            fcntl.ioctl(fd, RECEIVE, request)
            number, pid, flags, call = struct.unpack_from("QIIi", request)
            print("call of", pid, flush=True)
            value, error = (4242, 0) if call == GETPPID else (0, -25)
            fcntl.ioctl(fd, SEND, bytearray(struct.pack("QqiI", number, value, error, 0)))
        except OSError as error:
            if error.errno == 2 and not waiting(fd):
                return
def waiting(fd):
    import select
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return not any(event & select.POLLHUP for _, event in poll.poll(0))
GETPPID = int(sys.argv[2])
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    message, fds, _, _ = socket.recv_fds(connection, 65536, 4)
    print("told", len(fds), message.decode(), flush=True)
    threading.Thread(target=answer, args=fds, daemon=True).start()
"#;

#[test]
fn an_agent_answers_for_the_kernel() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let socket = runtime.path("agent");
    let getppid = if cfg!(target_arch = "aarch64") { "173" } else { "110" };
    let agent = runtime.world().program(["python3", "-u", "-c", AGENT, &socket, getppid]);
    let agent = agent.patience(Duration::from_secs(300)).spawn();
    agent.until("listening");
    let rules = json!([{ "names": ["mkdir", "mkdirat", "getppid"], "action": "SCMP_ACT_NOTIFY" }]);
    let bundle = filtered(runtime.bundle(&root), rules)
        .with("/linux/seccomp/listenerPath", socket.as_str())
        .with("/linux/seccomp/listenerMetadata", "for the agent")
        .with("/annotations/a", "b");
    // The runtime does not wait until the agent has read what it was told.
    let told = |nth: usize| -> Value {
        let deadline = Instant::now() + scaled(Duration::from_secs(10));
        loop {
            let text = agent.out_so_far();
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(line) = lines.filter_map(|line| line.strip_prefix("told 1 ")).nth(nth) {
                return serde_json::from_str(line).unwrap();
            }
            assert!(Instant::now() < deadline, "it was not told: {agent:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    assert_eq!(bundle.attempt(["mkdir", "/x"]), "ENOTTY");
    let first = told(0);
    assert_eq!((&first["fds"], &first["metadata"]), (&json!(["seccompFd"]), &json!("for the agent")));
    assert_eq!(first["state"]["id"], bundle.id());
    assert_eq!(
        (&first["state"]["status"], &first["state"]["annotations"]["a"]),
        (&json!("creating"), &json!("b"))
    );
    assert_eq!(first["pid"], first["state"]["pid"]);

    // Created first and started later; the pid is the one on the host.
    let container = bundle.clone().args(["/inside", "pause"]).create();
    assert_eq!(told(1)["pid"], container.pid());
    container.start();
    container.until("ready");
    // A further program has a listener of its own.
    container.exec(["/inside", "try", "mkdir", "/x"]).run().prints("ENOTTY\n");
    let third = told(2);
    assert_eq!(
        (&third["state"]["status"], &third["state"]["pid"]),
        (&json!("running"), &json!(container.pid()))
    );
    assert_ne!(third["pid"], third["state"]["pid"], "the further program's own");
    assert_eq!(container.exec(["/inside", "facts"]).run().json()["ppid"], 4242);
    container.remove();
}

#[test]
fn without_its_agent_nothing_starts() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = filtered(runtime.bundle(&root), json!([mkdir("SCMP_ACT_NOTIFY")]))
        .with("/linux/seccomp/listenerPath", runtime.path("nobody"));
    for command in ["create", "run"] {
        refused(bundle.launch(&[], command, &[]).unwrap_err(), 1, &["nobody"]);
        assert!(runtime.states().is_empty());
    }
    let write = filtered(runtime.bundle(&root), json!([rule("write", "SCMP_ACT_NOTIFY")]))
        .with("/linux/seccomp/listenerPath", runtime.path("nobody"));
    refused(write.run(), 1, &["SCMP_ACT_NOTIFY cannot be used for the write syscall"]);
}
