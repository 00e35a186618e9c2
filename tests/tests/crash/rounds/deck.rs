//! The commands of a round.

use minidocker_tests::Rootfs;

use super::ledger::{Effect, Ledger};
use crate::numbers::Numbers;

/// A volume that containers share and nobody removes.
pub(super) const VOLUME: &str = "kept";

/// Networks that containers share and nobody removes: one of both families, one whose containers are kept apart.
const BOTH: &str = "kept-both";
const APART: &str = "kept-apart";

/// How they are made.
pub(super) const NETWORKS: [(&str, &[&str]); 2] =
    [(BOTH, &["--ipv6"]), (APART, &["-o", "com.docker.network.bridge.enable_icc=false"])];

/// Where they have it.
pub(super) const MOUNT: &str = "kept:/kept";

/// So many containers are enough: then one goes for each that comes.
const MANY: usize = 12;

/// Fewer than what may be there at once, so that names clash.
const NAMES: [&str; 10] = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay"];

/// One that is about to be started.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) words: Vec<String>,
    pub(super) effect: Effect,
    /// It does not end by itself.
    pub(super) blocks: bool,
}

impl Command {
    fn new(words: &[&str], effect: Effect) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), effect, blocks: false }
    }
}

/// Draws commands.
#[derive(Debug)]
pub(super) struct Deck {
    overlay: String,
}

impl Deck {
    pub(super) fn new(root: &Rootfs) -> Self {
        Self { overlay: root.overlay() }
    }

    /// A command on one of the containers, or for a new one.
    pub(super) fn draw(&self, numbers: &mut Numbers, ledger: &Ledger) -> Command {
        let all = ledger.all();
        let Some(id) = numbers.one(&all).map(String::as_str) else {
            return self.make(numbers);
        };
        let name = numbers.one(&NAMES).copied().unwrap_or_default();
        let plain = |words: &[&str]| Command::new(words, Effect::None);
        let removal = |words: &[&str]| Command::new(words, Effect::Removes(id.to_owned()));
        let blocking = |words: &[&str]| Command { blocks: true, ..plain(words) };
        let network = numbers.one(&NETWORKS).map_or("", |(name, _)| *name);
        match numbers.next(48) {
            0..=7 if all.len() < MANY => self.make(numbers),
            0..=5 => removal(&["rm", "-f", id]),
            6 | 7 => removal(&["rm", id]),
            8..=12 => plain(&["start", id]),
            13..=15 => plain(&["stop", "-t", "0", id]),
            16 | 17 => plain(&["restart", "-t", "0", id]),
            18 | 19 => plain(&["kill", id]),
            20 => removal(&["rm", "-f", id]),
            21 | 22 => plain(&["rename", id, name]),
            23 => plain(&["pause", id]),
            24 | 25 => plain(&["unpause", id]),
            26 | 27 => plain(&["exec", id, "/inside", "true"]),
            28 => plain(&["exec", "-d", id, "/inside", "pause"]),
            29 | 40..=42 => plain(&["network", "connect", "--alias", "twin", network, id]),
            43 | 44 => plain(&["network", "disconnect", network, id]),
            45 => plain(&["network", "disconnect", "bridge", id]),
            46 => plain(&["exec", id, "/inside", "ask", name]),
            47 => plain(&["exec", id, "/inside", "ask", "twin"]),
            30 => plain(&["ps", "-a"]),
            31 => plain(&["inspect", id]),
            32 => plain(&["update", "--memory", "64m", "--memory-swap", "64m", id]),
            33 if numbers.next(2) == 0 => plain(&["update", "--restart", "no", id]),
            33 => plain(&["clone", id, name]),
            34 => plain(&["run", "--rm", "--rootfs", &self.overlay, "/inside", "true"]),
            35 => blocking(&["wait", id]),
            36 => blocking(&["logs", "-f", id]),
            37 => blocking(&["events"]),
            38 => blocking(&["attach", "--no-stdin", id]),
            _ if numbers.next(8) == 0 => Command::new(&["container", "prune", "-f"], Effect::Prunes),
            _ => plain(&["cp", &format!("{id}:/inside"), "-"]),
        }
    }

    /// A new one: created, or started as well; with a network or none, bound to start again or not.
    fn make(&self, numbers: &mut Numbers) -> Command {
        let name = numbers.one(&NAMES).copied().unwrap_or_default();
        let start: &[&str] = if numbers.next(3) == 0 { &["create"] } else { &["run", "-d"] };
        let network: &[&str] = match numbers.next(6) {
            0..=2 => &["--network", "none"],
            3 => &["--network", BOTH, "-p", "80", "-p", "80/udp"],
            4 => &["--network", "bridge", "--network", APART, "-p", "8000-8002"],
            _ => &[],
        };
        let policy: &[&str] = match numbers.next(4) {
            0 => &["--restart", "on-failure:3"],
            1 => &["--restart", "always"],
            _ => &[],
        };
        let more: &[&str] = match numbers.next(5) {
            0 => &["-v", MOUNT],
            1 => &["-m", "64m", "--pids-limit", "16"],
            2 => &["--log-driver", "json-file"],
            3 => &["--health-tcp", "80", "--health-interval", "50ms"],
            _ => &[],
        };
        let root = ["--name", name, "--rootfs", &self.overlay, "/inside"];
        let program: &[&str] = match numbers.next(4) {
            0 => &["exit", "3"],
            _ => &["pause"],
        };
        Command::new(&[start, network, policy, more, &root, program].concat(), Effect::Makes)
    }
}
