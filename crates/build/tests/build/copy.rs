//! Where a COPY puts what: Docker's rules as a table, and archives, downloads, heredocs.

use crate::world::World;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

fn context(world: &World) {
    world.file("a", "A");
    world.file("b", "B");
    world.file("d/x", "X");
    world.file("d/e/y.o", "Y");
    world.file("d/e/z", "Z");
    symlink("x", world.context().join("d/l")).unwrap();
    symlink("a", world.context().join("la")).unwrap();
    symlink("../../../etc", world.context().join("out")).unwrap();
    fs::create_dir(world.context().join("empty")).unwrap();
    for (path, mode) in
        [("a", 0o640), ("b", 0o644), ("d/x", 0o755), ("d/e", 0o700), ("d/e/y.o", 0o644), ("d/e/z", 0o644)]
    {
        fs::set_permissions(world.context().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn what_is_copied_lands_where_docker_puts_it() {
    let world = World::new("table");
    context(&world);
    for (instructions, below, expected) in [
        ("COPY a /n", "", &["n 640 0:0 = A"][..]),
        ("COPY a /n/", "n", &["n/a 640 0:0 = A"]),
        ("COPY a /n/m", "n", &["n/m 640 0:0 = A"]),
        ("COPY a b /n/", "n", &["n/a 640 0:0 = A", "n/b 644 0:0 = B"]),
        (
            "COPY d /n",
            "n",
            &[
                "n/e 700 0:0 d",
                "n/e/y.o 644 0:0 = Y",
                "n/e/z 644 0:0 = Z",
                "n/l 777 0:0 -> x",
                "n/x 755 0:0 = X",
            ],
        ),
        ("COPY d/e /n/", "n", &["n/y.o 644 0:0 = Y", "n/z 644 0:0 = Z"]),
        (
            "COPY --exclude=**/*.o --exclude=x d /n",
            "n",
            &["n/e 700 0:0 d", "n/e/z 644 0:0 = Z", "n/l 777 0:0 -> x"],
        ),
        ("COPY la /n/", "n", &["n/la 640 0:0 = A"]),
        (
            "COPY d/* /n/",
            "n",
            &["n/l 755 0:0 = X", "n/x 755 0:0 = X", "n/y.o 644 0:0 = Y", "n/z 644 0:0 = Z"],
        ),
        ("COPY [ab] nothing* /n/", "n", &["n/a 640 0:0 = A", "n/b 644 0:0 = B"]),
        ("COPY d/*/*.o /n/", "n", &["n/y.o 644 0:0 = Y"]),
        ("COPY empty /n/m", "n", &["n/m 755 0:0 d"]),
        ("WORKDIR /w/v\nCOPY a .", "w/v", &["w/v/a 640 0:0 = A"]),
        ("WORKDIR /w\nCOPY a v", "w", &["w/v 640 0:0 = A"]),
        ("COPY a /srv", "srv", &["srv/a 640 0:0 = A", "srv/data 750 33:34 d"]),
        ("COPY a /link/", "srv/data", &["srv/data/a 640 0:0 = A"]),
        ("COPY a /link", "srv/data", &["srv/data/a 640 0:0 = A"]),
        ("COPY a /link/../n", "", &["n 640 0:0 = A"]),
        ("COPY a /../../n", "", &["n 640 0:0 = A"]),
        ("COPY ../../a /n", "", &["n 640 0:0 = A"]),
        ("COPY --chown=web a /n/m", "n", &["n/m 640 33:34 = A"]),
        ("COPY --chown=web:adm --chmod=711 d/e /n", "n", &["n/y.o 711 33:4 = Y", "n/z 711 33:4 = Z"]),
        ("COPY --chown=5 a /n", "", &["n 640 5:5 = A"]),
        ("COPY --chmod=u=rwX,go= d /n", "n/e", &["n/e/y.o 600 0:0 = Y", "n/e/z 600 0:0 = Z"]),
        ("COPY --parents d/e/z /n/", "n", &["n/d 755 0:0 d", "n/d/e 755 0:0 d", "n/d/e/z 644 0:0 = Z"]),
        ("COPY --parents d/./e /n/", "n", &["n/e 700 0:0 d", "n/e/y.o 644 0:0 = Y", "n/e/z 644 0:0 = Z"]),
        ("COPY --link a /link/", "link", &["link/a 640 0:0 = A"]),
        ("COPY a /n\nCOPY b /n", "", &["n 644 0:0 = B"]),
        (
            "COPY d /n\nCOPY a /n/e/",
            "n/e",
            &["n/e/a 640 0:0 = A", "n/e/y.o 644 0:0 = Y", "n/e/z 644 0:0 = Z"],
        ),
        ("ENV X=n\nCOPY a /$X/${Y:-b}/", "n/b", &["n/b/a 640 0:0 = A"]),
        ("COPY <<EOF /n\nhello $BASE\nEOF", "", &["n 644 0:0 = hello 1"]),
        (
            "COPY --chmod=755 <<'one' <<two /n/\n$BASE\none\n2\ntwo",
            "n",
            &["n/one 755 0:0 = $BASE", "n/two 755 0:0 = 2"],
        ),
        ("COPY [\"a\", \"/n m\"]", "", &["n m 640 0:0 = A"]),
    ] {
        let built = world.build(&format!("FROM base\n{instructions}\n"));
        let lines = match below {
            "" => {
                let name = expected[0].split(" 6").next().unwrap();
                let all = world.tree(&built);
                vec![all.get(name).map_or("nothing".into(), |line| format!("{name} {line}"))]
            }
            below => world.below(&built, below),
        };
        assert_eq!(lines, expected, "{instructions}");
        // What lower layers have stays as it is.
        let tree = world.tree(&built);
        assert!(
            tree["srv/data"].starts_with("750 33:34") && tree["tmp"].starts_with("1777 0:0"),
            "{instructions}"
        );
    }
    world.is_tidy();
}

#[test]
fn what_cannot_be_copied_is_said() {
    let world = World::new("refused");
    context(&world);
    let mut request = world.request("");
    request.ignore = build::Ignore::parse("b").unwrap();
    for (instruction, words, hint) in [
        ("COPY none /n", "build.copy on none: there is no such file", "looked for in the context"),
        ("COPY b /n", "build.copy on b: there is no such file: it is left out", "`!`"),
        ("COPY nothing* /n", "no file matches", "* matches no slash"),
        ("COPY d/* /n", "several sources need a directory", "/n/"),
        ("COPY a /bin/busybox/x", "leads through what is no directory", ""),
        ("COPY d /bin/busybox", "it is there and is no directory", ""),
        ("COPY --chown=nobody a /n", "the image's /etc/passwd has no user nobody", ""),
        ("COPY --chown=0:none a /n", "the image's /etc/group has no group none", ""),
        ("COPY --chmod=9 a /n", "--chmod=9 is no octal number", ""),
        ("COPY --from=nowhere a /n", "there is no such image", ""),
        ("COPY a /etc/\nCOPY d /etc/passwd/", "it is there and is no directory", ""),
        ("ADD https://example.com/x.git /n", "git on https://example.com/x.git", ""),
        ("COPY out/passwd /n", "there is no such file", ""),
        ("COPY ${X:?missing} /n", "X: missing", ""),
    ] {
        let line = 1 + instruction.matches('\n').count();
        request.source = format!("FROM base\n{instruction}\n");
        let error = world.with(&request).unwrap_err();
        assert!(error.message.contains(words), "{instruction}: {error}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{instruction}: {:?}", error.hint);
        assert_eq!(error.place.as_ref().unwrap().1.line, line + 1, "{error}");
    }
    world.is_tidy();
}

#[test]
fn stages_keep_owners_and_hard_links_and_attributes() {
    let world = World::new("stages");
    let built = world.build(
        "FROM base AS one\nRUN mkdir /o && echo x > /o/f && ln /o/f /o/g && chmod 4755 /o/f && echo u > /o/u && rm /etc/group\n\
         COPY --from=base --chown=web /etc/group /o/u2\nFROM base\nCOPY --from=one /o /n\nCOPY --from=one --chown=5:6 /o/f /m\n",
    );
    assert_eq!(
        world.below(&built, "n"),
        [
            "n/f 4755 0:0 = x",
            "n/g 4755 0:0 = x",
            "n/u 644 0:0 = u",
            "n/u2 644 33:34 = root:x:0:\nwww:x:34:\nadm:x:4:"
        ]
    );
    assert_eq!(world.tree(&built)["m"], "4755 5:6 = x");
    let directory = &built.layers[1].directory;
    assert_eq!(
        fs::metadata(directory.join("n/f")).unwrap().ino(),
        fs::metadata(directory.join("n/g")).unwrap().ino()
    );
    // What a stage removed is not there for others.
    let error = world
        .try_build("FROM base AS one\nRUN rm /etc/group\nFROM base\nCOPY --from=one /etc/group /x\n")
        .unwrap_err();
    assert!(error.message.contains("there is no such file"), "{error}");
}

#[test]
fn archives_are_unpacked_and_downloads_are_not() {
    let world = World::new("archives");
    let settings =
        |compression| storage::layer::Settings { compression, ..storage::layer::Settings::default() };
    let tree = world.path.join("tree");
    fs::create_dir_all(tree.join("link/sub")).unwrap();
    fs::write(tree.join("link/f"), "F").unwrap();
    fs::write(tree.join("link/sub/g"), "G").unwrap();
    std::os::unix::fs::chown(tree.join("link/f"), Some(7), Some(8)).unwrap();
    for (name, compression) in [
        ("a.tar", build::Compression::None),
        ("a.tar.gz", build::Compression::Gzip(6)),
        ("a.tzst", build::Compression::Zstd(3)),
    ] {
        let file = fs::File::create(world.context().join(name)).unwrap();
        storage::layer::archive(fs::File::open(&tree).unwrap(), file, &settings(compression)).unwrap();
        // A directory of the archive meets a link of the image: it is followed, inside.
        let built = world.build(&format!("FROM base\nADD {name} /\n"));
        assert_eq!(
            world.below(&built, "srv/data"),
            ["srv/data/f 644 7:8 = F", "srv/data/sub 755 0:0 d", "srv/data/sub/g 644 0:0 = G"]
        );
        assert!(world.tree(&built)["link"].ends_with("-> /srv/data"));
        let built =
            world.build(&format!("FROM base\nADD --chown=web {name} /n\nADD --unpack=false {name} /m/\n"));
        assert_eq!(world.below(&built, "n/link/sub"), ["n/link/sub/g 644 33:34 = G"]);
        assert!(world.tree(&built).contains_key(&format!("m/{name}")));
        assert!(
            world
                .tree(&world.build(&format!("FROM base\nCOPY {name} /n/\n")))
                .contains_key(&format!("n/{name}"))
        );
    }
    world.file("no.tar.gz", "plain text");
    fs::write(world.context().join("x.tar.xz"), [0xfd, b'7', b'z', b'X', b'Z', 0, 0]).unwrap();
    let built = world.build("FROM base\nADD no.tar.gz /n/\n");
    assert_eq!(world.below(&built, "n"), ["n/no.tar.gz 644 0:0 = plain text"]);
    // As in Docker: what begins like an archive and is none is a file.
    let built = world.build("FROM base\nADD x.tar.xz /n/\n");
    assert!(world.tree(&built).contains_key("n/x.tar.xz"));

    let archive = fs::read(world.context().join("a.tar")).unwrap();
    let mut downloads = world.downloads.lock().unwrap();
    downloads.insert("https://h/p/f.txt?x=/1".into(), (b"text".to_vec(), Some(1_600_000_000)));
    downloads.insert("https://h/".into(), (b"root".to_vec(), None));
    downloads.insert("https://h/a.tar".into(), (archive, None));
    drop(downloads);
    let digest = oci::Digest::of(b"text");
    let built = world.build(&format!(
        "FROM base\nADD --checksum={digest} https://h/p/f.txt?x=/1 /n/\nADD https://h/ /n/r\nADD https://h/a.tar /n/\nADD --unpack https://h/a.tar /m\n"
    ));
    assert_eq!(world.tree(&built)["n/f.txt"], "600 0:0 = text");
    assert_eq!(world.tree(&built)["n/r"], "600 0:0 = root");
    assert!(
        world.tree(&built)["n/a.tar"].starts_with("600 0:0")
            && world.tree(&built)["m/link/f"] == "644 7:8 = F"
    );
    assert_eq!(fs::metadata(built.layers[1].directory.join("n/f.txt")).unwrap().mtime(), 1_600_000_000);
    let wrong = oci::Digest::of(b"other");
    let error = world
        .try_build(&format!("FROM base\nADD --checksum={wrong} https://h/p/f.txt?x=/1 /n/\n"))
        .unwrap_err();
    assert!(error.message.contains("has the digest"), "{error}");
    let error = world.try_build("FROM base\nADD https://h/ /n/\n").unwrap_err();
    assert!(error.message.contains("no name for the file"), "{error}");
    world.is_tidy();
}
