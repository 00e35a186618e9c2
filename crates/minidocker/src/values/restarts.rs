//! `--restart`: what becomes of a container that has ended.

use engine::request::Restart;

/// `no`, `on-failure[:TIMES]`, `always`, `unless-stopped`.
pub(crate) fn policy(text: &str) -> Result<Restart, String> {
    let wrong = || "there are no, on-failure[:TIMES], always and unless-stopped".to_owned();
    let (name, times) = text.split_once(':').map_or((text, None), |(name, times)| (name, Some(times)));
    match (name, times) {
        ("no" | "", None) => Ok(Restart::No),
        ("always", None) => Ok(Restart::Always),
        ("unless-stopped", None) => Ok(Restart::UnlessStopped),
        ("on-failure", None) => Ok(Restart::OnFailure(None)),
        ("on-failure", Some(times)) => match times.parse() {
            // Docker's: 0 is no bound.
            Ok(0) => Ok(Restart::OnFailure(None)),
            Ok(times) => Ok(Restart::OnFailure(Some(times))),
            Err(_) => Err(format!("{} is no number of times", step::quote(times))),
        },
        ("no" | "always" | "unless-stopped", Some(_)) => {
            Err(format!("only on-failure has a number of times, {name} has none"))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_policies() {
        assert_eq!(policy("no"), Ok(Restart::No));
        assert_eq!(policy("on-failure"), Ok(Restart::OnFailure(None)));
        assert_eq!(policy("on-failure:3"), Ok(Restart::OnFailure(Some(3))));
        assert_eq!(policy("unless-stopped"), Ok(Restart::UnlessStopped));
        for bad in ["never", "always:3", "on-failure:", "on-failure:-1", "on-failure:x"] {
            assert!(policy(bad).is_err(), "{bad}");
        }
    }
}
