//! Rules of devices built from the input's bytes: version 2's program, version 1's table and systemd's list against
//! what the rules mean.

use cgroup::devices::{self, Access, Kind, Rule, Table};
use cgroup::systemd::{Value, translate};
use cgroup::{Hierarchies, Limits};

use crate::bytes::Bytes;
use crate::hosts;

const MAJORS: [Option<u32>; 6] = [None, Some(1), Some(5), Some(136), Some(0), Some(0xfff)];
const MINORS: [Option<u32>; 6] = [None, Some(3), Some(0), Some(5), Some(9), Some(0xf_ffff)];
/// Also some that no rule speaks of.
const ASKED_MAJORS: [u32; 6] = [0, 1, 5, 136, 0xfff, 77];
const ASKED_MINORS: [u32; 6] = [0, 3, 5, 9, 0xf_ffff, 77];

/// Accesses as the bits of `BPF_DEVCG_ACC_*`.
const LETTERS: [(u8, char); 3] = [(1, 'm'), (2, 'r'), (4, 'w')];

/// A list of rules, and each access to each device that they tell apart.
pub fn devices(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut rules = Vec::new();
    let defaults = bytes.byte() == 1;
    while !bytes.is_empty() && rules.len() < 24 {
        rules.push(rule(&mut bytes));
    }
    if defaults {
        rules = devices::with_runtime_defaults(rules);
    }
    let program = devices::program(&rules);
    check(&program);
    let table = devices::table(&rules);
    let listed = listed(&rules);
    let mut refused = false;
    for kind in [Kind::Block, Kind::Char] {
        for major in ASKED_MAJORS {
            for minor in ASKED_MINORS {
                for access in 1..8 {
                    let asked = Asked { kind, major, minor, access };
                    let means = asked.is_allowed(&rules);
                    refused |= !means;
                    assert_eq!(run(&program, asked), means, "version 2: {asked:?} by {rules:?}");
                    if let Ok(table) = &table {
                        let by_table = asked.is_in(table);
                        // Version 1 wants one exception for all of an access.
                        let exact = access.count_ones() == 1 || is_plain(&rules);
                        assert!(
                            by_table == means || !exact && !by_table,
                            "version 1: {asked:?} by {table:?}"
                        );
                    }
                    if let Some(listed) = &listed {
                        assert!(!means || asked.is_listed(listed), "systemd: {asked:?} by {listed:?}");
                    }
                }
            }
        }
    }
    assert!(devices::restricts(&rules) || !refused || rules.is_empty(), "{rules:?} refuse something");
    if let Err(failure) = table {
        assert!(!failure.to_string().is_empty() && failure.hint.is_some());
    }
}

fn rule(bytes: &mut Bytes) -> Rule {
    let shape = bytes.byte();
    let kind = [Kind::Char, Kind::Block, Kind::All, Kind::All][usize::from(shape >> 1 & 3)];
    if shape >= 240 {
        return Rule {
            allow: shape & 1 == 1,
            kind: Kind::All,
            major: None,
            minor: None,
            access: Access::ALL,
        };
    }
    let access = match shape >> 3 & 7 {
        0 => Access::ALL,
        bits => Access::parse(&letters(bits)).expect("letters of it"),
    };
    Rule { allow: shape & 1 == 1, kind, major: bytes.pick(&MAJORS), minor: bytes.pick(&MINORS), access }
}

fn letters(access: u8) -> String {
    LETTERS.iter().filter(|(bit, _)| access & bit != 0).map(|(_, letter)| *letter).collect()
}

fn bits(letters: &str) -> u8 {
    LETTERS.iter().filter(|(_, letter)| letters.contains(*letter)).fold(0, |bits, (bit, _)| bits | bit)
}

/// No rule speaks of a minor number of every major one: then of two exceptions that meet one covers the other.
fn is_plain(rules: &[Rule]) -> bool {
    rules.iter().all(|rule| rule.major.is_some() || rule.minor.is_none())
}

/// What somebody wants to do to a device.
#[derive(Debug, Clone, Copy)]
struct Asked {
    kind: Kind,
    major: u32,
    minor: u32,
    access: u8,
}

impl Asked {
    /// Each access by itself, by the last rule that speaks of it.
    fn is_allowed(&self, rules: &[Rule]) -> bool {
        LETTERS.iter().filter(|(bit, _)| self.access & bit != 0).all(|(_, letter)| {
            let speaks = |rule: &&Rule| {
                (rule.kind == Kind::All || rule.kind == self.kind)
                    && rule.major.is_none_or(|major| major == self.major)
                    && rule.minor.is_none_or(|minor| minor == self.minor)
                    && rule.access.to_string().contains(*letter)
            };
            rules.iter().rfind(speaks).is_some_and(|rule| rule.allow)
        })
    }

    /// `devcgroup_legacy_check_permission` of security/device_cgroup.c.
    fn is_in(&self, table: &Table) -> bool {
        let exceptions = table.exceptions.iter().map(|line| {
            let mut words = line.split(' ');
            let (kind, numbers) = (words.next().expect("a kind"), words.next().expect("numbers"));
            let (major, minor) = numbers.split_once(':').expect("two numbers");
            let access = bits(words.next().expect("an access"));
            assert_eq!(words.next(), None, "{line}");
            let same = kind == if self.kind == Kind::Block { "b" } else { "c" };
            let matches = |text: &str, number: u32| text == "*" || text.parse() == Ok(number);
            (same && matches(major, self.major) && matches(minor, self.minor), access)
        });
        let mut speaking = exceptions.filter(|(speaks, _)| *speaks).map(|(_, access)| access);
        match table.allow {
            true => speaking.all(|access| access & self.access == 0),
            false => speaking.any(|access| self.access & !access == 0),
        }
    }

    /// By systemd's own list, `DeviceAllow=` with `DevicePolicy=strict`.
    fn is_listed(&self, listed: &[(String, u8)]) -> bool {
        let kind = if self.kind == Kind::Block { "block" } else { "char" };
        let names = [
            format!("{kind}-*"),
            format!("{kind}-{}", self.major),
            format!("/dev/{kind}/{}:{}", self.major, self.minor),
        ];
        listed.iter().any(|(name, access)| names.contains(name) && self.access & !access == 0)
    }
}

/// What systemd's own program would allow on a host with version 2 alone, where it stands beside ours; none where it
/// gets no list.
fn listed(rules: &[Rule]) -> Option<Vec<(String, u8)>> {
    let host: Hierarchies = hosts::unified();
    let limits = Limits { devices: rules.to_vec(), ..Limits::default() };
    let translation = translate(&host, &limits, 252).expect("rules of devices can be told or left out");
    let list = translation.properties.iter().rfind(|property| property.name == "DeviceAllow")?;
    let Value::Array(_, entries) = &list.value else { panic!("{list:?}") };
    let entry = |entry: &Value| match entry {
        Value::Struct(fields) => match fields.as_slice() {
            [Value::String(name), Value::String(access)] => (name.clone(), bits(access)),
            _ => panic!("{fields:?}"),
        },
        other => panic!("{other:?}"),
    };
    Some(entries.iter().map(entry).collect())
}

/// One instruction of `struct bpf_insn`.
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u8,
    dst: usize,
    src: usize,
    off: usize,
    imm: u64,
}

impl Instruction {
    fn of(word: u64) -> Self {
        let off = (word >> 16) as i16;
        Self {
            code: word as u8,
            dst: (word >> 8 & 15) as usize,
            src: (word >> 12 & 15) as usize,
            off: usize::try_from(off).unwrap_or_else(|_| panic!("{word:#x} goes backwards")),
            imm: word >> 32,
        }
    }
}

const LOAD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE: u8 = 0xb7;
const IF_EQUAL: u8 = 0x15;
const IF_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// Panics where the verifier would refuse the program: a jump out of it, code that is never reached, an end without
/// an exit, a register that nothing was put into.
fn check(program: &[u64]) {
    assert!(program.len() <= 4096, "{} instructions", program.len());
    // For each instruction the registers that have a value on every way to it; none: not reached so far.
    let mut known: Vec<Option<u16>> = vec![None; program.len()];
    known[0] = Some(1 << 1);
    for (at, word) in program.iter().enumerate() {
        let instruction = Instruction::of(*word);
        let Some(mut set) = known[at] else { panic!("{at} is never reached: {instruction:?}") };
        let needs = |register: usize| assert!(set >> register & 1 == 1, "{at}: r{register} has no value");
        let mut targets = vec![at + 1];
        match instruction.code {
            LOAD => {
                needs(instruction.src);
                assert!(instruction.src == 1 && [0, 4, 8].contains(&instruction.off), "{instruction:?}");
                set |= 1 << instruction.dst;
            }
            MOVE_REGISTER => {
                needs(instruction.src);
                set |= 1 << instruction.dst;
            }
            AND => needs(instruction.dst),
            SHIFT_RIGHT => {
                needs(instruction.dst);
                assert!(instruction.imm < 32, "{instruction:?}");
            }
            MOVE => set |= 1 << instruction.dst,
            IF_EQUAL | IF_NOT_EQUAL => {
                needs(instruction.dst);
                targets.push(at + 1 + instruction.off);
            }
            EXIT => {
                needs(0);
                targets.clear();
            }
            code => panic!("{at}: an instruction of no kind that is used here: {code:#x}"),
        }
        // r1 is the context: once it holds a number, nothing may be loaded through it (the loads all come first).
        for target in targets {
            let Some(known) = known.get_mut(target) else { panic!("{at} goes beyond the end") };
            *known = Some(known.map_or(set, |before| before & set));
        }
    }
}

/// What a program that was checked returns.
fn run(program: &[u64], asked: Asked) -> bool {
    let kind = if asked.kind == Kind::Block { 1 } else { 2 };
    let context = [u32::from(asked.access) << 16 | kind, asked.major, asked.minor];
    let (mut registers, mut at) = ([0u64; 16], 0);
    loop {
        let Instruction { code, dst, src, off, imm } = Instruction::of(program[at]);
        at += 1;
        match code {
            LOAD => registers[dst] = u64::from(context[off / 4]),
            MOVE_REGISTER => registers[dst] = registers[src] & 0xffff_ffff,
            AND => registers[dst] &= imm,
            SHIFT_RIGHT => registers[dst] = (registers[dst] & 0xffff_ffff) >> imm,
            MOVE => registers[dst] = imm,
            IF_EQUAL if registers[dst] == imm => at += off,
            IF_NOT_EQUAL if registers[dst] != imm => at += off,
            IF_EQUAL | IF_NOT_EQUAL => {}
            _ => return registers[0] == 1,
        }
    }
}
