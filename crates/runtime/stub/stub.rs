//! The sealed stub: a freestanding static program of some 1 KB that the container's init becomes before it becomes
//! the user's program, so that /proc/self/exe is never the host's minidocker binary (CVE-2019-5736). Also `--init`.
//!
//! It is started with argv = [its own name, `<status fd>:<mode>`, path, arg0, arg1, …] and the program's own environment.
//!
//! - Mode `x`: the status descriptor becomes close-on-exec, then execve(path, [arg0, arg1, …], environment).
//! - Mode `i`: stays PID 1, starts the program as its child, forwards every signal to it, reaps every zombie, and
//!   ends with the child's exit code, or 128 + the signal that ended it; the kernel ends the rest of the namespace.
//! - Mode `p`: there is no program. It stays as it is, so that its namespaces stay; reaps every zombie; ends with 0 on
//!   SIGHUP, SIGINT, SIGQUIT and SIGTERM.
//!
//! A failing execve(2) is told on the status descriptor: `E` and errno as four bytes in native order; then the exit
//! code is 127 (no such file) or 126. An end of file without a message means that the program runs.
//!
//! build.rs compiles this file by itself. No libc, no memory allocation, no data segment, nothing that could panic:
//! it is copied into a memfd at each start, so every byte counts.

#![no_std]
#![no_main]

use core::arch::{asm, naked_asm};

/// System call numbers: asm/unistd_64.h.
#[cfg(target_arch = "x86_64")]
mod nr {
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const GETPID: usize = 39;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const FCNTL: usize = 72;
    pub const SETPGID: usize = 109;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
    pub const EXIT_GROUP: usize = 231;
}

/// System call numbers: asm-generic/unistd.h.
#[cfg(target_arch = "aarch64")]
mod nr {
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const CLOSE: usize = 57;
    pub const WRITE: usize = 64;
    pub const EXIT_GROUP: usize = 94;
    pub const KILL: usize = 129;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const SETPGID: usize = 154;
    pub const PRCTL: usize = 167;
    pub const GETPID: usize = 172;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const WAIT4: usize = 260;
}

const ENOENT: isize = 2;
const EINTR: isize = 4;
const F_SETFD: usize = 2;
const FD_CLOEXEC: usize = 1;
const SIGHUP: usize = 1;
const SIGINT: usize = 2;
const SIGQUIT: usize = 3;
const SIGTERM: usize = 15;
const SIGCHLD: usize = 17;
const SIGTTIN: usize = 21;
const SIGTTOU: usize = 22;
const LAST_SIGNAL: usize = 64;
const SIG_SETMASK: usize = 2;
const TIOCSPGRP: usize = 0x5410;
const WNOHANG: usize = 1;
/// Children with another exit signal than SIGCHLD too.
const __WALL: usize = 0x4000_0000;
const PR_SET_CHILD_SUBREAPER: usize = 36;
/// Every signal, in the kernel's own form: one bit each. SIGKILL and SIGSTOP are left out by the kernel; a fault of
/// our own still ends us, because the kernel forces these signals.
const ALL_SIGNALS: u64 = !0;
const SIGNAL_SET_SIZE: usize = size_of::<u64>();

/// The kernel's entry: the stack pointer points to argc, the pointers of argv, NULL, those of the environment, NULL.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", main = sym main)
}

/// The kernel's entry: the stack pointer points to argc, the pointers of argv, NULL, those of the environment, NULL.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("mov x29, xzr", "mov x30, xzr", "mov x0, sp", "b {main}", main = sym main)
}

/// A system call; what is not given is not read by any call of this file. A result of -4095..=-1 is -errno.
///
/// # Safety
/// The arguments must be what the call `number` asks for.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the kernel keeps every register but rax, rcx and r11; memory is as the caller promised.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _, options(nostack))
    }
    result
}

/// A system call; what is not given is not read by any call of this file. A result of -4095..=-1 is -errno.
///
/// # Safety
/// The arguments must be what the call `number` asks for.
#[cfg(target_arch = "aarch64")]
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the kernel keeps every register but x0; memory is as the caller promised.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d,
            options(nostack))
    }
    result
}

/// The program to execute, and where to tell of a failure.
struct Program {
    status: usize,
    /// C string.
    path: usize,
    /// Array of C strings that ends in NULL.
    args: usize,
    /// Array of C strings that ends in NULL.
    env: usize,
}

/// # Safety
/// `stack` is the stack that execve(2) made: [`_start`].
unsafe extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: argc and then argc pointers to C strings lie at `stack`, NULL and the environment behind them. Each
    // string is read up to its ':' or NUL.
    unsafe {
        let argc = *stack;
        if argc < 4 {
            exit(126);
        }
        let mut word = *stack.add(2) as *const u8;
        let mut status = 0_usize;
        while (*word).is_ascii_digit() {
            status = status.wrapping_mul(10).wrapping_add((*word - b'0') as usize);
            word = word.add(1);
        }
        let program = Program {
            status,
            path: *stack.add(3),
            args: stack.add(4) as usize,
            env: stack.add(argc + 2) as usize,
        };
        let mode = if *word == b':' { *word.add(1) } else { b'x' };
        if mode == b'i' {
            init(&program)
        } else if mode == b'p' {
            pause(&program)
        } else {
            become_program(&program)
        }
    }
}

/// Mode `x`, and the child's end of mode `i`.
fn become_program(program: &Program) -> ! {
    // SAFETY: fcntl takes numbers; the three pointers of execve are those that the kernel itself gave to this
    // process, in memory that is never written.
    let result = unsafe {
        syscall(nr::FCNTL, program.status, F_SETFD, FD_CLOEXEC, 0);
        syscall(nr::EXECVE, program.path, program.args, program.env, 0)
    };
    fail(program, -result)
}

/// Tells the errno of what failed, and ends.
fn fail(program: &Program, errno: isize) -> ! {
    let number = (errno as i32).to_ne_bytes();
    let message = [b'E', number[0], number[1], number[2], number[3]];
    // SAFETY: the buffer has the length that is given.
    unsafe { syscall(nr::WRITE, program.status, message.as_ptr() as usize, message.len(), 0) };
    exit(if errno == ENOENT { 127 } else { 126 })
}

/// Mode `i`.
fn init(program: &Program) -> ! {
    block(ALL_SIGNALS);
    // An ignored SIGCHLD would let the kernel reap the child and its status unseen; the child inherits the rest.
    default_dispositions();
    // Where this is not PID 1 (the host's pid namespace), orphans come to us all the same.
    // SAFETY: numbers alone; without CLONE_VM and with no stack given the child runs on a copy of this memory.
    let child = unsafe {
        syscall(nr::PRCTL, PR_SET_CHILD_SUBREAPER, 1, 0, 0);
        syscall(nr::CLONE, SIGCHLD, 0, 0, 0)
    };
    match child {
        0 => be_child(program),
        1.. => {
            // The program's execve(2) must be the last holder's end of the status descriptor.
            // SAFETY: numbers alone.
            unsafe { syscall(nr::CLOSE, program.status, 0, 0, 0) };
            watch(child)
        }
        errno => fail(program, -errno),
    }
}

/// The child: the leader of a process group of its own, which is the terminal's foreground group if there is a
/// terminal, so that ^C reaches the program and not PID 1.
fn be_child(program: &Program) -> ! {
    // SAFETY: numbers alone, and a pointer to a live i32. Without a terminal ioctl fails with ENOTTY, which is as
    // good; SIGTTOU, which would stop a background process here, is still blocked (tty_ioctl(4)).
    unsafe {
        syscall(nr::SETPGID, 0, 0, 0, 0);
        let group = syscall(nr::GETPID, 0, 0, 0, 0) as i32;
        syscall(nr::IOCTL, 0, TIOCSPGRP, &raw const group as usize, 0);
    }
    block(0);
    become_program(program)
}

/// PID 1's life: waits for signals, hands them on, reaps; ends when `child` has ended.
fn watch(child: isize) -> ! {
    let all = ALL_SIGNALS;
    loop {
        // SAFETY: the set is live and of the size given; neither siginfo nor timeout is asked for.
        let signal = unsafe { syscall(nr::RT_SIGTIMEDWAIT, &raw const all as usize, 0, 0, SIGNAL_SET_SIZE) };
        match signal {
            1.. if signal as usize == SIGCHLD => reap(child),
            // The terminal's job control speaks to process groups in the background: that is us, not the program.
            1.. if signal as usize == SIGTTIN || signal as usize == SIGTTOU => {}
            // SAFETY: numbers alone.
            1.. => unsafe {
                syscall(nr::KILL, child as usize, signal as usize, 0, 0);
            },
            // After a stop and continue; anything else cannot be, and is no reason to spin.
            _ if signal == -EINTR => {}
            _ => exit(126),
        }
    }
}

/// Mode `p`: waits for signals and reaps; ends when it is asked to.
fn pause(program: &Program) -> ! {
    block(ALL_SIGNALS);
    default_dispositions();
    // It is all that will ever run here: whoever waits for that may go on.
    // SAFETY: numbers alone.
    unsafe { syscall(nr::CLOSE, program.status, 0, 0, 0) };
    let all = ALL_SIGNALS;
    loop {
        // SAFETY: as in `watch`.
        let signal = unsafe { syscall(nr::RT_SIGTIMEDWAIT, &raw const all as usize, 0, 0, SIGNAL_SET_SIZE) };
        match signal {
            // None of them is the main one.
            1.. if signal as usize == SIGCHLD => reap(0),
            1.. if matches!(signal as usize, SIGHUP | SIGINT | SIGQUIT | SIGTERM) => exit(0),
            1.. => {}
            _ if signal == -EINTR => {}
            _ => exit(126),
        }
    }
}

/// Takes every zombie there is; ends with the main child's code if it is among them.
fn reap(child: isize) {
    let mut ended = None;
    loop {
        let mut status = 0_i32;
        // SAFETY: the status is a live i32; no rusage is asked for.
        let pid = unsafe { syscall(nr::WAIT4, usize::MAX, &raw mut status as usize, WNOHANG | __WALL, 0) };
        match pid {
            1.. if pid == child => ended = Some(status),
            1.. => {}
            _ => break,
        }
    }
    if let Some(status) = ended {
        let signal = status & 0x7f;
        exit(if signal == 0 { (status >> 8) & 0xff } else { 128 + signal })
    }
}

/// Makes `set` the blocked signals.
fn block(set: u64) {
    // SAFETY: the set is live and of the size given; the old one is not asked for.
    unsafe { syscall(nr::RT_SIGPROCMASK, SIG_SETMASK, &raw const set as usize, 0, SIGNAL_SET_SIZE) };
}

/// SIG_DFL for every signal: what was ignored stays ignored over execve(2) otherwise.
fn default_dispositions() {
    // struct sigaction of the kernel: handler, flags, restorer, mask. All zeroes is SIG_DFL.
    let default = [0_usize; 4];
    let mut signal = 1;
    while signal <= LAST_SIGNAL {
        // SAFETY: the structure is live; SIGKILL and SIGSTOP are refused, which changes nothing.
        unsafe { syscall(nr::RT_SIGACTION, signal, &raw const default as usize, 0, SIGNAL_SET_SIZE) };
        signal += 1;
    }
}

fn exit(code: i32) -> ! {
    loop {
        // SAFETY: exit_group takes a number and does not return.
        unsafe { syscall(nr::EXIT_GROUP, code as usize, 0, 0, 0) };
    }
}

/// Never reached: nothing in this file panics in an optimised build.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(126)
}
