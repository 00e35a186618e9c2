//! A user namespace of its own: root inside is nobody in particular outside.

use std::fs;
use std::os::unix::fs::MetadataExt;

use minidocker_tests::World;

use crate::shell;

/// The id outside that stands for root inside, and how many ids there are.
fn map(text: &str) -> (u32, u32) {
    let numbers: Vec<u32> = text.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3, "one line: {text}");
    assert_eq!(numbers[0], 0, "root inside has an id: {text}");
    (numbers[1], numbers[2])
}

#[test]
fn root_inside_is_unprivileged_outside() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let facts = world.facts_in(&root, ["--userns", "private"]);
    assert_eq!((facts["uid"].as_u64(), facts["gid"].as_u64()), (Some(0), Some(0)));
    let (first, size) = map(facts["uid_map"].as_str().unwrap());
    assert!(first >= 65_536 && size >= 65_536, "{first} {size}");
    assert_eq!(facts["uid_map"], facts["gid_map"]);
    assert_eq!(facts["pid"], 1);
    let processes = facts["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 1, "a /proc of its own: {processes:?}");
    let words = ["--userns", "private", "--rootfs", &root.overlay(), "/inside", "pause"];
    let id = world.detached(words);
    let status = fs::read_to_string(format!("/proc/{}/status", world.init(&id))).unwrap();
    let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    let ids: Vec<u32> = line.split_ascii_whitespace().skip(1).map(|id| id.parse().unwrap()).collect();
    let (first, _) = map(&fs::read_to_string(format!("/proc/{}/uid_map", world.init(&id))).unwrap());
    assert_eq!(ids, [first; 4], "outside it runs as");
    world.minidocker(["rm", "-f", &id]).ok();
}

#[test]
fn files_have_the_right_owners() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let option = "private:200000:65536";
    let directory = world.directory().join("shared");
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(200_000), Some(200_000)).unwrap();
    let volume = format!("{}:/shared", directory.display());
    let script = "set -e; touch /shared/root; touch /shared/user; chown 1000:1000 /shared/user; \
        touch /in-layer; stat -c %u:%g /bin/busybox /shared /shared/root /shared/user /in-layer";
    let words = ["run", "--name", "owners", "--userns", option, "-v", &volume, "--rootfs", &root.overlay()];
    let output = world.minidocker(words.into_iter().chain(["sh", "-c", script]));
    // The image's files are the container's root's, though the directory outside belongs to the real root.
    assert_eq!(output.text(), "0:0\n0:0\n0:0\n1000:1000\n0:0");
    let owner = |path: &std::path::Path| fs::symlink_metadata(path).map(|file| (file.uid(), file.gid()));
    assert_eq!(owner(&directory.join("root")).unwrap(), (200_000, 200_000));
    assert_eq!(owner(&directory.join("user")).unwrap(), (201_000, 201_000));
    // In the layer on disk: whichever way the ids are mapped, the file is there, and not for the host's root to trust.
    let containers: Vec<_> = fs::read_dir(world.root().join("containers")).unwrap().flatten().collect();
    let layer = containers[0].path().join("upper/in-layer");
    assert!(layer.exists(), "{}", layer.display());
    world.minidocker(["rm", "owners"]).ok();
}

#[test]
fn devices_and_file_systems_work_and_the_host_is_out_of_reach() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let secret = world.directory().join("secret");
    fs::write(&secret, "of the host").unwrap();
    rustix::fs::chmod(&secret, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let volume = format!("{}:/secret", secret.display());
    let script = "head -c 3 /dev/zero | wc -c; echo x > /dev/null && echo null; head -c 4 /dev/urandom | wc -c; \
        echo x > /dev/full || echo full; touch /dev/shm/x && echo shm; cat /secret || echo hidden; \
        echo 1 > /proc/sys/kernel/hostname || echo read-only; mount -t tmpfs x /tmp || echo no-mount";
    let text =
        shell(&world, &root, &["--userns", "private", "-v", &volume], &format!("exec 2>/dev/null; {script}"));
    assert_eq!(text, "3\nnull\n4\nfull\nshm\nhidden\nread-only\nno-mount");
    // With the capability it may mount what belongs to its namespaces.
    let options = ["--userns", "private", "--cap-add", "SYS_ADMIN"];
    let text = shell(
        &world,
        &root,
        &options,
        "mount -t tmpfs x /tmp && hostname inner && hostname; mknod /d c 1 3 || echo no",
    );
    assert_eq!(text, "inner\nno");
}

#[test]
fn a_plain_directory_keeps_its_owners() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let plain = root.plain();
    let words =
        ["run", "--rm", "--userns", "private", "--rootfs", &plain, "sh", "-c", "touch /new; stat -c %u /new"];
    assert_eq!(world.minidocker(words).text(), "0");
    let new = fs::symlink_metadata(root.path().join("new")).unwrap();
    assert_eq!(
        (new.uid(), new.gid()),
        (0, 0),
        "an idmapped mount: on disk the file is root's, as all others"
    );
}
