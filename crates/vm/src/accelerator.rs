//! Who runs the guest's instructions: the processor itself (KVM), or QEMU, which translates them (TCG).

use step::Failure;

/// What [`sys::kvm::probe`] says of a processor without the instructions.
const ENODEV: i32 = 19;

/// `--accel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor, by the kernel.
    Kvm,
    /// QEMU's translator: works everywhere, some 20 times slower.
    Tcg,
}

impl Accelerator {
    /// As in `--accel` and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// KVM where it really makes machines; a /dev/kvm that exists and does not is common in nested ones.
    #[must_use]
    pub fn automatic() -> Self {
        if sys::kvm::probe().is_ok() { Self::Kvm } else { Self::Tcg }
    }

    /// What was typed: `kvm`, `tcg` or `auto`.
    ///
    /// # Errors
    /// `kvm` where the host makes no machines; a word that is none of the three.
    pub fn choose(text: &str) -> Result<Self, Failure> {
        match text {
            "auto" => Ok(Self::automatic()),
            "tcg" => Ok(Self::Tcg),
            "kvm" => match sys::kvm::probe() {
                Ok(()) => Ok(Self::Kvm),
                Err(cause) => {
                    let mut failure = Failure::new("vm.accelerator", "/dev/kvm", cause);
                    let flags = failure.errno == ENODEV;
                    let why = if flags { "the processor has neither vmx nor svm" } else { "runs no machine" };
                    failure.reason = Some(why.to_owned());
                    Err(failure.hint(
                        "where the host is a virtual machine itself, its own host must allow nesting; \
                         --accel tcg needs no KVM",
                    ))
                }
            },
            other => {
                let why = format!("{} is none of kvm, tcg and auto", step::quote(other));
                Err(Failure::because("vm.accelerator", "--accel", why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_what_is_used() {
        assert_eq!(Accelerator::choose("tcg"), Ok(Accelerator::Tcg));
        assert_eq!(Accelerator::choose("auto"), Ok(Accelerator::automatic()));
        assert!(Accelerator::choose("xen").unwrap_err().cause().contains("none of"));
        match Accelerator::choose("kvm") {
            Ok(kvm) => assert_eq!(kvm, Accelerator::automatic()),
            Err(failure) => assert!(failure.hint.is_some_and(|hint| hint.contains("tcg"))),
        }
    }
}
