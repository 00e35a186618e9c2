//! A further process for a group that is there: joined by its init, version 2 by the clone.

use ::step::Failure;

use crate::hierarchies::{Hierarchies, Version};
use crate::plan::{Plan, check_path};
use crate::step::Step;

/// How a new process gets into the group `path`: [`Plan::join`] and [`Plan::into`], and nothing to create.
/// `unified`: another path in the version 2 hierarchy, where the group's processes may have moved on below it.
///
/// Hierarchies that do not have the group are left out.
pub fn entry(h: &Hierarchies, path: &str, unified: Option<&str>) -> Result<Plan, Failure> {
    check_path(path)?;
    let mut plan = Plan::default();
    for mount in &h.mounts {
        match mount.version {
            Version::V1 => {
                let file = mount.group(path).join("tasks");
                if file.exists() {
                    plan.join.push(Box::new(Step::Join { file, opened: false }));
                }
            }
            Version::V2 => {
                let dir = mount.group(unified.unwrap_or(path));
                plan.into = dir.join("cgroup.procs").exists().then_some(dir);
            }
        }
    }
    Ok(plan)
}
