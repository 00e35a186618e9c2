//! The machine's initial file system, put together in memory for each boot.

use std::fs;

use anyhow::{Context as _, Result};

use ::vm::Kernel;
use ::vm::cpio::Archive;

use crate::process;

/// What the machine cannot find its root without. Those that are built in need no loading.
const NEEDED: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_console", "virtiofs", "overlay"];

/// Everything that the guest's two scripts expect; the units are for a machine with systemd.
pub(crate) fn build(kernel: &Kernel, settings: &str, command: &str) -> Result<Vec<u8>> {
    let path = process::find("busybox").context("no busybox here: run `cargo xtask setup`")?;
    let busybox = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let mut archive = Archive::default();
    archive.file("init", 0o755, include_bytes!("../../guest/initramfs.sh"));
    archive.file("busybox", 0o755, &busybox);
    archive.directory("modules");
    for (number, (_, module)) in kernel.modules(&NEEDED)?.iter().enumerate() {
        archive.file(&format!("modules/{number}.ko"), 0o644, module);
    }
    archive.directory("machine");
    archive.file("machine/machine.sh", 0o755, include_bytes!("../../guest/machine.sh"));
    archive.file("machine/machine.target", 0o644, include_bytes!("../../guest/machine.target"));
    archive.file("machine/machine.service", 0o644, include_bytes!("../../guest/machine.service"));
    archive.file("machine/settings", 0o644, settings.as_bytes());
    archive.file("machine/command", 0o644, command.as_bytes());
    Ok(archive.finish())
}
