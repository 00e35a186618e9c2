//! What of a configuration goes to systemd: values in GVariant's text form, names of units, signatures. What is read
//! goes over the bus and comes out of it as it was.

use std::collections::HashMap;

use cgroup::systemd::{Type, Unit, Value, annotations, expand_slice, fuzz};

/// The input as each of them.
pub fn systemd_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match fuzz::value(text) {
        Ok(value) => crosses(&value),
        Err(reason) => assert!(!reason.is_empty()),
    }
    for name in ["TasksMax", "TimeoutStopSec"] {
        let annotations_of = HashMap::from([(format!("org.systemd.property.{name}"), text.to_owned())]);
        match annotations(&annotations_of) {
            Ok(properties) => {
                assert_eq!(properties.len(), 1);
                properties.iter().for_each(|property| crosses(&property.value));
            }
            Err(failure) => assert!(failure.target.contains(name) && failure.hint.is_some()),
        }
    }
    let named = HashMap::from([(format!("org.systemd.property.{text}"), "true".to_owned())]);
    if let Ok(properties) = annotations(&named) {
        assert_eq!(properties[0].name, text, "true is no number of seconds");
        assert!(text.bytes().all(|byte| byte.is_ascii_alphabetic()));
    }
    if let Some(types) = Type::parse(text) {
        assert_eq!(types.iter().map(Type::to_string).collect::<String>(), text);
    }
    unit(text);
    fuzz::addresses(text);
}

/// Over the bus and back, in a message that may be as long as it likes.
fn crosses(value: &Value) {
    let kind = value.kind().to_string();
    if kind.len() <= 255 {
        assert_eq!(Type::parse_one(&kind), Some(value.kind()), "{value:?}");
        // Numbers that are none are not equal to themselves.
        let read = fuzz::over_the_bus(value);
        assert_eq!(format!("{read:?}"), format!("{:?}", Some(value)));
    }
}

/// Names of units and where they are.
fn unit(text: &str) {
    if let Ok(path) = expand_slice(text) {
        is_path(&path);
        assert!(path == "/" || path.rsplit('/').next() == Some(text), "{path:?}");
    }
    for rootless in [false, true] {
        match Unit::parse(text, "0123456789ab", rootless) {
            Ok(unit) => {
                is_path(&unit.path);
                assert!(unit.path.ends_with(&format!("/{}", unit.name)), "{unit:?}");
                assert!(unit.name.ends_with(".scope") || unit.name.ends_with(".slice"), "{unit:?}");
                assert!(unit.name.len() <= 255, "{unit:?}");
                let above = expand_slice(&unit.slice).expect("the slice that it is in is one");
                assert_eq!(unit.path, format!("{}/{}", above.trim_end_matches('/'), unit.name));
            }
            Err(failure) => assert!(!failure.to_string().is_empty()),
        }
    }
}

/// A path below the hierarchies that leads nowhere else.
fn is_path(path: &str) {
    let good = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\n', '\0']);
    assert!(path == "/" || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(good)), "{path:?}");
}
