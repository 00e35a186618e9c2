//! `events`: what a container uses and when it runs out of memory, a line of JSON for each.

use std::io::Write;
use std::time::Duration;

use bundle::ops::{self, EventsRequest};

use super::super::Context;
use super::super::arguments::Typed;
use super::Command;
use crate::options::{flag, one};
use crate::problem::Problem;
use crate::values::durations;

pub(super) const COMMAND: Command = Command {
    about: "Prints what a container uses every 5 seconds, and that it ran out of memory, until it ends.",
    options: &[
        one("interval", "DURATION", "Print what it uses so often (default 5s)"),
        flag("stats", "Print what it uses now, and end"),
    ],
    ..Command::new("events", "Print what a container uses, and out-of-memory events", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    let mut write = |line: &str| {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdout.flush())
    };
    Ok(ops::events(&context.settings, &request(typed)?, &mut write).map(|()| 0)?)
}

fn request(typed: &Typed) -> Result<EventsRequest, Problem> {
    let interval = match typed.text("interval") {
        Some(text) => durations::duration(text).ok_or_else(|| {
            Problem::new(format!("invalid value {text:?} for flag -interval: parse error"))
                .hint("write it as 5s, 100ms or 1m30s")
        })?,
        None => Duration::from_secs(5),
    };
    if interval.is_zero() {
        return Err(Problem::new("duration interval must be greater than 0"));
    }
    Ok(EventsRequest { id: typed.id().to_owned(), stats: typed.on("stats"), interval })
}

#[cfg(test)]
mod tests {
    use super::super::tests::typed;
    use super::*;

    #[test]
    fn the_interval_is_gos() {
        let interval = |line| {
            request(&typed(&COMMAND, line)).map(|request| request.interval).map_err(|problem| problem.message)
        };
        assert_eq!(interval("c"), Ok(Duration::from_secs(5)));
        assert_eq!(interval("c --interval 100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(interval("c --interval 0s"), Err("duration interval must be greater than 0".to_owned()));
        assert_eq!(
            interval("c --interval 5"),
            Err("invalid value \"5\" for flag -interval: parse error".to_owned())
        );
        assert!(request(&typed(&COMMAND, "--stats c")).unwrap().stats);
    }
}
