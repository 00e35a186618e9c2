//! What `commit` keeps and what it leaves out, beside Docker's.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use minidocker_tests::engines::Host;
use minidocker_tests::{Rootfs, World, need};

use crate::ground::{self, text};

/// An image that has neither /etc nor anything to mount on.
fn bare(world: &World) -> Rootfs {
    let root = world.rootfs_empty();
    root.directory("bin");
    root.directory("kept");
    root.program("bin/busybox", &need("busybox"));
    root.link("bin/sh", "busybox");
    root
}

/// What is mounted, and what the container writes.
fn words(world: &World) -> (Vec<String>, [&'static str; 3]) {
    let source = world.rootfs_empty();
    source.file("file", "of the host");
    let file = source.path().join("file");
    let words = ["-v".into(), format!("{}:/data/deep", source.plain()), "-v".into()];
    let words =
        words.into_iter().chain([format!("{}:/kept/conf", text(&file)), "--tmpfs".into(), "/cache".into()]);
    // What is written beside a mount point is kept, with the directory; so is an empty file that nobody mounted on.
    let script = "/bin/busybox mkdir /own && echo mine > /own/file && : > /empty && echo x > /data/beside";
    (words.collect(), ["/bin/sh", "-c", script])
}

/// The names in the uppermost layer of an archive.
#[track_caller]
fn uppermost(world: &World, archive: &Path) -> BTreeSet<String> {
    let manifest = world.program(["tar", "-xOf", text(archive), "manifest.json"]).run().json();
    let layers = manifest[0]["Layers"].as_array().expect("layers");
    let layer = layers.last().and_then(|layer| layer.as_str()).expect("a layer");
    let top = archive.with_extension("top");
    let script = "tar -xOf \"$1\" \"$2\" > \"$3\" && tar -tf \"$3\"";
    let listed = world.program(["sh", "-c", script, "sh", text(archive), layer, text(&top)]).run().ok();
    let names = listed.out();
    let names = names.lines().map(|name| name.trim_start_matches("./").trim_end_matches('/'));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn what_mounts_needed_is_in_no_commit_and_docker_leaves_out_less() {
    let host = Host::new();
    let world = host.world();
    let archive = world.directory().join("bare.tar");
    ground::tar(world, bare(world).path(), &archive);
    world.minidocker(["import", text(&archive), "bare:1"]).ok();
    let (options, command) = words(world);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let run = [&["run", "--network", "none", "--name", "one"], &options[..], &["bare:1"], &command].concat();
    world.minidocker(run).ok();
    world.minidocker(["commit", "one", "made:1"]).ok();
    let saved = world.directory().join("ours.tar");
    world.minidocker(["save", "-o", text(&saved), "made:1"]).ok();
    let ours = uppermost(world, &saved);
    let wrote = ["data", "data/beside", "empty", "own", "own/file"].map(str::to_owned);
    assert_eq!(ours, BTreeSet::from(wrote.clone()));
    world.minidocker(["rm", "one"]).ok();

    let base = world.directory().join("base-image.tar");
    world.minidocker(["save", "-o", text(&base), "bare:1"]).ok();
    let socket = "unix:///run/docker.sock";
    let configuration = serde_json::json!({
        "data-root": host.path("docker"), "exec-root": "/run/docker", "pidfile": "/run/docker.pid",
        "hosts": [socket], "exec-opts": ["native.cgroupdriver=cgroupfs"], "bridge": "none",
        "cgroup-parent": world.cgroup_parent(),
    });
    let file = host.file("daemon.json", configuration.to_string());
    let mut daemon = host.daemon(["dockerd", "--config-file", &file], "API listen on");
    let docker = |words: &[&str]| {
        let all = [&["/usr/bin/docker", "--host", socket], words].concat();
        host.call(all).patience(Duration::from_secs(120)).run()
    };
    docker(&["load", "-i", text(&base)]).ok();
    docker(&[&["run", "--network", "none", "--name", "one"], &options[..], &["bare:1"], &command].concat())
        .ok();
    docker(&["commit", "one", "made:1"]).ok();
    let archive = host.path("theirs.tar");
    docker(&["save", "-o", &archive, "made:1"]).ok();
    docker(&["rm", "one"]).ok();
    let theirs = uppermost(world, Path::new(&archive));
    daemon.stop(&host);
    // /dev, /proc, /sys, /etc and what it binds there lie in a layer of its own that it does not commit; the targets of
    // mounts are written where the container writes.
    let more = ["cache", "data/deep", "kept", "kept/conf"].map(str::to_owned);
    assert_eq!(theirs, wrote.into_iter().chain(more).collect());
}
