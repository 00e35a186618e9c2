//! What is done for volumes when a container is made and when it goes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use step::{Context, Failure, Shell, Step, Steps, quote};

use super::{ANONYMOUS, Gone, Place, Volumes, mounts_in, mounts_of, users};
use crate::events;
use crate::request::{RunRequest, VolumeMount};
use crate::state::{Life, Store};

/// Steps of volumes.
#[derive(Debug)]
pub(crate) enum VolumeStep {
    /// It is there; made where it is not. After the container's record names it: so nobody removes it any more.
    Make { store: Store, mount: VolumeMount },
    /// It has what the image has in its place, if it is empty; what a crash left is finished in any case.
    Fill { fill: storage::Fill, source: Option<storage::Source> },
    /// The container's anonymous volumes, unless others use them: they lose their names.
    Retire { store: Store, volumes: Volumes, id: String },
    /// What has no name any more is emptied.
    Empty { volumes: Volumes },
}

/// The steps before a container starts. `source`: what its root is made of.
pub(crate) fn prepare(
    store: &Store,
    request: &RunRequest,
    places: &BTreeMap<String, Place>,
    source: &storage::Source,
    id: &str,
) -> Steps {
    let mut steps = Steps::new();
    let volumes = store.volumes();
    let has_run = has_run(store, id);
    for mount in mounts_in(request) {
        steps.push(Box::new(VolumeStep::Make { store: store.clone(), mount: mount.clone() }));
    }
    for mount in mounts_in(request) {
        let Some(place) = places.get(&mount.name).filter(|place| place.is_directory()) else { continue };
        let fill = storage::Fill {
            volume: volumes.directory(&mount.name),
            device: place.device.then(|| place.source.clone()),
            into: mount.subpath.clone().unwrap_or_default(),
            from: mount.target.clone(),
            volatile: mount.anonymous && request.storage.volatile.unwrap_or(request.remove),
        };
        let source = (!mount.no_copy && !has_run).then(|| source.clone());
        steps.push(Box::new(VolumeStep::Fill { fill, source }));
    }
    steps
}

/// Whether a container has run before: then its volumes have what it left there, be it nothing. One whose start was cut
/// short has not.
fn has_run(store: &Store, id: &str) -> bool {
    let ended = |life: &Life| life.ended.as_ref().is_some_and(|end| end.error.is_none());
    store.life(id).ok().flatten().is_some_and(|life| life.restarts > 0 || ended(&life))
}

impl Step for VolumeStep {
    fn id(&self) -> &'static str {
        match self {
            Self::Make { .. } => "volume.make",
            Self::Fill { .. } => "volume.fill",
            Self::Retire { .. } => "volume.remove",
            Self::Empty { .. } => "volume.empty",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Make { store, mount } => {
                let all = store.volumes().all();
                let all = all.display();
                format!(
                    "unless it is there: mkdir(\"{all}/.new\"), renameat(\"{all}/.new\", \"{}\")",
                    mount.name
                )
            }
            Self::Fill { fill, source: None, .. } => {
                format!("unless nothing was begun: renameat(<all in \"{}/filled\">)", fill.volume.display())
            }
            Self::Fill { fill, .. } => format!(
                "unless it has content: copy \"{1}\" to \"{0}/filling\", renameat(<all in it>, \"{0}/data\")",
                fill.volume.display(),
                fill.from.display()
            ),
            Self::Retire { volumes, id, .. } => format!(
                "unless others use them: renameat(<anonymous volumes of {}>, \"{}/.old-…\")",
                &id[..12],
                volumes.all().display()
            ),
            Self::Empty { volumes } => {
                format!("unless there are none: unlinkat of all in \"{}/.old-…\"", volumes.all().display())
            }
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Make { mount, .. } if mount.anonymous => "the image asks for it, or -v without a name",
            Self::Make { .. } => "asked for; what is in it outlives the container",
            Self::Fill { source: None, .. } => "nobody starts with half of a volume",
            Self::Fill { .. } => "a new volume gets what the image has in its place, as in Docker",
            Self::Retire { .. } => "nobody could name them any more",
            Self::Empty { .. } => "their disk space is given back",
        })
    }

    fn shell(&self) -> Shell {
        match self {
            Self::Make { store, mount } => {
                let data = store.volumes().data(&mount.name);
                Shell::line(format!("mkdir -p {}", quote(&data.to_string_lossy())))
            }
            Self::Fill { source: None, .. } => Shell::Nothing("nothing was begun"),
            Self::Fill { fill, .. } => {
                let data = fill.device.clone().unwrap_or_else(|| fill.volume.join("data")).join(&fill.into);
                let at = quote(&data.to_string_lossy()).into_owned();
                let layer = Self::layers(self).iter().rev().fold(String::new(), |text, layer| {
                    format!("{text} {}", quote(&format!("{}{}", layer.display(), fill.from.display())))
                });
                Shell::Lines(vec![
                    "# the uppermost layer that has the directory; links and whiteouts aside".to_owned(),
                    format!(
                        "[ -n \"$(ls -A {at})\" ] || for d in{layer}; do [ -d \"$d\" ] && cp -a \"$d/.\" {at}/ && break; done"
                    ),
                ])
            }
            Self::Retire { .. } | Self::Empty { .. } => Shell::Nothing("the script keeps volumes"),
        }
    }

    fn perform(&self, _: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Make { store, mount } => make(store, mount),
            Self::Fill { fill, source } => storage::fill(fill, source.as_ref()).map(drop),
            Self::Retire { store, volumes, id } => retire(store, volumes, id),
            Self::Empty { volumes } => {
                if !volumes.all().exists() {
                    return Ok(());
                }
                let mut gone = Gone::default();
                volumes.leftovers(&volumes.lock()?, &mut gone);
                volumes.empty(gone)
            }
        }
    }
}

impl VolumeStep {
    /// The directories that a fill takes from, the lowest first.
    fn layers(&self) -> Vec<PathBuf> {
        match self {
            Self::Fill { source: Some(storage::Source::Layers(layers)), .. } => layers.clone(),
            Self::Fill {
                source: Some(storage::Source::Directory(path) | storage::Source::DirectoryOverlay(path)),
                ..
            } => vec![path.clone()],
            _ => Vec::new(),
        }
    }
}

fn make(store: &Store, mount: &VolumeMount) -> Result<(), Failure> {
    let volumes = store.volumes();
    let locked = volumes.lock()?;
    if volumes.find(&mount.name)?.is_some() {
        return Ok(());
    }
    let mut labels = mount.labels.clone();
    if mount.anonymous {
        labels.insert(ANONYMOUS.to_owned(), String::new());
    }
    volumes.make(&locked, &mount.name, &labels, &mount.driver_options)?;
    events::volume(store.run_root(), "create", &mount.name);
    Ok(())
}

/// Takes away the anonymous volumes of a container that no other container uses. Where a record cannot be read nobody
/// knows who uses what: they stay, for `volume prune`.
fn retire(store: &Store, volumes: &Volumes, id: &str) -> Result<(), Failure> {
    if !volumes.all().exists() {
        return Ok(());
    }
    let Ok(Some(record)) = store.record(id) else { return Ok(()) };
    let own: Vec<String> =
        mounts_of(&record).filter(|mount| mount.anonymous).map(|mount| mount.name.clone()).collect();
    if own.is_empty() {
        return Ok(());
    }
    let locked = volumes.lock()?;
    let Some(users) = users(store)? else { return Ok(()) };
    let mut gone = Gone::default();
    for name in own {
        if users.get(&name).is_none_or(|ids| ids.iter().all(|user| user == id))
            && volumes.retire(&locked, &name, &mut gone)?
        {
            events::volume(store.run_root(), "destroy", &name);
        }
    }
    Ok(())
}
