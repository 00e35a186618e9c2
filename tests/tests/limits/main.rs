//! Limits hold: by programs that want more, and by the kernel's own files. Both versions of control groups; the
//! modules are named for the filter that the QEMU machine with version 2 uses.

mod cpu_limits;
mod device_limits;
mod io_limits;
mod memory_limits;
mod pids_limits;
mod process_limits;
mod stats_limits;
mod update_limits;
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

/// A loop device on a file of the world's, detached when dropped.
struct Disk {
    /// `/dev/loop7`.
    path: String,
    /// `7:7`.
    number: String,
}

impl Disk {
    /// With so many bytes of nothing.
    fn new(world: &World, bytes: u64) -> Self {
        let file = world.directory().join("disk");
        let made = std::fs::File::create(&file).and_then(|file| file.set_len(bytes));
        made.unwrap_or_else(|error| panic!("make {}: {error}", file.display()));
        let words = ["losetup", "--find", "--show", file.to_str().expect("text")];
        let path = world.program(words).run().text();
        let name = path.strip_prefix("/dev/").expect("a device");
        let number = std::fs::read_to_string(format!("/sys/block/{name}/dev")).expect("its number");
        Self { number: number.trim().to_owned(), path }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let detached = std::process::Command::new("losetup").args(["--detach", &self.path]).status();
        if !std::thread::panicking() {
            assert!(detached.expect("losetup").success(), "{} could not be detached", self.path);
        }
    }
}
