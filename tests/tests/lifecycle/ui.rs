//! `ui`: all containers on one screen, and the terminal as it was on every way out.

use minidocker_tests::{World, until};

const OTHER_SCREEN: &str = "\x1b[?1049h";
const OWN_SCREEN: &str = "\x1b[?1049l";

#[test]
fn it_shows_containers_and_acts_on_them() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.detached(["--name", "web", "--rootfs", &root, "/inside", "pause"]);
    let mut screen = world.pty(["ui"]);
    screen.until(OTHER_SCREEN);
    screen.until("1 running");
    screen.until("web");
    // What is drawn is what has changed: whole words, but not always what stands between them.
    screen.until("/inside");
    screen.type_in("?");
    screen.until("leave;");
    screen.type_in("x");
    screen.type_in("p");
    until("it stands still", || world.minidocker(["ps", "--format", "{{.State}}"]).text() == "paused");
    // It goes by what it sees, and looks once a second.
    screen.until("paused");
    screen.type_in("p");
    until("it runs on", || world.minidocker(["ps", "--format", "{{.State}}"]).text() == "running");
    // Nothing is killed without a yes.
    screen.type_in("Kn");
    screen.resize(40, 120);
    screen.until("DISK");
    assert!(!world.group(&id).processes().is_empty());
    screen.type_in("Ky");
    until("it has ended", || world.minidocker(["ps", "-q"]).text().is_empty());
    screen.type_in("q");
    let output = screen.wait();
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out().ends_with(OWN_SCREEN), "{output:?}");
    assert_eq!(screen.settings(), screen.settings_before());
    world.minidocker(["rm", "web"]).ok();
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_as_it_was() {
    let world = World::new();
    for signal in [15, 1, 2] {
        let mut screen = world.pty(["ui"]);
        screen.until("no containers");
        assert_ne!(screen.settings(), screen.settings_before());
        screen.running().signal(signal);
        let output = screen.wait();
        assert!(output.out().ends_with(OWN_SCREEN), "{signal}: {output:?}");
        assert_eq!(screen.settings(), screen.settings_before(), "{signal}");
    }
}

#[test]
fn without_a_terminal_it_is_refused() {
    let world = World::new();
    world.minidocker(["ui"]).refuses(1, &["ui needs a terminal"]).hints("stats --format json");
}
