//! What `--debug` tells: the steps as they were taken, in words that people know from runc's log.

use std::fmt::Write as _;

use cgroup::limits::parse_list;
use oci::spec::Process;
use runtime::Plan;
use step::{Actor, Trace};

use crate::Settings;

/// A trace that is kept where somebody reads it.
pub(crate) fn trace(settings: &Settings) -> Trace {
    Trace::new(Actor::Monitor, settings.debug.is_some())
}

/// Tells the plan before it is performed.
pub(crate) fn planned(settings: &Settings, plan: &Plan, process: Option<&Process>) {
    let Some(debug) = settings.debug else { return };
    if crate::guard::is_read_only() {
        let name = own_name();
        if crate::guard::is_over() {
            debug(&format!("{name} exeseal: using overlayfs for sealed /proc/self/exe"));
        }
        debug(&format!("{name} exeseal: using /proc/self/exe clone"));
    }
    debug(&format!("nsexec container setup: {} steps are planned", plan.records().len()));
    let initial =
        process.and_then(|process| process.exec_cpu_affinity().clone()).and_then(|all| all.initial().clone());
    if let Some(mask) = initial.and_then(|list| mask(&list)) {
        debug(&format!("nsexec: affinity: {mask}"));
    }
    if let Some(flags) = plan.filter_flags() {
        let own = sys::seccomp::Flags::TSYNC.bits() | sys::seccomp::Flags::NEW_LISTENER.bits();
        debug(&format!("seccomp filter flags: {}", flags & !own));
    }
    debug("child process in init()");
}

/// Tells what was done.
pub(crate) fn performed(settings: &Settings, plan: &Plan, trace: &mut Trace) {
    let Some(debug) = settings.debug else { return };
    for record in trace.take() {
        let took = record.took.map_or(String::new(), |took| format!(" ({} us)", took.as_micros()));
        debug(&format!("{}: {}{took}", record.step, record.call));
    }
    let name = plan.program.args.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    debug("init: closing the pipe to signal completion");
    debug(&format!("setns_init: about to exec {name:?}"));
}

/// The name that this program was called by.
fn own_name() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A list of processors as the kernel prints a mask.
fn mask(list: &str) -> Option<String> {
    let ranges = parse_list(list)?;
    let mut bits: Vec<u64> = Vec::new();
    for cpu in ranges.into_iter().flat_map(|(first, last)| first..=last) {
        let word = (cpu / 64) as usize;
        bits.resize(bits.len().max(word + 1), 0);
        bits[word] |= 1 << (cpu % 64);
    }
    let mut text = format!("{:#x}", bits.pop()?);
    for word in bits.iter().rev() {
        let _ = write!(text, "{word:016x}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn masks() {
        assert_eq!(super::mask("0-1,3").unwrap(), "0xb");
        assert_eq!(super::mask("64").unwrap(), "0x10000000000000000");
    }
}
