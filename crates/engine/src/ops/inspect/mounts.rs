//! `Mounts`: what is mounted besides the root.

use serde_json::{Value, json};

use crate::Settings;
use crate::ops::volumes::{MountPoint, mounts_of_record};
use crate::request::Mount;
use crate::state::Record;

pub(super) fn of(settings: &Settings, record: &Record) -> Value {
    mounts_of_record(settings, record).iter().map(one).collect()
}

/// Docker leaves name and driver out where there is no volume.
fn one(point: &MountPoint) -> Value {
    let mut value = json!({
        "Type": point.kind,
        "Source": point.source,
        "Destination": point.destination,
        "Mode": point.mode,
        "RW": point.rw,
        "Propagation": point.propagation,
    });
    if point.kind == "volume" {
        value["Name"] = json!(point.name);
        value["Driver"] = json!(point.driver);
    }
    value
}

/// As `-v` has it: `/src:/dst:ro`; a volume without a name of its own is no bind in Docker.
pub(super) fn bind_text(mount: &Mount) -> Option<String> {
    let (source, target, read_only, propagation) = match mount {
        Mount::Bind { source, target, read_only, propagation, .. } => {
            (source.display().to_string(), target, *read_only, propagation)
        }
        Mount::Volume(volume) if !volume.anonymous => {
            (volume.name.clone(), &volume.target, volume.read_only, &volume.propagation)
        }
        _ => return None,
    };
    let options: Vec<&str> = read_only.then_some("ro").into_iter().chain(propagation.as_deref()).collect();
    let text = format!("{source}:{}", target.display());
    Some(if options.is_empty() { text } else { format!("{text}:{}", options.join(",")) })
}
