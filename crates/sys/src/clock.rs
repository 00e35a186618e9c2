//! The user's time zone: TZ, or /etc/localtime (tzset(3)).

use std::mem::MaybeUninit;

/// How many seconds east of UTC the zone's clock stands when it shows `shown`, seconds since 1970 as if it were UTC. Where
/// it shows a moment twice or never, as C's mktime(3) takes it; 0 where that cannot tell.
pub fn offset(shown: i64) -> i64 {
    let mut clock = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to valid memory for the call; gmtime_r fills all of `clock` unless it gives null.
    let clock = unsafe {
        if libc::gmtime_r(&shown, clock.as_mut_ptr()).is_null() {
            return 0;
        }
        clock.assume_init_mut()
    };
    // Whether it is summer is for mktime to find out.
    clock.tm_isdst = -1;
    // SAFETY: `clock` is a valid tm, written by gmtime_r. mktime reads the environment (TZ), as std's own functions do
    // under their lock: nobody sets variables while others run, for each of our processes has one thread when it does.
    let moment = unsafe { libc::mktime(clock) };
    if moment == -1 && shown > 86_400 { 0 } else { shown - moment }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// In a process of its own each, for the zone is the environment's.
    #[test]
    fn zones_are_those_of_the_environment() {
        for (zone, shown, wanted) in [
            ("UTC0", 1_795_281_157, 0),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_795_281_157, 3600),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_784_000_000, 7200),
            ("<-0330>3:30", 1_795_281_157, -12_600),
            ("<-0330>3:30", 0, -12_600),
        ] {
            let own = std::env::current_exe().unwrap();
            let told = Command::new(own)
                .args(["--exact", "clock::tests::tell", "--ignored", "--nocapture"])
                .env("TZ", zone)
                .env("SHOWN", shown.to_string())
                .output()
                .unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            assert!(told.contains(&format!("offset {wanted}\n")), "{zone} {shown}: {told}");
        }
    }

    /// Started by the test above.
    #[test]
    #[ignore = "it is the other process of zones_are_those_of_the_environment"]
    fn tell() {
        let shown = std::env::var("SHOWN").unwrap().parse().unwrap();
        println!("offset {}", super::offset(shown));
    }
}
