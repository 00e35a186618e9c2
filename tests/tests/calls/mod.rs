//! The system calls that minidocker really makes, by strace(1), and whether each step of `--explain` is among them.
//!
//! A step's text names its calls: `fsopen("proc"), fsmount(nosuid), move_mount("/proc")`. Each name must appear in the
//! trace of the process that is said to take the step, in that order, after the calls of the step before.

// Two test programs share this file, and neither uses all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use minidocker_tests::World;
use serde_json::Value;

/// One system call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Who made it, by its number on the host.
    pub(crate) pid: i32,
    /// Its name.
    pub(crate) name: String,
    /// Name, arguments and result as strace prints them.
    pub(crate) text: String,
    /// It came back.
    pub(crate) finished: bool,
}

/// Who minidocker's processes are: in the order in which they appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// What the user started.
    Command,
    /// Its child.
    Monitor,
    /// Its child in turn: PID 1 of the container.
    Init,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Command, Self::Monitor, Self::Init];

    /// As `--explain=json` calls it.
    pub(crate) fn name(self) -> &'static str {
        ["command", "monitor", "init"][self as usize]
    }
}

/// A trace of `strace -f -o`.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// In the order of their beginnings.
    pub(crate) all: Vec<Call>,
    /// Every process in the order of its first line.
    pub(crate) pids: Vec<i32>,
}

impl Calls {
    /// Reads what strace has written; a last line that is not whole is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut calls = Self::default();
        let mut open: BTreeMap<i32, usize> = BTreeMap::new();
        for line in text.lines() {
            let Some((pid, rest)) = line.split_once(' ') else { continue };
            let (Ok(pid), rest) = (pid.parse::<i32>(), rest.trim_start()) else { continue };
            if !calls.pids.contains(&pid) {
                calls.pids.push(pid);
            }
            if let Some(resumed) = rest.strip_prefix("<... ") {
                if let Some(call) = open.remove(&pid).and_then(|index| calls.all.get_mut(index)) {
                    let tail = resumed.split_once(" resumed>").map_or("", |(_, tail)| tail);
                    call.text.push_str(tail);
                    call.finished = true;
                }
                continue;
            }
            let Some((name, _)) = rest.split_once('(') else { continue };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                continue;
            }
            let (text, finished) = match rest.strip_suffix(" <unfinished ...>") {
                Some(begin) => (begin, false),
                None => (rest, true),
            };
            if !finished {
                open.insert(pid, calls.all.len());
            }
            calls.all.push(Call { pid, name: name.to_owned(), text: text.to_owned(), finished });
        }
        calls
    }

    /// The process in this role.
    pub(crate) fn pid(&self, role: Role) -> Option<i32> {
        self.pids.get(role as usize).copied()
    }

    /// Its calls.
    pub(crate) fn of(&self, role: Role) -> Vec<&Call> {
        let pid = self.pid(role);
        self.all.iter().filter(|call| Some(call.pid) == pid).collect()
    }
}

/// A step as `--explain=json` tells it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Who takes it.
    pub(crate) role: Role,
    /// Such as `mount.proc`.
    pub(crate) id: String,
    /// The calls in words.
    pub(crate) call: String,
}

/// The steps in what was said on standard error; every line of it is one.
#[track_caller]
pub(crate) fn steps(lines: &str) -> Vec<Step> {
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("`{line}`: {error}"));
        let text =
            |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
        let process = text("process");
        let role = Role::ALL.into_iter().find(|role| role.name() == process);
        Step { role: role.expect("one of three processes"), id: text("step"), call: text("call") }
    };
    lines.lines().map(read).collect()
}

/// A call that a step's text promises.
#[derive(Debug, PartialEq, Eq)]
struct Promise {
    /// The kernel's names for it: mkdir(2) may be mkdirat(2).
    names: Vec<&'static str>,
    /// What its arguments must have in them.
    words: Vec<String>,
}

/// A name in a step's text, the system calls that may stand for it, and whether its quoted first argument is an
/// argument of the call itself (a path that is reached by a descriptor is not).
const KNOWN: &[(&str, &[&str], bool)] = &[
    ("mkdir", &["mkdir", "mkdirat"], true),
    ("mkdirat", &["mkdir", "mkdirat"], false),
    ("write", &["write", "pwrite64"], false),
    ("openat", &["open", "openat", "openat2"], true),
    ("clone3", &["clone3"], false),
    ("setns", &["setns"], false),
    ("sendto", &["sendto"], false),
    ("prctl", &["prctl"], false),
    ("unshare", &["unshare"], false),
    ("setsid", &["setsid"], false),
    ("keyctl", &["keyctl"], false),
    ("sethostname", &["sethostname"], true),
    ("setdomainname", &["setdomainname"], true),
    ("mount_setattr", &["mount_setattr"], false),
    ("fsopen", &["fsopen"], true),
    ("fsconfig", &["fsconfig"], false),
    ("fsmount", &["fsmount"], false),
    ("open_tree", &["open_tree"], true),
    ("move_mount", &["move_mount"], false),
    ("mknodat", &["mknodat", "mknod"], false),
    ("symlinkat", &["symlinkat", "symlink"], false),
    ("fchdir", &["fchdir"], false),
    ("pivot_root", &["pivot_root"], true),
    ("umount2", &["umount2"], true),
    ("chdir", &["chdir", "fchdir"], false),
    ("umask", &["umask"], false),
    ("seccomp", &["seccomp"], false),
    ("setgroups", &["setgroups"], false),
    ("setresgid", &["setresgid"], false),
    ("setresuid", &["setresuid"], false),
    ("capset", &["capset"], false),
    ("execveat", &["execveat"], false),
    ("execve", &["execve"], false),
    ("prlimit", &["prlimit64"], false),
    ("prlimit64", &["prlimit64"], false),
    ("ftruncate", &["ftruncate"], false),
    ("pwrite64", &["pwrite64"], false),
    ("ioctl", &["ioctl"], false),
    ("fstat", &["fstat", "newfstatat"], false),
    ("syncfs", &["syncfs"], false),
    ("renameat", &["rename", "renameat", "renameat2"], false),
    ("utimensat", &["utimensat"], false),
    ("rmdir", &["rmdir", "unlinkat"], false),
    ("unlink", &["unlink", "unlinkat"], false),
    ("unlinkat", &["unlink", "unlinkat"], false),
];

/// Words in capitals that strace prints as they stand.
const CONSTANTS: [&str; 8] =
    ["CLONE_NEW", "PR_", "KEYCTL_", "SECCOMP_SET", "MNT_DETACH", "OPEN_TREE_CLONE", "AT_RECURSIVE", "RTM_"];

/// Whether a step may find its work done: `unless … is a route: sendto(…)`.
fn conditional(text: &str) -> bool {
    text.starts_with("unless ")
}

/// The calls that a text promises, in their order: what is nested comes first.
fn promises(text: &str) -> Vec<Promise> {
    let text = text.split_once(": ").filter(|_| conditional(text)).map_or(text, |(_, rest)| rest);
    let mut found = Vec::new();
    scan(text, &mut found);
    found
}

fn scan(text: &str, found: &mut Vec<Promise>) {
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_lowercase() || c == '"') {
        if rest[start..].starts_with('"') {
            // A quoted string holds no calls.
            let end = closing_quote(&rest[start..]);
            rest = &rest[start + end..];
            continue;
        }
        let word = &rest[start..];
        let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(word.len());
        let (name, after) = word.split_at(end);
        let whole = start == 0
            || !rest[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || "_/.-<".contains(c));
        rest = after;
        let Some((_, names, path)) = KNOWN.iter().find(|(known, ..)| *known == name).filter(|_| whole) else {
            continue;
        };
        let mut words = Vec::new();
        if let Some(arguments) = after.strip_prefix('(') {
            let end = closing_bracket(arguments);
            let (inner, tail) = arguments.split_at(end);
            scan(inner, found);
            if *path && inner.starts_with('"') {
                words.push(inner[..closing_quote(inner)].to_owned());
            }
            let outer = inner.split('(').next().unwrap_or(inner);
            words.extend(constants(outer, name));
            rest = tail;
        }
        found.push(Promise { names: names.to_vec(), words });
    }
}

/// The constants in a call's own arguments. strace knows RTM_* only of sockets of its own network namespace, so these
/// are matched by number as well; see [`Promise::kept`].
fn constants(arguments: &str, name: &str) -> Vec<String> {
    let words = arguments.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let known = words.filter(|word| CONSTANTS.iter().any(|begin| word.starts_with(begin)));
    // AT_RECURSIVE of mount_setattr(2) may be set by one call among several.
    known.filter(|word| !(name == "mount_setattr" && *word == "AT_RECURSIVE")).map(str::to_owned).collect()
}

fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return index + 1,
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    text.len()
}

fn closing_bracket(text: &str) -> usize {
    let (mut depth, mut index) = (0, 0);
    while index < text.len() {
        match text.as_bytes()[index] {
            b'"' => {
                index += closing_quote(&text[index..]);
                continue;
            }
            b'(' => depth += 1,
            b')' if depth == 0 => return index,
            b')' => depth -= 1,
            _ => {}
        }
        index += 1;
    }
    text.len()
}

/// rtnetlink(7)'s message types by number, as strace prints those of a socket that it cannot look up.
const ROUTE_MESSAGES: [(&str, &str); 5] = [
    ("RTM_NEWLINK", "0x10 "),
    ("RTM_GETLINK", "0x12 "),
    ("RTM_NEWADDR", "0x14 "),
    ("RTM_NEWROUTE", "0x18 "),
    ("RTM_GETROUTE", "0x1a "),
];

impl Promise {
    fn kept(&self, call: &Call) -> bool {
        let has = |word: &String| {
            let number = ROUTE_MESSAGES.iter().find(|(name, _)| name == word);
            let by_number =
                number.is_some_and(|(_, number)| call.text.contains(&format!("nlmsg_type={number}")));
            call.text.contains(word.as_str()) || by_number
        };
        self.names.contains(&call.name.as_str()) && self.words.iter().all(has)
    }
}

/// For each step the index, among the calls of its process, of the last call that it promises, none where its work
/// was done already; or what is not true.
///
/// Steps of one process are taken in the order in which they are told.
pub(crate) fn performed(steps: &[Step], calls: &Calls) -> Vec<Result<Option<usize>, String>> {
    let of: BTreeMap<Role, Vec<&Call>> = Role::ALL.into_iter().map(|role| (role, calls.of(role))).collect();
    let mut next: BTreeMap<Role, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for step in steps {
        let (calls, from) = (&of[&step.role], next.entry(step.role).or_default());
        let all = promises(&step.call);
        if all.is_empty() {
            found.push(Err(format!("{} names no system call: {}", step.id, step.call)));
            continue;
        }
        let (mut at, mut last) = (*from, Ok(None));
        for promise in &all {
            match calls.iter().skip(at).position(|call| promise.kept(call)) {
                Some(skipped) => {
                    last = Ok(Some(at + skipped));
                    at += skipped + 1;
                }
                // Not needed this time: what looks like its calls belongs to the steps after it.
                None if conditional(&step.call) => {
                    (at, last) = (*from, Ok(None));
                    break;
                }
                None => {
                    last =
                        Err(format!("{} of {}: no {promise:?} from call {at} on", step.id, step.role.name()));
                    break;
                }
            }
        }
        *from = at;
        found.push(last);
    }
    found
}

/// Runs minidocker under strace with `--explain=json`: its steps and its calls.
#[track_caller]
pub(crate) fn traced(world: &World, options: &[&str]) -> (Vec<Step>, Calls) {
    let log = world.directory().join("strace");
    let wrapper = ["strace", "-f", "-s", "400", "-o", log.to_str().expect("our own path is text")];
    let words = ["run", "--rm", "--explain=json"].into_iter().chain(options.iter().copied());
    let output = world.call(words).through(&wrapper).run().ok();
    let text = std::fs::read_to_string(&log).expect("strace's log");
    (steps(&output.err()), Calls::parse(&text))
}

#[test]
fn a_text_promises_its_calls() {
    let promise = |names: &[&'static str], words: &[&str]| Promise {
        names: names.to_vec(),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    };
    let open = ["open", "openat", "openat2"];
    assert_eq!(
        promises("write(openat(\"/a/mkdir\", O_WRONLY), \"1\"), unshare(CLONE_NEWNS)"),
        [
            promise(&open, &["\"/a/mkdir\""]),
            promise(&["write", "pwrite64"], &[]),
            promise(&["unshare"], &["CLONE_NEWNS"])
        ]
    );
    assert_eq!(promises("unless x is a route: setsid()"), [promise(&["setsid"], &[])]);
    assert!(promises("nothing that is a call").is_empty());
}

#[test]
fn a_trace_is_read() {
    let text = "10 clone3({flags=CLONE_PIDFD} => {pidfd=[6]}, 88) = 11\n11 close(3 <unfinished ...>\n10 setsid() = 10\n\
        11 <... close resumed>) = 0\n11 --- SIGCHLD {si_signo=SIGCHLD} ---\n11 +++ exited with 0 +++\n";
    let calls = Calls::parse(text);
    assert_eq!(calls.pids, [10, 11]);
    let texts: Vec<_> = calls.all.iter().map(|call| (call.pid, call.text.as_str(), call.finished)).collect();
    assert_eq!(texts[1], (11, "close(3) = 0", true));
    assert_eq!(texts.len(), 3);
    let steps = [
        Step { role: Role::Command, id: "a".into(), call: "clone3(CLONE_PIDFD)".into() },
        Step { role: Role::Command, id: "b".into(), call: "setsid()".into() },
        Step { role: Role::Monitor, id: "c".into(), call: "setsid()".into() },
    ];
    let found = performed(&steps, &calls);
    assert_eq!((&found[0], &found[1]), (&Ok(Some(0)), &Ok(Some(1))));
    assert!(found[2].is_err());
}

/// How many calls the steps promise in all.
pub(crate) fn promised(steps: &[Step]) -> usize {
    steps.iter().map(|step| promises(&step.call).len()).sum()
}
