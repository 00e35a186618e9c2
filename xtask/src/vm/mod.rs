//! `cargo xtask vm`: a small QEMU machine that runs one command on a kernel with control groups of the wanted
//! version, whatever this machine has.
//!
//! Emulated (TCG), Debian's or Ubuntu's kernel, booted directly with a small initial file system. Its root is this
//! machine's root, read only, under a layer that forgets; one folder is shared for reading and writing; /scratch is
//! an empty ext4 disk. Output and exit code come back. No network but loopback. A few seconds for `true`.
//!
//! ```text
//!   xtask ---- starts ----> virtiofsd (host), virtiofsd (share)      folders, by unix sockets
//!     |                          |
//!     +------- starts ----> qemu: initramfs.sh -> machine.sh -> the command
//!     +<------ unix sockets ---- ports out, err, exit
//! ```

mod initramfs;
mod ports;
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::arguments::Arguments;
use crate::e2e::Version;
use crate::process::{self, Temporary};
use ::vm::Kernel;
use ports::Ports;

/// `/scratch` in bytes; the file behind it is sparse.
const SCRATCH: u64 = 6 << 30;

/// What is started of the host's systemd and message bus.
const SYSTEMD_PROGRAMS: [&str; 2] = ["/lib/systemd/systemd", "/usr/bin/dbus-daemon"];

/// What systemd is told by the kernel's command line: kernel-command-line(7). Nothing of the host's disks, an
/// identity of its own, so that it is no first boot.
const SYSTEMD: [&str; 6] = [
    "systemd.unit=machine.target",
    "systemd.show_status=error",
    "systemd.hostname=machine",
    "systemd.gpt_auto=no",
    "fstab=no",
    "systemd.machine_id=6d696e69646f636b65722d76742d3031",
];

/// What the machine is to be.
pub(crate) struct Machine {
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) timeout: Duration,
    pub(crate) version: Version,
    /// Process 1 is systemd, with a message bus and the command as its one service.
    pub(crate) systemd: bool,
    /// The folder that is shared for reading and writing, and the command's working directory.
    pub(crate) share: PathBuf,
    /// More words for the kernel's command line.
    pub(crate) kernel_arguments: Vec<String>,
}

impl Machine {
    /// The machine that one gets without options.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            memory_mib: 4096,
            cpus: 2,
            timeout: Duration::from_secs(1800),
            version: Version::V2,
            systemd: false,
            share: std::env::current_dir().context("current directory")?,
            kernel_arguments: Vec::new(),
        })
    }

    /// Boots, runs `script` by bash, and gives its exit code.
    pub(crate) fn run(&self, script: &str) -> Result<u8> {
        process::need_root("the QEMU machine, which shares this machine's root,")?;
        if self.systemd
            && let Some(missing) = SYSTEMD_PROGRAMS.iter().find(|path| !Path::new(path).is_file())
        {
            bail!("no {missing} here: run `cargo xtask setup`");
        }
        let kernel = Kernel::newest().context("run `cargo xtask setup`")?;
        let share =
            fs::canonicalize(&self.share).with_context(|| format!("find {}", self.share.display()))?;
        let temporary = Temporary::new("vm")?;
        let directory = temporary.path();

        make_scratch(&directory.join("scratch.img"))?;
        fs::write(directory.join("initramfs"), initramfs::build(&kernel, &self.settings(&share), script)?)?;
        let _host = Share::start(directory, "host", Path::new("/"), "always")?;
        let _share = Share::start(directory, "share", &share, "auto")?;
        let ports = Ports::open(directory)?;
        let ended = self.boot(directory, &kernel)?;
        match ports.finish(directory) {
            Some(code) => Ok(code),
            None => bail!("the machine gave no exit code, {ended}\n{}", last_words(directory)),
        }
    }

    fn settings(&self, share: &Path) -> String {
        let variable = |name: &str| process::quote(&std::env::var(name).unwrap_or_default());
        let (folder, cgroup) = (process::quote(&share.to_string_lossy()), self.version.name());
        let init = if self.systemd { "systemd" } else { "none" };
        let (path, home) = (variable("PATH"), variable("HOME"));
        format!("share={folder}\ncgroup={cgroup}\ninit={init}\nPATH={path}\nHOME={home}\n")
    }

    /// Runs QEMU until it ends or the time is up; how it ended, in words.
    fn boot(&self, directory: &Path, kernel: &Kernel) -> Result<String> {
        let console = fs::File::create(directory.join("qemu.log"))?;
        let mut command = self.qemu(directory, kernel);
        command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        let mut qemu = Process(command.spawn().context("start qemu-system-x86_64")?);
        let deadline = Instant::now() + self.timeout;
        while Instant::now() < deadline {
            if let Some(status) = qemu.0.try_wait()? {
                return Ok(format!("qemu ended with {status}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(format!("it was stopped after {} s", self.timeout.as_secs()))
    }

    fn qemu(&self, directory: &Path, kernel: &Kernel) -> Command {
        let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let mut command = Command::new("qemu-system-x86_64");
        // TCG always: a /dev/kvm that exists and does not work is common in nested machines.
        command.args(["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"]);
        command.args(["-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none"]);
        command.args(["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        // The folders' daemons read the machine's memory directly.
        let memory = format!("memory-backend-memfd,id=memory,size={}M,share=on", self.memory_mib);
        command.args(["-object", &memory, "-numa", "node,memdev=memory"]);
        command.arg("-kernel").arg(&kernel.image).args(["-initrd", &file("initramfs")]);
        command.args(["-append", &self.kernel_line()]);
        command.args(["-serial", &format!("file:{}", file("console"))]);
        for tag in ["host", "share"] {
            let socket = file(&format!("{tag}.sock"));
            command.args(["-chardev", &format!("socket,id={tag},path={socket}")]);
            command.args(["-device", &format!("vhost-user-fs-pci,chardev={tag},tag={tag},queue-size=1024")]);
        }
        let disk = format!("file={},format=raw,if=none,id=scratch,cache=unsafe", file("scratch.img"));
        command.args(["-drive", &disk, "-device", "virtio-blk-pci,drive=scratch"]);
        command.args(["-device", "virtio-serial-pci"]);
        for name in ports::NAMES {
            let socket = ports::socket(directory, name).to_string_lossy().into_owned();
            command.args(["-chardev", &format!("socket,id=port-{name},path={socket}")]);
            command.args(["-device", &format!("virtserialport,chardev=port-{name},name={name}")]);
        }
        command
    }

    fn kernel_line(&self) -> String {
        let own =
            ["console=ttyS0", "quiet", "panic=-1", "mitigations=off", "random.trust_cpu=on", "rdinit=/init"];
        let clock = ::vm::Ticks::now().map(|ticks| ::vm::clock_word(ticks.khz()));
        let mut words = own.to_vec();
        words.extend(clock.as_deref());
        if self.systemd {
            words.extend(SYSTEMD);
            // Version 1 is the hybrid layout: its controllers, and beside them the unified hierarchy without any.
            words.push(match self.version {
                Version::V2 => "systemd.unified_cgroup_hierarchy=1",
                Version::V1 => "systemd.unified_cgroup_hierarchy=0",
            });
        }
        words.extend(self.kernel_arguments.iter().map(String::as_str));
        words.join(" ")
    }
}

/// `cargo xtask vm [OPTION]... -- COMMAND...`, or `--tests PACKAGE -- TEST-ARGUMENT...`.
pub(crate) fn vm(mut arguments: Arguments) -> Result<ExitCode> {
    let mut machine = Machine::new()?;
    machine.memory_mib = arguments.value_or("--mem", machine.memory_mib)?;
    machine.cpus = arguments.value_or("--cpus", machine.cpus)?;
    machine.timeout = Duration::from_secs(arguments.value_or("--timeout", machine.timeout.as_secs())?);
    machine.systemd = arguments.flag("--systemd");
    if let Some(version) = arguments.value("--cgroup")? {
        machine.version = Version::parse(&version)?;
    }
    if let Some(share) = arguments.value("--share")? {
        machine.share = share.into();
    }
    while let Some(word) = arguments.value("--kernel-arg")? {
        machine.kernel_arguments.push(word);
    }
    let package = arguments.value("--tests")?;
    let script = match (package, arguments.tail().as_slice()) {
        (Some(package), words) => tests::script(&package, words)?,
        (None, []) => bail!("no command: cargo xtask vm -- 'cat /sys/fs/cgroup/cgroup.controllers'"),
        (None, [line]) => line.clone(),
        (None, words) => words.iter().map(|word| process::quote(word)).collect::<Vec<_>>().join(" "),
    };
    arguments.finish()?;
    machine.run(&format!("{script}\n")).map(ExitCode::from)
}

/// Where the daemon is that shares folders: with QEMU, or a package of its own.
pub(crate) fn virtiofsd() -> Option<PathBuf> {
    let places = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd"];
    places.into_iter().map(PathBuf::from).find(|file| file.is_file()).or_else(|| process::find("virtiofsd"))
}

/// A process that does not outlive its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or it is to end now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that is being shared.
struct Share {
    _daemon: Process,
}

impl Share {
    /// `cache`: `always` for what nobody changes meanwhile, `auto` for the rest.
    fn start(directory: &Path, tag: &str, folder: &Path, cache: &str) -> Result<Self> {
        let program = virtiofsd().context("no virtiofsd here: run `cargo xtask setup`")?;
        let socket = directory.join(format!("{tag}.sock"));
        let log = fs::File::create(directory.join(format!("{tag}.log")))?;
        let mut command = Command::new(&program);
        command.arg(format!("--socket-path={}", socket.display())).arg("--thread-pool-size=1");
        command.args(["-o", &format!("source={}", folder.display()), "-o", &format!("cache={cache}")]);
        command.args(["-o", "sandbox=chroot", "-o", "xattr"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let mut daemon = Process(started);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !socket.exists() {
            let ended = daemon.0.try_wait()?.is_some();
            if ended || Instant::now() > deadline {
                let words = fs::read_to_string(directory.join(format!("{tag}.log"))).unwrap_or_default();
                bail!("{} does not share {}: {}", program.display(), folder.display(), words.trim());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Self { _daemon: daemon })
    }
}

fn make_scratch(image: &Path) -> Result<()> {
    fs::File::create(image)?.set_len(SCRATCH).with_context(|| format!("make {}", image.display()))?;
    let program = process::find("mkfs.ext4").context("no mkfs.ext4 here: run `cargo xtask setup`")?;
    let mut command = Command::new(program);
    command.args(["-q", "-F", "-E", "lazy_itable_init=1,nodiscard"]).arg(image);
    process::output(&mut command).map(drop)
}

/// The end of what the kernel and QEMU wrote.
fn last_words(directory: &Path) -> String {
    let mut words = String::new();
    for name in ["console", "qemu.log"] {
        let text = fs::read(directory.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(12)..] {
            words.push_str(&format!("  {name}: {}\n", line.escape_debug()));
        }
    }
    words
}
