//! A profile to a program: the rules of each architecture in a table over its numbers, the table as ranges, the
//! ranges assembled.
//!
//! What rules mean together is libseccomp's and runc's meaning, made exact where theirs depends on an order:
//! - a rule with the default action is left out, and so is a name that no architecture here has;
//! - a rule without conditions decides its call, whatever other rules the call has; the first of several;
//! - else the first rule in the profile's order whose conditions all hold; else the default action;
//! - conditions of one rule that look at the same argument twice become a rule each ("or" instead of "and");
//! - the native architecture is always in; a call of an architecture that is not kills the thread, and so does an
//!   x32 call where x86_64 is in and x32 is not (but the number -1, with which a tracer skips a call).
//!
//! And runc's: where the default forbids, a number above the highest that the profile names fails with ENOSYS, not
//! with the default. Such a call is newer than the profile; a C library tries it, and falls back to an older call on
//! ENOSYS but fails on EPERM (glibc and clone3, faccessat2).

use oci::spec::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};
use sys::seccomp::{Flags, MAX_INSTRUCTIONS};

use crate::arch::{Arch, X32_BIT};
use crate::assemble::{Assembler, Chain, Range, Verdict};
use crate::error::Problem;
use crate::multiplex;
use crate::rule::{self, Condition, Operator};
use crate::syscalls::{self, ARM_PRIVATE, Call, ORDINARY, SLOTS, Slot};
use crate::{Error, Program};

/// Compiles a profile for the architecture that this program was built for.
///
/// # Errors
/// What is wrong with which entry; [`Error::TooLong`] for a profile beyond the kernel's limit.
pub fn compile(profile: &LinuxSeccomp) -> Result<Program, Error> {
    compile_for(Arch::NATIVE, profile)
}

/// The same for a kernel of the architecture `native`.
///
/// # Errors
/// Those of [`compile`].
pub fn compile_for(native: Arch, profile: &LinuxSeccomp) -> Result<Program, Error> {
    if profile.default_action() == LinuxSeccompAction::ScmpActNotify {
        return Err(Error::Default(Problem::NotifyDefault));
    }
    let default =
        rule::returned(profile.default_action(), profile.default_errno_ret()).map_err(Error::Default)?;
    let mut arches = vec![native];
    for &arch in profile.architectures().iter().flatten() {
        let arch = Arch::from_oci(arch, native)?;
        if !arches.contains(&arch) {
            arches.push(arch);
        }
    }
    let mut rules = Rules::new(default, &arches);
    let mut conditions = Vec::new();
    for (index, entry) in profile.syscalls().iter().flatten().enumerate() {
        let wrong = |problem: Problem| problem.of_entry(index, entry.names());
        let value = rule::returned(entry.action(), entry.errno_ret()).map_err(wrong)?;
        conditions.clear();
        for arg in entry.args().iter().flatten() {
            conditions.push(Condition::from_oci(arg).map_err(wrong)?);
        }
        for call in entry.names().iter().filter_map(|name| Call::named(name)) {
            rules.add(call, value, &conditions);
        }
    }
    rules.program(flags(profile))
}

/// The flags of a profile; where it has no list of them, runc's: SPEC_ALLOW, without which kernels before 5.16 slow
/// the container down by the mitigation of Speculative Store Bypass.
fn flags(profile: &LinuxSeccomp) -> Flags {
    use LinuxSeccompFilterFlag as F;
    let notifies = profile
        .syscalls()
        .iter()
        .flatten()
        .any(|entry| entry.action() == LinuxSeccompAction::ScmpActNotify && !entry.names().is_empty());
    let Some(listed) = profile.flags() else {
        return if notifies { Flags::SPEC_ALLOW | Flags::NEW_LISTENER } else { Flags::SPEC_ALLOW };
    };
    let mut flags = if notifies { Flags::NEW_LISTENER } else { Flags::NONE };
    for flag in listed {
        flags |= match flag {
            F::SeccompFilterFlagLog => Flags::LOG,
            F::SeccompFilterFlagTsync => Flags::TSYNC,
            F::SeccompFilterFlagSpecAllow => Flags::SPEC_ALLOW,
            // The kernel refuses it where there is no listener.
            F::SeccompFilterFlagWaitKillableRecv if notifies => Flags::WAIT_KILLABLE_RECV,
            F::SeccompFilterFlagWaitKillableRecv => Flags::NONE,
        };
    }
    flags
}

/// The rules of all architectures of a filter.
pub(crate) struct Rules {
    default: u32,
    tables: Vec<Table>,
    chains: Vec<Chain>,
}

/// The verdicts of one architecture, and the last ordinary number that the profile names.
struct Table {
    arch: Arch,
    last: Option<Slot>,
    verdicts: [Verdict; SLOTS],
}

impl Rules {
    pub(crate) fn new(default: u32, arches: &[Arch]) -> Self {
        let verdicts = [Verdict::Return(default); SLOTS];
        let tables = arches.iter().map(|&arch| Table { arch, last: None, verdicts }).collect();
        Self { default, tables, chains: Vec::new() }
    }

    /// Adds a rule: `call` returns `value` where all `conditions` hold.
    pub(crate) fn add(&mut self, call: Call, value: u32, conditions: &[Condition]) {
        let repeats = |at: usize, argument| conditions[..at].iter().any(|other| other.argument == argument);
        if conditions.iter().enumerate().any(|(at, one)| repeats(at, one.argument)) {
            for one in conditions {
                self.add_one(call, value, std::slice::from_ref(one));
            }
        } else {
            self.add_one(call, value, conditions);
        }
    }

    fn add_one(&mut self, call: Call, value: u32, conditions: &[Condition]) {
        let (default, chains) = (self.default, &mut self.chains);
        for table in &mut self.tables {
            if let Some(slot) = call.slot(table.arch) {
                table.add(chains, default, slot, value, conditions);
            }
            if table.arch == Arch::X86
                && let Some((multiplexer, number)) = multiplex::of(call)
                && let Some(slot) = multiplexer.slot(table.arch)
            {
                let mut within = vec![Condition::new(0, Operator::Equal, number.into())];
                within.extend(conditions.iter().filter(|condition| condition.argument != 0));
                table.add(chains, default, slot, value, &within);
            }
        }
    }

    /// The program that they make.
    pub(crate) fn program(mut self, flags: Flags) -> Result<Program, Error> {
        self.share_chains();
        let enosys = (!rule::is_permissive(self.default)).then_some(rule::ERRNO | rule::ENOSYS);
        let mut groups: Vec<(u32, Vec<Range>)> = Vec::new();
        for table in &self.tables {
            let audit = table.arch.audit();
            if groups.iter().any(|(known, _)| *known == audit) {
                continue;
            }
            let mut ranges = Ranges(Vec::with_capacity(256));
            let x32 = self.tables.iter().find(|table| table.arch == Arch::X32);
            let x86_64 = self.tables.iter().find(|table| table.arch == Arch::X86_64);
            match table.arch {
                Arch::X86_64 | Arch::X32 => {
                    match x86_64 {
                        Some(table) => table.ranges(self.default, enosys, &mut ranges),
                        None => ranges.push(0, Verdict::Return(rule::KILL_THREAD)),
                    }
                    match x32 {
                        Some(table) => table.ranges(self.default, enosys, &mut ranges),
                        None => {
                            ranges.push(X32_BIT, Verdict::Return(rule::KILL_THREAD));
                            ranges.push(u32::MAX, Verdict::Return(self.default));
                        }
                    }
                }
                _ => table.ranges(self.default, enosys, &mut ranges),
            }
            groups.push((audit, ranges.0));
        }
        let instructions = Assembler::new(&self.chains, self.default).program(&groups, rule::KILL_THREAD);
        if instructions.len() > MAX_INSTRUCTIONS {
            return Err(Error::TooLong(instructions.len()));
        }
        Ok(Program { instructions, flags })
    }

    /// Gives equal chains one index: their calls merge into one range, and their code is written once.
    fn share_chains(&mut self) {
        let first: Vec<u16> = (0..self.chains.len())
            .map(|at| self.chains.iter().position(|chain| *chain == self.chains[at]).unwrap_or(at) as u16)
            .collect();
        for verdict in self.tables.iter_mut().flat_map(|table| &mut table.verdicts) {
            if let Verdict::Chain(index) = verdict {
                *index = first[usize::from(*index)];
            }
        }
    }
}

impl Table {
    /// Adds a rule. One with the default action only says that the profile knows the number.
    fn add(
        &mut self,
        chains: &mut Vec<Chain>,
        default: u32,
        slot: Slot,
        value: u32,
        conditions: &[Condition],
    ) {
        if slot < ORDINARY {
            self.last = self.last.max(Some(slot));
        }
        let verdict = &mut self.verdicts[usize::from(slot)];
        if value == default || matches!(*verdict, Verdict::Return(decided) if decided != default) {
            return;
        }
        let wide = self.arch.is_wide();
        let conditions: Vec<Condition> = conditions
            .iter()
            .map(|condition| if wide { *condition } else { condition.narrow() })
            .filter(|condition| !condition.always_holds())
            .collect();
        match *verdict {
            _ if conditions.is_empty() => *verdict = Verdict::Return(value),
            Verdict::Return(_) => {
                *verdict = Verdict::Chain(chains.len() as u16);
                chains.push(Chain { wide, rules: vec![(value, conditions)] });
            }
            Verdict::Chain(index) => chains[usize::from(index)].rules.push((value, conditions)),
        }
    }

    /// Appends the ranges of this table's numbers.
    fn ranges(&self, default: u32, enosys: Option<u32>, ranges: &mut Ranges) {
        let default = Verdict::Return(default);
        let ordinary = &self.verdicts[..usize::from(ORDINARY)];
        for (slot, verdict) in ordinary.iter().enumerate() {
            ranges.push(syscalls::number(slot as Slot, self.arch), *verdict);
        }
        let mut above = default;
        if let (Some(last), Some(enosys)) = (self.last, enosys) {
            above = Verdict::Return(enosys);
            ranges.cut(syscalls::number(last + 1, self.arch));
            ranges.push(syscalls::number(last + 1, self.arch), above);
        }
        if self.arch == Arch::Arm {
            ranges.push(ARM_PRIVATE, default);
            for slot in usize::from(ORDINARY)..SLOTS {
                ranges.push(syscalls::number(slot as Slot, self.arch), self.verdicts[slot]);
            }
            ranges.push(ARM_PRIVATE + (SLOTS - usize::from(ORDINARY)) as u32, above);
        }
    }
}

/// Ranges in growing order, neighbours with one verdict being one.
struct Ranges(Vec<Range>);

impl Ranges {
    fn push(&mut self, start: u32, verdict: Verdict) {
        if self.0.last().is_none_or(|last| last.verdict != verdict) {
            self.0.push(Range { start, verdict });
        }
    }

    /// Forgets what begins at `start` or later.
    fn cut(&mut self, start: u32) {
        while self.0.last().is_some_and(|last| last.start >= start) {
            self.0.pop();
        }
    }
}
