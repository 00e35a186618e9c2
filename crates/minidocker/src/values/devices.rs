//! Devices, and limits of one disk: `--device`, `--device-cgroup-rule`, `--device-read-bps`, `--hugetlb`.

use std::path::PathBuf;

use engine::request::Device;

use super::{names, numbers, sizes};

/// `--device HOST[:CONTAINER][:rwm]`.
pub(crate) fn device(text: &str) -> Result<Device, String> {
    let help = "write it as /dev/fuse or /dev/sda:/dev/xvda:r";
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, access) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, second] if is_access(second) => (host, host, second),
        [host, container] => (host, container, "rwm"),
        [host, container, access] => (host, container, access),
        _ => return Err(format!("more than HOST:CONTAINER:rwm; {help}")),
    };
    if !is_access(access) {
        return Err(format!(
            "the access {} is not made of r, w and m, each once; {help}",
            step::quote(access)
        ));
    }
    for path in [host, container] {
        if !path.starts_with('/') || path.ends_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("{} is not the absolute path of a device; {help}", step::quote(path)));
        }
    }
    Ok(Device { host: host.into(), container: container.into(), access: access.to_owned() })
}

fn is_access(text: &str) -> bool {
    let once = |letter| text.matches(letter).count() <= 1;
    !text.is_empty()
        && text.bytes().all(|byte| b"rwm".contains(&byte))
        && ['r', 'w', 'm'].into_iter().all(once)
}

/// `--device-cgroup-rule "c 1:3 rwm"`, as typed.
pub(crate) fn rule(text: &str) -> Result<String, String> {
    let number = |text: &str| text == "*" || numbers::within(text, 0..=u32::MAX).is_ok();
    let known = match text.split(' ').collect::<Vec<_>>()[..] {
        [kind, device, access] => {
            matches!(kind, "a" | "b" | "c")
                && device.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
                && is_access(access)
        }
        _ => false,
    };
    if known {
        Ok(text.to_owned())
    } else {
        Err("not TYPE MAJOR:MINOR ACCESS; write it as 'c 1:3 rwm'".to_owned())
    }
}

/// `--blkio-weight-device DEVICE:WEIGHT`.
pub(crate) fn weight(text: &str) -> Result<(PathBuf, u16), String> {
    let help = "write it as /dev/sda:500";
    let (path, weight) = disk(text, help)?;
    Ok((path, numbers::within(weight, 10..=1000).map_err(|why| format!("the weight is {why}; {help}"))?))
}

/// `--device-read-bps DEVICE:BYTES` and `--device-write-bps`.
pub(crate) fn bytes(text: &str) -> Result<(PathBuf, u64), String> {
    let help = "write it as /dev/sda:10m";
    let (path, rate) = disk(text, help)?;
    let rate = sizes::parse(rate)?;
    if rate == 0 { Err(format!("a rate of nothing; {help}")) } else { Ok((path, rate)) }
}

/// `--device-read-iops DEVICE:NUMBER` and `--device-write-iops`.
pub(crate) fn operations(text: &str) -> Result<(PathBuf, u64), String> {
    let help = "write it as /dev/sda:1000";
    let (path, rate) = disk(text, help)?;
    // The kernel counts them in 32 bits: block/blk-throttle.c.
    let most = u64::from(u32::MAX);
    Ok((path, numbers::within(rate, 1..=most).map_err(|why| format!("the rate is {why}; {help}"))?))
}

fn disk<'a>(text: &'a str, help: &str) -> Result<(PathBuf, &'a str), String> {
    match text.rsplit_once(':') {
        Some((path, value)) if path.starts_with("/dev/") && path.len() > 5 => Ok((path.into(), value)),
        _ => Err(format!("not a device below /dev and a number; {help}")),
    }
}

/// `--hugetlb 2MB=64m`: the page size as the kernel names it, bytes.
pub(crate) fn hugetlb(text: &str) -> Result<(String, u64), String> {
    let help = "write it as 2MB=64m";
    let (size, limit) = text.split_once('=').ok_or_else(|| format!("no limit; {help}"))?;
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &size[digits.len()..];
    if !matches!(unit, "KB" | "MB" | "GB") || numbers::within(digits, 1u32..=u32::MAX).is_err() {
        return Err(format!("{} is no page size; {help}", step::quote(size)));
    }
    Ok((size.to_owned(), sizes::parse(limit)?))
}

/// `--net-cls-classid`: tc(8)'s `MAJOR:MINOR` in hexadecimal, or the number, cgroup-v1/net_cls.
pub(crate) fn class(text: &str) -> Result<u32, String> {
    let hex = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
    };
    let class = match (text.split_once(':'), text.strip_prefix("0x")) {
        (Some((major, minor)), _) => match (hex(major), hex(minor)) {
            (Some(major @ ..=0xffff), Some(minor @ ..=0xffff)) => Some(major << 16 | minor),
            _ => None,
        },
        (None, Some(digits)) => hex(digits),
        (None, None) => numbers::within(text, 0..=u32::MAX).ok(),
    };
    class.ok_or_else(|| "not a class; write it as 10:1 or 0x100001".to_owned())
}

/// `--net-prio LINK=PRIORITY`.
pub(crate) fn priority(text: &str) -> Result<(String, u32), String> {
    let help = "write it as eth0=5";
    let (link, priority) = text.split_once('=').ok_or_else(|| format!("no priority; {help}"))?;
    let priority =
        numbers::within(priority, 0..=u32::MAX).map_err(|why| format!("the priority is {why}; {help}"))?;
    Ok((names::link(link)?, priority))
}

/// `--cgroup-conf FILE=VALUE`.
pub(crate) fn file(text: &str) -> Result<(String, String), String> {
    let help = "write it as memory.high=8388608";
    let (file, value) = text.split_once('=').ok_or_else(|| format!("no value; {help}"))?;
    if file.is_empty() || file.starts_with('.') || file.contains('/') || value.is_empty() {
        return Err(format!("not a file of a control group and its value; {help}"));
    }
    Ok((file.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_devices() {
        let read = |text| {
            device(text).map(|d| (d.host.display().to_string(), d.container.display().to_string(), d.access))
        };
        let wanted =
            |host: &str, container: &str, access: &str| Ok((host.into(), container.into(), access.into()));
        assert_eq!(read("/dev/fuse"), wanted("/dev/fuse", "/dev/fuse", "rwm"));
        assert_eq!(read("/dev/fuse:r"), wanted("/dev/fuse", "/dev/fuse", "r"));
        assert_eq!(read("/dev/sda:/dev/xvda"), wanted("/dev/sda", "/dev/xvda", "rwm"));
        assert_eq!(read("/dev/sda:/dev/xvda:rw"), wanted("/dev/sda", "/dev/xvda", "rw"));
        for text in [
            "",
            "fuse",
            "/dev/",
            "/dev/a:b",
            "/dev/a:/b:x",
            "/dev/a:/b:rr",
            "/dev/a:/b:",
            "/dev/a:/b:r:w",
            "/dev/a:/dev/../etc/x",
        ] {
            assert!(device(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_rules() {
        for text in ["c 1:3 rwm", "b *:* m", "a *:* rwm"] {
            assert_eq!(rule(text), Ok(text.to_owned()));
        }
        for text in ["", "c", "c 1 rwm", "d 1:3 r", "c 1:3 x", "c 1:3", "c  1:3 r", "c -1:3 r", "c 1:3 rwmm"]
        {
            assert!(rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_limits_of_a_disk() {
        assert_eq!(weight("/dev/sda:500"), Ok(("/dev/sda".into(), 500)));
        assert_eq!(bytes("/dev/sda:10m"), Ok(("/dev/sda".into(), 10 << 20)));
        assert_eq!(operations("/dev/sda:1000"), Ok(("/dev/sda".into(), 1000)));
        for text in [
            "",
            "/dev/sda",
            "sda:500",
            "/dev/:500",
            "/dev/sda:",
            "/dev/sda:-1",
            "/dev/sda:0",
            "/dev/sda:1e30",
        ] {
            assert!(weight(text).is_err() && bytes(text).is_err() && operations(text).is_err(), "{text}");
        }
        assert!(weight("/dev/sda:9").is_err() && weight("/dev/sda:1001").is_err());
        assert!(operations("/dev/sda:4294967296").is_err());
    }

    #[test]
    fn reads_the_rest_of_the_control_groups_options() {
        assert_eq!(hugetlb("2MB=64m"), Ok(("2MB".into(), 64 << 20)));
        for text in ["", "2MB", "2M=1m", "MB=1m", "2MB=", "2MB=-1", "2mb=1m", "../x=1m"] {
            assert!(hugetlb(text).is_err(), "{text}");
        }
        assert_eq!(
            (class("10:1"), class("0x100001"), class("1048577")),
            (Ok(0x10_0001), Ok(0x10_0001), Ok(0x10_0001))
        );
        for text in ["", ":", "10:", "10000:1", "0x", "0x1ffffffff", "-1", "x", "1:2:3", "+1:1"] {
            assert!(class(text).is_err(), "{text}");
        }
        assert_eq!(priority("eth0=5"), Ok(("eth0".into(), 5)));
        assert!(priority("eth0").is_err() && priority("=5").is_err() && priority("eth0=-1").is_err());
        assert_eq!(file("memory.high=max"), Ok(("memory.high".into(), "max".into())));
        for text in ["", "memory.high", "=1", "memory.high=", "../x=1", "a/b=1", ".hidden=1"] {
            assert!(file(text).is_err(), "{text}");
        }
    }
}
