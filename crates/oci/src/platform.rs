//! Platforms, `linux/arm64/v8`: read and written as containerd does, and the choice from an index.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::{Descriptor, ImageIndex};

/// What an image runs on. Normalized: `linux/x86_64` is `linux/amd64`, `linux/arm` is `linux/arm/v7`, `linux/arm64/v8`
/// is `linux/arm64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is no platform: it has the form os/architecture or os/architecture/variant, as linux/arm64", text.escape_debug())]
pub struct InvalidPlatform {
    /// The text.
    pub text: String,
}

impl Platform {
    /// By its parts, in any of the spellings in use.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_ascii_lowercase);
        let (architecture, variant) = normalize(&architecture.to_ascii_lowercase(), variant.as_deref());
        Self { os, architecture, variant }
    }

    /// What this program was built for.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// `linux`.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// `amd64`, as Go spells it.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// `v7`. None where it is the common one.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// What runs here, the best first: an amd64 runs 386 too, an arm64 runs arm, a v7 runs v6 and v5.
    pub fn runs(&self) -> Vec<Self> {
        let mut list = vec![self.clone()];
        let like = |architecture: &str, variant: Option<String>| {
            Self::new(&self.os, architecture, variant.as_deref())
        };
        let below = |architecture: &str, from: u32, to: u32| -> Vec<Self> {
            (to..from).rev().map(|number| like(architecture, Some(format!("v{number}")))).collect()
        };
        match self.architecture.as_str() {
            "amd64" => {
                list.extend(below("amd64", self.number().unwrap_or(1), 1));
                list.push(like("386", None));
            }
            "arm" => list.extend(below("arm", self.number().unwrap_or(0), 5)),
            "arm64" => {
                // Arm's architecture reference: 9.0 includes 8.5, and each release the ones before it.
                if self.number().is_some_and(|number| number > 8) {
                    list.push(like("arm64", None));
                }
                list.push(like("arm", Some("v8".into())));
                list.extend(below("arm", 8, 5));
            }
            _ => {}
        }
        list
    }

    /// The 8 of `v8`, `v8.2`.
    fn number(&self) -> Option<u32> {
        self.variant.as_deref()?.strip_prefix('v')?.split('.').next()?.parse().ok()
    }
}

/// Go's spelling of an architecture, and its variant where it is not the common one.
fn normalize(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386" | "i686" | "x86", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant.filter(|variant| *variant != "v1")),
        ("aarch64" | "arm64", variant) => {
            ("arm64", variant.filter(|variant| !matches!(*variant, "8" | "v8")))
        }
        ("armhf", _) => ("arm", Some("v7")),
        ("armel", _) => ("arm", Some("v6")),
        ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        // As Rust calls them.
        ("powerpc64le" | "powerpc64", variant) => ("ppc64le", variant),
        ("loongarch64", variant) => ("loong64", variant),
        (other, variant) => (other, variant),
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

impl From<&oci_spec::image::Platform> for Platform {
    fn from(platform: &oci_spec::image::Platform) -> Self {
        Self::new(
            &platform.os().to_string(),
            &platform.architecture().to_string(),
            platform.variant().as_deref(),
        )
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(word) {
            return Err(InvalidPlatform { text: text.to_owned() });
        }
        match parts.as_slice() {
            // A single word is an architecture if it is known as one, else an operating system (containerd's rule).
            [word] if is_architecture(word) => Ok(Self::new(std::env::consts::OS, word, None)),
            [os] if is_os(os) => Ok(Self::new(os, std::env::consts::ARCH, None)),
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(InvalidPlatform { text: text.to_owned() }),
        }
    }
}

fn is_architecture(word: &str) -> bool {
    const KNOWN: [&str; 12] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64le",
        "riscv64", "s390x",
    ];
    KNOWN.contains(&normalize(&word.to_ascii_lowercase(), None).0.as_str())
}

fn is_os(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "linux" | "windows" | "darwin" | "macos" | "freebsd")
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// The index's manifest that suits this platform best, the first of several that are equally good. None if there is
/// none; what there is, [`ImageIndex::manifests`] tells.
///
/// A manifest without a platform is nobody's, unless it is the only one. Attestations (`unknown/unknown`) are none.
pub fn select<'index>(index: &'index ImageIndex, platform: &Platform) -> Option<&'index Descriptor> {
    let manifests = index.manifests();
    for wanted in platform.runs() {
        let suits = |descriptor: &&Descriptor| {
            descriptor.platform().as_ref().is_some_and(|platform| Platform::from(platform) == wanted)
        };
        if let Some(found) = manifests.iter().find(suits) {
            return Some(found);
        }
    }
    match manifests.as_slice() {
        [only] if only.platform().is_none() => Some(only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_meet_in_one() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("linux/riscv64", "linux/riscv64"),
            ("windows/amd64", "windows/amd64"),
            ("macos/arm64", "darwin/arm64"),
            ("arm64", "linux/arm64"),
            ("armhf", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal, "{text}");
        }
        assert_eq!("linux".parse::<Platform>().unwrap(), Platform::host());
        for text in ["", "/", "linux/", "a/b/c/d", "linux//v8", "toaster", "linux/am d64", "linux/\u{1b}"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_platform_runs_what_it_includes() {
        let runs = |text: &str| -> Vec<String> {
            text.parse::<Platform>().unwrap().runs().iter().map(ToString::to_string).collect()
        };
        assert_eq!(runs("linux/amd64"), ["linux/amd64", "linux/386"]);
        assert_eq!(runs("linux/amd64/v3"), ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]);
        assert_eq!(runs("linux/arm/v7"), ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]);
        assert_eq!(
            runs("linux/arm64"),
            ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]
        );
        assert_eq!(runs("linux/arm64/v9")[..2], ["linux/arm64/v9", "linux/arm64"]);
        assert_eq!(runs("linux/s390x"), ["linux/s390x"]);
    }

    fn index(platforms: &[Option<&str>]) -> ImageIndex {
        let manifests: Vec<String> = platforms
            .iter()
            .enumerate()
            .map(|(number, platform)| {
                let platform = platform.map_or(String::new(), |text| {
                    let parts: Vec<&str> = text.split('/').collect();
                    let variant = parts.get(2).map_or(String::new(), |v| format!(r#","variant":"{v}""#));
                    format!(r#","platform":{{"os":"{}","architecture":"{}"{variant}}}"#, parts[0], parts[1])
                });
                format!(
                    r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":{number},
                        "digest":"{}"{platform}}}"#,
                    crate::Digest::of(b"")
                )
            })
            .collect();
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, manifests.join(","));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_best_of_an_index_is_chosen() {
        let all = index(&[
            Some("unknown/unknown"),
            Some("linux/386"),
            Some("linux/arm/v5"),
            Some("linux/arm/v7"),
            Some("linux/amd64"),
            Some("linux/arm64/v8"),
            Some("linux/amd64/v3"),
            Some("windows/amd64"),
        ]);
        let chosen = |index: &ImageIndex, platform: &str| {
            select(index, &platform.parse().unwrap()).map(|descriptor| descriptor.size())
        };
        assert_eq!(chosen(&all, "linux/amd64"), Some(4));
        assert_eq!(chosen(&all, "linux/amd64/v2"), Some(4));
        assert_eq!(chosen(&all, "linux/amd64/v4"), Some(6));
        assert_eq!(chosen(&all, "linux/arm64"), Some(5));
        assert_eq!(chosen(&all, "linux/arm/v6"), Some(2));
        assert_eq!(chosen(&all, "linux/arm/v8"), Some(3));
        assert_eq!(chosen(&all, "windows/amd64"), Some(7));
        assert_eq!(chosen(&all, "linux/s390x"), None);
        assert_eq!(chosen(&index(&[Some("linux/386")]), "linux/amd64"), Some(0));
        assert_eq!(chosen(&index(&[None]), "linux/amd64"), Some(0));
        assert_eq!(chosen(&index(&[None, None]), "linux/amd64"), None);
        assert_eq!(chosen(&index(&[]), "linux/amd64"), None);
    }
}
