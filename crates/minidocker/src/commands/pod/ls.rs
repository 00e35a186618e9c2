//! `pod ls`: every pod, in Podman's columns.

use std::time::SystemTime;

use engine::Settings;
use engine::ops::pods::{self, Listed};

use super::{FAILED, LATEST, filters};
use crate::ages;
use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::template::{self, Field, Row};
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "pod ls",
    long_names: &["pod ps", "pod list"],
    summary: "List pods",
    usage: &["pod ls [OPTIONS]"],
    about: "List pods, whatever they are doing. A pod's infra is one of its containers, and has the pod's id.",
    examples: &[
        ("minidocker pod ls --filter status=running", ""),
        ("minidocker pod ls --format '{{.Name}}: {{.ContainerNames}}'", "who is in each"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            many(
                "filter",
                "KEY=VALUE",
                "Only those with this id, name, status, label, label!, network, until,\nctr-ids, ctr-names, ctr-number or ctr-status",
            )
            .short('f'),
            one("format", "FORMAT", "table, json, or a template such as '{{.Id}} {{.Name}}'"),
            LATEST,
            flag("no-trunc", "Show ids in full"),
            flag("quiet", "Show ids only").short('q'),
        ],
    }],
    words: Words::None,
    failed: FAILED,
    exec,
};

const FIELDS: &[Field] = &[
    ("Id", "POD ID"),
    ("Name", "NAME"),
    ("Status", "STATUS"),
    ("Created", "CREATED"),
    ("InfraID", "INFRA ID"),
    ("NumberOfContainers", "# OF CONTAINERS"),
    ("ContainerIds", "IDS"),
    ("ContainerNames", "NAMES"),
    ("ContainerStatuses", "STATUS"),
    ("CreatedAt", "CREATED AT"),
    ("Labels", "LABELS"),
    ("Networks", "NETWORKS"),
];

const TABLE: &str =
    "table {{.Id}}\t{{.Name}}\t{{.Status}}\t{{.Created}}\t{{.InfraID}}\t{{.NumberOfContainers}}";

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let wanted = typed.read_many("filter", filters::parse)?;
    let format = typed.read("format", |text| template::parse(text, FIELDS, TABLE))?;
    let (quiet, full, latest) = (on("quiet")?, on("no-trunc")?, on("latest")?);
    let template = match format {
        Some(template) if !quiet => template,
        _ => template::parse(if quiet { "{{.Id}}" } else { "table" }, FIELDS, TABLE).map_err(Problem::new)?,
    };
    let now = SystemTime::now();
    let most = if latest { 1 } else { usize::MAX };
    let shown =
        pods::list(settings)?.into_iter().filter(|listed| filters::all_hold(&wanted, listed)).take(most);
    let rows: Vec<Row> = shown.map(|listed| row(&listed, now, full)).collect();
    print(&template.render(FIELDS, &rows)).map(|()| 0)
}

/// The values of [`FIELDS`].
fn row(listed: &Listed, now: SystemTime, full: bool) -> Row {
    let cut = |id: &str| if full { id.to_owned() } else { id.chars().take(12).collect() };
    let infra = &listed.infra;
    let of_each = |value: &dyn Fn(&engine::ops::list::Summary) -> String| {
        listed.containers().map(value).collect::<Vec<_>>().join(",")
    };
    let labels: Vec<String> = infra.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let values = vec![
        cut(&infra.id),
        infra.name.clone(),
        listed.state().name().to_owned(),
        format!("{} ago", ages::words(ages::since(infra.created, now))),
        cut(&infra.id),
        listed.containers().count().to_string(),
        of_each(&|one| cut(&one.id)),
        of_each(&|one| one.name.clone()),
        of_each(&|one| one.state.word().to_owned()),
        ages::date(infra.created),
        labels.join(","),
        infra.networks.join(","),
    ];
    Row { values, labels: infra.labels.clone() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::filters::tests::listed;
    use super::*;

    #[test]
    fn prints_podmans_table() {
        let template = template::parse("table", FIELDS, TABLE).unwrap();
        let rows = [row(&listed(), SystemTime::UNIX_EPOCH + Duration::from_secs(120), false)];
        assert_eq!(rows[0].values.len(), FIELDS.len());
        let wanted = "POD ID         NAME      STATUS     CREATED         INFRA ID       # OF CONTAINERS\n\
                      0123456789ab   web       Degraded   2 minutes ago   0123456789ab   2\n";
        assert_eq!(template.render(FIELDS, &rows), wanted);
        let template = template::parse("{{.ContainerNames}} {{.ContainerStatuses}}", FIELDS, TABLE).unwrap();
        assert_eq!(template.render(FIELDS, &rows), "web,app running,exited\n");
    }
}
