//! A container is dumped and restored, with nothing outside.

use criu::{DumpOptions, NetworkLock, Script};
use rustix::process::Signal;

use crate::machine::with_criu;
use crate::world::{COUNT, Container, Noting, Start, World, there_and_back};

#[test]
fn a_dumped_container_is_gone_and_counts_on_when_it_is_restored() {
    with_criu(|criu| {
        let world = World::new("plain");
        let container = world.start_counting();
        let mut dumping = Noting::default();
        criu.dump(&world.dump_options(&container), &mut dumping)
            .unwrap()
            .complaints
            .is_empty()
            .then_some(())
            .unwrap();
        container.wait_until_gone();
        let counted = world.count();
        assert!(counted >= 3);
        assert_eq!(dumping.known_to(&criu), [Script::PreDump, Script::PostDump]);
        assert!(world.path("images/dump.log").is_file());

        let mut restoring = Noting::default();
        let container = Container::restored(criu.restore(&world.restore_options(), &mut restoring).unwrap());
        world.wait_for_count(counted + 3);
        // It went on where it was, rather than beginning anew.
        assert!(world.count() < counted + 10_000);
        let scripts = [
            Script::PreRestore,
            Script::SetupNamespaces,
            Script::PostSetupNamespaces,
            Script::PostRestore,
            Script::PreResume,
            Script::PostResume,
        ];
        assert_eq!(restoring.scripts, scripts);
        // Its clocks go on where they were.
        assert_ne!(
            container.link("ns/time"),
            std::fs::read_link("/proc/self/ns/time").unwrap().to_str().unwrap()
        );
        let pid = container.init;
        assert_eq!(restoring.pids, [(Script::SetupNamespaces, pid), (Script::PostRestore, pid)]);
        // A child of this process: nobody else could have waited for it.
        assert_eq!(container.end().unwrap().terminating_signal(), Some(Signal::KILL.as_raw()));
    });
}

#[test]
fn a_container_that_is_left_running_can_be_dumped_again() {
    with_criu(|criu| {
        let world = World::new("running");
        let container = world.start_counting();
        for images in ["first", "second"] {
            let mut options = DumpOptions { leave_running: true, ..world.dump_options(&container) };
            options.common.images_dir = world.path(images);
            options.common.work_dir = Some(world.path("work"));
            assert!(criu.dump(&options, &mut ()).unwrap().complaints.is_empty());
            assert!(world.path(images).join("inventory.img").is_file());
            let counted = world.count();
            world.wait_for_count(counted + 3);
        }
        assert!(world.path("work/dump.log").is_file());
        assert!(!world.path("first/dump.log").exists());
    });
}

#[test]
fn a_network_of_its_own_is_locked_and_unlocked() {
    with_criu(|criu| {
        let world = World::new("network");
        let container = world.start(&Start { script: COUNT, unshare: &["--net"], ..Start::default() });
        world.wait_for_count(3);
        let before = container.link("ns/net");
        let mut dumping = Noting::default();
        let mut options = DumpOptions { leave_running: true, ..world.dump_options(&container) };
        options.common.network_lock = NetworkLock::Iptables;
        assert!(criu.dump(&options, &mut dumping).unwrap().complaints.is_empty());
        let scripts = [Script::PreDump, Script::NetworkLock, Script::PostDump, Script::NetworkUnlock];
        assert_eq!(dumping.known_to(&criu), scripts);

        options.leave_running = false;
        let restore = world.restore_options();
        let (container, restoring) = there_and_back(&criu, container, &options, &restore);
        assert!(restoring.scripts.contains(&Script::NetworkUnlock), "{:?}", restoring.scripts);
        let after = container.link("ns/net");
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert!(after != before && after != own.to_str().unwrap(), "{before} {after}");
    });
}
