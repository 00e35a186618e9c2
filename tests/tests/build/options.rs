//! Flags of build and of RUN: what they do, and what of them gets into no image.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use minidocker_tests::Output;

use crate::ground::{self, BASE, Ground, all_cached, names, steps, text};

/// Whether a text is in any file below a directory, packed or not.
fn is_below(directory: &Path, what: &str) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let kind = entry.file_type().expect("our own file");
        if kind.is_dir() {
            return is_below(&entry.path(), what);
        }
        if !kind.is_file() {
            return false;
        }
        let bytes = fs::read(entry.path()).expect("our own file");
        let has = |bytes: &[u8]| bytes.windows(what.len()).any(|part| part == what.as_bytes());
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let unpacked = std::process::Command::new("gzip").arg("-dc").arg(entry.path()).output();
            return has(&unpacked.expect("run gzip").stdout);
        }
        has(&bytes)
    })
}

fn read(root: &minidocker_tests::Rootfs, name: &str) -> String {
    let path = root.path().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn secrets_are_seen_by_their_command_alone() {
    const WORDS: &str = "zw5x-hush-7f";
    let ground = Ground::new();
    let file = ground.world.directory().join("key");
    fs::write(&file, WORDS).expect("our own file");
    let dockerfile = "RUN --mount=type=secret,id=key wc -c < /run/secrets/key > /count && stat -c %a:%u /run/secrets/key >> /count\n\
        RUN ls -A /run > /after 2>&1 || true\nRUN --mount=type=secret,id=word,target=/deep/er/word,mode=0444,uid=1000 cat /deep/er/word | md5sum > /sum && stat -c %a:%u /deep/er/word >> /sum\n\
        RUN --mount=type=secret,id=key,env=KEY echo ${#KEY} > /length\nRUN --mount=type=secret,id=other test ! -e /run/secrets/other\n";
    let secret = format!("id=key,src={}", text(&file));
    let words = ["--secret", &secret, "--secret", "id=word,env=OWN_WORD", "-t", "hush:1"];
    ground.dockerfile(dockerfile);
    ground.call(&words).env("OWN_WORD", WORDS).run().ok();
    let out = ground.world.rootfs_empty();
    let output = format!("type=local,dest={}", out.plain());
    let again = ground.call(&[&words[..], &["-o", &output]].concat()).env("OWN_WORD", WORDS).run().ok();
    all_cached(&again);
    assert_eq!(read(&out, "count"), "12\n400:0\n");
    assert!(read(&out, "sum").ends_with("444:1000\n"), "{}", read(&out, "sum"));
    assert_eq!(read(&out, "length"), "12\n");
    assert!(!out.path().join("run/secrets").exists(), "the place of a secret is in the layer");
    assert!(!out.path().join("deep/er/word").exists(), "the place of a secret is in the layer");
    assert!(!ground.history("hush:1").contains(WORDS));
    for place in [ground.world.root(), ground.world.run_root()] {
        assert!(!is_below(&place, WORDS), "the secret is below {}", place.display());
    }
    // Another content is no other image.
    fs::write(&file, "another").expect("our own file");
    let again = ground.call(&words).env("OWN_WORD", WORDS).run().ok();
    assert_eq!(steps(&again).1, 0, "{again:?}");
    ground.expect_nothing_left();
}

#[test]
fn an_agent_is_there_for_its_command_alone() {
    let ground = Ground::new();
    let socket = ground.world.directory().join("agent");
    let _listener = UnixListener::bind(&socket).expect("our own socket");
    let dockerfile = "RUN --mount=type=ssh test -S \"$SSH_AUTH_SOCK\" && echo $SSH_AUTH_SOCK > /where\n\
        RUN --mount=type=ssh,id=two,target=/two,required=true test -S /two\nRUN test -z \"$SSH_AUTH_SOCK\" && env > /env\n";
    let (one, two) = (format!("default={}", text(&socket)), format!("two={}", text(&socket)));
    let out = ground.files(dockerfile, &["--ssh", &one, "--ssh", &two]);
    assert!(!out.path().join("two").exists() && !out.path().join("run/buildkit").exists());
    assert!(!read(&out, "env").contains("SSH"));
    assert!(read(&out, "where").starts_with('/'));
    ground.build(dockerfile, &["--no-cache", "--ssh", &one]).exits(1);
    ground.expect_nothing_left();
}

#[test]
fn cache_mounts_stay_from_build_to_build_and_are_in_no_image() {
    let ground = Ground::new();
    let count = |number: u32| {
        format!(
            "ENV N={number}\n\
            RUN --mount=type=cache,target=/var/cache/x echo $N >> /var/cache/x/lines && cat /var/cache/x/lines > /seen\n"
        )
    };
    for number in 1..=3 {
        ground.build(&count(number), &[]).ok();
    }
    let out = ground.files(&count(3), &[]);
    assert_eq!(read(&out, "seen"), "1\n2\n3\n");
    assert!(!out.path().join("var/cache/x").exists(), "the cache's place is in the layer");
    // One with another id is another one; a read-only one is that.
    let dockerfile = "RUN --mount=type=cache,id=other,target=/c,uid=5,gid=6,mode=0711 stat -c %u:%g:%a /c > /seen; ls -A /c >> /seen\n\
        RUN --mount=type=cache,target=/c,id=/var/cache/x,ro sh -c 'cat /c/lines; ! touch /c/y'\n";
    let out = ground.files(dockerfile, &[]);
    assert_eq!(read(&out, "seen"), "5:6:711\n");
    ground.expect_nothing_left();
}

#[test]
fn commands_reach_what_network_says() {
    let ground = Ground::new();
    let links = |options: &str, words: &[&str]| {
        read(
            &ground.files(
                &format!(
                    "RUN {options} ls /sys/class/net | sort > /links; readlink /proc/self/ns/net > /ns\n"
                ),
                words,
            ),
            "links",
        )
    };
    assert_eq!(links("--network=none", &[]), "lo\n");
    assert_eq!(links("", &["--network", "none"]), "lo\n");
    assert!(links("", &[]).lines().count() == 2, "an own link and loopback");
    let host =
        ground.world.inside_network(|| fs::read_link("/proc/thread-self/ns/net")).expect("a namespace");
    let out = ground.files("RUN --network=host readlink /proc/self/ns/net > /ns\n", &["--no-cache"]);
    assert_eq!(Path::new(read(&out, "ns").trim()), host);
    // What stands in the file goes before.
    assert_eq!(links("--network=none", &["--network", "host"]), "lo\n");
    let out = ground.files("RUN cat /etc/hosts > /seen\n", &["--add-host", "db:192.0.2.7"]);
    assert!(read(&out, "seen").contains("192.0.2.7\tdb"), "{}", read(&out, "seen"));
    assert_eq!(read(&out, "etc/hosts"), "", "the base's own");
    ground.expect_nothing_left();
}

#[test]
fn a_target_and_arguments_are_chosen() {
    let ground = Ground::new();
    let dockerfile = "ARG WHICH=one\nFROM base:1 AS one\nRUN echo one > /name\nFROM base:1 AS two\n\
        RUN echo two > /name\nFROM ${WHICH}\nARG WHO\nARG GREETING=\"hello $WHO\"\n\
        ENV GREETING=$GREETING\nRUN echo $GREETING > /greeting\n";
    let out = ground.files(dockerfile, &[]);
    assert_eq!((read(&out, "name").as_str(), read(&out, "greeting").as_str()), ("one\n", "hello\n"));
    let out = ground.files(dockerfile, &["--build-arg", "WHICH=two", "--build-arg", "WHO=you"]);
    assert_eq!((read(&out, "name").as_str(), read(&out, "greeting").as_str()), ("two\n", "hello you\n"));
    for target in ["TWO", "1"] {
        let out = ground.files(dockerfile, &["--target", target]);
        assert_eq!(read(&out, "name"), "two\n");
        assert!(!out.path().join("greeting").exists());
    }
    // Of the environment, by its name alone.
    ground.dockerfile("ARG WHO\nLABEL who=$WHO\n");
    let id = ground.call(&["-q", "--build-arg", "WHO"]).env("WHO", "me").run().text();
    assert_eq!(ground.config(&id)["Labels"]["who"], "me");
    let said = ground.build("RUN true\n", &["--build-arg", "UNUSED=1"]).ok();
    assert!(said.err().contains("UNUSED"), "{said:?}");
    // Arguments are in no environment of the image.
    let id = ground.id("ARG WHO=x\nRUN test $WHO = x\n", &["--label", "a=b"]);
    assert!(!ground.config(&id)["Env"].to_string().contains("WHO"));
    assert_eq!(ground.config(&id)["Labels"]["a"], "b");
    ground.expect_nothing_left();
}

#[test]
fn outputs_have_the_same_files() {
    let ground = Ground::new();
    let directory = ground.world.directory();
    let dockerfile = "RUN mkdir /d && echo x > /d/f && chmod 4755 /d/f && ln -s f /d/l && ln /d/f /d/h && rm -r /home && chown 5:6 /d\n\
        CMD [\"sh\"]\n";
    let local = ground.files(dockerfile, &[]);
    let wanted = crate::tree::read(local.path());
    assert!(wanted["d/f"].contains("4755") && wanted["d"].ends_with("5:6") && !wanted.contains_key("home"));
    let archive = directory.join("out.tar");
    ground.build(dockerfile, &["-o", &format!("type=tar,dest={}", text(&archive))]).ok();
    let unpacked = ground.world.rootfs_empty();
    ground
        .world
        .program(["tar", "--numeric-owner", "-xpf", text(&archive), "-C", text(unpacked.path())])
        .run()
        .ok();
    assert_eq!(crate::tree::differences(&wanted, &crate::tree::read(unpacked.path())), Vec::<String>::new());
    let streamed = ground.build(dockerfile, &["-q", "-o", "type=tar,dest=-"]).ok();
    assert_eq!(streamed.stdout, fs::read(&archive).expect("our own file"));
    let short = directory.join("short");
    ground.build(dockerfile, &["-o", text(&short)]).ok();
    assert_eq!(crate::tree::differences(&wanted, &crate::tree::read(&short)), Vec::<String>::new());
    for (kind, transport) in [("oci", "oci-archive"), ("docker", "docker-archive")] {
        let archive = directory.join(format!("{kind}.tar"));
        ground
            .build(dockerfile, &["-t", "named:2", "-o", &format!("type={kind},dest={}", text(&archive))])
            .ok();
        let place = format!("{transport}:{}", text(&archive));
        let config = ground.world.program(["skopeo", "inspect", "--config", &place]).run().json();
        assert_eq!(config["config"]["Cmd"], serde_json::json!(["sh"]), "{config}");
        ground.world.minidocker(["rmi", "-f", "named:2"]).ok();
        ground.world.minidocker(["load", "-i", text(&archive)]).ok();
        let said = ground.world.minidocker(["run", "--rm", "named:2", "cat", "/d/h"]).text();
        assert_eq!(said, "x");
    }
    for wrong in ["type=none,dest=x", "what=x"] {
        let output = ground.build(dockerfile, &["-o", wrong]);
        assert!(output.code != 0 && output.err().contains("error: "), "{output:?}");
    }
    ground.expect_nothing_left();
}

#[test]
fn ids_are_told_and_names_given() {
    let ground = Ground::new();
    let file = ground.world.directory().join("id");
    let output = ground.build("RUN true\n", &["-q", "-t", "a", "-t", "b:2", "--iidfile", text(&file)]).ok();
    let id = output.out();
    assert_eq!(output.err(), "");
    assert_eq!(id.trim(), fs::read_to_string(&file).expect("our own file"));
    for name in ["a:latest", "b:2"] {
        let inspected = ground.world.minidocker(["image", "inspect", name]).json();
        assert_eq!(inspected[0]["Id"], id.trim());
    }
    let output = ground.build("RUN true\n", &[]).ok();
    assert_eq!(output.out(), "");
    assert!(output.err().contains(id.trim()), "{output:?}");
    ground.build("RUN true\n", &["-t", "UPPER"]).refuses(1, &["UPPER"]);
}

#[test]
fn dockerfiles_come_from_anywhere() {
    let ground = Ground::new();
    let world = &ground.world;
    ground.context.file("f", "context");
    let id = |output: Output| output.text();
    let seen = |id: &str| world.minidocker(["run", "--rm", id, "cat", "/f"]).text();
    let dockerfile = format!("FROM {BASE}\nCOPY f /f\n");
    assert_eq!(seen(&id(ground.call(&["-q", "-f", "-"]).stdin(dockerfile.clone()).run())), "context");
    ground.context.file("sub/other", &dockerfile);
    assert_eq!(seen(&id(ground.call(&["-q", "-f", "sub/other"]).run())), "context");
    let outside = world.directory().join("outside");
    fs::write(&outside, &dockerfile).expect("our own file");
    assert_eq!(seen(&id(ground.call(&["-q", "-f", text(&outside)]).run())), "context");
    ground.context.file("Containerfile", &dockerfile);
    assert_eq!(seen(&id(ground.call(&["-q"]).run())), "context");
    // Dockerfile goes before; its own ignore file before the common one.
    ground.context.file("Dockerfile", format!("FROM {BASE}\nRUN echo mine > /f\n"));
    assert_eq!(seen(&id(ground.call(&["-q"]).run())), "mine");
    ground.context.file(".dockerignore", "nothing\n");
    ground.context.file("Containerfile.dockerignore", "f\n");
    let output = ground.call(&["-q", "-f", "Containerfile"]).run().exits(1);
    assert!(output.err().contains("no such file"), "{output:?}");

    let temporary = world.directory().join("temporary");
    fs::create_dir(&temporary).expect("our own directory");
    // A Dockerfile alone has no files.
    let build = |stdin: Vec<u8>, words: &[&str]| {
        let call = world.images([&["build", "-q"], words, &["-"]].concat()).stdin(stdin);
        call.env("TMPDIR", text(&temporary)).run()
    };
    assert_eq!(seen(&id(build(format!("FROM {BASE}\nRUN echo alone > /f\n").into_bytes(), &[]))), "alone");
    assert!(build(dockerfile.clone().into_bytes(), &[]).exits(1).err().contains("no such file"));
    // A context as an archive.
    let context = world.rootfs_empty();
    context.file("Dockerfile", &dockerfile);
    context.file("deep/Dockerfile", dockerfile.replace("COPY f", "COPY deep/f"));
    context.file("f", "archived");
    context.file("deep/f", "deeper");
    let archive = world.directory().join("context.tar");
    ground::tar(world, context.path(), &archive);
    let bytes = fs::read(&archive).expect("our own file");
    assert_eq!(seen(&id(build(bytes.clone(), &[]))), "archived");
    assert_eq!(seen(&id(build(bytes, &["-f", "deep/Dockerfile"]))), "deeper");
    let packed = world.program(["gzip", "-c", text(&archive)]).run().ok().stdout;
    assert_eq!(seen(&id(build(packed, &[]))), "archived");
    assert_eq!(names(&temporary), Vec::<String>::new());
}

#[test]
fn squashed_all_new_layers_are_one() {
    let ground = Ground::new();
    let dockerfile = "RUN mkdir /d && echo 1 > /d/one && echo x > /gone\n\
        RUN rm /gone && echo 2 > /d/two && rm -r /home\nENV A=b\n\
        RUN rm -r /d && mkdir /d && echo 3 > /d/three\n";
    let plain = ground.files(dockerfile, &["-t", "plain:1"]);
    let squashed = ground.files(dockerfile, &["--squash", "-t", "squashed:1"]);
    let layers = |name: &str| {
        let inspected = ground.world.minidocker(["image", "inspect", name]).json();
        inspected[0]["RootFS"]["Layers"].as_array().expect("layers").len()
    };
    assert_eq!((layers("plain:1"), layers("squashed:1")), (4, 2));
    let differences =
        crate::tree::differences(&crate::tree::read(plain.path()), &crate::tree::read(squashed.path()));
    assert_eq!(differences, Vec::<String>::new());
    assert_eq!(ground.config("plain:1"), ground.config("squashed:1"));
    ground.expect_nothing_left();
}

#[test]
fn stages_work_at_the_same_time() {
    let ground = Ground::new();
    // Each ends when the other one has begun.
    let stage = |own: &str, other: &str| {
        format!(
            "FROM base:1 AS {own}\n\
            RUN --mount=type=cache,target=/meet touch /meet/{own} && i=0; while [ ! -e /meet/{other} ]; do i=$((i+1)); [ $i -lt 2000 ] || exit 9; sleep 0.01; done; echo {own} > /{own}\n"
        )
    };
    // On a cache that is there: who makes a new one is a story of its own.
    ground.build("RUN --mount=type=cache,target=/meet true\n", &[]).ok();
    let dockerfile = format!(
        "{}{}FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
        stage("one", "two"),
        stage("two", "one")
    );
    let out = ground.files(&dockerfile, &["--jobs", "2"]);
    assert_eq!((read(&out, "one").as_str(), read(&out, "two").as_str()), ("one\n", "two\n"));
    // A locked cache is for one at a time.
    let locked = |name: &str| {
        format!(
            "FROM base:1 AS {name}\n\
            RUN --mount=type=cache,target=/l,sharing=locked mkdir /l/taken && sleep 0.1 && rmdir /l/taken && echo {name} > /{name}\n"
        )
    };
    let dockerfile = format!(
        "{}{}{}FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=c /c /\n",
        locked("a"),
        locked("b"),
        locked("c")
    );
    ground.build(&dockerfile, &["--jobs", "4"]).ok();
    // With one job, they work one after the other all the same.
    ground.build(&dockerfile, &["--jobs", "1", "--no-cache"]).ok();
    ground.expect_nothing_left();
}

#[test]
fn two_builds_at_the_same_time_make_the_same() {
    let ground = Ground::new();
    ground.context.file("a", "a");
    ground.dockerfile(
        "COPY a /a\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN --mount=type=cache,target=/c echo 3 > /3\n",
    );
    let builds: Vec<_> =
        (0..6).map(|_| ground.call(&["-q"]).env("SOURCE_DATE_EPOCH", "1700000000").spawn()).collect();
    let ids: Vec<String> = builds.into_iter().map(|build| build.wait().text()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    ground.expect_nothing_left();
}

#[test]
fn limits_of_commands_are_what_was_asked_for() {
    let ground = Ground::new();
    let dockerfile = "RUN ulimit -n > /seen && df -k /dev/shm | tail -n 1 | awk '{print $2}' >> /seen\n";
    let out = ground.files(dockerfile, &["--ulimit", "nofile=123:456", "--shm-size", "8m"]);
    assert_eq!(read(&out, "seen"), "123\n8192\n");
    let files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
    let dockerfile = &format!("RUN cat {files} 2> /dev/null > /limit || true\n");
    assert_eq!(read(&ground.files(dockerfile, &["-m", "32m"]), "limit"), "33554432\n");
    for wrong in [
        &["--ulimit", "none=1"][..],
        &["--shm-size", "x"],
        &["--memory", "x"],
        &["--network", "x"],
        &["--progress", "x"],
    ] {
        let output = ground.build(dockerfile, wrong);
        assert!(output.code != 0 && output.err().contains(wrong[0]), "{output:?}");
    }
    ground.expect_nothing_left();
}

#[test]
fn downloads_are_added_and_checked() {
    let ground = Ground::new();
    let served = ground.world.rootfs_empty();
    served.file("file", "from afar");
    served.directory("root/packed");
    served.file("root/packed/x", "x");
    let archive = served.path().join("packed.tar.gz");
    let packed = format!("{}/root", served.plain());
    let words = ["tar", "-C", &packed, "-czf", text(&archive), "packed"];
    ground.world.program(words).run().ok();
    let script = "import http.server,functools,sys\n\
        h=functools.partial(http.server.SimpleHTTPRequestHandler,directory=sys.argv[1])\n\
        s=http.server.HTTPServer(('127.0.0.1',0),h)\nprint('port',s.server_port,'.',flush=True)\ns.serve_forever()\n";
    let server = ground.world.program(["python3", "-c", script, text(served.path())]).spawn();
    let said = server.until(" .");
    let address = format!("http://127.0.0.1:{}", said.split_whitespace().nth(1).expect("a port"));
    let sum = minidocker_tests::registry::digest(b"from afar");
    let dockerfile = format!(
        "ADD {address}/file /in/\nADD {address}/file /named\nADD --chmod=755 --chown=5:6 {address}/file /owned\n\
         ADD --checksum={sum} {address}/file /checked\nADD {address}/packed.tar.gz /as-it-is/\n\
         ADD --unpack=true {address}/packed.tar.gz /unpacked/\n"
    );
    let out = ground.files(&dockerfile, &[]);
    let tree = crate::tree::read(out.path());
    assert!(["in/file", "named", "checked"].iter().all(|name| read(&out, name) == "from afar"));
    assert!(tree["named"].ends_with(" 0600 0:0") && tree["owned"].ends_with(" 0755 5:6"), "{tree:?}");
    assert!(
        tree.contains_key("as-it-is/packed.tar.gz") && tree.contains_key("unpacked/packed/x"),
        "{tree:?}"
    );
    all_cached(&ground.build(&dockerfile, &[]).ok());
    // What is there now counts.
    served.file("file", "from near");
    let changed = ground.build(&format!("ADD {address}/file /named\n"), &[]).ok();
    assert_eq!(steps(&changed).1, 1, "{changed:?}");
    let output = ground.build(&format!("ADD --checksum={sum} {address}/file /named\n"), &[]).exits(1);
    assert!(output.err().contains("error: Dockerfile:2: "), "{output:?}");
    let output = ground.build(&format!("ADD {address}/none /named\n"), &[]).exits(1);
    assert!(output.err().contains("not found"), "{output:?}");
    assert!(output.err().contains("\nhint: check the address"), "{output:?}");
    server.signal(15);
    server.wait();
    ground.expect_nothing_left();
}

#[test]
fn a_terminal_shows_what_works_and_what_is_done() {
    let ground = Ground::new();
    ground.dockerfile(
        "RUN --mount=type=cache,target=/c for n in 1 2 3 4 5 6 7 8; do echo line $n; done; touch /c/there; \
         i=0; while [ ! -e /c/go ]; do i=$((i+1)); [ $i -lt 3000 ] || exit 9; sleep 0.01; done; echo over\nRUN echo words; exit 3\n",
    );
    let mut terminal = ground.call(&["--no-cache"]).pty(24, 80);
    let seen = terminal.until(" => => # line 8");
    assert!(seen.contains("[+] Building ") && seen.contains(" (1/2)"), "{seen}");
    assert!(seen.contains(" => => # line 3") && !seen.contains(" => => # line 2"), "{seen}");
    let mounts = ground.world.root().join("build/mounts");
    std::fs::write(mounts.join(&names(&mounts)[0]).join("0/data/go"), "").expect("our own file");
    let output = terminal.wait();
    let seen = terminal.screen();
    assert_eq!(output.code, 1, "{seen}");
    assert!(
        seen.contains(" (3/3) FINISHED") && seen.contains(" => ERROR [stage-0 3/3] RUN echo words"),
        "{seen}"
    );
    assert!(seen.contains(" > [stage-0 3/3] RUN echo words; exit 3:\r\nwords\r\n------"), "{seen}");
    // Lines are for what is no terminal, and where they are asked for.
    let mut terminal = ground.call(&["--progress", "plain"]).pty(24, 80);
    terminal.wait();
    assert!(!terminal.screen().contains("[+]") && terminal.screen().contains("#1 [stage-0 1/3] FROM"));
    ground.build("RUN true\n", &["--progress", "tty"]).refuses(1, &["needs a terminal"]);
    ground.build("RUN true\n", &["--progress", "rawjson"]).refuses(1, &["rawjson"]).hints("--progress plain");
    ground.expect_nothing_left();
}
