//! A container's annotations as properties of its unit: `org.systemd.property.TimeoutStopSec: uint64 5`.
//! Pure. The same as runc's (docs/systemd.md there), which Podman and Kubernetes' users rely on.

use ::step::Failure;

use super::properties::Property;
use super::text;
use super::value::Value;

const PREFIX: &str = "org.systemd.property.";

/// The properties that annotations ask for, sorted by their names. The values are in GVariant's text form. A name in
/// seconds, `TimeoutStopSec`, becomes the one that the bus has, `TimeoutStopUSec` in microseconds.
///
/// Errors name the annotation: a name of other than letters, or a value that is none.
pub fn properties<'a>(
    annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<Property>, Failure> {
    let mut found: Vec<(&str, &str)> = annotations
        .into_iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
        .collect();
    // A map has no order; the same specification must give the same plan.
    found.sort_unstable();
    found.into_iter().map(|(name, value)| property(name, value)).collect()
}

fn property(name: &str, value: &str) -> Result<Property, Failure> {
    let wrong = |reason: String| {
        Failure::because("systemd.property", format!("annotation {PREFIX}{name}"), reason)
            .hint("a property of org.freedesktop.systemd1(5) and its value as GVariant text: 'text', true, uint64 5")
    };
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(wrong("a property's name is of three letters or more, and of nothing else".to_owned()));
    }
    let read = text::parse(value).map_err(|reason| wrong(format!("{value:?} {reason}")))?;
    // `…USec` ends in Sec too.
    let in_seconds = name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()));
    let Some(stem) = in_seconds else { return Ok(Property::new(name, read)) };
    match microseconds(&read) {
        Some(time) => Ok(Property::new(format!("{stem}USec"), time)),
        None => Err(wrong(format!("{value:?} is no number of seconds"))),
    }
}

/// A number of seconds in microseconds; none where it is none or too large.
fn microseconds(seconds: &Value) -> Option<u64> {
    const MILLION: u64 = 1_000_000;
    let whole = match seconds {
        Value::Byte(number) => u64::from(*number),
        Value::Int16(number) => u64::try_from(*number).ok()?,
        Value::Uint16(number) => u64::from(*number),
        Value::Int32(number) => u64::try_from(*number).ok()?,
        Value::Uint32(number) => u64::from(*number),
        Value::Int64(number) => u64::try_from(*number).ok()?,
        Value::Uint64(number) => *number,
        Value::Double(number) => {
            let time = number * MILLION as f64;
            return if (0.0..u64::MAX as f64).contains(&time) { Some(time.round() as u64) } else { None };
        }
        _ => return None,
    };
    whole.checked_mul(MILLION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Vec<Property>, Failure> {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        properties(pairs.iter().map(|(key, value)| (key, value)))
    }

    #[test]
    fn annotations_become_properties() {
        let found = read(&[
            ("org.systemd.property.CollectMode", "'inactive-or-failed'"),
            ("org.systemd.property.After", "['a.service', 'b.service']"),
            ("org.systemd.property.SendSIGHUP", "true"),
            ("org.systemd.property.TasksMax", "uint64 123456"),
            ("org.example.other", "nonsense"),
        ]);
        assert_eq!(
            found.unwrap(),
            [
                Property::new("After", Value::strings(["a.service", "b.service"])),
                Property::new("CollectMode", "inactive-or-failed"),
                Property::new("SendSIGHUP", true),
                Property::new("TasksMax", 123_456),
            ]
        );
    }

    #[test]
    fn seconds_become_microseconds() {
        for (value, time) in [
            ("5", 5_000_000),
            ("byte 5", 5_000_000),
            ("int16 5", 5_000_000),
            ("uint16 5", 5_000_000),
            ("uint32 5", 5_000_000),
            ("int64 5", 5_000_000),
            ("uint64 123456", 123_456_000_000),
            ("1.5", 1_500_000),
            ("0", 0),
        ] {
            let found = read(&[("org.systemd.property.TimeoutStopSec", value)]).unwrap();
            assert_eq!(found, [Property::new("TimeoutStopUSec", time)], "{value}");
        }
        let already = read(&[("org.systemd.property.TimeoutStopUSec", "uint64 7")]).unwrap();
        assert_eq!(already, [Property::new("TimeoutStopUSec", 7)]);
        for bad in ["'5'", "-5", "true", "-0.5", "inf", "uint64 18446744073709551615"] {
            let failure = read(&[("org.systemd.property.TimeoutStopSec", bad)]).unwrap_err();
            assert!(failure.to_string().ends_with("is no number of seconds"), "{failure}");
        }
    }

    #[test]
    fn bad_ones_are_named() {
        for name in ["", "ab", "Tasks_Max", "Tasks.Max", "TasksMax2", "Täsks"] {
            let failure = read(&[(&format!("org.systemd.property.{name}"), "5")]).unwrap_err();
            assert!(failure.target.ends_with(&format!("org.systemd.property.{name}")), "{failure}");
        }
        let failure = read(&[("org.systemd.property.CollectMode", "inactive")]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "systemd.property on annotation org.systemd.property.CollectMode: \"inactive\" has inactive, which is no \
             value: a string stands in quotes"
        );
        assert!(failure.hint.is_some());
    }
}
