//! Limits hold: by programs that want more, and by the kernel's own files. Both versions of control groups; the
//! modules are named for the filter that the QEMU machine with version 2 uses.

mod cpu_limits;
mod device_limits;
mod io_limits;
mod memory_limits;
mod pids_limits;
mod process_limits;
mod view_limits;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use minidocker_tests::{Group, Rootfs, World};

static PROCESSORS: RwLock<()> = RwLock::new(());

/// While this is held no other test of this program runs: for those that measure shares of the processors.
fn alone() -> RwLockWriteGuard<'static, ()> {
    PROCESSORS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Every other test holds this.
fn beside() -> RwLockReadGuard<'static, ()> {
    PROCESSORS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at the control group of a container that was started with these options and does nothing.
#[track_caller]
fn with_group(world: &World, root: &Rootfs, options: &[&str], look: impl FnOnce(&Group)) {
    let id =
        world.detached([&["--rm", "--rootfs", &root.overlay()], options, &["/inside", "pause"]].concat());
    look(&world.group(&id));
    world.minidocker(["rm", "-f", &id]).ok();
}

/// A whole block device of this machine with its number, such as `("/dev/vda", "254:0")`; no loop device.
fn disk() -> (String, String) {
    let names = std::fs::read_dir("/sys/block").expect("the block devices").flatten();
    let mut disks: Vec<_> = names
        .filter(|entry| entry.path().join("device").exists())
        .map(|entry| (format!("/dev/{}", entry.file_name().display()), entry.path().join("dev")))
        .filter(|(path, _)| std::path::Path::new(path).exists())
        .collect();
    disks.sort();
    let (path, number) = disks.first().expect("this test needs a disk");
    (path.clone(), std::fs::read_to_string(number).expect("its number").trim().to_owned())
}
