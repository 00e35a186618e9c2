//! Who is measured and what each is told, for the same work.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::super::engines::{self, owned};
use super::super::place::{Group, Place};
use super::super::small;
use super::content::Content;
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
    engine: engines::Engine,
    /// Options of `pull`.
    pull: Vec<String>,
    /// Options of `run`.
    run: Vec<String>,
    /// Options of `build`.
    build: Vec<String>,
    /// The folder of the large image's blobs, and those in it that a container unpacks.
    blobs: PathBuf,
    filling: Vec<PathBuf>,
}

/// skopeo copies to a layout, umoci unpacks it.
struct Tools(Group);

/// The archive that `load` reads, in the place.
const ARCHIVE: &str = "archive.tar";

/// The container that is committed, and what becomes of it.
const CONTAINER: &str = "bench-written";
const COMMITTED: &str = "localhost/bench-committed:1";

const BUILT: &str = "localhost/bench-built:1";

/// How many of the large image's layers are written by the container that is committed.
pub(super) const FILLING: usize = 3;

/// Where the registry listens, in a network namespace of its own.
const ADDRESS: &str = "127.0.0.1:5000";

/// The image's name.
pub(super) fn image() -> String {
    format!("{ADDRESS}/{}", Content::NAME)
}

/// The directory of the Dockerfile.
pub(super) fn context(place: &Place) -> String {
    place.path("context")
}

/// Starts the registry that has the image.
pub(super) fn registry(place: &Place, content: &Content) -> Result<()> {
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: \
         {{rootdirectory: {}}}\nhttp: {{addr: \"{ADDRESS}\", secret: bench}}\n",
        content.folder.display()
    );
    let file = place.path("registry.yml");
    fs::write(&file, config)?;
    let words = ["docker-registry", "serve", &file].map(str::to_owned);
    let name = format!("docker://{}", image());
    let ready = ["skopeo", "--insecure-policy", "inspect", "--raw", "--tls-verify=false", &name];
    place.daemon(None, &words, &ready.map(str::to_owned))
}

/// Those that are installed, ours first. Docker's daemon is started here.
pub(super) fn found(place: &mut Place, minidocker: &Path, content: &Content) -> Result<Vec<Box<dyn Engine>>> {
    let mut all: Vec<Box<dyn Engine>> =
        vec![Box::new(Common::new(engines::ours(place, minidocker)?, content)?)];
    if let Some(docker) = engines::docker(place, engines::Bridge::None)? {
        all.push(Box::new(Common::new(docker, content)?));
    }
    if let Some(podman) = engines::podman(place)? {
        let parent = |group: String| owned(["--cgroup-parent", &group]);
        // In a build the parent is itself the container's group, and must have none below it.
        let (run, build) = (parent(podman.group.containers()), parent(podman.group.builds()));
        let pull = owned(["--tls-verify=false"]);
        all.push(Box::new(Common { pull, run, build, ..Common::new(podman, content)? }));
    }
    if process::find("skopeo").is_some() && process::find("umoci").is_some() {
        all.push(Box::new(Tools(place.group("tools")?)));
    }
    Ok(all)
}

impl Common {
    fn new(engine: engines::Engine, content: &Content) -> Result<Self> {
        let inside = |blob: &PathBuf| blob.strip_prefix(&content.folder).map(Path::to_owned);
        let filling = content.blobs.iter().take(FILLING).map(inside).collect::<Result<_, _>>()?;
        let [pull, run, build] = [const { Vec::new() }; 3];
        Ok(Self { engine, pull, run, build, blobs: content.folder.clone(), filling })
    }

    fn command(&self, words: &[&[String]]) -> Vec<String> {
        self.engine.command(words)
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
        let (from, to) = (format!("docker://{}", image()), format!("docker-archive:{archive}:{}", image()));
        let copy = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", &from, &to];
        place.run(&owned(copy))
    }

    /// A container that has ended, with much of its own.
    fn container(&self, place: &Place) -> Result<()> {
        let volume = format!("{}:/blobs:ro", self.blobs.display());
        let unpack: Vec<String> = self
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
        self.engine.name
    }

    fn group(&self) -> &Group {
        &self.engine.group
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
            Work::Pull => self.command(&[&owned(["pull", "-q"]), &self.pull, &[image()]]),
            Work::Remove => self.removal(place, work),
            Work::Load => self.command(&[&owned(["load", "-q", "-i", &place.path(ARCHIVE)])]),
            Work::Commit => self.command(&[&owned(["commit", CONTAINER, COMMITTED])]),
            Work::Build => self.command(&[&build, &owned(["--no-cache"]), &self.build, &[context(place)]]),
            Work::Rebuild => self.command(&[&build, &self.build, &[context(place)]]),
        }
    }

    fn removal(&self, _place: &Place, work: Work) -> Vec<String> {
        let image = match work {
            Work::Pull | Work::Remove | Work::Load => image(),
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
        owned(["sh", "-c", script, &image(), &layout, &bundle])
    }

    fn removal(&self, place: &Place, _work: Work) -> Vec<String> {
        owned(["rm", "-rf", &place.path("tools-layout"), &place.path("tools-bundle")])
    }
}
