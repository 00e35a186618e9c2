//! One stage, instruction by instruction: the configuration as it grows, the layers as they come.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci::Platform;

use crate::builder::{Builder, Stage, StageId};
use crate::config::{Image, Nothing, healthcheck};
use crate::dockerfile::expand::{expand, expand_text};
use crate::dockerfile::{self, Argument, Command, Healthcheck, Instruction, Place, Span, Step, Word};
use crate::error::Error;
use crate::host::{Base, Layer};
use crate::plan::{From, PROXIES};
use crate::tree::STEP;
use crate::tree::stack::Stack;
use crate::{add, run};

/// A stage on its way.
pub(crate) struct Work<'b> {
    pub(crate) builder: &'b Builder<'b>,
    pub(crate) id: StageId,
    pub(crate) platform: Platform,
    pub(crate) image: Image,
    pub(crate) layers: Vec<Layer>,
    /// ARG with values, in order.
    pub(crate) arguments: Vec<(String, String)>,
    /// Whether CMD stands in this stage: an ENTRYPOINT of it takes the base's away.
    has_cmd: bool,
    /// The instruction at work and how many there are, those that make no layer left out.
    at: (usize, usize),
    pub(crate) escape: char,
}

/// Where an instruction stands.
#[derive(Clone, Copy)]
struct Origin<'o> {
    file: &'o str,
    source: &'o str,
}

impl Origin<'_> {
    fn place(self, error: Error, span: Span) -> Error {
        error.at(self.file, Place::of(self.source, span))
    }
}

/// Builds a stage.
pub(crate) fn build(builder: &Builder<'_>, id: StageId) -> Result<Stage, Error> {
    let planned = builder.planned(id);
    let stage = &builder.file.stages[id.index];
    let own = Origin { file: &builder.request.file, source: &builder.request.source };
    let (image, layers, inherited) = begin(builder, id).map_err(|error| own.place(error, stage.span))?;
    let platform = Platform::new(&image.os, &image.architecture, image.variant.as_deref());
    let mut work = Work {
        builder,
        id,
        platform: if image.os.is_empty() { planned.platform.clone() } else { platform },
        image,
        layers,
        arguments: Vec::new(),
        has_cmd: false,
        at: (1, 0),
        escape: builder.file.directives.escape,
    };
    let triggers = std::mem::take(&mut work.image.config.on_build);
    let name = format!("ONBUILD of {}", planned.text.trim_start_matches("FROM "));
    let mut steps: Vec<(Origin<'_>, Step)> = Vec::new();
    for source in &triggers {
        let step = dockerfile::parse_trigger(source).map_err(|error| Error::parse(&name, error))?;
        steps.push((Origin { file: &name, source }, step));
    }
    steps.extend(stage.steps.iter().map(|step| (own, step.clone())));
    let makes_layer = |step: &Step| {
        matches!(step.instruction, Instruction::Run(_) | Instruction::Copy(_) | Instruction::Workdir(_))
    };
    work.at.1 = 1 + steps.iter().filter(|(_, step)| makes_layer(step)).count();
    let vertex = builder.vertex(id, 1, work.at.1, &planned.text);
    builder.told(&vertex, || Ok(((), false)))?;
    for (origin, step) in &steps {
        builder.go_on()?;
        if makes_layer(step) {
            work.at.0 += 1;
        }
        work.step(step).map_err(|error| origin.place(error, step.span))?;
    }
    Ok(Stage { image: work.image, layers: work.layers, inherited })
}

/// What FROM says: configuration, layers, and how many of these are the bottom image's.
fn begin(builder: &Builder<'_>, id: StageId) -> Result<(Image, Vec<Layer>, usize), Error> {
    let planned = builder.planned(id);
    match &planned.from {
        From::Scratch => Ok((Image::scratch(&planned.platform), Vec::new(), 0)),
        From::Stage(other) => {
            let stage = builder.stage(id.beside(*other))?;
            Ok((stage.image.clone(), stage.layers.clone(), stage.inherited))
        }
        From::Image(name) => {
            let Base { config, layers } = builder.host.image(name, &planned.platform)?;
            let mut image: Image = serde_json::from_slice(&config).map_err(|error| {
                Error::new(format!("the configuration of {name} cannot be read: {error}"))
            })?;
            let inherited = layers.len();
            // As BuildKit: a program is looked for somewhere, and `$PATH` is that.
            if image.variable("PATH").is_none() {
                image.set_variable("PATH", crate::config::PATH);
            }
            Ok((image, layers, inherited))
        }
    }
}

impl Work<'_> {
    /// The directories of the layers so far, the lowest first.
    pub(crate) fn lower(&self) -> Vec<PathBuf> {
        directories(&self.layers)
    }

    /// The tree so far.
    pub(crate) fn stack(&self) -> Result<Stack, Error> {
        open(&self.layers, self.builder.shelf.userxattr)
    }

    /// What a variable is: ENV goes before ARG.
    fn variable(&self, name: &str) -> Option<String> {
        let argument = || self.arguments.iter().rev().find(|(other, _)| other == name);
        self.image.variable(name).map(str::to_owned).or_else(|| argument().map(|(_, value)| value.clone()))
    }

    /// A word with its variables expanded.
    pub(crate) fn word(&self, word: &Word) -> Result<String, Error> {
        self.text(&word.text).map_err(|error| {
            let request = self.builder.request;
            // A trigger's words have places in another text.
            let place = Place::of(&request.source, word.span);
            if place.text.contains(word.text.as_str()) { error.at(&request.file, place) } else { error }
        })
    }

    pub(crate) fn text(&self, text: &str) -> Result<String, Error> {
        expand(text, self.escape, &|name| self.variable(name)).map_err(Error::new)
    }

    /// The content of a heredoc with its variables expanded.
    pub(crate) fn content(&self, heredoc: &dockerfile::Heredoc) -> Result<String, Error> {
        if !heredoc.expand {
            return Ok(heredoc.content.clone());
        }
        expand_text(&heredoc.content, self.escape, &|name| self.variable(name)).map_err(Error::new)
    }

    /// What `--from=` names: its layers.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<Layer>, Error> {
        let from = crate::plan::reference(&self.builder.file, self.id.index, name).map_err(Error::new)?;
        match from {
            From::Scratch => Ok(Vec::new()),
            From::Stage(other) => Ok(self.builder.stage(self.id.beside(other))?.layers.clone()),
            From::Image(name) => Ok(self.builder.host.image(&name, &self.platform)?.layers),
        }
    }

    /// Does an instruction that makes a layer, and tells of it.
    pub(crate) fn layered(
        &mut self,
        text: &str,
        created_by: String,
        make: impl FnOnce(&Self, &crate::progress::Vertex) -> Result<(Option<(Layer, String)>, bool), Error>,
    ) -> Result<(), Error> {
        let vertex = self.builder.vertex(self.id, self.at.0, self.at.1, text);
        let made = self.builder.told(&vertex, || make(self, &vertex))?;
        match made {
            Some((layer, created)) => {
                self.layers.push(layer);
                self.image.add_history(created_by, Some(created), false);
            }
            None => self.image.add_history(created_by, None, true),
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Error> {
        let created_by = match &step.instruction {
            Instruction::Run(run) => return run::run(self, run, step),
            Instruction::Copy(copy) => return add::copy(self, copy, step),
            Instruction::Workdir(word) => return self.workdir(word),
            Instruction::Env(pairs) => {
                let pairs = self.pairs(pairs)?;
                for (name, value) in &pairs {
                    self.image.set_variable(name, value);
                }
                format!("ENV {}", shown(&pairs))
            }
            Instruction::Label(pairs) => {
                let pairs = self.pairs(pairs)?;
                self.image.config.labels.extend(pairs.iter().cloned());
                format!("LABEL {}", shown(&pairs))
            }
            Instruction::Arg(arguments) => self.arguments_of(arguments)?,
            Instruction::User(word) => {
                self.image.config.user = self.filled(word, "user")?;
                format!("USER {}", self.image.config.user)
            }
            Instruction::Volume(words) => {
                let all =
                    words.iter().map(|word| self.filled(word, "path")).collect::<Result<Vec<_>, _>>()?;
                self.image.config.volumes.extend(all.iter().map(|path| (path.clone(), Nothing {})));
                format!("VOLUME [{}]", all.join(" "))
            }
            Instruction::Expose(words) => {
                let mut ports = Vec::new();
                for word in words {
                    for port in self.word(word)?.split_whitespace() {
                        ports.extend(self::ports(port).map_err(Error::new)?);
                    }
                }
                self.image.config.exposed_ports.extend(ports.iter().map(|port| (port.clone(), Nothing {})));
                format!("EXPOSE [{}]", ports.join(" "))
            }
            Instruction::Entrypoint(command) => {
                let words = self.command(command);
                if !self.has_cmd {
                    self.image.config.cmd = None;
                }
                let text = format!("ENTRYPOINT {}", json(&words));
                self.image.config.entrypoint = Some(words);
                text
            }
            Instruction::Cmd(command) => {
                self.has_cmd = true;
                let words = self.command(command);
                let text = format!("CMD {}", json(&words));
                self.image.config.cmd = Some(words);
                text
            }
            Instruction::Shell(words) => {
                self.image.config.shell.clone_from(words);
                format!("SHELL [{}]", words.join(" "))
            }
            Instruction::StopSignal(word) => {
                self.image.config.stop_signal = self.filled(word, "signal")?;
                format!("STOPSIGNAL {}", self.image.config.stop_signal)
            }
            Instruction::Healthcheck(check) => {
                self.image.config.healthcheck = Some(healthcheck(check));
                match check {
                    Healthcheck::None => "HEALTHCHECK NONE".to_owned(),
                    Healthcheck::Cmd { .. } => step.text.clone(),
                }
            }
            Instruction::OnBuild(text) => {
                self.image.config.on_build.push(text.clone());
                format!("ONBUILD {text}")
            }
            Instruction::Maintainer(name) => {
                self.image.author = Some(name.clone());
                format!("MAINTAINER {name}")
            }
        };
        self.image.add_history(created_by, None, true);
        Ok(())
    }

    fn pairs(&self, pairs: &[(Word, Word)]) -> Result<Vec<(String, String)>, Error> {
        let pair = |(name, value): &(Word, Word)| {
            let name = self.word(name)?;
            if name.is_empty() {
                return Err(Error::new("a name is empty"));
            }
            Ok((name, self.word(value)?))
        };
        pairs.iter().map(pair).collect()
    }

    fn filled(&self, word: &Word, what: &str) -> Result<String, Error> {
        match self.word(word)? {
            text if text.trim().is_empty() => Err(Error::new(format!("the {what} {} is empty", word.text))),
            text => Ok(text),
        }
    }

    fn command(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Shell(text) if text.is_empty() => Vec::new(),
            command => command.words(&self.image.shell()),
        }
    }

    /// ARG: what the command line says, or the default, or what stands before the first FROM.
    fn arguments_of(&mut self, arguments: &[Argument]) -> Result<String, Error> {
        let mut shown = Vec::new();
        for Argument { name, default, .. } in arguments {
            let given = self.builder.request.arguments.get(name).cloned();
            let value = match (given, default) {
                (Some(value), _) => Some(value),
                (None, Some(word)) => Some(self.word(word)?),
                (None, None) => self.global(name),
            };
            match value {
                Some(value) => {
                    shown.push(format!("{name}={value}"));
                    self.arguments.retain(|(other, _)| other != name);
                    self.arguments.push((name.clone(), value));
                }
                None => shown.push(name.clone()),
            }
        }
        Ok(format!("ARG {}", shown.join(" ")))
    }

    fn global(&self, name: &str) -> Option<String> {
        self.builder.plans[self.id.plan].global.get(name).cloned()
    }

    /// Proxies that the command line names: a command sees them, the image and the cache do not.
    pub(crate) fn proxies(&self) -> BTreeMap<&str, &str> {
        let arguments = &self.builder.request.arguments;
        PROXIES.iter().filter_map(|name| Some((*name, arguments.get(*name)?.as_str()))).collect()
    }

    fn workdir(&mut self, word: &Word) -> Result<(), Error> {
        let path = self.filled(word, "directory")?;
        let path = crate::tree::copy::absolute(self.image.workdir(), &path);
        self.image.config.working_dir.clone_from(&path);
        let text = format!("WORKDIR {path}");
        let created_by = text.clone();
        self.layered(&text, created_by, |work, _| add::directory(work, &path))
    }
}

/// `A=b C=d`.
fn shown(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

pub(crate) fn json(words: &[String]) -> String {
    serde_json::to_string(words).unwrap_or_default()
}

pub(crate) fn directories(layers: &[Layer]) -> Vec<PathBuf> {
    layers.iter().map(|layer| layer.directory.clone()).collect()
}

/// Layers as one tree.
pub(crate) fn open(layers: &[Layer], userxattr: bool) -> Result<Stack, Error> {
    Stack::open(&directories(layers), userxattr)
        .map_err(|(path, errno)| step::Failure::new(STEP, path.display().to_string(), errno).into())
}

/// `80`, `80/udp`, `8000-8002`: as Docker writes each.
fn ports(text: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("{text} is no port: 80, 53/udp, 8000-8010");
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number > 0).ok_or_else(wrong);
    let (first, last) = match numbers.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(numbers)?, number(numbers)?),
    };
    if first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}
