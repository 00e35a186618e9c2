//! Completion: what may stand where the cursor is. Asked by the shells' small scripts (`minidocker completion`), which
//! know nothing of commands themselves.
//!
//! ```text
//! minidocker __complete words WORD… CURRENT          zsh, fish: a line each, `value<tab>description`
//! minidocker __complete bash WORDBREAKS LINE         the line up to the cursor; first an option of compopt, then
//!                                                    values, each without what bash takes for earlier words
//! ```
//!
//! Everything comes from the tables of commands and options, and from state read without a lock. Nothing is told of
//! failures: a shell would print it into the line that is being typed.

mod line;
mod live;
mod sources;
mod values;

use std::collections::HashSet;

use engine::Settings;

use crate::commands::{COMMANDS, Command, GROUPS};
use crate::global;
use crate::options::{Opt, Takes, Words};
use crate::problem::Problem;
use crate::terminal::{plain, print};
use sources::Source;

/// The hidden command's name.
pub(crate) const NAME: &str = "__complete";

/// One thing that may be typed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    /// The whole word, not only what is missing of it.
    word: String,
    /// What it is, for shells that show it; may be empty.
    about: String,
}

impl Candidate {
    fn new(word: impl Into<String>, about: &str) -> Self {
        // A description has one line; the second one of a help text is more of the same.
        let about = plain(about.lines().next().unwrap_or_default()).trim().to_owned();
        Self { word: word.into(), about }
    }

    /// Whether more is to be typed in the same word: no space follows.
    fn is_open(&self) -> bool {
        self.word.ends_with(['=', ':', ',', '/'])
    }
}

/// What may stand at the cursor.
#[derive(Debug, Default)]
struct Answer {
    candidates: Vec<Candidate>,
    /// They are paths: bash quotes them, and shows the last part of each.
    paths: bool,
}

/// Answers a shell. `settings` hold where the line that is typed says nothing else.
pub(crate) fn answer(arguments: &[String], settings: &Settings) -> Result<(), Problem> {
    let text = match arguments {
        [shell, breaks, typed] if shell == "bash" => {
            let words = line::split(typed);
            let current = words.last().cloned().unwrap_or_default();
            for_bash(&complete(words.get(1..).unwrap_or_default(), settings), &current, breaks)
        }
        [shell, words @ ..] if shell == "words" => complete(words, settings)
            .candidates
            .iter()
            .map(|one| format!("{}\t{}\n", one.word, one.about))
            .collect(),
        _ => String::new(),
    };
    print(&text)
}

fn for_bash(answer: &Answer, current: &str, breaks: &str) -> String {
    // bash cuts words at these too, and replaces the last part alone.
    let head = current.rfind(|letter| matches!(letter, '=' | ':') && breaks.contains(letter));
    let head = head.map_or(0, |at| at + 1);
    let option = match answer.candidates.as_slice() {
        _ if answer.paths => "filenames",
        [one] if one.is_open() => "nospace",
        _ => "nosort",
    };
    let mut text = format!("{option}\n");
    for one in &answer.candidates {
        text.push_str(one.word.get(head..).unwrap_or_default());
        text.push('\n');
    }
    text
}

/// The candidates for the last of `words`, which follow `minidocker`.
fn complete(words: &[String], settings: &Settings) -> Answer {
    let Some((current, before)) = words.split_last() else { return Answer::default() };
    let mut answer = match Place::find(before, current, settings) {
        Place::Global => of_global(),
        Place::Names(names) => names,
        Place::Value(source, head, settings, used) => {
            let typed = current.get(head.len()..).unwrap_or_default();
            let mut answer = values::of(source, typed, &settings);
            answer.candidates.retain(|one| !used.contains(&one.word));
            for one in &mut answer.candidates {
                one.word.insert_str(0, &head);
            }
            answer
        }
        Place::Options(command) => of_options(command),
        Place::Words(command, typed, settings) => of_words(command, &typed, current, &settings),
    };
    answer.candidates.retain(|one| one.word.starts_with(current.as_str()));
    let mut seen = HashSet::new();
    answer.candidates.retain(|one| seen.insert(one.word.clone()));
    answer
}

/// What the current word is.
enum Place {
    /// An option before the command.
    Global,
    /// A command.
    Names(Answer),
    /// An option's value, behind these first letters of the word; with the values that it has already.
    Value(Source, String, Box<Settings>, Vec<String>),
    /// An option of the command.
    Options(&'static Command),
    /// A word of the command, after those.
    Words(&'static Command, Vec<String>, Box<Settings>),
}

impl Place {
    fn find(before: &[String], current: &str, settings: &Settings) -> Self {
        let first = command_at(before);
        let Some(at) = first else {
            let of_option = before.last().is_some_and(|last| takes_global(last));
            return match current.split_once('=') {
                _ if of_option => Self::global_value(before.last().map_or("", String::as_str), String::new()),
                Some((option, _)) if option.starts_with("--") => {
                    Self::global_value(option, format!("{option}="))
                }
                _ if current.starts_with('-') => Self::Global,
                _ => Self::Names(names(None, true)),
            };
        };
        let settings = Box::new(self::settings(&before[..at], settings));
        let typed = &before[at..];
        let (command, rest) = match typed {
            [help, rest @ ..] if help == "help" => {
                return match rest {
                    [] => Self::Names(names(None, false)),
                    [group, ..] => Self::Names(names(Some(group), false)),
                };
            }
            [first] if is_group(first) => return Self::Names(names(Some(first), false)),
            [first, second, rest @ ..] if is_group(first) => (format!("{first} {second}"), rest),
            [first, rest @ ..] => (first.clone(), rest),
            [] => return Self::Names(Answer::default()),
        };
        let known = |one: &&&Command| one.names().any(|name| name == command);
        let Some(command) = COMMANDS.iter().find(known).copied() else {
            return Self::Names(Answer::default());
        };
        Self::in_command(command, rest, current, settings)
    }

    fn global_value(option: &str, head: String) -> Self {
        let source = global::OPTIONS.iter().find(|known| option.strip_prefix("--") == Some(known.long));
        let source = source.map_or(Source::Nothing, |known| sources::of_placeholder(known.value));
        Self::Value(source, head, Box::default(), Vec::new())
    }

    fn in_command(
        command: &'static Command,
        before: &[String],
        current: &str,
        settings: Box<Settings>,
    ) -> Self {
        let read = Read::new(command, before);
        let value = |option: &Opt, head: String| {
            let used = before.windows(2).filter(|pair| pair[0] == format!("--{}", option.long));
            let used = used.map(|pair| pair[1].clone()).collect();
            Self::Value(sources::of_option(command, option), head, settings.clone(), used)
        };
        if let Some(option) = read.waiting {
            return value(option, String::new());
        }
        if read.options && current.starts_with('-') && current != "-" {
            let Some((name, _)) = current.split_once('=') else { return Self::Options(command) };
            return match find_option(command, name) {
                Some(option) => value(option, format!("{name}=")),
                None => Self::Names(Answer::default()),
            };
        }
        Self::Words(command, read.words, settings)
    }
}

/// What stands between a command and the current word.
struct Read {
    /// The option whose value comes next.
    waiting: Option<&'static Opt>,
    /// Whether options may still come.
    options: bool,
    /// Words so far.
    words: Vec<String>,
}

impl Read {
    fn new(command: &'static Command, before: &[String]) -> Self {
        let mut read = Self { waiting: None, options: true, words: Vec::new() };
        for word in before {
            if read.waiting.take().is_some() {
                continue;
            }
            if !read.options || !word.starts_with('-') || word == "-" {
                read.words.push(word.clone());
                read.options &= command.words != Words::Last;
            } else if word == "--" {
                read.options = false;
            } else if let Some(option) = option_waiting(command, word) {
                read.waiting = Some(option);
            }
        }
        read
    }
}

/// The option that `word` ends with, if its value is the next word: `--name`, `-n`, `-itn`.
fn option_waiting(command: &'static Command, word: &str) -> Option<&'static Opt> {
    let takes = |option: &&Opt| matches!(option.takes, Takes::One | Takes::Many);
    if word.starts_with("--") {
        return find_option(command, word).filter(takes);
    }
    let letters: Vec<char> = word.chars().skip(1).collect();
    let at = letters.iter().position(|letter| find_short(command, *letter).as_ref().is_some_and(takes))?;
    if at + 1 == letters.len() { find_short(command, letters[at]) } else { None }
}

fn options(command: &'static Command) -> impl Iterator<Item = &'static Opt> {
    command.groups.iter().flat_map(|group| group.options)
}

fn find_short(command: &'static Command, letter: char) -> Option<&'static Opt> {
    options(command).find(|option| option.short == Some(letter))
}

/// By `--long` or `-s`.
fn find_option(command: &'static Command, name: &str) -> Option<&'static Opt> {
    match name.strip_prefix("--") {
        Some(long) => options(command).find(|option| option.long == long || option.alias == Some(long)),
        None => find_short(command, name.chars().nth(1)?),
    }
}

/// Where the command stands among `words`.
fn command_at(words: &[String]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if !word.starts_with('-') {
            return Some(at);
        }
        at += if takes_global(word) { 2 } else { 1 };
    }
    None
}

/// Whether the next word is this option's value.
fn takes_global(word: &str) -> bool {
    global::OPTIONS.iter().any(|option| word.strip_prefix("--") == Some(option.long))
}

/// What the options before the command say; `otherwise` where there are none, or wrong ones.
fn settings(options: &[String], otherwise: &Settings) -> Settings {
    let any_command = ["ps".to_owned()];
    match global::parse([options, &any_command].concat(), |name| std::env::var(name).ok()) {
        Ok(global::Asked::Command(settings, _)) if !options.is_empty() => settings,
        _ => otherwise.clone(),
    }
}

fn is_group(word: &str) -> bool {
    GROUPS.iter().any(|(name, _)| *name == word)
}

/// Commands, or those of a group; `help` is one as the first word alone.
fn names(group: Option<&str>, help: bool) -> Answer {
    let mut candidates = Vec::new();
    for command in COMMANDS {
        let names = command.names().filter_map(|name| match group {
            None => (!name.contains(' ')).then_some(name),
            Some(group) => name.strip_prefix(group)?.strip_prefix(' '),
        });
        candidates.extend(names.map(|name| Candidate::new(name, command.summary)));
    }
    if group.is_none() {
        candidates.extend(GROUPS.iter().map(|(name, about)| Candidate::new(*name, about)));
    }
    if help {
        candidates.push(Candidate::new("help", "Help of a command"));
    }
    Answer { candidates, paths: false }
}

fn of_global() -> Answer {
    let options = global::OPTIONS.iter().map(|one| Candidate::new(format!("--{}", one.long), one.help));
    let more = [("--version", "Print the version"), ("--help", "Print help")];
    let more = more.map(|(word, about)| Candidate::new(word, about));
    Answer { candidates: options.chain(more).collect(), paths: false }
}

/// Long options; one with a short form alone does not exist.
fn of_options(command: &'static Command) -> Answer {
    let one = |option: &'static Opt| Candidate::new(format!("--{}", option.long), option.help);
    let help = Candidate::new("--help", "Print help");
    Answer { candidates: options(command).map(one).chain([help]).collect(), paths: false }
}

/// What may stand where a command's next word does, by the words that its usage names.
fn of_words(command: &'static Command, typed: &[String], current: &str, settings: &Settings) -> Answer {
    let mut answer = Answer::default();
    for source in sources::of_word(command, typed.len()) {
        let more = values::of(source, current, settings);
        answer.paths |= more.paths;
        answer.candidates.extend(more.candidates);
    }
    // Nobody removes a container twice.
    answer.candidates.retain(|one| command.words == Words::Last || !typed.contains(&one.word));
    answer.paths &= answer.candidates.iter().all(|one| !one.word.ends_with(':'));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words offered for a line that ends where the cursor is.
    fn offered(typed: &str) -> Vec<String> {
        let words = line::split(typed);
        complete(&words[1..], &Settings::default()).candidates.into_iter().map(|one| one.word).collect()
    }

    #[track_caller]
    fn has(typed: &str, words: &[&str]) {
        let all = offered(typed);
        for word in words {
            assert!(all.iter().any(|one| one == word), "{typed:?}: no {word} in {all:?}");
        }
    }

    #[test]
    fn commands_groups_and_help() {
        has("minidocker ", &["run", "ps", "volume", "help", "images"]);
        assert_eq!(offered("minidocker unp"), ["unpause"]);
        has("minidocker volume ", &["create", "ls", "list", "rm"]);
        assert_eq!(offered("minidocker --root /x container pru"), ["prune"]);
        has("minidocker help vol", &["volume"]);
        assert_eq!(offered("minidocker help volume cr"), ["create"]);
        assert_eq!(offered("minidocker nonsense "), [""; 0]);
        has("minidocker -", &["--root", "--run-root", "--version"]);
        has("minidocker --ro", &["--root"]);
    }

    #[test]
    fn every_command_completes_its_own_options() {
        for command in COMMANDS {
            for name in command.names() {
                let all = offered(&format!("minidocker {name} --"));
                for option in options(command) {
                    assert!(all.contains(&format!("--{}", option.long)), "{name}: {all:?}");
                }
            }
        }
    }

    #[test]
    fn values_of_options() {
        assert_eq!(offered("minidocker run --pull a"), ["always"]);
        assert_eq!(offered("minidocker run --pull=n"), ["--pull=never"]);
        assert_eq!(offered("minidocker kill -s TE"), ["TERM"]);
        assert_eq!(offered("minidocker kill --signal=SIGTE"), ["--signal=SIGTERM"]);
        has("minidocker run --network ", &["bridge", "host", "none", "container:"]);
        has("minidocker run --cap-add ", &["NET_ADMIN", "ALL"]);
        has("minidocker ps --filter ", &["status=", "name="]);
        assert_eq!(offered("minidocker ps --filter status=pa"), ["status=paused"]);
        has("minidocker run --mount type=bind,", &["type=bind,src=", "type=bind,dst="]);
        assert_eq!(offered("minidocker run --mount type=t"), ["type=tmpfs,"]);
        assert_eq!(offered("minidocker run -itw /etc/pass"), ["/etc/passwd"; 0]);
        has("minidocker run --env-file /etc/pass", &["/etc/passwd"]);
        has("minidocker --root /et", &["/etc/"]);
        // What follows run's image belongs to the command.
        assert_eq!(offered("minidocker run host ls --p"), [""; 0]);
        assert_eq!(offered("minidocker run --rm -- --p"), [""; 0]);
    }

    #[test]
    fn bash_gets_what_follows_its_own_breaks() {
        let shown = |typed: &str| {
            let words = line::split(typed);
            for_bash(
                &complete(&words[1..], &Settings::default()),
                words.last().map_or("", String::as_str),
                " \t\n\"'><=;|&(:",
            )
        };
        assert_eq!(shown("minidocker run --pull=n"), "nosort\nnever\n");
        assert_eq!(shown("minidocker ps --filter statu"), "nospace\nstatus=\n");
        assert_eq!(shown("minidocker ps --filter status=pa"), "nosort\npaused\n");
        assert_eq!(shown("minidocker run --env-file /etc/passw"), "filenames\n/etc/passwd\n/etc/passwd-\n");
    }
}
