//! The machine, the environments, and what is typed to have the run again.

use std::fmt::Write as _;

use super::text::escape;
use crate::quantity::binary;
use crate::read::Results;
use crate::report::shell;

pub(super) fn host(results: &Results) -> String {
    let host = &results.run.host;
    let mut html = "<h3>The host</h3><dl>".to_owned();
    let cpus = format!("{}, {} online", host.processor, host.cpus);
    let memory = binary(host.memory);
    let hypervisor = if host.hypervisor.is_empty() { "none that can be told" } else { &host.hypervisor };
    let known = [
        ("Processors", cpus.as_str()),
        ("Memory", &memory),
        ("Kernel", &host.kernel),
        ("System", &host.system),
        ("Control groups", &host.cgroup),
        ("Disk", &host.disk),
        ("Hypervisor below", hypervisor),
    ];
    let facts = host.facts.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in known.into_iter().chain(facts) {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(&super::upper(key)), escape(value));
    }
    html + "</dl>"
}

pub(super) fn environments(results: &Results) -> String {
    let mut html = "<h3>The environments</h3><dl>".to_owned();
    for environment in &results.run.environments {
        let facts: Vec<String> =
            environment.facts.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let facts = if facts.is_empty() {
            String::new()
        } else {
            format!("<br><span class=\"soft\">{}</span>", escape(&facts.join("; ")))
        };
        let _ = write!(
            html,
            "<dt>{}</dt><dd>{}{facts}</dd>",
            escape(&environment.name),
            escape(&environment.description)
        );
    }
    html.push_str("</dl><h3>The sizes</h3><dl>");
    for size in &results.run.sizes {
        let cpus =
            if size.cpus == 1 { "1 processor".to_owned() } else { format!("{} processors", size.cpus) };
        let _ = write!(html, "<dt>{}</dt><dd>{}, {cpus}</dd>", escape(&size.name), binary(size.memory));
    }
    html + "</dl>"
}

pub(super) fn repeat(results: &Results) -> String {
    let run = &results.run;
    format!(
        "<p>With minidocker {} and the suite below:</p><pre>{}</pre><details><summary>The suite {}, whole</summary><pre>{}</pre></details>",
        escape(&run.version),
        escape(&shell(&run.command)),
        escape(&run.suite),
        escape(&run.suite_text)
    )
}
