//! Values of pods' options.

use engine::request::Share;

/// `--share`: what is shared, in the place of the default; with a plus before each besides it: `+pid`.
pub(crate) fn share(text: &str) -> Result<Vec<Share>, String> {
    const HELP: &str =
        "there are ipc, net, pid, uts and none, with commas between them; +pid is the default and pid";
    let mut wanted: Vec<Share> = Vec::new();
    if text.starts_with('+') {
        wanted.extend(Share::USUAL);
    }
    let more = !wanted.is_empty();
    for word in text.split(',') {
        let name = if more { word.strip_prefix('+').unwrap_or(word) } else { word };
        match Share::ALL.into_iter().find(|share| share.name() == name) {
            Some(share) => wanted.push(share),
            None if ["", "none"].contains(&name) && text.len() == name.len() => {}
            None if name == "cgroup" => {
                return Err(
                    "each container of a pod has control groups of its own: cgroup is not shared".to_owned()
                );
            }
            None => return Err(format!("no such namespace to share: {}; {HELP}", step::quote(name))),
        }
    }
    Ok(Share::ALL.into_iter().filter(|share| wanted.contains(share)).collect())
}

/// `--exit-policy`: whether the pod ends with its last container.
pub(crate) fn exit_policy(text: &str) -> Result<bool, String> {
    match text {
        "continue" => Ok(false),
        "stop" => Ok(true),
        _ => Err("no such policy, there are continue and stop".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_has_an_order() {
        assert_eq!(share("uts,ipc"), Ok(vec![Share::Ipc, Share::Uts]));
        assert_eq!(share("net"), Ok(vec![Share::Net]));
        assert_eq!(share("+pid"), Ok(Share::ALL.to_vec()));
        assert_eq!(share("+pid,+net"), Ok(Share::ALL.to_vec()));
        assert_eq!((share("none"), share("")), (Ok(Vec::new()), Ok(Vec::new())));
        for text in ["mnt", "net,none", "net,", "NET", "cgroup", ",", "+", "none,"] {
            assert!(share(text).is_err(), "{text}");
        }
        assert!(share("cgroup").unwrap_err().contains("of its own"));
        assert_eq!((exit_policy("stop"), exit_policy("continue")), (Ok(true), Ok(false)));
        assert!(exit_policy("").is_err());
    }
}
