//! What a user names as a root file system, looked at before anything is made: the common mistakes in words, with
//! the way out.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use step::Failure;

use crate::Places;
use crate::mask::Owner;

const STEP: &str = "storage.source";

/// A container's id becomes the name of a directory.
pub(crate) fn check_id(id: &str) -> Result<(), Failure> {
    if id.is_empty() || id.starts_with('.') || id.contains(['/', '\0']) {
        return Err(Failure::because(STEP, format!("container {id:?}"), "is no container id"));
    }
    Ok(())
}

/// `path` without links, if it can be a root file system.
pub(crate) fn check_directory(places: &Places, path: &Path) -> Result<PathBuf, Failure> {
    let name = path.display().to_string();
    if !path.is_absolute() {
        return Err(Failure::because(STEP, name, "is not an absolute path").hint("write it from / on"));
    }
    let real = path.canonicalize().map_err(|cause| not_there(path, cause))?;
    let mut entries = match std::fs::read_dir(&real) {
        Err(cause) if cause.kind() == io::ErrorKind::NotADirectory => {
            return Err(Failure::because(STEP, &name, "is a file, not a directory").hint(format!(
                "if it is an archive, unpack it: mkdir DIR && tar -xf {name} -C DIR, and use DIR"
            )));
        }
        result => result.map_err(|cause| Failure::new(STEP, &name, cause))?,
    };
    if real == Path::new("/") {
        return Err(Failure::because(
            STEP,
            name,
            "is the host's own root: the container could change all of it",
        )
        .hint("use the image `host`: it shows the host's programs and leaves the host alone"));
    }
    if entries.next().is_none() {
        return Err(Failure::because(STEP, name, "is empty: there is no program in it that could run").hint(
            "fill it first, for example by `docker export CONTAINER | tar -x -C DIR` or `debootstrap`",
        ));
    }
    for state in [&places.root, &places.run_root] {
        let state = state.canonicalize().unwrap_or_else(|_| state.clone());
        if state.starts_with(&real) {
            let reason = format!("contains minidocker's own state ({})", state.display());
            return Err(Failure::because(STEP, name, reason).hint("use a directory of its own"));
        }
        if real.starts_with(&state) {
            let reason = format!("is part of minidocker's own state ({})", state.display());
            return Err(Failure::because(STEP, name, reason).hint("copy it to a directory of its own"));
        }
    }
    Ok(real)
}

/// Layers that an overlay can be made of, the uppermost first: of one that is there twice the upper place counts. What
/// the lower one brings is in the upper one too, and what it hides is hidden there as well; overlayfs refuses a
/// directory that it is given twice.
pub(crate) fn check_layers(layers: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all: Vec<PathBuf> = Vec::with_capacity(layers.len());
    for path in layers.iter().rev() {
        let name = || path.display().to_string();
        let real = path.canonicalize().map_err(|cause| {
            let missing = cause.kind() == io::ErrorKind::NotFound;
            let failure = Failure::new(STEP, name(), cause);
            if missing { failure.hint("the image's layer is gone: pull the image again") } else { failure }
        })?;
        if !real.is_dir() {
            return Err(Failure::because(STEP, name(), "is a layer, but no directory"));
        }
        if !all.contains(&real) {
            all.push(real);
        }
    }
    // OVL_MAX_STACK, fs/overlayfs/params.h.
    if all.len() > 500 {
        return Err(Failure::because(
            STEP,
            "the image",
            format!("has {} layers, overlayfs takes 500", all.len()),
        )
        .hint("build it with fewer layers"));
    }
    Ok(all)
}

fn not_there(path: &Path, cause: io::Error) -> Failure {
    let missing = cause.kind() == io::ErrorKind::NotFound;
    let failure = Failure::new(STEP, path.display().to_string(), cause);
    if !missing {
        return failure;
    }
    // The longest part that is there tells a typing error at a glance.
    match path.ancestors().skip(1).find(|above| above.exists()) {
        Some(above) => failure.hint(format!("{} is there: is the name spelt right?", above.display())),
        None => failure,
    }
}

/// Owner and permissions of a directory.
pub(crate) fn owner(path: &Path) -> Result<Owner, Failure> {
    let stat =
        std::fs::metadata(path).map_err(|cause| Failure::new(STEP, path.display().to_string(), cause))?;
    Ok(Owner { mode: stat.mode() & 0o7777, uid: stat.uid(), gid: stat.gid() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Scratch;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_container_id_is_one_plain_name() {
        assert!(check_id("3f2a").is_ok() && check_id("web-1_a.b").is_ok());
        for id in ["", ".", "..", ".x", "a/b", "/", "a\0b"] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn tells_what_is_wrong_with_a_directory() {
        let scratch = Scratch::new("source");
        let places = scratch.places();
        std::fs::create_dir_all(&places.root).unwrap();
        let at = |name: &str| scratch.path.join(name);
        std::fs::write(at("image.tar"), "x").unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        std::fs::create_dir_all(at("good/bin")).unwrap();
        symlink("good", at("link")).unwrap();
        symlink("/", at("slash")).unwrap();
        std::fs::create_dir_all(places.root.join("containers/x/upper")).unwrap();

        let refused = |path: &Path| {
            let failure = check_directory(&places, path).unwrap_err();
            assert!(failure.hint.is_some(), "{failure}");
            failure.to_string()
        };
        assert!(refused(Path::new("good")).ends_with("is not an absolute path"));
        assert!(refused(&at("missing/below")).ends_with("no such file or directory"));
        assert!(refused(&at("image.tar")).ends_with("is a file, not a directory"));
        assert!(refused(&at("empty")).contains("is empty"));
        assert!(refused(Path::new("/")).contains("host's own root"));
        assert!(refused(&at("slash")).contains("host's own root"));
        assert!(refused(&scratch.path).contains("contains minidocker's own state"));
        assert!(refused(&places.root.join("containers/x")).contains("is part of minidocker's own state"));
        assert_eq!(check_directory(&places, &at("link")).unwrap(), at("good").canonicalize().unwrap());
        assert_eq!(
            check_directory(&places, &at("good/../good")).unwrap(),
            at("good").canonicalize().unwrap()
        );
    }
}
