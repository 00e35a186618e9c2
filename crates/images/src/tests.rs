//! The catalogue, and how layers come and go.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use oci::{Digest, Platform};
use step::Failure;
use storage::layer::{self, Compression};

use crate::{Entry, Found, Gone, Image, Images, Layer, Manifest, Phase, Supply};

/// A store that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("minidocker-images-{}-{number}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn images(&self) -> Images {
        Images::open(&self.0.join("store")).unwrap()
    }

    /// A layer of one file, and its bytes.
    fn layer(&self, name: &str, bytes: usize) -> (Layer, Vec<u8>) {
        let tree = self.0.join(format!("tree-{name}"));
        fs::create_dir(&tree).unwrap();
        // Not worth compressing, so that the blob is as long as the file.
        let seed = name.bytes().map(u32::from).sum::<u32>();
        let word =
            |number: u32| (number ^ seed).wrapping_mul(2_654_435_761).rotate_left(number % 31).to_le_bytes();
        let content: Vec<u8> = (0..bytes as u32 / 4 + 1).flat_map(word).take(bytes).collect();
        fs::write(tree.join(name), content).unwrap();
        let mut blob = Vec::new();
        let settings = layer::Settings { compression: Compression::Gzip(1), ..layer::Settings::default() };
        let packed = layer::archive(fs::File::open(&tree).unwrap(), &mut blob, &settings).unwrap();
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
        (Layer { diff_id: packed.diff_id, digest: packed.digest, size: packed.size, media_type }, blob)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Layers in memory, with what was asked of it.
#[derive(Default)]
struct Memory {
    blobs: Vec<(Digest, Vec<u8>)>,
    /// A reader fails after so many bytes.
    breaks_after: Option<usize>,
    asked: Mutex<Vec<(Digest, u64)>>,
}

impl Supply for Memory {
    fn open(&self, layer: &Layer, offset: u64) -> Result<Box<dyn Read + Send + '_>, Failure> {
        self.asked.lock().unwrap().push((layer.digest, offset));
        let (_, bytes) = self.blobs.iter().find(|(digest, _)| *digest == layer.digest).unwrap();
        let rest = &bytes[offset as usize..];
        match self.breaks_after {
            None => Ok(Box::new(rest)),
            Some(most) => Ok(Box::new(rest[..most.min(rest.len())].chain(Broken))),
        }
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the line is down"))
    }
}

fn image(images: &Images, config: &str, layers: Vec<Layer>) -> Image {
    let text = format!("{{\"manifest of\":{config:?}}}");
    let digest = images.blobs().put_bytes(text.as_bytes()).unwrap();
    let manifest = Manifest { media_type: "m".into(), digest, size: text.len() as u64 };
    let config = format!("{{\"os\":\"linux\",\"architecture\":\"amd64\",\"author\":{config:?}}}");
    images.describe(config.as_bytes(), manifest, layers).unwrap()
}

fn nobody() -> Result<Option<HashSet<Digest>>, Failure> {
    Ok(Some(HashSet::new()))
}

#[test]
fn layers_become_blobs_and_directories_from_one_read() {
    let scratch = Scratch::new("bring");
    let images = scratch.images();
    let made = [scratch.layer("a", 300_000), scratch.layer("b", 100)];
    let layers: Vec<Layer> = [&made[0], &made[1], &made[0]].map(|(layer, _)| layer.clone()).into();
    let memory =
        Memory { blobs: made.iter().map(|(l, b)| (l.digest, b.clone())).collect(), ..Memory::default() };
    let done = Mutex::new(Vec::new());
    let watch = |event: crate::Event<'_>| {
        if event.phase == Phase::Done {
            done.lock().unwrap().push(event.layer.diff_id);
        }
    };
    images.bring(&layers, &memory, &watch).unwrap();
    assert_eq!(memory.asked.lock().unwrap().len(), 2, "a layer that is there twice comes once");
    assert_eq!(done.lock().unwrap().len(), 2);
    for (layer, bytes) in &made {
        assert!(fs::read(images.blobs().path(&layer.digest)).unwrap() == *bytes);
        assert!(images.layers().have(&layer.diff_id).is_some());
    }
    // Again: nobody is asked. A directory that is gone comes from its blob.
    images.layers().remove(&layers[0].diff_id).unwrap();
    images.bring(&layers, &Memory::default(), &|_| {}).unwrap();
    assert!(images.layers().path(&layers[0].diff_id).join("a").exists());
}

#[test]
fn what_breaks_goes_on_where_it_was() {
    let scratch = Scratch::new("resume");
    let images = scratch.images();
    let (layer, bytes) = scratch.layer("a", 400_000);
    let blobs = vec![(layer.digest, bytes.clone())];
    let broken = Memory { blobs: blobs.clone(), breaks_after: Some(150_000), ..Memory::default() };
    let failure = images.bring(std::slice::from_ref(&layer), &broken, &|_| {}).unwrap_err();
    assert!(failure.to_string().contains("the line is down"), "{failure}");
    assert!(images.layers().have(&layer.diff_id).is_none() && images.blobs().has(&layer.digest).is_none());
    let whole = Memory { blobs, ..Memory::default() };
    images.bring(std::slice::from_ref(&layer), &whole, &|_| {}).unwrap();
    assert_eq!(*whole.asked.lock().unwrap(), [(layer.digest, 150_000)]);
    assert!(fs::read(images.blobs().path(&layer.digest)).unwrap() == bytes);
    assert!(images.layers().have(&layer.diff_id).is_some());
}

#[test]
fn damaged_content_is_told_and_not_gone_on_with() {
    let scratch = Scratch::new("damaged");
    let images = scratch.images();
    let (layer, mut bytes) = scratch.layer("a", 400_000);
    bytes[200_000] ^= 1;
    let memory = Memory { blobs: vec![(layer.digest, bytes)], ..Memory::default() };
    let failure = images.bring(std::slice::from_ref(&layer), &memory, &|_| {}).unwrap_err();
    assert!(failure.to_string().contains(&layer.digest.to_string()), "{failure}");
    assert!(failure.hint.unwrap().contains("nothing of it was kept"));
    assert_eq!(fs::read_dir(scratch.0.join("store/ingest")).unwrap().count(), 0);
    assert_eq!(images.layers().list().unwrap(), []);
}

#[test]
fn a_name_has_one_image_and_an_image_any_number_of_names() {
    let scratch = Scratch::new("names");
    let images = scratch.images();
    let name = |text: &str| format!("docker.io/library/{text}:latest");
    let first = images.add(image(&images, "1", vec![]), &[name("a"), name("b")]).unwrap();
    let second = images.add(image(&images, "2", vec![]), &[name("b")]).unwrap();
    let names = |id: &Digest| images.by_id(id).unwrap().unwrap().names;
    assert_eq!((names(&first.id), names(&second.id)), (vec![name("a")], vec![name("b")]));
    assert_eq!(images.get("b").unwrap().id, second.id);
    assert_eq!(images.get(&second.short_id()).unwrap().id, second.id);
    assert_eq!(images.get(&second.id.to_string()).unwrap().id, second.id);
    assert!(images.find("c").unwrap().is_none() && images.find("UPPER").is_err());
    images.tag("a", &name("b")).unwrap();
    assert_eq!((names(&first.id).len(), names(&second.id).len()), (2, 0));
    // An id with several names is not removed by mistake; a name alone goes; the last takes the image.
    let free = |_: &Image| None;
    assert!(images.remove(&first.short_id(), false, &free).is_err());
    assert_eq!(images.remove("a", false, &free).unwrap().deleted, None);
    assert!(images.remove("b", false, &|_| Some(Failure::because("rmi", "b", "is in use"))).is_err());
    assert_eq!(images.remove("b", false, &free).unwrap().deleted, Some(first.id));
    assert_eq!(images.list().unwrap().len(), 1);
}

#[test]
fn content_goes_when_nobody_has_it_and_nobody_brings_any() {
    let scratch = Scratch::new("sweep");
    let images = scratch.images();
    let made = [scratch.layer("a", 1000), scratch.layer("b", 1000), scratch.layer("c", 1000)];
    let layers: Vec<Layer> = made.iter().map(|(layer, _)| layer.clone()).collect();
    let memory =
        Memory { blobs: made.iter().map(|(l, b)| (l.digest, b.clone())).collect(), ..Memory::default() };
    images.bring(&layers, &memory, &|_| {}).unwrap();
    images.add(image(&images, "1", layers[..2].to_vec()), &["docker.io/library/a:1".into()]).unwrap();
    images.add(image(&images, "2", layers[1..].to_vec()), &["docker.io/library/a:2".into()]).unwrap();
    let here = |number: usize| {
        let layer = &layers[number];
        let (blob, tree) = (images.blobs().has(&layer.digest), images.layers().have(&layer.diff_id));
        (blob.is_some(), tree.is_some())
    };
    images.remove("a:2", false, &|_| None).unwrap();
    let bringing = images.bringing().unwrap();
    assert_eq!(images.sweep(&nobody).unwrap(), None, "somebody brings something");
    drop(bringing);
    assert_eq!(images.sweep(&|| Ok(None)).unwrap(), None, "who uses what cannot be told");
    assert_eq!(here(2), (true, true));
    let used = HashSet::from([layers[2].diff_id]);
    images.sweep(&|| Ok(Some(used.clone()))).unwrap();
    assert_eq!(
        [here(0), here(1), here(2)],
        [(true, true), (true, true), (false, true)],
        "a container has it"
    );
    images.sweep(&nobody).unwrap();
    assert_eq!([here(0), here(1), here(2)], [(true, true), (true, true), (false, false)]);
    images.remove("a:1", false, &|_| None).unwrap();
    images.sweep(&nobody).unwrap();
    assert_eq!((images.blobs().list().unwrap(), images.layers().list().unwrap()), (vec![], vec![]));
    // A removal that a crash ended when the catalogue knew of nothing any more.
    let left = scratch.0.join("store/layers/old").join("ab".repeat(32));
    fs::create_dir_all(left.join("fs/etc")).unwrap();
    images.sweep(&nobody).unwrap();
    assert!(!left.exists());
}

#[test]
fn an_index_keeps_its_images_and_takes_them_with_it() {
    let scratch = Scratch::new("index");
    let images = scratch.images();
    let made = [scratch.layer("a", 1000), scratch.layer("b", 1000)];
    let layers: Vec<Layer> = made.iter().map(|(layer, _)| layer.clone()).collect();
    let memory =
        Memory { blobs: made.iter().map(|(l, b)| (l.digest, b.clone())).collect(), ..Memory::default() };
    images.bring(&layers, &memory, &|_| {}).unwrap();
    let platform = |text: &str| text.parse::<Platform>().unwrap();
    let foreign = if Platform::host() == platform("linux/arm64") { "linux/amd64" } else { "linux/arm64" };
    let own =
        Image { platform: Platform::host().to_string(), ..image(&images, "1", vec![layers[0].clone()]) };
    let other = Image { platform: foreign.into(), ..image(&images, "2", vec![layers[1].clone()]) };
    let index = images.make_index(vec![Entry::of(&other), Entry::of(&own)]).unwrap();
    let name = |text: &str| format!("docker.io/library/{text}");
    let index =
        images.add_index(index, vec![own.clone(), other.clone()], &[name("a:1"), name("a:2")]).unwrap();
    assert_eq!(images.get("a:1").unwrap().id, own.id, "this machine's");
    let found = |wanted: &str| images.find_for("a:1", Some(&platform(wanted))).unwrap().map(|image| image.id);
    assert_eq!((found(foreign), found("linux/s390x")), (Some(other.id), None));
    assert_eq!(images.look(&index.short_id()).unwrap(), Some(Found::Index(index.clone())));
    // An image of it has no name and is not dangling; with a name of its own it loses that alone.
    let free = |_: &Image| None;
    assert_eq!(images.remove_all(&|image| image.names.is_empty()).unwrap(), Gone::default());
    assert!(images.remove(&own.short_id(), true, &free).is_err());
    images.tag(&own.short_id(), &name("own:1")).unwrap();
    assert_eq!(images.remove("own:1", false, &free).unwrap().deleted, None);
    let before = images.blobs().list().unwrap();
    images.sweep_all(&nobody, &HashSet::new()).unwrap();
    assert_eq!(images.blobs().list().unwrap(), before);
    // A name goes alone; the last one with all, unless a container has an image of it.
    assert_eq!(images.remove("a:2", false, &free).unwrap().untagged, [name("a:2")]);
    let used = |image: &Image| (image.id == other.id).then(|| Failure::because("rmi", "a", "is in use"));
    assert!(images.remove("a:1", false, &used).is_err());
    let removed = images.remove("a:1", false, &free).unwrap();
    assert_eq!((removed.deleted, removed.members.len()), (Some(index.id()), 2));
    images.sweep(&nobody).unwrap();
    assert_eq!((images.blobs().list().unwrap(), images.layers().list().unwrap()), (vec![], vec![]));
}

#[test]
fn a_name_moves_between_images_and_indexes() {
    let scratch = Scratch::new("moves");
    let images = scratch.images();
    let name = "docker.io/library/a:latest".to_owned();
    let (first, second) = (image(&images, "1", vec![]), image(&images, "2", vec![]));
    let one = images.make_index(vec![Entry::of(&first)]).unwrap();
    let one = images.add_index(one, vec![first.clone()], std::slice::from_ref(&name)).unwrap();
    images.add(second.clone(), std::slice::from_ref(&name)).unwrap();
    assert_eq!(images.look("a").unwrap().unwrap().id(), second.id);
    assert_eq!(images.indexes().unwrap()[0].names, Vec::<String>::new(), "it is dangling");
    images.tag(&one.short_id(), &name).unwrap();
    assert_eq!(images.look("a").unwrap().unwrap().id(), one.id());
    // Annotated it is another one, of the same name.
    let entry = Entry { platform: "linux/riscv64".into(), ..Entry::of(&first) };
    let new = images.replace_index(&one.id(), images.make_index(vec![entry]).unwrap()).unwrap();
    assert!(new.id() != one.id() && images.look("a").unwrap().unwrap().id() == new.id());
    let text = String::from_utf8(images.index_bytes(&new).unwrap()).unwrap();
    assert!(text.contains(r#""platform":{"architecture":"riscv64","os":"linux"}"#), "{text}");
    // Without a name it goes with a prune, and what it had.
    images.add(second, &[name]).unwrap();
    let gone = images.remove_all(&|image| image.names.is_empty()).unwrap();
    assert_eq!((gone.indexes.len(), gone.images.len()), (1, 1));
}

#[test]
fn many_at_once_bring_the_same() {
    let scratch = Scratch::new("crowd");
    let made: Vec<_> = ["a", "b", "c", "d"].map(|name| scratch.layer(name, 200_000)).into();
    let blobs: Vec<_> = made.iter().map(|(layer, bytes)| (layer.digest, bytes.clone())).collect();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (made, blobs, images) = (&made, blobs.clone(), scratch.images());
            scope.spawn(move || {
                let mut layers: Vec<Layer> = made.iter().map(|(layer, _)| layer.clone()).collect();
                layers.rotate_left(number % 4);
                let _bringing = images.bringing().unwrap();
                images.bring(&layers, &Memory { blobs, ..Memory::default() }, &|_| {}).unwrap();
                let name = format!("docker.io/library/x:{number}");
                images.add(image(&images, &number.to_string(), layers), &[name]).unwrap();
            });
        }
    });
    let images = scratch.images();
    assert_eq!(images.list().unwrap().len(), 8);
    assert_eq!(images.layers().list().unwrap().len(), 4);
    assert_eq!(fs::read_dir(scratch.0.join("store/ingest")).unwrap().count(), 0);
}

#[test]
fn a_catalogue_of_another_time_is_told() {
    let scratch = Scratch::new("format");
    let images = scratch.images();
    let path = scratch.0.join("store/images.json");
    fs::write(&path, r#"{"format":7,"things":[]}"#).unwrap();
    assert!(images.list().unwrap_err().to_string().contains("format 7"));
    fs::write(&path, "{").unwrap();
    let failure = images.list().unwrap_err();
    assert!(failure.to_string().contains("is damaged") && failure.hint.is_some());
}
