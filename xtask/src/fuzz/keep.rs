//! `cargo xtask fuzz --keep`: of all inputs that are kept or were found, those few that reach most of the code become
//! the kept ones. Inputs with a name that somebody gave them stay as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Target, is_found_name};
use crate::process;

/// Kept inputs of a target, and their bytes together: the repository carries them for ever.
const MOST: usize = 40;
const MOST_BYTES: u64 = 28_000;

/// Chooses the inputs of a target anew.
pub(super) fn keep(target: &Target) -> Result<()> {
    target.make_places()?;
    let reached = reached(target)?;
    let chosen = chosen(&reached);
    let mut names = BTreeSet::new();
    for input in &chosen {
        let name = input.path.file_name().context("an input without a name")?;
        let to = target.kept.join(name);
        if input.path != to {
            fs::copy(&input.path, &to).with_context(|| format!("copy {}", input.path.display()))?;
        }
        names.insert(name.to_owned());
    }
    for path in files(&target.kept)? {
        let stays = path.file_name().is_some_and(|name| names.contains(name) || !is_found_name(name));
        if !stays {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    let places: BTreeSet<u64> = chosen.iter().flat_map(|input| input.places.iter().copied()).collect();
    let of: BTreeSet<u64> = reached.iter().flat_map(|input| input.places.iter().copied()).collect();
    eprintln!(
        "{:<16} {} of {} inputs, {} of {} places reached",
        target.name,
        chosen.len(),
        reached.len(),
        places.len(),
        of.len()
    );
    Ok(())
}

/// An input, and the places in the code that it reaches.
struct Input {
    path: PathBuf,
    size: u64,
    places: BTreeSet<u64>,
    /// It is kept whatever it reaches.
    named: bool,
}

/// What every input reaches, asked of the target.
fn reached(target: &Target) -> Result<Vec<Input>> {
    let own = process::Temporary::new(&format!("fuzz-keep-{}", target.name))?;
    let (merged, control) = (own.path().join("merged"), own.path().join("control"));
    fs::create_dir(&merged).with_context(|| format!("make {}", merged.display()))?;
    let mut command = Command::new(&target.program);
    // Without counters a place counts once, however often it is reached.
    command.args(["-merge=1", "-set_cover_merge=1", "-use_counters=0"]);
    command.arg(format!("-merge_control_file={}", control.display()));
    let succeeded = target.logged(command.arg(&merged).arg(&target.kept).arg(&target.found))?;
    if !succeeded {
        bail!("{}: an input makes it fail, see {}", target.name, target.log.display());
    }
    let text = fs::read_to_string(&control).with_context(|| format!("read {}", control.display()))?;
    let mut inputs = Vec::new();
    for (path, places) in places(&text).context("the list of inputs is not as libFuzzer writes it")? {
        let size = fs::metadata(&path).with_context(|| format!("look at {}", path.display()))?.len();
        let named =
            path.parent() == Some(&target.kept) && path.file_name().is_some_and(|n| !is_found_name(n));
        inputs.push(Input { path, size, places, named });
    }
    Ok(inputs)
}

/// Reads libFuzzer's control file (FuzzerMerge.h): how many files, how many of them are of the first folder, their
/// names, then lines of `FT number place …` among others.
fn places(text: &str) -> Option<Vec<(PathBuf, BTreeSet<u64>)>> {
    let mut lines = text.lines();
    let count: usize = lines.next()?.parse().ok()?;
    lines.next()?;
    let mut all: Vec<(PathBuf, BTreeSet<u64>)> =
        lines.by_ref().take(count).map(|line| (line.into(), BTreeSet::new())).collect();
    for line in lines {
        let mut words = line.split(' ');
        if words.next() == Some("FT") {
            let number: usize = words.next()?.parse().ok()?;
            all.get_mut(number)?.1.extend(words.filter_map(|word| word.parse::<u64>().ok()));
        }
    }
    Some(all)
}

/// The inputs with names, and then again and again the one that adds the most places for its size.
fn chosen(inputs: &[Input]) -> Vec<&Input> {
    let (mut chosen, mut rest): (Vec<&Input>, Vec<&Input>) = inputs.iter().partition(|input| input.named);
    let mut places: BTreeSet<u64> = chosen.iter().flat_map(|input| input.places.iter().copied()).collect();
    let mut bytes: u64 = chosen.iter().map(|input| input.size).sum();
    while chosen.len() < MOST {
        let worth = |input: &&Input| {
            let new = input.places.difference(&places).count() as u64;
            let fits = bytes + input.size <= MOST_BYTES;
            // An input has a price of its own too: it is a file that somebody may have to read.
            (if fits { new * 1_000_000 / (200 + input.size) } else { 0 }, std::cmp::Reverse(input.size))
        };
        let Some(at) = (0..rest.len()).max_by_key(|at| worth(&rest[*at])) else { break };
        if worth(&rest[at]).0 == 0 {
            break;
        }
        let best = rest.swap_remove(at);
        places.extend(&best.places);
        bytes += best.size;
        chosen.push(best);
    }
    chosen
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "3\n0\n/a/one\n/a/two\n/b/three\nSTARTED 0 5\nFT 0 1 2 3\nCOV 0 7\nSTARTED 1 900\n\
                           FT 1 1 2 3 4\nCOV 1\nSTARTED 2 5\nFT 2 5\nCOV 2\n";

    #[test]
    fn reads_libfuzzers_list() {
        let all = places(CONTROL).unwrap();
        assert_eq!(all[1], ("/a/two".into(), BTreeSet::from([1, 2, 3, 4])));
        assert_eq!(all[2], ("/b/three".into(), BTreeSet::from([5])));
        assert!(places("x").is_none() && places("1\n0\n/a\nFT 1 5\n").is_none());
    }

    fn input(path: &str, size: u64, places: &[u64], named: bool) -> Input {
        Input { path: path.into(), size, places: places.iter().copied().collect(), named }
    }

    #[test]
    fn chooses_few_small_inputs_that_reach_all() {
        let inputs = [
            input("a", 10, &[1, 2, 3], false),
            input("b", 5000, &[1, 2, 3, 4], false),
            input("c", 20, &[3, 4, 5], false),
            input("d", 1, &[1], false),
            input("named", 9, &[], true),
            input("too long", MOST_BYTES, &[9], false),
        ];
        let chosen: Vec<&str> = chosen(&inputs).iter().map(|input| input.path.to_str().unwrap()).collect();
        assert_eq!(chosen, ["named", "a", "c"]);
    }
}
