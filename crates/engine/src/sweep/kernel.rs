//! What the kernel has: addresses and links, control groups, mounts. Network namespaces are no files here: they go with
//! their last process and connection, and a link with them.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use cgroup::{Group, Hierarchies};
use network::Leftover;
use step::Failure;

use super::finding::Finding;
use super::steps::SweepStep;
use crate::Settings;
use crate::state::{Store, is_id};
use crate::steps::EngineStep;

/// Another engine may be about to use what looks like nobody's: what is there after this time, and that no process of
/// this host cares for, is.
pub(super) const AGAIN: Duration = Duration::from_millis(300);

/// Addresses, ends of links and small networks of containers that are gone.
pub(super) fn addresses_and_links(settings: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    let network = settings.network();
    let list = || {
        network::leftovers(&network)
            .map_err(|error| Failure::because("network.check", "links", error.to_string()))
    };
    let present = || store.present();
    let is_gone = |left: &Leftover, present: &[String]| match left {
        Leftover::Reservation { id, .. } | Leftover::Ports { id, .. } => !present.contains(id),
        Leftover::Link { id_prefix, .. } => !present.iter().any(|id| id.starts_with(id_prefix)),
        Leftover::Network { .. } => true,
        // Its name tells of no engine: it may be another's.
        Leftover::Bridge { .. } => false,
    };
    let now = present()?;
    let suspects: Vec<Leftover> = list()?.into_iter().filter(|left| is_gone(left, &now)).collect();
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    std::thread::sleep(AGAIN);
    let others = cared_for();
    let is_elsewhere = |left: &Leftover| match left {
        Leftover::Link { id_prefix, .. } => others.iter().any(|id| id.starts_with(id_prefix)),
        _ => false,
    };
    let now = present()?;
    let still = list()?;
    let left = suspects.into_iter().filter(|left| is_gone(left, &now) && !is_elsewhere(left));
    Ok(left.filter(|left| still.contains(left)).map(|left| of_network(network.clone(), left)).collect())
}

/// Addresses and links of containers that run, of which their records know nothing: somebody was killed who connected or
/// disconnected them. And networks that the host reaches by a route of its own by now.
pub(super) fn networks(settings: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    let network = settings.network();
    let told = |error: network::Error| Failure::because("network.check", "networks", error.to_string());
    let strays = || -> Result<Vec<(String, Leftover)>, Failure> {
        let mut strays = Vec::new();
        let all = network::leftovers(&network).map_err(told)?;
        for id in store.present()? {
            let Some(record) = store.record(&id).ok().flatten() else { continue };
            // While somebody changes it, it may be either way.
            if store.living_init(&id).is_none() || store.try_lock_record(&record).is_none() {
                continue;
            }
            let known = |left: &Leftover| match left {
                Leftover::Reservation { id, network, address, .. } => {
                    *id != record.id
                        || record.networks.iter().any(|place| {
                            let six = place.v6.map(|six| std::net::IpAddr::V6(six.address));
                            place.directory() == *network
                                && (*address == place.address || Some(*address) == six)
                        })
                }
                Leftover::Link { id_prefix, name } => {
                    !record.id.starts_with(id_prefix)
                        || record.networks.iter().any(|place| place.host_link == *name)
                }
                _ => true,
            };
            strays.extend(all.iter().filter(|left| !known(left)).map(|left| (id.clone(), left.clone())));
        }
        Ok(strays)
    };
    let mut found = Vec::new();
    let first = strays()?;
    if !first.is_empty() {
        std::thread::sleep(AGAIN);
        for (id, left) in strays()?.into_iter().filter(|stray| first.contains(stray)) {
            let (kind, which) = match &left {
                Leftover::Reservation { address, .. } => ("address", address.to_string()),
                Leftover::Link { name, .. } => ("link", name.clone()),
                _ => continue,
            };
            let why = "its container runs, and knows nothing of it: a connect or disconnect was cut short";
            let mut finding = Finding::new(kind, which, why)
                .step("remove it", SweepStep::Network { settings: network.clone(), left });
            // First, or its container would be without a way out until it is connected again.
            finding.repair.insert(0, Box::new(SweepStep::WayOut { settings: settings.clone(), id }));
            found.push(finding);
        }
    }
    for (clashing, owner) in network::clashes(&network).map_err(told)? {
        let subnet = clashing.v4.map_or_else(String::new, |pool| pool.subnet.to_string());
        let why = format!("its subnet {subnet} overlaps {owner}: what its containers send there goes astray");
        let chosen = clashing.v4.is_some_and(|pool| pool.chosen);
        let advice = match (network::is_built_in(&clashing.name), chosen) {
            (true, _) => format!(
                "stop its containers, then `ip link delete {}`: the next start chooses another subnet, or --subnet does",
                settings.bridge
            ),
            (_, true) => "stop its containers: the next start chooses another subnet".to_owned(),
            _ => format!("make it anew with another subnet: minidocker network rm {}", clashing.name),
        };
        found.push(Finding::new("network", clashing.name, why).advice(advice));
    }
    let (_, damaged) = network::list(&network).map_err(told)?;
    for error in damaged {
        let advice = error.hint().unwrap_or_default();
        found.push(Finding::new("network", "record", error.to_string()).advice(advice));
    }
    Ok(found)
}

fn of_network(settings: network::Settings, left: Leftover) -> Finding {
    let gone = |id: &str| format!("container {} had it, which is gone", id.get(..12).unwrap_or(id));
    let found = match &left {
        Leftover::Reservation { id, address, .. } => Finding::new("address", address.to_string(), gone(id)),
        Leftover::Ports { id, .. } => Finding::new("published ports", id.get(..12).unwrap_or(id), gone(id)),
        Leftover::Link { id_prefix, name } => Finding::new("link", name, gone(id_prefix)),
        Leftover::Network { network, .. } => Finding::new("network", network, "no container is in it"),
        Leftover::Bridge { name } => Finding::new("bridge", name, "no network has it"),
    };
    found.step("remove it", SweepStep::Network { settings, left })
}

/// The table of rules, as another tool may have left it.
pub(super) fn rules(settings: &Settings, _: &Store) -> Result<Vec<Finding>, Failure> {
    let settings = settings.network();
    // A container that starts or ends right now has its ports in the files and not in the table, or the other way round.
    let Some(first) = network::rules_differ(&settings)? else { return Ok(Vec::new()) };
    std::thread::sleep(AGAIN);
    let Some(why) = network::rules_differ(&settings)?.filter(|again| *again == first) else {
        return Ok(Vec::new());
    };
    let found = Finding::new("firewall rules", network::table_name(&settings), why);
    Ok(vec![found.step("write them anew", SweepStep::Rules { settings })])
}

/// Control groups of containers that are gone: below our parent, and where the records say.
pub(super) fn groups(settings: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    let hierarchies = Hierarchies::probe()?;
    let mut groups: Vec<(String, String)> = Vec::new();
    for id in cgroup::below(&hierarchies, &settings.cgroup_parent)?.into_iter().filter(|name| is_id(name)) {
        groups.push((settings.group(None, &id), id));
    }
    for id in store.kept()? {
        let record = store.kept_record(&id).ok().flatten();
        groups.extend(record.map(|record| (record.group, id)).filter(|group| !groups.contains(group)));
    }
    let is_gone = |group: &(String, String)| {
        !store.is_cared_for(&group.1) && Group::open(&hierarchies, &group.0).is_ok_and(|group| group.exists())
    };
    groups.retain(is_gone);
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    std::thread::sleep(AGAIN);
    let others = cared_for();
    groups.retain(|group| is_gone(group) && !others.contains(&group.1));
    let mut found = Vec::new();
    for (path, id) in groups {
        let busy = !Group::open(&hierarchies, &path)?.processes().is_empty();
        let record = store.record(&id).ok().flatten();
        found.extend(match (busy, record) {
            (false, _) => {
                let why = format!("container {} does not run", &id[..12]);
                let step = EngineStep::RemoveGroup { path: path.clone(), kill: false };
                Some(Finding::new("control group", path, why).step("remove it", step))
            }
            (true, Some(record)) => {
                let why = format!("processes run in it, and container {} should have none", record.name);
                let remedy = format!("minidocker rm -f {} ends them with the container", record.name);
                Some(Finding::new("control group", path, why).advice(remedy))
            }
            (true, None) => {
                let why = "processes run in it, and nothing here knows their container";
                let advice = "leave it alone if another engine, with other roots, has this control group";
                Some(Finding::new("control group", path, why).advice(advice))
            }
        });
    }
    Ok(found)
}

/// The ids that some process of this host cares for, whatever its engine's roots: it has the lock of that container open.
fn cared_for() -> HashSet<String> {
    let owner = |path: PathBuf| {
        let dir = path.to_str()?.strip_suffix("/lock")?;
        let (above, id) = dir.rsplit_once('/')?;
        (above.ends_with("/containers") && is_id(id)).then(|| id.to_owned())
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let open = processes
        .flat_map(|process| std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten());
    open.filter_map(|file| owner(std::fs::read_link(file.path()).ok()?)).collect()
}

/// Mounts of this mount namespace in directories of containers and builds that do not run. A container's own are in its
/// namespace.
pub(super) fn mounts(settings: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    const FILE: &str = "/proc/self/mountinfo";
    let text = std::fs::read(FILE).map_err(|error| Failure::new("mount.check", FILE, error))?;
    let points = text.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    // The last one lies on top.
    let points: Vec<PathBuf> = points.map(sys::mount::unescape).collect();
    let mut found = Vec::new();
    for root in [&settings.root, &settings.run_root] {
        let Ok(root) = root.canonicalize() else { continue };
        for point in points.iter().rev() {
            let Some(owner) = point.strip_prefix(&root).ok().and_then(|below| owner(&root, below)) else {
                continue;
            };
            let why = match owner {
                Owner::Container(id) if is_at_rest(store, &id)? => {
                    format!("container {} does not run", &id[..12])
                }
                Owner::Directory(path) if is_free(&path) => "the build that made it is gone".to_owned(),
                Owner::Point => "containers mount here in their own namespaces alone".to_owned(),
                _ => continue,
            };
            let step = SweepStep::Unmount { path: point.clone() };
            found.push(Finding::at("mount", point, why).step("unmount it", step));
        }
    }
    Ok(found)
}

enum Owner {
    Container(String),
    /// A directory whose lock tells whether its user lives.
    Directory(PathBuf),
    /// Where inits attach their roots.
    Point,
}

/// Whose a path below a root is; none where it is its user's, or nothing of ours.
fn owner(root: &Path, below: &Path) -> Option<Owner> {
    let words: Vec<&str> = below
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect::<Option<_>>()?;
    match words.as_slice() {
        ["containers" | "removed", id, ..] if is_id(id) => Some(Owner::Container((*id).to_owned())),
        ["build", "work", name, _, ..] => Some(Owner::Directory(root.join("build/work").join(name))),
        ["root"] => Some(Owner::Point),
        _ => None,
    }
}

/// Whether nobody cares for a container, and nothing of it runs.
fn is_at_rest(store: &Store, id: &str) -> Result<bool, Failure> {
    Ok(!store.is_cared_for(id) || store.abandoned(id)?.is_some() && store.living_init(id).is_none())
}

fn is_free(path: &Path) -> bool {
    super::files::free(path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_a_containers_by_its_path() {
        let id = "ab".repeat(32);
        let of = |path: &str| owner(Path::new("/r"), Path::new(path));
        assert!(
            matches!(of(&format!("containers/{id}/upper")), Some(Owner::Container(found)) if found == id)
        );
        assert!(matches!(of(&format!("removed/{id}")), Some(Owner::Container(_))));
        assert!(matches!(of("build/work/12-3/0"), Some(Owner::Directory(path)) if path.ends_with("12-3")));
        assert!(matches!(of("root"), Some(Owner::Point)));
        // Disks that its user mounted.
        for path in ["", "volumes", "volumes/data/data", "containers", "blobs", "containers/x", "build"] {
            assert!(of(path).is_none(), "{path}");
        }
    }
}
