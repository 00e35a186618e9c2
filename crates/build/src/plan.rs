//! Which stages are built, and on what. Pure.

use std::collections::{BTreeMap, BTreeSet};

use oci::Platform;

use crate::dockerfile::expand::expand;
use crate::dockerfile::{Dockerfile, Instruction, MountKind, Place, Span, Stage, Word};
use crate::error::Error;

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    Scratch,
    Stage(usize),
    Image(String),
}

/// A stage, its variables expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) from: From,
    pub(crate) platform: Platform,
    /// Its name, or `stage-1`.
    pub(crate) name: String,
    /// FROM as messages show it.
    pub(crate) text: String,
}

/// All stages, and which are built.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) stages: Vec<Planned>,
    pub(crate) target: usize,
    /// What the target needs, itself too.
    pub(crate) needed: BTreeSet<usize>,
    /// The arguments before the first FROM, and the platforms'.
    pub(crate) global: BTreeMap<String, String>,
    /// Build arguments that nothing asks for.
    pub(crate) unused: Vec<String>,
}

/// Arguments that are there without ARG: Docker's reference, "Predefined ARGs".
pub(crate) const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// What is asked of a plan.
pub(crate) struct Wish<'w> {
    pub(crate) file: &'w str,
    pub(crate) source: &'w str,
    pub(crate) target: Option<&'w str>,
    pub(crate) arguments: &'w BTreeMap<String, String>,
    pub(crate) platform: &'w Platform,
}

impl Wish<'_> {
    fn wrong(&self, span: Span, words: impl Into<String>) -> Error {
        Error::new(words).at(self.file, Place::of(self.source, span))
    }
}

/// Plans the build.
pub(crate) fn plan(file: &Dockerfile, wish: &Wish<'_>) -> Result<Plan, Error> {
    let escape = file.directives.escape;
    let mut global = platform_arguments(wish.platform);
    for argument in &file.arguments {
        let value = match (wish.arguments.get(&argument.name), &argument.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(word)) => {
                let lookup = |name: &str| global.get(name).cloned();
                Some(expand(&word.text, escape, &lookup).map_err(|words| wish.wrong(word.span, words))?)
            }
            (None, None) => continue,
        };
        global.extend(value.map(|value| (argument.name.clone(), value)));
    }
    let stages = file
        .stages
        .iter()
        .enumerate()
        .map(|(index, stage)| stage_of(file, index, stage, &global, wish))
        .collect::<Result<Vec<_>, _>>()?;
    let target = target(file, wish)?;
    let mut needed = BTreeSet::new();
    let mut waiting = vec![target];
    while let Some(index) = waiting.pop() {
        if needed.insert(index) {
            waiting.extend(needs(file, index, &stages[index], wish)?);
        }
    }
    let asked = |name: &String| {
        let in_stages = file.stages.iter().flat_map(|stage| &stage.steps);
        let mut arguments = file.arguments.iter().chain(in_stages.flat_map(|step| match &step.instruction {
            Instruction::Arg(arguments) => arguments.as_slice(),
            _ => &[],
        }));
        arguments.any(|argument| argument.name == *name)
            || PROXIES.contains(&name.as_str())
            || global.contains_key(name)
            || name == "SOURCE_DATE_EPOCH"
    };
    let unused = wish.arguments.keys().filter(|name| !asked(name)).cloned().collect();
    Ok(Plan { stages, target, needed, global, unused })
}

fn platform_arguments(target: &Platform) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target), ("BUILD", &Platform::host())] {
        let parts = [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os().to_owned()),
            ("ARCH", platform.architecture().to_owned()),
            ("VARIANT", platform.variant().unwrap_or_default().to_owned()),
        ];
        all.extend(parts.map(|(part, value)| (format!("{prefix}{part}"), value)));
    }
    all
}

fn stage_of(
    file: &Dockerfile,
    index: usize,
    stage: &Stage,
    global: &BTreeMap<String, String>,
    wish: &Wish<'_>,
) -> Result<Planned, Error> {
    let lookup = |name: &str| global.get(name).cloned();
    let expanded = |word: &Word| {
        expand(&word.text, file.directives.escape, &lookup).map_err(|words| wish.wrong(word.span, words))
    };
    let image = expanded(&stage.image)?;
    if image.trim().is_empty() {
        let error = wish.wrong(stage.image.span, format!("{} is empty", stage.image.text));
        return Err(error.hint("give its variables values: an ARG before the first FROM, or --build-arg"));
    }
    let platform = match &stage.platform {
        None => wish.platform.clone(),
        Some(word) => match expanded(word)? {
            text if text.is_empty() => wish.platform.clone(),
            text => text.parse().map_err(|error| wish.wrong(word.span, format!("{error}")))?,
        },
    };
    let from = match named(file, index, &image) {
        Some(other) => From::Stage(other),
        None if image == "scratch" => From::Scratch,
        None => From::Image(image.clone()),
    };
    let name = stage.name.clone().unwrap_or_else(|| format!("stage-{index}"));
    let text = match &stage.name {
        Some(name) => format!("FROM {image} AS {name}"),
        None => format!("FROM {image}"),
    };
    Ok(Planned { from, platform, name, text })
}

/// The stage of that name among the first `before` ones.
fn named(file: &Dockerfile, before: usize, name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    file.stages[..before].iter().position(|stage| stage.name.as_ref() == Some(&name))
}

fn target(file: &Dockerfile, wish: &Wish<'_>) -> Result<usize, Error> {
    let Some(target) = wish.target.filter(|target| !target.is_empty()) else {
        return Ok(file.stages.len() - 1);
    };
    let by_number = || target.parse::<usize>().ok().filter(|number| *number < file.stages.len());
    named(file, file.stages.len(), target).or_else(by_number).ok_or_else(|| {
        let names: Vec<&str> = file.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
        let error = Error::new(format!("{} has no stage {target}", wish.file));
        match names.as_slice() {
            [] => error.hint(format!("its stages have numbers from 0 to {}", file.stages.len() - 1)),
            names => error.hint(format!("it has {}", names.join(", "))),
        }
    })
}

/// What `--from=` means in the stage of that number: a stage by name or number, or an image.
pub(crate) fn reference(file: &Dockerfile, stage: usize, name: &str) -> Result<From, String> {
    if let Some(index) = named(file, stage, name) {
        return Ok(From::Stage(index));
    }
    match name.parse::<usize>() {
        Ok(number) if number < stage => Ok(From::Stage(number)),
        Ok(number) => Err(format!("there is no stage {number} before this one")),
        Err(_) if name == "scratch" => Ok(From::Scratch),
        Err(_) if file.stages[stage].name.as_deref() == Some(&name.to_ascii_lowercase()) => {
            Err(format!("the stage {name} cannot copy from itself"))
        }
        // Silently an image of that name would be taken, or asked for.
        Err(_) if named(file, file.stages.len(), name).is_some() => Err(format!(
            "the stage {name} comes later: put it before this one (an image of that name is written with its registry)"
        )),
        Err(_) => Ok(From::Image(name.to_owned())),
    }
}

/// The stages that a stage reads.
fn needs(file: &Dockerfile, index: usize, planned: &Planned, wish: &Wish<'_>) -> Result<Vec<usize>, Error> {
    let mut all = Vec::new();
    if let From::Stage(other) = planned.from {
        all.push(other);
    }
    for step in &file.stages[index].steps {
        let names: Vec<(&str, Span)> = match &step.instruction {
            Instruction::Copy(copy) => copy.from.iter().map(|word| (word.text.as_str(), word.span)).collect(),
            Instruction::Run(run) => {
                let from = |kind: &'_ MountKind| match kind {
                    MountKind::Bind { from, .. } | MountKind::Cache { from, .. } => from.clone(),
                    _ => None,
                };
                let mounts = run.mounts.iter().filter_map(|mount| Some((from(&mount.kind)?, mount.span)));
                for (name, span) in mounts {
                    if let From::Stage(other) =
                        reference(file, index, &name).map_err(|words| wish.wrong(span, words))?
                    {
                        all.push(other);
                    }
                }
                continue;
            }
            _ => continue,
        };
        for (name, span) in names {
            if let From::Stage(other) =
                reference(file, index, name).map_err(|words| wish.wrong(span, words))?
            {
                all.push(other);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    fn planned(source: &str, target: Option<&str>, arguments: &[(&str, &str)]) -> Result<Plan, Error> {
        let arguments =
            arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let platform = "linux/arm64".parse().unwrap();
        let wish = Wish { file: "Dockerfile", source, target, arguments: &arguments, platform: &platform };
        plan(&parse(source).unwrap(), &wish)
    }

    const SOURCE: &str = "ARG V=12\nARG IMAGE=debian:$V\nFROM --platform=$BUILDPLATFORM $IMAGE AS a\nFROM scratch AS b\n\
        COPY --from=a x /\nFROM a AS c\nRUN --mount=from=b,target=/x true\nFROM x:$TARGETARCH AS d\nCOPY --from=2 x y:1 /z/\n\
        FROM scratch\nCOPY --from=busybox x /\n";

    #[test]
    fn only_what_is_needed_is_built() {
        let needed = |target: Option<&str>| {
            planned(SOURCE, target, &[]).unwrap().needed.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(needed(None), [4]);
        assert_eq!(needed(Some("a")), [0]);
        assert_eq!(needed(Some("B")), [0, 1]);
        assert_eq!(needed(Some("2")), [0, 1, 2]);
        assert_eq!(needed(Some("d")), [0, 1, 2, 3]);
        let plan = planned(SOURCE, None, &[("V", "13"), ("NONE", "1"), ("HTTP_PROXY", "x")]).unwrap();
        assert_eq!(plan.stages[0].from, From::Image("debian:13".into()));
        assert_eq!(plan.stages[0].platform, Platform::host());
        assert_eq!(plan.stages[3].from, From::Image("x:arm64".into()));
        assert_eq!((plan.stages[2].from.clone(), plan.unused), (From::Stage(0), vec!["NONE".to_owned()]));
        assert_eq!(plan.stages[4].name, "stage-4");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = planned(SOURCE, Some("z"), &[]).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.hint.as_deref()),
            ("Dockerfile has no stage z", Some("it has a, b, c, d"))
        );
        let error = planned("FROM $X", None, &[]).unwrap_err();
        assert_eq!((error.message.as_str(), error.place.unwrap().1.column), ("$X is empty", 6));
        let error = planned("FROM a AS b\nCOPY --from=7 x /", None, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Dockerfile:2: there is no stage 7 before this one\n 2 | COPY --from=7 x /\n   |             ^"
        );
        for line in ["COPY --from=C x /", "RUN --mount=from=C,target=/x true"] {
            let error = planned(&format!("FROM a AS b\n{line}\nFROM b AS c"), Some("b"), &[]).unwrap_err();
            assert!(error.message.starts_with("the stage C comes later: "), "{error}");
        }
        assert!(planned("FROM a AS b\nCOPY --from=b x /", None, &[]).unwrap_err().message.contains("itself"));
        assert!(planned("FROM ${X:?must} AS b", None, &[]).unwrap_err().message.contains("X: must"));
        assert!(planned("FROM --platform=a//b x", None, &[]).unwrap_err().message.contains("no platform"));
    }
}
