//! `push`: an image to its registry.

use engine::Settings;
use engine::ops::{files, images};

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::progress::{Progress, To, Way};
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "push",
    long_names: &["image push"],
    summary: "Send images to a registry",
    usage: &[
        "push [OPTIONS] NAME[:TAG]",
        "push IMAGE oci:DIR|oci-archive:FILE|docker-archive:FILE|dir:DIR[:NAME]",
    ],
    about: "Send an image to the registry that its name says, of several for platforms all. What is there already is not\n\
            sent again.",
    examples: &[
        ("minidocker push localhost:5000/app:1", "after: minidocker tag app localhost:5000/app:1"),
        ("minidocker push app oci:./layout:1", "to a directory"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all-tags", "Send every tag of the repository").short('a'),
            one("platform", "OS/ARCH[/VARIANT]", "Of several for platforms this one alone"),
            flag("quiet", "Print the name alone").short('q'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if let [name, place] = typed.words.as_slice()
        && let Some(location) = files::location(place)
    {
        files::push_to(settings, std::slice::from_ref(name), typed.one("platform"), &location)?;
        return Ok(0);
    }
    let [name] = typed.words.as_slice() else {
        return Err(Problem::new("push needs the name of one image")
            .hint("for example: minidocker push localhost:5000/app:1"));
    };
    let (quiet, platform) = (typed.flag("quiet")?.unwrap_or(false), typed.one("platform"));
    if !typed.flag("all-tags")?.unwrap_or(false) {
        return push(settings, name, platform, quiet).map(|()| 0);
    }
    let wanted = images::reference(name)?;
    let mut names: Vec<_> = images::list(settings)?
        .into_iter()
        .flat_map(|listed| listed.image.names)
        .filter_map(|known| images::reference(&known).ok())
        .filter(|known| known.familiar_name() == wanted.familiar_name())
        .map(|known| known.to_string())
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(Problem::new(format!("no image here is called {}", plain(&wanted.familiar_name()))));
    }
    names.iter().try_for_each(|name| push(settings, name, platform, quiet)).map(|()| 0)
}

fn push(settings: &Settings, name: &str, platform: Option<&str>, quiet: bool) -> Result<(), Problem> {
    let reference = images::reference(name)?;
    tell(&reference, quiet, |watch| images::push(settings, name, platform, watch))
}

/// Sends something, and tells of it in Docker's words.
pub(in crate::commands) fn tell(
    reference: &oci::Reference,
    quiet: bool,
    send: impl FnOnce(engine::Watch<'_>) -> Result<oci::Digest, engine::Error>,
) -> Result<(), Problem> {
    let repository = format!("{}/{}", reference.registry(), reference.repository());
    if !quiet {
        print(&format!("The push refers to repository [{}]\n", plain(&repository)))?;
    }
    let progress = Progress::new(Way::Push, if quiet { To::Nowhere } else { To::Out });
    let pushed = send(&|event| progress.event(event));
    progress.end();
    let digest = pushed?;
    match quiet {
        true => print(&format!("{}\n", reference.canonical())),
        false => print(&format!("{}: digest: {digest}\n", plain(&reference.wanted()))),
    }
}
