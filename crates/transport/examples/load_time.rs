//! How long a load takes, and with it the unpacking: `load_time ARCHIVE ROOT`, where ROOT is a new directory for a store.
//! To be compared with `docker load`, `podman load`, and `skopeo copy` followed by `umoci unpack`.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

use oci::Platform;
use storage::blobs::Blobs;
use storage::layer::Options;
use storage::layers::Layers;
use transport::{Platforms, Reader, Unpacking};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [archive, root] = arguments.as_slice() else { return Err("load_time ARCHIVE ROOT".into()) };
    let (blobs, layers) = (Blobs::open(Path::new(root))?, Layers::open(Path::new(root), false)?);
    let unpacking = Unpacking::new(&layers, Options::default());
    let platforms = Platforms::One(Platform::host());
    let reader = Reader { blobs: &blobs, platforms: &platforms, unpack: &unpacking };
    let begin = Instant::now();
    let images = reader.load(File::open(archive)?, archive)?;
    let loaded = begin.elapsed();
    unpacking.publish(&images, &blobs)?;
    let count: usize = images.iter().map(|image| image.layers.len()).sum();
    println!("{} images, {count} layers: {loaded:?}, with their names {:?}", images.len(), begin.elapsed());
    Ok(())
}
