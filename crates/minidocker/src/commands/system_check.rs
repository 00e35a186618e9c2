//! `system check`: what was left behind, or is not true.

use engine::Settings;
use engine::ops::check::{self, Found, Outcome, Report};
use serde_json::{Value, json};

use super::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::terminal::{plain, print, report};

pub(crate) const COMMAND: Command = Command {
    name: "system check",
    long_names: &[],
    summary: "Find what was left behind or is not true, and mend it",
    usage: &["system check [OPTIONS]"],
    about: "Look at everything below the roots, and at everything of the kernel that bears a container's id: what nobody\n\
            owns any more, what is half written, what does not agree with what the kernel says. Each finding is a line:\n\
            what it is, why it is wrong, and what a repair does. The exit code is 1 if anything is wrong still.\n\n\
            A repair touches nothing of a container that runs, nothing of another engine, and no volume or image that\n\
            has a name.",
    examples: &[
        ("minidocker system check", "look, change nothing"),
        ("minidocker system check --repair", "mend what was found, and say what was done"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("repair", "Mend what is found").short('r'),
            one("format", "json", "Print each finding as a line of JSON"),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let repair = typed.flag("repair")?.unwrap_or(false);
    let json = typed.read("format", json_alone)?.is_some();
    let told = check::check(settings, repair)?;
    let line = if json { json_line } else { line };
    let text: String = told.found.iter().map(line).collect();
    print(&text)?;
    if !json {
        print(&format!("{}\n", summary(&told)))?;
    }
    let code = if told.is_clean() { 0 } else { COMMAND.failed };
    told.unseen.into_iter().for_each(|error| report(&Problem::from(error)));
    Ok(code)
}

fn json_alone(text: &str) -> Result<(), String> {
    match text {
        "json" | "{{json .}}" => Ok(()),
        _ => Err("only json is there".to_owned()),
    }
}

fn line(found: &Found) -> String {
    let (which, why, remedy) = (plain(&found.which), plain(&found.why), plain(&found.remedy));
    let end = match &found.outcome {
        Outcome::Found if found.repairable => format!("a repair would {remedy}"),
        Outcome::Found | Outcome::Left => format!("no repair: {remedy}"),
        Outcome::Repaired => format!("repaired: {remedy}"),
        Outcome::Failed(reason, hint) => {
            let hint = hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
            plain(&format!("not repaired: {reason}{hint}")).into_owned()
        }
    };
    format!("{} {which}: {why}; {end}\n", found.kind)
}

fn json_line(found: &Found) -> String {
    let (outcome, reason) = match &found.outcome {
        Outcome::Found => ("found", Value::Null),
        Outcome::Repaired => ("repaired", Value::Null),
        Outcome::Left => ("left", Value::Null),
        Outcome::Failed(reason, _) => ("failed", json!(reason)),
    };
    let value = json!({
        "Kind": found.kind, "Which": found.which, "Why": found.why, "Remedy": found.remedy,
        "Repairable": found.repairable, "Steps": found.steps, "Outcome": outcome, "Reason": reason,
    });
    format!("{value}\n")
}

fn summary(told: &Report) -> String {
    let number = |outcome: &dyn Fn(&Found) -> bool| told.found.iter().filter(|found| outcome(found)).count();
    let repaired = number(&|found| found.outcome == Outcome::Repaired);
    match (told.found.len(), repaired) {
        (0, _) if told.unseen.is_empty() => "nothing is wrong".to_owned(),
        (all, 0) => format!("{all} found"),
        (all, repaired) => format!("{all} found, {repaired} repaired"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line() {
        let mut found = Found {
            kind: "name",
            which: "web\x1b[2J".to_owned(),
            why: "it points nowhere".to_owned(),
            remedy: "remove it".to_owned(),
            repairable: true,
            steps: Vec::new(),
            outcome: Outcome::Found,
        };
        assert_eq!(line(&found), "name web: it points nowhere; a repair would remove it\n");
        found.outcome = Outcome::Failed("disk full".to_owned(), Some("free some".to_owned()));
        assert_eq!(line(&found), "name web: it points nowhere; not repaired: disk full (free some)\n");
        let mut report = Report { found: vec![found], unseen: Vec::new() };
        assert!(!report.is_clean() && summary(&report) == "1 found");
        report.found[0].outcome = Outcome::Repaired;
        assert!(report.is_clean() && summary(&report) == "1 found, 1 repaired");
    }
}
