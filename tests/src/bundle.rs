//! OCI bundles for the runtime under test: a config.json of the usual shape, changed by what a test is about.
//!
//! ```text
//! Runtime::new()             a world with a directory for the runtime's states, looked into at the end too
//!   .bundle(&rootfs)         -> Bundle      .with("/process/umask", …), .mount(…), .args([…])
//!     .run()                 -> Output      `run` in the foreground
//!     .facts()               -> Value       what `/inside facts` reports from it
//!     .create(), .detached() -> Container   made, or running: .start(), .kill("TERM"), .status(), .exec([…])
//!   .call(["list"])          -> Call        any other command
//! Receiver::at(path)         what engines listen on: takes the descriptors that the runtime sends
//! ```
//!
//! `MINIDOCKER_TEST_RUNTIME` puts another runtime in the place of ours.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use crate::running::Heard;
use crate::{Call, Group, Output, Rootfs, World, need, scaled, until};

/// How long a command may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// The variable PATH of every program unless the test says otherwise.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What Docker gives to a program without being asked.
pub const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The runtime under test in a world of its own. Dropped, it looks for states that were left, then the world for all
/// the rest.
#[derive(Debug)]
pub struct Runtime {
    program: PathBuf,
    options: Vec<String>,
    made: AtomicU32,
    world: World,
}

impl Runtime {
    /// A new one.
    ///
    /// # Panics
    /// Without root, without the programs under test, or where the machine lacks what every test needs.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it makes kernel objects")]
    pub fn new() -> Self {
        let world = World::new();
        let other = std::env::var_os("MINIDOCKER_TEST_RUNTIME").filter(|value| !value.is_empty());
        let program = other.map_or_else(|| world.minidocker_path().to_owned(), PathBuf::from);
        Self::of(world, &program)
    }

    /// One on a copy of the program, which a test may try to overwrite.
    #[track_caller]
    pub fn on_a_copy() -> Self {
        let first = Self::new();
        let source = fs::canonicalize(&first.program).expect("the program under test");
        let copy = first.world.directory().join("copy");
        fs::copy(source, &copy).expect("a copy of our own");
        fs::remove_file(&first.program).expect("our own link");
        symlink(&copy, &first.program).expect("our own link");
        first
    }

    fn of(world: World, program: &Path) -> Self {
        assert!(program.is_file(), "there is no runtime at {}", program.display());
        let link = world.directory().join("minidocker-runtime");
        symlink(program, &link).expect("a link of our own");
        fs::create_dir(world.run_root()).expect("our own directory");
        Self { program: link, options: Vec::new(), made: AtomicU32::new(0), world }
    }

    /// With these global options in each command.
    #[must_use]
    pub fn with_options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|word| (*word).to_owned()));
        self
    }

    /// The world that it stands in.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The program as engines start it: a link named `minidocker-runtime`.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// `--root`. The world's leak check knows the runtime's processes by it.
    pub fn root(&self) -> PathBuf {
        self.world.run_root()
    }

    /// A path of the world's own as text.
    pub fn path(&self, name: &str) -> String {
        text(&self.world.directory().join(name))
    }

    /// Writes a file of the world's own and gives its path.
    #[track_caller]
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("write {path}: {error}"));
        path
    }

    /// Makes a directory of the world's own and gives its path.
    #[track_caller]
    pub fn directory(&self, name: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("make {path}: {error}"));
        path
    }

    /// `minidocker-runtime --root ROOT WORDS`, yet to be started.
    #[track_caller]
    pub fn call<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Call<'_> {
        self.world.program(self.words(words))
    }

    fn words<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Vec<String> {
        let mut all = vec![text(&self.program), "--root".to_owned(), text(&self.root())];
        all.extend(self.options.iter().cloned());
        all.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        all
    }

    /// A bundle on a root file system; the program is `/inside facts`.
    #[track_caller]
    pub fn bundle(&self, root: &Rootfs) -> Bundle<'_> {
        let id = format!("c{}", self.made.fetch_add(1, Ordering::Relaxed));
        let directory = self.world.directory().join(format!("bundle-{id}"));
        fs::create_dir(&directory).expect("our own directory");
        let config = config(root, &format!("{}/{id}", self.world.cgroup_parent()));
        Bundle { runtime: self, id, directory, config }
    }

    /// Runs a command that ends and leaves a program behind which has its streams; the output of one that fails.
    ///
    /// # Panics
    /// Where it hangs.
    #[track_caller]
    pub fn leave<W: AsRef<str>>(
        &self,
        wrapper: &[&str],
        words: impl IntoIterator<Item = W>,
    ) -> Result<Streams, Output> {
        let mut all: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        all.extend(self.words(words));
        if !all[0].contains('/') {
            need(&all[0]);
        }
        let mut command = Command::new(&all[0]);
        command.args(&all[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = self.world.start(command);
        let out = Heard::listen(child.stdout.take().expect("a pipe"));
        let err = Heard::listen(child.stderr.take().expect("a pipe"));
        let command = all.join(" ");
        let status = ended(&mut child, &command);
        if status.success() {
            return Ok(Streams { command, out, err });
        }
        for heard in [&out, &err] {
            assert!(heard.wait(scaled(PATIENCE), |_, ended| ended), "something of `{command}` lives on");
        }
        Err(Output::new(&command, status, out.bytes(), err.bytes(), started.elapsed()))
    }

    /// The names in the directory of states: one per container.
    pub fn states(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(
                self.states().is_empty(),
                "states were left in {}: {:?}",
                self.world.name(),
                self.states()
            );
        }
    }
}

/// What engines write into config.json.
fn config(root: &Rootfs, group: &str) -> Value {
    let mount = |destination: &str, kind: &str, source: &str, options: &str| {
        let options: Vec<&str> = options.split(',').collect();
        json!({ "destination": destination, "type": kind, "source": source, "options": options })
    };
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/inside", "facts"],
            "env": [PATH],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            },
            "noNewPrivileges": true,
        },
        "root": { "path": root.path() },
        "mounts": [
            mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
            mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
            mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
            mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
            mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
        ],
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": group,
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// A bundle whose config.json is written when it is used.
#[derive(Debug, Clone)]
pub struct Bundle<'r> {
    runtime: &'r Runtime,
    id: String,
    directory: PathBuf,
    /// config.json.
    pub config: Value,
}

impl<'r> Bundle<'r> {
    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same under another id.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// Where config.json is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The container's control group, where cgroupsPath was left as it is.
    pub fn group(&self) -> Group {
        self.runtime.world.group(&self.id)
    }

    /// Sets what a JSON pointer names; objects on the way are made, and `-` stands for a list's end.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.config;
        for key in pointer.split('/').skip(1) {
            // An object's key may have slashes, RFC 6901.
            let key = key.replace("~1", "/");
            if key == "-" {
                if place.is_null() {
                    *place = json!([]);
                }
                let list = place.as_array_mut().unwrap_or_else(|| panic!("{pointer}: no list"));
                list.push(Value::Null);
                place = list.last_mut().expect("just pushed");
            } else if place.is_array() {
                let index: usize = key.parse().unwrap_or_else(|_| panic!("{pointer}: {key} is no index"));
                place = &mut place[index];
            } else {
                place = &mut place[key];
            }
        }
        *place = value.into();
        self
    }

    /// Takes away what a JSON pointer to an object's field names.
    #[must_use]
    pub fn without(mut self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
        let parent = self.config.pointer_mut(parent).and_then(Value::as_object_mut);
        parent.unwrap_or_else(|| panic!("{pointer}: no object")).remove(key);
        self
    }

    /// Program and arguments.
    #[must_use]
    pub fn args<W: AsRef<str>>(self, words: impl IntoIterator<Item = W>) -> Self {
        let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self.with("/process/args", words)
    }

    /// A line for the shell as the program: for a root with busybox.
    #[must_use]
    pub fn shell(self, line: &str) -> Self {
        self.args(["sh", "-c", line])
    }

    /// A further mount.
    #[must_use]
    pub fn mount(self, destination: &str, kind: &str, source: &str, options: &[&str]) -> Self {
        self.with(
            "/mounts/-",
            json!({ "destination": destination, "type": kind, "source": source, "options": options }),
        )
    }

    /// A directory or file of the host, bound with these options besides `bind`.
    #[must_use]
    pub fn bind(self, source: &str, destination: &str, options: &[&str]) -> Self {
        self.mount(destination, "bind", source, &[&["bind"], options].concat())
    }

    /// Without the mount at `destination`.
    #[must_use]
    pub fn without_mount(mut self, destination: &str) -> Self {
        let mounts = self.config["mounts"].as_array_mut().expect("the list of mounts");
        mounts.retain(|mount| mount["destination"] != destination);
        self
    }

    /// Without a namespace of this kind: the host's.
    #[must_use]
    pub fn without_namespace(mut self, kind: &str) -> Self {
        let namespaces = self.config["linux"]["namespaces"].as_array_mut().expect("the list of namespaces");
        namespaces.retain(|namespace| namespace["type"] != kind);
        self
    }

    /// In the namespace at `path`; a new one where that is empty.
    #[must_use]
    pub fn namespace(self, kind: &str, path: &str) -> Self {
        let namespace =
            if path.is_empty() { json!({ "type": kind }) } else { json!({ "type": kind, "path": path }) };
        self.without_namespace(kind).with("/linux/namespaces/-", namespace)
    }

    /// These capabilities in all sets but the inheritable and the ambient one.
    #[must_use]
    pub fn capabilities(mut self, names: &[&str]) -> Self {
        for set in ["bounding", "effective", "permitted"] {
            self = self.with(&format!("/process/capabilities/{set}"), names);
        }
        self
    }

    /// In a user namespace of its own, whose ids begin at `first` outside.
    #[must_use]
    pub fn mapped(self, first: u32) -> Self {
        let map = json!([{ "containerID": 0, "hostID": first, "size": 65536 }]);
        self.namespace("user", "").with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map)
    }

    /// Writes config.json.
    pub fn write(&self) {
        let path = self.directory.join("config.json");
        fs::write(&path, self.config.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// `COMMAND --bundle DIRECTORY OPTIONS ID`, yet to be started; config.json is there.
    #[track_caller]
    pub fn call(&self, command: &str, options: &[&str]) -> Call<'r> {
        self.write();
        self.runtime.call(self.command(command, options))
    }

    fn command(&self, command: &str, options: &[&str]) -> Vec<String> {
        let mut words = vec![command.to_owned(), "--bundle".to_owned(), text(&self.directory)];
        words.extend(options.iter().map(|word| (*word).to_owned()));
        words.push(self.id.clone());
        words
    }

    /// Runs it in the foreground.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.call("run", &[]).run()
    }

    /// What `/inside facts` reports from it.
    #[track_caller]
    pub fn facts(&self) -> Value {
        self.clone().args(["/inside", "facts"]).run().json()
    }

    /// What the kernel answers to an attempt of `/inside try` in it.
    #[track_caller]
    pub fn attempt<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> String {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        self.clone().args(["/inside", "try"].map(str::to_owned).into_iter().chain(words)).run().text()
    }

    /// Creates it; its program waits.
    ///
    /// # Panics
    /// Where that fails.
    #[track_caller]
    pub fn create(&self) -> Container<'r> {
        self.made("create", &[])
    }

    /// Creates and starts it: `run --detach`.
    #[track_caller]
    pub fn detached(&self) -> Container<'r> {
        self.made("run", &["--detach"])
    }

    #[track_caller]
    fn made(&self, command: &str, options: &[&str]) -> Container<'r> {
        match self.launch(&[], command, options) {
            Ok(container) => container,
            Err(output) => panic!("{output:?}"),
        }
    }

    /// `create` or `run --detach` with options, through a wrapper; the output of one that fails.
    ///
    /// # Panics
    /// Where it hangs.
    #[track_caller]
    pub fn launch(&self, wrapper: &[&str], command: &str, options: &[&str]) -> Result<Container<'r>, Output> {
        self.write();
        let streams = self.runtime.leave(wrapper, self.command(command, options))?;
        Ok(Container { runtime: self.runtime, id: self.id.clone(), streams })
    }
}

/// Waits for a child's end, though something may keep its output open.
#[track_caller]
fn ended(child: &mut Child, words: &str) -> ExitStatus {
    let pid = Pid::from_raw(child.id() as i32).expect("a process");
    if !gone_within(pid, scaled(PATIENCE)) {
        let _ = child.kill();
        let _ = child.wait();
        panic!("`{words}` hangs");
    }
    child.wait().expect("our own child")
}

/// Whether a process ends in this time.
fn gone_within(pid: Pid, patience: Duration) -> bool {
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    readable(&pidfd, patience)
}

fn readable(fd: impl AsFd, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a short time");
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) => return false,
            _ => return true,
        }
    }
}

/// What a program that was left behind writes.
pub struct Streams {
    command: String,
    out: Arc<Heard>,
    err: Arc<Heard>,
}

impl Streams {
    /// Standard output so far.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.out.bytes()).into_owned()
    }

    /// Standard error so far; what the command itself said is in there.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.err.bytes()).into_owned()
    }

    /// Waits until standard output has `text` in it, and gives all of it so far.
    ///
    /// # Panics
    /// Where it does not come, with what came.
    #[track_caller]
    pub fn until(&self, text: &str) -> String {
        let has = |bytes: &[u8], _| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(self.out.wait(scaled(PATIENCE), has), "`{text}` did not come from {self:?}");
        self.out()
    }

    /// Waits until everybody who had standard output is gone; gives all of it.
    #[track_caller]
    pub fn all_out(&self) -> String {
        assert!(self.out.wait(scaled(PATIENCE), |_, ended| ended), "the output stays open: {self:?}");
        self.out()
    }
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (out, err) = (self.out(), self.err());
        write!(f, "`{}`\n--- stdout so far\n{out}--- stderr so far\n{err}---", self.command)
    }
}

/// A container that was created; its programs' streams are the ones that `create` had.
#[derive(Debug)]
pub struct Container<'r> {
    runtime: &'r Runtime,
    id: String,
    streams: Streams,
}

impl std::ops::Deref for Container<'_> {
    type Target = Streams;

    fn deref(&self) -> &Streams {
        &self.streams
    }
}

impl<'r> Container<'r> {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `COMMAND OPTIONS ID`, yet to be started.
    #[track_caller]
    pub fn call(&self, words: &[&str]) -> Call<'r> {
        self.runtime.call(words.iter().copied().chain([self.id.as_str()]))
    }

    /// `start`, which succeeds.
    #[track_caller]
    pub fn start(&self) {
        self.call(&["start"]).run().prints("");
    }

    /// `kill` with a signal, which succeeds.
    #[track_caller]
    pub fn kill(&self, signal: &str) {
        self.runtime.call(["kill", &self.id, signal]).run().prints("");
    }

    /// `state` as JSON.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.call(&["state"]).run().json()
    }

    /// `created`, `running`, `paused` or `stopped`.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    /// Its first process, by its number on the host.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let state = self.state();
        let pid = state["pid"].as_i64().filter(|pid| *pid > 0);
        pid.unwrap_or_else(|| panic!("no process in {state}")) as i32
    }

    /// A program in it, yet to be started: `exec ID WORDS`.
    #[track_caller]
    pub fn exec<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Call<'r> {
        self.exec_with(&[], words)
    }

    /// The same with options of `exec`.
    #[track_caller]
    pub fn exec_with<W: AsRef<str>>(&self, options: &[&str], words: impl IntoIterator<Item = W>) -> Call<'r> {
        self.runtime.call(self.exec_words(options, words))
    }

    /// A program that goes on in it: `exec --detach OPTIONS ID WORDS`.
    #[track_caller]
    pub fn exec_detached<W: AsRef<str>>(
        &self,
        options: &[&str],
        words: impl IntoIterator<Item = W>,
    ) -> Streams {
        let words = self.exec_words(&[&["--detach"], options].concat(), words);
        self.runtime.leave(&[], words).unwrap_or_else(|output| panic!("{output:?}"))
    }

    fn exec_words<W: AsRef<str>>(&self, options: &[&str], words: impl IntoIterator<Item = W>) -> Vec<String> {
        let mut all: Vec<String> = ["exec"].iter().chain(options).map(|word| (*word).to_owned()).collect();
        all.push(self.id.clone());
        all.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        all
    }

    /// Waits for the end of its first process.
    #[track_caller]
    pub fn wait(&self) {
        until("the container has stopped", || self.status() == "stopped");
    }

    /// `delete --force`, which succeeds.
    #[track_caller]
    pub fn remove(self) {
        self.call(&["delete", "--force"]).run().prints("");
    }
}

/// A unix socket that takes descriptors, as engines have them: for a console, a pidfd, a filter's listener.
#[derive(Debug)]
pub struct Receiver {
    listener: UnixListener,
    path: PathBuf,
}

impl Receiver {
    /// Listens at `path`.
    #[track_caller]
    pub fn at(path: &str) -> Self {
        let listener = UnixListener::bind(path).unwrap_or_else(|error| panic!("listen at {path}: {error}"));
        Self { listener, path: path.into() }
    }

    /// Its path as text.
    pub fn path(&self) -> String {
        text(&self.path)
    }

    /// The next message and the one descriptor that came with it.
    ///
    /// # Panics
    /// Where none comes, or not one descriptor.
    #[track_caller]
    pub fn receive(&self) -> (String, OwnedFd) {
        assert!(readable(&self.listener, scaled(PATIENCE)), "nobody connects to {}", self.path.display());
        let (socket, _) = self.listener.accept().expect("a connection");
        assert!(readable(&socket, scaled(PATIENCE)), "nothing comes on {}", self.path.display());
        let mut bytes = vec![0; 64 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg(&socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC);
        let length = message.expect("a message").bytes;
        let mut fds: Vec<OwnedFd> = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                fds.extend(rights);
            }
        }
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        assert_eq!(fds.len(), 1, "descriptors with {text:?}");
        (text, fds.remove(0))
    }
}

/// The outer end of a container's terminal, as an engine holds it.
pub struct Terminal {
    outer: OwnedFd,
    heard: Arc<Heard>,
}

impl Terminal {
    /// Listens to it.
    pub fn over(outer: OwnedFd) -> Self {
        let heard = Heard::listen(fs::File::from(outer.try_clone().expect("another descriptor")));
        Self { outer, heard }
    }

    /// Types these bytes.
    #[track_caller]
    pub fn type_in(&self, text: &str) {
        let written = rustix::io::write(&self.outer, text.as_bytes()).expect("type on the terminal");
        assert_eq!(written, text.len());
    }

    /// Changes its size; the kernel tells the program by SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.outer, size).expect("resize the terminal");
    }

    /// Waits until `text` is on it; gives all that came so far.
    ///
    /// # Panics
    /// Where it does not come, with what came.
    #[track_caller]
    pub fn until(&self, text: &str) -> String {
        let has = |bytes: &[u8], _| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        let came = self.heard.wait(scaled(PATIENCE), has);
        let screen = String::from_utf8_lossy(&self.heard.bytes()).into_owned();
        assert!(came, "{text:?} did not come on the terminal, but:\n{screen}");
        screen
    }
}

/// Whether a descriptor becomes readable: a pidfd, when its process has ended.
pub fn becomes_readable(fd: impl AsFd) -> bool {
    readable(fd, scaled(PATIENCE))
}

fn text(path: &Path) -> String {
    path.to_str().expect("our own names are text").to_owned()
}
