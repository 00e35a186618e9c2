//! Images whose links lead out, contexts that point elsewhere, Dockerfiles of absurd shape.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::ground::{BASE, Ground, names};

/// A name that no host has.
const MARK: &str = "minidocker-build-test-mark";

fn expect_host_untouched() {
    for place in ["/", "/etc", "/tmp", "/root", "/usr"] {
        assert!(!Path::new(place).join(MARK).exists(), "the host's {place} was written");
    }
}

#[test]
fn links_of_an_image_lead_nowhere_but_into_it() {
    let ground = Ground::new();
    ground.context.file(MARK, "x");
    ground.context.file(&format!("d/{MARK}"), "x");
    for target in [
        "../../../../../../etc",
        "/",
        "/etc",
        "../../../../../../tmp",
        "/proc/self/root/etc",
        "/proc/1/root/tmp",
    ] {
        let copies = [
            "COPY NAME /app/NAME",
            "COPY NAME /app/",
            "COPY d /app",
            "ADD NAME /app/deep/NAME",
            "WORKDIR /app/made\nCOPY NAME .",
            "COPY --link NAME /app/linked",
        ];
        for copy in copies {
            let dockerfile = format!("RUN ln -s {target} /app\n{}\n", copy.replace("NAME", MARK));
            let output = ground.build(&dockerfile, &["-t", "led:1"]);
            // A path through /proc is no directory of the image; a plain one has to work.
            assert!(output.code == 0 || output.code == 1 && target.contains("/proc"), "{output:?}");
            expect_host_untouched();
            if output.code == 0 && !copy.contains("--link") && !target.contains("/proc") {
                let find = [
                    "run",
                    "--rm",
                    "led:1",
                    "find",
                    "/etc",
                    "/tmp",
                    "/made",
                    "/deep",
                    &format!("/{MARK}"),
                    "-name",
                    MARK,
                ];
                let found = ground.world.minidocker(find);
                assert!(found.out().contains(MARK), "{dockerfile}{found:?}");
            }
        }
        // And a command that makes its directory and mounts.
        let dockerfile = format!(
            "RUN ln -s {target} /app\nWORKDIR /app/{MARK}\n\
            RUN --mount=type=tmpfs,target=/app/{MARK}-mount touch here\n"
        );
        let output = ground.build(&dockerfile, &[]);
        assert!(matches!(output.code, 0 | 1), "{output:?}");
        expect_host_untouched();
    }
    ground.expect_nothing_left();
}

#[test]
fn sources_outside_of_the_context_are_not_there() {
    let ground = Ground::new();
    let outside = ground.world.directory().join("outside-secret");
    fs::write(&outside, "outside").expect("our own file");
    for source in [
        "../outside-secret",
        "../../../../../../../etc/hostname",
        "/../outside-secret",
        "a/../../outside-secret",
        "/etc/os-release",
    ] {
        let output = ground.build(&format!("COPY {source} /x\n"), &[]).exits(1);
        assert!(output.err().contains("no such file"), "{output:?}");
    }
    ground.context.file("in", "in");
    ground.context.directory("a");
    // `..` at the context's root stays there, as in BuildKit.
    let out = ground.files("COPY a/../in /x\nCOPY ../in /y\n", &[]);
    assert_eq!(fs::read_to_string(out.path().join("x")).expect("that file"), "in");
    assert_eq!(fs::read_to_string(out.path().join("y")).expect("that file"), "in");
    ground.expect_nothing_left();
}

#[test]
fn links_of_a_context_are_copied_as_links() {
    let ground = Ground::new();
    let outside = ground.world.directory().join("outside");
    fs::create_dir(&outside).expect("our own directory");
    fs::write(outside.join("secret"), "outside").expect("our own file");
    let target = outside.to_str().expect("text");
    ground.context.directory("d");
    ground.context.link("d/up", target);
    ground.context.link("d/dots", "../../outside/secret");
    ground.context.link("top", target);
    let out = ground.files("COPY d /x/y/d\n", &[]);
    assert_eq!(fs::read_link(out.path().join("x/y/d/up")).expect("a link"), outside);
    assert_eq!(
        fs::read_link(out.path().join("x/y/d/dots")).expect("a link"),
        Path::new("../../outside/secret")
    );
    // Through a link that leads out there is nothing; a link as the source is resolved in the context.
    for source in ["d/up/secret", "top/secret", "top/*", "d/dots", "top"] {
        let output = ground.build(&format!("COPY {source} /x/\n"), &["--no-cache"]);
        if output.code == 0 {
            let out = ground.files(&format!("COPY {source} /x/\n"), &[]);
            let found = crate::tree::read(out.path());
            assert!(
                !found.iter().any(|(path, line)| path.ends_with("secret") && line.starts_with("file")),
                "{source}: {found:?}"
            );
            assert!(!found.values().any(|line| line.starts_with("file of 7 bytes")), "{source} was followed");
        } else {
            assert!(output.exits(1).err().contains("error: Dockerfile:2: "), "{source}");
        }
    }
    let output = ground.build("RUN --mount=type=bind,source=top,target=/m cat /m/secret\n", &[]);
    assert_eq!(output.code, 1, "a link of the context was bound: {output:?}");
    ground.expect_nothing_left();
}

#[test]
fn dockerfiles_of_absurd_shape_end_well() {
    let ground = Ground::new();
    let build = |text: Vec<u8>| {
        ground.context.file("Dockerfile", text);
        ground.call(&["-q"]).run()
    };
    let from = format!("FROM {BASE}\n");
    // Ten megabytes: comments, then labels.
    let comments = format!("{from}{}", "# nothing\n".repeat(1_000_000));
    build(comments.into_bytes()).ok();
    let long = format!("{from}LABEL a=\"{}\"\n", "x".repeat(1 << 20));
    let id = build(long.into_bytes()).text();
    assert_eq!(ground.config(&id)["Labels"]["a"].as_str().map(str::len), Some(1 << 20));
    let continued = format!("{from}ENV A=b \\\n{}C=d\n", "  # comment\n \\\n".repeat(20_000));
    let id = build(continued.into_bytes()).text();
    assert!(ground.config(&id)["Env"].to_string().contains("C=d"));
    let output = build(format!("{from}COPY \0 /\n").into_bytes());
    assert_eq!(output.code, 1, "{output:?}");
    let output = build(format!("{from}RUN echo a\0b\n").into_bytes());
    assert_eq!(output.code, 1, "{output:?}");
    let output = build(format!("{from}WORKDIR /a\0b\n").into_bytes());
    assert_eq!(output.code, 1, "{output:?}");
    assert!(!output.err().contains("panicked"), "{output:?}");
    let output = build(vec![0; 1 << 20]);
    assert_eq!(output.code, 1, "{output:?}");
    let output = build(vec![0xff; 4096]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.len() < 1 << 16, "{} bytes of words", output.stderr.len());
    let output = build([from.as_bytes(), b"FOO ", "x".repeat(4000).as_bytes(), b"\n"].concat());
    assert_eq!(output.code, 1);
    assert!(output.stderr.len() < 1 << 16, "{} bytes of words of a line of 4 KB", output.stderr.len());
    let many: String =
        (0..2000).map(|number| format!("FROM base:1 AS s{number}\nENV A={number}\n")).collect();
    build(many.into_bytes()).ok();
    ground.expect_nothing_left();
}

#[test]
fn ends_of_lines_and_marks_of_other_systems_work() {
    let ground = Ground::new();
    ground.context.file("a", "a");
    let dockerfile = format!(
        "\u{feff}FROM {BASE}\r\nENV A=b\r\nCOPY a \\\r\n  /copied\r\n\
        RUN echo $A > /seen && \\\r\n  echo two >> /seen\r\nRUN <<E\r\necho three >> /seen\r\nE\r\n\
        CMD [\"sh\"]\r\n"
    );
    ground.context.file(".dockerignore", "\u{feff}nothing\r\n*.o\r\n");
    ground.context.file("Dockerfile", &dockerfile);
    let out = ground.world.rootfs_empty();
    ground.call(&["-t", "crlf:1", "-o", &format!("type=local,dest={}", out.plain())]).run().ok();
    assert_eq!(fs::read_to_string(out.path().join("seen")).expect("that file"), "b\ntwo\nthree\n");
    assert!(out.path().join("copied").is_file());
    assert_eq!(ground.config("crlf:1")["Cmd"], json!(["sh"]));
    assert!(!names(out.path()).iter().any(|name| name.contains('\r')));
    // The other escape.
    ground
        .context
        .file("Dockerfile", format!("# escape=`\nFROM {BASE}\nRUN echo one `\n && echo 'C:\\dir' > /seen\n"));
    ground.call(&["-o", &format!("type=local,dest={}", out.plain())]).run().ok();
    assert_eq!(fs::read_to_string(out.path().join("seen")).expect("that file"), "C:\\dir\n");
    ground.expect_nothing_left();
}

#[test]
fn archives_that_lead_out_are_refused() {
    let ground = Ground::new();
    let world = &ground.world;
    let archive = ground.context.path().join("bad.tar");
    let script = |entry: &str| {
        format!("import tarfile,io\nt=tarfile.open({:?},'w')\ni=tarfile.TarInfo({entry})\n", archive)
    };
    let mark = format!("'../../../../../../tmp/{MARK}'");
    for entry in [
        script(&mark) + "i.size=1\nt.addfile(i,io.BytesIO(b'x'))\nt.close()\n",
        script(&format!("'/tmp/{MARK}'")) + "i.size=1\nt.addfile(i,io.BytesIO(b'x'))\nt.close()\n",
        script("'l'")
            + &format!(
                "i.type=tarfile.SYMTYPE\ni.linkname='/tmp'\nt.addfile(i)\nj=tarfile.TarInfo('l/{MARK}')\n\
                j.size=1\nt.addfile(j,io.BytesIO(b'x'))\nt.close()\n"
            ),
        script("'h'")
            + "i.type=tarfile.LNKTYPE\ni.linkname='../../../../../../etc/passwd'\nt.addfile(i)\nt.close()\n",
    ] {
        world.program(["python3", "-c", &entry]).run().ok();
        // Inside the image or refused: both are well.
        let output = ground.build("ADD bad.tar /there/\n", &[]);
        assert!(matches!(output.code, 0 | 1), "{output:?}");
        expect_host_untouched();
        let bytes = fs::read(&archive).expect("our own file");
        // And as a context, with a Dockerfile that is not in it.
        let output = world.images(["build", "-"]).stdin(bytes).run();
        assert_eq!(output.code, 1, "{output:?}");
        expect_host_untouched();
    }
    ground.expect_nothing_left();
}
