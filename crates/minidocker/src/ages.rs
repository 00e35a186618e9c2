//! Times as Docker tells them: "5 seconds ago", "About an hour", "2026-08-01 12:00:00 +0000 UTC".

use std::time::{Duration, SystemTime};

use oci::time::{Rfc3339, nanoseconds};

/// How long that is, in words.
pub(crate) fn words(age: Duration) -> String {
    let seconds = age.as_secs();
    let minutes = seconds / 60;
    // Docker rounds to the nearest hour.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// The time since `then`; none where the clock was set back.
pub(crate) fn since(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

/// Date and time of day in UTC.
pub(crate) fn date(time: SystemTime) -> String {
    rfc3339(time).replace('T', " ").replace('Z', " +0000 UTC")
}

/// The same as RFC 3339 writes it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    Rfc3339::seconds(nanoseconds(time).div_euclid(1_000_000_000)).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn tells_ages_in_dockers_words() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 86400, "13 days"),
            (14 * 86400, "2 weeks"),
            (59 * 86400, "8 weeks"),
            (60 * 86400, "2 months"),
            (729 * 86400, "24 months"),
            (730 * 86400, "2 years"),
        ];
        for (seconds, wanted) in cases {
            assert_eq!(words(Duration::from_secs(seconds)), wanted, "{seconds}");
        }
        assert_eq!(since(UNIX_EPOCH + Duration::from_secs(9), UNIX_EPOCH), Duration::ZERO);
    }

    #[test]
    fn tells_dates() {
        let date = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(date(0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59 +0000 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 +0000 UTC");
        assert_eq!(date(1_798_761_599), "2026-12-31 23:59:59 +0000 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00:00 +0000 UTC");
    }
}
