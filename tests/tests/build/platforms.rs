//! Several platforms in one build, and programs of other machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use minidocker_tests::registry::{Registry, digest};
use minidocker_tests::{World, need};

use crate::failures::fails;
use crate::ground::{BASE, Ground, all_cached, steps, text};

const OWN: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
const OTHER: &str = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };

/// A step for all platforms and one for each; what comes out runs here whatever it is for.
fn dockerfile() -> String {
    format!(
        "FROM --platform=$BUILDPLATFORM {BASE} AS make\nRUN echo $BUILDARCH > /all\n\
         FROM make AS each\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n\
         FROM scratch\nARG TARGETPLATFORM\nLABEL platform=$TARGETPLATFORM\n\
         COPY --from=make /bin/busybox /bin/cat\nCOPY --from=each /all /arch /\nCMD [\"/bin/cat\", \"/arch\"]\n"
    )
}

fn both() -> String {
    format!("linux/amd64,linux/arm64,linux/{OWN}")
}

#[test]
fn a_build_for_two_platforms_is_one_index() {
    let ground = Ground::new();
    let world = &ground.world;
    let registry = Registry::new(world);
    let name = registry.name("app:1");
    let platforms = both();
    let words = ["-t", &name, "-t", "app:2", "--platform", &platforms];
    let built = ground.build(&dockerfile(), &words).ok();
    // A step that both have in common is done once: two of the eight are.
    assert_eq!(steps(&built), (2, 6), "{}", built.err());
    assert!(built.err().contains(&format!("[linux/{OWN}->linux/{OTHER} make 1/2] FROM")), "{}", built.err());
    all_cached(&ground.build(&dockerfile(), &words).ok());
    let id = ground.id(&dockerfile(), &words);
    let shown =
        world.images(["images", "--no-trunc", "--format", "{{.ID}} {{.Platform}}", "app"]).run().text();
    assert_eq!(shown, format!("{id} linux/amd64,linux/arm64"));
    for (words, said) in [
        (vec![], OWN),
        (vec!["--platform", "linux/amd64"], "amd64"),
        (vec!["--platform", "linux/arm64"], "arm64"),
    ] {
        let all = [&["run", "--rm", "--network", "none"], &words[..], &["app:2"]].concat();
        world.images(all).run().prints(&format!("{said}\n"));
    }
    let other = format!("linux/{OTHER}");
    let format = [
        "image",
        "inspect",
        "--platform",
        &other,
        "-f",
        "{{.Architecture}} {{.Config.Labels.platform}}",
        "app:2",
    ];
    assert_eq!(world.images(format).run().text(), format!("{OTHER} {other}"));
    // To a registry and back, and by another's eyes.
    let said = world.images(["push", &name]).run().ok().out();
    assert!(said.ends_with(&format!("digest: {id}\n")), "{said}");
    let words = ["skopeo", "inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")];
    assert_eq!(digest(world.program(words).run().ok().out().as_bytes()), id);
    for architecture in ["amd64", "arm64"] {
        let words = [
            "skopeo",
            "--override-arch",
            architecture,
            "inspect",
            "--tls-verify=false",
            &format!("docker://{name}"),
        ];
        assert_eq!(world.program(words).run().json()["Architecture"], architecture);
    }
    world.images(["rmi", "-f", &id]).run().ok();
    world.images(["pull", "-q", "--all-platforms", &name]).run().ok();
    assert_eq!(world.images(["images", "-q", "--no-trunc", &name]).run().text(), id);
    // It is a base for both.
    let dockerfile = format!("FROM {name}\nCOPY Dockerfile /more\n");
    ground.build(&dockerfile, &["-t", "more:1", "--platform", &platforms]).ok();
    world
        .images(["run", "--rm", "--network", "none", "--platform", &other, "more:1"])
        .run()
        .prints(&format!("{OTHER}\n"));
    ground.expect_nothing_left();
}

#[test]
fn the_same_input_gives_the_same_index() {
    let ground = Ground::new();
    ground.dockerfile(&dockerfile());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let words = ["-q", "--no-cache", "--platform", "linux/amd64,linux/arm64"];
        ids.push(ground.call(&words).env("SOURCE_DATE_EPOCH", "1000000000").run().text());
    }
    assert_eq!(ids[0], ids[1]);
    // In another order it is another list of the same images.
    let words = ["-q", "--platform", "linux/arm64", "--platform", "linux/amd64"];
    assert_ne!(ground.call(&words).env("SOURCE_DATE_EPOCH", "1000000000").run().text(), ids[0]);
}

#[test]
fn outputs_of_several_platforms() {
    let ground = Ground::new();
    let world = &ground.world;
    let out = world.rootfs_empty();
    let platforms = both();
    let output = format!("type=local,dest={}", out.plain());
    ground.build(&dockerfile(), &["--platform", &platforms, "-o", &output]).ok();
    for architecture in ["amd64", "arm64"] {
        let path = out.path().join(format!("linux_{architecture}/arch"));
        assert_eq!(fs::read_to_string(path).unwrap(), format!("{architecture}\n"));
    }
    let archive = world.directory().join("all.tar");
    let output = format!("type=oci,dest={}", text(&archive));
    let id = ground.id(&dockerfile(), &["--platform", &platforms, "-t", "app:1", "-o", &output]);
    let copy = world.directory().join("copy");
    let words = [
        "skopeo",
        "copy",
        "--all",
        "-q",
        &format!("oci-archive:{}", text(&archive)),
        &format!("dir:{}", text(&copy)),
    ];
    world.program(words).run().ok();
    assert_eq!(digest(&fs::read(copy.join("manifest.json")).unwrap()), id);
    let refused = |output: &str, way: &str| {
        let said = ground.build(&dockerfile(), &["--platform", &platforms, "-o", output]);
        said.refuses(1, &["has one platform"]).hints(way);
    };
    refused("type=tar,dest=x.tar", "type=local");
    refused("type=docker,dest=x.tar", "type=oci");
    ground.build(&dockerfile(), &["--platform", "linux/am d64"]).refuses(1, &["--platform"]);
    ground.expect_nothing_left();
}

/// The kernel's list of interpreters, in a mount of the test's own; what is registered goes with it.
struct Interpreters<'w> {
    world: &'w World,
    name: String,
    place: PathBuf,
}

/// Where no program that is one has anything: what is registered here is for nobody else.
const MARK: &[u8; 8] = b"\0mdtests";

/// The first bytes of a program for the other machine: elf(5), up to e_machine.
fn head() -> Vec<u8> {
    let machine: u16 = if OTHER == "arm64" { 183 } else { 62 };
    let ident = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    [&ident[..], MARK, &2_u16.to_le_bytes(), &machine.to_le_bytes()].concat()
}

impl<'w> Interpreters<'w> {
    /// Registers a program, with the flag F: the kernel has it open, and no container needs it.
    fn register(world: &'w World, path: &Path) -> Self {
        let place = world.directory().join("binfmt");
        fs::create_dir(&place).expect("our own directory");
        let mounted =
            Command::new(need("mount")).args(["-t", "binfmt_misc", "binfmt_misc"]).arg(&place).status();
        assert!(mounted.expect("mount").success(), "this test needs binfmt_misc: modprobe binfmt_misc");
        let name = world.name().to_owned();
        let magic: String = head().iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let this = Self { world, name, place };
        let line = format!(":{}:M::{magic}::{}:F", this.name, text(path));
        fs::write(this.place.join("register"), line).expect("the kernel takes it");
        this
    }
}

impl Drop for Interpreters<'_> {
    fn drop(&mut self) {
        let _ = fs::write(self.place.join(&self.name), "-1");
        let gone = Command::new("umount").arg(&self.place).status();
        assert!(gone.is_ok_and(|status| status.success()), "{}", self.world.name());
    }
}

#[test]
fn programs_of_other_machines_run_by_an_interpreter() {
    let ground = Ground::new();
    let world = &ground.world;
    let mut program = head();
    program.resize(100, 0);
    fs::write(ground.context.path().join("program"), &program).expect("our own file");
    let platform = format!("linux/{OTHER}");
    let dockerfile = "FROM scratch\nCOPY --chmod=755 program /program\nRUN [\"/program\", \"/made\"]\n";
    // Nobody runs it: one line with the way out, and what is built without it is built.
    let said = ground.build(dockerfile, &["--platform", &platform]);
    let said = fails(said, 3, "cannot ");
    assert!(said.contains("qemu-user-static"), "{said}");
    let copied = dockerfile.split("RUN").next().unwrap().to_owned();
    ground.build(&copied, &["--platform", &platform]).ok();
    // busybox by the name of cp: what it "runs" is copied.
    let cp = world.directory().join("cp");
    fs::copy(need("busybox"), &cp).expect("our own file");
    let registered = Interpreters::register(world, &cp);
    let out = ground.files(dockerfile, &["--platform", &platform]);
    assert_eq!(fs::read(out.path().join("made")).unwrap(), program);
    assert!(!out.path().join("cp").exists());
    drop(registered);
    ground.expect_nothing_left();
}
