//! `vm run`: boots an image as a virtual machine, runs a command in it and switches it off.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Instant;

use engine::ops::vm as parts;
use engine::request::{Image, Namespaces, Process, RunRequest, Storage};
use engine::{Error, Settings};
use vm::{Accelerator, Hardware, Kernel, Machine};

use super::{Command, run};
use crate::options::{Group, Typed, Words, bad_value, flag, many, one};
use crate::problem::{Problem, RUN_FAILED};
use crate::terminal;
use crate::values::{mounts, names, numbers, sizes};

pub(crate) const RUN: Command = Command {
    name: "vm run",
    long_names: &[],
    summary: "Boot an image as a virtual machine and run a command in it",
    usage: &["vm run [OPTIONS] IMAGE [COMMAND] [ARG...]"],
    about: "Boot an image, or 'host', as a QEMU virtual machine, run a command in it, and switch it off.\n\n\
            The kernel is the newest of /boot that was made for machines; the machine's first process is\n\
            minidocker itself. Its root is the image's files, with a disk of its own over them that is\n\
            thrown away. Command, variables, user and directory are those of 'run'. A machine has no record: ps does\n\
            not show it, its --name is free for others, and it ends with this command.\n\n\
            The exit code is the command's own; 128 and the signal's number where one ended it; 127 where\n\
            the command was not found, 126 where it cannot be run, 125 where the machine failed.",
    examples: &[
        ("minidocker vm run host uname -r", "this machine's programs on another kernel"),
        ("minidocker vm run -it --cpus 2 --memory 2g debian bash", "a shell in a machine of an image"),
        ("minidocker vm run --timings boot.json busybox true", "where the time of a boot goes"),
    ],
    groups: &[COMMAND, MACHINE, IMAGE],
    words: Words::Last,
    failed: RUN_FAILED,
    exec,
};

const COMMAND: Group = Group {
    title: "Command",
    options: &[
        flag("interactive", "Keep standard input open").short('i'),
        flag("tty", "Give the command a terminal").short('t'),
        many("env", "NAME[=VALUE]", "Set a variable; NAME alone hands yours on").short('e'),
        many("env-file", "FILE", "Set variables from a file, one a line"),
        one("workdir", "DIR", "Working directory in the machine").short('w'),
        one("user", "USER[:GROUP]", "Names or numbers").short('u'),
        many("group-add", "GROUP", "Join a further group"),
        one("entrypoint", "COMMAND", "Goes before the words of COMMAND"),
        one("name", "NAME", "What QEMU's process is called, and the host where --hostname says nothing"),
        one("hostname", "NAME", "Host name; made up where absent").short('h'),
        flag("rm", "As if given: nothing of a machine is kept"),
    ],
};

const MACHINE: Group = Group {
    title: "Machine",
    options: &[
        one("cpus", "NUMBER", "Processors: whole ones (default 1)"),
        one("memory", "BYTES", "Memory, of which the guest's kernel takes its part (default 1g)").short('m'),
        one("accel", "KIND", "kvm, tcg, or auto (default): kvm where it works"),
        one("kernel", "FILE", "Boot this kernel, with its modules of /lib/modules"),
        one("disk-size", "BYTES", "Size of the disk that takes what is written (default 10g)"),
        one("network", "MODE", "none (default), or user: out by way of QEMU").alias("net"),
        many("volume", "DIR:TARGET[:ro]", "Share a directory of the host").short('v'),
        one("timings", "FILE", "Write how long each part of the way took, as JSON"),
    ],
};

const IMAGE: Group = Group {
    title: "Image",
    options: &[
        one("pull", "WHEN", "Bring the image: missing (default), always or never"),
        one("platform", "OS/ARCH[/VARIANT]", "The image for this platform"),
        flag("quiet", "Do not tell of a pull").short('q'),
    ],
};

/// Half a million is more than QEMU has.
const MOST_CPUS: i64 = 255;

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let began = Instant::now();
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let (interactive, tty) = (on("interactive")?, on("tty")?);
    if !typed.flag("rm")?.unwrap_or(true) {
        return Err(bad_value("rm", "false", "nothing of a machine is kept")
            .hint("write what is to stay into a directory of the host: -v ./data:/data"));
    }
    let mut request = request(&typed)?;
    let hardware = hardware(&typed)?;
    let timings = typed.one("timings").map(str::to_owned);
    if let Some(path) = &timings {
        check_directory(path)?;
    }
    if interactive && tty && !std::io::stdin().is_terminal() {
        return Err(Problem::new("the input device is not a TTY")
            .hint("start it from a terminal, or leave out -t")
            .code(1));
    }
    // Everything that can be missing is asked for before anything is made.
    vm::check_host(parts::has_trees(&request)).map_err(Error::from)?;
    let kernel = match typed.one("kernel") {
        Some(file) => Kernel::of(Path::new(file)),
        None => Kernel::newest(),
    };
    let kernel = kernel.map_err(Error::from)?;
    run::bring(&typed, settings, &mut request)?;
    let release = kernel.release.clone();
    let plan = parts::plan(settings, &request, hardware, kernel)?;
    let machine = Machine::start(plan, began).map_err(Error::from)?;
    let ended = machine.run(interactive, tty).map_err(Error::from)?;
    if let Some(path) = timings {
        let Hardware { accelerator, cpus, memory, .. } = hardware;
        let told = ended.notes.timings(accelerator.name(), &release, cpus, memory);
        write_timings(&path, &told)?;
    }
    match ended.failure {
        Some(failure) => Err(Problem::from(Error::from(failure)).code(ended.code)),
        None => Ok(ended.code),
    }
}

/// The part of `run`'s request that a machine has.
fn request(typed: &Typed) -> Result<RunRequest, Problem> {
    let Some((image, command)) = typed.words.split_first() else {
        return Err(
            Problem::new("vm run needs an image").hint("for example: minidocker vm run -it host bash")
        );
    };
    let caller = run::request::Caller::own();
    let here = |text: &str| match std::env::current_dir() {
        Ok(here) => mounts::volume(text, &here),
        Err(error) => Err(format!("cannot tell the current directory: {}", terminal::io_reason(&error))),
    };
    let entrypoint = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
    Ok(RunRequest {
        image: if image == "host" { Image::Host } else { Image::Named(image.clone()) },
        command: command.to_vec(),
        name: typed.read("name", names::container)?,
        entrypoint: typed.one("entrypoint").map(entrypoint),
        interactive: typed.flag("interactive")?.unwrap_or(false),
        tty: typed.flag("tty")?.unwrap_or(false),
        process: Process {
            user: typed.read("user", names::user)?.flatten(),
            groups: typed.read_many("group-add", names::group)?,
            workdir: typed.read("workdir", run::request::workdir)?,
            env: run::request::environment(typed, &caller)?,
            ..Process::default()
        },
        namespaces: Namespaces { hostname: typed.read("hostname", names::host)?, ..Namespaces::default() },
        storage: Storage {
            mounts: typed.read_many("volume", here)?,
            size: typed.read("disk-size", disk_size)?,
            ..Storage::default()
        },
        ..RunRequest::default()
    })
}

fn hardware(typed: &Typed) -> Result<Hardware, Problem> {
    let accelerator = typed.one("accel").unwrap_or("auto");
    let network = typed.read("network", |text| match text {
        "none" => Ok(false),
        "user" => Ok(true),
        _ => Err("there are none and user".to_owned()),
    })?;
    Ok(Hardware {
        cpus: typed.read("cpus", cpus)?.unwrap_or(1),
        memory: typed.read("memory", memory)?.unwrap_or(1 << 30),
        network: network.unwrap_or(false),
        accelerator: Accelerator::choose(accelerator).map_err(|failure| {
            let hint = failure.hint.clone();
            let problem = bad_value("accel", accelerator, &failure.cause());
            hint.into_iter().fold(problem, Problem::hint)
        })?,
    })
}

/// Whole processors: a machine has no half ones.
fn cpus(text: &str) -> Result<u32, String> {
    let whole: i64 =
        numbers::within(text, 1..=MOST_CPUS).map_err(|why| format!("{why}: a machine has whole ones"))?;
    u32::try_from(whole).map_err(|error| error.to_string())
}

fn memory(text: &str) -> Result<u64, String> {
    let bytes = sizes::parse(text)?;
    if bytes < vm::LEAST_MEMORY {
        return Err(format!("less than {}m, the least that a machine boots in", vm::LEAST_MEMORY >> 20));
    }
    if bytes % (1 << 20) != 0 {
        return Err("not a whole number of MiB; write it as 512m or 2g".to_owned());
    }
    Ok(bytes)
}

/// As with `--storage-opt size`: less than 16 MiB is refused.
fn disk_size(text: &str) -> Result<u64, String> {
    match sizes::parse(text)? {
        bytes if bytes < 16 << 20 => Err("less than 16m, the least that a file system takes".to_owned()),
        bytes if bytes > 16 << 40 => Err("more than 16t, the most that a file has".to_owned()),
        bytes => Ok(bytes.next_multiple_of(1 << 20)),
    }
}

/// Before the boot, not after it.
fn check_directory(path: &str) -> Result<(), Problem> {
    let parent = Path::new(path).parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => {
            Err(bad_value("timings", path, &format!("{} is no directory", parent.display())))
        }
        _ => Ok(()),
    }
}

fn write_timings(path: &str, timings: &vm::Timings) -> Result<(), Problem> {
    let text = serde_json::to_string_pretty(timings)
        .map_err(|error| Problem::new(format!("cannot write {path}: {error}")))?;
    super::into_file(path, |mut file| {
        use std::io::Write as _;
        writeln!(file, "{text}")
            .map_err(|error| Problem::new(format!("cannot write {path}: {}", terminal::io_reason(&error))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_no_machine_has_are_refused() {
        assert_eq!(memory("512m"), Ok(512 << 20));
        for (text, why) in [("64m", "least"), ("1073741825", "whole number"), ("x", "not a number")] {
            assert!(memory(text).unwrap_err().contains(why), "{text}");
        }
        assert_eq!(cpus("2"), Ok(2));
        for text in ["0", "1.5", "-1", "256", ""] {
            assert!(cpus(text).is_err(), "{text}");
        }
        assert_eq!(disk_size("16m"), Ok(16 << 20));
        assert!(disk_size("1m").is_err() && disk_size("17t").is_err());
    }
}
