//! What stays and what goes: nobody's data is removed unless its volume was named, or nobody named it.

use std::fs;
use std::io::Write as _;

use minidocker_tests::until;

use super::Ground;

/// An image with `VOLUME /srv/www /empty`.
fn image(ground: &Ground) {
    let archive = ground.world.directory().join("image.tar");
    let path = archive.to_str().unwrap();
    ground.world.program(["tar", "-cf", path, "-C", ground.root.path().to_str().unwrap(), "."]).run().ok();
    ground.world.minidocker(["import", "-c", r#"VOLUME ["/srv/www", "/empty"]"#, path, "app:1"]).ok();
}

#[test]
fn the_images_volumes_go_with_rm() {
    let ground = Ground::new();
    image(&ground);
    let run = |options: &[&str], script: &str| {
        let first: &[&str] = &["run", "--network", "none"];
        ground.world.minidocker([first, options, &["app:1", "sh", "-c", script]].concat())
    };
    run(&["--rm"], "cat /srv/www/index; ls -A /empty").prints("hello");
    assert_eq!(ground.volumes(), [""; 0], "--rm removes them");
    // One that runs out of luck while it starts leaves none either.
    run(&["--rm", "--entrypoint", "/none"], "").exits(127);
    run(&["--name", "never", "--entrypoint", "/none"], "").exits(127);
    assert_eq!(ground.volumes(), [""; 0]);
    run(&["--name", "one", "-v", "mine:/empty"], "true").ok();
    let volumes = ground.volumes();
    let unnamed: Vec<_> = volumes.iter().filter(|name| *name != "mine").collect();
    assert_eq!((volumes.len(), unnamed.len(), unnamed[0].len()), (2, 1, 64));
    let label = ["volume", "inspect", "-f", "{{json .Labels}}", unnamed[0].as_str()];
    ground.world.minidocker(label).prints("{\"com.docker.volume.anonymous\":\"\"}\n");
    // Somebody else has them too: the last one takes them along, and never the one with a name.
    run(&["--name", "two", "--volumes-from", "one"], "cat /srv/www/index").prints("hello");
    ground.world.minidocker(["rm", "-v", "one"]).ok();
    assert_eq!(ground.volumes(), volumes);
    ground.world.minidocker(["rm", "-v", "two"]).ok();
    assert_eq!(ground.volumes(), ["mine"]);
    run(&["--name", "three"], "true").ok();
    ground.world.minidocker(["rm", "three"]).ok();
    assert_eq!(ground.volumes().len(), 3, "rm alone removes no volume");
}

#[test]
fn a_volume_in_use_stays() {
    let ground = Ground::new();
    let id = ground.detached(&["--name", "user", "-v", "used:/data"]);
    let refused = ground.world.minidocker(["volume", "rm", "used"]);
    refused.refuses(1, &["remove used: volume is in use", &id]);
    ground.world.minidocker(["volume", "rm", "-f", "used"]).refuses(1, &["in use"]);
    ground.world.minidocker(["volume", "prune", "-af"]).prints("Total reclaimed space: 0B\n");
    ground.world.minidocker(["kill", "user"]).ok();
    until("it has ended", || ground.world.minidocker(["ps", "-q"]).text().is_empty());
    ground.world.minidocker(["volume", "rm", "used"]).refuses(1, &["in use"]);
    ground.world.minidocker(["rm", "-vf", "user"]).ok();
    assert_eq!(ground.volumes(), ["used"]);
    ground.world.minidocker(["volume", "rm", "used"]).prints("used\n");
    ground.world.minidocker(["volume", "rm", "used"]).refuses(1, &["no such volume: used"]);
    ground.world.minidocker(["volume", "rm", "-f", "used"]).prints("used\n");
    assert_eq!(fs::read_dir(ground.world.root().join("volumes")).unwrap().count(), 0);
}

#[test]
fn prune_takes_what_nobody_named_and_all_only_when_asked() {
    let ground = Ground::new();
    let volume = |words: &[&str]| ground.world.minidocker([&["volume"], words].concat());
    let unnamed = volume(&["create"]).text();
    let labelled = volume(&["create", "--label", "keep=yes"]).text();
    volume(&["create", "named", "--label", "tier=web"]).prints("named\n");
    volume(&["create", "other"]).prints("other\n");
    fs::write(ground.data(&unnamed).join("big"), vec![1; 1 << 20]).unwrap();
    volume(&["prune"]).exits(0);
    assert_eq!(ground.volumes().len(), 4, "no answer is no");
    let out = volume(&["prune", "-f", "--filter", "label!=keep"]).ok().out();
    assert!(out.starts_with(&format!("Deleted Volumes:\n{unnamed}\n\nTotal reclaimed space: 1.05")), "{out}");
    volume(&["prune", "-f"]).ok();
    assert_eq!(ground.volumes(), ["named", "other"], "{labelled} is gone");
    let out = volume(&["prune", "-af", "--filter", "label=tier=web"]).ok().out();
    assert!(out.starts_with("Deleted Volumes:\nnamed\n\n"), "{out}");
    volume(&["prune", "-af"]).ok();
    assert_eq!(ground.volumes(), [""; 0]);
    volume(&["prune", "-f", "--filter", "until=1h"]).refuses(1, &["--filter", "unknown key until"]);
}

#[test]
fn where_a_record_cannot_be_read_nothing_is_pruned() {
    let ground = Ground::new();
    ground.call(&["--name", "hurt", "-v", "data:/data", "-v", "/more"], "true").ok();
    let containers = ground.world.root().join("containers");
    let record = fs::read_dir(containers).unwrap().next().unwrap().unwrap().path().join("container.json");
    fs::File::options().write(true).truncate(true).open(record).unwrap().write_all(b"{").unwrap();
    let output = ground.world.minidocker(["volume", "prune", "-af"]);
    assert!(output.code == 0 && output.err().contains("nothing was removed"), "{output:?}");
    ground.world.minidocker(["volume", "rm", "data"]).refuses(1, &["cannot remove volume data", "record"]);
    assert_eq!(ground.volumes().len(), 2);
}

#[test]
fn lists_have_dockers_columns_and_filters() {
    let ground = Ground::new();
    let volume = |words: &[&str]| ground.world.minidocker([&["volume"], words].concat());
    volume(&["create", "aa", "--label", "tier=web"]).ok();
    volume(&["create", "bb"]).ok();
    ground.call(&["--name", "user", "-v", "bb:/data"], "head -c 100000 /dev/zero >/data/x").ok();
    volume(&["ls"]).prints("DRIVER    VOLUME NAME\nlocal     aa\nlocal     bb\n");
    let names = |filter: &str| volume(&["ls", "-q", "--filter", filter]).text();
    assert_eq!(names("dangling=true"), "aa");
    assert_eq!(names("dangling=false"), "bb");
    assert_eq!(names("label=tier"), "aa");
    assert_eq!(names("label=tier=db"), "");
    assert_eq!(names("name=b"), "bb");
    assert_eq!(names("driver=local"), "aa\nbb");
    let mountpoint = volume(&["inspect", "bb", "--format", "{{.Mountpoint}}"]).text();
    assert_eq!(fs::metadata(format!("{mountpoint}/x")).unwrap().len(), 100_000);
    volume(&["ls", "--format", "{{.Name}}:{{.Driver}}:{{.Scope}}:{{.Label \"tier\"}}"])
        .prints("aa:local:local:web\nbb:local:local:\n");
    volume(&["inspect", "cc"]).exits(1);
    let row =
        ["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}"];
    let text = ground.world.minidocker(row).text();
    let used: u64 = ground
        .world
        .program(["du", "-s", "--block-size=1", &mountpoint])
        .run()
        .text()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let kb = |bytes: u64| format!("{:.0}kB", bytes as f64 / 1000.0);
    let wanted = format!("Local Volumes 2 1 {} 4.1kB", kb(used + 4096));
    assert!(text.lines().any(|line| line.starts_with(&wanted)), "{text}, wanted {wanted}");
}
