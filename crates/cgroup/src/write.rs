//! One write to a file of a group, as data: what the two layouts are made of.
//! Which of them are made for a new group and which for a running one is the purpose.

use std::borrow::Cow;

use crate::check::Expect;

/// Put `value` into `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The file's name, relative to the group's directory: `memory.max`.
    pub file: String,
    /// What is written; every line by a write(2) of its own, as the kernel takes one entry a write.
    pub value: String,
    /// One line: why.
    pub why: Cow<'static, str>,
    /// What is done where the kernel has no such file.
    pub missing: Missing,
    /// What the file reads afterwards; none where it is not meant to be read back.
    pub expect: Option<Expect>,
}

/// What is done where the kernel has no such file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It is an error; this is the way out.
    Fail(&'static str),
    /// Nothing is done: the write would only have lifted a limit that cannot exist without the file.
    Skip,
    /// Another file does it.
    Instead(Box<Write>),
}

/// What the writes are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A group that has just been made: every limit has the kernel's default.
    Create,
    /// A running group, whose present values matter for the order.
    Update(Now),
}

/// The values of a running group that the order of writes depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Now {
    /// v1: `memory.memsw.limit_in_bytes`.
    pub memsw: Option<u64>,
    /// v2: the first word of `cpu.max`, a number of microseconds or `max`.
    pub quota: Option<String>,
    /// v1: `cpu.rt_period_us`.
    pub realtime_period: Option<u64>,
}

impl Write {
    /// A plain write whose file must be there.
    pub(crate) fn new(
        file: impl Into<String>,
        value: impl Into<String>,
        why: impl Into<Cow<'static, str>>,
        expect: Expect,
    ) -> Self {
        Self {
            file: file.into(),
            value: value.into(),
            why: why.into(),
            missing: Missing::Fail(
                "this kernel was built or booted without it: see /proc/cgroups and its configuration",
            ),
            expect: Some(expect),
        }
    }

    /// Whether it is made to that file, or to it where another is missing.
    pub(crate) fn is_to(&self, file: &str) -> bool {
        let instead = if let Missing::Instead(other) = &self.missing { other.is_to(file) } else { false };
        self.file == file || instead
    }

    /// The same, with the way out where the kernel has no such file.
    pub(crate) fn or_fail(mut self, hint: &'static str) -> Self {
        self.missing = Missing::Fail(hint);
        self
    }

    /// The same, left out where the kernel has no such file.
    pub(crate) fn or_skip(mut self) -> Self {
        self.missing = Missing::Skip;
        self
    }

    /// The same, with `other` where the kernel has no such file.
    pub(crate) fn or_else(mut self, other: Self) -> Self {
        self.missing = Missing::Instead(Box::new(other));
        self
    }
}
