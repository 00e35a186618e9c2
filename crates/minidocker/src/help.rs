//! Help, rendered from the tables of commands and options: `minidocker`, `minidocker help run`, `run --help`.

use std::fmt::Write as _;

use crate::commands::{COMMANDS, Command, GROUPS};
use crate::global;
use crate::options::{Opt, Takes};

/// Where the second column starts.
const COLUMN: usize = 36;

/// The help of minidocker as a whole.
pub(crate) fn overview() -> String {
    let mut text = String::from(
        "Usage: minidocker [OPTIONS] COMMAND\n\n\
         A container engine without a daemon that explains every kernel step it takes.\n\n\
         Examples:\n  \
         minidocker run -it host bash             a shell in a copy-on-write view of this machine\n  \
         minidocker run -it --rootfs ./root sh    a shell in a directory's root file system\n  \
         minidocker run --explain host true       every kernel step, its time and its reason\n\n\
         Commands:\n",
    );
    for command in COMMANDS.iter().filter(|command| !command.name.contains(' ')) {
        row(&mut text, &format!("  {}", command.name), command.summary, 15);
    }
    row(&mut text, "  help", "Help of a command", 15);
    for (group, summary) in GROUPS {
        row(&mut text, &format!("  {group}"), summary, 15);
    }
    row(
        &mut text,
        "  runtime",
        "The OCI runtime that Docker, containerd and Podman start: runtime --help",
        15,
    );
    text.push_str("\nOptions:\n");
    for option in global::OPTIONS {
        let words = format!("{} (${})", option.help, option.variable);
        row(&mut text, &format!("      --{} {}", option.long, option.value), &words, 28);
    }
    row(&mut text, "  -v, --version", "Print the version", 28);
    row(&mut text, "  -h, --help", "Print this help", 28);
    text.push_str("\nRun 'minidocker COMMAND --help' for more on a command.\n");
    text
}

/// The help of a group of commands.
pub(crate) fn group(group: &str) -> String {
    let mut text = format!("Usage: minidocker {group} COMMAND\n\nCommands:\n");
    for command in COMMANDS {
        let mut names = command.names().filter_map(|name| name.strip_prefix(group)?.strip_prefix(' '));
        if let Some(name) = names.next() {
            row(&mut text, &format!("  {name}"), command.summary, 14);
        }
    }
    let _ = writeln!(text, "\nRun 'minidocker {group} COMMAND --help' for more on a command.");
    text
}

/// The help of one command.
pub(crate) fn of(command: &Command) -> String {
    let mut text = String::new();
    for (number, usage) in command.usage.iter().enumerate() {
        let start = if number == 0 { "Usage: " } else { "       " };
        let _ = writeln!(text, "{start}minidocker {usage}");
    }
    let _ = writeln!(text, "\n{}", command.about);
    if !command.long_names.is_empty() {
        let names: Vec<_> = command.long_names.iter().map(|name| format!("minidocker {name}")).collect();
        let _ = writeln!(text, "\nAliases:\n  {}", names.join(", "));
    }
    if !command.examples.is_empty() {
        text.push_str("\nExamples:\n");
        let width = command.examples.iter().map(|(typed, _)| typed.len()).max().unwrap_or(0).min(56) + 4;
        for (typed, words) in command.examples {
            row(&mut text, &format!("  {typed}"), words, width);
        }
    }
    for group in command.groups {
        let _ = writeln!(text, "\n{}:", group.title);
        for option in group.options {
            row(&mut text, &left(option), option.help, COLUMN);
        }
    }
    text
}

fn left(option: &Opt) -> String {
    let mut text = match option.short {
        Some(short) => format!("  -{short}, --{}", option.long),
        None => format!("      --{}", option.long),
    };
    let _ = match option.takes {
        Takes::Nothing => Ok(()),
        Takes::Maybe(_) => write!(text, "[={}]", option.value),
        Takes::One | Takes::Many => write!(text, " {}", option.value),
    };
    text
}

/// A line of two columns; the second starts on the next line where the first is too long.
fn row(text: &mut String, left: &str, right: &str, column: usize) {
    text.push_str(left);
    if right.is_empty() {
        text.push('\n');
    }
    let width = left.chars().count();
    let pad = if width + 2 > column && !right.is_empty() {
        text.push('\n');
        column
    } else {
        column.saturating_sub(width)
    };
    for (number, line) in right.lines().enumerate() {
        let pad = if number == 0 { pad } else { column };
        let _ = writeln!(text, "{:pad$}{line}", "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_every_command_is_in_its_help_and_fits_a_screen() {
        for command in COMMANDS {
            let text = of(command);
            for option in command.groups.iter().flat_map(|group| group.options) {
                assert!(text.contains(&format!("--{}", option.long)), "{} {}", command.name, option.long);
                assert!(!option.help.is_empty());
            }
            for line in text.lines().chain(overview().lines()) {
                assert!(line.chars().count() <= 120, "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }
}
