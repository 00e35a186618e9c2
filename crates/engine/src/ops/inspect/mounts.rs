//! `Mounts`: what is mounted besides the root.

use serde_json::{Value, json};

use crate::request::{Mount, RunRequest};

pub(super) fn of(request: &RunRequest) -> Value {
    request.storage.mounts.iter().map(one).collect()
}

fn one(mount: &Mount) -> Value {
    match mount {
        Mount::Bind { source, target, read_only, propagation, .. } => json!({
            "Type": "bind",
            "Source": source,
            "Destination": target,
            "Mode": if *read_only { "ro" } else { "" },
            "RW": !read_only,
            "Propagation": propagation.as_deref().unwrap_or("rprivate"),
        }),
        Mount::Tmpfs { target, options } => json!({
            "Type": "tmpfs",
            "Source": "",
            "Destination": target,
            "Mode": options.join(","),
            "RW": !options.iter().any(|option| option == "ro"),
            "Propagation": "",
        }),
    }
}

/// As `-v` has it: `/src:/dst:ro`.
pub(super) fn bind_text(mount: &Mount) -> Option<String> {
    let Mount::Bind { source, target, read_only, propagation, .. } = mount else { return None };
    let options: Vec<&str> = read_only.then_some("ro").into_iter().chain(propagation.as_deref()).collect();
    let text = format!("{}:{}", source.display(), target.display());
    Some(if options.is_empty() { text } else { format!("{text}:{}", options.join(",")) })
}
