//! `--change` of commit and import: instructions that change how a container starts.

use serde_json::json;

use crate::ground::{Ground, text};

const ALL: [&str; 11] = [
    "CMD [\"echo\", \"changed\"]",
    "ENTRYPOINT [\"/bin/busybox\"]",
    "ENV A=b C=\"d e\"",
    "EXPOSE 80 53/udp",
    "LABEL team=blue",
    "USER user:staff",
    "VOLUME /data",
    "WORKDIR /home/user",
    "STOPSIGNAL SIGINT",
    "HEALTHCHECK --retries=2 CMD true",
    "SHELL [\"/bin/sh\", \"-e\"]",
];

fn expect_all(ground: &Ground, image: &str) {
    let config = ground.config(image);
    assert_eq!(config["Cmd"], json!(["echo", "changed"]), "{config}");
    assert_eq!(config["Entrypoint"], json!(["/bin/busybox"]));
    let env = config["Env"].as_array().expect("a list");
    assert!(env.contains(&json!("A=b")) && env.contains(&json!("C=d e")), "{config}");
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}, "53/udp": {}}));
    assert_eq!(config["Labels"]["team"], "blue");
    assert_eq!(config["User"], "user:staff");
    assert_eq!(config["Volumes"], json!({"/data": {}}));
    assert_eq!(config["WorkingDir"], "/home/user");
    assert_eq!(config["StopSignal"], "SIGINT");
    assert_eq!(config["Healthcheck"], json!({"Test": ["CMD-SHELL", "true"], "Retries": 2}));
    assert_eq!(config["Shell"], json!(["/bin/sh", "-e"]));
    let said = ground.world.minidocker(["run", "--rm", image]).text();
    assert_eq!(said, "changed");
    let said = ground
        .world
        .minidocker(["run", "--rm", "--entrypoint", "sh", image, "-c", "id -u; id -g; pwd; echo $C"])
        .text();
    assert_eq!(said, "1000\n50\n/home/user\nd e");
}

fn changes() -> Vec<&'static str> {
    ALL.iter().flat_map(|change| ["--change", change]).collect()
}

#[test]
fn an_import_starts_as_it_is_told() {
    let ground = Ground::new();
    let archive = ground.world.directory().join("base.tar");
    let words = [&["import"], &changes()[..], &[text(&archive), "imported:1"]].concat();
    ground.world.minidocker(words).ok();
    expect_all(&ground, "imported:1");
    ground.expect_nothing_left();
}

#[test]
fn what_tools_pack_is_imported_and_loaded() {
    let ground = Ground::new();
    let world = &ground.world;
    let archive = world.directory().join("base.tar");
    let saved = world.directory().join("saved.tar");
    for (program, end) in [("xz", "xz"), ("bzip2", "bz2")] {
        let name = format!("of-{end}:1");
        world.program([program, "-k", "-1", text(&archive)]).run().ok();
        world.minidocker(["import", &format!("{}.{end}", text(&archive)), &name]).ok();
        world.minidocker(["run", "--rm", &name, "/bin/busybox", "echo", "runs"]).prints("runs\n");
        // Others read what is made of it: no layer is packed so.
        world.minidocker(["save", "-o", text(&saved), &name]).ok();
        let id = world.minidocker(["images", "-q", "--no-trunc", &name]).text();
        world.minidocker(["rmi", &name]).ok();
        world.program([program, "-1", text(&saved)]).run().ok();
        let packed = format!("{}.{end}", text(&saved));
        world.minidocker(["load", "-i", &packed]).prints(&format!("Loaded image: {name}\n"));
        assert_eq!(world.minidocker(["images", "-q", "--no-trunc", &name]).text(), id);
        // From a pipe, and half of it.
        let bytes = std::fs::read(&packed).expect("our own file");
        world.call(["load", "-q"]).stdin(bytes.clone()).run().ok();
        let half = world.call(["load"]).stdin(&bytes[..bytes.len() / 2]).run();
        assert!(half.code == 1 && half.err().starts_with("error: "), "{half:?}");
        world.minidocker(["run", "--rm", &name, "/bin/busybox", "echo", "runs"]).prints("runs\n");
    }
}

#[test]
fn a_commit_starts_as_it_is_told() {
    let ground = Ground::new();
    ground.world.minidocker(["run", "--name", "changed", "base:1", "sh", "-c", "echo kept > /kept"]).ok();
    let words = [&["commit", "-m", "some words"], &changes()[..], &["changed", "committed:1"]].concat();
    ground.world.minidocker(words).ok();
    let look = ["image", "inspect", "-f", "{{.Comment}}", "committed:1"];
    ground.world.minidocker(look).prints("some words\n");
    // One image: what it was made of on the way is gone.
    assert_eq!(ground.world.minidocker(["images", "-aq"]).text().lines().count(), 2);
    ground.world.minidocker(["rm", "changed"]).ok();
    expect_all(&ground, "committed:1");
    let said = ground.world.minidocker(["run", "--rm", "committed:1", "cat", "/kept"]).text();
    assert_eq!(said, "kept");
    ground.expect_nothing_left();
}

#[test]
fn what_would_change_files_is_refused() {
    let ground = Ground::new();
    let archive = ground.world.directory().join("base.tar");
    ground.world.minidocker(["run", "--name", "changed", "base:1", "true"]).ok();
    let cases = [
        ("RUN true", "RUN true"),
        ("COPY a /b", "COPY a /b"),
        ("ADD a /b", "ADD a /b"),
        ("FROM base:1", "FROM"),
        ("ARG A=b", "ARG A=b"),
        ("FOO", "FOO"),
        ("", "--change"),
        ("EXPOSE x", "x is no port"),
        ("USER", "USER"),
    ];
    for (change, words) in cases {
        let import = ground.world.minidocker(["import", "-c", change, text(&archive), "bad:1"]);
        let code = import.code;
        assert!(code != 0, "{import:?}");
        import.refuses(code, &[words]);
        let commit = ground.world.minidocker(["commit", "-c", change, "changed", "bad:1"]);
        let code = commit.code;
        assert!(code != 0, "{commit:?}");
        commit.refuses(code, &[words]);
        assert!(ground.world.minidocker(["image", "inspect", "bad:1"]).code != 0, "{change}");
    }
    ground.world.minidocker(["rm", "changed"]).ok();
    ground.expect_nothing_left();
}
