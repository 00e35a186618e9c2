//! What `--help` prints, from the tables, under the headings of runc's own: some engines and tests look for `NAME:`.

use std::fmt::Write as _;

use crate::options::{Opt, Takes};

use super::commands::{COMMANDS, Command};
use super::global;

/// The help of the runtime as a whole; `name` is what it was called by.
pub(super) fn overview(name: &str) -> String {
    let mut text = format!(
        "NAME:\n   {name} - Open Container Initiative runtime\n\n\
         A bundle is a directory with a file config.json and a root file system. This makes containers of bundles, as\n\
         the OCI runtime specification says, with runc's command line:\n\n\
         \x20   # {name} run -b BUNDLE ID\n\n\
         USAGE:\n   {name} [global options] COMMAND [command options] [arguments...]\n\n\
         COMMANDS:\n"
    );
    let rows: Vec<_> = COMMANDS.iter().map(|command| (command.name.to_owned(), command.summary)).collect();
    table(&mut text, &rows);
    text.push_str("\nGLOBAL OPTIONS:\n");
    options(&mut text, global::OPTIONS);
    let _ = write!(text, "\nRun '{name} COMMAND --help' for more on a command.\n");
    text
}

/// The help of one command.
pub(super) fn of(command: &Command, name: &str) -> String {
    let Command { name: own, summary, arguments, about, options: table, .. } = command;
    let mut text = format!("NAME:\n   {name} {own} - {summary}\n\nUSAGE:\n   {name} {own} [command options]");
    let _ = writeln!(text, "{}{arguments}", if arguments.is_empty() { "" } else { " " });
    if !about.is_empty() {
        text.push_str("\nDESCRIPTION:\n");
        for line in about.lines() {
            let _ = writeln!(text, "   {line}");
        }
    }
    text.push_str("\nOPTIONS:\n");
    options(&mut text, table);
    text
}

fn options(text: &mut String, table_of: &'static [Opt]) {
    let left = |option: &Opt| {
        let value = if option.takes == Takes::Nothing { String::new() } else { format!(" {}", option.value) };
        let short = option.short.map(|short| format!(", -{short}{value}")).unwrap_or_default();
        format!("--{}{value}{short}", option.long)
    };
    let mut rows: Vec<_> = table_of.iter().map(|option| (left(option), option.help)).collect();
    if !table_of.iter().any(|option| option.long == "help") {
        rows.push(("--help, -h".to_owned(), "Print this help"));
    }
    table(text, &rows);
}

/// Two columns, the second as far to the right as the longest of the first needs.
fn table(text: &mut String, rows: &[(String, &str)]) {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    for (left, right) in rows {
        let _ = writeln!(text, "   {left:width$}  {right}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_has_its_line() {
        let all = overview("runc");
        assert!(all.starts_with("NAME:\n   runc - Open Container Initiative runtime\n"));
        for command in COMMANDS {
            assert!(all.contains(&format!("\n   {} ", command.name)), "{}", command.name);
            let text = of(command, "runc");
            assert!(text.starts_with(&format!("NAME:\n   runc {} - ", command.name)));
            for option in command.options {
                assert!(text.contains(&format!("   --{}", option.long)), "{} {}", command.name, option.long);
                assert!(!option.help.is_empty());
            }
            for line in text.lines().chain(all.lines()) {
                assert!(line.chars().count() <= 120, "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }
}
