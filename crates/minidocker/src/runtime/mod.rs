//! runc's command line, for the engines that were written against it (containerd, Docker, CRI-O, Podman): started as
//! `minidocker runtime`, or under a name that ends in `runtime` or is `runc`. Options, words that engines look for,
//! exit codes and the log are runc's; the work is done by `bundle::ops`.
//!
//! - `global`: the options before the command.
//! - `arguments`: the grammar of Go's flags, over the same tables of options as minidocker's own commands.
//! - `commands`: one file per command, and the table of them.
//! - `descriptors`: which of the inherited ones stay open.
//! - `log`: where errors, warnings and debug lines go.
//! - `help`: what `--help` prints, from the tables.

mod arguments;
mod commands;
mod descriptors;
mod global;
mod help;
mod log;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::problem::Problem;
use crate::terminal::print;

use commands::{COMMANDS, Command};
use descriptors::Passed;
use global::{Asked, Global};

/// That this program was started as a runtime, and by which words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Called {
    /// The name in help and errors: `runc`, `minidocker runtime`.
    name: String,
    /// The same as it was typed: `/usr/bin/runc`.
    typed: String,
    /// What follows it.
    words: Vec<OsString>,
}

impl Called {
    /// Whether these words, from the program's own name on, start a runtime.
    pub(crate) fn from(words: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut words = words.into_iter();
        let typed = words.next()?.to_string_lossy().into_owned();
        let name = Path::new(&typed).file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "runc" || name.ends_with("runtime") {
            return Some(Self { name, typed, words: words.collect() });
        }
        let name = "minidocker runtime".to_owned();
        (words.next()? == "runtime").then(|| Self { typed: name.clone(), name, words: words.collect() })
    }
}

/// What a command knows beside its own arguments.
struct Context {
    /// The name in help and errors.
    name: String,
    settings: bundle::Settings,
    passed: Passed,
}

/// The whole program, as a runtime.
pub(crate) fn main(called: Called) -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        log::error(&crate::told(info));
        std::process::exit(1);
    }));
    ExitCode::from(match run(called) {
        Ok(code) => code,
        Err(problem) => {
            log::error(&problem);
            problem.code.unwrap_or(1)
        }
    })
}

fn run(called: Called) -> Result<u8, Problem> {
    let Called { name, typed: program, words } = called;
    let words = words.into_iter().enumerate().map(|(at, word)| crate::text(at + 1, word));
    let asked = global::parse(words.collect::<Result<_, _>>()?, |name| std::env::var(name).ok())?;
    let (global, mut words) = match asked {
        Asked::Command(global, words) => (global, words),
        Asked::Help => return print(&help::overview(&name)).map(|()| 0),
        Asked::Version => return print(&version(&name)).map(|()| 0),
    };
    let Global { settings, log } = global;
    log::set_up(log);
    let first = words.remove(0);
    if matches!(first.as_str(), "help" | "h") {
        let text = match words.first() {
            Some(topic) => help::of(find(topic)?, &name),
            None => help::overview(&name),
        };
        return print(&text).map(|()| 0);
    }
    let command = find(&first)?;
    let Some(typed) = arguments::parse(command.options, command.interspersed, words)? else {
        return print(&help::of(command, &name)).map(|()| 0);
    };
    check_words(command, typed.words.len(), &program, &name)?;
    if command.starts {
        bundle::read_only_self();
    }
    let passed = descriptors::keep(&typed, command.listens)?;
    log::debug(&format!("{name} {} {}: begins, root {}", command.name, typed.id(), settings.root.display()));
    let context = Context { name, settings, passed };
    let done = (command.exec)(&typed, &context);
    log::debug(&match &done {
        Ok(code) => format!("{} {}: done, exit code {code}", command.name, typed.id()),
        Err(_) => format!("{} {}: failed", command.name, typed.id()),
    });
    done.map_err(|problem| Problem { code: problem.code.or(Some(command.failed)), ..problem })
}

fn find(name: &str) -> Result<&'static Command, Problem> {
    // runc's words and its exit code.
    let unknown = || Problem::new(format!("No help topic for '{name}'")).code(3);
    COMMANDS.iter().copied().find(|command| command.name == name).ok_or_else(unknown)
}

/// runc's words where a container's id or more is missing, and where there is too much.
fn check_words(command: &Command, found: usize, program: &str, name: &str) -> Result<(), Problem> {
    let (least, most) = (*command.words.start(), *command.words.end());
    let wanted = match found {
        _ if least == most && found != least => format!("exactly {least}"),
        _ if found < least => format!("a minimum of {least}"),
        _ if found > most => format!("a maximum of {most}"),
        _ => return Ok(()),
    };
    let named = command.name;
    Err(Problem::new(format!("{program}: {named:?} requires {wanted} argument(s)"))
        .hint(format!("see '{name} {named} --help'")))
}

/// The lines that engines read: the name, `commit:` and `spec:`, as runc's.
fn version(name: &str) -> String {
    format!(
        "{name} version {}\ncommit: {}\nspec: {}\n",
        crate::commands::version::VERSION,
        option_env!("MINIDOCKER_COMMIT").unwrap_or("unknown"),
        bundle::ops::SPEC_VERSION,
    )
}

impl From<bundle::Error> for Problem {
    fn from(error: bundle::Error) -> Self {
        Self { message: error.message, hint: error.hint, code: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> Option<(String, String, usize)> {
        let called = Called::from(line.split(' ').map(OsString::from))?;
        Some((called.name, called.typed, called.words.len()))
    }

    #[test]
    fn a_runtime_is_called_by_its_name_or_by_the_first_word() {
        let runtime = |name: &str, typed: &str, words| Some((name.to_owned(), typed.to_owned(), words));
        assert_eq!(called("/usr/bin/runc --root /x state a"), runtime("runc", "/usr/bin/runc", 4));
        assert_eq!(called("minidocker-runtime"), runtime("minidocker-runtime", "minidocker-runtime", 0));
        assert_eq!(
            called("/bin/minidocker runtime list"),
            runtime("minidocker runtime", "minidocker runtime", 1)
        );
        for other in
            ["minidocker", "minidocker ps", "/usr/bin/minidocker run runtime", "/runc/minidocker", "run"]
        {
            assert_eq!(called(other), None, "{other}");
        }
        assert_eq!(Called::from([]), None);
    }

    #[test]
    fn ids_that_are_missing_or_too_many_are_told_in_runcs_words() {
        let told = |name: &str, found| {
            check_words(find(name).unwrap(), found, "/bin/runc", "runc").map_err(|problem| problem.message)
        };
        let exactly = |name| Err(format!("/bin/runc: \"{name}\" requires exactly 1 argument(s)"));
        assert_eq!(told("state", 0), exactly("state"));
        assert_eq!(told("create", 2), exactly("create"));
        assert_eq!(told("start", 1), Ok(()));
        assert_eq!(
            told("kill", 0),
            Err("/bin/runc: \"kill\" requires a minimum of 1 argument(s)".to_owned())
        );
        assert_eq!(
            told("kill", 3),
            Err("/bin/runc: \"kill\" requires a maximum of 2 argument(s)".to_owned())
        );
        assert_eq!((told("kill", 1), told("kill", 2), told("exec", 99)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(told("list", 1), Err("/bin/runc: \"list\" requires exactly 0 argument(s)".to_owned()));
        let unknown = find("foo").unwrap_err();
        assert_eq!((unknown.message.as_str(), unknown.code), ("No help topic for 'foo'", Some(3)));
    }

    #[test]
    fn the_version_is_what_engines_read() {
        let text = version("runc");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("runc version 0."), "{text}");
        assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("spec: 1."), "{text}");
    }
}
