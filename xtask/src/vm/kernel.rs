//! The machine's kernel: which one, and which of its modules must be loaded in which order.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// What the machine cannot find its root without. Those that are built in need no loading.
const NEEDED: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_console", "virtiofs", "overlay"];

/// A kernel of this machine's /boot.
pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    /// The newest kernel that was made for virtual machines, else the newest of all.
    pub(crate) fn newest() -> Result<Self> {
        let mut found: Vec<(bool, std::time::SystemTime, Self)> = Vec::new();
        for entry in fs::read_dir("/boot").context("read /boot")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(release) = name.strip_prefix("vmlinuz-") else { continue };
            let modules = Path::new("/lib/modules").join(release);
            if modules.join("modules.dep").is_file() {
                let small = ["cloud", "kvm", "virtual"].iter().any(|kind| release.contains(kind));
                found.push((small, entry.metadata()?.modified()?, Self { image: entry.path(), modules }));
            }
        }
        let best = found.into_iter().max_by_key(|(small, time, _)| (*small, *time));
        Ok(best.context("no kernel with modules in /boot: run `cargo xtask setup`")?.2)
    }

    /// The modules' files in the order of loading, unpacked.
    pub(crate) fn modules(&self) -> Result<Vec<Vec<u8>>> {
        let path = self.modules.join("modules.dep");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        load_order(&text, &NEEDED).into_iter().map(|file| unpacked(&self.modules.join(file))).collect()
    }
}

/// From modules.dep(5): each line lists everything that a module needs, the last first to be loaded.
fn load_order<'a>(modules_dep: &'a str, needed: &[&str]) -> Vec<&'a str> {
    let by_name: HashMap<&str, (&str, &str)> = modules_dep
        .lines()
        .filter_map(|line| {
            let (file, rest) = line.split_once(':')?;
            Some((file.rsplit('/').next()?.split('.').next()?, (file, rest)))
        })
        .collect();
    let mut order = Vec::new();
    for (file, rest) in needed.iter().filter_map(|name| by_name.get(name)) {
        for module in rest.split_whitespace().rev().chain([*file]) {
            if !order.contains(&module) {
                order.push(module);
            }
        }
    }
    order
}

/// Debian 13 and Ubuntu pack their modules.
fn unpacked(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => return fs::read(file).with_context(|| format!("read {}", file.display())),
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => bail!("{}: packed in a way that is not known here", file.display()),
    };
    Ok(process::output(Command::new(program).arg("-dc").arg(file))?.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let text = "kernel/fs/fuse/virtiofs.ko.xz: kernel/virtio.ko kernel/virtio_ring.ko kernel/fuse.ko\n\
                    kernel/virtio_blk.ko: kernel/virtio.ko kernel/virtio_ring.ko\n\
                    kernel/other.ko: kernel/virtio.ko\n";
        let order = load_order(text, &["virtio_blk", "virtiofs", "built_in"]);
        assert_eq!(
            order,
            [
                "kernel/virtio_ring.ko",
                "kernel/virtio.ko",
                "kernel/virtio_blk.ko",
                "kernel/fuse.ko",
                "kernel/fs/fuse/virtiofs.ko.xz"
            ]
        );
    }
}
