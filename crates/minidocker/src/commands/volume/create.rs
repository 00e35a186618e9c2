//! `volume create`: a volume before its first container.

use engine::Settings;
use engine::ops::volumes::{self, New};

use crate::commands::Command;
use crate::options::{Group, Typed, Words, bad_value, many, one};
use crate::problem::Problem;
use crate::terminal::print;
use crate::values::{env, volumes as values};

pub(crate) const COMMAND: Command = Command {
    name: "volume create",
    long_names: &[],
    summary: "Make a volume",
    usage: &["volume create [OPTIONS] [VOLUME]"],
    about: "Make a volume and print its name; one that is there already stays as it is. Without a name it gets one of\n\
            64 hex digits.",
    examples: &[
        ("minidocker volume create data", "then: minidocker run -v data:/data app"),
        (
            "minidocker volume create -o type=tmpfs -o device=tmpfs -o o=size=64m scratch",
            "memory, anew for each container",
        ),
        (
            "minidocker volume create -o type=none -o device=/srv/www -o o=bind www",
            "a directory of the host under a name",
        ),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            one("driver", "DRIVER", "local").short('d'),
            many("label", "KEY=VALUE", "Label of the volume"),
            many("opt", "KEY=VALUE", "type=, device= and o= of a file system, as mount(8) takes them")
                .short('o'),
            one("name", "NAME", "The same as the word"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    typed.read("driver", values::driver)?;
    let word = match typed.words.as_slice() {
        [] => None,
        [name] => Some(name.clone()),
        _ => return Err(Problem::new("volume create takes one name").hint("call it once for each")),
    };
    let option = typed.one("name").filter(|name| !name.is_empty()).map(str::to_owned);
    if let (Some(word), Some(option)) = (&word, &option)
        && word != option
    {
        return Err(bad_value("name", option, &format!("the name is {} already", step::quote(word))));
    }
    let pair = |text: &str| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as type=tmpfs".to_owned()),
    };
    let new = New {
        name: word.or(option).filter(|name| !name.is_empty()),
        labels: typed.read_many("label", env::label)?.into_iter().collect(),
        options: typed.read_many("opt", pair)?.into_iter().collect(),
    };
    let name = volumes::create(settings, &new)?;
    print(&format!("{name}\n")).map(|()| 0)
}
