//! `--ulimit NAME=SOFT[:HARD]`: getrlimit(2).

use engine::request::Ulimit;

use super::numbers;

const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One limit; -1 stands for none, a hard limit that is left out is the soft one.
pub(crate) fn parse(text: &str) -> Result<Ulimit, String> {
    let help = "write it as nofile=1024:2048";
    let (name, limits) = text.split_once('=').ok_or_else(|| format!("no limit; {help}"))?;
    if !NAMES.contains(&name) {
        return Err(format!("no limit is called {}; {help}", step::quote(name)));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    if soft > hard {
        return Err(format!("the soft limit is above the hard one; {help}"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

fn limit(text: &str) -> Result<u64, String> {
    if text == "-1" || text == "unlimited" {
        return Ok(u64::MAX);
    }
    numbers::within(text, 0..=u64::MAX).map_err(|_| {
        format!("{} is neither a number nor -1 for no limit; write it as nofile=1024:2048", step::quote(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_limits() {
        let limit = |name: &str, soft, hard| Ok(Ulimit { name: name.into(), soft, hard });
        assert_eq!(parse("nofile=1024:2048"), limit("nofile", 1024, 2048));
        assert_eq!(parse("nofile=1024"), limit("nofile", 1024, 1024));
        assert_eq!(parse("core=0"), limit("core", 0, 0));
        assert_eq!(parse("nproc=-1"), limit("nproc", u64::MAX, u64::MAX));
        assert_eq!(parse("memlock=5:-1"), limit("memlock", 5, u64::MAX));
    }

    #[test]
    fn refuses_others() {
        for text in [
            "",
            "nofile",
            "nofile=",
            "nofile=:",
            "nofile=1:",
            "nofile=a",
            "nofile=-2",
            "NOFILE=1",
            "files=1",
            "nofile=1:2:3",
            "nofile=1.5",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["nofile=2:1", "nofile=-1:5"] {
            assert!(parse(text).unwrap_err().starts_with("the soft limit is above"), "{text}");
        }
    }
}
