//! The cases of github.com/distribution/reference (reference_test.go, normalize_test.go), as tables, and some of ours.

use super::*;

const HEX: &str = "86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa";

fn parse(text: &str) -> Reference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What was typed, registry, repository, tag, the familiar form.
#[rustfmt::skip]
const NAMES: &[(&str, &str, &str, &str, &str)] = &[
    ("alpine", "docker.io", "library/alpine", "latest", "alpine:latest"),
    ("alpine:3.20", "docker.io", "library/alpine", "3.20", "alpine:3.20"),
    ("docker.io/alpine", "docker.io", "library/alpine", "latest", "alpine:latest"),
    ("docker.io/library/alpine", "docker.io", "library/alpine", "latest", "alpine:latest"),
    ("index.docker.io/alpine", "docker.io", "library/alpine", "latest", "alpine:latest"),
    ("index.docker.io/library/alpine:1", "docker.io", "library/alpine", "1", "alpine:1"),
    ("library/ubuntu", "docker.io", "library/ubuntu", "latest", "ubuntu:latest"),
    ("nonlibrary/ubuntu", "docker.io", "nonlibrary/ubuntu", "latest", "nonlibrary/ubuntu:latest"),
    ("other/library", "docker.io", "other/library", "latest", "other/library:latest"),
    ("fooo/bar", "docker.io", "fooo/bar", "latest", "fooo/bar:latest"),
    ("library/foo/bar", "docker.io", "library/foo/bar", "latest", "library/foo/bar:latest"),
    ("store/foo/bar", "docker.io", "store/foo/bar", "latest", "store/foo/bar:latest"),
    ("docker.io/library/foo/bar", "docker.io", "library/foo/bar", "latest", "library/foo/bar:latest"),
    ("127.0.0.1:8000/private/moonbase", "127.0.0.1:8000", "private/moonbase", "latest", "127.0.0.1:8000/private/moonbase:latest"),
    ("127.0.0.1:8000/privatebase", "127.0.0.1:8000", "privatebase", "latest", "127.0.0.1:8000/privatebase:latest"),
    ("example.com/privatebase", "example.com", "privatebase", "latest", "example.com/privatebase:latest"),
    ("example.com:8000/private/moonbase:x", "example.com:8000", "private/moonbase", "x", "example.com:8000/private/moonbase:x"),
    ("ubuntu-12.04-base", "docker.io", "library/ubuntu-12.04-base", "latest", "ubuntu-12.04-base:latest"),
    ("Foo/bar", "Foo", "bar", "latest", "Foo/bar:latest"),
    ("FOO/bar", "FOO", "bar", "latest", "FOO/bar:latest"),
    ("Uppercase/lowercase:tag", "Uppercase", "lowercase", "tag", "Uppercase/lowercase:tag"),
    ("test_com", "docker.io", "library/test_com", "latest", "test_com:latest"),
    ("test.com:tag", "docker.io", "library/test.com", "tag", "test.com:tag"),
    ("test.com:5000", "docker.io", "library/test.com", "5000", "test.com:5000"),
    ("test.com/repo:tag", "test.com", "repo", "tag", "test.com/repo:tag"),
    ("test:5000/repo", "test:5000", "repo", "latest", "test:5000/repo:latest"),
    ("test-com:8080/foo", "test-com:8080", "foo", "latest", "test-com:8080/foo:latest"),
    ("test_com/foo", "docker.io", "test_com/foo", "latest", "test_com/foo:latest"),
    ("lowercase:Uppercase", "docker.io", "library/lowercase", "Uppercase", "lowercase:Uppercase"),
    ("sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com", "bar/baz/quux", "some-long-tag", "sub-dom1.foo.com/bar/baz/quux:some-long-tag"),
    ("b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io", "test.example.com/my-app", "test.example.com", "b.gcr.io/test.example.com/my-app:test.example.com"),
    ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", "xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
    ("foo_bar.com:8080", "docker.io", "library/foo_bar.com", "8080", "foo_bar.com:8080"),
    ("foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", "8080", "foo/foo_bar.com:8080"),
    ("192.168.1.1", "docker.io", "library/192.168.1.1", "latest", "192.168.1.1:latest"),
    ("192.168.1.1:5000", "docker.io", "library/192.168.1.1", "5000", "192.168.1.1:5000"),
    ("192.168.1.1/repo", "192.168.1.1", "repo", "latest", "192.168.1.1/repo:latest"),
    ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", "5050", "192.168.1.1:5000/repo:5050"),
    ("192.168.0.1:8/debian", "192.168.0.1:8", "debian", "latest", "192.168.0.1:8/debian:latest"),
    ("localhost", "docker.io", "library/localhost", "latest", "localhost:latest"),
    ("localhost:5000", "docker.io", "library/localhost", "5000", "localhost:5000"),
    ("localhost/app", "localhost", "app", "latest", "localhost/app:latest"),
    ("localhost:5000/app", "localhost:5000", "app", "latest", "localhost:5000/app:latest"),
    ("[2001:db8::1]/repo", "[2001:db8::1]", "repo", "latest", "[2001:db8::1]/repo:latest"),
    ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]", "repo", "tag", "[2001:db8:1:2:3:4:5:6]/repo:tag"),
    ("[2001:db8::]:5000/repo", "[2001:db8::]:5000", "repo", "latest", "[2001:db8::]:5000/repo:latest"),
    ("[::1]:5000/repo", "[::1]:5000", "repo", "latest", "[::1]:5000/repo:latest"),
    ("[fc00::1]:5000/docker/docker", "[fc00::1]:5000", "docker/docker", "latest", "[fc00::1]:5000/docker/docker:latest"),
    ("docker-rules/docker", "docker.io", "docker-rules/docker", "latest", "docker-rules/docker:latest"),
    ("docker---rules/docker", "docker.io", "docker---rules/docker", "latest", "docker---rules/docker:latest"),
    ("d/docker", "docker.io", "d/docker", "latest", "d/docker:latest"),
    ("jess/t", "docker.io", "jess/t", "latest", "jess/t:latest"),
    ("dock__er/docker", "docker.io", "dock__er/docker", "latest", "dock__er/docker:latest"),
    ("a:_", "docker.io", "library/a", "_", "a:_"),
    ("dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9", "docker.io", "library/dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9", "latest", "dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9:latest"),
    ("docker.io/1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a", "docker.io", "library/1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a", "latest", "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a:latest"),
    ("thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev", "docker.io", "library/thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev", "latest", "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev:latest"),
];

#[test]
fn names_are_read_as_docker_reads_them() {
    for (text, registry, repository, tag, familiar) in NAMES {
        let reference = parse(text);
        assert_eq!((reference.registry(), reference.repository()), (*registry, *repository), "{text}");
        assert_eq!((reference.tag(), reference.digest()), (Some(*tag), None), "{text}");
        assert_eq!(reference.to_string(), *familiar, "{text}");
        assert_eq!(reference.canonical(), format!("{registry}/{repository}:{tag}"), "{text}");
    }
}

#[test]
fn every_form_leads_back_to_the_same_image() {
    for (text, ..) in NAMES {
        let reference = parse(text);
        assert_eq!(parse(&reference.canonical()), reference, "{text}");
        // An id behind docker.io/ is a name only with that prefix, as in Docker.
        if !is_id(reference.familiar_name().as_str()) {
            assert_eq!(parse(&reference.to_string()), reference, "{text}");
        }
        let json = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
    }
}

#[test]
fn digests_stand_beside_tags() {
    let reference = parse(&format!("busybox:latest@sha256:{HEX}"));
    assert_eq!(reference.canonical(), format!("docker.io/library/busybox:latest@sha256:{HEX}"));
    assert_eq!(reference.to_string(), format!("busybox:latest@sha256:{HEX}"));
    assert_eq!((reference.tag(), reference.wanted()), (Some("latest"), format!("sha256:{HEX}")));

    let reference = parse(&format!("test:5000/repo@sha256:{HEX}"));
    assert_eq!((reference.registry(), reference.repository(), reference.tag()), ("test:5000", "repo", None));
    assert_eq!(reference.digest().unwrap().hex(), HEX);

    let long = "f".repeat(128);
    let reference = parse(&format!("xn--7o8h.com/myimage:xn--7o8h.com@sha512:{long}"));
    assert_eq!(reference.wanted(), format!("sha512:{long}"));

    let reference = parse(&format!("[2001:db8::1]:5000/repo:tag@sha256:{HEX}"));
    assert_eq!((reference.registry(), reference.tag()), ("[2001:db8::1]:5000", Some("tag")));
}

#[test]
fn other_versions_of_the_same_repository() {
    let reference = parse("ghcr.io/o/app:1");
    let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
    assert_eq!(reference.at(digest).to_string(), format!("ghcr.io/o/app@sha256:{HEX}"));
    assert_eq!(reference.at(digest).tagged("2").unwrap().to_string(), "ghcr.io/o/app:2");
    assert!(reference.tagged("-2").is_err());
}

#[test]
fn lengths_have_limits() {
    let longest = "a/".repeat(127) + "a";
    assert_eq!(parse(&longest).repository().len(), 255);
    assert_eq!(parse(&format!("registry.example/{longest}:tag")).repository().len(), 255);
    let error = format!("{longest}/a").parse::<Reference>().unwrap_err();
    assert_eq!(error, InvalidReference::TooLong { length: 257 });
    assert_eq!(parse(&format!("a:{}", "t".repeat(128))).tag().unwrap().len(), 128);
    assert!(matches!(
        format!("a:{}", "t".repeat(129)).parse::<Reference>(),
        Err(InvalidReference::Tag { .. })
    ));
}

/// What is refused, and a part of the sentence.
#[rustfmt::skip]
const REFUSED: &[(&str, &str)] = &[
    ("", "an image's name is missing"),
    (":justtag", "'' is no repository name"),
    ("@sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "'' is no repository name"),
    ("https://github.com/docker/docker", "is a URL, not an image's name: leave off 'https://'"),
    ("1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a", "is an image's id, not its name"),
    ("repo@sha256:ffffffffffffffffffffffffffffffffff", "a sha256 digest has 64 hexadecimal digits, not 34"),
    ("validname@invaliddigest:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "algorithm 'invaliddigest' is not supported"),
    ("validname@", "'' is no digest"),
    ("Uppercase:tag", "repository name 'Uppercase' has capital letters: it must be lower case"),
    ("docker/Docker", "repository name 'docker/Docker' has capital letters"),
    ("docker.io/docker/Docker", "repository name 'docker/Docker' has capital letters"),
    ("test:5000/Uppercase/lowercase:tag", "repository name 'Uppercase/lowercase' has capital letters"),
    ("aa/asdf$$^/aa", "'aa/asdf$$^/aa' is no repository name"),
    ("-docker", "'-docker' is no repository name"),
    ("-docker/docker", "'-docker/docker' is no repository name"),
    ("docker-/docker", "'docker-/docker' is no repository name"),
    ("-docker.io/docker/docker", "'-docker.io' is no registry"),
    ("docker///docker", "is no repository name"),
    ("docker.io/docker///docker", "is no repository name"),
    ("docker/", "'docker/' is no repository name"),
    ("docker.io/", "'' is no repository name"),
    ("/docker", "'/docker' is no repository name"),
    ("____/____", "is no repository name"),
    ("_docker/_docker", "is no repository name"),
    ("dock..er/docker", "'dock..er' is no registry"),
    ("dock___er/docker", "is no repository name"),
    ("docker/dock..er", "is no repository name"),
    ("docker/dock_.er", "is no repository name"),
    ("docker/dock-.er", "is no repository name"),
    ("[fc00::1]", "is no repository name"),
    ("[fc00::1]:5000", "is no repository name"),
    ("fc00::1:5000/debian", "'fc00::1:5000' is no registry"),
    ("[fe80::1%eth0]:5000/debian", "'[fe80::1%eth0]:5000' is no registry"),
    ("[2001:db8:3:4::192.0.2.33]:5000/debian", "is no registry"),
    ("[::1/debian", "'[::1' is no registry"),
    ("[]:5000/debian", "'[]:5000' is no registry"),
    ("[::1]x/debian", "'[::1]x' is no registry"),
    ("host:/debian", "'host:' is no registry"),
    ("host:port/debian", "'host:port' is no registry"),
    ("foo_bar.com/debian", "'foo_bar.com' is no registry"),
    ("a:", "'' is no tag"),
    ("a:-x", "'-x' is no tag"),
    ("a:.x", "'.x' is no tag"),
    ("a:b:c", "'b:c' is no tag"),
    ("a b", "'a b' is no repository name"),
    ("ä/b", "'ä/b' is no repository name"),
    ("a:ü", "'ü' is no tag"),
    ("a\u{1b}[31m", "'a\\u{1b}[31m' is no repository name"),
];

#[test]
fn what_is_no_name_is_refused_with_the_reason() {
    for (text, words) in REFUSED {
        let error = text.parse::<Reference>().expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}
