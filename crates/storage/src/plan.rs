//! From a source and what was asked for to the steps of a root file system. Reads facts of the host, changes nothing.

use std::path::{Path, PathBuf};

use step::Failure;

use crate::disk::{Disk, Kind};
use crate::disk_steps::{self, Part, Target};
use crate::mask::Owner;
use crate::steps::{Directory, OnDisk, Overlay, Slot, Storage};
use crate::{Options, Places, Rootfs, Source, disk, host, image, source};

/// Plans the root file system of the container `id`. Reads facts of the host and changes nothing.
///
/// # Errors
/// A source that cannot be a root file system, a size that cannot be kept, in words for the user; a host that cannot be
/// read.
pub fn plan(places: &Places, id: &str, source: &Source, options: Options) -> Result<Rootfs, Failure> {
    source::check_id(id)?;
    let container = places.container(id);
    match source {
        Source::Host => {
            let facts = host::Facts::read(places)?;
            plan_host(&container, id, Path::new("/"), &facts, options)
        }
        Source::Directory(path) if options.kind.is_none() => plan_directory(places, path, options),
        Source::Directory(path) | Source::DirectoryOverlay(path) => {
            let path = source::check_directory(places, path)?;
            let part = Part { at: None, lower: vec![path], mask: None };
            Plan { container: &container, id, parts: vec![part], steady_inodes: false, options }.finish()
        }
        Source::Layers(layers) => {
            let lower = source::check_layers(layers)?;
            let part = Part { at: None, lower, mask: None };
            Plan { container: &container, id, parts: vec![part], steady_inodes: false, options }.finish()
        }
    }
}

/// The directory as it is.
fn plan_directory(places: &Places, path: &Path, options: Options) -> Result<Rootfs, Failure> {
    let path = source::check_directory(places, path)?;
    if options.size.is_some() || options.image {
        let option = if options.image { "image" } else { "size" };
        let reason = format!(
            "is used as it is, so that its own file system is the limit, and not --storage-opt {option}"
        );
        return Err(Failure::because("storage.source", path.display().to_string(), reason)
            .hint(format!("a layer over it takes a size: --rootfs {}:overlay", path.display())));
    }
    let tree = Storage::Tree { path: path.clone(), read_only: options.read_only, idmapped: options.idmapped };
    Ok(Rootfs {
        prepare: Vec::new(),
        mount: vec![Box::new(tree)],
        after_attach: Vec::new(),
        lookup: path,
        lookup_below: Vec::new(),
        disk: Disk::AS_IS,
    })
}

/// The view of the host's root `base`; `base` is "/" but in tests.
pub(crate) fn plan_host(
    container: &Path,
    id: &str,
    base: &Path,
    facts: &host::Facts,
    options: Options,
) -> Result<Rootfs, Failure> {
    let part = |(at, mask): (PathBuf, crate::mask::Mask)| {
        let root = at.as_os_str().is_empty();
        Part {
            lower: vec![if root { base.to_owned() } else { base.join(&at) }],
            at: (!root).then_some(at),
            mask: (!mask.entries.is_empty()).then_some(mask),
        }
    };
    let parts = host::plan(base, facts)?.into_iter().map(part).collect();
    Plan { container, id, parts, steady_inodes: true, options }.finish()
}

/// A source taken apart: one file system or several, the root's first.
struct Plan<'a> {
    container: &'a Path,
    id: &'a str,
    parts: Vec<Part>,
    steady_inodes: bool,
    options: Options,
}

impl Plan<'_> {
    fn finish(self) -> Result<Rootfs, Failure> {
        let has_loops = Path::new("/dev/loop-control").exists();
        let facts = disk::Host { has_loops, may_copy: !self.steady_inodes };
        let disk = Disk::choose(self.container, &self.options, facts)?;
        let mut lookup = self.parts.first().map_or_else(Vec::new, |part| part.lower.clone());
        if lookup.is_empty() {
            lookup.push(self.container.join("lower"));
        }
        let mut rootfs = Rootfs {
            prepare: Vec::new(),
            mount: Vec::new(),
            after_attach: Vec::new(),
            lookup: lookup.remove(0),
            lookup_below: lookup,
            disk,
        };
        match rootfs.disk.kind {
            Some(Kind::Loop) => self.loop_image(&mut rootfs),
            Some(Kind::Copy) => self.copy(&mut rootfs),
            _ => self.overlays(&mut rootfs)?,
        }
        Ok(rootfs)
    }

    /// Who owns the directory that the part covers.
    fn owner(part: &Part) -> Result<Owner, Failure> {
        part.lower.first().map_or(Ok(Owner { mode: 0o755, uid: 0, gid: 0 }), |path| source::owner(path))
    }

    fn overlays(self, rootfs: &mut Rootfs) -> Result<(), Failure> {
        let image = rootfs.disk.image().map(|size| (size, Slot::default()));
        let last = self.parts.len().saturating_sub(1);
        if image.is_some() && self.options.idmapped && last > 0 {
            // These are mounted by init, which has no part in the monitor's mounts.
            let reason = "has several file systems, which cannot share an image in a user namespace";
            return Err(Failure::because("storage.disk", "the host", reason)
                .hint("leave out --storage-opt size or --userns, or use --rootfs-kind loop"));
        }
        let (mut own, mut on_disk, mut layers) = (Vec::new(), Vec::new(), Vec::new());
        for mut part in self.parts {
            let owner = Self::owner(&part)?;
            if part.lower.is_empty() {
                // overlayfs wants one at least: an empty one.
                own.push(Directory { name: "lower".to_owned(), owner });
                part.lower.push(self.container.join("lower"));
            }
            let over = part.lower.first().cloned().unwrap_or_default();
            let mut layer = Overlay::new(self.container, part.lower, part.at, self.options);
            layer.steady_inodes = self.steady_inodes;
            on_disk.extend(layer.directories(owner));
            layers.push((over, part.mask, layer));
        }
        let container = self.container.to_owned();
        match &image {
            None => own.append(&mut on_disk),
            Some((size, slot)) => {
                let made = Made { container: &container, size: *size, slot, options: &self.options };
                rootfs
                    .prepare
                    .push(Box::new(Storage::Directories { container: container.clone(), all: own.clone() }));
                made.steps(rootfs, on_disk.clone(), None);
            }
        }
        if image.is_none() {
            let names = own.iter().filter(|one| one.name != "lower").map(|one| one.name.clone()).collect();
            rootfs.prepare.push(Box::new(Storage::Directories { container: container.clone(), all: own }));
            if let Some(size) = rootfs.disk.project() {
                let id = self.id.to_owned();
                rootfs.prepare.push(Box::new(disk_steps::Disk::Project { container, id, names, size }));
            }
        }
        for (index, (over, mask, mut layer)) in layers.into_iter().enumerate() {
            let list = if index > 0 { &mut rootfs.after_attach } else { &mut rootfs.mount };
            if let Some(mask) = mask {
                let slot = Slot::default();
                layer.mask = Some(slot.clone());
                list.push(Box::new(Storage::Mask { mask, over, slot, idmapped: self.options.idmapped }));
            }
            layer.disk = image.as_ref().map(|(_, slot)| OnDisk {
                slot: slot.clone(),
                last: index == last,
                directories: on_disk.clone(),
            });
            list.push(Box::new(Storage::Overlay(layer)));
        }
        Ok(())
    }

    fn loop_image(self, rootfs: &mut Rootfs) {
        let (container, slot) = (self.container.to_owned(), Slot::default());
        let size = rootfs.disk.image().unwrap_or(image::USUAL);
        rootfs.prepare.push(Box::new(Storage::Directories { container, all: Vec::new() }));
        let made = Made { container: self.container, size, slot: &slot, options: &self.options };
        made.steps(rootfs, Vec::new(), Some(self.parts));
        let path = self.container.join(image::NAME);
        let Options { idmapped, volatile, .. } = self.options;
        let root = disk_steps::Disk::Root { disk: slot, path, idmapped, volatile };
        rootfs.mount.push(Box::new(root));
    }

    fn copy(self, rootfs: &mut Rootfs) {
        const NEW: &str = "root.new";
        let container = self.container.to_owned();
        let root = container.join("root");
        if !root.exists() {
            let owner = Owner { mode: 0o700, uid: 0, gid: 0 };
            let all = vec![Directory { name: NEW.to_owned(), owner }];
            rootfs.prepare.push(Box::new(Storage::Directories { container: container.clone(), all }));
            if let Some(size) = rootfs.disk.project() {
                let (id, names) = (self.id.to_owned(), vec![NEW.to_owned()]);
                let container = container.clone();
                rootfs.prepare.push(Box::new(disk_steps::Disk::Project { container, id, names, size }));
            }
            let to = Target::Directory(container.join(NEW));
            let beside = container.clone();
            rootfs.prepare.push(Box::new(disk_steps::Disk::Copy { parts: self.parts, to, beside }));
            let sync = !self.options.volatile;
            let keep = disk_steps::Disk::Keep { container, from: NEW, to: "root", disk: None, sync };
            rootfs.prepare.push(Box::new(keep));
        }
        let Options { read_only, idmapped, .. } = self.options;
        rootfs.mount.push(Box::new(Storage::Tree { path: root, read_only, idmapped }));
    }
}

/// An image that is made, or one that is there, and its mount.
struct Made<'a> {
    container: &'a Path,
    size: u64,
    slot: &'a Slot,
    options: &'a Options,
}

impl Made<'_> {
    /// By the command, which has the host's devices, rather than by init, whose control group may keep it from them. What
    /// is open or mounted is inherited, and every process but init lets go of it when the container has started.
    fn steps(&self, rootfs: &mut Rootfs, directories: Vec<Directory>, parts: Option<Vec<Part>>) {
        let Self { container, slot, .. } = *self;
        let steps = &mut rootfs.prepare;
        let mut add = |step: disk_steps::Disk| steps.push(Box::new(step));
        let (volatile, device) = (self.options.volatile, Slot::default());
        let there = container.join(image::NAME).exists();
        let path = container.join(if there { image::NAME } else { image::NEW });
        if !there {
            let because = rootfs.disk.because.clone();
            add(disk_steps::Disk::Image { path: path.clone(), size: self.size, journal: !volatile, because });
        }
        add(disk_steps::Disk::Loop { path: path.clone(), device: device.clone() });
        add(disk_steps::Disk::Mount { path, device, disk: slot.clone(), directories, volatile });
        if there {
            return;
        }
        let sync = !volatile && parts.is_some();
        if let Some(parts) = parts {
            let beside = container.to_owned();
            add(disk_steps::Disk::Copy { parts, to: Target::Mounted(slot.clone()), beside });
        }
        let (container, disk) = (container.to_owned(), Some(slot.clone()));
        add(disk_steps::Disk::Keep { container, from: image::NEW, to: image::NAME, disk, sync });
    }
}
