//! Manual pages in man(7), rendered from the tables of commands and options, as the help is: one for minidocker, one
//! for each command, and for each further name of a command a page that leads there.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::Settings;

use crate::ages;
use crate::commands::version::VERSION;
use crate::commands::{COMMANDS, Command, GROUPS};
use crate::global;
use crate::options::{Group, Opt, Takes};

/// Commands that are read together; of others those of the same group are.
const RELATED: &[&[&str]] = &[
    &["run", "create", "start", "exec", "attach", "images"],
    &["stop", "restart", "kill", "start", "wait", "rm"],
    &["ps", "inspect", "container inspect", "logs", "top", "stats", "events", "ui", "port"],
    &["pause", "unpause", "update", "rename", "stats"],
    &["diff", "cp", "export", "commit"],
    &["pull", "push", "login", "logout", "manifest inspect", "tag", "images"],
    &["images", "history", "image inspect", "rmi", "image prune"],
    &["save", "load", "import", "export"],
    &["build", "builder prune", "image bootstrap", "commit"],
    &[
        "manifest create",
        "manifest add",
        "manifest annotate",
        "manifest push",
        "manifest rm",
        "build",
        "push",
    ],
    &["rm", "container prune", "rmi", "image prune", "volume prune", "builder prune", "system df"],
    &["info", "version", "system df", "events"],
    &["system start", "run", "update"],
    &["completion", "man"],
];

/// Commands whose exit code is that of a program in the container.
const CODE_OF_PROGRAM: [&str; 4] = ["run", "start", "exec", "attach"];

/// A page: its file name, `minidocker-run.1`, and its text.
#[derive(Debug)]
pub(crate) struct Page {
    /// Below `man1`.
    pub(crate) file: String,
    /// man(7).
    pub(crate) text: String,
}

/// All pages.
pub(crate) fn pages() -> Vec<Page> {
    let date = date();
    let mut pages = vec![Page { file: file("minidocker"), text: overview(&date) }];
    for command in COMMANDS {
        pages.push(Page { file: file(&title(command.name)), text: of(command, &date) });
        for other in command.long_names {
            let text = format!(".so man1/{}\n", file(&title(command.name)));
            pages.push(Page { file: file(&title(other)), text });
        }
    }
    pages
}

/// Of today, or of `SOURCE_DATE_EPOCH` where a packager wants the same bytes for the same source
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn date() -> String {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let time = epoch.map_or_else(SystemTime::now, |seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    ages::rfc3339(time).chars().take(10).collect()
}

fn title(name: &str) -> String {
    format!("minidocker-{}", name.replace(' ', "-"))
}

fn file(title: &str) -> String {
    format!("{title}.1")
}

fn overview(date: &str) -> String {
    let mut text = head("minidocker", "a container engine without a daemon", date);
    text.push_str(".SH SYNOPSIS\n");
    usage(&mut text, "[OPTIONS] COMMAND");
    text.push_str(".SH DESCRIPTION\n");
    paragraphs(
        &mut text,
        "Runs containers, makes and moves their images, and looks after their volumes, with Docker's commands \
         and options. There is no daemon: each running container has one small process of its own that waits \
         for its end, and commands find each other by files and by what the kernel tells.",
    );
    text.push_str(".SH COMMANDS\n");
    for command in COMMANDS {
        let _ = writeln!(text, ".TP\n.BR {} (1)\n{}", code(&title(command.name)), prose(command.summary));
    }
    text.push_str(".SH OPTIONS\nThey stand before the command.\n");
    for option in global::OPTIONS {
        let _ = writeln!(
            text,
            ".TP\n\\fB{}\\fR \\fI{}\\fR\n{}; the variable \\fB{}\\fR does the same.",
            code(&format!("--{}", option.long)),
            code(option.value),
            prose(option.help),
            code(option.variable)
        );
    }
    for (option, words) in [("-v, --version", "Print the version."), ("-h, --help", "Print help.")] {
        let _ = writeln!(text, ".TP\n\\fB{}\\fR\n{words}", code(option));
    }
    text.push_str(".SH EXIT STATUS\n");
    codes(
        &mut text,
        &[
            ("0", "It was done."),
            ("1", "It was not, or not for every name."),
            ("125", "A container could not be made or started, or the options before the command are wrong."),
        ],
    );
    files(&mut text, true);
    text.push_str(".SH SEE ALSO\n");
    see(&mut text, &GROUPS.iter().flat_map(|(group, _)| in_group(group)).collect::<Vec<_>>());
    text
}

fn of(command: &Command, date: &str) -> String {
    let mut text = head(&title(command.name), command.summary, date);
    text.push_str(".SH SYNOPSIS\n");
    for (number, line) in command.usage.iter().enumerate() {
        if number > 0 {
            text.push_str(".br\n");
        }
        usage(&mut text, line);
    }
    text.push_str(".SH DESCRIPTION\n");
    paragraphs(&mut text, command.about);
    if !command.long_names.is_empty() {
        let names: Vec<String> = command
            .long_names
            .iter()
            .map(|name| format!("\\fB{}\\fR", code(&format!("minidocker {name}"))))
            .collect();
        let _ = writeln!(text, ".PP\nThe same command: {}.", names.join(", "));
    }
    options(&mut text, command.groups);
    text.push_str(".SH EXIT STATUS\n");
    exit_status(&mut text, command);
    if !command.examples.is_empty() {
        text.push_str(".SH EXAMPLES\n");
        for (number, (typed, words)) in command.examples.iter().enumerate() {
            let before = match (number, words.is_empty()) {
                (0, true) => String::new(),
                (_, true) => ".sp\n".to_owned(),
                (0, false) => format!("{}:\n.sp\n", capital(&prose(words))),
                (_, false) => format!(".PP\n{}:\n.sp\n", capital(&prose(words))),
            };
            let _ = writeln!(text, "{before}.RS 4\n.EX\n{}\n.EE\n.RE", code(typed));
        }
    }
    files(&mut text, false);
    text.push_str(".SH SEE ALSO\n");
    see(&mut text, &related(command));
    text
}

fn head(title: &str, summary: &str, date: &str) -> String {
    let upper = code(&title.to_uppercase());
    let summary = prose(summary);
    let mut letters = summary.chars();
    let summary: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    format!(
        ".\\\" Made from the tables of commands and options: minidocker man\n.TH {upper} 1 {date} \"minidocker {VERSION}\" \
         \"minidocker\"\n.nh\n.ad l\n.SH NAME\n{} \\- {summary}\n",
        code(title)
    )
}

/// A line of a synopsis: what is typed as it is bold, what something else stands for italic.
fn usage(text: &mut String, line: &str) {
    let mut words = vec!["\\fBminidocker\\fR".to_owned()];
    for word in line.split_whitespace() {
        let placeholder = word.chars().any(char::is_uppercase) && !word.contains("--");
        let font = if placeholder { 'I' } else { 'B' };
        words.push(format!("\\f{font}{}\\fR", code(word)));
    }
    let _ = writeln!(text, "{}", words.join(" "));
}

fn options(text: &mut String, groups: &[Group]) {
    if groups.is_empty() {
        return;
    }
    text.push_str(".SH OPTIONS\n");
    for group in groups {
        if groups.len() > 1 {
            let _ = writeln!(text, ".SS {}", prose(group.title));
        }
        for option in group.options {
            let _ = writeln!(text, ".TP\n{}\n{}", left(option), prose(option.help));
        }
    }
}

fn left(option: &Opt) -> String {
    let mut text =
        option.short.map_or_else(String::new, |short| format!("\\fB\\-{}\\fR, ", code(&short.to_string())));
    let _ = write!(text, "\\fB{}\\fR", code(&format!("--{}", option.long)));
    let _ = match option.takes {
        Takes::Nothing => Ok(()),
        Takes::Maybe(_) => write!(text, "[=\\fI{}\\fR]", code(option.value)),
        Takes::One | Takes::Many => write!(text, " \\fI{}\\fR", code(option.value)),
    };
    text
}

fn exit_status(text: &mut String, command: &Command) {
    let failed = command.failed.to_string();
    let mut all: Vec<(&str, &str)> = Vec::new();
    if CODE_OF_PROGRAM.contains(&command.name) {
        all.push(("0 to 255", "The code that the program in the container ended with."));
        all.push(("128+N", "Signal N ended it."));
        if command.name != "attach" {
            all.push(("127", "The program was not found in the container."));
            all.push(("126", "It cannot be run."));
        }
        all.push((&failed, "minidocker failed; standard error says why."));
    } else {
        all.push(("0", "It was done."));
        all.push((&failed, "It was not, or not for every name; standard error says why."));
    }
    codes(text, &all);
}

fn codes(text: &mut String, all: &[(&str, &str)]) {
    for (code, words) in all {
        let _ = writeln!(text, ".TP\n\\fB{code}\\fR\n{words}");
    }
}

fn files(text: &mut String, all: bool) {
    let settings = Settings::default();
    let mut rows = vec![
        (settings.root, "What survives a reboot: images, volumes, containers and what they have written."),
        (settings.run_root, "What does not: sockets and records of what runs."),
    ];
    if all {
        rows.push((
            "/etc/minidocker/registries.toml".into(),
            "Mirrors of registries, and those without TLS.",
        ));
        rows.push(("~/.docker/config.json".into(), "Logins."));
    }
    text.push_str(".SH FILES\n");
    for (path, words) in rows {
        let _ = writeln!(text, ".TP\n\\fI{}\\fR\n{words}", code(&path.display().to_string()));
    }
}

/// Pages to read next, in the order of the overview.
fn related(command: &Command) -> Vec<&'static str> {
    let sets = RELATED.iter().filter(|set| set.contains(&command.name));
    let mut names: Vec<&str> = sets.flat_map(|set| set.iter().copied()).collect();
    if names.is_empty() {
        names = command
            .names()
            .filter_map(|name| name.split_once(' '))
            .flat_map(|(group, _)| in_group(group))
            .collect();
    }
    let wanted = |known: &&&Command| known.name != command.name && names.contains(&known.name);
    COMMANDS.iter().filter(wanted).map(|known| known.name).collect()
}

fn in_group(group: &str) -> Vec<&'static str> {
    let in_it = |name: &str| name.split_once(' ').is_some_and(|(first, _)| first == group);
    COMMANDS.iter().filter(|command| command.names().any(in_it)).map(|command| command.name).collect()
}

fn see(text: &mut String, names: &[&str]) {
    let mut titles =
        if names.is_empty() { Vec::new() } else { names.iter().map(|name| title(name)).collect() };
    titles.sort_unstable();
    titles.dedup();
    titles.insert(0, "minidocker".to_owned());
    for (number, title) in titles.iter().enumerate() {
        let comma = if number + 1 < titles.len() { " ," } else { "" };
        let _ = writeln!(text, ".BR {} (1){comma}", code(title));
    }
}

fn paragraphs(text: &mut String, words: &str) {
    for paragraph in words.split("\n\n") {
        let _ = writeln!(text, ".PP\n{}", prose(paragraph));
    }
    // The first one follows a heading, where a break would be one too many.
    if let Some(at) = text.find(".SH DESCRIPTION\n.PP\n") {
        let at = at + ".SH DESCRIPTION\n".len();
        text.replace_range(at..at + ".PP\n".len(), "");
    }
}

/// Text in one line of input: as it is, filled and broken by the formatter.
fn prose(words: &str) -> String {
    escaped(&words.split_whitespace().collect::<Vec<_>>().join(" "), "-")
}

/// What is typed: a hyphen is the minus sign that can be copied and searched for (groff_char(7)).
fn code(words: &str) -> String {
    escaped(words, "\\-")
}

fn escaped(words: &str, hyphen: &str) -> String {
    let mut text = String::new();
    // A line that begins so would be a request (groff(7)).
    if words.starts_with(['.', '\'']) {
        text.push_str("\\&");
    }
    for letter in words.chars() {
        match letter {
            '\\' => text.push_str("\\e"),
            '-' => text.push_str(hyphen),
            '\'' => text.push_str("\\(aq"),
            '`' => text.push_str("\\(ga"),
            '^' => text.push_str("\\(ha"),
            '~' => text.push_str("\\(ti"),
            letter if letter.is_ascii() => text.push(letter),
            letter => {
                let _ = write!(text, "\\[u{:04X}]", u32::from(letter));
            }
        }
    }
    text
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Writes all pages below `directory`/man1, each whole or not at all.
pub(crate) fn write(directory: &Path) -> Result<usize, (std::path::PathBuf, std::io::Error)> {
    let below = directory.join("man1");
    std::fs::create_dir_all(&below).map_err(|error| (below.clone(), error))?;
    let pages = pages();
    for page in &pages {
        let path = below.join(&page.file);
        let new = below.join(format!(".{}.new", page.file));
        let written = std::fs::write(&new, &page.text).and_then(|()| std::fs::rename(&new, &path));
        written.map_err(|error| (path, error))?;
    }
    Ok(pages.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_page_and_every_option_is_in_it() {
        let pages = pages();
        let page = |title: &str| &pages.iter().find(|page| page.file == file(title)).expect(title).text;
        for command in COMMANDS {
            let text = page(&title(command.name));
            for option in command.groups.iter().flat_map(|group| group.options) {
                assert!(
                    text.contains(&code(&format!("--{}", option.long))),
                    "{} {}",
                    command.name,
                    option.long
                );
            }
            for other in command.long_names {
                assert!(page(&title(other)).contains(&file(&title(command.name))));
            }
            assert!(page("minidocker").contains(&code(&title(command.name))));
        }
        let mut names: Vec<_> = pages.iter().map(|page| &page.file).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), pages.len());
    }

    #[test]
    fn what_is_read_next_exists() {
        for set in RELATED {
            for name in *set {
                assert!(COMMANDS.iter().any(|command| command.name == *name), "{name}");
            }
        }
        for name in CODE_OF_PROGRAM {
            assert!(COMMANDS.iter().any(|command| command.name == name), "{name}");
        }
    }

    #[test]
    fn nothing_becomes_a_request_or_an_escape() {
        assert_eq!(code(".so x"), "\\&.so x");
        assert_eq!(code("'x'"), "\\&\\(aqx\\(aq");
        assert_eq!(code("a\\b --c"), "a\\eb \\-\\-c");
        assert_eq!(prose("a\nb  …"), "a b \\[u2026]");
    }
}
