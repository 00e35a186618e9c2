//! The unit that a container's control group is to be, from `linux.cgroupsPath`: its name, its slice, its path.
//! Pure. Source: systemd.slice(5), systemd.unit(5); the form `slice:prefix:name` is runc's (docs/systemd.md there).

use ::step::Failure;

/// What names an empty `cgroupsPath` and a test's own units.
const PREFIX: &str = "minidocker";

/// A transient unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name: `docker-<id>.scope`.
    pub name: String,
    /// The slice that it is in: `system.slice`, `-.slice` for the root.
    pub slice: String,
    /// Its control group below the manager's own, the same in every hierarchy:
    /// `/system.slice/docker-<id>.scope`. For a user's manager see [`super::Facts::path`].
    pub path: String,
}

impl Unit {
    /// Reads a `cgroupsPath` of the form `slice:prefix:name`; an empty one is `::minidocker:<id>`.
    ///
    /// An empty slice is `system.slice`, or `user.slice` for a `rootless` one, whose manager is the user's own. The
    /// unit is the scope `prefix-name.scope`; a name that ends in `.slice` is a slice itself, without the prefix.
    /// Errors name the part that is wrong.
    pub fn parse(cgroups_path: &str, id: &str, rootless: bool) -> Result<Self, Failure> {
        let default = if rootless { "user.slice" } else { "system.slice" };
        let parts: Vec<&str> = cgroups_path.split(':').collect();
        let (slice, prefix, name) = match parts.as_slice() {
            [""] => ("", PREFIX, id),
            [slice, prefix, name] => (*slice, *prefix, *name),
            _ => {
                return Err(wrong(
                    cgroups_path,
                    "is not of the form slice:prefix:name, which systemd's units need",
                )
                .hint("such as system.slice:minidocker:<id>; a plain path is for groups without systemd"));
            }
        };
        if name.is_empty() {
            return Err(wrong(cgroups_path, "names no unit: nothing follows the last colon"));
        }
        if name.ends_with(".slice") {
            return Self::slice(cgroups_path, slice, name);
        }
        let slice = if slice.is_empty() { default } else { slice };
        let name = format!("{prefix}-{name}.scope");
        check_name(cgroups_path, &name)?;
        let above = expand_slice(slice)?;
        let path = format!("{}/{name}", above.trim_end_matches('/'));
        Ok(Self { name, slice: slice.to_owned(), path })
    }

    /// A slice's name says where it is: its parent is no choice.
    fn slice(cgroups_path: &str, parent: &str, name: &str) -> Result<Self, Failure> {
        let path = expand_slice(name)?;
        let above = match path.trim_end_matches('/').rsplit('/').nth(1) {
            Some("") | None => "-.slice",
            Some(above) => above,
        };
        if !parent.is_empty() && parent != above {
            let reason = format!("{name} is in {above}, not in {parent}: a slice's name says where it is");
            return Err(wrong(cgroups_path, reason).hint(format!("write {above}::{name}")));
        }
        if path == "/" {
            return Err(wrong(cgroups_path, "the root slice is there already"));
        }
        Ok(Self { slice: above.to_owned(), name: name.to_owned(), path })
    }

    /// Whether it is a slice: a group for units, without processes of its own.
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// The object that stands for it on the bus: every other byte than letters and digits as `_` and its number
    /// (`bus_path_escape` in systemd's src/basic).
    pub(super) fn object(&self) -> String {
        let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
        for (at, byte) in self.name.bytes().enumerate() {
            if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("_{byte:02x}"));
            }
        }
        path
    }

    /// The interface of its kind.
    pub(super) fn interface(&self) -> &'static str {
        if self.is_slice() { "org.freedesktop.systemd1.Slice" } else { "org.freedesktop.systemd1.Scope" }
    }
}

/// Where a slice is: a dash in its name is a step down, `a-b.slice` is `/a.slice/a-b.slice`. `-.slice` is the root,
/// `/`. Errors name the slice.
pub fn expand_slice(slice: &str) -> Result<String, Failure> {
    let Some(name) = slice.strip_suffix(".slice") else {
        return Err(wrong(slice, "is no slice").hint("a slice's name ends in .slice, such as system.slice"));
    };
    if name == "-" {
        return Ok("/".to_owned());
    }
    check_name(slice, slice)?;
    if name.split('-').any(str::is_empty) {
        return Err(wrong(slice, "is no slice: each of its dashes stands between two names"));
    }
    let mut path = String::new();
    for (dash, _) in name.match_indices('-') {
        let above = format!("{}.slice", &name[..dash]);
        check_name(slice, &above)?;
        path.push('/');
        path.push_str(&above);
    }
    Ok(format!("{path}/{slice}"))
}

/// What systemd takes as a unit's name (`unit_name_is_valid` in its src/basic): 255 bytes at most, of these.
fn check_name(target: &str, name: &str) -> Result<(), Failure> {
    let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if let Some(bad) = name.chars().find(|c| !known(*c)) {
        return Err(wrong(target, format!("a unit's name cannot have {bad:?} in it"))
            .hint("letters, digits and any of -_.@: and backslash; systemd-escape(1) writes others"));
    }
    if name.len() > 255 {
        return Err(wrong(target, format!("a unit's name has 255 letters at most, this one {}", name.len())));
    }
    // Before an @ something must stand, and what stands behind it makes it an instance of a template.
    if name.starts_with('@') || name.ends_with("@.scope") || name.ends_with("@.slice") {
        return Err(wrong(target, format!("{name} is a template and no unit")));
    }
    Ok(())
}

fn wrong(target: &str, reason: impl Into<String>) -> Failure {
    Failure::because("systemd.unit", format!("cgroupsPath {target:?}"), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str, rootless: bool) -> (String, String, String) {
        let unit = Unit::parse(path, "c1", rootless).unwrap();
        (unit.name, unit.slice, unit.path)
    }

    fn told(path: &str) -> String {
        Unit::parse(path, "c1", false).unwrap_err().to_string()
    }

    #[test]
    fn scopes() {
        for (path, name, slice, place) in [
            ("system.slice:docker:0f", "docker-0f.scope", "system.slice", "/system.slice/docker-0f.scope"),
            ("machine.slice:runc:test", "runc-test.scope", "machine.slice", "/machine.slice/runc-test.scope"),
            (":runc:x", "runc-x.scope", "system.slice", "/system.slice/runc-x.scope"),
            ("", "minidocker-c1.scope", "system.slice", "/system.slice/minidocker-c1.scope"),
            ("-.slice:a:b", "a-b.scope", "-.slice", "/a-b.scope"),
            // runc and crun write the dash there too.
            ("a.slice::b", "-b.scope", "a.slice", "/a.slice/-b.scope"),
            (
                "kubepods-burstable-pod1_2.slice:cri-containerd:0f",
                "cri-containerd-0f.scope",
                "kubepods-burstable-pod1_2.slice",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-0f.scope",
            ),
        ] {
            assert_eq!(unit(path, false), (name.into(), slice.into(), place.into()), "{path}");
        }
        assert_eq!(unit("", true).2, "/user.slice/minidocker-c1.scope");
        assert_eq!(unit("user.slice:libpod:0f", true).2, "/user.slice/libpod-0f.scope");
        assert!(!Unit::parse("", "c1", false).unwrap().is_slice());
    }

    #[test]
    fn slices() {
        let pods = ("kubepods-besteffort.slice".into(), "kubepods.slice".into());
        let path = "/kubepods.slice/kubepods-besteffort.slice";
        for given in ["kubepods.slice:x:kubepods-besteffort.slice", "::kubepods-besteffort.slice"] {
            let (name, slice, place) = unit(given, false);
            assert_eq!(((name, slice), place.as_str()), (pods.clone(), path), "{given}");
        }
        assert_eq!(unit("::a.slice", false), ("a.slice".into(), "-.slice".into(), "/a.slice".into()));
        assert_eq!(unit("-.slice::a.slice", false).2, "/a.slice");
        assert!(Unit::parse("::a.slice", "c1", false).unwrap().is_slice());
        assert_eq!(
            told("system.slice::a-b.slice"),
            "systemd.unit on cgroupsPath \"system.slice::a-b.slice\": a-b.slice is in a.slice, not in \
             system.slice: a slice's name says where it is"
        );
        assert!(told("::-.slice").ends_with("the root slice is there already"));
    }

    #[test]
    fn expansion() {
        for (slice, path) in [
            ("-.slice", "/"),
            ("test.slice", "/test.slice"),
            ("test-a-b.slice", "/test.slice/test-a.slice/test-a-b.slice"),
        ] {
            assert_eq!(expand_slice(slice).unwrap(), path);
        }
        for bad in
            ["", ".slice", "a", "a.scope", "--.slice", "a--b.slice", "-a.slice", "a-.slice", "a/b.slice"]
        {
            let failure = expand_slice(bad).unwrap_err();
            assert!(failure.target.contains(&format!("{bad:?}")), "{failure}");
        }
    }

    #[test]
    fn bad_paths_name_the_bad_value() {
        assert_eq!(
            told("/minidocker/c1"),
            "systemd.unit on cgroupsPath \"/minidocker/c1\": is not of the form slice:prefix:name, which systemd's \
             units need"
        );
        for (path, reason) in [
            ("a:b", "is not of the form"),
            ("a:b:c:d", "is not of the form"),
            ("system.slice:docker:", "names no unit"),
            ("system:docker:x", "is no slice"),
            ("system.slice:docker:a/b", "cannot have '/' in it"),
            ("system.slice:docker:a b", "cannot have ' ' in it"),
            ("sys/tem.slice:docker:a", "cannot have '/' in it"),
            ("../x.slice:docker:a", "cannot have '/' in it"),
            ("a--b.slice:docker:a", "each of its dashes"),
            ("system.slice:docker:é", "cannot have 'é' in it"),
            ("system.slice:docker:x@", "is a template"),
        ] {
            assert!(told(path).contains(reason), "{}", told(path));
        }
        let long = format!("system.slice:docker:{}", "x".repeat(243));
        assert!(told(&long).contains("255 letters at most, this one 256"), "{}", told(&long));
    }

    #[test]
    fn objects_on_the_bus() {
        let object = |path: &str| Unit::parse(path, "c1", false).unwrap().object();
        assert_eq!(object("a.slice:b:c_1"), "/org/freedesktop/systemd1/unit/b_2dc_5f1_2escope");
        assert_eq!(object("a.slice:1:2"), "/org/freedesktop/systemd1/unit/_31_2d2_2escope");
    }
}
