//! Volumes: `-v data:/data:nocopy`, `--mount src=data,…`, `--volumes-from web:ro`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use engine::ops::volumes;
use engine::request::{Mount, VolumeMount, VolumesFrom};

use super::mounts::{PLAIN, PROPAGATIONS, cleaned};

/// What the options of a volume say.
#[derive(Debug, Default)]
pub(super) struct Volume {
    pub(super) read_only: bool,
    recursive_read_only: bool,
    writable: bool,
    pub(super) no_copy: bool,
    pub(super) subpath: Option<PathBuf>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) driver_options: BTreeMap<String, String>,
    options: Vec<String>,
}

impl Volume {
    pub(super) fn option(&mut self, option: &str) -> Result<(), String> {
        match option {
            "ro" | "readonly" => self.read_only = true,
            "rro" => (self.read_only, self.recursive_read_only) = (true, true),
            "rw" => self.writable = true,
            "nocopy" => self.no_copy = true,
            option if PLAIN.contains(&option) => self.options.push(option.to_owned()),
            "" => return Err("an empty option; write it as data:/data:ro".to_owned()),
            option if PROPAGATIONS.contains(&option) => {
                return Err(format!("{option} belongs to directories of the host, this is a volume"));
            }
            "idmap" => {
                return Err(
                    "idmap belongs to directories of the host: a volume's files have the container's owners \
                            already"
                        .to_owned(),
                );
            }
            option => {
                return Err(format!(
                    "unknown option {}; write it as ro, nocopy or nosuid",
                    step::quote(option)
                ));
            }
        }
        Ok(())
    }

    /// An empty name is none.
    pub(super) fn mount(self, name: &str, target: PathBuf) -> Result<Mount, String> {
        if self.writable && self.read_only {
            return Err("both read-only and rw".to_owned());
        }
        if !name.is_empty() {
            volumes::check_name(name).map_err(why)?;
        }
        volumes::check_options(&self.driver_options).map_err(why)?;
        if self.subpath.is_some() && name.is_empty() {
            return Err("a volume without a name is new and has no subpath; name it with src=".to_owned());
        }
        Ok(Mount::Volume(VolumeMount {
            name: name.to_owned(),
            anonymous: false,
            target,
            read_only: self.read_only,
            recursive_read_only: self.recursive_read_only,
            propagation: None,
            no_copy: self.no_copy,
            subpath: self.subpath,
            labels: self.labels,
            driver_options: self.driver_options,
            options: self.options,
        }))
    }
}

/// The engine's words in one line.
fn why(error: engine::Error) -> String {
    match error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message,
    }
}

/// A directory of a volume: relative, and in it.
pub(super) fn subpath(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let within = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_absolute() || !within {
        return Err(format!(
            "the subpath {} is not within the volume; write it as data/sub",
            step::quote(text)
        ));
    }
    Ok(cleaned(path))
}

pub(super) fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// `--volumes-from CONTAINER[:ro]`.
pub(crate) fn volumes_from(text: &str) -> Result<VolumesFrom, String> {
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    if container.is_empty() {
        return Err("no container; write it as web:ro".to_owned());
    }
    let mut from = VolumesFrom { container: container.to_owned(), read_only: false };
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => from.read_only = true,
            "rw" | "z" | "Z" => {}
            other => return Err(format!("unknown option {}; write it as web:ro", step::quote(other))),
        }
    }
    Ok(from)
}

/// `--volume-driver`.
pub(crate) fn driver(text: &str) -> Result<(), String> {
    match text {
        "" | "local" => Ok(()),
        _ => Err("no such driver, local is there".to_owned()),
    }
}
