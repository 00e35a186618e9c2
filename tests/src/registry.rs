//! A registry of the test's own, Debian's docker-registry on the loopback of a world, and the images that are in it.
//!
//! ```text
//! Registry::new(&world)             plain HTTP, nobody has to log in; ::with(&world, Kind { tls: true, .. })
//!   .name("app:1")     -> String    127.0.0.1:PORT/app:1
//!   .put("app:1", &image)  -> Put   writes blobs and manifest where the registry keeps them: also what it would refuse
//!   .put_index("app:2", &[…])       the same for an index of several platforms
//!   .kill(), .restart()             kill -9, and back at the same port
//!   .served()          -> Vec       what was asked of it: method, path, status, bytes
//! Tar::new().file("a", "x")…        a layer, byte for byte the same each time
//! Image::new(config).layer(tar)     what an image is made of
//! ```

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Call, World, need, scaled};

/// The name and the password of [`Kind::password`].
pub const LOGIN: (&str, &str) = ("me", "secret");

/// `me` with the password `secret`, as htpasswd -nbB makes it.
const HTPASSWD: &str = "me:$2y$04$hAEpgXERcXWNZy.wKJeQLeRat709VJKH45rioa.G/4JvfA0TGuYDa\n";

/// The OCI's kind of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// How a registry is to be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kind {
    /// With a certificate of an authority of its own: [`Registry::authority`].
    pub tls: bool,
    /// Only after [`LOGIN`].
    pub password: bool,
    /// Manifests and blobs can be removed.
    pub delete: bool,
}

/// A registry that runs in a world's network namespace. Dropped, it ends.
#[derive(Debug)]
pub struct Registry<'w> {
    world: &'w World,
    kind: Kind,
    folder: PathBuf,
    address: String,
    child: Option<Child>,
    /// How many logs there are: one for each start.
    logs: u32,
}

/// What somebody asked of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// `GET`.
    pub method: String,
    /// `/v2/app/manifests/1`.
    pub path: String,
    /// HTTP's number.
    pub status: u64,
    /// Bytes of the answer's body.
    pub bytes: u64,
}

impl<'w> Registry<'w> {
    /// One that speaks HTTP and asks nobody who they are.
    #[track_caller]
    pub fn new(world: &'w World) -> Self {
        Self::with(world, Kind::default())
    }

    /// Another one.
    #[track_caller]
    pub fn with(world: &'w World, kind: Kind) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = world.directory().join(format!("registry{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&folder).expect("our own directory");
        fs::write(folder.join("htpasswd"), HTPASSWD).expect("our own file");
        if kind.tls {
            certificates(&folder);
        }
        let mut this = Self { world, kind, folder, address: "127.0.0.1:0".into(), child: None, logs: 0 };
        this.restart();
        this
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of an image in it.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// The authority that signed its certificate, as a file.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Starts it, at the port where it was before, and returns when it listens.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        let folder = self.folder.display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage:\n  \
             filesystem: {{rootdirectory: {folder}/data}}\n  delete: {{enabled: {}}}\nhttp:\n  addr: {}\n  \
             secret: test\n",
            self.kind.delete, self.address
        );
        if self.kind.tls {
            config.push_str(&format!(
                "  tls:\n    certificate: {folder}/server.pem\n    key: {folder}/server.key\n"
            ));
        }
        if self.kind.password {
            config.push_str(&format!("auth:\n  htpasswd: {{realm: here, path: {folder}/htpasswd}}\n"));
        }
        let path = self.folder.join("config.yml");
        fs::write(&path, config).expect("our own file");
        self.logs += 1;
        let log = self.log(self.logs);
        let mut command = Command::new(need("docker-registry"));
        command.arg("serve").arg(&path).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&log).expect("our own file")).env_remove("OTEL_TRACES_EXPORTER");
        self.child = Some(self.world.start(command));
        let deadline = Instant::now() + scaled(Duration::from_secs(20));
        loop {
            let said = fs::read_to_string(&log).expect("our own file");
            let rest = said.split_once("listening on ").map(|(_, rest)| rest);
            if let Some(end) = rest.and_then(|rest| rest.find([',', '"'])) {
                self.address = rest.map(|rest| rest[..end].to_owned()).unwrap_or_default();
                return;
            }
            let ended = self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|s| s.is_some()));
            assert!(!ended && Instant::now() < deadline, "the registry does not start:\n{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log(&self, number: u32) -> PathBuf {
        self.folder.join(format!("log{number}"))
    }

    /// Every request that was answered so far, the first first.
    pub fn served(&self) -> Vec<Served> {
        let mut all = Vec::new();
        for number in 1..=self.logs {
            let log = fs::read_to_string(self.log(number)).unwrap_or_default();
            for line in log.lines() {
                let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
                if value["msg"] != "response completed" {
                    continue;
                }
                let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                let number = |name: &str| value[name].as_u64().unwrap_or_default();
                all.push(Served {
                    method: text("http.request.method"),
                    path: text("http.request.uri"),
                    status: number("http.response.status"),
                    bytes: number("http.response.written"),
                });
            }
        }
        all
    }

    /// Where it keeps a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.folder.join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    fn repository(&self, repository: &str) -> PathBuf {
        self.folder.join("data/docker/registry/v2/repositories").join(repository)
    }

    /// Puts an image there under `REPOSITORY:TAG`.
    pub fn put(&self, name: &str, image: &Image) -> Put {
        let (repository, tag) = name.split_once(':').expect("a name and a tag");
        let put = self.put_untagged(repository, image);
        self.tag(repository, tag, &put.manifest);
        put
    }

    fn put_untagged(&self, repository: &str, image: &Image) -> Put {
        let layers: Vec<PutLayer> =
            image.layers.iter().map(|layer| self.put_layer(repository, layer)).collect();
        let mut config = image.config.clone();
        config["rootfs"] = json!({
            "type": "layers", "diff_ids": layers.iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>(),
        });
        let config = self.put_blob(repository, config.to_string().as_bytes());
        let descriptors: Vec<Value> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": descriptors,
            "config": {"mediaType": CONFIG, "digest": config.0, "size": config.1},
        });
        let manifest = self.put_manifest(repository, &manifest);
        Put { manifest, id: config.0, layers, platform: image.platform() }
    }

    /// Puts an index of images there, each for the platform that its configuration names; the index's digest.
    pub fn put_index(&self, name: &str, images: &[&Image]) -> (String, Vec<Put>) {
        let (repository, tag) = name.split_once(':').expect("a name and a tag");
        let all: Vec<Put> = images.iter().map(|image| self.put_untagged(repository, image)).collect();
        let entry = |put: &Put| {
            let size = fs::metadata(self.blob(&put.manifest)).expect("our own file").len();
            let (os, architecture) = put.platform.split_once('/').expect("a platform");
            let platform = json!({"os": os, "architecture": architecture});
            json!({"mediaType": MANIFEST, "digest": put.manifest, "size": size, "platform": platform})
        };
        let entries: Vec<Value> = all.iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        let digest = self.put_manifest(repository, &index);
        self.tag(repository, tag, &digest);
        (digest, all)
    }

    /// Puts any manifest there, unasked whether it makes sense; its digest.
    pub fn put_manifest(&self, repository: &str, manifest: &Value) -> String {
        let digest = self.put_blob(repository, manifest.to_string().as_bytes()).0;
        let hex = digest.trim_start_matches("sha256:");
        link(&self.repository(repository).join(format!("_manifests/revisions/sha256/{hex}/link")), &digest);
        digest
    }

    /// Gives a manifest a name.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        let tags = self.repository(repository).join(format!("_manifests/tags/{tag}"));
        link(&tags.join("current/link"), digest);
        let hex = digest.trim_start_matches("sha256:");
        link(&tags.join(format!("index/sha256/{hex}/link")), digest);
    }

    /// The manifest of a digest.
    pub fn manifest(&self, digest: &str) -> Value {
        let bytes = fs::read(self.blob(digest)).expect("a manifest of the registry");
        serde_json::from_slice(&bytes).expect("a manifest")
    }

    fn put_layer(&self, repository: &str, layer: &Layer) -> PutLayer {
        let diff_id = digest(&layer.tar);
        let (bytes, kind) = match layer.packing {
            Packing::None => (layer.tar.clone(), LAYER.to_owned()),
            Packing::Gzip => (filter(&["gzip", "-nc1"], &layer.tar), format!("{LAYER}+gzip")),
            Packing::Zstd => (filter(&["zstd", "-qc"], &layer.tar), format!("{LAYER}+zstd")),
        };
        let (digest, size) = self.put_blob(repository, &bytes);
        PutLayer {
            diff_id,
            descriptor: json!({"mediaType": kind, "digest": digest, "size": size}),
            digest,
            size,
        }
    }

    /// Puts a blob there; its digest and size.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> (String, u64) {
        let digest = digest(bytes);
        let path = self.blob(&digest);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("our own directory");
        fs::write(&path, bytes).expect("our own file");
        let hex = digest.trim_start_matches("sha256:");
        link(&self.repository(repository).join(format!("_layers/sha256/{hex}/link")), &digest);
        (digest, bytes.len() as u64)
    }
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

fn link(path: &Path, digest: &str) {
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("our own directory");
    fs::write(path, digest).expect("our own file");
}

/// An image as it is in a registry.
#[derive(Debug, Clone)]
pub struct Put {
    /// The manifest's digest.
    pub manifest: String,
    /// The configuration's digest.
    pub id: String,
    /// The lowest first.
    pub layers: Vec<PutLayer>,
    /// `linux/amd64`.
    pub platform: String,
}

impl Put {
    /// The first digits of the id.
    pub fn short_id(&self) -> String {
        self.id["sha256:".len()..][..12].to_owned()
    }
}

/// A layer as it is in a registry.
#[derive(Debug, Clone)]
pub struct PutLayer {
    /// Of its tar stream.
    pub diff_id: String,
    /// Of its blob.
    pub digest: String,
    /// Of its blob, in bytes.
    pub size: u64,
    /// What a manifest says of it.
    pub descriptor: Value,
}

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// By gzip(1).
    Gzip,
    /// By zstd(1).
    Zstd,
}

#[derive(Debug, Clone)]
struct Layer {
    tar: Vec<u8>,
    packing: Packing,
}

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Image {
    config: Value,
    layers: Vec<Layer>,
}

impl Image {
    /// One for this machine, with this `config` (`Cmd`, `Env` and so on), made at the beginning of 2024.
    pub fn new(config: Value) -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": config, "created": "2024-01-01T00:00:00Z",
        });
        Self { config, layers: Vec::new() }
    }

    /// One with the reporter as /inside, which answers `facts` unless something else is asked for.
    pub fn inside(world: &World) -> Self {
        let program = fs::read(world.inside_path()).expect("the reporter");
        let base = Tar::new().directory("tmp").program("inside", &program);
        Self::new(json!({"Cmd": ["/inside", "facts"]})).layer(base)
    }

    /// One with busybox and a few of its names.
    pub fn busybox() -> Self {
        let program = fs::read(need("busybox")).expect("busybox");
        let names = ["cat", "echo", "env", "id", "ls", "pwd", "sh", "sleep", "stat", "true", "wc"];
        let base = Tar::new().directory("bin").program("bin/busybox", &program);
        let base = names.iter().fold(base, |base, name| base.link(&format!("bin/{name}"), "busybox"));
        let base = base.directory("etc").directory("tmp").file("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        Self::new(json!({"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]})).layer(base)
    }

    /// Sets a member of the configuration: `created`, `architecture`, `history`.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.config[name] = value;
        self
    }

    /// Sets a member of the configuration's `config`: `Cmd`, `User`.
    #[must_use]
    pub fn set(mut self, name: &str, value: Value) -> Self {
        self.config["config"][name] = value;
        self
    }

    /// One more layer above those that are there, packed by gzip.
    #[must_use]
    pub fn layer(self, tar: Tar) -> Self {
        self.packed(tar, Packing::Gzip)
    }

    /// One more layer above those that are there.
    #[must_use]
    pub fn packed(mut self, tar: Tar, packing: Packing) -> Self {
        self.layers.push(Layer { tar: tar.finish(), packing });
        self
    }

    fn platform(&self) -> String {
        let text = |name: &str| self.config[name].as_str().unwrap_or_default();
        format!("{}/{}", text("os"), text("architecture"))
    }
}

/// A tar archive: ustar, all of root, all of the beginning of 2024.
#[derive(Debug, Clone, Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file of mode 0644.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(name, b'0', 0o644, "", content.as_ref())
    }

    /// A file of mode 0755.
    #[must_use]
    pub fn program(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(name, b'0', 0o755, "", content.as_ref())
    }

    /// A directory of mode 0755.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.entry(name, b'5', 0o755, "", &[])
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, name: &str, target: &str) -> Self {
        self.entry(name, b'2', 0o777, target, &[])
    }

    /// A second name of a file.
    #[must_use]
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name, b'1', 0o644, target, &[])
    }

    /// What hides `name` of the layers below.
    #[must_use]
    pub fn whiteout(self, name: &str) -> Self {
        let path = Path::new(name);
        let last = path.file_name().expect("a name").to_string_lossy();
        let hidden = path.with_file_name(format!(".wh.{last}"));
        self.file(hidden.to_str().expect("text"), "")
    }

    /// What hides everything in the directory `name` of the layers below.
    #[must_use]
    pub fn opaque(self, name: &str) -> Self {
        self.directory(name).file(&format!("{name}/.wh..wh..opq"), "")
    }

    fn entry(mut self, name: &str, kind: u8, mode: u32, target: &str, content: &[u8]) -> Self {
        const TIME: u64 = 1_704_067_200;
        assert!(name.len() <= 100 && target.len() <= 100, "{name}: too long for this writer");
        let mut header = [0; 512];
        let mut set = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        set(0, name);
        set(100, &format!("{mode:07o}"));
        set(108, "0000000");
        set(116, "0000000");
        set(124, &format!("{:011o}", content.len()));
        set(136, &format!("{TIME:011o}"));
        set(148, "        ");
        set(157, target);
        set(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

/// So many bytes that do not compress, the same for the same seed (xorshift).
pub fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// `sha256:…` of some bytes, by sha256sum(1): not by what is tested.
pub fn digest(bytes: &[u8]) -> String {
    let said = filter(&["sha256sum"], bytes);
    format!("sha256:{}", String::from_utf8_lossy(&said[..64]))
}

/// What a program makes of some bytes.
fn filter(words: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new(need(words[0]));
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("start {}: {error}", words[0]));
    let mut input = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).expect("a program that reads"));
        let output = child.wait_with_output().expect("our own child");
        assert!(output.status.success(), "{words:?} ended with {}", output.status);
        output.stdout
    })
}

impl World {
    /// `minidocker WORDS` for registries: with an empty home, without proxies, with `settings` as the file
    /// `registries.toml`.
    #[track_caller]
    pub fn registries<W: AsRef<str>>(&self, settings: &str, words: impl IntoIterator<Item = W>) -> Call<'_> {
        let file = self.directory().join("registries.toml");
        if fs::read_to_string(&file).ok().as_deref() != Some(settings) {
            fs::write(&file, settings).expect("our own file");
        }
        let text = |path: &Path| path.to_str().expect("our own names are text").to_owned();
        let call = self.call(words).env("MINIDOCKER_REGISTRIES", &text(&file));
        let call = call.env("DOCKER_CONFIG", &text(&self.directory().join("docker-config")));
        ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "REGISTRY_AUTH_FILE"]
            .into_iter()
            .fold(call, Call::without_env)
    }

    /// The same with settings that try again soon.
    #[track_caller]
    pub fn images<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Call<'_> {
        self.registries("attempts = 3\n", words)
    }
}

/// An authority, and what it signed for the server.
fn certificates(folder: &Path) {
    let make = |words: &[&str]| {
        let output = Command::new(need("openssl"))
            .args(["req", "-x509", "-days", "2", "-nodes", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(words)
            .current_dir(folder)
            .output()
            .expect("run openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for name in ["ca", "other"] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        make(&["-subj", "/CN=test authority", "-keyout", &key, "-out", &certificate]);
    }
    let signed = ["-subj", "/CN=server", "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "server.key"];
    let names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
    make(&[&signed[..], &names, &["-out", "server.pem"]].concat());
}
