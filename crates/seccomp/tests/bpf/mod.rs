//! An interpreter of classic BPF on `struct seccomp_data`, for what seccomp(2) programs are made of.

use minidocker_seccomp::Instruction;

/// `struct seccomp_data`, but for the instruction pointer, which no program here reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) nr: u32,
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.nr,
            4 => self.arch,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
            _ => panic!("load from {offset}"),
        }
    }
}

/// What the program returns; panics where the kernel would refuse the program.
pub(crate) fn run(program: &[Instruction], data: &Data) -> u32 {
    let (mut accumulator, mut at) = (None, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let value = || accumulator.unwrap_or_else(|| panic!("{at}: nothing is loaded"));
        let jump = |test: bool| 1 + usize::from(if test { jt } else { jf });
        let step = match code {
            0x20 => {
                accumulator = Some(data.word(k));
                1
            }
            0x54 => {
                accumulator = Some(value() & k);
                1
            }
            0x05 => 1 + k as usize,
            0x15 => jump(value() == k),
            0x25 => jump(value() > k),
            0x35 => jump(value() >= k),
            0x45 => jump(value() & k != 0),
            0x06 => return k,
            _ => panic!("{at}: unknown instruction {code:#x}"),
        };
        at += step;
    }
}
