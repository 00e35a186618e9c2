//! The grammar of Go's flags, which is that of runc's command line: `-name`, `--name`, `--name=value`, `--name value`.
//!
//! A parser of its own over the same tables of options, and not clap's with the arguments put into its form: that
//! takes knowing which option has a value, which is all there is to parsing them.

use std::str::FromStr;

use crate::options::{Opt, Takes};
use crate::problem::Problem;
use crate::values::booleans;

/// What was typed after a command's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// Each option with its value, `true` or `false` for those without.
    options: Vec<(&'static str, String)>,
    /// Whatever is no option.
    pub(super) words: Vec<String>,
}

/// Reads `arguments` by a table; none where help was asked for. Options end at the first word or, `interspersed`, at
/// `--`; what follows a word and is no known option is a word then too, as `-9` in `kill ID -9`.
pub(super) fn parse(
    table: &'static [Opt],
    interspersed: bool,
    arguments: Vec<String>,
) -> Result<Option<Typed>, Problem> {
    let mut typed = Typed { options: Vec::new(), words: Vec::new() };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let dashless = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        let flag = match dashless {
            Some("") if argument == "--" => break,
            None | Some("") => None,
            Some(flag) => Some(flag),
        };
        let Some(flag) = flag else {
            typed.words.push(argument);
            if interspersed {
                continue;
            }
            break;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        if let Some(option) = table.iter().find(|option| is_named(option, name)) {
            let value = match (option.takes, value) {
                (Takes::Nothing, value) => truth(name, value)?,
                (_, Some(value)) => value,
                // Whatever follows is the value.
                (_, None) => arguments
                    .next()
                    .ok_or_else(|| Problem::new(format!("flag needs an argument: -{name}")))?,
            };
            typed.options.push((option.long, value));
        } else if matches!(name, "h" | "help") {
            return Ok(None);
        } else if let Some(options) = bundled(table, &argument) {
            typed.options.extend(options);
        } else if typed.words.is_empty() {
            return Err(Problem::new(match name.starts_with('-') || name.is_empty() {
                true => format!("bad flag syntax: {argument}"),
                false => format!("flag provided but not defined: -{name}"),
            }));
        } else {
            typed.words.push(argument);
        }
    }
    typed.words.extend(arguments);
    Ok(Some(typed))
}

fn is_named(option: &Opt, name: &str) -> bool {
    let short = || option.short.is_some_and(|short| name.strip_prefix(short) == Some(""));
    option.long == name || option.alias == Some(name) || short()
}

fn truth(name: &str, value: Option<String>) -> Result<String, Problem> {
    let Some(value) = value else { return Ok("true".to_owned()) };
    match booleans::parse(&value) {
        Ok(on) => Ok(on.to_string()),
        Err(_) => Err(Problem::new(format!("invalid boolean value {value:?} for -{name}: parse error"))),
    }
}

/// `-it`, which Go's flags refuse and people type: each letter an option without a value.
fn bundled(table: &'static [Opt], argument: &str) -> Option<Vec<(&'static str, String)>> {
    let letters = argument.strip_prefix('-')?;
    let option = |letter| {
        let mut known = table.iter().filter(|option| option.takes == Takes::Nothing);
        let option = known.find(|option| option.short == Some(letter))?;
        Some((option.long, "true".to_owned()))
    };
    letters.chars().map(option).collect()
}

impl Typed {
    /// The first word: the container's id; empty where there is none.
    pub(super) fn id(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Whether an option was typed at all.
    pub(super) fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == long)
    }

    /// The last value of an option. An empty one is none, as for runc.
    pub(super) fn text(&self, long: &str) -> Option<&str> {
        let last = self.options.iter().rfind(|(name, _)| *name == long);
        last.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The same as an owned text or path.
    pub(super) fn owned<T: From<String>>(&self, long: &str) -> Option<T> {
        self.text(long).map(|text| T::from(text.to_owned()))
    }

    /// Every value of an option.
    pub(super) fn many<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// Whether an option without a value is on.
    pub(super) fn on(&self, long: &str) -> bool {
        self.text(long) == Some("true")
    }

    /// A number; none where the option was not typed.
    pub(super) fn number<T: FromStr>(&self, long: &str) -> Result<Option<T>, Problem> {
        let last = self.options.iter().rfind(|(name, _)| *name == long);
        last.map(|(_, value)| number(long, value)).transpose()
    }
}

/// A number as the value of an option.
pub(super) fn number<T: FromStr>(long: &str, value: &str) -> Result<T, Problem> {
    value
        .parse()
        .map_err(|_| Problem::new(format!("invalid value {value:?} for flag -{long}: a number is wanted")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{flag, many, one};

    const TABLE: &[Opt] = &[
        one("bundle", "DIR", "").short('b'),
        many("env", "X=Y", "").short('e'),
        flag("tty", "").short('t'),
        flag("detach", "").short('d'),
        one("preserve-fds", "N", ""),
    ];

    fn parse_line(line: &str, interspersed: bool) -> Result<Option<Typed>, String> {
        let arguments = line.split_whitespace().map(str::to_owned).collect();
        parse(TABLE, interspersed, arguments).map_err(|problem| problem.message)
    }

    fn typed(line: &str, interspersed: bool) -> Typed {
        parse_line(line, interspersed).unwrap().unwrap()
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        for line in [
            "-bundle /x c",
            "--bundle /x c",
            "-bundle=/x c",
            "--bundle=/x c",
            "-b /x c",
            "-b=/x c",
            "--b /x c",
        ] {
            let read = typed(line, true);
            assert_eq!((read.text("bundle"), read.id()), (Some("/x"), "c"), "{line}");
        }
        assert_eq!(typed("--bundle -t c", true).text("bundle"), Some("-t"), "whatever follows is the value");
        assert_eq!(typed("--bundle=a=b", true).text("bundle"), Some("a=b"));
        assert_eq!(typed("--bundle /x --bundle= c", true).text("bundle"), None, "an empty value is none");
    }

    #[test]
    fn options_end_at_the_first_word_or_go_on() {
        let read = typed("-t c ls -d --bundle", false);
        assert_eq!(read.words, ["c", "ls", "-d", "--bundle"]);
        assert!(read.on("tty") && !read.on("detach"));
        let read = typed("c --detach -e A=1 --env=B=2", true);
        assert_eq!(read.words, ["c"]);
        assert!(read.on("detach"));
        assert_eq!(read.many("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(typed("c -9", true).words, ["c", "-9"]);
        assert_eq!(typed("-t -- -d c", true).words, ["-d", "c"]);
        assert_eq!(typed("- c", true).words, ["-", "c"]);
        assert_eq!(typed("c -- ls", false).words, ["c", "--", "ls"]);
    }

    #[test]
    fn flags_have_words_for_yes_and_no() {
        for (line, on) in
            [("-t", true), ("--tty=true", true), ("-t=1", true), ("-tty=false", false), ("-t -t=F", false)]
        {
            assert_eq!(typed(line, true).on("tty"), on, "{line}");
        }
        let read = typed("-td c", true);
        assert!(read.on("tty") && read.on("detach"));
        assert!(!typed("c", true).has("tty") && typed("--tty=false c", true).has("tty"));
    }

    #[test]
    fn refuses_in_gos_words() {
        let cases = [
            ("--bogus c", "flag provided but not defined: -bogus"),
            ("-x=1 c", "flag provided but not defined: -x"),
            ("-tx c", "flag provided but not defined: -tx"),
            ("--bundle", "flag needs an argument: -bundle"),
            ("-b", "flag needs an argument: -b"),
            ("--tty=maybe c", "invalid boolean value \"maybe\" for -tty: parse error"),
            ("---tty c", "bad flag syntax: ---tty"),
            ("--=x c", "bad flag syntax: --=x"),
        ];
        for (line, message) in cases {
            assert_eq!(parse_line(line, true), Err(message.to_owned()), "{line}");
        }
        let read = typed("--preserve-fds x c", true);
        let told = read.number::<u32>("preserve-fds").unwrap_err().message;
        assert_eq!(told, "invalid value \"x\" for flag -preserve-fds: a number is wanted");
        assert_eq!(typed("--preserve-fds=2", true).number::<u32>("preserve-fds").unwrap(), Some(2));
        assert_eq!(typed("c", true).number::<u32>("preserve-fds").unwrap(), None);
    }

    #[test]
    fn help_is_asked_for_anywhere_before_the_words_end() {
        for line in ["-h", "--help", "-t --help c", "c -h"] {
            assert_eq!(parse_line(line, true), Ok(None), "{line}");
        }
        assert_eq!(typed("c ls --help", false).words.len(), 3);
    }
}
