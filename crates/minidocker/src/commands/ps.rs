//! `ps`: lists containers, in Docker's columns and words.

mod filters;
mod ports;

use std::collections::BTreeMap;
use std::time::SystemTime;

use engine::Settings;
use engine::ops::list::{self, Health, State, Summary};

use super::Command;
use crate::ages;
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::template::{self, Field, Row};
use crate::terminal::print;
use crate::values::{numbers, sizes};
use filters::Filters;

pub(crate) const COMMAND: Command = Command {
    name: "ps",
    long_names: &["container ls", "container list", "container ps"],
    summary: "List containers",
    usage: &["ps [OPTIONS]"],
    about: "List containers; those that run, where no option says otherwise.",
    examples: &[
        ("minidocker ps -a", "those that have ended too"),
        ("minidocker ps -aq --filter status=exited", "ids of those that have ended"),
        ("minidocker ps --format '{{.ID}} {{.Names}}'", "one's own columns"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all", "Show those that have ended too").short('a'),
            many(
                "filter",
                "KEY=VALUE",
                "Only those with this name, id, label, label!, status, exited, ancestor,\n\
                 before, since, health, is-task, network, volume, publish, expose or pod",
            )
            .short('f'),
            one("format", "FORMAT", "table, json, or a template such as '{{.ID}} {{.Names}}'"),
            one("last", "NUMBER", "Show the newest ones, ended or not").short('n'),
            flag("latest", "Show the newest one, ended or not").short('l'),
            flag("no-trunc", "Show ids and commands in full"),
            flag("pod", "Show the pods that they are in").short('p'),
            flag("quiet", "Show ids only").short('q'),
            flag("size", "Show what they have written, and what their roots have in all").short('s'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

const FIELDS: &[Field] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Addresses", "ADDRESSES"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    (SIZE, "SIZE"),
    ("Pod", "POD ID"),
    ("PodName", "PODNAME"),
];

/// The field that costs a walk through all that a container has written.
const SIZE: &str = "Size";

const TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let filters = Filters::new(typed.read_many("filter", filters::parse)?, settings)?;
    let format = typed.read("format", |text| template::parse(text, FIELDS, TABLE))?;
    let last = typed.read("last", |text| numbers::within(text, -1..=i64::from(i32::MAX)))?.unwrap_or(-1);
    let last = if on("latest")? && last < 1 { 1 } else { last };
    let all = on("all")? || last > 0 || filters.ask_for_ended();
    let (quiet, full) = (on("quiet")?, on("no-trunc")?);
    let template = match format {
        _ if quiet => template::parse("{{.ID}}", FIELDS, TABLE),
        Some(template) => Ok(template),
        None => {
            let size = if on("size")? { "\t{{.Size}}" } else { "" };
            let pod = if on("pod")? { "\t{{.Pod}}\t{{.PodName}}" } else { "" };
            template::parse(&format!("{TABLE}{size}{pod}"), FIELDS, TABLE)
        }
    };
    let template = template.map_err(Problem::new)?;
    let counted = on("size")? && !quiet || template.names(FIELDS, SIZE);

    let now = SystemTime::now();
    let all_of_them = list::list(settings)?;
    let infras = all_of_them.iter().filter(|one| one.pod.as_ref().is_some_and(|pod| pod.infra.is_some()));
    let pods: Pods = infras.map(|one| (one.id.clone(), one.name.clone())).collect();
    let shown = all_of_them
        .into_iter()
        .filter(|one| all || is_up(&one.state))
        .filter(|one| filters.let_through(one))
        .take(usize::try_from(last).ok().filter(|last| *last > 0).unwrap_or(usize::MAX));
    let sizes = |one: &Summary| if counted { list::sizes(settings, &one.id) } else { None };
    let rows: Vec<Row> =
        shown.map(|one| (sizes(&one), one)).map(|(size, one)| row(one, size, &pods, now, full)).collect();
    print(&template.render(FIELDS, &rows)).map(|()| 0)
}

/// The names of pods, by their ids.
type Pods = BTreeMap<String, String>;

/// The values of [`FIELDS`].
fn row(one: Summary, size: Option<(u64, u64)>, pods: &Pods, now: SystemTime, full: bool) -> Row {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let id = if full { one.id.clone() } else { cut(&one.id, 12) };
    let words = quoted(&one.command);
    let command = if full || words.chars().count() <= 20 { words } else { format!("{}…", cut(&words, 19)) };
    let mounted = mounts(&one, full);
    let up = matches!(one.state, State::Running(..) | State::Paused(..));
    let labels: Vec<String> = one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let values = vec![
        id,
        one.image,
        format!("{command:?}"),
        ages::date(one.created),
        format!("{} ago", ages::words(ages::since(one.created, now))),
        status(&one.state, one.health, now),
        one.state.word().to_owned(),
        ports::words(if up { &one.exposed } else { &[] }, &one.ports),
        one.name,
        labels.join(","),
        one.addresses.join(","),
        mounted,
        one.volumes.to_string(),
        one.networks.join(","),
        match size {
            None | Some((0, 0)) => "0B".to_owned(),
            Some((written, 0)) => sizes::decimal(written),
            Some((written, all)) => format!("{} (virtual {})", sizes::decimal(written), sizes::decimal(all)),
        },
        one.pod.as_ref().map_or_else(String::new, |pod| if full { pod.id.clone() } else { cut(&pod.id, 12) }),
        one.pod.as_ref().and_then(|pod| pods.get(&pod.id)).cloned().unwrap_or_default(),
    ];
    Row { values, labels: one.labels }
}

/// The command's words, those after the first with quotes where they have blanks: Docker's way.
fn quoted(words: &[String]) -> String {
    let one = |(at, word): (usize, &String)| {
        if at > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() }
    };
    words.iter().enumerate().map(one).collect::<Vec<_>>().join(" ")
}

/// What is mounted of the host, each cut to fifteen letters as Docker cuts them.
fn mounts(one: &Summary, full: bool) -> String {
    let cut = |text: &str| match text.chars().count() {
        count if full || count <= 15 => text.to_owned(),
        _ => text.chars().take(14).collect::<String>() + "…",
    };
    let sources = one.mounts.iter().map(|(source, _)| source).filter(|source| !source.is_empty());
    sources.map(|source| cut(source)).collect::<Vec<_>>().join(",")
}

/// Whether `ps` shows it without being asked: Docker counts one between two starts as running.
fn is_up(state: &State) -> bool {
    matches!(state, State::Running(..) | State::Paused(..) | State::Restarting(..))
}

/// Docker's words for a state, for how long it has lasted, and for the health of what runs.
pub(crate) fn status(state: &State, health: Option<Health>, now: SystemTime) -> String {
    match state {
        State::Created => "Created".to_owned(),
        State::Running(since, _) => {
            let health = match health {
                None => String::new(),
                Some(Health::Starting) => " (health: starting)".to_owned(),
                Some(health) => format!(" ({})", health.name()),
            };
            format!("Up {}{health}", ages::words(ages::since(*since, now)))
        }
        State::Paused(since, _) => {
            format!("Up {} (Paused)", ages::words(ages::since(*since, now)))
        }
        State::Restarting(at, code) => {
            format!("Restarting ({code}) {} ago", ages::words(ages::since(*at, now)))
        }
        State::Exited(at, code) => format!("Exited ({code}) {} ago", ages::words(ages::since(*at, now))),
        State::Lost => "Exited (lost)".to_owned(),
        State::Damaged(_) => "Damaged".to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in crate::commands) fn summary(name: &str, state: State) -> Summary {
        Summary {
            id: "0123456789abcdef".repeat(4),
            name: name.to_owned(),
            image: "host".to_owned(),
            command: vec!["sh".to_owned(), "-c".to_owned(), "sleep 1000; echo \"done\"".to_owned()],
            created: SystemTime::UNIX_EPOCH,
            state,
            labels: BTreeMap::from([("tier".to_owned(), "web".to_owned())]),
            addresses: vec!["172.30.0.2/16".to_owned()],
            image_id: None,
            mounts: vec![("/srv/of/the/website".to_owned(), "/srv".to_owned())],
            volumes: 0,
            networks: vec!["bridge".to_owned()],
            ports: Vec::new(),
            exposed: Vec::new(),
            to_publish: Vec::new(),
            health: None,
            pod: None,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn tells_states_in_dockers_words() {
        assert_eq!(status(&State::Running(at(0), 7), None, at(5)), "Up 5 seconds");
        assert_eq!(status(&State::Exited(at(0), 137), None, at(180)), "Exited (137) 3 minutes ago");
        assert_eq!(status(&State::Created, None, at(0)), "Created");
        assert_eq!(status(&State::Lost, None, at(0)), "Exited (lost)");
        assert_eq!(status(&State::Damaged("no format".into()), None, at(0)), "Damaged");
        for (health, words) in [
            (Health::Starting, "Up 5 seconds (health: starting)"),
            (Health::Healthy, "Up 5 seconds (healthy)"),
            (Health::Unhealthy, "Up 5 seconds (unhealthy)"),
        ] {
            assert_eq!(status(&State::Running(at(0), 7), Some(health), at(5)), words);
            assert_eq!(status(&State::Paused(at(0), 7), Some(health), at(5)), "Up 5 seconds (Paused)");
        }
        assert_eq!((State::Lost.word(), State::Running(at(0), 1).word()), ("exited", "running"));
    }

    #[test]
    fn prints_dockers_table() {
        let template = template::parse("table", FIELDS, TABLE).unwrap();
        let rows = [row(summary("web", State::Running(at(0), 7)), None, &Pods::new(), at(5), false)];
        let wanted = "CONTAINER ID   IMAGE     COMMAND                  CREATED         STATUS         PORTS     NAMES\n\
                      0123456789ab   host      \"sh -c 'sleep 1000; …\"   5 seconds ago   Up 5 seconds             web\n";
        assert_eq!(template.render(FIELDS, &rows), wanted);
    }

    #[test]
    fn full_rows_are_not_cut() {
        let row = row(summary("web", State::Lost), Some((2000, 5_600_000)), &Pods::new(), at(5), true);
        assert_eq!(row.values.len(), FIELDS.len());
        assert_eq!(row.values[0].len(), 64);
        assert_eq!(row.values[2], r#""sh -c 'sleep 1000; echo \"done\"'""#);
        assert_eq!(row.values[9], "tier=web");
        let named = |row: &Row, name: &str| {
            row.values[FIELDS.iter().position(|(known, _)| *known == name).unwrap()].clone()
        };
        assert_eq!(named(&row, "Size"), "2kB (virtual 5.6MB)");
        assert_eq!(
            (named(&row, "Mounts"), named(&row, "Networks")),
            ("/srv/of/the/website".into(), "bridge".into())
        );
        let row = super::row(summary("web", State::Lost), None, &Pods::new(), at(5), false);
        assert_eq!((named(&row, "Size"), named(&row, "Mounts")), ("0B".into(), "/srv/of/the/we…".into()));
    }
}
