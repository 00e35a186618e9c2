//! Repositories of git as contexts and sources of builds, by the host's `git`: a shallow fetch into a new directory,
//! without hooks, prompts and protocols that run programs.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use build::Repository;
use step::Failure;

const STEP: &str = "build.git";

/// What is there after [`fetch`].
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The directory that was asked for: all of it, or a directory in it.
    pub directory: PathBuf,
    /// The commit, in hex.
    pub commit: String,
}

/// Fetches a repository into `place`, which is made. Submodules come too. Without `keep` there is no `.git` in it.
///
/// # Errors
/// Step `build.git`: no git, no such repository or reference, a directory that it has not.
pub fn fetch(repository: &Repository, place: &Path, keep: bool) -> Result<Fetched, Failure> {
    let git = Git { repository, place };
    git.run(
        ["init", "--quiet", "--template=", "--"].map(OsStr::new).into_iter().chain([place.as_os_str()]),
        None,
    )?;
    git.at(&["remote", "add", "--", "origin", &repository.url])?;
    git.get()?;
    git.at(&["-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
    if place.join(".gitmodules").is_file() {
        git.at(&["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"])?;
    }
    let commit = git.at(&["rev-parse", "HEAD"])?.trim().to_owned();
    let failed = |path: &Path, cause| Failure::new(STEP, path.display().to_string(), cause);
    settle(place, keep).map_err(|(path, cause)| failed(&path, cause))?;
    let directory = match &repository.directory {
        None => place.to_owned(),
        Some(wanted) => build::within(place, wanted).ok_or_else(|| {
            Failure::because(
                STEP,
                repository.to_string(),
                format!("has no directory {}", step::quote(wanted)),
            )
        })?,
    };
    Ok(Fetched { directory, commit })
}

struct Git<'g> {
    repository: &'g Repository,
    place: &'g Path,
}

impl Git<'_> {
    /// Brings what is asked for as FETCH_HEAD.
    fn get(&self) -> Result<(), Failure> {
        let wanted = self.repository.reference.as_deref().unwrap_or("HEAD");
        let shallow = self.at(&["fetch", "--quiet", "--depth=1", "--no-tags", "origin", wanted]);
        let shallow = shallow.or_else(|failure| match failure.to_string().contains("shallow") {
            // A server that has files and no program gives whole histories alone.
            true => self.at(&["fetch", "--quiet", "--no-tags", "origin", wanted]),
            false => Err(failure),
        });
        let Err(failure) = shallow else { return Ok(()) };
        if !self.repository.names_commit() {
            return Err(failure);
        }
        // A server need not give a commit that no branch ends in, and knows no shortened ones.
        self.at(&["fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"])?;
        let commit = self.at(&["rev-parse", "--verify", "--end-of-options", &format!("{wanted}^{{commit}}")]);
        let commit = commit.map_err(|_| failure)?;
        std::fs::write(self.place.join(".git/FETCH_HEAD"), format!("{}\n", commit.trim()))
            .map_err(|cause| Failure::new(STEP, self.repository.to_string(), cause))
    }

    /// In the repository.
    fn at(&self, words: &[&str]) -> Result<String, Failure> {
        self.run(words.iter().map(OsStr::new), Some(self.place))
    }

    fn run<'w>(
        &self,
        words: impl IntoIterator<Item = &'w OsStr>,
        place: Option<&Path>,
    ) -> Result<String, Failure> {
        let mut command = Command::new("git");
        // Of a hook or an alias that called us, nothing counts.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"] {
            command.env_remove(name);
        }
        command
            // ext:: runs any program, file:// reads any file: also of what a submodule names.
            .env("GIT_ALLOW_PROTOCOL", "http:https:git:ssh")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .args([
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "core.fsmonitor=false",
                "-c",
                "protocol.version=2",
            ])
            .args(words)
            .stdin(Stdio::null());
        if let Some(place) = place {
            command.current_dir(place);
        }
        let target = self.repository.to_string();
        let output = command.output().map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => {
                Failure::because(STEP, target.as_str(), "needs the program git, which is not installed")
                    .hint("install git, or clone the repository elsewhere and build its directory")
            }
            _ => Failure::new(STEP, target.as_str(), cause),
        })?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(told(&target, &output)),
        }
    }
}

/// git's own words: the first line that says what is fatal, for the others follow from it.
fn told(target: &str, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let fatal = lines().find(|line| line.starts_with("fatal: ") || line.starts_with("error: "));
    let words = fatal.or_else(|| lines().next_back()).unwrap_or("git failed without a word");
    let failure = Failure::because(STEP, target, format!("cannot be fetched: git: {words}"));
    if said.contains("transport") && said.contains("not allowed") {
        return failure.hint("only http, https, ssh and git's own protocol are taken, for submodules too");
    }
    if said.contains("couldn't find remote ref") {
        return failure.hint("there is no such branch, tag or commit; write it as URL#REF:DIRECTORY");
    }
    if said.contains("could not read Username") || said.contains("Permission denied") {
        return failure.hint("it asks who you are: a credential helper of git or an ssh key can tell");
    }
    failure
}

/// Takes git's own directories away, and gives the others the permissions that git knows, whatever the umask is.
fn settle(place: &Path, keep: bool) -> Result<(), (PathBuf, std::io::Error)> {
    for entry in std::fs::read_dir(place).map_err(|cause| (place.to_owned(), cause))? {
        let entry = entry.map_err(|cause| (place.to_owned(), cause))?;
        let path = entry.path();
        let with = |cause| (path.clone(), cause);
        let metadata = std::fs::symlink_metadata(&path).map_err(with)?;
        // A repository's own files are never called so.
        if entry.file_name() == ".git" {
            if !keep {
                let removed = match metadata.is_dir() {
                    true => std::fs::remove_dir_all(&path),
                    false => std::fs::remove_file(&path),
                };
                removed.map_err(with)?;
            }
            continue;
        }
        let mode = match metadata.permissions().mode() {
            _ if metadata.is_dir() => 0o755,
            mode if metadata.is_file() => 0o644 | mode & 0o100 | (mode & 0o100) >> 3 | (mode & 0o100) >> 6,
            _ => continue,
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(with)?;
        if metadata.is_dir() {
            settle(&path, keep)?;
        }
    }
    Ok(())
}
