//! The options before the command, as runc has them.

use std::path::{Path, PathBuf};

use bundle::{DEFAULT_ROOT, Settings};
use rustix::process::geteuid;

use crate::options::{Opt, flag, one};
use crate::problem::Problem;
use crate::terminal::io_reason;
use crate::values::{booleans, mounts};

use super::arguments;
use super::log::{self, Log};

/// All of them, with what only the overview of the help has.
pub(super) const OPTIONS: &[Opt] = &[
    flag("debug", "Log what happens"),
    one(
        "log",
        "FILE",
        "Append errors, warnings and debug lines to this file, and errors to standard error too",
    ),
    one("log-format", "FORMAT", "text or json (default text)"),
    one("root", "DIR", "Where the containers' states are, on a tmpfs (default /run/minidocker-runtime)"),
    flag("systemd-cgroup", "Let systemd make the control groups: cgroupsPath is SLICE:PREFIX:NAME"),
    one(
        "rootless",
        "BOOLEAN",
        "Pass over missing rights on control groups: true, false or auto (default auto)",
    ),
    one("criu", "PATH", "Another name or place of the program criu"),
    flag("help", "Print this help").short('h'),
    flag("version", "Print the version").short('v'),
];

/// What holds for every command.
#[derive(Debug)]
pub(super) struct Global {
    pub(super) settings: Settings,
    pub(super) log: Log,
}

/// What stands before the command.
#[derive(Debug)]
pub(super) enum Asked {
    /// `-h`, `--help`, or nothing at all.
    Help,
    /// `-v`, `--version`.
    Version,
    /// A command (the first word) with its arguments still unread.
    Command(Global, Vec<String>),
}

/// Reads the options before the command.
pub(super) fn parse(
    words: Vec<String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Asked, Problem> {
    let Some(typed) = arguments::parse(OPTIONS, false, words)? else { return Ok(Asked::Help) };
    if typed.on("help") {
        return Ok(Asked::Help);
    }
    if typed.on("version") {
        return Ok(Asked::Version);
    }
    if typed.words.is_empty() {
        return Ok(Asked::Help);
    }
    let json = match typed.text("log-format") {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => return Err(Problem::new(format!("invalid log-format: {other}"))),
    };
    let rootless = match typed.text("rootless") {
        None => None,
        Some(auto) if auto.eq_ignore_ascii_case("auto") => None,
        Some(word) => Some(booleans::parse(word).map_err(|_| {
            Problem::new(format!(
                "invalid value {word:?} for flag -rootless: write it as true, false or auto"
            ))
        })?),
    };
    let root = match typed.has("root") {
        true => own_root(typed.text("root").unwrap_or_default())?,
        false => default_root(&environment)?,
    };
    let file = typed.text("log").map(absolute).transpose()?;
    let debug = typed.on("debug");
    let settings = Settings {
        root,
        systemd_cgroup: typed.on("systemd-cgroup"),
        criu: typed.owned("criu"),
        rootless,
        debug: debug.then_some(log::debug as fn(&str)),
        warn: log::warn,
    };
    Ok(Asked::Command(Global { settings, log: Log { file, json, debug } }, typed.words))
}

/// `--root`, absolute. runc refuses `/`, which an empty variable in a script leads to: containers' directories would
/// be made beside /etc.
fn own_root(text: &str) -> Result<PathBuf, Problem> {
    let root = absolute(text)?;
    if root == Path::new("/") {
        return Err(Problem::new("Option --root argument should not be set to /")
            .hint("it names a directory of its own, such as /run/minidocker-runtime"));
    }
    Ok(root)
}

fn absolute(text: &str) -> Result<PathBuf, Problem> {
    if text.starts_with('/') {
        return Ok(mounts::absolute(text, Path::new("/")));
    }
    let here = std::env::current_dir()
        .map_err(|error| Problem::new(format!("the current directory: {}", io_reason(&error))))?;
    Ok(mounts::absolute(text, &here))
}

/// The usual root; for others than the host's root the one that is theirs (XDG base directory specification).
fn default_root(environment: &impl Fn(&str) -> Option<String>) -> Result<PathBuf, Problem> {
    let own = environment("XDG_RUNTIME_DIR").filter(|own| !own.is_empty());
    let Some(own) = own.filter(|_| is_users_own(environment)) else { return Ok(DEFAULT_ROOT.into()) };
    let root = Path::new(&own).join("minidocker-runtime");
    // What lies below XDG_RUNTIME_DIR may be cleared away unless it has the sticky bit.
    let made = std::fs::create_dir_all(&root).and_then(|()| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o1700))
    });
    made.map(|()| root.clone()).map_err(|error| {
        Problem::new(format!("{}: {}", root.display(), io_reason(&error)))
            .hint("the directory in $XDG_RUNTIME_DIR must belong to you; or choose another one with --root")
    })
}

/// Whether the caller is another than the host's root: root in a user namespace counts, unless it says that it is root
/// by the variable USER too (a container in a container).
fn is_users_own(environment: &impl Fn(&str) -> Option<String>) -> bool {
    if !geteuid().is_root() {
        return true;
    }
    in_user_namespace() && environment("USER").as_deref() != Some("root")
}

/// Whether this is another user namespace than the host's, which maps every number to itself: user_namespaces(7).
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && !map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn read(line: &str) -> (Global, Vec<String>) {
        match parse(words(line), |_| None) {
            Ok(Asked::Command(global, words)) => (global, words),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> String {
        parse(words(line), |_| None).unwrap_err().message
    }

    #[test]
    fn the_command_keeps_its_own_options() {
        let (global, rest) =
            read("--root /x/../y -log /l --log-format json -debug --systemd-cgroup state -f c --root z");
        assert_eq!(rest, ["state", "-f", "c", "--root", "z"]);
        assert_eq!(global.settings.root, Path::new("/y"));
        assert!(global.settings.systemd_cgroup);
        assert_eq!(global.log, Log { file: Some("/l".into()), json: true, debug: true });
        let (global, _) = read("--rootless=true --criu /opt/criu list");
        assert_eq!((global.settings.rootless, global.settings.criu), (Some(true), Some("/opt/criu".into())));
        let (global, _) = read("--rootless auto --log= list");
        assert_eq!((global.settings.rootless, global.log), (None, Log::default()));
    }

    #[test]
    fn relative_paths_are_the_callers() {
        let here = std::env::current_dir().unwrap();
        let (global, _) = read("--root state --log ./l list");
        assert_eq!((global.settings.root, global.log.file), (here.join("state"), Some(here.join("l"))));
    }

    #[test]
    fn help_and_version_and_nothing() {
        for line in ["", "-h", "--help", "--root /x", "--debug --help", "-h state"] {
            assert!(matches!(parse(words(line), |_| None), Ok(Asked::Help)), "{line}");
        }
        for line in ["-v", "--version", "--debug -v"] {
            assert!(matches!(parse(words(line), |_| None), Ok(Asked::Version)), "{line}");
        }
    }

    #[test]
    fn refuses_in_runcs_words() {
        assert_eq!(refused("--bogus list"), "flag provided but not defined: -bogus");
        assert_eq!(refused("--root"), "flag needs an argument: -root");
        assert_eq!(refused("--log-format xml list"), "invalid log-format: xml");
        for root in ["--root / list", "--root=/x/.. list", "--root=/../.. list"] {
            assert_eq!(refused(root), "Option --root argument should not be set to /", "{root}");
        }
        assert!(refused("--rootless maybe list").starts_with("invalid value \"maybe\" for flag -rootless"));
    }

    #[test]
    fn the_hosts_root_has_one_place_for_all() {
        let environment = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| "/nowhere/at/all".to_owned());
        let root = default_root(&environment);
        match geteuid().is_root() && !in_user_namespace() {
            true => assert_eq!(root.unwrap(), Path::new(DEFAULT_ROOT)),
            false => assert!(root.unwrap_err().message.starts_with("/nowhere/at/all/minidocker-runtime: ")),
        }
        assert_eq!(default_root(&|_| None).unwrap(), Path::new(DEFAULT_ROOT));
    }
}
