//! Tags page by page, and what refers to a manifest.

use std::collections::HashMap;
use std::sync::Mutex;

use oci::Digest;
use registry::Error;

use crate::server::{Reply, Server};
use crate::{MANIFEST, client, image};

#[test]
fn tags_come_page_by_page() {
    let server = Server::with_name(|name| {
        let name = name.to_owned();
        move |request| match request.path.as_str() {
            "/v2/app/tags/list?n=1000" => Reply::new(200)
                .header("Link", r#"</v2/app/tags/list?n=1000&last=b>; rel="next""#)
                .body(r#"{"name":"app","tags":["a","b"]}"#),
            "/v2/app/tags/list?n=1000&last=b" => Reply::new(200)
                .header("Link", format!(r#"<http://{name}/v2/app/tags/list?last=c>; rel="next""#))
                .body(r#"{"tags":["c"]}"#),
            "/v2/app/tags/list?last=c" => Reply::new(200).body(r#"{"tags":null}"#),
            _ => Reply::new(404),
        }
    });
    assert_eq!(client(&server).tags("app").unwrap(), ["a", "b", "c"]);
    assert!(matches!(client(&server).tags("none"), Err(Error::NotFound { .. })));
}

#[test]
fn pages_elsewhere_and_nonsense_are_refused() {
    for (reply, words) in [
        (
            Reply::new(200).header("Link", r#"<http://other.example/>; rel="next""#).body(r#"{"tags":[]}"#),
            "the next page is somewhere else",
        ),
        (Reply::new(200).body("[]"), "no list of tags: "),
        (Reply::new(200).body("<html>"), "no list of tags: "),
    ] {
        let server = Server::new(move |_| reply.clone());
        let error = client(&server).tags("app").unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

fn index(entries: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{entries}]}}"#
    )
}

fn entry(kind: &str) -> String {
    let digest = Digest::of(kind.as_bytes());
    format!(r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":1,"artifactType":"{kind}"}}"#)
}

#[test]
fn referrers_are_listed_and_chosen() {
    let list = index(&format!("{},{}", entry("text/a"), entry("text/b")));
    let server = Server::new(move |_| Reply::new(200).body(list.clone()));
    let client = client(&server);
    let subject = Digest::of(b"subject");
    assert_eq!(client.referrers("app", subject, None).unwrap().len(), 2);
    let chosen = client.referrers("app", subject, Some("text/b")).unwrap();
    assert_eq!((chosen.len(), chosen[0].digest().as_ref()), (1, Digest::of(b"text/b").to_string().as_str()));
    let wanted = format!("GET /v2/app/referrers/{subject}?artifactType=text%2Fb");
    assert_eq!(server.lines()[1], wanted);
}

#[test]
fn without_referrers_a_tag_stands_in_and_is_kept_up() {
    let kept: Mutex<HashMap<String, (String, Vec<u8>)>> = Mutex::default();
    let server = Server::new(move |request| {
        let Some(name) = request.path.strip_prefix("/v2/app/manifests/") else { return Reply::new(404) };
        let mut kept = kept.lock().unwrap();
        if request.method == "PUT" {
            let kind = request.header("content-type").unwrap().to_owned();
            kept.insert(name.to_owned(), (kind, request.body.clone()));
            return Reply::new(201);
        }
        match kept.get(name) {
            Some((kind, body)) => Reply::new(200).header("Content-Type", kind.as_str()).body(body.clone()),
            None => Reply::new(404),
        }
    });
    let client = client(&server);
    let subject = Digest::of(b"subject");
    assert_eq!(client.referrers("app", subject, None).unwrap().len(), 0);
    let mut digests = Vec::new();
    for kind in ["text/a", "text/b", "text/b"] {
        let manifest = format!(
            r#"{{"schemaVersion":2,"artifactType":"{kind}","annotations":{{"a":"{kind}"}},
               "subject":{{"mediaType":"{MANIFEST}","digest":"{subject}","size":1}}}}"#
        );
        let digest = Digest::of(manifest.as_bytes());
        let name = image(&server, "app").at(digest);
        assert_eq!(client.push_manifest(&name, MANIFEST, manifest.as_bytes()).unwrap(), digest);
        digests.push(digest);
    }
    let list = client.referrers("app", subject, None).unwrap();
    let found: Vec<&str> = list.iter().map(|descriptor| descriptor.digest().as_ref()).collect();
    assert_eq!(found, [digests[0].to_string(), digests[1].to_string()]);
    let annotations = list[1].annotations().clone().unwrap();
    assert_eq!(annotations["a"], "text/b");
    assert_eq!(client.referrers("app", subject, Some("text/a")).unwrap().len(), 1);
}
