//! The front: arguments in, words out. Reads the options before the command, finds the command in one table and
//! hands over; whatever goes wrong ends here as one line and an exit code.

#![forbid(unsafe_code)]

mod ages;
mod build_view;
mod commands;
mod complete;
mod explain;
mod global;
mod help;
mod manual;
mod options;
mod path_template;
mod problem;
mod progress;
mod runtime;
mod template;
mod terminal;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use commands::{COMMANDS, Command, GROUPS, listed, names_in};
use global::Asked;
use problem::Problem;

fn main() -> ExitCode {
    // In a virtual machine of ours this is the first process.
    if vm::guest::is_init(std::env::args_os().next().as_ref()) {
        vm::guest::main();
    }
    // Before anything is opened or closed: as a runtime we hand descriptors on.
    if let Some(called) = runtime::Called::from(std::env::args_os()) {
        return runtime::main(called);
    }
    // Whatever the caller left open is not for the container, at no moment of its start (CVE-2024-21626).
    sys::process::close_inherited();
    std::panic::set_hook(Box::new(on_panic));
    let (code, result) = run();
    ExitCode::from(match result {
        Ok(code) => code,
        Err(problem) => {
            terminal::report(&problem);
            problem.code.unwrap_or(code)
        }
    })
}

/// What was asked for, and the exit code of a failure that brings none of its own.
fn run() -> (u8, Result<u8, Problem>) {
    let asked = arguments().and_then(|arguments| global::parse(arguments, |name| std::env::var(name).ok()));
    let (settings, arguments) = match asked {
        Ok(Asked::Command(settings, arguments)) if arguments[0] == complete::NAME => {
            return (1, complete::answer(&arguments[1..], &settings).map(|()| 0));
        }
        Ok(Asked::Command(_, arguments)) if arguments[0] == lab::inside::NAME => {
            return (1, Ok(lab::inside::main(&arguments[1..])));
        }
        Ok(Asked::Command(settings, arguments)) => (settings, arguments),
        Ok(Asked::Help) => return (1, terminal::print(&help::overview()).map(|()| 0)),
        Ok(Asked::Version) => return (1, commands::version::short().map(|()| 0)),
        Err(problem) => return (problem::RUN_FAILED, Err(problem)),
    };
    let (command, arguments) = match find(arguments) {
        Ok(Found::Command(command, arguments)) => (command, arguments),
        Ok(Found::Help(text)) => return (1, terminal::print(&text).map(|()| 0)),
        Err(problem) => return (1, Err(problem)),
    };
    let result = options::parse(command, arguments).and_then(|typed| match typed {
        Some(typed) => (command.exec)(typed, &settings),
        None => terminal::print(&help::of(command)).map(|()| 0),
    });
    (command.failed, result)
}

/// The command line as text; a container's command, its variables and names are text too.
fn arguments() -> Result<Vec<String>, Problem> {
    std::env::args_os().enumerate().skip(1).map(|(number, argument)| text(number, argument)).collect()
}

fn text(number: usize, argument: OsString) -> Result<String, Problem> {
    argument.into_string().map_err(|bytes| {
        Problem::new(format!("argument {number} is not UTF-8: {}", step::quote(&bytes.to_string_lossy())))
    })
}

enum Found {
    Command(&'static Command, Vec<String>),
    Help(String),
}

/// The command that the first words name, and what follows them.
fn find(mut arguments: Vec<String>) -> Result<Found, Problem> {
    let first = arguments.remove(0);
    if first == "help" {
        return help_of(&arguments).map(Found::Help);
    }
    let Some(group) = group(&first) else {
        return Ok(Found::Command(look_up(None, &first)?, arguments));
    };
    match arguments.first().map(String::as_str) {
        None | Some("-h" | "--help") => Ok(Found::Help(help::group(group))),
        Some(_) => {
            let second = arguments.remove(0);
            Ok(Found::Command(look_up(Some(group), &second)?, arguments))
        }
    }
}

fn help_of(words: &[String]) -> Result<String, Problem> {
    match words {
        [] => Ok(help::overview()),
        [first, ..] if first == "-h" || first == "--help" => Ok(help::overview()),
        [first, rest @ ..] => match (group(first), rest) {
            (None, _) => look_up(None, first).map(help::of),
            (Some(group), []) => Ok(help::group(group)),
            (Some(group), [second, ..]) => look_up(Some(group), second).map(help::of),
        },
    }
}

fn group(word: &str) -> Option<&'static str> {
    GROUPS.iter().map(|(name, _)| *name).find(|name| *name == word)
}

fn look_up(group: Option<&str>, named: &str) -> Result<&'static Command, Problem> {
    let full = group.map_or_else(|| named.to_owned(), |group| format!("{group} {named}"));
    let meant = |command: &&Command| command.names().any(|name| name == full);
    COMMANDS.iter().copied().find(meant).ok_or_else(|| unknown(group, named))
}

fn unknown(group: Option<&str>, named: &str) -> Problem {
    let words = group.map_or_else(String::new, |group| format!("{group} "));
    let known = names_in(group);
    let problem = Problem::new(format!("unknown command {}", step::quote(&format!("{words}{named}"))));
    problem.hint(match step::nearest(named, known.iter().copied()) {
        Some(near) => format!("did you mean 'minidocker {words}{near}'?"),
        None => format!("commands are {}", listed(&known)),
    })
}

/// Our own mistake, told as such: one line and no stack.
fn on_panic(info: &std::panic::PanicHookInfo<'_>) {
    terminal::report(&told(info));
    std::process::exit(problem::RUN_FAILED.into());
}

fn told(info: &std::panic::PanicHookInfo<'_>) -> Problem {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown");
    let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    internal(text, &place.unwrap_or_default())
}

fn internal(text: &str, place: &str) -> Problem {
    let home = env!("CARGO_PKG_REPOSITORY");
    Problem::new(format!("internal: {text}{place}"))
        .hint(format!("this is a fault of minidocker: please report it at {home}/issues"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_as_our_fault() {
        let problem = internal("index out of bounds", " at src/x.rs:1");
        assert_eq!(problem.message, "internal: index out of bounds at src/x.rs:1");
        assert!(problem.hint.is_some_and(|hint| hint.contains("https://")));
    }

    #[test]
    fn commands_are_found_by_both_names() {
        let found = |line: &str| match find(line.split(' ').map(str::to_owned).collect()) {
            Ok(Found::Command(command, rest)) => format!("{} {}", command.name, rest.join(" ")),
            Ok(Found::Help(_)) => "help".to_owned(),
            Err(problem) => problem.message,
        };
        assert_eq!(found("ps -a"), "ps -a");
        for line in ["container ls -a", "container ps -a", "container list -a"] {
            assert_eq!(found(line), "ps -a");
        }
        assert_eq!(found("container run host ls"), "run host ls");
        assert_eq!(found("container remove x"), "rm x");
        assert_eq!(found("container"), "help");
        assert_eq!(found("ls"), "unknown command ls");
        assert_eq!(found("container info"), "unknown command 'container info'");
    }
}
