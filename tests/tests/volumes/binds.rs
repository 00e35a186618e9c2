//! Directories of the host, parts of volumes, and what is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::Ground;

/// A directory of the host with another file system below it, unmounted at the end.
struct Mounted {
    directory: String,
}

impl Mounted {
    fn new(ground: &Ground) -> Self {
        let directory = ground.world.directory().join("host");
        let below = directory.join("below");
        fs::create_dir_all(&below).unwrap();
        let tmpfs = |at: &std::path::Path| {
            rustix::mount::mount("test", at, "tmpfs", MountFlags::empty(), None).unwrap();
        };
        tmpfs(&directory);
        fs::create_dir(&below).unwrap();
        tmpfs(&below);
        rustix::mount::mount_change(&directory, MountPropagationFlags::SHARED).unwrap();
        Self { directory: directory.to_str().unwrap().to_owned() }
    }

    fn bind(&self, options: &str) -> String {
        format!("{}:/h:{options}", self.directory)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for below in ["/below", "/late", "/back", ""] {
            let _ = rustix::mount::unmount(format!("{}{below}", self.directory), UnmountFlags::DETACH);
        }
    }
}

#[test]
fn rro_is_read_only_all_the_way_down() {
    let ground = Ground::new();
    let host = Mounted::new(&ground);
    let script = "touch /h/x /h/below/x 2>/dev/null; ls /h /h/below 2>/dev/null | grep -c x";
    let tried = |options: &str| ground.run(&["-v", &host.bind(options)], script).out();
    assert_eq!(tried("rro"), "0\n");
    assert_eq!(tried("ro"), "1\n", "ro is of the mount itself");
    fs::remove_file(format!("{}/below/x", host.directory)).unwrap();
    let mount = format!("type=bind,src={},dst=/h,ro,bind-recursive=readonly", host.directory);
    assert_eq!(ground.run(&["--mount", &mount], script).out(), "0\n");
    assert_eq!(tried("rw"), "2\n");
    let alone = format!("type=bind,src={},dst=/h,bind-recursive=disabled", host.directory);
    ground.run(&["--mount", &alone], "ls -A /h/below").prints("");
    ground.run(&["-v", &host.bind("rro,rshared")], "true").refuses(125, &["rro holds only with rprivate"]);
}

#[test]
fn mounts_arrive_as_the_propagation_says() {
    let ground = Ground::new();
    let host = Mounted::new(&ground);
    let late = format!("{}/late", host.directory);
    let back = format!("{}/back", host.directory);
    fs::create_dir(&late).unwrap();
    fs::create_dir(&back).unwrap();
    for (options, seen) in [("rslave", true), ("rshared", true), ("rprivate", false)] {
        let overlay = ground.root.overlay();
        let bind = host.bind(options);
        let script =
            "echo ready; read line; ls /h/late; mount -t tmpfs own /h/back && touch /h/back/own; ls /h/back";
        let words = ["run", "-i", "--rm", "--network", "none", "--cap-add", "SYS_ADMIN", "-v", &bind];
        let program = ["--rootfs", &overlay, "sh", "-c", script];
        let mut running = ground.world.call(words.iter().chain(&program)).stdin_open().spawn();
        running.until("ready");
        rustix::mount::mount("test", late.as_str(), "tmpfs", MountFlags::empty(), None).unwrap();
        fs::write(format!("{late}/file"), "").unwrap();
        running.type_in(b"go\n");
        let out = running.wait().ok().out();
        assert_eq!(out.contains("file"), seen, "{options}: {out}");
        rustix::mount::unmount(late.as_str(), UnmountFlags::DETACH).unwrap();
        assert!(out.contains("own"), "{options}: {out}");
        assert_eq!(rustix::mount::unmount(back.as_str(), UnmountFlags::DETACH).is_ok(), options == "rshared");
    }
}

#[test]
fn idmap_makes_the_owner_the_containers_user() {
    let ground = Ground::new();
    let host = ground.world.directory().join("mine");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "").unwrap();
    fs::write(host.join("other"), "").unwrap();
    for name in ["", "file"] {
        chown(host.join(name), Some(1234), Some(1235)).unwrap();
    }
    chown(host.join("other"), Some(5), Some(5)).unwrap();
    let bind = format!("{}:/h:idmap", host.display());
    let plain = format!("{}:/h", host.display());
    let script = "stat -c %u:%g /h/file /h/other; : >/h/new";
    let expect = |options: &[&str], seen: &str| {
        ground.run(options, script).prints(seen);
        let new = fs::metadata(host.join("new")).unwrap();
        assert_eq!((new.uid(), new.gid()), (1234, 1235), "{options:?}");
        fs::remove_file(host.join("new")).unwrap();
    };
    expect(&["-v", &bind], "0:0\n5:5\n");
    expect(&["-u", "33:44", "-v", &bind], "33:44\n5:5\n");
    expect(&["--userns", "private", "-v", &bind], "0:0\n5:5\n");
    expect(&["--userns", "private", "-u", "33:44", "-v", &bind], "33:44\n5:5\n");
    let mount = format!("type=bind,src={},dst=/h,idmap", host.display());
    expect(&["--mount", &mount], "0:0\n5:5\n");
    ground.run(&["-v", &plain], "stat -c %u:%g /h/file").prints("1234:1235\n");
    ground.run(&["--userns", "private", "-v", &plain], "stat -c %u /h/file").prints("65534\n");
}

#[test]
fn a_subpath_stays_within_its_volume() {
    let ground = Ground::new();
    ground.run(&["-v", "data:/d"], "mkdir -p /d/a/b; echo in >/d/a/b/file; ln -s a/b /d/inner").ok();
    let secret = ground.world.directory().join("secret");
    fs::create_dir(&secret).unwrap();
    symlink(&secret, ground.data("data").join("absolute")).unwrap();
    symlink("../../../secret", ground.data("data").join("climbing")).unwrap();
    let mount = |subpath: &str| format!("src=data,dst=/x,volume-subpath={subpath}");
    for user in [&[][..], &["--userns", "private"]] {
        let run =
            |subpath: &str, script: &str| ground.run(&[user, &["--mount", &mount(subpath)]].concat(), script);
        run("a/b", "cat /x/file").prints("in\n");
        run("inner", "cat /x/file").prints("in\n");
        for subpath in ["absolute", "climbing", "a/../climbing/x"] {
            let refused = run(subpath, "touch /x/file").exits(125).err();
            assert!(refused.contains("out of the volume") || refused.contains("not within"), "{refused}");
        }
        run("nothing", "true").refuses(125, &["nothing", "no such file or directory"]);
    }
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let ground = Ground::new();
    let refused = |options: &[&str], words: &[&str]| {
        ground.run(options, "true").refuses(125, words);
    };
    refused(&["-v", "aa:/x", "-v", "bb:/x/"], &["--volume bb:/x/", "on /x already"]);
    refused(&["-v", "aa:/x", "--tmpfs", "/x"], &["--tmpfs /x", "on /x already"]);
    refused(&["-v", "aa:x"], &["the target x is not absolute"]);
    refused(&["-v", "aa:/x:bogus"], &["unknown option bogus"]);
    refused(&["--mount", "src=aa,dst=/x,bogus=1"], &["unknown key bogus"]);
    refused(&["--mount", "type=bind,src=/not/there,dst=/x"], &["/not/there does not exist"]);
    refused(&["--volumes-from", "nobody"], &["--volumes-from nobody: no such container"]);
    refused(&["--volume-driver", "nfs"], &["--volume-driver nfs", "local"]);
    refused(&["-v", "aa:/proc/sys"], &["/proc is the kernel's"]);
    assert_eq!(ground.volumes(), [""; 0], "nothing was made for them");
}

#[test]
fn volumes_of_another_container_come_with_their_options() {
    let ground = Ground::new();
    let host = ground.world.directory().join("mine");
    fs::create_dir(&host).unwrap();
    let bind = format!("{}:/bound:ro", host.display());
    let options = ["--name", "one", "-v", "data:/d", "-v", &bind, "-v", "/unnamed", "--tmpfs", "/memory"];
    ground.call(&options, "echo data >/d/file; echo unnamed >/unnamed/file").ok();
    let from: &[&str] = &["--volumes-from", "one"];
    ground.run(from, "cat /d/file /unnamed/file; touch /bound/x; ls -d /memory").exits(1);
    ground.run(from, "cat /d/file /unnamed/file; echo more >>/d/file").prints("data\nunnamed\n");
    let read_only: &[&str] = &["--volumes-from", "one:ro"];
    ground.run(read_only, "cat /d/file; touch /d/y || touch /unnamed/y || echo refused").exits(0);
    assert!(!ground.data("data").join("y").exists());
    // What is typed wins.
    ground.run(&["--volumes-from", "one", "-v", "other:/d"], "ls -A /d").prints("");
    // It runs on without the one whose volumes it has.
    let id = ground.detached(&["--name", "two", "--volumes-from", "one"]);
    ground.world.minidocker(["rm", "-v", "one"]).ok();
    assert_eq!(ground.volumes().len(), 3, "two uses them");
    ground.world.minidocker(["rm", "-fv", &id]).ok();
    assert_eq!(ground.volumes(), ["data", "other"]);
}
