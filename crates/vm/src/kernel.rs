//! The machine's kernel: which one, and which of its modules are loaded in which order.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use step::Failure;

const STEP: &str = "vm.kernel";

/// What to install where there is none.
const PACKAGE: &str = "install a kernel that was made for machines: linux-image-cloud-amd64 (Debian), \
    linux-image-virtual (Ubuntu); or give one with --kernel";

/// Names in releases of kernels that were made for virtual machines: small, and quick to boot.
const SMALL: [&str; 3] = ["cloud", "kvm", "virtual"];

/// More than this no module has.
const MAX_MODULE: u64 = 64 << 20;

/// A kernel with its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its image, as boot loaders take it.
    pub image: PathBuf,
    /// `6.1.0-18-cloud-amd64`, as its modules' directory is called.
    pub release: String,
    /// /lib/modules/RELEASE.
    pub modules: PathBuf,
}

impl Kernel {
    /// The newest kernel of /boot that was made for virtual machines, else the newest of all. One without modules, or
    /// that cannot be read, is none.
    ///
    /// # Errors
    /// There is none.
    pub fn newest() -> Result<Self, Failure> {
        Self::newest_in(Path::new("/boot"), Path::new("/lib/modules"))
    }

    fn newest_in(boot: &Path, modules: &Path) -> Result<Self, Failure> {
        let mut found: Vec<(bool, std::time::SystemTime, Self)> = Vec::new();
        let mut unreadable = None;
        for entry in fs::read_dir(boot).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(release) = name.strip_prefix("vmlinuz-") else { continue };
            let directory = modules.join(release);
            let Ok(meta) = entry.metadata() else { continue };
            if !directory.join("modules.dep").is_file() {
                continue;
            }
            if let Err(cause) = fs::File::open(entry.path()) {
                unreadable = Some(Failure::new(STEP, entry.path().display().to_string(), cause));
                continue;
            }
            let small = SMALL.iter().any(|kind| release.contains(kind));
            let kernel = Self { image: entry.path(), release: release.to_owned(), modules: directory };
            found.push((small, meta.modified().unwrap_or(std::time::UNIX_EPOCH), kernel));
        }
        let best = found.into_iter().max_by_key(|(small, time, _)| (*small, *time));
        best.map(|(_, _, kernel)| kernel).ok_or_else(|| {
            unreadable.unwrap_or_else(|| {
                let what = format!("has no kernel with modules in {}", modules.display());
                Failure::because(STEP, boot.display().to_string(), what).hint(PACKAGE)
            })
        })
    }

    /// The kernel in the file `image`: its release is what stands in it, its modules those of that release.
    ///
    /// # Errors
    /// It cannot be read, or is no kernel; its modules are not here.
    pub fn of(image: &Path) -> Result<Self, Failure> {
        let target = || image.display().to_string();
        let head = fs::File::open(image).and_then(|file| {
            let mut head = Vec::new();
            file.take(64 << 10).read_to_end(&mut head).map(|_| head)
        });
        let head = head.map_err(|cause| Failure::new(STEP, target(), cause))?;
        let release = release(&head).ok_or_else(|| {
            Failure::because(STEP, target(), "is no kernel that boot loaders take")
                .hint("such as /boot/vmlinuz-RELEASE: a bzImage")
        })?;
        let modules = Path::new("/lib/modules").join(&release);
        if !modules.join("modules.dep").is_file() {
            let path = modules.join("modules.dep");
            return Err(Failure::because(STEP, path.display().to_string(), "is not there")
                .hint(format!("install the modules of {release}, or write the list: depmod {release}")));
        }
        Ok(Self { image: image.to_owned(), release, modules })
    }

    /// The needed modules and what these need, in the order of loading: name and content, unpacked. A name that is in
    /// no file is built in.
    ///
    /// # Errors
    /// A file that cannot be read or unpacked.
    pub fn modules(&self, needed: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let path = self.modules.join("modules.dep");
        let text = fs::read_to_string(&path)
            .map_err(|cause| Failure::new(STEP, path.display().to_string(), cause))?;
        let unpacked = |file: &str| Ok((name(file).to_owned(), unpack(&self.modules.join(file))?));
        load_order(&text, needed).into_iter().map(unpacked).collect()
    }
}

/// The release that a bzImage names: the text at the offset that stands at 0x20e, less 0x200.
/// (Documentation/arch/x86/boot.rst, `kernel_version`.)
fn release(head: &[u8]) -> Option<String> {
    if head.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let at = usize::from(u16::from_le_bytes(head.get(0x20e..0x210)?.try_into().ok()?)) + 0x200;
    let text = head.get(at..)?.split(|byte| *byte == 0).next()?;
    let word = std::str::from_utf8(text).ok()?.split_ascii_whitespace().next()?;
    // It becomes a part of a path.
    (!word.contains('/') && !word.starts_with('.')).then(|| word.to_owned())
}

/// `kernel/fs/fuse/virtiofs.ko.xz` is called virtiofs.
fn name(file: &str) -> &str {
    let file = file.rsplit('/').next().unwrap_or(file);
    file.split('.').next().unwrap_or(file)
}

/// From modules.dep(5): each line lists everything that a module needs, the last first to be loaded.
#[must_use]
pub fn load_order<'a>(modules_dep: &'a str, needed: &[&str]) -> Vec<&'a str> {
    let lines = modules_dep.lines().filter_map(|line| line.split_once(':'));
    let by_name: HashMap<&str, (&str, &str)> = lines.map(|(file, rest)| (name(file), (file, rest))).collect();
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
fn unpack(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |cause: std::io::Error| Failure::new("vm.modules", file.display().to_string(), cause);
    let packed = fs::read(file).map_err(failed)?;
    let mut plain = Vec::new();
    let size = match file.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => return Ok(packed),
        Some("xz") => {
            lzma_rust2::XzReader::new(packed.as_slice(), true).take(MAX_MODULE).read_to_end(&mut plain)
        }
        Some("zst") => zstd::Decoder::new(packed.as_slice())
            .and_then(|reader| reader.take(MAX_MODULE).read_to_end(&mut plain)),
        Some("gz") => {
            flate2::read::GzDecoder::new(packed.as_slice()).take(MAX_MODULE).read_to_end(&mut plain)
        }
        _ => {
            let reason = "is packed in a way that is not known here";
            return Err(Failure::because("vm.modules", file.display().to_string(), reason)
                .hint("known are .ko, .ko.xz, .ko.zst and .ko.gz"));
        }
    };
    size.map_err(failed)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

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
        assert_eq!(name("kernel/fs/fuse/virtiofs.ko.xz"), "virtiofs");
    }

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("minidocker-vm-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn modules_are_unpacked_whatever_packed_them() {
        let scratch = Scratch::new("packed");
        let content = b"\x7fELF and so on".repeat(1000);
        let at = |name: &str| scratch.0.join(name);
        fs::write(at("a.ko"), &content).unwrap();
        fs::write(at("a.ko.zst"), zstd::encode_all(content.as_slice(), 3).unwrap()).unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&content).unwrap();
        fs::write(at("a.ko.gz"), gz.finish().unwrap()).unwrap();
        let mut child = std::process::Command::new("xz")
            .args(["-c", "--check=crc32"])
            .stdin(std::process::Stdio::piped())
            .stdout(fs::File::create(at("a.ko.xz")).unwrap())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&content).unwrap();
        assert!(child.wait().unwrap().success());
        for suffix in ["ko", "ko.zst", "ko.gz", "ko.xz"] {
            assert_eq!(unpack(&at(&format!("a.{suffix}"))).unwrap(), content, "{suffix}");
        }
        fs::write(at("a.ko.lz4"), b"x").unwrap();
        assert!(unpack(&at("a.ko.lz4")).unwrap_err().cause().contains("not known"));
        fs::write(at("b.ko.xz"), b"no archive").unwrap();
        assert!(unpack(&at("b.ko.xz")).is_err());
    }

    #[test]
    fn one_for_machines_goes_before_a_newer_one_and_one_without_modules_is_none() {
        let scratch = Scratch::new("boot");
        let (boot, modules) = (scratch.0.join("boot"), scratch.0.join("modules"));
        fs::create_dir_all(&boot).unwrap();
        let none = Kernel::newest_in(&boot, &modules).unwrap_err();
        assert!(none.hint.is_some_and(|hint| hint.contains("linux-image-cloud-amd64")));
        for release in ["6.1.0-1-cloud-amd64", "6.12.0-generic", "7.0.0-cloud-amd64"] {
            fs::write(boot.join(format!("vmlinuz-{release}")), b"kernel").unwrap();
        }
        for release in ["6.1.0-1-cloud-amd64", "6.12.0-generic"] {
            fs::create_dir_all(modules.join(release)).unwrap();
            fs::write(modules.join(release).join("modules.dep"), b"").unwrap();
        }
        assert_eq!(Kernel::newest_in(&boot, &modules).unwrap().release, "6.1.0-1-cloud-amd64");
        fs::remove_file(boot.join("vmlinuz-6.1.0-1-cloud-amd64")).unwrap();
        assert_eq!(Kernel::newest_in(&boot, &modules).unwrap().release, "6.12.0-generic");
    }

    #[test]
    fn an_image_names_its_release() {
        let mut head = vec![0; 0x400];
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        head[0x300..0x30e].copy_from_slice(b"6.1.0-x (me) #");
        assert_eq!(release(&head).as_deref(), Some("6.1.0-x"));
        head[0x20e..0x210].copy_from_slice(&0xffff_u16.to_le_bytes());
        assert_eq!(release(&head), None);
        assert_eq!(release(b"\x7fELF"), None);
        head[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        head[0x300..0x307].copy_from_slice(b"../etc ");
        assert_eq!(release(&head), None);
    }
}
