//! The plans on the real kernel: what is seen, where writes go, what stays as it was. As root.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::{self, Facts};
use crate::mounts;
use crate::overlay;
use crate::plan::plan_host;
use crate::trial::{Scratch, UserNamespace, in_namespace, mount};
use crate::{Options, Places, Source, plan, remove};

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// A host in a directory: `host` below the scratch directory with secrets in it, mounted as a view at `view`.
struct FakeHost {
    scratch: Scratch,
    base: PathBuf,
    view: PathBuf,
    places: Places,
}

impl FakeHost {
    fn new() -> Self {
        let scratch = Scratch::new("host");
        let base = scratch.path.join("host");
        let view = scratch.path.join("view");
        let places = Places { root: base.join("var/lib/minidocker"), run_root: base.join("run/minidocker") };
        let this = Self { scratch, base, view, places };
        for directory in [
            "usr/bin",
            "etc/ssh",
            "root",
            "home/ann",
            "srv/www",
            "data",
            "var/lib/docker/x",
            "var/log/app",
            "var/tmp",
            "var/lib/people/bob",
            "var/lib/postgresql/15",
            "var/lib/minidocker/containers",
            "tmp/x",
            "etc/ssl/private",
        ] {
            fs::create_dir_all(this.base.join(directory)).unwrap();
        }
        fs::set_permissions(this.base.join("var/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::set_permissions(this.base.join("etc"), fs::Permissions::from_mode(0o751)).unwrap();
        symlink("usr/bin", this.base.join("bin")).unwrap();
        symlink("/run/systemd/resolve/stub-resolv.conf", this.base.join("etc/resolv.conf")).unwrap();
        for (file, text) in [
            ("secret.txt", "secret"),
            ("data/secret", "secret"),
            ("root/.ssh", "secret"),
            ("home/ann/x", "secret"),
            ("usr/bin/tool", "tool"),
            ("etc/hosts", "127.0.0.1 localhost\n"),
            ("etc/machine-id", "0123\n"),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/var/lib/people/bob:/bin/sh\n"),
            ("etc/group", "root:x:0:\nsudo:x:27:bob\n"),
            ("etc/shadow", "root:$6$hash:1::::::\n"),
            ("etc/shadow-", "root:$6$hash:1::::::\n"),
            ("etc/gshadow", "root:$6$hash::\n"),
            ("etc/ssh/ssh_host_rsa_key", "secret"),
            ("etc/ssh/ssh_config", "config"),
            ("etc/ssl/private/key", "secret"),
            ("var/lib/people/bob/x", "secret"),
            ("var/log/app/log", "secret"),
            ("var/lib/docker/x/y", "secret"),
            ("var/lib/minidocker/format", "1"),
            ("var/tmp/x", "secret"),
            ("var/lib/postgresql/15/data", "secret"),
            ("var/lib/fine", "fine"),
        ] {
            fs::write(this.base.join(file), text).unwrap();
        }
        rustix::fs::chown(this.base.join("etc/shadow"), None, Some(rustix::fs::Gid::from_raw(42))).unwrap();
        fs::set_permissions(this.base.join("etc/shadow"), fs::Permissions::from_mode(0o640)).unwrap();
        this
    }

    fn show(&self, options: Options, user: Option<&UserNamespace>) {
        let container = self.places.container("c1");
        let text = fs::read("/proc/thread-self/mountinfo").unwrap();
        let state = vec![self.places.root.clone(), self.places.run_root.clone()];
        let facts = Facts { state, home: None, mounts: mounts::parse(&text) };
        let rootfs = plan_host(&container, "c1", &self.base, &facts, options).unwrap();
        mount(&rootfs, &self.view, user).unwrap();
    }

    fn at(&self, path: &str) -> PathBuf {
        self.view.join(path)
    }

    fn fingerprint(&self) -> String {
        let script = "find . -path ./var/lib/minidocker -prune -o -printf '%p %m %U:%G %s %l\\n' | sort; \
            find . -path ./var/lib/minidocker -prune -o -type f -exec md5sum {} + | sort";
        let output = Command::new("sh").args(["-c", script]).current_dir(&self.base).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn the_view_shows_programs_and_hides_the_rest() {
    in_namespace(|| {
        let host = FakeHost::new();
        host.show(Options { volatile: true, ..Options::default() }, None);
        assert_eq!(
            names(&host.view),
            [
                "bin", "dev", "etc", "home", "media", "mnt", "proc", "root", "run", "srv", "sys", "tmp",
                "usr", "var"
            ]
        );
        for empty in
            ["dev", "home", "media", "mnt", "proc", "root", "run", "srv", "sys", "tmp", "var/log", "var/tmp"]
        {
            assert_eq!(names(&host.at(empty)), [""; 0], "{empty}");
        }
        let mode = |path: &str| fs::metadata(host.at(path)).unwrap().mode() & 0o7777;
        assert_eq!(
            ["tmp", "root", "var/tmp", "etc", "proc"].map(mode),
            [0o1777, 0o700, 0o1777, 0o751, 0o555]
        );
        assert_eq!(read(host.at("bin/tool")), "tool");
        assert_eq!(names(&host.at("var/lib")), ["fine", "people", "postgresql"]);
        assert_eq!(
            (names(&host.at("var/lib/people/bob")), names(&host.at("var/lib/postgresql"))),
            (vec![], vec![])
        );
        assert_eq!(
            (names(&host.at("etc/ssh")), names(&host.at("etc/ssl/private"))),
            (vec!["ssh_config".into()], vec![])
        );
        assert_eq!(read(host.at("etc/shadow")), "root:*:::::::\nbob:*:::::::\n");
        let shadow = fs::metadata(host.at("etc/shadow")).unwrap();
        assert_eq!((shadow.mode() & 0o7777, shadow.uid(), shadow.gid()), (0o640, 0, 42));
        assert_eq!(read(host.at("etc/gshadow")), "root:*::\nsudo:*::bob\n");
        assert_eq!(
            (read(host.at("etc/machine-id")), read(host.at("etc/resolv.conf"))),
            (String::new(), String::new())
        );
        assert!(fs::symlink_metadata(host.at("etc/resolv.conf")).unwrap().is_file());
        assert_eq!(read(host.at("etc/hosts")), "127.0.0.1 localhost\n");
        assert!(!host.at("etc/shadow-").exists());
        // Not by any name: nothing in the view has the word in it.
        let grep = Command::new("grep").args(["-rlE", "secret|hash"]).arg(&host.view).output().unwrap();
        assert_eq!((grep.status.code(), &grep.stdout[..]), (Some(1), &b""[..]));
    });
}

#[test]
fn nothing_done_in_the_view_reaches_the_host() {
    in_namespace(|| {
        let host = FakeHost::new();
        let before = host.fingerprint();
        host.show(Options::default(), None);
        let inode = fs::metadata(host.at("usr/bin/tool")).unwrap().ino();
        fs::write(host.at("usr/bin/tool"), "changed").unwrap();
        assert_eq!(fs::metadata(host.at("usr/bin/tool")).unwrap().ino(), inode, "inode numbers are steady");
        fs::write(host.at("new"), "new").unwrap();
        fs::write(host.at("var/log/new"), "new").unwrap();
        fs::write(host.at("etc/shadow"), "new").unwrap();
        fs::create_dir_all(host.at("data/new")).unwrap();
        fs::rename(host.at("etc/hosts"), host.at("etc/moved")).unwrap();
        fs::set_permissions(&host.view, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(names(&host.at("data")), ["new"], "what was hidden does not come back");
        assert_eq!(read(host.at("usr/bin/tool")), "changed");
        assert_eq!(host.fingerprint(), before);
        let rm = Command::new("sh").args(["-c", "rm -rf \"$0\"/*"]).arg(&host.view).status().unwrap();
        assert!(rm.success());
        assert_eq!((names(&host.view), host.fingerprint()), (vec![], before.clone()));
        rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::empty()).unwrap();

        // A second start finds what the first one left, and a removal leaves nothing.
        host.show(Options::default(), None);
        assert_eq!(names(&host.view), [""; 0]);
        assert_eq!(fs::metadata(&host.view).unwrap().mode() & 0o7777, 0o700);
        rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::empty()).unwrap();
        remove(&host.places, "c1").unwrap();
        assert_eq!(names(&host.places.root.join("containers")), [""; 0]);
        assert_eq!(host.fingerprint(), before);
    });
}

#[test]
fn further_file_systems_get_an_overlay_each() {
    in_namespace(|| {
        let host = FakeHost::new();
        // Mounts of the root disk's own file system stand for other disks: each is a mount of a real kind.
        let disk = |name: &str, at: &str| {
            let source = host.scratch.path.join(name);
            fs::create_dir_all(&source).unwrap();
            fs::create_dir_all(host.base.join(at)).unwrap();
            rustix::mount::mount_bind(&source, host.base.join(at)).unwrap();
            source
        };
        let opt = disk("disk-opt", "opt/a b");
        fs::write(opt.join("program"), "program").unwrap();
        let log = disk("disk-log", "var/log");
        fs::write(log.join("log"), "secret").unwrap();
        let real = disk("disk-real", "usr/local");
        fs::create_dir_all(real.join("deep/er")).unwrap();
        disk("disk-deep", "usr/local/deep/er");
        fs::write(host.scratch.path.join("disk-deep/file"), "deep").unwrap();
        let docker = disk("disk-docker", "var/lib/docker");
        fs::write(docker.join("layer"), "secret").unwrap();
        rustix::mount::mount(
            "tmpfs",
            host.base.join("usr/bin"),
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            None,
        )
        .unwrap();

        host.show(Options { read_only: true, ..Options::default() }, None);
        assert_eq!(read(host.at("opt/a b/program")), "program");
        assert_eq!(read(host.at("usr/local/deep/er/file")), "deep");
        assert_eq!(names(&host.at("var/log")), [""; 0]);
        assert!(!host.at("var/lib/docker").exists());
        assert_eq!(names(&host.at("usr/bin")), [""; 0], "what lies beneath the host's tmpfs is not shown");
        let refused = fs::write(host.at("opt/a b/new"), "x").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        fs::write(host.at("etc/new"), "x").unwrap();
        rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::DETACH).unwrap();
        remove(&host.places, "c1").unwrap();

        host.show(Options::default(), None);
        fs::write(host.at("opt/a b/new"), "x").unwrap();
        fs::write(host.at("usr/local/deep/er/new"), "x").unwrap();
        assert_eq!(
            (names(&opt), names(&real.join("deep"))),
            (vec!["program".to_owned()], vec!["er".to_owned()])
        );
        assert_eq!(names(&host.scratch.path.join("disk-deep")), ["file"]);
        assert!(host.places.container("c1").join("upper%2Fopt%2Fa b/new").exists());
        rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn a_separate_var_is_masked_too() {
    in_namespace(|| {
        let host = FakeHost::new();
        let disk = host.scratch.path.join("disk-var");
        fs::rename(host.base.join("var"), &disk).unwrap();
        fs::create_dir(host.base.join("var")).unwrap();
        rustix::mount::mount_bind(&disk, host.base.join("var")).unwrap();
        host.show(Options { volatile: true, ..Options::default() }, None);
        assert_eq!(names(&host.at("var/lib")), ["fine", "people", "postgresql"]);
        assert_eq!((names(&host.at("var/log")), names(&host.at("var/lib/people/bob"))), (vec![], vec![]));
        fs::write(host.at("var/lib/new"), "x").unwrap();
        assert!(!disk.join("lib/new").exists());
        rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

/// A copy is one of the view, and not of the host.
#[test]
fn a_copy_of_the_view_hides_the_same() {
    in_namespace(|| {
        for kind in [crate::Kind::Copy, crate::Kind::Loop] {
            let host = FakeHost::new();
            let disk = host.scratch.path.join("disk-var");
            fs::rename(host.base.join("var"), &disk).unwrap();
            fs::create_dir(host.base.join("var")).unwrap();
            rustix::mount::mount_bind(&disk, host.base.join("var")).unwrap();
            let before = host.fingerprint();
            host.show(Options { kind: Some(kind), volatile: true, ..Options::default() }, None);
            assert_eq!(names(&host.at("var/lib")), ["fine", "people", "postgresql"], "{kind:?}");
            assert_eq!((names(&host.at("var/log")), names(&host.at("home"))), (vec![], vec![]));
            assert_eq!(read(host.at("bin/tool")), "tool");
            assert_eq!(read(host.at("etc/shadow")), "root:*:::::::\nbob:*:::::::\n");
            let grep = Command::new("grep").args(["-rlE", "secret|hash"]).arg(&host.view).output().unwrap();
            assert_eq!((grep.status.code(), &grep.stdout[..]), (Some(1), &b""[..]));
            fs::write(host.at("usr/bin/tool"), "changed").unwrap();
            fs::write(host.at("var/lib/fine"), "changed").unwrap();
            assert_eq!(host.fingerprint(), before);
            rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::DETACH).unwrap();
            remove(&host.places, "c1").unwrap();
        }
    });
}

#[test]
fn homes_that_are_links_into_var_are_hidden_there() {
    in_namespace(|| {
        let host = FakeHost::new();
        fs::rename(host.base.join("home"), host.base.join("var/people")).unwrap();
        symlink(host.base.join("var/people"), host.base.join("home")).unwrap();
        host.show(Options::default(), None);
        assert!(fs::symlink_metadata(host.at("home")).unwrap().is_dir());
        assert_eq!((names(&host.at("home")), names(&host.at("var/people"))), (vec![], vec![]));
        rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn state_that_the_first_run_makes_is_hidden_from_it() {
    in_namespace(|| {
        for root in ["var/lib/minidocker", "opt/made/on/first/use"] {
            let mut host = FakeHost::new();
            fs::remove_dir_all(&host.places.root).unwrap();
            fs::create_dir(host.base.join("opt")).unwrap();
            host.places.root = host.base.join(root);
            host.show(Options::default(), None);
            assert!(host.places.container("c1").join("upper").exists());
            assert_eq!((host.at("var/lib/minidocker").exists(), names(&host.at("opt"))), (false, vec![]));
            rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    });
}

#[test]
fn this_host_itself() {
    in_namespace(|| {
        let scratch = Scratch::new("real");
        let (places, view) = (scratch.places(), scratch.path.join("view"));
        let options = Options { volatile: true, ..Options::default() };
        let rootfs = plan(&places, "c1", &Source::Host, options).unwrap();
        assert_eq!(rootfs.lookup, Path::new("/"));
        mount(&rootfs, &view, None).unwrap();
        assert!(view.join("usr/bin/env").exists() && view.join("etc/passwd").exists());
        assert_eq!(fs::metadata("/usr").unwrap().mode(), fs::metadata(view.join("usr")).unwrap().mode());
        for empty in ["root", "home", "tmp", "run", "proc", "sys", "var/log", "var/tmp"] {
            assert_eq!(names(&view.join(empty)), [""; 0], "{empty}");
        }
        let known = |name: &String| {
            let fresh = crate::hidden::FRESH.iter().any(|(fresh, _)| fresh == name);
            fresh || crate::hidden::VISIBLE.contains(&name.as_str())
        };
        assert!(names(&view).iter().all(known), "{:?}", names(&view));
        if let Ok(shadow) = fs::read_to_string(view.join("etc/shadow")) {
            assert!(shadow.lines().all(|line| line.ends_with(":*:::::::")), "{shadow}");
        }
        let chroot = |script: &str| {
            let output = Command::new("chroot").arg(&view).args(["/bin/sh", "-ec", script]).output().unwrap();
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        };
        assert_eq!(chroot("echo x >/usr/bin/minidocker-test; cat /usr/bin/minidocker-test"), "x\n");
        assert!(!Path::new("/usr/bin/minidocker-test").exists());
        rustix::mount::unmount(&view, rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn a_view_for_a_user_namespace() {
    in_namespace(|| {
        let host = FakeHost::new();
        let before = host.fingerprint();
        let user = UserNamespace::new();
        host.show(Options { volatile: true, idmapped: true, ..Options::default() }, Some(&user));
        let owner =
            |path: &str| fs::symlink_metadata(host.at(path)).map(|stat| (stat.uid(), stat.gid())).unwrap();
        for path in ["", "usr", "usr/bin/tool", "root", "tmp", "etc", "var/log", "var/lib/fine"] {
            assert_eq!(owner(path), (100_000, 100_000), "{path}");
        }
        assert_eq!(owner("etc/shadow"), (100_000, 100_042));
        let script = format!(
            "cd {}; echo x >usr/bin/tool; echo y >root/new; mkdir var/log/new; rm etc/hosts; \
            chown 7:8 root/new; ! ls home/ann",
            host.view.display()
        );
        assert!(user.shell(&script));
        assert_eq!(owner("root/new"), (100_007, 100_008));
        let upper = host.places.container("c1").join("upper");
        let on_disk = |path: &str| fs::symlink_metadata(upper.join(path)).unwrap();
        assert_eq!(
            (on_disk("usr/bin/tool").uid(), on_disk("root/new").uid(), on_disk("root/new").gid()),
            (0, 7, 8)
        );
        assert!(on_disk("etc/hosts").file_type().is_char_device());
        assert_eq!(host.fingerprint(), before);
        rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn a_directory_behind_an_overlay_stays_untouched_whatever_its_name() {
    in_namespace(|| {
        let scratch = Scratch::new("overlay:a,b\\c d");
        let (places, view) = (scratch.places(), scratch.path.join("view"));
        let tree = scratch.tree("tree:with,all\\of it\\:'");
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o711)).unwrap();
        let source = Source::DirectoryOverlay(tree.clone());
        let rootfs = plan(&places, "c1", &source, Options::default()).unwrap();
        assert_eq!(rootfs.lookup, tree);
        mount(&rootfs, &view, None).unwrap();
        assert_eq!(fs::metadata(&view).unwrap().mode() & 0o7777, 0o711);
        assert_eq!(read(view.join("etc/motd")), "hello\n");
        fs::write(view.join("etc/motd"), "changed\n").unwrap();
        fs::write(view.join("new"), "new").unwrap();
        assert_eq!((read(tree.join("etc/motd")).as_str(), names(&tree)), ("hello\n", vec!["etc".to_owned()]));
        assert_eq!(read(places.container("c1").join("upper/etc/motd")), "changed\n");
        let mounts = read("/proc/thread-self/mountinfo");
        let line = mounts
            .lines()
            .find(|line| line.contains(" - overlay ") && line.contains("/proc/self/fd"))
            .unwrap();
        assert!(!line.contains("tree:"), "{line}");
        rustix::mount::unmount(&view, rustix::mount::UnmountFlags::DETACH).unwrap();
        remove(&places, "c1").unwrap();
    });
}

#[test]
fn a_volatile_layer_cannot_be_used_twice() {
    in_namespace(|| {
        let scratch = Scratch::new("volatile");
        let (places, view) = (scratch.places(), scratch.path.join("view"));
        let source = Source::DirectoryOverlay(scratch.tree("tree"));
        let options = Options { volatile: true, ..Options::default() };
        let rootfs = plan(&places, "c1", &source, options).unwrap();
        mount(&rootfs, &view, None).unwrap();
        fs::write(view.join("new"), "x").unwrap();
        rustix::mount::unmount(&view, rustix::mount::UnmountFlags::empty()).unwrap();
        let failure = mount(&rootfs, &view, None).unwrap_err();
        assert!(failure.hint.as_ref().unwrap().contains("starts once"), "{failure:?}");
        remove(&places, "c1").unwrap();
    });
}

#[test]
fn an_unfit_file_system_is_named_with_the_way_out() {
    in_namespace(|| {
        let scratch = Scratch::new("unfit");
        let first = Places { root: scratch.path.join("first"), run_root: scratch.path.join("run") };
        let source = Source::DirectoryOverlay(scratch.tree("tree"));
        let view = scratch.path.join("view");
        mount(&plan(&first, "c1", &source, Options::default()).unwrap(), &view, None).unwrap();
        // minidocker in a container: its state lies on an overlay.
        let inner = Places { root: view.join("var/lib/minidocker"), run_root: view.join("run") };
        let options = Options { kind: Some(crate::Kind::Overlay), ..Options::default() };
        let failure = mount(&plan(&inner, "c2", &source, options).unwrap(), &view, None).unwrap_err();
        assert!(
            failure.to_string().contains("is on overlay, which cannot hold a container's layer"),
            "{failure}"
        );
        assert!(failure.hint.unwrap().starts_with("use --root DIR on ext4"));
        rustix::mount::unmount(&view, rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn a_directory_as_it_is_changes_with_what_is_mounted_in_it() {
    in_namespace(|| {
        let scratch = Scratch::new("direct");
        let (places, view) = (scratch.places(), scratch.path.join("view"));
        let tree = scratch.tree("tree");
        fs::create_dir_all(tree.join("mnt")).unwrap();
        let tmpfs = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", tree.join("mnt"), "tmpfs", tmpfs, None).unwrap();
        fs::write(tree.join("mnt/file"), "below").unwrap();
        let rootfs = plan(&places, "c1", &Source::Directory(tree.clone()), Options::default()).unwrap();
        assert!(rootfs.prepare.is_empty() && rootfs.after_attach.is_empty());
        mount(&rootfs, &view, None).unwrap();
        assert_eq!(read(view.join("mnt/file")), "below");
        fs::write(view.join("etc/motd"), "changed\n").unwrap();
        assert_eq!(read(tree.join("etc/motd")), "changed\n");
        rustix::mount::unmount(&view, rustix::mount::UnmountFlags::DETACH).unwrap();

        let options = Options { read_only: true, ..Options::default() };
        let rootfs = plan(&places, "c1", &Source::Directory(tree.clone()), options).unwrap();
        mount(&rootfs, &view, None).unwrap();
        let refused = fs::write(view.join("mnt/file"), "x").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        fs::write(view.join("mount-point"), "").unwrap();
        rustix::mount::unmount(&view, rustix::mount::UnmountFlags::DETACH).unwrap();
        fs::write(tree.join("mnt/file"), "the directory's own mount is as before").unwrap();
        rustix::mount::unmount(tree.join("mnt"), rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn a_directory_as_it_is_for_a_user_namespace() {
    in_namespace(|| {
        let scratch = Scratch::new("direct-user");
        let (places, view) = (scratch.places(), scratch.path.join("view"));
        let tree = scratch.tree("tree");
        let user = UserNamespace::new();
        let options = Options { idmapped: true, ..Options::default() };
        let rootfs = plan(&places, "c1", &Source::Directory(tree.clone()), options).unwrap();
        mount(&rootfs, &view, Some(&user)).unwrap();
        assert!(user.shell(&format!("echo new >{}/new", view.display())));
        assert_eq!(fs::metadata(view.join("new")).unwrap().uid(), 100_000);
        assert_eq!(fs::metadata(tree.join("new")).unwrap().uid(), 0);
        let failure = mount(&rootfs, &view, None).unwrap_err();
        assert!(failure.to_string().contains("was not made before"), "{failure}");
        rustix::mount::unmount(&view, rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

/// An image of so many layers: each has a file of its own and writes its number into one that all have; every tenth
/// removes what the one before it brought.
fn image(scratch: &Scratch, count: usize) -> Vec<PathBuf> {
    let one = |number: usize| {
        let path = scratch.path.join(format!("layers:,/{number:064}/fs"));
        fs::create_dir_all(path.join("etc")).unwrap();
        fs::write(path.join("etc/top"), number.to_string()).unwrap();
        fs::write(path.join(format!("etc/{number}")), number.to_string()).unwrap();
        if number % 10 == 9 {
            let gone = path.join(format!("etc/{}", number - 1));
            let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty());
            rustix::fs::mknodat(rustix::fs::CWD, gone, kind, mode, 0).unwrap();
        }
        path
    };
    (0..count).map(one).collect()
}

fn expected(count: usize) -> Vec<String> {
    let gone = |number: &usize| number % 10 == 8 && number + 1 < count;
    let mut names: Vec<_> =
        (0..count).filter(|number| !gone(number)).map(|number| number.to_string()).collect();
    names.push("top".to_owned());
    names.sort();
    names
}

#[test]
fn a_root_of_many_layers() {
    in_namespace(|| {
        for count in [1, 2, 15, 120, 200] {
            let scratch = Scratch::new("many");
            let (places, view) = (scratch.places(), scratch.path.join("view"));
            let layers = image(&scratch, count);
            let rootfs = plan(&places, "c1", &Source::Layers(layers.clone()), Options::default()).unwrap();
            assert_eq!(rootfs.lookup, layers[count - 1]);
            assert_eq!(rootfs.lookup_below.last(), (count > 1).then(|| &layers[0]));
            mount(&rootfs, &view, None).unwrap();
            assert_eq!(names(&view.join("etc")), expected(count));
            assert_eq!(read(view.join("etc/top")), (count - 1).to_string());
            fs::write(view.join("etc/top"), "mine").unwrap();
            assert_eq!(read(places.container("c1").join("upper/etc/top")), "mine");
            assert_eq!(read(layers[count - 1].join("etc/top")), (count - 1).to_string());
        }
    });
}

#[test]
fn many_layers_of_a_user_namespace() {
    in_namespace(|| {
        let scratch = Scratch::new("manyidmapped");
        let (places, view) = (scratch.places(), scratch.path.join("view"));
        let options = Options { idmapped: true, ..Options::default() };
        let rootfs = plan(&places, "c1", &Source::Layers(image(&scratch, 120)), options).unwrap();
        let user = UserNamespace::new();
        mount(&rootfs, &view, Some(&user)).unwrap();
        assert_eq!(names(&view.join("etc")), expected(120));
        assert_eq!(fs::metadata(view.join("etc/top")).unwrap().uid(), 100_000);
    });
}

#[test]
fn a_root_of_no_layer_and_of_the_same_layer_twice() {
    in_namespace(|| {
        let scratch = Scratch::new("fewlayers");
        let (places, view) = (scratch.places(), scratch.path.join("view"));
        mount(&plan(&places, "c1", &Source::Layers(Vec::new()), Options::default()).unwrap(), &view, None)
            .unwrap();
        assert_eq!(names(&view), Vec::<String>::new());
        fs::write(view.join("new"), "x").unwrap();
        let mut layers = image(&scratch, 3);
        layers.insert(0, layers[1].clone());
        layers.push(layers[2].clone());
        let rootfs = plan(&places, "c2", &Source::Layers(layers.clone()), Options::default()).unwrap();
        let second = scratch.path.join("second");
        mount(&rootfs, &second, None).unwrap();
        assert_eq!((names(&second.join("etc")), read(second.join("etc/top"))), (expected(3), "1".to_owned()));
        layers.push(scratch.path.join("missing"));
        let failure = plan(&places, "c3", &Source::Layers(layers), Options::default()).unwrap_err();
        assert!(failure.hint.unwrap().contains("pull the image again"));
    });
}

#[test]
fn many_layers_by_the_older_call() {
    in_namespace(|| {
        let scratch = Scratch::new("classic");
        let view = scratch.path.join("view");
        for directory in ["view", "upper", "work"] {
            fs::create_dir(scratch.path.join(directory)).unwrap();
        }
        let open = |path: &Path| {
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap()
        };
        let layers = overlay::Layers {
            lower: image(&scratch, 120).iter().rev().map(|path| open(path)).collect(),
            own: Some((open(&scratch.path.join("upper")), open(&scratch.path.join("work")))),
        };
        let before = read("/proc/thread-self/mountinfo").lines().count();
        let flags = overlay::Flags { volatile: true, read_only: true, ..overlay::Flags::default() };
        let mount = overlay::mount_classic(&layers, flags, &scratch.path.join("work")).unwrap();
        assert_eq!(read("/proc/thread-self/mountinfo").lines().count(), before);
        let attach = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&mount, c"", rustix::fs::CWD, &view, attach).unwrap();
        assert_eq!(names(&view.join("etc")), expected(120));
        assert!(fs::write(view.join("x"), "x").is_err());
    });
}

#[test]
fn layers_can_be_attached_for_kernels_that_want_it() {
    in_namespace(|| {
        let scratch = Scratch::new("attached");
        let (tree, view, work) = (scratch.tree("tree"), scratch.path.join("view"), scratch.path.join("work"));
        for directory in [&view, &work, &scratch.path.join("upper")] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(work.join("beneath"), "").unwrap();
        let flags =
            rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let clones: Vec<_> = [&tree, &scratch.path]
            .map(|path| rustix::mount::open_tree(rustix::fs::CWD, path, flags).unwrap())
            .into();
        let count = || read("/proc/thread-self/mountinfo").lines().count();
        let before = count();
        let attached = overlay::Attached::new(work.clone(), &clones).unwrap();
        assert_eq!((count(), names(&work).contains(&"tree".to_owned())), (before + 2, true));
        attached.detach().unwrap();
        assert_eq!((count(), names(&work)), (before, vec!["beneath".to_owned()]));
    });
}

#[test]
fn every_step_explains_itself_and_its_shell_lines_do_the_same() {
    in_namespace(|| {
        let host = FakeHost::new();
        let facts = Facts { state: vec![host.places.root.clone()], ..Facts::default() };
        assert_eq!(host::plan(&host.base, &facts).unwrap().len(), 1);
        let rootfs =
            plan_host(&host.places.container("c1"), "c1", &host.base, &facts, Options::default()).unwrap();
        let steps: Vec<_> = rootfs.prepare.iter().chain(&rootfs.mount).collect();
        let ids: Vec<_> = steps.iter().map(|step| step.id()).collect();
        assert_eq!(ids, ["storage.directories", "storage.mask", "storage.overlay"]);
        assert!(steps.iter().all(|step| !step.call().is_empty() && !step.why().is_empty()));
        // setfattr(1) is not installed everywhere.
        let mut script = String::from(
            "set -e\ncommand -v setfattr >/dev/null ||
            setfattr() { python3 -c 'import os, sys; a = sys.argv; os.setxattr(a[5], a[2], a[4].encode())' \"$@\"; }\n",
        );
        for step in steps {
            let step::Shell::Lines(lines) = step.shell() else { panic!("{step:?}") };
            lines.iter().for_each(|line| script.extend([line, "\n"]));
        }
        fs::create_dir(&host.view).unwrap();
        let output = Command::new("sh").args(["-c", &script]).env("ROOT", &host.view).output().unwrap();
        assert!(output.status.success(), "{script}{}", String::from_utf8_lossy(&output.stderr));
        let by_shell = tree_of(&host.view);
        rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::empty()).unwrap();
        remove(&host.places, "c1").unwrap();
        mount(&rootfs, &host.view, None).unwrap();
        assert_eq!(by_shell, tree_of(&host.view));
        rustix::mount::unmount(&host.view, rustix::mount::UnmountFlags::empty()).unwrap();
    });
}

fn tree_of(path: &Path) -> String {
    let find = Command::new("find")
        .arg(".")
        .args(["-printf", "%p %y %m %U:%G\n"])
        .current_dir(path)
        .output()
        .unwrap();
    let mut lines: Vec<_> = String::from_utf8(find.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines.join("\n")
}
