//! Content that breaks off, starts anew, is too long or another one.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, Ordering};

use oci::{Digest, Verified};
use registry::{Client, Error, Watched};

use crate::server::{Reply, Request, Server};
use crate::{MANIFEST, bytes, client, descriptor, image};

/// The byte that a request wants first.
fn start(request: &Request) -> usize {
    let range = request.header("range").unwrap_or("bytes=0-");
    range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
}

fn part(content: &[u8], start: usize) -> Reply {
    if start == 0 {
        return Reply::new(200).body(content);
    }
    let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
    Reply::new(206).header("Content-Range", range).body(&content[start..])
}

fn read(client: &Client, content: &[u8], offset: u64) -> (io::Result<Vec<u8>>, u32, u64) {
    let blob = client.blob("app", &descriptor(content), offset).unwrap();
    let mut hasher = oci::Hasher::new(oci::Algorithm::Sha256);
    hasher.update(&content[..offset as usize]);
    let mut reader = Verified::resumed(blob, Digest::of(content), content.len() as u64, offset, hasher);
    let mut found = Vec::new();
    let result = reader.read_to_end(&mut found).map(|_| found);
    (result, reader.get_ref().resumed(), reader.get_ref().discarded())
}

#[test]
fn a_blob_goes_on_where_it_broke_off() {
    let content = bytes(1_000_000);
    let (served, breaks) = (content.clone(), AtomicU32::new(0));
    let server = Server::new(move |request| {
        let start = start(request);
        // Breaks off twice, each time a third further.
        match breaks.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::new(200).body(&served[..300_000]).promising(served.len()),
            1 => {
                let range = format!("bytes {start}-{}/{}", served.len() - 1, served.len());
                Reply::new(206)
                    .header("Content-Range", range)
                    .body(&served[start..600_000])
                    .promising(served.len() - start)
            }
            _ => part(&served, start),
        }
    });
    let (found, resumed, discarded) = read(&client(&server), &content, 0);
    assert!(found.unwrap() == content);
    assert_eq!((resumed, discarded), (2, 0));
    let ranges: Vec<Option<String>> =
        server.log().iter().map(|request| request.header("range").map(Into::into)).collect();
    assert_eq!(ranges, [None, Some("bytes=300000-".into()), Some("bytes=600000-".into())]);
}

#[test]
fn a_blob_goes_on_where_the_caller_stopped() {
    let content = bytes(100_000);
    let served = content.clone();
    let server = Server::new(move |request| part(&served, start(request)));
    let (found, resumed, discarded) = read(&client(&server), &content, 40_000);
    assert!(found.unwrap() == content[40_000..]);
    assert_eq!((resumed, discarded), (0, 0));
    // At its end there is nothing to ask for.
    let (found, ..) = read(&client(&server), &content, 100_000);
    assert_eq!((found.unwrap().len(), server.lines().len()), (0, 1));
}

#[test]
fn a_server_without_ranges_is_noticed() {
    let content = bytes(100_000);
    let (served, asked) = (content.clone(), AtomicU32::new(0));
    let server = Server::new(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(200).body(&served[..70_000]).promising(served.len()),
        _ => Reply::new(200).body(served.clone()),
    });
    let (found, resumed, discarded) = read(&client(&server), &content, 40_000);
    assert!(found.unwrap() == content[40_000..]);
    assert_eq!((resumed, discarded), (1, 110_000));
}

#[test]
fn a_blob_that_always_breaks_off_fails_in_the_end() {
    let content = bytes(1000);
    let served = content.clone();
    let server = Server::new(move |request| match start(request) {
        0 => Reply::new(200).body(&served[..400]).promising(1000),
        start => {
            let range = format!("bytes {start}-999/1000");
            Reply::new(206).header("Content-Range", range).promising(1000 - start)
        }
    });
    let (found, ..) = read(&client(&server), &content, 0);
    let error = found.unwrap_err();
    let inner = Error::below(&error).unwrap();
    let words = format!(
        "registry {}: cannot get blob {} of app: the connection was closed early, after 400 of 1000 bytes (3 times)",
        server.name,
        Digest::of(&content)
    );
    assert_eq!(inner.to_string(), words);
}

#[test]
fn a_blob_that_goes_away_is_told() {
    let content = bytes(1000);
    let (served, asked) = (content.clone(), AtomicU32::new(0));
    let server = Server::new(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(200).body(&served[..400]).promising(1000),
        1 => Reply::new(503),
        _ => Reply::new(404),
    });
    let (found, ..) = read(&client(&server), &content, 0);
    let error = found.unwrap_err();
    assert!(matches!(Error::below(&error), Some(Error::NotFound { .. })), "{error}");
}

#[test]
fn other_parts_and_sizes_are_refused() {
    let content = bytes(1000);
    for (reply, words) in [
        (
            Reply::new(206).header("Content-Range", "bytes 600-999/1000").body(&content[600..]),
            "it sends from byte 600, not 500",
        ),
        (Reply::new(206).body(&content[500..]), "it does not say which part it sends"),
        (
            Reply::new(206).header("Content-Range", "bytes 500-1999/2000"),
            "it is 2000 bytes there, and 1000 by its manifest",
        ),
        (Reply::new(200).body(&content[..900]), "it is 900 bytes there, and 1000 by its manifest"),
        (Reply::new(416), "it answered 416"),
    ] {
        let server = Server::new(move |_| reply.clone());
        let error = client(&server).blob("app", &descriptor(&content), 500).unwrap_err().to_string();
        assert!(error.ends_with(words), "{error}");
    }
}

#[test]
fn a_part_that_starts_earlier_is_cut() {
    let content = bytes(1000);
    let served = content.clone();
    let server = Server::new(move |_| {
        Reply::new(206).header("Content-Range", "bytes 300-999/1000").body(&served[300..])
    });
    let (found, _, discarded) = read(&client(&server), &content, 500);
    assert!(found.unwrap() == content[500..]);
    assert_eq!(discarded, 200);
}

#[test]
fn other_content_is_found_out() {
    let content = bytes(1000);
    let mut other = content.clone();
    other[999] ^= 1;
    for served in [other, [content.clone(), b"x".to_vec()].concat()] {
        let server = Server::new(move |_| Reply::new(200).body(served.clone()).chunked());
        let (found, ..) = read(&client(&server), &content, 0);
        assert_eq!(found.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn progress_is_told_across_breaks() {
    let content = bytes(1000);
    let (served, asked) = (content.clone(), AtomicU32::new(0));
    let server = Server::new(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(200).body(&served[..400]).promising(1000),
        _ => part(&served, start(request)),
    });
    let mut told = Vec::new();
    let blob = client(&server).blob("app", &descriptor(&content), 0).unwrap();
    io::copy(&mut Watched::new(blob, 0, |bytes| told.push(bytes)), &mut io::sink()).unwrap();
    assert_eq!(told, [400, 1000]);
}

#[test]
fn manifests_have_a_limit() {
    let long = vec![b' '; (4 << 20) + 1];
    for reply in [Reply::new(200).body(long.clone()), Reply::new(200).body(long).chunked()] {
        let server = Server::new(move |_| reply.clone());
        let error = client(&server).manifest(&image(&server, "app:1")).unwrap_err().to_string();
        assert!(error.ends_with("cannot get manifest app:1: it is longer than 4 MiB"), "{error}");
    }
    let longest = vec![b' '; 4 << 20];
    let server = Server::new(move |_| Reply::new(200).body(longest.clone()));
    assert_eq!(client(&server).manifest(&image(&server, "app:1")).unwrap().bytes.len(), 4 << 20);
}

#[test]
fn manifests_are_the_ones_asked_for() {
    let said = Digest::of(b"{}");
    let reply = |body: &'static str, said: Option<Digest>| {
        let reply = Reply::new(200).header("Content-Type", MANIFEST).body(body);
        match said {
            Some(said) => reply.header("Docker-Content-Digest", said.to_string()),
            None => reply,
        }
    };
    for (served, by_digest, right) in [
        (reply("{}", Some(said)), false, true),
        (reply("{}", None), false, true),
        (reply("{}", None), true, true),
        (reply("{ }", Some(said)), false, false),
        (reply("{ }", None), true, false),
        // The registry's word does not count against what was asked for.
        (reply("{ }", Some(Digest::of(b"{ }"))), true, false),
        (reply("{}", Some(Digest::of(b"{ }"))), true, true),
    ] {
        let server = Server::new(move |_| served.clone());
        let name = image(&server, "app:1");
        let name = if by_digest { name.at(said) } else { name };
        match client(&server).manifest(&name) {
            Ok(manifest) => assert!(right && manifest.digest == said && manifest.media_type == MANIFEST),
            Err(error) => assert!(!right && matches!(error, Error::Digest { .. }), "{error}"),
        }
    }
}

#[test]
fn a_manifest_by_sha512_is_checked_by_it() {
    let server = Server::new(|_| Reply::new(200).body("{}"));
    let digest = Digest::with(oci::Algorithm::Sha512, b"{}");
    let manifest = client(&server).manifest(&image(&server, "app").at(digest)).unwrap();
    assert_eq!(manifest.digest, digest);
    let digest = Digest::with(oci::Algorithm::Sha512, b"{ }");
    assert!(client(&server).manifest(&image(&server, "app").at(digest)).is_err());
}

#[test]
fn a_digest_is_looked_up_without_the_manifest() {
    let digest = Digest::of(b"{}");
    let server = Server::new(move |request| match request.path.as_str() {
        "/v2/app/manifests/1" => Reply::new(200).header("Docker-Content-Digest", digest.to_string()),
        "/v2/app/manifests/2" if request.method == "HEAD" => Reply::new(200),
        "/v2/app/manifests/2" => Reply::new(200).body("{}"),
        _ => Reply::new(404),
    });
    let client = client(&server);
    assert_eq!(client.digest(&image(&server, "app:1")).unwrap(), Some(digest));
    assert_eq!(client.digest(&image(&server, "app:2")).unwrap(), Some(digest));
    assert_eq!(client.digest(&image(&server, "app:3")).unwrap(), None);
    assert_eq!(server.lines()[..2], ["HEAD /v2/app/manifests/1", "HEAD /v2/app/manifests/2"]);
}

#[test]
fn an_image_is_found_through_its_index() {
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{0}","size":0}},
           "layers":[]}}"#,
        Digest::of(b"")
    );
    let digest = Digest::of(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","size":{},"digest":"{digest}",
           "platform":{{"os":"linux","architecture":"arm64"}}}}]}}"#,
        manifest.len()
    );
    let server = Server::new(move |request| match request.path.as_str() {
        "/v2/app/manifests/1" => Reply::new(200)
            .header("Content-Type", "application/vnd.oci.image.index.v1+json")
            .body(index.clone()),
        path if path.ends_with(&digest.to_string()) => {
            Reply::new(200).header("Content-Type", MANIFEST).body(manifest.clone())
        }
        _ => Reply::new(404),
    });
    let client = client(&server);
    let name = image(&server, "app:1");
    let (found, _) = client.image(&name, &"linux/arm64".parse().unwrap()).unwrap();
    assert_eq!(found.digest, digest);
    let error = client.image(&name, &"linux/s390x".parse().unwrap()).unwrap_err();
    let words = format!("{name} has nothing for linux/s390x: there is linux/arm64");
    assert_eq!(error.to_string(), words);
}

#[test]
fn the_client_says_who_it_is_and_what_it_takes() {
    let server = Server::new(|_| Reply::new(200).body("{}"));
    client(&server).manifest(&image(&server, "app:1")).unwrap();
    let log = server.log();
    assert!(log[0].header("user-agent").unwrap().starts_with("minidocker/"));
    assert_eq!(log[0].header("accept-encoding"), Some("identity"));
    assert!(log[0].header("accept").is_some());
}
