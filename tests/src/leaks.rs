//! What is left of a world: processes, mounts, links, control groups, names, addresses, directories.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::cgroups::below;
use crate::world::{BRIDGE, World};

/// Everything that is left of the containers of `world`, a line each.
pub(crate) fn find(world: &World) -> Vec<String> {
    let mut left = Vec::new();
    for pid in processes(world) {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        left.push(format!("process {pid}: {words}"));
    }
    left.extend(mounts(world).into_iter().map(|target| format!("mount {target}")));
    left.extend(devices(world).into_iter().map(|device| format!("loop device {device}")));
    left.extend(links(world).into_iter().map(|link| format!("link {link}")));
    for parent in world.group_directories() {
        left.extend(below(&parent).into_iter().map(|path| format!("control group {}", path.display())));
    }
    left.extend(state(world).into_iter().map(|path| format!("state {}", path.display())));
    left
}

/// The processes of this world's containers, and every minidocker that was started with its roots. Zombies do not
/// count: their parent may take its time.
pub(crate) fn processes(world: &World) -> Vec<i32> {
    let mut found: Vec<i32> = Vec::new();
    for parent in world.group_directories() {
        for directory in below(&parent).into_iter().chain([parent]) {
            let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
    }
    let run_root = world.run_root();
    let run_root = run_root.as_os_str().as_bytes();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let ours = words.split(|byte| *byte == 0).any(|word| word == run_root);
        if ours && pid != std::process::id() as i32 {
            found.push(pid);
        }
    }
    found.sort_unstable();
    found.dedup();
    found.retain(|pid| stat_field(*pid, 0).is_some_and(|state| state != "Z"));
    found
}

/// A field of proc_pid_stat(5) after the name: 0 the state, 1 the parent, 19 the start time.
pub(crate) fn stat_field(pid: i32, index: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split_ascii_whitespace().nth(index).map(str::to_owned)
}

/// The mounts in our own mount namespace at or from the world's directories.
fn mounts(world: &World) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("the mounts of this process");
    let ours = |line: &&str| line.contains(world.name());
    text.lines().filter(ours).filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect()
}

/// The loop devices of the world's files. One lets go of its file when the kernel has taken its mount down, which it may
/// be about to do.
fn devices(world: &World) -> Vec<String> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(2);
    loop {
        let mut found = Vec::new();
        for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
            if file.contains(world.name()) {
                found.push(format!("{} of {}", entry.file_name().to_string_lossy(), file.trim_end()));
            }
        }
        if found.is_empty() || std::time::Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The links of the world's "host" network namespace, without loopback and the bridge.
fn links(world: &World) -> Vec<String> {
    let table = world.inside_network(|| fs::read_to_string("/proc/thread-self/net/dev"));
    let table = table.expect("the links of the world's network namespace");
    let names = table.lines().skip(2).filter_map(|line| line.split_once(':').map(|(name, _)| name.trim()));
    names.filter(|name| !matches!(*name, "lo" | BRIDGE)).map(str::to_owned).collect()
}

/// Files that a container has left in the two roots. Those of the engine itself may stay.
fn state(world: &World) -> Vec<PathBuf> {
    let list = |path: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let mut left = Vec::new();
    for directory in ["containers", "names", "root"] {
        left.extend(list(world.run_root().join(directory)));
    }
    left.extend(list(world.root().join("containers")));
    // Volumes stay; what is on its way in or out does not.
    let is_hidden = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
            || path.join("filling").exists()
    };
    left.extend(list(world.root().join("volumes")).into_iter().filter(is_hidden));
    let ports = world.run_root().join("ports");
    if fs::read(&ports).is_ok_and(|text| !text.is_empty()) {
        left.push(ports);
    }
    for network in list(world.run_root().join("addresses")).into_iter().filter(|path| path.is_dir()) {
        left.extend(list(network));
    }
    left
}

/// Takes down whatever is left, and the world itself; gives what could not be removed.
pub(crate) fn remove(world: &World) -> Vec<String> {
    let mut failed = Vec::new();
    for _ in 0..50 {
        let left = processes(world);
        if left.is_empty() {
            break;
        }
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for target in mounts(world).into_iter().rev() {
        if let Err(errno) = rustix::mount::unmount(target.as_str(), rustix::mount::UnmountFlags::DETACH) {
            failed.push(format!("mount {target}: {errno}"));
        }
    }
    for parent in world.group_directories() {
        for path in below(&parent).into_iter().chain([parent]) {
            if let Err(error) = remove_group(&path) {
                failed.push(format!("control group {}: {error}", path.display()));
            }
        }
    }
    if let Err(error) = fs::remove_dir_all(world.directory()) {
        failed.push(format!("directory {}: {error}", world.directory().display()));
    }
    failed
}

/// A group is busy for a moment after its last process.
fn remove_group(path: &Path) -> std::io::Result<()> {
    for _ in 0..100 {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            result => return result,
        }
    }
    fs::remove_dir(path)
}
