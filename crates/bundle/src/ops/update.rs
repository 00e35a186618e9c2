//! `update`: other limits for a container that runs.

use cgroup::systemd::{Manager, Unit};
use cgroup::{Hierarchies, Limits};
use oci::spec::LinuxResources;

use crate::error::Error;
use crate::store::Store;
use crate::{Settings, Status, prepare};

/// What `update` is asked for.
#[derive(Debug, Clone, Default)]
pub struct UpdateRequest {
    /// The container's id.
    pub id: String,
    /// The limits to be changed; what is not in it stays.
    pub resources: LinuxResources,
    /// Intel RDT: the L3 cache schema.
    pub l3_cache_schema: Option<String>,
    /// Intel RDT: the memory bandwidth schema.
    pub mem_bw_schema: Option<String>,
}

/// Changes a container's limits, all or none.
pub fn update(settings: &Settings, request: &UpdateRequest) -> Result<(), Error> {
    let store = Store::new(&settings.root);
    let _lock = store.lock(&request.id)?;
    let mut saved = store.load(&request.id)?;
    if Status::of(&saved, &store.dir(&request.id)) == Status::Stopped {
        return Err(Error::new("container not running"));
    }
    cgroup::check_rdt(request.l3_cache_schema.as_deref(), request.mem_bw_schema.as_deref())?;
    let mut linux = saved.config.linux().clone().unwrap_or_default();
    let recorded = linux.resources().clone().unwrap_or_default();
    let limits = Limits::for_update(&request.resources, &recorded)?;
    let hierarchies = Hierarchies::probe()?;
    match &saved.unit {
        Some(unit) => {
            let unit = Unit::parse(unit, &saved.id, prepare::is_rootless())?;
            let mut manager = Manager::connect(prepare::is_rootless())?;
            cgroup::systemd::update(&mut manager, &hierarchies, &unit, &limits)?;
        }
        None => cgroup::update(&hierarchies, &saved.group, &limits)?,
    }
    linux.set_resources(Some(cgroup::limits::merge(&recorded, &request.resources)));
    saved.config.set_linux(Some(linux));
    store.save(&saved)
}
