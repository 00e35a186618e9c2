//! The end of an engine that was for a while only: what it has made of the host's network goes.

use crate::error::Error;
use crate::release::remove_link;
use crate::rules::Bridge;
use crate::settings::Settings;
use crate::table::Table;

/// Takes away the bridges and the rules of the engine with these settings, none of whose containers runs; where it has made
/// a router of this host, the host is none any more. Before its run state goes: that is where all of it is written down.
/// Again is nothing.
pub fn take_down(settings: &Settings) -> Result<(), Error> {
    let table = Table::of(&settings.run_dir);
    for bridge in table.bridges(Some(&Bridge::plain(&settings.bridge)))? {
        remove_link(&bridge.name)?;
    }
    table.take_down().map_err(Error::Kernel)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use rustix::thread::UnshareFlags;

    use super::*;

    const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

    /// Settings of an engine of the test's own, whose bridge and rules are there.
    fn engine(name: &str, bridge: &str) -> Settings {
        let run_dir = std::env::temp_dir().join(format!("minidocker-down-{name}-{}", std::process::id()));
        fs::create_dir_all(run_dir.join("addresses").join(bridge)).unwrap();
        ip(&["link", "add", bridge, "type", "bridge"]);
        let settings = Settings { run_dir, bridge: bridge.to_owned(), ..Settings::default() };
        Table::of(&settings.run_dir).ensure(&Bridge::plain(bridge)).unwrap();
        settings
    }

    fn ip(words: &[&str]) -> String {
        let output = Command::new("ip").args(words).output().expect("ip, of the package iproute2");
        assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn tables() -> Vec<String> {
        crate::table::open().unwrap().tables().unwrap()
    }

    fn forwards() -> String {
        fs::read_to_string(FORWARD).unwrap()
    }

    #[test]
    fn an_engine_that_goes_leaves_the_host_as_it_was() {
        let apart = || {
            // Deprecated for what CLONE_FILES would do to descriptors; this is CLONE_NEWNET, in a thread of its own.
            #[expect(deprecated, reason = "its successor is unsafe for a flag that is not used here")]
            rustix::thread::unshare(UnshareFlags::NEWNET).expect("as root: a network namespace");
            fs::write(FORWARD, "0").unwrap();
            let first = engine("first", "brdown0");
            assert_eq!((forwards().as_str(), tables().len()), ("1\n", 1));
            take_down(&first).unwrap();
            assert_eq!((forwards().as_str(), tables()), ("0\n", Vec::new()));
            assert!(!ip(&["-o", "link"]).contains("brdown0"));
            take_down(&first).unwrap();

            // Another engine came, which found forwarding on and did not note it: it keeps what it needs.
            let first = engine("first", "brdown0");
            let second = engine("second", "brdown1");
            take_down(&first).unwrap();
            assert_eq!((forwards().as_str(), tables().len()), ("1\n", 2));
            assert!(!ip(&["-o", "link"]).contains("brdown0"));
            take_down(&second).unwrap();
            take_down(&first).unwrap();
            assert_eq!((forwards().as_str(), tables()), ("0\n", Vec::new()));
            for settings in [first, second] {
                fs::remove_dir_all(settings.run_dir).unwrap();
            }
        };
        std::thread::spawn(apart).join().unwrap();
    }
}
