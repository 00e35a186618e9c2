//! `system prune`: everything that nobody needs.

use engine::Settings;
use engine::ops::builder::Prune;
use engine::ops::pods;

use super::{Command, builder_prune, confirmed, image, network, pod, prune, volume};
use crate::options::{Group, Typed, Words, flag, many};
use crate::problem::Problem;
use crate::terminal::plain;

pub(crate) const COMMAND: Command = Command {
    name: "system prune",
    long_names: &[],
    summary: "Remove everything that nobody needs",
    usage: &["system prune [OPTIONS]"],
    about: "Remove pods that have ended, containers that do not run, images without a name and the cache of builds;\n\
            with --all every image that no container uses, with --volumes volumes that nobody named and no container\n\
            uses. A network goes with its last container by itself. What a crash left behind is not this: see\n\
            'system check'.",
    examples: &[(
        "minidocker system prune -af --filter until=24h",
        "all that is unused and older than a day",
    )],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all", "Every image that no container uses, and all of the cache").short('a'),
            many("filter", "KEY=VALUE", "Only what has this label=, label!= or until="),
            flag("force", "Do not ask").short('f'),
            flag("volumes", "Volumes that nobody named, too"),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let all = typed.flag("all")?.unwrap_or(false);
    let volumes = typed.flag("volumes")?.unwrap_or(false);
    typed.read_many("filter", prune::Filter::parse)?;
    let filters: Vec<&str> = typed.many("filter").collect();
    if volumes && filters.iter().any(|filter| filter.starts_with("until=")) {
        return Err(Problem::new("the filter until is not supported with --volumes")
            .hint("a volume has no age that says whether somebody needs it: prune twice"));
    }
    let pods = !pods::names(settings).is_empty();
    if !typed.flag("force")?.unwrap_or(false) && !confirmed(&question(pods, all, volumes, &filters))? {
        return Ok(0);
    }
    // First, for each goes with its containers.
    let mut pruned = pod::prune::prune(&typed, settings)?;
    pruned = pruned.and(prune::prune(&typed, settings)?);
    if volumes {
        pruned = pruned.and(volume::prune::prune(&typed, settings, false)?);
    }
    pruned = pruned.and(network::prune::prune(&typed, settings)?);
    pruned = pruned.and(image::prune::prune(&typed, settings)?);
    // The cache has no labels: with one asked for, nothing of it is meant.
    if filters.iter().all(|filter| filter.starts_with("until=")) {
        let times = typed.read_many("filter", builder_prune::since)?;
        let asked = Prune { all, since: times.into_iter().min(), keep: None };
        pruned = pruned.and(builder_prune::prune(settings, &asked)?);
    }
    pruned.print()
}

/// Docker's; with Podman's line where there are pods.
fn question(pods: bool, all: bool, volumes: bool, filters: &[&str]) -> String {
    let mut lines = vec!["all stopped containers", "all networks not used by at least one container"];
    if pods {
        lines.insert(1, "all stopped pods");
    }
    if volumes {
        lines.push("all anonymous volumes not used by at least one container");
    }
    lines.extend(match all {
        true => ["all images without at least one container associated to them", "all build cache"],
        false => ["all dangling images", "unused build cache"],
    });
    let list = |lines: &[&str]| lines.iter().map(|line| format!("  - {}\n", plain(line))).collect::<String>();
    let mut text = format!("This will remove:\n{}", list(&lines));
    if !filters.is_empty() {
        text.push_str(&format!("\n  Items to be pruned will be filtered with:\n{}", list(filters)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_what_goes() {
        let text = question(false, false, false, &[]);
        assert!(!text.contains("pods"));
        assert!(text.contains("dangling images\n") && !text.contains("volumes") && !text.contains("filter"));
        let text = question(true, true, true, &["label=a"]);
        assert!(text.contains("  - all build cache\n") && text.ends_with("filtered with:\n  - label=a\n"));
        assert!(text.contains("anonymous volumes") && text.contains("all stopped pods"));
    }
}
