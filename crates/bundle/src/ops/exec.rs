//! `exec`: a further program in a container that runs.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cgroup::Hierarchies;
use oci::spec::{Capability, ContainerState, LinuxCapabilities, Process, User};
use runtime::{Exec, GroupSteps, Manner, Parent};
use step::Failure;

use crate::error::Error;
use crate::foreground::Watch;
use crate::store::{Init, Saved, Store, write_whole};
use crate::{Settings, Status, config, console, debug, notify, prepare};

use super::create::own_streams;

/// What `exec` is asked for.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// The container's id.
    pub id: String,
    /// The program.
    pub process: ExecProcess,
    /// Where the terminal's outer end is sent.
    pub console_socket: Option<PathBuf>,
    /// Where the program's process number is written.
    pub pid_file: Option<PathBuf>,
    /// Where a pidfd of it is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// Returns when the program runs.
    pub detach: bool,
    /// How many descriptors from 3 on the program inherits.
    pub preserve_fds: u32,
    /// In a paused container too: the program waits until it is resumed.
    pub ignore_paused: bool,
    /// Groups below the container's own, `[CONTROLLERS:]PATH` each.
    pub cgroups: Vec<String>,
}

/// The program of an `exec`.
#[derive(Debug, Clone)]
pub enum ExecProcess {
    /// A file with the specification's `process` as JSON.
    File(PathBuf),
    /// The container's own process with other words.
    Args {
        /// Program and arguments.
        args: Vec<String>,
        /// Working directory.
        cwd: Option<String>,
        /// Further variables.
        env: Vec<String>,
        /// A terminal.
        tty: bool,
        /// `UID[:GID]`.
        user: Option<String>,
        /// Further groups.
        additional_gids: Vec<u32>,
        /// Further capabilities.
        capabilities: Vec<String>,
        /// AppArmor profile.
        apparmor: Option<String>,
        /// SELinux label.
        process_label: Option<String>,
        /// no_new_privs.
        no_new_privs: Option<bool>,
    },
}

/// Runs a program in a container; its exit code, or 0 with `detach`.
pub fn exec(settings: &Settings, request: &ExecRequest) -> Result<u8, Error> {
    let store = Store::new(&settings.root);
    let saved = store.load(&request.id)?;
    match Status::of(&saved, &store.dir(&request.id)) {
        Status::Stopped => return Err(Error::new("cannot exec in a stopped container")),
        Status::Creating => return Err(Error::new("cannot exec in a container that is being created")),
        Status::Paused if !request.ignore_paused => {
            return Err(Error::new("cannot exec in a paused container (use --ignore-paused to override)"));
        }
        _ => {}
    }
    let Some((init, pidfd)) = saved.init.and_then(|init| Some((init, init.pidfd()?))) else {
        return Err(Error::new("cannot exec in a stopped container"));
    };
    let mut process = process(&saved, &request.process, settings)?;
    config::check_process(&process)?;
    prepare::tidy(&mut process, settings.warn);
    let terminal = process.terminal().unwrap_or(false);
    match (request.detach, terminal, &request.console_socket) {
        (true, true, None) => {
            return Err(Error::new("cannot allocate tty if runc will detach without setting console socket")
                .hint("--console-socket names the socket that takes the terminal"));
        }
        (detach, terminal, Some(_)) if !(detach && terminal) => {
            return Err(Error::new("cannot use console socket if runc will not detach or allocate tty"));
        }
        _ => {}
    }
    let connect =
        |what, path: &Option<PathBuf>| path.as_deref().map(|path| console::connect(what, path)).transpose();
    let console = connect("console socket", &request.console_socket)?;
    let pidfd_socket = connect("pidfd socket", &request.pidfd_socket)?;
    let affinity = process.clone();
    let plan = runtime::plan_exec(Exec {
        id: saved.id.clone(),
        process,
        pid: init.pid,
        pidfd,
        groups: groups(&saved, &init, &request.cgroups)?,
        filter: prepare::filter(&saved.config)?,
        manner: Manner {
            no_new_keyring: saved.no_new_keyring,
            preserved: request.preserve_fds,
            plain_newlines: request.console_socket.is_none(),
            sealed: crate::guard::is_read_only(),
            follows_host: true,
            ..Manner::default()
        },
        linux: saved.config.linux().clone().unwrap_or_default(),
    })?;
    let watch = if request.detach { None } else { Some(Watch::begin()?) };
    let stdio = if terminal { None } else { Some(own_streams()?) };
    let mut trace = debug::trace(settings);
    debug::planned(settings, &plan, Some(&affinity));
    let launched = runtime::launch(&plan, stdio, &mut trace, &mut Guest { saved: &saved, init });
    debug::performed(settings, &plan, &mut trace);
    let mut running =
        launched.map_err(|failure| Error::from(failure).during("unable to start container process"))?;
    if let Some(socket) = &console
        && let Some(master) = running.terminal.take()
    {
        console::send_terminal(socket, master.as_fd())?;
    }
    if let Some(socket) = &pidfd_socket {
        console::send(socket, b"pidfd", running.pidfd.as_fd())?;
    }
    if let Some(path) = &request.pid_file {
        write_whole(path, running.pid.to_string().as_bytes())?;
    }
    watch.map_or(Ok(0), |watch| watch.until_end(&running))
}

/// The program, from its file or as a change of the container's own.
fn process(saved: &Saved, asked: &ExecProcess, settings: &Settings) -> Result<Process, Error> {
    let (args, cwd, env, tty, user, groups, capabilities, apparmor, label, no_new_privs) = match asked {
        ExecProcess::File(path) => {
            let text = fs::read(path).map_err(|error| Error::io("read", path, error))?;
            let (process, warnings) =
                config::parse_process(&text).map_err(|error| error.during(&path.display().to_string()))?;
            warnings.iter().for_each(|warning| (settings.warn)(warning));
            return Ok(process);
        }
        ExecProcess::Args {
            args,
            cwd,
            env,
            tty,
            user,
            additional_gids,
            capabilities,
            apparmor,
            process_label,
            no_new_privs,
        } => {
            (args, cwd, env, tty, user, additional_gids, capabilities, apparmor, process_label, no_new_privs)
        }
    };
    let mut process = saved.config.process().clone().unwrap_or_default();
    process.set_args(Some(args.clone()));
    if let Some(cwd) = cwd {
        process.set_cwd(cwd.into());
    }
    process.set_env(Some(process.env().iter().flatten().chain(env).cloned().collect()));
    process.set_terminal(Some(*tty));
    if let Some(user) = user {
        process.set_user(parse_user(user, process.user())?);
    }
    if !groups.is_empty() {
        let mut user = process.user().clone();
        let all = user.additional_gids().iter().flatten().chain(groups).copied().collect();
        user.set_additional_gids(Some(all));
        process.set_user(user);
    }
    if !capabilities.is_empty() {
        process.set_capabilities(Some(with_capabilities(process.capabilities(), capabilities)?));
    }
    if apparmor.is_some() {
        process.set_apparmor_profile(apparmor.clone());
    }
    if label.is_some() {
        process.set_selinux_label(label.clone());
    }
    if no_new_privs.is_some() {
        process.set_no_new_privileges(*no_new_privs);
    }
    Ok(process)
}

/// `UID[:GID]`, numbers both. Without a group the container's own stays.
fn parse_user(text: &str, base: &User) -> Result<User, Error> {
    let number = |what: &str, text: &str| {
        text.parse::<u32>()
            .map_err(|_| Error::new(format!("parsing {text} as int for {what} failed: a number is wanted")))
    };
    let mut user = base.clone();
    match text.split_once(':') {
        Some((uid, gid)) => {
            user.set_uid(number("uid", uid)?);
            user.set_gid(number("gid", gid)?);
        }
        None => drop(user.set_uid(number("uid", text)?)),
    }
    Ok(user)
}

/// Bounding, effective and permitted get the further ones.
fn with_capabilities(base: &Option<LinuxCapabilities>, names: &[String]) -> Result<LinuxCapabilities, Error> {
    let mut more = Vec::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let known = oci::capability_named(upper.strip_prefix("CAP_").unwrap_or(&upper));
        more.push(known.ok_or_else(|| Error::new(format!("unknown capability {name:?}")))?);
    }
    let mut all = base.clone().unwrap_or_default();
    let with = |set: &Option<std::collections::HashSet<Capability>>| {
        Some(set.iter().flatten().copied().chain(more.iter().copied()).collect())
    };
    let (bounding, effective, permitted) =
        (with(all.bounding()), with(all.effective()), with(all.permitted()));
    // Where programs inherit capabilities at all, a further one is inherited too, and so can be ambient.
    if all.inheritable().as_ref().is_some_and(|set| !set.is_empty()) {
        let (inheritable, ambient) = (with(all.inheritable()), with(all.ambient()));
        all.set_inheritable(inheritable).set_ambient(ambient);
    }
    all.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    Ok(all)
}

/// The container's groups, or such below them.
fn groups(saved: &Saved, init: &Init, below: &[String]) -> Result<GroupSteps, Error> {
    let hierarchies = Hierarchies::probe()?;
    let mut places = Vec::new();
    for asked in below {
        let (controllers, path) = match asked.split_once(':') {
            Some((controllers, path)) => (controllers.split(',').collect(), path),
            None => (Vec::new(), asked.as_str()),
        };
        if Path::new(path).components().any(|part| part == std::path::Component::ParentDir) {
            return Err(Error::new(format!("bad sub cgroup path: {path}: it may not lead up")));
        }
        let alone = hierarchies.v2().is_some() && !hierarchies.is_hybrid();
        if alone && (!controllers.is_empty() || below.len() > 1) {
            return Err(Error::new(
                "cgroup v2: controllers cannot be named with --cgroup: there is one hierarchy",
            ));
        }
        for controller in &controllers {
            if !hierarchies.mounts().iter().any(|mount| mount.has(controller)) {
                return Err(Error::new(format!("unknown controller {controller} in --cgroup {asked}")));
            }
        }
        let path = format!("{}/{}", saved.group.trim_end_matches('/'), path.trim_matches('/'));
        places.push((controllers, path.trim_end_matches('/').to_owned()));
    }
    let moved = if below.is_empty() { moved(&hierarchies, saved, init) } else { None };
    let path = |mount: &cgroup::Mount| {
        let named = places.iter().find(|(controllers, _)| controllers.iter().any(|name| mount.has(name)));
        let all = || places.iter().find(|(controllers, _)| controllers.is_empty());
        match (named.or_else(all), &moved) {
            (Some((_, path)), _) => path.clone(),
            (None, Some(moved)) if mount.version == cgroup::Version::V2 => moved.clone(),
            (None, _) => saved.group.clone(),
        }
    };
    for mount in hierarchies.mounts() {
        let (path, own) = (mount.group(&path(mount)), mount.group(&saved.group));
        if own.is_dir() && !path.is_dir() {
            return Err(Error::new(format!(
                "error adding pid to cgroups: open {}/cgroup.procs: no such file or directory",
                path.display()
            )));
        }
    }
    let entry = cgroup::entry(&hierarchies, &path)?;
    Ok(GroupSteps { into: entry.into, join: entry.join, ..GroupSteps::default() })
}

/// Version 2 allows processes in leaves alone: where the container's own init (a systemd, say) has made groups below
/// its own and moved there, the further program goes to where it is.
fn moved(hierarchies: &Hierarchies, saved: &Saved, init: &Init) -> Option<String> {
    let own = hierarchies.v2()?.group(&saved.group);
    let handed_on = fs::read_to_string(own.join("cgroup.subtree_control")).ok()?;
    if handed_on.trim().is_empty() {
        return None;
    }
    let text = fs::read_to_string(format!("/proc/{}/cgroup", init.pid)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// What is done while the program is started.
struct Guest<'a> {
    saved: &'a Saved,
    init: Init,
}

impl Parent for Guest<'_> {
    fn cloned(&mut self, _: i32) -> Result<(), Failure> {
        Ok(())
    }

    fn listener(&mut self, pid: i32, listener: OwnedFd) -> Result<(), Failure> {
        let Some(profile) = prepare::seccomp_of(&self.saved.config) else { return Ok(()) };
        let state = prepare::state(&self.saved.config, &self.saved.id, &self.saved.bundle);
        let state = runtime::state_at(&state, ContainerState::Running, Some(self.init.pid));
        notify::hand_over(profile, &state, pid, listener)
            .map_err(|error| Failure::because("seccomp.notify", self.saved.id.clone(), error.message))
    }
}
