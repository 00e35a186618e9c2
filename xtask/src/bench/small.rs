//! The image that builds and containers begin with: busybox and the few names of it that they use, in an archive that
//! every engine loads; and the Dockerfile that is built of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::process;

/// Its name.
pub(super) const NAME: &str = "localhost/bench-small:1";

/// What busybox is called in it.
const APPLETS: [&str; 5] = ["sh", "sleep", "tar", "gunzip", "true"];

/// Writes the image into `archive`, a file in an empty directory of its own, in the form of `docker save`.
pub(super) fn write(archive: &Path) -> Result<()> {
    let work = archive.parent().context("the archive lies in a directory")?;
    let (tree, parts) = (work.join("tree"), work.join("parts"));
    for directory in [&tree.join("bin"), &tree.join("tmp"), &tree.join("etc"), &parts] {
        fs::create_dir_all(directory)?;
    }
    let busybox = process::find("busybox").context("there is no busybox: `cargo xtask setup` installs it")?;
    fs::copy(busybox, tree.join("bin/busybox"))?;
    fs::set_permissions(tree.join("bin/busybox"), Permissions::from_mode(0o755))?;
    for name in APPLETS {
        symlink("busybox", tree.join("bin").join(name))?;
    }
    pack(&tree, &parts.join("layer.tar"))?;
    let said = process::output(Command::new("sha256sum").arg(parts.join("layer.tar")))?;
    let digest = String::from_utf8_lossy(&said.stdout[..64]).into_owned();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "busybox"}],
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]);
    fs::write(parts.join("config.json"), config.to_string())?;
    fs::write(parts.join("manifest.json"), manifest.to_string())?;
    pack(&parts, archive)
}

fn pack(directory: &Path, archive: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--owner=0", "--group=0", "--sort=name", "-cf"]).arg(archive).arg("-C").arg(directory);
    process::output(command.arg(".")).map(drop)
}

/// Makes a directory to build from, with so many RUN steps.
pub(super) fn context(directory: &Path, steps: u32) -> Result<()> {
    let steps: String = (1..=steps).map(|step| format!("RUN echo {step} > /tmp/{step}\n")).collect();
    fs::create_dir(directory)?;
    Ok(fs::write(directory.join("Dockerfile"), format!("FROM {NAME}\n{steps}"))?)
}
