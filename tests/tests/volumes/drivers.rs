//! The local driver's options: file systems that each container mounts for itself; nothing stays mounted on the host.

use std::fs;

use super::Ground;

#[test]
fn memory_is_new_for_each_container() {
    let ground = Ground::new();
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=3m,mode=700"];
    ground.world.minidocker([&["volume", "create"], &options[..], &["memory"]].concat()).prints("memory\n");
    let before = fs::read_to_string("/proc/self/mounts").unwrap();
    let script = "ls /srv/www; df -k /srv/www | tail -1 | awk '{print $2}'; : >/srv/www/own";
    for user in [&[][..], &["--userns", "private"]] {
        for _ in 0..2 {
            ground.run(&[user, &["-v", "memory:/srv/www"]].concat(), script).prints("index\n3072\n");
        }
    }
    assert_eq!(fs::read_dir(ground.data("memory")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string("/proc/self/mounts").unwrap(), before);
    let mount = "dst=/m,src=made,volume-label=a=b,volume-opt=type=tmpfs,volume-opt=device=tmpfs";
    ground.run(&["--mount", mount], "mount | grep -c ' /m type tmpfs'").prints("1\n");
    let inspect = ["volume", "inspect", "made", "-f", "{{json .Labels}} {{json .Options}}"];
    ground.world.minidocker(inspect).prints("{\"a\":\"b\"} {\"device\":\"tmpfs\",\"type\":\"tmpfs\"}\n");
}

#[test]
fn a_directory_of_the_host_under_a_name() {
    let ground = Ground::new();
    let directory = ground.world.directory().join("www");
    let device = format!("device={}", directory.display());
    let create = ["volume", "create", "-o", "type=none", "-o", &device, "-o", "o=bind", "www"];
    ground.world.minidocker(create).ok();
    ground.run(&["-v", "www:/srv/www"], "true").refuses(125, &["volume www", "no directory of this host"]);
    fs::create_dir(&directory).unwrap();
    ground.run(&["-v", "www:/srv/www"], "ls -A /srv/www; echo more >/srv/www/more").prints("index\n");
    assert_eq!(fs::read_to_string(directory.join("more")).unwrap(), "more\n");
    let mut names: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["index", "more"]);
    ground.world.minidocker(["volume", "rm", "www"]).ok();
    assert!(directory.join("more").exists(), "the volume goes, the host's files do not");
}

#[test]
fn a_file_system_of_a_device() {
    let ground = Ground::new();
    let image = ground.world.directory().join("disk");
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let path = image.to_str().unwrap();
    ground.world.program(["mkfs.ext4", "-q", path]).run().ok();
    let device = ground.world.program(["losetup", "-f", "--show", path]).run().text();
    let option = format!("device={device}");
    ground.world.minidocker(["volume", "create", "-o", "type=ext4", "-o", &option, "disk"]).ok();
    ground.run(&["-v", "disk:/d"], "echo kept >/d/file").ok();
    ground.run(&["-v", "disk:/d:ro"], "cat /d/file; touch /d/x").exits(1);
    ground.run(&["--userns", "private", "-v", "disk:/d"], "cat /d/file").prints("kept\n");
    let here = fs::read_to_string("/proc/self/mounts").unwrap().contains(&device);
    ground.world.program(["losetup", "-d", &device]).run().ok();
    assert!(!here, "nothing is mounted on the host");
}

#[test]
fn options_that_cannot_be_are_refused() {
    let ground = Ground::new();
    let refused = |words: &[&str], part: &str| {
        ground.world.minidocker([&["volume", "create"], words].concat()).refuses(1, &[part]);
    };
    refused(&["-o", "type=tmpfs", "vv"], "missing required option: device");
    refused(&["-o", "size=1m", "vv"], "invalid option: size");
    refused(&["v"], "v cannot be a volume's name");
    refused(&["../v"], "cannot be a volume's name");
    ground.world.minidocker(["volume", "create", "vv"]).ok();
    refused(&["-o", "type=tmpfs", "-o", "device=x", "vv"], "already exists with other options");
    ground.world.minidocker(["volume", "create", "vv"]).prints("vv\n");
}
