//! Each attribute is set on a thread and read back from /proc or by util-linux, not by the code under test.

use super::*;

fn spec<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

fn scheduler(json: &str) -> Result<Attributes, Failure> {
    Attributes::scheduler(&spec(json))
}

/// Takes the step in a thread of its own, where all it changes begins and ends, and looks at it there.
fn after<T: Send + 'static>(
    step: Result<Attributes, Failure>,
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let step = step.unwrap();
    let thread = std::thread::spawn(move || step.perform(&mut Context::default()).map(|()| look()));
    thread.join().unwrap()
}

fn own(file: &str) -> String {
    std::fs::read_to_string(format!("/proc/thread-self/{file}")).unwrap()
}

/// Policy, nice value, real-time priority: fields 41, 19 and 40 of proc_pid_stat(5).
fn policy_of(stat: &str) -> (u32, i32, u32) {
    let fields: Vec<_> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    (fields[38].parse().unwrap(), fields[16].parse().unwrap(), fields[37].parse().unwrap())
}

fn output(command: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(command).args(arguments).output().unwrap();
    assert!(output.status.success(), "{command} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn tid() -> String {
    rustix::thread::gettid().to_string()
}

fn processors() -> String {
    own("status").lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}

#[test]
fn the_scheduler_is_set() {
    let read = |json| after(scheduler(json), || policy_of(&own("stat"))).unwrap();
    assert_eq!(read(r#"{"policy": "SCHED_BATCH", "nice": 19, "priority": 0}"#), (3, 19, 0));
    assert_eq!(read(r#"{"policy": "SCHED_OTHER", "nice": 5}"#), (0, 5, 0));
    assert_eq!(read(r#"{"policy": "SCHED_IDLE"}"#).0, 5);
    let deadline = r#"{"policy": "SCHED_DEADLINE", "nice": 19, "runtime": 42000, "deadline": 100000,
        "period": 1000000, "flags": ["SCHED_RESET_ON_FORK"]}"#;
    let chrt = after(scheduler(deadline), || output("chrt", &["-p", &tid()])).unwrap();
    assert!(chrt.contains("SCHED_DEADLINE|SCHED_RESET_ON_FORK"), "{chrt}");
    assert!(chrt.contains("42000/100000/1000000"), "{chrt}");
}

/// A process that goes with the test, however that ends.
struct Sleeper(std::process::Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_monitor_sets_it_on_init() {
    let child = Sleeper(std::process::Command::new("sleep").arg("60").spawn().unwrap());
    let mut context = Context { init: Some(child.0.id() as i32), ..Context::default() };
    let before = policy_of(&own("stat"));
    let first = processors().split(['-', ',']).next().unwrap().to_owned();
    let (_, last) = Attributes::affinity(&spec(&format!(r#"{{"final": "{first}"}}"#))).unwrap();
    for step in [
        scheduler(r#"{"policy": "SCHED_BATCH", "nice": 3}"#).unwrap(),
        Attributes::io_priority(&spec(r#"{"class": "IOPRIO_CLASS_IDLE"}"#)).unwrap(),
        last.unwrap(),
    ] {
        step.perform(&mut context).unwrap();
    }
    let pid = child.0.id().to_string();
    let read = (
        policy_of(&std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap()),
        output("ionice", &["-p", &pid]),
        output("taskset", &["-cp", &pid]),
    );
    assert_eq!((read.0, read.1.as_str()), ((3, 3, 0), "idle"));
    assert!(read.2.ends_with(&format!(": {first}")), "{}", read.2);
    assert_eq!(policy_of(&own("stat")), before);
}

#[test]
fn io_priority_is_set() {
    let read = |json| after(Attributes::io_priority(&spec(json)), || output("ionice", &["-p", &tid()]));
    assert_eq!(read(r#"{"class": "IOPRIO_CLASS_BE", "priority": 4}"#).unwrap(), "best-effort: prio 4");
    assert_eq!(read(r#"{"class": "IOPRIO_CLASS_IDLE", "priority": 7}"#).unwrap(), "idle");
    for priority in [-1, 8, 1_i64 << 40] {
        let json = format!(r#"{{"class": "IOPRIO_CLASS_BE", "priority": {priority}}}"#);
        let failure = Attributes::io_priority(&spec(&json)).unwrap_err();
        let expected = format!(
            "plan on process.ioPriority.priority: {priority} is not between 0, which is first, and 7"
        );
        assert_eq!(failure.to_string(), expected);
    }
}

#[test]
fn affinity_is_set_and_a_missing_processor_is_named() {
    let all = processors();
    let first = all.split(['-', ',']).next().unwrap().to_owned();
    let asked = spec(&format!(r#"{{"initial": "{all}", "final": "{first}"}}"#));
    let (initial, last) = Attributes::affinity(&asked).unwrap();
    assert_eq!(after(Ok(initial.unwrap()), processors).unwrap(), all);
    assert_eq!(after(Ok(last.unwrap()), processors).unwrap(), first);
    let none = Attributes::affinity(&ExecCPUAffinity::default()).unwrap();
    assert_eq!(none, (None, None));

    let (initial, _) = Attributes::affinity(&spec(r#"{"initial": "60000-60002"}"#)).unwrap();
    let failure = after(Ok(initial.unwrap()), || ()).unwrap_err();
    assert_eq!(failure.to_string(), "process.affinity on processors 60000-60002: invalid argument");
    assert!(failure.hint.unwrap().contains("linux.resources.cpu.cpus"));
    let mut backwards = ExecCPUAffinity::default();
    backwards.set_cpu_affinity_final(Some("3-1".to_owned()));
    let failure = Attributes::affinity(&backwards).unwrap_err();
    assert_eq!(failure.to_string(), "plan on process.execCPUAffinity.final: the range 3-1 runs backwards");
}

#[test]
fn personality_is_set_and_flags_are_refused() {
    let read = |json| after(Attributes::personality(&spec(json)), || own("personality").trim().to_owned());
    assert_eq!(read(r#"{"domain": "LINUX32", "flags": []}"#).unwrap(), "00000008");
    assert_eq!(read(r#"{"domain": "LINUX"}"#).unwrap(), "00000000");
    let uname =
        after(Attributes::personality(&spec(r#"{"domain": "LINUX32"}"#)), || output("uname", &["-m"]));
    assert_ne!(uname.unwrap(), std::env::consts::ARCH);
    let flags = spec(r#"{"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}"#);
    let failure = Attributes::personality(&flags).unwrap_err();
    assert_eq!(failure.to_string(), "plan on linux.personality.flags: ADDR_NO_RANDOMIZE is not supported");
}

#[test]
fn memory_policy_is_set() {
    // proc_pid_numa_maps(5): the second word of each line.
    let read = |json| {
        after(Attributes::memory_policy(&spec(json)), || {
            own("numa_maps").lines().next().unwrap().split(' ').nth(1).unwrap().to_owned()
        })
        .unwrap()
    };
    assert_eq!(read(r#"{"mode": "MPOL_INTERLEAVE", "nodes": "0"}"#), "interleave:0");
    assert_eq!(
        read(r#"{"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}"#),
        "bind=static:0"
    );
    let relative = r#"{"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}"#;
    assert_eq!(read(relative), "prefer=relative:0");
    assert_eq!(read(r#"{"mode": "MPOL_LOCAL"}"#), "local");
    assert_eq!(read(r#"{"mode": "MPOL_DEFAULT"}"#), "default");

    let missing = Attributes::memory_policy(&spec(r#"{"mode": "MPOL_BIND", "nodes": "1000-1001"}"#));
    let failure = after(missing, || ()).unwrap_err();
    assert_eq!(failure.to_string(), "process.memory-policy on MPOL_BIND {1000-1001}: invalid argument");
    assert!(failure.hint.unwrap().contains("has_memory"));
}

#[test]
fn a_memory_policy_that_cannot_be_is_refused() {
    for (json, expected) in [
        (
            r#"{"mode": "MPOL_DEFAULT", "nodes": "0-7"}"#,
            "nodes: MPOL_DEFAULT: mode requires 0 nodes but got 8: 0-7",
        ),
        (r#"{"mode": "MPOL_INTERLEAVE"}"#, "nodes: MPOL_INTERLEAVE needs at least one node"),
        (
            r#"{"mode": "MPOL_BIND", "nodes": "0-9876543210"}"#,
            "nodes: invalid memory policy node: 9876543210 is above 65536",
        ),
        (
            r#"{"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}"#,
            "flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
        ),
    ] {
        let failure = Attributes::memory_policy(&spec(json)).unwrap_err();
        assert_eq!(failure.to_string(), format!("plan on linux.memoryPolicy.{expected}"));
    }
}

#[test]
fn a_scheduler_that_cannot_be_is_refused() {
    for (json, expected) in [
        (r#"{"policy": "SCHED_OTHER", "nice": 20}"#, ".nice: 20 is not between -20, which is first, and 19"),
        (
            r#"{"policy": "SCHED_BATCH", "priority": 5}"#,
            ".priority: 5 is given with SCHED_BATCH: only SCHED_FIFO and SCHED_RR have priorities",
        ),
        (
            r#"{"policy": "SCHED_FIFO"}"#,
            ".priority: 0 is not between 1 and 99, which is first: SCHED_FIFO needs one of these",
        ),
        (
            r#"{"policy": "SCHED_RR", "priority": 1, "period": 7}"#,
            ": period 7 is given with SCHED_RR: only SCHED_DEADLINE has one",
        ),
        (
            r#"{"policy": "SCHED_DEADLINE", "deadline": 5000}"#,
            ": runtime 0 is below 1024 nanoseconds, the least that SCHED_DEADLINE knows",
        ),
        (
            r#"{"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 4000}"#,
            ": deadline 4000 is below runtime 5000",
        ),
        (
            r#"{"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 6000, "period": 5500}"#,
            ": period 5500 is below deadline 6000",
        ),
        (
            r#"{"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]}"#,
            ".flags: SCHED_FLAG_UTIL_CLAMP_MIN has no value: the OCI runtime specification has no field for it",
        ),
    ] {
        assert_eq!(scheduler(json).unwrap_err().to_string(), format!("plan on process.scheduler{expected}"));
    }
}

#[test]
fn a_kernels_no_names_the_feature() {
    let failure = after(scheduler(r#"{"policy": "SCHED_ISO"}"#), || ()).unwrap_err();
    assert_eq!(failure.to_string(), "process.scheduler on SCHED_ISO: invalid argument");
    assert!(failure.hint.unwrap().contains("no Linux has it"));
    let hint = |policy, errno| scheduler_hint(policy, Some(errno)).unwrap();
    assert!(hint(Policy::SchedDeadline, Errno::PERM).contains("--cpuset-cpus"));
    assert!(hint(Policy::SchedDeadline, Errno::BUSY).contains("less runtime"));
    assert!(hint(Policy::SchedRr, Errno::PERM).contains("realtimeRuntime"));
    assert!(hint(Policy::SchedOther, Errno::PERM).contains("CAP_SYS_NICE"));
    assert_eq!(scheduler_hint(Policy::SchedOther, Some(Errno::SRCH)), None);
}

#[test]
fn says_what_it_does_and_the_shell_does_the_same() {
    let calls = |steps: &[Attributes]| steps.iter().map(Step::call).collect::<Vec<_>>();
    let first = processors().split(['-', ',']).next().unwrap().to_owned();
    let (initial, _) = Attributes::affinity(&spec(&format!(r#"{{"initial": "{first}"}}"#))).unwrap();
    let steps = [
        scheduler(r#"{"policy": "SCHED_BATCH", "nice": 4}"#).unwrap(),
        Attributes::io_priority(&spec(r#"{"class": "IOPRIO_CLASS_BE", "priority": 6}"#)).unwrap(),
        initial.unwrap(),
    ];
    assert_eq!(
        calls(&steps),
        [
            "sched_setattr(<the process>, {SCHED_BATCH, nice=4}, 0)".to_owned(),
            "ioprio_set(IOPRIO_WHO_PROCESS, <the process>, IOPRIO_CLASS_BE 6)".to_owned(),
            format!("sched_setaffinity(<the process>, {{{first}}})"),
        ]
    );
    let mut script = String::from("set -eu\n");
    for step in &steps {
        match step.shell() {
            Shell::Lines(lines) => lines.iter().for_each(|line| script += &format!("{line} >/dev/null\n")),
            other => panic!("{other:?}"),
        }
    }
    script += "cat /proc/$$/stat; ionice -p $$; grep Cpus_allowed_list /proc/$$/status";
    let read = output("sh", &["-c", &script]);
    let lines: Vec<_> = read.lines().collect();
    assert_eq!(policy_of(lines[0]), (3, 4, 0));
    assert_eq!(lines[1..], ["best-effort: prio 6".to_owned(), format!("Cpus_allowed_list:\t{first}")]);

    let others = [
        scheduler(r#"{"policy": "SCHED_RR", "priority": 9, "flags": ["SCHED_FLAG_KEEP_PARAMS"]}"#).unwrap(),
        Attributes::personality(&spec(r#"{"domain": "LINUX32"}"#)).unwrap(),
        Attributes::memory_policy(&spec(
            r#"{"mode": "MPOL_BIND", "nodes": "0,1", "flags": ["MPOL_F_STATIC_NODES"]}"#,
        ))
        .unwrap(),
        Attributes::memory_policy(&spec(r#"{"mode": "MPOL_LOCAL"}"#)).unwrap(),
    ];
    assert_eq!(
        calls(&others),
        [
            "sched_setattr(<the process>, {SCHED_RR, SCHED_FLAG_KEEP_PARAMS, priority=9}, 0)",
            "personality(PER_LINUX32)",
            "set_mempolicy(MPOL_BIND|MPOL_F_STATIC_NODES, {0-1})",
            "set_mempolicy(MPOL_LOCAL, NULL)",
        ]
    );
    for step in steps.iter().chain(&others) {
        assert!(step.id().starts_with("process.") && step.why().starts_with("asked for: "));
    }
    assert!(matches!(others[1].shell(), Shell::Nothing(_)));
}
