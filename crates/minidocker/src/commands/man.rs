//! `man`: the manual pages. The program writes them itself: it alone knows its tables, and one file that was copied to a
//! machine brings its manual along, of its own version.

use std::path::Path;

use engine::Settings;

use super::Command;
use crate::manual;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal::{io_reason, plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "man",
    long_names: &[],
    summary: "Write the manual pages",
    usage: &["man DIR"],
    about: "Write a manual page for minidocker and for each command below DIR, as DIR/man1/minidocker-run.1.\n\
            SOURCE_DATE_EPOCH sets their date.",
    examples: &[("minidocker man /usr/local/share/man", "then: man minidocker run")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, _settings: &Settings) -> Result<u8, Problem> {
    let hint = "for example: minidocker man /usr/local/share/man";
    let [directory] = typed.words.as_slice() else {
        return Err(Problem::new("man needs one directory").hint(hint));
    };
    if directory.is_empty() {
        return Err(Problem::new("man: the directory's name is empty").hint(hint));
    }
    let count = manual::write(Path::new(directory)).map_err(|(path, error)| {
        Problem::new(format!("cannot write {}: {}", path.display(), io_reason(&error)))
            .hint("choose a directory that you may write to")
    })?;
    print(&format!("{count} pages in {}\n", plain(&Path::new(directory).join("man1").display().to_string())))
        .map(|()| 0)
}
