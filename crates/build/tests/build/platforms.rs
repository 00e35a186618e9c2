//! Several platforms in one build: what they share, and what is each one's own.

use std::fs;

use build::Built;
use oci::Platform;

use crate::world::World;

const SOURCE: &str = "FROM --platform=$BUILDPLATFORM base AS common\nRUN echo shared > /shared\n\
    FROM common AS compiled\nARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM > /own\n\
    FROM scratch\nARG TARGETARCH TARGETVARIANT BUILDPLATFORM\n\
    LABEL arch=$TARGETARCH variant=$TARGETVARIANT build=$BUILDPLATFORM\nCOPY --from=compiled /own /shared /\n";

const ALL: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/arm/v7"];

fn platforms(all: &[&str]) -> Vec<Platform> {
    all.iter().map(|text| text.parse().unwrap()).collect()
}

fn digests(all: &[Built]) -> Vec<oci::Digest> {
    all.iter().map(|built| built.manifest_digest).collect()
}

#[test]
fn what_is_the_same_for_all_is_done_once() {
    let world = World::new("platforms");
    let mut request = world.request(SOURCE);
    request.platforms = platforms(&ALL);
    let first = world.all(&request);
    assert_eq!(world.count(), 1 + ALL.len(), "one command for all, and one for each");
    for (built, text) in first.iter().zip(ALL) {
        let platform: Platform = text.parse().unwrap();
        let config = world.config(built);
        assert_eq!(built.platform, platform);
        assert_eq!(
            (config["os"].as_str(), config["architecture"].as_str()),
            (Some("linux"), Some(platform.architecture()))
        );
        assert_eq!(config["variant"].as_str(), platform.variant());
        let labels = &config["config"]["Labels"];
        assert_eq!(labels["arch"], platform.architecture());
        assert_eq!(labels["variant"], platform.variant().unwrap_or_default());
        assert_eq!(labels["build"], Platform::host().to_string().as_str());
        assert_eq!((world.read(built, "own"), world.read(built, "shared")), (text.into(), "shared".into()));
    }
    let said = world.said.lock().unwrap().clone();
    let own = format!("[{}->", Platform::host());
    assert!(said.contains(&own) && said.contains("[linux/arm/v7 stage-2 1/2] FROM scratch"), "{said}");
    // Again, and one of them alone: nothing is done, and the images are the same.
    assert_eq!(digests(&world.all(&request)), digests(&first));
    request.platforms = platforms(&ALL[1..2]);
    assert_eq!(digests(&world.all(&request)), digests(&first[1..2]));
    assert_eq!(world.count(), 1 + ALL.len());
    world.is_tidy();
}

#[test]
fn a_platform_that_fails_ends_all() {
    let world = World::new("one-fails");
    let source = "FROM base\nARG TARGETARCH\nRUN test $TARGETARCH != arm64\n";
    let mut request = world.request(source);
    request.platforms = platforms(&ALL);
    let error = build::build(&request, &world, &world).unwrap_err();
    assert_eq!((error.code, error.place.unwrap().1.line), (Some(1), 3));
    world.is_tidy();
}

#[test]
fn a_cache_carries_the_steps_of_all_platforms() {
    let world = World::new("carried");
    let cache = world.path.join("cache");
    fs::create_dir(&cache).unwrap();
    let mut request = world.request(SOURCE);
    request.platforms = platforms(&ALL);
    request.cache_to = vec![build::CacheTo::Directory(cache.clone())];
    let first = world.all(&request);
    let other = World::new("carried-other");
    let mut request = other.request(SOURCE);
    request.platforms = platforms(&ALL);
    request.cache_from = vec![build::CacheFrom::Directory(cache)];
    assert_eq!(digests(&other.all(&request)), digests(&first));
    assert_eq!(other.count(), 0);
}
