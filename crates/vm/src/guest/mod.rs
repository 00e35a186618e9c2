//! The guest's side: this program as the init of a machine. It mounts, starts the command, carries its streams and
//! signals, takes in orphans, tells the exit code, and switches the machine off.

mod carry;
mod command;
mod modules;
mod network;
mod root;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use rustix::system::RebootCommand;
use rustix::time::ClockId;
use step::Failure;

use crate::frame::{self, Kind};
use crate::settings::{Refusal, Settings};
use crate::timings::{Mark, Point};
use carry::Port;

/// Where the initramfs has what init is told.
pub(crate) const SETTINGS: &str = "/minidocker-vm.json";

/// Whether this process is the init of such a machine: the first process, called `/init`, with settings beside it. A
/// container's first process may be called so too; it has no settings.
#[must_use]
pub fn is_init(name: Option<&OsString>) -> bool {
    name.is_some_and(|name| name == "/init") && std::process::id() == 1 && Path::new(SETTINGS).exists()
}

/// Does all of it, and switches the machine off.
pub fn main() -> ! {
    let mut marks = vec![(Point::Init, now())];
    let error = match boot(&mut marks) {
        Ok((mut port, settings)) => {
            let refusal = begin(&mut port, &settings).err();
            if let Some(refusal) = refusal {
                flush(&settings);
                let body = serde_json::to_vec(&refusal).unwrap_or_default();
                port.finish(Kind::Failed, &body);
            }
            None
        }
        Err(failure) => Some(failure),
    };
    if let Some(failure) = error {
        // The console is all there is.
        println!("minidocker: {failure}");
    }
    // Nothing of the disk is kept: it is not synchronised.
    let _ = rustix::system::reboot(RebootCommand::PowerOff);
    let _ = rustix::system::reboot(RebootCommand::Restart);
    loop {
        std::thread::park();
    }
}

/// Nanoseconds of CLOCK_BOOTTIME.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Until there is a port to speak by.
fn boot(marks: &mut Vec<(Point, u64)>) -> Result<(Port, Settings), Failure> {
    const STEP: &str = "vm.init";
    let text = fs::read(SETTINGS).map_err(|cause| Failure::new(STEP, SETTINGS, cause))?;
    let settings: Settings = serde_json::from_slice(&text)
        .map_err(|error| Failure::because(STEP, SETTINGS, format!("is not understood: {error}")))?;
    root::mount_kernels()?;
    modules::load(&settings.modules)?;
    let mut port = Port::open()?;
    marks.push((Point::Modules, now()));
    for (point, time) in marks.iter() {
        mark(&mut port, *point, *time);
    }
    Ok((port, settings))
}

/// Tells the host at once.
fn mark(port: &mut Port, point: Point, guest: u64) {
    let mark = Mark { point, guest, sent: now() };
    if let Ok(body) = serde_json::to_vec(&mark) {
        port.send_now(Kind::Mark, &body);
    }
}

/// From the port to the command's end.
fn begin(port: &mut Port, settings: &Settings) -> Result<(), Refusal> {
    let other = |failure: Failure| Refusal { failure, code: 125 };
    root::build(settings).map_err(other)?;
    root::enter(settings).map_err(other)?;
    network::set_up(settings).map_err(other)?;
    mark(port, Point::Root, now());
    let started = command::start(settings)?;
    mark(port, Point::Command, now());
    let code = carry::carry(port, started).map_err(other)?;
    mark(port, Point::Ended, now());
    // Before the end is told: the host does not wait for ever for a machine that has told it.
    flush(settings);
    port.finish(Kind::Exit, &u32::from(code).to_le_bytes());
    Ok(())
}

/// What programs have mapped of the shares and changed.
fn flush(settings: &Settings) {
    for share in settings.shares.iter().filter(|share| !share.read_only) {
        if let Ok(directory) = fs::File::open(&share.at) {
            let _ = rustix::fs::syncfs(&directory);
        }
    }
}

/// Appends a frame to what the port is to send.
fn put(to: &mut Vec<u8>, kind: Kind, body: &[u8]) {
    frame::put(to, kind, body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_of_a_machine_is_its_init() {
        assert!(!is_init(Some(&OsString::from("/init"))));
        assert!(!is_init(None));
    }
}
