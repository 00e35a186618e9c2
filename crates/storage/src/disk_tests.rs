//! Images, copies and quotas on the real kernel. As root.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::UnmountFlags;

use crate::disk::{Bound, Disk, Host, Kind};
use crate::image::Usage;
use crate::trial::{Scratch, UserNamespace, in_namespace, mount};
use crate::{Options, Places, Source, grow, plan, remove, usage};

const MIB: u64 = 1 << 20;

fn sized(kind: Option<Kind>, mib: u64) -> Options {
    Options { kind, size: Some(mib * MIB), ..Options::default() }
}

fn loops_of(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").unwrap().flatten() {
        let text = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if text.starts_with(path.to_str().unwrap()) {
            found.push(text.trim_end().to_owned());
        }
    }
    found
}

/// A loop device lets go of its file when the kernel has taken the last mount down, a moment after umount(2).
#[track_caller]
fn expect_no_loops(scratch: &Scratch) {
    for _ in 0..1000 {
        if loops_of(&scratch.path).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{:?}", loops_of(&scratch.path));
}

fn unmount(path: &Path) {
    rustix::mount::unmount(path, UnmountFlags::DETACH).unwrap();
}

fn start(scratch: &Scratch, source: &Source, options: Options) -> PathBuf {
    let (places, view) = (scratch.places(), scratch.path.join("view"));
    let rootfs = plan(&places, "c1", source, options).unwrap();
    mount(&rootfs, &view, None).unwrap();
    view
}

fn fill(path: &Path) -> (u64, std::io::Error) {
    let mut file = fs::File::create(path).unwrap();
    let (chunk, mut written) = (vec![7; MIB as usize], 0);
    loop {
        match file.write(&chunk).and_then(|count| file.sync_data().map(|()| count)) {
            Ok(count) => written += count as u64,
            Err(error) => return (written, error),
        }
    }
}

fn container(places: &Places) -> PathBuf {
    places.container("c1")
}

#[test]
fn an_overlay_of_a_size_ends_at_its_size() {
    in_namespace(|| {
        let scratch = Scratch::new("quota");
        let tree = scratch.tree("tree");
        let source = Source::DirectoryOverlay(tree.clone());
        let options = Options { volatile: true, ..sized(None, 32) };
        let rootfs = plan(&scratch.places(), "c1", &source, options).unwrap();
        let (size, bound) = rootfs.disk.limit.unwrap();
        assert_eq!(size, 32 * MIB);
        if bound == Bound::Image {
            assert!(rootfs.disk.to_string().contains("has no project quotas"), "{}", rootfs.disk);
        }
        let view = start(&scratch, &source, options);
        assert_eq!(fs::read_to_string(view.join("etc/motd")).unwrap(), "hello\n");
        let shown = Usage::of(fs::File::open(&view).unwrap()).unwrap();
        assert!(shown.size > 28 * MIB && shown.size <= 32 * MIB, "{shown:?}");
        let (written, error) = fill(&view.join("big"));
        assert_eq!(error.raw_os_error(), Some(28), "{error}");
        assert!(written > 24 * MIB && written < 32 * MIB, "{written}");
        let image = container(&scratch.places()).join("disk");
        let taken = fs::metadata(&image).unwrap().blocks() * 512;
        assert!(taken <= 33 * MIB, "{taken}");
        // What is deleted is given back.
        fs::remove_file(view.join("big")).unwrap();
        fs::write(view.join("etc/motd"), "changed").unwrap();
        assert_eq!(fs::read_to_string(tree.join("etc/motd")).unwrap(), "hello\n");
        assert_eq!(loops_of(&scratch.path).len(), 1);
        let told = || usage(&scratch.places(), "c1").unwrap();
        assert_eq!(told().size, shown.size);
        // The last writes of a file may hold it for a moment after it was deleted.
        for _ in 0..1000 {
            if told().used < MIB {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(told().used < MIB, "{:?}", told());
        unmount(&view);
        expect_no_loops(&scratch);
        remove(&scratch.places(), "c1").unwrap();
        assert!(!image.exists());
    });
}

#[test]
fn what_was_written_to_an_image_is_there_at_the_next_start() {
    in_namespace(|| {
        for kind in [Kind::Overlay, Kind::Loop] {
            let scratch = Scratch::new("again");
            let source = Source::DirectoryOverlay(scratch.tree("tree"));
            let options = sized(Some(kind), 64);
            let view = start(&scratch, &source, options);
            fs::write(view.join("new"), "new").unwrap();
            unmount(&view);
            expect_no_loops(&scratch);
            let view = start(&scratch, &source, options);
            assert_eq!(fs::read_to_string(view.join("new")).unwrap(), "new");
            assert_eq!(fs::read_to_string(view.join("etc/motd")).unwrap(), "hello\n");
            unmount(&view);
            expect_no_loops(&scratch);
            let image = container(&scratch.places()).join("disk");
            let output = Command::new("e2fsck").args(["-f", "-n"]).arg(image).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(!said.replace("lost+found not found.  Create? no", "").contains("? no"), "{said}");
        }
    });
}

#[test]
#[ignore = "needs CAP_SYS_RESOURCE, which root has not everywhere: cargo xtask vm, or a machine of one's own"]
fn an_image_grows_with_its_container_running_or_not() {
    in_namespace(|| {
        for kind in [Kind::Overlay, Kind::Loop] {
            let scratch = Scratch::new("grow");
            let places = scratch.places();
            let source = Source::DirectoryOverlay(scratch.tree("tree"));
            let options = sized(Some(kind), 32);
            let view = start(&scratch, &source, options);
            let shown = || Usage::of(fs::File::open(&view).unwrap()).unwrap().size / MIB;
            assert!((24..=32).contains(&shown()), "{}", shown());
            grow(&places, "c1", 300 * MIB).unwrap();
            assert!((270..=300).contains(&shown()), "{}", shown());
            // Over the first block of descriptors, which holds 64 groups.
            grow(&places, "c1", 20 << 30).unwrap();
            assert!((20_000..=20_480).contains(&shown()), "{}", shown());
            assert_eq!(fs::read_to_string(view.join("etc/motd")).unwrap(), "hello\n");
            fs::write(view.join("new"), "new").unwrap();
            unmount(&view);
            expect_no_loops(&scratch);
            grow(&places, "c1", 21 << 30).unwrap();
            expect_no_loops(&scratch);
            assert!(usage(&places, "c1").unwrap().size > 20_480 * MIB);
            let refused = grow(&places, "c1", 32 * MIB).unwrap_err();
            assert!(refused.to_string().contains("grows and does not shrink"), "{refused}");
            expect_no_loops(&scratch);
            let view = start(&scratch, &source, options);
            assert_eq!(fs::read_to_string(view.join("new")).unwrap(), "new");
            unmount(&view);
            expect_no_loops(&scratch);
        }
    });
}

#[test]
fn without_a_limit_there_is_nothing_to_grow() {
    in_namespace(|| {
        let scratch = Scratch::new("nogrow");
        let source = Source::DirectoryOverlay(scratch.tree("tree"));
        let view = start(&scratch, &source, Options::default());
        let refused = grow(&scratch.places(), "c1", 64 * MIB).unwrap_err();
        assert!(refused.to_string().contains("has no limit"), "{refused}");
        let told = usage(&scratch.places(), "c1").unwrap();
        assert_eq!(told.size, Usage::of(fs::File::open(&scratch.path).unwrap()).unwrap().size);
        unmount(&view);
    });
}

/// A tree with everything that a copy must keep.
fn rich(scratch: &Scratch) -> PathBuf {
    let tree = scratch.tree("tree");
    let at = |name: &str| tree.join(name);
    fs::create_dir_all(at("deep/er/still")).unwrap();
    fs::write(at("deep/er/still/file"), "deep").unwrap();
    fs::hard_link(at("deep/er/still/file"), at("second")).unwrap();
    symlink("second", at("link")).unwrap();
    symlink("/etc/shadow", at("out")).unwrap();
    let holes = fs::File::create(at("holes")).unwrap();
    holes.write_all_at(b"middle", 8 << 20).unwrap();
    holes.set_len(64 << 20).unwrap();
    let mut big = fs::File::create(at("big")).unwrap();
    big.seek(SeekFrom::Start(3)).unwrap();
    big.write_all(&crate::trial::fill(3 << 20, 7)).unwrap();
    let script = "cd \"$0\"; mkfifo pipe; mknod null c 1 3; mknod disk b 7 200; mknod white c 0 0; \
        chown 1000:1001 big; chmod 4711 big; chmod 1777 deep; chown 5:6 deep; chown -h 7:8 link; \
        setfattr -n user.x -v y holes; setfattr -n trusted.y -v z deep; \
        setcap cap_net_raw+ep second; touch -h -d '2001-02-03 04:05:06.123456789' big link deep pipe .";
    let status = Command::new("sh").args(["-ec", script]).arg(&tree).status().unwrap();
    assert!(status.success());
    tree
}

fn listing(path: &Path) -> String {
    let script = "cd \"$0\"; find . -path ./lost+found -o -printf '%p %y %m %U:%G %n %l %T@\\n' | sort; \
        find . -type f -exec md5sum {} + | sort; find . | sort | while read -r x; do getfattr -hd -m - -- \"$x\" | sed '/overlay/d'; done; stat -c '%n %t %T' null disk";
    let output = Command::new("sh").args(["-ec", script]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_copy_is_the_same_tree() {
    in_namespace(|| {
        for kind in [Kind::Copy, Kind::Loop] {
            let scratch = Scratch::new("copy");
            let tree = rich(&scratch);
            let options = Options { kind: Some(kind), ..Options::default() };
            let view = start(&scratch, &Source::DirectoryOverlay(tree.clone()), options);
            assert!(!view.join("white").exists(), "a whiteout is nothing");
            fs::remove_file(tree.join("white")).unwrap();
            let at = "2001-02-03 04:05:06.123456789";
            let touched = Command::new("touch").args(["-d", at]).arg(&tree).status().unwrap();
            assert!(touched.success());
            assert_eq!(listing(&tree), listing(&view));
            assert!(fs::metadata(view.join("pipe")).unwrap().file_type().is_fifo());
            assert!(fs::metadata(view.join("holes")).unwrap().blocks() * 512 < MIB, "holes stay holes");
            let ids =
                ["second", "deep/er/still/file"].map(|name| fs::metadata(view.join(name)).unwrap().ino());
            assert_eq!(ids[0], ids[1]);
            fs::write(view.join("second"), "changed").unwrap();
            assert_eq!(fs::read_to_string(tree.join("second")).unwrap(), "deep");
            unmount(&view);
            expect_no_loops(&scratch);
            // The second start is of the copy.
            fs::remove_dir_all(tree.join("deep")).unwrap();
            let view = start(&scratch, &Source::DirectoryOverlay(tree), options);
            assert_eq!(fs::read_to_string(view.join("deep/er/still/file")).unwrap(), "changed");
            unmount(&view);
            expect_no_loops(&scratch);
            remove(&scratch.places(), "c1").unwrap();
        }
    });
}

#[test]
fn layers_are_copied_as_their_view() {
    in_namespace(|| {
        let scratch = Scratch::new("layers");
        let (low, high) = (scratch.tree("low"), scratch.path.join("high"));
        fs::create_dir_all(low.join("gone")).unwrap();
        fs::create_dir_all(low.join("full")).unwrap();
        fs::write(low.join("full/old"), "old").unwrap();
        fs::create_dir_all(high.join("full")).unwrap();
        fs::write(high.join("full/new"), "new").unwrap();
        let script =
            "cd \"$0\"; mknod gone c 0 0; setfattr -n trusted.overlay.opaque -v y full; chmod 711 full";
        assert!(Command::new("sh").args(["-ec", script]).arg(&high).status().unwrap().success());
        for kind in [Kind::Copy, Kind::Loop] {
            for layers in [vec![], vec![low.clone()], vec![low.clone(), high.clone()]] {
                let options = Options { kind: Some(kind), volatile: true, ..Options::default() };
                let count = layers.len();
                let view = start(&scratch, &Source::Layers(layers), options);
                assert_eq!(view.join("etc/motd").exists(), count > 0);
                assert_eq!(view.join("gone").exists(), count == 1);
                assert_eq!(
                    (view.join("full/old").exists(), view.join("full/new").exists()),
                    (count == 1, count == 2)
                );
                if count == 2 {
                    assert_eq!(fs::metadata(view.join("full")).unwrap().mode() & 0o7777, 0o711);
                }
                unmount(&view);
                expect_no_loops(&scratch);
                remove(&scratch.places(), "c1").unwrap();
            }
        }
    });
}

#[test]
fn in_a_user_namespace_files_belong_to_its_root() {
    in_namespace(|| {
        let user = UserNamespace::new();
        for (kind, size) in
            [(Kind::Overlay, Some(64 * MIB)), (Kind::Loop, Some(64 * MIB)), (Kind::Copy, None)]
        {
            let scratch = Scratch::new("userns");
            fs::set_permissions(&scratch.path, fs::Permissions::from_mode(0o755)).unwrap();
            let tree = scratch.tree("tree");
            let view = scratch.path.join("view");
            let options = Options { kind: Some(kind), size, idmapped: true, ..Options::default() };
            let source = Source::DirectoryOverlay(tree);
            let rootfs = plan(&scratch.places(), "c1", &source, options).unwrap();
            mount(&rootfs, &view, Some(&user)).unwrap();
            let owner = |name: &str| fs::metadata(view.join(name)).unwrap().uid();
            assert_eq!((owner("."), owner("etc/motd")), (100_000, 100_000), "{kind:?}");
            let script = format!("cd {}; echo x >new; echo y >>etc/motd; mkdir -p a/b", view.display());
            assert!(user.shell(&script), "{kind:?}");
            assert_eq!(owner("new"), 100_000);
            unmount(&view);
            drop(rootfs);
            expect_no_loops(&scratch);
        }
    });
}

#[test]
fn many_at_once_get_a_device_each() {
    in_namespace(|| {
        let scratch = Scratch::new("crowd");
        let tree = scratch.tree("tree");
        let (scratch_path, places) = (scratch.path.clone(), scratch.places());
        std::thread::scope(|scope| {
            for number in 0..32 {
                let (path, places, tree) = (scratch_path.clone(), places.clone(), tree.clone());
                scope.spawn(move || {
                    let source = Source::DirectoryOverlay(tree);
                    let options = Options { volatile: true, ..sized(Some(Kind::Loop), 16) };
                    let rootfs = plan(&places, &format!("c{number}"), &source, options).unwrap();
                    let view = path.join(format!("view{number}"));
                    mount(&rootfs, &view, None).unwrap();
                    fs::write(view.join("number"), number.to_string()).unwrap();
                });
            }
        });
        assert_eq!(loops_of(&scratch_path).len(), 32);
        for number in 0..32 {
            let view = scratch_path.join(format!("view{number}"));
            assert_eq!(fs::read_to_string(view.join("number")).unwrap(), number.to_string());
            unmount(&view);
        }
        expect_no_loops(&scratch);
    });
}

/// Where the file system has project quotas they are taken: an ext4 of the tests' own with prjquota.
#[test]
#[ignore = "needs a kernel with CONFIG_QFMT_V2: cargo xtask vm, or a machine of one's own"]
fn a_project_quota_is_taken_where_there_is_one() {
    in_namespace(|| {
        let scratch = Scratch::new("project");
        let (image, disk) = (scratch.path.join("image"), scratch.path.join("state"));
        fs::create_dir(&disk).unwrap();
        let script = "truncate -s 256M \"$0\"; mkfs.ext4 -q -O quota,project \"$0\"; \
            mount -o loop,prjquota \"$0\" \"$1\"";
        let made = Command::new("sh").args(["-ec", script]).arg(&image).arg(&disk).status().unwrap();
        assert!(made.success(), "an ext4 with project quotas");
        // With CAP_SYS_RESOURCE no quota counts (fs/quota/dquot.c); containers have it only with --privileged.
        let own = rustix::thread::capabilities(None).unwrap();
        let effective = own.effective - rustix::thread::CapabilitySet::SYS_RESOURCE;
        rustix::thread::set_capabilities(None, rustix::thread::CapabilitySets { effective, ..own }).unwrap();
        let source = Source::DirectoryOverlay(scratch.tree("tree"));
        let places = scratch.places();
        for kind in [Kind::Overlay, Kind::Copy] {
            let options = sized(Some(kind), 32);
            let rootfs = plan(&places, "c1", &source, options).unwrap();
            assert_eq!(rootfs.disk.limit, Some((32 * MIB, Bound::Project)), "{}", rootfs.disk);
            let view = start(&scratch, &source, options);
            let shown = Usage::of(fs::File::open(&view).unwrap()).unwrap();
            assert_eq!(shown.size, 32 * MIB);
            let (written, error) = fill(&view.join("big"));
            assert!(matches!(error.raw_os_error(), Some(28 | 122)), "{error}");
            assert!(written > 28 * MIB && written <= 32 * MIB, "{written}");
            grow(&places, "c1", 64 * MIB).unwrap();
            let (written, _) = fill(&view.join("bigger"));
            assert!(written > 28 * MIB && written <= 36 * MIB, "{written}");
            fs::remove_file(view.join("bigger")).unwrap();
            fs::rename(view.join("etc/motd"), view.join("moved")).unwrap();
            let own = container(&places).join(if kind == Kind::Copy { "root" } else { "upper" });
            let number = sys::disk::project(fs::File::open(own).unwrap()).unwrap().unwrap();
            let root = fs::File::open(&disk).unwrap();
            assert_eq!(sys::disk::project_quota(&root, number).unwrap().0, 64 * MIB);
            unmount(&view);
            remove(&places, "c1").unwrap();
            assert_eq!(sys::disk::project_quota(&root, number).unwrap(), (0, 0), "taken back");
        }
        unmount(&disk);
        expect_no_loops(&scratch);
    });
}

/// overlayfs takes no overlay as its upper layer: an image does it, or a copy.
#[test]
fn where_no_layer_can_be_there_is_another_way() {
    in_namespace(|| {
        let scratch = Scratch::new("unfit");
        let tree = scratch.tree("tree");
        let script = "cd \"$0\"; mkdir low up work state; mount -t overlay -o lowerdir=low,upperdir=up,workdir=work x state";
        assert!(Command::new("sh").args(["-ec", script]).arg(&scratch.path).status().unwrap().success());
        let source = Source::DirectoryOverlay(tree);
        let unfit = scratch.places().root.join("containers");
        fs::create_dir_all(&unfit).unwrap();
        let cases =
            [(false, true, Kind::Copy, None), (true, false, Kind::Overlay, Some((10 << 30, Bound::Image)))];
        for (has_loops, may_copy, kind, limit) in cases {
            let chosen = Disk::choose(&unfit, &Options::default(), Host { has_loops, may_copy }).unwrap();
            assert_eq!((chosen.kind, chosen.limit), (Some(kind), limit));
            assert!(chosen.to_string().contains("is on overlay, which cannot hold"), "{chosen}");
        }
        // Nobody wants a whole machine copied: the mount fails and tells why.
        let none =
            Disk::choose(&unfit, &Options::default(), Host { has_loops: false, may_copy: false }).unwrap();
        assert_eq!((none.kind, none.limit), (Some(Kind::Overlay), None));
        for (size, kind) in [(Some(32 * MIB), None), (None, None), (None, Some(Kind::Copy))] {
            let options = Options { size, kind, ..Options::default() };
            let rootfs = plan(&scratch.places(), "c1", &source, options).unwrap();
            assert_eq!(rootfs.disk.kind, Some(kind.unwrap_or(Kind::Overlay)));
            let view = start(&scratch, &source, options);
            fs::write(view.join("etc/motd"), "changed").unwrap();
            unmount(&view);
            remove(&scratch.places(), "c1").unwrap();
        }
        expect_no_loops(&scratch);
    });
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let scratch = Scratch::new("sizes");
    let tree = scratch.tree("tree");
    let refused = |source: &Source, options: Options| {
        let failure = plan(&scratch.places(), "c1", source, options).unwrap_err();
        assert!(failure.hint.is_some(), "{failure}");
        failure.to_string()
    };
    let overlay = Source::DirectoryOverlay(tree.clone());
    for mib in [1, 15, 20 << 20] {
        let said = refused(&overlay, sized(None, mib));
        assert!(said.contains("is not between 16 MiB and 16 TiB"), "{said}");
    }
    let image = Options { image: true, ..Options::default() };
    let said = refused(&overlay, Options { kind: Some(Kind::Copy), ..image });
    assert!(said.contains("an image is wanted"), "{said}");
    assert!(refused(&Source::Directory(tree.clone()), image).contains("--storage-opt image"));
    let rootfs = plan(&scratch.places(), "c1", &overlay, image).unwrap();
    assert_eq!(rootfs.disk.limit, Some((crate::image::USUAL, Bound::Image)));
    let said = refused(&Source::Directory(tree), sized(None, 32));
    assert!(said.contains("is used as it is"), "{said}");
    assert_eq!(crate::disk::shown(1536 * MIB), "1536 MiB");
}
