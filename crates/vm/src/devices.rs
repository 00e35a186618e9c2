//! What the machine is made of, as QEMU's command line has it. Pure.

use std::os::fd::RawFd;
use std::path::Path;

use crate::Accelerator;

/// How much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// Who runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Processors.
    pub cpus: u32,
    /// Bytes of memory; whole MiB.
    pub memory: u64,
    /// An interface with QEMU's user network behind it: the guest can reach the outside, nobody it.
    pub network: bool,
}

/// A disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk<'a> {
    /// The file, as QEMU inherits it.
    pub file: RawFd,
    /// How the guest finds it.
    pub serial: &'a str,
    /// Whether the guest only reads it.
    pub read_only: bool,
    /// Past the host's page cache, so that the guest's is the only one; not every file system can.
    pub direct: bool,
}

/// Everything that the command line names; descriptors as QEMU inherits them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a> {
    /// What the process is called, for those who look at the host's.
    pub(crate) name: &'a str,
    pub(crate) hardware: Hardware,
    /// How fast the host's time stamp counter counts, in kHz, where it has one.
    pub(crate) tsc: Option<u64>,
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: RawFd,
    /// The socket that carries frames.
    pub(crate) port: RawFd,
    /// The socket that the kernel's messages come by.
    pub(crate) console: RawFd,
    /// The socket of QEMU's own monitor.
    pub(crate) monitor: RawFd,
    pub(crate) disks: &'a [Disk<'a>],
    /// Tags of shared trees, each with the socket of its daemon.
    pub(crate) trees: &'a [(String, RawFd)],
}

/// The port's name in the guest.
pub(crate) const PORT: &str = "minidocker";

/// The arguments, without the program.
pub(crate) fn arguments(layout: &Layout<'_>) -> Vec<String> {
    let Hardware { accelerator, cpus, memory, network } = layout.hardware;
    let mut all: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
    let shared = !layout.trees.is_empty();
    let backend = if shared { ",memory-backend=memory" } else { "" };
    // No 5-level page tables: one step less for each of a translator's walks, and no guest here has 128 TiB.
    let (engine, processor) = match accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Tcg => ("tcg,thread=multi,tb-size=512", "max,la57=off"),
    };
    add(&["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-sandbox", SANDBOX]);
    // A comma would begin another option.
    add(&["-name", &format!("guest={}", layout.name.replace(',', ",,"))]);
    add(&["-machine", &format!("pc,usb=off,vmport=off,hpet=off{backend}")]);
    add(&["-accel", engine, "-cpu", processor, "-smp", &cpus.to_string(), "-m", &format!("size={memory}B")]);
    if shared {
        // The trees' daemons read the machine's memory directly.
        add(&["-object", &format!("memory-backend-memfd,id=memory,size={memory}B,share=on")]);
    }
    add(&["-kernel", &layout.kernel.to_string_lossy()]);
    add(&["-initrd", &format!("/proc/self/fd/{}", layout.initramfs)]);
    add(&["-append", &kernel_line(accelerator, layout.tsc)]);
    for (name, socket) in [("port", layout.port), ("console", layout.console), ("monitor", layout.monitor)] {
        add(&["-chardev", &format!("socket,id={name},fd={socket}")]);
    }
    add(&["-serial", "chardev:console", "-mon", "chardev=monitor,mode=control"]);
    add(&["-device", "virtio-serial-pci,disable-legacy=on,max_ports=2"]);
    add(&["-device", &format!("virtserialport,chardev=port,name={PORT}")]);
    for (index, disk) in layout.disks.iter().enumerate() {
        let switch = |on: bool| if on { "on" } else { "off" };
        let (set, read_only, direct) = (index + 1, switch(disk.read_only), switch(disk.direct));
        add(&["-add-fd", &format!("fd={},set={set}", disk.file)]);
        let node = format!(
            "driver=raw,node-name=disk{set},read-only={read_only},discard=unmap,cache.direct={direct},\
             file.driver=file,file.filename=/dev/fdset/{set},file.locking=off"
        );
        add(&["-blockdev", &node]);
        let serial = disk.serial;
        add(&["-device", &format!("virtio-blk-pci,disable-legacy=on,drive=disk{set},serial={serial}")]);
    }
    for (tag, socket) in layout.trees {
        add(&["-chardev", &format!("socket,id={tag},fd={socket}")]);
        add(&["-device", &format!("vhost-user-fs-pci,chardev={tag},tag={tag},queue-size=1024")]);
    }
    if network {
        add(&["-netdev", "user,id=net"]);
        // Without the program that boots from the network.
        add(&["-device", "virtio-net-pci,disable-legacy=on,netdev=net,romfile="]);
    }
    all
}

/// QEMU's system calls: it starts no programs and gains no rights.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny";

/// What the kernel is told: docs/decisions/0022 has what each of it saves.
fn kernel_line(accelerator: Accelerator, tsc: Option<u64>) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut add = |all: &[&str]| words.extend(all.iter().map(|word| (*word).to_owned()));
    add(&["console=ttyS0", "quiet", "panic=-1", "reboot=t", "rdinit=/init"]);
    // The processor's own random numbers: nobody waits for others at the first start.
    add(&["random.trust_cpu=on"]);
    // Ciphers are not tested: that takes a second by a translator.
    add(&["cryptomgr.notests"]);
    // There is one serial port, no keyboard and no mouse to look for.
    add(&["8250.nr_uarts=1", "i8042.noaux", "i8042.nokbd", "i8042.nopnp", "no_timer_check"]);
    if accelerator == Accelerator::Tcg {
        // A translator does not speculate: there is nothing to mitigate. Its clock is the host's.
        add(&["mitigations=off", "tsc=reliable"]);
        words.extend(tsc.map(clock_word));
    }
    words.join(" ")
}

/// How fast a translated guest's clock counts. It would find out by counting against a timer, and where it gets no
/// processor meanwhile it is wrong: by 2.8 times was seen, for as long as the guest lived.
#[must_use]
pub fn clock_word(khz: u64) -> String {
    format!("tsc_early_khz={khz}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(hardware: Hardware, disks: &[Disk<'_>], trees: &[(String, RawFd)]) -> String {
        let kernel = Path::new("/boot/vmlinuz");
        let layout = Layout {
            name: "a,b",
            hardware,
            tsc: Some(2_596_070),
            kernel,
            initramfs: 9,
            port: 10,
            console: 11,
            monitor: 12,
            disks,
            trees,
        };
        arguments(&layout).join(" ")
    }

    const PLAIN: Hardware =
        Hardware { accelerator: Accelerator::Tcg, cpus: 2, memory: 512 << 20, network: false };

    #[test]
    fn the_machine_has_what_was_asked_for_and_nothing_else() {
        let line = line(PLAIN, &[], &[]);
        for words in [
            "-nodefaults",
            "-name guest=a,,b",
            "-accel tcg,thread=multi",
            "-smp 2 -m size=536870912B",
            "-initrd /proc/self/fd/9",
            "socket,id=port,fd=10",
            "mitigations=off tsc=reliable tsc_early_khz=2596070",
        ] {
            assert!(line.contains(words), "{words} in {line}");
        }
        for words in ["virtio-net", "memory-backend", "vhost-user", "virtio-blk", "kvm"] {
            assert!(!line.contains(words), "{words} in {line}");
        }
    }

    #[test]
    fn disks_trees_and_the_network_come_where_they_are_wanted() {
        let hardware = Hardware { accelerator: Accelerator::Kvm, network: true, ..PLAIN };
        let disks = [
            Disk { file: 20, serial: "image", read_only: true, direct: true },
            Disk { file: 21, serial: "scratch", read_only: false, direct: false },
        ];
        let line = line(hardware, &disks, &[("tree0".to_owned(), 30)]);
        for words in [
            "-accel kvm -cpu host",
            "memory-backend=memory",
            "size=536870912B,share=on",
            "-add-fd fd=20,set=1",
            "read-only=on,discard=unmap,cache.direct=on,file.driver=file,file.filename=/dev/fdset/1",
            "read-only=off,discard=unmap,cache.direct=off,file.driver=file,file.filename=/dev/fdset/2",
            "drive=disk2,serial=scratch",
            "socket,id=tree0,fd=30",
            "chardev=tree0,tag=tree0",
            "virtio-net-pci",
        ] {
            assert!(line.contains(words), "{words} in {line}");
        }
        assert!(!line.contains("mitigations=off"), "{line}");
    }
}
