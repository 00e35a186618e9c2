//! Which of the inherited descriptors stay open: those for the container's program (`--preserve-fds`, and systemd's
//! sockets, sd_listen_fds(3)), and those that an option names. No other is to be found by anything in the container,
//! at no moment of its start (CVE-2024-21626).

use std::path::Path;

use crate::problem::Problem;

use super::arguments::Typed;

/// The descriptors from 3 on that the program inherits: first systemd's sockets, then the preserved ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    /// How many sockets systemd handed to us.
    pub(super) listening: u32,
    /// `--preserve-fds`.
    pub(super) preserved: u32,
}

/// The options that name a file for us to read, which may be `/dev/fd/63`. No others: `exec --cwd /proc/self/fd/7` must
/// not lead to what the caller left open, and that is what CVE-2024-21626 was.
const FILES: [&str; 2] = ["process", "resources"];

/// Closes all others. `listens`: the command hands systemd's sockets on.
pub(super) fn keep(typed: &Typed, listens: bool) -> Result<Passed, Problem> {
    let listening = match listens {
        true => listening(std::process::id(), |name| std::env::var(name).ok()),
        false => 0,
    };
    let preserved = match typed.number::<i32>("preserve-fds")? {
        Some(number) => u32::try_from(number).unwrap_or(0),
        None => 0,
    };
    let mut named: Vec<i32> = FILES.iter().filter_map(|long| descriptor_of(typed.text(long)?)).collect();
    named.extend(typed.number::<i32>("status-fd")?);
    sys::inherited::keep_inherited(listening.saturating_add(preserved), &named);
    Ok(Passed { listening, preserved })
}

/// How many sockets systemd handed to the process `pid`, sd_listen_fds(3).
fn listening(pid: u32, variable: impl Fn(&str) -> Option<String>) -> u32 {
    let number = |name| variable(name)?.parse::<u32>().ok();
    match number("LISTEN_PID") {
        Some(meant) if meant == pid => number("LISTEN_FDS").unwrap_or(0),
        _ => 0,
    }
}

/// The descriptor that a path leads through: `/dev/fd/63`, as a shell writes `<(…)`.
fn descriptor_of(path: &str) -> Option<i32> {
    let rest = path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"))?;
    rest.split('/').next()?.parse().ok()
}

impl Passed {
    /// Refuses preserved ones that are not open, in runc's words: whatever is opened here later would take the number.
    pub(super) fn check(self) -> Result<(), Problem> {
        for number in 0..self.preserved {
            let descriptor = number.saturating_add(self.listening).saturating_add(3);
            if let Err(error) = Path::new("/proc/self/fd").join(descriptor.to_string()).symlink_metadata() {
                let (preserved, reason) = (self.preserved, crate::terminal::io_reason(&error));
                let told = format!("unable to stat preserved-fd {number} (of {preserved}): {reason}");
                return Err(Problem::new(told)
                    .hint(format!("descriptor {descriptor} is not open; --preserve-fds counts from 3 on")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemds_sockets_are_ours_only_by_our_number() {
        let environment = |pid: &'static str, fds: &'static str| {
            move |name: &str| match name {
                "LISTEN_PID" => Some(pid.to_owned()),
                "LISTEN_FDS" => Some(fds.to_owned()),
                _ => None,
            }
        };
        assert_eq!(listening(7, environment("7", "2")), 2);
        assert_eq!(listening(7, environment("8", "2")), 0);
        assert_eq!(listening(7, environment("7", "-1")), 0);
        assert_eq!(listening(7, environment("7", "x")), 0);
        assert_eq!(listening(7, |_| None), 0);
    }

    #[test]
    fn paths_through_descriptors_name_them() {
        assert_eq!(descriptor_of("/dev/fd/63"), Some(63));
        assert_eq!(descriptor_of("/proc/self/fd/9/config.json"), Some(9));
        for path in ["/dev/fd/", "/dev/fd/x", "/dev/fdx/3", "fd/3", "/proc/1/fd/3", "63"] {
            assert_eq!(descriptor_of(path), None, "{path}");
        }
    }

    #[test]
    fn preserved_ones_must_be_open() {
        Passed { listening: 5, preserved: 0 }.check().unwrap();
        let told = Passed { listening: 1, preserved: 1_000_000 }.check().unwrap_err().message;
        assert!(told.starts_with("unable to stat preserved-fd "), "{told}");
        assert!(told.ends_with(" (of 1000000): no such file or directory"), "{told}");
    }
}
