//! What an engine keeps in memory while containers do nothing.

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::super::memory::Kept;
use super::super::world::time;
use super::{Field, Plan, on_small, owned};

/// So long after the last start it is looked.
const SETTLE: Duration = Duration::from_secs(3);

/// Containers of each, and their engine's memory.
pub(super) fn idle(plan: &Plan, field: &Field) -> Result<Value> {
    let mut values = Map::new();
    println!("{:<22} {:>10} {:>12} {:>14}", "", "processes", "MiB in all", "KiB for each");
    for engine in &field.engines {
        let names: Vec<String> = (0..plan.idle).map(|number| format!("bench-idle-{number}")).collect();
        let start = |name: &String| on_small(&["run", "-d", "--name", name], &["sleep", "100000"]);
        field.place.inside(|| {
            names
                .iter()
                .try_for_each(|name| time(&mut field.place.bare(&engine.command(&[&start(name)]))).map(drop))
        })?;
        std::thread::sleep(SETTLE);
        let mut kept = Kept::default();
        for pid in field.place.processes(&engine.programs())? {
            // A process that ended meanwhile keeps nothing.
            kept.add(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default());
        }
        if kept.processes == 0 {
            bail!("{} has no process while {} containers run: nothing was measured", engine.name, plan.idle);
        }
        let (all, each) = (kept.proportional as f64 / 1024.0, kept.proportional as f64 / plan.idle as f64);
        println!("{:<22} {:>10} {all:>12.1} {each:>14.1}", engine.name, kept.processes);
        values.insert(
            engine.name.to_owned(),
            json!({"processes": kept.processes, "proportional_kib": kept.proportional, "each_kib": each}),
        );
        let removal = [&owned(["rm", "-f"])[..], &names].concat();
        field.place.run(&engine.command(&[&removal]))?;
    }
    Ok(json!({"containers": plan.idle, "engines": values}))
}
