//! The first file system of the machine: this program as its init, the modules, what init is told.

use std::fs::File;
use std::io::Write;

use rustix::fs::MemfdFlags;
use step::Failure;

use crate::cpio::Archive;
use crate::guest;
use crate::settings::Settings;

const STEP: &str = "vm.initramfs";

/// This program.
const SELF: &str = "/proc/self/exe";

/// In memory, without a name.
pub(crate) fn build(modules: &[(String, Vec<u8>)], settings: &Settings) -> Result<File, Failure> {
    let program = std::fs::read(SELF).map_err(|cause| Failure::new(STEP, SELF, cause))?;
    let mut archive = Archive::default();
    archive.directory("dev");
    archive.directory("modules");
    archive.file("init", 0o755, &slim(program));
    for (name, content) in modules {
        archive.file(&format!("modules/{name}.ko"), 0o644, content);
    }
    let settings = serde_json::to_vec(settings)
        .map_err(|error| Failure::because(STEP, "the machine's settings", error.to_string()))?;
    archive.file(guest::SETTINGS.trim_start_matches('/'), 0o600, &settings);
    let failed = |cause: std::io::Error| Failure::new(STEP, "memory", cause);
    let file =
        rustix::fs::memfd_create("initramfs", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
    let mut file = File::from(file);
    file.write_all(&archive.finish()).map_err(failed)?;
    Ok(file)
}

/// An ELF program without what follows its last segment: symbols and debugging information, which nobody needs to run
/// it and the guest would hold in memory. Whatever is not understood stays as it is. (elf(5), 64 bits, little end.)
fn slim(mut program: Vec<u8>) -> Vec<u8> {
    if let Some(end) = end_of_segments(&program).filter(|end| *end < program.len()) {
        program.truncate(end);
        // e_shoff, then e_shentsize, e_shnum, e_shstrndx: no sections.
        program[0x28..0x30].fill(0);
        program[0x3a..0x40].fill(0);
    }
    program
}

fn end_of_segments(program: &[u8]) -> Option<usize> {
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let number = |at: usize, size: usize| {
        let bytes = program.get(at..at.checked_add(size)?)?;
        let little = bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(little).ok()
    };
    let (table, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    let mut end = table.checked_add(size.checked_mul(count)?)?.max(0x40);
    for index in 0..count {
        let header = table + index * size;
        // p_offset and p_filesz.
        end = end.max(number(header + 0x08, 8)?.checked_add(number(header + 0x20, 8)?)?);
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_without_its_sections() {
        use std::os::unix::fs::PermissionsExt as _;
        let own = std::env::current_exe().unwrap();
        let path = std::env::temp_dir().join(format!("minidocker-slim-{}", std::process::id()));
        std::fs::write(&path, slim(std::fs::read(&own).unwrap())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (before, after) = (own.metadata().unwrap().len(), path.metadata().unwrap().len());
        let listed = std::process::Command::new(&path).args(["--list", "initramfs"]).output().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(after < before, "{after} of {before}");
        assert!(String::from_utf8_lossy(&listed.stdout).contains("without_its_sections"), "{listed:?}");
    }

    #[test]
    fn what_is_no_program_stays_as_it_is() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01", &[0x7f; 200]] {
            assert_eq!(slim(bytes.to_vec()), bytes);
        }
        let mut odd = vec![0; 0x80];
        odd[..6].copy_from_slice(b"\x7fELF\x02\x01");
        odd[0x20..0x28].fill(0xff);
        odd[0x36..0x3a].fill(0xff);
        assert_eq!(slim(odd.clone()), odd);
    }
}
