//! Docker's copy-up: an empty volume gets what the image has in its place, once, whole, and nothing else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use minidocker_tests::until;

use super::Ground;

#[test]
fn a_new_volume_gets_what_the_image_has_in_its_place() {
    let ground = Ground::new();
    let www = ground.root.path().join("srv/www");
    fs::create_dir(www.join("sub")).unwrap();
    fs::hard_link(www.join("index"), www.join("sub/same")).unwrap();
    ground.root.link("srv/www/link", "/etc/passwd");
    fs::set_permissions(&www, fs::Permissions::from_mode(0o1750)).unwrap();
    std::os::unix::fs::chown(&www, Some(71), Some(72)).unwrap();
    std::os::unix::fs::chown(www.join("index"), Some(7), Some(8)).unwrap();
    fs::set_permissions(www.join("index"), fs::Permissions::from_mode(0o4755)).unwrap();
    ground.run(&["-v", "site:/srv/www"], "cat /srv/www/sub/same; echo more >/srv/www/more").prints("hello");
    let data = ground.data("site");
    let own = fs::metadata(&data).unwrap();
    assert_eq!((own.mode() & 0o7777, own.uid(), own.gid()), (0o1750, 71, 72));
    let index = fs::metadata(data.join("index")).unwrap();
    assert_eq!((index.mode() & 0o7777, index.uid(), index.gid(), index.nlink()), (0o4755, 7, 8, 2));
    assert_eq!(fs::read_link(data.join("link")).unwrap(), std::path::Path::new("/etc/passwd"));
    assert_eq!(fs::read_to_string(data.join("more")).unwrap(), "more\n");
    // Once: what is gone from it does not come back.
    ground.run(&["-v", "site:/srv/www"], "rm /srv/www/index /srv/www/sub/same").ok();
    ground.run(&["-v", "site:/srv/www"], "ls /srv/www").prints("link\nmore\nsub\n");
    // In another place it is the same.
    ground
        .run(&["-v", "site:/new/place:ro"], "ls /new/place; touch /new/place/x || echo refused >&2")
        .exits(0);
    assert!(!data.join("x").exists());
}

#[test]
fn nocopy_and_a_place_without_anything_leave_it_empty() {
    let ground = Ground::new();
    ground.run(&["-v", "a1:/srv/www:nocopy"], "ls -A /srv/www").prints("");
    ground.run(&["--mount", "src=a2,dst=/srv/www,volume-nocopy"], "ls -A /srv/www").prints("");
    ground.run(&["-v", "a3:/not/there"], "ls -A /not/there").prints("");
    // Still empty: the next one gives it what it has, as in Docker.
    ground.run(&["-v", "a1:/srv/www"], "ls -A /srv/www").prints("index\n");
}

#[test]
fn no_link_of_the_image_leads_to_files_of_the_host() {
    let ground = Ground::new();
    let secret = ground.world.directory().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "").unwrap();
    let secret = secret.to_str().unwrap().to_owned();
    ground.root.link("absolute", &secret);
    ground.root.link("climbing", &format!("../../../../../../../..{secret}"));
    ground.root.link("srv/www/out", &secret);
    for (name, target) in [("b1", "/absolute"), ("b2", "/climbing"), ("b3", "/absolute/../secret")] {
        ground.world.minidocker(["volume", "create", name]).ok();
        let output = ground.run(&["-v", &format!("{name}:{target}")], "true");
        assert!(!ground.data(name).join("key").exists(), "{target}: {output:?}");
        assert_eq!(fs::read_dir(ground.data(name)).unwrap().count(), 0, "{target}: {output:?}");
    }
    ground.run(&["-v", "b4:/srv/www"], "readlink /srv/www/out; ls -A /srv/www/out 2>&1 || true").ok();
    assert!(fs::symlink_metadata(ground.data("b4").join("out")).unwrap().is_symlink());
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1, "nothing came into it");
}

#[test]
fn two_at_once_on_a_new_volume_both_find_it_whole() {
    let ground = Ground::new();
    for number in 0..300 {
        ground.root.file(&format!("srv/www/{number}"), "x");
    }
    let overlay = ground.root.overlay();
    for round in 0..3 {
        let volume = format!("new{round}:/srv/www");
        let words = ["run", "--rm", "--network", "none", "-v", &volume, "--rootfs", &overlay];
        let script = ["sh", "-c", "ls /srv/www | wc -l"];
        let all: Vec<_> = (0..3).map(|_| ground.world.spawn(words.iter().chain(&script))).collect();
        for one in all {
            one.wait().prints("301\n");
        }
    }
}

#[test]
fn who_is_killed_on_the_way_leaves_nothing_half() {
    let ground = Ground::new();
    for number in 0..3000 {
        ground.root.file(&format!("srv/www/{number}"), "x");
    }
    let overlay = ground.root.overlay();
    let mut halves = 0;
    for round in 0..20 {
        let name = format!("cut{round}");
        let volume = format!("{name}:/srv/www");
        let words = ["run", "--rm", "--network", "none", "-v", &volume, "--rootfs", &overlay];
        let running = ground.world.spawn(words.iter().chain(&["sh", "-c", "ls /srv/www | wc -l"]));
        let directory = ground.world.root().join("volumes").join(&name);
        let filling = directory.join("filling/tree");
        until("it copies", || filling.exists() || directory.join("lock").exists());
        running.signal(9);
        running.wait();
        if filling.exists() {
            halves += 1;
            assert_eq!(fs::read_dir(directory.join("data")).unwrap().count(), 0, "nothing half is there");
        }
        let again = ground.world.minidocker(words.iter().chain(&["sh", "-c", "ls /srv/www | wc -l"]));
        again.prints("3001\n");
        let mut left: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["data", "lock", "volume.json"]);
        if halves == 3 {
            return;
        }
    }
    panic!("only {halves} of 20 were killed while they copied");
}

#[test]
fn on_disk_the_owners_are_those_that_the_container_sees() {
    let ground = Ground::new();
    std::os::unix::fs::chown(ground.root.path().join("srv/www/index"), Some(7), Some(8)).unwrap();
    let private: &[&str] = &["--userns", "private", "-v", "mapped:/srv/www"];
    ground.run(private, "stat -c %u:%g /srv/www/index; : >/srv/www/mine").prints("7:8\n");
    let mine = fs::metadata(ground.data("mapped").join("mine")).unwrap();
    assert_eq!((mine.uid(), mine.gid()), (0, 0));
    ground.run(&["-v", "mapped:/srv/www"], "stat -c %u:%g /srv/www/index /srv/www/mine").prints("7:8\n0:0\n");
}

#[test]
fn a_container_that_is_made_and_never_started_has_its_volumes() {
    let ground = Ground::new();
    let overlay = ground.root.overlay();
    let options = ["create", "--name", "store", "--network", "none", "-v", "/srv/www", "--rootfs", &overlay];
    ground.world.minidocker(options.iter().chain(&["sh", "-c", "ls /srv/www; rm -r /srv/www/*"])).ok();
    assert_eq!(ground.volumes().len(), 1);
    ground.run(&["--volumes-from", "store"], "cat /srv/www/index").prints("hello");
    ground.world.minidocker(["start", "-a", "store"]).prints("index\n");
    // What a container has left in its volumes is what it finds there again.
    ground.world.minidocker(["start", "-a", "store"]).exits(1);
    assert_eq!(fs::read_dir(ground.data(&ground.volumes()[0])).unwrap().count(), 0);
    ground.world.minidocker(["rm", "-v", "store"]).ok();
    assert_eq!(ground.volumes(), [""; 0]);
}
