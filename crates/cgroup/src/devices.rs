//! Which devices a group may use: rules in order, the last that speaks of a device decides, and what none speaks of
//! is refused. v1 takes them as lines of text, v2 as a small eBPF program.

use std::fmt;

use ::step::Failure;
use oci::spec::{LinuxDeviceCgroup, LinuxDeviceType};

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Allowed, or refused.
    pub allow: bool,
    /// The class of device.
    pub kind: Kind,
    /// Major number; none: all.
    pub major: Option<u32>,
    /// Minor number; none: all.
    pub minor: Option<u32>,
    /// What may or may not be done.
    pub access: Access,
}

/// The class of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// A set of read, write and mknod, in the bits of `BPF_DEVCG_ACC_*` (include/uapi/linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Make a node.
    pub const MKNOD: Self = Self(1);
    /// Read.
    pub const READ: Self = Self(2);
    /// Write.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Parses letters of `rwm`; none at all stands for all of them.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::ALL);
        }
        let bit = |letter| match letter {
            'r' => Some(Self::READ.0),
            'w' => Some(Self::WRITE.0),
            'm' => Some(Self::MKNOD.0),
            _ => None,
        };
        text.chars().try_fold(0, |bits, letter| Some(bits | bit(letter)?)).map(Self)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")] {
            if self.0 & bit.0 != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl Rule {
    /// Interprets the OCI's rule: no number or -1 is all numbers, no type is all types, no access is all access.
    pub fn from_oci(rule: &LinuxDeviceCgroup) -> Result<Self, Failure> {
        let invalid = |reason: String| Failure::because("cgroup.limits", format!("devices: {rule}"), reason);
        let kind = match rule.typ() {
            None | Some(LinuxDeviceType::A) => Kind::All,
            Some(LinuxDeviceType::B) => Kind::Block,
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Kind::Char,
            Some(LinuxDeviceType::P) => {
                return Err(invalid("a pipe is no device".into()).hint("leave the rule out"));
            }
        };
        // Twelve and twenty bits: include/linux/kdev_t.h.
        let number = |number: Option<i64>, most: u32, name: &str| match number {
            None | Some(-1) => Ok(None),
            Some(number) => match u32::try_from(number) {
                Ok(number) if number <= most => Ok(Some(number)),
                _ => Err(invalid(format!("{number} is no {name} number")).hint("-1 stands for all of them")),
            },
        };
        // Runtimes pass over an `a`, for "all", that some specifications have in the place of a letter.
        let access: String =
            rule.access().iter().flat_map(|text| text.chars()).filter(|c| *c != 'a').collect();
        Ok(Self {
            allow: rule.allow(),
            kind,
            major: number(rule.major(), 0xfff, "major")?,
            minor: number(rule.minor(), 0xf_ffff, "minor")?,
            access: Access::parse(&access).ok_or_else(|| {
                invalid(format!("{access:?} is no access")).hint("use letters of rwm: read, write, mknod")
            })?,
        })
    }

    /// Whether it speaks of every device and every access.
    fn is_sweeping(&self) -> bool {
        self.kind == Kind::All && self.major.is_none() && self.minor.is_none() && self.access == Access::ALL
    }
}

/// What the OCI runtimes allow every container besides its own rules, and after them, so that no rule takes it back:
/// runc's `AllowedDevices` (`libcontainer/specconv/spec_linux.go`). Making any node, the devices that the runtime
/// specification puts into every /dev, terminals and, since callers came to rely on it, /dev/net/tun.
pub fn runtime_defaults() -> Vec<Rule> {
    let rule = |kind, major, minor, access| Rule { allow: true, kind, major, minor, access };
    let mut rules = vec![
        rule(Kind::Char, None, None, Access::MKNOD),
        rule(Kind::Block, None, None, Access::MKNOD),
        rule(Kind::Char, Some(136), None, Access::ALL),
    ];
    // null, random, full, tty, zero, urandom, ptmx, tun
    let devices = [(1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 2), (10, 200)];
    rules.extend(devices.map(|(major, minor)| rule(Kind::Char, Some(major), Some(minor), Access::ALL)));
    rules
}

/// The rules of a specification as an OCI runtime has them: `linux.resources.devices`, then [`runtime_defaults`].
/// Without any of its own a container may use these and no others.
pub fn with_runtime_defaults(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.extend(runtime_defaults());
    rules
}

/// Whether the rules refuse anything.
pub fn restricts(rules: &[Rule]) -> bool {
    // Only what comes after the last sweeping rule counts, and after "allow all" it must refuse something.
    match rules.iter().rposition(Rule::is_sweeping) {
        Some(last) if rules[last].allow => rules[last + 1..].iter().any(|rule| !rule.allow),
        _ => !rules.is_empty(),
    }
}

/// v1's table: what is done by default, and the exceptions from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Whether what is no exception is allowed.
    pub allow: bool,
    /// The exceptions as the kernel takes and prints them: `c 1:3 rwm`.
    pub exceptions: Vec<String>,
}

#[derive(Clone, Copy)]
struct Exception {
    letter: char,
    major: Option<u32>,
    minor: Option<u32>,
    bits: u8,
}

impl Exception {
    /// Whether it speaks of every device that `other` speaks of.
    fn covers(&self, other: &Self) -> bool {
        self.letter == other.letter
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    /// Whether both speak of some device.
    fn meets(&self, other: &Self) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.letter == other.letter && meet(self.major, other.major) && meet(self.minor, other.minor)
    }

    fn line(&self) -> String {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        format!("{} {}:{} {}", self.letter, number(self.major), number(self.minor), Access(self.bits))
    }
}

/// The rules as v1's table. Errors where v1 cannot say it: it knows exceptions from a default, and none from an
/// exception (Documentation/admin-guide/cgroup-v1/devices.rst).
pub fn table(rules: &[Rule]) -> Result<Table, Failure> {
    let mut allow = false;
    let mut exceptions: Vec<Exception> = Vec::new();
    for rule in rules {
        if rule.is_sweeping() {
            allow = rule.allow;
            exceptions.clear();
            continue;
        }
        let letters: &[char] = match rule.kind {
            Kind::All => &['b', 'c'],
            Kind::Block => &['b'],
            Kind::Char => &['c'],
        };
        for &letter in letters {
            let new = Exception { letter, major: rule.major, minor: rule.minor, bits: rule.access.0 };
            if rule.allow != allow {
                match exceptions.iter_mut().find(|old| old.covers(&new) && new.covers(old)) {
                    Some(same) => same.bits |= new.bits,
                    None => exceptions.push(new),
                }
                continue;
            }
            for old in exceptions.iter_mut().filter(|old| old.meets(&new) && old.bits & new.bits != 0) {
                if !new.covers(old) {
                    let reason = format!("cgroup v1 cannot take {} back from {}", new.line(), old.line());
                    return Err(Failure::because("cgroup.plan", "devices", reason)
                        .hint("put the wider rule first and name the devices one by one, or use cgroup v2"));
                }
                old.bits &= !new.bits;
            }
            exceptions.retain(|old| old.bits != 0);
        }
    }
    // The kernel looks for one exception that has all of the access asked for: each needs what wider ones add.
    let all = exceptions.clone();
    for exception in &mut exceptions {
        exception.bits =
            all.iter().filter(|other| other.covers(exception)).fold(0, |bits, other| bits | other.bits);
    }
    Ok(Table { allow, exceptions: exceptions.iter().map(Exception::line).collect() })
}

// The eight bytes of `struct bpf_insn`, as this machine (little-endian, like all that we run on) reads them.
const LOAD_W: u8 = 0x61; // dst = *(u32 *)(src + off)
const MOV32: u8 = 0xbc; // dst = src
const AND32: u8 = 0x54; // dst &= imm
const SHIFT_RIGHT32: u8 = 0x74; // dst >>= imm
const MOV: u8 = 0xb7; // dst = imm
const IF_NOT_EQUAL: u8 = 0x55; // if dst != imm, jump
const IF_EQUAL: u8 = 0x15; // if dst == imm, jump
const EXIT: u8 = 0x95;

const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: u32) -> u64 {
    code as u64 | (dst as u64) << 8 | (src as u64) << 12 | (off as u16 as u64) << 16 | (imm as u64) << 32
}

/// The rules as a program of `BPF_PROG_TYPE_CGROUP_DEVICE`: r0 is 1 where the access is allowed.
///
/// The kernel asks once for all the access that a process wants; each of it is judged by the last rule that speaks
/// of it. Hence the rules are gone through from the last to the first: a refusing rule ends it if it speaks of any
/// access left, an allowing one takes its own away and ends it when nothing is left.
pub fn program(rules: &[Rule]) -> Vec<u64> {
    // r1: struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | type), major, minor }.
    let mut code = vec![
        insn(LOAD_W, 2, 1, 0, 0),
        insn(MOV32, 3, 2, 0, 0),
        insn(AND32, 2, 0, 0, 0xffff),
        insn(SHIFT_RIGHT32, 3, 0, 0, 16),
        insn(LOAD_W, 4, 1, 4, 0),
        insn(LOAD_W, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        if rule.is_sweeping() {
            // What comes before it decides nothing any more, and the verifier refuses code that is never reached.
            code.extend([insn(MOV, 0, 0, 0, u32::from(rule.allow)), insn(EXIT, 0, 0, 0, 0)]);
            return code;
        }
        // The jump's target is the next rule; its distance is known when the block is complete.
        let mut block: Vec<(u8, u8, u32)> = Vec::with_capacity(8);
        match rule.kind {
            Kind::All => {}
            Kind::Block => block.push((IF_NOT_EQUAL, 2, 1)),
            Kind::Char => block.push((IF_NOT_EQUAL, 2, 2)),
        }
        block.extend(rule.major.map(|major| (IF_NOT_EQUAL, 4, major)));
        block.extend(rule.minor.map(|minor| (IF_NOT_EQUAL, 5, minor)));
        if rule.access != Access::ALL && rule.allow {
            block.extend([(AND32, 3, u32::from(!rule.access.0 & Access::ALL.0)), (IF_NOT_EQUAL, 3, 0)]);
        } else if rule.access != Access::ALL {
            block.extend([(MOV32, 1, 3), (AND32, 1, u32::from(rule.access.0)), (IF_EQUAL, 1, 0)]);
        }
        block.extend([(MOV, 0, u32::from(rule.allow)), (EXIT, 0, 0)]);
        let end = block.len();
        code.extend(block.into_iter().enumerate().map(|(at, (op, dst, value))| match op {
            IF_NOT_EQUAL | IF_EQUAL => insn(op, dst, 0, (end - at - 1) as i16, value),
            MOV32 => insn(op, dst, value as u8, 0, 0),
            _ => insn(op, dst, 0, 0, value),
        }));
    }
    code.extend([insn(MOV, 0, 0, 0, 0), insn(EXIT, 0, 0, 0, 0)]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would, the dozen instructions that we use; a wild one panics.
    fn run(code: &[u64], kind: u32, access: u8, major: u32, minor: u32) -> bool {
        let context = [u32::from(access) << 16 | kind, major, minor];
        let (mut r, mut pc, mut left) = ([0u64; 6], 0usize, 10_000);
        loop {
            left -= 1;
            assert!(left > 0, "does not end");
            let word = code[pc];
            let (dst, src) = ((word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
            let (off, imm) = ((word >> 16) as i16, (word >> 32) as u32);
            pc += 1;
            match word as u8 {
                LOAD_W => {
                    assert_eq!(src, 1);
                    r[dst] = u64::from(context[off as usize / 4]);
                }
                MOV32 => r[dst] = u64::from(r[src] as u32),
                AND32 => r[dst] = u64::from(r[dst] as u32 & imm),
                SHIFT_RIGHT32 => r[dst] = u64::from(r[dst] as u32 >> imm),
                MOV => r[dst] = u64::from(imm),
                IF_NOT_EQUAL if r[dst] != u64::from(imm) => pc = pc.strict_add_signed(off as isize),
                IF_EQUAL if r[dst] == u64::from(imm) => pc = pc.strict_add_signed(off as isize),
                IF_NOT_EQUAL | IF_EQUAL => {}
                EXIT => return r[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    /// What the rules mean, said another way: each access by itself, by the last rule that speaks of it.
    fn meaning(rules: &[Rule], kind: u32, access: u8, major: u32, minor: u32) -> bool {
        [1u8, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            rules
                .iter()
                .rfind(|rule| {
                    let class = match rule.kind {
                        Kind::All => true,
                        Kind::Block => kind == 1,
                        Kind::Char => kind == 2,
                    };
                    class
                        && rule.major.is_none_or(|number| number == major)
                        && rule.minor.is_none_or(|number| number == minor)
                        && rule.access.0 & bit != 0
                })
                .is_some_and(|rule| rule.allow)
        })
    }

    fn rule(allow: bool, kind: Kind, major: Option<u32>, minor: Option<u32>, access: &str) -> Rule {
        Rule { allow, kind, major, minor, access: Access::parse(access).unwrap() }
    }

    const DENY: Rule = Rule { allow: false, kind: Kind::All, major: None, minor: None, access: Access::ALL };

    #[test]
    fn exact_instructions_of_a_short_list() {
        let rules = [DENY, rule(true, Kind::Char, Some(1), Some(3), "rw")];
        assert_eq!(
            program(&rules)[6..],
            [
                0x0000_0002_0006_0255, // if r2 != 2 goto +6
                0x0000_0001_0005_0455, // if r4 != 1 goto +5
                0x0000_0003_0004_0555, // if r5 != 3 goto +4
                0x0000_0001_0000_0354, // w3 &= 1
                0x0000_0000_0002_0355, // if r3 != 0 goto +2
                0x0000_0001_0000_00b7, // r0 = 1
                0x95,                  // exit
                0xb7,                  // r0 = 0
                0x95,                  // exit
            ]
        );
    }

    #[test]
    fn the_program_means_what_the_rules_mean() {
        // Every list of three rules out of these, asked for every access to every device that they tell apart.
        let choice = [
            DENY,
            Rule { allow: true, ..DENY },
            rule(true, Kind::Char, Some(1), Some(3), "rwm"),
            rule(false, Kind::Char, Some(1), None, "w"),
            rule(true, Kind::All, None, None, "m"),
            rule(true, Kind::Block, None, Some(3), "rw"),
            rule(false, Kind::All, Some(1), Some(3), "r"),
            rule(true, Kind::Char, Some(5), Some(3), "w"),
        ];
        let mut asked = 0;
        for a in choice {
            for b in choice {
                for c in choice {
                    let rules = [a, b, c];
                    let code = program(&rules);
                    for (kind, access, major, minor) in (0..64).map(|n| {
                        (1 + (n & 1), 1 + (n >> 3) as u8 % 7, [1, 5][n as usize >> 1 & 1], 3 + (n >> 2 & 1))
                    }) {
                        let expected = meaning(&rules, kind, access, major, minor);
                        assert_eq!(
                            run(&code, kind, access, major, minor),
                            expected,
                            "{rules:?} {kind} {access} {major}:{minor}"
                        );
                        asked += 1;
                    }
                }
            }
        }
        assert_eq!(asked, 8 * 8 * 8 * 64);
    }

    #[test]
    fn v1_takes_exceptions_from_a_default() {
        let null = rule(true, Kind::Char, Some(1), Some(3), "rw");
        let nodes = rule(true, Kind::All, None, None, "m");
        let table = table(&[DENY, nodes, null]).unwrap();
        assert!(!table.allow);
        // Null has mknod too: the kernel wants all of the access in one exception.
        assert_eq!(table.exceptions, ["b *:* m", "c *:* m", "c 1:3 rwm"]);
        let taken_back = Rule { allow: false, ..null };
        assert_eq!(super::table(&[DENY, null, taken_back]).unwrap().exceptions, [""; 0]);
        let failure = super::table(&[DENY, Rule { minor: None, ..null }, taken_back]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "cgroup.plan on devices: cgroup v1 cannot take c 1:3 rw back from c 1:* rw"
        );
    }

    #[test]
    fn allow_all_is_no_restriction() {
        let all = Rule { allow: true, ..DENY };
        assert!(!restricts(&[]) && !restricts(&[all]) && !restricts(&[DENY, all]));
        assert!(restricts(&[DENY]) && restricts(&[all, DENY]));
        let null = rule(true, Kind::Char, Some(1), Some(3), "rwm");
        assert!(!restricts(&[all, null]) && restricts(&[null]));
        assert!(restricts(&[all, Rule { allow: false, ..null }]));
        assert_eq!(
            table(&[all, Rule { allow: false, ..null }]).unwrap(),
            Table { allow: true, exceptions: vec!["c 1:3 rwm".into()] }
        );
    }

    #[test]
    fn a_runtime_allows_its_devices_whatever_the_rules() {
        const READ: u8 = Access::READ.0;
        let allowed = |rules: Vec<Rule>| {
            let code = program(&with_runtime_defaults(rules));
            move |kind, access, major, minor| run(&code, kind, access, major, minor)
        };
        let kmsg = rule(false, Kind::Char, Some(1), Some(11), "rw");
        for rules in
            [vec![], vec![DENY], vec![DENY, kmsg], vec![rule(false, Kind::Char, Some(1), Some(3), "rwm")]]
        {
            let allowed = allowed(rules);
            assert!(allowed(2, 7, 1, 3) && allowed(2, READ, 136, 5) && allowed(2, READ, 10, 200));
            assert!(allowed(1, Access::MKNOD.0, 8, 0) && allowed(2, Access::MKNOD.0, 1, 11));
            assert!(!allowed(2, READ, 1, 11) && !allowed(1, READ, 8, 0) && !allowed(2, READ, 5, 1));
        }
        let privileged = vec![Rule { allow: true, ..DENY }];
        assert!(!restricts(&with_runtime_defaults(privileged.clone())));
        assert!(allowed(privileged)(2, READ, 1, 11));
        // v1 can say it too.
        let table = table(&with_runtime_defaults(vec![DENY, kmsg])).unwrap();
        assert_eq!((table.allow, table.exceptions.len()), (false, 11));
        assert!(table.exceptions.contains(&"c 136:* rwm".to_owned()));
    }

    #[test]
    fn rules_of_the_oci() {
        use oci::spec::LinuxDeviceCgroupBuilder as Builder;
        let parse = |builder: Builder| Rule::from_oci(&builder.build().unwrap());
        assert_eq!(parse(Builder::default().allow(false).access("rwm")).unwrap(), DENY);
        let wild = parse(Builder::default().allow(true).typ(LinuxDeviceType::U).major(5).minor(-1)).unwrap();
        assert_eq!(wild, rule(true, Kind::Char, Some(5), None, "rwm"));
        let passed_over =
            parse(Builder::default().allow(false).typ(LinuxDeviceType::C).access("rwa")).unwrap();
        assert_eq!(passed_over, rule(false, Kind::Char, None, None, "rw"));
        assert!(parse(Builder::default().access("rx")).is_err());
        assert!(parse(Builder::default().major(4096)).is_err());
        assert!(parse(Builder::default().typ(LinuxDeviceType::P)).is_err());
    }
}
