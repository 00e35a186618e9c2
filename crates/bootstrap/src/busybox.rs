//! A small tree of the host's busybox: one static program under its many names.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use step::Failure;

use crate::{STEP, tool};

const PACKAGE: &str = "busybox-static";

const DIRECTORIES: &[(&str, u32)] = &[
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/sbin", 0o755),
    ("sbin", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

const FILES: &[(&str, &str, u32)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\n\
         nobody:x:65534:65534:nobody:/home:/bin/false\n",
        0o644,
    ),
    ("etc/group", "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n", 0o644),
    (
        "etc/shadow",
        "root:*:10933:0:99999:7:::\ndaemon:*:10933:0:99999:7:::\nwww-data:*:10933:0:99999:7:::\nnobody:*:10933:0:99999:7:::\n",
        0o600,
    ),
];

/// Makes the tree.
pub(crate) fn make(into: &Path) -> Result<(), Failure> {
    let program = tool::find("busybox").ok_or_else(|| tool::missing("busybox", PACKAGE))?;
    let failed = |path: &Path, cause| Failure::new(STEP, path.display().to_string(), cause);
    let content = fs::read(&program).map_err(|cause| failed(&program, cause))?;
    if !is_static(&content) {
        let reason = "needs libraries of this machine, which a tree of its own has not";
        return Err(Failure::because(STEP, program.display().to_string(), reason)
            .hint(format!("apt-get install {PACKAGE}")));
    }
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for (name, mode) in DIRECTORIES {
        let path = into.join(name);
        fs::create_dir_all(&path).and_then(|()| set(&path, *mode)).map_err(|cause| failed(&path, cause))?;
    }
    for (name, text, mode) in FILES {
        let path = into.join(name);
        fs::write(&path, text).and_then(|()| set(&path, *mode)).map_err(|cause| failed(&path, cause))?;
    }
    let own = into.join("bin/busybox");
    fs::write(&own, content).and_then(|()| set(&own, 0o755)).map_err(|cause| failed(&own, cause))?;
    set(into, 0o755).map_err(|cause| failed(into, cause))?;
    let output =
        Command::new(&program).arg("--list-full").output().map_err(|cause| failed(&program, cause))?;
    for name in String::from_utf8_lossy(&output.stdout).lines() {
        let path = into.join(name);
        let plain = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        // linuxrc lies at the top, and is of use to a kernel alone.
        if !plain || !name.contains('/') || path.symlink_metadata().is_ok() {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|cause| failed(parent, cause))?;
        }
        symlink("/bin/busybox", &path).map_err(|cause| failed(&path, cause))?;
    }
    Ok(())
}

/// Whether an ELF program of 64 bits asks for no interpreter: elf(5), PT_INTERP.
pub(crate) fn is_static(program: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    if !program.starts_with(b"\x7fELF\x02") {
        return false;
    }
    let number = |at: usize, size: usize| {
        let bytes = program.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0_u64, |all, byte| all << 8 | u64::from(*byte)))
    };
    let headers = || Some((number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)? as usize));
    let Some((start, size, count)) = headers() else { return false };
    (0..count).all(|index| {
        let at = index.checked_mul(size).and_then(|offset| offset.checked_add(start));
        at.and_then(|at| number(at, 4)).is_some_and(|kind| kind as u32 != PT_INTERP)
    })
}
