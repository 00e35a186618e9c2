//! What is listed, against the ledger and the kernel.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use minidocker_tests::{World, scaled};
use serde_json::Value;

use super::Story;
use super::ledger::Ledger;

/// Containers that start again come and go; so long until each was seen in the state that it says.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks until everything is as it must be.
#[track_caller]
pub(super) fn check(world: &World, ledger: &mut Ledger, story: &Story<'_>) {
    let deadline = Instant::now() + scaled(PATIENCE);
    loop {
        match look(world, ledger) {
            Ok(()) => return,
            Err(wrong) if Instant::now() < deadline => drop(wrong),
            Err(wrong) => panic!("{wrong}, after {story}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Looks once.
fn look(world: &World, ledger: &mut Ledger) -> Result<(), String> {
    // The first command of a sweep may still find what another is about to finish.
    let listed = world.minidocker(["ps", "-a", "-q", "--no-trunc"]).ok().out();
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let mut ids = listed.clone();
    let words = ["inspect", "--type", "container"].into_iter().map(str::to_owned).chain(ids.iter().cloned());
    let all: Vec<Value> = if ids.is_empty() {
        Vec::new()
    } else {
        let output = world.minidocker(words);
        if output.code != 0 {
            return Err(format!("what is listed cannot be inspected: {output:?}"));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("inspect gives no JSON: {error}"))?
    };
    for container in &all {
        let id = container["Id"].as_str().unwrap_or_default();
        if container["HostConfig"]["AutoRemove"] == true {
            // It goes by itself, and nobody was told its id.
            ids.remove(id);
        }
        state(world, id, &container["State"])?;
    }
    if let Some(id) = world.busy_groups().difference(&listed).next() {
        return Err(unknown(world, id));
    }
    ledger.settle(&ids)
}

/// A container that runs and is nobody's: what is known of it.
fn unknown(world: &World, id: &str) -> String {
    let filter = format!("container={id}");
    let events = world.minidocker(["events", "--since", "1", "--until", "0s", "--filter", &filter]);
    let processes = world.group(id).processes();
    let stat = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stats: Vec<String> = processes.iter().map(stat).collect();
    format!("{id} is not listed and has processes:\n{}{}", stats.concat(), events.out())
}

/// A container is in the state that it says: its processes are in its control group, or there are none.
fn state(world: &World, id: &str, state: &Value) -> Result<(), String> {
    let processes = world.group(id).processes();
    let status = state["Status"].as_str().unwrap_or_default();
    let pid = state["Pid"].as_i64().unwrap_or_default() as i32;
    let holds = match status {
        "running" | "paused" => pid > 0 && processes.contains(&pid),
        "created" | "exited" | "restarting" | "dead" => pid == 0 && processes.is_empty(),
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("{id} says {state}, and its processes are {processes:?}")) }
}
