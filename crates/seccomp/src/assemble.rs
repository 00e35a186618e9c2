//! Decisions to instructions: a balanced tree of comparisons over ranges of numbers, with an action or a chain of
//! rules with conditions at each leaf.
//!
//! The program is written from its end to its start. Classic BPF only jumps forward, so every target has its place
//! when the jump to it is written, and nothing needs patching. A conditional jump reaches 255 instructions; where the
//! target is farther, a copy of it (a return) or an unconditional jump to it is put within reach. So a return is written
//! last of a comparison's targets: after a long other one its copy would be all that is reached.

use sys::seccomp::Instruction;

use crate::rule::{Condition, Operator};

/// A place in the program, counted from its end.
type Place = usize;

/// What is decided for a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The filter returns this.
    Return(u32),
    /// The chain of this index decides.
    Chain(u16),
}

/// Rules of one call, in the profile's order: the first whose conditions all hold decides, else the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Whether arguments have 64 bits.
    pub(crate) wide: bool,
    /// What is returned, under which conditions.
    pub(crate) rules: Vec<(u32, Vec<Condition>)>,
}

/// Numbers from `start` up to the next range's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) verdict: Verdict,
}

// linux/bpf_common.h.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const IF_GREATER_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// struct seccomp_data of linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// How far a conditional jump reaches.
const REACH: usize = 255;

/// Puts a program together, from its end.
pub(crate) struct Assembler<'c> {
    chains: &'c [Chain],
    default: u32,
    code: Vec<Instruction>,
    /// The nearest copy of each return.
    returns: Vec<(u32, Place)>,
    /// Where each chain begins, once it is written.
    written: Vec<Option<Place>>,
}

impl<'c> Assembler<'c> {
    /// `default` is what chains return where no rule of theirs does.
    pub(crate) fn new(chains: &'c [Chain], default: u32) -> Self {
        let code = Vec::with_capacity(1024);
        Self { chains, default, code, returns: Vec::new(), written: vec![None; chains.len()] }
    }

    /// The whole program: `ranges` for the calls of each AUDIT_ARCH_* value, `foreign` for those of any other.
    pub(crate) fn program(mut self, arches: &[(u32, Vec<Range>)], foreign: u32) -> Vec<Instruction> {
        let mut next = None;
        // Written backwards: the first architecture is the first that is asked for.
        for (audit, ranges) in arches.iter().rev() {
            let mut tree = self.tree(ranges);
            if ranges.len() > 1 {
                // The tree's first comparison was written last: the load falls through to it.
                tree = self.plain(LOAD, NUMBER);
            }
            let other = next.unwrap_or_else(|| self.returns(foreign));
            next = Some(self.branch(IF_EQUAL, *audit, tree, other));
        }
        self.plain(LOAD, ARCH);
        self.code.reverse();
        self.code
    }

    /// The decision over `ranges` (at least one), the number being loaded.
    fn tree(&mut self, ranges: &[Range]) -> Place {
        match ranges {
            [one] => self.verdict(one.verdict),
            // A single number among others: one comparison less.
            [before, one, after] if before.verdict == after.verdict && one.start + 1 == after.start => {
                let (one_place, others) = self.both(std::slice::from_ref(one), std::slice::from_ref(before));
                self.branch(IF_EQUAL, one.start, one_place, others)
            }
            _ => {
                let middle = ranges.len() / 2;
                let (low, high) = ranges.split_at(middle);
                let start = high[0].start;
                let (high, low) = self.both(high, low);
                self.branch(IF_GREATER_EQUAL, start, high, low)
            }
        }
    }

    /// The decisions over both, a single return after the other.
    fn both(&mut self, one: &[Range], other: &[Range]) -> (Place, Place) {
        if matches!(one, [Range { verdict: Verdict::Return(_), .. }]) {
            let other = self.tree(other);
            return (self.tree(one), other);
        }
        let one = self.tree(one);
        (one, self.tree(other))
    }

    fn verdict(&mut self, verdict: Verdict) -> Place {
        match verdict {
            Verdict::Return(value) => self.returns(value),
            Verdict::Chain(index) => match self.written[usize::from(index)] {
                Some(place) => place,
                None => {
                    let place = self.chain(&self.chains[usize::from(index)]);
                    self.written[usize::from(index)] = Some(place);
                    place
                }
            },
        }
    }

    fn chain(&mut self, chain: &'c Chain) -> Place {
        let mut next = self.returns(self.default);
        for (value, conditions) in chain.rules.iter().rev() {
            let mut place = self.returns(*value);
            for condition in conditions.iter().rev() {
                place = self.condition(condition, chain.wide, place, next);
            }
            next = place;
        }
        next
    }

    /// On to `yes` where the condition holds, else to `no`.
    fn condition(&mut self, condition: &Condition, wide: bool, yes: Place, no: Place) -> Place {
        let low_offset = ARGUMENTS + 8 * u32::from(condition.argument);
        // The halves of an argument lie as the host has them, and the table has little-endian architectures only.
        let high_offset = low_offset + 4;
        let (low, high) = (condition.value as u32, (condition.value >> 32) as u32);
        let (low_mask, high_mask) = (condition.mask as u32, (condition.mask >> 32) as u32);
        // Less is "not greater or equal", and so on: BPF has three comparisons.
        let (test, negated) = match condition.operator {
            Operator::Equal => (IF_EQUAL, false),
            Operator::NotEqual => (IF_EQUAL, true),
            Operator::Greater => (IF_GREATER, false),
            Operator::LessEqual => (IF_GREATER, true),
            Operator::GreaterEqual => (IF_GREATER_EQUAL, false),
            Operator::Less => (IF_GREATER_EQUAL, true),
        };
        let (yes, no) = if negated { (no, yes) } else { (yes, no) };
        let mut place = yes;
        if low_mask != 0 {
            self.branch(test, low, yes, no);
            place = self.masked_load(low_offset, low_mask);
        }
        if wide && high_mask != 0 {
            let equal = self.branch(IF_EQUAL, high, place, no);
            if test != IF_EQUAL {
                self.branch(IF_GREATER, high, yes, equal);
            }
            place = self.masked_load(high_offset, high_mask);
        }
        place
    }

    /// Loads what the instruction written last compares.
    fn masked_load(&mut self, offset: u32, mask: u32) -> Place {
        if mask != u32::MAX {
            self.plain(AND, mask);
        }
        self.plain(LOAD, offset)
    }

    fn returns(&mut self, value: u32) -> Place {
        match self.returns.iter().find(|(known, _)| *known == value) {
            Some((_, place)) if self.code.len() - place < REACH => *place,
            _ => self.plain(RETURN, value),
        }
    }

    /// A conditional jump. A target may be anywhere behind.
    fn branch(&mut self, code: u16, k: u32, yes: Place, no: Place) -> Place {
        // Bringing `no` near may push `yes` one away.
        let yes = self.within(yes, REACH - 1);
        let no = self.within(no, REACH);
        let here = self.code.len();
        let skip = |place: Place| (here - place - 1) as u8;
        self.code.push(Instruction { code, jt: skip(yes), jf: skip(no), k });
        here
    }

    /// A place from which `place` goes on, at most `reach` behind the next instruction.
    fn within(&mut self, place: Place, reach: usize) -> Place {
        let distance = self.code.len() - place - 1;
        match self.code[place] {
            _ if distance <= reach => place,
            Instruction { code: RETURN, k, .. } => self.returns(k),
            _ => self.plain(JUMP, distance as u32),
        }
    }

    fn plain(&mut self, code: u16, k: u32) -> Place {
        let here = self.code.len();
        self.code.push(Instruction { code, jt: 0, jf: 0, k });
        if code == RETURN {
            self.returns.retain(|(value, _)| *value != k);
            self.returns.push((k, here));
        }
        here
    }
}
