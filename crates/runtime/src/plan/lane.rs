//! One list under construction, and what a specification's mounts and devices become in it.

use std::path::{Path, PathBuf};

use oci::spec::Spec;
use step::{Failure, Step, Steps};

use super::facts::Facts;
use super::sources::Source;
use super::{Entry, Point};
use crate::container::{GroupView, Manner};
use crate::launch::NEXT;
use crate::options::Options;
use crate::steps::devices::{Devices, Node};
use crate::steps::mounts::Mounts;
use crate::steps::namespaces::Kind;

/// One list under construction.
#[derive(Debug, Default)]
pub(super) struct Lane(pub(super) Vec<Entry>);

impl Lane {
    pub(super) fn step(&mut self, step: impl Step + 'static) {
        self.0.push(Entry::Do(Box::new(step)));
    }

    pub(super) fn steps(&mut self, steps: Steps) {
        self.0.extend(steps.into_iter().map(Entry::Do));
    }

    pub(super) fn tell(&mut self, point: Point) {
        self.0.push(Entry::Tell(point));
    }

    pub(super) fn wait(&mut self, point: Point) {
        self.0.push(Entry::Await(point));
    }

    pub(super) fn mount(
        &mut self,
        facts: &Facts,
        slot: usize,
        from: &Source,
        manner: &Manner,
        (view, group): (&[GroupView], Option<&Path>),
    ) -> Result<(), Failure> {
        let target = destination(from.mount.destination(), manner)?;
        let (source, mut options) = (from.path.clone(), from.options.clone());
        let slot = if from.is_within() { NEXT } else { slot };
        let slot = from.is_taken().then_some(slot);
        let exact = manner.follows_host;
        let confined = facts.confined;
        if options.remount {
            self.step(Mounts::Remount { target, options });
            return Ok(());
        }
        if let Some(kind) = from.kind() {
            let kind = Some(kind.to_owned());
            self.step(Mounts::Bind { slot, kind, source, target, options, exact, confined });
            return Ok(());
        }
        match from.mount.typ().as_deref().unwrap_or("none") {
            "bind" | "none" | "" => {
                self.step(Mounts::Bind { slot, kind: None, source, target, options, exact, confined })
            }
            _ if options.bind => {
                self.step(Mounts::Bind { slot, kind: None, source, target, options, exact, confined })
            }
            "cgroup" | "cgroup2" if view.is_empty() => match group {
                // Without a cgroup namespace the top of a new mount would be the host's.
                Some(group) if !facts.names.owns(Kind::Cgroup) => {
                    options.data.clear();
                    let source = group.to_owned();
                    self.step(Mounts::Bind {
                        slot: None,
                        kind: None,
                        source,
                        target,
                        options,
                        exact,
                        confined,
                    });
                }
                // Version 2: one file system, whose top is the container's group in its cgroup namespace.
                _ => {
                    let (kind, source) = ("cgroup2".to_owned(), "cgroup".to_owned());
                    options.data.clear();
                    self.step(Mounts::New { kind, source, target, options });
                }
            },
            "cgroup" => self.step(Mounts::Groups { target, view: view.to_vec(), options }),
            kind => {
                // It is filled first: `seals` makes it read-only.
                if manner.follows_host && kind == "tmpfs" {
                    options.set &= !sys::mount::RDONLY;
                }
                let source = source.to_string_lossy().into_owned();
                self.step(Mounts::New { kind: kind.to_owned(), source, target, options });
            }
        }
        Ok(())
    }

    /// What is to be read-only and had to be filled before.
    pub(super) fn seals(&mut self, spec: &Spec) {
        for mount in spec.mounts().iter().flatten() {
            let options = Options::parse(mount.options().as_deref().unwrap_or_default());
            if mount.typ().as_deref() == Some("tmpfs")
                && !options.bind
                && options.set & sys::mount::RDONLY != 0
            {
                let options = Options::parse(&["ro"]);
                let target = Path::new("/").join(mount.destination());
                self.step(Mounts::Remount { target, options });
            }
        }
    }

    /// The OCI runtime specification's default devices and those that were asked for.
    pub(super) fn devices(&mut self, spec: &Spec, confined: bool) {
        let standard = |name: &str, minor: u32| Node {
            path: PathBuf::from(format!("/dev/{name}")),
            kind: 'c',
            number: (if name == "tty" { 5 } else { 1 }, minor),
            mode: 0o666,
            owner: (0, 0),
        };
        let mut nodes: Vec<_> =
            [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9), ("tty", 0)]
                .map(|(name, minor)| standard(name, minor))
                .into();
        let asked = spec.linux().as_ref().and_then(|linux| linux.devices().clone()).unwrap_or_default();
        nodes.extend(asked.iter().map(|device| Node {
            path: device.path().clone(),
            kind: device.typ().as_str().chars().next().unwrap_or('c'),
            number: (device.major() as u32, device.minor() as u32),
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
        }));
        self.step(if confined { Devices::BindNodes(nodes) } else { Devices::Nodes(nodes) });
        let ptmx = spec.mounts().iter().flatten().any(|mount| mount.typ().as_deref() == Some("devpts"));
        self.step(Devices::Links { ptmx });
    }
}

/// Where a mount goes. Other OCI runtimes take a relative destination as one below the root.
fn destination(path: &Path, manner: &Manner) -> Result<PathBuf, Failure> {
    match path.is_absolute() {
        true => Ok(path.to_owned()),
        false if manner.follows_host && path != Path::new("") => Ok(Path::new("/").join(path)),
        false => Err(Failure::because(
            "plan",
            path.display().to_string(),
            "a mount's destination must be absolute",
        )),
    }
}
