//! Programs that were built for other machines: whether the kernel has an interpreter for them, as QEMU's in user mode
//! (Documentation/admin-guide/binfmt-misc.rst).

use std::path::Path;

use oci::Platform;
use step::Failure;

/// Where the kernel tells of the interpreters that were registered.
const PLACE: &str = "/proc/sys/fs/binfmt_misc";

/// Where nobody can tell what a machine lacks: Debian's names, which others have too.
const INSTALL: &str = "install qemu-user-static and binfmt-support, or let the command run on this machine: \
                       FROM --platform=$BUILDPLATFORM";

/// Why programs for a platform do not run in containers here; none where they should.
pub(crate) fn lacking(platform: &Platform) -> Option<Failure> {
    lacking_in(Path::new(PLACE), &Platform::host(), platform)
}

fn lacking_in(place: &Path, host: &Platform, platform: &Platform) -> Option<Failure> {
    let native = host.runs().iter().any(|runs| runs.architecture() == platform.architecture());
    if native {
        return None;
    }
    let told = |reason: String, hint: &str| {
        let reason = format!("this machine cannot run its programs: {reason}");
        Some(Failure::because("build.run", platform.to_string(), reason).hint(hint))
    };
    let head = head(platform.architecture());
    let Ok(state) = std::fs::read_to_string(place.join("status")) else {
        return told(
            "binfmt_misc is not mounted".to_owned(),
            "mount it: mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; and install qemu-user-static",
        );
    };
    if state.trim() != "enabled" {
        return told("binfmt_misc is disabled".to_owned(), "echo 1 > /proc/sys/fs/binfmt_misc/status");
    }
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let entries: Vec<Interpreter> = texts.filter_map(|text| Interpreter::parse(&text)).collect();
    let known = entries.iter().find(|entry| head.is_some_and(|head| entry.takes(&head)));
    match known {
        None => told("no interpreter for them is registered with binfmt_misc".to_owned(), INSTALL),
        // The kernel opens it when it is registered, so that no container needs to have it.
        Some(known) if !known.fixed => told(
            format!("{} was registered without the flag F, and no container has it", known.path),
            "register it with F, as qemu-user-static with binfmt-support does",
        ),
        Some(_) => None,
    }
}

/// A file of binfmt_misc.
#[derive(Debug, PartialEq, Eq)]
struct Interpreter {
    path: String,
    fixed: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Interpreter {
    /// Reads one; none of what is no interpreter by its first bytes, or is disabled.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let magic = hex(field("magic ")?)?;
        let mask = field("mask ").and_then(hex).unwrap_or_else(|| vec![0xff; magic.len()]);
        Some(Self {
            path: field("interpreter ")?.to_owned(),
            fixed: field("flags:")?.contains('F'),
            offset: field("offset ")?.parse().ok()?,
            magic,
            mask,
        })
    }

    /// Whether it takes a program that begins so.
    fn takes(&self, head: &[u8]) -> bool {
        let bytes = head.iter().skip(self.offset);
        let both = self.magic.iter().zip(&self.mask);
        self.offset + self.magic.len() <= head.len()
            && bytes.zip(both).all(|(byte, (magic, mask))| byte & mask == magic & mask)
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The first bytes of a program for an architecture, by Go's name: elf(5), up to e_machine.
fn head(architecture: &str) -> Option<[u8; 20]> {
    let (bits, big, machine): (u8, bool, u16) = match architecture {
        "386" => (1, false, 3),
        "amd64" => (2, false, 62),
        "arm" => (1, false, 40),
        "arm64" => (2, false, 183),
        "loong64" => (2, false, 258),
        "mips" => (1, true, 8),
        "mipsle" => (1, false, 8),
        "mips64" => (2, true, 8),
        "mips64le" => (2, false, 8),
        "ppc64le" => (2, false, 21),
        "riscv64" => (2, false, 243),
        "s390x" => (2, true, 22),
        _ => return None,
    };
    let mut head = [0; 20];
    head[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', bits, if big { 2 } else { 1 }, 1]);
    let number = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    head[16..18].copy_from_slice(&number(2));
    head[18..].copy_from_slice(&number(machine));
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's qemu-user-static registers it.
    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_interpreter_takes_what_its_magic_says() {
        let arm64 = Interpreter::parse(ARM64).unwrap();
        assert!(arm64.fixed && arm64.path.ends_with("aarch64-binfmt-P"));
        for (architecture, taken) in [("arm64", true), ("arm", false), ("amd64", false), ("s390x", false)] {
            assert_eq!(arm64.takes(&head(architecture).unwrap()), taken, "{architecture}");
        }
        assert_eq!(Interpreter::parse(&ARM64.replace("enabled", "disabled")), None);
        assert_eq!(Interpreter::parse("enabled\ninterpreter /x\nflags: \nextension .x\n"), None);
        assert!(!arm64.takes(&head("arm64").unwrap()[..10]));
        assert_eq!(head("toaster"), None);
    }

    #[test]
    fn what_a_machine_lacks_is_said() {
        let place = std::env::temp_dir().join(format!("minidocker-binfmt-{}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        let host = platform("linux/amd64");
        let said =
            |wanted: &str| lacking_in(&place, &host, &platform(wanted)).map(|failure| failure.to_string());
        assert_eq!((said("linux/amd64/v3"), said("linux/386")), (None, None));
        assert!(said("linux/arm64").unwrap().contains("binfmt_misc is not mounted"));
        std::fs::write(place.join("status"), "enabled\n").unwrap();
        let words = said("linux/arm64").unwrap();
        assert!(words.contains("linux/arm64") && words.contains("no interpreter"), "{words}");
        std::fs::write(place.join("qemu-aarch64"), ARM64.replace("POF", "PO")).unwrap();
        assert!(said("linux/arm64").unwrap().contains("without the flag F"));
        std::fs::write(place.join("qemu-aarch64"), ARM64).unwrap();
        assert_eq!(said("linux/arm64"), None);
        assert!(said("linux/s390x").is_some());
        std::fs::write(place.join("status"), "disabled\n").unwrap();
        assert!(said("linux/arm64").unwrap().contains("disabled"));
        std::fs::remove_dir_all(&place).unwrap();
    }
}
