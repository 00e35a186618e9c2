//! `--explain=shell`: the plan as a script of plain commands that builds the same container by hand.

use std::fmt::Write as _;

use step::{Shell, Step, quote};

use crate::plan::{Entry, Plan};
use crate::steps::namespaces::{IdRange, Kind};

/// The whole script. `prepare` are the steps that come before the runtime's plan (the root file system's
/// directories), `clean` the lines that take everything down again.
pub fn script(plan: &Plan, prepare: &[Box<dyn Step>], clean: &[String]) -> String {
    let mut out = String::new();
    section(&mut out, "the host's side: directories, control groups");
    for step in prepare.iter().chain(&plan.before) {
        lines(&mut out, step.as_ref(), "");
    }
    if let Some(name) = &plan.script.network {
        section(&mut out, "the network: a namespace with a name, so that both sides can refer to it");
        let _ = writeln!(out, "ip netns add {name}");
    }
    for entry in &plan.monitor {
        if let Entry::Do(step) = entry {
            lines(&mut out, step.as_ref(), "");
        }
    }
    section(&mut out, "what takes it all down again when this script ends");
    out.push_str("cleanup() {\n  set +e\n");
    for line in clean {
        let _ = writeln!(out, "  {line}");
    }
    if let Some(name) = &plan.script.network {
        let _ = writeln!(out, "  ip netns del {name}");
    }
    out.push_str("  umount -l \"$ROOT\" 2>/dev/null; rmdir \"$ROOT\"\n}\ntrap cleanup EXIT\n");
    section(&mut out, "the container's first process");
    let (mut name, mut text) = ("init", String::from("set -eu\n"));
    if let Some(dir) = &plan.clone.into {
        text.push_str("# clone: the shell has no CLONE_INTO_CGROUP, so the process joins its group itself\n");
        let _ = writeln!(text, "echo $$ > {}/cgroup.procs", quote(&dir.to_string_lossy()));
    }
    for entry in &plan.init {
        let Entry::Do(step) = entry else { continue };
        if step.id() == "namespace.cgroup" {
            // Its root is the group that the process is in at this moment.
            let _ = writeln!(text, "# {}: {}", step.id(), step.why());
            text.push_str("exec unshare --cgroup bash \"$ROOT.then\"\n");
            file(&mut out, name, &text);
            (name, text) = ("then", String::from("set -eu\n"));
        } else {
            lines(&mut text, step.as_ref(), "");
        }
    }
    environment(&mut text, plan);
    file(&mut out, name, &text);
    start(&mut out, plan);
    format!("{HEAD}{}{ROOT}{out}", tools(&out))
}

/// A script within the script. It ends with a line that it does not have: a path may have any.
fn file(out: &mut String, name: &str, text: &str) {
    let mut end = "INIT".to_owned();
    while text.lines().any(|line| line == end) {
        end.push('_');
    }
    let _ = writeln!(out, "cat > \"$ROOT.{name}\" <<'{end}'\n{text}{end}\n");
}

/// Tools that not every machine has, and their packages in Debian.
const TOOLS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("prlimit", "util-linux"),
    ("setfattr", "attr"),
    ("hostname", "hostname"),
];

/// A line for each tool that the script uses: without it, it ends before anything is made.
fn tools(script: &str) -> String {
    let used = |tool: &str| script.lines().any(|line| line.split_ascii_whitespace().any(|word| word == tool));
    let line = |(tool, package): &(&str, &str)| {
        format!(
            "command -v {tool} >/dev/null || {{ echo 'this script needs {tool}: apt install {package}' >&2; exit 1; }}\n"
        )
    };
    TOOLS.iter().filter(|(tool, _)| used(tool)).map(line).collect()
}

const HEAD: &str = "#!/bin/bash
# Builds by hand, with util-linux and iproute2, the container that minidocker would start. Run it as root.
set -eu
";

const ROOT: &str = "ROOT=$(mktemp -d); export ROOT
";

fn section(out: &mut String, title: &str) {
    let _ = writeln!(out, "\n# --- {title}");
}

fn lines(out: &mut String, step: &dyn Step, indent: &str) {
    let _ = writeln!(out, "{indent}# {}: {}", step.id(), step.why());
    match step.shell() {
        Shell::Lines(lines) => {
            for line in lines {
                let _ = writeln!(out, "{indent}{line}");
            }
        }
        Shell::Within(by) => {
            let _ = writeln!(out, "{indent}#   done by: {by}");
        }
        Shell::Nothing(why) => {
            let _ = writeln!(out, "{indent}#   left out: {why}");
        }
    }
}

/// The program's own environment, by the shell's own means since the root may have no env(1); and the change of user
/// as the last step before it.
fn environment(out: &mut String, plan: &Plan) {
    let Shell::Lines(command) = plan.program.shell() else { return };
    let _ = writeln!(out, "# {}: {}", plan.program.id(), plan.program.why());
    out.push_str("for variable in $(compgen -e); do unset \"$variable\"; done\n");
    for variable in &plan.program.env {
        let variable = variable.to_string_lossy();
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let _ = match name.chars().all(known) && !name.starts_with(|c: char| c.is_ascii_digit()) {
            true => writeln!(out, "export {name}={}", quote(value)),
            false => writeln!(out, "# no shell sets a variable of the name {name:?}"),
        };
    }
    let _ = writeln!(out, "set -- {}", command.join(" "));
    let _ = writeln!(out, "case $(setpriv --help 2>&1) in");
    let _ = writeln!(out, "*--bounding-set*) exec setpriv {} \"$@\" ;;", plan.script.identity);
    out.push_str("esac\necho 'no setpriv of util-linux in this root: the program keeps all capabilities' >&2\nexec \"$@\"\n");
}

fn start(out: &mut String, plan: &Plan) {
    let facts = &plan.script;
    let mut command = Vec::new();
    let joins: Vec<_> = facts
        .joins
        .iter()
        .map(|(kind, path)| format!("{}={}", kind.option(), quote(&path.to_string_lossy())))
        .chain(facts.network.iter().map(|name| format!("--net=/run/netns/{name}")))
        .collect();
    if !joins.is_empty() {
        command.push(format!("nsenter {}", joins.join(" ")));
    }
    let mut options: Vec<String> = facts
        .unshare
        .iter()
        .filter(|kind| !matches!(kind, Kind::Network | Kind::Cgroup))
        .map(|kind| kind.option().to_owned())
        .collect();
    options.push("--fork".into());
    if facts.unshare.contains(&Kind::Pid) {
        options.push("--kill-child".into());
    }
    for (clock, secs, _) in &facts.offsets {
        options.push(format!("--{clock} {secs}"));
    }
    if facts.unshare.contains(&Kind::User) {
        let range = |r: &IdRange| format!("{},{},{}", r.outside, r.inside, r.size);
        options.extend(facts.uids.iter().map(|r| format!("--map-users={}", range(r))));
        options.extend(facts.gids.iter().map(|r| format!("--map-groups={}", range(r))));
        options.push("--setuid 0 --setgid 0".into());
    }
    command.push(format!("unshare {} bash \"$ROOT.init\"", options.join(" ")));
    let _ = writeln!(
        out,
        "code=0\n{} || code=$?\nrm -f \"$ROOT.init\" \"$ROOT.then\"\nexit $code",
        command.join(" ")
    );
}
