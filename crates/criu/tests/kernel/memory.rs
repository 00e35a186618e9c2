//! Memory in advance and memory afterwards: pre-dumps and lazy pages.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use criu::{DumpOptions, Error, Event, Notify, PageServer, Script, Version};
use step::Failure;

use crate::machine::{with_criu, with_criu_if};
use crate::world::{Container, Noting, World, there_and_back, wait_until};

#[test]
fn a_criu_tells_its_version_and_features() {
    with_criu(|criu| {
        let oldest = Version { major: 3, minor: 17, sublevel: 0, git: None };
        let version = criu.version().unwrap();
        assert!(version >= oldest, "{version}");
        let output = Command::new(criu.program()).arg("--version").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let plain = Version { git: None, ..version }.to_string();
        assert!(said.contains(&format!("Version: {plain}")), "{said}");
        // userfaultfd(2) and pidfds are in every kernel that CRIU works on here.
        let features = criu.features().unwrap();
        assert!(features.lazy_pages && features.pidfd_store, "{features:?}");
    });
}

#[test]
fn a_dump_goes_on_where_its_pre_dump_ended() {
    with_criu(|criu| {
        let world = World::new("predump");
        let container = world.start_counting();
        let mut first = DumpOptions { pre_dump: true, ..world.dump_options(&container) };
        first.common.images_dir = world.path("first");
        if !criu.features().unwrap().memory_tracking {
            // This kernel has no CONFIG_MEM_SOFT_DIRTY: it is told before anything is done.
            let error = criu.dump(&first, &mut ()).unwrap_err();
            assert!(matches!(error, Error::Feature { .. }), "{error}");
            assert!(!world.path("first").exists());
            return;
        }
        let mut noting = Noting::default();
        assert!(criu.dump(&first, &mut noting).unwrap().complaints.is_empty());
        assert_eq!(noting.scripts, []);
        // Memory, and nothing else.
        assert!(world.path("first/pages-1.img").exists() && !world.path("first/core-1.img").exists());
        let counted = world.count();
        world.wait_for_count(counted + 3);

        let second = DumpOptions { parent_path: Some("../first".into()), ..world.dump_options(&container) };
        let (_container, _) = there_and_back(&criu, container, &second, &world.restore_options());
        assert_eq!(fs::read_link(world.path("images/parent")).unwrap().to_str(), Some("../first"));
        let counted = world.count();
        world.wait_for_count(counted + 3);
    });
}

/// Tells when memory is being served.
struct Ready(Sender<()>);

impl Notify for Ready {
    fn notified(&mut self, event: Event) -> Result<(), Failure> {
        if event.script == Script::StatusReady {
            self.0.send(()).unwrap();
        }
        Ok(())
    }
}

#[test]
fn memory_comes_when_it_is_needed() {
    let sets = rustix::thread::capabilities(None).unwrap();
    let may = sets.effective.contains(rustix::thread::CapabilitySet::SYS_RESOURCE);
    let large_pipes = if may { Ok(()) } else { Err("CRIU's pipes need the capability SYS_RESOURCE") };
    with_criu_if(large_pipes, |criu| {
        let world = World::new("lazy");
        let container = world.start_counting();
        let port = {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            free.local_addr().unwrap().port()
        };
        let page_server = Some(PageServer { address: "127.0.0.1".into(), port });
        let mut dump = DumpOptions { page_server, ..world.dump_options(&container) };
        dump.common.lazy_pages = true;
        let (ready, wait) = channel();
        let dumping = std::thread::spawn({
            let criu = criu.clone();
            move || criu.dump(&dump, &mut Ready(ready))
        });
        if wait.recv().is_err() {
            panic!("{}", dumping.join().unwrap().unwrap_err());
        }
        // Only at the address that was given, and not to the whole network.
        assert_eq!(listeners(port), ["0100007F"]);
        let counted = world.count();

        let mut daemon = Command::new(criu.program())
            .args(["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", &port.to_string()])
            .arg("--images-dir")
            .arg(world.path("images"))
            .args(["--log-file", "lazy-pages.log"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the lazy-pages daemon", || world.path("images/lazy-pages.socket").exists());
        let mut restore = world.restore_options();
        restore.common.lazy_pages = true;
        // The dumped processes still stand: in their own pid namespace their numbers are no hindrance.
        let restored = Container::restored(criu.restore(&restore, &mut ()).unwrap());
        world.wait_for_count(counted + 3);
        assert!(daemon.wait().unwrap().success());
        assert!(dumping.join().unwrap().unwrap().complaints.is_empty());
        container.wait_until_gone();
        drop(restored);
    });
}

/// The addresses, as /proc/net/tcp writes them, at which somebody listens on a port.
fn listeners(port: u16) -> Vec<String> {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    let local = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, number) = fields.next()?.split_once(':')?;
        let listens = fields.nth(1)? == "0A";
        (listens && u16::from_str_radix(number, 16) == Ok(port)).then(|| address.to_owned())
    };
    tables.iter().flat_map(|table| table.lines().filter_map(local)).collect()
}
