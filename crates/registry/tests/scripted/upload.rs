//! Blobs on their way up, with all that can happen to them.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use oci::Digest;
use registry::{Client, Error, Pushed, Source};

use crate::server::{Reply, Request, Server};
use crate::{bytes, client, descriptor, settings_of};

/// A registry that takes blobs, and fails as `fails` says: a reply instead of its own, after what came was kept.
fn taking(fails: impl Fn(&Request, u32) -> Option<Reply> + Send + Sync + 'static) -> (Server, Kept) {
    let kept: Kept = Arc::default();
    let state = Arc::clone(&kept);
    let number = AtomicU32::new(0);
    let server = Server::new(move |request| {
        let number = number.fetch_add(1, Ordering::SeqCst);
        let mut kept = state.lock().unwrap();
        let reply = answer(request, &mut kept);
        fails(request, number).unwrap_or(reply)
    });
    (server, kept)
}

/// Blobs by digest, and the upload under way by `upload`.
type Kept = Arc<Mutex<HashMap<String, Vec<u8>>>>;

fn answer(request: &Request, kept: &mut HashMap<String, Vec<u8>>) -> Reply {
    let so_far = |kept: &HashMap<String, Vec<u8>>| {
        let length = kept["upload"].len();
        Reply::new(0)
            .header("Location", "/v2/app/blobs/uploads/1?state=x")
            .header("Range", format!("0-{}", length.max(1) - 1))
    };
    match (request.method.as_str(), request.path.as_str()) {
        ("HEAD", path) => {
            let there = kept.contains_key(path.rsplit('/').next().unwrap());
            Reply::new(if there { 200 } else { 404 })
        }
        ("POST", _) => {
            kept.insert("upload".into(), Vec::new());
            so_far(kept).status(202)
        }
        ("GET", _) => so_far(kept).status(204),
        ("PATCH", _) => {
            let upload = kept.get_mut("upload").unwrap();
            let start: usize =
                request.header("content-range").unwrap().split('-').next().unwrap().parse().unwrap();
            if start != upload.len() {
                return so_far(kept).status(416);
            }
            upload.extend(&request.body);
            so_far(kept).status(202)
        }
        ("PUT", path) => {
            let upload = kept.get_mut("upload").unwrap();
            upload.extend(&request.body);
            let digest = path.split_once("digest=").unwrap().1.replace("%3A", ":");
            if Digest::of(upload).to_string() != digest {
                return Reply::new(400)
                    .body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}"#);
            }
            let content = upload.clone();
            kept.insert(digest, content);
            Reply::new(201)
        }
        _ => Reply::new(405),
    }
}

fn push(client: &Client, content: &[u8]) -> Result<Pushed, Error> {
    client.push_blob("app", &descriptor(content), &content, None, &mut ())
}

#[test]
fn a_blob_goes_up_in_one_request() {
    let content = bytes(300_000);
    let (server, kept) = taking(|_, _| None);
    let mut told = Vec::new();
    let pushed = client(&server)
        .push_blob("app", &descriptor(&content), &content, None, &mut |bytes| told.push(bytes))
        .unwrap();
    let digest = Digest::of(&content);
    assert_eq!(pushed, Pushed::Uploaded);
    assert!(kept.lock().unwrap()[&digest.to_string()] == content);
    assert_eq!(
        server.lines(),
        [
            format!("HEAD /v2/app/blobs/{digest}"),
            "POST /v2/app/blobs/uploads/".into(),
            format!("PUT /v2/app/blobs/uploads/1?state=x&digest=sha256%3A{}", digest.hex()),
        ]
    );
    assert_eq!(told.last(), Some(&300_000));
    assert!(told.is_sorted());

    assert_eq!(push(&client(&server), &content).unwrap(), Pushed::Present);
    assert_eq!(push(&client(&server), &Vec::new()).unwrap(), Pushed::Uploaded);
}

#[test]
fn a_blob_goes_up_in_pieces() {
    let content = bytes(250_000);
    let (server, kept) = taking(|_, _| None);
    let client = Client::new(&server.name, Arc::new(settings_of("chunk-size = 100000"))).unwrap();
    push(&client, &content).unwrap();
    assert!(kept.lock().unwrap()[&Digest::of(&content).to_string()] == content);
    let pieces: Vec<(String, usize)> = server
        .log()
        .iter()
        .filter(|request| request.method == "PATCH")
        .map(|request| (request.header("content-range").unwrap().to_owned(), request.body.len()))
        .collect();
    let expected = [("0-99999", 100_000), ("100000-199999", 100_000), ("200000-249999", 50_000)];
    assert_eq!(pieces, expected.map(|(range, length)| (range.to_owned(), length)));
}

#[test]
fn an_upload_goes_on_where_the_registry_is() {
    let content = bytes(250_000);
    // The second piece is kept and its answer lost; then the registry is away for a moment.
    let (server, kept) = taking(|request, number| match number {
        3 => Some(Reply::gone()),
        4 if request.method == "GET" => Some(Reply::new(503)),
        _ => None,
    });
    let client = Client::new(&server.name, Arc::new(settings_of("chunk-size = 100000"))).unwrap();
    push(&client, &content).unwrap();
    assert!(kept.lock().unwrap()[&Digest::of(&content).to_string()] == content);
    let log = server.log();
    assert_eq!(log.iter().filter(|request| request.method == "POST").count(), 1);
}

#[test]
fn an_upload_that_is_lost_starts_anew() {
    let content = bytes(250_000);
    let (server, kept) = taking(|_, number| match number {
        2 => Some(Reply::new(500)),
        3 => Some(Reply::new(404)),
        _ => None,
    });
    push(&client(&server), &content).unwrap();
    assert!(kept.lock().unwrap()[&Digest::of(&content).to_string()] == content);
    let methods: Vec<String> = server.log().iter().map(|request| request.method.clone()).collect();
    assert_eq!(methods, ["HEAD", "POST", "PUT", "GET", "POST", "PUT"]);
}

#[test]
fn an_upload_that_is_refused_is_told() {
    let content = bytes(1000);
    let (server, _) = taking(|request, _| (request.method == "PUT").then(|| Reply::new(403)));
    let error = push(&client(&server), &content).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    let (server, _) = taking(|request, _| (request.method == "PUT").then(|| Reply::new(500)));
    let error = push(&client(&server), &content).unwrap_err();
    assert!(matches!(error, Error::Status { status: 500, .. }), "{error}");
    let puts = server.log().iter().filter(|request| request.method == "PUT").count();
    assert_eq!(puts, 3);
}

#[test]
fn content_that_is_another_is_refused_by_the_registry() {
    let content = bytes(1000);
    let (server, _) = taking(|_, _| None);
    let mut other = content.clone();
    other[0] ^= 1;
    let error = client(&server).push_blob("app", &descriptor(&content), &other, None, &mut ()).unwrap_err();
    assert!(error.to_string().ends_with("it answered 400: wrong digest (DIGEST_INVALID)"), "{error}");
}

/// Ends too early, or cannot be read.
struct Broken(bool);

impl Source for Broken {
    fn open(&self, _: u64) -> io::Result<Box<dyn Read + '_>> {
        match self.0 {
            true => Err(io::Error::from_raw_os_error(2)),
            false => Ok(Box::new(&b"short"[..])),
        }
    }
}

#[test]
fn a_source_that_fails_is_told_as_it_is() {
    let (server, _) = taking(|_, _| None);
    let content = descriptor(&bytes(1000));
    for (broken, words) in
        [(false, "the content is shorter than its descriptor says"), (true, "no such file or directory")]
    {
        let error = client(&server).push_blob("app", &content, &Broken(broken), None, &mut ()).unwrap_err();
        assert!(matches!(error, Error::Source { .. }), "{error}");
        assert!(error.to_string().ends_with(words), "{error}");
    }
}

#[test]
fn a_blob_is_mounted_where_it_can_be() {
    let content = bytes(1000);
    let digest = Digest::of(&content);
    let from =
        |client: &Client| client.push_blob("app", &descriptor(&content), &content, Some("other"), &mut ());
    let mounts = |request: &Request| request.path.contains("mount=");
    let (server, _) = taking(move |request, _| mounts(request).then(|| Reply::new(201)));
    assert_eq!(from(&client(&server)).unwrap(), Pushed::Mounted);
    let line = format!("POST /v2/app/blobs/uploads/?mount=sha256%3A{}&from=other", digest.hex());
    assert_eq!(server.lines()[1], line);
    // Not there: the registry opens an upload instead.
    let (server, _) = taking(|_, _| None);
    assert_eq!(from(&client(&server)).unwrap(), Pushed::Uploaded);
    assert_eq!(server.lines().len(), 3);
    // Not allowed: it is sent as if nothing had been asked.
    let (server, _) = taking(move |request, _| mounts(request).then(|| Reply::new(403)));
    assert_eq!(from(&client(&server)).unwrap(), Pushed::Uploaded);
}

#[test]
fn manifests_go_up_and_away() {
    let server = Server::new(|request| match (request.method.as_str(), request.path.as_str()) {
        ("PUT", _) => Reply::new(201).header("Docker-Content-Digest", Digest::of(&request.body).to_string()),
        ("DELETE", "/v2/app/manifests/no") => Reply::new(405),
        ("DELETE", _) => Reply::new(202),
        _ => Reply::new(404),
    });
    let client = client(&server);
    let name = crate::image(&server, "app:1");
    assert_eq!(client.push_manifest(&name, crate::MANIFEST, b"{}").unwrap(), Digest::of(b"{}"));
    let error = client.push_manifest(&name.at(Digest::of(b"x")), crate::MANIFEST, b"{}").unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    client.delete_manifest(&name).unwrap();
    client.delete_blob("app", Digest::of(b"")).unwrap();
    let error = client.delete_manifest(&crate::image(&server, "app:no")).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
