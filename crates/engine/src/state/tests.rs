//! The state on disk: who owns what, and who cares.

use super::*;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn store(name: &str) -> (Scratch, Store) {
    let dir = std::env::temp_dir().join(format!("minidocker-state-{}-{name}", std::process::id()));
    let settings = Settings { root: dir.join("keep"), run_root: dir.join("run"), ..Settings::default() };
    let store = Store::new(&settings);
    store.prepare().unwrap();
    (Scratch(dir), store)
}

fn id(digit: char) -> String {
    std::iter::repeat_n(digit, 64).collect()
}

#[test]
fn a_held_container_is_cared_for_and_a_free_one_is_not() {
    let (_dir, store) = store("held");
    let held = store.hold(&id('a')).unwrap();
    assert!(store.abandoned(&id('a')).unwrap().is_none());
    drop(held);
    let again = store.abandoned(&id('a')).unwrap().unwrap();
    assert!(store.abandoned(&id('a')).unwrap().is_none(), "whoever found it holds it");
    store.forget(&id('a')).unwrap();
    drop(again);
    assert!(store.abandoned(&id('a')).unwrap().is_none());
    assert!(store.present().unwrap().is_empty());
}

#[test]
fn a_directory_without_a_lock_is_abandoned() {
    let (_dir, store) = store("bare");
    std::fs::create_dir(store.run_dir(&id('b'))).unwrap();
    assert!(store.abandoned(&id('b')).unwrap().is_some());
}

#[test]
fn a_name_has_one_owner() {
    let (_dir, store) = store("name");
    assert_eq!(store.take_name("web", &id('a')).unwrap(), Ok(()));
    assert_eq!(store.take_name("web", &id('b')).unwrap(), Err(id('a')));
    store.give_name("web", &id('b')).unwrap();
    assert_eq!(store.find("web").unwrap(), id('a'));
    store.give_name("web", &id('a')).unwrap();
    assert_eq!(store.find("web").unwrap_err().kind, Kind::NoSuchContainer);
}

#[test]
fn short_ids_must_be_unambiguous() {
    let (_dir, store) = store("short");
    let other: String = format!("ab{}", &id('c')[2..]);
    let _held = [store.hold(&id('a')).unwrap(), store.hold(&other).unwrap()];
    assert_eq!(store.find("ab").unwrap(), other);
    assert_eq!(store.find("aa").unwrap(), id('a'));
    assert_eq!(store.find("a").unwrap_err().kind, Kind::Invalid);
    for bad in ["", ".", "..", "a/b", "x"] {
        assert_eq!(store.find(bad).unwrap_err().kind, Kind::NoSuchContainer, "{bad:?}");
    }
}

#[test]
fn a_process_is_its_number_and_its_start() {
    let (_dir, store) = store("init");
    let _held = store.hold(&id('a')).unwrap();
    let own = std::process::id() as i32;
    store.write_init(&id('a'), own).unwrap();
    assert_eq!(store.living_init(&id('a')), Some(own));
    std::thread::scope(|scope| {
        let joined = scope.spawn(|| store.joinable_init(&id('a')));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!joined.is_finished(), "it is being made");
        store.write_ready(&id('a')).unwrap();
        assert_eq!(joined.join().unwrap(), Some(own));
    });
    let path = store.run_dir(&id('a')).join("init");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(format!("{own}:1"), &path).unwrap();
    assert_eq!(store.living_init(&id('a')), None, "another process of that number");
}
