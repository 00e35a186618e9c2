//! `ps`: the processes of a container, as the host's ps(1) shows them or as their numbers.

use std::process::{Command as Process, Stdio};

use bundle::ops;

use super::super::Context;
use super::super::arguments::Typed;
use super::{Command, print_json, wants_json};
use crate::options::one;
use crate::problem::Problem;
use crate::terminal::{io_reason, print};

pub(super) const COMMAND: Command = Command {
    arguments: "<container-id> [ps options]",
    about: "What follows the id are options of ps(1); without any they are -ef.",
    options: &[one("format", "FORMAT", "table or json (default table)").short('f')],
    words: 1..=usize::MAX,
    interspersed: false,
    ..Command::new("ps", "Show the processes of a container", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    let json = wants_json(typed)?;
    let pids = ops::ps(&context.settings, typed.id())?;
    if json {
        return print_json(&pids, false).map(|()| 0);
    }
    let options = typed.words.get(1..).unwrap_or_default();
    let options = options.strip_prefix(&["--".to_owned()]).unwrap_or(options);
    print(&only(&ps(options)?, &pids)?).map(|()| 0)
}

/// What the host's ps(1) says.
fn ps(options: &[String]) -> Result<String, Problem> {
    let options: Vec<&str> = match options {
        [] => vec!["-ef"],
        options => options.iter().map(String::as_str).collect(),
    };
    let failed = |reason: &str| Problem::new(format!("ps {}: {reason}", step::quote(&options.join(" "))));
    let output = Process::new("ps").args(&options).stdin(Stdio::null()).output().map_err(|error| {
        failed(&io_reason(&error)).hint("this needs the host's program ps; --format json does not")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(&format!("{}: {}", output.status, said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The title and the lines of these processes.
fn only(said: &str, pids: &[i32]) -> Result<String, Problem> {
    let mut lines = said.lines();
    let title = lines.next().unwrap_or_default();
    let column = title.split_whitespace().position(|word| word == "PID").ok_or_else(|| {
        Problem::new("couldn't find PID field in ps output")
            .hint("the options of ps must show the column PID")
    })?;
    let mut text = format!("{title}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::tests::typed;
    use super::*;

    #[test]
    fn only_the_containers_processes_are_shown() {
        let said = "UID  PID PPID CMD\nroot 1 0 init 17\nroot 17 1 sh\nroot 170 17 sleep 17\n\n";
        assert_eq!(
            only(said, &[17, 170]).unwrap(),
            "UID  PID PPID CMD\nroot 17 1 sh\nroot 170 17 sleep 17\n"
        );
        assert_eq!(only(said, &[]).unwrap(), "UID  PID PPID CMD\n");
        assert_eq!(only("CMD\nsh\n", &[1]).unwrap_err().message, "couldn't find PID field in ps output");
    }

    #[test]
    fn options_after_the_id_are_those_of_ps() {
        let read = typed(&COMMAND, "-f json c -e -x");
        assert_eq!((read.text("format"), read.words.join(" ")), (Some("json"), "c -e -x".to_owned()));
    }

    #[test]
    fn the_hosts_ps_tells_of_this_process() {
        let own = std::process::id().cast_signed();
        let said = only(&ps(&["-e".to_owned()]).unwrap(), &[own]).unwrap();
        assert_eq!(said.lines().count(), 2, "{said}");
        let told = ps(&["--no-such-option".to_owned()]).unwrap_err().message;
        assert!(told.starts_with("ps --no-such-option: exit status: 1: "), "{told}");
    }
}
