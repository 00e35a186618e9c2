//! Profiles built from the input's bytes, compiled for each architecture; then the program's answers against the
//! rules' for calls around everything that the profile speaks of.

use oci::spec::{
    Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};
use seccomp::{Arch, Flags, Instruction, Program, syscall_number};

use crate::bpf::{self, Call};
use crate::bytes::Bytes;
use crate::policy::Policy;

const ACTIONS: [LinuxSeccompAction; 9] = [
    LinuxSeccompAction::ScmpActErrno,
    LinuxSeccompAction::ScmpActAllow,
    LinuxSeccompAction::ScmpActLog,
    LinuxSeccompAction::ScmpActTrace,
    LinuxSeccompAction::ScmpActTrap,
    LinuxSeccompAction::ScmpActKill,
    LinuxSeccompAction::ScmpActKillThread,
    LinuxSeccompAction::ScmpActKillProcess,
    LinuxSeccompAction::ScmpActNotify,
];

const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpNe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
];

const FLAGS: [LinuxSeccompFilterFlag; 4] = [
    LinuxSeccompFilterFlag::SeccompFilterFlagLog,
    LinuxSeccompFilterFlag::SeccompFilterFlagTsync,
    LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow,
    LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv,
];

/// A profile of the input's, or the default policy for capabilities of its.
pub fn seccomp_rules(data: &[u8]) {
    let mut bytes = Bytes(data);
    let kind = bytes.byte();
    let native = Arch::ALL[usize::from(kind) % Arch::ALL.len()];
    if kind >= 250 {
        let chosen = bytes.word();
        let all = oci::CAPABILITIES.iter().enumerate();
        let capabilities: Vec<Capability> =
            all.filter(|(number, _)| chosen >> number & 1 == 1).map(|(_, (one, _))| *one).collect();
        let kernel = (u32::from(bytes.byte() % 8), u32::from(bytes.byte() % 32));
        let profile = seccomp::default_profile(native, &capabilities, kernel);
        let program = seccomp::default_program(native, &capabilities, kernel).expect("the default policy");
        assert_eq!(Some(&program), seccomp::compile_for(native, &profile).ok().as_ref(), "two ways to one");
        compare(native, &profile, &program, &mut bytes);
        return;
    }
    let profile = profile(&mut bytes);
    if let Some(program) = compiled(native, &profile) {
        compare(native, &profile, &program, &mut bytes);
    }
}

/// The profile's program if it has one; what must hold of it whatever the profile.
pub(crate) fn compiled(native: Arch, profile: &LinuxSeccomp) -> Option<Program> {
    let program = match seccomp::compile_for(native, profile) {
        Ok(program) => program,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    bpf::check(program.instructions());
    let read = Program::from_bytes(&program.to_bytes());
    assert_eq!(read.ok().as_ref(), Some(&program), "what was stored is read");
    let notifies = program.instructions().contains(&RETURN_NOTIFY);
    assert!(!notifies || program.flags().contains(Flags::NEW_LISTENER), "nobody would listen");
    let waits = program.flags().contains(Flags::WAIT_KILLABLE_RECV);
    assert!(!waits || program.flags().contains(Flags::NEW_LISTENER), "the kernel refuses it");
    Some(program)
}

const RETURN_NOTIFY: Instruction = Instruction { code: 0x06, jt: 0, jf: 0, k: 0x7fc0_0000 };

/// Both answers to as many calls as are worth it.
pub(crate) fn compare(native: Arch, profile: &LinuxSeccomp, program: &Program, bytes: &mut Bytes) {
    let policy = Policy::new(native, profile);
    let try_one = |call: Call| {
        let (found, expected) = (bpf::run(program.instructions(), &call), policy.answer(&call));
        assert_eq!(found, expected, "{native:?} {call:x?}: {found:#x} and not {expected:#x}\n{profile:?}");
    };
    // Calls that the input chooses, and one of an architecture that no filter is made for.
    try_one(Call { nr: 0, arch: 0x8000_0016, args: [0; 6] });
    for _ in 0..16 {
        if bytes.is_empty() {
            break;
        }
        let arch = bytes.pick(&Arch::ALL).audit();
        let nr = bytes.number() as u32;
        try_one(Call { nr, arch, args: std::array::from_fn(|_| bytes.number()) });
    }
    let lists = arguments(profile);
    for arch in Arch::ALL {
        let audit = arch.audit();
        let named = named(profile, arch);
        for &nr in &named {
            let lists = if policy.has(arch) { lists.as_slice() } else { &lists[..1] };
            lists.iter().for_each(|&args| try_one(Call { nr, arch: audit, args }));
        }
        let around = named.iter().flat_map(|nr| [nr.saturating_sub(1), nr + 1]);
        for nr in around.chain(EDGES) {
            try_one(Call { nr, arch: audit, args: [0; 6] });
        }
    }
}

/// Numbers where something else begins on some architecture.
const EDGES: [u32; 16] = [
    0,
    102,
    117,
    548,
    0xe_ffff,
    0xf_0000,
    0xf_000f,
    0xf_0010,
    0x3fff_ffff,
    0x4000_0000,
    0x4000_0227,
    0x4000_0300,
    0x7fff_ffff,
    0x8000_0000,
    u32::MAX - 1,
    u32::MAX,
];

/// The numbers on `arch` of what the profile names.
fn named(profile: &LinuxSeccomp, arch: Arch) -> Vec<u32> {
    let names = profile.syscalls().iter().flatten().flat_map(|entry| entry.names());
    let mut all: Vec<u32> = names.filter_map(|name| syscall_number(arch, name)).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(500);
    all
}

/// Lists of arguments: around what the profile's conditions compare with, not too many.
fn arguments(profile: &LinuxSeccomp) -> Vec<[u64; 6]> {
    let entries = profile.syscalls().iter().flatten();
    let conditions: Vec<&LinuxSeccompArg> = entries.flat_map(|entry| entry.args().iter().flatten()).collect();
    let mut lists = vec![[0; 6]];
    // All conditions of one entry at once, as far as they want equality; then each edge of each by itself.
    let mut all = [0; 6];
    for condition in &conditions {
        if let Some(argument) = all.get_mut(condition.index()) {
            *argument = match condition.op() {
                LinuxSeccompOperator::ScmpCmpMaskedEq => condition.value_two().unwrap_or(0),
                _ => condition.value(),
            };
        }
    }
    lists.push(all);
    for condition in conditions {
        let (value, second) = (condition.value(), condition.value_two().unwrap_or(0));
        for value in [value.wrapping_sub(1), value, value.wrapping_add(1), value ^ 1 << 32, second & value] {
            for base in [[0; 6], all] {
                let mut list = base;
                if let Some(argument) = list.get_mut(condition.index()) {
                    *argument = value;
                    lists.push(list);
                }
            }
        }
    }
    lists.truncate(16);
    lists
}

fn profile(bytes: &mut Bytes) -> LinuxSeccomp {
    let names: Vec<&'static str> = seccomp::syscall_names().collect();
    let mut profile = LinuxSeccomp::default();
    let (action, errno) = action(bytes);
    profile.set_default_action(action).set_default_errno_ret(errno);
    let chosen = bytes.byte();
    let arches: Vec<_> =
        (0..5).filter(|bit| chosen >> bit & 1 == 1).map(|bit| Arch::ALL[bit].to_oci()).collect();
    profile.set_architectures(if chosen & 0x20 == 0 { Some(arches) } else { None });
    let chosen = bytes.byte();
    let flags = (0..4).filter(|bit| chosen >> bit & 1 == 1).map(|bit| FLAGS[bit]).collect();
    profile.set_flags(if chosen & 0x10 == 0 { None } else { Some(flags) });
    let count = bytes.below(48);
    // Few different calls, so that rules meet.
    let first = bytes.below(names.len());
    let pool: Vec<&'static str> = (0..1 + bytes.below(12))
        .map(|at| match bytes.byte() {
            step @ 0..200 => names[(first + at + usize::from(step)) % names.len()],
            200..230 => bytes.pick(&["socket", "accept4", "sendto", "semop", "shmctl", "msgrcv"]),
            230..250 => bytes.pick(&["socketcall", "ipc", "cacheflush", "set_tls", "read", "file_setattr"]),
            _ => bytes.pick(&["no_such_call", "", "~", "é"]),
        })
        .collect();
    let mut entries = Vec::new();
    while entries.len() < count && !bytes.is_empty() {
        entries.push(entry(bytes, &pool));
    }
    profile.set_syscalls(Some(entries));
    profile
}

fn entry(bytes: &mut Bytes, pool: &[&str]) -> LinuxSyscall {
    let mut entry = LinuxSyscall::default();
    let shape = bytes.byte();
    let names = (0..usize::from(shape >> 6)).map(|_| bytes.pick(pool).to_owned()).collect();
    let (action, errno) = action(bytes);
    entry.set_names(names).set_action(action).set_errno_ret(errno);
    let args: Vec<LinuxSeccompArg> = (0..shape & 7).map_while(|_| argument(bytes)).collect();
    entry.set_args(if shape & 8 == 0 { Some(args) } else { None });
    entry
}

fn argument(bytes: &mut Bytes) -> Option<LinuxSeccompArg> {
    let chosen = bytes.byte();
    // Now and then one that no call has.
    let index = if chosen == 255 { 6 } else { usize::from(chosen) % 6 };
    let operator = bytes.pick(&OPERATORS);
    let mut builder = LinuxSeccompArgBuilder::default().index(index).op(operator).value(bytes.number());
    if operator == LinuxSeccompOperator::ScmpCmpMaskedEq || bytes.yes() {
        builder = builder.value_two(bytes.number());
    }
    builder.build().ok()
}

/// An action with what it returns besides. Mostly what may be said; one thing that is wrong spoils a whole profile.
fn action(bytes: &mut Bytes) -> (LinuxSeccompAction, Option<u32>) {
    use LinuxSeccompAction as A;
    let action = bytes.pick(&ACTIONS);
    let takes = matches!(action, A::ScmpActErrno | A::ScmpActTrace);
    let errno = match bytes.byte() {
        0..128 => None,
        128..253 if takes => Some(u32::from(bytes.byte()) << (bytes.byte() % 5)),
        253.. => Some(bytes.number() as u32),
        _ => None,
    };
    (action, errno)
}
