//! Contexts that are elsewhere: repositories of git, archives by http and from standard input; and ADD of a repository.

use std::path::{Path, PathBuf};

use minidocker_tests::registry::{Kind, Registry};
use minidocker_tests::{Rootfs, Running, World};

use crate::ground::{BASE, Ground, text};
use crate::tree;

/// Repositories, served on the loopback by `git daemon` and over http.
struct Served<'w> {
    world: &'w World,
    base: PathBuf,
    daemon: Option<Running>,
    port: String,
    commit: String,
}

impl<'w> Served<'w> {
    /// `app`: a branch `main`, a branch `old/er`, an annotated tag `v1`; `part` is its submodule.
    fn new(world: &'w World) -> Self {
        let base = world.directory().join("repositories");
        std::fs::create_dir(&base).expect("our own directory");
        let mut this = Self { world, base, daemon: None, port: String::new(), commit: String::new() };
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a port");
        this.port = port.port().to_string();
        this.make("part", "echo in the part > part-file && git add -A && git commit -qm part");
        let url = this.url("part");
        this.start();
        this.make(
            "app",
            &format!(
                "mkdir -p sub/deep && printf 'FROM {BASE}\\nCOPY . /old/\\n' > Dockerfile && echo old > file && \
                 git add -A && git commit -qm old && git branch old/er && git tag -am first v1 && \
                 printf 'FROM {BASE}\\nCOPY . /all/\\n' > Dockerfile && echo new > file && ln -s / sub/root && \
                 echo x > sub/run && chmod 755 sub/run && printf 'FROM {BASE}\\nCOPY . /sub/\\n' > sub/Dockerfile && \
                 git submodule --quiet add {url} parts && git add -A && git commit -qm new"
            ),
        );
        let app = this.base.join("app");
        let head = ["git", "-C", text(&app), "rev-parse", "v1^{commit}"];
        this.commit = world.program(head).run().text();
        this
    }

    /// A repository by a script.
    fn make(&self, name: &str, script: &str) {
        let place = self.base.join(name);
        let script = format!("git init -q -b main \"$1\" && cd \"$1\" && {script}");
        let call = self.world.program(["sh", "-ec", &script, "sh", text(&place)]);
        let who = ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"];
        who.into_iter().fold(call, |call, name| call.env(name, "me@example.org")).run().ok();
    }

    fn start(&mut self) {
        let (base, port) = (format!("--base-path={}", text(&self.base)), format!("--port={}", self.port));
        let script =
            "exec \"$(git --exec-path)/git-daemon\" --export-all --verbose --listen=127.0.0.1 \"$@\" 2>&1";
        let words = ["sh", "-c", script, "sh", &port, &base];
        let daemon = self.world.program(words).env("HOME", text(&self.base)).spawn();
        daemon.until("Ready to rumble");
        self.daemon = Some(daemon);
    }

    fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }

    fn end(mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.signal(15);
            daemon.wait();
        }
    }
}

/// What a context becomes: the files of the image.
#[track_caller]
fn files(ground: &Ground, context: &str, words: &[&str]) -> Rootfs {
    let out = ground.world.rootfs_empty();
    let output = format!("type=local,dest={}", out.plain());
    let call = ground.world.images([&["build", "-o", &output], words, &[context]].concat());
    // Whatever the caller's umask is.
    call.through(&["sh", "-c", "umask 077 && exec \"$@\"", "sh"]).run().ok();
    out
}

fn read(out: &Rootfs, name: &str) -> String {
    std::fs::read_to_string(out.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Contexts that builds have left.
fn left(ground: &Ground) -> Vec<String> {
    crate::ground::names(&ground.world.root().join("build/work"))
}

#[test]
fn a_repository_is_a_context() {
    let ground = Ground::new();
    let served = Served::new(&ground.world);
    let url = served.url("app");
    let out = files(&ground, &url, &[]);
    assert_eq!(
        (read(&out, "all/file"), read(&out, "all/parts/part-file")),
        ("new\n".into(), "in the part\n".into())
    );
    let all = tree::read(out.path());
    assert!(!all.keys().any(|name| name.ends_with(".git")), "{all:?}");
    assert!(all["all/sub/run"].ends_with(" 0755 0:0") && all["all/file"].ends_with(" 0644 0:0"), "{all:?}");
    for reference in ["v1", "old/er", &served.commit, &served.commit[..9]] {
        assert_eq!(
            read(&files(&ground, &format!("{url}#{reference}"), &[]), "old/file"),
            "old\n",
            "{reference}"
        );
    }
    assert_eq!(read(&files(&ground, &format!("{url}#main:sub"), &[]), "sub/run"), "x\n");
    assert_eq!(read(&files(&ground, &format!("{url}#:sub"), &["-f", "Dockerfile"]), "sub/run"), "x\n");
    let kept = files(&ground, &url, &["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"]);
    assert!(kept.path().join("all/.git/HEAD").exists());
    served.end();
    assert_eq!(left(&ground), Vec::<String>::new());
    ground.expect_nothing_left();
}

#[test]
fn a_repository_that_is_none_is_told() {
    let ground = Ground::new();
    let mut served = Served::new(&ground.world);
    // A submodule by a protocol that runs programs, and by one that reads files.
    for (name, url) in
        [("runs", "ext::sh -c touch%% /tmp/minidocker-evil"), ("reads", "file:///etc/repository.git")]
    {
        served.make(
            name,
            &format!(
                "printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = {url}\\n' > .gitmodules && \
                git update-index --add --cacheinfo 160000,1234567890123456789012345678901234567890,x && \
                git add .gitmodules && git commit -qm {name}"
            ),
        );
    }
    let url = served.url("app");
    let fails = |context: &str, words: &str, hint: &str| {
        let said = ground.world.images(["build", context]).run().refuses(1, &[words]);
        if !hint.is_empty() {
            said.hints(hint);
        }
    };
    fails(&format!("{url}#none"), "couldn't find remote ref none", "no such branch, tag or commit");
    fails(&format!("{url}#1234567890"), "cannot be fetched", "no such branch, tag or commit");
    fails(&format!("{url}#:none"), "has no directory none", "");
    fails(&format!("{url}#:sub/root/etc"), "has no directory sub/root/etc", "");
    fails(&format!("{url}#--upload-pack=touch"), "is no branch, tag or commit", "");
    fails("ssh://-oProxyCommand=touch/x", "names no host", "");
    fails(&served.url("none"), "cannot be fetched: git: ", "");
    fails(&served.url("runs"), "not allowed", "only http, https, ssh");
    fails(&served.url("reads"), "not allowed", "only http, https, ssh");
    fails("ext::sh -c true", "no such file or directory", "");
    assert!(!Path::new("/tmp/minidocker-evil").exists());
    let bare = ground.world.rootfs_empty();
    let said = ground.world.images(["build", &url]).env("PATH", &bare.plain()).run();
    said.refuses(1, &["needs the program git, which is not installed"]).hints("install git");
    served.daemon.take().into_iter().for_each(|daemon| {
        daemon.signal(15);
        daemon.wait();
    });
    assert_eq!(left(&ground), Vec::<String>::new());
}

#[test]
fn a_repository_is_added() {
    let ground = Ground::new();
    let served = Served::new(&ground.world);
    let (url, commit) = (served.url("app"), &served.commit);
    let dockerfile = format!(
        "ADD {url} /new/\nADD --chown=5:6 --checksum={commit} {url}#v1 /old\nADD --keep-git-dir=true {url}#main:sub /sub\n"
    );
    let out = ground.files(&dockerfile, &[]);
    assert_eq!((read(&out, "new/file"), read(&out, "old/file")), ("new\n".into(), "old\n".into()));
    assert_eq!(read(&out, "new/parts/part-file"), "in the part\n");
    assert!(tree::read(out.path())["old/file"].ends_with(" 0644 5:6"));
    assert!(!out.path().join("new/.git").exists() && out.path().join("sub/run").exists());
    crate::ground::all_cached(&ground.build(&dockerfile, &[]).ok());
    let wrong = ground.build(&format!("ADD --checksum={commit} {url} /new/\n"), &[]).exits(1);
    assert!(wrong.err().contains("hint: --checksum of a repository"), "{wrong:?}");
    served.end();
    ground.expect_nothing_left();
}

/// By https with a certificate that git is told to trust, and by ssh, whose place a script takes: what it is called with
/// is all that ssh hears of us.
#[test]
fn a_repository_comes_by_https_and_by_ssh() {
    let ground = Ground::new();
    let mut served = Served::new(&ground.world);
    let registry = Registry::with(&ground.world, Kind { tls: true, ..Kind::default() });
    let folder = registry.authority();
    let folder = folder.parent().expect("a folder");
    // The simplest server that git reads from: files, and what `update-server-info` says of them.
    served
        .make("web", "printf 'FROM base:1\nCOPY . /all/\n' > Dockerfile && git add -A && git commit -qm web");
    ground.world.program(["git", "-C", text(&served.base.join("web")), "update-server-info"]).run().ok();
    std::os::unix::fs::symlink("web/.git", served.base.join("web.git")).expect("our own directory");
    let script = "import http.server,functools,ssl,sys\n\
        h=functools.partial(http.server.SimpleHTTPRequestHandler,directory=sys.argv[1])\n\
        s=http.server.HTTPServer(('127.0.0.1',0),h)\n\
        c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\nc.load_cert_chain(sys.argv[2]+'/server.pem',sys.argv[2]+'/server.key')\n\
        s.socket=c.wrap_socket(s.socket,server_side=True)\nprint('port',s.server_port,'.',flush=True)\ns.serve_forever()\n";
    let server = ground.world.program(["python3", "-c", script, text(&served.base), text(folder)]).spawn();
    let said = server.until(" .");
    let port = said.split_whitespace().nth(1).expect("a port");
    let url = format!("https://127.0.0.1:{port}/web.git");
    let build = |url: &str| ground.world.images(["build", "-t", "app:1", url]);
    build(&url).run().refuses(1, &["cannot be fetched: git: ", "certificate"]);
    build(&url).env("GIT_SSL_CAINFO", text(&registry.authority())).run().ok();
    ground.world.minidocker(["run", "--rm", "app:1", "ls", "/all"]).prints("Dockerfile\n");
    server.signal(15);
    server.wait();

    let ssh = ground.world.directory().join("ssh");
    let heard = ground.world.directory().join("heard");
    let script = format!(
        "#!/bin/sh\nprintf '%s|' \"$@\" >> {}\nfor last; do :; done\nexec sh -c \"$last\"\n",
        text(&heard)
    );
    std::fs::write(&ssh, script).expect("our own file");
    ground.world.program(["chmod", "755", text(&ssh)]).run().ok();
    let path = text(&served.base.join("app")).to_owned();
    for (url, host) in [
        (format!("ssh://me@h.example:2222{path}#v1"), "me@h.example"),
        (format!("git@h.example:{path}#v1"), "git@h.example"),
    ] {
        let call = build(&url).env("GIT_SSH", text(&ssh)).env("GIT_SSH_VARIANT", "ssh");
        // Its submodule is the daemon's.
        call.run().ok();
        ground.world.minidocker(["run", "--rm", "app:1", "cat", "/old/file"]).prints("old\n");
        let words = std::fs::read_to_string(&heard).expect("ssh was asked");
        assert!(words.contains(&format!("|{host}|git-upload-pack '{path}'|")), "{words}");
        assert_eq!(words.contains("-p|2222|"), url.starts_with("ssh://"), "{words}");
        std::fs::remove_file(&heard).expect("our own file");
    }
    served.daemon.take().into_iter().for_each(|daemon| {
        daemon.signal(15);
        daemon.wait();
    });
    drop(registry);
    assert_eq!(left(&ground), Vec::<String>::new());
    ground.expect_nothing_left();
}

#[test]
fn an_archive_is_a_context_from_anywhere() {
    let ground = Ground::new();
    ground.dockerfile("COPY file /seen\n");
    ground.context.file("file", "of the archive");
    ground.context.file("other", format!("FROM {BASE}\nCOPY file /other\n"));
    let served = ground.world.rootfs_empty();
    let script = "import http.server,functools,sys\n\
        h=functools.partial(http.server.SimpleHTTPRequestHandler,directory=sys.argv[1])\n\
        s=http.server.HTTPServer(('127.0.0.1',0),h)\nprint('port',s.server_port,'.',flush=True)\ns.serve_forever()\n";
    let server = ground.world.program(["python3", "-c", script, text(served.path())]).spawn();
    let said = server.until(" .");
    let address = format!("http://127.0.0.1:{}", said.split_whitespace().nth(1).expect("a port"));
    for (flag, name) in [("-cf", "plain"), ("-czf", "gz"), ("-cJf", "xz"), ("-cjf", "bz2"), ("-cf", "v7")] {
        let archive = served.path().join(name);
        let format = if name == "v7" { "--format=v7" } else { "--format=gnu" };
        let words = ["tar", format, "-C", text(ground.context.path()), flag, text(&archive), "."];
        ground.world.program(words).run().ok();
        let out = files(&ground, &format!("{address}/{name}"), &[]);
        assert_eq!(read(&out, "seen"), "of the archive", "{name}");
        let bytes = std::fs::read(&archive).expect("our own file");
        let made = |words: &[&str]| {
            let all = [&["build", "-q", "-t", "app:1"], words, &["-"]].concat();
            ground.world.images(all).stdin(bytes.clone()).run().ok();
            let file = if words.is_empty() { "/seen" } else { "/other" };
            ground.world.minidocker(["run", "--rm", "app:1", "cat", file]).prints("of the archive");
        };
        made(&[]);
        made(&["-f", "other"]);
    }
    served.file("alone", format!("FROM {BASE}\nRUN echo alone > /alone\n"));
    assert_eq!(read(&files(&ground, &format!("{address}/alone"), &[]), "alone"), "alone\n");
    let said = ground.world.images(["build", &format!("{address}/none")]).run();
    said.refuses(1, &["not found"]).hints("check the address");
    // The Dockerfile alone from standard input, the files from here; and both at once.
    let words = ["build", "-q", "-t", "app:1", "-f", "-", text(ground.context.path())];
    ground.world.images(words).stdin(format!("FROM {BASE}\nCOPY file /in\n")).run().ok();
    ground.world.minidocker(["run", "--rm", "app:1", "cat", "/in"]).prints("of the archive");
    let said = ground.world.images(["build", "-f", "-", "-"]).stdin("FROM scratch\n").run();
    said.refuses(1, &["cannot both come from standard input"]);
    server.signal(15);
    server.wait();
    assert_eq!(left(&ground), Vec::<String>::new());
    ground.expect_nothing_left();
}
