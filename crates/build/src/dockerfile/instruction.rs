//! Each instruction from its line.

use super::flags::Flags;
use super::lines::{Line, Lines, heredoc};
use super::mount::mount;
use super::place::Wrong;
use super::words::{Rest, pair};
use super::{
    Argument, Command, Copy, Dockerfile, Healthcheck, Heredoc, INSTRUCTIONS, Instruction, Network, Run,
    Source, Stage, Step, Word,
};

/// The whole file.
pub(super) fn file(source: &str) -> Result<Dockerfile, Wrong> {
    let (mut lines, directives) = Lines::new(source)?;
    let escape = directives.escape;
    let mut file = Dockerfile { directives, arguments: Vec::new(), stages: Vec::new() };
    while let Some(line) = lines.next() {
        let (name, rest) = name(&line, escape)?;
        match (name.text.as_str(), file.stages.last_mut()) {
            ("FROM", _) => {
                let stage = from(rest)?;
                if let Some(name) = &stage.name
                    && file.stages.iter().any(|other| other.name.as_ref() == Some(name))
                {
                    return Err(Wrong::new(stage.span, format!("there is a stage {name} already")));
                }
                file.stages.push(stage);
            }
            ("ARG", None) => file.arguments.extend(arguments(rest)?),
            (_, None) => {
                let words = format!("{} stands before the first FROM", name.text);
                return Err(Wrong::new(name.span, words)
                    .hint("a Dockerfile begins with FROM; only ARG may stand before"));
            }
            (_, Some(stage)) => {
                let step = step(&line, name, rest, Some(&mut lines))?;
                stage.steps.push(step);
            }
        }
    }
    if file.stages.is_empty() {
        let at = super::Span { start: source.len(), end: source.len() };
        return Err(Wrong::new(at, "there is no FROM").hint("a Dockerfile begins with FROM"));
    }
    Ok(file)
}

/// One trigger.
pub(super) fn trigger(source: &str) -> Result<Step, Wrong> {
    let mut body = source.splitn(2, '\n');
    let line = Line::of(body.next().unwrap_or_default());
    if line.text.trim().is_empty() {
        return Err(Wrong::new(line.whole(), "ONBUILD needs an instruction"));
    }
    let (name, rest) = name(&line, '\\')?;
    check_trigger(&name)?;
    step(&line, name, rest, None)
}

fn check_trigger(name: &Word) -> Result<(), Wrong> {
    match name.text.as_str() {
        "ONBUILD" | "FROM" | "MAINTAINER" => {
            Err(Wrong::new(name.span, format!("{} is not possible as a trigger of ONBUILD", name.text)))
        }
        _ => Ok(()),
    }
}

/// The instruction's name in capitals, and what follows.
fn name(line: &Line, escape: char) -> Result<(Word, Rest<'_>), Wrong> {
    let rest = Rest { line, at: 0, escape };
    let Some((typed, rest)) = rest.split() else {
        return Err(Wrong::new(line.whole(), "there is no instruction"));
    };
    let upper = typed.text.to_ascii_uppercase();
    if INSTRUCTIONS.contains(&upper.as_str()) {
        return Ok((Word { text: upper, span: typed.span }, rest));
    }
    let shown: String = typed.text.chars().take(40).collect();
    let wrong = Wrong::new(typed.span, format!("there is no instruction {}", shown.escape_debug()));
    Err(match step::nearest(&upper, INSTRUCTIONS) {
        Some(near) => wrong.hint(format!("did you mean {near}?")),
        None => wrong,
    })
}

/// FROM.
fn from(mut rest: Rest<'_>) -> Result<Stage, Wrong> {
    let span = rest.line.whole();
    let mut flags = Flags::take("FROM", &mut rest)?;
    let words = rest.plain();
    let (image, name) = match words.as_slice() {
        [image] => (image, None),
        [image, separator, name] if separator.text.eq_ignore_ascii_case("as") => (image, Some(name)),
        [] => return Err(Wrong::new(span, "FROM needs an image").hint("FROM scratch begins with nothing")),
        [_, second, ..] => {
            let wrong = Wrong::new(second.span, "FROM takes an image, and AS with a name");
            return Err(wrong.hint("FROM image AS name"));
        }
    };
    let name = name.map(stage_name).transpose()?;
    Ok(Stage { image: image.clone(), platform: flags.value("platform"), name, steps: Vec::new(), span })
}

fn stage_name(word: &Word) -> Result<String, Wrong> {
    let name = word.text.to_ascii_lowercase();
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    if is_name {
        return Ok(name);
    }
    Err(Wrong::new(
        word.span,
        "a stage's name begins with a letter and has letters, digits, `-`, `_` and `.`",
    ))
}

/// ARG.
fn arguments(rest: Rest<'_>) -> Result<Vec<Argument>, Wrong> {
    let words = rest.quoted();
    if words.is_empty() {
        return Err(Wrong::new(rest.line.whole(), "ARG needs a name"));
    }
    let one = |word: Word| {
        let span = word.span;
        if !word.text.contains('=') {
            return Ok(Argument { name: word.text, default: None, span });
        }
        let (name, default) = pair(word, "ARG")?;
        Ok(Argument { name: name.text, default: Some(default), span })
    };
    words.into_iter().map(one).collect()
}

/// An instruction that stands in a stage. `lines` has the bodies of heredocs; a trigger of a base image has none.
fn step(line: &Line, name: Word, mut rest: Rest<'_>, lines: Option<&mut Lines<'_>>) -> Result<Step, Wrong> {
    let mut flags = Flags::take(&name.text, &mut rest)?;
    let needs = |what: &str| {
        if rest.text().is_empty() {
            return Err(Wrong::new(line.whole(), format!("{} needs {what}", name.text)));
        }
        Ok(())
    };
    let instruction = match name.text.as_str() {
        "RUN" => {
            let heredocs = bodies(rest, lines)?;
            needs("a command")?;
            let mounts = flags.values("mount").iter().map(mount).collect::<Result<_, _>>()?;
            let network = flags.value("network").map_or(Ok(Network::Default), network)?;
            Instruction::Run(Run { command: rest.command(), heredocs, mounts, network })
        }
        "COPY" | "ADD" => Instruction::Copy(copy(name.text == "ADD", rest, &mut flags, lines)?),
        "ENV" => Instruction::Env(rest.pairs("ENV")?),
        "LABEL" => Instruction::Label(rest.pairs("LABEL")?),
        "ARG" => Instruction::Arg(arguments(rest)?),
        "USER" => needs("a user").map(|()| Instruction::User(rest.word()))?,
        "WORKDIR" => needs("a directory").map(|()| Instruction::Workdir(rest.word()))?,
        "STOPSIGNAL" => needs("a signal").map(|()| Instruction::StopSignal(rest.word()))?,
        "MAINTAINER" => needs("a name").map(|()| Instruction::Maintainer(rest.text().to_owned()))?,
        "VOLUME" => {
            needs("a path")?;
            let all = rest.list();
            if all.is_empty() || all.iter().any(|word| word.text.trim().is_empty()) {
                return Err(Wrong::new(rest.word().span, "a volume's path is empty"));
            }
            Instruction::Volume(all)
        }
        "EXPOSE" => needs("a port").map(|()| Instruction::Expose(rest.plain()))?,
        "ENTRYPOINT" => Instruction::Entrypoint(rest.command()),
        "CMD" => Instruction::Cmd(rest.command()),
        "SHELL" => match rest.json().filter(|all| !all.is_empty()) {
            Some(all) => Instruction::Shell(all),
            None => {
                let wrong = Wrong::new(line.whole(), "SHELL takes a list in JSON");
                return Err(wrong.hint("SHELL [\"/bin/bash\", \"-c\"]"));
            }
        },
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(rest, &mut flags)?),
        "ONBUILD" => on_build(rest, lines)?,
        _ => {
            return Err(Wrong::new(name.span, format!("{} is not possible here", name.text)));
        }
    };
    Ok(Step { instruction, text: line.text.trim().to_owned(), span: line.whole() })
}

fn bodies(rest: Rest<'_>, lines: Option<&mut Lines<'_>>) -> Result<Vec<Heredoc>, Wrong> {
    match lines {
        Some(lines) if rest.json().is_none() => lines.heredocs(rest.line, rest.at),
        _ => Ok(Vec::new()),
    }
}

fn network(word: Word) -> Result<Network, Wrong> {
    match word.text.as_str() {
        "default" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => Err(Wrong::new(word.span, format!("--network is default, none or host, not {other}"))),
    }
}

/// COPY and ADD.
fn copy(add: bool, rest: Rest<'_>, flags: &mut Flags, lines: Option<&mut Lines<'_>>) -> Result<Copy, Wrong> {
    let instruction = if add { "ADD" } else { "COPY" };
    let mut heredocs = bodies(rest, lines)?.into_iter();
    let is_json = rest.json().is_some();
    let mut words = rest.list();
    let Some(destination) = words.pop().filter(|_| !words.is_empty()) else {
        let wrong = Wrong::new(rest.line.whole(), format!("{instruction} needs a source and a destination"));
        return Err(wrong.hint(format!("{instruction} source /destination")));
    };
    let source = |word: Word| {
        if !is_json
            && heredoc(&word.text).is_some()
            && let Some(heredoc) = heredocs.next()
        {
            return Source::Heredoc(heredoc);
        }
        Source::Path(word)
    };
    let sources: Vec<Source> = words.into_iter().map(source).collect();
    let into_directory =
        destination.text.ends_with('/') || destination.text == "." || destination.text.ends_with("/.");
    // What a variable is may end in a slash.
    if sources.len() > 1 && !into_directory && !destination.text.contains('$') {
        let words = format!("{instruction} of several sources needs a directory as destination");
        return Err(Wrong::new(destination.span, words).hint(format!("{}/", destination.text)));
    }
    Ok(Copy {
        add,
        sources,
        destination,
        from: flags.value("from"),
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        link: flags.switch("link") == Some(true),
        parents: flags.switch("parents") == Some(true),
        exclude: flags.values("exclude"),
        checksum: flags.value("checksum"),
        unpack: flags.switch("unpack"),
        keep_git: flags.switch("keep-git-dir") == Some(true),
    })
}

/// HEALTHCHECK.
fn healthcheck(rest: Rest<'_>, flags: &mut Flags) -> Result<Healthcheck, Wrong> {
    let Some((kind, command)) = rest.split() else {
        let wrong = Wrong::new(rest.line.whole(), "HEALTHCHECK needs CMD or NONE");
        return Err(wrong.hint("HEALTHCHECK CMD curl -f http://localhost/"));
    };
    if kind.text.eq_ignore_ascii_case("none") {
        return match command.text() {
            "" => Ok(Healthcheck::None),
            _ => Err(Wrong::new(command.word().span, "nothing follows HEALTHCHECK NONE")),
        };
    }
    if !kind.text.eq_ignore_ascii_case("cmd") || command.text().is_empty() {
        return Err(Wrong::new(kind.span, "HEALTHCHECK takes CMD with a command, or NONE"));
    }
    let mut time = |name: &str| match flags.value(name) {
        None => Ok(0),
        Some(word) => duration(&word.text).filter(|time| *time == 0 || *time >= 1_000_000).ok_or_else(|| {
            let words = format!("--{name}={} is no time of at least a millisecond", word.text);
            Wrong::new(word.span, words).hint("30s, 1m30s, 500ms")
        }),
    };
    Ok(Healthcheck::Cmd {
        command: command.command(),
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries: match flags.value("retries") {
            None => 0,
            Some(word) => word
                .text
                .parse::<u32>()
                .map_err(|_| Wrong::new(word.span, format!("--retries={} is no number", word.text)))?
                .into(),
        },
    })
}

/// A duration as Go writes it, in nanoseconds: `1m30s`, `1.5h`.
fn duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    (!text.is_empty() && total < 9e18).then_some(total as u64)
}

/// ONBUILD: the trigger is checked now, and read again by whoever builds on the image.
fn on_build(rest: Rest<'_>, lines: Option<&mut Lines<'_>>) -> Result<Instruction, Wrong> {
    if rest.text().is_empty() {
        return Err(Wrong::new(rest.line.whole(), "ONBUILD needs an instruction"));
    }
    let (typed, inner) = rest.split().map_or((rest.word(), rest), |(word, inner)| (word, inner));
    let upper = Word { text: typed.text.to_ascii_uppercase(), span: typed.span };
    check_trigger(&upper)?;
    if !INSTRUCTIONS.contains(&upper.text.as_str()) {
        let wrong = Wrong::new(typed.span, format!("there is no instruction {}", typed.text.escape_debug()));
        return Err(match step::nearest(&upper.text, INSTRUCTIONS) {
            Some(near) => wrong.hint(format!("did you mean {near}?")),
            None => wrong,
        });
    }
    if matches!(upper.text.as_str(), "RUN" | "COPY" | "ADD")
        && let Some(lines) = lines
        && let Some(heredoc) = lines.heredocs(inner.line, inner.at)?.first()
    {
        let words = format!("the heredoc {} has no place in a trigger of ONBUILD", heredoc.name);
        return Err(Wrong::new(rest.word().span, words).hint("write it as one line"));
    }
    step(rest.line, upper, inner, None)?;
    Ok(Instruction::OnBuild(rest.text().to_owned()))
}

/// The command of an instruction as a program and its arguments, with the shell before it where it has that form.
impl Command {
    /// What is executed.
    pub(crate) fn words(&self, shell: &[String]) -> Vec<String> {
        match self {
            Self::Exec(words) => words.clone(),
            Self::Shell(text) => shell.iter().cloned().chain([text.clone()]).collect(),
        }
    }
}
