//! What goes wrong is told: with CRIU's own words, the log and a way out. What was to be dumped lives on; of what was
//! to be restored nothing is left.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use criu::{Criu, DumpOptions, Error, RestoreOptions, Script};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::machine::with_criu;
use crate::world::{Container, Noting, Start, World, script, wait_until};

#[test]
fn a_refused_dump_leaves_the_container_running() {
    with_criu(|criu| {
        for at in [Script::PreDump, Script::PostDump] {
            let world = World::new(&format!("refused-{at}"));
            let container = world.start_counting();
            let mut noting = Noting::refusing(at.clone());
            match criu.dump(&world.dump_options(&container), &mut noting).unwrap_err() {
                Error::Refused { asked: "dump", at: told, failure } => {
                    assert_eq!((told.as_str(), failure.cause().as_str()), (at.name(), "refused"));
                }
                other => panic!("{other}"),
            }
            let counted = world.count();
            world.wait_for_count(counted + 3);
        }
    });
}

#[test]
fn of_a_refused_restore_nothing_is_left() {
    with_criu(|criu| {
        let world = World::new("refused");
        let container = world.start_counting();
        assert!(criu.dump(&world.dump_options(&container), &mut ()).unwrap().complaints.is_empty());
        container.wait_until_gone();
        let counted = world.count();
        for at in [Script::PreRestore, Script::SetupNamespaces, Script::PostRestore] {
            let mut noting = Noting::refusing(at.clone());
            let error = criu.restore(&world.restore_options(), &mut noting).unwrap_err();
            assert!(matches!(error, Error::Refused { .. }), "{at}: {error}");
            for (_, pid) in noting.pids {
                // Neither alive nor a zombie of this process.
                assert_eq!(waitpid(Some(pid), WaitOptions::NOHANG).unwrap_err(), Errno::CHILD, "{at}");
            }
        }
        assert_eq!(world.count(), counted);

        // What is refused too late is told, and the container runs.
        let mut noting = Noting::refusing(Script::PostResume);
        let restored = criu.restore(&world.restore_options(), &mut noting).unwrap();
        let complaints: Vec<_> = restored.complaints.iter().map(|(script, _)| script.clone()).collect();
        assert_eq!(complaints, [Script::PostResume]);
        let _container = Container::restored(criu::Restored { complaints: Vec::new(), ..restored });
        world.wait_for_count(counted + 3);
    });
}

#[test]
fn a_file_of_the_host_is_named_with_log_and_hint() {
    with_criu(|criu| {
        let world = World::new("hostfile");
        let output = File::create(world.path("host-output")).unwrap();
        let start = Start {
            script: crate::world::COUNT,
            streams: Some("</empty 2>/out"),
            output: Some(output.into()),
            ..Start::default()
        };
        let container = world.start(&start);
        world.wait_for_count(3);
        let error = criu.dump(&world.dump_options(&container), &mut ()).unwrap_err();
        let hint = error.hint().unwrap();
        assert!(hint.contains("a file of the host open"), "{error}, hint {hint}");
        let Error::Failed { log, .. } = error else { panic!("{error}") };
        assert_eq!(log.path, Some(world.path("images/dump.log")));
        assert!(log.errors.iter().any(|line| line.contains("host-output")), "{log}");
        let counted = world.count();
        world.wait_for_count(counted + 3);
    });
}

#[test]
fn what_is_not_there_is_neither_dumped_nor_restored() {
    with_criu(|criu| {
        let world = World::new("nothing");
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let gone = Pid::from_child(&child);
        child.wait().unwrap();
        let error = criu.dump(&DumpOptions::new(gone, world.path("images")), &mut ()).unwrap_err();
        assert!(matches!(error, Error::Failed { errno: Some(3), .. }), "{error:?}");

        // The images are there, as a directory, but empty.
        let error = criu.restore(&world.restore_options(), &mut ()).unwrap_err();
        assert!(error.to_string().contains("restore.log"), "{error}");
        assert!(matches!(&error, Error::Failed { log, .. } if !log.errors.is_empty()), "{error:?}");
        let nowhere = RestoreOptions::new(world.path("nowhere"));
        let error = criu.restore(&nowhere, &mut ()).unwrap_err();
        assert!(error.to_string().starts_with("cannot open"), "{error}");
    });
}

/// Without CRIU, so that it holds on every kernel: programs that behave as a broken CRIU would.
#[test]
fn a_criu_that_breaks_off_is_an_error_and_no_hang() {
    let directory = std::env::temp_dir().join(format!("minidocker-criu-{}-broken", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let program = directory.join("criu");
    let criu = Criu::find(Some(&program));
    assert!(matches!(criu, Err(Error::Missing { .. })));
    let attempt = |text: &str| {
        script(&program, &format!("#!/bin/sh\n{text}\n"));
        Criu::find(Some(&program)).unwrap().version().unwrap_err()
    };
    let ended = attempt("echo 'Error (criu/x.c:1): broken' >&2; exit 3");
    let no_message = attempt("printf 'no message' >&$2; cat <&$2 >/dev/null");
    // It leaves a child that has the socket open for ever.
    let leaving = attempt(&format!("sleep 1000 <&- & echo $! >'{}/child'; kill -9 $$", directory.display()));
    let child: i32 = fs::read_to_string(directory.join("child")).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(child).unwrap(), rustix::process::Signal::KILL).unwrap();
    wait_until("the end of the left child", || !is_running(child));
    fs::remove_dir_all(&directory).unwrap();
    assert!(matches!(&ended, Error::Ended { status, .. } if status.code() == Some(3)), "{ended}");
    assert!(ended.to_string().contains("Error (criu/x.c:1): broken"), "{ended}");
    assert!(no_message.to_string().starts_with("cannot understand"), "{no_message}");
    assert!(leaving.to_string().contains("signal: 9"), "{leaving}");
}

/// A zombie of somebody else is not.
fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
