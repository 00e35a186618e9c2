//! Dockerfiles of real projects' shapes, which need no network: what compiles and fetches are scripts of the base image.

use std::os::unix::fs::{chown, symlink};

use minidocker_tests::{Rootfs, World};

use crate::ground::{chmod, text};

/// One of them.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) dockerfile: &'static str,
    /// Makes the other files of the context.
    files: fn(&World, &Rootfs),
    pub(crate) arguments: &'static [&'static str],
    /// Whether Docker's classic builder (20.10) knows all its instructions.
    pub(crate) docker: bool,
    /// Whether buildah (1.28) does.
    pub(crate) buildah: bool,
}

impl Shape {
    /// Its context.
    pub(crate) fn context(&self, world: &World) -> Rootfs {
        let context = world.rootfs_empty();
        context.file("Dockerfile", self.dockerfile);
        (self.files)(world, &context);
        context
    }
}

fn rust_files(_: &World, context: &Rootfs) {
    context.file("Cargo.toml", "serde\ntokio\n");
    context.file("Cargo.lock", "serde\ntokio\nlibc\n");
    context.file("src/main.rs", "fn main() { lib() }\n");
    context.file("src/lib.rs", "fn lib() {}\n");
    context.file("target/old", "never copied");
    context.file(".dockerignore", "target\n**/*.orig\n");
    context.file("src/main.rs.orig", "left out");
}

fn go_files(_: &World, context: &Rootfs) {
    context.file("go.mod", "github.com/a/b\n");
    context.file("go.sum", "github.com/a/b\ngithub.com/c/d\n");
    context.file("cmd/server/main.go", "package main\n");
    context.file("internal/x/x.go", "package x\n");
    context.script("entrypoint.sh", "#!/bin/sh\nexec \"$@\"\n");
}

fn node_files(_: &World, context: &Rootfs) {
    context.file("package.json", "express\n");
    context.file("package-lock.json", "express\nleft-pad\n");
    context.file("index.js", "x");
    context.file("lib/a.js", "a");
    context.file("lib/a.test.js", "test");
    context.file("node_modules/mine/index", "of the host");
    context.file("docs/README.md", "kept");
    context.file("docs/other.md", "left out");
    context.file(".env", "SECRET=1");
    context.file(
        ".dockerignore",
        "# what npm makes\nnode_modules\n**/*.test.js\n.env*\ndocs\n!docs/README.md\nDockerfile\n.dockerignore\n",
    );
}

fn python_files(_: &World, context: &Rootfs) {
    context.file("requirements.txt", "flask\njinja\n");
    context.file("app/__init__.py", "");
    context.script("app/manage.py", "#!/usr/bin/env python\n");
    context.link("app/run.py", "manage.py");
}

fn copy_files(_: &World, context: &Rootfs) {
    for name in [
        "a.conf",
        "b.conf",
        "c.txt",
        ".hidden",
        "tree/x/1",
        "tree/x/2",
        "tree/y/.keep",
        "one/f",
        "two/f",
        "two/g",
    ] {
        context.file(name, name);
    }
    context.directory("tree/empty");
    context.directory("sticky");
    chmod(&context.path().join("sticky"), 0o1777);
    context.script("tree/su", "x");
    chmod(&context.path().join("tree/su"), 0o4755);
    context.script("tree/sg", "x");
    chmod(&context.path().join("tree/sg"), 0o2711);
    chmod(&context.path().join("c.txt"), 0o600);
    chown(context.path().join("c.txt"), Some(1234), Some(77)).expect("our own file");
    context.link("tree/to-file", "x/1");
    context.link("tree/to-directory", "x");
    context.link("tree/to-nothing", "/no/such");
    std::fs::hard_link(context.path().join("tree/x/1"), context.path().join("tree/x/same")).expect("our own");
}

fn archive_files(world: &World, context: &Rootfs) {
    let root = world.rootfs_empty();
    root.file("d/file", "packed");
    root.directory("d/empty");
    root.script("d/su", "x");
    chmod(&root.path().join("d/su"), 0o4750);
    chown(root.path().join("d/file"), Some(5), Some(6)).expect("our own file");
    symlink("file", root.path().join("d/link")).expect("our own file");
    std::fs::hard_link(root.path().join("d/file"), root.path().join("d/same")).expect("our own file");
    let pack = |flag: &str, name: &str| {
        let archive = context.path().join(name);
        // Its content has times in it.
        let tar = ["tar", "--numeric-owner", "--sort=name", "--mtime=@1600000000", "-C", text(root.path())];
        world.program([&tar[..], &[flag, text(&archive), "d"]].concat()).run().ok();
    };
    pack("-czf", "packed.tar.gz");
    pack("-cf", "packed.tar");
    context.file("plain.gz", "no archive at all");
}

fn trigger_files(_: &World, context: &Rootfs) {
    context.file("app/main", "main");
    context.file("app/other", "other");
}

fn none(_: &World, _: &Rootfs) {}

fn new_files(_: &World, context: &Rootfs) {
    for name in ["src/a.c", "src/b.c", "src/b.h", "src/deep/er/c.c", "src/skip/me"] {
        context.file(name, name);
    }
}

fn link_files(_: &World, context: &Rootfs) {
    context.file("site/index.html", "<p>");
    context.file("site/img/a.png", "png");
    context.file("conf", "listen 80;");
}

/// All of them.
pub(crate) const SHAPES: [Shape; 13] = [
    Shape {
        name: "rust",
        dockerfile: "ARG BASE=base:1\nFROM ${BASE} AS deps\nWORKDIR /src\nCOPY Cargo.toml Cargo.lock ./\n\
            RUN fetch Cargo.lock /root/.cargo/registry && mkdir src && echo 'fn main() {}' > src/main.rs \\\n \
            && compile target/release/app src/main.rs\n\nFROM deps AS build\nCOPY src ./src\n\
            RUN compile target/release/app src/*.rs\n\n# nobody needs this one\nFROM deps AS lint\nRUN exit 1\n\n\
            FROM scratch\nCOPY --from=build /src/target/release/app /usr/local/bin/app\nUSER 1000:1000\n\
            ENTRYPOINT [\"/usr/local/bin/app\"]\nCMD [\"--help\"]\n",
        files: rust_files,
        arguments: &[],
        // It builds the stage that nobody needs.
        docker: false,
        buildah: true,
    },
    Shape {
        name: "rust with cache mounts",
        dockerfile: "# syntax=docker/dockerfile:1\nFROM base:1 AS build\nWORKDIR /src\nCOPY . .\n\
            RUN --mount=type=cache,target=/root/.cargo --mount=type=cache,target=/src/target \\\n    \
            fetch Cargo.lock /root/.cargo && compile target/release/app src/main.rs src/lib.rs && \
            cp target/release/app /usr/local/bin/app\n\
            FROM base:1\nCOPY --from=build /usr/local/bin/app /usr/local/bin/\nUSER user\nCMD app --serve\n",
        files: rust_files,
        arguments: &[],
        docker: false,
        buildah: true,
    },
    Shape {
        name: "go",
        dockerfile: "ARG TAG=1\nFROM base:${TAG} AS build\nARG VERSION=dev\nARG COMMIT\nENV CGO_ENABLED=0 GOFLAGS=\"-mod=mod -trimpath\"\n\
            WORKDIR /go/src/app\nCOPY go.mod go.sum ./\nRUN fetch go.sum /go/pkg/mod\nCOPY cmd cmd\nCOPY internal internal/\n\
            RUN compile /out/server-$VERSION cmd/server/main.go internal/x/x.go && env | grep -E '^(CGO|GOFLAGS|VERSION|COMMIT)' | sort > /out/env\n\
            FROM base:1\nARG VERSION=dev\nENV APP_VERSION=${VERSION} HOME_DIR=${NOTHING:-/srv} ALT=${VERSION:+is-set} NONE=${NOTHING:+never}\n\
            LABEL org.opencontainers.image.version=$VERSION \"with space\"=\"a value\"\nWORKDIR ${HOME_DIR}/app\n\
            COPY --from=build /out/ ./\nCOPY entrypoint.sh /\nEXPOSE 8080 9090/udp\nENTRYPOINT [\"/entrypoint.sh\"]\n\
            CMD [\"./server\"]\n",
        files: go_files,
        arguments: &["--build-arg", "VERSION=1.2.3", "--build-arg", "COMMIT=abc"],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "node",
        dockerfile: "FROM base:1 AS deps\nWORKDIR /app\nCOPY package*.json ./\nRUN fetch package-lock.json node_modules\n\
            FROM base:1\nENV NODE_ENV=production\nWORKDIR /app\nCOPY --from=deps /app/node_modules ./node_modules\nCOPY . .\n\
            RUN ls -A > /listing && chown -R user:user /app\nUSER user\nEXPOSE 3000\n\
            HEALTHCHECK --interval=30s --timeout=5s --start-period=1m --retries=4 CMD wget -q -O- localhost:3000 || exit 1\nCMD node index.js\n",
        files: node_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "python",
        dockerfile: "FROM base:1 AS venv\nRUN mkdir -p /opt/venv/bin && ln -s /bin/busybox /opt/venv/bin/python && ln -s lib /opt/venv/lib64\n\
            COPY requirements.txt /tmp/\nRUN fetch /tmp/requirements.txt /opt/venv/lib/site-packages && rm /tmp/requirements.txt\n\
            FROM base:1 AS final\nENV PATH=/opt/venv/bin:$PATH \\\n    PYTHONUNBUFFERED=1\nWORKDIR /srv\nWORKDIR app\n\
            COPY --from=venv --chown=user:staff /opt/venv /opt/venv\nCOPY --chown=1000 app .\nCOPY --chown=user app/manage.py /usr/local/bin/\n\
            RUN mkdir /data && chown user /data\nVOLUME /data\nUSER user:staff\nENTRYPOINT [\"python\"]\nCMD [\"-m\", \"app\"]\n",
        files: python_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "copies",
        dockerfile: "FROM base:1\nCOPY *.conf /etc/app/\nCOPY c.txt /renamed\nCOPY c.txt /made/\nCOPY .hidden /a/b/c/file\n\
            COPY tree /tree\nCOPY tree/ /tree2/\nCOPY [\"one\", \"two\", \"/merged/\"]\nCOPY t*e/x/? /globbed/\nCOPY sticky /sticky\n\
            WORKDIR /work\nCOPY a.conf .\nCOPY a.conf b.conf ./sub/\nCOPY two /tree\n",
        files: copy_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "archives",
        dockerfile: "FROM base:1\nADD packed.tar.gz /gz\nADD packed.tar /\nADD plain.gz /plain/\nCOPY packed.tar /copied/\n\
            RUN mkdir /there && echo below > /there/below\nADD packed.tar /there\n",
        files: archive_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "triggers",
        dockerfile: "FROM base:1 AS trigger\nONBUILD COPY app /app\nONBUILD RUN cat /app/main > /seen\nONBUILD ENV TRIGGERED=yes\n\
            FROM trigger\nRUN cat /seen > /copy\nONBUILD RUN echo next\nONBUILD USER user\n",
        files: trigger_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "metadata",
        dockerfile: "FROM base:1\nLABEL a=b c=\"d e\" f='$x' \\\n  long=\"one \\\ntwo\"\nENV OLD the old form\nENV Q=\"it's\" E=a\\ b\n\
            EXPOSE 80 443/tcp 53/udp 8000-8002\nVOLUME [\"/one\", \"/two words\"]\nVOLUME /three /four\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\n\
            RUN echo $OLD > /old\nSTOPSIGNAL SIGQUIT\nHEALTHCHECK --interval=1m30s CMD [\"true\"]\nUSER 10:20\nWORKDIR /w\nENTRYPOINT top -b\nCMD ignored $OLD\n",
        files: none,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "changes",
        dockerfile: "FROM base:1\nRUN mkdir -p /d/e /gone/x && touch /d/e/f /gone/x/y && mkfifo /d/pipe && ln /d/e/f /d/hard && ln -s e /d/link\n\
            RUN rm -r /gone && chmod 4711 /d/e/f && chown 7:8 /d/e\nRUN rm -r /d/e && echo now a file > /d/e\n\
            RUN mv /d /moved && mkdir -m 2775 /d && chown 3:4 /d\nRUN rm -r /home && mkdir -p /home/other\nUSER user\nRUN id -u > /tmp/mine && umask 077 && mkdir /tmp/private\n",
        files: none,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "links",
        dockerfile: "FROM base:1 AS one\nRUN mkdir -p /srv/www /out/sub && ln -s /srv/www /www && ln -s ../srv/www /var/rel && echo 1 > /out/sub/f \\\n \
            && ln -s sub/f /out/l && chown -h 9:9 /out/l && chmod 700 /out/sub && chown 11:12 /out/sub/f\nCOPY site /www/\nCOPY conf /var/rel/conf\nWORKDIR /www/made\nRUN pwd > /pwd\n\
            FROM base:1\nCOPY --from=0 /out /copied\nCOPY --from=one /out/l /through-the-link\nCOPY --from=one /srv/www/index.html /www-index\nCOPY --from=one /pwd /\n",
        files: link_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "small final stage",
        dockerfile: "FROM base:1 AS build\nWORKDIR /x\nCOPY conf .\nRUN mkdir -p root/etc root/tmp && chmod 1777 root/tmp && cp conf root/etc/ && chown -R 65532:65532 root\n\
            FROM scratch\nCOPY --from=build /x/root/ /\nCOPY --from=build --chown=65532:65532 /bin/busybox /bin/sh\nENV HOME=/tmp\nUSER 65532\nWORKDIR /home/nonroot\nRUN [\"/bin/sh\", \"-c\", \"echo ran\"]\nSTOPSIGNAL 3\nCMD [\"/bin/sh\"]\n",
        files: link_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "BuildKit's own",
        dockerfile: "# syntax=docker/dockerfile:1\nFROM base:1\nWORKDIR /app\nCOPY --exclude=*.h --exclude=skip src /filtered/\nCOPY --chmod=640 --chown=1000:50 src/a.c /modes/\n\
            COPY --link src/b.c /linked/\nCOPY --parents src/deep/er/c.c /parents/\nCOPY <<A <<\"B\" /docs/\n$PATH is here\nA\n$PATH is not\nB\n\
            RUN <<EOF\nset -e\necho one > /one\necho two > /two\nEOF\nRUN <<EOF\n#!/bin/sh\necho $0 > /three\nEOF\nRUN cat <<X > /four\nfour\nX\n\
            RUN --mount=type=bind,source=src,target=/mnt cp /mnt/b.h /bound\nRUN --mount=type=tmpfs,target=/mem echo x > /mem/x\nCMD [\"/bin/sh\"]\n",
        files: new_files,
        arguments: &[],
        docker: false,
        buildah: false,
    },
];

/// The context's own directory is a plain one.
pub(crate) fn contexts(world: &World) -> Vec<(&'static Shape, Rootfs)> {
    SHAPES.iter().map(|shape| (shape, shape.context(world))).collect()
}
