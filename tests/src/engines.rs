//! A machine in the machine for other container engines: their daemons run in namespaces of their own, on layers
//! above this machine's directories, and end with the test. Nothing of the machine changes.
//!
//! ```text
//! Host::new()             namespaces, file system layers; `minidocker-runtime`, a link to the runtime under test
//!   .call(["podman", …])  -> Call     a program in there
//!   .daemon([…], "ready") -> Daemon   a daemon in there, once it has said that it is ready
//!   .image()              -> Image    busybox and the reporter, as root file system and as OCI archive
//!   .traces()             -> Traces   what containers could leave there, to be compared by .expect_only()
//! ```
//!
//! `MINIDOCKER_TEST_RUNTIME` puts another runtime in the place of ours: with runc's path the tests prove themselves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Call, Output, Running, World, cgroups, need, scaled};

/// PID 1 of the machine: makes its file systems, tells its own number on the real machine, reaps orphans, and ends
/// with its input, that is with the test, however that ends. The kernel ends everything else in there with it.
///
/// Engines write to /etc, /opt and /var (Docker its key, containerd its plug-ins' place, Podman its cache) whatever
/// their options say, so these are layers that forget. With version 1 of control groups they see the hierarchies, in a
/// directory that they cannot write to, as systemd has it: Podman takes any directory there for a hierarchy.
const INIT: &str = r#"
set -e
read -r pid _ < /proc/self/stat
world=$1
mount -t tmpfs -o mode=755 none "$world/layers"
for directory in etc opt var; do
    mkdir "$world/layers/$directory" "$world/layers/$directory-work"
    options="lowerdir=/$directory,upperdir=$world/layers/$directory,workdir=$world/layers/$directory-work"
    mount -t overlay -o "$options" none "/$directory"
done
mount -t proc none /proc
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs none /dev/shm
if [ "$(stat -f -c %T /sys/fs/cgroup)" = tmpfs ]; then
    hierarchies=$world/layers/hierarchies
    mkdir "$hierarchies"
    mount -t tmpfs -o mode=755 none "$hierarchies"
    for path in /sys/fs/cgroup/*; do
        if [ -L "$path" ]; then
            cp -d "$path" "$hierarchies"
        elif mountpoint -q "$path"; then
            mkdir "$hierarchies/${path##*/}"
            mount --bind "$path" "$hierarchies/${path##*/}"
        fi
    done
    mount -o remount,bind,ro "$hierarchies"
    mount --move "$hierarchies" /sys/fs/cgroup
fi
rm -rf /etc/docker /etc/containers /etc/containerd /etc/cni/net.d /etc/resolv.conf
echo 'nameserver 192.0.2.1' > /etc/resolv.conf
busybox ip link set lo up
exec 3<&0
echo "init $pid"
cat <&3 >/dev/null &
wait $!
"#;

/// How long the traces of the last containers may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longer than any test: what lives as long as its machine does not hang.
const LIFE: Duration = Duration::from_secs(900);

/// Namespaces of their own for mounts, processes and the network. Dropped, everything in them ends.
#[derive(Debug)]
pub struct Host {
    init: Running,
    /// Of `init`, by its number on the real machine.
    pid: i32,
    world: World,
}

impl Host {
    /// A new one.
    ///
    /// # Panics
    /// Without root, without the programs under test, or where the machine lacks what every test needs.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it makes kernel objects")]
    pub fn new() -> Self {
        let world = World::new();
        for directory in ["layers", "tmp"] {
            fs::create_dir(world.directory().join(directory)).expect("our own directory");
        }
        let runtime = std::env::var_os("MINIDOCKER_TEST_RUNTIME").filter(|value| !value.is_empty());
        let runtime = runtime.map_or_else(|| world.minidocker_path().to_owned(), PathBuf::from);
        assert!(runtime.is_file(), "there is no runtime at {}", runtime.display());
        symlink(runtime, world.directory().join("minidocker-runtime")).expect("a link of our own");
        need("nsenter");
        let words = ["unshare", "--mount", "--net", "--pid", "--fork", "busybox", "sh", "-c", INIT, "init"];
        let directory = text(world.directory());
        let init = world.program(words.into_iter().chain([directory.as_str()])).stdin_open();
        let init = init.patience(LIFE).spawn();
        let said = init.until("\n");
        let pid = said.trim().strip_prefix("init ").and_then(|pid| pid.parse().ok());
        let pid = pid.unwrap_or_else(|| panic!("`{said}` is no process number from {init:?}"));
        Self { init, pid, world }
    }

    /// The world that it stands in: its name, its directory (the same path inside), its control group.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The runtime under test, as an engine is told to start it.
    pub fn runtime(&self) -> String {
        text(&self.world.directory().join("minidocker-runtime"))
    }

    /// The path of a file or directory of the world's own.
    pub fn path(&self, name: &str) -> String {
        text(&self.world.directory().join(name))
    }

    /// Writes a file into the world's directory and gives its path.
    #[track_caller]
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("write {path}: {error}"));
        path
    }

    /// A program in there, yet to be started. Its home is empty, and the caller's choice of an engine does not count.
    #[track_caller]
    pub fn call<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Call<'_> {
        let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        if !words[0].contains('/') {
            need(&words[0]);
        }
        let pid = self.pid.to_string();
        let enter = ["nsenter", "--target", &pid, "--mount", "--net", "--pid", "--"];
        // conmon leaves files wherever Podman was started.
        let there = ["busybox", "sh", "-c", "cd \"$0\"; exec \"$@\"", &self.path("tmp")];
        let enter = enter.into_iter().chain(there).map(str::to_owned);
        let call = self.world.program(enter.chain(words)).env("HOME", "/run/home");
        let call = call.env("TMPDIR", &self.path("tmp"));
        ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST", "XDG_RUNTIME_DIR"]
            .into_iter()
            .fold(call, Call::without_env)
    }

    /// Runs a line of busybox's shell in there and gives what it printed.
    #[track_caller]
    pub fn shell(&self, line: &str) -> String {
        self.call(["busybox", "sh", "-c", line]).run().text()
    }

    /// Starts a daemon and waits until `ready` is among what it says.
    #[track_caller]
    pub fn daemon<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>, ready: &str) -> Daemon {
        let shell = ["busybox", "sh", "-c", "echo \"daemon $$\"; exec \"$@\" 2>&1", "sh"];
        let mut all: Vec<String> = shell.map(str::to_owned).to_vec();
        all.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        need(&all[shell.len()]);
        let mut running = self.call(all).patience(LIFE).spawn();
        let deadline = Instant::now() + scaled(Duration::from_secs(30));
        while !running.out_so_far().contains(ready) {
            assert!(running.is_alive() && Instant::now() < deadline, "no `{ready}` from {running:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let said = running.out_so_far();
        let pid = said.lines().next().and_then(|line| line.strip_prefix("daemon ")).map(str::to_owned);
        let pid = pid.unwrap_or_else(|| panic!("no process number from {running:?}"));
        Daemon { running: Some(running), pid }
    }

    /// The root file system and the image that the engines' containers have here.
    #[track_caller]
    pub fn image(&self) -> Image {
        Image::new(self)
    }

    /// Everything that containers could leave there, as it is now.
    pub fn traces(&self) -> Traces {
        let inside = PathBuf::from(format!("/proc/{}/root", self.pid));
        let mut all = Vec::new();
        for entry in fs::read_dir(inside.join("proc")).into_iter().flatten().flatten() {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            // A zombie has no words. Ours, by way of nsenter(1), come and go.
            if !words.is_empty() && entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
                all.push(format!("process {}", String::from_utf8_lossy(&words).replace('\0', " ").trim()));
            }
        }
        let lines = |name: &str| {
            fs::read_to_string(format!("/proc/{}/{name}", self.pid)).expect("a file of our own process")
        };
        let target = |line: &str| line.split(' ').nth(4).map(|target| format!("mount {target}"));
        all.extend(lines("mountinfo").lines().filter_map(target));
        let link = |line: &str| line.split_once(':').map(|(name, _)| format!("link {}", name.trim()));
        all.extend(lines("net/dev").lines().skip(2).filter_map(link));
        for parent in self.world.group_directories() {
            all.extend(
                cgroups::below(&parent).iter().map(|path| format!("control group {}", path.display())),
            );
        }
        state(&inside.join("run"), &mut all);
        all.sort_unstable();
        Traces(all)
    }

    /// Waits until nothing is there that was not there before.
    ///
    /// # Panics
    /// With what is there.
    #[track_caller]
    pub fn expect_only(&self, before: &Traces) {
        let deadline = Instant::now() + scaled(PATIENCE);
        let mut left = before.missing_in(self.traces());
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            left = before.missing_in(self.traces());
        }
        assert!(left.is_empty(), "the containers left behind:\n  {}", left.join("\n  "));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The end of its input. Everything in there has ended when PID 1 has: its parent is told last
        // (pid_namespaces(7)).
        self.init.wait_for_end();
    }
}

/// Directories and files below `directory` that a container's id names.
fn state(directory: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.len() >= 64 && name.bytes().filter(u8::is_ascii_hexdigit).count() >= 64;
        if id || name.starts_with("c-") {
            all.push(format!("state {}", entry.path().display()));
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            state(&entry.path(), all);
        }
    }
}

/// What is there at one moment: processes, mounts, links, control groups, state, a line each.
#[derive(Debug, Clone)]
pub struct Traces(Vec<String>);

impl Traces {
    /// From now on this line does not count as news.
    pub fn allow(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }

    /// What `later` has and `self` has not.
    fn missing_in(&self, later: Self) -> Vec<String> {
        let mut known = self.0.clone();
        let mut news = later.0;
        news.retain(|line| match known.iter().position(|other| other == line) {
            Some(at) => {
                known.swap_remove(at);
                false
            }
            None => true,
        });
        news
    }
}

/// A daemon in a [`Host`].
#[derive(Debug)]
pub struct Daemon {
    running: Option<Running>,
    /// In the host's namespace.
    pid: String,
}

impl Daemon {
    /// What it has said so far.
    pub fn log(&self) -> String {
        self.running.as_ref().map_or(String::new(), Running::out_so_far)
    }

    /// Asks it to end, and waits for it.
    #[track_caller]
    pub fn stop(&mut self, host: &Host) -> Output {
        let running = self.running.take().expect("stopped once");
        host.call(["kill", "-TERM", &self.pid]).run().ok();
        running.wait().ok()
    }

    /// The last things it said that are no mere information.
    pub fn complaints(&self) -> String {
        let log = self.log();
        let mut lines: Vec<&str> = log.lines().filter(|line| !line.contains("level=info")).collect();
        lines.drain(..lines.len().saturating_sub(40));
        lines.join("\n")
    }
}

/// The image that containers of the engines have: busybox, some users, the reporter `/inside`; without a command.
#[derive(Debug)]
pub struct Image {
    /// Its root file system as a tar archive.
    pub root: String,
}

impl Image {
    /// The name in an OCI archive.
    pub const NAME: &str = "localhost/test:1";

    #[track_caller]
    fn new(host: &Host) -> Self {
        let rootfs = host.world().rootfs_busybox();
        rootfs.file("etc/not-executable", "no program\n");
        let root = host.path("root.tar");
        archive(host, &rootfs.plain(), &root);
        Self { root }
    }

    /// The image as an OCI archive (image-layout.md of the image specification): its path.
    #[track_caller]
    pub fn oci(&self, host: &Host) -> String {
        let file = host.path("image.tar");
        let layout = Layout { world: host.world(), directory: host.world().directory().join("layout") };
        layout.write(&self.root);
        archive(host, &text(&layout.directory), &file);
        file
    }
}

/// Puts what is in a directory into a tar archive.
#[track_caller]
fn archive(host: &Host, directory: &str, file: &str) {
    host.world().program(["tar", "--numeric-owner", "-C", directory, "-cf", file, "."]).run().ok();
}

/// An OCI image layout.
struct Layout<'w> {
    world: &'w World,
    directory: PathBuf,
}

impl Layout<'_> {
    /// One image of one layer, not compressed, so that its digest is its diff id too.
    #[track_caller]
    fn write(&self, root: &str) {
        fs::create_dir_all(self.directory.join("blobs/sha256")).expect("our own directory");
        let layer = self.blob("application/vnd.oci.image.layer.v1.tar", &fs::read(root).expect("our own"));
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Env": [path]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
        let mut manifest = self.blob(kind, manifest.to_string().as_bytes());
        // containerd reads the first of these, Podman the second.
        manifest["annotations"] = json!({
            "io.containerd.image.name": Image::NAME, "org.opencontainers.image.ref.name": Image::NAME,
        });
        manifest["platform"] = json!({"architecture": architecture, "os": "linux"});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        let write = |name: &str, content: String| {
            fs::write(self.directory.join(name), content).expect("our own file");
        };
        write("index.json", index.to_string());
        write("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string());
    }

    /// Writes a blob and gives its descriptor.
    #[track_caller]
    fn blob(&self, kind: &str, content: &[u8]) -> serde_json::Value {
        let blobs = self.directory.join("blobs/sha256");
        let file = blobs.join("new");
        fs::write(&file, content).expect("our own file");
        let sum = self.world.program(["sha256sum", &text(&file)]).run().text();
        let digest = &sum[..64];
        fs::rename(&file, blobs.join(digest)).expect("our own file");
        json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": content.len()})
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("our own names are text").to_owned()
}
