//! For the tests: directories of their own, a mount namespace of their own, a user namespace, a mounted plan.
//! Everything ends with the value that holds it.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags};
use step::{Context, Failure};

use crate::{Places, Rootfs, mounts};

/// A directory that is removed at the end, with all that is mounted below it.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("minidocker-storage-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().canonicalize().unwrap().join(name);
        fs::create_dir(&path).unwrap();
        Self { path }
    }

    pub(crate) fn places(&self) -> Places {
        Places { root: self.path.join("state"), run_root: self.path.join("run") }
    }

    /// A small tree: `name` below with some files.
    pub(crate) fn tree(&self, name: &str) -> PathBuf {
        let tree = self.path.join(name);
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/motd"), "hello\n").unwrap();
        tree
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let text = fs::read("/proc/thread-self/mountinfo").unwrap_or_default();
        for mount in mounts::parse(&text).iter().rev().filter(|mount| mount.point.starts_with(&self.path)) {
            let _ = rustix::mount::unmount(&mount.point, UnmountFlags::DETACH);
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Runs `test` in a thread with a private mount namespace; both end together.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        let flags = rustix::thread::UnshareFlags::NEWNS | rustix::thread::UnshareFlags::FS;
        #[allow(deprecated, reason = "the successor is unsafe for CLONE_FILES alone")]
        rustix::thread::unshare(flags).unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Takes the plan's steps as the monitor and init do, the root attached at `target`.
pub(crate) fn mount(rootfs: &Rootfs, target: &Path, user: Option<&UserNamespace>) -> Result<(), Failure> {
    let (userns, init) = (user.map(UserNamespace::fd), user.map(|user| user.0.id() as i32));
    let mut context = Context { userns, init, ..Context::default() };
    rootfs.prepare.iter().try_for_each(|step| step.perform(&mut context))?;
    rootfs.mount.iter().try_for_each(|step| step.perform(&mut context))?;
    fs::create_dir_all(target).unwrap();
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(context.root.as_ref().unwrap(), c"", CWD, target, flags).unwrap();
    rootfs.after_attach.iter().try_for_each(|step| step.perform(&mut context))
}

/// A user namespace in which the ids 0..65536 are 100000.. outside, held by a sleeping process.
pub(crate) struct UserNamespace(Child);

impl UserNamespace {
    pub(crate) fn new() -> Self {
        let child = Command::new("unshare").args(["--user", "sleep", "1000"]).spawn().unwrap();
        let this = Self(child);
        let own = fs::read_link("/proc/self/ns/user").unwrap();
        while fs::read_link(this.path()).unwrap() == own {
            std::thread::yield_now();
        }
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", this.0.id()), "0 100000 65536").unwrap();
        }
        this
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/user", self.0.id())
    }

    pub(crate) fn fd(&self) -> OwnedFd {
        fs::File::open(self.path()).unwrap().into()
    }

    /// Runs a shell script as the namespace's root; whether it succeeded.
    pub(crate) fn shell(&self, script: &str) -> bool {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--user={}", self.path()))
            .args(["--setuid", "0", "--setgid", "0", "sh", "-ec", script]);
        command.status().unwrap().success()
    }
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes that do not compress, the same for one seed.
pub(crate) fn fill(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(bytes);
    all
}

/// Starts this test program anew, for one test, with variables in its environment.
pub(crate) fn respawn(test: &str, vars: &[(&str, &Path)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.envs(vars.iter().copied());
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).spawn().unwrap()
}

/// Runs `test` with a file system of so many bytes, in a mount namespace that goes with it.
pub(crate) fn on_small_disk(name: &'static str, bytes: u64, test: impl FnOnce(&Path) + Send + 'static) {
    in_namespace(move || {
        let scratch = Scratch::new(name);
        let flags = rustix::mount::MountFlags::empty();
        let options = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        rustix::mount::mount("tmpfs", &scratch.path, "tmpfs", flags, options.as_c_str()).unwrap();
        test(&scratch.path);
    });
}
