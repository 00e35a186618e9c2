//! `build`: Dockerfiles to images. The build itself is the crate `build`; here is what it needs of the world: images of
//! the store and of registries, containers of the runtime core, downloads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::build::{
    Base, Built, Cloned, Fetched, Host, MountKind, Packed, Progress, Repository, Request, Run, Stream,
};
use images::{Bringing, Entry, Images, Manifest, Pull};
use oci::{Digest, Platform, Reference};
use step::Failure;

use super::images::{reference, registries, sweep};
use crate::request::{self, Mount, Namespaces, Network, NetworkMode, Process, RunRequest, Storage};
use crate::state::Store;
use crate::worker::{Task, View, Workers};
use crate::{Error, Kind, Settings, emulation};

pub use ::build::{
    CacheFrom, CacheTo, Error as Failed, Event, Ignore, Plain, Progress as Watch, Quiet,
    Repository as Source, Request as Asked, Secret, Stream as Output, Vertex, Workplace, dockerfile,
    ignore_file, is_archive,
};

/// Where bases come from and what commands may have.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--tag`: the image's names.
    pub names: Vec<String>,
    /// `--pull`: bases are asked for at their registries although they are here.
    pub pull: bool,
    /// `--add-host`.
    pub add_hosts: Vec<(String, Option<std::net::IpAddr>)>,
    /// `--shm-size`.
    pub shm_size: Option<u64>,
    /// `--ulimit`.
    pub ulimits: Vec<request::Ulimit>,
    /// `--memory`, bytes for each command.
    pub memory: Option<u64>,
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Done {
    /// An image for each platform, in their order.
    pub images: Vec<Built>,
    /// What has the names: the image, or where there are several the index of them.
    pub id: Digest,
}

/// Builds an image, or several for platforms, and gives it its names. The caller has one thread still.
pub fn build(
    settings: &Settings,
    asked: &Request,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Done, Failed> {
    let jobs = match asked.jobs {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs,
    };
    build_with(settings, asked, options, progress, jobs)
}

/// An image with instructions applied that change its configuration alone: `--change`. Its id; the image `id`, which
/// was made for it, goes.
pub(super) fn change(settings: &Settings, id: &Digest, changes: &[String]) -> Result<Digest, Error> {
    let source = format!("FROM {id}\n{}\n", changes.join("\n"));
    // Nothing is copied: any directory will do.
    let nowhere = settings.root.clone();
    let asked = Request::new(&settings.root, &settings.run_root, &nowhere, &source);
    let built = build_with(settings, &asked, &Options::default(), &Quiet, 0).map_err(|failed| Error {
        kind: Kind::Engine,
        message: failed.message,
        hint: failed.hint,
    })?;
    if built.id != *id {
        super::images::remove(settings, &id.to_string(), true)?;
    }
    Ok(built.id)
}

/// Whether instructions change no more than how a container starts: before anything is made for them.
pub(super) fn check_changes(changes: &[String]) -> Result<(), Error> {
    use ::build::dockerfile::{Instruction, parse};
    const KNOWN: &str = "there are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, \
                         VOLUME and WORKDIR";
    for text in changes {
        let invalid = |why: &str| {
            Error::new(Kind::Invalid, format!("--change {}: {why}", step::quote(text))).hint(KNOWN)
        };
        let file = parse(&format!("FROM scratch\n{text}\n")).map_err(|error| invalid(&error.message))?;
        let step = match file.stages.as_slice() {
            [stage] if stage.steps.len() == 1 => &stage.steps[0],
            _ => return Err(invalid("one instruction at a time")),
        };
        if matches!(step.instruction, Instruction::Run(_) | Instruction::Copy(_) | Instruction::Arg(_)) {
            return Err(invalid("it changes more than how a container starts"));
        }
    }
    Ok(())
}

fn build_with(
    settings: &Settings,
    asked: &Request,
    options: &Options,
    progress: &dyn Progress,
    workers: usize,
) -> Result<Done, Failed> {
    let names: Vec<Reference> =
        options.names.iter().map(|name| reference(name)).collect::<Result<_, _>>().map_err(told)?;
    if let Some(name) = names.iter().find(|name| name.digest().is_some()) {
        return Err(told(Error::new(
            Kind::Invalid,
            format!("--tag {name}: an image's new name has no digest"),
        )));
    }
    let store = Store::new(settings);
    store.prepare()?;
    crate::sweep::sweep(settings, &store)?;
    let images = Images::open(&settings.root)?;
    images.blobs().remove_nameless()?;
    let workers = Workers::start(settings, workers).map_err(told)?;
    let engine = Engine { images: &images, options, workers: &workers, _bringing: images.bringing()? };
    let built = ::build::build(asked, &engine, progress);
    let built = match built {
        Ok(built) => built,
        Err(failed) => {
            // Containers that were stopped left something.
            drop(engine);
            drop(workers);
            crate::sweep::sweep(settings, &store)?;
            return Err(failed);
        }
    };
    let layer = |layer: &::build::Layer| images::Layer {
        diff_id: layer.diff_id,
        digest: layer.digest,
        size: layer.size,
        media_type: layer.media_type.clone(),
    };
    let mut made = Vec::new();
    for built in &built {
        let layers: Vec<images::Layer> = built.layers.iter().map(layer).collect();
        // Of another process that died with one of them, nothing is left but the blob.
        images.bring(&layers, &super::commit::Nothing, &|_| {})?;
        let manifest = Manifest {
            media_type: built.media_type.to_owned(),
            digest: built.manifest_digest,
            size: built.manifest.len() as u64,
        };
        made.push(images.describe(&built.config, manifest, layers)?);
    }
    let names: Vec<String> = names.iter().map(Reference::canonical).collect();
    let id = match (made.pop(), made.is_empty()) {
        (Some(image), true) => images.add(image, &names)?.id,
        (last, _) => {
            made.extend(last);
            // The image of a stage on another platform is what was asked for, whatever it says of itself.
            let entry = |(image, built): (&images::Image, &Built)| Entry {
                platform: built.platform.to_string(),
                ..Entry::of(image)
            };
            let index = images.make_index(made.iter().zip(&built).map(entry).collect())?;
            images.add_index(index, made, &names)?.id()
        }
    };
    drop(engine);
    sweep(settings, &images).map_err(told)?;
    super::builder::expire(settings).map_err(told)?;
    Ok(Done { images: built, id })
}

fn told(error: Error) -> Failed {
    Failed { message: error.message, hint: error.hint, place: None, code: None }
}

fn failure(error: Error) -> Failure {
    let failure = Failure::because("build", "the image", error.message);
    match error.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

struct Engine<'e> {
    images: &'e Images,
    options: &'e Options,
    workers: &'e Workers,
    /// Nothing of the store goes while it builds.
    _bringing: Bringing,
}

impl Host for Engine<'_> {
    fn image(&self, name: &str, platform: &Platform) -> Result<Base, Failure> {
        let here = self.images.find_for(name, Some(platform))?;
        let here = here.filter(|image| image.platform == platform.to_string());
        let image = match here {
            Some(image) if !self.options.pull => image,
            _ => {
                let reference = reference(name).map_err(failure)?;
                let settings: Arc<registry::Settings> = registries().map_err(failure)?;
                let pull = Pull { settings: &settings, reference: &reference, platform };
                self.images.pull(pull, &|_| {})?.image
            }
        };
        let layer = |layer: &images::Layer| ::build::Layer {
            directory: self.images.layers().path(&layer.diff_id),
            diff_id: layer.diff_id,
            media_type: layer.media_type.clone(),
            digest: layer.digest,
            size: layer.size,
        };
        let layers = image.layers.iter().map(layer).collect();
        Ok(Base { config: self.images.config_bytes(&image)?, layers })
    }

    fn run(&self, run: &Run<'_>) -> Result<i32, Failure> {
        let (mounts, views) = mounts(run);
        let variable = |text: &String| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), Some(value.to_owned()))
        };
        let mode = match run.network {
            ::build::dockerfile::Network::Default => NetworkMode::Bridge,
            ::build::dockerfile::Network::None => NetworkMode::None,
            ::build::dockerfile::Network::Host => NetworkMode::Host,
        };
        let request = RunRequest {
            image: request::Image::Named("build".to_owned()),
            command: run.args.to_vec(),
            entrypoint: Some(Vec::new()),
            remove: true,
            process: Process {
                user: (!run.user.is_empty()).then(|| run.user.to_owned()),
                workdir: Some(PathBuf::from(run.workdir)),
                // The container's name changes from run to run, and nothing of the image may depend on it.
                env: [("HOSTNAME".to_owned(), None)]
                    .into_iter()
                    .chain(run.env.iter().map(variable))
                    .collect(),
                ulimits: self.options.ulimits.clone(),
                ..Process::default()
            },
            namespaces: Namespaces { hostname: Some("build".to_owned()), ..Namespaces::default() },
            network: Network { mode, add_hosts: self.options.add_hosts.clone(), ..Network::default() },
            storage: Storage {
                mounts,
                shm_size: self.options.shm_size,
                kind: Some(request::RootfsKind::Overlay),
                ..Storage::default()
            },
            resources: request::Resources { memory: self.options.memory, ..request::Resources::default() },
            ..RunRequest::default()
        };
        let task = Task { request, lower: run.lower.clone(), upper: run.upper.to_owned(), views };
        let mut output = |bytes: &[u8]| (run.output)(Stream::Out, bytes);
        let done = self.workers.run(&task, run.stop, &mut output).map_err(|error| match error.kind {
            Kind::NotExecutable | Kind::NotFound => {
                emulation::lacking(run.platform).unwrap_or_else(|| failure(error))
            }
            _ => failure(error),
        })?;
        for (words, _) in done.notes {
            (run.output)(Stream::Error, format!("{words}\n").as_bytes());
        }
        Ok(i32::from(done.code))
    }

    fn fetch(&self, url: &str) -> Result<Fetched, Failure> {
        let settings = registries().map_err(failure)?;
        let download =
            registry::download(&settings, url).map_err(|error| error.into_failure("build.fetch"))?;
        let modified = download.modified.as_deref().and_then(http_date);
        Ok(Fetched { body: Box::new(download.body), modified, name: download.name })
    }

    fn repository(&self, repository: &Repository, place: &Path, keep: bool) -> Result<Cloned, Failure> {
        let super::git::Fetched { directory, commit } = super::git::fetch(repository, place, keep)?;
        Ok(Cloned { directory, commit })
    }

    fn configuration(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let (settings, reference) = (registries().map_err(failure)?, reference(name).map_err(failure)?);
        let platform = Platform::host();
        self.images.pull_configuration(Pull {
            settings: &settings,
            reference: &reference,
            platform: &platform,
        })
    }

    fn bring(&self, name: &str, layer: &Packed) -> Result<(), Failure> {
        let (settings, reference) = (registries().map_err(failure)?, reference(name).map_err(failure)?);
        self.images.pull_layer(&settings, &reference, &known(layer))
    }

    fn carry(&self, name: &str, configuration: &[u8], layers: &[Packed]) -> Result<(), Failure> {
        let (settings, reference) = (registries().map_err(failure)?, reference(name).map_err(failure)?);
        let layers: Vec<images::Layer> = layers.iter().map(known).collect();
        self.images.push_artifact(&settings, &reference, (CACHE, configuration), &layers)
    }
}

/// What the configuration of an image is that `--cache-to type=registry` makes.
const CACHE: &str = "application/vnd.minidocker.build.steps.v1+json";

/// A layer as the images know it.
fn known(layer: &Packed) -> images::Layer {
    let Packed { diff_id, digest, size, .. } = *layer;
    images::Layer { diff_id, digest, size, media_type: layer.media_type.clone() }
}

/// Mounts that the engine binds, and those that a worker makes first.
fn mounts(run: &Run<'_>) -> (Vec<Mount>, Vec<View>) {
    let (mut mounts, mut views) = (Vec::new(), Vec::new());
    for mount in &run.mounts {
        let target = PathBuf::from(&mount.target);
        match &mount.kind {
            MountKind::Bind { source, read_only } => mounts.push(Mount::Bind {
                source: source.clone(),
                target,
                read_only: *read_only,
                recursive_read_only: false,
                propagation: None,
                create_source: false,
                options: Vec::new(),
                idmap: false,
                shallow: false,
            }),
            MountKind::Layers { lower, path, writable } => views.push(View {
                lower: lower.clone(),
                path: path.clone(),
                target,
                writable: writable.clone(),
            }),
            MountKind::Tmpfs { size } => {
                let options = size.iter().map(|size| format!("size={size}")).collect();
                mounts.push(Mount::Tmpfs { target, options });
            }
        }
    }
    (mounts, views)
}

/// Seconds since 1970 of a time as HTTP writes it, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    oci::time::seconds(&format!("{year}-{month:02}-{day:0>2}T{time}Z"))
}

/// Writes the files of an image that was built: `--output type=local` and `type=tar`.
pub fn write_files(built: &Built, output: impl std::io::Write + Send) -> Result<(), Error> {
    let layers: Vec<PathBuf> = built.layers.iter().map(|layer| layer.directory.clone()).collect();
    transport::export(storage::read_only(&layers)?, output)?;
    Ok(())
}

/// The same into a directory, which is made where it is missing. What is there stays, unless the image has the same name.
pub fn write_directory(built: &Built, directory: &std::path::Path) -> Result<(), Error> {
    let failed = |cause| Failure::new("build.output", directory.display().to_string(), cause);
    std::fs::create_dir_all(directory).map_err(failed)?;
    let target = std::fs::File::open(directory).map_err(failed)?;
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let options = storage::layer::Options { onto: storage::layer::Onto::Tree, ..Default::default() };
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || write_files(built, writer));
        let read = storage::layer::apply(reader, &target, &options);
        match writing.join() {
            Ok(written) => read.map(|_| ()).map_err(Error::from).and(written),
            Err(_) => Err(Error::new(Kind::Engine, "a thread of the output failed")),
        }
    })
}

/// What is at an address of http or https: a context that is no repository.
pub fn download(url: &str) -> Result<impl std::io::Read + Send + 'static, Error> {
    let download =
        registry::download(&registries()?, url).map_err(|error| error.into_failure("build.context"))?;
    Ok(download.body)
}

/// Unpacks a context that came as an archive.
pub fn unpack(archive: impl std::io::Read + Send, directory: &std::path::Path) -> Result<(), Error> {
    let failed = |cause| Failure::new("build.context", directory.display().to_string(), cause);
    let target = std::fs::File::open(directory).map_err(failed)?;
    let options = storage::layer::Options { onto: storage::layer::Onto::Tree, ..Default::default() };
    storage::layer::apply(archive, &target, &options)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_http_are_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Sun, 6 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for wrong in ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Xyz 1994 08:49:37 GMT"] {
            assert_eq!(http_date(wrong), None, "{wrong}");
        }
    }
}
