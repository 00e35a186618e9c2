//! Other programs that start the same `true`, where they are installed: for orientation, not for a verdict. None of
//! them does exactly the same work; docs/benchmarks.md says what each leaves out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::world::World;
use crate::process;

/// One row of the table.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) command: Command,
    /// Left out, with a word, where its first start fails.
    pub(crate) optional: bool,
}

impl Peer {
    pub(crate) fn new(name: &str, command: Command) -> Self {
        Self { name: name.to_owned(), command, optional: false }
    }

    fn optional(name: &str, program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self { name: name.to_owned(), command, optional: true }
    }
}

/// An image that was made for the comparison and goes when this is dropped.
pub(crate) struct Images(Option<PathBuf>);

const IMAGE: &str = "minidocker-bench-true";

impl Drop for Images {
    fn drop(&mut self) {
        if let Some(docker) = &self.0
            && let Err(error) = process::output(Command::new(docker).args(["rmi", "-f", IMAGE]))
        {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Adds a row for each program that is installed.
pub(crate) fn add(world: &World, rows: &mut Vec<Peer>) -> Result<Images> {
    let rootfs = world.rootfs.to_string_lossy().into_owned();
    if let Some(program) = process::find("unshare") {
        let namespaces = "--fork --pid --mount --uts --ipc --net --cgroup chroot";
        let mut words: Vec<&str> = namespaces.split(' ').collect();
        words.extend([rootfs.as_str(), "/true"]);
        rows.push(Peer::optional("unshare, chroot", &program, &words));
    }
    if let Some(program) = process::find("bwrap") {
        let words = ["--unshare-all", "--bind", &rootfs, "/", "--proc", "/proc", "--dev", "/dev", "/true"];
        rows.push(Peer::optional("bwrap", &program, &words));
    }
    for name in ["runc", "crun"] {
        if let Some(program) = process::find(name) {
            let bundle = bundle(world, name, &program)?.to_string_lossy().into_owned();
            let id = format!("minidocker-bench-{}", std::process::id());
            rows.push(Peer::optional(&format!("{name} run"), &program, &["run", "-b", &bundle, &id]));
        }
    }
    let limits = "--memory 64m --memory-swap 64m --cpus 1 --cpuset-cpus 0 --pids-limit 64 --cpu-shares 512";
    let run: Vec<&str> = ["run", "--rm"].into_iter().chain(limits.split(' ')).collect();
    if let Some(program) = process::find("podman") {
        let overlay = format!("{rootfs}:O");
        let words: Vec<&str> = run.iter().copied().chain(["--rootfs", &overlay, "/true"]).collect();
        rows.push(Peer::optional("podman run --rm", &program, &words));
    }
    let mut images = Images(None);
    if let Some(program) = process::find("docker") {
        match import(world, &program) {
            Ok(()) => {
                images.0 = Some(program.clone());
                let words: Vec<&str> = run.into_iter().chain([IMAGE, "/true"]).collect();
                rows.push(Peer::optional("docker run --rm", &program, &words));
            }
            Err(error) => eprintln!("docker run --rm: left out, {error:#}"),
        }
    }
    Ok(images)
}

/// An OCI bundle from the runtime's own template, with the command, the root and the limits of the others.
fn bundle(world: &World, name: &str, program: &Path) -> Result<PathBuf> {
    let bundle = world.directory().join(format!("bundle-{name}"));
    fs::create_dir(&bundle)?;
    process::output(Command::new(program).args(["spec", "-b"]).arg(&bundle))?;
    let path = bundle.join("config.json");
    let mut config: Value =
        serde_json::from_slice(&fs::read(&path)?).with_context(|| format!("{name} spec"))?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/true"]);
    config["root"] = json!({ "path": world.rootfs });
    config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20, "swap": 64 << 20 });
    config["linux"]["resources"]["cpu"] =
        json!({ "quota": 100_000, "period": 100_000, "shares": 512, "cpus": "0" });
    config["linux"]["resources"]["pids"] = json!({ "limit": 64 });
    fs::write(&path, config.to_string())?;
    Ok(bundle)
}

/// Gives the daemon an image of the same root file system.
fn import(world: &World, docker: &Path) -> Result<()> {
    let archive = world.directory().join("rootfs.tar");
    process::output(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&world.rootfs).arg("."))?;
    process::output(Command::new(docker).arg("import").arg(&archive).arg(IMAGE)).map(drop)
}
