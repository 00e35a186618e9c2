//! Who clones the sources of the bind mounts, and when: init as it comes to them, init before its own mounts begin, or
//! the monitor, who then hands them over.

use std::path::{Path, PathBuf};

use oci::spec::{LinuxIdMapping, Mount, Spec};
use step::Failure;

use super::facts::{Facts, ranges};
use crate::container::Manner;
use crate::options::{IdMap, Options};
use crate::steps::mounts::{Map, Mounts, Origin, Special, is_elsewhere};

/// Where the source of a mount is cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// By init, when it comes to it; or it is no bind mount.
    InTurn,
    /// By init, before its mounts are cut off from the host's.
    Early,
    /// By the monitor: init has no rights to, or an idmapped mount needs the rights of the host's root.
    Outside,
    /// By the monitor too, but in init's mount namespace and in turn: it lies in the root that init builds.
    Within,
}

/// One mount of the specification with its options read.
pub(super) struct Source {
    pub(super) mount: Mount,
    pub(super) options: Options,
    pub(super) path: PathBuf,
    when: When,
    map: Option<Map>,
    special: Option<Special>,
}

impl Source {
    /// Whether it is cloned before its turn.
    pub(super) fn is_taken(&self) -> bool {
        self.when != When::InTurn
    }

    /// The kind of file system that the monitor mounts.
    pub(super) fn kind(&self) -> Option<&str> {
        match &self.special {
            Some(Special::New(kind)) => Some(kind),
            _ => None,
        }
    }

    /// Whether the monitor must be asked for it when its turn comes.
    pub(super) fn is_within(&self) -> bool {
        self.when == When::Within
    }
}

impl Source {
    fn by_monitor(&self, slot: usize, within: bool, confined: bool) -> Mounts {
        Mounts::Take {
            slot,
            source: self.path.clone(),
            options: self.options.clone(),
            map: self.map.clone(),
            from: if within { Origin::Init } else { Origin::Host },
            // What init could share with the host from its namespace: events arrive, and none go back.
            slave: confined,
            special: self.special.clone(),
        }
    }
}

/// All mounts of a specification, by their number in it.
pub(super) struct Sources(pub(super) Vec<Source>);

impl Sources {
    /// `root` is the path that the root file system is attached to.
    pub(super) fn of(facts: &Facts, spec: &Spec, manner: &Manner, root: &Path) -> Result<Self, Failure> {
        let one = |mount: &Mount| source(facts, mount, manner, root);
        spec.mounts().iter().flatten().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// The numbers of those that the monitor takes.
    pub(super) fn by_monitor(&self) -> Vec<usize> {
        self.when(When::Outside).map(|(slot, _)| slot).collect()
    }

    fn when(&self, when: When) -> impl Iterator<Item = (usize, &Source)> {
        self.0.iter().enumerate().filter(move |(_, source)| source.when == when)
    }

    /// The monitor's steps, at once.
    pub(super) fn outside(&self, facts: &Facts) -> impl Iterator<Item = Mounts> {
        let confined = facts.confined;
        self.when(When::Outside).map(move |(slot, source)| source.by_monitor(slot, false, confined))
    }

    /// The monitor's steps, each when init asks for it.
    pub(super) fn within(&self, facts: &Facts) -> impl Iterator<Item = Mounts> {
        let confined = facts.confined;
        self.when(When::Within).map(move |(slot, source)| source.by_monitor(slot, true, confined))
    }

    /// Init's early steps.
    pub(super) fn early(&self) -> impl Iterator<Item = Mounts> {
        self.when(When::Early).map(|(slot, source)| Mounts::Take {
            slot,
            source: source.path.clone(),
            options: source.options.clone(),
            map: None,
            from: Origin::Shared,
            slave: false,
            special: None,
        })
    }
}

fn source(facts: &Facts, mount: &Mount, manner: &Manner, root: &Path) -> Result<Source, Failure> {
    let options = Options::parse(mount.options().as_deref().unwrap_or_default());
    let path = mount.source().clone().unwrap_or_default();
    let is_bind = options.bind || matches!(mount.typ().as_deref(), None | Some("bind" | "none"));
    let map = map(mount, &options)?;
    let special = special(mount, manner);
    let when = if special.is_some() {
        When::Outside
    } else if !is_bind {
        if map.is_some() {
            return Err(Failure::because(
                "plan",
                mount.destination().display().to_string(),
                "only bind mounts can be idmapped",
            ));
        }
        When::InTurn
    } else if (map.is_some() || facts.confined) && manner.follows_host && path.starts_with(root) {
        When::Within
    } else if map.is_some() {
        When::Outside
    } else if is_elsewhere(&path) || options.passes_events() && !manner.follows_host {
        When::Early
    } else if facts.confined {
        When::Outside
    } else {
        When::InTurn
    };
    Ok(Source { mount: mount.clone(), options, path, when, map, special })
}

/// What the engine knows of a source besides its path.
fn special(mount: &Mount, manner: &Manner) -> Option<Special> {
    let volume = manner.volumes.iter().find(|volume| volume.target == *mount.destination())?;
    match (&volume.within, volume.by_monitor) {
        (Some(top), _) => Some(Special::Within(top.clone())),
        (None, true) => mount.typ().clone().map(Special::New),
        (None, false) => None,
    }
}

/// `idmap` alone takes the container's own map; mappings alone mean `idmap`.
fn map(mount: &Mount, options: &Options) -> Result<Option<Map>, Failure> {
    let given =
        |maps: &Option<Vec<LinuxIdMapping>>| maps.as_ref().map(|_| ranges(maps)).filter(|m| !m.is_empty());
    let maps = match (given(mount.uid_mappings()), given(mount.gid_mappings())) {
        (Some(uids), Some(gids)) => Some((uids, gids)),
        (None, None) => None,
        _ => {
            return Err(Failure::because(
                "plan",
                mount.destination().display().to_string(),
                "an idmapped mount needs both uidMappings and gidMappings",
            ));
        }
    };
    Ok(match (options.idmap, maps) {
        (None, None) => None,
        (kind, maps) => Some(Map { maps, recursive: kind == Some(IdMap::Recursive) }),
    })
}
