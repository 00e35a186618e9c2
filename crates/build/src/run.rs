//! RUN: the command, what it sees, and the layer that it leaves.

use std::os::unix::fs::PermissionsExt as _;

use step::Failure;

use crate::builder::chain;
use crate::cache::Key;
use crate::config::PATH;
use crate::dockerfile::{Command, Network, Run, Step};
use crate::error::Error;
use crate::host::{self, Layer, STUBS};
use crate::mounts;
use crate::progress::Vertex;
use crate::stage::Work;
use crate::tree::stubs::Stubs;

/// Where a heredoc lies that names its interpreter itself.
const SCRIPTS: &str = "/dev/pipes";

/// What is executed.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    args: Vec<String>,
    /// A heredoc that begins with `#!`: its name and content.
    script: Option<(String, String)>,
    /// For the history.
    shown: String,
}

/// Does a RUN.
pub(crate) fn run(work: &mut Work<'_>, run: &Run, step: &Step) -> Result<(), Error> {
    let program = program(run, &work.image.shell());
    let values: Vec<String> = work.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let created_by = match values.as_slice() {
        [] => format!("RUN {} # buildkit", program.shown),
        values => format!("RUN |{} {} {} # buildkit", values.len(), values.join(" "), program.shown),
    };
    let text = match run.heredocs.first().and_then(|heredoc| heredoc.content.lines().next()) {
        Some(line) => format!("{} ({line}…)", step.text),
        None => step.text.clone(),
    };
    work.layered(&text, created_by, |work, vertex| {
        let mut key = Key::new("run");
        key.add("below", chain(&work.layers).bytes());
        key.add("platform", work.platform.to_string().as_bytes());
        key.list("args", &program.args);
        if let Some((name, content)) = &program.script {
            key.list("script", &[name.clone(), content.clone()]);
        }
        let env = environment(work);
        key.list("env", &env);
        key.add("user", work.image.config.user.as_bytes());
        key.add("workdir", work.image.workdir().as_bytes());
        let network =
            if run.network == Network::Default { work.builder.request.network } else { run.network };
        key.add("network", format!("{network:?}").as_bytes());
        mounts::key(work, &run.mounts, &mut key)?;
        let made = work.builder.layer(key, || execute(work, run, &program, env, network, vertex))?;
        let (layer, created, cached) = made;
        Ok((Some((layer, created)), cached))
    })
}

/// The words of a RUN, its heredocs put where BuildKit puts them.
fn program(run: &Run, shell: &[String]) -> Program {
    let Command::Shell(text) = &run.command else {
        let args = run.command.words(shell);
        return Program { shown: args.join(" "), args, script: None };
    };
    let alone = crate::dockerfile::is_heredoc(text);
    let (text, script) = match run.heredocs.as_slice() {
        [] => (text.clone(), None),
        [one] if alone && one.content.starts_with("#!") => {
            (format!("{SCRIPTS}/{}", one.name), Some((one.name.clone(), one.content.clone())))
        }
        [one] if alone => (one.content.clone(), None),
        all => {
            let bodies = all.iter().map(|heredoc| format!("\n{}{}", heredoc.content, heredoc.name));
            (format!("{text}{}", bodies.collect::<String>()), None)
        }
    };
    let args: Vec<String> = shell.iter().cloned().chain([text]).collect();
    Program { shown: args.join(" "), args, script }
}

/// ARG and ENV; ENV goes before.
fn environment(work: &Work<'_>) -> Vec<String> {
    let arguments = work.arguments.iter().filter(|(name, _)| work.image.variable(name).is_none());
    let mut all: Vec<String> = arguments.map(|(name, value)| format!("{name}={value}")).collect();
    all.extend(work.image.config.env.iter().cloned());
    if !all.iter().any(|pair| pair.starts_with("PATH=")) {
        all.push(format!("PATH={PATH}"));
    }
    all
}

fn execute(
    work: &Work<'_>,
    run: &Run,
    program: &Program,
    mut env: Vec<String>,
    network: Network,
    vertex: &Vertex,
) -> Result<Layer, Error> {
    let builder = work.builder;
    let stack = work.stack()?;
    let scratch = builder.shelf.scratch(Some(&stack))?;
    // Locks of cache mounts come before the turn: nobody waits for a lock while he keeps others from working.
    let mut prepared = mounts::prepare(work, &run.mounts, &scratch)?;
    let _turn = builder.turn();
    builder.go_on()?;
    if let Some((name, content)) = &program.script {
        let source = scratch.path().join("script");
        let failed = |cause| Failure::new("build.run", source.display().to_string(), cause);
        std::fs::write(&source, content)
            .and_then(|()| std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755)))
            .map_err(failed)?;
        let kind = host::MountKind::Bind { source: source.clone(), read_only: true };
        prepared.mounts.push(host::Mount { target: format!("{SCRIPTS}/{name}"), kind });
    }
    env.extend(std::mem::take(&mut prepared.env));
    for (name, value) in work.proxies() {
        if !env.iter().any(|pair| pair.split('=').next() == Some(name)) {
            env.push(format!("{name}={value}"));
        }
    }
    let targets = prepared.mounts.iter().map(|mount| mount.target.clone()).collect::<Vec<_>>();
    let stubs = Stubs::note(&stack, STUBS.into_iter().chain(targets.iter().map(String::as_str)));
    let (upper, overlay) = (scratch.files(), scratch.work());
    let code = builder.host.run(&host::Run {
        lower: work.lower(),
        upper: &upper,
        work: &overlay,
        args: &program.args,
        env: &env,
        user: &work.image.config.user,
        workdir: work.image.workdir(),
        mounts: std::mem::take(&mut prepared.mounts),
        network,
        platform: &work.platform,
        stop: &builder.stop,
        output: &builder.output(vertex),
    })?;
    drop(prepared);
    builder.go_on()?;
    if code != 0 {
        let mut error =
            Error::new(format!("the command ended with exit code {code}: {}", first_line(&program.shown)));
        error.code = Some(code);
        return Err(match code {
            127 => error.hint("127 means that a program was not found"),
            137 => error.hint("137 means SIGKILL: out of memory, perhaps"),
            _ => error,
        });
    }
    stubs.remove(&upper).map_err(|errno| Failure::new("build.run", upper.display().to_string(), errno))?;
    Ok(builder.shelf.commit(scratch)?)
}

fn first_line(text: &str) -> String {
    let line: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
    if line.len() < text.len() { format!("{line}…") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::{Instruction, parse};

    fn of(body: &str) -> Program {
        let file = parse(&format!("FROM x\n{body}\n")).unwrap();
        let Instruction::Run(run) = &file.stages[0].steps[0].instruction else { panic!() };
        program(run, &["sh".to_owned(), "-c".to_owned()])
    }

    #[test]
    fn heredocs_are_put_where_buildkit_puts_them() {
        assert_eq!(of("RUN [\"a\", \"b\"]").args, ["a", "b"]);
        assert_eq!(of("RUN a b").args, ["sh", "-c", "a b"]);
        assert_eq!(of("RUN <<E\na\nb\nE").args, ["sh", "-c", "a\nb\n"]);
        assert_eq!(of("RUN cat <<E > x\na\nE").args, ["sh", "-c", "cat <<E > x\na\nE"]);
        assert_eq!(of("RUN cat <<A <<-B\na\nA\n\tb\nB").args, ["sh", "-c", "cat <<A <<-B\na\nA\nb\nB"]);
        let script = of("RUN <<E\n#!/usr/bin/env python3\nprint()\nE");
        assert_eq!(script.args, ["sh", "-c", "/dev/pipes/E"]);
        assert_eq!(script.script, Some(("E".into(), "#!/usr/bin/env python3\nprint()\n".into())));
    }
}
