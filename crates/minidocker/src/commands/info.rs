//! `info`: this machine and minidocker's state on it, as lines of a name and a value.

mod container;
mod for_programs;

use engine::ops::list::{self, State};
use engine::ops::{images, info};
use engine::{Error, Settings};
use serde_json::{Map, Value, json};

use super::Command;
use super::version::{VERSION, architecture};
use crate::options::{Group, Typed, Words, one};
use crate::path_template;
use crate::problem::Problem;
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "info",
    long_names: &["system info"],
    summary: "Tell what this machine offers and what minidocker keeps on it",
    usage: &["info [OPTIONS]", "info [-p] [-i] [-s] [-S] [-H] CONTAINER"],
    about: "Tell what this machine offers and what minidocker keeps on it. With a container, what it does and uses, as\n\
            lxc-info does.",
    examples: &[("minidocker info -pH web", "the pid of its first process, and nothing else")],
    groups: &[
        Group {
            title: "Options",
            options: &[
                one("format", "FORMAT", "json, or a template such as '{{.NCPU}} {{.MemTotal}}'").short('f')
            ],
        },
        Group { title: "Of a container, these lines alone", options: container::OPTIONS },
    ],
    words: Words::Between,
    failed: 1,
    exec,
};

/// One fact: its name for people, its name in JSON (Docker's where Docker has it), its value, and the value in
/// words where those differ.
struct Line {
    name: String,
    key: String,
    value: Value,
    words: Option<String>,
}

impl Line {
    fn new(name: &str, key: &str, value: impl Into<Value>) -> Self {
        Self { name: name.to_owned(), key: key.to_owned(), value: value.into(), words: None }
    }

    fn words(mut self, words: String) -> Self {
        self.words = Some(words);
        self
    }

    fn text(&self) -> String {
        let words = match (&self.words, &self.value) {
            (Some(words), _) => words.clone(),
            (None, Value::String(text)) => text.clone(),
            (None, Value::Null) => "unknown".to_owned(),
            (None, value) => value.to_string(),
        };
        format!("{}: {}\n", self.name, plain(&words))
    }
}

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let template = typed.read("format", path_template::parse)?;
    match typed.words.as_slice() {
        [] => {}
        [name] if template.is_none() => return container::tell(&typed, settings, name),
        [name] => {
            return Err(Problem::new("info prints templates of this machine alone")
                .hint(format!("minidocker inspect {} has those of the container", plain(name))));
        }
        _ => return Err(Problem::new("info tells of one container at a time")),
    }
    let mut lines: Vec<Line> =
        containers(settings)?.into_iter().chain(machine()).chain(places(settings)).collect();
    let features = info::features()?;
    let text = match template {
        Some(template) => {
            let more = for_programs::facts(settings, &features)?;
            let facts = lines.into_iter().map(|line| (line.key, line.value)).chain(more);
            let facts: Map<String, Value> = facts.collect();
            template.render(&Value::Object(facts)).map_err(Problem::new)? + "\n"
        }
        None => {
            lines.extend(features.into_iter().map(feature));
            lines.iter().map(Line::text).collect()
        }
    };
    print(&text).map(|()| 0)
}

/// A controller, a namespace, a security module: with its reason where it is not there.
fn feature(feature: info::Feature) -> Line {
    let state = feature.state.unwrap_or_else(|reason| format!("no: {reason}"));
    Line::new(&format!(" {}", feature.name), "", state)
}

fn containers(settings: &Settings) -> Result<[Line; 5], Error> {
    let containers = list::list(settings)?;
    let number = |is: fn(&State) -> bool| containers.iter().filter(|one| is(&one.state)).count();
    let running = number(|state| matches!(state, State::Running(..)));
    let paused = number(|state| matches!(state, State::Paused(..)));
    // To look is to make nothing: a store that is not there yet has no images.
    let images = match settings.root.exists() {
        true => images::list(settings).ok().map(|images| images.len()),
        false => Some(0),
    };
    Ok([
        Line::new("Containers", "Containers", containers.len()),
        Line::new(" Running", "ContainersRunning", running),
        Line::new(" Paused", "ContainersPaused", paused),
        Line::new(" Stopped", "ContainersStopped", containers.len() - running - paused),
        Line::new("Images", "Images", images),
    ])
}

fn machine() -> [Line; 7] {
    let uname = rustix::system::uname();
    let memory = {
        let info = rustix::system::sysinfo();
        info.totalram * u64::from(info.mem_unit)
    };
    let cpus = rustix::thread::sched_getaffinity(None).map(|set| set.count()).ok();
    [
        Line::new("Version", "ServerVersion", VERSION),
        Line::new("Kernel", "KernelVersion", uname.release().to_string_lossy()),
        Line::new("Operating system", "OperatingSystem", system("PRETTY_NAME")),
        Line::new("OS type", "OSType", "linux"),
        Line::new("OS/Arch", "Architecture", uname.machine().to_string_lossy())
            .words(format!("linux/{}", architecture())),
        Line::new("CPUs", "NCPU", cpus),
        Line::new("Memory", "MemTotal", memory).words(gibibytes(memory)),
    ]
}

fn places(settings: &Settings) -> [Line; 5] {
    let subnet = settings.subnet.clone();
    [
        Line::new("Root", "DockerRootDir", json!(settings.root.to_string_lossy())),
        Line::new("Run root", "RunRoot", json!(settings.run_root.to_string_lossy())),
        Line::new("Bridge", "Bridge", settings.bridge.as_str()),
        Line::new("Subnet", "Subnet", subnet.clone())
            .words(subnet.unwrap_or_else(|| "chosen when first needed".to_owned())),
        Line::new("Control group", "CgroupParent", settings.cgroup_parent.as_str()),
    ]
}

/// A field of os-release(5).
fn system(field: &str) -> Option<String> {
    let read = |path| std::fs::read_to_string(path).ok();
    let text = read("/etc/os-release").or_else(|| read("/usr/lib/os-release"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

fn gibibytes(bytes: u64) -> String {
    let hundredths = bytes / ((1 << 30) / 100);
    format!("{}.{:02} GiB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_what_is_unknown() {
        assert_eq!(Line::new("CPUs", "NCPU", 2).text(), "CPUs: 2\n");
        assert_eq!(Line::new("CPUs", "NCPU", None::<u32>).text(), "CPUs: unknown\n");
        assert_eq!(Line::new("A", "a", "x\x1b[2Jy").text(), "A: xy\n");
        assert_eq!(gibibytes(3 << 29), "1.50 GiB");
    }

    #[test]
    fn this_machine_has_cpus_and_memory() {
        let lines = machine();
        assert!(lines[5].value.as_u64().is_some_and(|cpus| cpus > 0));
        assert!(lines[6].value.as_u64().is_some_and(|bytes| bytes > 1 << 20));
    }
}
