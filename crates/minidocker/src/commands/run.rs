//! `run`: starts a container and stays with it until it ends, or prints its id.

pub(super) mod conflicts;
pub(crate) mod options;
pub(crate) mod request;

use std::io::IsTerminal;

use engine::ops::files;
use engine::ops::images::{self, When};
use engine::ops::pods::{self, NewPod};
use engine::ops::run::AttachOptions;
use engine::request::{Image, Pod, Role, RunRequest, Share};
use engine::{DetachKeys, Settings, ops};

use super::Command;
use super::image::pull;
use crate::explain::{self, Format, Teller};
use crate::options::{Typed, Words, bad_value};
use crate::problem::{Problem, RUN_FAILED};
use crate::progress::To;
use crate::terminal;
use crate::values::{names, streams};

pub(crate) const COMMAND: Command = Command {
    name: "run",
    long_names: &["container run"],
    summary: "Run a command in a new container",
    usage: &[
        "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
        "run [OPTIONS] --rootfs DIR[:overlay] [COMMAND] [ARG...]",
    ],
    about: "Run a command in a new container.\n\n\
            The image 'host' is a copy-on-write view of this machine's own root file system, without\n\
            home directories and other private places. Options end at the first word that is none.\n\n\
            The exit code is the command's own; 128 and the signal's number where one ended it; 127 where\n\
            the command was not found, 126 where it cannot be run, 125 where minidocker failed.",
    examples: &[
        ("minidocker run -it host bash", "a shell that sees this machine's programs"),
        ("minidocker run -it --rootfs ./root --ip 10.0.0.1 sh", "a shell in a directory, with an address"),
        ("minidocker run --rm -m 64m --cpus 0.5 host stress", "with limits, and gone afterwards"),
        ("minidocker run -d --name web -v ./site:/site:ro host httpd", "in the background"),
        ("minidocker run --explain host true", "every kernel step and its reason"),
        ("minidocker run --explain=shell host true", "the same as a script of plain commands"),
    ],
    groups: options::GROUPS,
    words: Words::Last,
    failed: RUN_FAILED,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let mut request = request::read(&typed, &request::Caller::own())?;
    conflicts::check(&typed, &request)?;
    let format = typed.read("explain", explain::format)?;
    let dry = typed.flag("dry-run")?.unwrap_or(false);
    let attach = attach_options(&typed)?;
    bring(&typed, settings, &mut request)?;
    // Whatever is kept here, the monitor keeps too: it is a fork of this process.
    drop(typed);
    if dry || format == Some(Format::Shell) {
        if new_pod(&mut request)?.is_some() {
            return Err(Problem::new("--pod new: with a plan alone: the pod is to be made first")
                .hint("make it: minidocker pod create"));
        }
        return plan(settings, &request, format.unwrap_or(Format::Text));
    }
    if request.interactive && request.tty && !request.detach && !std::io::stdin().is_terminal() {
        return Err(Problem::new("the input device is not a TTY")
            .hint("start it from a terminal, or leave out -t")
            .code(1));
    }
    conflicts::warn(&request);
    in_new_pod(settings, request, |request| start(settings, request, format, &attach))
}

/// Pulls the image where that is wanted. Standard output stays the container's.
pub(super) fn bring(typed: &Typed, settings: &Settings, request: &mut RunRequest) -> Result<(), Problem> {
    let platform = typed.one("platform");
    let when = typed.read("pull", |text| match text {
        "missing" => Ok(When::Missing),
        "always" => Ok(When::Always),
        "never" => Ok(When::Never),
        _ => Err("there are missing, always and never".to_owned()),
    })?;
    let quiet = typed.flag("quiet")?.unwrap_or(false);
    request.platform = platform.map(str::to_owned);
    let Image::Named(name) = &request.image else { return Ok(()) };
    if let Some(location) = files::location(name) {
        let loaded = files::pull_from(settings, &location, platform)?;
        let [one] = loaded.as_slice() else {
            return Err(Problem::new(format!("{name} has {} images", loaded.len()))
                .hint("say which: behind a colon its name, or @0 for the first"));
        };
        request.image = Image::Named(one.id.to_string());
        return Ok(());
    }
    let when = when.unwrap_or_default();
    if !images::is_missing(settings, name, when, platform)? {
        return Ok(());
    }
    // A pull may take minutes: what comes to nothing without a pod is told before it.
    if let Role::Member(membership) = &request.pod
        && !membership.pod.starts_with("new:")
    {
        pods::find(settings, &membership.pod)?;
    }
    if when == When::Missing && !quiet {
        let named = images::reference(name)?;
        terminal::warn(&format!("Unable to find image '{}' locally\n", terminal::plain(&named.to_string())));
    }
    pull::pull(settings, name, pull::Which::One(platform), if quiet { To::Nowhere } else { To::Err })
}

/// Prints what would be done.
fn plan(settings: &Settings, request: &RunRequest, format: Format) -> Result<u8, Problem> {
    let plan = ops::run::plan(settings, request)?;
    let text = match format {
        Format::Shell => plan.script,
        format => Teller::new(format, false).tell(&plan.records),
    };
    terminal::print(&text).map(|()| 0)
}

/// Starts it and, in the foreground, waits for its end. Standard output is the container's: what there is to tell
/// goes to standard error.
fn start(
    settings: &Settings,
    request: &RunRequest,
    format: Option<Format>,
    attach: &AttachOptions,
) -> Result<u8, Problem> {
    let mut teller = Teller::new(format.unwrap_or(Format::Text), format.is_some() && terminal::coloured());
    let mut records = Vec::new();
    let started = ops::run::run(settings, request, format.is_some().then_some(&mut records));
    terminal::warn(&teller.tell(&records));
    let started = started?;
    report(&started.notes);
    if request.detach {
        return terminal::print(&format!("{}\n", started.id)).map(|()| 0);
    }
    // The user detached and the container runs on: that is no failure.
    let Some(finished) = started.attach(attach)? else { return Ok(0) };
    report(&finished.notes);
    terminal::warn(&teller.tell(&finished.records));
    Ok(finished.code)
}

/// `--pod new:NAME`: the pod that is to be made, with what was typed of its network; the container has that from it.
fn new_pod(request: &mut RunRequest) -> Result<Option<NewPod>, Problem> {
    let Role::Member(membership) = &mut request.pod else { return Ok(None) };
    let Some(name) = membership.pod.strip_prefix("new:") else { return Ok(None) };
    let name = names::container(name).map_err(|why| bad_value("pod", &membership.pod, &why))?;
    membership.pod.clone_from(&name);
    let apart = |what| membership.apart.contains(&what);
    let shm_size = if apart(Share::Ipc) { None } else { request.storage.shm_size.take() };
    Ok(Some(NewPod {
        name: Some(name),
        hostname: request.namespaces.hostname.take(),
        network: std::mem::take(&mut request.network),
        shm_size,
        pod: Pod { shares: Share::USUAL.to_vec(), stops: false },
        ..NewPod::default()
    }))
}

/// Does it in the pod that was asked for by `new:`, which goes again where nothing comes of it.
pub(super) fn in_new_pod<T>(
    settings: &Settings,
    mut request: RunRequest,
    act: impl FnOnce(&RunRequest) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let Some(new) = new_pod(&mut request)? else { return act(&request) };
    let made = pods::create(settings, new)?.id;
    if let Role::Member(membership) = &mut request.pod {
        membership.pod.clone_from(&made);
    }
    let done = act(&request);
    if done.is_err() {
        // That it did not come is told; one that cannot be removed is seen by `pod ls`.
        let _ = pods::discard(settings, &made);
    }
    done
}

pub(super) fn report(notes: &[engine::Note]) {
    for (message, hint) in notes {
        terminal::report_note(message, hint.as_deref());
    }
}

/// What `create` makes of the same options.
pub(super) fn request(typed: &Typed) -> Result<RunRequest, Problem> {
    let request = request::read(typed, &request::Caller::own())?;
    conflicts::check(typed, &request)?;
    conflicts::warn(&request);
    Ok(request)
}

/// `-a`, `--sig-proxy` and `--detach-keys`. Input is attached with -i, whatever -a says.
fn attach_options(typed: &Typed) -> Result<AttachOptions, Problem> {
    let streams = typed.read_many("attach", streams::stream)?;
    let has = |name: &str| streams.is_empty() || streams.contains(&name);
    let keys = typed.read("detach-keys", streams::keys)?;
    Ok(AttachOptions {
        forward_signals: typed.flag("sig-proxy")?.unwrap_or(true),
        detach: keys.map_or_else(DetachKeys::default, DetachKeys::new),
        stdout: has("stdout"),
        stderr: has("stderr"),
    })
}
