//! Actions and conditions in the compiler's own terms: the OCI's checked once, and made small.

use oci::spec::{LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator};

use crate::error::Problem;

/// SECCOMP_RET_* of linux/seccomp.h, without data.
pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const KILL_THREAD: u32 = 0;
pub(crate) const TRAP: u32 = 0x0003_0000;
pub(crate) const ERRNO: u32 = 0x0005_0000;
pub(crate) const NOTIFY: u32 = 0x7fc0_0000;
pub(crate) const TRACE: u32 = 0x7ff0_0000;
pub(crate) const LOG: u32 = 0x7ffc_0000;
pub(crate) const ALLOW: u32 = 0x7fff_0000;
/// The part of a return value that is the action, the rest being data.
const ACTION: u32 = 0xffff_0000;

/// The error number where a profile names none.
pub(crate) const EPERM: u32 = 1;
/// The same on every architecture of the table.
pub(crate) const ENOSYS: u32 = 38;
/// The greatest error number that the kernel returns (MAX_ERRNO); it would cut a greater one down to this.
const MAX_ERRNO: u32 = 4095;

/// What the filter returns for an action.
pub(crate) fn returned(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, Problem> {
    use LinuxSeccompAction as A;
    let (base, max) = match action {
        A::ScmpActErrno => (ERRNO, Some(MAX_ERRNO)),
        A::ScmpActTrace => (TRACE, Some(0xffff)),
        A::ScmpActKill | A::ScmpActKillThread => (KILL_THREAD, None),
        A::ScmpActKillProcess => (KILL_PROCESS, None),
        A::ScmpActTrap => (TRAP, None),
        A::ScmpActNotify => (NOTIFY, None),
        A::ScmpActLog => (LOG, None),
        A::ScmpActAllow => (ALLOW, None),
    };
    match (max, errno) {
        (Some(max), Some(value)) if value > max => Err(Problem::Errno { value, max }),
        (Some(_), errno) => Ok(base | errno.unwrap_or(EPERM)),
        (None, Some(_)) => Err(Problem::NoErrno(action.to_string())),
        (None, None) => Ok(base),
    }
}

/// Whether a default of `returned` lets calls pass: then a new call needs no ENOSYS. A tracer decides for itself.
pub(crate) fn is_permissive(returned: u32) -> bool {
    matches!(returned & ACTION, ALLOW | LOG | TRACE)
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    NotEqual,
    Less,
    LessEqual,
    Equal,
    GreaterEqual,
    Greater,
}

/// A comparison of one argument: `(argument & mask) operator value`, unsigned. A mask other than all ones comes with
/// `Equal` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) argument: u8,
    pub(crate) operator: Operator,
    pub(crate) mask: u64,
    pub(crate) value: u64,
}

impl Condition {
    /// `argument == value` and the like.
    pub(crate) const fn new(argument: u8, operator: Operator, value: u64) -> Self {
        Self { argument, operator, mask: u64::MAX, value }
    }

    /// `argument & mask == value`; bits of `value` that the mask does not have are dropped, as libseccomp does.
    pub(crate) const fn masked(argument: u8, mask: u64, value: u64) -> Self {
        Self { argument, operator: Operator::Equal, mask, value: value & mask }
    }

    pub(crate) fn from_oci(arg: &LinuxSeccompArg) -> Result<Self, Problem> {
        use LinuxSeccompOperator as O;
        let argument = match arg.index() {
            index @ 0..=5 => index as u8,
            index => return Err(Problem::Argument(index)),
        };
        let operator = match arg.op() {
            O::ScmpCmpMaskedEq => {
                return Ok(Self::masked(argument, arg.value(), arg.value_two().unwrap_or(0)));
            }
            O::ScmpCmpNe => Operator::NotEqual,
            O::ScmpCmpLt => Operator::Less,
            O::ScmpCmpLe => Operator::LessEqual,
            O::ScmpCmpEq => Operator::Equal,
            O::ScmpCmpGe => Operator::GreaterEqual,
            O::ScmpCmpGt => Operator::Greater,
        };
        Ok(Self::new(argument, operator, arg.value()))
    }

    pub(crate) fn to_oci(self) -> LinuxSeccompArg {
        use LinuxSeccompOperator as O;
        let operator = match self.operator {
            _ if self.mask != u64::MAX => {
                return oci_arg(self.argument.into(), O::ScmpCmpMaskedEq, self.mask, Some(self.value));
            }
            Operator::NotEqual => O::ScmpCmpNe,
            Operator::Less => O::ScmpCmpLt,
            Operator::LessEqual => O::ScmpCmpLe,
            Operator::Equal => O::ScmpCmpEq,
            Operator::GreaterEqual => O::ScmpCmpGe,
            Operator::Greater => O::ScmpCmpGt,
        };
        oci_arg(self.argument.into(), operator, self.value, None)
    }

    /// The condition as it is where only the low 32 bits of an argument count.
    pub(crate) fn narrow(self) -> Self {
        Self { mask: self.mask & 0xffff_ffff, value: self.value & 0xffff_ffff, ..self }
    }

    /// Whether it holds for every argument: a mask of nothing.
    pub(crate) fn always_holds(&self) -> bool {
        self.mask == 0
    }
}

/// The OCI's form of a condition.
pub(crate) fn oci_arg(
    index: usize,
    operator: LinuxSeccompOperator,
    value: u64,
    value_two: Option<u64>,
) -> LinuxSeccompArg {
    let mut arg = LinuxSeccompArgBuilder::default().index(index).op(operator).value(value);
    if let Some(value_two) = value_two {
        arg = arg.value_two(value_two);
    }
    // The type has no other constructor, and this one cannot fail: none of its fields is mandatory.
    arg.build().unwrap_or_default()
}
