//! `update`: other limits for a container that runs.

use cgroup::{Hierarchies, Limits};
use oci::spec::LinuxResources;
use serde_json::Value;

use crate::error::Error;
use crate::store::Store;
use crate::{Settings, Status};

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
    if request.l3_cache_schema.is_some() || request.mem_bw_schema.is_some() {
        return Err(Error::new(
            "Intel RDT: l3 cache or memory bandwidth schema: this container has no resctrl group",
        )
        .hint("the kernel must have the resctrl file system mounted, and config.json an intelRdt section"));
    }
    let mut asked = request.resources.clone();
    // Devices hold for a container's whole life; engines send them along all the same.
    asked.set_devices(None);
    cgroup::update(&Hierarchies::probe()?, &saved.group, &Limits::from_oci(&asked)?)?;
    let mut linux = saved.config.linux().clone().unwrap_or_default();
    linux.set_resources(Some(merged(linux.resources(), &asked)?));
    saved.config.set_linux(Some(linux));
    store.save(&saved)
}

/// The old resources with the new ones over them.
fn merged(old: &Option<LinuxResources>, new: &LinuxResources) -> Result<LinuxResources, Error> {
    let failed = |error: serde_json::Error| Error::new(format!("the container's resources: {error}"));
    let mut all = serde_json::to_value(old.clone().unwrap_or_default()).map_err(failed)?;
    lay_over(&mut all, serde_json::to_value(new).map_err(failed)?);
    serde_json::from_value(all).map_err(failed)
}

fn lay_over(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                lay_over(old.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (old, new) => *old = new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_stays() {
        let resources = |text: &str| serde_json::from_str::<LinuxResources>(text).unwrap();
        let old = resources(r#"{"memory":{"limit":1,"swap":2},"pids":{"limit":5}}"#);
        let new = resources(r#"{"memory":{"limit":7},"cpu":{"shares":3}}"#);
        let expected = resources(r#"{"memory":{"limit":7,"swap":2},"pids":{"limit":5},"cpu":{"shares":3}}"#);
        assert_eq!(merged(&Some(old), &new).unwrap(), expected);
    }
}
