//! Programs that cannot run: each with its cause and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use minidocker_tests::{Output, Rootfs, World};

/// Runs this one word in the root directory.
fn start(world: &World, root: &Rootfs, options: &[&str], word: &str) -> Output {
    let output = world.minidocker([&["run", "--rm", "--rootfs", &root.overlay()], options, &[word]].concat());
    world.expect_nothing_left();
    output
}

#[test]
fn a_missing_execute_bit() {
    let world = World::new();
    let root = world.rootfs_busybox();
    root.file("bin/script", "#!/bin/sh\n");
    start(&world, &root, &[], "/bin/script").refuses(126, &["/bin/script", "mode 0644"]).hints("chmod +x");
    start(&world, &root, &[], "script").refuses(126, &["/bin/script", "mode 0644"]).hints("chmod +x");
    let secret = root.script("bin/secret", "#!/bin/sh\n");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o700)).expect("our own file");
    start(&world, &root, &["-u", "1000"], "secret").refuses(126, &["/bin/secret", "mode 0700"]).hints("-u");
    start(&world, &root, &[], "secret").ok();
}

#[test]
fn a_missing_interpreter() {
    let world = World::new();
    let root = world.rootfs_busybox();
    root.script("none", "#!/opt/none -x\n");
    start(&world, &root, &[], "/none").refuses(127, &["/none", "interpreter /opt/none"]).hints("/opt/none");
    root.script("windows", "#!/bin/sh\r\necho hello\r\n");
    start(&world, &root, &[], "/windows").refuses(127, &["/windows", "carriage return"]).hints("line ends");
    root.script("option", "#! /bin/sh -e\necho hello\n");
    start(&world, &root, &[], "/option").prints("hello\n");
    // Of a dynamic program the C library's loader.
    root.program("dynamic", Path::new("/bin/true"));
    start(&world, &root, &[], "/dynamic").refuses(127, &["/dynamic", "dynamic loader"]).hints("static");
}

#[test]
fn a_wrong_architecture() {
    let world = World::new();
    let root = world.rootfs_inside();
    let mut program = fs::read(world.inside_path()).expect("the reporter");
    // e_machine of elf(5): one that no emulator is registered for.
    program[18..20].copy_from_slice(&0x1234_u16.to_le_bytes());
    root.script("foreign", &program);
    let output = start(&world, &root, &[], "/foreign");
    output.refuses(126, &["/foreign", "exec format error", "machine 4660", std::env::consts::ARCH]);
}

#[test]
fn what_is_no_program_at_all() {
    let world = World::new();
    let root = world.rootfs_inside();
    root.script("text", "echo hello\n");
    start(&world, &root, &[], "/text").refuses(126, &["/text", "exec format error"]).hints("#!/bin/sh");
    root.script("empty", "");
    start(&world, &root, &[], "/empty").refuses(126, &["/empty", "empty"]);
    root.script("short", b"\x7fELF");
    start(&world, &root, &[], "/short").refuses(126, &["/short", "exec format error"]);
    root.directory("directory");
    start(&world, &root, &[], "/directory").refuses(126, &["/directory", "is a directory"]);
    start(&world, &root, &[], "/").refuses(126, &["is a directory"]);
    root.link("loop", "loop");
    start(&world, &root, &[], "/loop").refuses(126, &["/loop"]);
    start(&world, &root, &[], "/inside/below").refuses(126, &["/inside/below"]);
    start(&world, &root, &[], "").refuses(127, &["empty"]);
    start(&world, &root, &[], "/dev/null").refuses(126, &["/dev/null", "not a regular file"]);
}

#[test]
fn a_program_on_a_noexec_mount() {
    let world = World::new();
    let root = world.rootfs_inside();
    let volume = format!("{}:/programs:noexec", root.plain());
    start(&world, &root, &["-v", &volume], "/programs/inside")
        .refuses(126, &["/programs/inside", "noexec"])
        .hints("exec");
}

#[test]
fn words_that_are_too_long() {
    let world = World::new();
    let root = world.rootfs_inside();
    // One word has at most 128 KiB (MAX_ARG_STRLEN), and so has one variable.
    let file = world.directory().join("variables");
    fs::write(&file, format!("LONG={}\n", "x".repeat(200_000))).expect("our own file");
    let options = ["--env-file", file.to_str().expect("text")];
    start(&world, &root, &options, "/inside").refuses(126, &["/inside"]).hints("too long");
}

#[test]
fn escapes_of_a_name_do_not_reach_the_terminal() {
    let world = World::new();
    let root = world.rootfs_inside();
    let output = start(&world, &root, &[], "/no\x1b[31m\x1b]0;title\x07\nsuch").refuses(127, &["/no"]);
    assert!(!output.err().contains('\x1b') && !output.err().contains('\x07'), "{output:?}");
}
