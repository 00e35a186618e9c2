//! Where containers are made: bundles, the runtimes' directories, a control group of this process's own. Whatever is
//! left in it goes when it is dropped.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use super::super::world::{RunRoot, time};
use super::bundle::{Filter, Template};
use super::kit::Kit;
use super::peers::{Family, Runtime};

/// So long `true` may take to end.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

pub(super) struct Field<'a> {
    pub(super) kit: &'a Kit,
    template: Template,
    /// The containers' control groups are below it.
    group: String,
    run_root: RunRoot,
}

/// The parts of a container's life that engines see as one command each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) create: Duration,
    pub(super) start: Duration,
    pub(super) delete: Duration,
    /// From the beginning of `create` to the end of `delete`, with the program in between.
    pub(super) whole: Duration,
}

impl<'a> Field<'a> {
    pub(super) fn new(kit: &'a Kit) -> Result<Self> {
        // The first process of a created container becomes ours, as an engine's: we learn of its end and reap it.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .context("become a subreaper")?;
        let ours = kit.programs(Family::Minidocker.program())?;
        let ours = ours.first().context("the kit has no runtime of ours")?;
        let field = Self {
            kit,
            template: Template::of(ours, &kit.path().join("template"), &kit.rootfs())?,
            group: format!("/minidocker-bench-{}", std::process::id()),
            run_root: RunRoot::new()?,
        };
        for filter in Filter::BOTH {
            field.template.write(&field.bundle(filter), &["/true"], &field.group_of("one"), filter)?;
        }
        Ok(field)
    }

    /// The bundle of a container that runs `true`: one at a time.
    pub(super) fn bundle(&self, filter: Filter) -> PathBuf {
        self.kit.path().join(format!("bundle-{filter:?}"))
    }

    /// One more bundle, whose container may live beside others.
    pub(super) fn another(&self, name: &str, words: &[&str], filter: Filter) -> Result<PathBuf> {
        let bundle = self.kit.path().join(format!("bundle-{name}"));
        self.template.write(&bundle, words, &self.group_of(name), filter)?;
        Ok(bundle)
    }

    fn group_of(&self, name: &str) -> String {
        format!("{}/{name}", self.group)
    }

    /// The directory of a runtime's states, in memory, as /run is.
    pub(super) fn root(&self, runtime: &Runtime) -> PathBuf {
        self.run_root.0.join(runtime.program.file_name().unwrap_or_default())
    }

    /// A runtime's command.
    pub(super) fn command(&self, runtime: &Runtime, words: &[&str]) -> Command {
        let mut command = runtime.command(&self.root(runtime));
        command.args(words);
        command
    }

    pub(super) fn create(&self, runtime: &Runtime, bundle: &Path, id: &str) -> Command {
        let mut command = self.command(runtime, &["create", "--bundle"]);
        command.arg(bundle).arg("--pid-file").arg(self.pid_file(id)).arg(id);
        command
    }

    fn pid_file(&self, id: &str) -> PathBuf {
        self.kit.path().join(format!("pid-{id}"))
    }

    /// The first process of a container that was created.
    pub(super) fn init(&self, id: &str) -> Result<Pid> {
        let path = self.pid_file(id);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        pid.with_context(|| format!("{} holds no process number: {text:?}", path.display()))
    }

    /// Creates a container, starts it, waits for its end and deletes it.
    pub(super) fn life(&self, runtime: &Runtime, filter: Filter) -> Result<Life> {
        let begin = Instant::now();
        let create = time(&mut self.create(runtime, &self.bundle(filter), "life"))?;
        let pidfd = rustix::process::pidfd_open(self.init("life")?, PidfdFlags::empty())?;
        let start = time(&mut self.command(runtime, &["start", "life"]))?;
        let mut ended = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        if rustix::event::poll(&mut ended, Some(&PATIENCE))? == 0 {
            bail!("{}: the container does not end", runtime.version);
        }
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
        let delete = time(&mut self.command(runtime, &["delete", "life"]))?;
        Ok(Life { create, start, delete, whole: begin.elapsed() })
    }

    /// `run` of `true`.
    pub(super) fn run(&self, runtime: &Runtime, filter: Filter) -> Command {
        let mut command = self.command(runtime, &["run", "--bundle"]);
        command.arg(self.bundle(filter)).arg("run");
        command
    }

    /// `exec` of `true` in the container that [`Self::prepare`] made.
    pub(super) fn exec(&self, runtime: &Runtime, filter: Filter) -> Command {
        self.command(runtime, &["exec", &resident(filter), "/true"])
    }

    /// Runs one container for each filter to `exec` in.
    fn prepare(&self, runtime: &Runtime) -> Result<()> {
        for filter in Filter::BOTH {
            let id = resident(filter);
            let place = runtime.program.file_name().unwrap_or_default().to_string_lossy();
            let bundle = self.another(&format!("{id}-{place}"), &["/inside", "pause"], filter)?;
            time(&mut self.create(runtime, &bundle, &id))?;
            time(&mut self.command(runtime, &["start", &id]))?;
        }
        Ok(())
    }

    /// Does everything once with each: it fills caches. A peer that fails is left out.
    pub(super) fn leave_out_who_fails(&self, runtimes: &mut Vec<Runtime>) -> Result<()> {
        let mut kept = Vec::new();
        for runtime in runtimes.drain(..) {
            match self.once(&runtime) {
                Ok(()) => kept.push(runtime),
                Err(error) if runtime.family == Family::Minidocker => return Err(error),
                Err(error) => {
                    eprintln!("{}: left out, {error:#}", runtime.version);
                    if runtime.family == Family::Crun && control_groups() == HYBRID {
                        eprintln!("  `--without-unified` or `--vm` measure where it works");
                    }
                    self.clear(&self.root(&runtime), &runtime.program);
                }
            }
        }
        *runtimes = kept;
        Ok(())
    }

    fn once(&self, runtime: &Runtime) -> Result<()> {
        fs::create_dir_all(self.root(runtime))?;
        self.prepare(runtime)?;
        for filter in Filter::BOTH {
            self.life(runtime, filter)?;
            time(&mut self.run(runtime, filter))?;
            time(&mut self.exec(runtime, filter))?;
        }
        Ok(())
    }

    /// Deletes every container of a runtime.
    fn clear(&self, root: &Path, program: &Path) {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let mut command = Command::new(program);
            command.arg("--root").arg(root).args(["delete", "--force"]).arg(entry.file_name());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if !command.status().is_ok_and(|status| status.success()) {
                eprintln!("warning: {} could not be deleted", entry.path().display());
            }
        }
        reap();
    }

    /// The control groups that are left below this benchmark's own.
    pub(super) fn groups(&self, prefix: &str) -> Vec<PathBuf> {
        let below =
            |top: PathBuf| fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_one = |path: &PathBuf| {
            path.is_dir() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        };
        self.tops().into_iter().flat_map(below).filter(is_one).collect()
    }

    /// This benchmark's own group in every hierarchy.
    fn tops(&self) -> Vec<PathBuf> {
        let group = self.group.trim_start_matches('/');
        let hierarchies =
            fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        let all = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).map(|dir| dir.join(group));
        all.filter(|dir| is_group(dir)).collect()
    }
}

impl Drop for Field<'_> {
    fn drop(&mut self) {
        for family in [Family::Minidocker].into_iter().chain(Family::PEERS) {
            for program in self.kit.programs(family.program()).unwrap_or_default() {
                self.clear(&self.run_root.0.join(program.file_name().unwrap_or_default()), &program);
            }
        }
        for group in self.groups("").into_iter().chain(self.tops()) {
            if let Err(error) = fs::remove_dir(&group) {
                eprintln!("warning: {}: {error}", group.display());
            }
        }
    }
}

/// Where version 2 is mounted beside version 1.
pub(super) const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// Whether it is a directory of cgroup v1 or v2: the magic numbers of linux/magic.h.
fn is_group(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|statfs| matches!(statfs.f_type, 0x0027_e0eb | 0x6367_7270))
}

/// The id of the container to `exec` in.
fn resident(filter: Filter) -> String {
    format!("resident-{filter:?}")
}

/// Takes note of whoever has ended. Nobody else may wait for a child meanwhile.
pub(super) fn reap() {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    while let Ok(Some(_)) = rustix::process::waitid(WaitId::All, options) {}
}

const HYBRID: &str = "v1 beside v2";

/// What of control groups is mounted.
pub(super) fn control_groups() -> &'static str {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let has = |kind| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    match (has("cgroup"), has("cgroup2")) {
        (true, true) => HYBRID,
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => "none",
    }
}
