//! Dockerfiles: from text to typed instructions, each word with its place.
//!
//! As BuildKit reads them (its `frontend/dockerfile`, and the reference in Docker's documentation). Variables are not
//! looked into here: what they are is known when a stage is built, by [`expand`].

pub mod expand;
mod flags;
mod instruction;
mod lines;
mod mount;
pub(crate) mod place;
#[cfg(test)]
mod tests;
mod words;

pub use mount::{Mount, MountKind, Sharing};
pub use place::{ParseError, Place, Span};

use place::Wrong;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// What stands in comments at the top.
    pub directives: Directives,
    /// ARG before the first FROM.
    pub arguments: Vec<Argument>,
    /// From each FROM to the next; one at least.
    pub stages: Vec<Stage>,
}

/// Parser directives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: which front end BuildKit would load. Known here so that it is no error.
    pub syntax: Option<String>,
    /// `# check=`: which of BuildKit's lints it would skip.
    pub check: Option<String>,
    /// `# escape=`: `\` or `` ` ``.
    pub escape: char,
}

/// A word as it was written, quotes and variables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// FROM and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// An image, `scratch`, or an earlier stage.
    pub image: Word,
    /// `--platform=`.
    pub platform: Option<Word>,
    /// `AS name`, in lower case.
    pub name: Option<String>,
    /// The instructions.
    pub steps: Vec<Step>,
    /// The whole FROM.
    pub span: Span,
}

/// An instruction and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub instruction: Instruction,
    /// As it was written, on one line.
    pub text: String,
    /// The whole instruction, its heredocs left out.
    pub span: Span,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// RUN.
    Run(Run),
    /// COPY, and ADD.
    Copy(Copy),
    /// ENV.
    Env(Vec<(Word, Word)>),
    /// LABEL.
    Label(Vec<(Word, Word)>),
    /// ARG.
    Arg(Vec<Argument>),
    /// USER.
    User(Word),
    /// WORKDIR.
    Workdir(Word),
    /// VOLUME.
    Volume(Vec<Word>),
    /// EXPOSE.
    Expose(Vec<Word>),
    /// ENTRYPOINT.
    Entrypoint(Command),
    /// CMD.
    Cmd(Command),
    /// SHELL.
    Shell(Vec<String>),
    /// STOPSIGNAL.
    StopSignal(Word),
    /// HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// ONBUILD: what the trigger says, checked.
    OnBuild(String),
    /// MAINTAINER.
    Maintainer(String),
}

/// `name`, `name=default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What it is where nobody says otherwise.
    pub default: Option<Word>,
    /// Where.
    pub span: Span,
}

/// A command line in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// For the shell.
    Shell(String),
    /// `["program", "argument"]`.
    Exec(Vec<String>),
}

/// `<<NAME` and the lines up to `NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// Its name, without quotes.
    pub name: String,
    /// The lines, each with its line feed; with `<<-` without tabs before them.
    pub content: String,
    /// Whether variables count: the name was not quoted.
    pub expand: bool,
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub command: Command,
    /// Its heredocs.
    pub heredocs: Vec<Heredoc>,
    /// `--mount=`.
    pub mounts: Vec<Mount>,
    /// `--network=`.
    pub network: Network,
}

/// What a command reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// What containers have.
    #[default]
    Default,
    /// Nothing but itself.
    None,
    /// The host's own.
    Host,
}

/// COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// ADD: archives are unpacked, addresses fetched.
    pub add: bool,
    /// What is copied, one at least.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: Word,
    /// `--from=`: a stage or an image.
    pub from: Option<Word>,
    /// `--chown=`.
    pub chown: Option<Word>,
    /// `--chmod=`.
    pub chmod: Option<Word>,
    /// `--link`: the layer does not depend on those below it.
    pub link: bool,
    /// `--parents`: the directories that lead to a source are made too.
    pub parents: bool,
    /// `--exclude=`.
    pub exclude: Vec<Word>,
    /// `--checksum=`.
    pub checksum: Option<Word>,
    /// `--unpack=`: whether archives are unpacked; unsaid, local ones are.
    pub unpack: Option<bool>,
    /// `--keep-git-dir`: a repository comes with its `.git`.
    pub keep_git: bool,
}

/// What a COPY copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, a pattern, an address.
    Path(Word),
    /// What stands in the Dockerfile.
    Heredoc(Heredoc),
}

/// HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// NONE: not the base image's either.
    None,
    /// CMD. Times in nanoseconds, 0 for the engine's own.
    Cmd {
        /// What is run.
        command: Command,
        /// From one to the next.
        interval: u64,
        /// How long one may take.
        timeout: u64,
        /// How long failures do not count after the start.
        start_period: u64,
        /// From one to the next in that time.
        start_interval: u64,
        /// After how many failures it is unhealthy.
        retries: u64,
    },
}

/// All instructions.
pub(crate) const INSTRUCTIONS: [&str; 18] = [
    "FROM",
    "RUN",
    "CMD",
    "LABEL",
    "MAINTAINER",
    "EXPOSE",
    "ENV",
    "ADD",
    "COPY",
    "ENTRYPOINT",
    "VOLUME",
    "USER",
    "WORKDIR",
    "ARG",
    "ONBUILD",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "SHELL",
];

/// Reads a Dockerfile. Touches nothing, and never panics.
///
/// # Errors
/// What is wrong, with its line.
pub fn parse(source: &str) -> Result<Dockerfile, ParseError> {
    instruction::file(source).map_err(|wrong| wrong.at(source))
}

/// Reads a trigger that the base image brought, `COPY . /app`: one instruction.
///
/// # Errors
/// What is wrong with it.
pub fn parse_trigger(source: &str) -> Result<Step, ParseError> {
    instruction::trigger(source).map_err(|wrong: Wrong| wrong.at(source))
}

/// Whether a command is nothing but the beginning of a heredoc.
pub(crate) fn is_heredoc(text: &str) -> bool {
    !text.trim().contains(char::is_whitespace) && lines::heredoc(text.trim()).is_some()
}
