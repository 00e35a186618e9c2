//! Options into messages: pure, but for what must be looked at to refuse nonsense before CRIU starts.

use std::net::IpAddr;
use std::path::Path;

use crate::error::Error;
use crate::options::{CgroupMode, Common, DumpOptions, RestoreOptions};
use crate::wire;

/// The logs' names in the work directory, as runc names them.
pub(crate) const DUMP_LOG: &str = "dump.log";
pub(crate) const RESTORE_LOG: &str = "restore.log";

/// CLONE_NEWNET of clone(2): the one namespace that CRIU can leave empty.
const CLONE_NEWNET: u32 = 0x4000_0000;

/// The numbers of open directories in this process, through which CRIU opens them again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Directories {
    pub(crate) images: i32,
    pub(crate) work: Option<i32>,
}

/// What asks for a dump or pre-dump.
pub(crate) fn dump(options: &DumpOptions, directories: Directories) -> Result<wire::Request, Error> {
    check_dump(options)?;
    let parent = options.parent_path.as_deref().map(|path| text("parent_path", path)).transpose()?;
    let page_server = options.page_server.as_ref().map(|server| wire::PageServer {
        address: Some(server.address.clone()),
        port: Some(server.port.into()),
    });
    let kind = if options.pre_dump { wire::kind::SINGLE_PRE_DUMP } else { wire::kind::DUMP };
    let track_mem = options.track_mem || options.pre_dump || parent.is_some();
    let options = wire::Options {
        log_file: Some(DUMP_LOG.into()),
        pid: Some(options.pid.as_raw_nonzero().get()),
        track_mem: on(track_mem),
        parent_img: parent,
        leave_running: on(options.leave_running),
        page_server,
        freeze_cgroup: options
            .freeze_cgroup
            .as_deref()
            .map(|path| text("freeze_cgroup", path))
            .transpose()?,
        ghost_limit: options.ghost_limit,
        timeout: options.timeout,
        pre_dump_mode: options.pre_dump_by_reading.then_some(2),
        ..common(&options.common, directories)?
    };
    Ok(wire::Request { kind, options: Some(options), ..Default::default() })
}

/// What asks for a restore. `inherited` are the worker's numbers of the descriptors to inherit, in their order.
pub(crate) fn restore(
    options: &RestoreOptions<'_>,
    directories: Directories,
    inherited: &[i32],
) -> Result<wire::Request, Error> {
    let inherit_fd = options.inherit.iter().zip(inherited).map(|(inherit, number)| {
        Ok(wire::Inherited { key: checked("inherit", &inherit.key)?, descriptor: *number })
    });
    let join_ns = options.join_namespaces.iter().map(|join| {
        Ok(wire::JoinNamespace { kind: join.kind.into(), file: text("join_namespaces", &join.path)? })
    });
    let cg_root = options.cgroup_roots.iter().map(|root| {
        Ok(wire::CgroupRoot { controller: root.controller.clone(), path: text("cgroup_roots", &root.path)? })
    });
    let options = wire::Options {
        log_file: Some(RESTORE_LOG.into()),
        rst_sibling: on(options.sibling),
        inherit_fd: inherit_fd.collect::<Result<_, Error>>()?,
        join_ns: join_ns.collect::<Result<_, Error>>()?,
        cg_root: cg_root.collect::<Result<_, Error>>()?,
        lsm_profile: options.lsm_profile.clone(),
        lsm_mount_context: options.lsm_mount_context.clone(),
        mntns_compat_mode: on(options.compatible_mounts),
        // CRIU would make a new terminal, and look for the leader of its session among the restored processes.
        orphan_pts_master: on(options.terminal.is_none()),
        ..common(&options.common, directories)?
    };
    Ok(wire::Request { kind: wire::kind::RESTORE, options: Some(options), ..Default::default() })
}

fn common(common: &Common, directories: Directories) -> Result<wire::Options, Error> {
    let external = common.external.iter().map(|external| checked("external", &external.to_string()));
    let external = external.collect::<Result<Vec<_>, _>>()?;
    if let Some(empty) = external.iter().find(|text| text.starts_with("mnt[]:/")) {
        return Err(refused("external", empty, "a mount without a name would mean all mounts"));
    }
    let skip_mnt = common.skip_mounts.iter().map(|path| text("skip_mounts", path));
    Ok(wire::Options {
        images_dir_fd: directories.images,
        work_dir_fd: directories.work,
        log_level: Some(common.log_level.into()),
        notify_scripts: Some(true),
        orphan_pts_master: Some(true),
        config_file: common.config_file.as_deref().map(|path| text("config_file", path)).transpose()?,
        root: common.root.as_deref().map(|path| text("root", path)).transpose()?,
        external,
        ext_masters: on(common.external_masters),
        ext_sharing: on(common.external_sharing),
        skip_mnt: skip_mnt.collect::<Result<_, _>>()?,
        manage_cgroups_mode: (common.cgroup_mode != CgroupMode::Default).then(|| common.cgroup_mode.number()),
        tcp_established: on(common.tcp_established),
        tcp_close: on(common.tcp_close),
        tcp_skip_in_flight: on(common.tcp_skip_in_flight),
        ext_unix_sk: on(common.ext_unix_sk),
        shell_job: on(common.shell_job),
        file_locks: on(common.file_locks),
        link_remap: on(common.link_remap),
        evasive_devices: on(common.evasive_devices),
        empty_ns: common.empty_network.then_some(CLONE_NEWNET),
        network_lock: common.network_lock.number(),
        auto_dedup: on(common.auto_dedup),
        lazy_pages: on(common.lazy_pages),
        ..Default::default()
    })
}

/// What CRIU would refuse with unclear words, or would do otherwise than it was meant.
fn check_dump(options: &DumpOptions) -> Result<(), Error> {
    if let Some(parent) = options.parent_path.as_deref().filter(|parent| parent.is_absolute()) {
        let words = parent.to_string_lossy();
        return Err(refused("parent_path", &words, "must be relative to the images' directory"));
    }
    if !options.common.lazy_pages {
        return Ok(());
    }
    if options.pre_dump {
        return Err(refused("lazy_pages", "true", "a pre-dump reads all memory"));
    }
    listen_address(options)?.map(|_| ()).ok_or_else(|| {
        refused("lazy_pages", "true", "needs the page_server at which memory is to be fetched")
    })
}

/// Whether the parent is there, now that the images' directory is, from which it is seen. CRIU would only dump all
/// memory.
pub(crate) fn check_parent(options: &DumpOptions) -> Result<(), Error> {
    match &options.parent_path {
        Some(parent) if !options.common.images_dir.join(parent).is_dir() => {
            let reason = "no such directory, seen from the images' directory";
            Err(refused("parent_path", &parent.to_string_lossy(), reason))
        }
        _ => Ok(()),
    }
}

/// Where a lazy dump serves memory. CRIU takes it from its configuration only: the message's address is for the other
/// direction, and without one CRIU listens at all addresses.
pub(crate) fn listen_address(options: &DumpOptions) -> Result<Option<IpAddr>, Error> {
    let Some(server) = options.page_server.as_ref().filter(|_| options.common.lazy_pages) else {
        return Ok(None);
    };
    let address = server.address.parse();
    Ok(Some(address.map_err(|_| {
        refused("page_server", &server.address, "lazy pages are served at an IP address of this host")
    })?))
}

/// False is not sent: CRIU's default, and its configuration files, stand.
fn on(value: bool) -> Option<bool> {
    value.then_some(true)
}

fn text(option: &'static str, path: &Path) -> Result<String, Error> {
    match path.to_str() {
        Some(text) => checked(option, text),
        None => Err(refused(option, &path.to_string_lossy(), "CRIU's messages take UTF-8 only")),
    }
}

/// CRIU is written in C: a text would end at the first zero byte.
fn checked(option: &'static str, text: &str) -> Result<String, Error> {
    if text.is_empty() || text.contains('\0') {
        return Err(refused(option, text, "must be neither empty nor contain a zero byte"));
    }
    Ok(text.to_owned())
}

fn refused(option: &'static str, value: &str, reason: &'static str) -> Error {
    Error::Option { option, value: value.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    use prost::Message as _;
    use rustix::process::Pid;

    use crate::external::External;
    use crate::options::{CgroupRoot, JoinNamespace, NetworkLock, PageServer};

    const DIRECTORIES: Directories = Directories { images: 5, work: None };

    fn plain() -> DumpOptions {
        DumpOptions::new(Pid::from_raw(7).unwrap(), "/images")
    }

    fn reason(result: Result<wire::Request, Error>) -> (&'static str, &'static str) {
        match result.unwrap_err() {
            Error::Option { option, reason, .. } => (option, reason),
            other => panic!("{other}"),
        }
    }

    /// The bytes are the contract: they are written out by hand from the field numbers.
    #[test]
    fn a_plain_dump_says_only_what_differs_from_the_defaults() {
        let bytes = dump(&plain(), DIRECTORIES).unwrap().encode_to_vec();
        let mut options = vec![0x08, 5, 0x10, 7]; // images_dir_fd 5, pid 7
        options.extend([0x48, 4, 0x52, 8]); // log_level 4, log_file of 8 bytes
        options.extend(b"dump.log");
        options.extend([0x60, 1]); // notify_scripts
        options.extend([0x90, 0x03, 1]); // orphan_pts_master, field 50
        let mut expected = vec![0x08, 1, 0x12, options.len() as u8];
        expected.extend(options);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_pre_dump_tracks_memory_and_names_its_parent() {
        let images = std::env::temp_dir();
        let options = DumpOptions {
            pre_dump: true,
            parent_path: Some("../".into()),
            ..DumpOptions::new(Pid::from_raw(7).unwrap(), images)
        };
        let request = dump(&options, DIRECTORIES).unwrap();
        assert_eq!(request.kind, wire::kind::SINGLE_PRE_DUMP);
        let sent = request.options.unwrap();
        assert_eq!((sent.track_mem, sent.parent_img.as_deref()), (Some(true), Some("../")));
        assert!(check_parent(&options).is_ok());
        let missing = DumpOptions { parent_path: Some("../no-such-directory".into()), ..options.clone() };
        assert!(check_parent(&missing).unwrap_err().to_string().contains("no such directory"));
        let absolute = DumpOptions { parent_path: Some("/tmp".into()), ..options };
        let (option, reason) = reason(dump(&absolute, DIRECTORIES));
        assert!(option == "parent_path" && reason.contains("relative"), "{option}: {reason}");
    }

    #[test]
    fn lazy_pages_need_an_address_to_listen_at() {
        let mut options = plain();
        options.common.lazy_pages = true;
        assert_eq!(reason(dump(&options, DIRECTORIES)).0, "lazy_pages");
        let server = |address: &str| Some(PageServer { address: address.into(), port: 27 });
        options.page_server = server("localhost");
        assert_eq!(reason(dump(&options, DIRECTORIES)).0, "page_server");
        options.page_server = server("127.0.0.1");
        let sent = dump(&options, DIRECTORIES).unwrap().options.unwrap();
        assert_eq!((sent.lazy_pages, sent.page_server.unwrap().port), (Some(true), Some(27)));
        options.pre_dump = true;
        assert_eq!(reason(dump(&options, DIRECTORIES)).0, "lazy_pages");
    }

    #[test]
    fn a_restore_carries_every_option_over() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let descriptor = std::os::fd::AsFd::as_fd(&null);
        let mut options = RestoreOptions::new("/images");
        options.inherit = vec![crate::Inherit { key: "pipe:[9]".into(), descriptor }];
        options.join_namespaces = vec![JoinNamespace { kind: "ipc", path: "/proc/9/ns/ipc".into() }];
        options.cgroup_roots = vec![CgroupRoot { controller: None, path: "/web".into() }];
        options.common.external = vec![External::Mount { id: "/data".into(), value: "/srv".into() }];
        options.common.cgroup_mode = CgroupMode::Ignore;
        options.common.network_lock = NetworkLock::Skip;
        options.common.empty_network = true;
        let directories = Directories { images: 5, work: Some(6) };
        let sent = restore(&options, directories, &[11]).unwrap().options.unwrap();
        assert_eq!((sent.images_dir_fd, sent.work_dir_fd, sent.pid), (5, Some(6), None));
        assert_eq!((sent.rst_sibling, sent.manage_cgroups_mode), (Some(true), Some(0)));
        assert_eq!((sent.network_lock, sent.empty_ns), (Some(3), Some(CLONE_NEWNET)));
        assert_eq!(sent.external, ["mnt[/data]:/srv"]);
        assert_eq!(sent.inherit_fd, [wire::Inherited { key: "pipe:[9]".into(), descriptor: 11 }]);
        let joined = wire::JoinNamespace { kind: "ipc".into(), file: "/proc/9/ns/ipc".into() };
        assert_eq!(sent.join_ns, [joined]);
        assert_eq!(sent.cg_root, [wire::CgroupRoot { controller: None, path: "/web".into() }]);
    }

    #[test]
    fn texts_that_criu_would_misread_are_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        let mut options = plain();
        options.common.root = Some(PathBuf::from(std::ffi::OsString::from_vec(vec![b'/', 0xff])));
        assert_eq!(reason(dump(&options, DIRECTORIES)).0, "root");
        options.common.root = Some("/a\0b".into());
        assert_eq!(reason(dump(&options, DIRECTORIES)).0, "root");
        options.common.root = None;
        options.common.external = vec![External::Mount { id: String::new(), value: "/srv".into() }];
        assert_eq!(reason(dump(&options, DIRECTORIES)).0, "external");
        options.common.external = vec![External::Literal("mnt[]:ms".into())];
        assert!(dump(&options, DIRECTORIES).is_ok());
    }
}
