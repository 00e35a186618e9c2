//! From a request to a container that only has to be performed: every room is asked for its part, nothing is started.

use std::os::fd::AsFd;
use std::path::PathBuf;

use cgroup::{Check, Hierarchies, Limits};
use runtime::{Container, First, GroupSteps, GroupView, Hooks, Manner, NetworkSteps, RootSteps};
use seccomp::Arch;
use step::{Failure, Step, Steps};

use crate::facts::{self, Facts};
use crate::request::{Image, Mount, NetworkMode, Ports, Publish, RunRequest, Seccomp, Wanted};
use crate::resolver::serves;
use crate::spec::{self, Specified};
use crate::state::Store;
use crate::steps::EngineStep;
use crate::{Error, Kind, Note, Settings, files, names, networks, volumes};

/// What can be known before anything is reserved: bad requests end here.
pub(crate) struct Draft {
    pub(crate) rootfs: storage::Rootfs,
    pub(crate) facts: Facts,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) group: String,
    /// What the root is made of: new volumes take from it.
    pub(crate) source: storage::Source,
}

pub(crate) fn draft(
    settings: &Settings,
    store: &Store,
    request: &RunRequest,
    source: &storage::Source,
    id: &str,
) -> Result<Draft, Error> {
    let options = storage::Options {
        volatile: request.storage.volatile.unwrap_or(request.remove),
        read_only: request.storage.read_only,
        idmapped: request.namespaces.user != crate::request::UserNamespace::Host,
        kind: request.storage.kind,
        size: request.storage.size,
        image: request.storage.image,
    };
    let rootfs = storage::plan(&settings.places(), id, source, options)
        .map_err(|failure| bad_root(request, failure))?;
    let lookup: Vec<PathBuf> = [&rootfs.lookup].into_iter().chain(&rootfs.lookup_below).cloned().collect();
    let facts = facts::gather(store, request, id, &lookup)?;
    let group = settings.group(request.resources.cgroup_parent.as_deref(), id);
    Ok(Draft { rootfs, facts, hierarchies: Hierarchies::probe()?, group, source: source.clone() })
}

/// A root file system that cannot be one, in the words that were typed.
pub(crate) fn bad_root(request: &RunRequest, failure: Failure) -> Error {
    let option = match &request.image {
        Image::Host | Image::Pause => format!("the image {}:", request.image),
        Image::Named(name) => format!("the image {name}:"),
        Image::Directory(_) | Image::DirectoryOverlay(_) => "--rootfs".to_owned(),
    };
    let message = match failure.target.strip_prefix("--") {
        Some(other) => format!("--{other}: {}", failure.cause()),
        None => format!("{option} {}: {}", failure.target, failure.cause()),
    };
    Error { kind: Kind::Invalid, message, hint: failure.hint }
}

pub(crate) fn take_name(store: &Store, request: &RunRequest, id: &str) -> Result<String, Error> {
    let Some(name) = &request.name else {
        for tries in 0..1000 {
            let name = names::name(tries);
            if store.take_name(&name, id)?.is_ok() {
                return Ok(name);
            }
        }
        return Err(Error::new(Kind::Engine, "found no free name").hint("give one with --name"));
    };
    match store.take_name(name, id)? {
        Ok(()) => Ok(name.clone()),
        Err(owner) => {
            // Of one that is made just now there may be no record yet.
            let record = store.record(&owner).ok().flatten();
            let role = record.as_ref().map_or(&request.pod, |record| &record.request.pod);
            let (what, rm) = if role.infra().is_some() { ("pod", "pod rm") } else { ("container", "rm") };
            let owner = owner.get(..12).unwrap_or(&owner);
            Err(Error::new(Kind::Invalid, format!("the name {name} is already in use by {what} {owner}"))
                .hint(format!("choose another with --name, or remove that one: minidocker {rm} -f {name}")))
        }
    }
}

/// What its network is to be, as far as steps depend on it: which networks those are stands in its places.
fn network_mode(request: &RunRequest) -> network::Mode {
    match &request.network.mode {
        NetworkMode::Host => network::Mode::Host,
        NetworkMode::Container(_) => network::Mode::Join,
        NetworkMode::None => network::Mode::None,
        NetworkMode::Bridge => network::Mode::Bridge(network::BridgeRequest {
            rates: request.network.rates,
            share: request.network.share,
            ..network::BridgeRequest::default()
        }),
    }
}

/// What is asked to be published; with --publish-all also each exposed port that is not among it.
fn published(request: &RunRequest) -> Vec<Publish> {
    let mut all = request.network.publish.clone();
    if request.network.publish_all {
        let is_there =
            |port, protocol| request.network.publish.iter().any(|one| one.container.has(port, protocol));
        for exposed in &request.network.expose {
            let ports = (exposed.first..=exposed.last).filter(|port| !is_there(*port, exposed.protocol));
            let one = |port| Publish {
                address: None,
                host: Wanted::Any,
                container: Ports { first: port, last: port, protocol: exposed.protocol },
            };
            all.extend(ports.map(one));
        }
    }
    all
}

/// Its places in networks, and what the user should be told of them.
pub(crate) fn reserve(
    settings: &Settings,
    store: &Store,
    request: &RunRequest,
    id: &str,
    name: &str,
) -> Result<(Vec<network::Attachment>, Vec<Note>), Error> {
    let endpoints = request.network.links();
    if endpoints.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let chosen = network_settings(settings)?;
    let is_alive = |id: &str| store.run_dir(id).exists();
    let mut notes = Vec::new();
    let places = loop {
        let hostname = request.namespaces.hostname.as_deref();
        let links = endpoints.iter().map(|endpoint| networks::link(settings, endpoint, hostname));
        let links = links.collect::<Result<_, Error>>()?;
        let (rates, share) = (request.network.rates, request.network.share);
        let publish = published(request);
        let mode = network::Mode::Bridge(network::BridgeRequest { links, publish, rates, share });
        match network::reserve(&chosen, id, name, &mode, &is_alive) {
            Err(network::Error::Clash { network, owner }) => {
                let (_, said) = network::choose_anew(&chosen, &network, &owner).map_err(networks::told)?;
                notes.push((said, Some("its containers get other addresses".to_owned())));
            }
            places => break places.map_err(networks::told)?,
        }
    };
    let wanted = !request.network.publish.is_empty() || request.network.publish_all;
    if wanted && places.iter().all(|place| place.ports.is_empty()) && !published(request).is_empty() {
        let message =
            "published ports lead nowhere: no network of the container leads out over a bridge of this host";
        let hint = "they are kept for it until `network connect` gives it one that is neither internal, macvlan nor ipvlan";
        notes.push((message.to_owned(), Some(hint.to_owned())));
    }
    Ok((places, notes))
}

/// The network room's settings, with the subnets that the user chose for the default network.
pub(crate) fn network_settings(settings: &Settings) -> Result<network::Settings, Error> {
    let refused =
        |option: &str, error: network::ParseError| Error::new(Kind::Invalid, format!("{option}: {error}"));
    let subnet = settings.subnet.as_ref().map(|text| text.parse::<network::Subnet>());
    let subnet6 = settings.subnet6.as_deref().map(|text| match text {
        "auto" => Ok(network::Wanted6::Any),
        text => text.parse::<network::Subnet6>().map(network::Wanted6::This),
    });
    Ok(network::Settings {
        subnet: subnet.transpose().map_err(|error| refused("--subnet", error))?,
        subnet6: subnet6.transpose().map_err(|error| refused("--subnet6", error))?,
        ..settings.network()
    })
}

/// A container that only has to be performed.
pub(crate) struct Prepared {
    pub(crate) prepare: Steps,
    pub(crate) plan: runtime::Plan,
    pub(crate) checks: Vec<Check>,
    pub(crate) places: Vec<network::Attachment>,
    pub(crate) group: String,
    pub(crate) disk: storage::Disk,
}

pub(crate) fn finish(
    store: &Store,
    request: &RunRequest,
    id: &str,
    draft: Draft,
    places: Vec<network::Attachment>,
) -> Result<Prepared, Error> {
    let Draft { rootfs, mut facts, hierarchies, group, source } = draft;
    facts.terminal = terminal_size(request);
    let hostname = spec::own_hostname(request, &facts, id).unwrap_or_else(|| facts.hostname.clone());
    let texts = files::texts(request, &hostname, &places);
    let dir = store.run_dir(id);
    let files = facts.network_files.clone().unwrap_or_else(|| dir.clone());
    let binds: Vec<_> = files::TARGETS.iter().map(|(name, target)| (files.join(name), *target)).collect();
    let binds: Vec<_> = binds.into_iter().filter(|(file, _)| !texts.is_empty() || file.exists()).collect();
    let Specified { spec, capabilities } = spec::specify(request, &facts, id, &group, &binds)?;

    let mut limits = match spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()) {
        Some(resources) => Limits::from_oci(resources)?,
        None => Limits::default(),
    };
    limits.raw.extend(request.resources.raw.clone());
    let groups = cgroup::plan(&hierarchies, &group, &limits)?;
    let own_user = facts.ids.is_some();
    let mut groups = if own_user { groups.opened_by_monitor() } else { groups };
    let mut before = if own_user { Steps::new() } else { groups.take_into() };
    let beside = if own_user { Steps::new() } else { std::mem::take(&mut groups.create) };
    before.append(&mut groups.create);
    let network = network::plan(&network_mode(request), Some((&store.network(), &places)));
    let mut settled = network.settled;
    if serves(&request.network.mode) {
        settled.push(Box::new(EngineStep::Resolver));
    }
    let filter = filter(request, &capabilities)?;

    let mut prepare: Steps = Vec::new();
    if !texts.is_empty() {
        let files = texts.into_iter().map(|text| (dir.join(text.name), text.text)).collect();
        prepare.push(Box::new(EngineStep::Files(files)));
    }
    prepare.extend(
        missing_sources(request)?
            .into_iter()
            .map(|path| -> Box<dyn Step> { Box::new(EngineStep::Source(path)) }),
    );
    prepare.extend(volumes::prepare(store, request, &facts.volumes, &source, id));
    prepare.extend(rootfs.prepare);
    let v1 = groups.view.iter().filter(|view| !view.name.is_empty());
    let view = v1.map(|view| GroupView {
        name: view.name.clone(),
        links: view.links.clone(),
        dir: view.dir.clone(),
    });
    let container = Container {
        id: id.to_owned(),
        spec,
        root: RootSteps { mount: rootfs.mount, below: rootfs.after_attach, at: store.mount_point() },
        groups: GroupSteps { before, beside, into: groups.into, join: groups.join, view: view.collect() },
        network: NetworkSteps {
            host: network.host,
            beside: network.beside,
            loopback: network.loopback,
            inside: network.inside,
            settled,
            script_name: network::netns_name(id),
        },
        filter: filter.map(|program| (program.instructions().to_vec(), program.flags())),
        first: first(request),
        hooks: Hooks::default(),
        manner: Manner { volumes: volumes::runtime_volumes(request, &facts.volumes), ..Manner::default() },
    };
    let disk = rootfs.disk;
    Ok(Prepared { prepare, plan: runtime::plan(container)?, checks: groups.checks, places, group, disk })
}

/// What becomes of its first process.
fn first(request: &RunRequest) -> First {
    match (&request.image, request.process.init) {
        (Image::Pause, _) => First::Pause,
        (_, true) => First::Init,
        (_, false) => First::Program,
    }
}

/// Docker's default policy without the way through names, or the profile that was given.
pub(crate) fn filter(
    request: &RunRequest,
    capabilities: &[oci::spec::Capability],
) -> Result<Option<seccomp::Program>, Error> {
    let invalid = |path: &PathBuf, error: seccomp::Error| {
        Error::new(Kind::Invalid, format!("--security-opt seccomp={}: {error}", path.display()))
    };
    match &request.security.seccomp {
        Seccomp::Unconfined => Ok(None),
        _ if request.security.privileged => Ok(None),
        Seccomp::Default => seccomp::default_program(Arch::NATIVE, capabilities, kernel())
            .map(Some)
            .map_err(|error| Error::new(Kind::Engine, format!("the default system call filter: {error}"))),
        Seccomp::Profile(path, text) => {
            let profile = seccomp::from_docker_json(text, Arch::NATIVE, capabilities, kernel())
                .map_err(|error| invalid(path, error))?;
            seccomp::compile(&profile).map(Some).map_err(|error| invalid(path, error))
        }
    }
}

/// The kernel's version, major and minor.
pub(crate) fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

pub(crate) fn missing_sources(request: &RunRequest) -> Result<Vec<PathBuf>, Error> {
    let mut missing = Vec::new();
    for mount in &request.storage.mounts {
        if let Mount::Bind { source, create_source, .. } = mount
            && !source.exists()
        {
            if !create_source {
                return Err(Error::new(
                    Kind::Invalid,
                    format!("--mount: the source {} does not exist on the host", source.display()),
                )
                .hint("make it first, or use -v, which makes a directory"));
            }
            missing.push(source.clone());
        }
    }
    Ok(missing)
}

pub(crate) fn terminal_size(request: &RunRequest) -> Option<(u16, u16)> {
    let size = |fd: rustix::fd::BorrowedFd<'_>| rustix::termios::tcgetwinsize(fd).ok();
    let size = size(std::io::stdout().as_fd()).or_else(|| size(std::io::stdin().as_fd()))?;
    request.tty.then_some((size.ws_row, size.ws_col))
}
