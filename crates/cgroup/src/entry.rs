//! A further process for groups that are there: joined by its init, version 2 by the clone.

use ::step::Failure;

use crate::hierarchies::{Hierarchies, Mount, Version};
use crate::plan::{Plan, check_path};
use crate::step::Step;

/// How a new process gets into the groups that `path` names, one for each hierarchy: [`Plan::join`] and [`Plan::into`],
/// and nothing to create. Hierarchies that do not have the group are left out.
pub fn entry(h: &Hierarchies, path: &dyn Fn(&Mount) -> String) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    for mount in &h.mounts {
        let path = path(mount);
        check_path(&path)?;
        let dir = mount.group(&path);
        match mount.version {
            Version::V1 => {
                let file = dir.join("tasks");
                if file.exists() {
                    plan.join.push(Box::new(Step::Join { file, opened: false }));
                }
            }
            Version::V2 => plan.into = dir.join("cgroup.procs").exists().then_some(dir),
        }
    }
    Ok(plan)
}
