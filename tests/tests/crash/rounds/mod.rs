//! Rounds: eight commands at once on the same few containers, and somebody is killed. After each round every container
//! that was acknowledged is there, none that was removed is, and each is in the state that it says. At the end all of it
//! can be removed, and nothing is left.
//!
//! - `deck`: the commands, drawn at random.
//! - `ledger`: what minidocker has acknowledged.
//! - `truth`: what is listed, against the ledger and the kernel.
//!
//! Some rounds always; `cargo xtask crash` asks for more, from another seed where told.

mod deck;
mod ledger;
mod truth;

use std::fmt;
use std::io::Write as _;
use std::time::{Duration, Instant};

use minidocker_tests::{Running, World, scaled, until};

use crate::killer::{kill, others};
use crate::numbers::Numbers;
use deck::{Command, Deck};
use ledger::Ledger;

/// How many commands a round has.
const AT_ONCE: usize = 8;

/// Rounds, unless asked for.
const ROUNDS: u64 = 40;

/// The first round's seed, unless asked for.
const SEED: u64 = 0x2545_F491_4F6C_DD1D;

/// After so long everything is unpaused.
const PATIENCE: Duration = Duration::from_secs(3);

/// After so many rounds it is told how far they are.
const TOLD: u64 = 50;

/// So many of the last events are told of a failure.
const EVENTS: usize = 400;

/// A killed command is dead so long after the first start, at most; in microseconds.
const LATEST: u64 = 60_000;

/// A number of the environment.
fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|error| panic!("{name} is no number, `{text}`: {error}"))
    })
}

#[test]
fn rounds_of_eight_commands_with_kills_at_random() {
    let (rounds, seed) = (asked("MINIDOCKER_ROUNDS", ROUNDS), asked("MINIDOCKER_SEED", SEED));
    let world = World::new();
    let root = world.rootfs_inside();
    let mut numbers = Numbers::new(seed);
    let deck = Deck::new(&root);
    // Nobody may remove what is in there.
    world.minidocker(["volume", "create", deck::VOLUME]).ok();
    for (name, options) in deck::NETWORKS {
        world.minidocker(["network", "create"].iter().chain(options).chain([&name])).ok();
    }
    let keep = ["run", "--rm", "-v", deck::MOUNT, "--rootfs", &root.overlay(), "/inside"];
    world.minidocker(keep.into_iter().chain(["write", "/kept/word", "kept"])).ok();

    let mut ledger = Ledger::default();
    let (start, mut checks) = (Instant::now(), Duration::ZERO);
    for round in 0..rounds {
        if round > 0 && round % TOLD == 0 {
            tell(round, start.elapsed(), checks);
        }
        let commands: Vec<Command> = (0..AT_ONCE).map(|_| deck.draw(&mut numbers, &ledger)).collect();
        let story = Story { round, commands: &commands };
        // Shown if the test fails.
        eprintln!("{story}");
        one(&world, &commands, &mut numbers, &mut ledger);
        let commands_ended = Instant::now();
        truth::check(&world, &mut ledger, &story);
        checks += commands_ended.elapsed();
    }
    if rounds >= TOLD {
        tell(rounds, start.elapsed(), checks);
    }

    // What the rounds left behind must be for `system check` to repair, and nothing else.
    world.minidocker(["system", "check", "--repair"]).ok();
    world.minidocker(["system", "check"]).ok();

    let read = keep.into_iter().chain(["read", "/kept/word"]);
    assert_eq!(world.minidocker(read).text(), "kept");
    let all = ledger.all();
    if !all.is_empty() {
        world.minidocker(["rm", "-f"].into_iter().map(str::to_owned).chain(all)).ok();
    }
    // Whoever was killed last on the way down leaves the rest to the next command.
    world.minidocker(["ps", "-a"]).ok();
    // Shown if the test fails.
    let events = world.minidocker(["events", "--since", "1", "--until", "0s"]).text();
    eprintln!("{}", events.lines().rev().take(EVENTS).collect::<Vec<_>>().join("\n"));
    // Nobody is in them any more, no link of a container is there, and no rule leads to one.
    until("all cables are gone", || cables(&world).is_empty());
    let rules = world.program(["nft", "list", "ruleset"]).run().ok().out();
    for map in ["ports", "ports_any", "ports6", "ports6_any"] {
        let (_, rest) = rules.split_once(&format!("map {map} {{")).expect("a map of the table");
        let elements = rest.split_once("\n\t}").map_or(rest, |(map, _)| map);
        assert!(!elements.contains("elements"), "map {map}: {elements}");
    }
    // Their bridges, and their addresses, go with them.
    for (name, _) in deck::NETWORKS {
        world.minidocker(["network", "rm", name]).ok();
    }
    world.expect_nothing_left();
    world.minidocker(["volume", "rm", deck::VOLUME]).ok();
}

/// The ends of cables that lead to containers, of the world's "host": `md` and digits of an id.
fn cables(world: &World) -> Vec<String> {
    let table = world.inside_network(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
    let table = table.expect("the links of the world's network namespace");
    let names = table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
    let ours =
        names.filter(|name| name.starts_with("md") && !name.starts_with("md-") && *name != world.bridge());
    ours.map(str::to_owned).collect()
}

/// How far it is, for who waits for a thousand rounds: past what the test harness keeps for a failure.
fn tell(rounds: u64, time: Duration, checks: Duration) {
    let each = |time: Duration| time.as_millis() / u128::from(rounds.max(1));
    let said = format!("{rounds} rounds: {} ms each, {} ms of it to check\n", each(time), each(checks));
    let _ = std::io::stderr().write_all(said.as_bytes());
}

/// What has happened in a round, for who reads of a failure.
struct Story<'a> {
    round: u64,
    commands: &'a [Command],
}

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {}:", self.round)?;
        self.commands.iter().try_for_each(|command| write!(f, "\n  {}", command.words.join(" ")))
    }
}

/// Starts them, kills somebody, and writes down what the others have said.
fn one(world: &World, commands: &[Command], numbers: &mut Numbers, ledger: &mut Ledger) {
    commands.iter().for_each(|command| ledger.begins(&command.effect));
    let mut running: Vec<Running> = commands.iter().map(|command| world.spawn(&command.words)).collect();
    let own: Vec<i32> = running.iter().map(Running::pid).collect();
    std::thread::sleep(Duration::from_micros(numbers.next(LATEST)));
    match numbers.next(8) {
        0 => {}
        1 => own.iter().copied().for_each(kill),
        2 => others(world, &own).into_iter().for_each(kill),
        3 => others(world, &[]).into_iter().for_each(kill),
        4 | 5 => numbers.one(&others(world, &own)).copied().into_iter().for_each(kill),
        6 => {
            let first =
                ledger.all().iter().filter_map(|id| world.group(id).processes().first().copied()).next();
            first.into_iter().for_each(kill);
        }
        _ => numbers.one(&own).copied().into_iter().for_each(kill),
    }
    let all = || commands.iter().zip(&own);
    all().filter(|(command, _)| command.blocks).for_each(|(_, pid)| kill(*pid));
    let patience = Instant::now() + scaled(PATIENCE);
    while !running.iter_mut().all(Running::is_over) {
        std::thread::sleep(Duration::from_millis(1));
        if Instant::now() > patience {
            // Who comes into a container while another pauses it goes on, or can be killed, when it does.
            ledger.all().iter().for_each(|id| drop(world.minidocker(["unpause", id])));
            break;
        }
    }
    for (command, process) in commands.iter().zip(running) {
        // Whatever becomes of the others: none of them hangs, and none panics.
        let output = process.wait();
        let killed = output.code == 137;
        let said = output.err();
        for word in ["panicked at", "internal:", "(os error"] {
            assert!(!said.contains(word), "`{word}` reached the user: {output:?}");
        }
        if output.code == 0 && !killed {
            ledger.succeeded(&command.effect, output.out().trim());
        }
    }
}
