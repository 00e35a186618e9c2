//! Dockerfiles of real projects' shapes, which need no network: what compiles and fetches are the base image's scripts.

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
        "# what npm makes\nnode_modules\n**/*.test.js\n.env*\ndocs\n!docs/README.md\nDockerfile\n\
        .dockerignore\n",
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
    pack("-cJf", "packed.tar.xz");
    pack("-cjf", "packed.tar.bz2");
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
        dockerfile: r#"ARG BASE=base:1
FROM ${BASE} AS deps
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
RUN fetch Cargo.lock /root/.cargo/registry && mkdir src && echo 'fn main() {}' > src/main.rs \
 && compile target/release/app src/main.rs

FROM deps AS build
COPY src ./src
RUN compile target/release/app src/*.rs

# nobody needs this one
FROM deps AS lint
RUN exit 1

FROM scratch
COPY --from=build /src/target/release/app /usr/local/bin/app
USER 1000:1000
ENTRYPOINT ["/usr/local/bin/app"]
CMD ["--help"]
"#,
        files: rust_files,
        arguments: &[],
        // It builds the stage that nobody needs.
        docker: false,
        buildah: true,
    },
    Shape {
        name: "rust with cache mounts",
        dockerfile: r#"# syntax=docker/dockerfile:1
FROM base:1 AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cargo --mount=type=cache,target=/src/target \
    fetch Cargo.lock /root/.cargo && compile target/release/app src/main.rs src/lib.rs && cp target/release/app /usr/local/bin/app
FROM base:1
COPY --from=build /usr/local/bin/app /usr/local/bin/
USER user
CMD app --serve
"#,
        files: rust_files,
        arguments: &[],
        docker: false,
        buildah: true,
    },
    Shape {
        name: "go",
        dockerfile: r#"ARG TAG=1
FROM base:${TAG} AS build
ARG VERSION=dev
ARG COMMIT
ENV CGO_ENABLED=0 GOFLAGS="-mod=mod -trimpath"
WORKDIR /go/src/app
COPY go.mod go.sum ./
RUN fetch go.sum /go/pkg/mod
COPY cmd cmd
COPY internal internal/
RUN compile /out/server-$VERSION cmd/server/main.go internal/x/x.go && env | grep -E '^(CGO|GOFLAGS|VERSION|COMMIT)' | sort > /out/env
FROM base:1
ARG VERSION=dev
ENV APP_VERSION=${VERSION} HOME_DIR=${NOTHING:-/srv} ALT=${VERSION:+is-set} NONE=${NOTHING:+never}
LABEL org.opencontainers.image.version=$VERSION "with space"="a value"
WORKDIR ${HOME_DIR}/app
COPY --from=build /out/ ./
COPY entrypoint.sh /
EXPOSE 8080 9090/udp
ENTRYPOINT ["/entrypoint.sh"]
CMD ["./server"]
"#,
        files: go_files,
        arguments: &["--build-arg", "VERSION=1.2.3", "--build-arg", "COMMIT=abc"],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "node",
        dockerfile: r#"FROM base:1 AS deps
WORKDIR /app
COPY package*.json ./
RUN fetch package-lock.json node_modules
FROM base:1
ENV NODE_ENV=production
WORKDIR /app
COPY --from=deps /app/node_modules ./node_modules
COPY . .
RUN ls -A > /listing && chown -R user:user /app
USER user
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=1m --retries=4 CMD wget -q -O- localhost:3000 || exit 1
CMD node index.js
"#,
        files: node_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "python",
        dockerfile: r#"FROM base:1 AS venv
RUN mkdir -p /opt/venv/bin && ln -s /bin/busybox /opt/venv/bin/python && ln -s lib /opt/venv/lib64
COPY requirements.txt /tmp/
RUN fetch /tmp/requirements.txt /opt/venv/lib/site-packages && rm /tmp/requirements.txt
FROM base:1 AS final
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
WORKDIR /srv
WORKDIR app
COPY --from=venv --chown=user:staff /opt/venv /opt/venv
COPY --chown=1000 app .
COPY --chown=user app/manage.py /usr/local/bin/
RUN mkdir /data && chown user /data
VOLUME /data
USER user:staff
ENTRYPOINT ["python"]
CMD ["-m", "app"]
"#,
        files: python_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "copies",
        dockerfile: r#"FROM base:1
COPY *.conf /etc/app/
COPY c.txt /renamed
COPY c.txt /made/
COPY .hidden /a/b/c/file
COPY tree /tree
COPY tree/ /tree2/
COPY ["one", "two", "/merged/"]
COPY t*e/x/? /globbed/
COPY sticky /sticky
WORKDIR /work
COPY a.conf .
COPY a.conf b.conf ./sub/
COPY two /tree
"#,
        files: copy_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "archives",
        dockerfile: r#"FROM base:1
ADD packed.tar.gz /gz
ADD packed.tar.xz /xz
ADD packed.tar.bz2 /bz2
ADD packed.tar /
ADD plain.gz /plain/
COPY packed.tar /copied/
RUN mkdir /there && echo below > /there/below
ADD packed.tar /there
"#,
        files: archive_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "triggers",
        dockerfile: r#"FROM base:1 AS trigger
ONBUILD COPY app /app
ONBUILD RUN cat /app/main > /seen
ONBUILD ENV TRIGGERED=yes
FROM trigger
RUN cat /seen > /copy
ONBUILD RUN echo next
ONBUILD USER user
"#,
        files: trigger_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "metadata",
        dockerfile: r#"FROM base:1
LABEL a=b c="d e" f='$x' \
  long="one \
two"
ENV OLD the old form
ENV Q="it's" E=a\ b
EXPOSE 80 443/tcp 53/udp 8000-8002
VOLUME ["/one", "/two words"]
VOLUME /three /four
SHELL ["/bin/sh", "-e", "-c"]
RUN echo $OLD > /old
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=1m30s CMD ["true"]
USER 10:20
WORKDIR /w
ENTRYPOINT top -b
CMD ignored $OLD
"#,
        files: none,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "changes",
        dockerfile: r#"FROM base:1
RUN mkdir -p /d/e /gone/x && touch /d/e/f /gone/x/y && mkfifo /d/pipe && ln /d/e/f /d/hard && ln -s e /d/link
RUN rm -r /gone && chmod 4711 /d/e/f && chown 7:8 /d/e
RUN rm -r /d/e && echo now a file > /d/e
RUN mv /d /moved && mkdir -m 2775 /d && chown 3:4 /d
RUN rm -r /home && mkdir -p /home/other
USER user
RUN id -u > /tmp/mine && umask 077 && mkdir /tmp/private
"#,
        files: none,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "links",
        dockerfile: r#"FROM base:1 AS one
RUN mkdir -p /srv/www /out/sub && ln -s /srv/www /www && ln -s ../srv/www /var/rel && echo 1 > /out/sub/f \
 && ln -s sub/f /out/l && chown -h 9:9 /out/l && chmod 700 /out/sub && chown 11:12 /out/sub/f
COPY site /www/
COPY conf /var/rel/conf
WORKDIR /www/made
RUN pwd > /pwd
FROM base:1
COPY --from=0 /out /copied
COPY --from=one /out/l /through-the-link
COPY --from=one /srv/www/index.html /www-index
COPY --from=one /pwd /
"#,
        files: link_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "small final stage",
        dockerfile: r#"FROM base:1 AS build
WORKDIR /x
COPY conf .
RUN mkdir -p root/etc root/tmp && chmod 1777 root/tmp && cp conf root/etc/ && chown -R 65532:65532 root
FROM scratch
COPY --from=build /x/root/ /
COPY --from=build --chown=65532:65532 /bin/busybox /bin/sh
ENV HOME=/tmp
USER 65532
WORKDIR /home/nonroot
RUN ["/bin/sh", "-c", "echo ran"]
STOPSIGNAL 3
CMD ["/bin/sh"]
"#,
        files: link_files,
        arguments: &[],
        docker: true,
        buildah: true,
    },
    Shape {
        name: "BuildKit's own",
        dockerfile: r#"# syntax=docker/dockerfile:1
FROM base:1
WORKDIR /app
COPY --exclude=*.h --exclude=skip src /filtered/
COPY --chmod=640 --chown=1000:50 src/a.c /modes/
COPY --link src/b.c /linked/
COPY --parents src/deep/er/c.c /parents/
COPY <<A <<"B" /docs/
$PATH is here
A
$PATH is not
B
RUN <<EOF
set -e
echo one > /one
echo two > /two
EOF
RUN <<EOF
#!/bin/sh
echo $0 > /three
EOF
RUN cat <<X > /four
four
X
RUN --mount=type=bind,source=src,target=/mnt cp /mnt/b.h /bound
RUN --mount=type=tmpfs,target=/mem echo x > /mem/x
CMD ["/bin/sh"]
"#,
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
