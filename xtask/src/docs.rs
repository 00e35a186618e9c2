//! `cargo xtask docs`: the documents name only what exists: links, files, commands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{COMMANDS, repository};

/// Documents that must be there.
const REQUIRED: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// The top of a path that a document may name in backticks, so that `a/b` in prose is no path.
const TOPS: [&str; 8] = [".ci/", "bench/", "crates/", "docs/", "fuzz/", "tests/", "xtask/", ".cargo/"];

/// Checks every markdown file of the repository and tells all that is wrong at once.
pub(crate) fn docs() -> Result<()> {
    let top = repository()?;
    let mut problems = Vec::new();
    for name in REQUIRED {
        if !top.join(name).is_file() {
            problems.push(format!("{name} is missing"));
        }
    }
    let files = markdown(&top)?;
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(&top).unwrap_or(file).display().to_string();
        problems.extend(check(&top, file, &text).into_iter().map(|problem| format!("{name}: {problem}")));
    }
    eprintln!("{} documents", files.len());
    if !problems.is_empty() {
        bail!("the documents name what does not exist:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

/// Every .md file that is not built or hidden.
fn markdown(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            found.extend(markdown(&path)?);
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn check(top: &Path, file: &Path, text: &str) -> Vec<String> {
    let here = file.parent().unwrap_or(top);
    let mut problems = Vec::new();
    let mut in_code = false;
    for (number, line) in text.lines().enumerate() {
        let mut tell = |problem: String| problems.push(format!("line {}: {problem}", number + 1));
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if in_code || line.starts_with("    ") {
            unknown_commands(top, line).into_iter().for_each(&mut tell);
        } else {
            for link in links(line).into_iter().filter(|link| !link_exists(top, here, link)) {
                tell(format!("the link {link} leads nowhere"));
            }
            for path in named_paths(line).into_iter().filter(|path| !path_exists(top, path)) {
                tell(format!("{path} does not exist"));
            }
            for code in backticked(line) {
                unknown_commands(top, code).into_iter().for_each(&mut tell);
            }
        }
    }
    problems
}

/// The targets of `[text](target)` that lie in the repository, without their anchors.
fn links(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    local.filter_map(|target| target.split('#').next()).filter(|target| !target.is_empty()).collect()
}

fn link_exists(top: &Path, here: &Path, link: &str) -> bool {
    match link.strip_prefix('/') {
        Some(absolute) => top.join(absolute).exists(),
        None => here.join(link).exists(),
    }
}

fn backticked(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Paths from the top in backticks. A pattern or a place holder (`<id>`, `*`, `{a,b}`) is none.
fn named_paths(line: &str) -> Vec<&str> {
    let plain = |word: &&str| !word.contains(|c: char| "<>*{}$ …".contains(c));
    backticked(line).filter(|word| TOPS.iter().any(|top| word.starts_with(top))).filter(plain).collect()
}

/// `crates/sys/src/lib.rs`, `crates/sys/src/lib.rs::name`, `crates/sys/src/lib.rs:12`.
fn path_exists(top: &Path, path: &str) -> bool {
    top.join(path.split(':').next().unwrap_or(path)).exists()
}

/// Commands of ours that a line of code calls and that do not exist.
fn unknown_commands(top: &Path, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut unknown = Vec::new();
    for pair in words.windows(3) {
        if let ["cargo", "xtask", command] = pair
            && is_name(command)
            && !COMMANDS.contains(command)
        {
            unknown.push(format!("cargo xtask has no command {command}"));
        }
    }
    let first = words.iter().position(|word| !matches!(*word, "$" | "#" | "sudo" | "+")).unwrap_or(0);
    if let Some(["minidocker", command]) = words.get(first..first + 2)
        && is_name(command)
        && !top.join(format!("crates/minidocker/src/{command}/mod.rs")).exists()
    {
        let known = own_commands(&top.join("crates/minidocker/src/commands"));
        let group = known.iter().any(|name| name.split(' ').next() == Some(command) && name.contains(' '));
        let second = words.get(first + 2).filter(|word| group && is_name(word));
        let full = second.map_or_else(|| (*command).to_owned(), |second| format!("{command} {second}"));
        if !(known.contains(&full) || group && second.is_none()) {
            unknown.push(format!("minidocker has no command {full}"));
        }
    }
    unknown
}

/// The names in the tables of commands: `name: "image prune"`, `long_names: &["image ls", "image list"]`.
fn own_commands(directory: &Path) -> Vec<String> {
    let mut names = vec!["help".to_owned()];
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            names.extend(own_commands(&path));
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let tables = text
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("name: \"") || line.starts_with("long_names: &["));
        names.extend(tables.flat_map(|line| line.split('"').skip(1).step_by(2).map(str::to_owned)));
    }
    names
}

/// A command's name, not an option or a place holder.
fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_links_and_paths() {
        let line =
            "See [a](docs/a.md#top), [b](https://example.org/x), [c](#here) and `crates/sys/src/lib.rs`.";
        assert_eq!(links(line), ["docs/a.md"]);
        assert_eq!(named_paths(line), ["crates/sys/src/lib.rs"]);
        assert!(named_paths("`crates/<name>/src` and `etc/passwd` and `tests/*`").is_empty());
    }

    #[test]
    fn tells_what_does_not_exist() {
        let top = repository().unwrap();
        let file = top.join("X.md");
        let text = "[x](no/such.md) [ok](xtask/Cargo.toml)\n`xtask/src/main.rs:3` `xtask/none.rs`\n\
                    ```sh\ncargo xtask fly\nsudo minidocker fly -it\ncargo xtask ci && cargo xtask vm -- true\n```\n";
        let problems = check(&top, &file, text);
        assert_eq!(
            problems,
            [
                "line 1: the link no/such.md leads nowhere",
                "line 2: xtask/none.rs does not exist",
                "line 4: cargo xtask has no command fly",
                "line 5: minidocker has no command fly",
            ]
        );
    }
}
