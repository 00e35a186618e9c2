//! Debian and Ubuntu by debootstrap(8).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use step::Failure;

use crate::{Distribution, Options, STEP, apt, clean, tool};

/// Where debootstrap keeps what it knows of suites.
const SCRIPTS: &str = "/usr/share/debootstrap/scripts";

/// Makes the tree; the mirror that was taken.
pub(crate) fn make(
    distribution: &Distribution,
    options: &Options,
    into: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<String, Failure> {
    let Distribution { suite, mirror, family, variant, components, packages, keyring, script, .. } =
        *distribution;
    let program = tool::find("debootstrap").ok_or_else(|| tool::missing("debootstrap", "debootstrap"))?;
    let (keys, package) = keyring;
    if !Path::new(keys).exists() {
        // Without keys debootstrap goes on and trusts whoever answers.
        return Err(tool::missing(keys, package));
    }
    let suites: Vec<&str> = [suite].into_iter().chain(family.iter().copied()).collect();
    let mirror = options
        .mirror
        .clone()
        .or_else(|| apt::mirror(Path::new("/etc/apt"), &suites))
        .unwrap_or_else(|| mirror.to_owned());
    let mut command = Command::new(program);
    command.arg(format!("--variant={variant}")).arg(format!("--components={}", components.join(",")));
    command.arg(format!("--keyring={keys}")).arg("--force-check-gpg");
    if !packages.is_empty() {
        command.arg(format!("--include={}", packages.join(",")));
    }
    command.arg(suite).arg(into).arg(&mirror);
    let scripts = Path::new(SCRIPTS);
    if !scripts.join(suite).exists() && scripts.join(script).exists() {
        command.arg(scripts.join(script));
    }
    command.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
    if let Some(proxy) = apt::proxy() {
        command.env("http_proxy", proxy);
    }
    if let Some(epoch) = options.epoch {
        command.env("SOURCE_DATE_EPOCH", epoch.to_string());
    }
    progress(&format!("debootstrap of {suite} from {mirror}"));
    tool::run(&mut command, progress).map_err(|failure| {
        if options.mirror.is_none() {
            failure.hint(format!("{mirror} was asked; another mirror is named by --mirror URL"))
        } else {
            failure
        }
    })?;
    Ok(mirror)
}

/// Gives it the archive's other suites, and keeps packages that are installed in a container from starting services.
pub(crate) fn settle(distribution: &Distribution, mirror: &str, into: &Path) -> Result<(), Failure> {
    let Distribution { suite, components, updates, .. } = *distribution;
    let components = components.join(" ");
    let mut sources = format!("deb {mirror} {suite} {components}\n");
    for (suffix, place) in updates {
        let uri = match place {
            None => mirror.to_owned(),
            // A mirror of another shape may not have it.
            Some(place) => match mirror.rsplit_once('/') {
                Some((before, "debian")) => format!("{before}/{place}"),
                _ => continue,
            },
        };
        sources.push_str(&format!("deb {uri} {suite}{suffix} {components}\n"));
    }
    write(into, "etc/apt", "sources.list", &sources, 0o644)?;
    // invoke-rc.d(8): 101 is "forbidden".
    write(into, "usr/sbin", "policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
}

fn write(root: &Path, directory: &str, name: &str, text: &str, mode: u32) -> Result<(), Failure> {
    let failed = |cause| Failure::new(STEP, format!("{directory}/{name}"), cause);
    let Some(directory) = clean::inside(root, directory)? else { return Ok(()) };
    let path = directory.path().join(name);
    fs::write(&path, text).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(failed)
}
