//! What the program starts with: variables, directory, user, groups, umask, words.

use std::fs;

use minidocker_tests::World;
use serde_json::{Value, json};

/// Docker's default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[test]
fn the_environment_is_dockers() {
    let world = World::new();
    let facts = world.facts(["-h", "administrator"]);
    assert_eq!(facts["env"], json!({ "PATH": PATH, "HOSTNAME": "administrator", "HOME": "/" }));
    assert_eq!(facts["hostname"], "administrator");
    let facts = world.facts_in(&world.rootfs_busybox(), ["-h", "administrator"]);
    assert_eq!(facts["env"]["HOME"], "/root", "from the image's /etc/passwd");
}

#[test]
fn variables_come_from_options_files_and_the_caller() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let file = world.directory().join("variables");
    fs::write(&file, "# a comment\n\nFILE=from the file\nTWICE=file\nFROM_CALLER\nNOT_THERE\nEQUALS=a=b=c\n")
        .expect("our own file");
    let options = ["-e", "A=1", "-e", "EMPTY=", "-e", "CALLER", "-e", "MISSING", "-e", "HOME=/elsewhere"];
    let files = ["--env-file", file.to_str().expect("text"), "-e", "TWICE=option"];
    let words = [&["run", "--rm", "--rootfs", &root][..], &options, &files, &["/inside", "facts"]].concat();
    let call = world.call(words).env("CALLER", "mine").env("FROM_CALLER", "yours").env("UNASKED", "x");
    let env = call.without_env("MISSING").without_env("NOT_THERE").run().json()["env"].take();
    let expected = [
        ("A", "1"),
        ("EMPTY", ""),
        ("CALLER", "mine"),
        ("HOME", "/elsewhere"),
        ("FILE", "from the file"),
        ("TWICE", "option"),
        ("FROM_CALLER", "yours"),
        ("EQUALS", "a=b=c"),
    ];
    for (name, value) in expected {
        assert_eq!(env[name], value, "{name} in {env}");
    }
    for name in ["MISSING", "NOT_THERE", "UNASKED", "# a comment", ""] {
        assert_eq!(env.get(name), None, "{name} in {env}");
    }
}

#[test]
fn the_working_directory_is_made() {
    let world = World::new();
    let root = world.rootfs_inside();
    assert_eq!(world.facts_in(&root, [""; 0])["cwd"], "/");
    assert_eq!(world.facts_in(&root, ["-w", "/a/b/c"])["cwd"], "/a/b/c");
    assert!(!root.path().join("a").exists(), "the overlay keeps the directory as it is");
    let words = ["run", "--rm", "-w", "a", "--rootfs", &root.overlay(), "/inside", "true"];
    world.minidocker(words).refuses(125, &["--workdir", "a"]);
    root.file("file", "");
    let words = ["run", "--rm", "-w", "/file", "--rootfs", &root.overlay(), "/inside", "true"];
    world.minidocker(words).refuses(125, &["/file"]);
}

/// uid, gid, supplementary groups (sorted, without the primary one) and home.
fn user(world: &World, options: &[&str]) -> Value {
    let facts = world.facts_in(&world.rootfs_busybox(), options);
    let groups = facts["groups"].as_array().expect("groups");
    let mut groups: Vec<u64> = groups.iter().filter_map(Value::as_u64).collect();
    // A primary group that is no supplementary one could be shed to pass files that refuse the group
    // (CVE-2022-36109).
    assert!(groups.contains(&facts["gid"].as_u64().expect("a gid")), "{options:?}: {groups:?}");
    groups.retain(|group| facts["gid"] != *group);
    groups.sort_unstable();
    assert_eq!((&facts["uid"], &facts["gid"]), (&facts["euid"], &facts["egid"]));
    json!([facts["uid"], facts["gid"], groups, facts["env"]["HOME"]])
}

#[test]
fn users_and_groups_come_from_the_images_files() {
    let world = World::new();
    // user: 1000:1000, in wheel (10) and audio (29); root is in wheel.
    for (options, expected) in [
        (&[][..], json!([0, 0, [10], "/root"])),
        (&["-u", "0"], json!([0, 0, [10], "/root"])),
        (&["-u", "user"], json!([1000, 1000, [10, 29], "/home/user"])),
        (&["-u", "1000"], json!([1000, 1000, [10, 29], "/home/user"])),
        (&["-u", "user:audio"], json!([1000, 29, [], "/home/user"])),
        (&["-u", "1000:1001"], json!([1000, 1001, [], "/home/user"])),
        (&["-u", "4321"], json!([4321, 0, [], "/"])),
        (&["-u", "4321:audio"], json!([4321, 29, [], "/"])),
        (&["-u", "user", "--group-add", "4242"], json!([1000, 1000, [10, 29, 4242], "/home/user"])),
        (&["-u", "4321:4321", "--group-add", "audio"], json!([4321, 4321, [29], "/"])),
    ] {
        assert_eq!(user(&world, options), expected, "{options:?}");
    }
}

#[test]
fn a_user_has_no_capabilities_and_root_has_dockers() {
    let world = World::new();
    let capabilities = world.facts(["-u", "1000:1000"])["capabilities"].take();
    assert_eq!(capabilities["effective"], json!([]));
    assert_eq!(capabilities["permitted"], json!([]));
    assert_eq!(capabilities["bounding"].as_array().map(Vec::len), Some(14), "{capabilities}");
    let capabilities = world.facts([""; 0])["capabilities"].take();
    assert_eq!(capabilities["effective"].as_array().map(Vec::len), Some(14), "{capabilities}");
}

#[test]
fn the_umask_is_022_or_what_is_asked_for() {
    let world = World::new();
    let root = world.rootfs_inside();
    assert_eq!(world.facts_in(&root, [""; 0])["umask"], "0022");
    assert_eq!(world.facts_in(&root, ["--umask", "0077"])["umask"], "0077");
    // The caller's own is not handed on.
    let call = world.call(["run", "--rm", "--rootfs", &root.overlay(), "/inside", "facts"]);
    let facts = call.through(&["sh", "-c", "umask 0777; exec \"$@\"", "sh"]).run().json();
    assert_eq!(facts["umask"], "0022");
}

#[test]
fn the_entry_point_goes_before_the_words() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let run = |words: &[&str]| world.minidocker([&["run", "--rm", "--rootfs", &root], words].concat());
    run(&["--entrypoint", "/bin/echo", "one", "two three"]).prints("one two three\n");
    run(&["--entrypoint", "pwd"]).prints("/\n");
    run(&["sh", "-c", "echo \"$0:$1\"", "a b", "--rm"]).prints("a b:--rm\n");
    run(&["--", "echo", "--", "-x"]).prints("-- -x\n");
}

#[test]
fn words_and_variables_may_be_long_and_odd() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let long = "x".repeat(100_000);
    let run = ["run", "--rm", "-e", &format!("LONG={long}"), "--rootfs", &root, "sh", "-c"];
    world.minidocker([&run[..], &["echo ${#LONG} ${#1}", "sh", &long]].concat()).prints("100000 100000\n");
    let odd = "new\nline \t \x1b[31m 漢 \"quotes\" 'and' $HOME `x`";
    world.minidocker([&run[..], &["printf %s \"$1\"", "sh", odd]].concat()).prints(odd);
}

#[test]
fn no_signal_is_blocked_or_ignored_at_the_start() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    for options in [&[][..], &["--init"], &["-i"]] {
        let words = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
        let call = world.call([&["run", "--rm", "--rootfs", &root], options, &words].concat());
        // Whatever the caller ignores.
        let call = call.through(&["sh", "-c", "trap '' HUP INT USR1; exec \"$@\"", "sh"]);
        let text = call.run().text();
        // 32 and 33 belong to the C library: the posix_spawn(3) of glibc, by which the harness starts programs,
        // ignores them.
        let own = 3_u64 << 31;
        for line in text.lines() {
            let set = line.split_once('\t').and_then(|(_, hex)| u64::from_str_radix(hex, 16).ok());
            assert_eq!(set.map(|set| set & !own), Some(0), "{options:?}: {text}");
        }
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
