//! Debian's docker-registry as a process of the test: its own folder, a port of its own, ended with it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// `me` with the password `secret`, as htpasswd -nbB makes it.
const HTPASSWD: &str = "me:$2y$04$hAEpgXERcXWNZy.wKJeQLeRat709VJKH45rioa.G/4JvfA0TGuYDa\n";

/// How it is to be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) tls: bool,
    pub(crate) password: bool,
    /// Only for clients with a certificate.
    pub(crate) clients: bool,
}

/// A registry that runs.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    kind: Kind,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("minidocker-registry-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("htpasswd"), HTPASSWD).unwrap();
        if kind.tls {
            certificates(&folder);
        }
        let mut server = Self { name: "127.0.0.1:0".into(), folder, kind, child: None };
        server.run();
        server
    }

    /// Starts it where it was before, and returns when it listens.
    pub(crate) fn run(&mut self) {
        let folder = self.folder.display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage:\n  filesystem: {{rootdirectory: {folder}/data}}\n  \
             delete: {{enabled: true}}\nhttp:\n  addr: {}\n  secret: test\n",
            self.name
        );
        if self.kind.tls {
            config.push_str(&format!(
                "  tls:\n    certificate: {folder}/server.pem\n    key: {folder}/server.key\n"
            ));
            if self.kind.clients {
                config.push_str(&format!("    clientcas: [{folder}/ca.pem]\n"));
            }
        }
        if self.kind.password {
            config.push_str(&format!("auth:\n  htpasswd: {{realm: here, path: {folder}/htpasswd}}\n"));
        }
        let path = self.folder.join("config.yml");
        fs::write(&path, config).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .env_remove("OTEL_TRACES_EXPORTER")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is needed: cargo xtask setup");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        self.child = Some(child);
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the registry ended:\n{said}");
            if let Some((_, rest)) = line.split_once("listening on ") {
                self.name = rest.split([',', '"']).next().unwrap().to_owned();
                break;
            }
            said.push_str(&line);
        }
        // It must never wait for somebody to read its log.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Where it keeps a blob.
    pub(crate) fn blob(&self, digest: oci::Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder.join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// An authority, and what it signed for the server and for a client. Another authority, that signed nothing.
fn certificates(folder: &Path) {
    let authority = |name: &str| {
        openssl(
            folder,
            &[
                "-x509",
                "-days",
                "2",
                "-subj",
                "/CN=test authority",
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.pem"),
            ],
        );
    };
    authority("ca");
    authority("other");
    for (name, more) in
        [("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"), ("client", "extendedKeyUsage=clientAuth")]
    {
        openssl(
            folder,
            &[
                "-x509",
                "-days",
                "2",
                "-subj",
                &format!("/CN={name}"),
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-addext",
                more,
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.pem"),
            ],
        );
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(["req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl is needed: cargo xtask setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
