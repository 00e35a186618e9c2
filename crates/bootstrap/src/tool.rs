//! The host's programs: where they are, and what they say.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::Command;

use step::Failure;

use crate::STEP;

/// The program in `$PATH` or where root's programs are.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|place| place.join(name)).find(|path| path.is_file())
}

/// A program that is not there, with the package that has it.
pub(crate) fn missing(name: &str, package: &str) -> Failure {
    Failure::because(STEP, name, "is not there on this machine").hint(format!("apt-get install {package}"))
}

/// Runs it in a mount namespace of its own, which ends with it, and tells each line that it says. What it said last
/// is the failure.
///
/// No standard input: it must not ask.
pub(crate) fn run(command: &mut Command, progress: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |cause: io::Error| Failure::new(STEP, &name, cause);
    let (reader, writer) = io::pipe().map_err(failed)?;
    command.stdin(std::process::Stdio::null());
    command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    // A process is born into the namespaces of the thread that starts it: this one has a mount namespace of its own, and
    // ends.
    let child = std::thread::scope(|scope| {
        let start = || {
            private_mounts()?;
            command.spawn()
        };
        scope.spawn(start).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    // Its writing ends are closed here, so that the lines have an end.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = child.map_err(failed)?;
    let mut said: Vec<String> = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line.map_err(failed)?).trim_end().to_owned();
        progress(&line);
        said.push(line);
        if said.len() > 100 {
            said.remove(0);
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let errors: Vec<&str> = said.iter().filter_map(|line| line.strip_prefix("E: ")).collect();
    let last = said.iter().rev().find(|line| !line.is_empty()).map_or("", String::as_str);
    let reason = if errors.is_empty() { last.to_owned() } else { errors.join("; ") };
    let reason = if reason.is_empty() { format!("ended with {status}") } else { format!("failed: {reason}") };
    Err(Failure::because(STEP, name, reason))
}

fn private_mounts() -> io::Result<()> {
    let flags = rustix::thread::UnshareFlags::NEWNS | rustix::thread::UnshareFlags::FS;
    #[allow(deprecated, reason = "the successor is unsafe for CLONE_FILES alone")]
    rustix::thread::unshare(flags)?;
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change("/", private)?)
}
