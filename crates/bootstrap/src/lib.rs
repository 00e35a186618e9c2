//! Base images made by the host's own tools, where no registry can be reached: Debian and Ubuntu by debootstrap(8),
//! busybox by the host's static program. The outcome is a directory tree and what an image's configuration should say.
//!
//! ```text
//! find("debian:bookworm") ─▶ Template ─▶ bootstrap(template, options, into, progress) ─▶ Suggested
//!                                         debootstrap in a mount namespace of its own
//!                                         clean: nothing of this host, nothing of today
//! ```

#![forbid(unsafe_code)]

mod apt;
mod busybox;
mod clean;
mod debootstrap;
mod tool;

use std::path::Path;

use step::Failure;

/// The step's name in failures.
const STEP: &str = "image.bootstrap";

/// How a template's tree is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By debootstrap(8).
    Debootstrap(Distribution),
    /// From the host's static busybox.
    Busybox,
}

/// What debootstrap is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distribution {
    /// `bookworm`.
    pub suite: &'static str,
    /// Where its packages are, unless the host's own settings or the user name another place.
    pub mirror: &'static str,
    /// Suites of the same distribution: a mirror that the host has for one of them has the others too.
    pub family: &'static [&'static str],
    /// `minbase`: essential packages and apt.
    pub variant: &'static str,
    /// Sections of the archive.
    pub components: &'static [&'static str],
    /// Packages beside those of the variant.
    pub packages: &'static [&'static str],
    /// The keys that sign the archive, and the package that brings them.
    pub keyring: (&'static str, &'static str),
    /// The script of debootstrap that fits where it has none for the suite yet.
    pub script: &'static str,
    /// Further suites, for /etc/apt/sources.list: the suite's name goes before it, and where they are. `None` is the
    /// mirror itself; else what the last part of its path becomes.
    pub updates: &'static [(&'static str, Option<&'static str>)],
}

/// A base image that can be made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// As users name it: `debian:bookworm`.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// How.
    pub how: How,
    /// The command of a container that is told none.
    pub command: &'static [&'static str],
}

const DEBIAN: Distribution = Distribution {
    suite: "bookworm",
    mirror: "http://deb.debian.org/debian",
    family: &["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"],
    variant: "minbase",
    components: &["main"],
    packages: &[],
    keyring: ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
    script: "sid",
    updates: &[("-updates", None), ("-security", Some("debian-security"))],
};

const UBUNTU: Distribution = Distribution {
    suite: "noble",
    mirror: "http://archive.ubuntu.com/ubuntu",
    family: &["focal", "jammy", "noble", "plucky", "questing"],
    variant: "minbase",
    components: &["main", "universe"],
    packages: &[],
    keyring: (
        "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        "ubuntu-keyring, or where there is none (Debian 12) dpkg -i its file of http://archive.ubuntu.com/ubuntu/pool/main/u/ubuntu-keyring",
    ),
    script: "gutsy",
    updates: &[("-updates", None), ("-security", None)],
};

/// Every template.
pub const TEMPLATES: &[Template] = &[
    Template {
        name: "debian:bookworm",
        aliases: &["debian:12"],
        how: How::Debootstrap(DEBIAN),
        command: &["bash"],
    },
    Template {
        name: "debian:trixie",
        aliases: &["debian", "debian:13", "debian:latest"],
        how: How::Debootstrap(Distribution { suite: "trixie", ..DEBIAN }),
        command: &["bash"],
    },
    Template {
        name: "ubuntu:jammy",
        aliases: &["ubuntu:22.04"],
        how: How::Debootstrap(Distribution { suite: "jammy", ..UBUNTU }),
        command: &["bash"],
    },
    Template {
        name: "ubuntu:noble",
        aliases: &["ubuntu", "ubuntu:24.04", "ubuntu:latest"],
        how: How::Debootstrap(UBUNTU),
        command: &["bash"],
    },
    Template { name: "busybox", aliases: &["busybox:latest"], how: How::Busybox, command: &["sh"] },
];

/// What the user may choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `--mirror URL`: where packages come from. Else the host's own for this distribution, else the template's.
    pub mirror: Option<String>,
    /// Seconds since 1970 (`SOURCE_DATE_EPOCH`): no file of the tree is newer, so that the same packages make the same
    /// tree.
    pub epoch: Option<u64>,
}

/// What the image's configuration should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggested {
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// The default command.
    pub cmd: Vec<String>,
    /// Where the packages came from; none where there were none.
    pub mirror: Option<String>,
}

/// The template of this name.
///
/// # Errors
/// An unknown name, with those that there are.
pub fn find(name: &str) -> Result<&'static Template, Failure> {
    TEMPLATES.iter().find(|one| one.name == name || one.aliases.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = TEMPLATES.iter().map(|one| one.name).collect();
        Failure::because(STEP, name, "is no template").hint(format!("there are {}", known.join(", ")))
    })
}

/// Makes the tree of a template in the directory `into`, which is made or is empty. `progress` gets a line for each
/// thing that is done.
///
/// Runs as root. What a failure leaves in `into` is the caller's to remove; no mount is among it.
///
/// # Errors
/// A tool or key that is missing, with the package that has it; a mirror that cannot be reached; what the tool said.
pub fn bootstrap(
    template: &Template,
    options: &Options,
    into: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Suggested, Failure> {
    let failed = |cause| Failure::new(STEP, into.display().to_string(), cause);
    std::fs::create_dir_all(into).map_err(failed)?;
    if std::fs::read_dir(into).map_err(failed)?.next().is_some() {
        return Err(Failure::because(STEP, into.display().to_string(), "is not empty"));
    }
    let mirror = match &template.how {
        How::Debootstrap(distribution) => {
            let mirror = debootstrap::make(distribution, options, into, progress)?;
            clean::host_traces(into)?;
            debootstrap::settle(distribution, &mirror, into)?;
            Some(mirror)
        }
        How::Busybox => {
            progress("copying the host's busybox");
            busybox::make(into)?;
            None
        }
    };
    if let Some(epoch) = options.epoch {
        clean::not_newer_than(into, epoch)?;
    }
    Ok(Suggested {
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        cmd: template.command.iter().map(|&word| word.to_owned()).collect(),
        mirror,
    })
}

#[cfg(test)]
mod tests;
