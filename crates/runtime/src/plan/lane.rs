//! One list under construction, and what a specification's mounts and devices become in it.

use std::path::PathBuf;

use oci::spec::{Mount, Spec};
use step::{Failure, Step, Steps};

use super::{Entry, Point};
use crate::container::GroupView;
use crate::options::Options;
use crate::steps::devices::{Devices, Node};
use crate::steps::mounts::Mounts;

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

    pub(super) fn mount(&mut self, mount: &Mount, view: &[GroupView]) -> Result<(), Failure> {
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        let target = mount.destination().clone();
        if !target.is_absolute() {
            return Err(Failure::because(
                "plan",
                target.display().to_string(),
                "a mount's destination must be absolute",
            ));
        }
        let source = mount.source().clone().unwrap_or_default();
        match mount.typ().as_deref().unwrap_or("none") {
            "bind" | "none" => self.step(Mounts::Bind { source, target, options }),
            _ if options.bind => self.step(Mounts::Bind { source, target, options }),
            "cgroup" if view.is_empty() => {
                // Version 2: one file system, whose top is the container's group in its cgroup namespace.
                let (kind, source) = ("cgroup2".to_owned(), "cgroup".to_owned());
                self.step(Mounts::New { kind, source, target, options });
            }
            "cgroup" => self.step(Mounts::Groups { target, view: view.to_vec(), options }),
            kind => {
                let source = source.to_string_lossy().into_owned();
                self.step(Mounts::New { kind: kind.to_owned(), source, target, options });
            }
        }
        Ok(())
    }

    /// The OCI runtime specification's default devices and those that were asked for.
    pub(super) fn devices(&mut self, spec: &Spec, own_user: bool) {
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
        self.step(if own_user { Devices::BindNodes(nodes) } else { Devices::Nodes(nodes) });
        let ptmx = spec.mounts().iter().flatten().any(|mount| mount.typ().as_deref() == Some("devpts"));
        self.step(Devices::Links { ptmx });
    }
}
