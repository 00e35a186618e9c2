//! What a source of COPY names: a path, or a pattern and all that matches.

use step::Failure;

use super::stack::{Found, Resolved, Stack};
use super::walk::{Filter, join};
use super::{failed, refused};
use crate::pattern::{Pattern, is_pattern};

/// Something that a source names.
#[derive(Debug, Clone)]
pub(crate) struct Picked {
    /// What it is; a link was followed.
    pub(crate) found: Found,
    /// The last name of its path as it was written.
    pub(crate) name: Vec<u8>,
    /// Its path without links, from the root of its tree.
    pub(crate) path: Vec<u8>,
    /// Its path as it was written: what `--parents` makes anew.
    pub(crate) written: Vec<u8>,
}

/// All that `source` names, in order. A path that is not there, or left out, is an error; a pattern may match nothing.
pub(crate) fn pick(stack: &Stack, source: &str, filter: Filter<'_>) -> Result<Vec<Picked>, Failure> {
    // `/./` is where --parents begins.
    let (before, after) = source.split_once("/./").unwrap_or(("", source));
    let kept = before.split('/').filter(|name| !name.is_empty()).count();
    let whole = if before.is_empty() { after.to_owned() } else { format!("{before}/{after}") };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            // No source leads out of its tree: there the root's `..` is the root.
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let mut all = Vec::new();
    expand(stack, &names, 0, Vec::new(), filter, &mut all)?;
    for picked in &mut all {
        let written = picked.written.split(|byte| *byte == b'/').skip(kept);
        picked.written = written.collect::<Vec<_>>().join(&b'/');
    }
    Ok(all)
}

fn expand(
    stack: &Stack,
    names: &[&str],
    at: usize,
    so_far: Vec<u8>,
    filter: Filter<'_>,
    all: &mut Vec<Picked>,
) -> Result<(), Failure> {
    let next = (at..names.len()).find(|index| is_pattern(names[*index]));
    let end = next.unwrap_or(names.len());
    let path = names[at..end].iter().fold(so_far, |path, name| join(&path, name.as_bytes()));
    let within_pattern = at > 0;
    let resolved = stack.resolve(&path, true);
    let Some(index) = next else {
        return match resolved {
            Err(rustix::io::Errno::NOTDIR) if within_pattern => Ok(()),
            Ok(Resolved { found: Found::Nothing, .. }) if within_pattern => Ok(()),
            Ok(Resolved { found: Found::Nothing, .. }) | Err(rustix::io::Errno::NOTDIR) => {
                Err(refused(&path, "there is no such file"))
            }
            Err(errno) => Err(failed(&path, errno)),
            Ok(resolved) => add(resolved, path, filter, within_pattern, all),
        };
    };
    let Ok(Resolved { found: Found::Dir(directory), components }) = resolved else { return Ok(()) };
    let pattern = Pattern::go(names[index]).map_err(|words| refused(&path, words))?;
    for name in stack.list(&directory).map_err(|errno| failed(&path, errno))? {
        if !pattern.matches(&String::from_utf8_lossy(&name)) {
            continue;
        }
        let below = join(&path, &name);
        if index + 1 < names.len() {
            expand(stack, names, index + 1, below, filter, all)?;
            continue;
        }
        match stack.resolve(&below, true) {
            Ok(resolved) if !matches!(resolved.found, Found::Nothing) => {
                add(resolved, below, filter, true, all)?
            }
            // A link that leads nowhere is copied as what it is.
            _ => {
                if let Found::File(entry) =
                    stack.lookup(&directory, &name).map_err(|errno| failed(&below, errno))?
                {
                    let components = components.iter().cloned().chain([name]).collect();
                    add(Resolved { components, found: Found::File(entry) }, below, filter, true, all)?;
                }
            }
        }
    }
    Ok(())
}

fn add(
    resolved: Resolved,
    written: Vec<u8>,
    filter: Filter<'_>,
    by_pattern: bool,
    all: &mut Vec<Picked>,
) -> Result<(), Failure> {
    let path = resolved.components.join(&b'/');
    let name = written.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    let is_directory = matches!(resolved.found, Found::Dir(_));
    let excluded =
        [&path, &written].iter().any(|path| filter.excludes(path, if is_directory { b"" } else { &name }));
    // Of a directory that is left out something may stay.
    if excluded && !is_directory {
        return match by_pattern {
            true => Ok(()),
            false => Err(refused(&written, "there is no such file: it is left out")
                .hint("a pattern of .dockerignore or --exclude leaves it out: add an exception, `!`")),
        };
    }
    all.push(Picked { found: resolved.found, name, path, written });
    Ok(())
}
