//! Options of the local driver, Docker's: `type`, `device` and `o`, as mount(8) takes them. The file system is mounted
//! for each container that uses the volume, in its own mount namespace: nothing stays mounted on the host.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs as _;
use std::path::PathBuf;

use crate::{Error, Kind};

/// Where the files of a volume are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Backing {
    /// In the volume's own directory.
    Data,
    /// In a directory of the host; mount(8)'s words.
    Bind(PathBuf, Vec<String>),
    /// In a file system that is mounted: kind, device, words.
    Mounted(String, String, Vec<String>),
}

/// Options that cannot be, before a volume is made with them. In Docker's words.
pub(crate) fn check(options: &BTreeMap<String, String>) -> Result<(), Error> {
    let invalid = |message: String| Error::new(Kind::Invalid, message);
    if let Some(key) = options.keys().find(|key| !["type", "device", "o"].contains(&key.as_str())) {
        return Err(invalid(format!("invalid option: {}", step::quote(key)))
            .hint("the local driver knows type=, device= and o="));
    }
    if options.is_empty() {
        return Ok(());
    }
    let given = |key: &str| options.get(key).is_some_and(|value| !value.is_empty());
    for (key, others) in [("type", "device"), ("device", "type")] {
        if !given(key) {
            return Err(invalid(format!("missing required option: {}", step::quote(key))).hint(format!(
                "{} and {others} belong together: --opt type=tmpfs --opt device=tmpfs, or type=none, device=/dir and o=bind",
                key
            )));
        }
    }
    if let Backing::Bind(device, _) = backing(options)
        && !device.is_absolute()
    {
        return Err(invalid(format!("device {} is not absolute", step::quote(&device.to_string_lossy())))
            .hint("give the directory as the host names it: --opt device=/srv/data"));
    }
    Ok(())
}

/// What options mean. Pure: names of servers are looked up by [`resolved`].
pub(super) fn backing(options: &BTreeMap<String, String>) -> Backing {
    let value = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let (kind, device) = (value("type"), value("device"));
    let words: Vec<String> =
        value("o").split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let is_bind = |word: &String| word == "bind" || word == "rbind";
    if words.iter().any(is_bind) {
        let words = words.into_iter().filter(|word| !is_bind(word)).collect();
        return Backing::Bind(PathBuf::from(device), words);
    }
    match kind {
        "" => Backing::Data,
        kind => Backing::Mounted(kind.to_owned(), device.to_owned(), words),
    }
}

/// The kernel wants addresses where people write the names of servers: `addr=` of NFS and CIFS.
pub(super) fn resolved(backing: Backing, volume: &str) -> Result<Backing, Error> {
    let Backing::Mounted(kind, device, words) = backing else { return Ok(backing) };
    if !kind.starts_with("nfs") && kind != "cifs" {
        return Ok(Backing::Mounted(kind, device, words));
    }
    let one = |word: String| -> Result<String, Error> {
        let Some(name) = word.strip_prefix("addr=") else { return Ok(word) };
        let found = (name, 0).to_socket_addrs().ok().and_then(|mut all| all.next());
        let address = found.ok_or_else(|| {
            Error::new(
                Kind::Engine,
                format!("volume {volume}: no address of the server {}", step::quote(name)),
            )
            .hint("give the address itself: --opt o=addr=192.0.2.1")
        })?;
        Ok(format!("addr={}", address.ip()))
    };
    Ok(Backing::Mounted(kind, device, words.into_iter().map(one).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_mean_what_mount_makes_of_them() {
        assert_eq!(backing(&options(&[])), Backing::Data);
        assert_eq!(
            backing(&options(&[("type", "none"), ("device", "/srv"), ("o", "bind,ro")])),
            Backing::Bind("/srv".into(), vec!["ro".into()])
        );
        assert_eq!(
            backing(&options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=3")])),
            Backing::Mounted("tmpfs".into(), "tmpfs".into(), vec!["size=1m".into(), "uid=3".into()])
        );
    }

    #[test]
    fn options_that_cannot_be_are_refused() {
        let refused = |all| check(&options(all)).unwrap_err().message;
        assert_eq!(refused(&[("size", "1")]), "invalid option: size");
        assert_eq!(refused(&[("type", "tmpfs")]), "missing required option: device");
        assert_eq!(refused(&[("o", "bind"), ("device", "/x")]), "missing required option: type");
        assert!(refused(&[("type", "none"), ("device", "x"), ("o", "bind")]).contains("not absolute"));
        assert!(check(&options(&[("type", "none"), ("device", "/x"), ("o", "bind")])).is_ok());
        assert!(check(&options(&[])).is_ok());
    }

    #[test]
    fn servers_are_looked_up() {
        let nfs = |addr: &str| Backing::Mounted("nfs".into(), ":/x".into(), vec![format!("addr={addr}")]);
        assert_eq!(resolved(nfs("127.0.0.1"), "v").unwrap(), nfs("127.0.0.1"));
        assert!(resolved(nfs("no.such.name.invalid"), "v").is_err());
    }
}
