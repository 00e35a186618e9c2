//! `--security-opt`: `no-new-privileges`, `seccomp=`, `apparmor=`, `label=`, `systempaths=`.

use super::booleans;

/// One security option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Security {
    /// `no-new-privileges[=true|false]`.
    NoNewPrivileges(bool),
    /// `seccomp=default`.
    DefaultFilter,
    /// `seccomp=unconfined`.
    NoFilter,
    /// `seccomp=FILE`, not yet read.
    Filter(String),
    /// `apparmor=PROFILE`.
    AppArmor(String),
    /// `label=disable`: no SELinux label, and none is set anyway.
    NoLabel,
    /// `systempaths=unconfined`.
    Unmasked,
}

/// One option; Docker takes `=` and, from old days, `:`.
pub(crate) fn parse(text: &str) -> Result<Security, String> {
    let help = "known are no-new-privileges, seccomp=, apparmor=, systempaths=unconfined and label=disable";
    let place = text.find(['=', ':']);
    let (name, value) = place.map_or((text, None), |place| (&text[..place], Some(&text[place + 1..])));
    match (name, value) {
        ("no-new-privileges", value) => {
            booleans::parse(value.unwrap_or("true")).map(Security::NoNewPrivileges)
        }
        ("seccomp", Some("default" | "builtin")) => Ok(Security::DefaultFilter),
        ("seccomp", Some("unconfined")) => Ok(Security::NoFilter),
        ("seccomp", Some(file)) if !file.is_empty() => Ok(Security::Filter(file.to_owned())),
        ("apparmor", Some(profile)) if !profile.is_empty() => Ok(Security::AppArmor(profile.to_owned())),
        ("label", Some("disable")) => Ok(Security::NoLabel),
        ("label", Some(_)) => Err("SELinux labels are not there yet, label=disable is".to_owned()),
        ("systempaths", Some("unconfined")) => Ok(Security::Unmasked),
        _ => Err(format!("unknown; {help}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dockers_forms() {
        for text in ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"] {
            assert_eq!(parse(text), Ok(Security::NoNewPrivileges(true)));
        }
        assert_eq!(parse("no-new-privileges:false"), Ok(Security::NoNewPrivileges(false)));
        assert_eq!(parse("seccomp=unconfined"), Ok(Security::NoFilter));
        assert_eq!(parse("seccomp:unconfined"), Ok(Security::NoFilter));
        assert_eq!(parse("seccomp=default"), Ok(Security::DefaultFilter));
        assert_eq!(parse("seccomp=/a=b.json"), Ok(Security::Filter("/a=b.json".into())));
        assert_eq!(parse("apparmor=unconfined"), Ok(Security::AppArmor("unconfined".into())));
        assert_eq!(parse("label:disable"), Ok(Security::NoLabel));
        assert_eq!(parse("systempaths=unconfined"), Ok(Security::Unmasked));
    }

    #[test]
    fn refuses_others() {
        for text in [
            "",
            "seccomp",
            "seccomp=",
            "apparmor=",
            "systempaths=all",
            "bogus=1",
            "label=type:x",
            "no-new-privileges=maybe",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
