//! `import`: an image of one layer.

use std::fs::File;
use std::io::Read;

use engine::Settings;
use engine::ops::files::{self, Import};

use crate::commands::Command;
use crate::options::{Group, Typed, Words, many, one};
use crate::problem::Problem;
use crate::terminal::{io_reason, plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "import",
    long_names: &["image import"],
    summary: "Make an image of a tar archive of files",
    usage: &["import [OPTIONS] FILE|- [NAME[:TAG]]"],
    about: "Make an image of one layer of a tar archive, plain or compressed by gzip or zstd: what `export` wrote, or a\n\
            root file system from elsewhere.",
    examples: &[("debootstrap bookworm root && tar -c -C root . | minidocker import - debian:bookworm", "")],
    groups: &[Group {
        title: "Options",
        options: &[
            many("change", "INSTRUCTION", "Apply an instruction of Dockerfiles").short('c'),
            one("message", "TEXT", "What for").short('m'),
            one("platform", "OS/ARCH[/VARIANT]", "What it runs on; this machine's where absent"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let (path, name) = match typed.words.as_slice() {
        [path] => (path, None),
        [path, name] => (path, Some(name.clone())),
        _ => {
            return Err(Problem::new("import needs an archive, and a name for its image")
                .hint("for example: minidocker import root.tar debian:mine"));
        }
    };
    let asked = Import {
        name,
        message: typed.one("message").unwrap_or_default().to_owned(),
        platform: typed.one("platform").map(str::to_owned),
        changes: typed.many("change").map(str::to_owned).collect(),
    };
    let (source, place): (Box<dyn Read + Send>, &str) = match path.as_str() {
        "-" => (Box::new(std::io::stdin()), "-"),
        path => {
            let failed = |error| Problem::new(format!("cannot read {}: {}", plain(path), io_reason(&error)));
            (Box::new(File::open(path).map_err(failed)?), path)
        }
    };
    let id = files::import(settings, &asked, source, place)?;
    print(&format!("{id}\n")).map(|()| 0)
}
