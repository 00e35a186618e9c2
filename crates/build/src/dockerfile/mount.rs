//! `RUN --mount=type=…`.

use super::Word;
use super::place::{Span, Wrong};

/// A mount of one RUN. Words may have variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where; relative to the working directory. Empty only where the kind has a place of its own.
    pub target: String,
    /// The whole flag.
    pub span: Span,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// `bind`: a directory or file of the context, a stage or an image.
    Bind {
        /// A stage or an image; none is the context.
        from: Option<String>,
        /// A path in it.
        source: String,
        /// May be written; what is written is thrown away.
        writable: bool,
    },
    /// `cache`: a directory that later builds see again.
    Cache {
        /// Which; the target where none is said.
        id: Option<String>,
        /// What it has at first.
        from: Option<String>,
        /// A path in that.
        source: String,
        /// Who else may have it.
        sharing: Sharing,
        /// Writes stay out of it.
        read_only: bool,
        /// Of a new one.
        mode: u32,
        /// Of a new one.
        uid: u32,
        /// Of a new one.
        gid: u32,
    },
    /// `tmpfs`.
    Tmpfs {
        /// In bytes; none is the kernel's own limit.
        size: Option<u64>,
    },
    /// `secret`: a file, or a variable, that no layer keeps.
    Secret {
        /// Which.
        id: String,
        /// Its absence is an error.
        required: bool,
        /// As a variable of this name.
        env: Option<String>,
        /// Of the file.
        mode: u32,
        /// Of the file.
        uid: u32,
        /// Of the file.
        gid: u32,
    },
    /// `ssh`: the socket of an agent.
    Ssh {
        /// Which.
        id: String,
        /// Its absence is an error.
        required: bool,
    },
}

/// Who may use a cache mount at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// Everybody has one of his own.
    Private,
    /// One after the other.
    Locked,
}

const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

/// The keys of a kind; other spellings stand in [`canonical`].
fn keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "bind" => &["type", "target", "source", "from", "readwrite", "readonly"],
        "cache" => &[
            "type",
            "target",
            "id",
            "source",
            "from",
            "sharing",
            "readonly",
            "readwrite",
            "mode",
            "uid",
            "gid",
        ],
        "tmpfs" => &["type", "target", "size"],
        "secret" => &["type", "target", "id", "required", "env", "mode", "uid", "gid", "source"],
        _ => &["type", "target", "id", "required", "mode", "uid", "gid"],
    }
}

fn canonical(key: &str) -> &str {
    match key {
        "dst" | "destination" => "target",
        "src" => "source",
        "rw" => "readwrite",
        "ro" => "readonly",
        key => key,
    }
}

/// Reads the value of a flag.
pub(super) fn mount(word: &Word) -> Result<Mount, Wrong> {
    let span = word.span;
    let wrong = |words: String| Wrong::new(span, words);
    let mut fields: Vec<(String, String)> = Vec::new();
    for part in word.text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        let key = key.trim().to_ascii_lowercase();
        fields.push((canonical(&key).to_owned(), value.to_owned()));
    }
    let get = |key: &str| fields.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let kind = get("type").unwrap_or_else(|| "bind".to_owned());
    if !KINDS.contains(&kind.as_str()) {
        let wrong = wrong(format!("--mount has no type {kind}"));
        return Err(match step::nearest(&kind, KINDS) {
            Some(near) => wrong.hint(format!("did you mean {near}?")),
            None => wrong.hint(format!("it has {}", KINDS.join(", "))),
        });
    }
    if let Some((key, _)) = fields.iter().find(|(key, _)| !keys(&kind).contains(&key.as_str())) {
        let wrong = wrong(format!("a mount of type {kind} has no key {key}"));
        return Err(match step::nearest(key, keys(&kind).iter().copied()) {
            Some(near) => wrong.hint(format!("did you mean {near}?")),
            None => wrong.hint(format!("it has {}", keys(&kind)[1..].join(", "))),
        });
    }
    let switch = |key: &str| match get(key).as_deref() {
        None => Ok(None),
        Some("true" | "1" | "") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(other) => Err(wrong(format!("{key} is true or false, not {other}"))),
    };
    let number = |key: &str, radix: u32, default: u32| match get(key) {
        None => Ok(default),
        Some(text) => u32::from_str_radix(&text, radix).map_err(|_| {
            let words = if radix == 8 { "an octal number, as 0755" } else { "a number" };
            wrong(format!("{key} is {words}, not {text}"))
        }),
    };
    let target = get("target").unwrap_or_default();
    let needs_target = matches!(kind.as_str(), "bind" | "cache" | "tmpfs");
    if needs_target && target.is_empty() {
        return Err(wrong(format!("a mount of type {kind} needs a target")).hint("target=/path"));
    }
    let kind = match kind.as_str() {
        "bind" => MountKind::Bind {
            from: get("from"),
            source: get("source").unwrap_or_default(),
            writable: switch("readwrite")?.or(switch("readonly")?.map(|read_only| !read_only)) == Some(true),
        },
        "cache" => MountKind::Cache {
            id: get("id"),
            from: get("from"),
            source: get("source").unwrap_or_default(),
            sharing: match get("sharing").as_deref() {
                None | Some("shared") => Sharing::Shared,
                Some("private") => Sharing::Private,
                Some("locked") => Sharing::Locked,
                Some(other) => {
                    return Err(wrong(format!("sharing is shared, private or locked, not {other}")));
                }
            },
            read_only: switch("readonly")?.or(switch("readwrite")?.map(|writable| !writable)) == Some(true),
            mode: number("mode", 8, 0o755)?,
            uid: number("uid", 10, 0)?,
            gid: number("gid", 10, 0)?,
        },
        "tmpfs" => MountKind::Tmpfs {
            size: get("size")
                .map(|text| size(&text).ok_or_else(|| wrong(format!("{text} is no size"))))
                .transpose()?,
        },
        "secret" => {
            let env = get("env");
            let id = get("id").filter(|id| !id.is_empty()).or_else(|| {
                let of = if target.is_empty() { env.clone()? } else { target.clone() };
                of.rsplit('/').next().map(str::to_owned)
            });
            let id = id.ok_or_else(|| wrong("a secret needs an id".to_owned()).hint("id=name"))?;
            let required = switch("required")? == Some(true);
            let (mode, uid, gid) = (number("mode", 8, 0o400)?, number("uid", 10, 0)?, number("gid", 10, 0)?);
            MountKind::Secret { id, required, env, mode, uid, gid }
        }
        _ => MountKind::Ssh {
            id: get("id").filter(|id| !id.is_empty()).unwrap_or_else(|| "default".to_owned()),
            required: switch("required")? == Some(true),
        },
    };
    Ok(Mount { kind, target, span })
}

/// `64m`: bytes, with k, m, g, t of 1024 each.
fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let digits = text.trim_end_matches(['k', 'm', 'g', 't']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
