//! What passes is tried again, as often as it was said; what does not is told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use registry::{Client, Error, Settings};

use crate::server::{Reply, Server};
use crate::{MANIFEST, client, image, settings, settings_of};

/// Fails so often with this reply, then answers well.
fn failing(times: u32, reply: Reply) -> Server {
    let count = AtomicU32::new(0);
    Server::new(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) < times {
            return reply.clone();
        }
        Reply::new(200).header("Content-Type", MANIFEST).body("{}")
    })
}

#[test]
fn what_passes_is_tried_again() {
    for reply in [
        Reply::new(500),
        Reply::new(502).body("<html>Bad Gateway</html>"),
        Reply::new(503).header("Retry-After", "0"),
        Reply::new(504),
        Reply::new(408),
        Reply::new(429).header("Retry-After", "0"),
        Reply::gone(),
    ] {
        let server = failing(2, reply.clone());
        client(&server).manifest(&image(&server, "app:1")).unwrap();
        assert_eq!(server.lines().len(), 3, "{reply:?}");
    }
}

#[test]
fn a_manifest_that_breaks_off_is_asked_for_again() {
    let server = failing(2, Reply::new(200).body("{").promising(2));
    client(&server).manifest(&image(&server, "app:1")).unwrap();
    assert_eq!(server.lines().len(), 3);
    let server = failing(u32::MAX, Reply::new(200).body("{").promising(2));
    let error = client(&server).manifest(&image(&server, "app:1")).unwrap_err();
    let words = format!(
        "registry {}: cannot get manifest app:1: the connection was closed early (3 times)",
        server.name
    );
    assert_eq!(error.to_string(), words);
}

#[test]
fn what_stays_is_told_after_the_last_attempt() {
    let body = r#"{"errors":[{"code":"UNAVAILABLE","message":"come back later"}]}"#;
    let server = failing(u32::MAX, Reply::new(503).body(body));
    let error = client(&server).manifest(&image(&server, "app:1")).unwrap_err();
    let words = format!(
        "registry {}: cannot get manifest app:1: it answered 503: come back later (UNAVAILABLE)",
        server.name
    );
    assert_eq!(error.to_string(), words);
    assert_eq!(server.lines().len(), 3);

    let server = failing(u32::MAX, Reply::new(429));
    let error = client(&server).manifest(&image(&server, "app:1")).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn what_will_not_change_is_not_tried_again() {
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
    for (reply, words) in [
        (Reply::new(404).body(unknown), "not found: manifest unknown (MANIFEST_UNKNOWN)"),
        (Reply::new(403), "access denied"),
        (Reply::new(400).body("bad"), "it answered 400: bad"),
        (Reply::new(501), "it answered 501"),
        (Reply::new(429).header("Retry-After", "3600"), "too many requests"),
        (Reply::new(401), "access denied"),
        (Reply::new(302), "it redirects to no URL"),
        (Reply::new(307).header("Location", "ftp://x/"), "it redirects to no URL"),
    ] {
        let server = failing(u32::MAX, reply.clone());
        let error = client(&server).manifest(&image(&server, "app:1")).unwrap_err();
        let words = format!("registry {}: cannot get manifest app:1: {words}", server.name);
        assert_eq!(error.to_string(), words);
        assert_eq!(server.lines().len(), 1, "{reply:?}");
    }
}

#[test]
fn circles_of_redirects_end() {
    let server = failing(u32::MAX, Reply::new(307).header("Location", "/v2/again"));
    let error = client(&server).manifest(&image(&server, "app:1")).unwrap_err();
    assert!(error.to_string().ends_with("it redirects more than 5 times"), "{error}");
    assert_eq!(server.lines().len(), 6);
}

#[test]
fn silence_ends() {
    let server = failing(u32::MAX, Reply::silent());
    let impatient = Settings { stall_timeout: Duration::from_secs(1), attempts: 2, ..settings() };
    let client = Client::new(&server.name, Arc::new(impatient)).unwrap();
    let error = client.manifest(&image(&server, "app:1")).unwrap_err();
    let words = format!("registry {}: cannot get manifest app:1: no answer for 1 s (2 times)", server.name);
    assert_eq!(error.to_string(), words);
}

#[test]
fn nobody_there_is_told() {
    let client = Client::new("127.0.0.1:1", Arc::new(settings())).unwrap();
    let error = client.manifest(&"127.0.0.1:1/app".parse().unwrap()).unwrap_err();
    let words = "registry 127.0.0.1:1: cannot get manifest app:latest: connection refused (3 times)";
    assert_eq!(error.to_string(), words);
}

#[test]
fn an_image_of_another_registry_is_refused() {
    let client = Client::new("127.0.0.1:1", Arc::new(settings())).unwrap();
    let error = client.manifest(&"alpine".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "alpine:latest is not an image of registry 127.0.0.1:1");
}

fn mirrored(upstream: &Server, mirrors: &[&str]) -> Client {
    let list: Vec<String> = mirrors.iter().map(|mirror| format!("\"http://{mirror}\"")).collect();
    let text = format!("[registry.\"{}\"]\nmirrors = [{}]", upstream.name, list.join(","));
    Client::new(&upstream.name, Arc::new(settings_of(&text))).unwrap()
}

#[test]
fn mirrors_are_asked_first_and_the_registry_if_they_fail() {
    let good = |body: &'static str| {
        Server::new(move |_| Reply::new(200).header("Content-Type", MANIFEST).body(body))
    };
    let (upstream, mirror, absent) = (good("{}"), good("{ }"), failing(u32::MAX, Reply::new(404)));
    let image = image(&upstream, "app:1");
    let prefixed = format!("{}/cache/", mirror.name);
    let found = mirrored(&upstream, &[&absent.name, &prefixed]).manifest(&image).unwrap();
    assert_eq!(found.bytes, b"{ }");
    assert_eq!((absent.lines().len(), upstream.lines().len()), (1, 0));
    assert_eq!(mirror.lines(), ["GET /cache/v2/app/manifests/1"]);

    // One that gives the wrong content by digest counts as one that fails.
    let by_digest = image.at(oci::Digest::of(b"{}"));
    let found = mirrored(&upstream, &[&mirror.name]).manifest(&by_digest).unwrap();
    assert_eq!(found.bytes, b"{}");

    // One that is not there is tried with the first request alone.
    let client = mirrored(&upstream, &["127.0.0.1:1", &absent.name]);
    client.manifest(&image).unwrap();
    client.manifest(&image).unwrap();
    assert_eq!(absent.lines().len(), 3);
}

#[test]
fn when_all_fail_all_are_told() {
    let absent = || failing(u32::MAX, Reply::new(404));
    let (upstream, mirror) = (absent(), absent());
    let error = mirrored(&upstream, &[&mirror.name]).manifest(&image(&upstream, "app:1")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("not found (before it: mirror ") && text.contains(&mirror.name), "{text}");
    assert_eq!(error.hint().as_deref(), Some("check the name and the tag"));
}

#[test]
fn a_proxy_is_gone_through() {
    let server = failing(0, Reply::new(500));
    let mut settings = settings_of("[registry.\"r.example\"]\nmirrors = [\"http://mirror.example:5000\"]");
    settings.proxies.http = Some(format!("http://me:secret@{}", server.name));
    let client = Client::new("r.example", Arc::new(settings)).unwrap();
    client.manifest(&"r.example/app:1".parse().unwrap()).unwrap();
    let log = server.log();
    assert_eq!(log[0].line(), "CONNECT mirror.example:5000");
    assert_eq!(log[0].header("proxy-authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(
        (log[1].line().as_str(), log[1].header("proxy-authorization")),
        ("GET /v2/app/manifests/1", None)
    );
}
