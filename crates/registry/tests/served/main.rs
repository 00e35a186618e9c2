//! The client against a real registry: Debian's docker-registry, with and without TLS and passwords.

#![forbid(unsafe_code)]

mod server;

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oci::image::{Descriptor, MediaType};
use oci::{Digest, Mismatch, Platform, Reference, Verified};
use registry::{Client, Credential, Error, HostSettings, Keyring, Pushed, Settings, Source, login};

use server::{Kind, Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn settings() -> Settings {
    Settings { first_pause: Duration::from_millis(20), ..Settings::default() }
}

fn client(server: &Server) -> Client {
    Client::new(&server.name, Arc::new(settings())).unwrap()
}

fn with_entry(server: &Server, entry: HostSettings) -> Client {
    let hosts = [(server.name.clone(), entry)].into();
    Client::new(&server.name, Arc::new(Settings { hosts, ..settings() })).unwrap()
}

fn bytes(count: usize, seed: u32) -> Vec<u8> {
    let word =
        |number: u32| (number ^ seed).wrapping_mul(2_654_435_761).rotate_left(number % 31).to_le_bytes();
    (0..count as u32 / 4 + 1).flat_map(word).take(count).collect()
}

fn descriptor(kind: MediaType, content: &[u8]) -> Descriptor {
    Descriptor::new(kind, content.len() as u64, Digest::of(content))
}

fn name(server: &Server, rest: &str) -> Reference {
    format!("{}/{rest}", server.name).parse().unwrap()
}

/// Pushes an image of these layers; its manifest's digest.
fn push(client: &Client, reference: &Reference, layers: &[Vec<u8>]) -> Digest {
    let repository = reference.repository();
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
    let config_descriptor = descriptor(MediaType::ImageConfig, &config);
    client.push_blob(repository, &config_descriptor, &config, None, &mut ()).unwrap();
    let mut list = Vec::new();
    for layer in layers {
        let descriptor = descriptor(MediaType::ImageLayerGzip, layer);
        client.push_blob(repository, &descriptor, layer, None, &mut ()).unwrap();
        list.push(descriptor);
    }
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config_descriptor, "layers": list,
    });
    client.push_manifest(reference, MANIFEST, manifest.to_string().as_bytes()).unwrap()
}

/// Pulls all layers, each in a thread, and checks them.
fn pull(client: &Client, reference: &Reference) -> Vec<Vec<u8>> {
    let (_, image) = client.image(reference, &Platform::host()).unwrap();
    let layers = registry::layers(&image).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = layers
            .iter()
            .map(|layer| {
                scope.spawn(|| {
                    let blob = client.blob(reference.repository(), layer.descriptor, 0).unwrap();
                    let mut content = Vec::new();
                    Verified::new(blob, layer.digest, layer.descriptor.size())
                        .read_to_end(&mut content)
                        .unwrap();
                    content
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn an_image_goes_up_and_comes_back() {
    let server = Server::start(Kind::default());
    let client = client(&server);
    client.ping().unwrap();
    let layers: Vec<Vec<u8>> = (0..3).map(|seed| bytes(300_000, seed)).collect();
    let image = name(&server, "team/app:1");
    let digest = push(&client, &image, &layers);
    assert!(pull(&client, &image) == layers);
    assert_eq!(client.digest(&image).unwrap(), Some(digest));
    assert_eq!(client.digest(&name(&server, "team/app:2")).unwrap(), None);
    assert_eq!(client.manifest(&image.at(digest)).unwrap().digest, digest);
    push(&client, &name(&server, "team/app:3"), &layers);
    let mut tags = client.tags("team/app").unwrap();
    tags.sort();
    assert_eq!(tags, ["1", "3"]);

    let layer = descriptor(MediaType::ImageLayerGzip, &layers[0]);
    let push_to = |repository: &str, from: Option<&str>| {
        client.push_blob(repository, &layer, &layers[0], from, &mut ()).unwrap()
    };
    assert_eq!(push_to("team/app", None), Pushed::Present);
    assert_eq!(push_to("other", Some("team/app")), Pushed::Mounted);
    assert!(client.has_blob("other", Digest::of(&layers[0])).unwrap());
    assert!(!client.has_blob("third", Digest::of(&layers[0])).unwrap());

    client.delete_manifest(&image.at(digest)).unwrap();
    assert_eq!(client.digest(&image).unwrap(), None);
    assert!(matches!(client.manifest(&image), Err(Error::NotFound { .. })));
    assert!(matches!(client.tags("nothing"), Err(Error::NotFound { .. })));
    client.delete_blob("other", Digest::of(&layers[0])).unwrap();
    assert!(!client.has_blob("other", Digest::of(&layers[0])).unwrap());
}

#[test]
fn a_pull_goes_on_after_the_server_was_killed() {
    let mut server = Server::start(Kind::default());
    let client = client(&server);
    // More than what two sockets hold.
    let layer = bytes(64 << 20, 7);
    let layer_descriptor = descriptor(MediaType::ImageLayerGzip, &layer);
    client.push_blob("app", &layer_descriptor, &layer, None, &mut ()).unwrap();
    let blob = client.blob("app", &layer_descriptor, 0).unwrap();
    let mut reader = Verified::new(blob, Digest::of(&layer), layer.len() as u64);
    let mut content = vec![0; 1 << 20];
    reader.read_exact(&mut content).unwrap();
    server.kill();
    server.run();
    reader.read_to_end(&mut content).unwrap();
    assert!(content == layer);
    assert_eq!((reader.get_ref().resumed(), reader.get_ref().discarded()), (1, 0));
}

#[test]
fn a_pull_waits_for_a_server_that_comes_back() {
    let mut server = Server::start(Kind::default());
    let patient = Settings { attempts: 40, first_pause: Duration::from_millis(50), ..settings() };
    let client = Client::new(&server.name, Arc::new(patient)).unwrap();
    let layer = bytes(64 << 20, 8);
    let layer_descriptor = descriptor(MediaType::ImageLayerGzip, &layer);
    client.push_blob("app", &layer_descriptor, &layer, None, &mut ()).unwrap();
    let blob = client.blob("app", &layer_descriptor, 0).unwrap();
    let mut reader = Verified::new(blob, Digest::of(&layer), layer.len() as u64);
    let mut content = vec![0; 1 << 20];
    reader.read_exact(&mut content).unwrap();
    server.kill();
    std::thread::scope(|scope| {
        scope.spawn(|| server.run());
        reader.read_to_end(&mut content).unwrap();
    });
    assert!(content == layer);
    assert!(reader.get_ref().resumed() >= 1);
}

/// Kills the registry and starts it anew when half of it was read, once.
struct Killing<'a> {
    content: &'a [u8],
    server: &'a Mutex<Server>,
    done: Mutex<bool>,
}

struct Half<'a>(&'a Killing<'a>, usize);

impl Source for Killing<'_> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Half(self, offset as usize)))
    }
}

impl Read for Half<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = self.0.done.lock().unwrap();
        if self.1 > self.0.content.len() / 2 && !*done {
            *done = true;
            let mut server = self.0.server.lock().unwrap();
            server.kill();
            server.run();
        }
        let count = (&self.0.content[self.1..]).read(buffer)?;
        self.1 += count;
        Ok(count)
    }
}

#[test]
fn a_push_survives_the_servers_death() {
    for chunk_size in [None, Some(3 << 20)] {
        let server = Mutex::new(Server::start(Kind::default()));
        let registry = server.lock().unwrap().name.clone();
        let client = Client::new(&registry, Arc::new(Settings { chunk_size, ..settings() })).unwrap();
        let layer = bytes(32 << 20, 9);
        let source = Killing { content: &layer, server: &server, done: Mutex::new(false) };
        let layer_descriptor = descriptor(MediaType::ImageLayerGzip, &layer);
        let pushed = client.push_blob("app", &layer_descriptor, &source, None, &mut ()).unwrap();
        assert_eq!(pushed, Pushed::Uploaded);
        assert!(*source.done.lock().unwrap());
        let kept = fs::read(server.lock().unwrap().blob(Digest::of(&layer))).unwrap();
        assert!(kept == layer, "{chunk_size:?}");
    }
}

#[test]
fn a_blob_goes_up_in_pieces_from_a_file() {
    let server = Server::start(Kind::default());
    let settings = Settings { chunk_size: Some(1_000_000), ..settings() };
    let client = Client::new(&server.name, Arc::new(settings)).unwrap();
    let layer = bytes(4_500_000, 3);
    let file = server.file("layer");
    fs::write(&file, &layer).unwrap();
    let layer_descriptor = descriptor(MediaType::ImageLayerGzip, &layer);
    let mut told = Vec::new();
    client.push_blob("app", &layer_descriptor, &file, None, &mut |bytes| told.push(bytes)).unwrap();
    assert!(fs::read(server.blob(Digest::of(&layer))).unwrap() == layer);
    assert_eq!(told.last(), Some(&4_500_000));
}

#[test]
fn eight_pull_the_same_image_at_once() {
    let server = Server::start(Kind { password: true, ..Kind::default() });
    let credential = Credential::Password { user: "me".into(), secret: "secret".into() };
    let client = Client::with_credential(&server.name, Arc::new(settings()), credential).unwrap();
    let layers: Vec<Vec<u8>> = (0..5).map(|seed| bytes(2_000_000, seed)).collect();
    let image = name(&server, "app:1");
    push(&client, &image, &layers);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(pull(&client, &image) == layers));
        }
    });
}

#[test]
fn content_that_was_changed_on_the_server_is_found_out() {
    let server = Server::start(Kind::default());
    let client = client(&server);
    let layer = bytes(100_000, 1);
    let image = name(&server, "app:1");
    let digest = push(&client, &image, std::slice::from_ref(&layer));
    let mut changed = layer.clone();
    changed[99_999] ^= 1;
    fs::write(server.blob(Digest::of(&layer)), &changed).unwrap();
    let layer_descriptor = descriptor(MediaType::ImageLayerGzip, &layer);
    let blob = client.blob("app", &layer_descriptor, 0).unwrap();
    let error = Verified::new(blob, Digest::of(&layer), 100_000).read_to_end(&mut Vec::new()).unwrap_err();
    let mismatch = error.get_ref().and_then(|inner| inner.downcast_ref::<Mismatch>());
    let expected = Mismatch::Other { digest: Digest::of(&layer), found: Digest::of(&changed) };
    assert_eq!(mismatch, Some(&expected));

    let text = fs::read_to_string(server.blob(digest)).unwrap();
    fs::write(server.blob(digest), text.replace("schemaVersion", "schemaversion")).unwrap();
    let error = client.manifest(&image).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");

    let error = client
        .push_blob(
            "app",
            &descriptor(MediaType::ImageLayerGzip, b"promised"),
            &b"content!".to_vec(),
            None,
            &mut (),
        )
        .unwrap_err();
    assert!(matches!(&error, Error::Status { status: 400, .. }), "{error}");
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
}

#[test]
fn a_password_is_needed_where_it_is() {
    let server = Server::start(Kind { password: true, ..Kind::default() });
    let error = client(&server).ping().unwrap_err();
    let hint = format!("check the name; if it is private: minidocker login {}", server.name);
    assert_eq!((matches!(error, Error::Denied { user: None, .. }), error.hint()), (true, Some(hint)));
    let path = server.file("docker/config.json");
    let settings = Arc::new(Settings { keyring: Some(Keyring::at(&path)), ..settings() });
    let credential = |secret: &str| Credential::Password { user: "me".into(), secret: secret.into() };
    let error = login(&settings, &server.name, &credential("wrong")).unwrap_err();
    assert!(matches!(&error, Error::Denied { user: Some(user), .. } if user == "me"), "{error}");
    assert!(!path.exists());
    login(&settings, &server.name, &credential("secret")).unwrap();
    let client = Client::new(&server.name, settings).unwrap();
    let image = name(&server, "app:1");
    push(&client, &image, &[bytes(1000, 1)]);
    assert!(pull(&client, &image) == [bytes(1000, 1)]);
}

#[test]
fn certificates_are_checked_where_somebody_says_by_what() {
    let server = Server::start(Kind { tls: true, ..Kind::default() });
    // This machine itself is taken at its word.
    client(&server).ping().unwrap();
    let entry = |name: &str| HostSettings { ca: vec![server.file(name)], ..HostSettings::default() };
    let client = with_entry(&server, entry("ca.pem"));
    let image = name(&server, "app:1");
    push(&client, &image, &[bytes(3_000_000, 1)]);
    assert!(pull(&client, &image) == [bytes(3_000_000, 1)]);

    let error = with_entry(&server, entry("other.pem")).ping().unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("cannot log in: its certificate is not to be trusted: "), "{text}");
    assert!(error.hint().unwrap().contains("/etc/docker/certs.d/127.0.0.1:"));
    let error = with_entry(&server, entry("none.pem")).ping().unwrap_err().to_string();
    assert!(error.ends_with("none.pem: no such file or directory"), "{error}");
    let error = with_entry(&server, entry("htpasswd")).ping().unwrap_err().to_string();
    assert!(error.ends_with("htpasswd: no certificate in PEM form"), "{error}");
}

#[test]
fn dockers_folders_of_certificates_count() {
    let server = Server::start(Kind { tls: true, clients: true, ..Kind::default() });
    let folder = server.file("certs.d").join(&server.name);
    fs::create_dir_all(&folder).unwrap();
    let with_folder = || {
        let certificate_folders = vec![server.file("certs.d")];
        Client::new(&server.name, Arc::new(Settings { certificate_folders, attempts: 1, ..settings() }))
            .unwrap()
    };
    let copy = |from: &str, to: &str| fs::copy(server.file(from), folder.join(to)).unwrap();
    copy("ca.pem", "ca.crt");
    let error = with_folder().ping().unwrap_err();
    assert!(matches!(error, Error::Tls { .. } | Error::Unreachable { .. } | Error::Answer { .. }), "{error}");
    copy("client.pem", "client.cert");
    copy("client.key", "client.key");
    with_folder().ping().unwrap();
    // A key that does not belong to it is told, not a panic.
    copy("other.key", "client.key");
    let error = with_folder().ping().unwrap_err().to_string();
    assert!(error.contains("client.cert: "), "{error}");
    copy("other.pem", "ca.crt");
    copy("client.key", "client.key");
}

#[test]
fn what_refers_to_an_image_is_kept_in_a_tag() {
    let server = Server::start(Kind::default());
    let client = client(&server);
    let image = name(&server, "app:1");
    let subject = push(&client, &image, &[bytes(1000, 1)]);
    assert_eq!(client.referrers("app", subject, None).unwrap().len(), 0);
    let empty = descriptor(MediaType::EmptyJSON, b"{}");
    client.push_blob("app", &empty, &b"{}".to_vec(), None, &mut ()).unwrap();
    let signature = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "text/signature", "config": empty, "layers": [empty],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1},
    });
    let signature = signature.to_string();
    let digest = Digest::of(signature.as_bytes());
    client.push_manifest(&image.at(digest), MANIFEST, signature.as_bytes()).unwrap();
    let list = client.referrers("app", subject, Some("text/signature")).unwrap();
    assert_eq!((list.len(), list[0].digest().as_ref()), (1, digest.to_string().as_str()));
}

#[test]
fn nothing_is_left_of_a_server() {
    let mut server = Server::start(Kind::default());
    let folder = server.folder.clone();
    server.kill();
    let error = Client::new(&server.name, Arc::new(Settings { attempts: 1, ..settings() })).unwrap().ping();
    assert!(matches!(error, Err(Error::Unreachable { .. })));
    drop(server);
    assert!(!Path::new(&folder).exists());
}
