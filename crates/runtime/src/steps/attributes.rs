//! What a process has beside its rights: scheduling, I/O priority, processors, personality, memory policy. The kernel
//! passes all of it on to children and over execve(2), so it is set once, on the first process.
//!
//! Scheduling, I/O priority and affinity are set on init (`context.init`) where the monitor takes the step, and on the
//! process itself where init, or a process that is on its way into a container, does. The monitor can do what init in a
//! user namespace of its own may not: the kernel asks for CAP_SYS_NICE in the first one.

mod list;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use oci::spec::{
    ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag as Flag, LinuxSchedulerPolicy as Policy, MemoryPolicyFlagType,
    MemoryPolicyModeType as Mode, Scheduler,
};
use rustix::io::Errno;
use step::{Context, Failure, Shell, Step};
use sys::attributes::Scheduling;

use list::List;

/// Steps that set attributes of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attributes {
    /// sched_setattr(2).
    Scheduler { policy: Policy, flags: Vec<&'static str>, scheduling: Scheduling },
    /// ioprio_set(2).
    IoPriority { class: IOPriorityClass, level: u8 },
    /// sched_setaffinity(2), before the process joins the container's control groups or after.
    Affinity { cpus: List, joined: bool },
    /// Every processor that the control groups allow, whatever the caller was bound to.
    AnyProcessor,
    /// personality(2).
    Personality(LinuxPersonalityDomain),
    /// set_mempolicy(2).
    MemoryPolicy { mode: Mode, flags: Vec<MemoryPolicyFlagType>, nodes: Option<List> },
}

impl Attributes {
    /// `process.scheduler`. What the policy does not use must not be given, as in runc; only a nice value may stand
    /// beside any policy.
    pub(crate) fn scheduler(asked: &Scheduler) -> Result<Self, Failure> {
        let policy = *asked.policy();
        let scheduling = Scheduling {
            policy: policy_number(policy),
            nice: asked.nice().unwrap_or(0),
            priority: priority(policy, asked.priority().unwrap_or(0))?,
            runtime: asked.runtime().unwrap_or(0),
            deadline: asked.deadline().unwrap_or(0),
            period: asked.period().unwrap_or(0),
            flags: 0,
        };
        if is_fair(policy) && !(-20..=19).contains(&scheduling.nice) {
            let reason = format!("{} is not between -20, which is first, and 19", scheduling.nice);
            return Err(wrong("process.scheduler.nice", reason));
        }
        check_deadline(policy, &scheduling)?;
        let flags = asked.flags().iter().flatten().map(|flag| known_flag(*flag));
        let flags = flags.collect::<Result<Vec<_>, _>>()?;
        let bits = flags.iter().fold(0, |bits, (bit, _)| bits | bit);
        Ok(Self::Scheduler {
            policy,
            flags: flags.into_iter().map(|(_, name)| name).collect(),
            scheduling: Scheduling { flags: bits, ..scheduling },
        })
    }

    /// `process.ioPriority`.
    pub(crate) fn io_priority(asked: &LinuxIOPriority) -> Result<Self, Failure> {
        let level = u8::try_from(asked.priority()).ok().filter(|level| *level <= 7).ok_or_else(|| {
            let reason = format!("{} is not between 0, which is first, and 7", asked.priority());
            wrong("process.ioPriority.priority", reason)
        })?;
        Ok(Self::IoPriority { class: asked.class(), level })
    }

    /// `process.execCPUAffinity`: the step before the control groups are joined, and the one after. Not for a
    /// container's init.
    pub(crate) fn affinity(asked: &ExecCPUAffinity) -> Result<(Option<Self>, Option<Self>), Failure> {
        let step = |field, text: &Option<String>, joined| -> Result<Option<Self>, Failure> {
            let list = List::parse(text.as_deref().unwrap_or_default());
            let list = list.map_err(|reason| wrong(field, reason))?;
            Ok(list.map(|cpus| Self::Affinity { cpus, joined }))
        };
        Ok((
            step("process.execCPUAffinity.initial", asked.initial(), false)?,
            step("process.execCPUAffinity.final", asked.cpu_affinity_final(), true)?,
        ))
    }

    /// `linux.personality`. The specification knows no flags, and most of the kernel's weaken the program.
    pub(crate) fn personality(asked: &LinuxPersonality) -> Result<Self, Failure> {
        match asked.flags().as_deref() {
            None | Some([]) => Ok(Self::Personality(asked.domain())),
            Some(flags) => {
                Err(wrong("linux.personality.flags", format!("{} is not supported", flags.join(", ")))
                    .hint("leave the flags off: the OCI runtime specification has none"))
            }
        }
    }

    /// `linux.memoryPolicy`.
    pub(crate) fn memory_policy(asked: &LinuxMemoryPolicy) -> Result<Self, Failure> {
        use MemoryPolicyFlagType::{MpolFRelativeNodes as Relative, MpolFStaticNodes as Static};
        let mode = asked.mode();
        let nodes = List::parse(asked.nodes().as_deref().unwrap_or_default()).map_err(|reason| {
            wrong("linux.memoryPolicy.nodes", format!("invalid memory policy node: {reason}"))
        })?;
        match (mode, &nodes) {
            (Mode::MpolDefault | Mode::MpolLocal, Some(nodes)) => {
                let reason = format!("{mode}: mode requires 0 nodes but got {}: {nodes}", nodes.count());
                return Err(wrong("linux.memoryPolicy.nodes", reason));
            }
            (Mode::MpolDefault | Mode::MpolLocal | Mode::MpolPreferred, _) | (_, Some(_)) => {}
            (_, None) => {
                return Err(wrong("linux.memoryPolicy.nodes", format!("{mode} needs at least one node")));
            }
        }
        let flags = asked.flags().clone().unwrap_or_default();
        if flags.contains(&Static) && flags.contains(&Relative) {
            let reason = format!("{Static} and {Relative} exclude each other");
            return Err(wrong("linux.memoryPolicy.flags", reason));
        }
        Ok(Self::MemoryPolicy { mode, flags, nodes })
    }
}

/// A specification that asks for what cannot be.
fn wrong(field: &'static str, reason: impl Into<String>) -> Failure {
    Failure::because("plan", field, reason)
}

/// linux/sched.h.
fn policy_number(policy: Policy) -> u32 {
    match policy {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    }
}

/// Whether the nice value counts.
fn is_fair(policy: Policy) -> bool {
    matches!(policy, Policy::SchedOther | Policy::SchedBatch)
}

fn priority(policy: Policy, asked: i32) -> Result<u32, Failure> {
    let wrong = |reason| Err(wrong("process.scheduler.priority", reason));
    match (policy, asked) {
        (Policy::SchedFifo | Policy::SchedRr, 1..=99) => Ok(asked.unsigned_abs()),
        (Policy::SchedFifo | Policy::SchedRr, _) => {
            wrong(format!("{asked} is not between 1 and 99, which is first: {policy} needs one of these"))
        }
        (_, 0) => Ok(0),
        _ => wrong(format!("{asked} is given with {policy}: only SCHED_FIFO and SCHED_RR have priorities")),
    }
}

/// The kernel's own rule (kernel/sched/deadline.c, __checkparam_dl) but for the limits that sysctls set.
fn check_deadline(policy: Policy, asked: &Scheduling) -> Result<(), Failure> {
    let Scheduling { runtime, deadline, period, .. } = *asked;
    if policy != Policy::SchedDeadline {
        let given = [("runtime", runtime), ("deadline", deadline), ("period", period)];
        return match given.iter().find(|(_, value)| *value != 0) {
            None => Ok(()),
            Some((name, value)) => Err(wrong(
                "process.scheduler",
                format!("{name} {value} is given with {policy}: only SCHED_DEADLINE has one"),
            )),
        };
    }
    let reason = if runtime < 1024 {
        format!("runtime {runtime} is below 1024 nanoseconds, the least that SCHED_DEADLINE knows")
    } else if deadline < runtime {
        format!("deadline {deadline} is below runtime {runtime}")
    } else if period != 0 && period < deadline {
        format!("period {period} is below deadline {deadline}")
    } else {
        return Ok(());
    };
    Err(wrong("process.scheduler", reason))
}

/// linux/sched.h.
fn known_flag(flag: Flag) -> Result<(u64, &'static str), Failure> {
    let clamp = |name| {
        let reason = format!("{name} has no value: the OCI runtime specification has no field for it");
        Err(wrong("process.scheduler.flags", reason).hint(
            "leave it off; cpu.uclamp.min and cpu.uclamp.max of control groups clamp a whole container",
        ))
    };
    match flag {
        Flag::SchedResetOnFork => Ok((1, "SCHED_FLAG_RESET_ON_FORK")),
        Flag::SchedFlagReclaim => Ok((2, "SCHED_FLAG_RECLAIM")),
        Flag::SchedFlagDLOverrun => Ok((4, "SCHED_FLAG_DL_OVERRUN")),
        Flag::SchedFlagKeepPolicy => Ok((8, "SCHED_FLAG_KEEP_POLICY")),
        Flag::SchedFlagKeepParams => Ok((16, "SCHED_FLAG_KEEP_PARAMS")),
        Flag::SchedFlagUtilClampMin => clamp("SCHED_FLAG_UTIL_CLAMP_MIN"),
        Flag::SchedFlagUtilClampMax => clamp("SCHED_FLAG_UTIL_CLAMP_MAX"),
    }
}

/// linux/ioprio.h.
fn class_number(class: IOPriorityClass) -> u8 {
    match class {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    }
}

/// linux/personality.h.
fn persona(domain: LinuxPersonalityDomain) -> u32 {
    match domain {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    }
}

/// linux/mempolicy.h, and since which Linux, where that is later than this program's own needs.
fn mode_number(mode: Mode) -> (i32, Option<&'static str>) {
    match mode {
        Mode::MpolDefault => (0, None),
        Mode::MpolPreferred => (1, None),
        Mode::MpolBind => (2, None),
        Mode::MpolInterleave => (3, None),
        Mode::MpolLocal => (4, None),
        Mode::MpolPreferredMany => (5, Some("5.15")),
        Mode::MpolWeightedInterleave => (6, Some("6.9")),
    }
}

/// linux/mempolicy.h.
fn mode_flag(flag: MemoryPolicyFlagType) -> i32 {
    match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
    }
}

fn mode_words(mode: Mode, flags: &[MemoryPolicyFlagType]) -> String {
    flags.iter().fold(mode.to_string(), |words, flag| format!("{words}|{flag}"))
}

impl Step for Attributes {
    fn id(&self) -> &'static str {
        match self {
            Self::Scheduler { .. } => "process.scheduler",
            Self::IoPriority { .. } => "process.io-priority",
            Self::Affinity { .. } | Self::AnyProcessor => "process.affinity",
            Self::Personality(_) => "process.personality",
            Self::MemoryPolicy { .. } => "process.memory-policy",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Scheduler { policy, flags, scheduling } => {
                let mut fields = vec![policy.to_string()];
                fields.extend((!flags.is_empty()).then(|| flags.join("|")));
                match policy {
                    _ if is_fair(*policy) => fields.push(format!("nice={}", scheduling.nice)),
                    Policy::SchedFifo | Policy::SchedRr => {
                        fields.push(format!("priority={}", scheduling.priority));
                    }
                    Policy::SchedDeadline => fields.push(format!(
                        "runtime={}, deadline={}, period={}",
                        scheduling.runtime, scheduling.deadline, scheduling.period
                    )),
                    _ => {}
                }
                format!("sched_setattr(<the process>, {{{}}}, 0)", fields.join(", "))
            }
            Self::IoPriority { class, level } => {
                format!("ioprio_set(IOPRIO_WHO_PROCESS, <the process>, {class} {level})")
            }
            Self::Affinity { cpus, .. } => format!("sched_setaffinity(<the process>, {{{cpus}}})"),
            Self::AnyProcessor => "sched_setaffinity(<the process>, {all})".to_owned(),
            Self::Personality(domain) => format!("personality(PER_{domain})"),
            Self::MemoryPolicy { mode, flags, nodes } => {
                let nodes = nodes.as_ref().map_or_else(|| "NULL".to_owned(), |nodes| format!("{{{nodes}}}"));
                format!("set_mempolicy({}, {nodes})", mode_words(*mode, flags))
            }
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Scheduler { .. } => {
                "asked for: process.scheduler, when the processors take their turn with it"
            }
            Self::IoPriority { .. } => {
                "asked for: process.ioPriority, when the disks take their turn with it"
            }
            Self::Affinity { joined: false, .. } => {
                "asked for: process.execCPUAffinity, the processors it begins on, before its control groups say theirs"
            }
            Self::Affinity { joined: true, .. } => {
                "asked for: process.execCPUAffinity, the processors of its control groups that it runs on"
            }
            Self::AnyProcessor => {
                "its processors are those of its control groups, not those of whoever starts it"
            }
            Self::Personality(_) => "asked for: linux.personality, which machine uname(2) tells of",
            Self::MemoryPolicy { .. } => "asked for: linux.memoryPolicy, which nodes its memory comes from",
        })
    }

    fn shell(&self) -> Shell {
        match self {
            Self::Scheduler { policy, flags, scheduling } => {
                let option = match policy {
                    _ if !flags.is_empty() => return Shell::Nothing("chrt does not set all of these flags"),
                    Policy::SchedIso => return Shell::Nothing("no kernel has this policy"),
                    Policy::SchedDeadline => {
                        return Shell::Nothing("a shell with this policy could start nothing more");
                    }
                    Policy::SchedOther => "other",
                    Policy::SchedFifo => "fifo",
                    Policy::SchedRr => "rr",
                    Policy::SchedBatch => "batch",
                    Policy::SchedIdle => "idle",
                };
                let mut lines = vec![format!("chrt --{option} --pid {} $$", scheduling.priority)];
                lines.extend(is_fair(*policy).then(|| format!("renice -n {} -p $$", scheduling.nice)));
                Shell::Lines(lines)
            }
            Self::IoPriority { class, level } => {
                Shell::line(format!("ionice -c {} -n {level} -p $$", class_number(*class)))
            }
            Self::Affinity { cpus, .. } => Shell::line(format!("taskset -cp {cpus} $$")),
            Self::AnyProcessor => Shell::line("taskset -p ffffffff $$"),
            Self::Personality(_) => Shell::Nothing("setarch starts a program instead of changing this shell"),
            Self::MemoryPolicy { .. } => {
                Shell::Nothing("numactl starts a program instead of changing this shell")
            }
        }
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        let process = context.init.unwrap_or(0);
        match self {
            // A kernel that refuses leaves the caller's: no reason not to start.
            Self::AnyProcessor => {
                let _ = sys::attributes::set_affinity(process, &[usize::MAX; 128]);
                Ok(())
            }
            Self::Scheduler { policy, scheduling, .. } => {
                sys::attributes::set_scheduling(process, scheduling).map_err(|error| {
                    let errno = Errno::from_io_error(&error);
                    explain(self.failed(policy.to_string(), error), scheduler_hint(*policy, errno))
                })
            }
            Self::IoPriority { class, level } => {
                sys::attributes::set_io_priority(process, class_number(*class), *level).map_err(|error| {
                    let hint = match Errno::from_io_error(&error) {
                        Some(Errno::PERM) => {
                            Some("the real-time class needs CAP_SYS_NICE on the host".to_owned())
                        }
                        Some(Errno::NOSYS) => {
                            Some("this kernel has no I/O priorities (CONFIG_BLOCK)".to_owned())
                        }
                        _ => None,
                    };
                    explain(self.failed(format!("{class} {level}"), error), hint)
                })
            }
            Self::Affinity { cpus, .. } => {
                sys::attributes::set_affinity(process, cpus.words()).map_err(|error| {
                    let hint = (Errno::from_io_error(&error) == Some(Errno::INVAL)).then(|| {
                        "none of these processors is online and among those of the process's control group \
                         (linux.resources.cpu.cpus)"
                            .to_owned()
                    });
                    explain(self.failed(format!("processors {cpus}"), error), hint)
                })
            }
            Self::Personality(domain) => {
                sys::attributes::set_personality(persona(*domain)).map_err(|error| {
                    let hint = (Errno::from_io_error(&error) == Some(Errno::INVAL)).then(|| {
                        "this machine runs no 32-bit programs: leave linux.personality off".to_owned()
                    });
                    explain(self.failed(domain.to_string(), error), hint)
                })
            }
            Self::MemoryPolicy { mode, flags, nodes } => self.memory(*mode, flags, nodes.as_ref()),
        }
    }
}

impl Attributes {
    fn memory(
        &self,
        mode: Mode,
        flags: &[MemoryPolicyFlagType],
        nodes: Option<&List>,
    ) -> Result<(), Failure> {
        let (number, since) = mode_number(mode);
        let number = flags.iter().fold(number, |number, flag| number | mode_flag(*flag));
        let words = nodes.map(List::words).unwrap_or_default();
        sys::attributes::set_memory_policy(number, words).map_err(|error| {
            let hint = match Errno::from_io_error(&error) {
                Some(Errno::NOSYS) => Some("this kernel has no NUMA memory policies (CONFIG_NUMA)".to_owned()),
                Some(Errno::INVAL) => Some(match (nodes, since) {
                    (_, Some(version)) => {
                        format!("{mode} needs Linux {version}, and nodes that exist: /sys/devices/system/node/has_memory")
                    }
                    (Some(_), None) => "the nodes must exist (/sys/devices/system/node/has_memory) and be among those of \
                                        the container's control group (linux.resources.cpu.mems), and the flags must \
                                        go with the mode: set_mempolicy(2)"
                        .to_owned(),
                    (None, None) => format!("{mode} without nodes takes no flags"),
                }),
                _ => None,
            };
            let nodes = nodes.map(|nodes| format!(" {{{nodes}}}")).unwrap_or_default();
            explain(self.failed(format!("{}{nodes}", mode_words(mode, flags)), error), hint)
        })
    }
}

fn explain(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// sched_setattr(2) and kernel/sched/syscalls.c: the same number has several causes.
fn scheduler_hint(policy: Policy, errno: Option<Errno>) -> Option<String> {
    let hint = match (policy, errno?) {
        (Policy::SchedIso, Errno::INVAL) => {
            "SCHED_ISO is a reserved name, no Linux has it: choose another policy"
        }
        (Policy::SchedDeadline, Errno::INVAL) => {
            "the period must be within /proc/sys/kernel/sched_deadline_period_min_us and …_max_us"
        }
        (_, Errno::INVAL) => "this kernel lacks the policy or one of its flags",
        (Policy::SchedDeadline, Errno::PERM) => {
            "it needs CAP_SYS_NICE on the host, and all of its processors: SCHED_DEADLINE goes with no \
             linux.resources.cpu.cpus (--cpuset-cpus)"
        }
        (Policy::SchedDeadline, Errno::BUSY) => {
            "the processors cannot promise so much beside what they have promised: less runtime, or a longer period"
        }
        (Policy::SchedFifo | Policy::SchedRr, Errno::PERM) => {
            "it needs CAP_SYS_NICE on the host, and where control groups share real time out, a share of it: \
             linux.resources.cpu.realtimeRuntime"
        }
        (_, Errno::PERM) => "to come before others it needs CAP_SYS_NICE on the host",
        _ => return None,
    };
    Some(hint.to_owned())
}
