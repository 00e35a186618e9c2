//! The policy for containers that bring none of their own: Docker's default profile as of moby/profiles 0.2.3 (2026).
//!
//! An allow list: all else fails with EPERM. Most entries are for everyone, some for who has a capability, some for an
//! architecture. Names that only architectures without a table here have (s390, RISC-V, PowerPC) are left out.

use oci::spec::{Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSyscall};

use crate::arch::Arch;
use crate::compile::Rules;
use crate::rule::{ALLOW, Condition, ENOSYS, EPERM, ERRNO, Operator};
use crate::syscalls::{Call, count_words, resolve};
use crate::{Error, Program};

/// Docker's default policy as a profile of the OCI's form, for a container with these capabilities (its bounding
/// set) on a kernel of this architecture and version (major, minor). The order is always the same.
pub fn default_profile(native: Arch, capabilities: &[Capability], kernel: (u32, u32)) -> LinuxSeccomp {
    let entries = policy(native, capabilities, kernel).map(Rule::to_oci).collect();
    let arches = native.with_compatible().iter().map(|arch| arch.to_oci()).collect();
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(EPERM))
        .set_architectures(Some(arches))
        .set_syscalls(Some(entries));
    profile
}

/// The program of [`default_profile`], without the way through names.
///
/// # Errors
/// None in practice: the policy is fixed and far below the kernel's limit.
pub fn default_program(
    native: Arch,
    capabilities: &[Capability],
    kernel: (u32, u32),
) -> Result<Program, Error> {
    let mut rules = Rules::new(ERRNO | EPERM, native.with_compatible());
    for rule in policy(native, capabilities, kernel) {
        for &call in rule.calls {
            rules.add(call, rule.returns, rule.conditions);
        }
    }
    // A profile without flags gets this one: see the compiler.
    rules.program(sys::seccomp::Flags::SPEC_ALLOW)
}

/// The rules that apply.
fn policy(
    native: Arch,
    capabilities: &[Capability],
    kernel: (u32, u32),
) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |rule| match rule.when {
        When::Always => true,
        When::Kernel(least) => kernel >= least,
        When::On(arches) => arches.contains(&native),
        When::With(capability) => capabilities.contains(&capability),
        When::Without(capability) => !capabilities.contains(&capability),
    })
}

/// An entry of the policy.
struct Rule {
    when: When,
    calls: &'static [Call],
    /// ALLOW, or ERRNO with a number.
    returns: u32,
    conditions: &'static [Condition],
}

/// Where an entry applies.
enum When {
    Always,
    /// From this version on.
    Kernel((u32, u32)),
    /// Where the host is one of these.
    On(&'static [Arch]),
    /// In containers that have it.
    With(Capability),
    /// In those that do not.
    Without(Capability),
}

impl Rule {
    fn to_oci(&self) -> LinuxSyscall {
        let mut entry = LinuxSyscall::default();
        entry.set_names(self.calls.iter().map(|call| call.name().to_owned()).collect());
        if self.returns == ALLOW {
            entry.set_action(LinuxSeccompAction::ScmpActAllow);
        } else {
            entry.set_action(LinuxSeccompAction::ScmpActErrno).set_errno_ret(Some(self.returns & !ERRNO));
        }
        if !self.conditions.is_empty() {
            entry.set_args(Some(self.conditions.iter().map(|condition| condition.to_oci()).collect()));
        }
        entry
    }
}

const fn allow(when: When, calls: &'static [Call]) -> Rule {
    Rule { when, calls, returns: ALLOW, conditions: &[] }
}

const fn allow_if(when: When, calls: &'static [Call], conditions: &'static [Condition]) -> Rule {
    Rule { when, calls, returns: ALLOW, conditions }
}

/// The calls of these names, found by the compiler.
macro_rules! calls {
    ($text:expr) => {{
        const TEXT: &str = $text;
        const CALLS: [Call; count_words(TEXT)] = resolve(TEXT);
        &CALLS
    }};
}

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of linux/sched.h; NEWTIME is no flag of clone(2).
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// PER_LINUX, PER_LINUX32, UNAME26, both, and the question for the present one.
static PERSONALITIES: [[Condition; 1]; 5] = [
    [Condition::new(0, Operator::Equal, 0)],
    [Condition::new(0, Operator::Equal, 0x0008)],
    [Condition::new(0, Operator::Equal, 0x2_0000)],
    [Condition::new(0, Operator::Equal, 0x2_0008)],
    [Condition::new(0, Operator::Equal, 0xffff_ffff)],
];

static RULES: &[Rule] = &[
    // Files and directories.
    allow(
        When::Always,
        calls!(
            "_llseek access chdir chmod chown chown32 close close_range copy_file_range creat dup \
             dup2 dup3 faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir \
             fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr \
             flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync \
             ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat \
             inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lchown lchown32 \
             lgetxattr link linkat listmount listxattr listxattrat llistxattr lremovexattr lseek \
             lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open \
             openat openat2 readahead readlink readlinkat removexattr removexattrat rename renameat \
             renameat2 rmdir setxattr setxattrat stat stat64 statfs statfs64 statmount statx symlink \
             symlinkat sync sync_file_range syncfs truncate truncate64 umask unlink unlinkat utime \
             utimensat utimensat_time64 utimes"
        ),
    ),
    // Reading, writing, waiting for descriptors.
    allow(
        When::Always,
        calls!(
            "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 \
             epoll_wait epoll_wait_old eventfd eventfd2 io_cancel io_destroy io_getevents \
             io_pgetevents io_pgetevents_time64 io_setup io_submit pipe pipe2 poll ppoll ppoll_time64 \
             pread64 preadv preadv2 pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readv \
             select sendfile sendfile64 signalfd signalfd4 splice tee timerfd_create timerfd_gettime \
             timerfd_gettime64 timerfd_settime timerfd_settime64 vmsplice write writev"
        ),
    ),
    // Sockets, System V objects, message queues.
    allow(
        When::Always,
        calls!(
            "accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr \
             mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend \
             mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd recv recvfrom recvmmsg \
             recvmmsg_time64 recvmsg semctl semget semop semtimedop semtimedop_time64 send sendmmsg \
             sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketcall socketpair"
        ),
    ),
    // Memory.
    allow(
        When::Always,
        calls!(
            "brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore \
             mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap \
             pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages"
        ),
    ),
    // Time.
    allow(
        When::Always,
        calls!(
            "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 \
             clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer \
             gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun \
             timer_gettime timer_gettime64 timer_settime timer_settime64 times"
        ),
    ),
    // Who a process is, and its limits.
    allow(
        When::Always,
        calls!(
            "capget capset getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups \
             getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid \
             getresuid32 getrlimit getrusage getsid gettid getuid getuid32 ioprio_get ioprio_set \
             landlock_add_rule landlock_create_ruleset landlock_restrict_self prctl prlimit64 \
             sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr \
             sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
             sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp \
             setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid \
             setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid \
             setreuid32 setrlimit setsid setuid setuid32 ugetrlimit"
        ),
    ),
    // Processes, threads, signals, the rest.
    allow(
        When::Always,
        calls!(
            "execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait \
             futex_waitv futex_wake get_robust_list get_thread_area getrandom kill pause pidfd_open \
             pidfd_send_signal restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask \
             rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 \
             rt_tgsigqueueinfo set_robust_list set_thread_area set_tid_address sigaltstack \
             sigprocmask sigreturn sysinfo tgkill tkill uname uretprobe vfork wait4 waitid waitpid"
        ),
    ),
    // Before 4.8 a tracer could get around the filter: seccomp was asked before ptrace.
    allow(When::Kernel((4, 8)), calls!("process_vm_readv process_vm_writev ptrace")),
    // Every address family but the host's vsock, which knows no namespace, and the kernel's crypto interface. (On
    // 32-bit x86 socketcall, which is allowed above, reaches these two: no filter can look behind its pointer.)
    allow_if(When::Always, calls!("socket"), &[Condition::new(0, Operator::Less, AF_ALG)]),
    allow_if(When::Always, calls!("socket"), &[Condition::new(0, Operator::Equal, AF_ALG + 1)]),
    allow_if(When::Always, calls!("socket"), &[Condition::new(0, Operator::Greater, AF_VSOCK)]),
    allow_if(When::Always, calls!("personality"), &PERSONALITIES[0]),
    allow_if(When::Always, calls!("personality"), &PERSONALITIES[1]),
    allow_if(When::Always, calls!("personality"), &PERSONALITIES[2]),
    allow_if(When::Always, calls!("personality"), &PERSONALITIES[3]),
    allow_if(When::Always, calls!("personality"), &PERSONALITIES[4]),
    allow(
        When::On(&[Arch::Arm, Arch::Aarch64]),
        calls!("arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls"),
    ),
    allow(When::On(&[Arch::X86_64, Arch::X32]), calls!("arch_prctl")),
    allow(When::On(&[Arch::X86_64, Arch::X32, Arch::X86]), calls!("modify_ldt")),
    allow(When::With(Capability::DacReadSearch), calls!("open_by_handle_at")),
    allow(
        When::With(Capability::SysAdmin),
        calls!(
            "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
             lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
             quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"
        ),
    ),
    allow_if(
        When::Without(Capability::SysAdmin),
        calls!("clone"),
        &[Condition::masked(0, NEW_NAMESPACES, 0)],
    ),
    // Its flags are behind a pointer. ENOSYS makes the C library take clone.
    Rule {
        when: When::Without(Capability::SysAdmin),
        calls: calls!("clone3"),
        returns: ERRNO | ENOSYS,
        conditions: &[],
    },
    allow(When::With(Capability::SysBoot), calls!("reboot")),
    allow(When::With(Capability::SysChroot), calls!("chroot")),
    allow(When::With(Capability::SysModule), calls!("delete_module finit_module init_module")),
    allow(When::With(Capability::SysPacct), calls!("acct")),
    allow(
        When::With(Capability::SysPtrace),
        calls!("kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ),
    allow(When::With(Capability::SysRawio), calls!("ioperm iopl")),
    allow(When::With(Capability::SysTime), calls!("clock_settime clock_settime64 settimeofday stime")),
    allow(When::With(Capability::SysTtyConfig), calls!("vhangup")),
    allow(
        When::With(Capability::SysNice),
        calls!("get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ),
    allow(When::With(Capability::Syslog), calls!("syslog")),
    allow(When::With(Capability::Bpf), calls!("bpf")),
    allow(When::With(Capability::Perfmon), calls!("perf_event_open")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile_for;

    /// What the policy asks for.
    const ASKED: [Capability; 14] = [
        Capability::DacReadSearch,
        Capability::SysAdmin,
        Capability::SysBoot,
        Capability::SysChroot,
        Capability::SysModule,
        Capability::SysPacct,
        Capability::SysPtrace,
        Capability::SysRawio,
        Capability::SysTime,
        Capability::SysTtyConfig,
        Capability::SysNice,
        Capability::Syslog,
        Capability::Bpf,
        Capability::Perfmon,
    ];

    #[test]
    fn both_ways_give_the_same_program() {
        let mut sets: Vec<Vec<Capability>> = ASKED.iter().map(|one| vec![*one]).collect();
        sets.extend([vec![], ASKED.to_vec(), ASKED[..7].to_vec()]);
        for native in [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm] {
            for kernel in [(4, 7), (4, 8), (6, 18)] {
                for set in &sets {
                    let profile = default_profile(native, set, kernel);
                    let direct = default_program(native, set, kernel).unwrap();
                    assert_eq!(
                        compile_for(native, &profile).unwrap(),
                        direct,
                        "{native:?} {kernel:?} {set:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_profile_is_the_same_whatever_the_order_of_the_capabilities() {
        let reversed: Vec<_> = ASKED.iter().rev().copied().collect();
        let profile = default_profile(Arch::NATIVE, &ASKED, (6, 1));
        assert_eq!(profile, default_profile(Arch::NATIVE, &reversed, (6, 1)));
        let text = serde_json::to_string(&profile).unwrap();
        assert_eq!(serde_json::from_str::<LinuxSeccomp>(&text).unwrap(), profile);
    }
}
