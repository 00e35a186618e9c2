//! What `vm run` and `bench` leave when they are killed. A machine itself leaves nothing: QEMU and the daemons of its
//! trees end with the command, disks and sockets have no names. What has one: disks of images, half of one, a socket's
//! directory for a moment; and the groups, directories and the bridge of a bench.

use std::path::Path;
use std::time::Duration;

use cgroup::{Group, Hierarchies};
use images::Images;
use network::Leftover;
use step::Failure;

use super::files::{HALF, free};
use super::finding::Finding;
use super::records::names_in;
use super::steps::SweepStep;
use crate::Settings;
use crate::state::Store;
use crate::steps::EngineStep;

/// The bridge of a bench.
const BRIDGE: &str = "mdlab0";

/// A socket of a machine's daemon has a name until it is connected to.
const MOMENT: Duration = Duration::from_secs(60);

/// Disks of images that are gone, halves of such disks, directories of sockets.
pub(super) fn disks(settings: &Settings, _: &Store) -> Result<Vec<Finding>, Failure> {
    let mut found = Vec::new();
    let all = storage::machine::directory(&settings.places());
    let names = names_in(&all);
    let known: Vec<String> = if names.is_empty() {
        Vec::new()
    } else {
        Images::open(&settings.root)?.list()?.iter().map(|image| image.id.hex().to_string()).collect()
    };
    for name in names {
        let directory = all.join(&name);
        // Who makes the disk holds this.
        let Some(lock) = free(&directory.join("lock")) else { continue };
        let half = directory.join("disk.new");
        if !known.contains(&name) {
            let gone = Finding::at("machine's disk", &directory, "its image is gone");
            found.push(gone.removal(&directory).held(lock));
        } else if half.exists() {
            found.push(Finding::at("half a file", &half, HALF).removal(&half).held(lock));
        }
    }
    let temporary = std::env::temp_dir();
    for name in names_in(&temporary) {
        let path = temporary.join(&name);
        let old = || path.metadata().and_then(|meta| meta.modified()).is_ok_and(|time| is_over(time, MOMENT));
        if is_sockets(&name) && path.is_dir() && old() {
            let why = "the machine whose daemon listened here was killed";
            found.push(Finding::at("directory", &path, why).removal(&path));
        }
    }
    Ok(found)
}

/// `minidocker-vm-` and sixteen digits.
fn is_sockets(name: &str) -> bool {
    let digits = name.strip_prefix("minidocker-vm-").unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn is_over(time: std::time::SystemTime, age: Duration) -> bool {
    time.elapsed().is_ok_and(|passed| passed > age)
}

/// Groups of a bench that is gone, with whatever runs in them; and where the usual engine looks, which is one for the
/// machine as the bench is, its directories and its bridge.
pub(super) fn benches(settings: &Settings, _: &Store) -> Result<Vec<Finding>, Failure> {
    let mut found = Vec::new();
    let hierarchies = Hierarchies::probe()?;
    let parent = settings.cgroup_parent.trim_end_matches('/');
    let above = if parent.is_empty() { "/" } else { parent };
    for name in cgroup::below(&hierarchies, above)? {
        let Some(pid) = name.strip_prefix("lab-").and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if Path::new(&format!("/proc/{pid}")).exists() {
            continue;
        }
        let path = format!("{parent}/{name}");
        let busy = Group::open(&hierarchies, &path)?.processes().len();
        let why = match busy {
            0 => "the bench that made it is gone".to_owned(),
            1 => "the bench that made it is gone, and a process runs in it".to_owned(),
            busy => format!("the bench that made it is gone, and {busy} processes run in it"),
        };
        let remedy = if busy == 0 { "remove it" } else { "end them and remove it" };
        let step = EngineStep::RemoveGroup { path: path.clone(), kill: true };
        found.push(Finding::new("control group", path, why).step(remedy, step));
    }
    if settings.run_root != Settings::default().run_root {
        return Ok(found);
    }
    // One bench runs at a time, and holds this.
    let Some(lock) = free(Path::new("/run/minidocker-lab.lock")) else { return Ok(found) };
    let why = "the bench that used it is gone";
    let run = Path::new("/run/minidocker-lab");
    if run.exists() {
        let held = lock.try_clone().ok();
        let mut left = Finding { held, ..Finding::at("directory", run, why).removal(run) };
        for name in names_in(run) {
            let run_dir = run.join(name);
            // Another engine's directory may be mounted in one of them; each is the run state of an engine of ours.
            left.repair.insert(0, Box::new(SweepStep::Unmount { path: run_dir.join("e") }));
            let settings = network::Settings { run_dir, bridge: BRIDGE.to_owned(), ..settings.network() };
            left.repair.insert(0, Box::new(SweepStep::TakeDown { settings }));
        }
        found.push(left);
    }
    if Path::new("/sys/class/net").join(BRIDGE).exists() {
        let left = Leftover::Bridge { name: BRIDGE.to_owned() };
        let step = SweepStep::Network { settings: settings.network(), left };
        found.push(Finding::new("bridge", BRIDGE, why).step("remove it", step).held(lock));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_daemons_sockets_are_ours() {
        assert!(is_sockets("minidocker-vm-0123456789abcdef"));
        for other in ["minidocker-vm-", "minidocker-vm-packed-12", "minidocker-vm-0123456789abcdeg", "tmp"] {
            assert!(!is_sockets(other), "{other}");
        }
    }
}
