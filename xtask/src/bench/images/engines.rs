//! Who is measured and what each is told, for the same work.

use std::path::Path;

use anyhow::{Result, bail};

use super::place::{Group, Place};
use super::small;
use super::work::Work;
use crate::process;

/// One who does it.
pub(super) trait Engine {
    fn name(&self) -> &'static str;

    fn group(&self) -> &Group;

    /// Whether it can, and makes what it needs once; the reason why not.
    fn can(&mut self, place: &Place, work: Work) -> Result<()>;

    /// The command that is measured.
    fn words(&self, place: &Place, work: Work) -> Vec<String>;

    /// The command that removes what the work has made.
    fn removal(&self, place: &Place, work: Work) -> Vec<String>;

    /// What has to be there; not measured.
    fn before(&mut self, place: &Place, work: Work) -> Result<()> {
        match work {
            Work::Remove => place.run(&self.words(place, Work::Pull)),
            // What is in the cache for sure.
            Work::Rebuild => place.run(&self.words(place, Work::Rebuild)),
            Work::Pull | Work::Load | Work::Commit | Work::Build => Ok(()),
        }
    }

    /// As it was before; not measured.
    fn after(&mut self, place: &Place, work: Work) -> Result<()> {
        match work {
            Work::Pull | Work::Load | Work::Commit | Work::Build => place.run(&self.removal(place, work)),
            Work::Remove | Work::Rebuild => Ok(()),
        }
    }
}

/// An engine with a command line of Docker's kind.
struct Common {
    name: &'static str,
    group: Group,
    /// Program and options before the command.
    start: Vec<String>,
    /// Options of `pull`.
    pull: Vec<String>,
    /// Options of `run`.
    run: Vec<String>,
    /// Options of `build`.
    build: Vec<String>,
}

/// skopeo copies to a layout, umoci unpacks it.
struct Tools(Group);

/// The one that is compared with the others.
pub(super) const OURS: &str = "minidocker";

/// The archive that `load` reads, in the place.
const ARCHIVE: &str = "archive.tar";

/// The container that is committed, and what becomes of it.
const CONTAINER: &str = "bench-written";
const COMMITTED: &str = "localhost/bench-committed:1";

const BUILT: &str = "localhost/bench-built:1";

fn owned<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Those that are installed, ours first. Docker's daemon is started here.
pub(super) fn found(place: &mut Place, minidocker: &Path) -> Result<Vec<Box<dyn Engine>>> {
    let mut all: Vec<Box<dyn Engine>> = vec![Box::new(ours(place, minidocker)?)];
    if let (Some(_), Some(client)) = (process::find("dockerd"), docker_client()) {
        all.push(Box::new(docker(place, &client)?));
    }
    if process::find("podman").is_some() {
        all.push(Box::new(podman(place)?));
    }
    if process::find("skopeo").is_some() && process::find("umoci").is_some() {
        all.push(Box::new(Tools(place.group("tools")?)));
    }
    Ok(all)
}

fn ours(place: &mut Place, program: &Path) -> Result<Common> {
    let (root, run) = (place.path("minidocker"), place.path("minidocker-run"));
    let group = place.group("minidocker")?;
    let program = program.display().to_string();
    let start =
        owned([&program, "--root", &root, "--run-root", &run, "--cgroup-parent", &group.containers()]);
    Ok(Common { name: OURS, group, start, pull: Vec::new(), run: Vec::new(), build: Vec::new() })
}

fn docker(place: &mut Place, client: &str) -> Result<Common> {
    let group = place.group("docker")?;
    let socket = "unix:///run/docker.sock";
    let start = owned([client, "-H", socket]);
    let words = "--exec-root /run/docker --pidfile /run/docker.pid --bridge none --iptables=false --exec-opt \
                 native.cgroupdriver=cgroupfs";
    let mut daemon = owned(["dockerd", "-H", socket, "--data-root", &place.path("docker")]);
    daemon.extend(words.split(' ').map(str::to_owned));
    daemon.extend(owned(["--cgroup-parent", &group.containers()]));
    place.daemon(Some(&group), &daemon, &[&start[..], &owned(["version"])].concat())?;
    Ok(Common { name: "docker", group, start, pull: Vec::new(), run: Vec::new(), build: Vec::new() })
}

fn podman(place: &mut Place) -> Result<Common> {
    let group = place.group("podman")?;
    let root = place.path("podman");
    let mut start =
        owned(["podman", "--root", &root, "--runroot", "/run/podman", "--storage-driver", "overlay"]);
    start.extend(owned(["--cgroup-manager", "cgroupfs", "--events-backend", "none"]));
    // As Docker's; crun refuses hybrid control groups.
    if let Some(runc) = process::find("runc") {
        start.extend(owned(["--runtime", &runc.display().to_string()]));
    }
    let parent = |group: String| owned(["--cgroup-parent", &group]);
    // In a build the parent is itself the container's group, and must have none below it.
    let (run, build) = (parent(group.containers()), parent(group.builds()));
    Ok(Common { name: "podman", group, start, pull: owned(["--tls-verify=false"]), run, build })
}

/// The one that came with the daemon, where there are two.
fn docker_client() -> Option<String> {
    let own = Path::new("/usr/bin/docker");
    let found = own.exists().then(|| own.to_owned()).or_else(|| process::find("docker"));
    found.map(|path| path.display().to_string())
}

impl Common {
    fn command(&self, words: &[&[String]]) -> Vec<String> {
        [&self.start[..], &words.concat()].concat()
    }

    /// The archive of the image, made by the first who needs it.
    fn archive(&self, place: &Place) -> Result<()> {
        if place.run(&self.command(&[&owned(["load", "--help"])])).is_err() {
            bail!("it has no such command");
        }
        let archive = place.path(ARCHIVE);
        if Path::new(&archive).exists() {
            return Ok(());
        }
        let (from, to) =
            (format!("docker://{}", place.image()), format!("docker-archive:{archive}:{}", place.image()));
        let copy = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", &from, &to];
        place.run(&owned(copy))
    }

    /// A container that has ended, with much of its own.
    fn container(&self, place: &Place) -> Result<()> {
        let volume = format!("{}:/blobs:ro", place.blobs.display());
        let unpack: Vec<String> = place
            .filling
            .iter()
            .map(|blob| format!("gunzip -c < '/blobs/{}' | tar -x -C /", blob.display()))
            .collect();
        let run = owned(["run", "--name", CONTAINER, "--network", "none", "-v", &volume]);
        let program = owned([small::NAME, "sh", "-c", &unpack.join(" && ")]);
        place.run(&self.command(&[&run, &self.run, &program]))
    }
}

impl Engine for Common {
    fn name(&self) -> &'static str {
        self.name
    }

    fn group(&self) -> &Group {
        &self.group
    }

    fn can(&mut self, place: &Place, work: Work) -> Result<()> {
        match work {
            Work::Pull | Work::Remove => Ok(()),
            Work::Load => self.archive(place),
            Work::Commit | Work::Build | Work::Rebuild => {
                place.run(&self.command(&[&owned(["load", "-q", "-i", &place.small()])]))?;
                if work == Work::Commit { self.container(place) } else { Ok(()) }
            }
        }
    }

    fn words(&self, place: &Place, work: Work) -> Vec<String> {
        let build = owned(["build", "-q", "--network", "none", "-t", BUILT]);
        match work {
            Work::Pull => self.command(&[&owned(["pull", "-q"]), &self.pull, &[place.image()]]),
            Work::Remove => self.removal(place, work),
            Work::Load => self.command(&[&owned(["load", "-q", "-i", &place.path(ARCHIVE)])]),
            Work::Commit => self.command(&[&owned(["commit", CONTAINER, COMMITTED])]),
            Work::Build => self.command(&[&build, &owned(["--no-cache"]), &self.build, &[place.context()]]),
            Work::Rebuild => self.command(&[&build, &self.build, &[place.context()]]),
        }
    }

    fn removal(&self, place: &Place, work: Work) -> Vec<String> {
        let image = match work {
            Work::Pull | Work::Remove | Work::Load => place.image(),
            Work::Commit => COMMITTED.to_owned(),
            Work::Build | Work::Rebuild => BUILT.to_owned(),
        };
        self.command(&[&owned(["rmi", "-f", &image])])
    }
}

impl Engine for Tools {
    fn name(&self) -> &'static str {
        "skopeo, umoci"
    }

    fn group(&self) -> &Group {
        &self.0
    }

    fn can(&mut self, _place: &Place, work: Work) -> Result<()> {
        match work {
            Work::Pull | Work::Remove => Ok(()),
            Work::Load => bail!("umoci reads no such archive"),
            Work::Commit | Work::Build | Work::Rebuild => bail!("they run no containers"),
        }
    }

    fn words(&self, place: &Place, work: Work) -> Vec<String> {
        if work == Work::Remove {
            return self.removal(place, work);
        }
        let (layout, bundle) = (place.path("tools-layout"), place.path("tools-bundle"));
        let script = "skopeo --insecure-policy copy -q --src-tls-verify=false \"docker://$0\" \"oci:$1:1\" && umoci \
                      unpack --image \"$1:1\" \"$2\"";
        owned(["sh", "-c", script, &place.image(), &layout, &bundle])
    }

    fn removal(&self, place: &Place, _work: Work) -> Vec<String> {
        owned(["rm", "-rf", &place.path("tools-layout"), &place.path("tools-bundle")])
    }
}
