//! Keys of `linux.resources` that are spelled otherwise than the specification has them: `pagesize`, `CPU`. Runtimes
//! in Go take them (encoding/json prefers an exact match, but accepts one that differs in case), so people write them.

use serde_json::{Map, Value};

/// As the specification spells them.
const KEYS: [&str; 45] = [
    "access",
    "allow",
    "blockIO",
    "burst",
    "checkBeforeUpdate",
    "classID",
    "cpu",
    "cpus",
    "devices",
    "disableOOMKiller",
    "hcaHandles",
    "hcaObjects",
    "hugepageLimits",
    "idle",
    "kernel",
    "kernelTCP",
    "leafWeight",
    "limit",
    "major",
    "memory",
    "mems",
    "minor",
    "name",
    "network",
    "pageSize",
    "period",
    "pids",
    "priorities",
    "priority",
    "quota",
    "rate",
    "rdma",
    "realtimePeriod",
    "realtimeRuntime",
    "reservation",
    "shares",
    "swap",
    "swappiness",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "type",
    "useHierarchy",
    "weight",
];

/// `key` as it should be spelled, if it is one of them in other letters.
fn meant(key: &str) -> Option<&'static str> {
    KEYS.into_iter().find(|known| known.eq_ignore_ascii_case(key)).filter(|known| *known != key)
}

/// Whether a text of JSON has a key that could be meant otherwise: [`respell`] is worth its while.
pub(crate) fn is_suspicious(text: &[u8]) -> bool {
    // Between quotes is a word, or what is between two of them: neither has a key's look by accident.
    text.split(|byte| *byte == b'"')
        .any(|part| part.len() <= 24 && std::str::from_utf8(part).is_ok_and(|part| meant(part).is_some()))
}

/// Spells the keys of `linux.resources`, and of all that is in it, as the specification does. Objects that are there in
/// both spellings become one.
pub(crate) fn respell(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(respell),
        Value::Object(object) => {
            for (key, mut value) in std::mem::take(object) {
                // Names of files, and of devices: nobody's spelling but the kernel's.
                if key != "unified" {
                    respell(&mut value);
                }
                insert(object, meant(&key).map_or(key, str::to_owned), value);
            }
        }
        _ => {}
    }
}

fn insert(object: &mut Map<String, Value>, key: String, value: Value) {
    match (object.get_mut(&key), value) {
        (Some(Value::Object(there)), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| insert(there, key, value));
        }
        // In the order of their letters: the right spelling comes last.
        (_, value) => drop(object.insert(key, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn other_letters_mean_the_same() {
        let mut value = json!({
            "CPU": { "Shares": 5, "quota": 7 }, "cpu": { "cpus": "0" },
            "hugepageLimits": [{ "pagesize": "2MB", "limit": 1 }],
            "unified": { "CPU": "kept" },
            "Memory": { "limit": 1 }, "memory": { "limit": 2 },
        });
        respell(&mut value);
        let wanted = json!({
            "cpu": { "shares": 5, "quota": 7, "cpus": "0" },
            "hugepageLimits": [{ "pageSize": "2MB", "limit": 1 }],
            "unified": { "CPU": "kept" },
            "memory": { "limit": 2 },
        });
        assert_eq!(value, wanted);
    }

    #[test]
    fn suspects_no_usual_text() {
        assert!(is_suspicious(br#"{"linux": {"resources": {"pagesize": 1}}}"#));
        assert!(!is_suspicious(br#"{"linux": {"resources": {"pageSize": "2MB", "cpu": {}}}}"#));
    }
}
