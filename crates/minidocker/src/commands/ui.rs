//! `ui`: every container on one screen: what it does and uses, its processes, keys to act. One thread; what takes time
//! is done by other minidockers.

mod acts;
mod drawing;
mod keys;
mod screen;
mod view;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use engine::Settings;
use engine::ops::processes::processes;
use engine::ops::stats::Looker;

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use acts::Acts;
use keys::Key;
use screen::{Screen, Woken};
use view::{Asking, View, Wish};

pub(crate) const COMMAND: Command = Command {
    name: "ui",
    long_names: &[],
    summary: "See and steer all containers on one screen",
    usage: &["ui"],
    about: "See all containers on one screen: what they do and use, how that went, and their processes.\n\n\
            Keys: arrows choose, enter is a shell, l the log, s stop, S start, K kill, p pause, r restart,\n\
            / filters, o sorts, a hides those that do not run, ? tells all keys, q leaves.",
    examples: &[("minidocker ui", "")],
    groups: &[],
    words: Words::None,
    failed: 1,
    exec,
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

fn exec(_: Typed, settings: &Settings) -> Result<u8, Problem> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Problem::new("ui needs a terminal")
            .hint("for programs there is 'minidocker stats --format json'"));
    }
    let looker = Looker::new(settings)?;
    let mut view = View::default();
    view.take(looker.all()?);
    let mut acts = Acts::new(settings);
    let mut screen = Screen::enter()?;
    let mut next = Instant::now() + INTERVAL / 4;
    loop {
        let chosen = view.chosen().map(|one| one.summary.id.clone());
        if let Some(id) = &chosen {
            // One that has just gone has no processes.
            view.take_processes(processes(settings, id).unwrap_or_default());
        }
        screen.draw(&mut view)?;
        match screen.wait(next)? {
            Woken::Ended => return Ok(0),
            Woken::Resized => {}
            Woken::Over => {
                acts.collect(&mut view);
                view.take(looker.all()?);
                next = Instant::now() + INTERVAL;
            }
            Woken::Typed(keys) => {
                for key in keys {
                    match act(&mut view, key) {
                        Wish::None => {}
                        Wish::Leave => return Ok(0),
                        Wish::Do(what, id, name) => acts.begin(&mut view, what, &id, &name),
                        Wish::Outside(what, id) => {
                            screen.leave();
                            let told = acts.outside(what, &id);
                            screen = Screen::enter()?;
                            view.note = told;
                        }
                    }
                }
            }
        }
    }
}

/// What a key means.
fn act(view: &mut View, key: Key) -> Wish {
    if let Some(asking) = view.asking.take() {
        return answer(view, asking, key);
    }
    view.note = None;
    let chosen = view.chosen().map(|one| (one.summary.id.clone(), one.summary.name.clone()));
    let to_do = |what: &'static str| match &chosen {
        Some((id, name)) => Wish::Do(what, id.clone(), name.clone()),
        None => Wish::None,
    };
    let sure = |what: &'static str| chosen.clone().map(|(id, name)| Asking::Sure(what, id, name));
    match key {
        Key::Letter('q') | Key::Interrupt => return Wish::Leave,
        Key::Up | Key::Letter('k') => view.choose(-1),
        Key::Down | Key::Letter('j') => view.choose(1),
        Key::PageUp => view.choose(-10),
        Key::PageDown => view.choose(10),
        Key::Home | Key::Letter('g') => view.choose(isize::MIN),
        Key::End | Key::Letter('G') => view.choose(isize::MAX),
        Key::Letter('o') => view.sort = view.sort.next(),
        Key::Letter('a') => view.only_running = !view.only_running,
        Key::Letter('/') => view.asking = Some(Asking::Filter(view.filter.clone())),
        Key::Letter('?' | 'h') => view.asking = Some(Asking::Help),
        Key::Escape => view.filter.clear(),
        Key::Letter('S') => return to_do("start"),
        Key::Letter('p') if view.is_paused() => return to_do("unpause"),
        Key::Letter('p') => return to_do("pause"),
        Key::Letter('s') => view.asking = sure("stop"),
        Key::Letter('r') => view.asking = sure("restart"),
        Key::Letter('K') => view.asking = sure("kill"),
        Key::Letter('l') => return chosen.map_or(Wish::None, |(id, _)| Wish::Outside("logs", id)),
        Key::Letter('e') | Key::Enter => {
            return chosen.map_or(Wish::None, |(id, _)| Wish::Outside("exec", id));
        }
        Key::Letter(_) | Key::Backspace => {}
    }
    Wish::None
}

fn answer(view: &mut View, asking: Asking, key: Key) -> Wish {
    match (asking, key) {
        (_, Key::Interrupt) => return Wish::Leave,
        (Asking::Help, _) => {}
        (Asking::Sure(what, id, name), Key::Letter('y' | 'Y') | Key::Enter) => {
            return Wish::Do(what, id, name);
        }
        (Asking::Sure(..), _) => {}
        (Asking::Filter(before), Key::Escape) => view.filter = before,
        (Asking::Filter(_), Key::Enter) => {}
        (Asking::Filter(before), key) => {
            match key {
                Key::Letter(letter) => view.filter.push(letter),
                Key::Backspace => drop(view.filter.pop()),
                _ => {}
            }
            view.choose(isize::MIN);
            view.asking = Some(Asking::Filter(before));
        }
    }
    Wish::None
}
