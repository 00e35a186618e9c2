//! A kill after each step that `--explain` lists, of each process alone and of all at once, and then one next command.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use minidocker_tests::{World, scaled};

use crate::calls::{Calls, Role, Step, performed, traced};
use crate::killer::{Killed, Moment, Victims, kill_at, kill_at_start};

/// Every call of every process, and not only the last of each step.
fn long() -> bool {
    std::env::var_os("MINIDOCKER_LONG").is_some_and(|value| !value.is_empty())
}

/// Network namespaces, and the cables in them, go in the background once their last process is gone.
const BACKGROUND: Duration = Duration::from_secs(2);

/// How long a monitor may take for its container's way down on a busy machine.
const TAKING_DOWN: Duration = Duration::from_millis(500);

/// One next command, and nothing is left: no process, group, mount, link, address, name, directory.
#[track_caller]
fn expect_clean(world: &World, what: &str, killed: &Killed) {
    // A monitor that was not killed takes its container down itself, after the command has heard of the end.
    let gone = |pid: &i32| {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z') || rest.is_empty())
    };
    let deadline = Instant::now() + scaled(TAKING_DOWN);
    while !killed.calls.pids.iter().all(gone) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let listed = world.minidocker(["ps", "-a", "-q"]);
    assert_eq!((listed.code, listed.out().as_str()), (0, ""), "{what}: {listed:?}");
    let at_once: Vec<String> =
        world.leaks().into_iter().filter(|leak| !leak.starts_with("link md")).collect();
    assert!(at_once.is_empty(), "after {what} and the next command:\n  {}", at_once.join("\n  "));
    let living: Vec<_> = killed.calls.pids.iter().filter(|pid| !gone(pid)).collect();
    assert!(living.is_empty(), "{what}: processes {living:?} live");
    let deadline = Instant::now() + scaled(BACKGROUND);
    while !world.leaks().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(world.leaks().is_empty(), "{BACKGROUND:?} after {what}:\n  {}", world.leaks().join("\n  "));
}

/// The moment after the call with this index among those of `role`.
fn moment(calls: &Calls, role: Role, index: usize) -> Moment {
    let own = calls.of(role);
    let name = own[index].name.clone();
    let nth = own[..=index].iter().filter(|call| call.name == name).count();
    Moment { role, name, nth }
}

/// Kills `minidocker run OPTIONS` after every step, and looks.
#[track_caller]
fn kill_after_every_step(world: &World, options: &[&str]) {
    // Bridge and directories are made here once: what a later run does is what is looked at.
    world.minidocker(["run", "--rm"].into_iter().chain(options.iter().copied())).ok();
    world.expect_nothing_left();
    let (steps, calls) = traced(world, options);
    world.expect_nothing_left();
    let at: Vec<Option<usize>> =
        performed(&steps, &calls).into_iter().map(|found| found.expect("a true step")).collect();
    // With --explain as well: its own messages are calls too.
    let words: Vec<&str> =
        ["run", "--rm", "--explain=json"].into_iter().chain(options.iter().copied()).collect();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    for (index, step) in steps.iter().enumerate() {
        let Some(at) = at[index] else {
            // Its work was done already: there is no call to kill at.
            seen.insert(index);
            continue;
        };
        let moment = moment(&calls, step.role, at);
        // The processes that are there by then, one by one, and all of them.
        for victims in [Victims::One, Victims::All] {
            let what =
                format!("a kill of {victims:?} after step {} of {} ({moment:?})", step.id, step.role.name());
            let killed = kill_at(world, &words, &moment, victims);
            assert!(killed.hit, "{what} did not come about");
            seen.extend(last_step(&steps, &killed, step.role));
            expect_clean(world, &what, &killed);
        }
    }
    let missed: Vec<&str> =
        (0..steps.len()).filter(|i| !seen.contains(i)).map(|i| steps[i].id.as_str()).collect();
    assert!(missed.is_empty(), "no kill came right after {missed:?}");
}

/// The last step that a killed process had taken: those before it are all there, the next one is not. Each run has an
/// id of its own, which is in many of the calls.
fn last_step(steps: &[Step], killed: &Killed, role: Role) -> Option<usize> {
    let own: Vec<usize> = (0..steps.len()).filter(|index| steps[*index].role == role).collect();
    let before = steps.iter().find_map(|step| id(&step.call))?;
    let now = killed.calls.all.iter().find_map(|call| id(&call.text))?;
    let mut steps = steps.to_vec();
    for step in &mut steps {
        step.call = step.call.replace(before, now).replace(&before[..12], &now[..12]);
    }
    let done = performed(&steps, &killed.calls);
    own.into_iter().take_while(|index| done[*index].is_ok()).filter(|index| done[*index] != Ok(None)).last()
}

/// A container's id: the first 64 hexadecimal digits.
fn id(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == 64)
}

#[test]
fn a_run_on_an_overlay_with_a_network() {
    let world = World::new();
    let root = world.rootfs_inside();
    let volume = format!("{}:/v", root.path().display());
    let overlay = root.overlay();
    let options = [
        "--name", "victim", "-m", "64m", "-v", &volume, "--tmpfs", "/t", "--rootfs", &overlay, "/inside",
        "true",
    ];
    kill_after_every_step(&world, &options);
}

#[test]
fn a_run_in_a_small_network_of_its_own() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    kill_after_every_step(&world, &["--ip", "10.0.0.1", "--rootfs", &overlay, "/inside", "true"]);
}

#[test]
fn a_run_with_published_ports() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    let words = ["-p", "8080-8090:80-90", "-p", "127.0.0.1::53/udp", "--rootfs", &overlay, "/inside", "true"];
    kill_after_every_step(&world, &words);
    // Of the rules nothing is left either: the port of nobody would lead somewhere.
    let rules = world.program(["nft", "list", "ruleset"]).run().ok().out();
    assert!(!rules.contains("tcp . 8080") && rules.contains("map ports_any"), "{rules}");
}

#[test]
fn a_run_of_the_host_image() {
    let world = World::new();
    let inside = format!("{}:/inside", world.inside_path().display());
    kill_after_every_step(&world, &["--network", "none", "-v", &inside, "host", "/inside", "true"]);
}

#[test]
fn a_run_in_a_user_namespace() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    kill_after_every_step(&world, &["--userns", "private", "--rootfs", &overlay, "/inside", "true"]);
}

/// A layer on a disk of its own: the device has no owner but its users.
#[test]
fn a_run_with_a_disk_of_a_size() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    let options = ["--network", "none", "--storage-opt", "size=32m", "--rootfs", &overlay, "/inside", "true"];
    kill_after_every_step(&world, &options);
}

/// A copy in an image, half done or whole.
#[test]
fn a_run_in_an_image() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    let options = ["--network", "none", "--rootfs-kind", "loop", "--rootfs", &overlay, "/inside", "true"];
    kill_after_every_step(&world, &options);
}

/// Every call of each process, not only the last of each step: here every seventh, with MINIDOCKER_LONG=1 all.
#[test]
fn between_the_steps() {
    let world = World::new();
    let overlay = world.rootfs_inside().overlay();
    kill_between_the_steps(&world, &["--rootfs", &overlay, "/inside", "true"]);
}

/// Its bridge is made and goes with it.
#[test]
fn between_the_steps_of_a_small_network() {
    let world = World::new();
    let overlay = world.rootfs_inside().overlay();
    kill_between_the_steps(&world, &["--ip", "10.0.0.1", "--rootfs", &overlay, "/inside", "true"]);
}

/// The calls of one run, nobody killed.
#[track_caller]
fn watch(world: &World, words: &[&str]) -> Calls {
    let log = world.directory().join("strace");
    let wrapper = ["strace", "-f", "-s", "400", "-o", log.to_str().unwrap()];
    world.call(words.iter().copied()).through(&wrapper).run().ok();
    Calls::parse(&fs::read_to_string(&log).unwrap())
}

/// Nothing comes back from the end, and the first call is strace's.
fn can_stop_at(moment: &Moment) -> bool {
    !matches!(moment.name.as_str(), "exit_group" | "execve")
}

#[track_caller]
fn kill_between_the_steps(world: &World, options: &[&str]) {
    let words: Vec<&str> = ["run", "--rm"].into_iter().chain(options.iter().copied()).collect();
    world.minidocker(words.iter().copied()).ok();
    let calls = watch(world, &words);
    let every = if long() { 1 } else { 7 };
    let (mut hits, mut tries) = (0, 0);
    for role in Role::ALL {
        let count = calls.of(role).len();
        for (turn, index) in (0..count).step_by(every).enumerate() {
            let moment = moment(&calls, role, index);
            let all = [Victims::One, Victims::All];
            let victims = if long() { &all[..] } else { &all[turn % 2..][..1] };
            for victims in victims.iter().filter(|_| can_stop_at(&moment)) {
                let what = format!("a kill of {victims:?} at {moment:?}");
                let killed = kill_at(world, &words, &moment, *victims);
                // How often a process waits, and for how much at a time, is not the same in every run.
                hits += usize::from(killed.hit);
                tries += 1;
                expect_clean(world, &what, &killed);
            }
        }
    }
    assert!(tries > 60 && hits * 10 > tries * 8, "only {hits} of {tries} kills came about");
}

/// A container that lives on has a monitor, or it is gone: also where that one is killed and the command is not.
#[test]
fn a_run_that_lives_on() {
    let world = World::new();
    let overlay = world.rootfs_inside().overlay();
    let run = |program: &[&'static str]| -> Vec<String> {
        let words = ["run", "-d", "--network", "none", "--rootfs", &overlay, "/inside"];
        words.iter().chain(program).map(|word| (*word).to_owned()).collect()
    };
    let words = run(&["true"]);
    let calls = watch(&world, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let remove_all = || {
        let ids = world.minidocker(["ps", "-a", "-q"]).ok().out();
        let count = ids.lines().count();
        if count > 0 {
            world.minidocker(["rm", "-f"].into_iter().chain(ids.lines())).ok();
        }
        count
    };
    remove_all();
    let words = run(&["pause"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (mut kept, mut gone) = (0, 0);
    let count = calls.of(Role::Monitor).len();
    for index in (0..count).step_by(if long() { 1 } else { 5 }) {
        let moment = moment(&calls, Role::Monitor, index);
        if !can_stop_at(&moment) {
            continue;
        }
        drop(kill_at_start(&world, &words, &moment, Victims::One));
        match remove_all() {
            0 => gone += 1,
            _ => kept += 1,
        }
        let left = world.leaks();
        assert!(left.is_empty(), "after a kill at {moment:?} and rm -f:\n  {}", left.join("\n  "));
    }
    assert!(kept > 3 && gone > 3, "kept {kept} times, gone {gone} times");
}

/// Without --rm what was started is kept, with all that it wrote; what was never started is not. Either way nothing
/// but the record and the layer stays, and `rm` takes both.
#[test]
fn a_container_that_is_kept() {
    let world = World::new();
    let overlay = world.rootfs_inside().overlay();
    let words = ["run", "--name", "kept", "--rootfs", &overlay, "/inside", "write", "/file", "text"];
    let calls = watch(&world, &words);
    world.minidocker(["rm", "kept"]).ok();
    let (mut kept, mut gone) = (0, 0);
    for role in Role::ALL {
        let count = calls.of(role).len();
        for index in (0..count).step_by(if long() { 1 } else { 17 }) {
            let moment = moment(&calls, role, index);
            if !can_stop_at(&moment) {
                continue;
            }
            let killed = kill_at(&world, &words, &moment, Victims::All);
            let listed = world.minidocker(["ps", "-a", "--no-trunc"]).ok().out();
            let what = format!("after a kill at {moment:?}: {listed}");
            let left: Vec<String> = world.leaks();
            let ours = |leak: &&String| !leak.starts_with("link md");
            if listed.lines().count() > 1 {
                kept += 1;
                assert!(listed.contains(" kept") && !listed.contains("Up "), "{what}");
                let only = |leak: &String| {
                    leak.starts_with("state") && (leak.contains("/names/") || leak.contains("/state/"))
                };
                assert!(left.iter().filter(ours).all(only), "{what}\n{left:?}");
                world.minidocker(["rm", "kept"]).ok();
            } else {
                gone += 1;
                assert!(left.iter().filter(ours).count() == 0, "{what}\n{left:?}");
            }
            expect_clean(&world, &what, &killed);
        }
    }
    assert!(kept > 5 && gone > 5, "kept {kept} times, gone {gone} times");
}

/// `rm` of a container that ended, of one that runs, and `kill`: whatever is left half-done is done by the next.
#[test]
fn in_the_middle_of_rm() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let overlay = root.overlay();
    for runs in [false, true] {
        let make = || {
            let program: &[&str] = if runs { &["/inside", "pause"] } else { &["true"] };
            let words = ["--name", "victim", "--rootfs", &overlay].into_iter().chain(program.iter().copied());
            let id = world.detached(words);
            if !runs {
                minidocker_tests::until("it ended", || world.group(&id).processes().is_empty());
            }
        };
        make();
        let calls = watch(&world, &["rm", "-f", "victim"]);
        let count = calls.of(Role::Command).len();
        let every = if long() { 1 } else { 9 };
        for index in (0..count).step_by(every) {
            let moment = moment(&calls, Role::Command, index);
            if !can_stop_at(&moment) {
                continue;
            }
            make();
            let killed = kill_at(&world, &["rm", "-f", "victim"], &moment, Victims::One);
            // Half-removed or not begun: the next rm ends it, and one that has nothing left to do says so.
            let again = world.minidocker(["rm", "-f", "victim"]);
            let known = again.code == 0 || again.err().contains("no such container");
            assert!(known, "rm after a kill at {moment:?}: {again:?}");
            let last = killed.calls.of(Role::Command).last().map_or(String::new(), |call| call.text.clone());
            // The victim's monitor has nothing left to do then, but to end.
            minidocker_tests::until("its monitor ended", || {
                !world.leaks().iter().any(|leak| leak.starts_with("process "))
            });
            expect_clean(&world, &format!("rm, killed at {moment:?} ({last}), and {again:?}"), &killed);
        }
    }
}
