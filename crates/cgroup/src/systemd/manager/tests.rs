//! The manager against a systemd that says what each test has it say; the real one is in `kernel_tests.rs`.

use super::*;
use crate::systemd::bus::tests::Server;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

#[test]
fn versions_of_all_distributions() {
    for (text, version) in [
        ("252 (252.39-1~deb12u2)", 252),
        ("v245.4-1.fc32", 245),
        ("245", 245),
        ("\"v247-1\"", 247),
        ("257~rc1", 257),
    ] {
        assert_eq!(parse_version(text), Some(version), "{text}");
    }
    assert_eq!(parse_version("none"), None);
}

fn unit() -> Unit {
    Unit::parse("system.slice:docker:0f", "c1", false).unwrap()
}

/// A systemd that says who it is, and then what `serve` has it say.
fn systemd<T: Send + 'static>(
    serve: impl FnOnce(&mut Server) -> T + Send + 'static,
) -> (Manager, JoinHandle<T>) {
    let (address, server) = Server::start(|stream: UnixStream| {
        let mut server = Server::welcome(stream);
        let hello = server.next().unwrap();
        server.answer(&hello, vec![":1.5".into()]);
        for value in ["252 (252.39-1~deb12u2)", ""] {
            let asked = server.next().unwrap();
            assert_eq!(asked.member.as_deref(), Some("Get"));
            server.answer(&asked, vec![Value::Variant(Box::new(value.into()))]);
        }
        serve(&mut server)
    });
    (Manager::connect_to(&Place { address, bus: true }, false).unwrap(), server)
}

fn ended(server: &mut Server, job: &str, result: &str) {
    let body = vec![Value::Uint32(7), Value::Path(job.into()), "docker-0f.scope".into(), result.into()];
    server.signal("JobRemoved", body);
}

/// An end of that job, as somebody would tell it who is not systemd.
fn forged(job: &str) -> Message {
    let body = vec![Value::Uint32(7), Value::Path(job.into()), "docker-0f.scope".into(), "failed".into()];
    let signal = Message::call(Method { member: "JobRemoved", ..method("") }, body);
    Message { kind: crate::systemd::message::Kind::Signal, sender: Some(":1.66".into()), ..signal }
}

/// The next call, which must be of that method; the bus's own are answered.
fn call(server: &mut Server, member: &str) -> Message {
    loop {
        let message = server.next().unwrap();
        if message.member.as_deref() == Some("AddMatch") {
            assert!(message.body[0].text().unwrap().ends_with("arg2='docker-0f.scope'"));
            server.answer(&message, vec![]);
            continue;
        }
        assert_eq!(message.member.as_deref(), Some(member));
        return message;
    }
}

fn placed(server: &mut Server, place: &str) {
    let asked = call(server, "Get");
    assert_eq!(asked.path.as_deref(), Some("/org/freedesktop/systemd1/unit/docker_2d0f_2escope"));
    server.answer(&asked, vec![Value::Variant(Box::new(place.into()))]);
}

#[test]
fn a_start_waits_for_its_own_job() {
    let (mut manager, server) = systemd(|server| {
        let start = call(server, "StartTransientUnit");
        // Its end comes before the answer, and before both another's end and one that somebody else tells of.
        ended(server, "/job/6", "failed");
        server.send(forged("/job/7"));
        ended(server, "/job/7", "done");
        server.answer(&start, vec![Value::Path("/job/7".into())]);
        placed(server, "/system.slice/docker-0f.scope");
        start.body
    });
    assert_eq!(*manager.facts(), Facts { version: 252, root: String::new(), rootless: false });
    manager.start(&unit(), Some(42), &[Property::new("MemoryMax", 5)]).unwrap();
    let body = server.join().unwrap();
    assert_eq!(body[..2], ["docker-0f.scope".into(), "replace".into()]);
    let Value::Array(_, properties) = &body[2] else { panic!("{body:?}") };
    let mut words = Vec::new();
    properties.iter().for_each(|property| property.words(&mut words));
    assert_eq!(
        words.join(" "),
        "Description s minidocker container docker-0f Slice s system.slice Delegate b true MemoryAccounting b true \
         CPUAccounting b true IOAccounting b true TasksAccounting b true DefaultDependencies b false \
         PIDs au 1 42 MemoryMax t 5"
    );
    assert_eq!(body[3].kind().to_string(), "a(sa(sv))");
}

#[test]
fn a_failed_unit_of_that_name_is_cleared_once() {
    let (mut manager, server) = systemd(|server| {
        let start = call(server, "StartTransientUnit");
        server.refuse(&start, EXISTS, "Unit docker-0f.scope was already loaded or has a fragment file.");
        let reset = call(server, "ResetFailedUnit");
        server.answer(&reset, vec![]);
        let start = call(server, "StartTransientUnit");
        server.answer(&start, vec![Value::Path("/job/8".into())]);
        ended(server, "/job/8", "done");
        placed(server, "/system.slice/docker-0f.scope");
    });
    manager.start(&unit(), Some(42), &[]).unwrap();
    server.join().unwrap();
    let (mut manager, server) = systemd(|server| {
        for _ in 0..2 {
            let start = call(server, "StartTransientUnit");
            server.refuse(&start, EXISTS, "Unit docker-0f.scope was already loaded or has a fragment file.");
            if let Some(reset) = server.next() {
                server.refuse(&reset, ABSENT, "Unit docker-0f.scope not loaded.");
            }
        }
    });
    let failure = manager.start(&unit(), Some(42), &[]).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "systemd.start on docker-0f.scope: Unit docker-0f.scope was already loaded or has a fragment file"
    );
    assert!(failure.hint.unwrap().contains("another container of this name runs"));
    drop(manager);
    server.join().unwrap();
}

#[test]
fn a_slice_that_is_there_is_as_good() {
    let slice = Unit::parse("::kubepods-burstable.slice", "c1", false).unwrap();
    let (mut manager, server) = systemd(|server| {
        let watch = server.next().unwrap();
        server.answer(&watch, vec![]);
        let start = server.next().unwrap();
        server.refuse(&start, EXISTS, "exists");
        start.body
    });
    manager.start(&slice, None, &[]).unwrap();
    let body = server.join().unwrap();
    let mut words = Vec::new();
    body[2].words(&mut words);
    let words = words.join(" ");
    assert!(words.contains("Wants as 1 kubepods.slice") && !words.contains("Delegate"), "{words}");
    assert!(!words.contains("PIDs"), "{words}");
}

#[test]
fn a_start_that_fails_is_told() {
    let (mut manager, server) = systemd(|server| {
        let start = call(server, "StartTransientUnit");
        server.answer(&start, vec![Value::Path("/job/9".into())]);
        ended(server, "/job/9", "failed");
        let reset = call(server, "ResetFailedUnit");
        server.answer(&reset, vec![]);
    });
    let failure = manager.start(&unit(), Some(42), &[]).unwrap_err();
    let told = "systemd.start on docker-0f.scope: systemd's job to start it ended as \"failed\"";
    assert_eq!(failure.to_string(), told);
    assert!(failure.hint.unwrap().contains("journalctl -u docker-0f.scope"));
    server.join().unwrap();
    let (mut manager, server) = systemd(|server| {
        let start = call(server, "StartTransientUnit");
        server.answer(&start, vec![Value::Path("/job/9".into())]);
        ended(server, "/job/9", "done");
        placed(server, "/elsewhere");
    });
    let failure = manager.start(&unit(), Some(42), &[]).unwrap_err().to_string();
    assert!(
        failure.contains("its control group is /elsewhere, and not /system.slice/docker-0f.scope"),
        "{failure}"
    );
    server.join().unwrap();
}

#[test]
fn a_stop_of_what_is_gone_is_done() {
    let (mut manager, server) = systemd(|server| {
        let stop = call(server, "StopUnit");
        server.refuse(&stop, ABSENT, "Unit docker-0f.scope not loaded.");
        let reset = call(server, "ResetFailedUnit");
        server.refuse(&reset, ABSENT, "Unit docker-0f.scope not loaded.");
        let stop = call(server, "StopUnit");
        server.answer(&stop, vec![Value::Path("/job/9".into())]);
        ended(server, "/job/9", "timeout");
        let reset = call(server, "ResetFailedUnit");
        server.answer(&reset, vec![]);
    });
    manager.stop(&unit()).unwrap();
    let failure = manager.stop(&unit()).unwrap_err();
    assert!(failure.to_string().ends_with("ended as \"timeout\""), "{failure}");
    server.join().unwrap();
}

#[test]
fn properties_are_set_until_the_next_boot() {
    let (mut manager, server) = systemd(|server| {
        let set = call(server, "SetUnitProperties");
        server.answer(&set, vec![]);
        let again = call(server, "SetUnitProperties");
        let words = "Cannot set property Foo, or unknown property.";
        server.refuse(&again, "org.freedesktop.DBus.Error.PropertyReadOnly", words);
        set.body
    });
    manager.set(&unit(), &[]).unwrap();
    manager.set(&unit(), &[Property::new("TasksMax", 7)]).unwrap();
    let failure = manager.set(&unit(), &[Property::new("Foo", true)]).unwrap_err();
    let told = "systemd.set on docker-0f.scope: Cannot set property Foo, or unknown property";
    assert_eq!(failure.to_string(), told);
    assert!(failure.hint.unwrap().contains("exact type"));
    let body = server.join().unwrap();
    assert_eq!(body[1], true.into());
    let mut words = Vec::new();
    body[2].words(&mut words);
    assert_eq!(words, ["1", "TasksMax", "t", "7"]);
}

#[test]
fn a_systemd_of_a_user_has_a_group_of_its_own() {
    let facts =
        Facts { version: 252, root: "/user.slice/user-1000.slice/user@1000.service".into(), rootless: true };
    let unit = Unit::parse("user.slice:libpod:x", "c1", true).unwrap();
    let path = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-x.scope";
    assert_eq!(facts.path(&unit), path);
    let root = Facts { version: 252, root: "/".into(), rootless: true };
    assert_eq!(root.path(&unit), "/user.slice/libpod-x.scope");
}

#[test]
fn a_bus_without_systemd_is_passed_over() {
    let (address, server) = Server::start(|stream: UnixStream| {
        let mut server = Server::welcome(stream);
        let hello = server.next().unwrap();
        server.answer(&hello, vec![":1.5".into()]);
        let asked = server.next().unwrap();
        let name = "org.freedesktop.DBus.Error.ServiceUnknown";
        server.refuse(
            &asked,
            name,
            "The name org.freedesktop.systemd1 was not provided by any .service files",
        );
        server.next().map(|_| ())
    });
    let error = Manager::connect_to(&Place { address, bus: true }, false).unwrap_err().to_string();
    assert!(error.starts_with("The name org.freedesktop.systemd1 was not provided"), "{error}");
    server.join().unwrap();
}
