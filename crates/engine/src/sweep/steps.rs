//! The steps of repairs that no other room has.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use monitor::Orphan;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use step::{Context, Failure, Shell, Step, quote};

use crate::health::Watch;
use crate::keeper::{Keeper, Start};
use crate::ops::{UNKNOWN, networks, start};
use crate::resolver::Resolver;
use crate::state::{Life, Record, Store};
use crate::steps::Remains;
use crate::{Settings, events, image};

/// Steps of repairs.
#[derive(Debug)]
pub(crate) enum SweepStep {
    /// A container that runs gets a new monitor, which keeps the lock.
    Adopt { settings: Settings, record: Box<Record>, pid: i32, lock: OwnedFd },
    /// Its first process ends.
    Kill { pid: i32 },
    /// That nobody saw its end is written down and told.
    Lost { settings: Settings, record: Box<Record>, life: Box<Life> },
    /// That it is gone is told.
    Gone { settings: Settings, record: Box<Record> },
    /// Its restart policy starts it.
    Again { settings: Settings, id: String },
    /// A file, or a directory with all that is in it.
    Remove { path: PathBuf },
    /// A symbolic link, if it still says this.
    Unlink { path: PathBuf, text: String },
    /// A mount of the host's.
    Unmount { path: PathBuf },
    /// A kept container's name.
    Name { store: Store, name: String, id: String },
    /// An address, a link, a bridge.
    Network { settings: network::Settings, left: network::Leftover },
    /// The way out of a container that runs, and where its ports lead.
    WayOut { settings: Settings, id: String },
    /// The rules of the network.
    Rules { settings: network::Settings },
    /// Bridge and rules of an engine that was for a while only.
    TakeDown { settings: network::Settings },
    /// What was cut short at the end of a file: it ends before.
    Cut { path: PathBuf, end: u64 },
    /// What was cut short at the end of the events.
    Events { run_root: PathBuf },
}

impl Step for SweepStep {
    fn id(&self) -> &'static str {
        match self {
            Self::Adopt { .. } => "monitor.adopt",
            Self::Kill { .. } => "sweep.kill",
            Self::Lost { .. } => "state.life",
            Self::Gone { .. } => "event.destroy",
            Self::Again { .. } => "monitor.again",
            Self::Remove { .. } => "sweep.remove",
            Self::Unlink { .. } => "sweep.unlink",
            Self::Unmount { .. } => "sweep.unmount",
            Self::Name { .. } => "state.name",
            Self::Network { .. } | Self::TakeDown { .. } => "network.remove",
            Self::WayOut { .. } => "network.way-out",
            Self::Rules { .. } => "network.rules",
            Self::Cut { .. } => "sweep.cut",
            Self::Events { .. } => "event.mend",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Adopt { pid, .. } => format!("pidfd_open({pid}), fork"),
            Self::Kill { pid } => format!("pidfd_send_signal(<{pid}>, SIGKILL)"),
            Self::Lost { record, .. } => format!("write(\"{}/life.json\")", &record.id[..12]),
            Self::Gone { record, .. } => format!("append(<destroy of {}>)", &record.id[..12]),
            Self::Again { id, .. } => format!("start {}", &id[..12]),
            Self::Remove { path } => format!("unlinkat of \"{}\" and all in it", path.display()),
            Self::Unlink { path, text } => format!("unlink(\"{}\" -> \"{text}\")", path.display()),
            Self::Unmount { path } => format!("umount2(\"{}\", MNT_DETACH)", path.display()),
            Self::Name { name, id, .. } => format!("symlink(\"{id}\", \"names/{name}\")"),
            Self::Network { left, .. } => match left {
                network::Leftover::Link { name, .. } | network::Leftover::Bridge { name } => {
                    format!("sendto({{RTM_DELLINK, {name}}})")
                }
                network::Leftover::Reservation { network, address, .. } => {
                    format!("unlink(\"addresses/{network}/{address}\")")
                }
                network::Leftover::Ports { id, .. } => {
                    format!(
                        "sendto(netlink, {{NFT_MSG_DELSETELEM <ports of {}>}})",
                        id.get(..12).unwrap_or(id)
                    )
                }
                network::Leftover::Network { network, bridge } => {
                    format!("rmdir(\"addresses/{network}\"), sendto({{RTM_DELLINK, {bridge}}})")
                }
            },
            Self::WayOut { id, .. } => {
                format!("sendto(netlink, RTM_NEWROUTE {{default}}) in the namespace of {}", &id[..12])
            }
            Self::Rules { .. } => "sendto(netlink, {NFT_MSG_NEWTABLE, … of all that is reserved})".to_owned(),
            Self::TakeDown { settings } => format!(
                "sendto({{RTM_DELLINK, {}}}), sendto(netlink, {{NFT_MSG_DELTABLE {}}})",
                settings.bridge,
                network::table_name(settings)
            ),
            Self::Cut { path, end } => format!("ftruncate(\"{}\", {end})", path.display()),
            Self::Events { run_root } => format!("append(\"{}/events/log\", \"\\n\")", run_root.display()),
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Adopt { .. } => {
                "a container that lives on by itself needs somebody who reads what it prints"
            }
            Self::Kill { .. } => "its monitor is gone, and it was to end with it",
            Self::Lost { .. } => "a record that says nothing of its end would be taken for one that runs",
            Self::Gone { .. } => "who follows events wants to know",
            Self::Again { .. } => "its restart policy wants it to run",
            Self::Remove { .. } => "nobody can name it any more",
            Self::Unlink { .. } => "what it points at is gone",
            Self::Unmount { .. } => "the container that it was made for is gone",
            Self::Name { .. } => "its record says that it has this name",
            Self::Network { .. } => "the container that had it is gone",
            Self::TakeDown { .. } => "the engine that made them is gone",
            Self::WayOut { .. } => "it may lead over the link that goes",
            Self::Rules { .. } => "another tool has changed them",
            Self::Cut { .. } | Self::Events { .. } => "what comes next would be taken for a part of it",
        })
    }

    fn shell(&self) -> Shell {
        match self {
            Self::Kill { pid } => Shell::line(format!("kill -9 {pid}")),
            Self::Remove { path } => Shell::line(format!("rm -rf {}", quote(&path.to_string_lossy()))),
            Self::Unlink { path, .. } => Shell::line(format!("rm {}", quote(&path.to_string_lossy()))),
            Self::Cut { path, end } => {
                Shell::line(format!("truncate -s {end} {}", quote(&path.to_string_lossy())))
            }
            Self::Unmount { path } => Shell::line(format!("umount -l {}", quote(&path.to_string_lossy()))),
            _ => Shell::Nothing("the script leaves nothing behind"),
        }
    }

    fn perform(&self, _: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Adopt { settings, record, pid, lock } => self.adopt(settings, record, *pid, lock),
            Self::Kill { pid } => {
                if let Some(pidfd) = open_pid(*pid) {
                    let _ = sys::signal::send(&pidfd, 9);
                }
                Ok(())
            }
            Self::Lost { settings, record, life } => {
                let store = Store::new(settings);
                store.write_life(record, life, true)?;
                store.keep_health(record);
                events::container(settings, record, "die", &[("exitCode", &UNKNOWN.to_string())]);
                Ok(())
            }
            Self::Gone { settings, record } => {
                events::container(settings, record, "destroy", &[]);
                Ok(())
            }
            Self::Again { settings, id } => start::start_swept(settings, &Store::new(settings), id)
                .map_err(|error| Failure::because(self.id(), id[..12].to_owned(), error.message)),
            Self::Remove { path } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                path.parent().map_or(Ok(()), |parent| storage::remove_directory(parent, &name))
            }
            Self::Unlink { path, text } => match rustix::fs::readlink(path, Vec::new()) {
                Ok(found) if found.to_bytes() == text.as_bytes() => {
                    rustix::fs::unlink(path).map_err(|errno| self.failed(path.to_string_lossy(), errno))
                }
                _ => Ok(()),
            },
            Self::Unmount { path } => match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                // No mount point any more.
                Err(Errno::INVAL | Errno::NOENT) | Ok(()) => Ok(()),
                Err(errno) => Err(self.failed(path.to_string_lossy(), errno)),
            },
            Self::Name { store, name, id } => match store.take_name(name, id)? {
                Err(other) if other != *id => {
                    let reason = format!("container {} has it", other.get(..12).unwrap_or(&other));
                    Err(Failure::because(self.id(), name.as_str(), reason))
                }
                _ => Ok(()),
            },
            Self::Network { settings, left } => network::remove(settings, left)
                .map_err(|error| Failure::because(self.id(), self.call(), error.to_string())),
            Self::WayOut { settings, id } => self.lead_out(settings, id),
            Self::Rules { settings } => network::repair_rules(settings),
            Self::TakeDown { settings } => network::take_down(settings)
                .map_err(|error| Failure::because(self.id(), self.call(), error.to_string())),
            Self::Cut { path, end } => {
                let file = std::fs::OpenOptions::new().write(true).open(path);
                file.and_then(|file| file.set_len(*end))
                    .map_err(|error| self.failed(path.to_string_lossy(), error))
            }
            Self::Events { run_root } => events::mend(run_root)
                .map_err(|errno| self.failed(run_root.join("events/log").to_string_lossy(), errno)),
        }
    }
}

/// By then a half-made container has followed its monitor.
const ENDED: Duration = Duration::from_millis(20);

impl SweepStep {
    fn lead_out(&self, settings: &Settings, id: &str) -> Result<(), Failure> {
        let store = Store::new(settings);
        let record = || store.record(id).ok().flatten();
        // Who changes its networks right now leads it out himself.
        let Some(_writing) = record().and_then(|record| store.try_lock_record(&record)) else {
            return Ok(());
        };
        let told = |message: String| Failure::because(self.id(), &id[..12], message);
        let living = networks::living(&store, id).map_err(|error| told(error.message))?;
        let Some((record, living)) = record().zip(living) else { return Ok(()) };
        network::mend(&settings.network(), &living.namespace, id, &record.networks)
            .map_err(|error| told(error.to_string()))
    }

    fn adopt(&self, settings: &Settings, record: &Record, pid: i32, lock: &OwnedFd) -> Result<(), Failure> {
        let (store, id) = (Store::new(settings), record.id.as_str());
        let Some(pidfd) = open_pid(pid) else { return Ok(()) };
        // It may have ended, and its number may mean another by now: the next command takes it down.
        if store.living_init(id) != Some(pid) {
            return Ok(());
        }
        if !store.is_ready(id) {
            // Its monitor was killed before it noted that; or while it made it, and then the kernel is about to end it too: a
            // dying process lets go of its locks first.
            std::thread::sleep(ENDED);
            if store.living_init(id) != Some(pid) {
                return Ok(());
            }
            store.write_ready(id)?;
        }
        let dir = store.run_dir(id);
        let pipe = |name| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::openat(CWD, dir.join(name), flags, Mode::empty()).ok()
        };
        let output = [pipe("stdout"), pipe("stderr")];
        let source = image::source(settings, record)?;
        let life = store.life(id)?.filter(|life| life.ended.is_none());
        let lock = lock.try_clone().map_err(|error| self.failed(&id[..12], error))?;
        let mut keeper = Keeper::new(settings, record.clone(), source, Remains::of(record), lock);
        keeper.life = life.unwrap_or_else(|| first_life(record));
        keeper.health = Watch::resume(&store, record, keeper.life.started);
        keeper.resolver = Resolver::resume(settings, record, pid);
        (keeper.start, keeper.apart) = (Start::Again, true);
        monitor::adopt(Orphan { pid, pidfd, output, socket: dir }, keeper)
    }
}

/// The life of a container that was started once, of which nothing was written down.
pub(super) fn first_life(record: &Record) -> Life {
    Life { starts: 1, started: record.created, ..Life::default() }
}

fn open_pid(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}
