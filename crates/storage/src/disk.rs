//! Where a container's files lie and what bounds them: chosen once from what was asked for and what the host has, and
//! told to whoever asks.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use step::Failure;

use crate::image::{self, Usage};
use crate::{Options, Places, ext4, overlay, project, source};

const STEP: &str = "storage.disk";

/// How a container keeps what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A layer over the source, which is shared: a file is copied when it is written first.
    Overlay,
    /// All of the source in an ext4 of the container's own, in a file on a loop device.
    Loop,
    /// All of the source in a directory of the container's own.
    Copy,
}

impl Kind {
    /// As `--rootfs-kind` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Loop => "loop",
            Self::Copy => "copy",
        }
    }
}

/// What holds a container to its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// A quota of the file system that the container's directory is on, by a project of its own.
    Project,
    /// The size of an ext4 in a file of the container's directory.
    Image,
}

/// What the choice depends on besides the file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    /// There are loop devices.
    pub(crate) has_loops: bool,
    /// The source is one that nobody minds to have copied without a word: not a whole machine.
    pub(crate) may_copy: bool,
}

/// What was chosen. Shown as a line for the user: `overlay of at most 10 GiB, in an ext4 image on a loop device`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// None where a directory is used as it is.
    pub kind: Option<Kind>,
    /// The limit in bytes, and what holds it; none where the host's disk is the limit.
    pub limit: Option<(u64, Bound)>,
    /// Why it is not what one would expect.
    pub because: Option<String>,
}

impl Disk {
    /// The directory as it is.
    pub(crate) const AS_IS: Self = Self { kind: None, limit: None, because: None };

    /// Chooses for the directory `container`, which need not be there yet.
    pub(crate) fn choose(container: &Path, options: &Options, host: Host) -> Result<Self, Failure> {
        if let Some(size) = options.size {
            check_size(size)?;
        }
        let there = container.ancestors().find(|path| path.exists()).unwrap_or(container);
        let unfit = overlay::unfit_for_upper(there);
        let shown = there.display();
        let (kind, mut because) = match (options.kind, unfit) {
            (Some(Kind::Overlay), _) | (None, None) => (Kind::Overlay, None),
            (Some(kind), _) => (kind, None),
            // The image has a file system that takes a layer.
            (None, Some(_)) if options.size.is_some() || options.image || host.has_loops => {
                (Kind::Overlay, None)
            }
            (None, Some(name)) if host.may_copy => {
                (Kind::Copy, Some(format!("{shown} is on {name}, which cannot hold a container's layer")))
            }
            (None, Some(_)) => (Kind::Overlay, None),
        };
        let limit = match (kind, options.size) {
            (Kind::Loop, size) => Some((size.unwrap_or(image::USUAL), Bound::Image)),
            (Kind::Overlay, size) if options.image => Some((size.unwrap_or(image::USUAL), Bound::Image)),
            (Kind::Copy, _) if options.image => {
                let reason = "a copy lies in a directory, and an image is wanted";
                return Err(Failure::because(STEP, "--storage-opt image", reason)
                    .hint("--rootfs-kind loop copies into an image"));
            }
            (Kind::Overlay, None) if options.kind.is_none() && host.has_loops && unfit.is_some() => {
                let name = unfit.unwrap_or_default();
                because = Some(format!("{shown} is on {name}, which cannot hold a container's layer"));
                Some((image::USUAL, Bound::Image))
            }
            (_, None) => None,
            (Kind::Overlay, Some(size)) => match (unfit, project::is_supported(there)) {
                (None, true) => Some((size, Bound::Project)),
                (unfit, _) => {
                    because = Some(match unfit {
                        Some(name) => format!("{shown} is on {name}, which cannot hold a container's layer"),
                        None => format!("the file system of {shown} has no project quotas"),
                    });
                    Some((size, Bound::Image))
                }
            },
            (Kind::Copy, Some(size)) if project::is_supported(there) => Some((size, Bound::Project)),
            (Kind::Copy, Some(_)) => {
                let reason =
                    format!("a copy has a size only where there are project quotas, and {shown} has none");
                return Err(Failure::because(STEP, "--storage-opt size", reason)
                    .hint("--rootfs-kind loop copies into an image of that size, on any file system"));
            }
        };
        Ok(Self { kind: Some(kind), limit, because })
    }

    /// Whether what is written is a directory of the host that can become a layer.
    #[must_use]
    pub fn is_plain_overlay(&self) -> bool {
        self.kind == Some(Kind::Overlay) && self.image().is_none()
    }

    /// Whether what is written goes to an image.
    pub(crate) fn image(&self) -> Option<u64> {
        self.limit.and_then(|(size, bound)| (bound == Bound::Image).then_some(size))
    }

    /// Whether the container's directories are a project.
    pub(crate) fn project(&self) -> Option<u64> {
        self.limit.and_then(|(size, bound)| (bound == Bound::Project).then_some(size))
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(kind) = self.kind else { return f.write_str("the directory as it is") };
        f.write_str(kind.name())?;
        match self.limit {
            Some((size, Bound::Image)) => {
                write!(f, " of at most {}, in an ext4 image on a loop device", shown(size))?;
            }
            Some((size, Bound::Project)) => write!(f, " of at most {}, by a project quota", shown(size))?,
            None => {}
        }
        match &self.because {
            Some(because) => write!(f, ": {because}"),
            None => Ok(()),
        }
    }
}

/// Bytes in the largest unit that shows them whole.
pub(crate) fn shown(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = |(_, shift): &&(&str, u32)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift;
    match UNITS.iter().find(whole) {
        Some((unit, shift)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// A size that an image can have: a project could have others, and the same words should do everywhere.
fn check_size(size: u64) -> Result<(), Failure> {
    if (ext4::SMALLEST..=ext4::LARGEST).contains(&size) {
        return Ok(());
    }
    let reason = format!("{} is not between 16 MiB and 16 TiB", shown(size));
    Err(Failure::because(STEP, "--storage-opt size", reason).hint("write it as size=10g"))
}

/// Gives a container more room: `size` in bytes is what it has in all afterwards. Whether it runs makes no difference.
///
/// # Errors
/// A container without a limit, a smaller size, a size that cannot be.
pub fn grow(places: &Places, id: &str, size: u64) -> Result<(), Failure> {
    source::check_id(id)?;
    check_size(size)?;
    let container = places.container(id);
    let image = container.join(image::NAME);
    if image.exists() {
        return image::grow(&image, size);
    }
    project::change(&container, size).unwrap_or_else(|| {
        let reason = "has no limit on its disk that could be raised";
        Err(Failure::because("storage.grow", format!("container {id}"), reason)
            .hint("a container gets one by `run --storage-opt size=`"))
    })
}

/// What df(1) says in the container: of its own disk where it has a limit, else of the host's.
///
/// # Errors
/// A container that has no files of its own, or none that can be looked at.
pub fn usage(places: &Places, id: &str) -> Result<Usage, Failure> {
    source::check_id(id)?;
    let container = places.container(id);
    let image = container.join(image::NAME);
    if image.exists() {
        return image::usage(&image);
    }
    let own = ["upper", "root"].map(|name| container.join(name)).into_iter().find(|path| path.exists());
    let path = own.ok_or_else(|| {
        Failure::because("storage.usage", format!("container {id}"), "has no files of its own")
    })?;
    let failed = |cause| Failure::new("storage.usage", path.display().to_string(), cause);
    let directory = std::fs::File::open(&path).map_err(failed)?;
    Usage::of(&directory).map_err(|errno| failed(errno.into()))
}
