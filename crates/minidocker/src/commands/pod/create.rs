//! `pod create`: a pod before its first container.

use engine::Settings;
use engine::ops::pods::{self, NewPod, Removal};
use engine::request::{Pod, Share};

use super::FAILED;
use crate::commands::{Command, run};
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::terminal::print;
use crate::values::{names, pods as values, sizes, sysctls};

pub(crate) const COMMAND: Command = Command {
    name: "pod create",
    long_names: &[],
    summary: "Make a pod",
    usage: &["pod create [OPTIONS] [NAME]"],
    about: "Make a pod and print its id. Containers come into it by 'minidocker run --pod': they share its network with its\n\
            addresses and ports, its host name, and System V's and POSIX's messages, semaphores and memory. These belong to\n\
            a process of the pod's own, its infra, that does nothing else; no image is needed for it.",
    examples: &[
        ("minidocker pod create -p 8080:80 web", "then: minidocker run -d --pod web app"),
        (
            "minidocker pod create --share +pid --exit-policy stop job",
            "processes too; it ends with its last container",
        ),
    ],
    groups: &[
        Group {
            title: "Pod",
            options: &[
                one("name", "NAME", "Name of the pod, in the place of the word; made up where absent")
                    .short('n'),
                flag("replace", "Remove the pod that has this name first, with its containers"),
                many("label", "KEY[=VALUE]", "Attach a label").short('l'),
                many("label-file", "FILE", "Attach labels from a file, one a line"),
                one(
                    "share",
                    "NAMESPACES",
                    "What is shared: ipc, net, pid, uts with commas between them, or none\n(default ipc,net,uts); +pid adds to the default",
                ),
                one("exit-policy", "POLICY", "When the last container ends: continue (default), or stop"),
                one("hostname", "NAME", "Host name; the pod's name where absent").short('h'),
                one("shm-size", "BYTES", "Size of the /dev/shm that is shared (default 64m)"),
                many(
                    "sysctl",
                    "NAME=VALUE",
                    "Set a kernel parameter of what is shared: net.core.somaxconn=1024",
                ),
            ],
        },
        run::options::NETWORK,
    ],
    words: Words::Between,
    failed: FAILED,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let word = match typed.words.as_slice() {
        [] => None,
        [name] => Some(
            names::container(name).map_err(|why| Problem::new(format!("{}: {why}", step::quote(name))))?,
        ),
        _ => {
            return Err(
                Problem::new("pod create takes one name").hint("for example: minidocker pod create web")
            );
        }
    };
    let option = typed.read("name", names::container)?;
    if word.is_some() && option.is_some() {
        return Err(Problem::new("pod create: a name as a word and by --name").hint("leave out one of them"));
    }
    let name = option.or(word);
    let new = NewPod {
        name: name.clone(),
        labels: run::request::labels(&typed)?,
        hostname: typed.read("hostname", names::host)?,
        network: run::request::network(&typed)?,
        shm_size: typed.read("shm-size", sizes::parse)?.filter(|bytes| *bytes > 0),
        sysctls: typed.read_many("sysctl", sysctls::parse)?.into_iter().collect(),
        pod: Pod {
            shares: typed.read("share", values::share)?.unwrap_or_else(|| Share::USUAL.to_vec()),
            stops: typed.read("exit-policy", values::exit_policy)?.unwrap_or(false),
        },
    };
    run::conflicts::of_pod(&new.clone().infra())?;
    if typed.flag("replace")?.unwrap_or(false) {
        let Some(name) = name else {
            return Err(Problem::new("--replace needs a name").hint("say which pod is to be replaced"));
        };
        if pods::exists(settings, &name)? {
            let done = pods::remove(settings, &name, Removal { force: true, timeout: None })?;
            if let Some(error) = done.failed.into_iter().next() {
                return Err(error.into());
            }
        }
    }
    let created = pods::create(settings, new)?;
    run::report(&created.notes);
    print(&format!("{}\n", created.id)).map(|()| 0)
}
