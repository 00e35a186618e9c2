//! `update`: other limits for a container that runs.

use cgroup::systemd::{Manager, Unit};
use cgroup::{Hierarchies, Limits};
use oci::spec::{LinuxCpu, LinuxResources};

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
    let mut wanted = request.resources.clone();
    if saved.unit.is_some() && weight_or_idle(&mut wanted, &recorded) {
        (settings.warn)(
            "unable to apply both a weight and cpu.idle by systemd: the group is idle and has no weight",
        );
    }
    let limits = Limits::for_update(&wanted, &recorded)?;
    let hierarchies = Hierarchies::probe()?;
    match &saved.unit {
        Some(unit) => {
            let unit = Unit::parse(unit, &saved.id, prepare::is_rootless())?;
            let mut manager = Manager::connect(prepare::is_rootless())?;
            cgroup::systemd::update(&mut manager, &hierarchies, &unit, &limits)?;
        }
        None => cgroup::update(&hierarchies, &saved.group, &limits)?,
    }
    linux.set_resources(Some(cgroup::limits::merge(&recorded, &wanted)));
    saved.config.set_linux(Some(linux));
    store.save(&saved)
}

const WEIGHT: &str = "cpu.weight";
const IDLE: &str = "cpu.idle";

/// systemd has one word for both (CPUWeight=idle): a group that is to be idle has no weight, and one that gets a weight
/// is no longer idle. Whether a weight was passed over.
fn weight_or_idle(wanted: &mut LinuxResources, recorded: &LinuxResources) -> bool {
    let unified = |resources: &LinuxResources, file: &str| resources.unified().as_ref()?.get(file).cloned();
    let idle = |resources: &LinuxResources| match resources.cpu().as_ref().and_then(LinuxCpu::idle) {
        None => unified(resources, IDLE).map(|value| value == "1"),
        Some(value) => Some(value == 1),
    };
    let mut cpu = wanted.cpu().clone().unwrap_or_default();
    let mut files = wanted.unified().clone().unwrap_or_default();
    let (shares, weight) = (cpu.shares().is_some_and(|shares| shares != 0), files.contains_key(WEIGHT));
    let passed_over = (shares || weight) && idle(wanted) == Some(true);
    if passed_over {
        cpu.set_shares(None);
        files.remove(WEIGHT);
    } else if idle(wanted).is_none() && idle(recorded) == Some(true) {
        if shares {
            cpu.set_idle(Some(0));
        }
        if weight {
            files.insert(IDLE.to_owned(), "0".to_owned());
        }
    }
    if wanted.cpu().is_some() {
        wanted.set_cpu(Some(cpu));
    }
    if wanted.unified().is_some() {
        wanted.set_unified(Some(files));
    }
    passed_over
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_weight_or_idle_but_not_both() {
        let resources = |value: Value| -> LinuxResources { serde_json::from_value(value).unwrap() };
        let cases = [
            (
                json!({ "cpu": { "shares": 200, "idle": 1 } }),
                json!({}),
                json!({ "cpu": { "idle": 1 } }),
                true,
            ),
            (
                json!({ "cpu": { "shares": 200 } }),
                json!({ "cpu": { "idle": 1 } }),
                json!({ "cpu": { "shares": 200, "idle": 0 } }),
                false,
            ),
            (json!({ "cpu": { "shares": 200 } }), json!({}), json!({ "cpu": { "shares": 200 } }), false),
            (
                json!({ "unified": { "cpu.idle": "1", "cpu.weight": "8" } }),
                json!({}),
                json!({ "unified": { "cpu.idle": "1" } }),
                true,
            ),
            (
                json!({ "unified": { "cpu.weight": "8" } }),
                json!({ "unified": { "cpu.idle": "1" } }),
                json!({ "unified": { "cpu.idle": "0", "cpu.weight": "8" } }),
                false,
            ),
        ];
        for (wanted, recorded, result, passed_over) in cases {
            let mut resources_wanted = resources(wanted.clone());
            assert_eq!(weight_or_idle(&mut resources_wanted, &resources(recorded)), passed_over, "{wanted}");
            assert_eq!(serde_json::to_value(resources_wanted).unwrap(), result, "{wanted}");
        }
    }
}
