//! What is in a world's store of images, as an outsider reads it.

use std::fs;
use std::path::{Path, PathBuf};

use minidocker_tests::World;
use minidocker_tests::registry::digest;
use serde_json::Value;

/// A state root with images.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    pub(crate) fn of(world: &World) -> Self {
        Self::at(&world.root())
    }

    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Digests of complete blobs, without `sha256:`.
    pub(crate) fn blobs(&self) -> Vec<String> {
        self.names("blobs/sha256")
    }

    /// Diff ids of layers, without `sha256:`.
    pub(crate) fn layers(&self) -> Vec<String> {
        let mut names = self.names("layers");
        names.retain(|name| name != "new" && name != "old");
        names
    }

    /// What is on its way in or out: partial blobs, unfinished layers.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let each = |folder: &str| -> Vec<String> {
            self.names(folder).into_iter().map(|name| format!("{folder}/{name}")).collect()
        };
        [each("ingest"), each("layers/new"), each("layers/old")].concat()
    }

    /// Bytes of partial blobs.
    pub(crate) fn partial(&self) -> u64 {
        let size =
            |name: &String| fs::metadata(self.root.join("ingest").join(name)).map_or(0, |meta| meta.len());
        self.names("ingest").iter().map(size).sum()
    }

    /// The catalogue's images.
    pub(crate) fn images(&self) -> Vec<Value> {
        let Ok(text) = fs::read(self.root.join("images.json")) else { return Vec::new() };
        let catalogue: Value = serde_json::from_slice(&text).expect("the catalogue is JSON at any moment");
        catalogue["images"].as_array().expect("images").clone()
    }

    /// The catalogue's indexes of several images.
    pub(crate) fn indexes(&self) -> Vec<Value> {
        let Ok(text) = fs::read(self.root.join("images.json")) else { return Vec::new() };
        let catalogue: Value = serde_json::from_slice(&text).expect("the catalogue is JSON at any moment");
        catalogue["indexes"].as_array().cloned().unwrap_or_default()
    }

    /// Where the files of a layer are.
    pub(crate) fn files(&self, diff_id: &str) -> PathBuf {
        self.root.join("layers").join(diff_id.trim_start_matches("sha256:")).join("fs")
    }

    /// Asserts that every image has all that it is made of: blobs with the content that their names say, layers with
    /// as many files as `files` (each layer of the test has so many).
    #[track_caller]
    pub(crate) fn expect_complete(&self, files: Option<usize>) {
        for image in self.images() {
            let layers = image["layers"].as_array().expect("layers").clone();
            let blobs = layers.iter().map(|layer| &layer["digest"]);
            for blob in blobs.chain([&image["id"], &image["manifest"]["digest"]]) {
                let name = blob.as_str().expect("a digest");
                let path = self.root.join("blobs/sha256").join(name.trim_start_matches("sha256:"));
                let bytes = fs::read(&path).unwrap_or_else(|error| panic!("blob {name} of {image}: {error}"));
                assert_eq!(digest(&bytes), name, "content of a blob of {image}");
            }
            for layer in &layers {
                let path = self.files(layer["diff_id"].as_str().expect("a digest"));
                let found = fs::read_dir(&path).unwrap_or_else(|error| panic!("layer {layer}: {error}"));
                let found = found.count();
                assert!(files.is_none_or(|files| files == found), "{found} files in layer {layer}");
            }
        }
    }

    /// Asserts that nothing is there that no image names, and nothing unfinished.
    #[track_caller]
    pub(crate) fn expect_nothing_else(&self) {
        let images = self.images();
        let text =
            |value: &Value| value.as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned();
        let mut blobs: Vec<String> = Vec::new();
        let mut layers = Vec::new();
        for image in &images {
            blobs.extend([text(&image["id"]), text(&image["manifest"]["digest"])]);
            for layer in image["layers"].as_array().expect("layers") {
                blobs.push(text(&layer["digest"]));
                layers.push(text(&layer["diff_id"]));
            }
        }
        for index in self.indexes() {
            blobs.push(text(&index["manifest"]["digest"]));
            for entry in
                index["entries"].as_array().expect("entries").iter().filter(|one| !one["image"].is_null())
            {
                let layers = entry["layers"].as_array().expect("layers").iter().map(|layer| &layer["digest"]);
                blobs.extend(
                    [&entry["image"], &entry["manifest"]["digest"]].into_iter().chain(layers).map(text),
                );
            }
        }
        for list in [&mut blobs, &mut layers] {
            list.sort();
            list.dedup();
        }
        assert_eq!(self.blobs(), blobs, "blobs, and those that images name");
        assert_eq!(self.layers(), layers, "layers, and those that images name");
        assert_eq!(self.unfinished(), Vec::<String>::new());
    }

    /// Asserts that there is nothing at all.
    #[track_caller]
    pub(crate) fn expect_empty(&self) {
        assert_eq!(self.images(), Vec::<Value>::new());
        self.expect_nothing_else();
    }
}
