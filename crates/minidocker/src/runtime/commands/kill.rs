//! `kill`: a signal for a container's first process.

use bundle::ops;

use super::super::Context;
use super::super::arguments::Typed;
use super::Command;
use crate::options::flag;
use crate::problem::Problem;
use crate::values::signals;

pub(super) const COMMAND: Command = Command {
    arguments: "<container-id> [signal]",
    about: "The signal is a name, with or without SIG, or a number; without one it is TERM.",
    options: &[flag("all", "Send it to every process of the container").short('a')],
    words: 1..=2,
    ..Command::new("kill", "Send a signal to the first process of a container", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    let signal = signal(typed.words.get(1).map_or("", String::as_str))?;
    Ok(ops::kill(&context.settings, typed.id(), signal, typed.on("all")).map(|()| 0)?)
}

/// A signal's number. A typed number goes to the kernel as it is: 0 asks whether the process is there.
fn signal(text: &str) -> Result<i32, Problem> {
    match (text, text.parse()) {
        ("", _) => Ok(rustix::process::Signal::TERM.as_raw()),
        (_, Ok(number)) => Ok(number),
        (name, Err(_)) => {
            signals::parse(name).map_err(|why| Problem::new(format!("unknown signal {name:?}")).hint(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::typed;
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("", 15),
            ("TERM", 15),
            ("SIGKILL", 9),
            ("kill", 9),
            ("9", 9),
            ("0", 0),
            ("-9", -9),
            ("RTMIN+1", 35),
        ] {
            assert_eq!(signal(text).unwrap(), number, "{text}");
        }
        assert_eq!(signal("FOO").unwrap_err().message, "unknown signal \"FOO\"");
    }

    #[test]
    fn the_flag_stands_anywhere() {
        for line in ["-a c KILL", "--all c KILL", "c KILL --all", "c -a KILL"] {
            let read = typed(&COMMAND, line);
            assert_eq!((read.words.join(" ").as_str(), read.on("all")), ("c KILL", true), "{line}");
        }
        assert_eq!(typed(&COMMAND, "c -9").words, ["c", "-9"]);
    }
}
