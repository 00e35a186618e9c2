//! `image bootstrap`: base images without a registry.

use engine::Settings;
use engine::ops::bootstrap::{self, Bootstrap};

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::terminal::{plain, print, warn};

pub(crate) const COMMAND: Command = Command {
    name: "image bootstrap",
    long_names: &[],
    summary: "Make a base image by this machine's own tools",
    usage: &["image bootstrap [OPTIONS] TEMPLATE [NAME[:TAG]]"],
    about: "Make a base image where no registry can be reached: debian:bookworm, debian:trixie, ubuntu:jammy and\n\
            ubuntu:noble by debootstrap, busybox by the host's static program. The image has the template's name\n\
            where no other is given.",
    examples: &[
        ("minidocker image bootstrap debian:bookworm", "from where this machine has its packages"),
        ("minidocker image bootstrap busybox base:1", "in a second, from nowhere"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            one("mirror", "URL", "Where packages come from; where this machine has them from where absent"),
            flag("quiet", "Print the image's id alone").short('q'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let (template, name) = match typed.words.as_slice() {
        [template] => (template, None),
        [template, name] => (template, Some(name.clone())),
        _ => {
            let known = bootstrap::templates().join(", ");
            return Err(Problem::new("image bootstrap needs a template").hint(format!("there are {known}")));
        }
    };
    let quiet = typed.flag("quiet")?.unwrap_or(false);
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let asked =
        Bootstrap { template: template.clone(), name, mirror: typed.one("mirror").map(str::to_owned), epoch };
    let mut tell = |line: &str| {
        if !quiet {
            warn(&format!("{}\n", plain(line)));
        }
    };
    let id = bootstrap::bootstrap(settings, &asked, &mut tell)?;
    print(&format!("{id}\n")).map(|()| 0)
}
