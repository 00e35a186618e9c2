//! Device rules as properties of a unit: `DevicePolicy=strict` and a list of what is allowed.
//! Pure. Source: systemd.resource-control(5), "DeviceAllow=".
//!
//! In version 2 systemd's program stands beside ours, and both must say yes: a list that said less than the rules
//! would take devices away. Where it cannot say them, they are left to our program alone, which no reload touches.
//!
//! In version 1 there is one table. systemd writes it first and we after it, so what its list leaves out comes then;
//! a daemon-reload writes systemd's again, which is less, never more. Only of rules that refuse single devices and
//! allow all others it knows nothing, and a reload allows those too.

use super::properties::Property;
use super::value::Value;
use crate::devices::{self, Rule};
use crate::hierarchies::{Controller, Hierarchies, Version};

/// Since this version systemd takes devices by their numbers, whether they are there or not.
const BY_NUMBER: u32 = 240;

/// The properties; none where the rules allow everything, or where systemd has no words for them.
pub(super) fn properties(h: &Hierarchies, rules: &[Rule], version: u32) -> Vec<Property> {
    if version < BY_NUMBER || !devices::restricts(rules) {
        return Vec::new();
    }
    // A list of what is refused, or one that even version 1 cannot say.
    let Some(table) = devices::table(rules).ok().filter(|table| !table.allow) else { return Vec::new() };
    let entries: Vec<Option<(String, String)>> = table.exceptions.iter().map(|line| entry(line)).collect();
    let v1 = h.find(Controller::Devices).is_some_and(|mount| mount.version == Version::V1);
    if !v1 && entries.contains(&None) {
        return Vec::new();
    }
    let none: [(String, String); 0] = [];
    vec![
        Property::new("DeviceAllow", Value::pairs(none)),
        Property::new("DevicePolicy", "strict"),
        Property::new("DeviceAllow", Value::pairs(entries.into_iter().flatten())),
    ]
}

/// `c 1:3 rwm` as systemd writes it: `/dev/char/1:3` and `rwm`; none for a minor number of every major one.
fn entry(line: &str) -> Option<(String, String)> {
    let mut words = line.split(' ');
    let kind = match words.next()? {
        "b" => "block",
        _ => "char",
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let access = words.next()?.to_owned();
    let device = match (major, minor) {
        ("*", "*") => format!("{kind}-*"),
        ("*", _) => return None,
        (major, "*") => format!("{kind}-{major}"),
        (major, minor) => format!("/dev/{kind}/{major}:{minor}"),
    };
    Some((device, access))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{Access, Kind};
    use crate::hierarchies::tests::{hybrid, unified};

    const DENY: Rule = Rule { allow: false, kind: Kind::All, major: None, minor: None, access: Access::ALL };

    fn rule(kind: Kind, major: Option<u32>, minor: Option<u32>, access: &str) -> Rule {
        Rule { allow: true, kind, major, minor, access: Access::parse(access).unwrap() }
    }

    #[test]
    fn a_list_of_what_is_allowed() {
        let rules = [
            DENY,
            rule(Kind::Char, Some(1), Some(3), "rwm"),
            rule(Kind::Char, Some(136), None, "rw"),
            rule(Kind::Block, None, None, "m"),
        ];
        let list = [("/dev/char/1:3", "rwm"), ("char-136", "rw"), ("block-*", "m")];
        let expected = [
            Property::new("DeviceAllow", Value::pairs([("", ""); 0])),
            Property::new("DevicePolicy", "strict"),
            Property::new("DeviceAllow", Value::pairs(list)),
        ];
        assert_eq!(properties(&unified(), &rules, 252), expected);
        assert_eq!(properties(&hybrid(), &rules, 252), expected);
        assert_eq!(properties(&unified(), &rules, 239), []);
    }

    #[test]
    fn none_where_nothing_is_refused_or_systemd_has_no_words() {
        let all = Rule { allow: true, ..DENY };
        let null = Rule { allow: false, ..rule(Kind::Char, Some(1), Some(3), "rw") };
        for rules in [&[][..], &[all], &[all, null]] {
            assert_eq!(properties(&unified(), rules, 252), []);
            assert_eq!(properties(&hybrid(), rules, 252), []);
        }
        // Taken back from a wider rule: not even a table.
        let rules = [DENY, rule(Kind::Char, Some(1), None, "rw"), null];
        assert_eq!(properties(&unified(), &rules, 252), []);
    }

    #[test]
    fn a_minor_number_of_every_major_one() {
        let rules = [DENY, rule(Kind::Char, None, Some(3), "r"), rule(Kind::Char, Some(1), Some(5), "r")];
        assert_eq!(properties(&unified(), &rules, 252), [], "the program alone decides");
        let list = properties(&hybrid(), &rules, 252).pop().unwrap();
        assert_eq!(list.value, Value::pairs([("/dev/char/1:5", "r")]), "the file takes the rest");
    }
}
