//! Who gets in, and with what; and that nobody else sees it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use registry::{Client, Credential, Error, Keyring, Settings, Stored, login, logout};

use crate::server::{Reply, Request, Server};
use crate::{MANIFEST, client, image, settings};

/// A folder of its own, gone in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("minidocker-access-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// With `me:secret` for `registry`.
    fn settings(&self, registry: &str) -> Settings {
        let path = self.0.join("config.json");
        fs::write(&path, format!(r#"{{"auths":{{"{registry}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#)).unwrap();
        Settings { keyring: Some(Keyring::at(path)), ..settings() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A registry whose token server gives `token-N` for the Nth request, and takes only the last.
fn with_tokens(life: &'static str, check: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Server {
    Server::with_name(|name| {
        let (name, given) = (name.to_owned(), AtomicU32::new(0));
        move |request| {
            if request.path.starts_with("/token") {
                if !check(request) {
                    return Reply::new(401).body(r#"{"details":"incorrect username or password"}"#);
                }
                let number = given.fetch_add(1, Ordering::SeqCst) + 1;
                return Reply::new(200).body(format!(r#"{{"token":"token-{number}"{life}}}"#));
            }
            let wanted = format!("Bearer token-{}", given.load(Ordering::SeqCst));
            if request.header("authorization") == Some(&wanted) {
                return Reply::new(200).header("Content-Type", MANIFEST).body("{}");
            }
            let challenge = format!(
                r#"Bearer realm="http://{name}/token?a=b",service="the registry",scope="repository:app:pull""#
            );
            Reply::new(401).header("WWW-Authenticate", challenge)
        }
    })
}

#[test]
fn a_token_is_fetched_once_and_kept() {
    let server = with_tokens("", |request| request.header("authorization").is_none());
    let client = client(&server);
    client.manifest(&image(&server, "app:1")).unwrap();
    client.manifest(&image(&server, "app:2")).unwrap();
    assert_eq!(
        server.lines(),
        [
            "GET /v2/app/manifests/1",
            "GET /token?a=b&service=the%20registry&scope=repository%3Aapp%3Apull",
            "GET /v2/app/manifests/1",
            "GET /v2/app/manifests/2",
        ]
    );
    // Another repository is another token, asked for without another refusal.
    client.manifest(&image(&server, "other:1")).unwrap();
    assert!(server.lines()[4].contains("scope=repository%3Aother%3Apull"), "{:?}", server.lines());
}

#[test]
fn many_threads_share_one_token() {
    let server = with_tokens("", |_| true);
    let client = client(&server);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| client.manifest(&image(&server, "app:1")).unwrap());
        }
    });
    let tokens = server.lines().iter().filter(|line| line.contains("/token")).count();
    assert_eq!(tokens, 1, "{:?}", server.lines());
    let before = server.lines().len();
    client.manifest(&image(&server, "app:1")).unwrap();
    assert_eq!(server.lines().len(), before + 1);
}

#[test]
fn what_the_registry_wants_beside_is_asked_for_from_then_on() {
    let server = with_tokens("", |_| true);
    let client = client(&server);
    // The registry always wants app's pull too.
    client.manifest(&image(&server, "other:1")).unwrap();
    client.manifest(&image(&server, "other:2")).unwrap();
    let lines = server.lines();
    let scopes = "&scope=repository%3Aother%3Apull&scope=repository%3Aapp%3Apull";
    assert!(lines[1].ends_with(scopes), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[test]
fn a_token_at_its_end_is_replaced() {
    let server = with_tokens(r#","expires_in":1"#, |_| true);
    let client = client(&server);
    client.manifest(&image(&server, "app:1")).unwrap();
    client.manifest(&image(&server, "app:1")).unwrap();
    let lines = server.lines();
    // One refusal at first, none later: the client knows that the token is old.
    assert_eq!(lines.iter().filter(|line| line.contains("/token")).count(), 2, "{lines:?}");
    assert_eq!(lines.len(), 5, "{lines:?}");
}

#[test]
fn a_token_that_is_refused_is_replaced() {
    let refuse = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&refuse);
    let server = Server::with_name(|name| {
        let name = name.to_owned();
        move |request| {
            if request.path.starts_with("/token") {
                return Reply::new(200).body(r#"{"access_token":"t"}"#);
            }
            let revoked = count.load(Ordering::SeqCst) > 0;
            if request.header("authorization").is_some() && !revoked {
                return Reply::new(200).header("Content-Type", MANIFEST).body("{}");
            }
            if revoked {
                count.fetch_sub(1, Ordering::SeqCst);
            }
            Reply::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="http://{name}/token""#))
        }
    });
    let client = client(&server);
    client.manifest(&image(&server, "app:1")).unwrap();
    refuse.store(1, Ordering::SeqCst);
    client.manifest(&image(&server, "app:1")).unwrap();
    refuse.store(2, Ordering::SeqCst);
    let error = client.manifest(&image(&server, "app:1")).unwrap_err();
    assert!(matches!(error, Error::Denied { user: None, .. }), "{error}");
    assert!(error.hint().unwrap().contains(&format!("minidocker login {}", server.name)));
}

#[test]
fn a_password_goes_to_the_token_server_alone() {
    let folder = Folder::new("token");
    let server = with_tokens("", |request| request.header("authorization") == Some("Basic bWU6c2VjcmV0"));
    let client = Client::new(&server.name, Arc::new(folder.settings(&server.name))).unwrap();
    client.manifest(&image(&server, "app:1")).unwrap();
    assert!(server.lines()[1].ends_with("&account=me"), "{:?}", server.lines());
    let with_password =
        |request: &&Request| request.header("authorization").is_some_and(|a| a.starts_with("Basic"));
    assert_eq!(server.log().iter().filter(with_password).count(), 1);
    assert!(!format!("{client:?}").contains("secret"));
}

#[test]
fn a_password_that_is_refused_is_told_and_not_shown() {
    let folder = Folder::new("refused");
    let server = with_tokens("", |_| false);
    let client = Client::new(&server.name, Arc::new(folder.settings(&server.name))).unwrap();
    let error = client.manifest(&image(&server, "app:1")).unwrap_err();
    let words = format!(
        "registry {}: cannot get manifest app:1: access denied to me: the token server refused: incorrect username or \
         password",
        server.name
    );
    assert_eq!(error.to_string(), words);
    assert!(!format!("{error:?}").contains("secret"));
}

#[test]
fn an_identity_token_is_exchanged() {
    let server = with_tokens("", |request| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        request.method == "POST"
            && request.header("authorization").is_none()
            && form.contains("grant_type=refresh_token")
            && form.contains("refresh_token=to%2Fken")
            && form.contains("scope=repository%3Aapp%3Apull")
            && form.contains("service=the%20registry")
    });
    let credential = Credential::IdentityToken("to/ken".into());
    let client = Client::with_credential(&server.name, Arc::new(settings()), credential).unwrap();
    client.manifest(&image(&server, "app:1")).unwrap();
}

#[test]
fn basic_logins_are_sent_when_they_are_asked_for() {
    let folder = Folder::new("basic");
    let server = Server::new(|request| match request.header("authorization") {
        Some("Basic bWU6c2VjcmV0") => Reply::new(200).header("Content-Type", MANIFEST).body("{}"),
        _ => Reply::new(401).header("WWW-Authenticate", r#"Basic realm="here""#),
    });
    let client = Client::new(&server.name, Arc::new(folder.settings(&server.name))).unwrap();
    client.manifest(&image(&server, "app:1")).unwrap();
    client.manifest(&image(&server, "app:1")).unwrap();
    let with: Vec<bool> =
        server.log().iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(with, [false, true, true]);

    let without = self::client(&server).manifest(&image(&server, "app:1")).unwrap_err();
    assert!(matches!(without, Error::Denied { user: None, .. }), "{without}");
    let wrong = Credential::Password { user: "you".into(), secret: "x".into() };
    let wrong = Client::with_credential(&server.name, Arc::new(settings()), wrong).unwrap();
    let wrong = wrong.manifest(&image(&server, "app:1")).unwrap_err();
    assert!(matches!(&wrong, Error::Denied { user: Some(user), .. } if user == "you"), "{wrong}");
}

#[test]
fn a_login_is_tried_before_it_is_kept() {
    let folder = Folder::new("login");
    let server = Server::new(|request| match (request.path.as_str(), request.header("authorization")) {
        ("/v2/", Some("Basic bWU6c2VjcmV0")) => Reply::new(200),
        _ => Reply::new(401).header("WWW-Authenticate", r#"Basic realm="here""#),
    });
    let path = folder.0.join("config.json");
    let settings = Arc::new(Settings { keyring: Some(Keyring::at(&path)), ..settings() });
    let wrong = Credential::Password { user: "me".into(), secret: "wrong".into() };
    let error = login(&settings, &server.name, &wrong).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert!(!path.exists());
    let right = Credential::Password { user: "me".into(), secret: "secret".into() };
    assert_eq!(login(&settings, &server.name, &right).unwrap(), Stored::File(path));
    Client::new(&server.name, Arc::clone(&settings)).unwrap().ping().unwrap();
    assert!(logout(&settings, &server.name).unwrap());
    assert!(!logout(&settings, &server.name).unwrap());
    assert!(Client::new(&server.name, settings).unwrap().ping().is_err());
}

#[test]
fn a_redirect_to_another_host_gets_no_credentials() {
    let other = Server::new(|_| Reply::new(200).header("Content-Type", MANIFEST).body("{}"));
    let target = format!("http://{}/elsewhere?sig=1", other.name);
    let server = Server::new(move |request| match (request.path.as_str(), request.header("authorization")) {
        (_, None) => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        ("/v2/app/manifests/away", _) => Reply::new(307).header("Location", target.clone()),
        ("/v2/app/manifests/here", _) => Reply::new(307).header("Location", "/v2/app/manifests/there"),
        _ => Reply::new(200).header("Content-Type", MANIFEST).body("{}"),
    });
    let credential = Credential::Password { user: "me".into(), secret: "secret".into() };
    let client = Client::with_credential(&server.name, Arc::new(settings()), credential).unwrap();
    client.manifest(&image(&server, "app:away")).unwrap();
    let seen = other.log();
    assert_eq!((seen.len(), seen[0].header("authorization")), (1, None));
    assert_eq!(seen[0].line(), "GET /elsewhere?sig=1");
    client.manifest(&image(&server, "app:here")).unwrap();
    let last = server.log().pop().unwrap();
    assert_eq!(
        (last.line().as_str(), last.header("authorization").is_some()),
        ("GET /v2/app/manifests/there", true)
    );
}

#[test]
fn a_helper_is_asked_in_its_protocol() {
    use std::os::unix::fs::PermissionsExt as _;

    // The only test that changes the environment of this process; the others name no programs.
    let folder = Folder::new("helper");
    let script = folder.0.join("docker-credential-minidocker-test");
    let store = folder.0.join("store");
    let text = format!(
        "#!/bin/sh\ncase $1 in\nget) read u; [ -f {0} ] || {{ echo credentials not found in native keychain; exit 1; }}; \
         cat {0};;\nstore) cat >{0};;\nerase) rm -f {0};;\nesac\n",
        store.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.0.join("config.json");
    // By its place: PATH is the whole process's, so the test runs the client in another process.
    fs::write(&path, r#"{"credsStore":"minidocker-test"}"#).unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "access::with_a_helper_in_path", "--ignored", "--nocapture"])
        .env("PATH", format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap()))
        .env("MINIDOCKER_TEST_KEYRING", &path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!store.exists(), "erased in the end");
}

#[test]
#[ignore = "run by a_helper_is_asked_in_its_protocol, with a PATH of its own"]
fn with_a_helper_in_path() {
    let path = std::env::var("MINIDOCKER_TEST_KEYRING").expect("run by a_helper_is_asked_in_its_protocol");
    let keyring = Keyring::at(&path);
    assert_eq!(keyring.find("r.example", "a").unwrap(), None);
    let credential = Credential::Password { user: "me".into(), secret: "sec\"ret".into() };
    let stored = keyring.store("r.example", &credential).unwrap();
    assert_eq!(stored, Stored::Helper("docker-credential-minidocker-test".into()));
    assert!(!fs::read_to_string(&path).unwrap().contains("ret\""), "the file has no secret");
    assert_eq!(keyring.find("r.example", "a").unwrap(), Some(credential));
    assert!(keyring.erase("r.example").unwrap());
    assert_eq!(keyring.find("r.example", "a").unwrap(), None);
    assert!(!keyring.erase("r.example").unwrap());
}

#[test]
fn a_token_server_that_fails_for_a_moment_is_asked_again() {
    let failures = AtomicU32::new(0);
    let server = Server::with_name(|name| {
        let name = name.to_owned();
        move |request| {
            if request.path.starts_with("/token") {
                return match failures.fetch_add(1, Ordering::SeqCst) {
                    0 => Reply::new(503),
                    1 => Reply::new(429).header("Retry-After", "0"),
                    _ => Reply::new(200).body(r#"{"token":"t"}"#),
                };
            }
            match request.header("authorization") {
                Some("Bearer t") => Reply::new(200).header("Content-Type", MANIFEST).body("{}"),
                _ => Reply::new(401)
                    .header("WWW-Authenticate", format!("Bearer realm=\"http://{name}/token\"")),
            }
        }
    });
    client(&server).manifest(&image(&server, "app:1")).unwrap();
    let patient = Settings { first_pause: Duration::from_millis(1), attempts: 1, ..Settings::default() };
    let error = Client::new("127.0.0.1:1", Arc::new(patient)).unwrap().ping().unwrap_err();
    assert_eq!(error.to_string(), "registry 127.0.0.1:1: cannot log in: connection refused");
}
