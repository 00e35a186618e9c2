//! Who may ask a registry and how it is reached: logins, certificates, mirrors, blocks, by `registries.toml`.

use std::fs;

use minidocker_tests::World;
use minidocker_tests::registry::{Image, Kind, LOGIN, Registry, Tar};
use serde_json::{Value, json};

use crate::store::Store;

fn small() -> Image {
    Image::new(json!({"Cmd": ["/x"]})).layer(Tar::new().file("base", "b"))
}

#[test]
fn a_login_is_kept_and_forgotten() {
    let world = World::new();
    let registry = Registry::with(&world, Kind { password: true, ..Kind::default() });
    registry.put("app:1", &small());
    let (address, name) = (registry.address().to_owned(), registry.name("app:1"));
    let denied = format!("error: registry {address}: cannot get manifest app:1: access denied");
    let refused = || {
        let said = world.images(["pull", &name]).run().refuses(1, &[&denied]);
        said.hints(&format!("minidocker login {address}"));
    };
    refused();
    let file = world.directory().join("docker-config/config.json");
    let login = |password: &str| {
        let words = ["login", "-u", LOGIN.0, "--password-stdin", &address];
        world.images(words).stdin(format!("{password}\n")).run()
    };
    login("wrong").refuses(1, &[&address, "access denied"]);
    assert!(!file.exists());
    let said = login(LOGIN.1).ok();
    assert_eq!(said.out(), "Login Succeeded\n");
    assert!(said.err().starts_with("warning: the password is kept unencrypted in "), "{said:?}");
    let config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["auths"][&address]["auth"], "bWU6c2VjcmV0", "me:secret in base64");
    world.images(["pull", "-q", &name]).run().ok();
    world.images(["tag", &name, &registry.name("app:2")]).run().ok();
    world.images(["push", "-q", &registry.name("app:2")]).run().ok();
    let said = world.images(["logout", &address]).run();
    said.prints(&format!("Removing login credentials for {address}\n"));
    world.images(["logout", &address]).run().prints(&format!("Not logged in to {address}\n"));
    refused();

    let said = world.images(["login", "-u", LOGIN.0, "-p", LOGIN.1, &address]).run().ok();
    assert!(said.err().contains("can be seen in the list of processes"), "{said:?}");
    world.images(["login", "--password-stdin", &address]).run().refuses(1, &["needs --username"]);
    world.images(["login", "-u", "me", &address]).run().refuses(1, &["no terminal"]);
    // What others wrote there stays.
    fs::write(&file, r#"{"auths": {"other.example": {"auth": "eDp5"}}, "detachKeys": "ctrl-x"}"#).unwrap();
    login(LOGIN.1).ok();
    let config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(
        (&config["detachKeys"], &config["auths"]["other.example"]["auth"]),
        (&json!("ctrl-x"), &json!("eDp5"))
    );
}

#[test]
fn a_certificate_is_trusted_where_the_settings_say_so() {
    let world = World::new();
    let registry = Registry::with(&world, Kind { tls: true, ..Kind::default() });
    registry.put("app:1", &small());
    let (address, name) = (registry.address().to_owned(), registry.name("app:1"));
    let ca = |file: &str| {
        let file = registry.authority().with_file_name(file);
        format!("attempts = 1\n[registry.\"{address}\"]\nca = [\"{}\"]\n", file.display())
    };
    let said = world.registries(&ca("other.pem"), ["pull", &name]).run();
    let words =
        format!("error: registry {address}: cannot get manifest app:1: its certificate is not to be trusted");
    said.refuses(1, &[&words]).hints("/etc/docker/certs.d/");
    let said = world.registries(&ca("none.pem"), ["pull", &name]).run();
    said.refuses(1, &["none.pem: no such file or directory"]);
    Store::of(&world).expect_empty();
    world.registries(&ca("ca.pem"), ["pull", "-q", &name]).run().ok();
    Store::of(&world).expect_complete(None);
}

#[test]
fn a_mirror_is_asked_first_and_may_fail() {
    let world = World::new();
    let (origin, mirror) = (Registry::new(&world), Registry::new(&world));
    let put = origin.put("app:1", &small());
    let settings =
        |mirrors: &str| format!("attempts = 1\n[registry.\"{}\"]\nmirrors = [{mirrors}]\n", origin.address());
    let (name, url) = (origin.name("app:1"), format!("\"http://{}\"", mirror.address()));
    // It does not have it; then nobody is there at all.
    for mirrors in [&url, "\"http://127.0.0.1:1\""] {
        let before = origin.served().len();
        world.registries(&settings(mirrors), ["pull", "-q", &name]).run().prints(&format!("{name}\n"));
        assert!(origin.served().len() > before, "{mirrors}");
        world.images(["rmi", &name]).run().ok();
    }
    mirror.put("app:1", &small());
    let before = origin.served().len();
    world.registries(&settings(&url), ["pull", "-q", &name]).run().ok();
    assert_eq!(origin.served().len(), before, "the mirror had it all");
    assert!(mirror.served().iter().any(|one| one.path.contains(&put.layers[0].digest)));
    assert_eq!(world.images(["images", "--format", "{{.Repository}}:{{.Tag}}"]).run().text(), name);
}

#[test]
fn settings_that_are_wrong_are_told_with_their_place() {
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:1", &small());
    let (address, name) = (registry.address().to_owned(), registry.name("app:1"));
    let file = world.directory().join("registries.toml");
    let pull = |settings: &str| world.registries(settings, ["pull", &name]).run();
    let said = pull("attempts = 1\nretries = 3\n");
    said.refuses(1, &[&format!("error: {}: line 2, column 1: unknown field", file.display())]);
    let said = pull(&format!("[registry.\"{address}\"]\nblocked = true\n"));
    said.refuses(1, &[&format!("error: registry {address} is blocked")]);
    let said = world.images(["pull", &name]).env("MINIDOCKER_REGISTRIES", "/no/such/file").run();
    said.refuses(1, &["error: /no/such/file: no such file or directory"]);
    pull("").ok();
}

/// What systemd's packages write into nsswitch.conf(5): modules that a static program cannot load safely.
#[test]
fn names_of_hosts_are_looked_up_without_loading_a_module() {
    let world = World::new();
    let registry = Registry::new(&world);
    registry.put("app:1", &small());
    let name = registry.name("app:1").replace("127.0.0.1", "localhost");
    let (switch, log) = (world.directory().join("nsswitch.conf"), world.directory().join("opened"));
    fs::write(&switch, "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n").unwrap();
    let (switch, log) = (switch.display(), log.display());
    let script = format!(
        "mount --bind {switch} /etc/nsswitch.conf && exec strace -f -qq -e trace=openat,open -o {log} \"$@\""
    );
    let wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    world.images(["pull", "-q", &name]).through(&wrapper).run().prints(&format!("{name}\n"));
    // One of the domain that no name is in (RFC 6761, 6.4): it goes to the servers of resolv.conf(5).
    let nobody =
        world.registries("attempts = 1\n", ["pull", "-q", "none.invalid:5000/app:1"]).through(&wrapper).run();
    nobody.refuses(1, &["registry none.invalid:5000"]);
    let opened = fs::read_to_string(world.directory().join("opened")).unwrap();
    assert!(opened.contains("/etc/resolv.conf"), "the lookup is not in the log");
    let loaded: Vec<&str> = opened.lines().filter(|line| line.contains(".so")).collect();
    assert!(loaded.is_empty(), "{loaded:#?}");
}
