//! `build`: images from Dockerfiles.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use engine::Settings;
use engine::ops::build::{
    self, Asked, CacheFrom, CacheTo, Done, Failed, Ignore, Options, Plain, Quiet, Secret, Source, Workplace,
    dockerfile,
};
use engine::ops::{files, git};
use oci::Platform;

use super::{Command, into_file};
use crate::build_view::View;
use crate::options::{Group, Typed, Words, bad_value, flag, many, one};
use crate::problem::Problem;
use crate::terminal::{io_reason, plain, print, report_warning, warn};
use crate::values::{addresses, csv, env, sizes, ulimits};

pub(crate) const COMMAND: Command = Command {
    name: "build",
    long_names: &["image build"],
    summary: "Build an image from a Dockerfile",
    usage: &[
        "build [OPTIONS] DIR",
        "build [OPTIONS] REPOSITORY[#REF[:DIR]]|URL",
        "build [OPTIONS] - < Dockerfile|context.tar",
    ],
    about: "Build an image from a Dockerfile or Containerfile and the files beside it. What was built before from the\n\
            same is taken from the cache: files count by content and mode, not by time.",
    examples: &[
        ("minidocker build -t app .", "./Dockerfile with the files of this directory"),
        ("minidocker build --target test --build-arg VERSION=2 .", "a stage, with an argument"),
        ("minidocker build -o type=local,dest=out .", "the files, not an image"),
        ("minidocker build --platform linux/amd64,linux/arm64 -t app .", "for two platforms under one name"),
        ("minidocker build --secret id=key,src=$HOME/key .", "for RUN --mount=type=secret,id=key"),
    ],
    groups: &[
        Group {
            title: "What",
            options: &[
                one("file", "FILE", "The Dockerfile; - for standard input").short('f'),
                one("target", "STAGE", "Stop at this stage"),
                many("build-arg", "NAME[=VALUE]", "A value for ARG"),
                many("platform", "OS/ARCH[/VARIANT][,...]", "Build for these platforms: an image for each, and an\nindex of them that has the names"),
                many("secret", "id=ID[,src=FILE|,env=NAME]", "A secret for RUN --mount=type=secret"),
                many("ssh", "default|ID=SOCKET", "An agent for RUN --mount=type=ssh"),
                one("network", "MODE", "Of RUN: default, none or host"),
                many("add-host", "NAME:ADDRESS", "A line of /etc/hosts for RUN"),
                one("shm-size", "SIZE", "Of /dev/shm for RUN"),
                many("ulimit", "NAME=SOFT[:HARD]", "Limit of the processes of RUN"),
                one("memory", "BYTES", "Most memory for each RUN").short('m'),
            ],
        },
        Group {
            title: "To",
            options: &[
                many("tag", "NAME[:TAG]", "Name of the image").short('t'),
                many("label", "KEY[=VALUE]", "A label of the image"),
                one("output", "DEST", "type=local,dest=DIR or type=tar,dest=FILE: files in the place of an image;\ntype=oci,dest=FILE or type=docker,dest=FILE: an archive").short('o'),
                one("iidfile", "FILE", "Write the image's id to this file"),
                flag("squash", "Make one layer of all new ones"),
            ],
        },
        Group {
            title: "How",
            options: &[
                flag("no-cache", "Take nothing from earlier builds"),
                many("cache-from", "CACHE", "Take from this cache, too: type=local,src=DIR,\ntype=registry,ref=IMAGE, or IMAGE"),
                many("cache-to", "CACHE", "Bring what was built to this cache: type=local,dest=DIR,\ntype=registry,ref=IMAGE[,mode=max], or type=inline"),
                flag("pull", "Ask for bases at their registries although they are here"),
                one("progress", "MODE", "auto, plain, tty or quiet; auto is tty on a terminal"),
                flag("quiet", "Print the image's id alone").short('q'),
                one("jobs", "NUMBER", "How many steps work at the same time"),
                flag("rm", "As it is: no container stays"),
                flag("force-rm", "As it is"),
            ],
        },
    ],
    words: Words::Between,
    failed: 1,
    exec,
};

/// Where the result goes.
enum Output {
    Store,
    Directory(PathBuf),
    Tar(String),
    Archive(&'static str, String),
}

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [place] = typed.words.as_slice() else {
        return Err(Problem::new("build needs one directory with the files to build from")
            .hint("for example: minidocker build -t app ."));
    };
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let shown = match (on("quiet")?, typed.one("progress")) {
        (true, _) => Shown::Nothing,
        (false, text) => shown(text)?,
    };
    let quiet = shown == Shown::Nothing;
    let output = typed.read("output", output)?.unwrap_or(Output::Store);
    // BuildKit's own argument, which no ARG asks for.
    const KEEP_GIT: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";
    let keep_git = typed.many("build-arg").any(|text| text == format!("{KEEP_GIT}=1"));
    let context = Context::open(&settings.root, place, typed.one("file"), keep_git)?;
    let mut asked = Asked::new(&settings.root, &settings.run_root, &context.directory, &context.source);
    asked.file = context.file.clone();
    asked.ignore =
        build::ignore_file(&context.directory, context.path.as_deref()).map_err(|failed| told(&failed))?;
    if context.alone {
        asked.ignore = Ignore::default();
    }
    let own = |name: &str| std::env::var(name).ok();
    for text in typed.many("build-arg") {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, own(text)),
        };
        if name == KEEP_GIT {
            continue;
        }
        asked.arguments.extend(value.map(|value| (name.to_owned(), value)));
    }
    asked.epoch = own("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    asked.labels = typed.read_many("label", env::label)?.into_iter().collect();
    asked.target = typed.one("target").map(str::to_owned);
    asked.platforms = platforms(&typed, &output)?;
    asked.network = typed
        .read("network", |text| match text {
            "default" | "bridge" => Ok(dockerfile::Network::Default),
            "none" => Ok(dockerfile::Network::None),
            "host" => Ok(dockerfile::Network::Host),
            _ => Err("there are default, none and host".to_owned()),
        })?
        .unwrap_or(dockerfile::Network::Default);
    asked.no_cache = on("no-cache")?;
    asked.squash = on("squash")?;
    asked.cache_from = typed.read_many("cache-from", cache_from)?;
    asked.cache_to = typed.read_many("cache-to", cache_to)?;
    asked.secrets = typed.read_many("secret", secret)?.into_iter().collect::<BTreeMap<_, _>>();
    asked.agents = typed.read_many("ssh", agent)?.into_iter().collect();
    asked.jobs = typed
        .read("jobs", |text| text.parse::<usize>().map_err(|_| "no number; write it as 4".to_owned()))?
        .unwrap_or(0);
    let options = Options {
        names: typed.many("tag").map(str::to_owned).collect(),
        pull: on("pull")?,
        add_hosts: typed.read_many("add-host", addresses::host)?,
        shm_size: typed.read("shm-size", sizes::parse)?,
        ulimits: typed.read_many("ulimit", ulimits::parse)?,
        memory: typed.read("memory", sizes::parse)?,
    };
    let built = match shown {
        Shown::Nothing => build::build(settings, &asked, &options, &Quiet),
        Shown::Lines => build::build(settings, &asked, &options, &Plain::new(std::io::stderr())),
        Shown::View => {
            let view = View::new();
            let built = build::build(settings, &asked, &options, &view);
            view.end();
            built
        }
    };
    let Done { images: built, id } = built.map_err(|failed| told(&failed))?;
    if let Some(path) = typed.one("iidfile") {
        fs::write(path, id.to_string())
            .map_err(|error| Problem::new(format!("cannot write {}: {}", plain(path), io_reason(&error))))?;
    }
    match output {
        Output::Store => {}
        Output::Directory(path) => match built.as_slice() {
            [built] => build::write_directory(built, &path)?,
            // As buildx: a directory for each.
            several => several.iter().try_for_each(|built| {
                build::write_directory(built, &path.join(built.platform.to_string().replace('/', "_")))
            })?,
        },
        Output::Tar(path) if path == "-" => {
            return build::write_files(&built[0], std::io::stdout()).map(|()| 0).map_err(Problem::from);
        }
        Output::Tar(path) => into_file(&path, |file| Ok(build::write_files(&built[0], file)?))?,
        Output::Archive(form, path) => {
            let place = format!("{form}:{path}");
            let location = files::location(&place).ok_or_else(|| bad_value("output", &path, "no file"))?;
            let name = options.names.first().cloned().unwrap_or_else(|| id.to_string());
            files::push_to(settings, &[name], None, &location)?;
        }
    }
    if quiet {
        return print(&format!("{id}\n")).map(|()| 0);
    }
    let mut text = format!("writing image {id}\n");
    for name in &options.names {
        text.push_str(&format!("naming to {}\n", plain(&engine::ops::images::reference(name)?.canonical())));
    }
    warn(&text);
    Ok(0)
}

/// `--platform`: each once, in their order; this machine's where there is none.
fn platforms(typed: &Typed, output: &Output) -> Result<Vec<Platform>, Problem> {
    let mut all: Vec<Platform> = Vec::new();
    for text in typed.many("platform").flat_map(|texts| texts.split(',')) {
        let platform = text.trim().parse();
        let platform = platform
            .map_err(|error: oci::InvalidPlatform| bad_value("platform", text, &error.to_string()))?;
        if !all.contains(&platform) {
            all.push(platform);
        }
    }
    if all.len() > 1 {
        let one_alone = |what: &str, way: &str| {
            Err(Problem::new(format!("--output {what} has one platform, and --platform names {}", all.len()))
                .hint(way.to_owned()))
        };
        match output {
            Output::Tar(_) => return one_alone("type=tar", "type=local,dest=DIR makes a directory for each"),
            Output::Archive("docker-archive", _) => {
                return one_alone("type=docker", "type=oci,dest=FILE has them all");
            }
            Output::Store | Output::Directory(_) | Output::Archive(..) => {}
        }
    }
    Ok(if all.is_empty() { vec![Platform::host()] } else { all })
}

/// How the build is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Lines,
    View,
}

/// `--progress`, or BuildKit's variable for it.
fn shown(typed: Option<&str>) -> Result<Shown, Problem> {
    let variable = std::env::var("BUILDKIT_PROGRESS").ok().filter(|text| !text.is_empty());
    let is_terminal = std::io::stderr().is_terminal();
    match typed.or(variable.as_deref()).unwrap_or("auto") {
        "auto" if is_terminal => Ok(Shown::View),
        "auto" | "plain" => Ok(Shown::Lines),
        "quiet" => Ok(Shown::Nothing),
        "tty" if is_terminal => Ok(Shown::View),
        "tty" => Err(Problem::new("--progress tty needs a terminal as standard error")
            .hint("--progress auto takes lines where there is none")),
        "rawjson" => {
            Err(Problem::new("--progress rawjson is BuildKit's own protocol, which is not spoken here")
                .hint("--progress plain is made for programs to read: a line for each event"))
        }
        mode => Err(bad_value("progress", mode, "there are auto, plain, tty and quiet")),
    }
}

/// A failed build: the line with its caret, and then the one line of the error.
fn told(failed: &Failed) -> Problem {
    let mut message = failed.message.clone();
    if let Some((file, place)) = failed.place.as_deref() {
        let shown: Vec<String> = place.to_string().lines().map(|line| plain(line).into_owned()).collect();
        warn(&format!("{}:{}\n{}\n", plain(file), place.line, shown.join("\n")));
        message = format!("{file}:{}: {message}", place.line);
    }
    let problem = Problem::new(message);
    match &failed.hint {
        Some(hint) => problem.hint(hint.clone()),
        None => problem,
    }
}

/// What is built from.
struct Context {
    directory: PathBuf,
    /// The Dockerfile's name in messages.
    file: String,
    /// Where it is; none of standard input.
    path: Option<PathBuf>,
    source: String,
    /// A Dockerfile without files.
    alone: bool,
    /// Of a context that came as an archive: it goes with this.
    _scratch: Option<Workplace>,
}

impl Context {
    fn open(root: &Path, place: &str, file: Option<&str>, keep_git: bool) -> Result<Self, Problem> {
        if place == "-" {
            if file == Some("-") {
                return Err(Problem::new(
                    "the context and the Dockerfile cannot both come from standard input",
                )
                .hint("name one of them: minidocker build -f FILE - < context.tar"));
            }
            if std::io::stdin().is_terminal() {
                report_warning("reading from the terminal; end with ctrl-d", None);
            }
            return Self::of_stream(root, std::io::stdin(), "standard input", file);
        }
        // As Docker: what looks like a repository at GitHub is one, unless it is a directory here.
        let named = match place.strip_prefix("github.com/") {
            Some(_) if !Path::new(place).exists() => match place.split_once('#') {
                Some((path, rest)) => format!("https://{}.git#{rest}", path.trim_end_matches(".git")),
                None => format!("https://{}.git", place.trim_end_matches(".git")),
            },
            _ => place.to_owned(),
        };
        if let Some(repository) = Source::parse(&named) {
            let repository =
                repository.map_err(|words| Problem::new(format!("{}: {words}", plain(place))))?;
            let scratch = Workplace::new(root).map_err(engine::Error::from)?;
            let fetched = git::fetch(&repository, &scratch.path().join("repository"), keep_git)
                .map_err(engine::Error::from)?;
            return Self::in_directory(fetched.directory, file, Some(scratch));
        }
        if place.starts_with("http://") || place.starts_with("https://") {
            return Self::of_stream(root, build::download(place)?, place, file);
        }
        let directory = PathBuf::from(place);
        let kind = fs::metadata(&directory);
        match &kind {
            Err(error) => return Err(Problem::new(format!("{}: {}", plain(place), io_reason(error)))),
            Ok(kind) if !kind.is_dir() => {
                return Err(Problem::new(format!("{} is no directory", plain(place)))
                    .hint("name the directory, and the Dockerfile by -f"));
            }
            Ok(_) => {}
        }
        let directory = directory
            .canonicalize()
            .map_err(|error| Problem::new(format!("{}: {}", plain(place), io_reason(&error))))?;
        Self::in_directory(directory, file, None)
    }

    fn in_directory(
        directory: PathBuf,
        file: Option<&str>,
        scratch: Option<Workplace>,
    ) -> Result<Self, Problem> {
        let path = match file {
            Some("-") => {
                let source = stdin()?;
                let source = String::from_utf8_lossy(&source).into_owned();
                let file = "Dockerfile".to_owned();
                return Ok(Self { directory, file, path: None, source, alone: false, _scratch: scratch });
            }
            // Docker looks beside the caller first, and then in the context.
            Some(file) if scratch.is_none() && Path::new(file).exists() => PathBuf::from(file),
            Some(file) => directory.join(file),
            None => {
                let own = ["Dockerfile", "Containerfile"].map(|name| directory.join(name));
                let [first, _] = &own;
                own.iter().find(|path| path.exists()).unwrap_or(first).clone()
            }
        };
        let source = fs::read(&path).map_err(|error| {
            Problem::new(format!("{}: {}", plain(&path.display().to_string()), io_reason(&error)))
                .hint("name the Dockerfile by -f FILE")
        })?;
        let name = path.strip_prefix(&directory).unwrap_or(&path).display().to_string();
        let source = String::from_utf8_lossy(&source).into_owned();
        Ok(Self { directory, file: name, path: Some(path), source, alone: false, _scratch: scratch })
    }

    /// A Dockerfile, or an archive of a whole context.
    fn of_stream(
        root: &Path,
        mut stream: impl Read + Send,
        from: &str,
        file: Option<&str>,
    ) -> Result<Self, Problem> {
        let failed = |error: std::io::Error| {
            Problem::new(format!("cannot read {}: {}", plain(from), io_reason(&error)))
        };
        let scratch = Workplace::new(root).map_err(engine::Error::from)?;
        let directory = scratch.path();
        let mut begin = Vec::new();
        stream.by_ref().take(512).read_to_end(&mut begin).map_err(failed)?;
        if build::is_archive(&begin) {
            build::unpack(std::io::Cursor::new(begin).chain(stream), &directory)?;
            return Self::in_directory(directory, file, Some(scratch));
        }
        if let Some(file) = file.filter(|file| *file != "-") {
            return Err(Problem::new(format!(
                "-f {} and a Dockerfile from {} contradict each other",
                plain(file),
                plain(from)
            )));
        }
        let mut bytes = begin;
        stream.take(MOST_TEXT + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MOST_TEXT {
            return Err(Problem::new(format!("{} is neither an archive nor a Dockerfile", plain(from))));
        }
        let source = match file {
            Some(_) => stdin()?,
            None => bytes,
        };
        let source = String::from_utf8_lossy(&source).into_owned();
        let file = "Dockerfile".to_owned();
        Ok(Self { directory, file, path: None, source, alone: true, _scratch: Some(scratch) })
    }
}

/// Bytes of a Dockerfile that comes alone.
const MOST_TEXT: u64 = 16 << 20;

fn stdin() -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        report_warning("reading from the terminal; end with ctrl-d", None);
    }
    stdin
        .read_to_end(&mut bytes)
        .map_err(|error| Problem::new(format!("cannot read standard input: {}", io_reason(&error))))?;
    Ok(bytes)
}

fn fields(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut fields = BTreeMap::new();
    for field in csv::fields(text)? {
        let (key, value) =
            field.split_once('=').ok_or("fields are written as key=value, with commas between them")?;
        fields.insert(key.to_owned(), value.to_owned());
    }
    Ok(fields)
}

fn output(text: &str) -> Result<Output, String> {
    if text == "-" {
        return Ok(Output::Tar("-".to_owned()));
    }
    if !text.contains('=') {
        return Ok(Output::Directory(PathBuf::from(text)));
    }
    let fields = fields(text)?;
    let dest = fields.get("dest").cloned();
    let needed = || dest.clone().ok_or_else(|| "dest= is missing".to_owned());
    match fields.get("type").map(String::as_str) {
        Some("local") => Ok(Output::Directory(PathBuf::from(needed()?))),
        Some("tar") => Ok(Output::Tar(dest.clone().unwrap_or_else(|| "-".to_owned()))),
        Some("oci") => Ok(Output::Archive("oci-archive", needed()?)),
        Some("docker") if dest.is_some() => Ok(Output::Archive("docker-archive", needed()?)),
        Some("docker" | "image") => Ok(Output::Store),
        _ => Err("type is local, tar, oci, docker or image".to_owned()),
    }
}

fn cache_from(text: &str) -> Result<CacheFrom, String> {
    const FORMS: &str = "write it as type=local,src=DIR or type=registry,ref=IMAGE";
    if !text.contains('=') {
        return Ok(CacheFrom::Image(image(text)?));
    }
    let fields = fields(text)?;
    let field = |name| fields.get(name).cloned().ok_or_else(|| format!("{name}= is missing; {FORMS}"));
    match fields.get("type").map_or("", String::as_str) {
        "local" => Ok(CacheFrom::Directory(PathBuf::from(field("src")?))),
        "registry" => Ok(CacheFrom::Image(image(&field("ref")?)?)),
        other => Err(format!("a cache of type {} is not taken; {FORMS}", step::quote(other))),
    }
}

fn cache_to(text: &str) -> Result<CacheTo, String> {
    const FORMS: &str = "write it as type=local,dest=DIR, type=registry,ref=IMAGE[,mode=max] or type=inline";
    if !text.contains('=') {
        return Ok(CacheTo::Image { name: image(text)?, all: true });
    }
    let fields = fields(text)?;
    let field = |name| fields.get(name).cloned().ok_or_else(|| format!("{name}= is missing; {FORMS}"));
    let all = match fields.get("mode").map_or("min", String::as_str) {
        "min" => false,
        "max" => true,
        other => return Err(format!("mode={other} is neither min nor max")),
    };
    match fields.get("type").map_or("", String::as_str) {
        "local" => Ok(CacheTo::Directory(PathBuf::from(field("dest")?))),
        "registry" => Ok(CacheTo::Image { name: image(&field("ref")?)?, all }),
        "inline" if all => {
            Err("an image carries its own layers alone: mode=max needs type=registry".to_owned())
        }
        "inline" => Ok(CacheTo::Inline),
        other => Err(format!("a cache of type {} is not made; {FORMS}", step::quote(other))),
    }
}

/// An image's name that registries understand, as it was typed.
fn image(text: &str) -> Result<String, String> {
    text.parse::<oci::Reference>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn secret(text: &str) -> Result<(String, Secret), String> {
    let fields = fields(text)?;
    let get = |names: [&str; 2]| names.iter().find_map(|name| fields.get(*name)).cloned();
    let id = fields.get("id").cloned().ok_or("write it as id=NAME,src=FILE")?;
    let from = match (get(["src", "source"]), fields.get("env")) {
        (Some(path), None) => Secret::File(PathBuf::from(path)),
        (None, Some(name)) => Secret::Value(
            std::env::var(name).map_err(|_| format!("the variable {} is not set", step::quote(name)))?,
        ),
        (None, None) => match std::env::var(&id) {
            Ok(value) => Secret::Value(value),
            Err(_) => Secret::File(PathBuf::from(&id)),
        },
        (Some(_), Some(_)) => return Err("src and env contradict each other".to_owned()),
    };
    Ok((id, from))
}

fn agent(text: &str) -> Result<(String, PathBuf), String> {
    let (id, path) = match text.split_once('=') {
        Some((id, path)) => (id.to_owned(), path.to_owned()),
        None => {
            let socket = std::env::var("SSH_AUTH_SOCK");
            (text.to_owned(), socket.map_err(|_| "SSH_AUTH_SOCK is not set: there is no agent".to_owned())?)
        }
    };
    Ok((id, PathBuf::from(path)))
}
