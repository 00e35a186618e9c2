//! A small container: namespaces by unshare(1), a root file system of one busybox, a shell script as process 1.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use criu::{Common, Criu, DumpOptions, Event, Notify, RestoreOptions, Restored, Script, Version};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use step::Failure;

/// How long anything may take, in the emulated machine too.
const LONG: Duration = Duration::from_secs(120);

/// Counts in /count, and answers a terminal's or pipe's end with nothing.
pub(crate) const COUNT: &str =
    "i=0; while :; do i=$((i+1)); echo $i >/new; mv /new /count; usleep 20000; done";

/// A directory that goes with the test, with a root file system in it.
pub(crate) struct World {
    pub(crate) directory: PathBuf,
    pub(crate) rootfs: PathBuf,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("minidocker-criu-{}-{name}", std::process::id()));
        let rootfs = directory.join("rootfs");
        for part in ["bin", "proc", "dev", "old", "data"] {
            fs::create_dir_all(rootfs.join(part)).unwrap();
        }
        fs::copy(need("busybox"), rootfs.join("bin/busybox")).unwrap();
        for applet in ["sh", "mv", "usleep", "setsid", "cat", "head", "od"] {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(rootfs.join("empty"), "").unwrap();
        let world = Self { directory, rootfs };
        // CRIU wants a mount point for the root it restores. The mount is this thread's own and goes with it.
        rustix::mount::mount_bind(&world.rootfs, &world.rootfs).unwrap();
        world
    }

    /// A path in the world's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts process 1 with `script`, whose streams lead into the container. Before it, `setup` runs with the
    /// container's root as its working directory. `streams` replaces `</empty >/out 2>&1`.
    pub(crate) fn start(&self, start: &Start<'_>) -> Container {
        self.start_by(Command::new(need("unshare")), start)
    }

    /// The same, in a namespace that nsenter(1) enters first: `--net=FILE`.
    pub(crate) fn start_in(&self, enter: &str, start: &Start<'_>) -> Container {
        let mut command = Command::new(need("nsenter"));
        command.arg(enter).arg(need("unshare"));
        self.start_by(command, start)
    }

    /// The same, in a control group that is joined first.
    pub(crate) fn start_in_group(&self, processes: &Path, start: &Start<'_>) -> Container {
        let mut command = Command::new(need("busybox"));
        let join = format!("echo $$ >'{}'; exec \"$@\"", processes.display());
        command.args(["sh", "-c", &join, "sh"]).arg(need("unshare"));
        self.start_by(command, start)
    }

    fn start_by(&self, mut command: Command, start: &Start<'_>) -> Container {
        // Two exec: the shell keeps copies of the streams that it replaces for one command only.
        let setup = format!(
            "set -e; cd '{}'; mount -t proc proc proc; {}; pivot_root . old; umount -l /old; \
             exec {}; exec setsid /bin/sh -c '{}'",
            self.rootfs.display(),
            if start.setup.is_empty() { ":" } else { start.setup },
            start.streams.unwrap_or("</empty >/out 2>&1"),
            start.script,
        );
        command.args(["--pid", "--mount", "--ipc", "--uts", "--fork", "--propagation", "private"]);
        command.args(start.unshare).arg(need("busybox")).args(["sh", "-c", &setup]);
        command.stdin(Stdio::null()).stderr(fs::File::create(self.path("unshare-stderr")).unwrap());
        if let Some(output) = &start.output {
            command.stdout(output.try_clone().unwrap());
        }
        let parent = command.spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", parent.id());
        let mut init = None;
        wait_until("the container's process 1", || {
            let text = fs::read_to_string(&children).unwrap();
            init = text.split_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().unwrap()));
            init.is_some()
        });
        Container { parent: Some(parent), init: init.unwrap() }
    }

    /// Starts a container that counts, and waits until it does.
    pub(crate) fn start_counting(&self) -> Container {
        let container = self.start(&Start { script: COUNT, ..Start::default() });
        self.wait_for_count(3);
        container
    }

    /// What the container has counted to; 0 if it has not begun.
    pub(crate) fn count(&self) -> u64 {
        count(&self.rootfs.join("count"))
    }

    pub(crate) fn wait_for_count(&self, least: u64) {
        wait_until("the count", || self.count() >= least);
    }

    pub(crate) fn dump_options(&self, container: &Container) -> DumpOptions {
        DumpOptions::new(container.init, self.path("images"))
    }

    pub(crate) fn restore_options(&self) -> RestoreOptions<'static> {
        let common = Common { root: Some(self.rootfs.clone()), ..Common::new(self.path("images")) };
        RestoreOptions { common, ..RestoreOptions::new("") }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.rootfs, rustix::mount::UnmountFlags::DETACH);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// How a container is started.
#[derive(Default)]
pub(crate) struct Start<'a> {
    pub(crate) script: &'a str,
    pub(crate) setup: &'a str,
    pub(crate) streams: Option<&'a str>,
    /// More arguments of unshare(1).
    pub(crate) unshare: &'a [&'a str],
    /// The standard output that `streams` may leave alone.
    pub(crate) output: Option<OwnedFd>,
}

/// A running container, ended when it goes out of scope.
pub(crate) struct Container {
    /// unshare(1), which waits for process 1. None for a restored container: that one is this process's own child.
    parent: Option<Child>,
    pub(crate) init: Pid,
}

impl Container {
    pub(crate) fn restored(restored: Restored) -> Self {
        assert!(restored.complaints.is_empty(), "{:?}", restored.complaints);
        Self { parent: None, init: restored.pid }
    }

    /// Waits for the end of a container that was dumped: unshare(1) ends as its child does.
    pub(crate) fn wait_until_gone(mut self) {
        let status = self.parent.take().unwrap().wait().unwrap();
        assert!(!status.success(), "{status}");
        assert!(!Path::new(&format!("/proc/{}", self.init.as_raw_nonzero())).exists());
        std::mem::forget(self);
    }

    /// What a link in its /proc directory says.
    pub(crate) fn link(&self, name: &str) -> String {
        let link = fs::read_link(format!("/proc/{}/{name}", self.init.as_raw_nonzero())).unwrap();
        link.to_str().unwrap().to_owned()
    }

    /// Ends it; how a restored one ended, which only its parent can ask.
    pub(crate) fn end(self) -> Option<WaitStatus> {
        let _ = kill_process(self.init, Signal::KILL);
        let mut this = std::mem::ManuallyDrop::new(self);
        match this.parent.take() {
            Some(mut parent) => {
                parent.wait().unwrap();
                None
            }
            None => Some(waitpid(Some(this.init), WaitOptions::empty()).unwrap().unwrap().1),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = kill_process(self.init, Signal::KILL);
        match &mut self.parent {
            Some(parent) => drop(parent.wait()),
            None => drop(waitpid(Some(self.init), WaitOptions::empty())),
        }
    }
}

/// Notes what CRIU tells, and refuses one script if it is to.
#[derive(Default)]
pub(crate) struct Noting {
    pub(crate) scripts: Vec<Script>,
    pub(crate) pids: Vec<(Script, Pid)>,
    pub(crate) terminals: Vec<OwnedFd>,
    pub(crate) refuse: Option<Script>,
    /// A control group that CRIU is put into when it has started: its `cgroup.procs`.
    pub(crate) group: Option<PathBuf>,
}

impl Noting {
    /// The scripts of a dump that every CRIU has: the question for external files came with 3.19.
    pub(crate) fn known_to(mut self, criu: &Criu) -> Vec<Script> {
        let asks = criu.version().unwrap() >= Version { major: 3, minor: 19, sublevel: 0, git: None };
        assert_eq!(self.scripts.contains(&Script::QueryExternalFiles), asks);
        self.scripts.retain(|script| *script != Script::QueryExternalFiles);
        self.scripts
    }

    pub(crate) fn refusing(script: Script) -> Self {
        Self { refuse: Some(script), ..Self::default() }
    }
}

impl Notify for Noting {
    fn started(&mut self, criu: Pid) -> Result<(), Failure> {
        assert!(Path::new(&format!("/proc/{}", criu.as_raw_nonzero())).exists());
        match &self.group {
            Some(procs) => fs::write(procs, criu.as_raw_nonzero().to_string())
                .map_err(|error| Failure::new("join", procs.display().to_string(), error)),
            None => Ok(()),
        }
    }

    fn notified(&mut self, event: Event) -> Result<(), Failure> {
        self.pids.extend(event.pid.map(|pid| (event.script.clone(), pid)));
        self.terminals.extend(event.descriptor);
        self.scripts.push(event.script.clone());
        if self.refuse.as_ref() == Some(&event.script) {
            return Err(Failure::because("test", event.script.name(), "refused"));
        }
        Ok(())
    }
}

/// Dumps the container, which must be gone afterwards, and restores it. Gives it back with what CRIU told at the
/// restore.
pub(crate) fn there_and_back(
    criu: &Criu,
    container: Container,
    dump: &DumpOptions,
    restore: &RestoreOptions<'_>,
) -> (Container, Noting) {
    let dumped = criu.dump(dump, &mut ()).unwrap();
    assert!(dumped.complaints.is_empty(), "{:?}", dumped.complaints);
    container.wait_until_gone();
    let mut noting = Noting::default();
    let restored = criu.restore(restore, &mut noting).unwrap();
    (Container::restored(restored), noting)
}

pub(crate) fn count(file: &Path) -> u64 {
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Looks again and again: what is awaited here are files that a shell writes.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A program in PATH.
pub(crate) fn need(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("this test needs `{name}`: `cargo xtask setup` installs it"))
}

/// An executable script.
pub(crate) fn script(path: &Path, text: &str) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o755)).unwrap();
}

/// Reads up to the end of a line.
pub(crate) fn read_line(from: &mut fs::File) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    let patience = rustix::time::Timespec { tv_sec: LONG.as_secs() as i64, tv_nsec: 0 };
    while line.last() != Some(&b'\n') {
        let mut ready = [PollFd::new(from, PollFlags::IN)];
        assert_eq!(
            poll(&mut ready, Some(&patience)),
            Ok(1),
            "no more after {:?}",
            String::from_utf8_lossy(&line)
        );
        assert_eq!(
            from.read(&mut byte).unwrap(),
            1,
            "end of file after {:?}",
            String::from_utf8_lossy(&line)
        );
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// `pipe:[123]`, of one that is open here.
pub(crate) fn name_of(descriptor: &OwnedFd) -> String {
    let link = fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).unwrap();
    link.to_str().unwrap().to_owned()
}
