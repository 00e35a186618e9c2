//! `spec`: a config.json to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use bundle::ops;

use super::super::Context;
use super::super::arguments::Typed;
use super::Command;
use super::create::BUNDLE;
use crate::options::flag;
use crate::problem::Problem;
use crate::terminal::io_reason;

pub(super) const COMMAND: Command = Command {
    arguments: "",
    about: "Writes a config.json that starts a shell in the directory rootfs beside it: change it to what you need.",
    options: &[BUNDLE, flag("rootless", "For a user who is not root")],
    words: 0..=0,
    ..Command::new("spec", "Write a config.json to start from", exec)
};

fn exec(typed: &Typed, _: &Context) -> Result<u8, Problem> {
    write(Path::new(typed.text("bundle").unwrap_or_default()), typed.on("rootless")).map(|()| 0)
}

fn write(bundle: &Path, rootless: bool) -> Result<(), Problem> {
    let file = bundle.join("config.json");
    let failed = |error: std::io::Error| match error.kind() {
        // runc's words.
        ErrorKind::AlreadyExists => Problem::new("File config.json exists. Remove it first"),
        _ => Problem::new(format!("write {}: {}", file.display(), io_reason(&error))),
    };
    let mut opened = OpenOptions::new().write(true).create_new(true).open(&file).map_err(failed)?;
    opened.write_all(ops::spec(rootless).as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten() {
        let bundle = std::env::temp_dir().join(format!("minidocker-spec-{}", std::process::id()));
        std::fs::create_dir(&bundle).unwrap();
        write(&bundle, false).unwrap();
        let text = std::fs::read_to_string(bundle.join("config.json")).unwrap();
        let again = write(&bundle, true).unwrap_err().message;
        let same = std::fs::read_to_string(bundle.join("config.json")).unwrap() == text;
        std::fs::remove_dir_all(&bundle).unwrap();
        assert!(text.contains("\"rootfs\"") && same);
        assert_eq!(again, "File config.json exists. Remove it first");
        let missing = write(&bundle, false).unwrap_err().message;
        assert_eq!(missing, format!("write {}/config.json: no such file or directory", bundle.display()));
    }
}
