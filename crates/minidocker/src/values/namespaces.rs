//! Whose namespaces a container uses: `host`, `private`, `container:NAME`, and the modes with more to say.

use engine::request::{Namespace, NetworkMode, TimeOffsets, UserNamespace};

use super::numbers;

/// How many ids a user namespace has where `--userns` does not say: those that most programs expect.
const IDS: u32 = 65536;

/// `--pid` and `--uts`; an empty word is the default, as in Docker.
pub(crate) fn plain(text: &str) -> Result<Namespace, String> {
    match text {
        "" | "private" => Ok(Namespace::Private),
        "host" => Ok(Namespace::Host),
        text => container(text)
            .map(Namespace::Container)
            .ok_or_else(|| "neither private, host nor container:NAME".to_owned()),
    }
}

/// `--ipc`: the namespace, and whether /dev/shm is left out.
pub(crate) fn ipc(text: &str) -> Result<(Namespace, bool), String> {
    match text {
        "none" => Ok((Namespace::Private, true)),
        "shareable" => Ok((Namespace::Private, false)),
        text => plain(text)
            .map(|namespace| (namespace, false))
            .map_err(|_| "neither private, none, shareable, host nor container:NAME".to_owned()),
    }
}

/// `--cgroupns`: true for the host's.
pub(crate) fn cgroup(text: &str) -> Result<bool, String> {
    match text {
        "" | "private" => Ok(false),
        "host" => Ok(true),
        _ => Err("neither private nor host".to_owned()),
    }
}

/// `--userns host|private[:HOSTID[:SIZE]]`.
pub(crate) fn user(text: &str) -> Result<UserNamespace, String> {
    let help = "write it as private or private:100000:65536";
    let mut parts = text.split(':');
    match parts.next() {
        Some("" | "host") if text.len() <= 4 && !text.contains(':') => return Ok(UserNamespace::Host),
        Some("private") => {}
        _ => return Err(format!("neither host nor private[:HOSTID[:SIZE]]; {help}")),
    }
    let host = match parts.next() {
        None => 0,
        Some(first) => numbers::within(first, 1..=u32::MAX - 1)
            .map_err(|why| format!("the first id is {why}; {help}"))?,
    };
    let size = match parts.next() {
        None => IDS,
        Some(size) => {
            numbers::within(size, 1..=u32::MAX - 1).map_err(|why| format!("the size is {why}; {help}"))?
        }
    };
    if parts.next().is_some() {
        return Err(format!("more than private:HOSTID:SIZE; {help}"));
    }
    // The id 2^32 - 1 means "no id": user_namespaces(7).
    if host.checked_add(size).is_none() {
        return Err(format!("the ids end beyond {}; {help}", u32::MAX - 1));
    }
    Ok(UserNamespace::Private { host, size })
}

/// `--time host|private[:monotonic=SECONDS][,boottime=SECONDS]`.
pub(crate) fn time(text: &str) -> Result<Option<TimeOffsets>, String> {
    let help = "write it as private:monotonic=86400,boottime=86400";
    let offsets = match text {
        "" | "host" => return Ok(None),
        "private" => return Ok(Some(TimeOffsets::default())),
        text => text.strip_prefix("private:").ok_or_else(|| format!("neither host nor private; {help}"))?,
    };
    let mut time = TimeOffsets::default();
    for offset in offsets.split(',') {
        let (clock, seconds) = offset.split_once('=').unwrap_or((offset, ""));
        // The kernel takes up to KTIME_SEC_MAX / 2: time_namespaces(7).
        let most = 4_611_686_018;
        let seconds =
            numbers::within(seconds, -most..=most).map_err(|why| format!("the offset is {why}; {help}"));
        match clock {
            "monotonic" => time.monotonic = seconds?,
            "boottime" => time.boottime = seconds?,
            _ => return Err(format!("no clock {}; {help}", step::quote(clock))),
        }
    }
    Ok(Some(time))
}

/// A `--network` that is no network of the container's own; none of one that names a network.
pub(crate) fn network(text: &str) -> Result<Option<NetworkMode>, String> {
    match text {
        "host" => Ok(Some(NetworkMode::Host)),
        "none" => Ok(Some(NetworkMode::None)),
        "" => Err("no network's name; write it as bridge, host, none or container:NAME".to_owned()),
        text if text.starts_with("container:") => match container(text) {
            Some(name) => Ok(Some(NetworkMode::Container(name))),
            None => Err("no container's name; write it as container:NAME".to_owned()),
        },
        _ => Ok(None),
    }
}

/// The name in `container:NAME`.
fn container(text: &str) -> Option<String> {
    text.strip_prefix("container:").filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_owners() {
        assert_eq!(plain("host"), Ok(Namespace::Host));
        assert_eq!(plain(""), Ok(Namespace::Private));
        assert_eq!(plain("container:web"), Ok(Namespace::Container("web".into())));
        for text in ["hosts", "container", "container:", "Host", "none"] {
            assert!(plain(text).is_err(), "{text}");
        }
        assert_eq!(ipc("none"), Ok((Namespace::Private, true)));
        assert_eq!(ipc("shareable"), Ok((Namespace::Private, false)));
        assert_eq!(ipc("host"), Ok((Namespace::Host, false)));
        assert!(ipc("shared").is_err());
        assert_eq!((cgroup("host"), cgroup("private"), cgroup("")), (Ok(true), Ok(false), Ok(false)));
        assert!(cgroup("container:x").is_err());
    }

    #[test]
    fn reads_user_namespaces() {
        assert_eq!(user("host"), Ok(UserNamespace::Host));
        assert_eq!(user(""), Ok(UserNamespace::Host));
        assert_eq!(user("private"), Ok(UserNamespace::Private { host: 0, size: 65536 }));
        assert_eq!(user("private:100000"), Ok(UserNamespace::Private { host: 100_000, size: 65536 }));
        assert_eq!(user("private:100000:10"), Ok(UserNamespace::Private { host: 100_000, size: 10 }));
        for text in [
            ":",
            "host:1",
            "auto",
            "private:",
            "private:0",
            "private:x",
            "private:-1",
            "private:1:0",
            "private:1:2:3",
            "private:4294967290:100",
            "private:4294967296",
            "keep-id",
        ] {
            assert!(user(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_time_namespaces() {
        assert_eq!(time("host"), Ok(None));
        assert_eq!(time("private"), Ok(Some(TimeOffsets::default())));
        assert_eq!(time("private:boottime=-5"), Ok(Some(TimeOffsets { monotonic: 0, boottime: -5 })));
        assert_eq!(
            time("private:monotonic=86400,boottime=7"),
            Ok(Some(TimeOffsets { monotonic: 86400, boottime: 7 }))
        );
        for text in [
            "own",
            "private:",
            "private:5",
            "private:realtime=1",
            "private:monotonic=",
            "private:monotonic=1s",
            "private:monotonic=9223372036",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_networks() {
        assert_eq!(network("none"), Ok(Some(NetworkMode::None)));
        assert_eq!(network("container:web"), Ok(Some(NetworkMode::Container("web".into()))));
        assert_eq!((network("bridge"), network("frontend")), (Ok(None), Ok(None)));
        assert!(network("").is_err() && network("container:").is_err());
    }
}
