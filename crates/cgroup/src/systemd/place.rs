//! Where systemd may be reached.

use std::ffi::OsString;
use std::path::PathBuf;

use super::bus::Address;

/// Where systemd may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: Address,
    /// A message bus, and not systemd's own socket.
    pub(super) bus: bool,
}

impl Place {
    /// The host's, or that of the user for a `rootless` one, as `systemctl` and runc look for them: the bus that the
    /// environment names, the bus where it usually is, and systemd's own socket where there is no bus.
    pub(super) fn all(
        rootless: bool,
        root: bool,
        uid: u32,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<Self> {
        let named = |name: &str| {
            let text =
                variable(name).and_then(|text| text.into_string().ok()).filter(|text| !text.is_empty());
            text.map(|text| Address::parse(&text))
        };
        let (buses, own) = if rootless {
            let usual = variable("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
            let runtime = usual.map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
            let named = named("DBUS_SESSION_BUS_ADDRESS");
            (
                named.unwrap_or_else(|| vec![Address::Path(runtime.join("bus"))]),
                Some(runtime.join("systemd/private")),
            )
        } else {
            let usual = || vec![Address::Path("/run/dbus/system_bus_socket".into())];
            let own = if root { Some(PathBuf::from("/run/systemd/private")) } else { None };
            (named("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(usual), own)
        };
        let own = own.map(|path| Self { address: Address::Path(path), bus: false });
        buses.into_iter().map(|address| Self { address, bus: true }).chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_as_systemctl_looks_for_them() {
        let bus = |path: &str| Place { address: Address::Path(path.into()), bus: true };
        let own = |path: &str| Place { address: Address::Path(path.into()), bus: false };
        let none = |_: &str| None;
        let (system, private) = (bus("/run/dbus/system_bus_socket"), own("/run/systemd/private"));
        assert_eq!(Place::all(false, true, 0, none), [system.clone(), private.clone()]);
        assert_eq!(Place::all(false, false, 1000, none), [system]);
        let user = [bus("/run/user/1000/bus"), own("/run/user/1000/systemd/private")];
        assert_eq!(Place::all(true, false, 1000, none), user);
        let runtime = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| "/tmp/r".into());
        assert_eq!(
            Place::all(true, false, 1000, runtime),
            [bus("/tmp/r/bus"), own("/tmp/r/systemd/private")]
        );
        let named =
            |name: &str| name.starts_with("DBUS_SYSTEM").then(|| "unix:path=/a;unix:abstract=b".into());
        let named: Vec<Place> = Place::all(false, true, 0, named);
        let other = Place { address: Address::Abstract(b"b".to_vec()), bus: true };
        assert_eq!(named, [bus("/a"), other, private]);
    }
}
