//! `network update`: what a network may carry.

use engine::Settings;
use engine::ops::shape;

use crate::commands::Command;
use crate::options::{Group, Typed, Words, one};
use crate::problem::Problem;
use crate::terminal::print;
use crate::values::rates;

pub(crate) const COMMAND: Command = Command {
    name: "network update",
    long_names: &[],
    summary: "Say what a network may carry",
    usage: &["network update --rate RATE|none NETWORK"],
    about: "Say how much all containers of a network together may send to the host and the world each second, and\n\
            as much the other way. Of it each container has its --network-share for certain, and what others leave.\n\
            Takes effect at once; what containers of the network send to each other is not counted.",
    examples: &[
        ("minidocker network update --rate 100mbit default", ""),
        ("minidocker network update --rate none default", "no limit any more, and no shares"),
    ],
    groups: &[Group { title: "Options", options: &[one("rate", "RATE|none", "500kbit, 10mbit, 1gbit")] }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [network] = typed.words.as_slice() else {
        return Err(Problem::new("network update needs one network")
            .hint("for example: minidocker network update --rate 100mbit default"));
    };
    let Some(rate) = typed.read("rate", rates::rate_or_none)? else {
        return Err(Problem::new("network update needs --rate")
            .hint("for example: minidocker network update --rate 100mbit default"));
    };
    shape::network(settings, network, rate)?;
    print(&format!("{network}\n")).map(|()| 0)
}
