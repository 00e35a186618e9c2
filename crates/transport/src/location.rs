//! Where images are, as users write it: `oci:DIR:name`, `docker-archive:FILE:name`, `dir:DIR`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The form in which images lie somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `oci:`, a directory with an OCI image layout.
    OciLayout,
    /// `oci-archive:`, the same as a tar file.
    OciArchive,
    /// `docker-archive:`, what `docker save` writes.
    DockerArchive,
    /// `dir:`, one image as skopeo lays it down: its manifest, and blobs beside it.
    Directory,
}

impl Form {
    const ALL: [Self; 4] = [Self::OciLayout, Self::OciArchive, Self::DockerArchive, Self::Directory];

    /// As it stands before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::OciLayout => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
            Self::Directory => "dir",
        }
    }
}

/// Which of several images.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one of this name: a whole reference, or what an OCI layout calls it.
    Named(String),
    /// The one at this place of the list, from 0 on.
    At(usize),
}

/// Where images are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// In which form.
    pub form: Form,
    /// The file or directory.
    pub path: PathBuf,
    /// Which of them; none for all that are there.
    pub which: Option<Which>,
}

/// Why a text is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocation {
    /// No form that is known.
    #[error(
        "'{}' is no place of an image: it begins with oci:, oci-archive:, docker-archive: or dir:",
        oci::shown(text)
    )]
    Form {
        /// The text.
        text: String,
    },
    /// Nothing behind the colon.
    #[error("{form}: needs a path, as in {form}:PATH")]
    Path {
        /// The form.
        form: &'static str,
    },
    /// `@` and no number.
    #[error("'@{}' is no place in a list: @0 is the first image", oci::shown(place))]
    Place {
        /// What stands behind the `@`.
        place: String,
    },
}

impl FromStr for Location {
    type Err = InvalidLocation;

    /// A path ends at its first colon, as skopeo and Podman have it; in `dir:` it has no end.
    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let unknown = || InvalidLocation::Form { text: text.to_owned() };
        let (name, rest) = text.split_once(':').ok_or_else(unknown)?;
        let form = Form::ALL.into_iter().find(|form| form.name() == name).ok_or_else(unknown)?;
        let (path, which) = match rest.split_once(':') {
            Some((path, which)) if form != Form::Directory => (path, Some(which)),
            _ => (rest, None),
        };
        if path.is_empty() {
            return Err(InvalidLocation::Path { form: form.name() });
        }
        let which = match which.filter(|which| !which.is_empty()) {
            None => None,
            Some(which) => Some(match which.strip_prefix('@') {
                None => Which::Named(which.to_owned()),
                Some(place) => {
                    Which::At(place.parse().map_err(|_| InvalidLocation::Place { place: place.to_owned() })?)
                }
            }),
        };
        Ok(Self { form, path: PathBuf::from(path), which })
    }
}

impl Location {
    /// All images of a place.
    pub fn all(form: Form, path: impl Into<PathBuf>) -> Self {
        Self { form, path: path.into(), which: None }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.form.name(), self.path.display())?;
        match &self.which {
            None => Ok(()),
            Some(Which::Named(name)) => write!(f, ":{name}"),
            Some(Which::At(place)) => write!(f, ":@{place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_skopeo_reads() {
        for (text, form, path, which) in [
            ("oci:/a/b", Form::OciLayout, "/a/b", None),
            ("oci:b:latest", Form::OciLayout, "b", Some(Which::Named("latest".into()))),
            ("oci-archive:b.tar:x/y:1", Form::OciArchive, "b.tar", Some(Which::Named("x/y:1".into()))),
            ("docker-archive:b.tar:@2", Form::DockerArchive, "b.tar", Some(Which::At(2))),
            ("docker-archive:b.tar:", Form::DockerArchive, "b.tar", None),
            ("dir:a:b", Form::Directory, "a:b", None),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location, Location { form, path: path.into(), which }, "{text}");
            assert_eq!(location.to_string(), text.strip_suffix(':').unwrap_or(text));
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for (text, words) in [
            ("", "'' is no place of an image"),
            ("alpine", "'alpine' is no place of an image"),
            ("docker:alpine", "'docker:alpine' is no place of an image"),
            ("oci:", "oci: needs a path, as in oci:PATH"),
            ("oci::latest", "oci: needs a path"),
            ("docker-archive:a:@x", "'@x' is no place in a list: @0 is the first image"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }
}
