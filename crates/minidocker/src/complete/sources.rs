//! Which kind of thing stands where: by the word that the usage or an option's row already has for it, and by these
//! tables where that word says too little. A command or an option that is new needs a row only for more than that.

use crate::commands::Command;
use crate::options::Opt;

/// What may be typed in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Anything; nothing is offered.
    Nothing,
    /// Files and directories.
    Files,
    /// Directories.
    Directories,
    /// Containers in these states.
    Containers(Containers),
    /// `NAME:`, and files of this machine.
    CopyEnds,
    /// Images by name.
    Images,
    /// Containers and images.
    Objects,
    /// Volumes.
    Volumes,
    /// Networks.
    Networks,
    /// Pods.
    Pods,
    /// Networks, and `container:NAME` with containers that run.
    Cables,
    /// A volume or a path of this machine.
    Mounted,
    /// The same, with where it goes behind a colon.
    Bound,
    /// `host`, and `container:NAME` with containers that run.
    Shared(&'static [&'static str]),
    /// Signals by name.
    Signals,
    /// Capabilities.
    Capabilities,
    /// One of these words.
    Words(&'static [&'static str]),
    /// `KEY=VALUE`: one of these keys, and what stands behind each.
    Pairs(&'static [(&'static str, Source)]),
    /// The same, several with commas between them.
    List(&'static [(&'static str, Source)]),
    /// Variables that the caller has.
    Variables,
}

/// Which containers a command can do something to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Containers {
    /// All.
    All,
    /// Those with processes: paused ones too.
    Alive,
    /// Those that run.
    Running,
    /// Paused ones.
    Paused,
    /// Those without processes.
    Stopped,
}

use Source::{
    Directories, Files, Images, List, Networks, Nothing, Objects, Pairs, Shared, Signals, Volumes, Words,
};

const ALL: Source = Source::Containers(Containers::All);
const DRIVERS: Source = Words(&["bridge", "macvlan", "ipvlan", "none", "host"]);
const YES: Source = Words(&["true", "false"]);
const STATES: Source = Words(&["created", "running", "paused", "restarting", "exited", "dead", "removing"]);

/// Commands whose containers must be in a certain state; the others take all.
const STATES_OF: &[(&str, Containers)] = &[
    ("start", Containers::Stopped),
    ("stop", Containers::Alive),
    ("kill", Containers::Alive),
    ("exec", Containers::Running),
    ("attach", Containers::Running),
    ("top", Containers::Running),
    ("stats", Containers::Alive),
    ("port", Containers::Alive),
    ("wait", Containers::Alive),
    ("pause", Containers::Running),
    ("unpause", Containers::Paused),
];

/// Words of usages.
const WORDS: &[(&str, Source)] = &[
    ("CONTAINER", ALL),
    ("CONTAINER:SOURCE", Source::CopyEnds),
    ("CONTAINER:TARGET", Source::CopyEnds),
    ("SOURCE", Files),
    ("TARGET", Files),
    ("IMAGE", Images),
    ("LIST", Images),
    ("VOLUME", Volumes),
    ("NETWORK", Networks),
    ("POD", Source::Pods),
    ("REPOSITORY[:TAG]", Images),
    ("NAME[:TAG]", Images),
    ("NAME[:TAG|@DIGEST]", Images),
    ("FILE", Files),
    ("DIR", Directories),
    ("SHELL", Words(&["bash", "zsh", "fish"])),
    ("bash", Words(&["bash"])),
    ("zsh", Words(&["zsh"])),
    ("fish", Words(&["fish"])),
    ("SIGNAL", Signals),
    ("TEMPLATE", Words(&["debian:bookworm", "debian:trixie", "ubuntu:jammy", "ubuntu:noble", "busybox"])),
    ("COMMAND", Files),
    ("ARG", Files),
];

/// Words of usages that mean something else in this command.
const WORDS_OF: &[(&str, &str, Source)] = &[
    ("inspect", "NAME", Objects),
    ("network create", "NETWORK", Nothing),
    ("volume create", "VOLUME", Nothing),
];

const LABEL: (&str, Source) = ("label", Nothing);
const UNTIL: (&str, Source) = ("until", Nothing);

/// `--filter`, by command.
const FILTERS: &[(&str, Source)] = &[
    (
        "ps",
        Pairs(&[
            ("id", ALL),
            ("name", ALL),
            LABEL,
            ("status", STATES),
            ("exited", Nothing),
            ("ancestor", Images),
            ("before", ALL),
            ("since", ALL),
            ("health", Words(&["starting", "healthy", "unhealthy", "none"])),
            ("is-task", YES),
            ("network", Networks),
            ("volume", Volumes),
            ("publish", Nothing),
            ("expose", Nothing),
            ("pod", Source::Pods),
        ]),
    ),
    (
        "images",
        Pairs(&[
            ("dangling", YES),
            LABEL,
            ("reference", Images),
            ("before", Images),
            ("since", Images),
            UNTIL,
        ]),
    ),
    (
        "events",
        Pairs(&[
            ("container", ALL),
            (
                "event",
                Words(&[
                    "attach",
                    "commit",
                    "connect",
                    "copy",
                    "create",
                    "destroy",
                    "detach",
                    "die",
                    "disconnect",
                    "exec_create",
                    "exec_die",
                    "exec_start",
                    "export",
                    "kill",
                    "oom",
                    "pause",
                    "pull",
                    "rename",
                    "restart",
                    "start",
                    "stop",
                    "tag",
                    "unpause",
                    "untag",
                    "update",
                ]),
            ),
            ("image", Images),
            LABEL,
            ("network", Networks),
            ("type", Words(&["container", "image", "network", "volume"])),
            ("volume", Volumes),
        ]),
    ),
    ("volume ls", Pairs(&[("dangling", YES), ("driver", Words(&["local"])), LABEL, ("name", Volumes)])),
    (
        "network ls",
        Pairs(&[
            ("dangling", YES),
            ("driver", DRIVERS),
            ("id", Networks),
            LABEL,
            ("name", Networks),
            ("scope", Words(&["local"])),
            ("type", Words(&["custom", "builtin"])),
        ]),
    ),
    (
        "pod ls",
        Pairs(&[
            ("id", Source::Pods),
            ("name", Source::Pods),
            ("status", Words(&["created", "running", "degraded", "exited", "stopped", "paused"])),
            LABEL,
            ("network", Networks),
            UNTIL,
            ("ctr-ids", ALL),
            ("ctr-names", ALL),
            ("ctr-number", Nothing),
            ("ctr-status", Words(&["created", "running", "paused", "restarting", "exited"])),
        ]),
    ),
    ("builder prune", Pairs(&[UNTIL, ("unused-for", Nothing)])),
    ("volume prune", Pairs(&[LABEL, ("label!", Nothing)])),
];

/// `--filter` of every other prune.
const PRUNE: Source = Pairs(&[LABEL, ("label!", Nothing), UNTIL]);

/// Options by their long name, in all commands that have them.
const OPTIONS: &[(&str, Source)] = &[
    ("attach", Words(&["stdin", "stdout", "stderr"])),
    ("blkio-weight-device", Files),
    ("build-arg", Source::Variables),
    ("cache-from", List(&[("type", Words(&["local,", "registry,"])), ("src", Directories), ("ref", Images)])),
    (
        "cache-to",
        List(&[
            ("type", Words(&["local,", "registry,", "inline"])),
            ("dest", Directories),
            ("ref", Images),
            ("mode", Words(&["min", "max"])),
        ]),
    ),
    ("cap-add", Source::Capabilities),
    ("cap-drop", Source::Capabilities),
    ("cgroupns", Words(&["private", "host"])),
    ("device", Files),
    ("device-read-bps", Files),
    ("device-read-iops", Files),
    ("device-write-bps", Files),
    ("device-write-iops", Files),
    ("driver", Words(&["local"])),
    ("env", Source::Variables),
    ("exit-policy", Words(&["continue", "stop"])),
    ("explain", Words(&["text", "json", "shell"])),
    ("filter", PRUNE),
    ("ipc", Shared(&["private", "none", "shareable", "host", "container:"])),
    ("log-driver", Words(&["local", "json-file", "journald", "none"])),
    (
        "log-opt",
        Pairs(&[
            ("max-size", Nothing),
            ("max-file", Nothing),
            ("compress", YES),
            ("mode", Words(&["blocking", "non-blocking"])),
            ("labels", Nothing),
            ("env", Nothing),
            ("tag", Nothing),
        ]),
    ),
    (
        "mount",
        List(&[
            ("type", Words(&["bind,", "volume,", "tmpfs,"])),
            ("src", Source::Mounted),
            ("dst", Nothing),
            ("ro", YES),
            ("bind-propagation", Words(&["private", "rprivate", "shared", "rshared", "slave", "rslave"])),
            ("bind-recursive", Words(&["enabled", "disabled", "writable", "readonly"])),
            ("idmap", YES),
            ("volume-nocopy", YES),
            ("volume-subpath", Nothing),
            ("volume-label", Nothing),
            ("volume-opt", Nothing),
            ("tmpfs-size", Nothing),
            ("tmpfs-mode", Nothing),
        ]),
    ),
    ("network", Source::Cables),
    ("opt", Pairs(&[("type", Words(&["tmpfs", "none", "ext4", "nfs"])), ("device", Files), ("o", Nothing)])),
    ("output", List(&[("type", Words(&["local,", "tar,", "oci,", "docker,"])), ("dest", Files)])),
    ("pid", Shared(&["host", "container:"])),
    ("platform", Words(&["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/riscv64"])),
    ("progress", Words(&["auto", "plain", "tty", "quiet"])),
    ("pull", Words(&["missing", "always", "never"])),
    ("restart", Words(&["no", "on-failure", "on-failure:", "always", "unless-stopped"])),
    ("rootfs-kind", Words(&["overlay", "loop", "copy"])),
    ("secret", List(&[("id", Nothing), ("src", Files), ("env", Source::Variables)])),
    (
        "security-opt",
        Pairs(&[
            ("no-new-privileges", YES),
            ("seccomp", Files),
            ("apparmor", Nothing),
            ("systempaths", Words(&["unconfined"])),
            ("label", Words(&["disable"])),
        ]),
    ),
    ("share", Words(&["ipc", "net", "pid", "uts", "none", "+pid"])),
    ("storage-opt", Pairs(&[("size", Nothing), ("volatile", YES), ("image", YES)])),
    ("time", Words(&["host", "private", "private:"])),
    ("type", Words(&["container", "image", "network", "volume"])),
    (
        "ulimit",
        Pairs(&[
            ("core", Nothing),
            ("cpu", Nothing),
            ("data", Nothing),
            ("fsize", Nothing),
            ("memlock", Nothing),
            ("nofile", Nothing),
            ("nproc", Nothing),
            ("rtprio", Nothing),
            ("stack", Nothing),
        ]),
    ),
    ("userns", Words(&["host", "private", "private:"])),
    ("uts", Shared(&["host", "container:"])),
    ("volume", Source::Bound),
    ("volume-driver", Words(&["local"])),
    ("volumes-from", ALL),
    ("workdir", Nothing),
];

/// Options that mean something else in one command.
const OPTIONS_OF: &[(&str, &str, Source)] = &[
    ("bench report", "format", Words(&["html", "md", "csv", "json"])),
    ("bench report", "output", Files),
    ("bench compare", "format", Words(&["text", "md", "json"])),
    ("build", "network", Words(&["bridge", "host", "none"])),
    ("build", "pull", YES),
    ("network create", "driver", DRIVERS),
    (
        "network create",
        "opt",
        Pairs(&[
            ("mtu", Nothing),
            ("vlan", Nothing),
            ("isolate", YES),
            ("parent", Nothing),
            ("com.docker.network.driver.mtu", Nothing),
            ("com.docker.network.bridge.name", Nothing),
            ("com.docker.network.bridge.enable_ip_masquerade", YES),
        ]),
    ),
    ("save", "output", Files),
    ("export", "output", Files),
    ("volume create", "name", Nothing),
];

fn by<T: Copy>(rows: &[(&str, T)], key: &str) -> Option<T> {
    rows.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
}

fn by_two(rows: &[(&str, &str, Source)], first: &str, second: &str) -> Option<Source> {
    rows.iter().find(|row| row.0 == first && row.1 == second).map(|row| row.2)
}

/// What a placeholder of usages and options stands for.
pub(super) fn of_placeholder(name: &str) -> Source {
    by(WORDS, name).unwrap_or(Nothing)
}

/// What an option takes.
pub(super) fn of_option(command: &Command, option: &Opt) -> Source {
    let (name, long) = (command.name, option.long);
    let own = by_two(OPTIONS_OF, name, long);
    let own = own.or_else(|| if long == "filter" { by(FILTERS, name) } else { None });
    own.or_else(|| by(OPTIONS, long)).unwrap_or_else(|| match option.value {
        "FORMAT" if option.help.starts_with("table") => Words(&["table", "json"]),
        "FORMAT" | "json" => Words(&["json"]),
        "" => YES,
        placeholder => of_placeholder(placeholder),
    })
}

/// What a command's word of this number may be: one for each line of its usage, and for each alternative in it.
pub(super) fn of_word(command: &Command, number: usize) -> Vec<Source> {
    let mut found = Vec::new();
    for line in command.usage {
        // `push IMAGE oci:DIR|…` and `- < Dockerfile`: what no placeholder is, stands for itself.
        let rest = line.strip_prefix(command.name).unwrap_or(line);
        let words: Vec<&str> = rest.split_whitespace().filter(|word| *word != "[OPTIONS]").collect();
        if words.first().is_some_and(|word| word.starts_with("--")) {
            continue;
        }
        let word = match words.get(number) {
            Some(word) => word,
            None => match words.last().filter(|last| last.ends_with("...]") || last.ends_with("...")) {
                Some(last) => last,
                None => continue,
            },
        };
        let word = word.trim_end_matches("...]").trim_end_matches("...");
        let optional = word.strip_prefix('[').map(|word| word.strip_suffix(']').unwrap_or(word));
        let word = optional.unwrap_or(word);
        let alternatives = if by(WORDS, word).is_some() { vec![word] } else { word.split('|').collect() };
        found.extend(alternatives.into_iter().map(|word| in_command(command, word)));
    }
    found.dedup();
    found
}

fn in_command(command: &Command, word: &str) -> Source {
    match by_two(WORDS_OF, command.name, word).unwrap_or_else(|| of_placeholder(word)) {
        Source::Containers(_) => Source::Containers(by(STATES_OF, command.name).unwrap_or(Containers::All)),
        source => source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::COMMANDS;

    fn command(name: &str) -> &'static Command {
        COMMANDS.iter().copied().find(|command| command.name == name).unwrap()
    }

    #[test]
    fn every_row_stands_for_something_that_exists() {
        let known = |name: &str| COMMANDS.iter().any(|command| command.name == name);
        for (name, _) in STATES_OF {
            assert!(known(name), "{name}");
        }
        for (name, _) in FILTERS {
            assert!(
                command(name).groups.iter().any(|g| g.options.iter().any(|o| o.long == "filter")),
                "{name}"
            );
        }
        let has = |long: &str| {
            COMMANDS.iter().any(|c| c.groups.iter().any(|g| g.options.iter().any(|o| o.long == long)))
        };
        for (long, _) in OPTIONS {
            assert!(has(long), "{long}");
        }
        for (name, long, _) in OPTIONS_OF {
            assert!(known(name) && has(long), "{name} {long}");
        }
    }

    #[test]
    fn every_filter_that_completion_offers_is_in_the_commands_help() {
        for (name, source) in FILTERS {
            let Pairs(keys) = source else { panic!("{name}") };
            let help = crate::help::of(command(name));
            for (key, _) in *keys {
                assert!(help.contains(key), "{name}: {key}");
            }
        }
    }

    #[test]
    fn words_come_from_the_usage() {
        assert_eq!(of_word(command("start"), 0), [Source::Containers(Containers::Stopped)]);
        assert_eq!(of_word(command("start"), 5), [Source::Containers(Containers::Stopped)]);
        assert_eq!(of_word(command("run"), 0), [Images]);
        assert_eq!(of_word(command("run"), 9), [Files]);
        assert_eq!(of_word(command("rename"), 0), [ALL]);
        assert_eq!(of_word(command("rename"), 1), [Nothing]);
        assert_eq!(of_word(command("rename"), 2), []);
        assert_eq!(of_word(command("inspect"), 1), [Objects]);
        assert!(of_word(command("cp"), 0).contains(&Source::CopyEnds));
        assert_eq!(of_word(command("ps"), 0), []);
    }
}
