//! `checkpoint`: a container's processes become files, by CRIU.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cgroup::Hierarchies;
use criu::{
    CgroupMode, Common, Descriptors, DumpOptions, Event, External, NamespaceKind, Notify, PageServer, Script,
};
use oci::spec::{LinuxNamespaceType as Kind, Spec};
use rustix::process::Pid;
use step::Failure;

use crate::error::Error;
use crate::outside::{self, Outside};
use crate::store::{Init, Saved, Store};
use crate::{Settings, Status};

/// Settings of CRIU's that hold for all containers which name none of their own: runc's file.
const CONFIGURATION: &str = "/etc/criu/runc.conf";

/// What `checkpoint` and `restore` ask of CRIU alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Criu {
    /// Where the images are, absolute.
    pub image_path: PathBuf,
    /// Where CRIU's log goes, absolute; none: to the images.
    pub work_path: Option<PathBuf>,
    /// Open TCP connections are taken along.
    pub tcp_established: bool,
    /// Unix sockets may have their other end outside.
    pub ext_unix_sk: bool,
    /// The session or terminal may be that of the caller.
    pub shell_job: bool,
    /// Memory moves when it is used.
    pub lazy_pages: bool,
    /// File locks are taken along.
    pub file_locks: bool,
    /// `soft`, `full`, `strict` or `ignore`; none: CRIU's own.
    pub manage_cgroups_mode: Option<String>,
    /// The network namespace comes back empty. It does anyway, as with runc: engines fill it by hooks.
    pub empty_network: bool,
    /// Each page of memory is kept once in all images.
    pub auto_dedup: bool,
}

/// What `checkpoint` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointRequest {
    /// The container's id.
    pub id: String,
    /// What the restore is asked too.
    pub criu: Criu,
    /// The images of the pre-dump before, relative to these.
    pub parent_path: Option<PathBuf>,
    /// The processes go on.
    pub leave_running: bool,
    /// TCP connections that are being made are left out.
    pub tcp_skip_in_flight: bool,
    /// Deleted files get names for the time being.
    pub link_remap: bool,
    /// Memory only; the processes go on.
    pub pre_dump: bool,
    /// The number of a descriptor of the caller's that gets a zero byte when memory can be fetched.
    pub status_fd: Option<i32>,
    /// Address and port where memory is sent to or, with `lazy_pages`, served.
    pub page_server: Option<(String, u16)>,
}

/// Saves a container's processes. It is gone afterwards, unless they go on.
pub fn checkpoint(settings: &Settings, request: &CheckpointRequest) -> Result<(), Error> {
    let store = Store::new(&settings.root);
    let _lock = store.lock(&request.id)?;
    let saved = store.load(&request.id)?;
    let init = match (Status::of(&saved, &store.dir(&request.id)), saved.init) {
        (Status::Running | Status::Paused, Some(init)) => init,
        (status, _) => {
            let word = status.word();
            return Err(Error::new(format!("Container cannot be checkpointed in {word} state"))
                .hint("its program must run"));
        }
    };
    let status = request.status_fd.filter(|_| request.criu.lazy_pages).map(status_file).transpose()?;
    let criu = criu::Criu::find(settings.criu.as_deref())?;
    let images = &request.criu.image_path;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(images);
    made.map_err(|error| Error::io("create", images, error))?;
    let mut options = options(request, &saved, &init)?;
    if !request.pre_dump {
        let streams = streams(&saved, &init, &mut options.common.external)?;
        streams.write(images).map_err(|error| Error::io("write descriptors.json in", images, error))?;
    }
    let done = criu.dump(&options, &mut Dumping { settings, status })?;
    for (script, failure) in done.complaints {
        (settings.warn)(&format!("criu, {script}: {}", failure.cause()));
    }
    match request.leave_running || request.pre_dump {
        true => Ok(()),
        false => super::delete::destroy(&store, &request.id, settings),
    }
}

fn options(request: &CheckpointRequest, saved: &Saved, init: &Init) -> Result<DumpOptions, Error> {
    let hierarchies = Hierarchies::probe()?;
    let Some(pid) = Pid::from_raw(init.pid) else { return Err(Error::new("container not running")) };
    let mut common = common(&request.criu, &saved.config)?;
    common.tcp_skip_in_flight = request.tcp_skip_in_flight;
    common.link_remap = request.link_remap;
    common.root = Some(saved.rootfs.clone());
    common.external = namespaces(&saved.config, init)?;
    if !request.pre_dump {
        let places = (saved.bundle.as_path(), saved.rootfs.as_path());
        let outside = Outside::new(&saved.config, places, &hierarchies, &saved.group, Path::is_dir);
        common.external.extend(outside.dumped(init.pid)?);
    }
    let freezer = hierarchies.mounts().iter().find(|mount| mount.has("freezer"));
    let freezer = freezer.or_else(|| hierarchies.v2().filter(|_| !hierarchies.is_hybrid()));
    let freezer = freezer.map(|mount| mount.group(&saved.group)).filter(|dir| dir.is_dir());
    let server = |(address, port): &(String, u16)| PageServer { address: address.clone(), port: *port };
    Ok(DumpOptions {
        common,
        pre_dump: request.pre_dump,
        parent_path: request.parent_path.clone(),
        leave_running: request.leave_running,
        page_server: request.page_server.as_ref().map(server),
        freeze_cgroup: freezer,
        ..DumpOptions::new(pid, "")
    })
}

/// The names of the standard streams in the images. Files of the host are external, under names of CRIU's.
fn streams(saved: &Saved, init: &Init, external: &mut Vec<External>) -> Result<Descriptors, Error> {
    let mut streams = Descriptors(saved.streams.clone());
    for (number, name) in streams.0.iter_mut().enumerate().filter(|(_, name)| name.starts_with('/')) {
        if let Some(file) = outside::host_file(init.pid, number)? {
            *name = file.to_string();
            external.push(file);
        }
    }
    Ok(streams)
}

/// What dump and restore of a container have in common.
pub(super) fn common(criu: &Criu, spec: &Spec) -> Result<Common, Error> {
    let mode = criu.manage_cgroups_mode.as_deref().unwrap_or_default();
    let Some(cgroup_mode) = CgroupMode::parse(mode) else {
        return Err(
            Error::new("Invalid manage-cgroups-mode value").hint("it is soft, full, strict or ignore")
        );
    };
    // The annotation of runc's and crun's; an empty one means none at all.
    let named = spec.annotations().as_ref().and_then(|all| all.get("org.criu.config").cloned());
    let config_file = named.unwrap_or_else(|| CONFIGURATION.to_owned());
    Ok(Common {
        work_dir: criu.work_path.clone(),
        config_file: Some(config_file).filter(|file| !file.is_empty()).map(PathBuf::from),
        cgroup_mode,
        tcp_established: criu.tcp_established,
        ext_unix_sk: criu.ext_unix_sk,
        shell_job: criu.shell_job,
        file_locks: criu.file_locks,
        // Links, addresses and rules are the engine's, who makes them anew.
        empty_network: true,
        auto_dedup: criu.auto_dedup,
        lazy_pages: criu.lazy_pages,
        ..Common::new(&criu.image_path)
    })
}

/// The namespaces that the container was given and that go on without it. The others that have a path are restored by
/// it.
fn namespaces(spec: &Spec, init: &Init) -> Result<Vec<External>, Error> {
    let kinds = [(Kind::Network, NamespaceKind::Network, "net"), (Kind::Pid, NamespaceKind::Pid, "pid")];
    let joined = kinds.into_iter().filter(|(kind, ..)| joined(spec, *kind).is_some());
    let external = |(_, kind, file): (Kind, NamespaceKind, &str)| {
        // Of the path there may be nothing left; what it led to is where the container is.
        let path = PathBuf::from(format!("/proc/{}/ns/{file}", init.pid));
        External::namespace(kind, &path).map_err(|error| Error::io("read", &path, error))
    };
    joined.map(external).collect()
}

/// The path of a namespace that a container is given.
pub(super) fn joined(spec: &Spec, kind: Kind) -> Option<&Path> {
    let namespaces = spec.linux().as_ref()?.namespaces().as_deref()?;
    let path = namespaces.iter().find(|namespace| namespace.typ() == kind)?.path().as_deref()?;
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

/// The caller's descriptor, as a file of our own.
fn status_file(number: i32) -> Result<fs::File, Error> {
    let path = format!("/proc/self/fd/{number}");
    OpenOptions::new().write(true).open(&path).map_err(|error| {
        Error::new(format!("invalid --status-fd argument {number}: {}", step::words(&error)))
            .hint("it is the number of an open descriptor that can be written to")
    })
}

struct Dumping<'a> {
    settings: &'a Settings,
    status: Option<fs::File>,
}

impl Notify for Dumping<'_> {
    fn notified(&mut self, event: Event) -> Result<(), Failure> {
        told(self.settings, &event);
        if event.script == Script::StatusReady
            && let Some(mut status) = self.status.take()
            && let Err(error) = status.write_all(&[0])
        {
            (self.settings.warn)(&format!("can't write \\0 to status fd: {}", step::words(&error)));
        }
        Ok(())
    }
}

/// For `--debug`.
pub(super) fn told(settings: &Settings, event: &Event) {
    if let Some(debug) = settings.debug {
        debug(&format!("criu: {}", event.script));
    }
}

impl From<criu::Error> for Error {
    fn from(error: criu::Error) -> Self {
        let plain = Self::new(error.to_string());
        match error.hint() {
            Some(hint) => plain.hint(hint),
            None => plain,
        }
    }
}
