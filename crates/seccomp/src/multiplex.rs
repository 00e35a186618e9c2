//! socketcall(2) and ipc(2): on 32-bit x86 the socket and System V calls are, or were, numbers within these two.
//!
//! A rule for one of them also becomes a rule for the multiplexer, by the number in its first argument. The real
//! arguments are behind a pointer, where no filter can look; so the rule's own condition on argument 0 gives way, as
//! in libseccomp. Where a profile allows `socketcall` itself, as Docker's does, such rules decide nothing.

use crate::syscalls::{COUNT, Call, count_words, resolve};

const SOCKET_NAMES: &str = "socket bind connect listen accept getsockname getpeername socketpair send recv sendto \
    recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
/// By SYS_SOCKET… of linux/net.h, from 1.
const SOCKET: [Call; count_words(SOCKET_NAMES)] = resolve(SOCKET_NAMES);

const IPC_NAMES: &str =
    "semop semget semctl semtimedop msgsnd msgrcv msgget msgctl shmat shmdt shmget shmctl";
const IPC: [Call; count_words(IPC_NAMES)] = resolve(IPC_NAMES);
/// SEMOP … SHMCTL of linux/ipc.h, in the order of the names.
const IPC_NUMBERS: [u8; IPC.len()] = [1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24];

const MULTIPLEXERS: [Call; 2] = resolve("socketcall ipc");
const IS_IPC: u8 = 0x80;

/// By call: 0, or the number within socketcall, or that within ipc with its own bit.
static NUMBERS: [u8; COUNT] = {
    let mut numbers = [0; COUNT];
    let mut at = 0;
    while at < SOCKET.len() {
        numbers[SOCKET[at].index()] = at as u8 + 1;
        at += 1;
    }
    at = 0;
    while at < IPC.len() {
        numbers[IPC[at].index()] = IPC_NUMBERS[at] | IS_IPC;
        at += 1;
    }
    numbers
};

/// The multiplexer of `call` on 32-bit x86, and the call's number there.
pub(crate) fn of(call: Call) -> Option<(Call, u8)> {
    match NUMBERS[call.index()] {
        0 => None,
        number if number & IS_IPC != 0 => Some((MULTIPLEXERS[1], number & !IS_IPC)),
        number => Some((MULTIPLEXERS[0], number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernels_headers() {
        let of = |name| super::of(Call::named(name).unwrap()).map(|(call, number)| (call.name(), number));
        assert_eq!(of("socket"), Some(("socketcall", 1)));
        assert_eq!(of("sendmmsg"), Some(("socketcall", 20)));
        assert_eq!(of("semtimedop"), Some(("ipc", 4)));
        assert_eq!(of("msgsnd"), Some(("ipc", 11)));
        assert_eq!(of("shmctl"), Some(("ipc", 24)));
        assert_eq!(of("read"), None);
    }
}
