//! Classic BPF as seccomp(2) has it: what the kernel refuses, and what a program returns.
//! Source: `bpf_check_classic` in net/core/filter.c and `seccomp_check_filter` in kernel/seccomp.c.

use seccomp::Instruction;

/// BPF_MAXINSNS of linux/bpf_common.h.
const MOST: usize = 4096;
/// `sizeof(struct seccomp_data)`.
const DATA: u32 = 64;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// `struct seccomp_data` without the instruction pointer, which no program of ours may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) nr: u32,
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.nr,
            4 => self.arch,
            16.. => {
                let argument = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
            _ => panic!("the instruction pointer is read"),
        }
    }
}

/// Panics where the kernel would refuse the program, or where some of it is never reached.
pub(crate) fn check(program: &[Instruction]) {
    assert!((1..=MOST).contains(&program.len()), "{} instructions", program.len());
    let mut reached = vec![false; program.len()];
    reached[0] = true;
    for (at, instruction) in program.iter().enumerate() {
        assert!(reached[at], "{at} is never reached: {instruction:?}");
        let mut next = |distance: usize| match reached.get_mut(at + 1 + distance) {
            Some(reached) => *reached = true,
            None => panic!("{at} goes beyond the end: {instruction:?}"),
        };
        match instruction.code {
            LOAD => {
                assert!(instruction.k < DATA && instruction.k % 4 == 0, "{at} loads from nowhere");
                next(0);
            }
            AND => next(0),
            JUMP => next(instruction.k as usize),
            IF_EQUAL | IF_GREATER | IF_GREATER_EQUAL => {
                next(usize::from(instruction.jt));
                next(usize::from(instruction.jf));
            }
            RETURN => {}
            code => panic!("{at} is an instruction of no kind that is used here: {code:#x}"),
        }
    }
}

/// What a program that was checked returns.
pub(crate) fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut loaded, mut at) = (None, 0);
    loop {
        let here = at;
        let Instruction { code, jt, jf, k } = program[here];
        // The kernel's accumulator is zero at first: a program that relies on that is wrong all the same.
        let value = || loaded.unwrap_or_else(|| panic!("{here}: nothing is loaded"));
        at += 1;
        match code {
            LOAD => loaded = Some(call.word(k)),
            AND => loaded = Some(value() & k),
            JUMP => at += k as usize,
            RETURN => return k,
            _ => {
                let holds = match code {
                    IF_EQUAL => value() == k,
                    IF_GREATER => value() > k,
                    _ => value() >= k,
                };
                at += usize::from(if holds { jt } else { jf });
            }
        }
    }
}
