//! What a command accepts: one table of options per command, which feeds the parser and the help alike. The parser
//! is clap's, built for the chosen command only and with pflag's habits, which are Docker's.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::commands::Command;
use crate::global;
use crate::problem::{Problem, RUN_FAILED};
use crate::values::booleans;

/// How often an option may be given, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or `=true` and `=false`.
    Nothing,
    /// One value; the last one counts.
    One,
    /// One value each time; all count.
    Many,
    /// A value after `=`, or this one where there is none.
    Maybe(&'static str),
}

/// One option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// `m` of `-m`.
    pub(crate) short: Option<char>,
    /// `memory` of `--memory`; also the key to what was typed.
    pub(crate) long: &'static str,
    /// Another long name, not shown.
    pub(crate) alias: Option<&'static str>,
    /// What the help calls the value.
    pub(crate) value: &'static str,
    /// How often, with what.
    pub(crate) takes: Takes,
    /// One line; a second one after a line break.
    pub(crate) help: &'static str,
}

impl Opt {
    /// The same option with a short form.
    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// The same option with another long name.
    pub(crate) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.long).long(self.long);
        let arg = match self.short {
            Some(short) => arg.short(short),
            None => arg,
        };
        let arg = match self.alias {
            Some(alias) => arg.alias(alias),
            None => arg,
        };
        let missing = match self.takes {
            Takes::Nothing => "true",
            Takes::Maybe(value) => value,
            // Whatever follows is the value, `-1` too: pflag's way.
            Takes::One => return arg.action(ArgAction::Set).allow_hyphen_values(true),
            Takes::Many => return arg.action(ArgAction::Append).allow_hyphen_values(true),
        };
        arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value(missing)
    }
}

const fn opt(long: &'static str, value: &'static str, takes: Takes, help: &'static str) -> Opt {
    Opt { short: None, long, alias: None, value, takes, help }
}

/// An option that is on or off.
pub(crate) const fn flag(long: &'static str, help: &'static str) -> Opt {
    opt(long, "", Takes::Nothing, help)
}

/// An option with a value.
pub(crate) const fn one(long: &'static str, value: &'static str, help: &'static str) -> Opt {
    opt(long, value, Takes::One, help)
}

/// An option that may be repeated.
pub(crate) const fn many(long: &'static str, value: &'static str, help: &'static str) -> Opt {
    opt(long, value, Takes::Many, help)
}

/// An option whose value may be left out.
pub(crate) const fn maybe(
    long: &'static str,
    value: &'static str,
    missing: &'static str,
    help: &'static str,
) -> Opt {
    opt(long, value, Takes::Maybe(missing), help)
}

/// Options under one heading of the help.
#[derive(Debug)]
pub(crate) struct Group {
    /// The heading.
    pub(crate) title: &'static str,
    /// What stands below it.
    pub(crate) options: &'static [Opt],
}

/// Which words a command takes besides its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// None.
    None,
    /// Any number, options between them.
    Between,
    /// Any number, and all that follows the first is a word: `run host ls -l`.
    Last,
}

/// What was typed after a command's name.
#[derive(Debug)]
pub(crate) struct Typed {
    matches: ArgMatches,
    /// Whatever is no option.
    pub(crate) words: Vec<String>,
}

const WORDS: &str = "words";
const HELP: &str = "help";

/// Reads `arguments` by the command's table; `None` where help was asked for.
pub(crate) fn parse(command: &Command, arguments: Vec<String>) -> Result<Option<Typed>, Problem> {
    let mut parser = parser(command);
    let mut matches = parser.try_get_matches_from_mut(arguments).map_err(|error| refusal(&error, command))?;
    if matches.get_flag(HELP) {
        return Ok(None);
    }
    let words = match command.words {
        Words::None => Vec::new(),
        _ => matches.remove_many(WORDS).map(Iterator::collect).unwrap_or_default(),
    };
    let typed = Typed { matches, words };
    // As pflag does: whatever else is wrong, an option that is neither on nor off is told first.
    let options = command.groups.iter().flat_map(|group| group.options);
    for option in options.filter(|option| option.takes == Takes::Nothing) {
        typed.flag(option.long)?;
    }
    Ok(Some(typed))
}

fn parser(command: &Command) -> clap::Command {
    let options = || command.groups.iter().flat_map(|group| group.options);
    let help = Arg::new(HELP).long(HELP).action(ArgAction::SetTrue);
    let taken = options().any(|option| option.short == Some('h'));
    let parser = clap::Command::new("minidocker")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .args(options().map(Opt::arg))
        .arg(if taken { help } else { help.short('h') });
    if command.words == Words::None {
        return parser;
    }
    let words = Arg::new(WORDS).num_args(0..).action(ArgAction::Append);
    parser.arg(words.trailing_var_arg(command.words == Words::Last))
}

impl Typed {
    /// Whether the command has this option.
    pub(crate) fn knows(&self, long: &str) -> bool {
        self.matches.try_contains_id(long).is_ok()
    }

    /// The value of an option that takes one.
    pub(crate) fn one(&self, long: &str) -> Option<&str> {
        self.matches.get_one::<String>(long).map(String::as_str)
    }

    /// The values of an option that may be repeated.
    pub(crate) fn many<'a>(&'a self, long: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.matches.get_many::<String>(long).unwrap_or_default().map(String::as_str)
    }

    /// The values of several options that may be repeated, in the order in which they were typed, each with its
    /// option.
    pub(crate) fn in_order<'a>(&'a self, longs: &[&'static str]) -> Vec<(&'static str, &'a str)> {
        let mut all: Vec<(usize, &'static str, &'a str)> = Vec::new();
        for &long in longs {
            let places = self.matches.indices_of(long).unwrap_or_default();
            all.extend(places.zip(self.many(long)).map(|(place, value)| (place, long, value)));
        }
        all.sort_by_key(|entry| entry.0);
        all.into_iter().map(|(_, long, value)| (long, value)).collect()
    }

    /// Whether an option is on; `None` where it was not typed.
    pub(crate) fn flag(&self, long: &str) -> Result<Option<bool>, Problem> {
        self.read(long, booleans::parse).map_err(|problem| problem.code(RUN_FAILED))
    }

    /// The option's value as `parser` reads it.
    pub(crate) fn read<T>(
        &self,
        long: &str,
        parser: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        self.one(long).map(|value| parser(value).map_err(|why| bad_value(long, value, &why))).transpose()
    }

    /// The option's values as `parser` reads each.
    pub(crate) fn read_many<T>(
        &self,
        long: &str,
        parser: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Problem> {
        self.many(long).map(|value| parser(value).map_err(|why| bad_value(long, value, &why))).collect()
    }
}

/// Options whose value Docker reads while it reads the line, so that a wrong one ends with 125 whatever the command; of
/// others the command's own exit code tells.
const TYPED: [&str; 14] = [
    "memory",
    "memory-swap",
    "memory-reservation",
    "shm-size",
    "cpus",
    "cpu-shares",
    "cpu-period",
    "cpu-quota",
    "blkio-weight",
    "pids-limit",
    "time",
    "timeout",
    "last",
    "env",
];

/// The one line for a value that cannot be: option, value, reason.
pub(crate) fn bad_value(long: &str, value: &str, why: &str) -> Problem {
    let problem = Problem::new(format!("--{long} {}: {why}", step::quote(value)));
    if TYPED.contains(&long) { problem.code(RUN_FAILED) } else { problem }
}

/// clap's refusal in our words; 125 for every command where an option is wrong, as in Docker.
fn refusal(error: &clap::Error, command: &Command) -> Problem {
    let problem = told(error, command);
    let is_word = error.kind() == ErrorKind::UnknownArgument && problem.message.starts_with("unexpected");
    if is_word { problem } else { problem.code(RUN_FAILED) }
}

fn told(error: &clap::Error, command: &Command) -> Problem {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let named = text(ContextKind::InvalidArg);
    // clap names an option with its value: `--name <name>`.
    let option = named.split([' ', '[']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if named.starts_with('-') && named != "-" => {
            Problem::new(format!("unknown option {}", step::quote(&named))).hint(way_out(&named, command))
        }
        ErrorKind::UnknownArgument => Problem::new(format!("unexpected argument {}", step::quote(&named)))
            .hint(format!("see 'minidocker {} --help'", command.name)),
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::WrongNumberOfValues => {
            Problem::new(format!("{option} needs a value"))
        }
        ErrorKind::TooManyValues => Problem::new(format!("{option} takes no value")),
        kind => Problem::new(format!("{kind} {option}").trim().to_owned()),
    }
}

/// What the user may have meant by an option that the command does not have.
fn way_out(named: &str, command: &Command) -> String {
    let name = command.name;
    let long = named.strip_prefix("--").unwrap_or_default();
    if let Some(option) = global::OPTIONS.iter().find(|option| option.long == long) {
        return format!("it stands before the command: minidocker --{} {} {name}", option.long, option.value);
    }
    let known = command.groups.iter().flat_map(|group| group.options).map(|option| option.long);
    match step::nearest(long, known) {
        Some(near) => format!("did you mean --{near}?"),
        None => format!("see 'minidocker {name} --help'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::COMMANDS;

    fn typed(command: &str, line: &str) -> Result<Option<Typed>, Problem> {
        let command = COMMANDS.iter().find(|known| known.name == command).unwrap();
        parse(command, line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn no_table_names_an_option_twice() {
        for command in COMMANDS {
            parser(command).debug_assert();
        }
    }

    #[test]
    fn words_and_options_mix_as_the_command_says() {
        let read = typed("kill", "one -s TERM two").unwrap().unwrap();
        assert_eq!((read.words.join(" "), read.one("signal")), ("one two".to_owned(), Some("TERM")));
        let read = typed("run", "-i host -s x --bogus").unwrap().unwrap();
        assert_eq!(read.words.join(" "), "host -s x --bogus");
        assert!(typed("ps", "-aq").unwrap().unwrap().flag("quiet").unwrap().unwrap());
        for (command, line) in
            [("run", "--help"), ("ps", "-h"), ("run", "--rm --help host"), ("kill", "x --help")]
        {
            assert!(typed(command, line).unwrap().is_none(), "{command} {line}");
        }
    }

    #[test]
    fn several_options_come_in_the_order_in_which_they_were_typed() {
        let read = typed("run", "--tmpfs /a -v /b:/b --mount x --tmpfs /c -v/d:/d host").unwrap().unwrap();
        let order: Vec<&str> =
            read.in_order(&["volume", "mount", "tmpfs"]).into_iter().map(|(_, value)| value).collect();
        assert_eq!(order, ["/a", "/b:/b", "x", "/c", "/d:/d"]);
    }
}
