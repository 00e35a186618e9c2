//! Who is found as a pod, and what a container in one asks for.

use std::path::PathBuf;

use super::*;
use crate::request::{Endpoint, Image, Namespaces, Storage};
use crate::state::write_file;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn store(name: &str) -> (Scratch, Settings, Store) {
    let dir = std::env::temp_dir().join(format!("minidocker-pods-{}-{name}", std::process::id()));
    let settings = Settings { root: dir.join("keep"), run_root: dir.join("run"), ..Settings::default() };
    let store = Store::new(&settings);
    store.prepare().unwrap();
    (Scratch(dir), settings, store)
}

fn id(digit: char) -> String {
    std::iter::repeat_n(digit, 64).collect()
}

fn write(store: &Store, id: &str, name: &str, pod: Role) {
    let request = RunRequest { image: Image::Pause, pod, ..RunRequest::default() };
    let record = Record {
        format: 1,
        id: id.to_owned(),
        name: name.to_owned(),
        command: vec!["pause".to_owned()],
        created: 0,
        group: format!("/minidocker/{id}"),
        networks: Vec::new(),
        disk: None,
        request,
        origin: None,
        by_run: false,
        passing: false,
    };
    store.write_record(&record).unwrap();
    assert_eq!(store.take_name(name, id).unwrap(), Ok(()));
}

fn pod(shares: &[Share]) -> Role {
    Role::Infra(Pod { shares: shares.to_vec(), stops: false })
}

fn member(of: &str) -> RunRequest {
    let membership = Membership { pod: of.to_owned(), apart: Vec::new() };
    RunRequest { pod: Role::Member(membership), ..RunRequest::default() }
}

#[test]
fn a_pod_is_found_by_what_is_its_own() {
    let (_dir, _, store) = store("found");
    write(&store, &id('a'), "web", pod(&Share::USUAL));
    write(&store, &id('b'), "alone", Role::Alone);
    for name in ["web", "a", "aaaa", &id('a')] {
        assert_eq!(find(&store, name).unwrap().record.name, "web", "{name}");
    }
    for name in ["", "alone", "b", "x", "a/b", "..", &id('b')] {
        assert_eq!(find(&store, name).unwrap_err().kind, Kind::NoSuchPod, "{name:?}");
    }
    assert!(find(&store, "alone").unwrap_err().hint.unwrap().contains("is a container"));
    let other = format!("ab{}", &id('c')[2..]);
    write(&store, &other, "db", pod(&[]));
    assert_eq!(find(&store, "a").unwrap_err().kind, Kind::Invalid);
    assert_eq!(find(&store, "ab").unwrap().record.id, other);
    // After a reboot names are restored by the next command; a record says them too.
    store.give_name("db", &other).unwrap();
    assert_eq!(find(&store, "db").unwrap().record.id, other);
}

#[test]
fn a_member_has_the_infras_namespaces() {
    let (_dir, _, store) = store("joined");
    write(&store, &id('a'), "web", pod(&Share::USUAL));
    let asked = member("web");
    let joined = joined(&store, &asked).unwrap();
    let infra = || Namespace::Container(id('a'));
    assert_eq!(joined.network.mode, NetworkMode::Container(id('a')));
    assert_eq!(
        joined.namespaces,
        Namespaces { ipc: infra(), uts: infra(), ..Namespaces::default() },
        "and its own processes"
    );
    assert_eq!(joined.pod.membership(), Some(id('a').as_str()));
    let mut asked = member(&id('a')[..5]);
    asked.pod = Role::Member(Membership { pod: "web".to_owned(), apart: vec![Share::Ipc] });
    asked.namespaces.no_shm = true;
    let joined = super::joined(&store, &asked).unwrap();
    assert_eq!((&joined.namespaces.ipc, joined.namespaces.no_shm), (&Namespace::Private, true));
    assert_eq!(super::joined(&store, &RunRequest::default()).unwrap().into_owned(), RunRequest::default());
    assert_eq!(super::joined(&store, &member("nobody")).unwrap_err().kind, Kind::NoSuchPod);
}

#[test]
fn what_is_the_pods_is_not_a_members_to_say() {
    let (_dir, _, store) = store("options");
    write(&store, &id('a'), "web", pod(&Share::USUAL));
    write(&store, &id('b'), "none", pod(&[]));
    let with = |change: &dyn Fn(&mut RunRequest)| {
        let mut asked = member("web");
        change(&mut asked);
        asked
    };
    let endpoint = |endpoint: Endpoint| {
        with(&move |asked| {
            let network = DEFAULT_NETWORK.to_owned();
            asked.network.endpoints = Some(vec![Endpoint { network, ..endpoint.clone() }]);
        })
    };
    let all = [
        (with(&|asked| asked.network.publish = vec!["8080:80".parse().unwrap()]), "--publish"),
        (with(&|asked| asked.network.mode = NetworkMode::Host), "--network"),
        (
            with(&|asked| {
                asked.network.endpoints = Some(vec![Endpoint { network: "x".into(), ..Endpoint::default() }])
            }),
            "--network",
        ),
        (with(&|asked| asked.network.ip = Some(("10.0.0.1".parse().unwrap(), None))), "--ip"),
        (endpoint(Endpoint { aliases: vec!["a".into()], ..Endpoint::default() }), "--network-alias"),
        (endpoint(Endpoint { ip6: Some("fd00::1".parse().unwrap()), ..Endpoint::default() }), "--ip6"),
        (with(&|asked| asked.network.dns = vec!["9.9.9.9".parse().unwrap()]), "--dns"),
        (with(&|asked| asked.network.add_hosts = vec![("a".into(), None)]), "--add-host"),
        (with(&|asked| asked.namespaces.hostname = Some("a".into())), "--hostname"),
        (with(&|asked| asked.storage = Storage { shm_size: Some(1), ..Storage::default() }), "--shm-size"),
    ];
    for (mut asked, option) in all {
        let error = joined(&store, &asked).unwrap_err();
        assert!(error.message.starts_with(&format!("{option} with --pod web: ")), "{}", error.message);
        assert!(error.message.contains(&format!("minidocker pod create {option}")), "{}", error.message);
        asked.pod = Role::Member(Membership { pod: "none".to_owned(), apart: Vec::new() });
        let kept = joined(&store, &asked).unwrap().into_owned();
        assert_eq!(
            RunRequest { pod: asked.pod.clone(), ..kept },
            asked,
            "who shares nothing has its own {option}"
        );
    }
}

#[test]
fn a_door_is_open_for_many_and_closed_by_one() {
    let (_dir, _, store) = store("door");
    let pod_id = id('a');
    assert_eq!(Door::hold_open(&store, &pod_id).unwrap_err().kind, Kind::NoSuchPod);
    assert!(Door::close(&store, &pod_id, Duration::ZERO).unwrap().is_none());
    write(&store, &pod_id, "web", pod(&[]));
    let held = [Door::hold_open(&store, &pod_id).unwrap(), Door::hold_open(&store, &pod_id).unwrap()];
    assert!(Door::close(&store, &pod_id, Duration::from_millis(5)).unwrap().is_none());
    drop(held);
    let closed = Door::close(&store, &pod_id, Duration::ZERO).unwrap();
    assert!(closed.is_some() && Door::close(&store, &pod_id, Duration::ZERO).unwrap().is_none());
}

#[test]
fn members_are_the_oldest_first_and_a_damaged_record_is_nobody() {
    let (_dir, settings, store) = store("members");
    write(&store, &id('a'), "web", pod(&[]));
    for (digit, name) in [('c', "one"), ('d', "two")] {
        let membership = Membership { pod: id('a'), apart: Vec::new() };
        write(&store, &id(digit), name, Role::Member(membership));
    }
    std::fs::create_dir(store.keep_dir(&id('e'))).unwrap();
    write_file(&store.keep_dir(&id('e')).join("container.json"), b"{", false).unwrap();
    let names = |pod: &str| -> Vec<String> {
        members(&store, pod).unwrap().into_iter().map(|member| member.name).collect()
    };
    assert_eq!(names(&id('a')), ["one", "two"]);
    assert_eq!(names(&id('b')), [""; 0]);
    // Nothing of it runs, so there is nothing to write and nothing to end.
    announce(&settings, &store, &id('a')).unwrap();
    leave(&settings, &id('a')).unwrap();
}
