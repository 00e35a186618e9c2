//! Why a profile cannot become a filter.

use thiserror::Error;

/// Why a profile cannot become a filter.
#[derive(Debug, Error)]
pub enum Error {
    /// An architecture of the profile that no filter can be made for.
    #[error("architecture {0} of the seccomp profile is not known (known: x86_64, x86, x32, aarch64, arm)")]
    Architecture(String),
    /// An entry of `syscalls`, counted from 1.
    #[error("entry {index} of the seccomp profile's syscalls ({names}): {problem}")]
    Entry {
        /// Its place, from 1.
        index: usize,
        /// The system calls that it names, shortened.
        names: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The default action.
    #[error("the seccomp profile's default: {0}")]
    Default(Problem),
    /// More instructions than the kernel takes.
    #[error("the seccomp profile becomes {0} instructions, the kernel takes {max}", max = sys::seccomp::MAX_INSTRUCTIONS)]
    TooLong(usize),
    /// The profile is no JSON, or of another shape.
    #[error("not a seccomp profile: {0}")]
    Json(#[from] serde_json::Error),
    /// Something in the profile's outer part, in words.
    #[error("the seccomp profile {0}")]
    Profile(&'static str),
    /// A flag that is not known.
    #[error("the seccomp profile has the unknown flag {0}")]
    Flag(String),
    /// The bytes given to [`crate::Program::from_bytes`].
    #[error("not a stored seccomp program: {0}")]
    Stored(&'static str),
}

/// What is wrong with an action or a rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// An action that is not the OCI's.
    #[error("unknown action \"{0}\"")]
    Action(String),
    /// An operator that is not the OCI's.
    #[error("unknown operator \"{0}\" (known: SCMP_CMP_NE, _LT, _LE, _EQ, _GE, _GT, _MASKED_EQ)")]
    Operator(String),
    /// An argument that no system call has.
    #[error("argument index {0}, system calls have the arguments 0 to 5")]
    Argument(usize),
    /// `errnoRet` with an action that has no use for it: the OCI's specification wants an error.
    #[error("errnoRet has no meaning with {0}")]
    NoErrno(String),
    /// `errnoRet` beyond what the kernel hands on.
    #[error("errnoRet {value} is too large, at most {max}")]
    Errno {
        /// As written.
        value: u32,
        /// 4095 for an error number, 65535 for a tracer's value.
        max: u32,
    },
    /// NOTIFY by default: the very calls that answer would wait for an answer.
    #[error("SCMP_ACT_NOTIFY cannot be the default action")]
    NotifyDefault,
    /// Neither `name` nor `names`.
    #[error("neither \"name\" nor \"names\"")]
    Nameless,
    /// Both `name` and `names`.
    #[error("both \"name\" and \"names\", use one of them")]
    TwoNames,
    /// `minKernel` that is not `4.8`.
    #[error("invalid minKernel \"{0}\", expected \"<kernel>.<major>\"")]
    MinKernel(String),
}

impl Problem {
    /// The problem, of the entry at `index` (from 0) that names these calls.
    pub(crate) fn of_entry<S: AsRef<str>>(self, index: usize, names: &[S]) -> Error {
        let mut text = names.iter().take(3).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
        if names.len() > 3 {
            text.push_str(", …");
        }
        if text.is_empty() {
            text.push_str("nameless");
        }
        Error::Entry { index: index + 1, names: text, problem: self }
    }
}
