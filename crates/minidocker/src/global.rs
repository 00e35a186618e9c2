//! The options before the command: from the command line, else from the environment, else the engine's defaults.

use std::path::Path;

use engine::Settings;

use crate::commands::{listed, names_in};
use crate::options::bad_value;
use crate::problem::Problem;
use crate::values::{addresses, mounts, names};

/// One global option.
#[derive(Debug)]
pub(crate) struct Global {
    /// `root` of `--root`.
    pub(crate) long: &'static str,
    /// `MINIDOCKER_ROOT`.
    pub(crate) variable: &'static str,
    /// What the help calls the value.
    pub(crate) value: &'static str,
    /// One line.
    pub(crate) help: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// All of them.
pub(crate) const OPTIONS: &[Global] = &[
    Global {
        long: "root",
        variable: "MINIDOCKER_ROOT",
        value: "DIR",
        help: "What survives a reboot",
        set: |settings, text| path(text).map(|path| settings.root = path),
    },
    Global {
        long: "run-root",
        variable: "MINIDOCKER_RUN_ROOT",
        value: "DIR",
        help: "What does not",
        set: |settings, text| path(text).map(|path| settings.run_root = path),
    },
    Global {
        long: "bridge",
        variable: "MINIDOCKER_BRIDGE",
        value: "LINK",
        help: "Bridge of the default network",
        set: |settings, text| names::link(text).map(|link| settings.bridge = link),
    },
    Global {
        long: "subnet",
        variable: "MINIDOCKER_SUBNET",
        value: "NETWORK",
        help: "Addresses of the default network",
        set: |settings, text| addresses::subnet(text).map(|subnet| settings.subnet = Some(subnet)),
    },
    Global {
        long: "subnet6",
        variable: "MINIDOCKER_SUBNET6",
        value: "NETWORK|auto",
        help: "Its IPv6 addresses; none where nobody asks",
        set: |settings, text| addresses::subnet6(text).map(|subnet| settings.subnet6 = Some(subnet)),
    },
    Global {
        long: "cgroup-parent",
        variable: "MINIDOCKER_CGROUP_PARENT",
        value: "PATH",
        help: "Control group above the containers'",
        set: |settings, text| cgroup(text).map(|path| settings.cgroup_parent = path),
    },
];

/// What stands before the command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// `-h`, `--help`, or nothing at all.
    Help,
    /// `-v`, `--version`.
    Version,
    /// A command with its arguments still unread.
    Command(Settings, Vec<String>),
}

/// Reads the options before the command.
pub(crate) fn parse(
    arguments: Vec<String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Asked, Problem> {
    let mut settings = Settings::default();
    let mut typed: Vec<(&Global, String)> = Vec::new();
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next_if(|argument| argument.starts_with('-') && argument != "-") {
        if argument == "--" {
            break;
        }
        match argument.as_str() {
            "-h" | "--help" => return Ok(Asked::Help),
            "-v" | "--version" => return Ok(Asked::Version),
            _ => {}
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let option = OPTIONS.iter().find(|option| name.strip_prefix("--") == Some(option.long));
        let option = option.ok_or_else(|| unknown(name))?;
        let value = value.or_else(|| arguments.next());
        typed.push((option, value.ok_or_else(|| Problem::new(format!("{name} needs a value")))?));
    }
    if arguments.peek().is_none() {
        return Ok(Asked::Help);
    }
    for option in OPTIONS {
        match typed.iter().rfind(|(given, _)| given.long == option.long) {
            Some((_, value)) => {
                (option.set)(&mut settings, value).map_err(|why| bad_value(option.long, value, &why))?;
            }
            None => from_environment(option, &mut settings, &environment)?,
        }
    }
    Ok(Asked::Command(settings, arguments.collect()))
}

fn from_environment(
    option: &Global,
    settings: &mut Settings,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<(), Problem> {
    // An empty variable is as good as none, as for most programs.
    let Some(value) = environment(option.variable).filter(|value| !value.is_empty()) else { return Ok(()) };
    (option.set)(settings, &value)
        .map_err(|why| Problem::new(format!("{}={}: {why}", option.variable, step::quote(&value))))
}

fn unknown(name: &str) -> Problem {
    let problem = Problem::new(format!("unknown option {} before a command", step::quote(name)));
    let longs = OPTIONS.iter().map(|option| option.long).chain(["help", "version"]);
    match step::nearest(name.trim_start_matches('-'), longs) {
        Some(long) => problem.hint(format!("did you mean --{long}?")),
        None => problem
            .hint(format!("options of a command stand after it; commands are {}", listed(&names_in(None)))),
    }
}

fn path(text: &str) -> Result<std::path::PathBuf, String> {
    if text.is_empty() {
        return Err("no directory; write it as /var/lib/minidocker".to_owned());
    }
    if text.starts_with('/') {
        return Ok(mounts::absolute(text, Path::new("/")));
    }
    let here = std::env::current_dir().map_err(|_| "the current directory is gone".to_owned())?;
    Ok(mounts::absolute(text, &here))
}

/// The path of a control group below its hierarchy's root.
pub(crate) fn cgroup(text: &str) -> Result<String, String> {
    let odd = |part: &str| matches!(part, "." | "..") || part.contains('\n');
    let trimmed = text.trim_matches('/');
    if trimmed.is_empty() || trimmed.split('/').any(|part| part.is_empty() || odd(part)) {
        return Err("not the path of a control group; write it as /minidocker".to_owned());
    }
    Ok(format!("/{trimmed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn settings(text: &str, environment: impl Fn(&str) -> Option<String>) -> Settings {
        match parse(words(text), environment) {
            Ok(Asked::Command(settings, rest)) => {
                assert_eq!(rest, ["ps", "-a"]);
                settings
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let environment = |name: &str| match name {
            "MINIDOCKER_ROOT" => Some("/env".to_owned()),
            "MINIDOCKER_BRIDGE" => Some("br-env".to_owned()),
            "MINIDOCKER_SUBNET" => Some(String::new()),
            _ => None,
        };
        let read = settings("--root /typed --run-root=/run/x --cgroup-parent a/b ps -a", environment);
        assert_eq!(read.root, Path::new("/typed"));
        assert_eq!(read.run_root, Path::new("/run/x"));
        assert_eq!(
            (read.bridge.as_str(), read.subnet, read.cgroup_parent.as_str()),
            ("br-env", None, "/a/b")
        );
        assert_eq!(settings("ps -a", |_| None), Settings::default());
    }

    #[test]
    fn help_and_version_and_nothing() {
        for text in ["", "-h", "--help", "--root /x", "--root /x --help"] {
            assert_eq!(parse(words(text), |_| None), Ok(Asked::Help), "{text}");
        }
        assert_eq!(parse(words("-v"), |_| None), Ok(Asked::Version));
    }

    #[test]
    fn refuses_in_one_line() {
        let cases = [
            ("--roots /x ps", "unknown option --roots before a command"),
            ("-it run", "unknown option -it before a command"),
            ("--root", "--root needs a value"),
            ("--root= ps", "--root '': no directory; write it as /var/lib/minidocker"),
            ("--subnet 10.0.0.1/8 ps", "--subnet 10.0.0.1/8: the network is 10.0.0.0/8"),
            ("--subnet6 fd00::1/64 ps", "--subnet6 fd00::1/64: the network is fd00::/64"),
            (
                "--cgroup-parent ../x ps",
                "--cgroup-parent ../x: not the path of a control group; write it as /minidocker",
            ),
            (
                "--bridge a/b ps",
                "--bridge a/b: a link's name has 1 to 15 letters, no slash, colon or space; write it as eth0",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(parse(words(text), |_| None).unwrap_err().message, message);
        }
        let bad =
            parse(words("ps"), |name| (name == "MINIDOCKER_SUBNET").then(|| "x".to_owned())).unwrap_err();
        assert_eq!(bad.message, "MINIDOCKER_SUBNET=x: no prefix; write it as 172.30.0.0/16");
    }
}
