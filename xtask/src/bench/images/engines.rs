//! Who is measured and what each is told, for the same work.

use std::path::Path;

use anyhow::{Result, bail};

use super::place::{Group, Place};
use crate::process;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Pull,
    Remove,
    Load,
}

impl Work {
    pub(super) const ALL: [Self; 3] = [Self::Pull, Self::Remove, Self::Load];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Remove => "rmi",
            Self::Load => "load",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Pull => "pull: from the registry to layers that can be mounted",
            Self::Remove => "rmi: the image goes, with all its layers",
            Self::Load => "load: from an archive of docker save's form",
        }
    }
}

/// One who does it.
pub(super) trait Engine {
    fn name(&self) -> &'static str;

    fn group(&self) -> &Group;

    /// Whether it can; the reason why not.
    fn can(&mut self, place: &Place, work: Work) -> Result<()>;

    /// The command that is measured.
    fn words(&self, place: &Place, work: Work) -> Vec<String>;

    /// What has to be there; not measured.
    fn before(&mut self, place: &Place, work: Work) -> Result<()> {
        match work {
            Work::Remove => place.run(&self.words(place, Work::Pull)),
            Work::Pull | Work::Load => Ok(()),
        }
    }

    /// As it was before; not measured.
    fn after(&mut self, place: &Place, work: Work) -> Result<()> {
        match work {
            Work::Pull | Work::Load => place.run(&self.words(place, Work::Remove)),
            Work::Remove => Ok(()),
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
    pull: &'static [&'static str],
}

/// skopeo copies to a layout, umoci unpacks it.
struct Tools(Group);

/// The one that the others are compared with.
pub(super) const OURS: &str = "minidocker";

/// The archive that `load` reads, in the place.
const ARCHIVE: &str = "archive.tar";

fn owned<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Those that are installed, ours first. Docker's daemon is started here.
pub(super) fn found(place: &mut Place, minidocker: &Path) -> Result<Vec<Box<dyn Engine>>> {
    let mut all: Vec<Box<dyn Engine>> = Vec::new();
    let (root, run) = (place.path("minidocker"), place.path("minidocker-run"));
    let program = minidocker.display().to_string();
    all.push(Box::new(Common {
        name: OURS,
        group: place.group("minidocker")?,
        start: owned([&program, "--root", &root, "--run-root", &run]),
        pull: &[],
    }));
    if let (Some(_), Some(client)) = (process::find("dockerd"), docker_client()) {
        let group = place.group("docker")?;
        let socket = "unix:///run/docker.sock";
        let start = owned([&client, "-H", socket]);
        let (data, words) =
            (place.path("docker"), "--exec-root /run/docker --pidfile /run/docker.pid --bridge none");
        let mut daemon = owned(["dockerd", "-H", socket, "--data-root", &data, "--iptables=false"]);
        daemon.extend(words.split(' ').map(str::to_owned));
        place.daemon(Some(&group), &daemon, &[&start[..], &owned(["version"])].concat())?;
        all.push(Box::new(Common { name: "docker", group, start, pull: &[] }));
    }
    if process::find("podman").is_some() {
        let root = place.path("podman");
        let start = ["podman", "--root", &root, "--runroot", "/run/podman", "--storage-driver", "overlay"];
        let group = place.group("podman")?;
        all.push(Box::new(Common {
            name: "podman",
            group,
            start: owned(start),
            pull: &["--tls-verify=false"],
        }));
    }
    if process::find("skopeo").is_some() && process::find("umoci").is_some() {
        all.push(Box::new(Tools(place.group("tools")?)));
    }
    Ok(all)
}

/// The one that came with the daemon, where there are two.
fn docker_client() -> Option<String> {
    let own = Path::new("/usr/bin/docker");
    let found = own.exists().then(|| own.to_owned()).or_else(|| process::find("docker"));
    found.map(|path| path.display().to_string())
}

impl Engine for Common {
    fn name(&self) -> &'static str {
        self.name
    }

    fn group(&self) -> &Group {
        &self.group
    }

    fn can(&mut self, place: &Place, work: Work) -> Result<()> {
        if work != Work::Load {
            return Ok(());
        }
        let help = [&self.start[..], &owned(["load", "--help"])].concat();
        if place.run(&help).is_err() {
            bail!("it has no such command");
        }
        let archive = place.path(ARCHIVE);
        if !Path::new(&archive).exists() {
            let (from, to) = (
                format!("docker://{}", place.image()),
                format!("docker-archive:{archive}:{}", place.image()),
            );
            place.run(&owned([
                "skopeo",
                "--insecure-policy",
                "copy",
                "-q",
                "--src-tls-verify=false",
                &from,
                &to,
            ]))?;
        }
        Ok(())
    }

    fn words(&self, place: &Place, work: Work) -> Vec<String> {
        let image = place.image();
        let rest = match work {
            Work::Pull => {
                let options = self.pull.iter().map(|word| (*word).to_owned());
                owned(["pull", "-q"]).into_iter().chain(options).chain([image]).collect()
            }
            Work::Remove => owned(["rmi", "-f", &image]),
            Work::Load => owned(["load", "-q", "-i", &place.path(ARCHIVE)]),
        };
        [&self.start[..], &rest].concat()
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
            Work::Load => bail!("umoci reads no such archive"),
            Work::Pull | Work::Remove => Ok(()),
        }
    }

    fn words(&self, place: &Place, work: Work) -> Vec<String> {
        let (layout, bundle) = (place.path("tools-layout"), place.path("tools-bundle"));
        let script = match work {
            Work::Pull | Work::Load => {
                "skopeo --insecure-policy copy -q --src-tls-verify=false \"docker://$0\" \"oci:$1:1\" && \
                 umoci unpack --image \"$1:1\" \"$2\""
            }
            Work::Remove => "rm -rf \"$1\" \"$2\"",
        };
        owned(["sh", "-c", script, &place.image(), &layout, &bundle])
    }
}
