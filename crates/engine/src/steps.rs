//! The engine's own steps: what it puts on disk for a container, and how a container is taken down.
//!
//! There is one way down for all: the end of a run, `rm`, a start that failed, and what a crash left behind. Every
//! kernel object is found by the container's id, and every step is idempotent (docs/decisions/0002).

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use cgroup::{Group, Hierarchies};
use rustix::fs::Mode;
use step::{Context, Failure, Shell, Step, Steps, quote};

use crate::state::{Record, Store, make_dirs_with, write_file};
use crate::volumes::{VolumeStep, has_anonymous};
use crate::{Settings, files, pods};

/// Steps of the engine.
#[derive(Debug)]
pub(crate) enum EngineStep {
    /// The container's own /etc/hosts and the like: file and text.
    Files(Vec<(PathBuf, String)>),
    /// The missing source of a `-v`.
    Source(PathBuf),
    /// The sockets of its name service.
    Resolver,
    /// Its control groups.
    RemoveGroup { path: String, kill: bool },
    /// Its ports of the host, and the rules that lead from there to it.
    Unpublish { settings: network::Settings, id: String },
    /// Its address, and a small network with it.
    Release { settings: network::Settings, id: String, places: Option<Vec<network::Attachment>> },
    /// The host's end of its link, where it does not go by itself.
    Unplug { id: String, places: Option<Vec<network::Attachment>> },
    /// Its layer on disk, and its record.
    RemoveLayer { places: storage::Places, id: String },
    /// Its name, and its record in the run root: from here on nobody can ask for it.
    ReleaseName { store: Store, name: Option<String>, id: String },
    /// Its directory in the run root: what is gone from there is gone.
    Forget { store: Store, id: String },
    /// Its place in a pod.
    LeavePod { settings: Settings, pod: String },
}

impl Step for EngineStep {
    fn id(&self) -> &'static str {
        match self {
            Self::Files(_) => "state.files",
            Self::Source(_) => "state.source",
            Self::Resolver => "dns.listen",
            Self::RemoveGroup { .. } => "cgroup.remove",
            Self::Unpublish { .. } => "network.unpublish",
            Self::Release { .. } => "network.release",
            Self::Unplug { .. } => "network.unplug",
            Self::RemoveLayer { .. } => "storage.remove",
            Self::ReleaseName { .. } => "state.name",
            Self::Forget { .. } => "state.forget",
            Self::LeavePod { .. } => "pod.leave",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Files(files) => {
                let names: Vec<_> = files.iter().map(|(path, _)| path.display().to_string()).collect();
                format!("write to {}", names.join(", "))
            }
            Self::Source(path) => format!("mkdir(\"{}\")", path.display()),
            Self::Resolver => {
                let place = dns::PLACE;
                format!(
                    "setns(<init's network>), bind({place} udp), bind({place} tcp), listen, setns(<the host's>)"
                )
            }
            Self::RemoveGroup { path, kill: false } => format!("rmdir(\"{path}\") in each hierarchy"),
            Self::RemoveGroup { path, kill: true } => {
                format!("kill all of \"{path}\", rmdir in each hierarchy")
            }
            Self::Unpublish { id, .. } => {
                format!(
                    "sendto(netlink, {{NFT_MSG_DELSETELEM <ports of {0}>}}), write(<ports without {0}>)",
                    &id[..12]
                )
            }
            Self::Release { places: Some(places), .. } => {
                let addresses = files::addresses(places).iter().map(ToString::to_string).collect::<Vec<_>>();
                format!("unlink(<reservation of {}>)", addresses.join(", "))
            }
            Self::Release { id, .. } => format!("unlink(<reservations of {}>)", &id[..12]),
            Self::Unplug { id, .. } => {
                format!("unless it goes by itself: sendto({{RTM_DELLINK, {}}})", network::host_link(id))
            }
            Self::RemoveLayer { places, id } => {
                let root = places.root.display();
                format!("rename(\"{root}/containers/{id}\", \"{root}/removed/{id}\"), unlinkat of all in it")
            }
            Self::ReleaseName { name, .. } => {
                format!("unlink(<name {}>)", name.as_deref().unwrap_or("of this id"))
            }
            Self::Forget { store, id } => format!("unlinkat of all in \"{}\"", store.run_dir(id).display()),
            Self::LeavePod { pod, .. } => {
                format!(
                    "symlink(<names in pod {0}>), of --exit-policy stop: kill(<infra of {0}>)",
                    &pod[..12]
                )
            }
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Files(_) => "names and resolver as the container should see them, to be bound in",
            Self::Source(_) => "-v makes a missing source, as Docker does",
            Self::Resolver => {
                "the monitor answers for the names of neighbours, and asks the host's servers for all others; a socket \
                 belongs to the namespace that it was made in"
            }
            Self::RemoveGroup { .. } => "a group without processes still costs the kernel memory",
            Self::Unpublish { .. } => "the next container may have its ports, and its address without them",
            Self::Release { .. } => "the next container may have the address",
            Self::Unplug { .. } => {
                "an open connection can keep a network namespace for minutes after its processes"
            }
            Self::RemoveLayer { .. } => "asked for: --rm, or rm",
            Self::ReleaseName { .. } => "the next container may have the name",
            Self::Forget { .. } => "the last trace of it goes last, so that a crash on the way is found",
            Self::LeavePod { .. } => "whoever is left in the pod decides what of it goes on",
        })
    }

    fn shell(&self) -> Shell {
        match self {
            Self::Files(files) => Shell::Lines(
                files
                    .iter()
                    .flat_map(|(path, text)| {
                        let at = quote(&path.to_string_lossy()).into_owned();
                        let dir = path.parent().unwrap_or(Path::new("/"));
                        let dir = quote(&dir.to_string_lossy()).into_owned();
                        [format!("mkdir -p {dir}"), format!("printf %s {} > {at}", quote(text))]
                    })
                    .collect(),
            ),
            Self::Source(path) => Shell::line(format!("mkdir -p {}", quote(&path.to_string_lossy()))),
            Self::Resolver => {
                Shell::Nothing("there is no monitor that would answer: add servers to resolv.conf")
            }
            Self::RemoveGroup { path, .. } => Shell::line(format!(
                "for g in /sys/fs/cgroup/*{path} /sys/fs/cgroup{path}; do rmdir \"$g\" 2>/dev/null; done"
            )),
            Self::Unpublish { settings, id } => Shell::Lines(network::unpublish_script(settings, id)),
            Self::Release { places, .. } => match places.as_deref() {
                Some([place]) if place.bridge.starts_with("mdn") => {
                    Shell::line(format!("ip link del {}", place.bridge))
                }
                _ => Shell::Nothing("the script reserves nothing"),
            },
            Self::Unplug { id, .. } => {
                Shell::line(format!("ip link del {} 2>/dev/null || true", network::host_link(id)))
            }
            Self::RemoveLayer { places, id } => {
                let dir = places.root.join("containers").join(id);
                Shell::line(format!("rm -rf {}", quote(&dir.to_string_lossy())))
            }
            Self::ReleaseName { .. } => Shell::Nothing("the script takes no name"),
            Self::LeavePod { .. } => Shell::Nothing("the script leaves the pod as it is"),
            Self::Forget { store, id } => {
                Shell::line(format!("rm -rf {}", quote(&store.run_dir(id).to_string_lossy())))
            }
        }
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Files(files) => {
                files.iter().try_for_each(|(path, text)| write_file(path, text.as_bytes(), false))
            }
            Self::Source(path) => make_dirs_with(path, Mode::from_raw_mode(0o755)),
            Self::Resolver => {
                let Some(init) = context.init else {
                    return Err(Failure::because(
                        self.id(),
                        dns::PLACE.to_string(),
                        "there is no process yet",
                    ));
                };
                let sockets = crate::resolver::listen(init);
                context.resolver = Some(sockets.map_err(|errno| self.failed(dns::PLACE.to_string(), errno))?);
                Ok(())
            }
            Self::RemoveGroup { path, kill } => {
                let group = Group::open(&Hierarchies::probe()?, path)?;
                if *kill {
                    group.kill()?;
                }
                group.remove()
            }
            Self::Unpublish { settings, id } => {
                let closing = network::unpublish(settings, id)
                    .map_err(|error| Failure::because(self.id(), id[..12].to_owned(), error.to_string()))?;
                context.closing.extend(closing);
                Ok(())
            }
            Self::Release { settings, id, places } => network::release(settings, id, places.as_deref())
                .map_err(|error| Failure::because(self.id(), id[..12].to_owned(), error.to_string())),
            Self::Unplug { id, places } => network::unplug(id, places.as_deref())
                .map_err(|error| Failure::because(self.id(), id[..12].to_owned(), error.to_string())),
            Self::RemoveLayer { places, id } => storage::remove(places, id),
            Self::ReleaseName { store, name, id } => {
                match name {
                    // Its removal failed: it is there still, with its name.
                    _ if store.keep_dir(id).join("container.json").exists() => Ok(()),
                    Some(name) => store.give_name(name, id),
                    None => store.give_all_names(id),
                }?;
                store.forget_record(id)
            }
            Self::Forget { store, id } => store.forget(id),
            Self::LeavePod { settings, pod } => pods::leave(settings, pod),
        }
    }
}

/// What is known of a container that is to be taken down; all but the id may be unknown after a crash.
#[derive(Debug, Clone)]
pub(crate) struct Remains {
    /// Its id.
    pub id: String,
    /// Its control group.
    pub group: String,
    /// Processes may be left that do not end with its first: it shares a pid namespace, or crashed.
    pub kill: bool,
    /// Its places in networks; none: look for them.
    pub networks: Option<Vec<network::Attachment>>,
    /// It never was in a network: nothing to look for.
    pub no_network: bool,
    /// Its name; none: look for it.
    pub name: Option<String>,
    /// Its layer and record go too.
    pub remove: bool,
    /// Its anonymous volumes stay, `rm` without `-v`, or it has none; else they go with its record.
    pub keep_volumes: bool,
    /// Its record lies with its layer and goes with it, before the name may be another's.
    pub kept: bool,
    /// The pod that it is in, by its id.
    pub pod: Option<String>,
}

impl Remains {
    /// What a container with this record may have left, to be looked for wherever it may be.
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            id: record.id.clone(),
            group: record.group.clone(),
            kill: true,
            networks: None,
            no_network: false,
            name: Some(record.name.clone()),
            remove: record.request.remove,
            keep_volumes: !has_anonymous(&record.request),
            kept: !record.passing,
            pod: record.request.pod.membership().map(str::to_owned),
        }
    }

    /// Whether it has a place in a network, or may have one.
    fn has_network(&self) -> bool {
        self.networks.as_ref().map_or(!self.no_network, |places| !places.is_empty())
    }

    /// What one life of it leaves that the next one cannot use.
    pub(crate) fn between_lives(&self) -> Steps {
        let group = EngineStep::RemoveGroup { path: self.group.clone(), kill: self.kill };
        let mut steps: Steps = vec![Box::new(group)];
        if self.has_network() {
            let (id, places) = (self.id.clone(), self.networks.clone());
            steps.push(Box::new(EngineStep::Unplug { id, places }));
        }
        steps
    }
}

/// The way down, in two parts.
#[derive(Debug, Default)]
pub(crate) struct Down {
    /// Before anybody is told that the container is gone: group, address, name, record.
    pub(crate) now: Steps,
    /// Afterwards: its link, its layer, which take milliseconds, and its last trace.
    pub(crate) later: Steps,
}

impl Down {
    /// Both parts.
    pub(crate) fn all(self) -> Steps {
        let mut steps = self.now;
        steps.extend(self.later);
        steps
    }
}

/// The way down.
pub(crate) fn takedown(settings: &Settings, remains: &Remains) -> Down {
    let store = Store::new(settings);
    let id = remains.id.clone();
    let mut down = Down::default();
    down.now.push(Box::new(EngineStep::RemoveGroup { path: remains.group.clone(), kill: remains.kill }));
    if remains.has_network() {
        let (settings, places) = (settings.network(), remains.networks.clone());
        if places.as_ref().is_none_or(|places| network::may_have_ports(places)) {
            let settings = settings.clone();
            down.now.push(Box::new(EngineStep::Unpublish { settings, id: id.clone() }));
        }
        down.now.push(Box::new(EngineStep::Release { settings, id: id.clone(), places: places.clone() }));
        down.later.push(Box::new(EngineStep::Unplug { id: id.clone(), places }));
    }
    if remains.remove && !remains.keep_volumes {
        // While its record says which they are.
        let volumes = store.volumes();
        let retire = VolumeStep::Retire { store: store.clone(), volumes: volumes.clone(), id: id.clone() };
        down.now.push(Box::new(retire));
        down.later.push(Box::new(VolumeStep::Empty { volumes }));
    }
    if remains.remove {
        let name = remains.name.clone();
        let name = Box::new(EngineStep::ReleaseName { store: store.clone(), name, id: id.clone() });
        let layer = Box::new(EngineStep::RemoveLayer { places: settings.places(), id: id.clone() });
        if remains.kept {
            down.later.push(layer);
            down.later.push(name);
        } else {
            down.now.push(name);
            down.later.push(layer);
        }
    }
    down.later.push(Box::new(EngineStep::Forget { store, id }));
    // Nobody takes it for one of the pod's that run any more.
    if let Some(pod) = remains.pod.clone() {
        down.later.push(Box::new(EngineStep::LeavePod { settings: settings.clone(), pod }));
    }
    down
}

/// Takes all steps down the way, whatever fails on it; the first failure is told.
pub(crate) fn take_all(
    steps: &Steps,
    mut take: impl FnMut(&dyn Step) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut first = Ok(());
    for step in steps {
        let taken = take(step.as_ref());
        if first.is_ok() {
            first = taken;
        }
    }
    first
}
