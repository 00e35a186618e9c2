//! `bench report`: what a run of a suite says, as one HTML file, Markdown, CSV or JSON.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use engine::Settings;
use lab::read::Results;
use lab::report::{Format, report};

use crate::commands::{Command, into_file};
use crate::options::{Group, Typed, Words, one};
use crate::problem::Problem;
use crate::terminal::{self, print};

pub(crate) const COMMAND: Command = Command {
    name: "bench report",
    long_names: &[],
    summary: "Write the report of a run of a suite",
    usage: &["bench report [OPTIONS] DIR"],
    about: "Write what a run of a suite says: what every environment was given and really had, each case against\n\
            the bare host with its interval and whether the difference is real, every repetition, what the host\n\
            saw, the exact commands. A run that was stopped can be reported on too.\n\
            The HTML file needs no other file and no network.",
    examples: &[
        ("minidocker bench report results", "write results/report.html"),
        ("minidocker bench report --format md -o - results", "show it in the terminal"),
        (
            "minidocker bench report --format html,csv,json -o out results",
            "write three files into the directory out",
        ),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            one("format", "FORMATS", "html, md, csv, json, or several of them with commas (default html)"),
            one("output", "PATH", "File, or directory for report.html and its like (default DIR); - prints")
                .short('o'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, _settings: &Settings) -> Result<u8, Problem> {
    let [directory] = typed.words.as_slice() else {
        return Err(Problem::new("bench report needs the directory of one run")
            .hint("it is what 'minidocker bench run -o DIR' was given"));
    };
    let formats = typed.read("format", parse)?.unwrap_or_else(|| vec![Format::Html]);
    let results = read(directory)?;
    match typed.one("output") {
        Some("-") => {
            let [format] = formats.as_slice() else {
                return Err(Problem::new("standard output takes one format").hint("name a directory: -o DIR"));
            };
            print(&report(&results, *format))?;
        }
        output => {
            for (format, path) in files(&formats, output, directory)? {
                let text = report(&results, format);
                into_file(&path, |mut file| {
                    file.write_all(text.as_bytes()).map_err(|error| {
                        let reason = terminal::io_reason(&error);
                        Problem::new(format!("cannot write {}: {reason}", terminal::plain(&path)))
                    })
                })?;
                print(&format!("{}\n", terminal::plain(&path)))?;
            }
        }
    }
    Ok(0)
}

/// Reads a run's directory.
pub(super) fn read(directory: &str) -> Result<Results, Problem> {
    lab::read::read(Path::new(directory)).map_err(super::told)
}

/// The formats of a list with commas, each once.
fn parse(text: &str) -> Result<Vec<Format>, String> {
    let mut formats = Vec::new();
    for name in text.split(',') {
        let format = Format::ALL.into_iter().find(|format| format.name() == name.trim());
        let format = format.ok_or_else(|| {
            format!("unknown format {}, known are html, md, csv and json", step::quote(name.trim()))
        })?;
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    Ok(formats)
}

/// Where each format goes: one format to the file that is named, else `report.*` in a directory, which is made.
fn files(formats: &[Format], output: Option<&str>, run: &str) -> Result<Vec<(Format, String)>, Problem> {
    if let ([format], Some(file)) = (formats, output)
        && !Path::new(file).is_dir()
        && !file.ends_with('/')
    {
        return Ok(vec![(*format, file.to_owned())]);
    }
    let directory = PathBuf::from(output.unwrap_or(run));
    std::fs::create_dir_all(&directory).map_err(|error| {
        let reason = terminal::io_reason(&error);
        Problem::new(format!("cannot make {}: {reason}", terminal::plain(&directory.display().to_string())))
    })?;
    let path = |format: &Format| directory.join(format!("report.{}", format.name())).display().to_string();
    Ok(formats.iter().map(|format| (*format, path(format))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_once_each() {
        assert_eq!(parse("html,md,html"), Ok(vec![Format::Html, Format::Markdown]));
        assert_eq!(parse("csv"), Ok(vec![Format::Csv]));
        assert!(parse("html,pdf").unwrap_err().contains("unknown format pdf"));
        assert!(parse("").is_err());
    }

    #[test]
    fn one_format_goes_to_the_file_and_several_into_a_directory() {
        let directory = std::env::temp_dir().join(format!("bench-report-{}", std::process::id()));
        let name = directory.display().to_string();
        assert_eq!(files(&[Format::Csv], Some("a.csv"), "run"), Ok(vec![(Format::Csv, "a.csv".to_owned())]));
        let both = files(&[Format::Html, Format::Json], Some(&name), "run").unwrap();
        assert_eq!(both[1].1, format!("{name}/report.json"));
        assert!(directory.is_dir());
        assert_eq!(files(&[Format::Markdown], Some(&name), "run").unwrap()[0].1, format!("{name}/report.md"));
        std::fs::remove_dir(&directory).unwrap();
    }
}
