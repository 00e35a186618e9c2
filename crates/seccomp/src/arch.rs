//! The architectures (ABIs) that a filter can be made for, and what the compiler must know of each.

use oci::spec;

use crate::Error;

/// An ABI with its own system call numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86: `int 0x80` on a 64-bit kernel too.
    X86,
    /// x86-64 with 32-bit pointers: the kernel tells it from x86-64 only by bit 30 of the number.
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm, EABI.
    Arm,
}

/// Bit 30, which every x32 number has (__X32_SYSCALL_BIT).
pub(crate) const X32_BIT: u32 = 0x4000_0000;

impl Arch {
    /// All, in the order of the columns of the table of system calls.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm];

    /// The one that this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The one that this program was built for.
    #[cfg(target_arch = "x86")]
    pub const NATIVE: Self = Self::X86;
    /// The one that this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;
    /// The one that this program was built for.
    #[cfg(target_arch = "arm")]
    pub const NATIVE: Self = Self::Arm;

    /// `seccomp_data.arch` of its calls: AUDIT_ARCH_* of linux/audit.h. x32 has x86-64's.
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are compared as 64 bits. On the others only the low half counts, as in libseccomp, which
    /// takes x32 for one of them.
    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
    }

    /// As Docker's profiles name it in `includes.arches`: Go's name, but for x86.
    pub(crate) fn docker_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// As the OCI's specification names it.
    pub fn to_oci(self) -> spec::Arch {
        match self {
            Self::X86_64 => spec::Arch::ScmpArchX86_64,
            Self::X86 => spec::Arch::ScmpArchX86,
            Self::X32 => spec::Arch::ScmpArchX32,
            Self::Aarch64 => spec::Arch::ScmpArchAarch64,
            Self::Arm => spec::Arch::ScmpArchArm,
        }
    }

    /// From the OCI's name.
    ///
    /// # Errors
    /// [`Error::Architecture`] for those that have no table of system calls here.
    pub fn from_oci(arch: spec::Arch, native: Self) -> Result<Self, Error> {
        match arch {
            spec::Arch::ScmpArchNative => Ok(native),
            spec::Arch::ScmpArchX86_64 => Ok(Self::X86_64),
            spec::Arch::ScmpArchX86 => Ok(Self::X86),
            spec::Arch::ScmpArchX32 => Ok(Self::X32),
            spec::Arch::ScmpArchAarch64 => Ok(Self::Aarch64),
            spec::Arch::ScmpArchArm => Ok(Self::Arm),
            other => Err(Error::Architecture(other.to_string())),
        }
    }

    /// Those that a kernel of this architecture runs, itself first: what Docker's `archMap` says.
    pub(crate) fn with_compatible(self) -> &'static [Self] {
        match self {
            Self::X86_64 => &[Self::X86_64, Self::X86, Self::X32],
            Self::Aarch64 => &[Self::Aarch64, Self::Arm],
            Self::X86 => &[Self::X86],
            Self::X32 => &[Self::X32],
            Self::Arm => &[Self::Arm],
        }
    }
}
