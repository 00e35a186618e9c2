//! `load`: images from an archive.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;

use engine::Settings;
use engine::ops::files::{self, Loaded};

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::terminal::{io_reason, plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "load",
    long_names: &["image load"],
    summary: "Bring images from a tar archive",
    usage: &["load [OPTIONS]"],
    about: "Bring the images of an archive that `save` wrote, or Docker's, Podman's or skopeo's; plain, or compressed by\n\
            gzip or zstd.",
    examples: &[("minidocker load -i apps.tar", ""), ("ssh host docker save app | minidocker load", "")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("input", "FILE", "Read this file, not standard input").short('i'),
            one("platform", "OS/ARCH[/VARIANT]", "Of several for platforms this one alone"),
            flag("quiet", "As it is: there are no progress bars").short('q'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let (file, place) = match typed.one("input") {
        Some(path) => {
            let failed = |error| Problem::new(format!("cannot read {}: {}", plain(path), io_reason(&error)));
            (File::open(path).map_err(failed)?, path)
        }
        None => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                return Err(Problem::new("there is no archive on standard input")
                    .hint("use -i FILE, or redirect: minidocker load < images.tar"));
            }
            let own = stdin.as_fd().try_clone_to_owned();
            let failed = |error| Problem::new(format!("cannot read standard input: {}", io_reason(&error)));
            (File::from(own.map_err(failed)?), "standard input")
        }
    };
    tell(&files::load(settings, file, place, typed.one("platform"))?).map(|()| 0)
}

/// Docker's words for what was brought.
pub(super) fn tell(loaded: &[Loaded]) -> Result<(), Problem> {
    for image in loaded {
        match image.names.as_slice() {
            [] => print(&format!("Loaded image ID: {}\n", image.id))?,
            names => {
                for name in names {
                    print(&format!("Loaded image: {}\n", plain(&name.to_string())))?;
                }
            }
        }
    }
    Ok(())
}
