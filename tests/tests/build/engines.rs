//! The same Dockerfiles by Docker's classic builder, by buildah and by ours: the same files, the same settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use minidocker_tests::engines::Host;
use minidocker_tests::{Output, World};
use serde_json::{Map, Value, json};

use crate::ground::{self, BASE, text};
use crate::shapes::{self, Shape};
use crate::tree;

const SOCKET: &str = "unix:///run/docker.sock";

/// What of a configuration says how a container starts.
const MEMBERS: [&str; 12] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "WorkingDir",
    "User",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "OnBuild",
    "StopSignal",
    "Shell",
    "Healthcheck",
];

/// A difference that is meant.
struct Meant {
    shape: &'static str,
    /// What its line contains.
    line: &'static str,
    reason: &'static str,
}

const DOCKER_MEANT: &[Meant] = &[
    Meant { shape: "python", line: "/opt: ours directory 0755 1000:50", reason: CHOWN },
    Meant { shape: "copies", line: "/su: ours", reason: BITS },
    Meant { shape: "copies", line: "/sg: ours", reason: BITS },
    Meant { shape: "metadata", line: "/w: ours directory 0755 10:20", reason: WORKDIR },
    Meant { shape: "metadata", line: "/one: only theirs", reason: VOLUMES },
    Meant { shape: "metadata", line: "/two words: only theirs", reason: VOLUMES },
    Meant { shape: "metadata", line: "/three: only theirs", reason: VOLUMES },
    Meant { shape: "metadata", line: "/four: only theirs", reason: VOLUMES },
    Meant { shape: "small final stage", line: "/home: ours directory 0755 65532:65532", reason: WORKDIR },
    Meant {
        shape: "small final stage",
        line: "/home/nonroot: ours directory 0755 65532:65532",
        reason: WORKDIR,
    },
];

const BUILDAH_MEANT: &[Meant] = &[
    Meant {
        shape: "rust",
        line: "WorkingDir: ours \"/\"; theirs nothing",
        reason: "BuildKit writes it for scratch",
    },
    Meant { shape: "copies", line: "/su: ours", reason: BITS },
    Meant { shape: "copies", line: "/sg: ours", reason: BITS },
    Meant { shape: "metadata", line: "/one: only theirs", reason: VOLUMES },
    Meant { shape: "metadata", line: "/two words: only theirs", reason: VOLUMES },
    Meant { shape: "metadata", line: "/three: only theirs", reason: VOLUMES },
    Meant { shape: "metadata", line: "/four: only theirs", reason: VOLUMES },
    Meant { shape: "metadata", line: "Cmd: ours", reason: "SHELL does not count for it in buildah 1.28" },
    Meant {
        shape: "metadata",
        line: "Entrypoint: ours",
        reason: "SHELL does not count for it in buildah 1.28",
    },
    Meant { shape: "metadata", line: "ExposedPorts: ours", reason: "a range is no range in buildah 1.28" },
    Meant {
        shape: "changes",
        line: "/moved/hard: ours",
        reason: "its vfs copies all layers; an overlay parts names",
    },
    Meant { shape: "*", line: "/run: only theirs: directory", reason: STUBS },
    Meant { shape: "small final stage", line: "/dev: only theirs", reason: STUBS },
    Meant { shape: "small final stage", line: "/proc: only theirs", reason: STUBS },
    Meant { shape: "small final stage", line: "/sys: only theirs", reason: STUBS },
    Meant { shape: "small final stage", line: "/etc/hostname: only theirs", reason: STUBS },
    Meant { shape: "small final stage", line: "/etc/hosts: only theirs", reason: STUBS },
    Meant { shape: "small final stage", line: "/etc/resolv.conf: only theirs", reason: STUBS },
];

const BITS: &str = "they change the owner last, which takes the bits (chown(2)); BuildKit keeps them";
const CHOWN: &str =
    "directories that COPY --chown makes on the way are the user's too in BuildKit and buildah";
const WORKDIR: &str = "after USER the directory is the user's in BuildKit and buildah";
const VOLUMES: &str = "they make a volume's directory for the next command, and keep it; BuildKit does not";
const STUBS: &str = "what it mounted on in a command stays in its layer";

/// Those members that are there, without what is empty.
fn members(config: &Value) -> Map<String, Value> {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    };
    let member = |name: &&str| Some(((*name).to_owned(), config.get(*name)?.clone()));
    let mut all: Map<String, Value> = MEMBERS.iter().filter_map(member).collect();
    all.retain(|_, value| !empty(value));
    all
}

/// An image as anybody sees it: its files, unpacked by umoci, and its configuration.
struct Seen {
    files: tree::Tree,
    config: Map<String, Value>,
}

impl Seen {
    /// `transport` is where skopeo finds it.
    #[track_caller]
    fn new(world: &World, name: &str, transport: &str, config: &Value) -> Self {
        let layout = world.directory().join(format!("{name}-layout"));
        let root = world.directory().join(format!("{name}-root"));
        let target = format!("oci:{}:x", text(&layout));
        world.program(["skopeo", "--insecure-policy", "copy", "-q", transport, &target]).run().ok();
        let image = format!("{}:x", text(&layout));
        world.program(["umoci", "raw", "unpack", "--image", &image, text(&root)]).run().ok();
        let files = tree::read(&root);
        for directory in [&layout, &root] {
            std::fs::remove_dir_all(directory).expect("our own directory");
        }
        Self { files, config: members(config) }
    }

    fn differences(&self, theirs: &Self) -> Vec<String> {
        let mut all = tree::differences(&self.files, &theirs.files);
        for name in MEMBERS {
            let (ours, theirs) = (self.config.get(name), theirs.config.get(name));
            if ours != theirs {
                let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
                all.push(format!("{name}: ours {}; theirs {}", shown(ours), shown(theirs)));
            }
        }
        all
    }
}

/// Both of one shape, and what they differ in beyond what is meant.
fn compare(shape: &Shape, ours: &Seen, theirs: &Seen, meant: &[Meant], used: &mut Vec<usize>) -> Vec<String> {
    assert!(ours.files.len() > 1, "{} is empty", shape.name);
    let mut all = ours.differences(theirs);
    all.retain(|line| {
        let found = meant
            .iter()
            .position(|meant| (meant.shape == shape.name || meant.shape == "*") && line.contains(meant.line));
        used.extend(found);
        found.is_none()
    });
    all.iter().map(|line| format!("{}: {line}", shape.name)).collect()
}

#[track_caller]
fn verdict(different: &[String], meant: &[Meant], used: &[usize]) {
    assert!(different.is_empty(), "{} differences:\n{}", different.len(), different.join("\n"));
    for (index, meant) in meant.iter().enumerate() {
        assert!(
            used.contains(&index),
            "{}: `{}` is no difference any more ({})",
            meant.shape,
            meant.line,
            meant.reason
        );
    }
}

fn ours(world: &World, shape: &Shape, context: &Path) -> Seen {
    let archive = world.directory().join("ours.tar");
    let output = format!("type=oci,dest={}", text(&archive));
    let words = [&["-t", "shape:1", "-o", &output], shape.arguments].concat();
    ground::build(world, context, &words).run().ok();
    let config = ground::config(world, "shape:1");
    Seen::new(world, "ours", &format!("oci-archive:{}", text(&archive)), &config)
}

fn base_of(world: &World) -> PathBuf {
    ground::import_base(world);
    let archive = world.directory().join("base-image.tar");
    world.minidocker(["save", "-o", text(&archive), BASE]).ok();
    archive
}

#[test]
fn dockers_classic_builder_makes_the_same_of_the_same() {
    let host = Host::new();
    let world = host.world();
    let base = base_of(world);
    let configuration = json!({
        "data-root": host.path("docker"), "exec-root": "/run/docker", "pidfile": "/run/docker.pid",
        "hosts": [SOCKET], "exec-opts": ["native.cgroupdriver=cgroupfs"], "bridge": "none",
        "cgroup-parent": world.cgroup_parent(),
    });
    let file = host.file("daemon.json", configuration.to_string());
    let mut daemon = host.daemon(["dockerd", "--config-file", &file], "API listen on");
    let docker = |words: &[&str]| {
        let all = [&["/usr/bin/docker", "--host", SOCKET], words].concat();
        host.call(all).env("DOCKER_BUILDKIT", "0").patience(Duration::from_secs(120)).run()
    };
    docker(&["load", "-i", text(&base)]).ok();
    let (mut different, mut used) = (Vec::new(), Vec::new());
    for (shape, context) in shapes::contexts(world).iter().filter(|(shape, _)| shape.docker) {
        let ours = ours(world, shape, context.path());
        let place = context.plain();
        let start = ["build", "--network", "none", "-t", "shape:1"];
        docker(&[&start[..], shape.arguments, &[&place]].concat()).ok();
        let config = docker(&["image", "inspect", "--format", "{{json .Config}}", "shape:1"]).json();
        let archive = host.path("theirs.tar");
        docker(&["save", "-o", &archive, "shape:1"]).ok();
        let theirs = Seen::new(world, "theirs", &format!("docker-archive:{archive}"), &config);
        different.extend(compare(shape, &ours, &theirs, DOCKER_MEANT, &mut used));
    }
    daemon.stop(&host);
    verdict(&different, DOCKER_MEANT, &used);
}

/// For `chroot` it starts itself again from a sealed copy in memory. The kernel refuses the seal for as long as anything
/// else holds a page of it (fcntl(2), `F_SEAL_WRITE`, EBUSY), reclaim on a machine short of memory for instance, and
/// buildah gives up. Seen once.
const BUILDAHS_OWN_FAILURE: &str = "sealing memfd copy: Device or resource busy";

#[test]
fn buildah_makes_the_same_of_the_same() {
    let host = Host::new();
    let world = host.world();
    let base = base_of(world);
    let (root, run) = (host.path("buildah"), host.path("buildah-run"));
    let policy = host.file("policy.json", "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}");
    let buildah = |words: &[&str]| {
        let start = ["buildah", "--root", &root, "--runroot", &run, "--storage-driver", "vfs", words[0]];
        let all = [&start[..], &words[1..]].concat();
        let run = || {
            let call = host.call(&all).env("BUILDAH_ISOLATION", "chroot");
            call.patience(Duration::from_secs(120)).run()
        };
        let unlucky = |output: &Output| output.code != 0 && output.err().contains(BUILDAHS_OWN_FAILURE);
        (1..4).fold(run(), |last, _| if unlucky(&last) { run() } else { last })
    };
    buildah(&["pull", "-q", "--signature-policy", &policy, &format!("docker-archive:{}", text(&base))]).ok();
    let (mut different, mut used) = (Vec::new(), Vec::new());
    for (shape, context) in shapes::contexts(world).iter().filter(|(shape, _)| shape.buildah) {
        let ours = ours(world, shape, context.path());
        let build = [
            "build",
            "-q",
            "--format",
            "docker",
            "--identity-label=false",
            "--signature-policy",
            &policy,
            "--pull-never",
        ];
        buildah(&[&build[..], &["-t", "shape:1"], shape.arguments, &[&context.plain()]].concat()).ok();
        let inspected = buildah(&["inspect", "--type", "image", "shape:1"]).json();
        let config = &inspected["Docker"]["config"];
        let layout = host.path("theirs.tar");
        buildah(&[
            "push",
            "-q",
            "--signature-policy",
            &policy,
            "shape:1",
            &format!("docker-archive:{layout}:shape:1"),
        ])
        .ok();
        let theirs = Seen::new(world, "theirs", &format!("docker-archive:{layout}"), config);
        std::fs::remove_file(&layout).expect("our own file");
        different.extend(compare(shape, &ours, &theirs, BUILDAH_MEANT, &mut used));
    }
    verdict(&different, BUILDAH_MEANT, &used);
}

#[test]
fn what_only_buildkit_knows_is_as_its_reference_says() {
    let ground = ground::Ground::new();
    let shape = shapes::SHAPES.iter().find(|shape| !shape.docker && !shape.buildah).expect("BuildKit's own");
    let context = shape.context(&ground.world);
    let seen = ours(&ground.world, shape, context.path());
    let kept = |prefix: &str| -> Vec<&str> {
        seen.files
            .keys()
            .filter_map(|path| path.strip_prefix(prefix))
            .filter(|path| !path.is_empty())
            .collect()
    };
    assert_eq!(kept("filtered/"), ["a.c", "b.c", "deep", "deep/er", "deep/er/c.c"]);
    assert_eq!(kept("parents/"), ["src", "src/deep", "src/deep/er", "src/deep/er/c.c"]);
    assert_eq!(kept("linked/"), ["b.c"]);
    assert_eq!(kept("mem"), Vec::<&str>::new());
    assert_eq!(kept("mnt"), Vec::<&str>::new());
    assert!(seen.files["modes/a.c"].ends_with(" 0640 1000:50"), "{}", seen.files["modes/a.c"]);
    let out = ground.world.rootfs_empty();
    let output = format!("type=local,dest={}", out.plain());
    ground.call_in(&context, &["-o", &output]).run().ok();
    let read = |name: &str| std::fs::read_to_string(out.path().join(name)).expect("a file of the image");
    assert!(
        read("docs/A").starts_with("/usr/local/sbin:") && read("docs/A").ends_with(" is here\n"),
        "{}",
        read("docs/A")
    );
    assert_eq!(read("docs/B"), "$PATH is not\n");
    assert_eq!((read("one"), read("two"), read("four")), ("one\n".into(), "two\n".into(), "four\n".into()));
    assert_eq!(read("three"), "/dev/pipes/EOF\n");
    assert_eq!(read("bound"), "src/b.h");
}
