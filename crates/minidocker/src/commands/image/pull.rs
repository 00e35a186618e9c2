//! `pull`: images from registries, in Docker's words.

use engine::ops::{files, images};
use engine::{Error, Settings};

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::progress::{Progress, To, Way};
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "pull",
    long_names: &["image pull"],
    summary: "Bring images from a registry",
    usage: &[
        "pull [OPTIONS] NAME[:TAG|@DIGEST]",
        "pull [OPTIONS] oci:DIR|oci-archive:FILE|docker-archive:FILE|dir:DIR[:NAME]",
    ],
    about: "Bring an image from a registry. A name without a registry is one of Docker Hub.\n\n\
            What was interrupted goes on where it was. Mirrors and registries without TLS stand in\n\
            /etc/minidocker/registries.toml.",
    examples: &[
        ("minidocker pull alpine", "docker.io/library/alpine:latest"),
        ("minidocker pull oci:./layout:1.2", "of a directory"),
        ("minidocker pull --platform linux/arm64 localhost:5000/app:1", "of one's own registry"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all-tags", "Bring every tag of the repository").short('a'),
            flag("all-platforms", "Bring the images for all platforms, and what says which there are"),
            one("platform", "OS/ARCH[/VARIANT]", "For this machine where absent"),
            flag("quiet", "Print the name alone").short('q'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(
            Problem::new("pull needs the name of one image").hint("for example: minidocker pull alpine")
        );
    };
    let quiet = typed.flag("quiet")?.unwrap_or(false);
    let platform = typed.one("platform");
    let every = typed.flag("all-platforms")?.unwrap_or(false);
    if every && platform.is_some() {
        return Err(Problem::new("--all-platforms and --platform contradict each other")
            .hint("leave one of them out"));
    }
    let which = if every { Which::All } else { Which::One(platform) };
    if let Some(location) = files::location(name) {
        if every {
            return super::load::tell(&files::pull_all_from(settings, &location)?).map(|()| 0);
        }
        return super::load::tell(&files::pull_from(settings, &location, platform)?).map(|()| 0);
    }
    let to = if quiet { To::Nowhere } else { To::Out };
    if !typed.flag("all-tags")?.unwrap_or(false) {
        return pull_and_name(settings, name, which, to).map(|()| 0);
    }
    let reference = images::reference(name)?;
    if reference.digest().is_some() || reference.tag().is_some_and(|tag| name.ends_with(&format!(":{tag}"))) {
        return Err(Problem::new("--all-tags and a tag or digest contradict each other")
            .hint(format!("minidocker pull --all-tags {}", reference.familiar_name())));
    }
    for tag in images::tags(name)? {
        pull_and_name(settings, &format!("{}:{tag}", reference.familiar_name()), which, to)?;
    }
    Ok(0)
}

/// Which of several images for platforms are brought.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'t> {
    /// This platform's, or this machine's.
    One(Option<&'t str>),
    /// All.
    All,
}

/// Pulls one image, tells of it, and prints its name in full.
fn pull_and_name(settings: &Settings, name: &str, which: Which<'_>, to: To) -> Result<(), Problem> {
    pull(settings, name, which, to)?;
    print(&format!("{}\n", images::reference(name)?.canonical()))
}

/// Pulls one image and tells of it. Where nothing is to be told, not a word goes out.
pub(crate) fn pull(settings: &Settings, name: &str, which: Which<'_>, to: To) -> Result<(), Problem> {
    let reference = images::reference(name)?;
    let tell = |text: String| match to {
        To::Out => print(&text),
        To::Err => {
            crate::terminal::warn(&text);
            Ok(())
        }
        To::Nowhere => Ok(()),
    };
    let wanted = reference.wanted();
    if reference.digest().is_none() && !name.ends_with(&format!(":{wanted}")) && to == To::Out {
        tell(format!("Using default tag: {}\n", plain(&wanted)))?;
    }
    tell(format!("{}: Pulling from {}\n", plain(&wanted), plain(reference.repository())))?;
    let progress = Progress::new(Way::Pull, to);
    let pulled = match which {
        Which::One(platform) => images::pull(settings, name, platform, &|event| progress.event(event)),
        Which::All => images::pull_all(settings, name, &|event| progress.event(event)),
    };
    progress.end();
    let pulled = pulled.map_err(|error: Error| Problem::from(error))?;
    let status = if pulled.up_to_date { "Image is up to date for" } else { "Downloaded newer image for" };
    tell(format!("Digest: {}\nStatus: {status} {reference}\n", pulled.digest))
}
