//! Small profiles for the tests, what they mean by the rules' plain reading, a generator of them, and the system
//! calls that are worth trying on them.

use std::collections::BTreeMap;

use minidocker_seccomp::{Arch, syscall_names, syscall_number};
use oci::spec::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};

use crate::bpf::Data;

pub(crate) const ALLOW: u32 = 0x7fff_0000;
pub(crate) const ERRNO: u32 = 0x0005_0000;
pub(crate) const ENOSYS: u32 = ERRNO | 38;
pub(crate) const KILL_THREAD: u32 = 0;
pub(crate) const X32_BIT: u32 = 0x4000_0000;

#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) native: Arch,
    pub(crate) default: u32,
    pub(crate) arches: Vec<Arch>,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) action: u32,
    pub(crate) conditions: Vec<Condition>,
}

/// `operator` is that of enum scmp_compare, 1 to 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) argument: usize,
    pub(crate) operator: u32,
    pub(crate) a: u64,
    pub(crate) b: u64,
}

const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpNe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
];

/// The OCI's action and errnoRet of a return value.
fn oci_action(returned: u32) -> (LinuxSeccompAction, Option<u32>) {
    use LinuxSeccompAction as A;
    match returned & 0xffff_0000 {
        0x8000_0000 => (A::ScmpActKillProcess, None),
        0 => (A::ScmpActKillThread, None),
        0x0003_0000 => (A::ScmpActTrap, None),
        0x0005_0000 => (A::ScmpActErrno, Some(returned & 0xffff)),
        0x7fc0_0000 => (A::ScmpActNotify, None),
        0x7ff0_0000 => (A::ScmpActTrace, Some(returned & 0xffff)),
        0x7ffc_0000 => (A::ScmpActLog, None),
        0x7fff_0000 => (A::ScmpActAllow, None),
        other => panic!("action {other:#x}"),
    }
}

impl Condition {
    fn holds(&self, arch: Arch, args: &[u64; 6]) -> bool {
        let width = if matches!(arch, Arch::X86_64 | Arch::Aarch64) { u64::MAX } else { u32::MAX.into() };
        let (arg, a, b) = (args[self.argument] & width, self.a & width, self.b & width);
        match self.operator {
            1 => arg != a,
            2 => arg < a,
            3 => arg <= a,
            4 => arg == a,
            5 => arg >= a,
            6 => arg > a,
            _ => arg & a == b & a,
        }
    }
}

impl Profile {
    pub(crate) fn to_oci(&self) -> LinuxSeccomp {
        let (action, errno) = oci_action(self.default);
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(action).set_default_errno_ret(errno);
        profile.set_architectures(Some(self.arches.iter().map(|arch| arch.to_oci()).collect()));
        let entry = |rule: &Rule| {
            let (action, errno) = oci_action(rule.action);
            let mut entry = LinuxSyscall::default();
            entry.set_names(vec![rule.name.clone()]).set_action(action).set_errno_ret(errno);
            let arg = |condition: &Condition| {
                LinuxSeccompArgBuilder::default()
                    .index(condition.argument)
                    .op(OPERATORS[condition.operator as usize - 1])
                    .value(condition.a)
                    .value_two(condition.b)
                    .build()
                    .unwrap()
            };
            entry.set_args(Some(rule.conditions.iter().map(arg).collect()));
            entry
        };
        profile.set_syscalls(Some(self.rules.iter().map(entry).collect()));
        profile
    }

    /// The other way around.
    pub(crate) fn from_oci(native: Arch, profile: &LinuxSeccomp) -> Self {
        let value = |action: LinuxSeccompAction, errno: Option<u32>| action.as_u32(errno);
        let mut rules = Vec::new();
        for entry in profile.syscalls().iter().flatten() {
            let condition = |arg: &oci::spec::LinuxSeccompArg| Condition {
                argument: arg.index(),
                operator: OPERATORS.iter().position(|op| *op == arg.op()).unwrap() as u32 + 1,
                a: arg.value(),
                b: arg.value_two().unwrap_or(0),
            };
            let conditions: Vec<_> = entry.args().iter().flatten().map(condition).collect();
            for name in entry.names() {
                let action = value(entry.action(), entry.errno_ret());
                rules.push(Rule { name: name.clone(), action, conditions: conditions.clone() });
            }
        }
        let arches = profile.architectures().iter().flatten();
        Self {
            native,
            default: value(profile.default_action(), profile.default_errno_ret()),
            arches: arches.map(|arch| Arch::from_oci(*arch, native).unwrap()).collect(),
            rules,
        }
    }

    /// What the profile means, by system call.
    pub(crate) fn meaning(&self) -> Meaning {
        let mut arches = vec![self.native];
        arches.extend(&self.arches);
        let permissive = matches!(self.default & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000);
        let mut meaning = Meaning {
            default: self.default,
            rules: BTreeMap::new(),
            last: BTreeMap::new(),
            arches,
            permissive,
        };
        for rule in &self.rules {
            for arch in Arch::ALL {
                let mut calls = Vec::new();
                if let Some(number) = syscall_number(arch, &rule.name) {
                    calls.push((number, rule.clone()));
                }
                if arch == Arch::X86
                    && let Some((number, first)) = multiplexed(&rule.name)
                {
                    let mut rule = rule.clone();
                    rule.conditions.retain(|condition| condition.argument != 0);
                    rule.conditions.push(Condition { argument: 0, operator: 4, a: first, b: 0 });
                    calls.push((number, rule));
                }
                for (number, rule) in calls {
                    if !(0xf0000..X32_BIT).contains(&number) {
                        let last = meaning.last.entry(arch).or_insert(number);
                        *last = number.max(*last);
                    }
                    meaning.rules.entry((arch, number)).or_default().push(rule);
                }
            }
        }
        meaning
    }
}

/// socketcall's or ipc's number on 32-bit x86, and the call's within it (linux/net.h, linux/ipc.h).
fn multiplexed(name: &str) -> Option<(u32, u64)> {
    Some(match name {
        "socket" => (102, 1),
        "bind" => (102, 2),
        "connect" => (102, 3),
        "listen" => (102, 4),
        "accept" => (102, 5),
        "getsockname" => (102, 6),
        "getpeername" => (102, 7),
        "socketpair" => (102, 8),
        "send" => (102, 9),
        "recv" => (102, 10),
        "sendto" => (102, 11),
        "recvfrom" => (102, 12),
        "shutdown" => (102, 13),
        "setsockopt" => (102, 14),
        "getsockopt" => (102, 15),
        "sendmsg" => (102, 16),
        "recvmsg" => (102, 17),
        "accept4" => (102, 18),
        "recvmmsg" => (102, 19),
        "sendmmsg" => (102, 20),
        "semop" => (117, 1),
        "semget" => (117, 2),
        "semctl" => (117, 3),
        "semtimedop" => (117, 4),
        "msgsnd" => (117, 11),
        "msgrcv" => (117, 12),
        "msgget" => (117, 13),
        "msgctl" => (117, 14),
        "shmat" => (117, 21),
        "shmdt" => (117, 22),
        "shmget" => (117, 23),
        "shmctl" => (117, 24),
        _ => return None,
    })
}

/// What a profile means: a slow and plain evaluation of its rules.
pub(crate) struct Meaning {
    default: u32,
    permissive: bool,
    arches: Vec<Arch>,
    rules: BTreeMap<(Arch, u32), Vec<Rule>>,
    last: BTreeMap<Arch, u32>,
}

impl Meaning {
    /// The architecture that a call belongs to; none where the filter has it not.
    fn arch(&self, data: &Data) -> Option<Arch> {
        let x86_64 = Arch::X86_64.audit();
        let x32 = data.nr >= X32_BIT && (data.nr != u32::MAX || self.arches.contains(&Arch::X32));
        let arch = match data.arch {
            audit if audit == x86_64 && x32 => Arch::X32,
            audit => *Arch::ALL.iter().find(|arch| arch.audit() == audit)?,
        };
        self.arches.contains(&arch).then_some(arch)
    }

    fn rules(&self, arch: Arch, nr: u32) -> &[Rule] {
        self.rules.get(&(arch, nr)).map_or(&[], Vec::as_slice)
    }

    /// The rules of a call.
    pub(crate) fn rules_of(&self, data: &Data) -> &[Rule] {
        self.arch(data).map_or(&[], |arch| self.rules(arch, data.nr))
    }

    /// Whether ENOSYS is the answer, for a number beyond those that the profile names.
    pub(crate) fn is_newer(&self, data: &Data) -> bool {
        let Some(arch) = self.arch(data) else { return false };
        if self.permissive || (arch == Arch::X86_64 && data.nr == u32::MAX) {
            return false;
        }
        let private = arch == Arch::Arm && (0xf0000..0xf0010).contains(&data.nr);
        self.last.get(&arch).is_some_and(|last| data.nr > *last) && !private
    }

    /// What the filter must return.
    pub(crate) fn of(&self, data: &Data) -> u32 {
        let Some(arch) = self.arch(data) else { return KILL_THREAD };
        if self.is_newer(data) {
            return ENOSYS;
        }
        let rules = self.rules(arch, data.nr).iter().filter(|rule| rule.action != self.default);
        // With a mask of nothing a condition is none.
        let wide = matches!(arch, Arch::X86_64 | Arch::Aarch64);
        let real = |condition: &&Condition| {
            condition.operator != 7 || if wide { condition.a != 0 } else { condition.a as u32 != 0 }
        };
        let mut unconditional = rules.clone().filter(|rule| rule.conditions.iter().filter(real).count() == 0);
        if let Some(rule) = unconditional.next() {
            return rule.action;
        }
        let mut matching =
            rules.filter(|rule| rule.conditions.iter().all(|condition| condition.holds(arch, &data.args)));
        matching.next().map_or(self.default, |rule| rule.action)
    }

    /// Argument lists worth trying on a call: around every value that a rule compares with, on each side of the 32
    /// bits, and some at random.
    pub(crate) fn arguments(&self, data: &Data, random: &mut Random) -> Vec<[u64; 6]> {
        let rules = self.rules_of(data);
        let conditions: Vec<Condition> = rules.iter().flat_map(|rule| rule.conditions.clone()).collect();
        if conditions.is_empty() {
            return vec![[0; 6]];
        }
        let mut values: [Vec<u64>; 6] = std::array::from_fn(|_| vec![0, 1, u64::MAX, 0xffff_ffff, 1 << 32]);
        for Condition { argument, a, b, .. } in conditions {
            for value in [a, b, a & b, !a | b] {
                values[argument].extend([
                    value,
                    value.wrapping_add(1),
                    value.wrapping_sub(1),
                    value & 0xffff_ffff,
                    value ^ (1 << 32),
                    value ^ (1 << 63),
                    value.rotate_left(32),
                ]);
            }
        }
        let mut lists = Vec::new();
        let base: [u64; 6] = std::array::from_fn(|arg| *random.pick(&values[arg]));
        for (arg, tried) in values.iter().enumerate().filter(|(_, tried)| tried.len() > 5) {
            for &value in tried {
                let mut list = base;
                list[arg] = value;
                lists.push(list);
            }
        }
        lists.extend((0..40).map(|_| std::array::from_fn(|arg| *random.pick(&values[arg]))));
        lists
    }
}

/// Every call worth trying: all numbers of all architectures and the edges between, some foreign architectures.
pub(crate) fn every_call() -> Vec<Data> {
    let mut numbers: Vec<u32> = (0..=620).chain(X32_BIT..=X32_BIT + 620).chain(0xf_0000..=0xf_0010).collect();
    numbers.extend([
        1000,
        0xe_ffff,
        0x3fff_ffff,
        0x7fff_ffff,
        0x8000_0000,
        0xc000_0000,
        u32::MAX - 1,
        u32::MAX,
    ]);
    let mut audits: Vec<u32> = Arch::ALL.iter().map(|arch| arch.audit()).collect();
    audits.dedup();
    // s390x, RISC-V, nothing at all.
    audits.extend([0x8000_0016, 0xc000_00f3, 0]);
    let call =
        |&arch: &u32| numbers.iter().map(move |&nr| Data { nr, arch, args: [0; 6] }).collect::<Vec<_>>();
    audits.iter().flat_map(call).collect()
}

/// What rules of one call a profile has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One a call, with up to three conditions.
    OneRule,
    /// Several, with one action, and one condition or none each.
    OneCondition,
    /// Several, with any actions and up to three conditions each.
    Overlapping,
}

/// A generator of numbers with nothing random about it: the same every time (xorshift64*).
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    pub(crate) fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    fn value(&mut self) -> u64 {
        const VALUES: [u64; 12] = [
            0,
            1,
            2,
            38,
            40,
            0xffff,
            0x7e02_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x1_0000_0028,
            0xffff_ffff_0000_0000,
            u64::MAX,
        ];
        *self.pick(&VALUES)
    }

    pub(crate) fn condition(&mut self) -> Condition {
        let (argument, operator) = (self.below(6), 1 + self.below(7) as u32);
        Condition { argument, operator, a: self.value(), b: self.value() }
    }

    /// A profile of up to `calls` rules on calls among `names`.
    pub(crate) fn profile(&mut self, calls: usize, names: &[&str], kind: Kind) -> Profile {
        const ACTIONS: [u32; 9] = [
            ALLOW,
            0x7ffc_0000,
            0x7ff0_0001,
            0x7ff0_0007,
            0x7fc0_0000,
            ERRNO | 1,
            ERRNO | 38,
            0x0003_0000,
            0x8000_0000,
        ];
        const DEFAULTS: [u32; 7] =
            [ALLOW, 0x7ffc_0000, ERRNO | 1, ERRNO | 13, KILL_THREAD, 0x8000_0000, 0x0003_0000];
        let default = *self.pick(&DEFAULTS);
        let mut arches = vec![Arch::NATIVE];
        arches.extend(Arch::ALL.iter().filter(|arch| **arch != Arch::NATIVE && self.below(2) == 0));
        let mut rules = Vec::new();
        for _ in 0..=self.below(calls) {
            let name = self.pick(names).to_string();
            let mut action = *self.pick(&ACTIONS);
            let known = rules.iter().find(|rule: &&Rule| rule.name == name).map(|rule| rule.action);
            let most = match (kind, known) {
                (Kind::OneRule, Some(_)) => continue,
                (Kind::OneRule, None) => 4,
                (Kind::OneCondition, _) => {
                    action = known.unwrap_or(action);
                    2
                }
                (Kind::Overlapping, _) => 4,
            };
            let mut conditions = Vec::new();
            for _ in 0..self.below(most) {
                let condition = self.condition();
                if conditions.iter().all(|other: &Condition| other.argument != condition.argument) {
                    conditions.push(condition);
                }
            }
            rules.push(Rule { name, action, conditions });
        }
        Profile { native: Arch::NATIVE, default, arches, rules }
    }
}

/// All names that are known.
pub(crate) fn all_names() -> Vec<&'static str> {
    syscall_names().collect()
}
