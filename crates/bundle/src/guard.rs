//! This program made read-only for whoever could see it from inside of a container (CVE-2019-5736).
//!
//! Until init becomes the sealed stub it runs this program, and a process that is in the container already could
//! open /proc/<init>/exe, keep it, and write to it later. So before anything is started in a container the program
//! executes itself anew from a mount that nobody else has and that cannot be written through: a clone of the one it
//! lies on, read-only. No byte is copied; it costs one execve(2).

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::mount::OpenTreeFlags;
use sys::mount::MountAttr;

const SELF: &str = "/proc/self/exe";

/// Whether it runs from a mount that cannot be written through.
pub(crate) fn is_read_only() -> bool {
    rustix::fs::statvfs(SELF).is_ok_and(|vfs| vfs.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Executes this program anew from a read-only mount, with the same words; returns where that is done already, or
/// cannot be: without the rights to clone a mount a container's root has none on this program either.
///
/// The caller has one thread and has opened nothing.
pub fn read_only_self() {
    if is_read_only() {
        return;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let Ok(mount) = rustix::mount::open_tree(CWD, SELF, flags) else { return };
    let attr = MountAttr { set: sys::mount::RDONLY, ..MountAttr::default() };
    if sys::mount::set_attr(&mount, c"", false, attr).is_err() {
        return;
    }
    // Neither an argument nor a variable has a NUL byte: the kernel gave them as C strings.
    let c = |text: OsString| CString::new(text.into_vec()).unwrap_or_default();
    let args: Vec<CString> = std::env::args_os().map(c).collect();
    let variable = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        c(name)
    };
    let env: Vec<CString> = std::env::vars_os().map(variable).collect();
    // A failure is no reason not to go on: the stub stands between this program and the container all the same.
    let _ = sys::process::execve_fd(&mount, &args, &env);
}
