//! Files of credentials in all their shapes, and helpers as small scripts.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder of its own, gone in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("minidocker-keyring-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn keyring(&self, text: &str) -> Keyring {
        fs::write(self.0.join("config.json"), text).unwrap();
        Keyring::at(self.0.join("config.json"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn password(user: &str, secret: &str) -> Credential {
    Credential::Password { user: user.into(), secret: secret.into() }
}

#[test]
fn entries_are_found_in_all_their_shapes() {
    let folder = Folder::new();
    // me:secret, hub:word, org:o, padded:p with a zero byte.
    let keyring = folder.keyring(
        r#"{"auths": {
            "r.example": {"auth": "bWU6c2VjcmV0"},
            "https://index.docker.io/v1/": {"auth": "aHViOndvcmQ="},
            "quay.example/org": {"auth": "b3JnOm8="},
            "quay.example": {"username": "all", "password": "a"},
            "https://padded.example/v2/": {"auth": "cGFkZGVkOnAA"},
            "token.example": {"auth": "PHRva2VuPjo=", "identitytoken": "tok"},
            "empty.example": {},
            "broken.example": {"auth": "%%%"}
        }}"#,
    );
    for (registry, repository, found) in [
        ("r.example", "a/b", Some(password("me", "secret"))),
        ("r.example", "", Some(password("me", "secret"))),
        ("r.example:5000", "a", None),
        ("docker.io", "library/alpine", Some(password("hub", "word"))),
        ("quay.example", "org/app", Some(password("org", "o"))),
        ("quay.example", "organic/app", Some(password("all", "a"))),
        ("padded.example", "a", Some(password("padded", "p"))),
        ("token.example", "a", Some(Credential::IdentityToken("tok".into()))),
        ("empty.example", "a", None),
        ("broken.example", "a", None),
        ("other.example", "a", None),
    ] {
        assert_eq!(keyring.find(registry, repository).unwrap(), found, "{registry}/{repository}");
    }
}

#[test]
fn what_is_no_file_of_credentials_is_told_without_its_content() {
    let folder = Folder::new();
    let error = folder.keyring("{\"auths\": {\"a\": secret}}").find("a", "").unwrap_err().to_string();
    assert!(error.contains("config.json: no JSON object, line 1") && !error.contains("secret"), "{error}");
    assert_eq!(folder.keyring(" \n").find("a", "").unwrap(), None);
    assert_eq!(Keyring::at(folder.0.join("none")).find("a", "").unwrap(), None);
}

#[test]
fn a_login_is_kept_for_its_owner_alone_and_the_rest_stays() {
    let folder = Folder::new();
    let keyring = folder
        .keyring(r#"{"psFormat": "table", "auths": {"https://r.example/v2/": {"auth": "b2xkOm9sZA=="}}}"#);
    fs::set_permissions(keyring.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let stored = keyring.store("r.example", &password("me", "sec:ret")).unwrap();
    assert_eq!(stored, Stored::File(keyring.path().to_owned()));
    keyring.store("docker.io", &Credential::IdentityToken("tok".into())).unwrap();
    assert_eq!(keyring.find("r.example", "a").unwrap(), Some(password("me", "sec:ret")));
    assert_eq!(
        keyring.find("docker.io", "library/a").unwrap(),
        Some(Credential::IdentityToken("tok".into()))
    );
    let value: Value = serde_json::from_str(&fs::read_to_string(keyring.path()).unwrap()).unwrap();
    assert_eq!(value["psFormat"], "table");
    let keys: Vec<&String> = value["auths"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["https://index.docker.io/v1/", "r.example"]);
    assert_eq!(fs::metadata(keyring.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing but the file stays");

    assert!(keyring.erase("r.example").unwrap());
    assert!(!keyring.erase("r.example").unwrap());
    assert_eq!(keyring.find("r.example", "a").unwrap(), None);
    assert!(keyring.find("docker.io", "").unwrap().is_some());
}

#[test]
fn the_first_login_makes_folder_and_file() {
    let folder = Folder::new();
    let keyring = Keyring::at(folder.0.join("a/.docker/config.json"));
    keyring.store("r.example", &password("me", "x")).unwrap();
    assert_eq!(keyring.find("r.example", "").unwrap(), Some(password("me", "x")));
    assert_eq!(fs::metadata(folder.0.join("a/.docker")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_link_stays_a_link() {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("real")).unwrap();
    fs::write(folder.0.join("real/c.json"), "{}").unwrap();
    symlink("real/c.json", folder.0.join("config.json")).unwrap();
    let keyring = Keyring::at(folder.0.join("config.json"));
    keyring.store("r.example", &password("me", "x")).unwrap();
    assert!(fs::symlink_metadata(folder.0.join("config.json")).unwrap().is_symlink());
    assert!(fs::read_to_string(folder.0.join("real/c.json")).unwrap().contains("r.example"));
}

#[test]
fn many_logins_at_once_are_all_kept() {
    let folder = Folder::new();
    let keyring = Keyring::at(folder.0.join("config.json"));
    std::thread::scope(|scope| {
        for number in 0..16 {
            let keyring = &keyring;
            scope.spawn(move || keyring.store(&format!("r{number}.example"), &password("me", "x")).unwrap());
        }
    });
    for number in 0..16 {
        assert!(keyring.find(&format!("r{number}.example"), "").unwrap().is_some(), "{number}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?} {:?}", password("me", "secret"), Credential::IdentityToken("secret".into()));
    assert!(shown.contains("me") && !shown.contains("secret"), "{shown}");
}

#[test]
fn a_helper_that_is_missing_is_named() {
    let folder = Folder::new();
    let keyring =
        folder.keyring(r#"{"credHelpers": {"r.example": "minidocker-none"}, "credsStore": "../evil"}"#);
    let error = keyring.find("r.example", "").unwrap_err();
    assert_eq!(error.to_string(), "docker-credential-minidocker-none get: there is no such program");
    assert_eq!(
        error.hint().unwrap(),
        "install docker-credential-minidocker-none, or remove it from config.json"
    );
    let error = keyring.find("other.example", "").unwrap_err();
    assert_eq!(error.to_string(), "docker-credential-../evil get: no helper can have this name");
}
