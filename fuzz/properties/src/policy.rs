//! What a seccomp profile means, by the plain reading of its rules: slow, and written without a look at the compiler.
//! The rules' meaning is that of the head of `crates/seccomp/src/compile.rs`.

use std::collections::BTreeMap;

use oci::spec::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};
use seccomp::{Arch, syscall_number};

use crate::bpf::Call;

const KILL_THREAD: u32 = 0;
const ENOSYS: u32 = 0x0005_0000 | 38;
/// Bit 30 of every x32 number.
const X32: u32 = 0x4000_0000;
/// Arm's private calls.
const PRIVATE: std::ops::Range<u32> = 0xf_0000..0xf_0010;

/// A profile for a kernel of one architecture.
pub(crate) struct Policy {
    default: u32,
    arches: Vec<Table>,
}

/// What the profile says of the calls of one architecture.
struct Table {
    arch: Arch,
    /// The greatest ordinary number that the profile names.
    last: Option<u32>,
    /// In the profile's order, by number.
    rules: BTreeMap<u32, Vec<Rule>>,
}

struct Rule {
    value: u32,
    conditions: Vec<Condition>,
}

impl Policy {
    /// The profile must be one that compiles.
    pub(crate) fn new(native: Arch, profile: &LinuxSeccomp) -> Self {
        let mut arches = vec![native];
        for arch in profile.architectures().iter().flatten() {
            arches.extend(Arch::from_oci(*arch, native));
        }
        let default = returned(profile.default_action(), profile.default_errno_ret());
        let arches = arches.iter().map(|arch| Table::new(profile, *arch, default)).collect();
        Self { default, arches }
    }

    pub(crate) fn has(&self, arch: Arch) -> bool {
        self.arches.iter().any(|table| table.arch == arch)
    }

    /// What the filter must return for a call.
    pub(crate) fn answer(&self, call: &Call) -> u32 {
        let Some(table) = self.table(call) else { return KILL_THREAD };
        // A tracer skips a call by this number, which x86-64 alone tells from x32's.
        let skipped = table.arch == Arch::X86_64 && call.nr == u32::MAX;
        let ordinary = !(table.arch == Arch::Arm && PRIVATE.contains(&call.nr));
        let forbids = !matches!(self.default >> 16, 0x7fff | 0x7ffc | 0x7ff0);
        if forbids && ordinary && !skipped && table.last.is_some_and(|last| call.nr > last) {
            return ENOSYS;
        }
        let rules = || table.rules.get(&call.nr).into_iter().flatten();
        let holds = |rule: &&Rule| rule.conditions.iter().all(|one| one.holds(table.arch, &call.args));
        let decided = rules().find(|rule| rule.conditions.is_empty());
        decided.or_else(|| rules().find(holds)).map_or(self.default, |rule| rule.value)
    }

    /// The architecture that a call is of.
    fn table(&self, call: &Call) -> Option<&Table> {
        let is_x32 = call.nr >= X32 && (call.nr != u32::MAX || self.has(Arch::X32));
        self.arches.iter().find(|table| {
            table.arch.audit() == call.arch
                && match table.arch {
                    Arch::X32 => is_x32,
                    Arch::X86_64 => !is_x32,
                    _ => true,
                }
        })
    }
}

impl Table {
    fn new(profile: &LinuxSeccomp, arch: Arch, default: u32) -> Self {
        let mut table = Self { arch, last: None, rules: BTreeMap::new() };
        for entry in profile.syscalls().iter().flatten() {
            let value = returned(entry.action(), entry.errno_ret());
            for (number, conditions) in rules(entry, arch) {
                if !(arch == Arch::Arm && PRIVATE.contains(&number)) {
                    table.last = table.last.max(Some(number));
                }
                if value != default {
                    let conditions = conditions.into_iter().filter(|one| !one.is_none(arch)).collect();
                    table.rules.entry(number).or_default().push(Rule { value, conditions });
                }
            }
        }
        table
    }
}

/// SECCOMP_RET_* of linux/seccomp.h with its data.
fn returned(action: LinuxSeccompAction, errno: Option<u32>) -> u32 {
    use LinuxSeccompAction as A;
    match action {
        A::ScmpActErrno => 0x0005_0000 | errno.unwrap_or(1),
        A::ScmpActTrace => 0x7ff0_0000 | errno.unwrap_or(1),
        A::ScmpActKill | A::ScmpActKillThread => KILL_THREAD,
        A::ScmpActKillProcess => 0x8000_0000,
        A::ScmpActTrap => 0x0003_0000,
        A::ScmpActNotify => 0x7fc0_0000,
        A::ScmpActLog => 0x7ffc_0000,
        A::ScmpActAllow => 0x7fff_0000,
    }
}

/// One comparison.
#[derive(Clone, Copy)]
struct Condition {
    argument: usize,
    operator: LinuxSeccompOperator,
    value: u64,
    second: u64,
}

impl Condition {
    fn of(arg: &LinuxSeccompArg) -> Self {
        let second = arg.value_two().unwrap_or(0);
        Self { argument: arg.index(), operator: arg.op(), value: arg.value(), second }
    }

    /// Whether it asks for nothing: a mask without a bit.
    fn is_none(&self, arch: Arch) -> bool {
        self.operator == LinuxSeccompOperator::ScmpCmpMaskedEq && self.value & width(arch) == 0
    }

    fn holds(&self, arch: Arch, args: &[u64; 6]) -> bool {
        use LinuxSeccompOperator as O;
        let width = width(arch);
        let (argument, value) = (args[self.argument] & width, self.value & width);
        match self.operator {
            O::ScmpCmpNe => argument != value,
            O::ScmpCmpLt => argument < value,
            O::ScmpCmpLe => argument <= value,
            O::ScmpCmpEq => argument == value,
            O::ScmpCmpGe => argument >= value,
            O::ScmpCmpGt => argument > value,
            O::ScmpCmpMaskedEq => argument & value == self.second & value,
        }
    }
}

/// The bits of an argument that count.
fn width(arch: Arch) -> u64 {
    if matches!(arch, Arch::X86_64 | Arch::Aarch64) { u64::MAX } else { u64::from(u32::MAX) }
}

/// The rules that an entry makes: numbers, each with what must hold.
fn rules(entry: &LinuxSyscall, arch: Arch) -> Vec<(u32, Vec<Condition>)> {
    let all: Vec<Condition> = entry.args().iter().flatten().map(Condition::of).collect();
    let twice = (0..all.len()).any(|at| all[..at].iter().any(|other| other.argument == all[at].argument));
    let alternatives: Vec<Vec<Condition>> =
        if twice { all.into_iter().map(|one| vec![one]).collect() } else { vec![all] };
    let mut rules = Vec::new();
    for name in entry.names() {
        if let Some(number) = syscall_number(arch, name) {
            rules.extend(alternatives.iter().map(|conditions| (number, conditions.clone())));
        }
        let Some((number, first)) = multiplexed(name).filter(|_| arch == Arch::X86) else { continue };
        let operator = LinuxSeccompOperator::ScmpCmpEq;
        let which = Condition { argument: 0, operator, value: first, second: 0 };
        for conditions in &alternatives {
            let rest = conditions.iter().copied().filter(|condition| condition.argument != 0);
            rules.push((number, std::iter::once(which).chain(rest).collect()));
        }
    }
    rules
}

/// What socketcall(2) and ipc(2) of 32-bit x86 do by the number in their first argument: linux/net.h, linux/ipc.h.
fn multiplexed(name: &str) -> Option<(u32, u64)> {
    const SOCKETCALL: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: [(&str, u64); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    let socket = SOCKETCALL.iter().position(|known| *known == name).map(|at| (102, at as u64 + 1));
    socket.or_else(|| IPC.iter().find(|(known, _)| *known == name).map(|(_, number)| (117, *number)))
}
