//! A world with a base image: busybox, some users, and a "compiler" that is a shell script.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use minidocker_tests::{Call, Output, Rootfs, World, need};
use serde_json::Value;

/// The base image's name.
pub(crate) const BASE: &str = "base:1";

/// `compile OUT IN…`: a script made of its inputs, so that what comes out tells of what went in.
const COMPILE: &str = "#!/bin/sh\nset -e\nout=$1\nshift\nmkdir -p \"${out%/*}\"\n{ echo '#!/bin/sh'; \
                       for file; do echo \"echo $file $(md5sum < \"$file\" | cut -c 1-32)\"; done; } > \"$out\"\n\
                       chmod 755 \"$out\"\n";

/// `fetch LIST DIR`: each line of a list becomes a file, as packages do.
const FETCH: &str = "#!/bin/sh\nset -e\nmkdir -p \"$2\"\nwhile read -r name; do mkdir -p \"$2/$name\"\n\
                     echo \"package $name\" > \"$2/$name/index\"; done < \"$1\"\n";

/// Makes the base image's files and archives them.
pub(crate) fn base_archive(world: &World) -> PathBuf {
    let root = world.rootfs_empty();
    for directory in
        ["bin", "etc", "home/user", "root", "tmp", "usr/bin", "usr/local/bin", "var", "proc", "sys", "dev"]
    {
        root.directory(directory);
    }
    let busybox = need("busybox");
    root.program("bin/busybox", &busybox);
    let list = Command::new(&busybox).arg("--list").output().expect("the list of busybox");
    for name in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        root.link(&format!("bin/{name}"), "busybox");
    }
    root.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
    root.file("etc/group", "root:x:0:\nuser:x:1000:\nstaff:x:50:user\n");
    for name in ["hosts", "hostname", "resolv.conf"] {
        root.file(&format!("etc/{name}"), "");
    }
    root.script("usr/bin/compile", COMPILE);
    root.script("usr/bin/fetch", FETCH);
    chmod(&root.path().join("tmp"), 0o1777);
    let archive = world.directory().join("base.tar");
    tar(world, root.path(), &archive);
    archive
}

/// Archives what is in a directory.
pub(crate) fn tar(world: &World, directory: &Path, archive: &Path) {
    world.program(["tar", "--numeric-owner", "-C", text(directory), "-cf", text(archive), "."]).run().ok();
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("our own names are text")
}

/// A world with the base image in its store, and one context.
pub(crate) struct Ground {
    pub(crate) context: Rootfs,
    pub(crate) world: World,
}

impl Ground {
    #[track_caller]
    pub(crate) fn new() -> Self {
        let world = World::new();
        import_base(&world);
        Self { context: world.rootfs_empty(), world }
    }

    /// `minidocker build WORDS CONTEXT`, yet to be started.
    #[track_caller]
    pub(crate) fn call(&self, words: &[&str]) -> Call<'_> {
        self.call_in(&self.context, words)
    }

    /// The same of another context.
    #[track_caller]
    pub(crate) fn call_in(&self, context: &Rootfs, words: &[&str]) -> Call<'_> {
        build(&self.world, context.path(), words)
    }

    /// Writes the Dockerfile and builds it, with `FROM base:1` before it unless it has a FROM of its own.
    #[track_caller]
    pub(crate) fn build(&self, dockerfile: &str, words: &[&str]) -> Output {
        self.dockerfile(dockerfile);
        self.call(words).run()
    }

    #[track_caller]
    pub(crate) fn dockerfile(&self, dockerfile: &str) {
        let own = dockerfile.lines().any(|line| line.starts_with("FROM "));
        let text = if own { dockerfile.to_owned() } else { format!("FROM {BASE}\n{dockerfile}") };
        self.context.file("Dockerfile", text);
    }

    /// Builds it and gives the id.
    #[track_caller]
    pub(crate) fn id(&self, dockerfile: &str, words: &[&str]) -> String {
        let id = self.build(dockerfile, &[&["-q"], words].concat()).text();
        assert!(id.starts_with("sha256:") && id.len() == 71, "`{id}` is no id");
        id
    }

    /// Builds it and gives what is in the image, as a directory.
    #[track_caller]
    pub(crate) fn files(&self, dockerfile: &str, words: &[&str]) -> Rootfs {
        let out = self.world.rootfs_empty();
        let output = format!("type=local,dest={}", out.plain());
        self.build(dockerfile, &[words, &["-o", &output]].concat()).ok();
        out
    }

    /// What `image inspect` says of an image's `Config`.
    #[track_caller]
    pub(crate) fn config(&self, image: &str) -> Value {
        config(&self.world, image)
    }

    /// What `history` says of an image, whole.
    #[track_caller]
    pub(crate) fn history(&self, image: &str) -> String {
        self.world.minidocker(["history", "--no-trunc", image]).ok().out()
    }

    /// Asserts that nothing of a build is left: no container, no mount, no process, no directory to work in.
    #[track_caller]
    pub(crate) fn expect_nothing_left(&self) {
        self.world.expect_nothing_left();
        let root = self.world.root();
        let run = self.world.run_root();
        for place in [root.join("build/work"), run.join("build"), run.join("stage")] {
            assert_eq!(names(&place), Vec::<String>::new(), "left in {}", place.display());
        }
    }
}

/// The base image in a world's store: with PATH, as all real ones.
#[track_caller]
pub(crate) fn import_base(world: &World) {
    let archive = base_archive(world);
    world.minidocker(["import", text(&archive), "bare:1"]).ok();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let dockerfile = format!("FROM bare:1\nENV {path}\nCMD [\"sh\"]\n");
    world.images(["build", "-q", "-t", BASE, "-"]).stdin(dockerfile).run().ok();
    world.minidocker(["rmi", "bare:1"]).ok();
}

/// `minidocker build WORDS DIRECTORY` without what the caller's environment says.
#[track_caller]
pub(crate) fn build<'w>(world: &'w World, context: &Path, words: &[&str]) -> Call<'w> {
    let all = [&["build"], words, &[text(context)]].concat();
    world.images(all).without_env("SOURCE_DATE_EPOCH").patience(Duration::from_secs(120))
}

#[track_caller]
pub(crate) fn config(world: &World, image: &str) -> Value {
    world.minidocker(["image", "inspect", image]).json()[0]["Config"].clone()
}

/// What is in a directory; nothing where it is none.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// How many steps of a build's words are from the cache, and how many were done, FROM left out.
pub(crate) fn steps(output: &Output) -> (usize, usize) {
    let words = output.err();
    let froms = words.lines().filter(|line| line.starts_with('#') && line.contains("] FROM ")).count();
    let count = |end: &str| words.lines().filter(|line| line.starts_with('#') && line.contains(end)).count();
    (count(" CACHED"), count(" DONE ") - froms)
}

/// Asserts that every step came from the cache.
#[track_caller]
pub(crate) fn all_cached(output: &Output) {
    let (cached, done) = steps(output);
    assert!(cached > 0 && done == 0, "{done} steps were done again by {output:?}");
}
