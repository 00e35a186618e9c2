//! Environments: where a workload runs, as command lines. A bare process in a control group, our own containers and
//! machines by our own program, and other engines by theirs. Pure but for looking where programs are.
//!
//! Everybody gets processors in the same way: a set of them that the process may run on (cpuset), and never a quota.
//! A virtual machine has so many processors and no share of more; a quota would let a container run on all of them
//! and stop it for the rest of each tenth of a second, which is another thing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cgroup::Limits;
use cgroup::limits::{Amount, Memory, Swap};
use step::Failure;

use crate::group::Seat;
use crate::host;
use crate::record::{self, Kind, Size};
use crate::suite::Network;

/// Where the host's shared directory is inside.
const SHARED: &str = "/minidocker-lab";
/// Where files are written inside, on whatever the root file system is.
const DISK: &str = "/var/tmp/minidocker-lab";
/// The first address of the lab's own network: its bridge.
const GATEWAY: &str = "10.213.77.1";
const SUBNET: &str = "10.213.77.0/24";
/// The lab's own bridge.
pub(crate) const BRIDGE: &str = "mdlab0";
/// The host, as QEMU's user network has it.
const VM_HOST: &str = "10.0.2.2";

/// What it is, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Native,
    /// With the words that choose where its files lie.
    Container(Rootfs),
    Vm,
    Docker,
    Podman,
    Lxc,
}

/// Where a container's files lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rootfs {
    Default,
    Overlay,
    Loop,
    /// Its root is an overlay, and what it measures is a directory of the host's.
    Host,
}

/// Every name that `--env` takes.
pub const NAMES: [&str; 9] = [
    "native",
    "container",
    "container:overlay",
    "container:loop",
    "container:host",
    "vm",
    "docker",
    "podman",
    "lxc",
];

/// Places and programs that environments are made with.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Our own program.
    pub(crate) program: PathBuf,
    /// `host` or an image.
    pub(crate) image: String,
    /// What stands before our commands: roots, bridge.
    pub(crate) globals: Vec<String>,
    /// The directory that is shared with every environment.
    pub(crate) shared: PathBuf,
    /// A directory of the host for those whose files lie on it.
    pub(crate) scratch: PathBuf,
    /// What other engines keep for the whole run.
    pub(crate) engines: PathBuf,
    /// Control groups are those of version 2 alone.
    pub(crate) unified: bool,
}

/// One environment.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    engine: Engine,
    /// As asked for.
    pub(crate) name: String,
    /// Further words for its command line.
    options: Vec<String>,
}

/// What is to be started in it.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// How much it gets.
    pub(crate) size: &'a Size,
    /// The processors that it may use.
    pub(crate) cpus: &'a [u32],
    /// How it reaches the host.
    pub(crate) network: Network,
    /// The control group that its own are made below.
    pub(crate) group: &'a str,
    /// For engines that know things by names.
    pub(crate) name: &'a str,
    /// Where our commands explain themselves to; none where they do not.
    pub(crate) explain: Option<&'a Path>,
}

impl Environment {
    /// The one of that name.
    pub(crate) fn named(name: &str, options: Vec<String>) -> Result<Self, Failure> {
        let engine = match name {
            "native" => Engine::Native,
            "container" => Engine::Container(Rootfs::Default),
            "container:overlay" => Engine::Container(Rootfs::Overlay),
            "container:loop" => Engine::Container(Rootfs::Loop),
            "container:host" => Engine::Container(Rootfs::Host),
            "vm" => Engine::Vm,
            "docker" => Engine::Docker,
            "podman" => Engine::Podman,
            "lxc" => Engine::Lxc,
            _ => {
                let near =
                    step::nearest(name, NAMES).map_or(String::new(), |near| format!("did you mean {near}? "));
                let failure = Failure::because("bench.environment", name, "there is no such environment");
                return Err(failure.hint(format!("{near}there are {}", NAMES.join(", "))));
            }
        };
        Ok(Self { engine, name: name.to_owned(), options })
    }

    /// The programs of the host that it needs, with the package that brings each.
    pub(crate) fn needs(&self) -> &'static [(&'static str, &'static str)] {
        match self.engine {
            Engine::Native | Engine::Container(_) => &[],
            Engine::Vm => &[(QEMU, "qemu-system-x86")],
            Engine::Docker => &[("docker", "docker.io"), ("dockerd", "docker.io")],
            Engine::Podman => &[("podman", "podman")],
            Engine::Lxc => &[("lxc-execute", "lxc")],
        }
    }

    /// Whether it can be made of that image.
    pub(crate) fn check_image(&self, image: &str) -> Result<(), Failure> {
        let refuse = |reason: &str, hint: &str| {
            Err(Failure::because("bench.environment", self.name.as_str(), reason).hint(hint))
        };
        match self.engine {
            Engine::Docker if image == "host" => refuse(
                "Docker cannot run this machine's own files",
                "name an image that it has by --image IMAGE",
            ),
            Engine::Native | Engine::Lxc if image != "host" => refuse(
                "it has this machine's own files, and the others would have the image's",
                "compare the same files: leave --image out, or this environment",
            ),
            _ => Ok(()),
        }
    }

    /// Whether what it uses is counted where we count, by the control groups of process 1. With version 2 LXC makes its
    /// groups below them, and nothing that it is told changes that.
    pub(crate) fn check_groups(&self, first: &str) -> Result<(), Failure> {
        let unified = first.trim().strip_prefix("0::").filter(|path| !path.contains('\n'));
        let elsewhere = unified.filter(|path| !matches!(*path, "/" | "/init.scope"));
        let (Engine::Lxc, Some(path)) = (self.engine, elsewhere) else { return Ok(()) };
        let reason = format!("it makes its control groups below those of process 1, which is in {path}");
        Err(Failure::because("bench.environment", self.name.as_str(), reason).hint(
            "what it uses would not be counted: leave it out, or measure where process 1 is at the top of the groups",
        ))
    }

    /// In which of the groups its command begins.
    pub(crate) fn seat(&self, places: &Places) -> Seat {
        if self.engine == Engine::Lxc && !places.unified { Seat::Outer } else { Seat::Inner }
    }

    /// What it is measured as.
    pub(crate) fn kind(&self) -> Kind {
        match self.engine {
            Engine::Native => Kind::Native,
            Engine::Vm => Kind::Vm,
            _ => Kind::Container,
        }
    }

    /// The limits of the group that its command runs in; a container has those that its engine makes.
    pub(crate) fn limits(&self, size: &Size, cpus: &[u32]) -> Limits {
        let set = Limits { cpus: Some(list(cpus)), ..Limits::default() };
        match self.engine {
            Engine::Native => {
                let limit = Amount::Of(size.memory);
                let swap = Swap { with_memory: limit, alone: Amount::Of(0), implied: false };
                Limits { memory: Memory { limit: Some(limit), swap: Some(swap), ..Memory::default() }, ..set }
            }
            // The emulator needs memory of its own, beside its guest's.
            Engine::Vm => set,
            _ => Limits::default(),
        }
    }

    /// The shared directory, as it sees it.
    pub(crate) fn shared(&self, places: &Places) -> String {
        match self.engine {
            Engine::Native => places.shared.to_string_lossy().into_owned(),
            _ => SHARED.to_owned(),
        }
    }

    /// A directory of its own on its disk.
    pub(crate) fn directory(&self, places: &Places) -> String {
        match self.engine {
            Engine::Native => places.scratch.to_string_lossy().into_owned(),
            _ => DISK.to_owned(),
        }
    }

    /// The host, as it reaches it.
    pub(crate) fn host(&self, network: Network) -> Result<String, String> {
        let cannot = |why: &str| Err(format!("{} {why}", self.name));
        match (self.engine, network) {
            (Engine::Vm, Network::Host) => cannot("has a network of its own: it cannot have the host's"),
            (Engine::Native, _) | (_, Network::None | Network::Host) => Ok("127.0.0.1".to_owned()),
            (Engine::Container(_), Network::Bridge) => Ok(GATEWAY.to_owned()),
            (Engine::Vm, Network::Bridge) => Ok(VM_HOST.to_owned()),
            (Engine::Docker, Network::Bridge) => Ok("172.17.0.1".to_owned()),
            (Engine::Podman, Network::Bridge) => Ok("10.88.0.1".to_owned()),
            (Engine::Lxc, Network::Bridge) => cannot("is not given a network by the lab"),
        }
    }

    /// The command line that runs `argv` in it.
    pub(crate) fn command(&self, places: &Places, ask: &Ask<'_>, argv: &[String]) -> Vec<String> {
        let shared = format!("{}:{SHARED}", places.shared.display());
        let own = |words: &[&str]| {
            let program = places.program.to_string_lossy().into_owned();
            let words = words.iter().map(|word| (*word).to_owned());
            let group = ["--cgroup-parent".to_owned(), ask.group.to_owned()];
            [program].into_iter().chain(places.globals.clone()).chain(group).chain(words).collect::<Vec<_>>()
        };
        let cpus = list(ask.cpus);
        let memory = ask.size.memory.to_string();
        let network = match ask.network {
            Network::None => "none",
            Network::Host => "host",
            Network::Bridge => "bridge",
        };
        let limits = ["--cpuset-cpus", &cpus, "--memory", &memory, "--memory-swap", &memory];
        let mut words = match self.engine {
            Engine::Native => return argv.to_vec(),
            Engine::Container(rootfs) => {
                let mut words = own(&["run", "--rm", "--network", network, "--log-driver", "none"]);
                // With --rm alone fsync(2) would be left out: less work than the others do.
                words.extend(["--storage-opt", "volatile=false"].map(str::to_owned));
                words.extend(limits.map(str::to_owned));
                match rootfs {
                    Rootfs::Default => {}
                    Rootfs::Overlay => words.extend(["--rootfs-kind", "overlay"].map(str::to_owned)),
                    // A copy of a whole machine for each measurement takes a minute, and what is measured are files that
                    // are written in it: of its own files these alone lie on the loop device.
                    Rootfs::Loop => {
                        let how: &[&str] = if places.image == "host" {
                            &["--rootfs-kind", "overlay", "--storage-opt", "image=true"]
                        } else {
                            &["--rootfs-kind", "loop"]
                        };
                        words.extend(
                            how.iter().chain(&["--storage-opt", "size=64g"]).map(|it| (*it).to_owned()),
                        );
                    }
                    Rootfs::Host => {
                        words.extend(["-v".to_owned(), format!("{}:{DISK}", places.scratch.display())]);
                    }
                }
                if ask.explain.is_some() {
                    words.push("--explain=json".to_owned());
                }
                words.extend(["-v".to_owned(), shared]);
                words
            }
            Engine::Vm => {
                let number = ask.size.cpus.to_string();
                // The network of QEMU's own is all that a machine has; the disk is sparse, and holds every suite's files.
                let network = if ask.network == Network::None { "none" } else { "user" };
                let words = ["vm", "run", "--cpus", &number, "--memory", &memory, "--network", network];
                let mut words = own(&[&words[..], &["--disk-size", "64g", "-v", &shared]].concat());
                if let Some(file) = ask.explain {
                    words.extend(["--timings".to_owned(), file.to_string_lossy().into_owned()]);
                }
                words
            }
            Engine::Docker | Engine::Podman => {
                let words = ["run", "--rm", "--name", ask.name, "--network", network];
                let words = words.into_iter().chain(["--cgroup-parent", ask.group]).chain(limits);
                let words = words.chain(["-v", &shared]).map(str::to_owned);
                self.client(places).into_iter().chain(words).collect()
            }
            Engine::Lxc => {
                let state = places.scratch.join("lxc");
                let set = |key: &str, value: String| ["-s".to_owned(), format!("{key}={value}")];
                // Without a file of settings it refuses to run anything.
                let mut words =
                    ["lxc-execute", "-f", "/dev/null", "-n", ask.name].map(str::to_owned).to_vec();
                words.extend(["-P".to_owned(), state.to_string_lossy().into_owned()]);
                // LXC makes what an overlay needs besides in the directory above.
                let upper = state.join(ask.name).join("upper");
                words.extend(set("lxc.rootfs.path", format!("overlay:/:{}", upper.display())));
                // As a rule it makes its groups below those of process 1, wherever these are. Told to, it makes them below
                // its caller's, which are ours; but not with version 2, where a group with processes has none with limits.
                let [set_of_cpus, limit] = if places.unified {
                    words.extend(set("lxc.cgroup.dir", ask.group.trim_start_matches('/').to_owned()));
                    ["lxc.cgroup2.cpuset.cpus", "lxc.cgroup2.memory.max"]
                } else {
                    words.extend(set("lxc.cgroup.relative", "1".to_owned()));
                    words.extend(set("lxc.cgroup.dir", "lxc".to_owned()));
                    ["lxc.cgroup.cpuset.cpus", "lxc.cgroup.memory.limit_in_bytes"]
                };
                words.extend(set(set_of_cpus, cpus.clone()));
                words.extend(set(limit, memory.clone()));
                words.extend(set("lxc.mount.auto", "proc:rw sys:ro".to_owned()));
                if ask.network == Network::Host {
                    words.extend(set("lxc.net.0.type", "none".to_owned()));
                }
                let entry = format!("{} {} none bind,create=dir", places.shared.display(), &SHARED[1..]);
                words.extend(set("lxc.mount.entry", entry));
                words
            }
        };
        words.extend(self.options.iter().cloned());
        match (self.engine, places.image.as_str()) {
            (Engine::Lxc, _) => words.push("--".to_owned()),
            // A copy-on-write view of this machine's root, as our image `host` is.
            (Engine::Podman, "host") => words.extend(["--rootfs".to_owned(), "/:O".to_owned()]),
            (_, image) => words.push(image.to_owned()),
        }
        words.extend(argv.iter().cloned());
        words
    }

    /// What has to be there before its command is started by this name.
    pub(crate) fn make(&self, places: &Places, name: &str) -> Result<(), Failure> {
        if self.engine != Engine::Lxc {
            return Ok(());
        }
        let upper = places.scratch.join("lxc").join(name).join("upper");
        std::fs::create_dir_all(&upper)
            .map_err(|cause| Failure::new("bench.start", upper.to_string_lossy(), cause))
    }

    /// What ends what its command may leave running, by the name that it got; none where it leaves nothing.
    pub(crate) fn ender(&self, places: &Places, name: &str) -> Option<Vec<String>> {
        let words: &[&str] = match self.engine {
            Engine::Docker => &["rm", "-f", name],
            // Docker does not wait for it to end by itself.
            Engine::Podman => &["rm", "-f", "-t", "0", name],
            _ => return None,
        };
        let words = words.iter().map(|word| (*word).to_owned());
        Some(self.client(places).into_iter().chain(words).collect())
    }

    /// The words before an engine's command. Podman puts a layer over a tree where its run state is, which is memory as a
    /// rule: it gets state of its own on the disk. Where an image is asked for it is one of the user's.
    fn client(&self, places: &Places) -> Vec<String> {
        match self.engine {
            Engine::Podman if places.image == "host" => {
                // Podman takes no more than 50 letters.
                let [root, run] = ["podman", "run"].map(|name| places.engines.join(name));
                let state = ["--root", &root.to_string_lossy(), "--runroot", &run.to_string_lossy()]
                    .map(str::to_owned);
                // No layers of images are there, for which another driver would mount something.
                let driver = ["--storage-driver", "vfs"].map(str::to_owned);
                ["podman".to_owned()].into_iter().chain(state).chain(driver).collect()
            }
            Engine::Podman => vec!["podman".to_owned()],
            _ => vec!["docker".to_owned()],
        }
    }

    /// What the record says of it; `facts` are those that its first start has told.
    pub(crate) fn describe(
        &self,
        places: &Places,
        disk: &host::Disk,
        mut facts: BTreeMap<String, String>,
    ) -> record::Environment {
        let by = facts.get("accelerator").map_or(String::new(), |by| format!(" by {}", by.to_uppercase()));
        let kernel = facts.get("kernel").map_or(String::new(), |kernel| format!(", Linux {kernel}"));
        let mut fact = |name: &str, value: String| {
            facts.insert(name.to_owned(), value);
        };
        let files = if places.image == "host" { "this machine's own files" } else { places.image.as_str() };
        let version = env!("CARGO_PKG_VERSION");
        let description = match self.engine {
            Engine::Native => {
                fact("disk", format!("{} on {}", disk.kind, disk.name));
                "a process in a control group".to_owned()
            }
            Engine::Container(rootfs) => {
                let kind = match rootfs {
                    Rootfs::Default | Rootfs::Overlay => "overlay",
                    Rootfs::Loop if places.image == "host" => {
                        "overlay whose layer is an ext4 on a loop device"
                    }
                    Rootfs::Loop => "ext4 on a loop device",
                    Rootfs::Host => "a directory of the host",
                };
                fact("engine", format!("minidocker {version}"));
                fact("disk", format!("{kind}, {} on {}", disk.kind, disk.name));
                format!("a container of minidocker {version}, {kind}, {files}")
            }
            Engine::Vm => {
                let qemu = first_line(QEMU, "--version");
                fact("emulator", qemu.clone());
                fact("engine", format!("minidocker {version}"));
                format!("{qemu}{by}{kernel}, started by minidocker {version}, {files}")
            }
            Engine::Docker | Engine::Podman | Engine::Lxc => {
                let program = self.needs().first().map_or("", |need| need.0);
                let told = first_line(program, "--version");
                fact("engine", told.clone());
                format!("a container of {told}, {files}")
            }
        };
        if !self.options.is_empty() {
            fact("further options", self.options.join(" "));
        }
        fact("processors by", if self.engine == Engine::Vm { "its number" } else { "cpuset" }.to_owned());
        record::Environment { name: self.name.clone(), kind: self.kind(), description, facts }
    }
}

/// What our own globals are for the lab: state of its own, so that nothing of the user's containers is touched.
pub(crate) fn globals(root: &Path, run_root: &Path) -> Vec<String> {
    let words =
        ["--root", &root.to_string_lossy(), "--run-root", &run_root.to_string_lossy()].map(str::to_owned);
    words.into_iter().chain(["--bridge", BRIDGE, "--subnet", SUBNET].map(str::to_owned)).collect()
}

const QEMU: &str = if cfg!(target_arch = "aarch64") { "qemu-system-aarch64" } else { "qemu-system-x86_64" };

/// `0,1`.
fn list(cpus: &[u32]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn first_line(program: &str, argument: &str) -> String {
    let output = std::process::Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or(program).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, options: &[&str], image: &str) -> String {
        let options = options.iter().map(|word| (*word).to_owned()).collect();
        let environment = Environment::named(name, options).unwrap();
        let places = Places {
            program: "/bin/md".into(),
            image: image.to_owned(),
            globals: globals(Path::new("/r"), Path::new("/v")),
            shared: "/s".into(),
            scratch: "/t".into(),
            engines: "/e".into(),
            unified: false,
        };
        let size = Size { name: "1g/2cpu".to_owned(), memory: 1 << 30, cpus: 2 };
        let ask = Ask {
            size: &size,
            cpus: &[0, 3],
            network: Network::None,
            group: "/g/1",
            name: "n",
            explain: None,
        };
        environment.command(&places, &ask, &["true".to_owned()]).join(" ")
    }

    #[test]
    fn the_same_is_asked_of_everybody_in_its_own_words() {
        let globals = "--root /r --run-root /v --bridge mdlab0 --subnet 10.213.77.0/24 --cgroup-parent /g/1";
        let limits = "--cpuset-cpus 0,3 --memory 1073741824 --memory-swap 1073741824";
        assert_eq!(line("native", &[], "host"), "true");
        assert_eq!(
            line("container", &["--cpus=1"], "host"),
            format!(
                "/bin/md {globals} run --rm --network none --log-driver none --storage-opt volatile=false {limits} -v /s:/minidocker-lab --cpus=1 host true"
            )
        );
        let layer = "--rootfs-kind overlay --storage-opt image=true --storage-opt size=64g";
        assert!(line("container:loop", &[], "host").contains(layer));
        assert!(line("container:loop", &[], "debian").contains("--rootfs-kind loop"));
        assert!(line("container:host", &[], "host").contains("-v /t:/var/tmp/minidocker-lab"));
        assert_eq!(
            line("vm", &[], "host"),
            format!(
                "/bin/md {globals} vm run --cpus 2 --memory 1073741824 --network none --disk-size 64g -v /s:/minidocker-lab host true"
            )
        );
        let docker = format!(
            "docker run --rm --name n --network none --cgroup-parent /g/1 {limits} -v /s:/minidocker-lab"
        );
        assert_eq!(line("docker", &[], "debian"), format!("{docker} debian true"));
        assert!(line("podman", &[], "host").ends_with("--rootfs /:O true"));
        let own = "podman --root /e/podman --runroot /e/run --storage-driver vfs run --rm ";
        assert!(line("podman", &[], "host").starts_with(own));
        assert!(line("podman", &[], "debian").starts_with("podman run --rm "));
        assert!(line("lxc", &[], "host").starts_with("lxc-execute -f /dev/null -n n -P /t/lxc "));
        let lxc = line("lxc", &[], "host");
        assert!(
            lxc.contains("lxc.cgroup.relative=1 -s lxc.cgroup.dir=lxc -s lxc.cgroup.cpuset.cpus=0,3"),
            "{lxc}"
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        let failure = Environment::named("contaner", Vec::new()).unwrap_err();
        assert!(failure.hint.unwrap().starts_with("did you mean container?"));
        let docker = Environment::named("docker", Vec::new()).unwrap();
        assert!(docker.check_image("host").is_err() && docker.check_image("debian").is_ok());
        let native = Environment::named("native", Vec::new()).unwrap();
        assert!(native.check_image("debian").is_err() && native.check_image("host").is_ok());
        let lxc = Environment::named("lxc", Vec::new()).unwrap();
        for fine in ["0::/", "0::/init.scope\n", "4:memory:/below\n0::/below\n", ""] {
            assert!(lxc.check_groups(fine).is_ok() && docker.check_groups(fine).is_ok(), "{fine}");
        }
        let elsewhere = "0::/docker/1\n";
        assert!(lxc.check_groups(elsewhere).unwrap_err().to_string().ends_with("which is in /docker/1"));
        assert!(docker.check_groups(elsewhere).is_ok());
        let vm = Environment::named("vm", Vec::new()).unwrap();
        assert!(
            vm.host(Network::Host).is_err()
                && vm.limits(&Size { name: String::new(), memory: 1, cpus: 1 }, &[0]).memory.limit.is_none()
        );
    }
}
