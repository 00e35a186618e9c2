//! COPY, ADD and WORKDIR: sources and their digest, then a new layer, written without a mount.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use oci::{Digest, Hasher};
use step::Failure;
use storage::layer::{Foreign, Onto, Options, apply};

use crate::builder::chain;
use crate::cache::Key;
use crate::dockerfile::{Copy, Source, Step};
use crate::error::Error;
use crate::git::Repository;
use crate::host::{Fetched, Layer};
use crate::ignore::Ignore;
use crate::shelf::Scratch;
use crate::stage::{Work, open};
use crate::tree::copy::{self, Manner, absolute};
use crate::tree::digest::{View, digest};
use crate::tree::mode::Chmod;
use crate::tree::owner::{Owner, owner};
use crate::tree::pick::{Picked, pick};
use crate::tree::stack::{Found, Stack};
use crate::tree::walk::Filter;
use crate::tree::write;

const STEP: &str = "build.add";

/// A source that is at hand.
enum Ready {
    /// Files of a tree.
    Picked(Box<Picked>),
    /// A heredoc: name and content.
    Text(Vec<u8>, String),
    /// The files of a repository.
    Cloned(Stack),
    /// A download: its file, its name, when it was changed.
    Fetched { path: PathBuf, name: Option<String>, modified: Option<i64>, digest: Digest },
}

/// What an instruction says, variables expanded.
struct Wanted<'c> {
    copy: &'c Copy,
    /// An absolute path.
    destination: String,
    /// It ends in a slash.
    into: bool,
    chmod: Option<Chmod>,
    exclude: Ignore,
    /// Of the build context; not of a stage or image.
    in_context: bool,
}

/// Does a COPY or an ADD.
pub(crate) fn copy(work: &mut Work<'_>, copy: &Copy, step: &Step) -> Result<(), Error> {
    let typed = work.word(&copy.destination)?;
    let into = typed.is_empty() || typed == "." || typed.ends_with('/') || typed.ends_with("/.");
    let chmod_text = copy.chmod.as_ref().map(|word| work.word(word)).transpose()?;
    let chown_text = copy.chown.as_ref().map(|word| work.word(word)).transpose()?;
    let mut exclude = Ignore::default();
    for word in &copy.exclude {
        exclude.add(&work.word(word)?).map_err(Error::new)?;
    }
    let wanted = Wanted {
        destination: absolute(work.image.workdir(), &typed),
        into,
        chmod: chmod_text.as_deref().map(Chmod::parse).transpose().map_err(Error::new)?,
        exclude,
        in_context: copy.from.is_none(),
        copy,
    };
    let mut created_by = if copy.add { "ADD".to_owned() } else { "COPY".to_owned() };
    for (flag, text) in [("chown", &chown_text), ("chmod", &chmod_text)] {
        created_by.extend(text.iter().map(|text| format!(" --{flag}={text}")));
    }
    let mut sources = Vec::new();
    for source in &copy.sources {
        sources.push(match source {
            Source::Path(word) => work.word(word)?,
            Source::Heredoc(heredoc) => format!("<<{}", heredoc.name),
        });
        created_by.push_str(&format!(" {}", sources[sources.len() - 1]));
    }
    created_by.push_str(&format!(" {typed} # buildkit"));
    work.layered(&step.text, created_by, |work, _| {
        let builder = work.builder;
        let lower = work.stack()?;
        let owner = chown_text.as_deref().map(|text| owner(&lower, text)).transpose().map_err(Error::new)?;
        let tree = match &copy.from {
            Some(word) => open(&work.named(&word.text)?, builder.shelf.userxattr)?,
            None => builder.context.clone(),
        };
        let scratch = builder.shelf.scratch(if copy.link { None } else { Some(&lower) })?;
        let ready = gather(work, &wanted, &sources, &tree, &scratch)?;
        let mut key = Key::new(if copy.add { "add" } else { "copy" });
        if !copy.link {
            key.add("below", chain(&work.layers).bytes());
        }
        key.add("destination", wanted.destination.as_bytes());
        key.list(
            "flags",
            &[into, copy.link, copy.parents, copy.unpack == Some(true), copy.unpack == Some(false)]
                .map(|flag| flag.to_string()),
        );
        key.add("owner", format!("{owner:?}").as_bytes());
        key.add("chmod", format!("{:?}", wanted.chmod).as_bytes());
        add_sources(work, &wanted, owner, &ready, &tree, &mut key)?;
        let made = builder.layer(key, || {
            let _turn = builder.turn();
            write(
                work,
                &wanted,
                owner,
                &ready,
                &tree,
                if copy.link { Stack::empty() } else { lower },
                scratch,
            )
        })?;
        let (layer, created, cached) = made;
        Ok((Some((layer, created)), cached))
    })
}

fn filter<'w>(work: &'w Work<'_>, wanted: &'w Wanted<'_>) -> Filter<'w> {
    Filter {
        ignore: wanted.in_context.then_some(&work.builder.request.ignore),
        exclude: Some(&wanted.exclude),
    }
}

/// Without .dockerignore, which is the context's.
fn excluded<'w>(wanted: &'w Wanted<'_>) -> Filter<'w> {
    Filter { ignore: None, exclude: Some(&wanted.exclude) }
}

/// Finds all sources, and downloads those that are elsewhere.
fn gather(
    work: &Work<'_>,
    wanted: &Wanted<'_>,
    sources: &[String],
    tree: &Stack,
    scratch: &Scratch,
) -> Result<Vec<Ready>, Error> {
    let mut all = Vec::new();
    for (number, (source, text)) in wanted.copy.sources.iter().zip(sources).enumerate() {
        match source {
            Source::Heredoc(heredoc) => {
                all.push(Ready::Text(heredoc.name.clone().into_bytes(), work.content(heredoc)?));
            }
            Source::Path(_) if wanted.copy.add && Repository::parse(text).is_some() => {
                let Some(repository) = Repository::parse(text) else { continue };
                let place = scratch.path().join(format!("repository-{number}"));
                all.push(clone(work, wanted, &repository.map_err(Error::new)?, &place)?);
            }
            Source::Path(_) if wanted.copy.add && is_url(text) => {
                let fetched = work.builder.host.fetch(text)?;
                all.push(download(
                    work,
                    wanted,
                    text,
                    fetched,
                    scratch.path().join(format!("download-{number}")),
                )?);
            }
            Source::Path(_) => {
                let picked = pick(tree, text, filter(work, wanted)).map_err(|failure| {
                    let hint = wanted.in_context.then(|| {
                        format!(
                            "sources are looked for in the context, {}",
                            work.builder.request.context.display()
                        )
                    });
                    let error = Error::from(failure);
                    match (&error.hint, hint) {
                        (None, Some(hint)) => error.hint(hint),
                        _ => error,
                    }
                })?;
                all.extend(picked.into_iter().map(|picked| Ready::Picked(Box::new(picked))));
            }
        }
    }
    if all.is_empty() {
        return Err(
            Error::new("no file matches").hint("patterns match within one directory; * matches no slash")
        );
    }
    if all.len() > 1 && !wanted.into {
        return Err(Error::new("several sources need a directory as destination")
            .hint(format!("end the destination in a slash: {}/", wanted.destination)));
    }
    Ok(all)
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// What a repository has, as files at hand.
fn clone(
    work: &Work<'_>,
    wanted: &Wanted<'_>,
    repository: &Repository,
    place: &Path,
) -> Result<Ready, Error> {
    let cloned = work.builder.host.repository(repository, place, wanted.copy.keep_git)?;
    if let Some(word) = &wanted.copy.checksum {
        let expected = work.word(word)?;
        if expected != cloned.commit {
            return Err(Error::new(format!("{repository} is at {}, not {expected}", cloned.commit))
                .hint("--checksum of a repository is the whole number of its commit"));
        }
    }
    let directory = cloned.directory;
    let tree = Stack::plain(&directory)
        .map_err(|errno| Failure::new(STEP, directory.display().to_string(), errno))?;
    Ok(Ready::Cloned(tree))
}

fn download(
    work: &Work<'_>,
    wanted: &Wanted<'_>,
    url: &str,
    mut fetched: Fetched,
    path: PathBuf,
) -> Result<Ready, Error> {
    let failed = |cause| Failure::new(STEP, url, cause);
    let mut file = File::create(&path).map_err(failed)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let length = fetched.body.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        std::io::Write::write_all(&mut file, &buffer[..length]).map_err(failed)?;
    }
    let digest = hasher.finish();
    if let Some(word) = &wanted.copy.checksum {
        let expected = work.word(word)?;
        let expected: Digest =
            expected.parse().map_err(|error| Error::new(format!("--checksum: {error}")))?;
        if expected != digest {
            return Err(Error::new(format!("{url} has the digest {digest}, not {expected}"))
                .hint("it changed, or is not what it should be"));
        }
    }
    let of_url = url.split(['?', '#']).next().unwrap_or(url).splitn(4, '/').nth(3).unwrap_or_default();
    let of_url = of_url.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
    let plain = |name: &String| !name.contains('/') && !matches!(name.as_str(), "" | "." | "..");
    let name = fetched.name.take().filter(plain).or(of_url).filter(plain);
    Ok(Ready::Fetched { path, name, modified: fetched.modified, digest })
}

/// Adds to a key what the sources are.
fn add_sources(
    work: &Work<'_>,
    wanted: &Wanted<'_>,
    owner: Option<Owner>,
    ready: &[Ready],
    tree: &Stack,
    key: &mut Key,
) -> Result<(), Error> {
    let view = View {
        owners: !wanted.in_context && owner.is_none(),
        chmod: wanted.chmod.as_ref(),
        top: wanted.copy.parents,
    };
    for one in ready {
        match one {
            Ready::Picked(picked) => {
                key.add("name", &picked.name);
                if wanted.copy.parents {
                    key.add("path", &picked.written);
                }
                let digest = digest(tree, picked, filter(work, wanted), view, &work.builder.memo)?;
                key.add("content", digest.bytes());
            }
            Ready::Cloned(tree) => {
                for picked in pick(tree, "/", excluded(wanted))? {
                    let digest = digest(tree, &picked, excluded(wanted), view, &work.builder.memo)?;
                    key.add("repository", digest.bytes());
                }
            }
            Ready::Text(name, content) => {
                key.add("name", name);
                key.add("text", content.as_bytes());
            }
            Ready::Fetched { name, modified, digest, .. } => {
                key.add("name", name.as_deref().unwrap_or_default().as_bytes());
                key.add("modified", format!("{modified:?}").as_bytes());
                key.add("download", digest.bytes());
            }
        }
    }
    Ok(())
}

fn write(
    work: &Work<'_>,
    wanted: &Wanted<'_>,
    owner: Option<Owner>,
    ready: &[Ready],
    tree: &Stack,
    lower: Stack,
    scratch: Scratch,
) -> Result<Layer, Error> {
    let mut layer = write::Layer::begin(&scratch.files(), &lower)?;
    let destination = wanted.destination.as_bytes();
    // Files of the context are root's; those of a stage or image stay whose they are.
    let of_files = owner.or(wanted.in_context.then(Owner::default));
    let manner =
        Manner { owner: of_files, chmod: wanted.chmod.as_ref(), parents: wanted.copy.parents, link: false };
    let mode = |mode| wanted.chmod.as_ref().map_or(mode, |chmod| chmod.apply(mode, false));
    for (number, one) in ready.iter().enumerate() {
        work.builder.go_on()?;
        match one {
            Ready::Picked(picked) => {
                let unpacked = match &picked.found {
                    Found::File(entry) if wanted.copy.add && wanted.copy.unpack != Some(false) => {
                        let failed = |errno| Failure::new(STEP, String::from_utf8_lossy(&picked.path), errno);
                        let file = File::from(entry.open().map_err(failed)?);
                        unpack(&mut layer, file, &picked.path, destination, owner, &scratch, number)?
                    }
                    _ => false,
                };
                if !unpacked {
                    copy::copy(
                        &mut layer,
                        tree,
                        picked,
                        filter(work, wanted),
                        destination,
                        wanted.into,
                        manner,
                    )?;
                }
            }
            Ready::Cloned(tree) => {
                let filter = || excluded(wanted);
                for picked in pick(tree, "/", filter())? {
                    copy::copy(&mut layer, tree, &picked, filter(), destination, true, manner)?;
                }
            }
            Ready::Text(name, content) => {
                let into = wanted.into || matches!(layer.resolve(destination)?.found, Found::Dir(_));
                let name = into.then_some(name.as_slice());
                let owner = owner.unwrap_or_default();
                copy::write_file(
                    &mut layer,
                    destination,
                    name,
                    content.as_bytes(),
                    owner,
                    mode(0o644),
                    None,
                )?;
            }
            Ready::Fetched { path, name, modified, .. } => {
                let failed = |cause| Failure::new(STEP, path.display().to_string(), cause);
                let file = File::open(path).map_err(failed)?;
                if wanted.copy.unpack == Some(true)
                    && unpack(&mut layer, file, b"the download", destination, owner, &scratch, number)?
                {
                    continue;
                }
                let into = wanted.into || matches!(layer.resolve(destination)?.found, Found::Dir(_));
                let name = match (into, name) {
                    (true, None) => {
                        return Err(Error::new("the address has no name for the file")
                            .hint("name the file in the destination"));
                    }
                    (true, Some(name)) => Some(name.as_bytes()),
                    (false, _) => None,
                };
                let content = std::fs::read(path).map_err(failed)?;
                let owner = owner.unwrap_or_default();
                copy::write_file(&mut layer, destination, name, &content, owner, mode(0o600), *modified)?;
            }
        }
    }
    layer.finish()?;
    Ok(work.builder.shelf.commit(scratch)?)
}

/// Unpacks an archive to `destination`; false if it is none.
fn unpack(
    layer: &mut write::Layer,
    mut file: File,
    name: &[u8],
    destination: &[u8],
    owner: Option<Owner>,
    scratch: &Scratch,
    number: usize,
) -> Result<bool, Error> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let failed = |cause| Failure::new(STEP, shown.clone(), cause);
    let mut start = Vec::new();
    (&mut file).take(512).read_to_end(&mut start).map_err(failed)?;
    let again = || {
        let mut file = file.try_clone()?;
        std::io::Seek::rewind(&mut file)?;
        Ok(file)
    };
    let mut block = [0; 512];
    let is_archive = match start.as_slice() {
        [0x1f, 0x8b, ..] => {
            let mut inflated = flate2::read::MultiGzDecoder::new(again().map_err(failed)?);
            inflated.read_exact(&mut block).is_ok() && is_header(&block)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let inflated = zstd::stream::read::Decoder::new(again().map_err(failed)?);
            inflated.is_ok_and(|mut inflated| inflated.read_exact(&mut block).is_ok()) && is_header(&block)
        }
        start => match Foreign::of(start) {
            Some(foreign) => {
                let mut unpacked = foreign.unpack(BufReader::new(again().map_err(failed)?));
                unpacked.read_exact(&mut block).is_ok() && is_header(&block)
            }
            None => start.try_into().is_ok_and(|start: [u8; 512]| is_header(&start)),
        },
    };
    if !is_archive {
        return Ok(false);
    }
    // First to a place of its own, then over what is there as a COPY would, links in the image being followed inside.
    let place = scratch.path().join(format!("archive-{number}"));
    crate::cache::make(&place)?;
    let directory = File::open(&place).map_err(failed)?;
    apply(again().map_err(failed)?, &directory, &Options { onto: Onto::Tree, ..Options::default() })?;
    let tree = Stack::plain(&place).map_err(|errno| failed(errno.into()))?;
    let manner = Manner { owner, chmod: None, parents: false, link: true };
    for picked in pick(&tree, "/", Filter::default())? {
        copy::copy(layer, &tree, &picked, Filter::default(), destination, true, manner)?;
    }
    Ok(true)
}

/// Whether a block is a header of tar: its sum is right (POSIX.1, pax, "ustar Interchange Format").
pub(crate) fn is_header(block: &[u8; 512]) -> bool {
    let field = block[148..156].iter().skip_while(|byte| **byte == b' ');
    let digits: Vec<u8> = field.copied().take_while(u8::is_ascii_digit).collect();
    let Ok(Ok(sum)) = std::str::from_utf8(&digits).map(|digits| u64::from_str_radix(digits, 8)) else {
        return false;
    };
    let outside = |at: usize| !(148..156).contains(&at);
    let sums = block.iter().enumerate().map(|(at, byte)| if outside(at) { u64::from(*byte) } else { 32 });
    sums.sum::<u64>() == sum
}

/// WORKDIR: the directory, unless it is there. Whose it is, USER says.
pub(crate) fn directory(work: &Work<'_>, path: &str) -> Result<(Option<(Layer, String)>, bool), Error> {
    let builder = work.builder;
    let lower = work.stack()?;
    let there = lower.resolve(path.as_bytes(), true).map_err(|errno| Failure::new(STEP, path, errno))?;
    match there.found {
        Found::Dir(_) => return Ok((None, false)),
        Found::File(_) => return Err(Error::new(format!("{path} is there and is no directory"))),
        Found::Nothing if there.components.is_empty() => return Ok((None, false)),
        Found::Nothing => {}
    }
    let user = &work.image.config.user;
    let owner = match user.as_str() {
        "" => Owner::default(),
        user => owner(&lower, user).map_err(Error::new)?,
    };
    let mut key = Key::new("directory");
    key.add("below", chain(&work.layers).bytes());
    key.add("path", path.as_bytes());
    key.add("owner", format!("{owner:?}").as_bytes());
    let (layer, created, cached) = builder.layer(key, || {
        let scratch = builder.shelf.scratch(Some(&lower))?;
        let mut layer = write::Layer::begin(&scratch.files(), &lower)?;
        layer.directory(&there.components, owner)?;
        layer.finish()?;
        Ok(builder.shelf.commit(scratch)?)
    })?;
    Ok((Some((layer, created)), cached))
}
