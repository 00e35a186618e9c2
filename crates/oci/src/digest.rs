//! Digests: what content is called everywhere here. Parsed by the OCI's rules, kept as bytes, so that comparing,
//! hashing and copying them costs next to nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// A registered algorithm (OCI image specification, descriptor.md, "Registered algorithms").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, what everybody uses.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// As it stands before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many bytes a digest has.
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// The digest of some content, `sha256:6c3c…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// The first [`Algorithm::size`] count, the others are 0.
    bytes: [u8; 64],
}

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigest {
    /// Nothing that looks like `algorithm:hex`.
    #[error("'{}' is no digest: it has the form sha256:<64 hexadecimal digits>", text.escape_debug())]
    Form {
        /// The text.
        text: String,
    },
    /// Neither sha256 nor sha512.
    #[error("digest algorithm '{}' is not supported: there are sha256 and sha512", name.escape_debug())]
    Algorithm {
        /// The algorithm asked for.
        name: String,
    },
    /// Too many digits, or too few.
    #[error("a {} digest has {} hexadecimal digits, not {digits}", algorithm.name(), algorithm.size() * 2)]
    Length {
        /// Whose length it should have.
        algorithm: Algorithm,
        /// How many there are.
        digits: usize,
    },
    /// A digit that is none, or in upper case.
    #[error("the hexadecimal digits of a digest are 0 to 9 and a to f, in lower case, not '{}'", digit.escape_debug())]
    Digit {
        /// The first such character.
        digit: char,
    },
}

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::with(Algorithm::Sha256, bytes)
    }

    /// The digest of `bytes` by any algorithm.
    pub fn with(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digest itself, 32 or 64 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.size()]
    }

    /// The digest of so many hexadecimal digits: their number tells the algorithm.
    ///
    /// # Errors
    /// As for the whole text.
    pub fn from_hex(hex: &str) -> Result<Self, InvalidDigest> {
        let algorithm = if hex.len() == 128 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        format!("{}:{hex}", algorithm.name()).parse()
    }

    /// What stands behind the colon.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(self.algorithm.size() * 2);
        for byte in self.bytes() {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        text
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let Some((name, hex)) = text.split_once(':') else {
            return Err(InvalidDigest::Form { text: text.to_owned() });
        };
        let Some(algorithm) = Algorithm::named(name) else {
            return Err(InvalidDigest::Algorithm { name: name.to_owned() });
        };
        if let Some(digit) = hex.chars().find(|c| u8::try_from(*c).ok().and_then(value).is_none()) {
            return Err(InvalidDigest::Digit { digit });
        }
        if hex.len() != algorithm.size() * 2 {
            return Err(InvalidDigest::Length { algorithm, digits: hex.len() });
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = value(pair[0]).unwrap_or(0) << 4 | value(pair[1]).unwrap_or(0);
        }
        Ok(Self { algorithm, bytes })
    }
}

impl TryFrom<&oci_spec::image::Digest> for Digest {
    type Error = InvalidDigest;

    fn try_from(digest: &oci_spec::image::Digest) -> Result<Self, InvalidDigest> {
        digest.as_ref().parse()
    }
}

impl From<Digest> for oci_spec::image::Digest {
    fn from(digest: Digest) -> Self {
        // Both are names by the same specification; ours knows fewer algorithms.
        #[expect(clippy::expect_used, reason = "every digest of ours is one of theirs")]
        Self::from_str(&digest.to_string()).expect("a digest of ours is one of theirs")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a digest piece by piece.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Default for Hasher {
    /// SHA-256.
    fn default() -> Self {
        Self::new(Algorithm::Sha256)
    }
}

impl Hasher {
    /// One that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds what follows.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 64];
        let algorithm = match self.0 {
            State::Sha256(state) => {
                bytes[..32].copy_from_slice(&state.finalize());
                Algorithm::Sha256
            }
            State::Sha512(state) => {
                bytes.copy_from_slice(&state.finalize());
                Algorithm::Sha512
            }
        };
        Digest { algorithm, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of nothing, by FIPS 180-4's example values.
    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    /// Of `abc`.
    const ABC: &str = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                       2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    #[test]
    fn reads_and_writes_the_same_text() {
        for text in [EMPTY, ABC] {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(format!("{}:{}", digest.algorithm().name(), digest.hex()), text);
            let json = serde_json::to_string(&digest).unwrap();
            assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
            let theirs = oci_spec::image::Digest::from(digest);
            assert_eq!(Digest::try_from(&theirs), Ok(digest));
        }
    }

    #[test]
    fn computes_the_standards_examples() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::with(Algorithm::Sha512, b"abc").to_string(), ABC);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish().to_string(), ABC);
    }

    #[test]
    fn refuses_what_is_no_digest() {
        let digits = "f".repeat(63);
        for (text, words) in [
            (String::new(), "'' is no digest: it has the form sha256:<64 hexadecimal digits>"),
            ("latest".into(), "'latest' is no digest: it has the form sha256:<64 hexadecimal digits>"),
            (format!("md5:{digits}"), "digest algorithm 'md5' is not supported: there are sha256 and sha512"),
            (
                format!("SHA256:{digits}f"),
                "digest algorithm 'SHA256' is not supported: there are sha256 and sha512",
            ),
            (format!("sha256:{digits}"), "a sha256 digest has 64 hexadecimal digits, not 63"),
            (format!("sha256:{digits}ff"), "a sha256 digest has 64 hexadecimal digits, not 65"),
            (format!("sha512:{digits}f"), "a sha512 digest has 128 hexadecimal digits, not 64"),
            (
                format!("sha256:{digits}F"),
                "the hexadecimal digits of a digest are 0 to 9 and a to f, in lower case, not 'F'",
            ),
            (
                format!("sha256:{}é", "f".repeat(62)),
                "the hexadecimal digits of a digest are 0 to 9 and a to f, in lower case, not 'é'",
            ),
        ] {
            assert_eq!(text.parse::<Digest>().unwrap_err().to_string(), words, "{text}");
        }
    }

    #[test]
    fn compares_by_algorithm_and_content() {
        let short = Digest::of(b"");
        let mut other = short;
        assert_eq!(short, other);
        other.bytes[31] ^= 1;
        assert_ne!(short, other);
        let long = Digest { algorithm: Algorithm::Sha512, bytes: short.bytes };
        assert_ne!(short, long);
    }
}
